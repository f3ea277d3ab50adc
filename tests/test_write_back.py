"""Write-back stores what a read upgraded, where it may, and never fails the read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database
from schemas import declared, user_model, users

from lazymigrate import LazyCollection, Policy
from lazymigrate.commands import Attempt, Clock, CompareAndSetMany, Find
from lazymigrate.drivers.memory import CODEC, MemoryDriver
from lazymigrate.procedures import reads
from lazymigrate.scope import Scope
from lazymigrate.testing import MemoryCollection

OLD = {"_id": 1, "name": "Ada Lovelace", "mail": "m"}
STORING = Policy(write_back=True)


@contextmanager
def failing(client: MongoClient[dict[str, Any]], command: str, code: int, times: Any = "alwaysOn") -> Iterator[None]:
    """The server refuses a command."""
    mode = {"times": times} if isinstance(times, int) else times
    data = {"failCommands": [command], "errorCode": code}
    client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})
    try:
        yield
    finally:
        client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


def read_all_ways(people: LazyCollection[dict[str, Any]]) -> None:
    assert people.find_one({"_id": 1}) is not None
    assert [document["schema_version"] for document in people.find()] == [3]


def test_it_is_off_unless_asked_for(people: Collection[dict[str, Any]]) -> None:
    people.insert_one(dict(OLD))
    read_all_ways(LazyCollection(people, users()))
    assert people.find_one() == OLD


def test_not_inside_the_callers_transaction(
    client: MongoClient[dict[str, Any]], people: Collection[dict[str, Any]]
) -> None:
    people.insert_one(dict(OLD))
    lazy = LazyCollection(people, users(), STORING)
    with client.start_session() as session, session.start_transaction():
        assert lazy.find_one({}, session=session)["schema_version"] == 3
        assert [d["schema_version"] for d in lazy.find({}, session=session)] == [3]
    assert people.find_one() == OLD
    with client.start_session() as session:
        lazy.find_one({}, session=session)
    assert people.find_one()["schema_version"] == 3


def test_not_after_a_read_that_a_secondary_may_have_answered(people: Collection[dict[str, Any]]) -> None:
    people.insert_one(dict(OLD))
    for preference in (ReadPreference.SECONDARY_PREFERRED, ReadPreference.PRIMARY_PREFERRED, ReadPreference.NEAREST):
        read_all_ways(LazyCollection(people.with_options(read_preference=preference), users(), STORING))
    assert people.find_one() == OLD


def test_not_on_a_view_and_said_once(
    db: Database[dict[str, Any]], people: Collection[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    people.insert_one(dict(OLD))
    db.create_collection("shown", viewOn="people", pipeline=[])
    lazy = LazyCollection(db["shown"], users(), STORING)
    with caplog.at_level(logging.WARNING, "lazymigrate"):
        read_all_ways(lazy)
        read_all_ways(lazy)
    assert len(caplog.records) == 1
    assert "view" in caplog.text
    assert people.find_one() == OLD


@pytest.mark.parametrize("code", [13, 20, 91, 112, 10107, 11600])
def test_a_server_that_refuses_never_fails_the_read(
    client: MongoClient[dict[str, Any]],
    people: Collection[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    people.insert_many([dict(OLD), {**OLD, "_id": 2}])
    lazy = LazyCollection(people, users(), STORING)
    with failing(client, "update", code), caplog.at_level(logging.WARNING, "lazymigrate"):
        assert lazy.find_one({"_id": 1})["first_name"] == "Ada"
        assert len(list(lazy.find())) == 2
    assert {d["_id"] for d in people.find({"schema_version": None})} == {1, 2}
    assert len(caplog.records) == (1 if code in (13, 20) else 2)
    assert "Ada" not in caplog.text


def test_without_the_right_to_write_it_is_said_once_and_not_tried_again(
    client: MongoClient[dict[str, Any]], people: Collection[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    people.insert_one(dict(OLD))
    lazy = LazyCollection(people, users(), STORING)
    with caplog.at_level(logging.WARNING, "lazymigrate"):
        with failing(client, "update", 13, times=1):
            lazy.find_one({})
        lazy.find_one({})
        list(lazy.find())
    assert people.find_one() == OLD
    assert len(caplog.records) == 1
    assert "readWrite" in caplog.text


def test_a_write_concern_that_acknowledges_nothing_does_not_blind_the_compare_and_set(
    people: Collection[dict[str, Any]],
) -> None:
    people.insert_one(dict(OLD))
    schema = users()
    model = user_model(schema)
    blind = people.with_options(write_concern=WriteConcern(w=0))
    user = LazyCollection(blind, model, STORING).find_one({})
    assert people.find_one()["schema_version"] == 3
    user.last_name = "King"
    LazyCollection(blind, model).save(user)
    assert people.find_one()["last_name"] == "King"


def test_a_read_of_what_is_at_head_writes_nothing(
    client: MongoClient[dict[str, Any]], people: Collection[dict[str, Any]]
) -> None:
    people.insert_one({"_id": 1, "full_name": "Ada", "email": "m", "active": True, "schema_version": 3})
    before = client.admin.command("serverStatus")["opcounters"]["update"]
    read_all_ways(LazyCollection(people, declared(), STORING))
    assert client.admin.command("serverStatus")["opcounters"]["update"] == before


def test_ten_thousand_outdated_documents_in_one_cursor(people: Collection[dict[str, Any]]) -> None:
    people.insert_many({"_id": n, "name": f"P {n}", "mail": "m"} for n in range(10_000))
    lazy = LazyCollection(people, users(), STORING)
    assert [d["_id"] for d in lazy.find().sort("_id")] == list(range(10_000))
    assert people.count_documents({"schema_version": 3}) == 10_000


def test_one_flight_at_a_time() -> None:
    """What one read is writing back just now, another read of the same collection object reads again before it writes."""
    schema = users()
    collection = MemoryCollection("people")
    collection.put({"_id": 1, "name": "Ada Lovelace", "mail": "m"})
    driver = MemoryDriver(collection)
    scope = Scope(schema, None, Policy(write_back=True), "people", CODEC)
    find = Find({"_id": 1}, limit=1)
    first, second = (reads.find_one(scope, find, {}, stores=True) for _ in range(2))

    def step(procedure: Any, command: Any) -> Any:
        reached = procedure.send(driver.carry_out(command))
        return step(procedure, reached) if isinstance(reached, Clock) else reached

    def begun(procedure: Any) -> Any:
        """Its first command for the server."""
        reached = next(procedure)
        return step(procedure, reached) if isinstance(reached, Clock) else reached

    storing = step(first, begun(first)).command
    assert isinstance(storing, CompareAndSetMany)
    again = step(second, begun(second)).command
    assert isinstance(again, Find)  # and no second compare-and-set
    with pytest.raises(StopIteration) as ended:
        step(first, Attempt(storing))
    with pytest.raises(StopIteration) as followed:
        step(second, Attempt(again))
    assert ended.value.value == followed.value.value == collection.documents()[0]
    assert scope.in_flight == {}

    collection.put({"_id": 1, "name": "Ada Lovelace", "mail": "m"})
    stuck, patient = (reads.find_one(scope, find, {}, stores=True) for _ in range(2))
    step(stuck, begun(stuck))
    command = step(patient, begun(patient)).command
    command = step(patient, Attempt(command)).command
    assert isinstance(command, CompareAndSetMany)  # still outdated: it is written in spite of the flight
    stuck.close()
    patient.close()
    assert scope.in_flight == {}
