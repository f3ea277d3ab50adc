"""A collection's run in the journal: taken, checkpointed, ended, and told what somebody wishes.

Each is one decision of `lazymigrate.leases` on what is stored, carried out as rule 1 of `lazymigrate.runs` wants it.
Errors of the server and the network reach the caller, who may ask again for the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

from bson import ObjectId, json_util
from bson.son import SON

from lazymigrate.commands import (
    AdminCommand,
    At,
    Attempt,
    Clock,
    Failure,
    Find,
    InsertOne,
    Procedure,
    ReplaceOne,
    Wait,
)
from lazymigrate.exceptions import LazyMigrateError, LeaseHeldError, RunError
from lazymigrate.leases import Claim, Wish, acquired, as_it_stands, checkpointed, finished, owned, rated, wished
from lazymigrate.runs import Counts, Ending, Run, RunKind, moment
from lazymigrate.scope import Scope

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["acquire", "cancel", "checkpoint", "current", "finish", "history", "pause", "recorded", "resume", "set_rate"]

LEASE = 15.0
POLL = 0.5  # seconds between two looks at a lease that is another's
TRIES = 50  # each lost one means that somebody else's write was stored
DUPLICATE = 11000
LAST = ObjectId(b"\xff" * 12)

R = TypeVar("R")
Decide = Callable[[Run | None, "datetime"], Run]


def acquire(
    scope: Scope,
    *,
    kind: RunKind,
    target: int,
    holder: str,
    host: str,
    lease: float = LEASE,
    wait: float = 0.0,
    rate: float | None = None,
) -> Procedure[Run]:
    """The run that the caller alone may work on, for `lease` seconds from now unless it makes checkpoints.

    It is the current run, where one of this kind and target was left unfinished: its position and counts are kept, and
    its rate unless one is given. Otherwise it is a new one; an unfinished run of another kind or target is cancelled
    as superseded. `holder` must be this sweep's alone: who has the lease and asks again gets it again. A run whose
    process is asked to pause or to cancel keeps that state. `LeaseHeldError` while another has the lease, after
    `wait` seconds at the earliest.
    """
    if not (isfinite(lease) and lease > 0):
        raise ValueError(f"{scope.name}: lease={lease!r}: it is a number of seconds above 0.")
    if not wait >= 0:
        raise ValueError(f"{scope.name}: wait={wait!r}: it is a number of seconds, at least 0.")
    legal_rate(scope, rate)
    claim = Claim(collection=scope.name, kind=kind, target=target, holder=holder, host=host, lease=lease, rate=rate)
    fresh = ObjectId()
    until: float = (yield Clock()) + wait
    while True:
        try:
            run = yield from decided(scope, lambda stored, now: acquired(stored, claim, now, fresh))
        except LeaseHeldError:
            left = until - (yield Clock())
            if left <= 0:
                raise
            yield Wait(min(POLL, left))
        else:
            if not run.over:  # what had to end first has; now for the new one
                return run


def checkpoint(
    scope: Scope,
    run: Run,
    *,
    position: Mapping[str, Any] | None = None,
    counts: Counts | None = None,
    waiting_for: str | None = None,
    stand_still: bool = False,
) -> Procedure[Run]:
    """The run as it is now, its lease renewed, with what the others wish: its `state` and its `rate`.

    `position` and `counts` are stored, or stay as they are if None; `waiting_for` is stored, None included.
    `stand_still`: nothing is being written, and a pause that was wished for is now one. `run` is what `acquire` or the
    last checkpoint gave. `LeaseHeldError` if the lease is lost: the caller stops. May be asked for again.
    """

    def decide(stored: Run | None, now: datetime) -> Run:
        return checkpointed(
            stored, run, now, position=position, counts=counts, waiting_for=waiting_for, stand_still=stand_still
        )

    return (yield from decided(scope, decide))


def finish(
    scope: Scope,
    run: Run,
    state: Ending,
    *,
    stopped_by: str,
    counts: Counts | None = None,
    position: Mapping[str, Any] | None = None,
    error: str | None = None,
) -> Procedure[Run]:
    """The run without its lease: over, or `"interrupted"`, to be gone on with by whoever acquires it.

    A run that somebody wishes to cancel is cancelled rather than interrupted. What ended it first counts: asked
    again, this changes nothing. `LeaseHeldError` if the lease is lost: somebody else goes on with the run.
    """

    def decide(stored: Run | None, now: datetime) -> Run:
        return finished(
            stored, run, now, state=state, stopped_by=stopped_by, counts=counts, position=position, error=error
        )

    try:
        return (yield from decided(scope, decide))
    except LeaseHeldError:
        past = yield from read(scope, run.to_document(past=True)["_id"])
        if past is not None and owned(past, run):
            return past  # it ended here, and another has begun since
        raise


def pause(scope: Scope) -> Procedure[Run]:
    """The current run, wished to pause: its process ends the batch in hand, and then stands still with its lease.

    `RunError` where no process works on it, or there is none.
    """
    return wish(scope, "pause")


def resume(scope: Scope) -> Procedure[Run]:
    """The current run, wished to go on. A paused one does; an interrupted one is enqueued: a sweep has to be started.

    `RunError` where it is being cancelled or is over, or there is none.
    """
    return wish(scope, "resume")


def cancel(scope: Scope) -> Procedure[Run]:
    """The current run, wished to end for good: at once where no process works on it, else after the batch in hand.

    `RunError` where it is over, or there is none.
    """
    return wish(scope, "cancel")


def set_rate(scope: Scope, rate: float | None) -> Procedure[Run]:
    """The current run at another rate, in documents a second (None: no limit), from its next checkpoint on.

    `RunError` where it is over, or there is none.
    """
    legal_rate(scope, rate)
    return (yield from decided(scope, lambda stored, now: rated(present(scope, stored), now, rate)))


def current(scope: Scope) -> Procedure[Run | None]:
    """The current run as it stands, which may be over; None where there never was one.

    One whose lease has run out is shown as interrupted, although nobody has written that yet.
    """
    stored = yield from read(scope, key(scope))
    if stored is None:
        return None
    return as_it_stands(stored, (yield from clock()))


def history(scope: Scope, limit: int = 20) -> Procedure[list[Run]]:
    """The last runs of this collection, newest first, the current one included."""
    if limit < 1:
        raise ValueError(f"{scope.name}: limit={limit!r}: it is at least 1.")
    now = yield from current(scope)
    first = SON([("kind", "past run"), ("collection", scope.name)])
    last = SON([*first.items(), ("run", LAST)])
    raws = yield At("journal", Find({"_id": {"$gt": first, "$lte": last}}, sort=[("fence", -1)], limit=limit))
    past = [recorded(scope, raw, Run.from_document) for raw in raws]
    if now is None:
        return past
    return [now, *(run for run in past if run.id != now.id)][:limit]


def recorded(scope: Scope, raw: bytes, make: Callable[[Mapping[str, Any]], R]) -> R:
    """What a document of the journal holds; `LazyMigrateError` names one that somebody has edited so that it holds nothing."""
    document = scope.decode(raw)
    try:
        return make(document)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise LazyMigrateError(
            f"{scope.name}: the document {json_util.dumps(document['_id'])} of the journal is not as it was written "
            f"({type(error).__name__}). Restore it, or remove it from the journal."
        ) from error


def wish(scope: Scope, wanted: Wish) -> Procedure[Run]:
    return (yield from decided(scope, lambda stored, now: wished(present(scope, stored), now, wanted)))


def present(scope: Scope, stored: Run | None) -> Run:
    if stored is None:
        raise RunError(f"{scope.name}: there is no run. Start a sweep.", collection=scope.name)
    return stored


def legal_rate(scope: Scope, rate: Any) -> None:
    number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
    if rate is not None and not (number and isfinite(rate) and rate > 0):
        raise ValueError(f"{scope.name}: rate={rate!r}: it is a number of documents a second above 0, or None.")


def decided(scope: Scope, decide: Decide) -> Procedure[Run]:
    """What is decided on the stored run, stored; decided again whenever somebody else stored something meanwhile."""
    for _ in range(TRIES):
        stored = yield from read(scope, key(scope))
        now = yield from clock()
        run = decide(stored, now)
        if run is not stored:
            if stored is not None and stored.over:
                yield from keep(stored)  # its process may have died before it did
            run = replace(run, seq=1 if stored is None else stored.seq + 1, updated=now)
            if not (yield from write(stored, run)):
                continue
        if run.over:
            yield from keep(run)
        return run
    raise RunError(
        f"{scope.name}: the run changed {TRIES} times while it was being changed. Try again.", collection=scope.name
    )


def key(scope: Scope) -> dict[str, Any]:
    """The `_id` of the collection's current run."""
    return SON([("kind", "run"), ("collection", scope.name)])


def guard(run: Run) -> dict[str, Any]:
    """The filter for a run that nobody has written since it was read."""
    return {"_id": run.to_document()["_id"], "run": run.id, "seq": run.seq}


def read(scope: Scope, identity: Mapping[str, Any]) -> Procedure[Run | None]:
    raws = yield At("journal", Find({"_id": identity}, limit=1))
    return recorded(scope, raws[0], Run.from_document) if raws else None


def clock() -> Procedure[datetime]:
    """What time it is, as the server has it."""
    answer = yield AdminCommand({"hello": 1})
    return moment(answer["localTime"])


def write(stored: Run | None, run: Run) -> Procedure[bool]:
    """Whether the run was stored over the one it was decided from, and not over another."""
    if stored is None:
        return (yield from insert(run.to_document()))
    result = yield At("journal", ReplaceOne(guard(stored), run.to_document()))
    return bool(result.matched_count)


def keep(run: Run) -> Procedure[None]:
    """A run that is over is listed among the past ones, where it stays as it is."""
    yield from insert(run.to_document(past=True))


def insert(document: dict[str, Any]) -> Procedure[bool]:
    """Whether it is there now because of this; what is there already stays."""
    result = yield Attempt(At("journal", InsertOne(document)))
    if isinstance(result, Failure) and result.code != DUPLICATE:
        raise result.error
    return not isinstance(result, Failure)
