"""Dotted paths: in Python (`reach`, `put`, `take`) and as aggregation expressions (`get_`, `put_`, `drop_`).

The Python meaning: a path names one place; it never runs through an array. What is missing is made by `put`. What
runs through something that is not a document is an `OperationError`. A new field is appended, a field that is there
keeps its place, and emptied parents stay: as MongoDB's own `$set`, `$unset` and `$rename` do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, OperationError

__all__ = [
    "all_of",
    "distinct_",
    "drop_",
    "get_",
    "in_sequence",
    "is_document_",
    "missing_",
    "overlap",
    "passable_",
    "plain_",
    "prune",
    "put",
    "put_",
    "reach",
    "split_path",
    "unpruned_",
]

Parts = tuple[str, ...]


def split_path(path: Any) -> Parts:
    """The names of a dotted path; `SchemaError` unless it is one that a document can have."""
    if not isinstance(path, str) or not path:
        raise SchemaError(f"A path is a non-empty string of dotted names, not {path!r}. Write it as 'a' or 'a.b'.")
    parts = tuple(path.split("."))
    for part in parts:
        if not part or part.startswith("$") or "\0" in part:
            raise SchemaError(
                f"The path {path!r} has the part {part!r}, which cannot be addressed: names are not empty, do not "
                "begin with '$' and hold no NUL. For such a key use a function instead of an operation."
            )
        if part.isdigit():
            raise SchemaError(
                f"The path {path!r} has the part {part!r}, which reads as an array index. Paths name fields of "
                "documents only; for such a key use a function."
            )
    return parts


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one is inside the other."""
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")


def reach(document: dict[str, Any], parents: Parts, path: str) -> dict[str, Any] | None:
    """The subdocument that holds the last name of a path, or None where a parent is missing."""
    for name in parents:
        if name not in document:
            return None
        document = document[name]
        if not isinstance(document, dict):
            raise OperationError(f"the path {path!r} runs through {name!r}, which is not a document")
    return document


def put(document: dict[str, Any], parents: Parts, path: str) -> dict[str, Any]:
    """The subdocument that is to hold the last name of a path; missing parents are made."""
    for name in parents:
        if name in document:
            document = document[name]
            if not isinstance(document, dict):
                raise OperationError(f"the path {path!r} runs through {name!r}, which is not a document")
        else:
            document[name] = document = {}
    return document


def prune(document: dict[str, Any], parents: Parts) -> None:
    """Remove the parents of a path that are empty, from the innermost outwards."""
    chain = [document]
    for name in parents:
        inner = chain[-1].get(name)
        if not isinstance(inner, dict):
            break
        chain.append(inner)
    for index in range(len(chain) - 1, 0, -1):
        if chain[index]:
            break
        del chain[index - 1][parents[index - 1]]


def get_(document: Expression, parts: Parts) -> Expression:
    """The value at a path, or missing."""
    if document == "$$ROOT":
        return "$" + ".".join(parts)
    for name in parts:
        document = {"$getField": {"field": {"$literal": name}, "input": document}}
    return document


def missing_(document: Expression, parts: Parts) -> Expression:
    """True where nothing is at the path."""
    return {"$eq": [{"$type": get_(document, parts)}, "missing"]}


def plain_(value: Expression) -> Expression:
    """True where a value is a document that the driver gives as a dict: one with `$ref` and `$id` becomes a DBRef."""
    reference = {"$getField": {"field": {"$literal": "$ref"}, "input": value}}
    return all_of([{"$eq": [{"$type": value}, "object"]}, {"$eq": [{"$type": reference}, "missing"]}])


def passable_(document: Expression, parts: Parts) -> Expression:
    """True where every parent of the path is a document without equal keys, or missing."""
    parents = (get_(document, parts[:depth]) for depth in range(1, len(parts)))
    return all_of(
        {"$or": [{"$eq": [{"$type": parent}, "missing"]}, all_of([plain_(parent), distinct_(parent)])]}
        for parent in parents
    )


def unpruned_(document: Expression, parts: Parts) -> Expression:
    """True where every parent of the path is missing, or a document that is not empty: taking the path out again, and
    then the empty parents, leaves what was there before.
    """
    return all_of(
        {"$or": [missing_(document, parts[:depth]), all_of([is_document_(document, parts[:depth]), filled])]}
        for depth in range(1, len(parts))
        for filled in [{"$ne": [get_(document, parts[:depth]), {"$literal": {}}]}]
    )


def distinct_(document: Expression) -> Expression:
    """True where no two keys of a document are equal: of such, Python knows the last value and MongoDB the first, and its
    update by a pipeline may end the server. (Comparing sizes is twice as fast as comparing numbers of fields.)
    """
    return {"$eq": [{"$bsonSize": document}, {"$bsonSize": {"$mergeObjects": [document]}}]}


def is_document_(document: Expression, parts: Parts) -> Expression:
    """True where a document is at the path."""
    return plain_(get_(document, parts))


def in_sequence(document: Expression, steps: Iterable[Callable[[Expression], Expression]]) -> Expression:
    """Expressions applied one after the other, each to what the one before it gave, evaluated once."""
    for step in steps:
        document = {"$let": {"vars": {"document": document}, "in": step("$$document")}}
    return document


def put_(document: Expression, parts: Parts, value: Expression) -> Expression:
    """The document with a value at the path, parents made where they are missing; exact where `passable_`."""
    name, rest = parts[0], parts[1:]
    if rest:
        inner = get_(document, (name,))
        value = put_({"$ifNull": [inner, {"$literal": {}}]}, rest, value)
    return {"$setField": {"field": {"$literal": name}, "input": document, "value": value}}


def drop_(document: Expression, parts: Parts) -> Expression:
    """The document without the path; exact where `passable_`."""
    name, rest = parts[0], parts[1:]
    if not rest:
        return {"$unsetField": {"field": {"$literal": name}, "input": document}}
    inner = get_(document, (name,))
    without = {"$setField": {"field": {"$literal": name}, "input": document, "value": drop_(inner, rest)}}
    return {"$cond": [{"$eq": [{"$type": inner}, "object"]}, without, document]}


def all_of(conditions: Iterable[Expression]) -> Expression:
    """The conjunction of conditions; true when there are none."""
    listed = [condition for condition in conditions if condition is not True]
    if not listed:
        return True
    return listed[0] if len(listed) == 1 else {"$and": listed}
