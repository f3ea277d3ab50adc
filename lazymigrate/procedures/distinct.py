"""The distinct values of a key, as the server would give them if every document were at head.

The server is asked about the documents that are not outdated; those that are, are read a page at a time, upgraded
here, and only their values are kept. Outdated ones are read first: a document that is upgraded meanwhile is then seen
twice, which a set of values does not mind, and never missed.

Which values are equal is the server's to say (1, 1.0 and Decimal128("1") are; under a collation "a" and "A" may be):
values that it has not given itself are sent to it once more, to be grouped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import bson
from bson import DBRef
from bson.errors import BSONError

from lazymigrate.commands import Aggregate, Distinct, Find, Procedure
from lazymigrate.elements import id_of
from lazymigrate.exceptions import DocumentError
from lazymigrate.outcome import undecodable
from lazymigrate.procedures.asking import asked
from lazymigrate.procedures.quarantine import list_errors
from lazymigrate.schema import Schema
from lazymigrate.scope import LOGGER, Scope
from lazymigrate.versions import outdated_filter

__all__ = ["distinct"]

PAGE = 500
# The options of distinct by the name that a find has for them, and those that an aggregation takes too.
OF_FIND = {
    "session": "session",
    "comment": "comment",
    "hint": "hint",
    "collation": "collation",
    "maxTimeMS": "max_time_ms",
}
OF_AGGREGATE = ("session", "comment", "collation", "maxTimeMS")


def distinct(
    scope: Scope, key: str, filter: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> Procedure[list[Any]]:
    """The distinct values of a key among the documents that match, each as its upgrade has it.

    Values that stand in documents at head, ahead or without a valid version come
    first. A document that cannot be upgraded is its `UpgradeError`, or is left out, as `Policy.on_error` says; where
    no pending revision touches the key, the server answers alone and no document is upgraded.
    """
    if not isinstance(key, str):
        raise TypeError(f"key must be an instance of str, not {type(key)}")
    schema = scope.schema
    query = {} if filter is None else filter
    meant = yield from asked(scope, query, options)
    if not changes(schema, key):
        alone: list[Any] = yield Distinct(key, meant.filter, options)
        return alone
    outdated = outdated_filter(schema.version_field, schema.oldest, schema.settled, schema.base)
    found = yield from upgraded_values(scope, key, {"$and": [meant.filter, outdated]}, options)
    values: list[Any] = yield Distinct(key, {"$and": [query, {"$nor": [outdated]}]}, options)
    for value in values:
        found.pop(encoded(scope, value), None)
    if not found:
        return values
    values = [*values, *found.values()]
    kept = yield Aggregate(grouped(values), {name: option for name, option in options.items() if name in OF_AGGREGATE})
    # No group at all: the collection was emptied meanwhile, and there was no document to group them beside.
    return [values[bson.decode(raw)["index"]] for raw in kept] if kept else values


def changes(schema: Schema, key: str) -> bool:
    """Whether an upgrade to head may change what is at a key."""
    name = key.split(".", maxsplit=1)[0]
    if schema.oldest == schema.settled or name == "_id":
        return False
    fields = schema.chain(schema.oldest, schema.head).fields
    return fields is None or name in fields | {schema.version_field}


def upgraded_values(
    scope: Scope, key: str, filter: Mapping[str, Any], options: Mapping[str, Any]
) -> Procedure[dict[bytes, Any]]:
    """The values in outdated documents once these are upgraded, by their BSON; a page of documents at a time."""
    asked = {OF_FIND[name]: option for name, option in options.items() if name in OF_FIND}
    found: dict[bytes, Any] = {}
    skipped = 0
    page = Find(filter, sort=[("_id", 1)], limit=PAGE, options=asked)
    while True:
        raws: list[bytes] = yield page
        last = scope.decode(id_of(raws[-1]))["_id"] if len(raws) == PAGE else None
        if isinstance(last, (str, Mapping)):
            # A collation may hold other texts for equal to the last of this page: they are not greater than it.
            equal = {"$expr": {"$eq": ["$_id", {"$literal": last}]}}
            raws = [*raws, *(yield Find({"$and": [filter, equal]}, options=asked))]
        errors: list[DocumentError] = []
        for raw in raws:
            try:
                document = upgraded(scope, raw)
            except DocumentError as error:
                if scope.policy.on_error == "raise":
                    raise
                errors.append(error)
            else:
                found.update((encoded(scope, value), value) for value in values_at(document, key))
        skipped += len(errors)
        if scope.policy.on_error == "quarantine":
            yield from list_errors(scope, errors)
        if last is None:
            break
        greater = {"$expr": {"$gt": ["$_id", {"$literal": last}]}}
        page = Find({"$and": [filter, greater]}, sort=[("_id", 1)], limit=PAGE, options=asked)
    if skipped:
        LOGGER.warning("%s: %d documents could not be read and were skipped", scope.name, skipped)
    return found


def upgraded(scope: Scope, raw: bytes) -> dict[str, Any]:
    """A stored document at head, as it would be stored there; raises the `DocumentError` that it is refused with."""
    schema = scope.schema
    try:
        document = scope.decode(raw)
    except BSONError as error:
        raise undecodable(scope, raw, error) from error
    try:
        version = schema.version_of(document)
        return scope.normal(schema.chain(version, schema.head).run(document), version)
    except DocumentError as error:
        scope.named(error)
        raise


def values_at(document: Mapping[str, Any], path: str) -> Iterator[Any]:
    """The values at a path as the server's distinct takes them.

    A name that holds dots itself comes first; a path goes into every document of an array, or to one by its number; an
    array at the end gives its elements, one level deep.
    """
    if path in document:
        value = document[path]
        if isinstance(value, list):
            yield from value
        else:
            yield value
        return
    name, _, rest = path.partition(".")
    if not rest or name not in document:
        return
    inner = document[name]
    if isinstance(inner, list) and not is_number(rest.split(".")[0]):
        for element in inner:
            yield from values_at(fields(element), rest)
    else:
        yield from values_at(fields(inner), rest)


def fields(value: Any) -> Mapping[str, Any]:
    """What a path can go into: a document, an array by its numbers; anything else has no fields."""
    if isinstance(value, DBRef):
        value = value.as_doc()
    if isinstance(value, list):
        return {str(index): element for index, element in enumerate(value)}
    return value if isinstance(value, Mapping) else {}


def is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def encoded(scope: Scope, value: Any) -> bytes:
    return bson.encode({"": value}, codec_options=scope.codec)


def grouped(values: Sequence[Any]) -> list[dict[str, Any]]:
    """A pipeline that gives, for each group of equal values, the index of the first, in order."""
    return [
        {"$limit": 1},
        {"$project": {"_id": 0, "value": {"$literal": values}}},
        {"$unwind": {"path": "$value", "includeArrayIndex": "index"}},
        {"$group": {"_id": "$value", "index": {"$min": "$index"}}},
        {"$sort": {"index": 1}},
        {"$project": {"_id": 0, "index": 1}},
    ]
