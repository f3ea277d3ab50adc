"""A query for documents of several versions, made ready to be sent: its filter for each of them, and one order for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from lazymigrate.commands import Aggregate, Batches, Find, Procedure
from lazymigrate.ordering import Branch, at_hand, branches_of, ordered, sort_of
from lazymigrate.procedures.asking import Meant
from lazymigrate.procedures.matching import meant, possible_versions, stored_versions, unsafe_query
from lazymigrate.procedures.scanning import for_aggregate, sorted_by
from lazymigrate.query import SortKey, sort_keys, touched, touched_path
from lazymigrate.schema import Schema
from lazymigrate.scope import Scope
from lazymigrate.versions import at_versions

__all__ = ["prepared", "prepared_find"]

STORED = "lazymigrate stored"  # a name that no application has: it keeps a document as it was before it is upgraded
Filter = Mapping[str, Any]
Sort = list[tuple[str, Any]]
Stages = list[dict[str, Any]]
Query = TypeVar("Query", Find, Batches)


def prepared_find(scope: Scope, find: Find) -> Procedure[list[bytes]]:
    """The documents that a find for all versions gives: raw, as stored."""
    query = yield from prepared(scope, find)
    together = query.pipeline
    raws: list[bytes] = yield query if together is None else Aggregate(together, query.options, primary=query.primary)
    return raws


def prepared(scope: Scope, query: Query) -> Procedure[Query]:
    """The same query for the stored documents: with a rewritten filter, or with a pipeline where they have no common order."""
    schema, sort = scope.schema, sort_of(query.sort)
    moved = [path for path, _ in sort if touched_path(schema, path)]
    if not moved and not touched(schema, query.filter):
        return query
    versions = yield from possible_versions(scope)
    if moved and versions and scope.presence.indexed:  # an order is costly: only for what is there
        versions = sorted((yield from stored_versions(scope)))
    if not versions:
        return query
    asked = yield from meant(scope, query.filter, query.options, versions=versions)
    keys = {version: keys_at(scope, sort, version) for version in versions} if moved else {}
    odd = [version for version, own in keys.items() if own is not None and own != plain(sort)]
    if not odd:
        return query._replace(filter=asked.filter)
    limit = abs(query.limit)
    ways: list[Branch | Stages] = [Branch(filter=besides(schema, asked.filter, odd), keys=sort, constants={})]
    for version in odd:
        ways += yield from ways_of(
            scope, sort, version, keys[version] or [], part(schema, asked, query.filter, version), query.options
        )
    pipeline = ordered(scope.name, ways, sort, skip=query.skip, limit=limit)
    options = {**for_aggregate(query.options), "allowDiskUse": True}
    return query._replace(pipeline=pipeline, options=options)


def plain(sort: Sort) -> list[list[SortKey] | None]:
    """The keys of documents that have everything where the newest shape has it."""
    return [[SortKey(condition={}, path=path)] for path, _ in sort]


def keys_at(scope: Scope, sort: Sort, version: int) -> list[list[SortKey] | None] | None:
    """Where the documents of a version have each of the paths: None where a value has to be computed.

    None for all of it where a function may touch a path, and the policy is to ask as it is written.
    """
    schema = scope.schema
    keys = [sort_keys(schema, path, version) for path, _ in sort]
    if None in keys and not schema.chain(version, schema.head).declared:
        unsafe = [
            (path, culprit(schema, path, version)) for (path, _), own in zip(sort, keys, strict=True) if own is None
        ]
        if not unsafe_query(scope, unsafe):
            return None
    return keys


def culprit(schema: Schema, path: str, version: int) -> int:
    """The first revision above a version that is not declared and may touch a path."""
    name = path.partition(".")[0]
    later = [revision for revision in schema.revisions if revision.version > version and not revision.declared]
    return next((r.version for r in later if r.fields is None or name in r.fields), schema.head)


def besides(schema: Schema, filter: Filter, versions: Sequence[int]) -> Filter:
    """The documents that match and are at none of these versions."""
    return {"$and": [filter, {"$nor": [at_versions(schema.version_field, versions, schema.base)]}]}


def part(schema: Schema, asked: Meant, filter: Filter, version: int) -> Filter:
    """The matching documents at one version."""
    stamped = at_versions(schema.version_field, [version], schema.base)
    return asked.parts.get(version) or {"$and": [filter, stamped]}


def ways_of(
    scope: Scope,
    sort: Sort,
    version: int,
    keys: Sequence[list[SortKey] | None],
    filter: Filter,
    options: Mapping[str, Any],
) -> Procedure[list[Branch | Stages]]:
    """The branches of a version."""
    schema = scope.schema
    known = [own for own in keys if own is not None]
    if len(known) == len(keys):
        return [*branches_of(filter, sort, known)]
    ways: list[Branch | Stages] = []
    left = filter
    if scope.inside and schema.chain(version, schema.head).declared:
        safe = schema.safe_filter(version)
        before = [{"$set": {STORED: "$$ROOT"}}, *schema.pipeline(version)]
        ways.append(Branch(filter={"$and": [filter, safe]}, keys=sort, constants={}, before=before, kept=STORED))
        left = {"$and": [filter, {"$nor": [safe]}]}
    found = yield from sorted_by(scope, left, [path for path, _ in sort], options)
    return [*ways, at_hand(scope.name, found)] if found else ways
