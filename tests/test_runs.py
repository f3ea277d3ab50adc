"""A run: its table of states, its lease among processes that race, and the wishes of operators."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import uuid4

import bson
import pytest
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from conftest import Bench
from interleave import Process, World, every_order, random_orders
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure
from schemas import users

from lazymigrate import LazyCollection, LazyMigrateError, LeaseHeldError, Policy, RunError
from lazymigrate import leases as decisions
from lazymigrate import runs as values
from lazymigrate.commands import At, InsertOne, Procedure, ReplaceOne
from lazymigrate.drivers.memory import CODEC, MemoryCollection, MemoryDriver
from lazymigrate.leases import as_it_stands
from lazymigrate.procedures import runs
from lazymigrate.run_control import AsyncRuns, Runs
from lazymigrate.runs import ENDINGS, OVER, TRANSITIONS, Counts, Run, RunEvent, RunState
from lazymigrate.scope import Scope

LEASE = 15.0
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
SCOPE = Scope(users(), None, Policy(), "people", CODEC)

GRID = """
              acquire     pause    resume    cancel      stand_still  stop         obey       succeed    fail     expire       supersede
enqueued      running     .        enqueued  cancelled   .            .            .          .          .        .            cancelled
running       running     pausing  running   cancelling  .            interrupted  .          succeeded  errored  interrupted  .
pausing       pausing     pausing  running   cancelling  paused       interrupted  .          succeeded  errored  interrupted  .
paused        paused      paused   running   cancelling  paused       interrupted  .          succeeded  errored  interrupted  .
interrupted   running     .        enqueued  cancelled   .            .            .          .          .        .            cancelled
cancelling    cancelling  .        .         cancelling  .            cancelled    cancelled  succeeded  errored  cancelled    .
cancelled     .           .        .         cancelled   .            .            .          .          .        .            .
succeeded     .           .        .         .           .            .            .          .          .        .            .
errored       .           .        .         .           .            .            .          .          .        .            .
"""


HEAD, *ROWS = [line.split() for line in GRID.strip().splitlines()]
CELLS = [(state, event, cell) for state, *row in ROWS for event, cell in zip(HEAD, row, strict=True)]


def run_in(state: Any, **others: Any) -> Run:
    others = {"expires": NOON + timedelta(seconds=LEASE), **others}
    return Run(
        id=bson.ObjectId(),
        collection="people",
        kind="sweep",
        target=3,
        state=state,
        seq=4,
        fence=2,
        holder="mine",
        host="here",
        lease_seconds=LEASE,
        created=NOON,
        started=NOON,
        updated=NOON,
        **others,
    )


# ----------------------------------------------------------------------------------------------------------- the table


def test_the_grid_names_every_state_and_every_event() -> None:
    assert {(state, event) for state, event, _ in CELLS} == {
        (state, event) for state in get_args(RunState) for event in get_args(RunEvent)
    }


@pytest.mark.parametrize(("state", "event", "reached"), CELLS)
def test_an_event_leads_where_the_grid_says_or_is_refused(state: str, event: Any, reached: str) -> None:
    run = run_in(state)
    if reached != ".":
        assert values.after(run, event) == reached
        return
    with pytest.raises(RunError, match=f"that is {state}") as caught:
        values.after(run, event)
    assert (caught.value.collection, caught.value.state) == ("people", state)
    assert isinstance(caught.value, LazyMigrateError)
    assert str(caught.value).endswith(values.REMEDIES[run.state])


def test_every_state_can_be_reached_and_what_is_over_stays_so() -> None:
    reached: set[str] = {"running"}
    while more := {to for (state, _), to in TRANSITIONS.items() if state in reached} - reached:
        reached |= more
    assert reached == set(get_args(RunState))
    assert {to for (state, _), to in TRANSITIONS.items() if state in OVER} <= {"cancelled"}
    assert all(state in {run for run, _ in TRANSITIONS} for state in set(get_args(RunState)) - {"succeeded", "errored"})


def test_a_wish_to_cancel_is_never_taken_back_and_never_lost() -> None:
    assert {to for (state, _), to in TRANSITIONS.items() if state == "cancelling"} == {
        "cancelling",
        "cancelled",
        "succeeded",
        "errored",
    }


# ---------------------------------------------------------------------------------------------------------- the values


def test_a_run_is_its_document_and_back() -> None:
    run = run_in("running", position={"after": {"a": [1, None]}}, counts=Counts(total=9, upgraded=4), rate=2.5)
    raw = bson.encode(run.to_document())
    for zone in (True, False):
        assert Run.from_document(bson.decode(raw, CodecOptions(tz_aware=zone))) == run
    in_ms = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
    assert Run.from_document(bson.decode(raw, in_ms)) == run


def test_what_a_newer_release_added_is_passed_over() -> None:
    run = run_in("paused")
    document = {**run.to_document(), "mood": "good", "counts": {"total": 3, "guessed": 1}}
    assert Run.from_document(document) == replace(run, counts=Counts(total=3))


def test_a_run_can_be_read_and_its_position_is_only_in_its_json() -> None:
    identity = uuid4()
    run = run_in(
        "running", counts=Counts(total=5000, upgraded=1200, conflicts=3), rate=500, waiting_for="replication lag",
        position={"after": identity, "name": "Ada"},
    )  # fmt: skip
    assert str(run) == (
        "people: sweep to version 3, running: 1,200 of 5,000 documents, 3 conflicts, 0 quarantined; at most 500 a "
        "second; waiting for replication lag; lease of mine until 2024-05-01 12:00:15 UTC"
    )
    found = json.loads(run.to_json())
    assert found["position"] == {"after": {"$binary": {"base64": found["position"]["after"]["$binary"]["base64"], "subType": "04"}}, "name": "Ada"}  # fmt: skip
    assert (found["id"], found["collection"], found["counts"]["upgraded"]) == (str(run.id), "people", 1200)
    assert (found["expires"], found["ended"]) == ("2024-05-01T12:00:15+00:00", None)
    stopped = replace(run, state="errored", expires=None, waiting_for=None, stopped_by="errored", error="KeyError")
    assert str(stopped).endswith("at most 500 a second; KeyError")


@pytest.mark.parametrize(
    ("state", "others", "said"),
    [
        ("paused", {"waiting_for": "paused"}, ""),
        ("running", {"waiting_for": "nice 1"}, "; waiting for nice 1"),
        ("cancelled", {"stopped_by": "cancelled"}, ""),
        ("succeeded", {"stopped_by": "finished"}, ""),
        ("interrupted", {"stopped_by": "interrupted", "error": "KeyboardInterrupt"}, "; KeyboardInterrupt"),
        ("interrupted", {"stopped_by": "limit"}, "; stopped by limit"),
        ("enqueued", {"stopped_by": "interrupted"}, "; was interrupted"),
        ("interrupted", {"stopped_by": "lease"}, "; its process is gone"),
        ("cancelled", {"stopped_by": "superseded"}, "; another run took its place"),
    ],
)
def test_a_run_says_nothing_that_its_state_says(state: Any, others: dict[str, Any], said: str) -> None:
    run = replace(run_in(state), expires=None, **others)
    assert str(run) == (f"people: sweep to version 3, {state}: 0 of 0 documents, 0 conflicts, 0 quarantined{said}")


def test_a_run_with_its_lease_run_out_is_interrupted_and_one_to_be_cancelled_is() -> None:
    late = NOON + timedelta(seconds=LEASE)
    assert as_it_stands(run_in("running"), late - timedelta(milliseconds=1)).state == "running"
    found = {state: as_it_stands(run_in(state), late) for state in ("running", "pausing", "paused", "cancelling")}
    assert {state: (run.state, run.expires, run.stopped_by) for state, run in found.items()} == {
        **dict.fromkeys(("running", "pausing", "paused"), ("interrupted", None, "lease")),
        "cancelling": ("cancelled", None, "lease"),
    }
    assert found["cancelling"].ended == late
    assert found["paused"].ended is None


@pytest.mark.parametrize("state", [*ENDINGS])
def test_what_a_process_reports_at_its_end_is_in_the_table(state: Any) -> None:
    assert (("cancelling" if state == "cancelled" else "running"), ENDINGS[state]) in TRANSITIONS


# ------------------------------------------------------------------------------------------------ in memory, by the clock


class Place:
    """A journal in memory whose clock is set by the test, and which waits by setting it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.collection = MemoryCollection("people")
        self.collection.clock = lambda: self.now
        self.collection.wait = self.wait
        self.waited: list[float] = []
        self.driver = MemoryDriver(self.collection)
        self.runs = Runs(SCOPE, self.driver)

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds

    def do(self, procedure: Procedure[Any]) -> Any:
        return self.driver.run(procedure)

    def acquire(self, holder: str = "a", **others: Any) -> Run:
        run: Run = self.do(acquire(holder, **others))
        return run

    def journal(self) -> list[dict[str, Any]]:
        return self.collection.beside("journal").documents()


def acquire(holder: str, *, kind: Any = "sweep", target: int = 3, **others: Any) -> Procedure[Run]:
    return runs.acquire(SCOPE, kind=kind, target=target, holder=holder, host="h", **others)


def test_a_first_run_begins() -> None:
    place = Place()
    run = place.acquire(rate=7.5)
    assert (run.state, run.fence, run.seq, run.holder, run.rate) == ("running", 1, 1, "a", 7.5)
    assert run.expires is not None
    assert (run.expires - run.created).total_seconds() == LEASE
    assert place.runs.current() == run
    assert place.runs.list() == [run]


def test_a_lease_lasts_as_long_as_the_server_says_and_a_checkpoint_renews_it() -> None:
    place = Place()
    run = place.acquire()
    place.now += LEASE - 1
    run = place.do(runs.checkpoint(SCOPE, run, position={"after": 5}, counts=Counts(upgraded=2)))
    place.now += LEASE - 0.5
    with pytest.raises(LeaseHeldError, match="Wait for its end") as caught:
        place.acquire("b")
    assert (caught.value.collection, caught.value.holder, caught.value.expires) == ("people", "a", run.expires)
    place.now += 0.5
    taken = place.acquire("b")
    assert (taken.id, taken.fence, taken.holder) == (run.id, run.fence + 1, "b")
    assert (taken.position, taken.counts.upgraded) == ({"after": 5}, 2)


def test_waiting_for_a_lease_ends_with_it_or_after_the_time_given() -> None:
    place = Place()
    place.acquire()
    with pytest.raises(LeaseHeldError):
        place.acquire("b", wait=3.2)
    assert (max(place.waited), round(sum(place.waited), 6)) == (0.5, 3.2)
    place = Place()
    place.acquire()
    assert place.acquire("b", wait=60).fence == 2
    assert round(sum(place.waited), 6) == LEASE


@pytest.mark.parametrize("wish", ["pause", "cancel", None])
def test_a_dead_owners_run_is_gone_on_with_unless_it_was_to_be_cancelled(wish: str | None) -> None:
    place = Place()
    first = place.acquire()
    if wish:
        getattr(place.runs, wish)()
    place.now += LEASE
    taken = place.acquire("b")
    assert (taken.state, taken.fence, taken.id == first.id) == ("running", 2, wish != "cancel")
    assert [run.state for run in place.runs.list()] == (["running", "cancelled"] if wish == "cancel" else ["running"])


def test_an_owner_that_was_slow_keeps_what_nobody_took() -> None:
    place = Place()
    run = place.acquire()
    place.now += 10 * LEASE
    assert place.do(runs.checkpoint(SCOPE, run)).state == "running"
    with pytest.raises(LeaseHeldError):
        place.acquire("b")


@pytest.mark.parametrize("wish", ["resume", "cancel"])
def test_an_owner_that_was_slow_has_lost_what_somebody_acted_on(wish: str) -> None:
    place = Place()
    run = place.acquire()
    place.now += LEASE
    acted = getattr(place.runs, wish)()
    assert acted.state == {"resume": "enqueued", "cancel": "cancelled"}[wish]
    with pytest.raises(LeaseHeldError, match=f"the run is {acted.state}"):
        place.do(runs.checkpoint(SCOPE, run))
    assert place.runs.current() == acted


def test_another_target_or_kind_supersedes_what_nobody_works_on() -> None:
    place = Place()
    place.do(runs.finish(SCOPE, place.acquire(target=2), "interrupted", stopped_by="limit"))
    second = place.acquire("b")
    with pytest.raises(LeaseHeldError):
        place.acquire("b", target=4)
    place.now += LEASE
    third = place.acquire("c", kind="downgrade", target=1)
    assert [(run.kind, run.target, run.state, run.stopped_by, run.fence) for run in place.runs.list()] == [
        ("downgrade", 1, "running", None, 3),
        ("sweep", 3, "cancelled", "superseded", 2),
        ("sweep", 2, "cancelled", "superseded", 1),
    ]
    assert third.counts == Counts()
    assert third.id != second.id


@pytest.mark.parametrize("state", ["succeeded", "errored"])
def test_what_is_over_is_kept_and_the_next_is_new(state: Any) -> None:
    place = Place()
    first = place.acquire()
    over = place.do(runs.finish(SCOPE, first, state, stopped_by=state, counts=Counts(upgraded=3), error="KeyError"))
    assert (over.state, over.expires, over.error, over.counts.upgraded) == (state, None, "KeyError", 3)
    assert over.ended is not None
    assert sorted(document["_id"]["kind"] for document in place.journal()) == ["past run", "run"]
    assert place.runs.list() == [over]
    second = place.acquire("b")
    assert place.runs.list() == [second, over]
    assert (second.fence, second.counts, second.error, second.ended) == (2, Counts(), None, None)
    assert place.runs.list(limit=1) == [second]


def test_an_interrupted_run_is_enqueued_by_a_resume_and_gone_on_with_by_the_next() -> None:
    place = Place()
    run = place.acquire(rate=5)
    run = place.do(runs.finish(SCOPE, run, "interrupted", stopped_by="max_seconds", position={"after": 9}))
    assert (run.state, run.expires, run.ended, run.stopped_by) == ("interrupted", None, None, "max_seconds")
    with pytest.raises(RunError, match="Start a sweep"):
        place.runs.pause()
    assert place.runs.resume().state == "enqueued"
    again = place.acquire("b")
    assert (again.id, again.state, again.position, again.rate) == (run.id, "running", {"after": 9}, 5)
    assert again.stopped_by is None


def test_a_pause_is_one_only_when_its_process_stands_still() -> None:
    place = Place()
    run = place.acquire()
    assert place.do(runs.checkpoint(SCOPE, run, stand_still=True)).state == "running"
    assert place.runs.pause().state == "pausing"
    assert place.do(runs.checkpoint(SCOPE, run, waiting_for="the lag")).state == "pausing"
    with pytest.raises(LeaseHeldError, match=r"is pausing; .*`lazymigrate run resume NAME`"):
        place.acquire("b")
    still = place.do(runs.checkpoint(SCOPE, run, stand_still=True, waiting_for="paused"))
    assert (still.state, still.waiting_for) == ("paused", "paused")
    with pytest.raises(
        LeaseHeldError, match=r"is paused; .* Waiting ends nothing: resume that run .* or cancel it"
    ) as held:
        place.acquire("b")
    assert "Wait for its end" not in str(held.value)
    resumed = place.runs.resume()
    assert (resumed.state, resumed.waiting_for) == ("running", None)
    assert place.do(runs.checkpoint(SCOPE, run)).waiting_for is None


def test_what_is_to_be_cancelled_no_longer_waits_to_be_resumed() -> None:
    place = Place()
    run = place.acquire()
    place.runs.pause()
    place.do(runs.checkpoint(SCOPE, run, stand_still=True, waiting_for="paused"))
    cancelling = place.runs.cancel()
    assert (cancelling.state, cancelling.waiting_for) == ("cancelling", None)


def test_who_goes_on_with_a_run_has_none_of_the_errors_before() -> None:
    place = Place()
    run = place.acquire()
    place.do(runs.finish(SCOPE, run, "interrupted", stopped_by="interrupted", error="KeyboardInterrupt"))
    assert place.acquire("b").error is None


def test_a_run_that_is_to_be_cancelled_is_even_where_its_process_was_interrupted() -> None:
    place = Place()
    run = place.acquire()
    place.runs.cancel()
    with pytest.raises(RunError, match="cannot be taken back"):
        place.runs.resume()
    ended = place.do(runs.finish(SCOPE, run, "interrupted", stopped_by="interrupted"))
    assert (ended.state, ended.stopped_by, ended.ended is not None) == ("cancelled", "cancelled", True)
    assert place.runs.cancel() == ended


def test_a_rate_is_heard_at_the_next_checkpoint_and_kept_by_who_goes_on() -> None:
    place = Place()
    run = place.acquire(rate=5)
    place.runs.set(rate=80)
    assert place.do(runs.checkpoint(SCOPE, run)).rate == 80
    place.now += LEASE
    assert place.acquire("b").rate == 80
    place.now += LEASE
    assert place.acquire("c", rate=3).rate == 3
    place.runs.set(rate=None)
    assert place.runs.current() is not None
    assert place.do(runs.current(SCOPE)).rate is None


def test_wishes_where_there_is_no_run_and_for_one_that_is_over_are_refused() -> None:
    place = Place()
    asked: list[Callable[[], Run]] = [
        place.runs.pause,
        place.runs.resume,
        place.runs.cancel,
        lambda: place.runs.set(rate=1),
    ]
    for ask in asked:
        with pytest.raises(RunError, match="there is no run") as caught:
            ask()
        assert caught.value.state is None
    assert (place.runs.current(), place.runs.list()) == (None, [])
    over = place.do(runs.finish(SCOPE, place.acquire(), "succeeded", stopped_by="finished"))
    for ask in asked:
        with pytest.raises(RunError, match="begins a new run"):
            ask()
    assert place.runs.list() == [over]


@pytest.mark.parametrize("rate", [0, -1, True, float("nan"), float("inf"), "9"])
def test_a_rate_that_is_none_is_refused_before_anything_is_asked(rate: Any) -> None:
    place = Place()
    with pytest.raises(ValueError, match="above 0"):
        place.runs.set(rate=rate)
    with pytest.raises(ValueError, match="above 0"):
        place.acquire(rate=rate)


@pytest.mark.parametrize("wrong", [{"lease": 0}, {"lease": float("inf")}, {"wait": -1}, {"wait": float("nan")}])
def test_a_lease_and_a_wait_are_seconds(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="seconds"):
        Place().acquire(**wrong)
    with pytest.raises(ValueError, match="at least 1"):
        Place().runs.list(limit=0)


def test_collections_of_a_database_have_runs_of_their_own() -> None:
    place = Place()
    other = replace(SCOPE, name="people.old")
    mine = place.acquire()
    theirs = place.do(runs.acquire(other, kind="sweep", target=3, holder="b", host="h"))
    place.do(runs.finish(other, theirs, "succeeded", stopped_by="finished"))
    assert place.runs.list() == [mine]
    assert [run.id for run in place.do(runs.history(other))] == [theirs.id]


def test_the_journal_holds_no_values_of_documents_but_the_position() -> None:
    place = Place()
    run = place.do(runs.checkpoint(SCOPE, place.acquire(), position={"after": "an _id"}, counts=Counts(total=1)))
    place.do(runs.finish(SCOPE, run, "errored", stopped_by="errored", error="KeyError"))
    for document in place.journal():
        assert document.pop("position") == {"after": "an _id"}
        assert {type(value).__name__ for value in document.pop("counts").values()} == {"int"}
        strings = {name: value for name, value in document.items() if isinstance(value, str)}
        assert strings == {
            "kind": "sweep", "state": "errored", "holder": "a", "host": "h", "stopped_by": "errored", "error": "KeyError",
        }  # fmt: skip
        containers = [name for name, value in document.items() if isinstance(value, (dict, list))]
        assert containers == ["_id"]


# --------------------------------------------------------------------------------------------------------------- races


def outcome(procedure: Procedure[Any]) -> Procedure[Any]:
    """A procedure that gives the error which it would raise."""
    try:
        return (yield from procedure)
    except LazyMigrateError as error:
        return error


def nobody(place: Place) -> None:
    """There never was a run."""


def over(place: Place) -> None:
    place.do(runs.finish(SCOPE, place.acquire("old"), "succeeded", stopped_by="finished"))


def given_up(place: Place) -> None:
    place.do(runs.finish(SCOPE, place.acquire("old"), "interrupted", stopped_by="limit"))


def dead(place: Place) -> None:
    place.acquire("old")
    place.now += LEASE


def dead_to_be_cancelled(place: Place) -> None:
    place.acquire("old")
    place.runs.cancel()
    place.now += LEASE


def of_another_target(place: Place) -> None:
    place.acquire("old", target=2)
    place.now += LEASE


BEFORE = [nobody, over, given_up, dead, dead_to_be_cancelled, of_another_target]


def contest(
    before: Callable[[Place], None], holders: str = "ab"
) -> tuple[Callable[[], World], list[list[Any]], list[Place]]:
    """Some who want the lease at once: how to set them up, and what each set of them got, where."""
    results: list[list[Any]] = []
    places: list[Place] = []

    def build() -> World:
        place = Place()
        before(place)
        got: list[Any] = []
        results.append(got)
        places.append(place)
        return World([Process(outcome(acquire(holder)), got.append) for holder in holders], place.driver.carry_out)

    return build, results, places


def orders(before: Callable[[Place], None], build: Callable[[], World]) -> Iterator[World]:
    """Every order, or some hundreds where there are a hundred thousand: two runs have to change hands there."""
    if before in (dead_to_be_cancelled, of_another_target):
        return random_orders(build, 500, seed=3)
    return every_order(build)


@pytest.mark.parametrize("before", BEFORE)
def test_of_two_who_want_the_lease_exactly_one_gets_it_in_any_order(before: Callable[[Place], None]) -> None:
    build, results, places = contest(before)
    assert sum(1 for _ in orders(before, build)) > 50
    for got, place in zip(results, places, strict=True):
        (run,) = [result for result in got if isinstance(result, Run)]
        (error,) = [result for result in got if isinstance(result, LeaseHeldError)]
        assert place.runs.current() == run
        assert error.holder == run.holder
        listed = [past.id for past in place.runs.list()]
        assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("before", BEFORE)
def test_of_four_who_want_the_lease_exactly_one_gets_it(before: Callable[[Place], None]) -> None:
    build, results, _ = contest(before, "abcd")
    assert sum(1 for _ in random_orders(build, 100, seed=5)) == 100
    assert {sum(isinstance(result, Run) for result in got) for got in results} == {1}


@pytest.mark.parametrize("before", [case for case in BEFORE if case is not nobody])
def test_without_the_guard_on_seq_two_would_get_the_lease(
    before: Callable[[Place], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "guard", lambda run: {"_id": run.to_document()["_id"]})
    build, results, _ = contest(before)
    for _ in orders(before, build):
        pass
    assert 2 in {sum(isinstance(result, Run) for result in got) for got in results}


def checkpoints_and(wish: Callable[[], Procedure[Run]]) -> list[Run]:
    """The run after two checkpoints and a wish, in every order of their commands."""
    places: list[Place] = []

    def build() -> World:
        place = Place()
        run = place.acquire()
        places.append(place)

        def working() -> Procedure[None]:
            mine = yield from runs.checkpoint(SCOPE, run, counts=Counts(tried=1), position={"after": 1})
            yield from runs.checkpoint(SCOPE, mine, counts=Counts(tried=2), position={"after": 2})

        return World([Process(working()), Process(wish())], place.driver.carry_out)

    for _ in every_order(build):
        pass
    return [place.do(runs.current(SCOPE)) for place in places]


WISHES = [
    pytest.param(lambda: runs.pause(SCOPE), lambda run: run.state == "pausing", id="pause"),
    pytest.param(lambda: runs.cancel(SCOPE), lambda run: run.state == "cancelling", id="cancel"),
    pytest.param(lambda: runs.set_rate(SCOPE, 9), lambda run: run.rate == 9, id="rate"),
]


@pytest.mark.parametrize(("wish", "kept"), WISHES)
def test_a_checkpoint_never_overwrites_a_wish_nor_a_wish_a_checkpoint(wish: Any, kept: Any) -> None:
    found = checkpoints_and(wish)
    assert len(found) > 80
    assert all(kept(run) for run in found)
    assert {(run.counts.tried, run.position["after"]) for run in found} == {(2, 2)}


@pytest.mark.parametrize(("wish", "kept"), WISHES)
def test_without_the_guard_on_seq_both_would_be_lost(wish: Any, kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "guard", lambda run: {"_id": run.to_document()["_id"]})
    found = checkpoints_and(wish)
    assert not all(kept(run) for run in found)
    assert {run.counts.tried for run in found} > {2}


def zombies(place: Place) -> tuple[Run, Run]:
    """A run that was taken over, as its first owner has it and as its second does."""
    asleep = place.acquire()
    place.now += LEASE
    return asleep, place.acquire("b")


def procedures_of_a_zombie(asleep: Run) -> list[Procedure[Run]]:
    return [
        runs.checkpoint(SCOPE, asleep, position={"after": "old"}),
        *(
            runs.finish(SCOPE, asleep, state, stopped_by="finished")
            for state in ("succeeded", "errored", "interrupted")
        ),
    ]


def test_who_slept_through_the_lease_can_write_nothing() -> None:
    place = Place()
    asleep, awake = zombies(place)
    for procedure in procedures_of_a_zombie(asleep):
        with pytest.raises(LeaseHeldError, match="a has lost its lease: b holds it") as caught:
            place.do(procedure)
        assert caught.value.holder == "b"
    assert place.runs.current() == awake
    ended = place.do(runs.finish(SCOPE, awake, "succeeded", stopped_by="finished"))
    for procedure in procedures_of_a_zombie(asleep):
        with pytest.raises(LeaseHeldError, match="the run is succeeded"):
            place.do(procedure)
    third = place.acquire("c")
    for procedure in procedures_of_a_zombie(asleep):
        with pytest.raises(LeaseHeldError, match="c holds it"):
            place.do(procedure)
    assert place.runs.list() == [third, ended]


def test_without_the_fence_who_slept_through_the_lease_would_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "owned", lambda stored, run: stored.id == run.id)
    for number in range(4):
        place = Place()
        asleep, awake = zombies(place)
        place.do(procedures_of_a_zombie(asleep)[number])
        assert place.runs.current() != awake


def test_who_sleeps_within_a_checkpoint_does_not_write_after_another_took_over() -> None:
    found: list[tuple[Any, Run]] = []
    places: list[Place] = []

    def build() -> World:
        place = Place()
        run = place.acquire()
        place.now += LEASE  # from here on the lease is whose write comes first
        places.append(place)
        got: list[Any] = []
        sleeper = Process(outcome(runs.checkpoint(SCOPE, run)), got.append)
        taker = Process(outcome(acquire("b")), got.append)
        found.append((got, run))
        return World([sleeper, taker], place.driver.carry_out)

    assert sum(1 for _ in every_order(build)) > 20
    for (got, _), place in zip(found, places, strict=True):
        (winner,) = [result for result in got if isinstance(result, Run)]
        assert place.runs.current() == winner
    assert {run.holder for got, _ in found for run in got if isinstance(run, Run)} == {"a", "b"}


# -------------------------------------------------------------------------------------------------------- asking twice


class Deaf(MemoryDriver):
    """A driver whose n-th command is carried out, and whose answer is lost."""

    def __init__(self, collection: MemoryCollection, lost: int) -> None:
        super().__init__(collection)
        self.left = lost

    def carry_out(self, command: Any) -> Any:
        result = super().carry_out(command)
        self.left -= 1
        if self.left == 0:
            raise AutoReconnect("the connection was lost")
        return result


CASES: list[Any] = [
    pytest.param(nobody, lambda _: acquire("me"), id="begin"),
    pytest.param(over, lambda _: acquire("me"), id="begin another"),
    pytest.param(dead, lambda _: acquire("me"), id="take over"),
    pytest.param(of_another_target, lambda _: acquire("me"), id="supersede"),
    pytest.param(None, lambda run: runs.checkpoint(SCOPE, run, position={"after": 1}), id="checkpoint"),
    *(
        pytest.param(None, lambda run, state=state: runs.finish(SCOPE, run, state, stopped_by="x"), id=state)
        for state in ("succeeded", "errored", "interrupted")
    ),
    pytest.param(None, lambda _: runs.pause(SCOPE), id="pause"),
    pytest.param(None, lambda _: runs.cancel(SCOPE), id="cancel"),
    pytest.param(given_up, lambda _: runs.cancel(SCOPE), id="cancel what nobody works on"),
    pytest.param(given_up, lambda _: runs.resume(SCOPE), id="resume"),
    pytest.param(None, lambda _: runs.set_rate(SCOPE, 5), id="rate"),
]


def gist(run: Run) -> Any:
    return run.state, run.holder, run.position, run.counts, run.rate, run.stopped_by, run.error, run.expires


@pytest.mark.parametrize(("before", "ask"), CASES)
def test_what_was_carried_out_and_not_heard_can_be_asked_again(before: Any, ask: Any) -> None:
    lost = 0
    while True:
        lost += 1
        place, plain = Place(), Place()
        mine: list[Any] = [None if before else each.acquire("me") for each in (place, plain)]
        for each in (place, plain):
            (before or nobody)(each)
        expected = plain.do(ask(mine[1]))
        driver = Deaf(place.collection, lost)
        try:
            found = driver.run(ask(mine[0]))
        except AutoReconnect:
            found = place.do(ask(mine[0]))
        assert gist(found) == gist(expected)
        assert [(run.state, run.target) for run in place.runs.list()] == [
            (run.state, run.target) for run in plain.runs.list()
        ]
        if driver.left > 0:
            break
    assert lost > 3


def test_an_end_that_was_not_heard_is_told_even_after_another_began() -> None:
    place = Place()
    run = place.acquire()
    ended = place.do(runs.finish(SCOPE, run, "succeeded", stopped_by="finished"))
    place.acquire("b")
    assert place.do(runs.finish(SCOPE, run, "succeeded", stopped_by="finished")) == ended


def test_a_server_that_refuses_the_journal_is_the_callers_to_know() -> None:
    class Refusing(MemoryDriver):
        def carry_out(self, command: Any) -> Any:
            if isinstance(command, At) and isinstance(command.command, InsertOne):
                raise OperationFailure("not allowed to do this", 13)
            return super().carry_out(command)

    with pytest.raises(OperationFailure, match="not allowed"):
        Refusing(MemoryCollection("people")).run(acquire("a"))


def test_a_run_that_others_change_for_ever_is_given_up() -> None:
    place = Place()
    place.acquire()

    class Late(MemoryDriver):
        def carry_out(self, command: Any) -> Any:
            if isinstance(command, At) and isinstance(command.command, ReplaceOne):
                place.runs.set(rate=place.now)
                place.now += 0.001
            return super().carry_out(command)

    with pytest.raises(RunError, match="Try again"):
        Late(place.collection).run(runs.pause(SCOPE))


# --------------------------------------------------------------------------------------------------------- on the server


class Operator:
    """A collection object of its own on the same collection, on any driver."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.people = bench.open(users())
        face: Any = AsyncRuns if bench.name in ("pymongo_async", "motor") else Runs
        self.runs = face(self.people._scope, self.people._driver)

    async def do(self, procedure: Procedure[Any]) -> Any:
        return await self.bench.call(self.people._driver.run(procedure))

    async def acquire(self, holder: str, **others: Any) -> Run:
        run: Run = await self.do(
            runs.acquire(self.people._scope, kind="sweep", target=3, holder=holder, host="h", **others)
        )
        return run

    async def ask(self, wish: str, **arguments: Any) -> Any:
        return await self.bench.call(getattr(self.runs, wish)(**arguments))


async def test_a_lease_is_held_waited_for_and_taken_over_on_each_driver(bench: Bench) -> None:
    one, other = Operator(bench), Operator(bench)
    first = await one.acquire("one", lease=60)
    first = await one.do(runs.checkpoint(one.people._scope, first, position={"after": {"b": 1, "a": [2]}}))
    with pytest.raises(LeaseHeldError) as caught:
        await other.acquire("other")
    assert (caught.value.holder, caught.value.expires) == ("one", first.expires)
    first = await one.acquire("one", lease=0.3)
    taken = await other.acquire("other", wait=30)
    assert (taken.id, taken.fence, taken.state) == (first.id, 3, "running")
    assert list(taken.position["after"]) == ["b", "a"]
    with pytest.raises(LeaseHeldError, match="other holds it"):
        await one.do(runs.checkpoint(one.people._scope, first))
    with pytest.raises(LeaseHeldError, match="other holds it"):
        await one.do(runs.finish(one.people._scope, first, "succeeded", stopped_by="finished"))
    ended = await other.do(runs.finish(other.people._scope, taken, "succeeded", stopped_by="finished"))
    assert await one.ask("list") == [ended]


async def test_wishes_of_another_process_are_heard_on_each_driver(bench: Bench) -> None:
    worker, operator = Operator(bench), Operator(bench)
    scope = worker.people._scope
    run = await worker.acquire("worker")
    assert (await operator.ask("pause")).state == "pausing"
    assert (await worker.do(runs.checkpoint(scope, run, stand_still=True))).state == "paused"
    assert (await operator.ask("current")).state == "paused"
    assert (await operator.ask("resume")).state == "running"
    assert (await operator.ask("set", rate=12.5)).rate == 12.5
    heard = await worker.do(runs.checkpoint(scope, run, counts=Counts(total=3, upgraded=2)))
    assert (heard.state, heard.rate) == ("running", 12.5)
    assert (await operator.ask("cancel")).state == "cancelling"
    assert (await worker.do(runs.checkpoint(scope, run))).state == "cancelling"
    ended = await worker.do(runs.finish(scope, run, "cancelled", stopped_by="cancelled"))
    assert (ended.state, ended.counts.upgraded) == ("cancelled", 2)
    second = await worker.acquire("again")
    assert await operator.ask("list") == [second, ended]
    assert await operator.ask("list", limit=1) == [second]
    with pytest.raises(RunError):
        await worker.do(runs.finish(scope, second, "cancelled", stopped_by="cancelled"))


@pytest.mark.parametrize(
    "codec",
    [
        CodecOptions[Any](tz_aware=True),
        CodecOptions[Any](datetime_conversion=DatetimeConversion.DATETIME_MS),
        CodecOptions[Any](uuid_representation=UuidRepresentation.STANDARD),
    ],
    ids=["aware", "ms", "uuid"],
)
def test_the_journal_is_read_whatever_the_clients_codec_options_are(mongo_uri: str, db: Any, codec: Any) -> None:
    options = {
        "tz_aware": codec.tz_aware,
        "datetime_conversion": codec.datetime_conversion.name,
        "uuidRepresentation": "standard",
    }
    identity = uuid4()
    with MongoClient[dict[str, Any]](mongo_uri, **options) as client:
        people = LazyCollection(client[db.name]["people"], users())
        scope, driver = people._scope, people._driver
        run = driver.run(runs.acquire(scope, kind="sweep", target=3, holder="a", host="h"))
        run = driver.run(runs.checkpoint(scope, run, position={"after": identity}))
        assert driver.run(runs.current(scope)) == run
        assert run.position["after"] == identity
        assert run.expires is not None
        assert run.expires.tzinfo is UTC


def test_the_journal_is_one_collection_beside_the_documents(db: Any) -> None:
    people = LazyCollection(db["people"], users())
    control = Runs(people._scope, people._driver)
    for number in range(3):
        holder = f"h{number}"
        run = people._driver.run(runs.acquire(people._scope, kind="sweep", target=3, holder=holder, host="h"))
        people._driver.run(runs.finish(people._scope, run, "succeeded", stopped_by="finished"))
    assert db.list_collection_names() == ["lazymigrate.journal"]
    assert [run.holder for run in control.list()] == ["h2", "h1", "h0"]
    explained = db["lazymigrate.journal"].find({"_id": {"$gt": {"kind": "past run", "collection": "people"}}}).explain()
    assert "COLLSCAN" not in json.dumps(explained["queryPlanner"]["winningPlan"])


def test_the_two_faces_have_the_same_methods_and_signatures() -> None:
    methods = {name: method for name, method in vars(Runs).items() if inspect.isfunction(method)}
    assert {"pause", "resume", "cancel", "set", "current", "list"} < methods.keys()
    assert methods.keys() == {name for name, method in vars(AsyncRuns).items() if inspect.isfunction(method)}
    for name, method in methods.items():
        twin = getattr(AsyncRuns, name)
        assert inspect.signature(method).parameters.keys() == inspect.signature(twin).parameters.keys()
        if name != "__init__":
            assert inspect.iscoroutinefunction(twin)
            assert inspect.getdoc(method)
            assert inspect.getdoc(method) == inspect.getdoc(twin)
