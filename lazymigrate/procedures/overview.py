"""Gathering what is known of one collection: its counts, its sweeps, its quarantine, and how it came here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import bson

from lazymigrate.commands import Aggregate, At, Now, Procedure
from lazymigrate.overview import CollectionOverview, Failing
from lazymigrate.procedures.coverage import coverage
from lazymigrate.procedures.journal import record_coverage, trend
from lazymigrate.procedures.quarantine import entries
from lazymigrate.procedures.runs import history
from lazymigrate.quarantine import between
from lazymigrate.scope import Scope

__all__ = ["overview"]

RUNS = 10
POINTS = 100
KINDS = 20  # of failures that are named one by one
LONGEST = 100  # characters of the name of an error's class

Group = tuple[Any, Any, int]  # class of the error, revision, documents


def overview(scope: Scope, *, sample: int | None = None, record: bool = False) -> Procedure[CollectionOverview]:
    """Where the collection stands; nothing is written unless the count is to be recorded in the journal.

    `sample`: estimate from so many documents drawn at random instead of counting. What it costs beside the count does
    not grow with the collection, and of the quarantine nothing but counts comes back.
    """
    taken = yield Now()
    counts = yield from coverage(scope, sample=sample)
    if record:
        yield from record_coverage(counts)
    groups, rest = (yield from failures(scope)) if counts.quarantined else ([], None)
    runs = yield from history(scope, RUNS)
    points = yield from trend(scope, POINTS)
    failing = [named(group) for group in groups]
    return CollectionOverview.of(
        scope.schema,
        counts,
        taken=taken,
        runs=runs,
        failing=failing if rest is None else [*failing, rest],
        trend=points,
    )


def failures(scope: Scope) -> Procedure[tuple[list[Group], Failing | None]]:
    """The most frequent failures in the quarantine, and all the others in one."""
    if scope.inside:
        raws = yield At("quarantine", Aggregate(by_failure(scope)))
        if not raws:  # released meanwhile
            return [], None
        found = bson.decode(raws[0])
        groups = [(group["_id"].get("error"), group["_id"].get("revision"), group["count"]) for group in found["first"]]
        return groups, others(found["documents"], found["kinds"], groups)
    listed = yield from entries(scope)
    tally = Counter((entry.error, entry.revision) for entry in listed)
    groups = [(error, revision, count) for (error, revision), count in tally.most_common(KINDS)]
    return groups, others(len(listed), len(tally), groups)


def by_failure(scope: Scope) -> list[dict[str, Any]]:
    """The pipeline that counts the listed documents by what failed: one document comes out of it."""
    return [
        {"$match": between(scope.name)},
        {"$group": {"_id": {"error": "$error", "revision": "$revision"}, "count": {"$sum": 1}}},
        {"$sort": {"count": -1, "_id": 1}},
        {
            "$group": {
                "_id": None,
                "kinds": {"$sum": 1},
                "documents": {"$sum": "$count"},
                "first": {"$firstN": {"n": KINDS, "input": "$$ROOT"}},
            }
        },
    ]


def others(documents: int, kinds: int, groups: Iterable[Group]) -> Failing | None:
    """What is not among these groups; None where that is nothing."""
    counts = [count for _, _, count in groups]
    if kinds == len(counts):
        return None
    return Failing(error=None, revision=None, documents=documents - sum(counts), kinds=kinds - len(counts))


def named(group: Group) -> Failing:
    """A group as it is reported: anybody may have written it, so only what it should be is taken over."""
    error, revision, documents = group
    number = isinstance(revision, int) and not isinstance(revision, bool)
    name = error[:LONGEST] if isinstance(error, str) and error else "unknown"
    return Failing(error=name, revision=int(revision) if number else None, documents=documents)
