"""Finding outdated documents by what they will be, where their filter cannot be turned round: correct at any price.

Where no function may touch what is asked for, the server upgrades that and matches, and `_id`s come back. The documents on which
it is not exact, and all of them where one may, are read a batch at a time, upgraded here, and sent back to be matched: the server's own
matcher decides, and never more than a batch is in memory, but for the `_id`s of what matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from lazymigrate.commands import Aggregate, Find, Procedure
from lazymigrate.elements import id_of
from lazymigrate.exceptions import DocumentError, LazyMigrateError
from lazymigrate.ordering import key_fields, on_hand
from lazymigrate.outcome import Settled, Upgraded, outcome
from lazymigrate.procedures.quarantine import list_errors
from lazymigrate.query import names_in, upgrade_of
from lazymigrate.rendering import safe_conditions, stages
from lazymigrate.scope import LOGGER, Scope
from lazymigrate.versions import at_versions

__all__ = ["for_aggregate", "identities", "sorted_by", "upgraded_inside"]

Filter = Mapping[str, Any]
Options = Mapping[str, Any]

PAGE = 200  # documents at a time
BYTES = 8 * 2**20  # of documents in one command
MOST = 10 * 2**20  # bytes of what is found: a command with more would be larger than a document may be
OF_AGGREGATE = {
    "session": "session",
    "collation": "collation",
    "comment": "comment",
    "let": "let",
    "max_time_ms": "maxTimeMS",
}


def identities(
    scope: Scope, filter: Filter, versions: Sequence[int], options: Options
) -> Procedure[dict[int, list[Any]]]:
    """The `_id`s of the documents at each version that match the filter once they are upgraded: for one command together.

    Documents that cannot be upgraded are passed over under `on_error="skip"` and `"quarantine"`; else their error is raised.
    """
    found: dict[int, list[bytes]] = {}
    for version in versions:
        found[version] = yield from matching_ids(scope, filter, version, options)
        raws = [raw for own in found.values() for raw in own]
        refuse_more(scope, len(raws), sum(map(len, raws)))
    return {version: [scope.decode(raw)["_id"] for raw in own] for version, own in found.items()}


def matching_ids(scope: Scope, filter: Filter, version: int, options: Options) -> Procedure[list[bytes]]:
    """Those of one version, raw."""
    schema = scope.schema
    stamped = at_versions(schema.version_field, [version], schema.base)
    own = for_aggregate(options)
    found: list[bytes] = []
    left: Filter = stamped
    inside = upgraded_inside(scope, version, names_in(filter))
    if inside is not None:
        safe, upgrade = inside
        pipeline = [{"$match": safe}, *upgrade, {"$match": filter}, {"$project": {"_id": 1}}]
        too_many = MOST // 14 + 2  # bytes of the least document with an `_id`
        found += yield Aggregate([*pipeline, {"$limit": too_many}], {**own, "allowDiskUse": True})
        refuse_more(scope, len(found), sum(map(len, found)))
        left = {"$and": [stamped, {"$nor": [safe]}]}
    matching: list[dict[str, Any]] = [{"$match": filter}, {"$project": {"_id": 1}}]
    found += yield from scanned(scope, left, matching, options)
    return found


def upgraded_inside(
    scope: Scope, version: int, names: frozenset[str] | None
) -> tuple[Filter, list[dict[str, Any]]] | None:
    """The stages that bring these top-level fields of documents of a version to head (all for None), and the documents on which
    they are exact; None where a function may touch one of them, or nothing runs pipelines.
    """
    schema = scope.schema
    operations = upgrade_of(schema, version, names) if scope.inside else None
    if operations is None:
        return None
    stamped = at_versions(schema.version_field, [version], schema.base)
    safe = {"$and": [stamped, *safe_conditions(operations)]}
    return safe, stages(operations, schema.version_field, schema.head)


def refuse_more(scope: Scope, found: int, size: int) -> None:
    """`LazyMigrateError` when more was found than one command can hold; `size` is in bytes."""
    if size > MOST:
        raise LazyMigrateError(
            f"{scope.name}: {found:,} outdated documents match and more may, and their revisions cannot be turned "
            "round: these are too many for one query. Ask for fewer, or sweep the collection first."
        )


def sorted_by(scope: Scope, filter: Filter, paths: Sequence[str], options: Options) -> Procedure[list[RawBSONDocument]]:
    """Of the stored documents that match, each `_id` and what is at these paths once it is upgraded (`k0`, `k1`, …)."""
    found = yield from scanned(scope, filter, [{"$project": {"_id": 1, **key_fields(paths)}}], options)
    return [RawBSONDocument(raw) for raw in found]


def scanned(
    scope: Scope, filter: Filter, stages: Sequence[Mapping[str, Any]], options: Options
) -> Procedure[list[bytes]]:
    """What these stages make of the stored documents that match, upgraded here; no more than a batch of them at a time."""
    asked = {"collation": {"locale": "simple"}, **{name: options[name] for name in ("session",) if name in options}}
    found: list[bytes] = []
    size = 0
    after: Any = None
    while True:
        page = filter if after is None else {"$and": [filter, {"$expr": {"$gt": ["$_id", {"$literal": after}]}}]}
        raws: list[bytes] = yield Find(page, sort=[("_id", 1)], limit=PAGE, options=asked)
        for batch in in_batches(scope, (yield from upgraded(scope, raws))):
            answers: list[bytes] = yield Aggregate([*on_hand(batch), *stages], for_aggregate(options))
            found += answers
            size += sum(map(len, answers))
        refuse_more(scope, len(found), size)
        if len(raws) < PAGE:
            return found
        after = scope.decode(id_of(raws[-1]))["_id"]


def upgraded(scope: Scope, raws: Sequence[bytes]) -> Procedure[list[dict[str, Any]]]:
    """Documents at head, of those that can be brought there."""
    documents: list[dict[str, Any]] = []
    errors: list[DocumentError] = []
    for raw in raws:
        result = outcome(scope, raw)
        if isinstance(result, (Upgraded, Settled)):
            documents.append(result.document)
        elif error := getattr(result, "error", None):
            if scope.policy.on_error == "raise":
                raise error
            errors.append(error)
    if errors:
        LOGGER.warning("%s: %d documents could not be read and were skipped", scope.name, len(errors))
        if scope.policy.on_error == "quarantine":
            yield from list_errors(scope, errors)
    return documents


def in_batches(scope: Scope, documents: Sequence[dict[str, Any]]) -> Iterator[list[RawBSONDocument]]:
    """The documents in BSON, as many at a time as one command takes."""
    batch: list[RawBSONDocument] = []
    size = 0
    for document in documents:
        raw = bson.encode(document, codec_options=scope.codec)
        if batch and size + len(raw) > BYTES:
            yield batch
            batch, size = [], 0
        batch.append(RawBSONDocument(raw))
        size += len(raw)
    if batch:
        yield batch


def for_aggregate(options: Options) -> dict[str, Any]:
    """Those of a query's options that an aggregation takes, by the names that it has for them.

    A hint is for the paths of the newest shape, and an aggregation here looks for others.
    """
    return {OF_AGGREGATE[name]: option for name, option in options.items() if name in OF_AGGREGATE}
