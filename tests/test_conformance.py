"""One suite that every driver passes: the same cases on pymongo, its asynchronous API, Motor and in memory."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId
from conftest import Bench
from pymongo.errors import DuplicateKeyError, InvalidOperation
from schemas import declared, user_model, users

from lazymigrate import (
    AheadError,
    ConflictError,
    InvalidVersionError,
    ModelError,
    Policy,
    RetiredVersionError,
    Schema,
    UpgradeError,
    ops,
)

OLD = {"_id": 1, "name": "Ada Lovelace", "mail": "ada@example.org", "kept": {"x": 1}}
MIDDLE = {"_id": 2, "first_name": "Grace", "last_name": "Hopper", "mail": "grace@example.org", "schema_version": 2}
NEW = {
    "_id": 3,
    "first_name": "Edsger",
    "last_name": "Dijkstra",
    "email": "e@example.org",
    "active": False,
    "schema_version": 3,
}
OLD_AT_HEAD = {
    "_id": 1,
    "kept": {"x": 1},
    "first_name": "Ada",
    "last_name": "Lovelace",
    "email": "ada@example.org",
    "active": True,
    "schema_version": 3,
}
AHEAD = {"_id": 9, "whole_new": 1, "schema_version": 4}


async def test_documents_of_every_version_arrive_at_head_and_stay_as_stored(bench: Bench) -> None:
    bench.put(OLD, MIDDLE, NEW)
    people = bench.open(users())
    found = {document["_id"]: document for document in await bench.list(people.find())}
    assert found[1] == OLD_AT_HEAD
    assert found[2] == {
        "_id": 2,
        "first_name": "Grace",
        "last_name": "Hopper",
        "email": "grace@example.org",
        "active": True,
        "schema_version": 3,
    }
    assert found[3] == NEW
    assert await bench.call(people.find_one({"_id": 1})) == OLD_AT_HEAD
    assert await bench.call(people.find_one(1)) == OLD_AT_HEAD
    assert await bench.call(people.find_one({"_id": 77})) is None
    assert bench.all() == {1: OLD, 2: MIDDLE, 3: NEW}


async def test_write_back_stores_what_it_returns(bench: Bench) -> None:
    bench.put(OLD, MIDDLE, NEW)
    people = bench.open(users(), Policy(write_back=True))
    assert await bench.call(people.find_one({"_id": 1})) == OLD_AT_HEAD
    assert bench.all()[1] == OLD_AT_HEAD
    assert bench.all()[2] == MIDDLE
    found = await bench.list(people.find())
    assert {document["_id"]: document for document in found} == bench.all()
    assert all(document["schema_version"] == 3 for document in bench.all().values())


async def test_a_cursor_sorts_skips_limits_and_ends(bench: Bench) -> None:
    bench.put(*({"_id": n, "name": f"P {n}", "mail": "m"} for n in range(10)))
    people = bench.open(users())
    ids = [d["_id"] for d in await bench.list(people.find().sort("_id", -1).skip(2).limit(3).batch_size(2))]
    assert ids == [7, 6, 5]
    assert [d["_id"] for d in await bench.list(people.find(sort=[("_id", 1)], skip=8))] == [8, 9]
    assert (await bench.call(people.find_one({}, sort=[("_id", -1)], skip=1)))["_id"] == 8
    cursor = people.find({}, batch_size=3).sort("_id")
    assert [d["_id"] for d in await bench.call(cursor.to_list(4))] == [0, 1, 2, 3]
    assert [d["_id"] for d in await bench.call(cursor.to_list())] == [4, 5, 6, 7, 8, 9]
    assert await bench.call(cursor.to_list()) == []
    with pytest.raises(InvalidOperation):
        cursor.sort("_id")
    closed = people.find(batch_size=2)
    await bench.call(closed.to_list(1))
    await bench.call(closed.close())
    assert await bench.call(closed.to_list()) == []
    assert await bench.call(people.count_documents({"_id": {"$gt": 4}})) == 5


async def test_one_batch_after_another_is_upgraded_and_written_back(bench: Bench) -> None:
    bench.put(*({"_id": n, "name": f"P {n}", "mail": "m"} for n in range(25)))
    people = bench.open(users(), Policy(write_back=True))
    found = await bench.list(people.find(batch_size=4))
    assert sorted(d["_id"] for d in found) == list(range(25))
    assert all(d["schema_version"] == 3 for d in bench.all().values())


async def test_models_come_and_go(bench: Bench) -> None:
    schema = users()
    user_class = user_model(schema)
    people = bench.open(user_class)
    bench.put(OLD)
    ada = await bench.call(people.find_one({"_id": 1}))
    assert isinstance(ada, user_class)
    assert (ada.first_name, ada.email, ada.active) == ("Ada", "ada@example.org", True)
    grace = user_class(first_name="Grace", last_name="Hopper")
    await bench.call(people.insert_one(grace))
    assert isinstance(grace.id, ObjectId)
    assert bench.all()[grace.id]["schema_version"] == 3
    alan = user_class(first_name="Alan", last_name="Turing")
    await bench.call(people.save(alan))
    alan.last_name = "M. Turing"
    await bench.call(people.save(alan))
    assert bench.all()[alan.id]["last_name"] == "M. Turing"
    with pytest.raises(DuplicateKeyError):
        await bench.call(people.insert_one(alan))
    kurt = user_class(first_name="Kurt", last_name="Gödel")
    await bench.call(people.insert_many([kurt, {"first_name": "Emmy", "last_name": "Noether"}]))
    assert len(bench.all()) == 5
    assert {type(user) for user in await bench.list(people.find())} == {user_class}


async def test_save_writes_only_what_changed(bench: Bench) -> None:
    people = bench.open(user_model(users()))
    stored = {**NEW, "unknown": {"deep": [1, 2]}, "address": {"city": "A", "zip": "1", "extra": 5}}
    bench.put(stored)
    user = await bench.call(people.find_one({"_id": 3}))
    user.address["city"] = "B"
    del user.address["zip"]
    bench.put({**stored, "first_name": "Edsger W.", "address": {**stored["address"], "extra": 6}})
    await bench.call(people.save(user))
    assert bench.all()[3] == {**stored, "first_name": "Edsger W.", "address": {"city": "B", "extra": 6}}
    assert "tags" not in bench.all()[3]
    user.tags.append("x")
    await bench.call(people.save(user))
    assert bench.all()[3]["tags"] == ["x"]
    assert bench.all()[3]["first_name"] == "Edsger W."


async def test_save_upgrades_an_outdated_document_in_the_same_step(bench: Bench) -> None:
    people = bench.open(user_model(users()))
    bench.put(OLD)
    user = await bench.call(people.find_one({"_id": 1}))
    user.last_name = "King"
    await bench.call(people.save(user))
    assert bench.all()[1] == {**OLD_AT_HEAD, "last_name": "King"}


async def test_saving_what_was_not_changed_upgrades_an_outdated_document_and_leaves_others(bench: Bench) -> None:
    people = bench.open(user_model(users()))
    bench.put(OLD, NEW)
    for user in await bench.list(people.find()):
        await bench.call(people.save(user))
    assert bench.all() == {1: OLD_AT_HEAD, 3: NEW}


async def test_save_replays_on_what_others_wrote(bench: Bench) -> None:
    people = bench.open(user_model(users()))
    bench.put(OLD)
    user = await bench.call(people.find_one({"_id": 1}))
    bench.put({**OLD, "mail": "new@example.org"})
    user.last_name = "King"
    await bench.call(people.save(user))
    assert bench.all()[1] == {**OLD_AT_HEAD, "last_name": "King", "email": "new@example.org"}


async def test_save_conflicts_when_the_document_is_gone_or_was_to_be_unchanged(bench: Bench) -> None:
    people = bench.open(user_model(users()))
    bench.put(OLD, NEW)
    gone, changed = await bench.list(people.find(sort=[("_id", 1)]))
    bench.remove(1)
    gone.last_name = "X"
    with pytest.raises(ConflictError, match="deleted"):
        await bench.call(people.save(gone))
    assert 1 not in bench.all()
    bench.put({**NEW, "other": 1})
    changed.last_name = "Y"
    with pytest.raises(ConflictError, match="changed"):
        await bench.call(people.save(changed, expect="unchanged"))
    assert bench.all()[3] == {**NEW, "other": 1}
    again = await bench.call(people.find_one({"_id": 3}))
    again.last_name = "Y"
    await bench.call(people.save(again, expect="unchanged"))
    assert bench.all()[3] == {**NEW, "other": 1, "last_name": "Y"}


async def test_save_refuses_to_change_an_identity_and_what_bson_cannot_hold(bench: Bench) -> None:
    people = bench.open(user_model(users()))
    bench.put(NEW)
    user = await bench.call(people.find_one({"_id": 3}))
    user.id = 4
    with pytest.raises(ModelError, match="_id"):
        await bench.call(people.save(user))
    user = await bench.call(people.find_one({"_id": 3}))
    user.address["secret"] = {"canary": object()}
    with pytest.raises(ModelError, match=r"address\.secret\.canary"):
        await bench.call(people.save(user))
    assert bench.all() == {3: NEW}


async def test_writes_are_stored_at_head(bench: Bench) -> None:
    people = bench.open(users())
    fresh = {"_id": 5, "first_name": "A", "last_name": "B"}
    await bench.call(people.insert_one(fresh))
    assert fresh == {"_id": 5, "first_name": "A", "last_name": "B"}
    older = {"_id": 6, "name": "C D", "mail": "m", "schema_version": 1}
    await bench.call(people.insert_many([older, dict(NEW)]))
    assert bench.all()[5]["schema_version"] == 3
    assert bench.all()[6] == {
        "_id": 6,
        "schema_version": 3,
        "first_name": "C",
        "last_name": "D",
        "email": "m",
        "active": True,
    }
    without_id: dict[str, Any] = {"first_name": "E", "last_name": "F"}
    result = await bench.call(people.insert_one(without_id))
    assert without_id["_id"] == result.inserted_id
    result = await bench.call(people.replace_one({"_id": 6}, {"first_name": "G", "last_name": "H"}))
    assert (result.matched_count, result.modified_count) == (1, 1)
    assert bench.all()[6] == {"_id": 6, "first_name": "G", "last_name": "H", "schema_version": 3}
    result = await bench.call(people.replace_one({"_id": 7}, {"first_name": "I"}, upsert=True))
    assert result.upserted_id == 7
    assert bench.all()[7] == {"_id": 7, "first_name": "I", "schema_version": 3}
    bench.put({**OLD, "_id": 8})
    assert (await bench.call(people.delete_one({"_id": 8}))).deleted_count == 1
    assert (await bench.call(people.delete_many({}))).deleted_count == 5
    assert bench.all() == {}


async def test_a_document_ahead_is_raised_or_kept_and_never_written(bench: Bench) -> None:
    bench.put(AHEAD, NEW)
    strict = bench.open(users())
    with pytest.raises(AheadError) as caught:
        await bench.list(strict.find())
    assert (caught.value.collection, caught.value.document_id, caught.value.version) == ("people", 9, 4)
    with pytest.raises(AheadError):
        await bench.call(strict.find_one({"_id": 9}))
    for write in (
        lambda: strict.delete_one({"_id": 9}),
        lambda: strict.delete_many({}),
        lambda: strict.replace_one({"_id": 9}, {"first_name": "A"}),
        lambda: strict.replace_one({"_id": 9}, {"first_name": "A"}, upsert=True),
        lambda: strict.insert_one({"schema_version": 4}),
    ):
        with pytest.raises(AheadError):
            await bench.call(write())
    assert bench.all() == {9: AHEAD, 3: NEW}
    lenient = bench.open(users(), Policy(on_ahead="keep", write_back=True))
    assert await bench.call(lenient.find_one({"_id": 9})) == AHEAD
    assert {d["_id"] for d in await bench.list(lenient.find())} == {3, 9}
    assert (await bench.call(lenient.delete_one({"_id": 9}))).deleted_count == 0
    assert (await bench.call(lenient.replace_one({"_id": 9}, {"first_name": "A"}))).matched_count == 0
    assert (await bench.call(lenient.delete_many({}))).deleted_count == 1
    assert bench.all() == {9: AHEAD}


async def test_a_model_of_a_document_ahead_cannot_be_written(bench: Bench) -> None:
    people = bench.open(user_model(users()), Policy(on_ahead="keep"))
    ahead = {**NEW, "schema_version": 4}
    bench.put(ahead)
    user = await bench.call(people.find_one({"_id": 3}))
    user.first_name = "X"
    for write in (lambda: people.save(user), lambda: people.insert_one(user), lambda: people.replace_one({}, user)):
        with pytest.raises(AheadError):
            await bench.call(write())
    assert bench.all() == {3: ahead}


async def test_save_never_writes_over_a_document_that_newer_code_wrote_meanwhile(bench: Bench) -> None:
    people = bench.open(user_model(users()))
    bench.put(NEW)
    user = await bench.call(people.find_one({"_id": 3}))
    ahead = {**NEW, "schema_version": 4}
    bench.put(ahead)
    user.first_name = "X"
    with pytest.raises(AheadError):
        await bench.call(people.save(user))
    assert bench.all() == {3: ahead}


@pytest.mark.parametrize("stamp", [True, "2", 1.5, -1, {"a": 1}, [2], float("nan")])
async def test_a_stamp_that_is_no_version_is_an_error_and_left_alone(bench: Bench, stamp: Any) -> None:
    stored = {"_id": 1, "name": "Ada Lovelace", "schema_version": stamp}
    bench.put(stored)
    people = bench.open(users(), Policy(write_back=True))
    with pytest.raises(InvalidVersionError) as caught:
        await bench.call(people.find_one({}))
    assert caught.value.document_id == 1
    with pytest.raises(InvalidVersionError):
        await bench.list(people.find())
    with pytest.raises(InvalidVersionError):
        await bench.call(people.insert_one({"schema_version": stamp}))
    coverage = await bench.call(people.coverage())
    assert (coverage.total, coverage.invalid, coverage.complete) == (1, 1, False)
    assert repr(bench.all()[1]) == repr(stored)


async def test_what_cannot_be_upgraded_is_raised_skipped_or_quarantined_and_stays(bench: Bench) -> None:
    broken = {"_id": 0, "no_name": "canary"}
    bench.put(broken, OLD)
    with pytest.raises(UpgradeError) as caught:
        await bench.call(bench.open(users()).find_one({}, sort=[("_id", 1)]))
    error = caught.value
    assert (error.collection, error.document_id, error.version, error.revision) == ("people", 0, 1, 2)
    assert isinstance(error.__cause__, KeyError)
    assert "canary" not in str(error)
    skipping = bench.open(users(), Policy(on_error="skip", write_back=True))
    assert [d["_id"] for d in await bench.list(skipping.find())] == [1]
    assert (await bench.call(skipping.find_one({}, sort=[("_id", 1)])))["_id"] == 1
    assert bench.quarantined() == []
    listing = bench.open(users(), Policy(on_error="quarantine"))
    assert [d["_id"] for d in await bench.list(listing.find())] == [1]
    assert [d["_id"] for d in await bench.list(listing.find())] == [1]
    (entry,) = bench.quarantined()
    assert (entry["document_id"], entry["version"], entry["revision"], entry["error"]) == (0, 1, 2, "KeyError")
    assert entry["attempts"] == 2
    assert "canary" not in repr(entry)
    assert (await bench.call(listing.coverage())).quarantined == 1
    assert bench.all()[0] == broken


async def test_a_document_that_does_not_fit_the_model_is_a_model_error_without_values(bench: Bench) -> None:
    bench.put({**NEW, "active": "canary"})
    with pytest.raises(ModelError) as caught:
        await bench.call(bench.open(user_model(users())).find_one({}))
    assert caught.value.errors == (("active", "bool_parsing"),)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    people = bench.open(user_model(users()), Policy(on_error="skip"))
    assert await bench.list(people.find()) == []
    assert await bench.call(people.find_one({})) is None


async def test_an_error_comes_in_the_place_of_its_document(bench: Bench) -> None:
    bench.put(OLD, {"_id": 2, "bad": 1}, NEW)
    cursor = bench.open(users()).find(sort=[("_id", 1)])
    seen = []
    with pytest.raises(UpgradeError):
        while True:
            seen.append((await bench.call(cursor.next()))["_id"])
    assert seen == [1]


async def test_retired_versions_are_refused(bench: Bench) -> None:
    schema = Schema("people", oldest=3)
    schema.revision(4, ops.add("x", 1))
    bench.put({"_id": 1}, {"_id": 2, "schema_version": 2}, {"_id": 3, "schema_version": 3})
    people = bench.open(schema, Policy(on_error="skip"))
    assert await bench.list(people.find()) == [{"_id": 3, "schema_version": 4, "x": 1}]
    with pytest.raises(RetiredVersionError, match="retired"):
        await bench.call(bench.open(schema).find_one({"_id": 1}))
    coverage = await bench.call(people.coverage())
    assert (coverage.retired, coverage.outdated, coverage.complete) == (2, 1, False)
    report = await bench.call(people.sweep())
    assert (report.upgraded, report.remaining, report.quarantined) == (1, 0, 0)


async def test_coverage_counts_versions_as_stored(bench: Bench) -> None:
    bench.put(OLD, MIDDLE, NEW, AHEAD, {"_id": "bad", "schema_version": "3"}, {"_id": 4, "schema_version": 3.0})
    coverage = await bench.call(bench.open(users()).coverage())
    assert coverage.by_version == {1: 1, 2: 1, 3: 2, 4: 1}
    assert (coverage.total, coverage.at_head, coverage.outdated, coverage.ahead, coverage.invalid) == (6, 2, 2, 1, 1)
    assert coverage.ratio == pytest.approx(2 / 6)
    assert not coverage.complete


async def test_an_empty_revision_rewrites_nothing(bench: Bench) -> None:
    schema = declared()
    schema.revision(4, ops.nothing(), name="note")
    bench.put(OLD, {"_id": 3, "full_name": "E", "email": "e", "active": True, "schema_version": 3})
    people = bench.open(schema, Policy(write_back=True))
    before = bench.all()[3]
    assert (await bench.call(people.find_one({"_id": 3})))["schema_version"] == 4
    assert bench.all()[3] == before
    coverage = await bench.call(people.coverage())
    assert (coverage.at_head, coverage.outdated) == (1, 1)
    report = await bench.call(people.sweep())
    assert (report.upgraded, report.complete) == (1, True)
    assert bench.all()[3] == before
    assert bench.all()[1]["schema_version"] == 4


async def test_the_sweep_ends_with_a_count_of_zero_and_lists_what_it_cannot_do(bench: Bench) -> None:
    kinds = [1, 2.5, "text", ObjectId(), {"a": 1}, None, b"x"]
    bench.put(*({"_id": identity, "name": f"A {n}", "mail": "m"} for n, identity in enumerate(kinds)))
    bench.put({"_id": "broken", "mail": "m"}, AHEAD, {"_id": "bad", "schema_version": [1]})
    people = bench.open(users())
    seen = []
    report = await bench.call(people.sweep(batch_size=2, progress=seen.append))
    assert (report.upgraded, report.quarantined, report.remaining) == (len(kinds), 1, 1)
    assert (report.complete, report.stopped_by) == (False, "finished")
    assert seen[-1].done == len(kinds)
    assert [entry["document_id"] for entry in bench.quarantined()] == ["broken"]
    assert sum(d.get("schema_version") == 3 for d in bench.all().values()) == len(kinds)
    assert bench.all()[9] == AHEAD
    again = await bench.call(people.sweep())
    assert (again.upgraded, again.remaining) == (0, 1)


async def test_the_sweep_stops_at_its_limit_and_goes_on_later(bench: Bench) -> None:
    bench.put(*({"_id": n, "name": "A B", "mail": "m"} for n in range(10)))
    people = bench.open(users())
    report = await bench.call(people.sweep(limit=4, batch_size=3))
    assert (report.upgraded, report.remaining, report.stopped_by) == (4, 6, "limit")
    assert (await bench.call(people.sweep())).complete
