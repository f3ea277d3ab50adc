"""The one lifecycle that every operation goes through: in Python, inside MongoDB, and back."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from lazymigrate.documents import same
from lazymigrate.drivers.memory import CODEC
from lazymigrate.operation import Operation, OperationError

RAW = {"document_class": RawBSONDocument}


@dataclass
class Count:
    """How many documents went through, and how many of them MongoDB may do, and the way back restores."""

    documents: int = 0
    safe: int = 0
    restored: int = 0


def applied(operation: Operation, document: dict[str, Any]) -> dict[str, Any]:
    """What an operation means: its Python form on a copy."""
    changed = copy.deepcopy(document)
    operation.compile()(changed)
    return changed


def lifecycle(
    collection: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any], count: Count | None = None
) -> None:
    """Hold an operation to its contract on one document.

    Where `safe`: what MongoDB stores is byte for byte what Python gives, and Python does not fail. Elsewhere: MongoDB is
    not asked. Where `restores`: going back gives the document that was there, the order of fields aside.
    """
    count = Count() if count is None else count
    raw = bson.encode({"_id": 1, **document}, codec_options=CODEC)
    document = bson.decode(raw, CODEC)
    collection.delete_many({})
    collection.insert_one(RawBSONDocument(raw))
    restores = {"$and": [operation.restores("$$ROOT"), True]}
    (flags,) = collection.aggregate(
        [{"$project": {"safe": {"$and": [operation.safe("$$ROOT"), True]}, "restores": restores}}]
    )
    try:
        expected: dict[str, Any] | None = applied(operation, document)
    except OperationError:
        expected = None
    count.documents += 1
    if flags["safe"] and operation.renders:
        count.safe += 1
        assert expected is not None, "MongoDB would do what Python refuses"
        result = collection.update_one(
            {"_id": 1, "$expr": operation.safe("$$ROOT")}, [{"$replaceWith": operation.expression("$$ROOT")}]
        )
        assert result.matched_count == 1
        stored = collection.with_options(codec_options=collection.codec_options.with_options(**RAW)).find_one({})
        assert stored is not None
        wanted = bson.encode(expected, codec_options=CODEC)
        assert bytes(stored.raw) == wanted, f"{bson.decode(bytes(stored.raw), CODEC)} is not {expected}"
    if flags["restores"]:
        count.restored += 1
        assert expected is not None, "restores, where Python refuses"
        reverse = operation.reverse()
        assert reverse is not None
        back = applied(reverse, expected)
        assert same(unordered(back), unordered(document)), f"{back} is not {document}"


def unordered(value: Any) -> Any:
    """A value with the fields of its documents in alphabetical order."""
    if isinstance(value, dict):
        return {name: unordered(value[name]) for name in sorted(value)}
    return [unordered(inner) for inner in value] if isinstance(value, list) else value


__all__ = ["Count", "applied", "lifecycle"]
