"""The one lifecycle that every operation goes through: in Python, inside MongoDB, and back.

`check` holds an operation to one row of its table of cases, `caught` a mutant of it to all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from lazymigrate.documents import same
from lazymigrate.drivers.memory import CODEC
from lazymigrate.operation import Expression, Operation, OperationError
from lazymigrate.paths import get_, missing_, put_, split_path

# An operation, a document, and what it makes of it or, where it refuses, words of its refusal.
Case = tuple[Operation, dict[str, Any], dict[str, Any] | str]

RAW = {"document_class": RawBSONDocument}

# How an operation can fail its contract.
UNSAFE = "MongoDB would do what Python refuses"
DIFFERS = "MongoDB does not do what Python does"
NARROW = "MongoDB is not used where it should be"
LOST = "the way back does not give what was there"
MEANING = "Python does not do what the table says"
KINDS = (UNSAFE, DIFFERS, NARROW, LOST, MEANING)


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


def outcome(operation: Operation, document: dict[str, Any]) -> dict[str, Any] | str:
    """What an operation makes of a document, or what it says where it refuses."""
    try:
        return applied(operation, document)
    except OperationError as error:
        return str(error)


def way_back(operation: Operation) -> Operation:
    """The operation that goes back, where there is one."""
    reverse = operation.reverse()
    assert reverse is not None
    return reverse


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
    expected = outcome(operation, document)
    count.documents += 1
    if flags["safe"] and operation.renders:
        count.safe += 1
        assert not isinstance(expected, str), f"{UNSAFE}: {document}"
        result = collection.update_one(
            {"_id": 1, "$expr": operation.safe("$$ROOT")}, [{"$replaceWith": operation.expression("$$ROOT")}]
        )
        assert result.matched_count == 1
        stored = collection.with_options(codec_options=collection.codec_options.with_options(**RAW)).find_one({})
        assert stored is not None
        wanted = bson.encode(expected, codec_options=CODEC)
        assert bytes(stored.raw) == wanted, f"{DIFFERS}: {bson.decode(bytes(stored.raw), CODEC)} is not {expected}"
    if flags["restores"]:
        count.restored += 1
        assert not isinstance(expected, str), f"{LOST}, for Python refuses {document}"
        back = outcome(way_back(operation), expected)
        assert same(unordered(back), unordered(document)), f"{LOST}: {back} is not {document}"


def unordered(value: Any) -> Any:
    """A value with the fields of its documents in alphabetical order."""
    if isinstance(value, dict):
        return {name: unordered(value[name]) for name in sorted(value)}
    return [unordered(inner) for inner in value] if isinstance(value, list) else value


def check(
    collection: Collection[dict[str, Any]],
    operation: Operation,
    document: dict[str, Any],
    expected: dict[str, Any] | str,
    *,
    only_python: bool = False,
) -> None:
    """Hold an operation to one row of its table: what it means, and that MongoDB does all that Python does.

    `only_python`: it is a document that MongoDB leaves to Python.
    """
    count = admitted(collection, operation, [document])
    found = outcome(operation, document)
    if isinstance(expected, str):
        assert isinstance(found, str), f"{MEANING}: {found}, and not {expected!r}"
        assert expected in found, f"{MEANING}: {found!r}, and not {expected!r}"
    else:
        assert same(found, expected), f"{MEANING}: {found!r}, and not {expected}"
        assert only_python or not operation.renders or count.safe, f"{NARROW}: {document}"
    if only_python or not operation.renders:
        assert count.safe == 0


def check_way_back(
    collection: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any], restored: bool
) -> None:
    """Hold an operation to saying that the way back restores a document if, and only if, it does."""
    assert admitted(collection, operation, [document]).restored == restored
    if operation.reverse() is not None:
        changed = outcome(operation, document)
        back = changed if isinstance(changed, str) else outcome(way_back(operation), changed)
        assert (back == document) == restored


def admitted(
    collection: Collection[dict[str, Any]], operation: Operation, documents: Iterable[dict[str, Any]]
) -> Count:
    """Hold each document to the lifecycle, and count."""
    count = Count()
    for document in documents:
        lifecycle(collection, operation, document, count)
    return count


def check_in_variable(
    collection: Collection[dict[str, Any]], cases: Iterable[Case], variable: str = "document"
) -> None:
    """Hold operations to render for a document in a variable, whatever its name, as they do for the whole document."""
    inside = f"$${variable}"
    for operation, document, expected in cases:
        if not isinstance(expected, str):
            collection.replace_one({"_id": 1}, {"items": [document]}, upsert=True)
            item = {
                "changed": operation.expression(inside),
                "safe": {"$and": [operation.safe(inside)]},
                "restores": {"$and": [operation.restores(inside)]},
                "as_root": {"$and": [operation.restores({"$literal": document})]},
            }
            items = {"$map": {"input": "$items", "as": variable, "in": item}}
            (found,) = collection.aggregate([{"$project": {"items": items}}])
            (result,) = found["items"]
            assert same(result["changed"], expected)
            assert result["safe"]
            assert result["restores"] == result["as_root"]


def with_equal_keys() -> bytes:
    """A raw document whose map at `m` holds the key 'a' twice."""
    entries = b"".join(bson.encode({key: {"x": value}})[4:-1] for key, value in (("a", 1), ("c", 2), ("a", 3)))
    inner = (len(entries) + 5).to_bytes(4, "little") + entries + b"\0"
    whole = bson.encode({"_id": 1})[4:-1] + b"\x03m\0" + inner
    return (len(whole) + 5).to_bytes(4, "little") + whole + b"\0"


def caught(
    collection: Collection[dict[str, Any]],
    mutant: type[Operation],
    cases: Iterable[Case],
    left_to_python: Iterable[Case] = (),
) -> set[str]:
    """How a mutant fails on the cases of the operation that it is a mutant of: not at all where it passes for it.

    Only failed assertions count: a mutant that breaks in another way is not caught, and its error is raised.
    """
    failures = set()
    rows = [(case, False) for case in cases] + [(case, True) for case in left_to_python]
    for (operation, document, expected), only_python in rows:
        values: Any = operation
        mutated = mutant(*(getattr(values, each.name) for each in fields(values)))
        try:
            check(collection, mutated, document, expected, only_python=only_python)
        except AssertionError as failure:
            failures.add(next((kind for kind in KINDS if str(failure).startswith(kind)), str(failure)))
    return failures


# Paths that no operation takes, and why.
WRONG_PATHS = [
    ("", "non-empty string of dotted names"),
    (5, "non-empty string of dotted names"),
    ("a..b", "cannot be addressed"),
    ("$a", "cannot be addressed"),
    ("a.0", "array index"),
]


class RunsThroughAnything:
    """A mutation: where a path runs through something that is no document, it is taken for absent."""

    __slots__ = ()
    path: str

    def safe(self, document: Expression) -> Expression:
        return {"$or": [super().safe(document), missing_(document, split_path(self.path))]}  # type: ignore[misc]


class RestoresWhatIsSafe:
    """A mutation: whatever MongoDB may do is said to be restored by the way back."""

    __slots__ = ()

    def restores(self: Any, document: Expression) -> Expression:
        return self.reverse() is not None and self.safe(document)


class FillsNull:
    """A mutation: null becomes an empty value, as if it were one."""

    __slots__ = ()
    path: str
    filling: ClassVar[Any]

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        filled = put_(document, parts, {"$literal": self.filling})
        changed = super().expression(document)  # type: ignore[misc]
        return {"$cond": [{"$eq": [get_(document, parts), None]}, filled, changed]}


class NeverInMongoDB:
    """A mutation: MongoDB is never asked."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return False


__all__ = [
    "DIFFERS",
    "KINDS",
    "LOST",
    "MEANING",
    "NARROW",
    "UNSAFE",
    "WRONG_PATHS",
    "Case",
    "Count",
    "FillsNull",
    "NeverInMongoDB",
    "RestoresWhatIsSafe",
    "RunsThroughAnything",
    "admitted",
    "applied",
    "caught",
    "check",
    "check_in_variable",
    "check_way_back",
    "lifecycle",
    "unordered",
    "way_back",
    "with_equal_keys",
]
