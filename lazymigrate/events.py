"""What a collection tells those who listen, in the manner of `pymongo.monitoring`: counts, never documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Event", "EventKind", "Listener"]

EventKind = Literal["upgraded", "written_back", "conflict", "quarantined"]


@dataclass(frozen=True, slots=True)
class Event:
    """How many documents of a collection it happened to, all at once."""

    collection: str
    count: int


class Listener:
    """Hears what becomes of outdated documents; override what is of interest.

    It is called in the thread, or the task, of the operation and should return at once. An exception of its own is logged
    and fails nothing. Nothing is counted where nobody listens.
    """

    def upgraded(self, event: Event) -> None:
        """A read met outdated documents and upgraded them in memory."""

    def written_back(self, event: Event) -> None:
        """Upgraded documents were stored after a read."""

    def conflict(self, event: Event) -> None:
        """Compare-and-sets of a write-back, a save or a sweep lost: somebody else changed these documents first."""

    def quarantined(self, event: Event) -> None:
        """Documents that cannot be upgraded were listed in the quarantine."""
