"""The update statement of a compare-and-set in BSON, as the server's update command takes it.

A sweep writes one of these for every document. The usual one (a guard of the whole document; fields of the top level set
and taken away) is put together from bytes: the document as it was read goes in untouched, the fields that are set are all
that is encoded. The others are encoded from what `change.statement` gives, and the two are the same, byte for byte.
(Measured: a third of the time.)
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any

import bson
from bson.codec_options import CodecOptions

from lazymigrate.change import Change, CompareAndSet, Unchanged, edited, statement

__all__ = ["encoded", "replaced"]

_PACK = Struct("<i").pack
_SIMPLE = {"locale": "simple"}
_ROOT = bson.encode({"0": "$$ROOT"})[4:-1]
_OTHERWISE = bson.encode({"2": "$$ROOT"})[4:-1]  # the last argument of $cond
_AFTER = bson.encode({"multi": False, "collation": _SIMPLE})[4:-1]
_GUARD = Struct(f"<3si3si14si7si3si5si{len(_ROOT) + 3}si10s").pack
_MERGED = Struct("<3si15si").pack
_FIELDS = Struct("<3si10s").pack


def encoded(command: CompareAndSet, codec: CodecOptions[Any]) -> bytes:
    """`change.statement` of a command, as one element of the `updates` of an update command.

    It raises what `bson.encode` raises; a change that was decided by `outcome` can be encoded.
    """
    guard, change = command.guard, command.change
    if isinstance(guard, Unchanged) and guard.plain and change.sets and not change.nested:
        rest = without(tuple(change.sets), change.unsets)
        if rest is not None:
            return guarded(command.identity, guard.raw, merged(rest, bson.encode(change.sets, codec_options=codec)))
    spelled = statement(command)
    whole = {"q": spelled.filter, "u": spelled.update, "multi": False, "collation": _SIMPLE}
    return bson.encode(whole, codec_options=codec)


def replaced(identity: bytes, raw: bytes, wanted: bytes) -> bytes:
    """The statement that makes a document another one, of both of which all bytes are known, where it is still `raw`.

    The server finds and logs the difference itself, in less time than it takes to make one of expressions.
    """
    literal = len(wanted) + 15
    return guarded(identity, raw, b"".join((_FIELDS(b"\x031\0", literal, b"\x03$literal\0"), wanted, b"\0")))


@lru_cache(maxsize=256)
def without(sets: tuple[str, ...], unsets: tuple[str, ...]) -> bytes | None:
    """The document without the fields that are taken away, as the first argument of the $mergeObjects that sets the others.

    None where the change is spelled in another way: several steps, or names that are no plain ones.
    """
    steps = edited(Change(dict.fromkeys(sets), unsets), merge=True)
    if len(steps) > 1 or "$mergeObjects" not in steps[0] or "_id" in sets:
        return None
    return bson.encode({"0": steps[0]["$mergeObjects"][0]})[4:-1]


def merged(rest: bytes, sets: bytes) -> bytes:
    """`{$mergeObjects: [<rest>, {$literal: <sets>}]}`, as the second argument of $cond."""
    literal = len(sets) + 15
    both = len(rest) + literal + 8
    start = _MERGED(b"\x031\0", both + 20, b"\x04$mergeObjects\0", both)
    return b"".join((start, rest, _FIELDS(b"\x031\0", literal, b"\x03$literal\0"), sets, b"\0\0\0"))


def guarded(identity: bytes, raw: bytes, wanted: bytes) -> bytes:
    """The statement that stores what is `wanted` in the document of an `_id` where it is still `raw`."""
    literal = len(raw) + 15
    arguments = len(_ROOT) + literal + 8
    unchanged = arguments + 10
    choice = unchanged + len(wanted) + len(_OTHERWISE) + 8
    replace = choice + 12
    stage = replace + 19
    pipeline = stage + 8
    body = b"".join(
        (
            b"\x03q\0",
            identity,
            _GUARD(
                *(b"\x04u\0", pipeline, b"\x030\0", stage, b"\x03$replaceWith\0", replace, b"\x04$cond\0", choice),
                *(b"\x030\0", unchanged, b"\x04$eq\0", arguments, _ROOT + b"\x031\0", literal, b"\x03$literal\0"),
            ),
            raw,
            b"\0\0\0",  # the ends of the literal, of the arguments of $eq, and of $eq
            wanted,
            _OTHERWISE,
            b"\0\0\0\0",  # of the arguments of $cond, of $cond, of the stage and of the pipeline
            _AFTER,
        )
    )
    return _PACK(len(body) + 5) + body + b"\0"
