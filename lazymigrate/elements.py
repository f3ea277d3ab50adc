"""The elements of a raw BSON document: enough of the format to cut a document at its fields without decoding it.

Source: bsonspec.org, version 1.1. Values are never interpreted, so that what a client library cannot represent (equal
keys, deprecated types, dates beyond year 9999) stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from struct import Struct

__all__ = ["elements", "id_of", "only", "split"]

_INT32 = Struct("<i").unpack_from
_PACK = Struct("<i").pack

_FIXED = {
    0x01: 8,  # double
    0x06: 0,  # undefined
    0x07: 12,  # ObjectId
    0x08: 1,  # bool
    0x09: 8,  # date
    0x0A: 0,  # null
    0x10: 4,  # int
    0x11: 8,  # timestamp
    0x12: 8,  # long
    0x13: 16,  # Decimal128
    0x7F: 0,  # maxKey
    0xFF: 0,  # minKey
}
_PREFIXED = {
    0x02: 4,  # string: its length, then that many bytes
    0x03: 0,  # document: its length includes the length itself
    0x04: 0,  # array
    0x05: 5,  # binary: length, subtype, then that many bytes
    0x0C: 16,  # DBPointer: string and ObjectId
    0x0D: 4,  # JavaScript
    0x0E: 4,  # symbol
    0x0F: 0,  # JavaScript with scope
}


def elements(raw: bytes) -> Iterator[tuple[str, int, int]]:
    """The top-level elements of a document: name, and where the element begins and ends."""
    position, last = 4, len(raw) - 1
    while position < last:
        kind = raw[position]
        name_end = raw.index(0, position + 1)
        value = name_end + 1
        if kind in _FIXED:
            end = value + _FIXED[kind]
        elif kind in _PREFIXED:
            end = value + _INT32(raw, value)[0] + _PREFIXED[kind]
        elif kind == 0x0B:  # regular expression: two C strings
            end = raw.index(0, raw.index(0, value) + 1) + 1
        else:
            raise ValueError(f"BSON type 0x{kind:02x} is not known")
        yield raw[position + 1 : name_end].decode("utf-8", "surrogateescape"), position, end
        position = end


def id_of(raw: bytes) -> bytes:
    """The `_id` of a document as a document of one element, which is fit for a key; of none where there is none."""
    for name, start, end in elements(raw):  # the server puts it first
        if name == "_id":
            return _PACK(end - start + 5) + raw[start:end] + b"\0"
    return _PACK(5) + b"\0"


def only(raw: bytes, names: Collection[str]) -> bytes:
    """A document of just these elements of another, byte for byte, in their stored order."""
    body = b"".join(raw[start:end] for name, start, end in elements(raw) if name in names)
    return _PACK(len(body) + 5) + body + b"\0"


def split(batch: bytes) -> list[bytes]:
    """The documents of a concatenation of documents."""
    documents: list[bytes] = []
    position = 0
    while position < len(batch):
        end = position + int(_INT32(batch, position)[0])
        documents.append(batch[position:end])
        position = end
    return documents
