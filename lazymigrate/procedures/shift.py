"""A shift: what one sweep, or one partition of it, keeps track of while it works.

Work leaves in *flights*: commands that have begun and end later. They land in the order in which they left, so the
position, up to which everything is done, never runs ahead of what is stored. A shift launches the next flight only when
nothing speaks against it: a limit, a wish of an operator, the throttle, or too many failures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

from bson import ObjectId

from lazymigrate.commands import AdminCommand, At, Attempt, Begin, Clock, Command, Failure, Finish, Now, Procedure, Wait
from lazymigrate.course import Course
from lazymigrate.coverage import Coverage
from lazymigrate.failures import Budget, of_error
from lazymigrate.pacing import Pace
from lazymigrate.partition import Partition
from lazymigrate.procedures.persistence import PATIENCE, insist, must, patiently
from lazymigrate.procedures.runs import checkpoint
from lazymigrate.runs import Counts, Run
from lazymigrate.scope import LOGGER, Scope
from lazymigrate.sweeping import Progress, StoppedBy, SweepOptions
from lazymigrate.throttling import Health, Throttle, Waiting

__all__ = ["OPEN", "Flight", "Shift"]

OPEN: Any = object()  # the end of an interval of `_id`s that has none
R = TypeVar("R")
ALIKE = (ObjectId, int, str)  # types of `_id`s between which a plain range is exact, and a tenth faster than by `$expr`
PARTS = 4  # flights in a batch: two on their way, one that is made ready, and what has landed since the checkpoint
LOOK = 0.5  # seconds between two looks at what operators wish
HEALTH = 2.0  # seconds between two looks at the servers
LATELY = 10.0  # seconds that a rate is taken over
TELL = 0.1  # seconds between two reports of progress


class Flight(NamedTuple):
    """Work on its way: the ticket, how many documents, the `_id` up to which all is done when it has landed."""

    ticket: Any
    documents: int
    upto: Any
    started: float
    land: Callable[[Any], Procedure[None]]


class Shift:
    """The state of one sweep at work. Its `run` is None for a partition, which needs no lease."""

    def __init__(
        self,
        scope: Scope,
        course: Course,
        options: SweepOptions,
        *,
        partition: Partition | None = None,
        now: float,
    ) -> None:
        self.scope = scope
        self.course = course
        self.options = options
        self.run: Run | None = None
        self.total = 0
        self.counted = Coverage(collection=scope.name, head=scope.schema.head, total=0)
        self.partition = partition
        self.index: str | None = None
        self.upgraded = self.conflicts = self.quarantined = self.losses = self.passes = 0
        self.after: Any = OPEN
        self.engine = ""
        self.stopped_by: StoppedBy | None = None
        self.reason = ""
        self.flights: deque[Flight] = deque()
        self.budget = Budget(options.max_failures)
        self.pace = Pace(start=1000, fixed=options.batch_size)
        self.throttle = Throttle(
            rate=options.rate,
            pause=options.pause,
            nice=options.nice,
            max_lag=options.max_lag,
            window=options.window,
            ask=options.throttle,
        )
        self.waiting_for: str | None = None
        self._before = Counts()
        self._resumed: Mapping[str, Any] | None = None
        self._started = now
        self._deadline = None if options.max_seconds is None else now + options.max_seconds
        self._looked = self._told = self._asked = float("-inf")
        self._health: Health | None = None
        self._blind = False
        self._unsaved = 0  # documents that have landed since the last checkpoint
        self._recent: deque[tuple[float, int]] = deque()  # when, and how many had been upgraded by then

    def take_over(self, run: Run) -> None:
        """Work for a run from now on, and go on where its last shift was."""
        self.run = run
        self._before = run.counts
        self._resumed = run.position
        self.throttle.set_rate(run.rate)

    def begins(self, engine: str, among: Collection[str]) -> bool:
        """Begin with an engine, of those that there are; False where the shift before had done with it."""
        resumed = self._resumed if self._resumed and self._resumed.get("engine") in among else None
        if resumed is not None and resumed["engine"] != engine:
            return False
        self._resumed = None
        self.engine = engine
        self.after = OPEN if resumed is None else resumed.get("after", OPEN)
        return True

    @property
    def present(self) -> dict[int, int]:
        """How many documents there were at each version that is to be moved, when they were last counted."""
        course = self.course
        return {v: count for v, count in self.counted.by_version.items() if course.lowest <= v <= course.highest}

    @property
    def dense(self) -> bool:
        """Whether all documents that were counted are to be moved, so that no look at them is needed to find the next."""
        return self.index is None and sum(self.present.values()) == self.counted.total

    @property
    def hint(self) -> Any:
        """The index to walk: the backlog index where there is one, else that of the `_id`s."""
        return self.index or {"_id": 1}

    @property
    def most_flights(self) -> int:
        """How many flights may be on their way: one where the sweep is to be gentle."""
        gentle = self.options.nice or self.options.pause or self.options.rate is not None
        return 1 if gentle or self.slice_size < 10 else 2

    @property
    def slice_size(self) -> int:
        """How many documents a flight may take. A batch is all that is not settled yet."""
        size = self.pace.size if self.options.batch_size is None else max(1, self.options.batch_size // PARTS)
        size = min(size, self.throttle.most or size)
        return size if self.allowance is None else min(size, max(1, self.allowance))

    @property
    def allowance(self) -> int | None:
        """How many documents may still leave; None where there is no limit."""
        if self.options.limit is None:
            return None
        return self.options.limit - self.upgraded - sum(flight.documents for flight in self.flights)

    def ready(self) -> Procedure[bool]:
        """Wait until the next flight may leave; False when the shift is to end, and says why in `stopped_by`."""
        while len(self.flights) >= self.most_flights:
            yield from self.land()
        while True:
            now = yield Clock()
            if self.full and self.flights:
                yield from self.drain()
                continue
            self.stopped_by = self.stopped_by or self.reason_to_stop(now)
            if self.stopped_by:
                yield from self.drain()
                return False
            yield from self.look(now)
            if self.run is not None and self.run.state == "cancelling":
                self.stopped_by = "cancelled"
                continue
            reason, seconds = yield from self.hindrance(now)
            self.waiting_for = reason
            self.tell(now)
            if reason is None:
                return True
            yield from self.drain()
            yield Wait(min(seconds, LOOK))

    @property
    def full(self) -> bool:
        """Whether what is on its way may reach the limit."""
        return self.allowance is not None and self.allowance <= 0

    def reason_to_stop(self, now: float) -> StoppedBy | None:
        """Why no further flight may leave."""
        options = self.options
        if self.budget.exceeded:
            self.reason = self.budget.reason() or ""
            return "errored"
        if options.limit is not None and self.upgraded >= options.limit:
            return "limit"
        if options.stop is not None and options.stop():
            return "interrupted"
        if self._deadline is not None and now >= self._deadline:
            return "max_seconds"
        return None

    def hindrance(self, now: float) -> Procedure[tuple[str | None, float]]:
        """What speaks against the next flight just now, and for how many seconds at least."""
        if self.run is not None and self.run.state in ("pausing", "paused"):
            if self.run.state == "pausing" and not self.flights:
                yield from self.save(stand_still=True)
            return "paused", LOOK
        waiting = yield from self.throttled(now)
        return (None, 0.0) if waiting is None else (waiting.reason, waiting.seconds)

    def throttled(self, now: float) -> Procedure[Waiting | None]:
        """What the throttle has against more work just now."""
        if not self._blind and now >= self._asked + HEALTH:
            self._asked = now
            yield from self.examine()
        return self.throttle.waits(now, (yield Now()), self._health)

    def examine(self) -> Procedure[None]:
        """Look at how the servers are; where that is not allowed, never again."""
        replication = yield Attempt(AdminCommand({"replSetGetStatus": 1}))
        status = yield Attempt(AdminCommand({"serverStatus": 1, "metrics": 0, "tcmalloc": 0, "mirroredReads": 0}))
        answers = (replication, status)
        self._blind = all(isinstance(answer, Failure) and of_error(answer.error) == "fatal" for answer in answers)
        self._health = Health.of(*(None if isinstance(answer, Failure) else answer for answer in answers))

    def launch(
        self, command: Command, documents: int, upto: Any, land: Callable[[Any], Procedure[None]]
    ) -> Procedure[None]:
        """Let a flight leave; `land` is given what its command gave, or a `Failure`."""
        started = yield Clock()
        ticket = yield Begin(command)
        self.flights.append(Flight(ticket, documents, upto, started, land))

    def land(self) -> Procedure[None]:
        """Let the oldest flight land."""
        flight = self.flights.popleft()
        result = yield Finish(flight.ticket)
        if isinstance(result, Failure):
            self.pace.failed()
        yield from flight.land(result)
        now = yield Clock()
        self.worked(flight.documents, now - flight.started, now)
        if flight.upto is not OPEN:
            self.after = flight.upto
            self._unsaved += flight.documents
        yield from self.look(now)
        self.tell(now)

    def worked(self, documents: int, seconds: float, now: float) -> None:
        """Count work that was done."""
        self.pace.worked(documents, seconds)
        self.throttle.worked(documents, seconds, now)
        LOGGER.info("%s: swept a batch of %d, %d so far", self.scope.name, documents, self.upgraded)

    def drain(self) -> Procedure[None]:
        """Let all flights land."""
        while self.flights:
            yield from self.land()

    def look(self, now: float) -> Procedure[None]:
        """Store the checkpoint, and see what operators wish, if the last time is some while or half a batch ago.

        The other half is on its way: so a process that is killed leaves no more than a batch to be gone over again.
        """
        batch = self.options.batch_size or PARTS * self.pace.size
        if self.run is not None and (now >= self._looked + LOOK or 2 * self._unsaved >= batch):
            self._looked = now
            yield from self.save()

    def save(self, *, stand_still: bool = False) -> Procedure[None]:
        """Store the checkpoint and renew the lease; `LeaseHeldError` when somebody else has taken over."""
        if self.run is not None:
            run = yield from self.patiently(partial(self.stored, self.run, stand_still=stand_still))
            self.throttle.set_rate(run.rate)
            self.run = run
            self._unsaved = 0

    def stored(self, run: Run, *, stand_still: bool) -> Procedure[Run]:
        return checkpoint(
            self.scope,
            run,
            position=self.position,
            counts=self.counts,
            waiting_for=self.waiting_for,
            stand_still=stand_still,
        )

    @property
    def position(self) -> dict[str, Any]:
        """Where a later shift goes on."""
        known = {"engine": self.engine}
        return known if self.after is OPEN else {**known, "after": self.after}

    @property
    def counts(self) -> Counts:
        """What the run did, this shift and those before it."""
        before = self._before
        return Counts(
            total=before.upgraded + self.total,
            tried=before.tried + self.budget.tried,
            upgraded=before.upgraded + self.upgraded,
            conflicts=before.conflicts + self.conflicts,
            quarantined=before.quarantined + self.quarantined,
            passes=before.passes + self.passes,
        )

    def tell(self, now: float, *, last: bool = False) -> None:
        """Report progress, ten times a second at most, and at the last."""
        listener = self.options.progress
        if listener is None or (now < self._told + TELL and not last):
            return
        self._told = now
        listener(self.progress(now))

    def progress(self, now: float) -> Progress:
        """Where the shift is."""
        self._recent.append((now, self.upgraded))
        while self._recent[0][0] < now - LATELY:
            self._recent.popleft()
        since, before = self._recent[0] if now - self._started > LATELY else (self._started, 0)
        return Progress(
            done=self.upgraded,
            total=self.total,
            rate=(self.upgraded - before) / max(now - since, 0.001),
            conflicts=self.conflicts,
            quarantined=self.quarantined,
            waiting_for=self.waiting_for,
            state="running" if self.run is None else self.run.state,
            lag=None if self._health is None else self._health.lag,
        )

    def insist(self, command: Command) -> Procedure[Any]:
        """What a command at the sweep's own place gives, or a `Failure`; what passes is waited out."""
        result = yield from insist(At("sweep", command), self.waits)
        self.waiting_for = None
        return result

    def must(self, command: Command) -> Procedure[Any]:
        """The same; what does not pass is raised."""
        result = yield from must(At("sweep", command), self.waits)
        self.waiting_for = None
        return result

    def patiently(self, procedure: Callable[[], Procedure[R]], *, patience: float = PATIENCE) -> Procedure[R]:
        """What a procedure gives; what passes is waited out."""
        result = yield from patiently(procedure, self.waits, patience=patience)
        self.waiting_for = None
        return result

    def waits(self, reason: str, now: float) -> bool:
        """Say what is waited for; whether to give up, since the shift is to end."""
        self.waiting_for = reason
        self.tell(now)
        return self.reason_to_stop(now) is not None

    def bounds(self, *, after: Any = OPEN, upto: Any = OPEN) -> list[dict[str, Any]]:
        """The conditions for documents of the shift's partition between two `_id`s, in the order of all BSON types."""
        part = {} if self.partition is None else self.partition.filter()
        bounds = [part] if part else []
        if type(after) is type(upto) and type(after) in ALIKE:  # what lies between them is of their type, too
            return [*bounds, {"_id": {"$gt": after, "$lte": upto}}]
        if after is not OPEN:
            bounds.append({"$expr": {"$gt": ["$_id", {"$literal": after}]}})
        if upto is not OPEN:
            bounds.append({"$expr": {"$lte": ["$_id", {"$literal": upto}]}})
        return bounds

    @property
    def next_after(self) -> Any:
        """The `_id` that the last flight which left goes up to."""
        return self.flights[-1].upto if self.flights else self.after
