"""How many documents are at each version: a value."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from lazymigrate.schema import Schema
from lazymigrate.versions import parse_stamp

__all__ = ["Coverage", "Source"]

Source = Literal["scan", "index", "sample"]
Counts = Iterable[tuple[str, Any, int]]

NAMED = 20  # versions that this code does not declare and that are named one by one
SURE = 1.96  # standard deviations for 95 of 100 samples
WAYS: Mapping[Source, str] = {
    "scan": "counted in one scan of the collection",
    "index": "counted from the backlog index, the total from the collection's metadata",
    "sample": "estimated from a sample",
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """A count of one collection at one moment: exact, or an estimate where `sampled` is not 0.

    - `by_version`: documents per version, as stamped; unstamped ones under base, those ahead included.
    - `at_head`: at head, or at a version from which only empty revisions lead there.
    - `outdated`: valid versions below; `ahead`: above head; `retired`: below the oldest this code can upgrade;
      `invalid`: with a stamp that is not a version, in `invalid_types` by the BSON type of the stamp. With `at_head` these
      add up to `total`.
    - `quarantined`: how many documents of the collection are listed in the quarantine, which nothing leaves by itself, not even what
      was mended or deleted since; `spared`: those of them that are outdated, which a sweep leaves to a retry.
    - `source`: `"scan"`, all documents were looked at; `"index"`, the backlog index was, in which only those are that are
      not at head: all others are then under head in `by_version`, and `total` is what the collection's metadata say;
      `"sample"`, `sampled` documents were drawn at random, and the true `ratio` is within `interval` in 95 of 100 cases.
    """

    collection: str
    head: int
    total: int
    by_version: Mapping[int, int] = field(default_factory=dict)
    at_head: int = 0
    outdated: int = 0
    ahead: int = 0
    invalid: int = 0
    retired: int = 0
    quarantined: int = 0
    oldest: int = 0
    settled: int = 0
    invalid_types: Mapping[str, int] = field(default_factory=dict)
    source: Source = "scan"
    sampled: int = 0
    interval: tuple[float, float] | None = None
    spared: int = 0

    @property
    def to_sweep(self) -> int:
        """The outdated documents that a sweep takes."""
        return max(0, self.outdated - self.spared)

    @property
    def ratio(self) -> float:
        """The share of documents at head, from 0 to 1; 1.0 for an empty collection."""
        return self.at_head / self.total if self.total else 1.0

    @property
    def complete(self) -> bool:
        """Whether nothing is outdated, invalid or retired; a sample proves it only where it was all there is."""
        return not (self.outdated or self.invalid or self.retired) and self.sampled in (0, self.total)

    def needed(self, revision: int) -> int:
        """How many documents cannot do without the revision of this number: those below it, retired ones apart.

        More than there are where they were counted from the backlog index and only empty revisions follow: it does not
        tell their documents from those at head.
        """
        merged = self.source == "index" and self.settled < revision <= self.head
        below = sum(count for version, count in self.by_version.items() if self.oldest <= version < revision)
        return below + (self.by_version.get(self.head, 0) if merged else 0)

    @property
    def retirable(self) -> int:
        """The highest version up to which all revisions can be retired, since no document needs them; else `oldest`.

        A sample proves nothing, and an invalid stamp may hide any version: `oldest` then, too.
        """
        if self.invalid or self.sampled not in (0, self.total):
            return self.oldest
        return max((n for n in range(self.oldest, self.head + 1) if not self.needed(n)), default=self.oldest)

    @classmethod
    def of(
        cls,
        schema: Schema,
        name: str,
        counts: Counts,
        quarantined: int = 0,
        *,
        total: int | None = None,
    ) -> Coverage:
        """Classify counts per (BSON type of the stamp, the stamp where it is a number, how many).

        With `total`, the counts are those of documents that are not at head, and all others are.
        """
        by_version: Counter[int] = Counter()
        types: Counter[str] = Counter()
        for kind, stamp, count in counts:
            absent = kind in ("missing", "null", "undefined")
            number = kind in ("int", "long", "double", "decimal")
            version = parse_stamp(None if absent else stamp, schema.base) if absent or number else None
            if version is None:
                types[kind] += count
            else:
                by_version[version] += count
        seen = by_version.total() + types.total()
        if total is not None and total > seen:  # the metadata may lag behind the index, and never say less than is seen
            by_version[schema.head] += total - seen
        tally = Counter[str]()
        for version, count in by_version.items():
            tally[place(schema, version)] += count
        return cls(
            collection=name,
            head=schema.head,
            total=by_version.total() + types.total(),
            by_version=dict(sorted(by_version.items())),
            at_head=tally["at_head"],
            outdated=tally["outdated"],
            ahead=tally["ahead"],
            invalid=types.total(),
            retired=tally["retired"],
            quarantined=quarantined,
            oldest=schema.oldest,
            settled=schema.settled,
            invalid_types=dict(sorted(types.items())),
            source="scan" if total is None else "index",
        )

    @classmethod
    def estimated(cls, schema: Schema, name: str, counts: Counts, quarantined: int = 0, *, total: int) -> Coverage:
        """What counts of a random sample say of a collection of `total` documents."""
        drawn = list(counts)
        sample = cls.of(schema, name, drawn)
        total = max(total, sample.total)
        scaled = [(kind, stamp, count) for (kind, stamp, _), count in zip(drawn, shares(drawn, total), strict=True)]
        found = cls.of(schema, name, scaled, quarantined)
        whole = sample.total == total
        interval = (sample.ratio, sample.ratio) if whole else wilson(sample.at_head, sample.total)
        return replace(found, source="sample", sampled=sample.total, interval=interval)

    def __str__(self) -> str:
        said = f"{self.at_head:,} of {self.total:,} documents at head ({percent(self.ratio)})"
        if self.interval is not None and self.sampled < self.total:
            low, high = map(percent, self.interval)
            said = f"about {percent(self.ratio)} of {self.total:,} documents at head ({low} to {high}, from a sample of {self.sampled:,})"
        parts = [said]
        for name in ("outdated", "ahead", "invalid", "retired", "quarantined"):
            count = getattr(self, name)
            if count:
                parts.append(f"{count:,} {name}")
        return f"{self.collection}: " + ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """The counts, `ratio`, `complete` and `retirable`; versions are keys as strings.

        Of the versions that this code does not declare, the twenty with the most documents are named, and the others
        are in `other_versions`: how many they are, and how many documents have them.
        """
        named, others = self.named()
        document = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {
            **document,
            "by_version": {str(version): count for version, count in named.items()},
            "other_versions": {"versions": len(others), "documents": sum(others.values())},
            "invalid_types": dict(self.invalid_types),
            "ratio": self.ratio,
            "complete": self.complete,
            "retirable": self.retirable,
        }

    def named(self) -> tuple[dict[int, int], dict[int, int]]:
        """`by_version` in two: what is worth a line each, and all the others."""
        foreign = {v: count for v, count in self.by_version.items() if not self.oldest <= v <= self.head}
        frequent = sorted(foreign, key=lambda version: (-foreign[version], version))[:NAMED]
        named = {v: count for v, count in self.by_version.items() if v not in foreign or v in frequent}
        return named, {v: count for v, count in foreign.items() if v not in frequent}

    def to_json(self) -> str:
        """`to_dict` as a JSON object."""
        return json.dumps(self.to_dict())

    @property
    def way(self) -> str:
        """How it was counted, in words."""
        return WAYS[self.source]


def place(schema: Schema, version: int) -> str:
    """Where a version belongs."""
    if version < schema.oldest:
        return "retired"
    if version > schema.head:
        return "ahead"
    return "at_head" if version >= schema.settled else "outdated"


def percent(ratio: float) -> str:
    """A share in percent, never rounded to all or nothing that it is not."""
    if 0.999 < ratio < 1:
        return f"{math.floor(ratio * 100_000) / 1000:.3f}%"
    return f"{ratio:.1%}" if not 0 < ratio < 0.001 else f"{math.ceil(ratio * 100_000) / 1000:.3f}%"


def shares(drawn: list[tuple[str, Any, int]], total: int) -> list[int]:
    """What each count of a sample stands for in a total; together exactly that, the largest remainders rounded up."""
    size = sum(count for _, _, count in drawn)
    exact = [count * total / size for _, _, count in drawn] if size else []
    rounded = [math.floor(share) for share in exact]
    rest = sorted(range(len(exact)), key=lambda index: rounded[index] - exact[index])
    for index in rest[: total - sum(rounded)]:
        rounded[index] += 1
    return rounded


def wilson(hits: int, size: int) -> tuple[float, float]:
    """The interval that holds the true share in 95 of 100 samples (E. B. Wilson, 1927); all of it where nothing was drawn."""
    if not size:
        return (0.0, 1.0)
    share, square = hits / size, SURE * SURE
    middle = (share + square / (2 * size)) / (1 + square / size)
    half = SURE / (1 + square / size) * math.sqrt(share * (1 - share) / size + square / (4 * size * size))
    return (0.0 if hits == 0 else max(0.0, middle - half), 1.0 if hits == size else min(1.0, middle + half))
