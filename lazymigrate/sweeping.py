"""What a sweep reports: values."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Progress", "ProgressListener", "StoppedBy", "SweepReport"]

StoppedBy = Literal["finished", "limit", "errored"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a sweep is: documents done of those that were outdated when it began."""

    done: int
    total: int
    conflicts: int
    quarantined: int


ProgressListener = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did, and what a fresh count found afterwards.

    `remaining` counts everything that is still outdated, listed in the quarantine or not. `complete`: nothing is
    outdated and no stamp is invalid.
    """

    collection: str
    upgraded: int
    conflicts: int
    quarantined: int
    remaining: int
    passes: int
    complete: bool
    stopped_by: StoppedBy

    def __str__(self) -> str:
        state = f"{self.remaining:,} still outdated" if self.remaining else "documents with an invalid stamp remain"
        if self.complete:
            state = "complete"
        passes = "1 pass" if self.passes == 1 else f"{self.passes} passes"
        return (
            f"{self.collection}: {self.upgraded:,} upgraded in {passes}, {self.conflicts:,} conflicts, "
            f"{self.quarantined:,} quarantined; {state} ({self.stopped_by})"
        )

    def to_json(self) -> str:
        """The report as a JSON object."""
        return json.dumps(asdict(self))
