"""How many documents to take at once, so that each slice of work takes about the same time.

A slice that takes long holds everything up: other users of the server, the checkpoint, the operator who wants to stop.
Slices that are too small spend their time on the way to the server and back.

The size follows the time of the last slice: it grows by the root of what would be possible, so that one lucky slice does
not double the load, and shrinks at once by all that is too much. But what even the smallest slices take (the round trips,
a write concern that other data centres must confirm) no size can save: where that is more than half of the target, a slice
may take twice that, up to four times the target.
"""

from __future__ import annotations

from math import isfinite, sqrt

__all__ = ["Pace"]

MOST_GROWTH = 2.0
MOST_SHRINKING = 4.0
TINY = 4  # a slice of less than a quarter of the size says little of a whole one
STRETCH = 4.0  # how many times the target a slice may take where even the smallest take long
SMALL = 4  # up to how many times the lowest size a slice is one of the smallest
FADING = 0.99  # what is left of what the smallest slices took, after one that was not small


class Pace:
    """The size of the next slice, always from `lowest` to `highest`; `target` is how many seconds one is to take.

    It begins with `start` documents. With `fixed`, the size is that and never changes.
    """

    __slots__ = ("_fixed", "_highest", "_least", "_lowest", "_size", "_target")

    def __init__(
        self,
        *,
        target: float = 0.2,
        lowest: int = 10,
        highest: int = 5000,
        start: int = 500,
        fixed: int | None = None,
    ) -> None:
        if not (isfinite(target) and target > 0):
            raise ValueError(f"target={target!r}: choose a number of seconds above 0.")
        if not 1 <= lowest <= highest:
            raise ValueError(f"lowest={lowest!r}, highest={highest!r}: choose 1 or more, the lowest first.")
        if fixed is not None and fixed < 1:
            raise ValueError(f"fixed={fixed!r}: choose 1 or more, or None for a size that adapts.")
        self._target = target
        self._lowest = lowest
        self._highest = highest
        self._fixed = fixed
        self._size = float(min(max(start, lowest), highest))
        self._least = 0.0

    @property
    def size(self) -> int:
        """How many documents the next slice is to have."""
        return self._fixed or round(self._size)

    @property
    def goal(self) -> float:
        """How many seconds a slice is to take: the target, or more where even the smallest take long."""
        return min(max(self._target, 2 * self._least), STRETCH * self._target)

    def worked(self, documents: int, seconds: float) -> None:
        """Learn from a slice that was done."""
        if documents < 1:
            return
        seconds = max(seconds, 1e-6)
        self._learn(documents, seconds)
        if documents * TINY < self._size and seconds <= self.goal:
            return
        change = documents * self.goal / seconds / self._size
        self._resize(sqrt(change) if change > 1 else change)

    def failed(self) -> None:
        """Learn from a slice that failed: the next one has half as many."""
        self._resize(0.5)

    def _resize(self, change: float) -> None:
        size = self._size * min(max(change, 1 / MOST_SHRINKING), MOST_GROWTH)
        self._size = min(max(size, self._lowest), self._highest)

    def _learn(self, documents: int, seconds: float) -> None:
        """Remember what the smallest slices take, for as long as there are some now and then."""
        if documents <= SMALL * self._lowest:
            self._least = min(seconds, STRETCH * self._target / 2)
        else:
            self._least *= FADING
