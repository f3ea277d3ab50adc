"""A crew: several processes of this machine, each of which sweeps partitions, while this one holds the lease."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lazymigrate.commands import Clock, Peek, Procedure, StartWorker, Tell, Wait
from lazymigrate.exceptions import LazyMigrateError
from lazymigrate.partition import Partition
from lazymigrate.procedures.partitions import partitions
from lazymigrate.procedures.shift import LOOK, Shift

__all__ = ["crew"]

EACH = 4  # partitions for each worker: they do not take equally long
POLL = 0.1
SHARED = ("pause", "nice", "max_lag", "window", "max_failures", "batch_size")


@dataclass(slots=True)
class Working:
    """A worker, its partition, and what it said of it so far."""

    worker: Any
    partition: Partition
    said: Mapping[str, Any] = field(default_factory=dict)


def crew(shift: Shift, *, listed: bool) -> Procedure[None]:  # noqa: ARG001 (workers look for themselves)
    """Move what can be moved by several processes at once; what they leave is the next engine's."""
    size = shift.options.workers or 1
    todo = deque((yield from shift.patiently(lambda: partitions(shift.scope, size * EACH))))
    working: list[Working] = []
    settled: dict[str, int] = {"upgraded": 0, "conflicts": 0, "quarantined": 0}
    paused = False
    while todo or working:
        now = yield Clock()
        shift.stopped_by = shift.stopped_by or shift.reason_to_stop(now)
        yield from shift.look(now)
        if shift.run is not None and shift.run.state == "cancelling":
            shift.stopped_by = "cancelled"
        if shift.stopped_by is not None:
            todo.clear()
            for one in working:
                yield Tell(one.worker, "stop")
        wish = shift.run is not None and shift.run.state in ("pausing", "paused")
        throttled = yield from shift.throttled(now)  # also by the application's own callable, which workers do not have
        if (wish or throttled is not None) != paused:
            paused = not paused
            for one in working:
                yield Tell(one.worker, "pause" if paused else "resume")
        if wish:
            yield from stand(shift, working)
        while todo and len(working) < size and not paused:
            working.append((yield from hired(shift, todo.popleft(), size)))
        for one in list(working):
            state = yield Peek(one.worker)
            one.said = state.said
            if state.ended:
                working.remove(one)
                reported(shift, one, settled)
        count(shift, settled, working)
        shift.waiting_for = shift.waiting_for if throttled is None else throttled.reason
        shift.tell(now)
        yield Wait(POLL)


def hired(shift: Shift, partition: Partition, size: int) -> Procedure[Working]:
    """A worker on its way."""
    rate = shift.throttle.rate
    options = {name: getattr(shift.options, name) for name in SHARED}
    task = {
        "schema": shift.options.schema,
        "partition": partition.to_json(),
        "options": {**options, "rate": None if rate is None else rate / size},
    }
    return Working((yield StartWorker(task)), partition)


def stand(shift: Shift, working: list[Working]) -> Procedure[None]:
    """Say that the run stands still as soon as all workers do."""
    waits = [one.said.get("progress", {}).get("waiting_for") for one in working]
    if shift.run is not None and shift.run.state == "pausing" and all(waits):
        yield from shift.save(stand_still=True)
    yield Wait(LOOK / 2)


def reported(shift: Shift, one: Working, settled: dict[str, int]) -> None:
    """Count what a worker that has ended has done; its error is the sweep's."""
    report = one.said.get("report")
    if report is None:
        raise LazyMigrateError(f"{one.partition}: {one.said.get('error')}. Start the sweep again: it goes on.")
    if report["stopped_by"] == "errored":
        shift.stopped_by, shift.reason = "errored", report["reason"]
    for name in settled:
        settled[name] += report[name]


def count(shift: Shift, settled: Mapping[str, int], working: list[Working]) -> None:
    """What all have done so far."""
    going = [one.said.get("progress", {}) for one in working]
    shift.upgraded = settled["upgraded"] + sum(progress.get("done", 0) for progress in going)
    shift.conflicts = settled["conflicts"] + sum(progress.get("conflicts", 0) for progress in going)
    shift.quarantined = settled["quarantined"] + sum(progress.get("quarantined", 0) for progress in going)
    reasons = {progress.get("waiting_for") for progress in going}
    shift.waiting_for = reasons.pop() if len(reasons) == 1 else None
