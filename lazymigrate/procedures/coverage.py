"""Counting versions, and what follows from the counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lazymigrate.backlog import index
from lazymigrate.commands import At, EstimatedCount, Procedure, StampCounts
from lazymigrate.coverage import Coverage
from lazymigrate.exceptions import CoverageError
from lazymigrate.procedures.quarantine import count_listed
from lazymigrate.scope import Scope
from lazymigrate.wording import documents

__all__ = ["coverage", "proven", "require", "whole_index"]

NO_INDEXES = frozenset({13, 166})  # whoever may not list indexes, or asks for those of a view, counts without


def coverage(scope: Scope, *, sample: int | None = None) -> Procedure[Coverage]:
    """The documents per version: nothing but counts comes back.

    From the backlog index where there is one, at the cost of what is not at head; else in one scan. With `sample`, that
    many documents are drawn at random, and the counts are estimates.
    """
    if sample is not None and (type(sample) is not int or sample < 1):
        raise ValueError(f"{scope.name}: sample={sample!r}: it is a number of documents, at least 1.")
    schema, field = scope.schema, scope.schema.version_field
    quarantined = yield count_listed(scope)
    if sample is not None:
        total = yield EstimatedCount()
        counts = yield StampCounts(field, sample=sample)
        return Coverage.estimated(schema, scope.name, counts, quarantined, total=total)
    if (yield from whole_index(scope)) is None:
        return Coverage.of(schema, scope.name, (yield StampCounts(field)), quarantined)
    counts = yield StampCounts(field, index(schema).filter)
    return Coverage.of(schema, scope.name, counts, quarantined, total=(yield EstimatedCount()))


def whole_index(scope: Scope) -> Procedure[str | None]:
    """The name of an index that holds everything that is not at head; None where there is none, or nobody may know."""
    from lazymigrate.procedures.backlog import backlog_index

    try:
        return (yield from backlog_index(scope, whole=True))
    except Exception as error:
        if getattr(error, "code", None) in NO_INDEXES:
            return None
        raise


def proven(scope: Scope, conditions: Sequence[Mapping[str, Any]] = (), *, at_head: bool = False) -> Procedure[Coverage]:
    """The stamps of the documents that match all of these, as a majority has them: no failover undoes what it says.

    Where there is a backlog index, of those only that are not at head, unless the others matter, too (`at_head`).
    """
    parts = [*conditions]
    if not at_head and (yield from whole_index(scope)) is not None:
        parts.insert(0, index(scope.schema).filter)
    counts = yield At("proof", StampCounts(scope.schema.version_field, {"$and": parts} if parts else None))
    return Coverage.of(scope.schema, scope.name, counts)


def require(scope: Scope, version: int) -> Procedure[Coverage]:
    """That nothing is older than `version` and every stamp is one, as a majority has it; else `CoverageError`."""
    schema = scope.schema
    if type(version) is not int or not schema.oldest <= version <= schema.head:
        raise ValueError(f"{scope.name}: {version!r} is not a version from {schema.oldest} to {schema.head}.")
    counted = yield from proven(scope)
    enough = settled(scope, version)
    older = sum(count for stored, count in counted.by_version.items() if stored < enough)
    if older or counted.invalid:
        parts = [f"{documents(older)} older than version {version}"] if older else []
        parts += [f"{documents(counted.invalid)} with a stamp that is no version"] if counted.invalid else []
        raise CoverageError(
            f"{scope.name}: {' and '.join(parts)}. Sweep the collection first, and look what is in the quarantine.",
            coverage=counted,
        )
    return counted


def settled(scope: Scope, version: int) -> int:
    """The lowest version from which only empty revisions lead to this one."""
    full = [r.version for r in scope.schema.revisions if r.version <= version and not r.empty]
    return full[-1] if full else scope.schema.oldest
