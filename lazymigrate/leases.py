"""What becomes of a run when somebody wants something of it: one decision each, from the stored run to the next.

Nothing here is carried out. `procedures.runs` stores what is decided, guarded by the `seq` of the run it was decided
from; the theory of operation is in `lazymigrate.runs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from bson import ObjectId

from lazymigrate.exceptions import LeaseHeldError
from lazymigrate.runs import ENDINGS, OVER, TRANSITIONS, Counts, Ending, Run, RunKind, RunState, after, refusal

__all__ = ["Claim", "Wish", "acquired", "as_it_stands", "checkpointed", "finished", "owned", "rated", "wished"]

Wish = Literal["pause", "resume", "cancel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who wants the lease of a collection's run, and for what. `holder` tells this sweep from every other, ever."""

    collection: str
    kind: RunKind
    target: int
    holder: str
    host: str
    lease: float
    rate: float | None = None


def as_it_stands(run: Run, now: datetime) -> Run:
    """The run at this moment: one whose lease has run out is interrupted, and its owner no longer has it."""
    if run.expires is None or now < run.expires:
        return run
    return ended(run, after(run, "expire"), "lease", now)


def acquired(run: Run | None, claim: Claim, now: datetime, fresh: ObjectId) -> Run:
    """The run that the claim gets: a new one (`fresh` is its id), or the current one, to go on with.

    Where the current one has to end first, that: it is to be stored, and the claim made again. `LeaseHeldError` while
    the lease is another's.
    """
    if run is None or run.over:
        return begun(claim, now, fresh, fence=1 if run is None else run.fence + 1)
    standing = as_it_stands(run, now)
    same = (standing.kind, standing.target) == (claim.kind, claim.target)
    if standing.over:
        return standing
    if standing.expires is not None and not (same and standing.holder == claim.holder):
        raise held(standing)
    if not same:
        return ended(standing, after(standing, "supersede"), "superseded", now)
    return replace(
        standing,
        state=after(standing, "acquire"),
        fence=standing.fence + 1,
        holder=claim.holder,
        host=claim.host,
        expires=now + timedelta(seconds=claim.lease),
        lease_seconds=claim.lease,
        rate=standing.rate if claim.rate is None else claim.rate,
        waiting_for=None,
        stopped_by=None,
        error=None,  # it was of the process before
    )


def begun(claim: Claim, now: datetime, fresh: ObjectId, *, fence: int) -> Run:
    return Run(
        id=fresh,
        collection=claim.collection,
        kind=claim.kind,
        target=claim.target,
        state="running",
        seq=0,
        fence=fence,
        holder=claim.holder,
        host=claim.host,
        expires=now + timedelta(seconds=claim.lease),
        lease_seconds=claim.lease,
        created=now,
        started=now,
        updated=now,
        rate=claim.rate,
    )


def ended(run: Run, state: RunState, stopped_by: str, now: datetime) -> Run:
    """The run without a lease, and over if the state says so."""
    over = now if state in OVER else None
    return replace(run, state=state, expires=None, waiting_for=None, stopped_by=stopped_by, ended=over)


def owned(stored: Run | None, run: Run) -> bool:
    """Whether the lease that was taken with `run` is still its taker's."""
    return stored is not None and (stored.id, stored.fence) == (run.id, run.fence)


def checkpointed(
    stored: Run | None,
    run: Run,
    now: datetime,
    *,
    position: Mapping[str, Any] | None,
    counts: Counts | None,
    waiting_for: str | None,
    stand_still: bool,
) -> Run:
    """The stored run with its lease renewed and what its process has done; `LeaseHeldError` if the lease is lost."""
    if stored is None or not owned(stored, run) or stored.expires is None:
        raise lost(stored, run)
    return replace(
        stored,
        state=TRANSITIONS.get((stored.state, "stand_still"), stored.state) if stand_still else stored.state,
        expires=now + timedelta(seconds=stored.lease_seconds),
        position=stored.position if position is None else position,
        counts=counts or stored.counts,
        waiting_for=waiting_for,
    )


def finished(
    stored: Run | None,
    run: Run,
    now: datetime,
    *,
    state: Ending,
    stopped_by: str,
    position: Mapping[str, Any] | None,
    counts: Counts | None,
    error: str | None,
) -> Run:
    """The stored run without its lease; as it is, if its lease was given up before; `LeaseHeldError` if it is lost."""
    if stored is None or not owned(stored, run):
        raise lost(stored, run)
    if stored.expires is None:
        return stored
    told = replace(
        stored,
        position=stored.position if position is None else position,
        counts=counts or stored.counts,
        error=error,
    )
    reached = after(stored, ENDINGS[state])
    return ended(told, reached, stopped_by if reached == state else reached, now)


def wished(stored: Run, now: datetime, wish: Wish) -> Run:
    """The stored run with a wish; itself where that changes nothing; `RunError` where it cannot be."""
    standing = as_it_stands(stored, now)
    state = after(standing, wish)
    if state == standing.state:
        return standing
    if state in OVER:
        return ended(standing, state, state, now)
    waiting_for = None if standing.state == "paused" else standing.waiting_for  # it waits for that no longer
    return replace(standing, state=state, waiting_for=waiting_for)


def rated(stored: Run, now: datetime, rate: float | None) -> Run:
    """The stored run at another rate; `RunError` if it is over."""
    standing = as_it_stands(stored, now)
    if standing.over:
        raise refusal(standing, "set the rate of")
    return stored if standing.rate == rate else replace(standing, rate=rate)


def held(run: Run) -> LeaseHeldError:
    """The error for who wants a lease that is another's; one that stands still never ends by itself."""
    remedy = "Wait for its end, or cancel that run first."
    if run.state in ("pausing", "paused"):
        remedy = (
            "Waiting ends nothing: resume that run (`lazymigrate run resume NAME`, runs.resume()), or cancel it first."
        )
    return LeaseHeldError(
        f"{run.collection}: a {run.kind} to version {run.target} is {run.state}; {run.holder} holds the lease until "
        f"{run.expires:%Y-%m-%d %H:%M:%S} UTC. {remedy}",
        collection=run.collection,
        holder=run.holder,
        expires=run.expires,
    )


def lost(stored: Run | None, run: Run) -> LeaseHeldError:
    """The error for a process whose lease is no longer its own."""
    if stored is None or stored.expires is None:
        became = "the run is gone" if stored is None or stored.id != run.id else f"the run is {stored.state}"
    else:
        became = f"{stored.holder} holds it until {stored.expires:%Y-%m-%d %H:%M:%S} UTC"
    return LeaseHeldError(
        f"{run.collection}: {run.holder} has lost its lease: {became}. Documents are safe; start a sweep to go on.",
        collection=run.collection,
        holder=None if stored is None else stored.holder,
        expires=None if stored is None else stored.expires,
    )
