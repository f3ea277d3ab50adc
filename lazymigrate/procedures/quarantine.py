"""Listing the documents that cannot be upgraded, and asking which are listed: ids, versions and errors, never values.

Documents are named by their `_id`s as the collection's codec decodes them, here and where they are listed, so that what
was listed is found. Whether two `_id`s are the same is the server's to say (1 and 1.0 are), as it is for the documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

from lazymigrate.commands import (
    Aggregate,
    At,
    Attempt,
    BulkWrite,
    Count,
    DeleteMany,
    Failure,
    Find,
    Now,
    Procedure,
    UpdateOne,
)
from lazymigrate.elements import id_of
from lazymigrate.exceptions import DocumentError
from lazymigrate.quarantine import HIGHEST, LOWEST, QUARANTINE, QuarantineEntry, among, between, key, said_of
from lazymigrate.scope import LOGGER, Scope

__all__ = [
    "count_listed",
    "count_listed_among",
    "entries",
    "entries_of",
    "forget",
    "list_errors",
    "listed_among",
    "listed_between",
    "release",
    "unlisted_outdated",
]

PAGE = 1000  # `_id`s in one command
DATED: CodecOptions[Any] = CodecOptions(tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO)


def list_errors(scope: Scope, errors: Sequence[DocumentError], codes: Sequence[int | None] = ()) -> Procedure[int]:
    """List the documents of these errors; how many of them were not listed before.

    One that is listed already counts another attempt. `codes`: the server's, in the order of the errors. A quarantine
    that cannot be written is logged, and fails nothing.
    """
    if not errors:
        return 0
    now = yield Now()
    writes = [
        UpdateOne(
            {"_id": key(scope.name, error.document_id)},
            {
                "$set": {**said_of(error, code, scope.schema.head), "last_seen": now},
                "$inc": {"attempts": 1},
                "$setOnInsert": {"first_seen": now},
            },
            upsert=True,
        )
        for error, code in zip(errors, codes or [None] * len(errors), strict=True)
    ]
    result = yield Attempt(At("quarantine", BulkWrite(writes, {"ordered": False})))
    if isinstance(result, Failure):
        LOGGER.warning(
            "%s: %d documents could not be listed in the quarantine (code %s)", scope.name, len(writes), result.code
        )
        return 0
    scope.tell("quarantined", len(writes))
    return int(result.upserted_count)


def count_listed(scope: Scope) -> At:
    """The command that counts the listed documents of the collection."""
    return At("quarantine", Count(between(scope.name)))


def count_listed_among(scope: Scope, filter: Mapping[str, Any]) -> Procedure[int]:
    """How many documents match and are listed."""
    found = 0
    after: Any = LOWEST
    while True:
        page = Find(between(scope.name, after), sort=[("_id", 1)], limit=PAGE, options={"projection": {"_id": 1}})
        ids = [listed_id(scope, raw) for raw in (yield At("quarantine", page))]
        if not ids:
            return found
        found += yield Count({"$and": [{"_id": {"$in": ids}}, filter]})
        after = ids[-1]


def entries(scope: Scope, *, after: Any = LOWEST, limit: int = 0) -> Procedure[list[QuarantineEntry]]:
    """The entries of the collection in the order of their `_id`s, beyond one; at most `limit`, unless that is 0."""
    found = Find(between(scope.name, after), sort=[("_id", 1)], limit=limit)
    raws = yield At("quarantine", found)
    return [entry(scope, raw) for raw in raws]


def entries_of(scope: Scope, document_ids: Iterable[Any]) -> Procedure[list[QuarantineEntry]]:
    """The entries of those of these documents that are listed."""
    raws = yield At("quarantine", Find(among(scope.name, document_ids)))
    return [entry(scope, raw) for raw in raws]


def entry(scope: Scope, raw: bytes) -> QuarantineEntry:
    return QuarantineEntry.of(bson.decode(raw, DATED), listed_id(scope, raw))


def listed_id(scope: Scope, raw: bytes) -> Any:
    """The `_id` that an entry names, as the collection's codec decodes it."""
    return scope.decode(raw)["_id"]["document_id"]


def listed_among(scope: Scope, raw_ids: Sequence[bytes]) -> Procedure[set[bytes]]:
    """Which of these documents, named by their raw `_id`s (as `elements.id_of` gives them), are listed."""
    asked = {raw_id: scope.decode(raw_id)["_id"] for raw_id in raw_ids}
    raws = yield At("quarantine", Find(among(scope.name, asked.values())))
    found = {encoded(scope, listed_id(scope, raw)) for raw in raws}
    listed = {raw_id for raw_id, document_id in asked.items() if encoded(scope, document_id) in found}
    if len(listed) < len(found):  # an equal number of another type: 1 was deleted, and 1.0 inserted
        for raw_id in asked.keys() - listed:
            if (yield At("quarantine", Find(among(scope.name, [asked[raw_id]]), limit=1))):
                listed.add(raw_id)
    return listed


def encoded(scope: Scope, document_id: Any) -> bytes:
    return bson.encode({"_id": document_id}, codec_options=scope.codec)


def listed_between(scope: Scope, after: Any, upto: Any) -> Procedure[list[Any]]:
    """The `_id`s of the listed documents that follow `after`, up to and with `upto`; None: open on that side.

    In the order of BSON: under a collation strings have another, and a range of them other members.
    """
    interval = between(scope.name, LOWEST if after is None else after, HIGHEST if upto is None else upto)
    raws = yield At("quarantine", Find(interval))
    return [listed_id(scope, raw) for raw in raws]


def unlisted_outdated(scope: Scope, filter: Mapping[str, Any]) -> Procedure[int]:
    """How many documents match and are not listed, among what a majority has: counted by the server in one command."""
    if scope.inside:
        raws = yield At("proof", Aggregate(unlisted(scope, filter)))
        return int(bson.decode(raws[0])["count"]) if raws else 0
    raw_ids = [id_of(raw) for raw in (yield At("proof", Find(filter)))]
    return len(raw_ids) - len((yield from listed_among(scope, raw_ids)))


def unlisted(scope: Scope, filter: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pipeline that counts them; each document looks up its entry by the entry's `_id`."""
    own = {"collection": {"$literal": scope.name}, "document_id": "$_id"}
    return [
        {"$match": filter},
        {"$project": {"_id": 0, "key": own}},
        {"$lookup": {"from": QUARANTINE, "localField": "key", "foreignField": "_id", "as": "entries"}},
        {"$match": {"entries": []}},
        {"$count": "count"},
    ]


def forget(scope: Scope, raw_ids: Sequence[bytes]) -> Procedure[int]:
    """Drop the entries of documents, by their raw `_id`s, that need none any more: at head now, or gone."""
    return (yield from release(scope, [scope.decode(raw_id)["_id"] for raw_id in raw_ids]))


def release(scope: Scope, document_ids: Sequence[Any]) -> Procedure[int]:
    """Drop the entries of these documents and leave the documents alone: the next sweep tries them. How many there were."""
    released = 0
    for start in range(0, len(document_ids), PAGE):
        result = yield At("quarantine", DeleteMany(among(scope.name, document_ids[start : start + PAGE])))
        released += result.deleted_count
    return released
