"""Change streams on a real replica set: documents arrive at head, and what cannot be upgraded ends nothing."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
from bson import DatetimeMS
from conftest import Bench
from pymongo.collection import Collection
from schemas import declared, users

from lazymigrate import LazyCollection, Policy, Schema, SchemaError, ops
from lazymigrate.mixed import prepend
from lazymigrate.stream import AsyncLazyChangeStream, LazyChangeStream, whole_fields

OLD = {"_id": 1, "name": "Ada", "mail": "ada@x"}
OLD_AT_HEAD = {"_id": 1, "full_name": "Ada", "email": "ada@x", "active": True, "schema_version": 3}
UNFIT = {"_id": 2, "mail": "secret value", "email": "another secret"}
AHEAD = {"_id": 3, "whole_new": 1, "schema_version": 4}
ROUNDS = 200

People = Collection[dict[str, Any]]


def watch(
    people: People, shape: Any = None, pipeline: Any = None, policy: Policy | None = None, **options: Any
) -> LazyChangeStream:
    opened = LazyCollection(people, shape or declared(), policy)
    stream = opened._driver.watch(pipeline, {"max_await_time_ms": 50, **options})
    return LazyChangeStream(opened._scope, stream, pipeline)


def take(stream: LazyChangeStream, count: int) -> list[dict[str, Any]]:
    """The next events, however long the server takes to give them, within reason."""
    events: list[dict[str, Any]] = []
    for _ in range(ROUNDS):
        if len(events) == count:
            break
        event = stream.try_next()
        if event is not None:
            events.append(event)
    assert len(events) == count
    return events


def documents(events: list[dict[str, Any]], field: str = "fullDocument") -> list[Any]:
    return [event.get(field, "absent") for event in events]


@pytest.fixture
def imaged(db: Any) -> People:
    """A collection that keeps what documents were before a change."""
    people: People = db.create_collection("people", changeStreamPreAndPostImages={"enabled": True})
    return people


def test_documents_of_every_version_arrive_at_head_and_stay_as_stored(people: People) -> None:
    middle = {"_id": 5, "full_name": "Grace", "mail": "g@x", "schema_version": 2}
    with watch(people) as stream:
        people.insert_many([OLD, middle, OLD_AT_HEAD | {"_id": 6}])
        events = take(stream, 3)
        assert stream.try_next() is None
    assert documents(events) == [
        OLD_AT_HEAD,
        {"_id": 5, "full_name": "Grace", "email": "g@x", "active": True, "schema_version": 3},
        OLD_AT_HEAD | {"_id": 6},
    ]
    assert list(events[0]["fullDocument"]) == ["_id", "full_name", "email", "active", "schema_version"]
    assert [event["documentKey"] for event in events] == [{"_id": 1}, {"_id": 5}, {"_id": 6}]
    assert people.find_one({"_id": 1}) == OLD


def test_an_update_shows_both_documents_at_head_and_the_change_as_it_was_made(imaged: People) -> None:
    with watch(imaged, full_document="updateLookup", full_document_before_change="whenAvailable") as stream:
        imaged.insert_one(OLD)
        imaged.update_one({"_id": 1}, {"$set": {"mail": "new@x"}})
        imaged.replace_one({"_id": 1}, {"name": "Other"})
        inserted, updated, replaced = take(stream, 3)
        imaged.delete_one({"_id": 1})
        (deleted,) = take(stream, 1)
    assert "fullDocumentBeforeChange" not in inserted or inserted["fullDocumentBeforeChange"] is None
    assert updated["fullDocumentBeforeChange"] == OLD_AT_HEAD
    assert updated["updateDescription"]["updatedFields"] == {"mail": "new@x"}
    assert updated["fullDocument"]["schema_version"] == 3
    assert replaced["fullDocument"] == {"_id": 1, "full_name": "Other", "active": True, "schema_version": 3}
    assert replaced["fullDocumentBeforeChange"] == OLD_AT_HEAD | {"email": "new@x"}
    assert deleted["operationType"] == "delete"
    assert "fullDocument" not in deleted
    assert deleted["fullDocumentBeforeChange"]["full_name"] == "Other"


def test_a_document_that_is_gone_when_it_is_looked_up_stays_none(people: People) -> None:
    people.insert_one(OLD)
    with watch(people, full_document="updateLookup") as stream:
        people.update_one({"_id": 1}, {"$set": {"mail": "new@x"}})
        people.delete_one({"_id": 1})
        updated, deleted = take(stream, 2)
    assert updated["fullDocument"] is None
    assert updated["updateDescription"]["updatedFields"] == {"mail": "new@x"}
    assert deleted["operationType"] == "delete"


def test_what_cannot_be_upgraded_stays_as_stored_is_logged_once_and_ends_nothing(
    imaged: People, caplog: pytest.LogCaptureFixture
) -> None:
    invalid = {"_id": "an address", "schema_version": [1]}
    with (
        caplog.at_level(logging.DEBUG, "lazymigrate"),
        watch(imaged, full_document="whenAvailable", full_document_before_change="whenAvailable") as stream,
    ):
        imaged.insert_many([UNFIT, AHEAD, invalid, OLD])
        imaged.update_one({"_id": 2}, {"$set": {"x": 1}})
        imaged.delete_one({"_id": 3})
        events = take(stream, 6)
        assert stream.alive
    assert documents(events) == [UNFIT, AHEAD, invalid, OLD_AT_HEAD, UNFIT | {"x": 1}, "absent"]
    assert documents(events, "fullDocumentBeforeChange")[4:] == [UNFIT, AHEAD]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 5
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert all(line.startswith("people: a change event has a document as stored: people: ") for line in lines)
    assert "document 2 at version 1 cannot be upgraded" in lines[0]
    assert "document 3 is at version 4" in lines[1]
    assert not any(secret in line for line in lines for secret in ("secret", "address "))


def test_documents_ahead_are_not_worth_a_word_when_the_policy_keeps_them(
    people: People, caplog: pytest.LogCaptureFixture
) -> None:
    with watch(people, policy=Policy(on_ahead="keep", on_error="skip")) as stream:
        people.insert_one(AHEAD)
        assert documents(take(stream, 1)) == [AHEAD]
    assert caplog.records == []


def test_versions_that_only_empty_revisions_lead_on_from_come_as_find_gives_them(people: People) -> None:
    schema = Schema("people")
    schema.revision(2, ops.rename("a", "b"))
    schema.revision(3, ops.nothing(), name="nothing")
    with watch(people, schema) as stream:
        people.insert_one({"_id": 1, "b": 1, "schema_version": 2})
        assert documents(take(stream, 1)) == [LazyCollection(people, schema).find_one(1)]


def test_a_function_never_gets_hold_of_the_event_and_its_result_is_as_read(people: People) -> None:
    schema = Schema("people")

    @schema.revision(2)
    def spoil(document: dict[str, Any]) -> None:
        document["items"].append(("a", "tuple"))
        if document["_id"] == 2:
            raise ValueError

    with watch(people, schema) as stream:
        people.insert_many([{"_id": n, "items": [1]} for n in (1, 2)])
        first, second = take(stream, 2)
    assert first["fullDocument"] == {"_id": 1, "items": [1, ["a", "tuple"]], "schema_version": 2}
    assert second["fullDocument"] == {"_id": 2, "items": [1]}


def test_a_function_that_returns_something_is_an_error_of_the_code(people: People) -> None:
    schema = Schema("people")

    @schema.revision(2)
    def wrong(document: dict[str, Any]) -> None:
        return document  # type: ignore[return-value]

    with watch(people, schema) as stream:
        people.insert_many([{"_id": 1}, {"_id": 2, "schema_version": 2}])
        with pytest.raises(SchemaError, match="wrong"):
            take(stream, 1)
        assert documents(take(stream, 1)) == [{"_id": 2, "schema_version": 2}]


def test_a_stream_resumes_after_a_token(people: People) -> None:
    with watch(people) as stream:
        people.insert_many([OLD | {"_id": n} for n in range(4)])
        events = take(stream, 2)
        assert stream.resume_token == events[1]["_id"]
        token = copy.deepcopy(stream.resume_token)
    assert not stream.alive
    with watch(people, resume_after=token) as again:
        assert [event["documentKey"]["_id"] for event in take(again, 2)] == [2, 3]


def test_a_stream_is_iterated_and_ends_with_its_collection(people: People) -> None:
    stream = watch(people)
    people.insert_one(OLD)
    people.drop()
    assert iter(stream) is stream
    assert stream.next()["fullDocument"] == OLD_AT_HEAD
    assert [event["operationType"] for event in stream] == ["drop", "invalidate"]
    assert not stream.alive
    with pytest.raises(StopIteration):
        stream.next()
    stream.close()


def test_a_date_that_python_has_no_year_for_does_not_end_the_stream(people: People) -> None:
    far = DatetimeMS(253402300800000)
    with watch(people) as stream:
        people.insert_many([OLD | {"born": far}, {"_id": 2, "name": "Grace"}])
        first, second = take(stream, 2)
    assert first["fullDocument"]["born"] == far
    assert first["fullDocument"]["email"] == "ada@x"
    assert second["fullDocument"]["full_name"] == "Grace"


BOTH = ("fullDocument", "fullDocumentBeforeChange")


@pytest.mark.parametrize(
    ("pipeline", "whole"),
    [
        ([], BOTH),
        ([{"$match": {"fullDocument.mail": 1}}, {"$match": {}}], BOTH),
        ([{"$project": {"fullDocument": 1, "operationType": True}}], BOTH),
        ([{"$project": {"fullDocument": 0}}], BOTH),
        ([{"$project": {"fullDocument.mail": 1, "fullDocumentBeforeChange": 1}}], BOTH[1:]),
        ([{"$project": {"fullDocument": {"mail": 1}}}], BOTH[1:]),
        ([{"$project": {"fullDocumentBeforeChange": "$fullDocument"}}], BOTH[:1]),
        ([{"$unset": "fullDocument.mail"}], BOTH[1:]),
        ([{"$unset": ["fullDocument", "fullDocumentBeforeChange.mail"]}], BOTH[:1]),
        ([{"$set": {"fullDocument.x": 1}}], BOTH[1:]),
        ([{"$addFields": {"fullDocument": 1, "other": 2}}], BOTH[1:]),
        ([{"$replaceWith": "$$ROOT"}], ()),
        ([{"$replaceRoot": {"newRoot": "$$ROOT"}}], ()),
        ([{"$redact": "$$KEEP"}], ()),
        ([{"$changeStreamSplitLargeEvent": {}}], BOTH),
    ],
)
def test_only_what_no_stage_can_have_cut_is_taken_for_a_whole_document(pipeline: Any, whole: Any) -> None:
    assert whole_fields(pipeline) == whole


def test_a_part_of_a_document_is_not_taken_for_one_that_lacks_fields(people: People) -> None:
    with (
        watch(people, pipeline=[{"$project": {"fullDocument.name": 1, "operationType": 1}}]) as part,
        watch(people, pipeline=[{"$unset": "ns"}, {"$match": {"fullDocument.name": "Ada"}}]) as whole,
    ):
        people.insert_many([OLD | {"_id": 7, "name": "Other"}, OLD])
        assert documents(take(part, 2)) == [{"name": "Other"}, {"name": "Ada"}]
        (event,) = take(whole, 1)
    assert event["fullDocument"] == OLD_AT_HEAD
    assert "ns" not in event


async def test_every_driver_streams_and_gives_its_own_cursor(bench: Bench) -> None:
    opened = bench.open(declared())
    if bench.name == "memory":
        with pytest.raises(ValueError, match="does not know change streams"):
            opened._driver.watch(None, {})
        return
    face = LazyChangeStream if bench.name == "pymongo" else AsyncLazyChangeStream
    raw = await bench.call(opened._driver.watch(None, {"max_await_time_ms": 50}))
    stream: Any = face(opened._scope, raw)
    bench.put(OLD, UNFIT, AHEAD, OLD | {"_id": 4})
    first = await bench.call(stream.next())
    assert first["fullDocument"] == OLD_AT_HEAD
    assert stream.resume_token == first["_id"]
    found: list[Any] = []
    for _ in range(ROUNDS):
        event = await bench.call(stream.try_next())
        if event is not None:
            found.append(event["fullDocument"])
        if len(found) == 2:
            break
    assert found == [UNFIT, AHEAD]
    if bench.name == "pymongo":
        last = next(iter(stream))
    else:
        last = await anext(aiter(stream))
    assert last["fullDocument"] == OLD_AT_HEAD | {"_id": 4}
    assert await bench.call(stream.try_next()) is None
    assert stream.alive
    await bench.call(stream.close())
    assert not stream.alive
    with pytest.raises((StopIteration, StopAsyncIteration)):
        await bench.call(stream.next())
    resumed: Any = face(opened._scope, await bench.call(opened._driver.watch([], {"resume_after": first["_id"]})), [])
    if bench.name == "pymongo":
        with resumed:
            assert next(resumed)["fullDocument"] == UNFIT
    else:
        async with resumed:
            assert (await resumed.next())["fullDocument"] == UNFIT
    assert not resumed.alive
    assert bench.all()[1] == OLD


async def test_every_driver_aggregates_mixed_versions(bench: Bench) -> None:
    opened = bench.open(declared())
    bench.put(OLD, UNFIT, AHEAD)
    if bench.name == "memory":
        with pytest.raises(ValueError, match="does not know aggregation pipelines"):
            opened._driver.aggregate([], {})
        return
    pipeline = prepend(declared(), [{"$sort": {"_id": 1}}])
    cursor = await bench.call(opened._driver.aggregate(pipeline, {"comment": "why"}))
    assert await bench.list(cursor) == [OLD_AT_HEAD, UNFIT, AHEAD]
    plain = await bench.call(opened._driver.aggregate([{"$match": {"name": "Ada"}}], {}))
    assert await bench.list(plain) == [OLD]
    bench.put({"_id": 9, "born": DatetimeMS(253402300800000)})
    far = await bench.call(opened._driver.aggregate([{"$match": {"_id": 9}}], {}))
    assert (await bench.list(far))[0]["born"] == DatetimeMS(253402300800000)


def test_a_plain_function_upgrades_events_too(people: People) -> None:
    with watch(people, users()) as stream:
        people.insert_one({"_id": 1, "name": "Ada Lovelace"})
        assert take(stream, 1)[0]["fullDocument"]["last_name"] == "Lovelace"
