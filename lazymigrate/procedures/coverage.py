"""Counting versions, and what follows from the counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lazymigrate.backlog import conditions, index
from lazymigrate.commands import At, Count, EstimatedCount, Procedure, StampCounts
from lazymigrate.coverage import Coverage
from lazymigrate.exceptions import CoverageError
from lazymigrate.procedures.quarantine import count_listed, count_listed_among
from lazymigrate.scope import Scope
from lazymigrate.versions import outdated_filter
from lazymigrate.wording import documents

__all__ = ["coverage", "proven", "require", "whole_index"]

NO_INDEXES = frozenset({13, 166})  # whoever may not list indexes, or asks for those of a view, counts without


def coverage(scope: Scope, *, sample: int | None = None, listed: bool = True) -> Procedure[Coverage]:
    """The documents per version: nothing but counts comes back.

    From the backlog index where there is one, at the cost of what is not at head; else in one scan. With `sample`, that
    many documents are drawn at random, and the counts are estimates. Without `listed`, the quarantine is not asked.
    """
    if sample is not None and (type(sample) is not int or sample < 1):
        raise ValueError(f"{scope.name}: sample={sample!r}: it is a number of documents, at least 1.")
    schema, field = scope.schema, scope.schema.version_field
    quarantined = (yield count_listed(scope)) if listed else 0
    if sample is not None:
        total = yield EstimatedCount()
        counts = yield StampCounts(field, sample=sample)
        counted = Coverage.estimated(schema, scope.name, counts, quarantined, total=total)
    elif (yield from whole_index(scope)) is None:
        counted = Coverage.of(schema, scope.name, (yield StampCounts(field)), quarantined)
    else:
        counts = yield from of_backlog(scope)
        counted = Coverage.of(schema, scope.name, counts, quarantined, total=(yield EstimatedCount()))
    if quarantined and counted.outdated:
        outdated = outdated_filter(field, schema.oldest, schema.settled, schema.base)
        counted = replace(counted, spared=(yield from count_listed_among(scope, outdated)))
    return counted


def of_backlog(scope: Scope) -> Procedure[list[tuple[str, Any, int]]]:
    """The stamps of the documents that are not at head, from the backlog index alone, and no document is fetched for it.

    Asked for at once, all of them are fetched: 1.8 seconds instead of 1.0 for 250,000 of 1 KB. Stamps that are arrays would be
    counted by their elements, too: where there are such, all is asked for at once.
    """
    schema, field = scope.schema, scope.schema.version_field
    asked = conditions(schema)
    numbers = [condition for condition in asked if isinstance(condition, dict) and "$type" not in condition]
    odd = [{field: condition} for condition in asked if condition is not None and condition not in numbers]
    counts: list[tuple[str, Any, int]] = [*(yield StampCounts(field, {"$or": odd}))]
    if any(kind == "array" for kind, _, _ in counts):
        return [*(yield StampCounts(field, index(schema).filter))]
    for condition in numbers:
        counts += yield StampCounts(field, {field: condition})
    if None in asked:
        counts.append(("missing", None, (yield Count({field: None}))))
    return counts


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
