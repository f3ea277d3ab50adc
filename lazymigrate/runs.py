"""A run: one sweep of one collection, from its first batch to its end, through whatever processes work on it meanwhile.

Theory of operation. The journal holds one document per collection, its *current run*, and one for each run before it.
A process that wants to sweep takes the run's *lease*, a right with an expiry; while it works it writes a *checkpoint* at
least every few seconds, which renews the lease and says how far it is. Who wants something of a run, from anywhere,
writes that *wish* into the same document, as its state, and the process hears of it at its next checkpoint.

Four rules make this safe among processes that may stop at any point and for any time:

1. Every write is a whole document, decided (in `lazymigrate.leases`) from the one that was read, and guarded by the `seq`
   of that one, which each write raises. Of two who decide at once one loses, reads again and decides again: nobody
   overwrites a wish.
2. Time is the server's, asked before each decision. Clocks of machines that sweep are never compared. (After a failover
   it is another server's: that clocks of one replica set are apart by less than a lease is assumed, and only for
   efficiency, because of rule 4.)
3. Each time a lease is taken, `fence` rises. What a process may write is told by the fence that it was given: one that
   slept through its lease finds another there, and stops. A lease that ran out is lost when somebody acts on that, and
   not before; until then its owner may renew it.
4. None of this keeps documents safe: compare-and-set does. Two who sweep at once waste work and nothing else.

Every write can be made twice: who does not know whether a command was carried out asks for it again.

What happens to a run is in `TRANSITIONS`; what is not in there is refused with a `RunError`. A run that is *over* never
changes again. An *interrupted* or *enqueued* one waits for a process that goes on with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

from bson import ObjectId, json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS
from bson.son import SON

from lazymigrate.exceptions import RunError

__all__ = [
    "ENDINGS",
    "EXTENDED",
    "OVER",
    "TRANSITIONS",
    "Counts",
    "Ending",
    "Run",
    "RunEvent",
    "RunKind",
    "RunState",
    "after",
    "moment",
    "refusal",
]

RunKind = Literal["sweep", "downgrade"]
RunState = Literal[
    "enqueued", "running", "pausing", "paused", "interrupted", "cancelling", "cancelled", "succeeded", "errored"
]
RunEvent = Literal[
    "acquire",  # a process takes the lease
    "pause",  # wishes, from anywhere
    "resume",
    "cancel",
    "stand_still",  # what the process that holds the lease reports
    "stop",
    "obey",
    "succeed",
    "fail",
    "expire",  # the lease ran out, and somebody acts on that
    "supersede",  # a run of another kind, or to another version, is to begin
]
Ending = Literal["succeeded", "errored", "cancelled", "interrupted"]

TRANSITIONS: Mapping[tuple[RunState, RunEvent], RunState] = MappingProxyType(
    {
        ("enqueued", "acquire"): "running",  # goes on where it stopped
        ("enqueued", "resume"): "enqueued",  # asked for twice
        ("enqueued", "cancel"): "cancelled",  # nobody works on it who would have to obey
        ("enqueued", "supersede"): "cancelled",  # it can no longer go on: its documents are about to go elsewhere
        ("running", "acquire"): "running",  # the same holder, who did not hear that it has the lease
        ("running", "pause"): "pausing",  # a wish: the batch in hand is still written
        ("running", "resume"): "running",  # asked for twice
        ("running", "cancel"): "cancelling",  # a wish, as above
        ("running", "stop"): "interrupted",  # a limit, max_seconds, Ctrl-C
        ("running", "succeed"): "succeeded",  # a fresh count was zero
        ("running", "fail"): "errored",  # too many failures, or an error that no retry helps
        ("running", "expire"): "interrupted",  # its process is dead, or might as well be
        ("pausing", "acquire"): "pausing",  # as for running; the wish stays
        ("pausing", "pause"): "pausing",  # asked for twice
        ("pausing", "stand_still"): "paused",  # nothing is written from here on
        ("pausing", "resume"): "running",  # taken back before anybody stood still
        ("pausing", "cancel"): "cancelling",  # the later wish counts
        ("pausing", "stop"): "interrupted",  # it could not be paused any better
        ("pausing", "succeed"): "succeeded",  # the batch in hand was the last
        ("pausing", "fail"): "errored",  # the batch in hand was one failure too many
        ("pausing", "expire"): "interrupted",  # its process died before it stood still
        ("paused", "acquire"): "paused",  # as for running; the wish stays
        ("paused", "pause"): "paused",  # asked for twice
        ("paused", "stand_still"): "paused",  # it still does
        ("paused", "resume"): "running",  # its process waits for this
        ("paused", "cancel"): "cancelling",  # its process hears of it at its next checkpoint
        ("paused", "stop"): "interrupted",  # Ctrl-C or max_seconds while it stood still
        ("paused", "succeed"): "succeeded",  # others did what was left
        ("paused", "fail"): "errored",  # it waits for the server, and the server refuses
        ("paused", "expire"): "interrupted",  # its process died while it stood still
        ("interrupted", "acquire"): "running",  # goes on where it stopped
        ("interrupted", "resume"): "enqueued",  # wanted again: the next process goes on with it
        ("interrupted", "cancel"): "cancelled",  # as for enqueued
        ("interrupted", "supersede"): "cancelled",  # as for enqueued
        ("cancelling", "acquire"): "cancelling",  # as for running; the wish stays
        ("cancelling", "cancel"): "cancelling",  # asked for twice
        ("cancelling", "obey"): "cancelled",  # its process has stopped
        ("cancelling", "stop"): "cancelled",  # it stopped for a reason of its own, and the wish counts all the same
        ("cancelling", "succeed"): "succeeded",  # the batch in hand was the last: nothing is left to cancel
        ("cancelling", "fail"): "errored",  # as for pausing
        ("cancelling", "expire"): "cancelled",  # nobody is left who would have to obey
        ("cancelled", "cancel"): "cancelled",  # asked for twice
    }
)

OVER: frozenset[RunState] = frozenset({"cancelled", "succeeded", "errored"})
ENDINGS: Mapping[Ending, RunEvent] = MappingProxyType(
    {"succeeded": "succeed", "errored": "fail", "cancelled": "obey", "interrupted": "stop"}
)
"""What a process reports to end its work in a state."""

STOPPED: Mapping[str | None, str] = MappingProxyType(
    {"interrupted": "was interrupted", "lease": "its process is gone", "superseded": "another run took its place"}
)
"""What stopped a run, where "stopped by" would be no English."""

NOBODY = "No process works on it. Start a sweep, which goes on with it, or cancel it."
ENDED = "It is over. Start a sweep, which begins a new run."
WORKING = "A process works on it. Pause or cancel it, or wait for its end."
REMEDIES: Mapping[RunState, str] = MappingProxyType(
    {
        "enqueued": NOBODY,
        "running": WORKING,
        "pausing": WORKING,
        "paused": "It stands still. Resume or cancel it.",
        "interrupted": NOBODY,
        "cancelling": "It is being cancelled, which cannot be taken back. Wait for its end, and start another sweep.",
        "cancelled": ENDED,
        "succeeded": ENDED,
        "errored": ENDED,
    }
)
EXTENDED = json_util.CANONICAL_JSON_OPTIONS.with_options(uuid_representation=UuidRepresentation.STANDARD)
UTC_DATES: CodecOptions[Any] = CodecOptions(tz_aware=True)
DATES = ("expires", "created", "started", "updated", "ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a run has done so far, all its processes together.

    `total` documents were outdated when it began; `tried` is what it decided about, of which it `upgraded` some, lost
    some to others (`conflicts`) and listed some in the quarantine. `passes` were begun.
    """

    total: int = 0
    tried: int = 0
    upgraded: int = 0
    conflicts: int = 0
    quarantined: int = 0
    passes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as the journal had it at one moment. Dates are the server's, with their zone (UTC), to the millisecond.

    - `kind` of `collection`, to the version `target`; `state` says where it is (`TRANSITIONS`).
    - `seq` rises with every write of it, `fence` each time that its lease is taken, over all runs of the collection.
    - `holder` has the lease, or had it last, on `host`; it `expires`, unless renewed for `lease_seconds` more, and is
      None where nobody has it.
    - `position` is the checkpoint: where the next process goes on. Its only values of documents are `_id`s.
    - `rate`: at most so many documents a second. `waiting_for`: why it writes nothing just now.
    - `stopped_by`: why it is interrupted or over. `error`: the name of an error's class, never its text.
    """

    id: ObjectId
    collection: str
    kind: RunKind
    target: int
    state: RunState
    seq: int
    fence: int
    holder: str
    host: str
    expires: datetime | None
    lease_seconds: float
    created: datetime
    started: datetime
    updated: datetime
    ended: datetime | None = None
    position: Mapping[str, Any] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    rate: float | None = None
    waiting_for: str | None = None
    stopped_by: str | None = None
    error: str | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended for good: nothing about it changes any more."""
        return self.state in OVER

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Run:
        """The run that a document of the journal holds. What this code does not know is passed over."""
        known = {item.name for item in fields(Counts)}
        given: dict[str, Any] = {item.name: document[item.name] for item in fields(cls) if item.name in document}
        dates: dict[str, Any] = {name: moment(given[name]) for name in DATES if given.get(name) is not None}
        counts = {name: int(count) for name, count in document.get("counts", {}).items() if name in known}
        own: dict[str, Any] = {
            "id": document["run"],
            "collection": document["_id"]["collection"],
            "counts": Counts(**counts),
        }
        return cls(**{**given, **dates, **own})

    def to_document(self, *, past: bool = False) -> dict[str, Any]:
        """The document that the journal holds for it, as the collection's current run or as a past one."""
        named = [("kind", "past run" if past else "run"), ("collection", self.collection)]
        document: dict[str, Any] = {"_id": SON([*named, ("run", self.id)] if past else named), "run": self.id}
        for item in fields(self):
            if item.name not in ("id", "collection"):
                document[item.name] = getattr(self, item.name)
        document["counts"] = {item.name: getattr(self.counts, item.name) for item in fields(self.counts)}
        document["position"] = dict(self.position)
        return document

    def __str__(self) -> str:
        counts = self.counts
        said = (
            f"{self.collection}: {self.kind} to version {self.target}, {self.state}: {counts.upgraded:,} of "
            f"{counts.total:,} documents, {counts.conflicts:,} conflicts, {counts.quarantined:,} quarantined"
        )
        if self.rate is not None:
            said += f"; at most {self.rate:,g} a second"
        if self.waiting_for not in (None, self.state):
            said += f"; waiting for {self.waiting_for}"
        if self.stopped_by not in (None, "finished", self.state):  # the state says these
            said += f"; {STOPPED.get(self.stopped_by, f'stopped by {self.stopped_by}')}"
        if self.error:
            said += f"; {self.error}"
        if self.expires is not None:
            said += f"; lease of {self.holder} until {self.expires:%Y-%m-%d %H:%M:%S} UTC"
        return said

    def to_json(self) -> str:
        """The run as a JSON object: dates in ISO 8601, the `id` in hexadecimal, `position` in canonical Extended JSON."""
        document = self.to_document()
        del document["_id"], document["run"]
        dates = {name: getattr(self, name) and getattr(self, name).isoformat() for name in DATES}
        position = json_util.dumps(document["position"], json_options=EXTENDED)
        own = {"id": str(self.id), "collection": self.collection}
        return json.dumps({**own, **document, **dates, "position": json.loads(position)})


def moment(date: datetime | DatetimeMS) -> datetime:
    """A date as any codec options read it, in UTC, with its zone, to the millisecond that BSON keeps."""
    if isinstance(date, DatetimeMS):
        return date.as_datetime(UTC_DATES)
    aware = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    return aware.replace(microsecond=aware.microsecond // 1000 * 1000)


def after(run: Run, event: RunEvent) -> RunState:
    """The state that an event leads to; `RunError` where it cannot happen."""
    state = TRANSITIONS.get((run.state, event))
    if state is None:
        raise refusal(run, event.replace("_", " "))
    return state


def refusal(run: Run, asked: str) -> RunError:
    """The error for what cannot be done to a run in its state."""
    return RunError(
        f"{run.collection}: cannot {asked} a run that is {run.state}. {REMEDIES[run.state]}",
        collection=run.collection,
        state=run.state,
    )
