"""A query for documents of several versions, made ready to be sent: its filter for each of them, and one order for all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any, TypeVar

from lazymigrate.commands import Batches, Find, Procedure
from lazymigrate.links import depended_on, functions_among, links_to_head
from lazymigrate.ordering import Branch, Pages, at_hand, branches_of, ordered, sort_of
from lazymigrate.places import Turned, compares, means_the_same, order, turned
from lazymigrate.presence import Look
from lazymigrate.procedures.asking import Meant, is_regular, pinned
from lazymigrate.procedures.matching import (
    at,
    combined,
    looked,
    meant,
    part,
    stored_versions,
    unsafe_query,
    versions_of,
)
from lazymigrate.procedures.scanning import for_aggregate, sorted_by, upgraded_inside
from lazymigrate.procedures.writes import in_transaction
from lazymigrate.query import SortKey, touched, touched_path
from lazymigrate.schema import Schema
from lazymigrate.scope import Scope
from lazymigrate.templates import filled, key_of, slotted, slotted_pages, template_of
from lazymigrate.versions import at_versions

__all__ = ["prepared"]

MANY = 200  # templates: of queries that differ in more than their values an application has few
STORED = "lazymigrate stored"  # a name that no application has: it keeps a document as it was before it is upgraded
Filter = Mapping[str, Any]
Sort = list[tuple[str, Any]]
Stages = list[dict[str, Any]]
Query = TypeVar("Query", Find, Batches)


def prepared(scope: Scope, query: Query) -> Procedure[Query]:
    """The same query for the stored documents: with a rewritten filter, or with a pipeline where they have no common order."""
    schema, sort = scope.schema, sort_of(query.sort)
    moved = {path for path, direction in sort if in_documents(path, direction) and touched_path(schema, path)}
    if not moved and not touched(schema, query.filter):
        return query
    look = yield from looked(scope)
    versions = versions_of(schema, look, query.options)
    if not versions:
        return query
    pages = Pages.of(query.skip, query.limit)
    slots = slotted_query(scope, look, query)
    if slots is None or not same_for_all(schema, slots, moved, versions):
        return (yield from worked_out(scope, query, sort, moved, versions, pages))
    general = yield from worked_out(scope, query._replace(filter=slots), sort, moved, versions, slotted_pages(pages))
    template = template_of(general.filter, general.pipeline)
    if len(look.templates) >= MANY:
        look.templates.clear()
    look.templates[key_of(query.filter, query.sort, query.skip, query.limit)] = template
    own = filled(template, query.filter, query.skip, query.limit)
    return general._replace(filter=own.filter, pipeline=own.pipeline)


def slotted_query(scope: Scope, look: Look, query: Find | Batches) -> Filter | None:
    """The filter of a query with slots in it; None where it is not worth while to keep what becomes of it, or impossible."""
    if scope.policy.recheck <= 0 or not is_regular(look, query):
        return None
    if key_of(query.filter, query.sort, query.skip, query.limit) is None:
        return None
    return slotted(query.filter, scope.schema.version_field)


def same_for_all(schema: Schema, slots: Filter, moved: Collection[str], versions: Sequence[int]) -> bool:
    """Whether a query becomes the same for all values that its filter compares with, and for all documents that may come."""
    return all(turned(schema, slots, version) is not None for version in versions) and all(
        order(schema, path, version) is not None for path in moved for version in versions
    )


def worked_out(
    scope: Scope, query: Query, sort: Sort, moved: Collection[str], versions: Sequence[int], pages: Pages
) -> Procedure[Query]:
    """What becomes of a query, of which revisions may touch the filter or the paths that are `moved`."""
    schema = scope.schema
    keys = {version: [order(schema, path, version) for path, _ in sort] for version in versions} if moved else {}
    costly = any(None in own for own in keys.values())
    if costly and scope.presence.indexed and not pinned(query.options):  # only for what is there
        versions = sorted((yield from stored_versions(scope)))
    asked = yield from meant(scope, query.filter, query.options, versions=versions)
    plain = [[SortKey(condition={}, path=path)] for path, _ in sort]
    odd = {
        version: own
        for version, own in keys.items()
        if version in versions and own != plain and answered(scope, sort, version, own)
    }
    if not odd:
        return query._replace(filter=asked.filter, options=asked.options(query.options))
    ways, elsewhere = yield from apart(scope, query, sort, moved, odd, asked)
    left = combined(scope, query.filter, {version: own for version, own in asked.ways.items() if version not in odd})
    ways.append(Branch(filter={"$and": [left.filter, {"$nor": elsewhere}]}, keys=sort, constants={}))
    options = {**for_aggregate(asked.options(query.options)), "allowDiskUse": True}
    first = abs(query.limit) == 1 and not query.skip  # of a document that is met twice, either will do
    once = not first and "collation" not in options and not scope.presence.collation
    alone = in_transaction(query.options)
    pipeline = ordered(scope.name, ways, sort, pages, once=once, in_transaction=alone)
    return query._replace(pipeline=pipeline, options=options)


def apart(
    scope: Scope,
    query: Find | Batches,
    sort: Sort,
    moved: Collection[str],
    odd: Mapping[int, Sequence[list[SortKey] | None]],
    asked: Meant,
) -> Procedure[tuple[list[Branch | Stages], list[Filter]]]:
    """The branches of the versions that have what is sorted by elsewhere, and the filters of what they give."""
    groups: list[tuple[set[str], list[list[SortKey]], list[int]]] = []
    ways: list[Branch | Stages] = []
    elsewhere: list[Filter] = []
    for version, keys in odd.items():
        own = [key for key in keys if key is not None]
        compared = moved_paths(scope, query.filter, version) if len(own) == len(sort) else None
        if compared is None or not compared <= set(moved) or not aligned(own, compared, sort):
            elsewhere.append(stamp(scope.schema, [version]))
            ways += yield from ways_of(scope, sort, version, keys, asked.ways.get(version), query)
            continue
        for known_compared, known, among in groups:
            if (known_compared, known) == (compared, own):
                among.append(version)
                break
        else:
            groups.append((compared, own, [version]))
    for compared, own, among in groups:
        for combination in product(*own):
            names = {path: key.path for (path, _), key in zip(sort, combination, strict=True)}
            if any(path != place for path, place in names.items()):
                elsewhere.append({**stamp(scope.schema, among), **joined([key.condition for key in combination])})
                if all(names[path] is not None for path in compared):  # nothing that is missing meets a comparison
                    ways.append(moved_branch(scope, query.filter, sort, combination, compared, among))
    return ways, elsewhere


def in_documents(path: Any, direction: Any) -> bool:
    """Whether what is sorted by stands in the documents: their natural order does not, nor what `$meta` says of them."""
    return isinstance(path, str) and path[:1] != "$" and not isinstance(direction, Mapping)


def aligned(keys: Sequence[list[SortKey]], compared: set[str], sort: Sort) -> bool:
    """Whether the filter can be put to the places that are sorted by: what it compares is no constant there."""
    return all(
        key.constant is None
        for (path, _), own in zip(sort, keys, strict=True)
        for key in own
        if path in compared and key.path is None
    )


def moved_branch(
    scope: Scope,
    filter: Filter,
    sort: Sort,
    combination: Sequence[SortKey],
    compared: set[str],
    versions: Sequence[int],
) -> Branch:
    """The documents that have what is sorted by elsewhere: in the same way, and compared there.

    The others of their versions are met by the filter as it is written. The server finds either index: that of the place, and
    the backlog index, from which it sees at once that there is no such document.
    """
    names = {path: key.path or path for (path, _), key in zip(sort, combination, strict=True)}
    own = joined([{names[path] if path in compared else path: condition} for path, condition in filter.items()])
    conditions = joined([key.condition for key in combination])
    left = {
        path: condition for path, condition in conditions.items() if condition != {"$exists": True} or path not in own
    }
    return Branch(
        filter=at(scope, joined([own, left]), versions, backlog=True),
        keys=[(key.path, direction) for key, (_, direction) in zip(combination, sort, strict=True)],
        constants={n: key.constant for n, key in enumerate(combination) if key.path is None},
    )


def moved_paths(scope: Scope, filter: Filter, version: int) -> set[str] | None:
    """The paths that a filter compares and that stand elsewhere at a version; None where it does more than compare."""
    moved: set[str] = set()
    for path, condition in filter.items():
        if path[:1] == "$":
            return None
        if not means_the_same(scope.schema, path, condition, version):
            if not compares(condition):
                return None
            moved.add(path)
    return moved


def joined(filters: Sequence[Filter]) -> dict[str, Any]:
    """All of them, as one filter."""
    found: dict[str, Any] = {}
    for own in filters:
        if not found.keys().isdisjoint(own):
            return {"$and": [dict(each) for each in filters if each]}
        found |= own
    return found


def stamp(schema: Schema, versions: Sequence[int]) -> dict[str, Any]:
    """The documents at these versions, as one condition."""
    return at_versions(schema.version_field, versions, schema.base, alone=True)


def answered(scope: Scope, sort: Sort, version: int, keys: Sequence[list[SortKey] | None]) -> bool:
    """Whether what is sorted by can be had at a version, or is asked for as it is written, since a function may touch it."""
    links = links_to_head(scope.schema, version)
    unsafe = [
        (path, number)
        for (path, _), own in zip(sort, keys, strict=True)
        if own is None
        for number in functions_among(depended_on(links, frozenset([path.partition(".")[0]])))
    ]
    return not unsafe or unsafe_query(scope, unsafe)


def ways_of(
    scope: Scope,
    sort: Sort,
    version: int,
    keys: Sequence[list[SortKey] | None],
    way: Turned | None,
    query: Find | Batches,
) -> Procedure[list[Branch | Stages]]:
    """The branches of a version; `way` is what the filter is turned into, where it is not as written."""
    found = part(scope, query.filter, way or Turned(as_written=True, branches=()), version)
    known = [own for own in keys if own is not None]
    if len(known) == len(keys):
        return [*branches_of(found, sort, known)]
    ways: list[Branch | Stages] = []
    left = found
    names = frozenset(path.partition(".")[0] for path, _ in sort)
    inside = upgraded_inside(scope, version, names)
    if inside is not None:
        safe, upgrade = inside
        before = [{"$set": {STORED: "$$ROOT"}}, *upgrade]
        ways.append(Branch(filter={"$and": [found, safe]}, keys=sort, constants={}, before=before, kept=STORED))
        left = {"$and": [found, {"$nor": [safe]}]}
    keyed = yield from sorted_by(scope, left, [path for path, _ in sort], query.options)
    return [*ways, at_hand(scope.name, keyed)] if keyed else ways
