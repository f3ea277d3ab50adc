"""Where collections stand, as one value that every report is made from.

Nothing in it grows with what is stored: versions that this code does not declare, stamps that are no versions and errors
of the quarantine are counted in groups, however many different ones there are. It holds no value of a document.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from lazymigrate.advice import next_step
from lazymigrate.coverage import Coverage
from lazymigrate.runs import Run
from lazymigrate.schema import Schema
from lazymigrate.trend import TrendPoint, forecast

__all__ = ["FORMAT", "CollectionOverview", "Failing", "Label", "Others", "Overview", "VersionLine"]

if TYPE_CHECKING:
    from datetime import datetime

FORMAT = 1  # of the JSON: it rises when a reader of the one before would be misled, not when something is added
Label = Literal["head", "at head", "outdated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLine:
    """One version that this code declares.

    - `name`: of the revision that leads to it, None for the oldest, to which none leads. `declared`: that one runs inside
      MongoDB, too. `empty`: it changes no document.
    - `documents`: how many are at this version; `label` is where it belongs.
    - `needed`: how many documents cannot do without the revision. `retirable`: it may be removed.
    """

    version: int
    name: str | None
    declared: bool
    empty: bool
    documents: int
    label: Label
    needed: int
    retirable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """Versions that this code does not declare, all together: how many different ones, from which to which, with how many
    documents.
    """

    versions: int = 0
    documents: int = 0
    lowest: int | None = None
    highest: int | None = None

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Others:
        """The group of these versions, each with its documents."""
        if not counts:
            return cls()
        return cls(versions=len(counts), documents=sum(counts.values()), lowest=min(counts), highest=max(counts))

    def __str__(self) -> str:
        if self.versions < 2:
            return "" if self.lowest is None else f"version {self.lowest}"
        return f"{self.versions:,} versions, {self.lowest} to {self.highest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Documents in the quarantine that failed alike: at the same `revision` (None: the result was refused) with an `error`
    of the same class. For the rest, however many kinds they are, `error` is None.
    """

    error: str | None
    revision: int | None
    documents: int
    kinds: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionOverview:
    """Where one collection stood when it was counted.

    - `coverage`: the counts. `versions`: the declared ones, the newest first; `ahead` and `retired` are the others.
    - `runs`: the last sweeps, the newest first. `failing`: the quarantine, what is most frequent first.
    - `trend`: recorded coverages, the oldest first, and `forecast`, when sweeps would be done at that pace.
    """

    collection: str
    schema: str
    taken: datetime
    coverage: Coverage
    versions: tuple[VersionLine, ...]
    ahead: Others
    retired: Others
    runs: tuple[Run, ...] = ()
    failing: tuple[Failing, ...] = ()
    trend: tuple[TrendPoint, ...] = ()
    forecast: datetime | None = None

    @classmethod
    def of(
        cls,
        schema: Schema,
        coverage: Coverage,
        *,
        taken: datetime,
        runs: Iterable[Run] = (),
        failing: Iterable[Failing] = (),
        trend: Sequence[TrendPoint] = (),
    ) -> CollectionOverview:
        """What the counts of a collection mean for its schema."""
        stored = coverage.by_version
        return cls(
            collection=coverage.collection,
            schema=schema.name,
            taken=taken,
            coverage=coverage,
            versions=tuple(lines(schema, coverage)),
            ahead=Others.of({version: count for version, count in stored.items() if version > schema.head}),
            retired=Others.of({version: count for version, count in stored.items() if version < schema.oldest}),
            runs=tuple(runs),
            failing=tuple(failing),
            trend=tuple(trend),
            forecast=None if coverage.complete else forecast(trend),
        )

    @property
    def run(self) -> Run | None:
        """The current run, which may be over; None where there never was one."""
        return self.runs[0] if self.runs else None

    @property
    def others(self) -> Others:
        """The versions that this code does not declare, on both sides."""
        both = (self.retired, self.ahead)
        bounds = [bound for group in both for bound in (group.lowest, group.highest) if bound is not None]
        return Others(
            versions=sum(group.versions for group in both),
            documents=sum(group.documents for group in both),
            lowest=min(bounds, default=None),
            highest=max(bounds, default=None),
        )

    @property
    def next_step(self) -> str:
        """What an operator does next, in a sentence or two: the first thing that stands in the way."""
        return next_step(self.schema, self.coverage, self.run)

    def to_dict(self) -> dict[str, Any]:
        """As data for JSON: times in ISO 8601, UTC."""
        counts = self.coverage
        return {
            "collection": self.collection,
            "schema": self.schema,
            "taken": self.taken.isoformat(),
            "head": counts.head,
            "oldest": counts.oldest,
            "total": counts.total,
            "at_head": counts.at_head,
            "outdated": counts.outdated,
            "quarantined": counts.quarantined,
            "ratio": counts.ratio,
            "complete": counts.complete,
            "retirable": counts.retirable,
            "source": counts.source,
            "sampled": counts.sampled,
            "interval": None if counts.interval is None else [*counts.interval],
            "versions": [asdict(line) for line in self.versions],
            "ahead": asdict(self.ahead),
            "retired": asdict(self.retired),
            "others": asdict(self.others),
            "invalid": {"documents": counts.invalid, "types": dict(counts.invalid_types)},
            "quarantine": [asdict(failing) for failing in self.failing],
            "runs": [run_data(run) for run in self.runs],
            "trend": [{**asdict(point), "taken": point.taken.isoformat()} for point in self.trend],
            "forecast": None if self.forecast is None else self.forecast.isoformat(),
            "next": self.next_step,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Where the collections of one database stood; `taken` when the last of them was counted."""

    taken: datetime
    release: str
    database: str
    collections: tuple[CollectionOverview, ...]

    @classmethod
    def of(cls, collections: Sequence[CollectionOverview], *, database: str, release: str) -> Overview:
        """The overview of these collections, of which there is at least one; `release` is that of this library."""
        taken = max(each.taken for each in collections)
        return cls(taken=taken, release=release, database=database, collections=tuple(collections))

    @property
    def complete(self) -> bool:
        """Whether every collection is complete."""
        return all(each.coverage.complete for each in self.collections)

    def to_json(self, *, indent: int | None = None) -> str:
        """The overview as a JSON object in ASCII, so that nothing in it is obeyed by a terminal."""
        document = {
            "format": FORMAT,
            "taken": self.taken.isoformat(),
            "lazymigrate": self.release,
            "database": self.database,
            "complete": self.complete,
            "collections": [each.to_dict() for each in self.collections],
        }
        return json.dumps(document, indent=indent)


def lines(schema: Schema, coverage: Coverage) -> Iterable[VersionLine]:
    revisions = {revision.version: revision for revision in schema.revisions}
    for version in range(schema.head, schema.oldest - 1, -1):
        revision = revisions.get(version)
        label: Label = "head" if version == schema.head else "at head" if version >= schema.settled else "outdated"
        yield VersionLine(
            version=version,
            name=None if revision is None else revision.name,
            declared=revision is not None and revision.declared,
            empty=revision is not None and revision.empty,
            documents=coverage.by_version.get(version, 0),
            label=label,
            needed=0 if revision is None else coverage.needed(version),
            retirable=revision is not None and version <= coverage.retirable,
        )


def run_data(run: Run) -> dict[str, Any]:
    """A run without its position, which holds `_id`s, and without what only its process needs."""
    dates = {"started": run.started, "updated": run.updated, "ended": run.ended}
    return {
        "id": str(run.id),
        "kind": run.kind,
        "target": run.target,
        "state": run.state,
        **{name: None if date is None else date.isoformat() for name, date in dates.items()},
        "host": run.host,
        "counts": {item.name: getattr(run.counts, item.name) for item in fields(run.counts)},
        "rate": run.rate,
        "waiting_for": run.waiting_for,
        "stopped_by": run.stopped_by,
        "error": run.error,
    }
