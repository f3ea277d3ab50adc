"""How coverage moves: counts over time, and when sweeps would be done at the pace of the last ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["TrendPoint", "forecast"]

LATELY = 10  # points: what was long ago says little about the pace of now
FAR = timedelta(days=3650)  # nobody plans beyond


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPoint:
    """One recorded coverage: when it was taken (UTC), how many documents there were, and how many at head.

    `stuck`: how many no sweep brings there: those ahead, invalid, retired or quarantined.
    """

    taken: datetime
    total: int
    at_head: int
    stuck: int = 0

    @property
    def behind(self) -> int:
        """How many were waiting for a sweep."""
        return max(0, self.total - self.at_head - self.stuck)

    @property
    def ratio(self) -> float:
        """The share at head, from 0 to 1."""
        return self.at_head / self.total if self.total else 1.0


def forecast(points: Sequence[TrendPoint]) -> datetime | None:
    """When nothing would be waiting for a sweep any more, by the line of least squares through the last points.

    None where that cannot be said: with fewer than two moments, where nothing is behind, where it does not become less, or
    beyond ten years.
    """
    recent = list(points)[-LATELY:]
    if len(recent) < 2 or not recent[-1].behind:
        return None
    first = recent[0].taken
    when = [(point.taken - first).total_seconds() for point in recent]
    behind = [float(point.behind) for point in recent]
    middle, level = sum(when) / len(when), sum(behind) / len(behind)
    spread = math.fsum((moment - middle) ** 2 for moment in when)
    if not spread:
        return None
    slope = math.fsum((m - middle) * (b - level) for m, b in zip(when, behind, strict=True)) / spread
    if slope >= 0:
        return None
    seconds = middle - level / slope
    if seconds > FAR.total_seconds() + when[-1]:
        return None
    return max(first + timedelta(seconds=seconds), recent[-1].taken)
