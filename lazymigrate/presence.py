"""Which outdated versions there may be, as far as a collection object knows."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Presence"]


@dataclass(slots=True)
class Presence:
    """What was seen at the last look, and when (by a clock that only goes forward); at first, nothing.

    `leading` are the paths that the collection's indexes begin with. `indexed`: there is an index that holds everything that is not at head. Then any version may be there, since asking
    for it costs next to nothing; else those that were `seen` are.
    """

    looked: float | None = None
    indexed: bool = False
    seen: frozenset[int] = frozenset()
    leading: frozenset[str] = frozenset()

    def due(self, now: float, recheck: float) -> bool:
        """Whether it is time for another look."""
        return self.looked is None or now - self.looked >= recheck

    def forget(self) -> None:
        """Look again before relying on anything: this process has just made documents outdated."""
        self.looked = None
