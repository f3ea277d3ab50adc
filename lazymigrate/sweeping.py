"""What a sweep is asked for and what it reports: values."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Progress", "ProgressListener", "StoppedBy", "SweepReport"]

StoppedBy = Literal["finished", "limit", "max_seconds", "cancelled", "errored", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a sweep is.

    - `done` documents of the `total` that were outdated when it began; `rate`: documents per second, lately.
    - `conflicts`: lost to others so far; `quarantined`: listed so far.
    - `waiting_for`: why it waits just now; None while it works.
    - `state`: of its run (`"running"`, `"paused"`, …); `lag`: seconds that the slowest member follows behind, if known.
    """

    done: int = 0
    total: int = 0
    rate: float = 0.0
    conflicts: int = 0
    quarantined: int = 0
    waiting_for: str | None = None
    state: str = "running"
    lag: float | None = None


ProgressListener = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What a sweep did, and what a fresh count found afterwards.

    `remaining` counts everything that is still outdated, listed in the quarantine or not. `complete`: nothing is
    outdated and no stamp is invalid. `seconds` is what it took, waits included. `dry_run`: nothing was written, and
    `upgraded`, `quarantined` say what would have been.
    """

    collection: str
    upgraded: int = 0
    conflicts: int = 0
    quarantined: int = 0
    remaining: int = 0
    passes: int = 0
    seconds: float = 0.0
    complete: bool = False
    stopped_by: StoppedBy = "finished"
    dry_run: bool = False

    def __str__(self) -> str:
        state = f"{self.remaining:,} still outdated" if self.remaining else "documents with an invalid stamp remain"
        if self.complete:
            state = "complete"
        passes = "1 pass" if self.passes == 1 else f"{self.passes} passes"
        upgraded = "would be upgraded" if self.dry_run else "upgraded"
        return (
            f"{self.collection}: {self.upgraded:,} {upgraded} in {passes}, {self.conflicts:,} conflicts, "
            f"{self.quarantined:,} quarantined; {state} ({self.stopped_by})"
        )

    def to_json(self) -> str:
        """The report as a JSON object."""
        return json.dumps(asdict(self))
