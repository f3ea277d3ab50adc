"""Updates in place, on every driver: never a hybrid of two versions, never a document ahead."""

from __future__ import annotations

from typing import Any

import pymongo
import pytest
from conftest import Bench
from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure
from schemas import declared, user_model, users
from test_conformance import AHEAD, MIDDLE, NEW, OLD, OLD_AT_HEAD

from lazymigrate import AheadError, ConflictError, LazyCollection, ModelError, Policy, Schema, UpgradeError, ops
from lazymigrate.commands import CompareAndSetMany, Stored
from lazymigrate.drivers.pymongo import PymongoDriver

KEEP = Policy(on_ahead="keep")
BROKEN = {"_id": 5, "mail": "x"}  # no name to split
Document = dict[str, Any]


async def test_update_one_brings_an_outdated_match_to_head_and_then_updates_it(bench: Bench) -> None:
    bench.put(OLD, MIDDLE, NEW)
    people = bench.open(users())
    result = await bench.call(people.update_one({"_id": 1}, {"$set": {"email": "new@x"}, "$inc": {"visits": 2}}))
    assert (result.matched_count, result.modified_count) == (1, 1)
    assert bench.all() == {1: {**OLD_AT_HEAD, "email": "new@x", "visits": 2}, 2: MIDDLE, 3: NEW}
    result = await bench.call(people.update_one({"_id": 3}, {"$set": {"active": False}}))
    assert (result.matched_count, result.modified_count) == (1, 0)
    result = await bench.call(people.update_one({"_id": 77}, {"$set": {"active": False}}))
    assert (result.matched_count, result.upserted_id) == (0, None)
    assert bench.all()[3] == NEW


async def test_a_filter_on_an_old_name_misses_as_after_an_upgrade_of_everything(bench: Bench) -> None:
    stored = {"_id": 1, "name": "Ada Lovelace", "mail": "ada@example.org"}
    bench.put(stored)
    people = bench.open(declared())
    result = await bench.call(people.update_one({"mail": "ada@example.org"}, {"$set": {"x": 1}}))
    assert result.matched_count == 0
    result = await bench.call(people.update_many({"mail": "ada@example.org"}, {"$set": {"x": 1}}))
    assert (result.matched_count, bench.all()) == (0, {1: stored})


async def test_update_many_brings_all_outdated_matches_to_head_first(bench: Bench) -> None:
    bench.put(*({"_id": n, "name": f"P {n}", "mail": "m"} for n in range(230)), NEW | {"_id": 900})
    people = bench.open(users())
    result = await bench.call(people.update_many({"_id": {"$gte": 10}}, {"$set": {"seen": True}}))
    assert (result.matched_count, result.modified_count) == (221, 221)
    for identity, document in bench.all().items():
        if identity < 10:
            assert document == {"_id": identity, "name": f"P {identity}", "mail": "m"}
        else:
            assert (document["schema_version"], document["seen"]) == (3, True)
            assert "name" not in document


async def test_an_upsert_is_stamped(bench: Bench) -> None:
    people = bench.open(users())
    for method, identity in ((people.update_one, 1), (people.update_many, 2)):
        result = await bench.call(method({"_id": identity}, {"$set": {"email": "e"}}, upsert=True))
        assert (result.matched_count, result.upserted_id) == (0, identity)
        assert bench.all()[identity] == {"_id": identity, "email": "e", "schema_version": 3}
        result = await bench.call(method({"_id": identity}, {"$set": {"email": "f"}}, True))
        assert (result.matched_count, result.upserted_id) == (1, None)
    bench.put({**OLD, "_id": 3})
    result = await bench.call(people.update_one({"_id": 3}, {"$set": {"email": "g"}}, upsert=True))
    assert (result.matched_count, result.upserted_id) == (1, None)
    assert bench.all()[3] == {**OLD_AT_HEAD, "_id": 3, "email": "g"}


async def test_a_document_ahead_is_never_updated(bench: Bench) -> None:
    bench.put(AHEAD, {**NEW, "_id": 10})
    people = bench.open(users())
    change = {"$set": {"x": 1}}
    for call in (
        lambda p: p.update_one({"_id": 9}, change),
        lambda p: p.update_one({"_id": 9}, change, upsert=True),
        lambda p: p.update_many({}, change),
        lambda p: p.update_many({"_id": 9}, change, upsert=True),
        lambda p: p.find_one_and_update({"_id": 9}, change),
        lambda p: p.find_one_and_replace({"_id": 9}, {"email": "x"}),
        lambda p: p.find_one_and_delete({"_id": 9}),
    ):
        with pytest.raises(AheadError):
            await bench.call(call(people))
    keeping = bench.open(users(), KEEP)
    assert (await bench.call(keeping.update_one({"_id": 9}, change))).matched_count == 0
    assert (await bench.call(keeping.update_many({}, change))).matched_count == 1
    assert await bench.call(keeping.find_one_and_delete({"_id": 9})) is None
    with pytest.raises(DuplicateKeyError):
        await bench.call(keeping.update_one({"_id": 9}, change, upsert=True))
    assert bench.all() == {9: AHEAD, 10: {**NEW, "_id": 10, "x": 1}}


async def test_what_cannot_be_upgraded_is_not_updated_replaced_or_deleted(bench: Bench) -> None:
    bench.put(BROKEN, NEW)
    people = bench.open(users())
    for call in (
        lambda: people.update_one({"_id": 5}, {"$set": {"x": 1}}),
        lambda: people.update_many({}, {"$set": {"x": 1}}),
        lambda: people.find_one_and_update({"_id": 5}, {"$set": {"x": 1}}),
        lambda: people.find_one_and_replace({"_id": 5}, {"email": "x"}),
        lambda: people.find_one_and_delete({"_id": 5}),
    ):
        with pytest.raises(UpgradeError):
            await bench.call(call())
    assert bench.all() == {5: BROKEN, 3: NEW}


async def test_the_version_field_is_not_the_users_to_change(bench: Bench) -> None:
    bench.put(NEW)
    people = bench.open(users())
    for update in (
        {"$set": {"schema_version": 1}},
        {"$unset": {"schema_version": ""}},
        {"$rename": {"email": "schema_version"}},
        {"$set": {"schema_version.x": 1}},
    ):
        for method in (people.update_one, people.update_many, people.find_one_and_update):
            with pytest.raises(ValueError, match="what shape the document has"):
                await bench.call(method({"_id": 3}, update))
    assert bench.all() == {3: NEW}


async def test_find_one_and_gives_the_document_at_head_before_or_after(bench: Bench) -> None:
    bench.put(OLD, MIDDLE, NEW)
    people = bench.open(users())
    change = {"$set": {"email": "new@x"}}
    assert await bench.call(people.find_one_and_update({"_id": 1}, change)) == OLD_AT_HEAD
    bench.put(OLD)
    after = await bench.call(people.find_one_and_update({"_id": 1}, change, return_document=ReturnDocument.AFTER))
    assert after == {**OLD_AT_HEAD, "email": "new@x"} == bench.all()[1]
    bench.put(OLD)
    replaced = {"first_name": "A", "last_name": "B", "email": "c", "active": True}
    assert await bench.call(people.find_one_and_replace({"_id": 1}, replaced)) == OLD_AT_HEAD
    assert bench.all()[1] == {"_id": 1, **replaced, "schema_version": 3}
    bench.put(OLD)
    assert await bench.call(people.find_one_and_delete({"_id": 1})) == OLD_AT_HEAD
    assert 1 not in bench.all()
    assert await bench.call(people.find_one_and_delete({"_id": 1})) is None
    new = await bench.call(people.find_one_and_update({"_id": 8}, change, upsert=True, return_document=True))
    assert new == {"_id": 8, "email": "new@x", "schema_version": 3} == bench.all()[8]
    assert await bench.call(people.find_one_and_update({"_id": 7}, change, upsert=True)) is None


async def test_find_one_and_takes_the_first_by_its_sort_whatever_its_version(bench: Bench) -> None:
    bench.put(*({"_id": n, "name": f"P {n}", "mail": "m"} for n in range(3)), {**NEW, "_id": 1.5}, {**NEW, "_id": 9})
    people = bench.open(users())
    first = await bench.call(people.find_one_and_update({}, {"$set": {"x": 1}}, sort=[("_id", 1)]))
    assert first["_id"] == 0
    last = await bench.call(people.find_one_and_delete({}, sort="_id"))
    assert last == {
        "_id": 0, "first_name": "P", "last_name": "0", "email": "m", "active": True, "schema_version": 3, "x": 1
    }  # fmt: skip
    assert (await bench.call(people.find_one_and_delete({"_id": {"$lt": 9}}, sort=[("_id", -1)])))["_id"] == 2
    assert bench.all()[1] == {"_id": 1, "name": "P 1", "mail": "m"}


async def test_models_come_back_from_find_one_and(bench: Bench) -> None:
    schema = users()
    user_class = user_model(schema)
    people = bench.open(user_class)
    bench.put(OLD)
    ada = await bench.call(
        people.find_one_and_update({"_id": 1}, {"$set": {"last_name": "King"}}, return_document=True)
    )
    assert isinstance(ada, user_class)
    assert ada.last_name == "King"
    ada.email = "x@y"
    await bench.call(people.save(ada))
    assert bench.all()[1]["email"] == "x@y"
    gone = await bench.call(people.find_one_and_replace({"_id": 1}, user_class(first_name="G", last_name="H")))
    assert gone.email == "x@y"
    assert bench.all()[1]["first_name"] == "G"


async def test_estimated_count_and_other_options(bench: Bench) -> None:
    bench.put(OLD, NEW)
    people = bench.open(users())
    assert await bench.call(people.estimated_document_count()) == 2
    writing = people.with_options(policy=Policy(write_back=True))
    assert type(writing) is type(people)
    assert (writing.policy.write_back, people.policy.write_back) == (True, False)
    assert await bench.call(writing.find_one(1)) == OLD_AT_HEAD
    assert bench.all()[1] == OLD_AT_HEAD


async def test_bulk_write_does_what_its_methods_do(bench: Bench) -> None:
    if bench.name == "memory":
        bench.put({**NEW, "_id": 20})
        by_pipeline = pymongo.UpdateOne({"_id": 20}, [{"$set": {"email": "p"}}])
        with pytest.raises(ValueError, match="does not know"):
            await bench.call(bench.open(users()).bulk_write([by_pipeline]))
        return
    schema = users()
    user_class = user_model(schema)
    people = bench.open(user_class, Policy(on_unsafe_query="scan"))
    bench.put(OLD, MIDDLE, NEW, {**OLD, "_id": 6}, {**OLD, "_id": 7}, {**OLD, "_id": 8})
    new = user_class.model_validate({"_id": 20, "first_name": "N", "last_name": "M"})
    result = await bench.call(
        people.bulk_write(
            [
                pymongo.InsertOne(new),
                pymongo.UpdateOne({"_id": 1}, {"$set": {"step": 1}}),
                pymongo.UpdateOne({"step": 1}, {"$set": {"step": 2}}),
                pymongo.UpdateMany({"_id": {"$in": [2, 6]}}, {"$set": {"active": False}}),
                pymongo.ReplaceOne({"_id": 7}, {"first_name": "R", "last_name": "S", "mail": "t", "schema_version": 2}),
                pymongo.DeleteOne({"_id": 8}),
                pymongo.UpdateOne({"_id": 30}, {"$set": {"first_name": "U"}}, upsert=True),
                pymongo.UpdateOne({"_id": 20}, [{"$set": {"email": "p"}}, {"$unset": "schema_version"}]),
            ]
        )
    )
    assert (result.inserted_count, result.matched_count, result.deleted_count) == (1, 6, 1)
    assert result.upserted_ids == {6: 30}
    stored = bench.all()
    assert all(document["schema_version"] == 3 for document in stored.values())
    assert (stored[1]["step"], stored[1]["first_name"]) == (2, "Ada")
    assert [stored[n]["active"] for n in (1, 2, 3, 6)] == [True, False, False, False]
    assert stored[7] == {
        "_id": 7,
        "first_name": "R",
        "last_name": "S",
        "email": "t",
        "active": True,
        "schema_version": 3,
    }
    assert (stored[20]["email"], 8 in stored) == ("p", False)
    new.email = "later"
    with pytest.raises(ModelError):
        await bench.call(people.bulk_write([pymongo.InsertOne(user_class.model_construct(id=21, first_name=4))]))
    await bench.call(people.save(new))
    assert bench.all()[20]["email"] == "later"


async def test_bulk_write_refuses_before_anything_is_written(bench: Bench) -> None:
    bench.put(AHEAD, BROKEN, NEW, {**OLD, "_id": 6})
    people = bench.open(users())
    before = bench.all()
    harmless = pymongo.UpdateOne({"_id": 3}, {"$set": {"x": 1}})
    for write in (
        pymongo.UpdateOne({"_id": 9}, {"$set": {"x": 1}}),
        pymongo.UpdateMany({"whole_new": 1}, {"$set": {"x": 1}}),
        pymongo.ReplaceOne({"_id": 9}, {"email": "x"}),
        pymongo.DeleteOne({"_id": 9}),
        pymongo.DeleteMany({}),
    ):
        with pytest.raises(AheadError):
            await bench.call(people.bulk_write([harmless, write], ordered=False))
    with pytest.raises(UpgradeError):
        await bench.call(people.bulk_write([harmless, pymongo.UpdateOne({"_id": 5}, {"$set": {"x": 1}})]))
    with pytest.raises(ValueError, match="shape"):
        await bench.call(people.bulk_write([harmless, pymongo.UpdateOne({}, {"$set": {"schema_version": 1}})]))
    with pytest.raises(TypeError, match="bulk_write takes"):
        await bench.call(people.bulk_write([{"insertOne": {}}]))
    assert bench.all() == before
    with pytest.raises(BulkWriteError) as caught:
        await bench.call(people.bulk_write([harmless, pymongo.InsertOne({**OLD_AT_HEAD, "_id": 3})]))
    assert caught.value.details["nModified"] == 1


def test_updates_by_pipelines_array_filters_collation_and_let(people: Collection[Document]) -> None:
    lazy = LazyCollection(people, declared())
    people.insert_many(
        [{"_id": n, "name": f"P{n}", "mail": "M", "marks": [1, 5, 9], "n": n} for n in range(4)]
        + [{"_id": 4, "full_name": "Q", "email": "m", "active": False, "marks": [7], "n": 4, "schema_version": 3}]
    )
    lazy.update_one({"_id": 0}, {"$set": {"marks.$[big]": 0}}, array_filters=[{"big": {"$gt": 4}}])
    assert people.find_one({"_id": 0}) == {
        "_id": 0, "marks": [1, 0, 0], "n": 0, "full_name": "P0", "email": "M", "active": True, "schema_version": 3
    }  # fmt: skip
    lazy.update_many(
        {"n": {"$gte": 3}}, [{"$replaceWith": {"_id": "$_id", "both": {"$concat": ["$full_name", "$email"]}}}]
    )
    assert list(people.find({"n": {"$exists": False}}).sort("_id")) == [
        {"_id": 3, "both": "P3M", "schema_version": 3},
        {"_id": 4, "both": "Qm", "schema_version": 3},
    ]
    assert (
        lazy.update_many({"email": "m"}, {"$set": {"x": 1}}, collation={"locale": "en", "strength": 2}).matched_count
        == 3
    )
    found = lazy.find_one_and_update(
        {"$expr": {"$eq": ["$n", "$$wanted"]}}, {"$set": {"y": 1}}, let={"wanted": 2}, return_document=True
    )
    assert found == {
        "_id": 2, "marks": [1, 5, 9], "n": 2, "full_name": "P2", "email": "M", "active": True, "schema_version": 3, "x": 1, "y": 1
    }  # fmt: skip
    people.create_index("n")
    assert lazy.update_one({"n": 1}, {"$push": {"marks": 4}}, hint="n_1").modified_count == 1
    assert (people.find_one({"_id": 1}) or {})["marks"] == [1, 5, 9, 4]
    lazy.update_one({"_id": 50}, [{"$set": {"full_name": "up"}}], upsert=True)
    assert people.find_one({"_id": 50}) == {"_id": 50, "full_name": "up", "schema_version": 3}
    with pytest.raises(OperationFailure):
        lazy.update_one({"_id": 1}, {"$set": {"_id": 2}})
    with pytest.raises(ValueError, match=r"works with \$ operators"):
        lazy.update_one({"_id": 1}, {"full_name": "a replacement"})


def test_updates_take_part_in_a_transaction(people: Collection[Document]) -> None:
    lazy = LazyCollection(people, users())
    people.insert_many([OLD, MIDDLE, NEW])
    before = list(people.find())
    with people.database.client.start_session() as session:
        session.start_transaction()
        lazy.update_one({"_id": 1}, {"$set": {"x": 1}}, session=session)
        lazy.update_many({}, {"$set": {"y": 1}}, session=session)
        lazy.bulk_write([pymongo.UpdateOne({"_id": 2}, {"$set": {"z": 1}})], session=session)
        assert lazy.find_one_and_delete({"_id": 3}, session=session)["y"] == 1  # type: ignore[index]
        assert [document["schema_version"] for document in people.find(session=session)] == [3, 3]
        session.abort_transaction()
    assert list(people.find()) == before


def test_documents_from_which_only_empty_revisions_lead_to_head_are_updated_as_they_are(
    people: Collection[Document],
) -> None:
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email"))
    schema.revision(3, ops.nothing())
    lazy = LazyCollection(people, schema)
    people.insert_many([{"_id": 1, "mail": "a"}, {"_id": 2, "email": "b", "schema_version": 2}])
    lazy.update_many({}, {"$set": {"x": 1}})
    assert list(people.find()) == [
        {"_id": 1, "email": "a", "schema_version": 3, "x": 1},
        {"_id": 2, "email": "b", "schema_version": 2, "x": 1},
    ]
    assert lazy.find_one_and_update({"_id": 2}, {"$set": {"x": 2}}) == {
        "_id": 2, "email": "b", "schema_version": 3, "x": 1
    }  # fmt: skip


def test_a_schema_without_revisions_updates_unstamped_documents(people: Collection[Document]) -> None:
    lazy = LazyCollection(people, Schema("people"))
    people.insert_one({"_id": 1})
    assert lazy.update_one({"_id": 1}, {"$set": {"x": 1}}).modified_count == 1
    assert lazy.update_many({}, {"$set": {"x": 2}}).modified_count == 1
    lazy.update_one({"_id": 2}, {"$set": {"x": 1}}, upsert=True)
    assert list(people.find()) == [{"_id": 1, "x": 2}, {"_id": 2, "x": 1, "schema_version": 1}]


def test_an_unacknowledged_update_reaches_outdated_documents_too(people: Collection[Document]) -> None:
    people.insert_many([{"_id": 1, "name": "A", "mail": "m"}, {"_id": 2, "name": "B", "mail": "m"}])
    lazy = LazyCollection(people.with_options(write_concern=pymongo.WriteConcern(w=0)), declared())
    assert not lazy.update_one({"_id": 1}, {"$set": {"x": 1}}).acknowledged
    lazy.update_many({"_id": 2}, {"$set": {"x": 2}})
    assert people.count_documents({"x": {"$exists": True}}) <= 2
    lazy.update_one({"_id": 3}, {"$set": {"x": 3}}, upsert=True)
    lazy.raw.with_options(write_concern=pymongo.WriteConcern(w=1)).insert_one(
        {"_id": 4}
    )  # after those on one connection
    stored = list(people.find({"_id": {"$lt": 4}}).sort("_id"))
    assert [(document["x"], document["schema_version"]) for document in stored] == [(1, 3), (2, 3), (3, 3)]


def test_an_update_that_loses_every_race_says_so(people: Collection[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    people.insert_one({"_id": 1, "name": "A", "mail": "m"})
    lazy = LazyCollection(people, declared())
    monkeypatch.setattr(PymongoDriver, "carry_out", losing(PymongoDriver.carry_out))
    for write in (
        lambda: lazy.update_one({"_id": 1}, {"$set": {"x": 1}}),
        lambda: lazy.update_many({"_id": 1}, {"$set": {"x": 1}}),
        lambda: lazy.find_one_and_update({"_id": 1}, {"$set": {"x": 1}}),
    ):
        with pytest.raises(ConflictError, match="Repeat it"):
            write()
    assert people.find_one() == {"_id": 1, "name": "A", "mail": "m"}


def losing(carry_out: Any) -> Any:
    """A driver on which somebody else is always faster."""

    def carry(self: PymongoDriver, command: Any) -> Any:
        return Stored(0) if isinstance(command, CompareAndSetMany) else carry_out(self, command)

    return carry
