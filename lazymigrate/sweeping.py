"""What a sweep is asked for and what it reports: values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any, Literal, TypedDict, get_args

__all__ = ["Progress", "ProgressListener", "StoppedBy", "SweepKeywords", "SweepOptions", "SweepReport"]

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
    `upgraded`, `quarantined` say what would have been. Of a downgrade (`kind`), `upgraded` were brought back, `remaining`
    are still above the target, and of a dry run `losses` would lose what upgrading again does not restore. `reason`: why it ended as errored.
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
    kind: Literal["sweep", "downgrade"] = "sweep"
    losses: int = 0
    reason: str = ""

    def __str__(self) -> str:
        still = "still outdated" if self.kind == "sweep" else "still above"
        state = f"{self.remaining:,} {still}" if self.remaining else "documents with an invalid stamp remain"
        if self.complete:
            state = "complete"
        passes = "1 pass" if self.passes == 1 else f"{self.passes} passes"
        done = "upgraded" if self.kind == "sweep" else "brought back"
        done = f"would be {done}" if self.dry_run else done
        losses = f", {self.losses:,} with a loss" if self.losses else ""
        return (
            f"{self.collection}: {self.upgraded:,} {done} in {passes}{losses}, {self.conflicts:,} conflicts, "
            f"{self.quarantined:,} quarantined; {state} ({self.stopped_by})"
            + (f". {self.reason}" if self.reason else "")
        )

    def to_json(self) -> str:
        """The report as a JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> SweepReport:
        """The report that `to_json` wrote; `ValueError` for anything else."""
        plain = asdict(cls(collection=""))
        fields: Any = None
        with suppress(TypeError, ValueError, RecursionError):
            fields = json.loads(text)
        known = isinstance(fields, dict) and {"collection"} <= fields.keys() <= plain.keys()
        if not known or not all(
            type(value) is type(plain[name]) and value in WORDS.get(name, (value,)) for name, value in fields.items()
        ):
            raise ValueError("This is not a report's JSON. Hand over what SweepReport.to_json() wrote, unchanged.")
        return cls(**fields)

    def merged(self, parts: Iterable[SweepReport]) -> SweepReport:
        """The report of a sweep in parts: this one, of the sweep of everything that followed them, with what they did.

        Added up are `upgraded`, `conflicts`, `quarantined` and `seconds`, which is the work of all and no span of time;
        `passes` are this sweep's and the most of any part. `remaining`, `complete` and `stopped_by` are this sweep's: a sum
        of what parts counted at different times proves nothing. A part that was killed has no report, so `upgraded` may
        be too low; `remaining` never is. `ValueError` for a part of another collection, a downgrade or a dry run.
        """
        done = [self, *parts]
        if any(part.collection != self.collection or part.kind != "sweep" or part.dry_run for part in done):
            raise ValueError(
                f"{self.collection}: a report is of another collection, a downgrade, or a dry run. Merge the reports of "
                "run_partition() into that of the sweep() after them."
            )
        return replace(
            self,
            upgraded=sum(part.upgraded for part in done),
            conflicts=sum(part.conflicts for part in done),
            quarantined=sum(part.quarantined for part in done),
            seconds=sum(part.seconds for part in done),
            passes=self.passes + max((part.passes for part in done[1:]), default=0),
        )


WORDS: Mapping[str, tuple[str, ...]] = {"stopped_by": get_args(StoppedBy), "kind": ("sweep", "downgrade")}
"""What a report's texts may be."""


class SweepKeywords(TypedDict, total=False):
    """The keywords of `sweep`, `downgrade` and `run_partition`; `LazyCollection.sweep` says what each means."""

    batch_size: int | None
    rate: float | None
    pause: float
    nice: float
    limit: int | None
    max_seconds: float | None
    dry_run: bool
    accept_losses: bool
    workers: int | None
    max_failures: float | None
    wait_for_lease: float
    lease: float
    max_lag: float | None
    window: str | None
    throttle: Callable[[], str | None] | None
    progress: ProgressListener | None
    stop: Callable[[], bool] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """How a sweep is to work, who does (`holder`, at `host`), how a worker finds the schema; `ValueError` for what makes no sense."""

    batch_size: int | None = None
    rate: float | None = None
    pause: float = 0.0
    nice: float = 0.0
    limit: int | None = None
    max_seconds: float | None = None
    dry_run: bool = False
    accept_losses: bool = False
    workers: int | None = None
    max_failures: float | None = None
    wait_for_lease: float = 0.0
    lease: float = 15.0
    max_lag: float | None = 10.0
    window: str | None = None
    throttle: Callable[[], str | None] | None = None
    progress: ProgressListener | None = None
    stop: Callable[[], bool] | None = None
    holder: str = ""
    host: str = ""
    schema: str | None = None

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[Any, float, str]] = {
            "batch_size": (self.batch_size, 1, "None, or at least 1"),
            "limit": (self.limit, 0, "None, or at least 0"),
            "workers": (self.workers, 1, "None, or at least 1"),
            "pause": (self.pause, 0, "a number of seconds"),
            "nice": (self.nice, 0, "how often to rest as long as it worked, from 0"),
            "max_seconds": (self.max_seconds, 0, "None, or a number of seconds"),
            "wait_for_lease": (self.wait_for_lease, 0, "a number of seconds"),
            "lease": (self.lease, 1, "at least one second"),
        }
        whole = ("batch_size", "limit", "workers")
        for name, (value, lowest, meant) in bounds.items():
            if value is None and name in (*whole, "max_seconds"):
                continue
            kinds = (int,) if name in whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not isfinite(value) or value < lowest:
                raise ValueError(f"sweep({name}={value!r}): choose {meant}.")
