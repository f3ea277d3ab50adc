"""The sweep: from the first outdated document to a proven zero, whatever happens meanwhile.

A pass walks the outdated documents by `_id` (never by version: documents that leave a walked index are met again), first
inside MongoDB, where their chains are declared, then through the client for all others and for what was left. A pass can
leave stragglers behind, documents that somebody changed between the read and the write or inserted behind it, so the
sweep ends only when a fresh count of what is outdated and not in the quarantine, among documents that a majority has, is
zero.

It holds a lease, so that only one works at a time (that is for efficiency; what keeps documents safe is the
compare-and-set), and keeps its position in the journal, where the next one goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from lazymigrate.commands import (
    Clock,
    CollectionOptions,
    Failure,
    Procedure,
)
from lazymigrate.course import Course, upwards
from lazymigrate.elements import id_of
from lazymigrate.exceptions import LazyMigrateError, LeaseHeldError
from lazymigrate.failures import of_error
from lazymigrate.lowering import loses
from lazymigrate.outcome import Refused, Upgraded
from lazymigrate.partition import Partition
from lazymigrate.procedures.backlog import backlog_index
from lazymigrate.procedures.counting import counted, left_to_do
from lazymigrate.procedures.crew import crew
from lazymigrate.procedures.inside import inside
from lazymigrate.procedures.persistence import must
from lazymigrate.procedures.quarantine import count_listed
from lazymigrate.procedures.runs import acquire, finish
from lazymigrate.procedures.shift import Shift
from lazymigrate.procedures.through import decide, next_page, through
from lazymigrate.runs import Ending
from lazymigrate.scope import LOGGER, Scope
from lazymigrate.sweeping import StoppedBy, SweepOptions, SweepReport

__all__ = ["sweep"]

FIRST_PATIENCE = 20.0  # seconds without an answer before the first: a wrong address is no election
NO_SUCH_INDEX = 2  # how the server refuses a hint
IDLE_PASSES = 3  # that find outdated documents and can do nothing about any
Engine = Callable[..., Procedure[None]]
ENDS: dict[StoppedBy, Ending] = {
    "finished": "succeeded",
    "limit": "interrupted",
    "max_seconds": "interrupted",
    "interrupted": "interrupted",
    "cancelled": "cancelled",
    "errored": "errored",
}


def sweep(
    scope: Scope, options: SweepOptions, *, course: Course | None = None, partition: Partition | None = None
) -> Procedure[SweepReport]:
    """Move what the course says (all that is outdated, to head), until a fresh count is zero or something stops it.

    A document that cannot be moved is listed in the quarantine and left as it is. `SchemaError` stops the sweep, and so
    does what the server refuses for reasons that lie in no document. A partition needs no lease, and has no run.
    """
    course = upwards(scope.schema) if course is None else course
    if options.workers is not None and (partition is not None or options.dry_run or course.kind != "sweep"):
        raise ValueError(
            f"{scope.name}: workers={options.workers}: workers share a whole sweep, and no partition, rehearsal or "
            "downgrade. Leave workers= away."
        )
    started = yield Clock()
    shift = Shift(scope, course, options, partition=partition, now=started)
    shift.total = yield from left_to_do(shift, patience=FIRST_PATIENCE)
    if options.dry_run:
        yield from rehearse(shift)
    elif not shift.total:
        shift.stopped_by = "finished"  # nothing to do, and nothing written: no run either
    else:
        if course.kind == "downgrade" and not options.accept_losses:
            yield from refuse_losses(shift)
        if shift.stopped_by is None:
            try:
                yield from work(shift)
            finally:
                if course.kind == "downgrade":  # what is stored now, this process has made so
                    scope.presence.forget()
    return (yield from report(shift, started))


def refuse_losses(shift: Shift) -> Procedure[None]:
    """`LazyMigrateError` when the way back would lose something; nothing was written then.

    A count that was stopped before its end stops the downgrade, too.
    """
    options = replace(shift.options, dry_run=True, progress=None, limit=None)
    found = yield from sweep(shift.scope, options, course=shift.course, partition=shift.partition)
    if found.losses:
        raise LazyMigrateError(
            f"{shift.scope.name}: {found.losses:,} of {found.upgraded:,} documents would lose data on the way back to version "
            f"{shift.course.target}, which upgrading again does not restore. Nothing was written. Change the way back, or "
            "accept the losses with accept_losses=True."
        )
    if found.stopped_by != "finished":
        shift.stopped_by = found.stopped_by


def work(shift: Shift) -> Procedure[None]:
    """Sweep under a lease; what ends it is recorded."""
    options, scope = shift.options, shift.scope
    if shift.course.kind == "sweep":  # a hint of it loses what is not outdated
        shift.index = yield from shift.patiently(partial(backlog_index, scope))
    if shift.partition is None:
        take = partial(
            acquire,
            scope,
            kind=shift.course.kind,
            target=shift.course.target,
            holder=options.holder,
            host=options.host,
            lease=options.lease,
            wait=options.wait_for_lease,
            rate=options.rate,
        )
        shift.take_over((yield from shift.patiently(take)))
    try:
        yield from passes(shift)
    except (LeaseHeldError, GeneratorExit):
        raise
    except BaseException as error:  # Ctrl-C and a cancelled task, too: the lease is given up
        passes_by = not isinstance(error, Exception) or of_error(error) == "transient"
        shift.stopped_by = "interrupted" if passes_by else "errored"
        yield from end(shift, error)
        raise
    yield from end(shift)


def end(shift: Shift, error: BaseException | None = None) -> Procedure[None]:
    """Record the end of a run; where that fails after an error, the error is what matters."""
    if shift.run is None or shift.stopped_by is None:
        return
    ended = partial(
        finish,
        shift.scope,
        shift.run,
        ENDS[shift.stopped_by],
        stopped_by=shift.stopped_by,
        counts=shift.counts,
        position=shift.position,
        error=None if error is None else type(error).__name__,
    )
    if error is None:
        shift.run = yield from shift.patiently(ended)
        return
    try:
        shift.run = yield from ended()
    except Exception as another:
        LOGGER.warning("%s: the end of the sweep was not recorded (%s)", shift.scope.name, type(another).__name__)


def passes(shift: Shift) -> Procedure[None]:
    """Pass after pass, until nothing is left or something stops it."""
    idle = 0
    engines: list[Engine] = [through]
    if (yield from runs_inside(shift)):
        engines.insert(0, inside)
    if shift.options.workers is not None and shift.partition is None:
        engines.insert(0, crew)
    names = [engine.__name__ for engine in engines]
    while True:
        before = shift.upgraded + shift.conflicts + shift.quarantined
        listed = bool((yield from must(count_listed(shift.scope), shift.waits)))
        shift.passes += 1
        for engine in engines:
            if not shift.begins(engine.__name__, names):
                continue
            yield from carried(shift, engine, listed=listed)
            if shift.stopped_by is not None:
                return
            left = yield from left_to_do(shift)
            if not left:
                shift.stopped_by = "finished"
                return
        idle = 0 if shift.upgraded + shift.conflicts + shift.quarantined > before else idle + 1
        if idle == IDLE_PASSES:
            shift.reason = f"{sum(shift.present.values()):,} documents are outdated, and {idle} passes could do nothing about any. See the log."
            shift.stopped_by = "errored"
            return


def carried(shift: Shift, engine: Engine, *, listed: bool) -> Procedure[None]:
    """One engine's way through the collection; without the backlog index from the moment that it is dropped."""
    while True:
        try:
            yield from engine(shift, listed=listed)
        except Exception as error:
            if shift.index is None or getattr(error, "code", None) != NO_SUCH_INDEX:
                raise
            shift.index = None
            yield from shift.drain()
        else:
            return


def runs_inside(shift: Shift) -> Procedure[bool]:
    """Whether the server may run chains: not where strings are compared by anything but their bytes."""
    if not shift.scope.inside or not shift.course.inside():
        return False
    options = yield from shift.insist(CollectionOptions())
    return isinstance(options, Failure) or "collation" not in options


def rehearse(shift: Shift) -> Procedure[None]:
    """What a sweep would do, without writing anything: every outdated document is upgraded in memory."""
    scope, shift.passes = shift.scope, 1
    while True:
        raws = yield from shift.must(next_page(shift, shift.after, shift.slice_size))
        if not raws or not (yield from shift.ready()):
            shift.stopped_by = shift.stopped_by or "finished"
            return
        for raw in raws:
            result = decide(shift, raw)
            shift.upgraded += isinstance(result, Upgraded)
            shift.quarantined += isinstance(result, Refused)
            if shift.course.kind == "downgrade" and isinstance(result, Upgraded):
                shift.losses += loses(scope, result, shift.course)
        shift.after = scope.decode(id_of(raws[-1]))["_id"]
        shift.tell((yield Clock()))


def report(shift: Shift, started: float) -> Procedure[SweepReport]:
    """The report, with a fresh count."""
    scope, course, options = shift.scope, shift.course, shift.options
    shift.waiting_for = None
    shift.tell((yield Clock()), last=True)
    if shift.stopped_by != "finished" or options.dry_run:  # else it was counted when it stopped
        yield from counted(shift)
    remaining = sum(shift.present.values())
    return SweepReport(
        collection=scope.name,
        upgraded=shift.upgraded,
        conflicts=shift.conflicts,
        quarantined=shift.quarantined,
        remaining=remaining,
        passes=shift.passes,
        seconds=(yield Clock()) - started,
        complete=remaining == 0 and shift.counted.invalid == 0,
        stopped_by=shift.stopped_by or "finished",
        dry_run=options.dry_run,
        kind=course.kind,
        losses=shift.losses,
        reason=shift.reason,
    )
