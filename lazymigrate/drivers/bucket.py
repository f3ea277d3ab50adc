"""A token bucket: so many a second on the average, and no more than a second's worth at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from lazymigrate.commands import Allowance

__all__ = ["Bucket"]


class Bucket:
    """What may still be taken; shared by the threads that use a collection object."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._filled: float | None = None
        self._tokens = 0.0

    def take(self, command: Allowance) -> int:
        """How many of those that are wanted may be taken now; they are taken then."""
        most = max(command.rate, 1.0)
        with self._lock:
            now = self._clock()
            since = most if self._filled is None else (now - self._filled) * command.rate
            self._tokens = min(most, self._tokens + since)
            self._filled = now
            taken = min(command.wanted, int(self._tokens))
            self._tokens -= taken
        return taken
