"""A change made to raw BSON: every byte that it does not concern stays what it was.

Where a change meets equal keys (`{z: 1, z: 2}`), the document is written in this way only. MongoDB 6.0.5 ends with a failed
invariant when an update by a pipeline gives a difference in which a name stands twice.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

import bson

from lazymigrate.elements import elements

if TYPE_CHECKING:
    from lazymigrate.change import Change

__all__ = ["meets_equal_keys", "spliced"]

_PACK = Struct("<i").pack
_DOCUMENT, _ARRAY = 0x03, 0x04


def meets_equal_keys(raw: bytes, change: Change) -> bool:
    """Whether a change concerns a name that occurs twice, or puts something in the place of a value with equal keys."""
    names: set[str] = set()
    for name, start, end in elements(raw):
        if name in change.sets or name in change.unsets or name in change.nested:
            if name in names:
                return True
            inside = value(raw, name, start, end)
            is_document = raw[start] == _DOCUMENT
            if name in change.nested and is_document and meets_equal_keys(inside, change.nested[name]):
                return True
            if name in change.sets and raw[start] in (_DOCUMENT, _ARRAY) and has_equal_keys(inside):
                return True
        names.add(name)
    return False


def has_equal_keys(raw: bytes) -> bool:
    """Whether a document, or one inside it, has two elements of one name."""
    names: set[str] = set()
    for name, start, end in elements(raw):
        if name in names or (raw[start] in (_DOCUMENT, _ARRAY) and has_equal_keys(value(raw, name, start, end))):
            return True
        names.add(name)
    return False


def spliced(raw: bytes, change: Change) -> bytes:
    """The document with a change made to it; of equal keys that it concerns one is left, as in a decoded document."""
    last = {name: (start, end) for name, start, end in elements(raw)}
    parts: list[bytes] = []
    seen: set[str] = set()
    for name, start, end in elements(raw):
        concerned = name in change.unsets or name in change.sets or name in change.nested
        if not concerned:
            parts.append(raw[start:end])
        elif name in seen or name in change.unsets:
            continue
        elif name in change.sets:
            parts.append(element(name, change.sets[name]))
        else:
            found = last[name]
            inner = value(raw, name, *found)
            parts.append(raw[found[0] : found[1] - len(inner)] + spliced(inner, change.nested[name]))
        seen.add(name)
    parts += [element(name, value) for name, value in change.sets.items() if name not in seen]
    body = b"".join(parts)
    return _PACK(len(body) + 5) + body + b"\0"


def value(raw: bytes, name: str, start: int, end: int) -> bytes:
    """The bytes of an element's value."""
    return raw[start + 1 + len(name.encode("utf-8", "surrogateescape")) + 1 : end]


def element(name: str, value: Any) -> bytes:
    return bson.encode({name: value})[4:-1]
