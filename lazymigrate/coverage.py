"""How many documents are at each version: a value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lazymigrate.schema import Schema
from lazymigrate.versions import parse_stamp

__all__ = ["Coverage"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """A count of one collection, exact at the moment it was taken.

    - `by_version`: documents per version, as stamped; unstamped ones under base, those ahead included.
    - `at_head`: at head, or at a version from which only empty revisions lead there.
    - `outdated`: valid versions below; `ahead`: above head; `retired`: below the oldest this code can upgrade;
      `invalid`: with a stamp that is not a version. With `at_head` these add up to `total`.
    - `quarantined`: how many documents of the collection are listed in the quarantine, which nothing leaves by itself.
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

    @property
    def ratio(self) -> float:
        """The share of documents at head, from 0 to 1; 1.0 for an empty collection."""
        return self.at_head / self.total if self.total else 1.0

    @property
    def complete(self) -> bool:
        """Whether nothing is outdated, invalid or retired."""
        return not (self.outdated or self.invalid or self.retired)

    @classmethod
    def of(cls, schema: Schema, name: str, counts: Iterable[tuple[str, Any, int]], quarantined: int = 0) -> Coverage:
        """Classify counts per (BSON type of the stamp, the stamp where it is a number, how many)."""
        by_version: dict[int, int] = {}
        tally = dict.fromkeys(("total", "at_head", "outdated", "ahead", "invalid", "retired"), 0)
        for kind, stamp, count in counts:
            tally["total"] += count
            absent = kind in ("missing", "null", "undefined")
            number = kind in ("int", "long", "double", "decimal")
            version = parse_stamp(None if absent else stamp, schema.base) if absent or number else None
            if version is None:
                tally["invalid"] += count
                continue
            by_version[version] = by_version.get(version, 0) + count
            if version < schema.oldest:
                tally["retired"] += count
            elif version > schema.head:
                tally["ahead"] += count
            elif version >= schema.settled:
                tally["at_head"] += count
            else:
                tally["outdated"] += count
        ordered = dict(sorted(by_version.items()))
        return cls(collection=name, head=schema.head, by_version=ordered, quarantined=quarantined, **tally)

    def __str__(self) -> str:
        parts = [f"{self.at_head:,} of {self.total:,} documents at head ({self.ratio:.1%})"]
        for name in ("outdated", "ahead", "invalid", "retired", "quarantined"):
            count = getattr(self, name)
            if count:
                parts.append(f"{count:,} {name}")
        return f"{self.collection}: " + ", ".join(parts)

    def to_json(self) -> str:
        """The counts, `ratio` and `complete` as a JSON object; versions are its keys as strings."""
        document = {name: getattr(self, name) for name in self.__slots__ if name != "by_version"}
        document["by_version"] = {str(version): count for version, count in self.by_version.items()}
        return json.dumps({**document, "ratio": self.ratio, "complete": self.complete})
