"""The ways in and out besides plain reads and updates, through the collection, on every driver that has them."""

from __future__ import annotations

import pymongo
import pytest
from conftest import Bench
from schemas import declared, user_model, users
from test_conformance import AHEAD, MIDDLE, NEW, OLD, OLD_AT_HEAD

from lazymigrate import (
    AheadError,
    PartialDocument,
    PartialDocumentError,
    Policy,
    Schema,
    SchemaError,
    UpgradeError,
    ops,
)
from lazymigrate.events import Event, Listener

ON_SERVER = pytest.mark.parametrize("bench", ["pymongo", "pymongo_async", "motor"], indirect=True)
BROKEN = {"_id": 5, "mail": "x"}


@ON_SERVER
async def test_projections_give_what_was_asked_of_the_newest_shape(bench: Bench) -> None:
    bench.put(OLD, MIDDLE, NEW)
    for shape in (users(), declared(), user_model(users())):
        people = bench.open(shape, Policy(write_back=True))
        asked = {"email": 1, "_id": 0}
        found = await bench.list(people.find(projection=asked).sort("_id"))
        assert found == [{"email": "ada@example.org"}, {"email": "grace@example.org"}, {"email": "e@example.org"}]
        assert all(type(document) is PartialDocument for document in found)
        assert await bench.call(people.find_one({"_id": 1}, projection=["active"])) == {"_id": 1, "active": True}
        assert await bench.call(people.find_one({"_id": 7}, projection=["active"])) is None
    people = bench.open(users())
    assert await bench.call(people.find_one(1, projection={"email": 0, "kept": 0, "_id": 0})) == {
        "first_name": "Ada",
        "last_name": "Lovelace",
        "active": True,
        "schema_version": 3,
    }
    assert await bench.call(people.find_one(1, projection={"kept.x": 1})) == {"_id": 1, "kept": {"x": 1}}
    with pytest.raises(ValueError, match="positional"):
        people.find(projection={"kept.$": 1})
    bench.put(AHEAD, BROKEN)
    with pytest.raises(AheadError):
        await bench.call(people.find_one(9, projection=["email"]))
    with pytest.raises(UpgradeError):
        await bench.call(people.find_one(5, projection=["kept"]))
    skipping = bench.open(users(), Policy(on_error="skip", on_ahead="keep"))
    assert await bench.list(skipping.find({"_id": {"$gt": 3}}, projection=["whole_new"])) == [
        {"_id": 9, "whole_new": 1}
    ]
    assert {1: OLD, 2: MIDDLE, 3: NEW}.items() <= bench.all().items()


@ON_SERVER
async def test_elem_match_is_decided_by_the_server_after_the_upgrade(bench: Bench) -> None:
    schema = Schema("people")
    schema.revision(2, ops.each("items", ops.rename("price", "cost")), ops.rename("tags", "labels"))
    items = [{"price": 3}, {"price": 8}, {"price": 9}]
    bench.put(
        {"_id": 1, "items": items, "tags": ["a", "b", "c"]}, {"_id": 2, "items": [{"cost": 1}], "schema_version": 2}
    )
    people = bench.open(schema)
    asked = {"items": {"$elemMatch": {"cost": {"$gt": 5}}}, "labels": {"$slice": -2}, "other": 1}
    assert await bench.list(people.find({}, projection=asked).sort("_id")) == [
        {"_id": 1, "labels": ["b", "c"], "items": [{"cost": 8}]},
        {"_id": 2},
    ]


@ON_SERVER
async def test_no_write_accepts_a_partial_document(bench: Bench) -> None:
    bench.put(OLD, NEW)
    schema = users()
    typed = bench.open(user_model(schema))
    people = bench.open(schema)
    part = await bench.call(people.find_one(1, projection=["email"]))
    before = bench.all()
    for write in (
        lambda: people.insert_one(part),
        lambda: people.insert_many([part]),
        lambda: people.replace_one({"_id": 1}, part),
        lambda: people.find_one_and_replace({"_id": 1}, part),
        lambda: people.bulk_write([pymongo.ReplaceOne({"_id": 1}, part)]),
        lambda: people.bulk_write([pymongo.InsertOne(part)]),
        lambda: typed.save(part),
        lambda: typed.replace_one({"_id": 1}, part),
    ):
        with pytest.raises(PartialDocumentError, match="Read it without a projection"):
            await bench.call(write())
    assert bench.all() == before


@ON_SERVER
async def test_find_one_and_takes_a_projection(bench: Bench) -> None:
    bench.put(OLD)
    people = bench.open(user_model(users()))
    found = await bench.call(
        people.find_one_and_update({"_id": 1}, {"$set": {"email": "n"}}, projection={"email": 1}, return_document=True)
    )
    assert (type(found), found) == (PartialDocument, {"_id": 1, "email": "n"})
    assert await bench.call(people.find_one_and_delete({}, projection={"last_name": 1, "_id": 0})) == {
        "last_name": "Lovelace"
    }


@ON_SERVER
async def test_aggregate_as_stored_and_upgraded(bench: Bench) -> None:
    bench.put({**OLD, "name": "Ada"}, NEW)
    people = bench.open(declared())
    count = [{"$group": {"_id": "$email", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}]
    as_stored = await bench.list(await bench.call(people.aggregate(count)))
    assert as_stored == [{"_id": None, "n": 1}, {"_id": "e@example.org", "n": 1}]
    upgraded = await bench.list(await bench.call(people.aggregate(count, upgrade=True)))
    assert upgraded == [{"_id": "ada@example.org", "n": 1}, {"_id": "e@example.org", "n": 1}]
    with pytest.raises(SchemaError, match="split_name"):
        await bench.call(bench.open(users()).aggregate(count, upgrade=True))


@ON_SERVER
async def test_distinct_gives_values_of_the_newest_shape(bench: Bench) -> None:
    bench.put(OLD, MIDDLE, NEW, {**NEW, "_id": 4})
    people = bench.open(users())
    assert sorted(await bench.call(people.distinct("email"))) == [
        "ada@example.org",
        "e@example.org",
        "grace@example.org",
    ]
    assert await bench.call(people.distinct("email", {"_id": {"$gt": 2}})) == ["e@example.org"]


@ON_SERVER
async def test_a_change_stream_gives_documents_at_head(bench: Bench) -> None:
    bench.put(NEW)
    people = bench.open(users())
    async_stream = await bench.call(people.watch(full_document="updateLookup", max_await_time_ms=100))
    bench.put(OLD)
    seen = None
    for _ in range(100):
        seen = await bench.call(async_stream.try_next())
        if seen is not None:
            break
    assert seen is not None
    assert seen["fullDocument"] == OLD_AT_HEAD
    await bench.call(async_stream.close())
    assert not async_stream.alive
    assert bench.all()[1] == OLD


class Heard(Listener):
    def __init__(self) -> None:
        self.events: list[tuple[str, Event]] = []

    def upgraded(self, event: Event) -> None:
        self.events.append(("upgraded", event))

    def written_back(self, event: Event) -> None:
        self.events.append(("written_back", event))

    def conflict(self, event: Event) -> None:
        self.events.append(("conflict", event))

    def quarantined(self, event: Event) -> None:
        self.events.append(("quarantined", event))
        raise RuntimeError("a listener's own mistake")


async def test_listeners_hear_counts(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.put(OLD, MIDDLE, NEW, BROKEN)
    heard = Heard()
    policy = Policy(write_back=True, on_error="quarantine")
    face = type(bench.open(users()))
    people = face(bench.collection, users(), policy, listeners=[heard])
    assert len(await bench.list(people.find())) == 3
    assert heard.events == [
        ("upgraded", Event("people", 3)),
        ("written_back", Event("people", 2)),
        ("quarantined", Event("people", 1)),
    ]
    assert "Heard.quarantined raised RuntimeError" in caplog.text
    assert "mistake" not in caplog.text
    heard.events.clear()
    assert await bench.call(people.find_one({"_id": 1})) == OLD_AT_HEAD
    assert heard.events == []
    plain = people.with_options(policy=Policy())
    bench.put(OLD)
    await bench.call(plain.find_one({"_id": 1}))
    assert heard.events == [("upgraded", Event("people", 1))]


async def test_a_rate_limits_what_is_written_back(bench: Bench) -> None:
    bench.put(*({"_id": n, "name": f"P {n}", "mail": "m"} for n in range(30)))
    people = bench.open(users(), Policy(write_back=True, write_back_rate=5))
    found = await bench.list(people.find())
    assert all(document["schema_version"] == 3 for document in found)
    stored = sum("schema_version" in document for document in bench.all().values())
    assert 5 <= stored <= 10  # a second's worth, and what a slow machine adds
    for rate in (0, -1, True, "5", float("nan"), float("inf")):
        with pytest.raises(ValueError, match="write_back_rate"):
            Policy(write_back_rate=rate)  # type: ignore[arg-type]
