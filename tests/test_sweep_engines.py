"""Both engines of the sweep on a real server: what they write, where they stop, and how they go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from bson import Decimal128, MaxKey, MinKey, ObjectId, Timestamp
from pymongo import MongoClient, monitoring
from pymongo.collection import Collection
from pymongo.database import Database
from schemas import declared

from lazymigrate import LazyCollection, LazyMigrateError, LeaseHeldError, Schema, SchemaError, ops
from lazymigrate.procedures import through
from lazymigrate.sweeping import Progress

People = Collection[dict[str, Any]]
MIXED_IDS = [
    MinKey(), None, -1, 2.5, 7, Decimal128("9.5"), 2**40, "", "a", "é", {"a": 1}, {"a": {"b": None}}, b"\0", b"\xff",
    ObjectId(), False, True, datetime(1970, 1, 2), Timestamp(1, 1), MaxKey(),
]  # fmt: skip


def counting() -> Schema:
    """A function that counts how often a document was upgraded."""
    schema = Schema("people")

    @schema.revision(2)
    def count(person: dict[str, Any]) -> None:
        person["n"] = person.get("n", 0) + 1

    return schema


def counting_inside() -> Schema:
    """The same, declared."""
    schema = Schema("people")
    mongo = {"$add": [{"$ifNull": ["$n", 0]}, 1]}
    schema.revision(2, ops.compute("n", python=lambda person: person.get("n", 0) + 1, mongo=mongo))
    return schema


def poisoned(poison: Callable[[int], bool]) -> Schema:
    schema = counting()

    @schema.revision(3)
    def check(person: dict[str, Any]) -> None:
        if poison(person["_id"]):
            raise ValueError("canary")

    return schema


ENGINES = pytest.mark.parametrize("schema", [counting, counting_inside], ids=["function", "declared"])


class Updates(monitoring.CommandListener):
    """The update commands of a client."""

    def __init__(self) -> None:
        self.commands: list[Any] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name == "update" and event.command["update"] == "people":
            self.commands.append(event.command)

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


def once(people: People) -> None:
    """Every document was upgraded, and just once."""
    assert people.count_documents({"n": 1, "schema_version": 2}) == people.count_documents({})


@ENGINES
@pytest.mark.parametrize("batch_size", [1, 2, 5, 40, None])
def test_ids_of_all_types_are_met_once(people: People, schema: Callable[[], Schema], batch_size: int | None) -> None:
    people.insert_many({"_id": identity} for identity in MIXED_IDS)
    report = LazyCollection(people, schema()).sweep(batch_size=batch_size)
    assert (report.upgraded, report.conflicts, report.passes, report.complete) == (len(MIXED_IDS), 0, 1, True)
    once(people)


@ENGINES
def test_with_the_backlog_index_only_what_is_outdated_is_looked_at(
    people: People, schema: Callable[[], Schema]
) -> None:
    lazy = LazyCollection(people, schema())
    people.insert_many({"_id": n, **({} if n % 100 == 0 else {"schema_version": 2, "n": 1})} for n in range(5000))
    lazy.create_backlog_index()
    people.database.command("profile", 2, filter={"ns": people.full_name, "op": {"$in": ["update", "query"]}})
    assert lazy.sweep().upgraded == 50
    people.database.command("profile", 0)
    once(people)
    profiled = list(people.database["system.profile"].find({"planSummary": {"$exists": True}}))
    assert profiled
    assert max(entry["docsExamined"] for entry in profiled) <= 110


def test_declared_chains_run_inside_mongodb_and_functions_through_the_client(mongo_uri: str, db: Database[Any]) -> None:
    updates = Updates()
    with MongoClient[dict[str, Any]](mongo_uri, event_listeners=[updates]) as client:
        people = client[db.name]["people"]
        people.insert_many({"_id": n, "name": f"A {n}", "mail": "m"} for n in range(300))
        assert LazyCollection(people, declared()).sweep().complete
        assert all(statement["multi"] for command in updates.commands for statement in command["updates"])
        updates.commands.clear()
        people.update_many({}, [{"$set": {"schema_version": 1}}, {"$unset": ["full_name", "email"]}])
        updates.commands.clear()
        assert LazyCollection(people, counting()).sweep().complete
        assert not any(statement["multi"] for command in updates.commands for statement in command["updates"])
        assert all(command["writeConcern"] == {"w": "majority"} for command in updates.commands)


def test_what_is_not_safe_inside_mongodb_goes_through_the_client(people: People) -> None:
    people.insert_many({"_id": n, "mail": "m"} for n in range(50))
    people.insert_many({"_id": 100 + n, "mail": "m", "email": "taken"} for n in range(3))
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email", on_conflict="keep_new"))
    report = LazyCollection(people, schema).sweep(batch_size=8)
    assert (report.upgraded, report.complete) == (53, True)
    assert people.count_documents({"email": "taken", "mail": {"$exists": False}}) == 3


def test_a_validator_that_refuses_some_in_a_range_costs_only_these(db: Database[dict[str, Any]]) -> None:
    people = db.create_collection("people")
    people.insert_many({"_id": n, "mail": "bad" if n % 7 == 0 else "m"} for n in range(200))
    db.command("collMod", "people", validator={"email": {"$ne": "bad"}})
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email"))
    lazy = LazyCollection(people, schema)
    report = lazy.sweep(batch_size=40)
    assert (report.upgraded, report.quarantined, report.stopped_by) == (171, 29, "finished")
    assert {entry.code for entry in lazy.quarantine} == {121}


@ENGINES
def test_a_sweep_of_a_finished_collection_writes_nothing(people: People, schema: Callable[[], Schema]) -> None:
    people.insert_many({"_id": n} for n in range(100))
    lazy = LazyCollection(people, schema())
    assert lazy.sweep().complete
    oplog = people.database.client["local"]["oplog.rs"]
    mine = {"ns": {"$regex": f"^{people.database.name}\\."}}
    before = oplog.count_documents(mine)
    report = lazy.sweep()
    assert (report.upgraded, report.passes, report.complete) == (0, 0, True)
    assert oplog.count_documents(mine) == before


@ENGINES
def test_a_rehearsal_writes_nothing(people: People, schema: Callable[[], Schema]) -> None:
    people.insert_many({"_id": n} for n in range(100))
    before = list(people.find())
    report = LazyCollection(people, schema()).sweep(dry_run=True)
    assert (report.upgraded, report.remaining, report.dry_run, report.complete) == (100, 100, True, False)
    assert list(people.find()) == before
    assert set(people.database.list_collection_names()) == {"people"}


def test_a_rehearsal_counts_what_would_fail(people: People) -> None:
    people.insert_many({"_id": n} for n in range(100))
    report = LazyCollection(people, poisoned(lambda n: n % 10 == 0)).sweep(dry_run=True)
    assert (report.upgraded, report.quarantined) == (90, 10)


@ENGINES
def test_it_stops_at_its_limit_and_the_next_goes_on_there(people: People, schema: Callable[[], Schema]) -> None:
    people.insert_many({"_id": n} for n in range(1000))
    lazy = LazyCollection(people, schema())
    for _ in range(3):
        report = lazy.sweep(limit=301, batch_size=50)
        assert (report.upgraded, report.stopped_by) == (301, "limit")
    run = lazy.runs.current()
    assert run is not None
    assert (run.state, run.counts.upgraded, run.counts.total) == ("interrupted", 903, 1000)
    assert lazy.sweep().complete
    runs = lazy.runs.list()
    assert [run.state for run in runs] == ["succeeded"]
    assert runs[0].counts.upgraded == 1000
    once(people)


def test_it_stops_after_its_time_and_keeps_its_position(people: People) -> None:
    people.insert_many({"_id": n} for n in range(500))
    lazy = LazyCollection(people, counting())
    report = lazy.sweep(max_seconds=0.3, rate=200, batch_size=40)
    assert report.stopped_by == "max_seconds"
    assert 0 < report.upgraded < 500
    run = lazy.runs.current()
    assert run is not None
    assert run.position["after"] == report.upgraded - 1
    assert lazy.sweep().complete
    once(people)


def test_documents_that_come_behind_the_position_are_found_by_another_pass(people: People) -> None:
    people.insert_many({"_id": n} for n in range(100, 200))
    late = iter(range(3))

    def insert(progress: Progress) -> None:
        if progress.done >= 50:
            for n in late:
                people.insert_one({"_id": n})

    report = LazyCollection(people, counting()).sweep(batch_size=8, progress=insert, pause=0.11)
    assert (report.upgraded, report.passes, report.complete) == (103, 2, True)
    once(people)


def test_what_others_change_meanwhile_is_kept_and_met_again(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    people.insert_many({"_id": n} for n in range(100))
    sent = through.command

    def change_first(items: Any) -> Any:
        people.update_many({"_id": {"$lt": 10}, "schema_version": None}, {"$inc": {"visits": 1}})
        return sent(items)

    with monkeypatch.context() as patch:
        patch.setattr(through, "command", change_first)
        report = LazyCollection(people, counting()).sweep(batch_size=20, limit=60)
    assert report.conflicts == 10
    assert LazyCollection(people, counting()).sweep().complete
    assert people.count_documents({"visits": {"$gte": 1}, "n": 1}) == 10
    once(people)


def test_large_documents_are_taken_in_small_pages(people: People) -> None:
    people.insert_many([{"_id": n, "pad": "x" * 3_000_000} for n in range(24)])
    report = LazyCollection(people, counting()).sweep()
    assert (report.upgraded, report.quarantined, report.complete) == (24, 0, True)
    once(people)


def test_one_document_of_fifteen_megabytes_fits(people: People) -> None:
    people.insert_many([{"_id": 0}, {"_id": 1, "pad": "x" * 15_000_000}, {"_id": 2}])
    assert LazyCollection(people, counting()).sweep().complete
    once(people)


def test_a_document_that_bson_cannot_hold_spoils_no_others(people: People) -> None:
    schema = Schema("people")

    @schema.revision(2)
    def grow(person: dict[str, Any]) -> None:
        person["n"] = {3: 2**70, 4: {1, 2}, 5: "\ud800"}.get(person["_id"], 1)

    people.insert_many({"_id": n} for n in range(10))
    report = LazyCollection(people, schema).sweep()
    assert (report.upgraded, report.quarantined) == (7, 3)


def test_when_everything_fails_it_stops_within_two_hundred(people: People) -> None:
    people.insert_many({"_id": n} for n in range(5000))
    lazy = LazyCollection(people, poisoned(lambda _: True))
    report = lazy.sweep()
    assert (report.upgraded, report.stopped_by) == (0, "errored")
    assert 100 < lazy.quarantine.count() <= 200
    run = lazy.runs.current()
    assert run is not None
    assert (run.state, run.over) == ("errored", True)


def test_quarantined_documents_are_left_alone_until_they_are_tried_again(people: People) -> None:
    people.insert_many({"_id": n} for n in range(300))
    bad = {7, 99, 250}
    calls: list[int] = []
    schema = Schema("people")

    @schema.revision(2)
    def check(person: dict[str, Any]) -> None:
        calls.append(person["_id"])
        if person["_id"] in bad:
            raise ValueError("canary")
        person["n"] = 1

    lazy = LazyCollection(people, schema)
    first = lazy.sweep()
    assert (first.upgraded, first.quarantined, first.remaining, first.complete) == (297, 3, 3, False)
    calls.clear()
    people.insert_one({"_id": 1000})
    assert lazy.sweep().upgraded == 1
    assert calls == [1000]
    bad.clear()
    assert lazy.quarantine.retry().upgraded == 3
    assert lazy.quarantine.count() == 0
    assert lazy.sweep().complete


def test_a_declared_sweep_leaves_quarantined_documents_alone_too(people: People) -> None:
    people.insert_many({"_id": n, "mail": "m", **({"email": "x"} if n == 5 else {})} for n in range(20))
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email"))
    lazy = LazyCollection(people, schema)
    assert lazy.sweep().quarantined == 1
    people.update_one({"_id": 5}, {"$unset": {"email": 1}})  # mended, but still listed
    people.insert_one({"_id": 30, "mail": "m"})
    assert lazy.sweep().upgraded == 1
    assert people.find_one({"_id": 5}) == {"_id": 5, "mail": "m"}
    lazy.quarantine.release([5])
    assert lazy.sweep().complete


def test_a_function_that_returns_something_stops_it(people: People) -> None:
    schema = Schema("people")

    @schema.revision(2)
    def wrong(person: dict[str, Any]) -> Any:
        return person

    people.insert_many({"_id": n} for n in range(10))
    lazy = LazyCollection(people, schema)
    with pytest.raises(SchemaError, match="wrong"):
        lazy.sweep()
    run = lazy.runs.current()
    assert run is not None
    assert (run.state, run.error) == ("errored", "SchemaError")
    assert people.count_documents({"schema_version": None}) == 10


def test_another_process_pauses_it_changes_its_rate_and_cancels_it(people: People) -> None:
    people.insert_many({"_id": n} for n in range(2000))
    seen: list[Progress] = []
    reports: list[Any] = []
    lazy = LazyCollection(people, counting())
    other = LazyCollection(people, counting())
    thread = threading.Thread(target=lambda: reports.append(lazy.sweep(rate=100, batch_size=20, progress=seen.append)))
    thread.start()
    until(lambda: other.runs.current() is not None and bool(seen))
    with pytest.raises(LeaseHeldError):
        other.sweep()
    assert other.runs.pause().state == "pausing"
    until(lambda: state(other) == "paused")
    stood = people.count_documents({"schema_version": 2})
    until(lambda: seen[-1].waiting_for == "paused")
    assert people.count_documents({"schema_version": 2}) == stood
    other.runs.set(rate=200)
    other.runs.resume()
    until(lambda: people.count_documents({"schema_version": 2}) > stood + 20)
    other.runs.cancel()
    thread.join(10)
    assert not thread.is_alive()
    assert reports[0].stopped_by == "cancelled"
    assert state(other) == "cancelled"
    assert lazy.sweep().complete
    once(people)


def state(people: LazyCollection[Any]) -> str | None:
    run = people.runs.current()
    return None if run is None else run.state


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lease_that_was_lost_stops_the_one_who_lost_it(people: People) -> None:
    people.insert_many({"_id": n} for n in range(500))
    lazy = LazyCollection(people, counting())

    def steal(progress: Progress) -> None:
        people.database["lazymigrate.journal"].update_many(
            {}, {"$inc": {"fence": 1, "seq": 1}, "$set": {"holder": "x"}}
        )

    with pytest.raises(LeaseHeldError):
        lazy.sweep(progress=steal, batch_size=40, pause=0.2)


def test_an_interrupt_gives_the_lease_up(people: People) -> None:
    people.insert_many({"_id": n} for n in range(500))
    lazy = LazyCollection(people, counting())

    def interrupt(progress: Progress) -> None:
        if progress.done > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lazy.sweep(progress=interrupt, batch_size=40, pause=0.11)
    assert state(lazy) == "interrupted"
    assert lazy.sweep().complete
    once(people)


@ENGINES
def test_partitions_cover_everything_once_and_may_be_run_again(people: People, schema: Callable[[], Schema]) -> None:
    people.insert_many({"_id": identity} for identity in [*MIXED_IDS, *range(100, 500)])
    lazy = LazyCollection(people, schema())
    parts = lazy.partitions(5)
    reports = [lazy.run_partition(part) for part in parts]
    assert sum(report.upgraded for report in reports) == people.count_documents({})
    assert all(report.remaining == 0 for report in reports)
    assert sum(lazy.run_partition(part).upgraded for part in parts) == 0
    once(people)


def test_workers_share_the_work(people: People) -> None:
    import importlib

    people.insert_many({"_id": n, "name": "A B", "mail": "m"} for n in range(2000))
    module = importlib.import_module("worker_schema")
    seen: list[Progress] = []
    report = LazyCollection(people, module.schema).sweep(workers=2, progress=seen.append)
    assert (report.upgraded, report.complete, report.stopped_by) == (2000, True, "finished")
    assert seen[-1].done == 2000
    assert people.count_documents({"n": 1, "schema_version": 2}) == 2000


def test_workers_need_a_schema_that_can_be_imported(people: People) -> None:
    people.insert_one({"_id": 1})
    with pytest.raises(SchemaError, match="module"):
        LazyCollection(people, counting()).sweep(workers=2)


def test_a_collation_that_ignores_case_is_swept_through_the_client(db: Database[dict[str, Any]]) -> None:
    people = db.create_collection("people", collation={"locale": "en", "strength": 1})
    people.insert_many([{"_id": "a", "kind": "NEW"}, {"_id": "b", "kind": "new"}, {"_id": 3, "kind": "New"}])
    schema = Schema("people")
    schema.revision(2, ops.replace_values("kind", {"new": "fresh"}))
    assert LazyCollection(people, schema).sweep(batch_size=1).complete
    assert [person["kind"] for person in people.find(sort=[("kind", 1), ("_id", 1)])].count("fresh") == 1


def test_the_index_that_is_dropped_meanwhile_is_missed_by_nobody(people: People) -> None:
    people.insert_many({"_id": n} for n in range(400))
    lazy = LazyCollection(people, counting())
    name = lazy.create_backlog_index()

    def drop(progress: Progress) -> None:
        if progress.done > 100 and name in people.index_information():
            people.drop_index(name)

    assert lazy.sweep(progress=drop, batch_size=40, pause=0.11).complete
    once(people)


def test_going_back_counts_what_would_be_lost_first(people: People) -> None:
    lazy = LazyCollection(people, declared())
    people.insert_many({"_id": n, "name": f"A {n}", "mail": "m"} for n in range(50))
    lazy.sweep()
    people.update_one({"_id": 7}, {"$set": {"active": False}})
    report = lazy.downgrade(1, dry_run=True)
    assert (report.kind, report.upgraded, report.losses, report.remaining) == ("downgrade", 50, 1, 50)
    with pytest.raises(LazyMigrateError, match="1 of 50 documents would lose data"):
        lazy.downgrade(1)
    assert people.count_documents({"schema_version": 3}) == 50
    report = lazy.downgrade(1, accept_losses=True)
    assert (report.upgraded, report.remaining, report.complete) == (50, 0, True)
    assert people.find_one({"_id": 7}) == {"_id": 7, "name": "A 7", "mail": "m", "schema_version": 1}
    assert lazy.sweep().upgraded == 50


def test_going_back_writes_nothing_when_the_count_of_losses_was_stopped(people: People) -> None:
    people.insert_many({"_id": n, "name": "A", "mail": "m"} for n in range(50))
    lazy = LazyCollection(people, declared())
    lazy.sweep()
    people.update_many({}, {"$set": {"active": False}})  # which going back would lose
    said = iter([True])  # while they are counted, and not afterwards
    report = lazy.downgrade(1, stop=lambda: next(said, False))
    assert (report.upgraded, report.stopped_by) == (0, "interrupted")
    assert people.count_documents({"schema_version": 3, "active": False}) == 50


def test_workers_share_a_whole_sweep_only(people: People) -> None:
    people.insert_one({"_id": 1, "name": "A", "mail": "m", "schema_version": 1})
    import worker_schema

    lazy = LazyCollection(people, worker_schema.schema)
    for wrong in (
        lambda: lazy.downgrade(2, workers=2),
        lambda: lazy.run_partition(lazy.partitions(1)[0], workers=2),
        lambda: lazy.sweep(dry_run=True, workers=2),
    ):
        with pytest.raises(ValueError, match="workers="):
            wrong()
    assert people.count_documents({"schema_version": 1}) == 1


def test_going_back_over_what_has_no_way_back_writes_nothing(people: People) -> None:
    from lazymigrate import IrreversibleError

    people.insert_one({"_id": 1, "schema_version": 2})
    with pytest.raises(IrreversibleError):
        LazyCollection(people, counting()).downgrade(1)
    assert people.find_one() == {"_id": 1, "schema_version": 2}


def test_a_sweeper_works_in_the_background_until_it_is_stopped(people: People) -> None:
    people.insert_many({"_id": n} for n in range(300))
    lazy = LazyCollection(people, counting())
    sweeper = lazy.sweeper(every=0.05)
    assert not sweeper.running
    with sweeper:
        until(lambda: sweeper.report is not None)
        people.insert_one({"_id": 1000})
        until(lambda: people.count_documents({"schema_version": None}) == 0)
        assert sweeper.running
    assert not sweeper.running
    once(people)


def test_raw_batches_are_encoded_under_the_codec_of_the_collection(people: People) -> None:
    from bson.binary import UuidRepresentation
    from bson.codec_options import CodecOptions

    codec = CodecOptions[dict[str, Any]](uuid_representation=UuidRepresentation.STANDARD)
    people = people.with_options(codec_options=codec)
    ids = [uuid4() for _ in range(20)]
    people.insert_many({"_id": identity, "old": identity} for identity in ids)
    schema = Schema("people")

    @schema.revision(2)
    def move(person: dict[str, Any]) -> None:
        person["new"] = person.pop("old")

    assert LazyCollection(people, schema).sweep(batch_size=8).complete
    assert {person["new"] for person in people.find()} == set(ids)
