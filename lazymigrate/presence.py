"""Which outdated versions there may be, as far as a collection object knows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

__all__ = ["Look", "Presence"]

if TYPE_CHECKING:
    from lazymigrate.templates import Template


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a collection saw, and when it was (`at`, by a clock that only goes forward); None for no look at all.

    - `indexed`: there is an index that holds everything that is not at head. Then any version may be there, since asking for it
      costs next to nothing; else those that were `seen` are.
    - `lately`: versions that were there in the last minutes, and when: a transaction or a snapshot may be as old as that.
    - `leading`: the paths that the collection's indexes begin with. `collation`: it compares strings by one, where a query does
      not say otherwise.
    - `templates`: what became of queries since then, but for their values (`lazymigrate.templates`). It rests on all of this.
    - `forgotten`: how often this process had made documents outdated when the look began.
    """

    at: float | None = None
    forgotten: int = 0
    indexed: bool = False
    seen: frozenset[int] = frozenset()
    lately: Mapping[int, float] = field(default_factory=dict)
    leading: frozenset[str] = frozenset()
    collation: bool = False
    templates: dict[Hashable, Template] = field(default_factory=dict)


@dataclass(slots=True)
class Presence:
    """The last `look`, replaced as a whole by the next one: threads that share a collection object never see half of it.

    `forgotten`: how often this process made documents outdated.
    """

    look: Look = field(default_factory=Look)
    forgotten: int = 0

    def due(self, now: float, recheck: float) -> bool:
        """Whether it is time for another look."""
        look = self.look
        return look.at is None or look.forgotten != self.forgotten or now - look.at >= recheck

    def forget(self) -> None:
        """Look again before relying on anything: this process has just made documents outdated, or an index."""
        self.forgotten += 1

    @property
    def indexed(self) -> bool:
        """As the last look saw it."""
        return self.look.indexed

    @property
    def leading(self) -> frozenset[str]:
        """As the last look saw it."""
        return self.look.leading

    @property
    def collation(self) -> bool:
        """As the last look saw it."""
        return self.look.collation
