"""What a filter for the newest shape means for documents as they are stored, whatever their versions.

For each outdated version that may be there the filter is turned into one that finds the same documents at that version
(`lazymigrate.query`), and all of them go to the server as one `$or`. What cannot be turned round is found by its `_id`s: matched by the server after the upgrade stages,
or, where a function has to be run, read, upgraded here, and matched by the server's own matcher.

**Which versions are there.** With a backlog index any may be, and all are asked for, at the price of an empty index range
each. Without it, the collection is counted at most every `Policy.recheck` seconds, and what has come since is not known.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lazymigrate.commands import (
    Aggregate,
    Attempt,
    Clock,
    CollectionOptions,
    Failure,
    ListIndexes,
    Procedure,
    StampCounts,
)
from lazymigrate.coverage import Coverage
from lazymigrate.exceptions import UnsafeQueryError, UnsafeQueryWarning
from lazymigrate.places import Turned, turned
from lazymigrate.presence import Look
from lazymigrate.procedures.asking import Meant, pinned
from lazymigrate.procedures.coverage import whole_index
from lazymigrate.procedures.scanning import identities
from lazymigrate.query import AS_STORED, NEAREST, Rewriting, rewrite, touched, touched_path
from lazymigrate.schema import Schema
from lazymigrate.scope import Scope
from lazymigrate.versions import at_versions

__all__ = [
    "at",
    "besides",
    "combined",
    "leading",
    "looked",
    "meant",
    "part",
    "possible_versions",
    "stored_versions",
    "unsafe_query",
    "versions_of",
    "way",
]

HISTORY = (
    600.0  # seconds: longer than a snapshot is kept (300), or a transaction may take (60), where nobody changed that
)
Filter = Mapping[str, Any]
Options = Mapping[str, Any]

REMEDIES = "Declare the revision with operations, say with touches= which fields its function uses, or sweep the collection first"


def meant(scope: Scope, filter: Filter, options: Options, *, versions: Sequence[int] | None = None) -> Procedure[Meant]:
    """The filter for the stored documents; `versions`: of which it is known that they are there."""
    schema = scope.schema
    if not isinstance(filter, Mapping) or not touched(schema, filter):
        return Meant.written(filter)
    near = {path: condition for path, condition in filter.items() if is_near(schema, path, condition)}
    if near and len(near) < len(filter):  # it cannot stand in an `$or`, and need not
        rest = {path: condition for path, condition in filter.items() if path not in near}
        beside = yield from meant(scope, rest, options, versions=versions)
        return Meant({**near, "$and": [beside.filter]}, {**near, "$and": [beside.others]}, beside.ways)
    if versions is None:
        versions = yield from possible_versions(scope, options)
    ways: dict[int, Turned] = {}
    hard: list[Rewriting] = []
    for version in versions:
        own = way(scope, filter, version, options)
        if isinstance(own, Rewriting):
            hard.append(own)
        elif own.branches or not own.as_written:
            ways[version] = own
    if hard and scope.presence.indexed and not pinned(options):  # what is costly is only done for what is there
        there = yield from stored_versions(scope)
        hard = [rewriting for rewriting in hard if rewriting.version in there]
    looked_for = [own.version for own in hard if own.kind == "inside" or unsafe_query(scope, own.unsafe)]
    for version, ids in (yield from identities(scope, filter, looked_for, options)).items():
        ways[version] = Turned(as_written=False, branches=({"_id": {"$in": ids}},))
    return combined(scope, filter, ways)


def is_near(schema: Schema, path: Any, condition: Any) -> bool:
    """Whether a condition asks for what is near, where no revision touches it."""
    return (
        isinstance(condition, Mapping)
        and not NEAREST.isdisjoint(condition)
        and isinstance(path, str)
        and not touched_path(schema, path)
    )


def way(scope: Scope, filter: Filter, version: int, options: Options) -> Turned | Rewriting:
    """The filter at a version, or why there is none."""
    quick = turned(scope.schema, filter, version)
    if quick is not None:
        return quick
    own = rewrite(scope.schema, filter, version, collation=compares_by_collation(scope, options))
    if own.kind == "same":
        return Turned(as_written=True, branches=())
    return own if own.filter is None else Turned(as_written=False, branches=(own.filter,))


def compares_by_collation(scope: Scope, options: Options) -> bool:
    """Whether the server may hold strings for equal that are not the same: by the query's collation, or the collection's."""
    return scope.presence.collation or options.get("collation") is not None


def combined(scope: Scope, filter: Filter, ways: Mapping[int, Turned]) -> Meant:
    """One filter out of those of several versions; versions with the same one share a branch.

    Those at which it finds no others than are meant as it is written stay in the first branch, which is for all others.
    """
    if not ways:
        return Meant.written(filter)
    schema = scope.schema
    groups: list[tuple[Filter, list[int]]] = []
    for version, own in ways.items():
        for branch in own.branches:
            for known, among in groups:
                if known == branch:
                    among.append(version)
                    break
            else:
                groups.append((branch, [version]))
    named = [at(scope, branch, versions) for branch, versions in groups]
    excluded = [version for version, own in ways.items() if not own.as_written]
    others = besides(schema, filter, excluded) if excluded else filter
    return Meant({"$or": [others, *named]} if named else others, others, ways)


def at(scope: Scope, filter: Filter, versions: Sequence[int], *, backlog: bool = False) -> dict[str, Any]:
    """The documents that match at these versions; in the form that the indexes of the collection serve best.

    `backlog`: the backlog index may be the one, whatever others there are.
    """
    schema = scope.schema
    alone = not backlog and not scope.presence.leading.isdisjoint(filter)
    stamped = at_versions(schema.version_field, versions, schema.base, alone=alone)
    return {"$and": [filter, stamped]} if not stamped.keys().isdisjoint(filter) else {**filter, **stamped}


def part(scope: Scope, filter: Filter, own: Turned, version: int) -> Filter:
    """The matching documents at one version: those of its branches, and those that it finds as it is written."""
    branches = [*own.branches, *([filter] if own.as_written else [])]
    return at(scope, branches[0] if len(branches) == 1 else {"$or": branches}, [version])


def besides(schema: Schema, filter: Filter, versions: Sequence[int]) -> Filter:
    """The documents that match and are at none of these versions."""
    return {"$and": [filter, {"$nor": [at_versions(schema.version_field, versions, schema.base, alone=True)]}]}


def unsafe_query(scope: Scope, unsafe: Sequence[tuple[str, int]]) -> bool:
    """What the policy says to a query that cannot be answered exactly: whether to scan. It warns once, or raises."""
    choice = scope.policy.on_unsafe_query
    as_stored = any(field in AS_STORED for field, _ in unsafe)
    if choice == "scan" and not as_stored:
        return True
    for field, revision in unsafe:
        if field in AS_STORED:
            said = f"{scope.name}: {field!r} sees documents as they are stored; those that revision {revision} has yet to upgrade"
            remedies = "Sweep the collection first"
        else:
            said = (
                f"{scope.name}: {field!r} is asked for, which revision {revision} may touch, a plain function; documents that it "
                "has yet to upgrade"
            )
            remedies = REMEDIES
        if choice != "warn":
            price = "" if as_stored else ", or accept the price of Policy(on_unsafe_query='scan')"
            raise UnsafeQueryError(
                f"{said} cannot be asked for exactly. Nothing was sent. {remedies}{price}.",
                collection=scope.name,
                field=field,
                revision=revision,
            )
        notice = f"unsafe {field} {revision}"
        if notice not in scope.said:
            scope.said.add(notice)
            warnings.warn(f"{said} may be missed. {remedies}.", UnsafeQueryWarning, stacklevel=outside())
    return False


def outside() -> int:
    """How far up the stack, from who asks, the nearest frame is that is not of this library."""
    frame, level = sys._getframe(1), 1  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "lazymigrate":
        frame, level = frame.f_back, level + 1
    return level


def possible_versions(scope: Scope, options: Options) -> Procedure[Sequence[int]]:
    """The outdated versions that a query with these options may meet."""
    return versions_of(scope.schema, (yield from looked(scope)), options)


def versions_of(schema: Schema, look: Look, options: Options) -> Sequence[int]:
    """Those that a look leaves possible."""
    if look.indexed:
        return range(schema.oldest, schema.settled)
    return sorted(look.lately if pinned(options) else look.seen)


def looked(scope: Scope) -> Procedure[Look]:
    """What the last look saw, which is `Policy.recheck` seconds ago at most."""
    presence = scope.presence
    now: float = yield Clock()
    before = presence.look
    if not presence.due(now, scope.policy.recheck):
        return before
    forgotten = presence.forgotten
    indexed = (yield from whole_index(scope)) is not None
    seen = frozenset[int]() if indexed else (yield from counted_versions(scope))
    indexes = yield Attempt(ListIndexes())
    found = yield Attempt(CollectionOptions())
    recent = {version: at for version, at in before.lately.items() if now - at < HISTORY}
    presence.look = Look(
        at=now,
        forgotten=forgotten,  # what this process has made outdated meanwhile, it may have missed
        indexed=indexed,
        seen=seen,
        lately=recent | dict.fromkeys(before.seen | seen, now),
        leading=frozenset() if isinstance(indexes, Failure) else leading(indexes),
        collation=not isinstance(found, Failure) and bool(found.get("collation")),
    )
    return presence.look


def stored_versions(scope: Scope) -> Procedure[frozenset[int]]:
    """The outdated versions that are there now: one look at the backlog index for each where it is there, else one scan."""
    schema = scope.schema
    if not scope.presence.indexed:
        return (yield from counted_versions(scope))
    looks: list[list[dict[str, Any]]] = [
        [
            {"$match": at_versions(schema.version_field, [version], schema.base)},
            {"$limit": 1},
            {"$project": {"_id": 0, "version": {"$literal": version}}},
        ]
        for version in range(schema.oldest, schema.settled)
    ]
    others: list[dict[str, Any]] = [{"$unionWith": {"coll": scope.name, "pipeline": look}} for look in looks[1:]]
    raws: list[bytes] = yield Aggregate([*looks[0], *others])
    return frozenset(scope.decode(raw)["version"] for raw in raws)


def counted_versions(scope: Scope) -> Procedure[frozenset[int]]:
    """The same by a scan."""
    schema = scope.schema
    counted = Coverage.of(schema, scope.name, (yield StampCounts(schema.version_field)))
    return frozenset(counted.by_version).intersection(range(schema.oldest, schema.settled))


def leading(indexes: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The paths that indexes begin with."""
    return frozenset(next(iter(index["key"]), "") for index in indexes)
