"""Which outdated versions there may be, as far as a collection object knows."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

__all__ = ["Presence"]

if TYPE_CHECKING:
    from lazymigrate.templates import Template


@dataclass(slots=True)
class Presence:
    """What was seen at the last look, and when (by a clock that only goes forward); at first, nothing.

    - `indexed`: there is an index that holds everything that is not at head. Then any version may be there, since asking for it
      costs next to nothing; else those that were `seen` are.
    - `leading`: the paths that the collection's indexes begin with. `collation`: it compares strings by one, where a query does
      not say otherwise.
    - `templates`: what became of queries since then, but for their values (`lazymigrate.templates`).
    - `forgotten`: how often this process made documents outdated.
    """

    looked: float | None = None
    indexed: bool = False
    seen: frozenset[int] = frozenset()
    leading: frozenset[str] = frozenset()
    collation: bool = False
    templates: dict[Hashable, Template] = field(default_factory=dict)
    forgotten: int = 0

    def due(self, now: float, recheck: float) -> bool:
        """Whether it is time for another look."""
        return self.looked is None or now - self.looked >= recheck

    def forget(self) -> None:
        """Look again before relying on anything: this process has just made documents outdated."""
        self.looked = None
        self.forgotten += 1
