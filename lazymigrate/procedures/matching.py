"""What a filter for the newest shape means for documents as they are stored, whatever their versions.

For each outdated version that may be there the filter is turned into one that finds the same documents at that version
(`lazymigrate.query`). All of them go to the server as one `$or`, so that a document which is upgraded meanwhile is in one
branch or in the other. What cannot be turned round is found by its `_id`s: matched by the server after the upgrade stages,
or, where a function has to be run, read, upgraded here, and matched by the server's own matcher.

**Which versions are there.** With a backlog index any may be, and all are asked for, at the price of an empty index range
each. Without it, the collection is counted at most every `Policy.recheck` seconds, and what has come since is not known.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lazymigrate.backlog import index
from lazymigrate.commands import Clock, Procedure, StampCounts
from lazymigrate.coverage import Coverage
from lazymigrate.exceptions import UnsafeQueryError, UnsafeQueryWarning
from lazymigrate.procedures.asking import Meant
from lazymigrate.procedures.coverage import whole_index
from lazymigrate.procedures.scanning import identities
from lazymigrate.query import Rewriting, rewrite, touched
from lazymigrate.scope import Scope
from lazymigrate.versions import at_versions

__all__ = ["meant", "possible_versions", "stored_versions", "unsafe_query"]

Filter = Mapping[str, Any]
Options = Mapping[str, Any]

REMEDIES = "Declare the revision with operations, say with touches= which fields its function uses, or sweep the collection first"


def meant(scope: Scope, filter: Filter, options: Options, *, versions: Sequence[int] | None = None) -> Procedure[Meant]:
    """The filter for the stored documents; `versions`: of which it is known that they are there."""
    written = Meant.written(filter)
    if not isinstance(filter, Mapping) or not touched(scope.schema, filter):
        return written
    if versions is None:
        versions = yield from possible_versions(scope)
    rewritten = [rewriting for rewriting in rewritings(scope, filter, versions, options) if rewriting.kind != "same"]
    hard = any(rewriting.filter is None for rewriting in rewritten)
    if hard and scope.presence.indexed:  # what is costly is only done for what is there
        there = yield from stored_versions(scope)
        rewritten = [rewriting for rewriting in rewritten if rewriting.version in there]
    parts: dict[int, Filter] = {}
    for rewriting in rewritten:
        own = rewriting.filter
        if own is None:
            own = yield from found(scope, filter, rewriting, options)
        if own is not None:
            parts[rewriting.version] = own
    return combined(scope, filter, parts) if parts else written


def rewritings(scope: Scope, filter: Filter, versions: Iterable[int], options: Options) -> list[Rewriting]:
    """The filter at each of these versions."""
    collation = options.get("collation") is not None
    return [rewrite(scope.schema, filter, version, collation=collation) for version in versions]


def combined(scope: Scope, filter: Filter, parts: Mapping[int, Filter]) -> Meant:
    """One filter out of those of several versions; versions with the same one share a branch."""
    schema = scope.schema
    groups: list[tuple[Filter, list[int]]] = []
    for version, own in parts.items():
        for known, among in groups:
            if known == own:
                among.append(version)
                break
        else:
            groups.append((own, [version]))
    named = [{"$and": [own, at_versions(schema.version_field, group, schema.base)]} for own, group in groups]
    of_parts = at_versions(schema.version_field, [*parts], schema.base)
    others = {"$and": [filter, {"$nor": [of_parts]}]}
    left = [version for version in range(schema.oldest, schema.settled) if version not in parts]
    as_written = [{"$and": [filter, at_versions(schema.version_field, left, schema.base)]}] if left else []
    return Meant(
        filter={"$or": [others, *named]},
        outdated={"$or": [*as_written, *named]},
        others=others,
        parts={
            version: {"$and": [own, at_versions(schema.version_field, [version], schema.base)]}
            for version, own in parts.items()
        },
    )


def found(scope: Scope, filter: Filter, rewriting: Rewriting, options: Options) -> Procedure[Filter | None]:
    """The documents of a version that match, by their `_id`s; None to ask as it is written."""
    if rewriting.kind == "unsafe" and not unsafe_query(scope, rewriting.unsafe):
        return None
    ids = yield from identities(scope, filter, rewriting.version, options)
    return {"_id": {"$in": ids}}


def unsafe_query(scope: Scope, unsafe: Sequence[tuple[str, int]]) -> bool:
    """What the policy says to a query that functions may make wrong: whether to scan. It warns once, or raises."""
    if scope.policy.on_unsafe_query == "scan":
        return True
    for field, revision in unsafe:
        said = (
            f"{scope.name}: {field!r} is asked for, which revision {revision} may touch, a plain function; documents that it has "
            "yet to upgrade"
        )
        if scope.policy.on_unsafe_query == "raise":
            raise UnsafeQueryError(
                f"{said} cannot be asked for exactly. Nothing was sent. {REMEDIES}, or accept the price of "
                "Policy(on_unsafe_query='scan').",
                collection=scope.name,
                field=field,
                revision=revision,
            )
        notice = f"unsafe {field} {revision}"
        if notice not in scope.said:
            scope.said.add(notice)
            warnings.warn(f"{said} may be missed. {REMEDIES}.", UnsafeQueryWarning, stacklevel=2)
    return False


def possible_versions(scope: Scope) -> Procedure[Sequence[int]]:
    """The outdated versions that may be there."""
    schema, presence = scope.schema, scope.presence
    now = yield Clock()
    if presence.due(now, scope.policy.recheck):
        presence.indexed = (yield from whole_index(scope)) is not None
        if not presence.indexed:
            presence.seen = yield from stored_versions(scope)
        presence.looked = now
    return range(schema.oldest, schema.settled) if presence.indexed else sorted(presence.seen)


def stored_versions(scope: Scope) -> Procedure[frozenset[int]]:
    """The outdated versions that are there now, from the backlog index where it is known to be there."""
    schema = scope.schema
    backlog = index(schema).filter if scope.presence.indexed else None
    counted = Coverage.of(schema, scope.name, (yield StampCounts(schema.version_field, backlog)))
    return frozenset(version for version in counted.by_version if schema.oldest <= version < schema.settled)
