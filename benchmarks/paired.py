"""Ratios of two ways to do the same: in one process, right after each other, in an order drawn afresh; medians."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Pair", "measure"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Our way and the other; each gives the seconds that it took. `limit` is what the ratio is to be, at most."""

    ours: Callable[[], float]
    other: Callable[[], float]
    limit: float


def measure(pairs: Mapping[str, Pair], rounds: int) -> dict[str, list[float]]:
    """The ratios of each pair, round by round, printed with their median and quartiles."""
    found: dict[str, list[float]] = {name: [] for name in pairs}
    for number in range(rounds + 1):
        for name, pair in random.sample(list(pairs.items()), len(pairs)):
            seconds: dict[str, float] = {}
            sides: list[tuple[str, Any]] = [("ours", pair.ours), ("other", pair.other)]
            for side, way in random.sample(sides, 2):
                seconds[side] = way()
            if number:  # the first round warms the caches
                found[name].append(seconds["ours"] / seconds["other"])
    for name, values in found.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(f"  {name:52} {median:.3f}  ({low:.2f} to {high:.2f})  at most {pairs[name].limit}")
    return found
