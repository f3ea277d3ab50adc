"""Queries over mixed versions: as if everything had been upgraded before they were asked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from threading import Thread
from typing import Any

import pytest
from bson import Int64
from bson.errors import InvalidDocument
from conftest import Bench
from pymongo.collection import Collection

from lazymigrate import LazyCollection, LazyMigrateError, Policy, Schema, UnsafeQueryError, UnsafeQueryWarning, ops
from lazymigrate.commands import Attempt, ListIndexes
from lazymigrate.procedures import matching

People = Collection[dict[str, Any]]
SCAN = Policy(on_unsafe_query="scan")


def renamed() -> Schema:
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email"))
    schema.revision(3, ops.add("active", value=True), ops.rename("address.town", "address.city"))
    schema.revision(4, ops.convert("age", "int"))
    return schema


DOCUMENTS: list[dict[str, Any]] = [
    {"_id": 1, "mail": "a", "age": "31", "address": {"town": "Ulm"}},
    {"_id": 2, "mail": "b", "age": 20, "schema_version": 1},
    {"_id": 3, "email": "a", "age": "7", "schema_version": 2, "address": {"town": "Bonn"}},
    {"_id": 4, "email": "c", "active": True, "age": "99", "address": {"city": "Ulm"}, "schema_version": 3},
    {"_id": 5, "email": "a", "active": False, "age": 40, "address": {"city": "Ulm"}, "schema_version": 4},
    {"_id": 6, "email": None, "active": True, "schema_version": 4},
    {"_id": 7, "age": "12"},
    {"_id": 8, "email": "d"},  # the old shape, with the new name there already: it stays
]
FILTERS: list[dict[str, Any]] = [
    {"email": "a"},
    {"email": {"$in": ["a", "d"]}},
    {"email": {"$ne": "a"}},
    {"email": None},
    {"email": {"$exists": False}},
    {"active": True},
    {"active": {"$ne": True}},
    {"address.city": "Ulm"},
    {"address.city": {"$exists": True}, "email": {"$gte": "a"}},
    {"age": {"$gt": 11}},
    {"age": {"$gt": 11}, "email": "a"},
    {"$or": [{"email": "b"}, {"address.city": "Bonn"}]},
    {"$nor": [{"email": "a"}, {"age": 12}]},
    {"email": {"$not": {"$regex": "^[ab]"}}},
    {"mail": "a"},
    {"$expr": {"$eq": ["$email", "a"]}},
    {"schema_version": 2},
    {"_id": {"$gt": 3}},
    {},
]


@pytest.fixture(params=[False, True], ids=["no index", "backlog index"])
def mixed(request: pytest.FixtureRequest, people: People) -> LazyCollection[dict[str, Any]]:
    people.insert_many(DOCUMENTS)
    collection = LazyCollection(people, renamed())
    if request.param:
        collection.create_backlog_index()
    return collection


@pytest.fixture
def eager(people: People) -> Iterator[People]:
    """The same, upgraded altogether."""
    done = people.database["eager"]
    done.insert_many([renamed().upgrade(document) for document in DOCUMENTS])
    yield done
    done.drop()


def ids(documents: Any) -> list[Any]:
    return [document["_id"] for document in documents]


def wanted(eager: People, filter: dict[str, Any]) -> list[Any]:
    if "schema_version" in filter:  # a stamp is asked for as it is stored
        return [3]
    return ids(eager.find(filter).sort("_id", 1))


@pytest.mark.parametrize("filter", FILTERS, ids=str)
def test_a_filter_finds_what_it_would_find_after_an_upgrade_of_everything(
    mixed: LazyCollection[dict[str, Any]], eager: People, filter: dict[str, Any]
) -> None:
    expected = wanted(eager, filter)
    assert sorted(ids(mixed.find(filter))) == expected
    assert mixed.count_documents(filter) == len(expected)
    assert ids(mixed.find(filter).sort("_id", -1).skip(1).limit(2)) == expected[::-1][1:3]
    found = mixed.find_one(filter)
    assert (found is None) == (not expected)
    assert sorted(map(str, mixed.distinct("_id", filter))) == sorted(map(str, expected))
    if "schema_version" not in filter:
        assert sorted(map(str, mixed.distinct("email", filter))) == sorted(map(str, eager.distinct("email", filter)))


@pytest.mark.parametrize("key", ["email", "address.city", "age", "active", "mail"])
@pytest.mark.parametrize("direction", [1, -1])
def test_a_sort_is_one_order_over_all_versions(
    mixed: LazyCollection[dict[str, Any]], eager: People, key: str, direction: int
) -> None:
    sort = [(key, direction), ("_id", 1)]
    for skip, limit in ((0, 0), (0, 3), (2, 3), (1, 0), (0, 1)):
        for query in ({}, {"email": {"$ne": "c"}}, {"age": {"$gt": 10}}):
            expected = ids(eager.find(query).sort(sort).skip(skip).limit(limit))
            assert ids(mixed.find(query).sort(sort).skip(skip).limit(limit)) == expected, (query, skip, limit)
        found = mixed.find_one({}, sort=sort, skip=skip)
        assert found is not None
        assert found["_id"] == next(iter(eager.find().sort(sort).skip(skip)))["_id"]


async def test_every_driver_finds_the_outdated_ones(bench: Bench) -> None:
    bench.put(*DOCUMENTS)
    people = bench.open(renamed())
    assert sorted(ids(await bench.list(people.find({"email": "a"})))) == [1, 3, 5]
    assert await bench.call(people.count_documents({"email": "a"})) == 3
    assert (await bench.call(people.find_one({"email": "b"})))["email"] == "b"
    result = await bench.call(people.update_many({"email": "a"}, {"$set": {"seen": True}}))
    assert result.matched_count == 3
    assert bench.all()[1] == {
        "_id": 1, "age": 31, "address": {"city": "Ulm"}, "email": "a", "active": True, "schema_version": 4, "seen": True,
    }  # fmt: skip
    assert (await bench.call(people.delete_many({"email": "b"}))).deleted_count == 1
    if bench.name == "memory":
        return
    sort = [("email", 1), ("_id", 1)]
    found = await bench.list(people.find({"email": {"$exists": True}}).sort(sort).limit(4).batch_size(2))
    assert ids(found) == [6, 1, 3, 5]
    assert [document["schema_version"] for document in found] == [4] * 4


def test_writes_find_them_too(people: People) -> None:
    people.insert_many(DOCUMENTS)
    mixed = LazyCollection(people, renamed())
    assert mixed.update_one({"email": "b"}, {"$set": {"n": 1}}).modified_count == 1
    assert people.find_one({"_id": 2})["email"] == "b"
    given = mixed.find_one_and_update({"age": 31}, {"$inc": {"age": 1}}, return_document=True)
    assert given == people.find_one({"_id": 1})
    assert given["age"] == 32
    assert mixed.find_one_and_delete({"address.city": "Bonn"})["_id"] == 3
    assert mixed.replace_one({"age": 99}, {"email": "new"}).modified_count == 1
    assert people.find_one({"_id": 4}) == {"_id": 4, "email": "new", "schema_version": 4}
    assert mixed.delete_one({"email": "d"}).deleted_count == 1
    assert mixed.find_one_and_update({}, {"$set": {"last": True}}, sort=[("age", -1)])["_id"] == 5


def test_an_upsert_of_a_replacement_keeps_what_its_filter_says(people: People) -> None:
    mixed = LazyCollection(people, renamed())
    people.insert_one({"_id": 1, "mail": "a"})
    result = mixed.replace_one({"_id": 5, "email": "x"}, {"email": "x"}, upsert=True)
    assert result.upserted_id == 5
    result = mixed.replace_one({"_id": 1, "email": "a"}, {"email": "y"}, upsert=True)
    assert (result.upserted_id, result.matched_count) == (None, 1)
    assert sorted(ids(people.find())) == [1, 5]


def test_a_bulk_finds_them_too(people: People) -> None:
    from pymongo import DeleteOne, ReplaceOne, UpdateOne

    people.insert_many(DOCUMENTS)
    mixed = LazyCollection(people, renamed())
    result = mixed.bulk_write(
        [
            UpdateOne({"email": "b"}, {"$set": {"n": 1}}),
            DeleteOne({"email": "d"}),
            ReplaceOne({"email": "c"}, {"email": "e"}, upsert=True),
        ]
    )
    assert (result.matched_count, result.deleted_count, result.upserted_count) == (2, 1, 0)
    assert people.find_one({"_id": 4})["email"] == "e"


# What others got wrong


def test_score_and_points(people: People) -> None:
    """Datalution's example: a legacy entity has a score, and what is asked for are points."""
    schema = Schema("players")
    schema.revision(2, ops.rename("score", "points"))
    people.insert_many(
        [{"_id": "legacy", "score": 60}, {"_id": "low", "score": 40}, {"_id": "new", "points": 70, "schema_version": 2}]
    )
    players = LazyCollection(people, schema)
    assert sorted(ids(players.find({"points": {"$gt": 50}}))) == ["legacy", "new"]


def test_renaming_a_field_does_not_hide_documents(people: People) -> None:
    """As Mongo.Migration's second issue and Morphia's 2867 describe it: the old name, the new name, and both are there."""
    schema = Schema("cars")
    schema.revision(2, ops.rename("Dors", "Doors"))
    people.insert_many([{"_id": 1, "Dors": 3}, {"_id": 2, "Doors": 3, "schema_version": 2}, {"_id": 3, "Dors": 5}])
    cars = LazyCollection(people, schema)
    assert sorted(ids(cars.find({"Doors": 3}))) == [1, 2]
    assert sorted(document["Doors"] for document in cars.find({"Doors": {"$gte": 3}})) == [3, 3, 5]
    assert list(cars.find({"Dors": 3})) == []  # as after an eager migration


def test_the_example_of_mongodbs_manual(people: People) -> None:
    """Contacts move from the top level into a subdocument, and then into a list of their own kind."""
    schema = Schema("contacts")
    schema.revision(2, ops.nest(["homePhone", "workPhone"], under="contactInfo"))
    schema.revision(
        3,
        ops.rename("contactInfo.homePhone", "contactInfo.home"),
        ops.rename("contactInfo.workPhone", "contactInfo.work"),
    )
    people.insert_many(
        [
            {"_id": 1, "name": "Taylor", "homePhone": "213-555-0000", "workPhone": "555-555-0001"},
            {"_id": 2, "name": "Lee", "homePhone": "213-555-0002"},
            {"_id": 3, "contactInfo": {"homePhone": "213-555-0000"}, "schema_version": 2},
            {"_id": 4, "contactInfo": {"home": "213-555-0000"}, "schema_version": 3},
        ]
    )
    contacts = LazyCollection(people, schema)
    assert sorted(ids(contacts.find({"contactInfo.home": "213-555-0000"}))) == [1, 3, 4]
    assert sorted(ids(contacts.find({"contactInfo.work": None}))) == [2, 3, 4]
    contacts.update_one({"contactInfo.home": "213-555-0002"}, {"$set": {"contactInfo.work": "1"}})
    assert people.find_one({"_id": 2}) == {
        "_id": 2, "name": "Lee", "contactInfo": {"home": "213-555-0002", "work": "1"}, "schema_version": 3,
    }  # fmt: skip


# Functions


def with_function(touches: set[str] | None = None) -> Schema:
    schema = Schema("people")

    @schema.revision(2, touches=touches)
    def halve(document: dict[str, Any]) -> None:
        document["half"] = document.pop("n") / 2

    schema.revision(3, ops.rename("mail", "email"))
    return schema


def numbered(people: People) -> None:
    people.insert_many([{"_id": n, "n": n, "mail": f"m{n % 3}"} for n in range(10)])
    people.insert_many([{"_id": n, "half": n / 2, "email": f"m{n % 3}", "schema_version": 3} for n in range(10, 20)])


def test_an_unsafe_query_warns_once_and_names_the_remedies(people: People) -> None:
    numbered(people)
    mixed = LazyCollection(people, with_function())
    with pytest.warns(UnsafeQueryWarning, match="'half'.*revision 2.*operations.*touches=.*sweep") as caught:
        assert sorted(ids(mixed.find({"half": {"$gte": 4}}))) == list(range(10, 20))
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed.count_documents({"half": {"$gte": 4}})
        mixed.find_one({"_id": 3})
    with pytest.warns(UnsafeQueryWarning, match="'other'"):
        mixed.find_one({"other": 1})
    mixed.sweep()
    fresh = LazyCollection(people, with_function())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sorted(ids(fresh.find({"half": {"$gte": 4}}))) == [8, 9, *range(10, 20)]


def test_raise_raises_before_anything_is_sent(people: People) -> None:
    numbered(people)
    mixed = LazyCollection(people, with_function(), Policy(on_unsafe_query="raise"))
    for act in (
        lambda: list(mixed.find({"half": 1.0})),
        lambda: mixed.find_one({"half": 1.0}),
        lambda: mixed.count_documents({"half": 1.0}),
        lambda: mixed.delete_many({"half": {"$gte": 0}}),
        lambda: mixed.update_many({"half": {"$gte": 0}}, {"$set": {"x": 1}}),
        lambda: list(mixed.find().sort("half", 1)),
        lambda: mixed.distinct("_id", {"half": 1.0}),
    ):
        with pytest.raises(UnsafeQueryError, match=r"'half'.*revision 2.*Policy\(on_unsafe_query='scan'\)") as caught:
            act()
        assert (caught.value.field, caught.value.revision) == ("half", 2)
    assert people.count_documents({"schema_version": 3}) == 10
    assert people.count_documents({"x": 1}) == 0
    mixed.sweep()
    again = LazyCollection(people, with_function(), Policy(on_unsafe_query="raise"))
    assert again.count_documents({"half": {"$gte": 4}}) == 12


@pytest.mark.parametrize("indexed", [False, True])
def test_scan_is_exact(people: People, indexed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lazymigrate.procedures.scanning.PAGE", 3)
    numbered(people)
    eager = people.database["eager"]
    eager.insert_many([with_function().upgrade(document) for document in people.find()])
    mixed = LazyCollection(people, with_function(), SCAN)
    if indexed:
        mixed.create_backlog_index()
    for query in (
        {"half": {"$gte": 4}},
        {"half": {"$lt": 6}, "email": "m1"},
        {"n": None},
        {"half": {"$in": [0, 9.5]}},
    ):
        expected = ids(eager.find(query).sort("_id", 1))
        assert sorted(ids(mixed.find(query))) == expected
        assert mixed.count_documents(query) == len(expected)
        for sort in ([("half", -1)], [("email", 1), ("half", -1)], [("half", 1)]):
            assert ids(mixed.find(query).sort(sort).skip(1).limit(5)) == ids(
                eager.find(query).sort(sort).skip(1).limit(5)
            )
    assert mixed.update_many({"half": {"$lt": 2}}, {"$set": {"small": True}}).matched_count == 4
    assert sorted(ids(people.find({"small": True}))) == [0, 1, 2, 3]
    assert mixed.delete_many({"half": 4.5}).deleted_count == 1


def test_what_a_function_says_that_it_touches_leaves_the_rest_exact(people: People) -> None:
    numbered(people)
    mixed = LazyCollection(people, with_function({"n", "half"}), Policy(on_unsafe_query="raise"))
    assert mixed.count_documents({"email": "m1"}) == 7
    with pytest.raises(UnsafeQueryError):
        mixed.count_documents({"half": 1})


def test_what_is_computed_beside_what_a_function_touches_is_exact(people: People) -> None:
    schema = Schema("people")

    @schema.revision(2, touches={"name", "first"})
    def split(document: dict[str, Any]) -> None:
        document["first"] = document.pop("name")

    schema.revision(3, ops.convert("area", "double"), ops.rename("mail", "email"))
    people.insert_many(
        [{"_id": n, "name": "x", "area": area, "mail": "m"} for n, area in enumerate([3, "12", "5", 2.5, None])]
    )
    mixed = LazyCollection(people, schema, Policy(on_unsafe_query="raise"))
    assert sorted(ids(mixed.find({"area": {"$gt": 4}}))) == [1, 2]
    assert ids(mixed.find({"area": {"$gt": 1}, "email": "m"}).sort("area", 1)) == [3, 0, 2, 1]
    assert ids(mixed.find().sort("area", -1).limit(2)) == [1, 2]
    assert set(mixed.distinct("area")) == {None, 2.5, 3.0, 5.0, 12.0}
    for query in ({"first": "x"}, {"area": 1, "first": "x"}):
        with pytest.raises(UnsafeQueryError, match="'first' is asked for, which revision 2 may touch"):
            mixed.count_documents(query)
    assert mixed.delete_many({"area": {"$gt": 4}}).deleted_count == 2


def test_a_scan_that_would_not_fit_a_command_says_so(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered(people)
    monkeypatch.setattr("lazymigrate.procedures.scanning.MOST", 50)
    with pytest.raises(LazyMigrateError, match=r"too many for one query\. Ask for fewer, or sweep"):
        LazyCollection(people, with_function(), SCAN).count_documents({"half": {"$gte": 0}})


def test_what_several_versions_find_is_to_fit_a_command_together(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = Schema("people")
    schema.revision(2, ops.convert("n", "long"))
    schema.revision(3, ops.convert("n", "double"))
    people.insert_many([{"_id": n, "n": n, "schema_version": 1 + n % 2} for n in range(10)])
    mixed = LazyCollection(people, schema)
    monkeypatch.setattr("lazymigrate.procedures.scanning.MOST", 5 * 14 + 1)  # the `_id`s of one of the two versions
    assert mixed.count_documents({"n": {"$type": "double", "$in": [1, 3, 5, 7, 9]}}) == 5
    with pytest.raises(LazyMigrateError, match="10 outdated documents match"):
        mixed.count_documents({"n": {"$type": "double"}})


# Which versions are there


def test_without_the_index_what_is_there_is_looked_up_now_and_then(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    real = matching.counted_versions
    monkeypatch.setattr(matching, "counted_versions", lambda scope: (looks.append(1), real(scope))[1])
    people.insert_one({"_id": 1, "email": "a", "schema_version": 4})
    mixed = LazyCollection(people, renamed())
    for _ in range(3):
        assert ids(mixed.find({"email": "a"})) == [1]
    assert len(looks) == 1
    people.insert_one({"_id": 2, "mail": "a"})  # by a process that this one knows nothing of
    assert ids(mixed.find({"email": "a"})) == [1]  # known again within Policy.recheck seconds
    at_once = LazyCollection(people, renamed(), Policy(recheck=0))
    assert sorted(ids(at_once.find({"email": "a"}))) == [1, 2]
    assert sorted(ids(at_once.find({"email": "a"}))) == [1, 2]
    assert len(looks) == 3


def test_with_the_index_nothing_is_ever_missed(people: People) -> None:
    mixed = LazyCollection(people, renamed())
    mixed.create_backlog_index()
    assert ids(mixed.find({"email": "a"})) == []
    people.insert_one({"_id": 2, "mail": "a"})
    assert ids(mixed.find({"email": "a"})) == [2]
    assert ids(mixed.find().sort("email", 1)) == [2]


def test_relying_on_what_was_there_would_be_caught(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = LazyCollection(people, renamed())
    mixed.create_backlog_index()
    monkeypatch.setattr("lazymigrate.procedures.matching.whole_index", no_index)
    assert ids(mixed.find({"email": "a"})) == []
    people.insert_one({"_id": 2, "mail": "a"})
    assert ids(mixed.find({"email": "a"})) == []  # the mutant misses what the test above finds


def no_index(_: Any) -> Any:
    return None
    yield


def test_what_this_process_made_outdated_is_known_at_once(people: People) -> None:
    people.insert_many([{"_id": 1, "a": 1, "schema_version": 1}, {"_id": 2, "b": 1, "schema_version": 2}])
    schema = Schema("people")
    schema.revision(2, ops.rename("a", "b"))
    mixed = LazyCollection(people, schema)
    mixed.sweep()
    assert sorted(ids(mixed.find({"b": 1}))) == [1, 2]
    assert LazyCollection(people, schema).find_one({"b": 1}) is not None
    settled = LazyCollection(people, schema)
    assert settled.count_documents({"b": 1}) == 2
    settled.downgrade(1)
    assert settled.count_documents({"b": 1}) == 2
    assert people.count_documents({"a": 1}) == 2


def test_documents_ahead_and_invalid_ones_are_matched_as_written(people: People) -> None:
    people.insert_many(
        [
            {"_id": 1, "email": "a", "schema_version": 9},
            {"_id": 2, "mail": "a", "schema_version": "x"},
            {"_id": 3, "mail": "a"},
        ]
    )
    mixed = LazyCollection(people, renamed(), Policy(on_ahead="keep", on_error="skip"))
    assert sorted(ids(mixed.find({"email": "a"}))) == [1, 3]
    assert mixed.count_documents({"mail": "a"}) == 1


# Explaining, and views


def test_an_explanation_says_what_is_run_and_what_is_missing(people: People) -> None:
    people.insert_many([{"_id": n, "mail": f"m{n}"} for n in range(100)])
    people.insert_many([{"_id": n, "email": f"m{n}", "schema_version": 4} for n in range(100, 200)])
    people.create_index("email")
    mixed = LazyCollection(people, renamed())
    mixed.create_backlog_index()
    told = mixed.explain({"email": "m7"})
    text = str(told)
    assert "version 4 and all others: as written" in text
    assert "uses       'email_1'" in text
    assert "version 1: rewritten" in text
    assert '"mail": ' in text
    assert 'would need create_index([("mail", 1)])' in text
    people.create_index("mail")
    parts = mixed.explain({"email": "m7"}).to_dict()["parts"]
    by_version = {tuple(part["versions"]): part for part in parts}
    assert by_version[1,]["documents_examined"] == by_version[1,]["documents_returned"] == 1
    assert by_version[1,]["create_index"] is None
    assert "mail_1" in by_version[1,]["indexes"]
    inside = mixed.explain({"age": 5}).to_dict()["parts"]
    assert {part["kind"] for part in inside} == {"same", "inside"}


def test_an_explanation_of_a_filter_that_no_revision_touches_is_one_query(people: People) -> None:
    people.insert_one({"other": 1})
    told = LazyCollection(people, renamed()).explain({"other": 1})
    assert len(told.parts) == 1
    assert "one query" in str(told)
    assert 'would need create_index([("other", 1)])' in str(told)


def test_a_view_shows_the_collection_at_head(people: People) -> None:
    people.insert_many(DOCUMENTS)
    mixed = LazyCollection(people, renamed())
    mixed.create_view("people_at_head")
    seen = {document["_id"]: document for document in people.database["people_at_head"].find()}
    assert seen == {document["_id"]: renamed().upgrade(document) for document in DOCUMENTS}
    assert (
        mixed.pipeline_view()
        == people.database.command("listCollections", filter={"name": "people_at_head"})["cursor"]["firstBatch"][0][
            "options"
        ]["pipeline"]
    )


# What a review found


def swapped() -> Schema:
    """After it, `a` is what another field was, and what it was is elsewhere."""
    schema = Schema("people")
    schema.revision(2, ops.rename("a", "b"))
    schema.revision(3, ops.rename("c", "a"))
    return schema


def test_an_upsert_replaces_no_document_that_only_matches_as_it_is_stored(people: People) -> None:
    from pymongo import ReplaceOne

    people.insert_one({"_id": 1, "a": 1, "precious": True})
    mixed = LazyCollection(people, swapped())
    assert mixed.replace_one({"a": 1}, {"_id": 2, "a": 1}, upsert=True).upserted_id == 2
    people.delete_one({"_id": 2})
    result = mixed.bulk_write([ReplaceOne({"a": 1}, {"_id": 2, "a": 1}, upsert=True)])
    assert result.upserted_ids == {0: 2}
    assert people.find_one({"_id": 1}) == {"_id": 1, "a": 1, "precious": True}


def test_a_collection_that_ignores_case_does_so_with_constants_too(people: People) -> None:
    from pymongo.collation import Collation

    people.drop()
    people.database.create_collection(people.name, collation=Collation("en", strength=2))
    people.insert_one({"_id": 1, "size": "old"})
    schema = Schema("people")
    schema.revision(2, ops.add("state", "NEW"), ops.replace_values("size", {"old": "young"}))
    mixed = LazyCollection(people, schema)
    assert mixed.count_documents({"state": "new"}) == 1
    assert mixed.count_documents({"size": "YOUNG"}) == 1


def by_function() -> Schema:
    schema = Schema("people")

    @schema.revision(2)
    def count(person: dict[str, Any]) -> None:
        person["age"] = int(person["age"])

    return schema


def test_the_natural_order_is_no_field(people: People) -> None:
    people.insert_many([{"_id": 1, "age": "5"}, {"_id": 2, "age": "6"}])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for policy in (SCAN, Policy()):
            mixed = LazyCollection(people, by_function(), policy)
            assert ids(mixed.find().sort("$natural", -1)) == [2, 1]


def test_what_is_near_is_asked_beside_a_moved_field(people: People) -> None:
    people.create_index([("place", "2dsphere")])
    people.insert_many(
        [
            {"_id": 1, "mail": "a", "place": [1, 2]},
            {"_id": 2, "email": "a", "place": [1, 1], "schema_version": 4},
            {"_id": 3, "mail": "b", "place": [1, 1]},
        ]
    )
    near = {"$near": {"$geometry": {"type": "Point", "coordinates": [1, 1]}}}
    mixed = LazyCollection(people, renamed())
    assert ids(mixed.find({"place": near, "email": "a"})) == [2, 1]
    assert ids(mixed.find({"place": near, "age": None})) == [2, 3, 1]


def test_what_the_server_only_asks_of_stored_documents_is_called_that(people: People) -> None:
    people.create_index([("email", "text")])
    people.insert_many(DOCUMENTS)
    search = {"$text": {"$search": "a"}}
    with pytest.warns(UnsafeQueryWarning, match="as they are stored") as caught:
        LazyCollection(people, renamed()).count_documents(search)
    assert "function" not in str(caught[0].message)
    for policy in (SCAN, Policy(on_unsafe_query="raise")):
        with pytest.raises(UnsafeQueryError, match=r"Sweep the collection first\.$"):
            LazyCollection(people, renamed(), policy).count_documents(search)


def test_the_warning_is_where_the_query_is(people: People) -> None:
    people.insert_one({"_id": 1, "age": "5"})
    mixed = LazyCollection(people, by_function())
    with pytest.warns(UnsafeQueryWarning) as caught:
        list(mixed.find({"age": 5}))
    assert [warning.filename for warning in caught] == [__file__]


def test_more_than_a_command_can_hold_is_refused_inside_mongodb_too(people: People) -> None:
    people.insert_many([{"_id": str(number) + "x" * 1000, "age": "5"} for number in range(11_000)])
    mixed = LazyCollection(people, renamed())
    with pytest.raises(LazyMigrateError, match=r"too many for one query\. .* sweep the collection first\.$"):
        mixed.count_documents({"age": 5})


def test_a_long_list_at_many_versions_fits_one_command(people: People) -> None:
    schema = Schema("people")
    for version in range(2, 32):
        schema.revision(version, ops.rename(f"f{version - 1}", f"f{version}"))
    people.insert_many([{"_id": n, f"f{n}": n, "schema_version": n} for n in range(1, 32)])
    mixed = LazyCollection(people, schema)
    assert mixed.count_documents({"f31": {"$in": [*range(10_000)]}}) == 31


def test_a_filter_that_is_none_is_refused_by_the_driver(people: People) -> None:
    people.insert_one({"_id": 1, "mail": "a"})
    with pytest.raises(InvalidDocument):
        LazyCollection(people, renamed()).find_one({5: 1})


@pytest.mark.parametrize("direction", [1, -1])
def test_a_sort_looks_into_arrays_as_ever(people: People, eager: People, direction: int) -> None:
    schema = Schema("people")
    schema.revision(2, ops.rename("old", "a"))
    values = [[{"b": 1}, {}], [], [{"b": 0}], [5], [[{"b": -1}]], None, [{"b": None}], [{"b": [3, 1]}, {"b": [2]}]]
    documents = [{"_id": n, "old": value} for n, value in enumerate(values)]
    documents += [{"_id": n + 10, "a": value, "schema_version": 2} for n, value in enumerate(values)]
    people.insert_many(documents)
    eager.delete_many({})
    eager.insert_many([schema.upgrade(document) for document in documents])
    sort = [("a.b", direction), ("_id", 1)]
    assert ids(LazyCollection(people, schema).find().sort(sort)) == ids(eager.find().sort(sort))


def test_a_transaction_has_one_order_too(people: People) -> None:
    people.insert_many(DOCUMENTS)
    mixed = LazyCollection(people, renamed())
    with people.database.client.start_session() as session, session.start_transaction():
        found = mixed.find({"email": {"$gt": ""}}, session=session).sort([("email", 1), ("_id", 1)])
        assert ids(found) == [1, 3, 5, 2, 4, 8]
        assert ids(mixed.find(session=session).sort([("age", -1), ("_id", 1)]).limit(3)) == [4, 5, 1]
        given = mixed.find_one_and_update({}, {"$set": {"n": 1}}, sort=[("email", -1)], session=session)
        assert (given or {})["_id"] == 8


def test_a_hint_is_no_matter_where_documents_are_scanned(people: People) -> None:
    people.insert_many(DOCUMENTS)
    mixed = LazyCollection(people, renamed())
    assert ids(mixed.find({"age": 31}, hint=[("_id", 1)])) == [1]
    assert ids(mixed.find({"age": 31}, hint=[("_id", 1)]).sort("email", 1)) == [1]


@pytest.mark.parametrize("policy", [Policy(), SCAN], ids=["declared", "function"])
def test_what_is_upgraded_while_a_sort_is_read_is_given_once(people: People, policy: Policy) -> None:
    """Between the looks of a sort at documents of several versions, somebody upgrades them."""
    schema = renamed() if policy is not SCAN else by_function()
    people.insert_many([{"_id": number, "mail": f"m{number % 100}", "age": str(number)} for number in range(6000)])
    mixed = LazyCollection(people, schema, policy)
    mixed.count_documents({"age": 1})
    sweep = Thread(target=lambda: LazyCollection(people, schema).sweep(batch_size=100))
    sweep.start()
    try:
        while sweep.is_alive():
            found = ids(mixed.find(batch_size=10_000).sort("email" if policy is not SCAN else "age", 1))
            assert (len(found), len(set(found))) == (6000, 6000)
    finally:
        sweep.join()


@pytest.mark.parametrize("kind", ["snapshot", "transaction"])
def test_a_session_that_sees_an_earlier_moment_finds_what_was_there(people: People, kind: str) -> None:
    people.insert_many([{"_id": 1, "mail": "a"}, {"_id": 2, "email": "a", "schema_version": 4}])
    mixed = LazyCollection(people, renamed(), Policy(recheck=0))
    with people.database.client.start_session(snapshot=kind == "snapshot") as session:
        if kind == "transaction":
            session.start_transaction()
        assert ids(mixed.find({"email": "a"}, session=session)) == [1, 2]
        LazyCollection(people, renamed()).sweep()
        assert ids(mixed.find({"email": "a"}, session=session)) == [1, 2]
        order = [("email", 1), ("_id", 1)]
        assert ids(mixed.find({"email": "a"}, session=session).sort(order)) == [1, 2]
    assert sorted(ids(mixed.find({"email": "a"}))) == [1, 2]


@pytest.mark.parametrize("indexed", [True, False])
def test_what_is_computed_is_found_by_a_session_that_sees_an_earlier_moment(people: People, *, indexed: bool) -> None:
    schema = Schema("people")
    schema.revision(2, ops.convert("n", "long"))
    people.insert_many([{"_id": 1, "n": "5"}, {"_id": 2, "n": Int64(5), "schema_version": 2}])
    mixed = LazyCollection(people, schema)
    if indexed:
        mixed.create_backlog_index()
    with people.database.client.start_session(snapshot=True) as session:
        for _ in range(2):
            assert sorted(ids(mixed.find({"n": {"$type": "long"}}, session=session))) == [1, 2]
            assert ids(mixed.find(session=session).sort([("n", 1), ("_id", 1)])) == [1, 2]
            LazyCollection(people, schema).sweep()


@pytest.mark.parametrize("make", ["create_backlog_index", "deploy"])
def test_an_index_that_this_object_made_is_used_at_once(people: People, make: str) -> None:
    people.insert_one({"_id": 1, "email": "a", "schema_version": 4})
    mixed = LazyCollection(people, renamed())
    assert ids(mixed.find({"email": "a"})) == [1]
    getattr(mixed, make)()
    people.insert_one({"_id": 2, "mail": "a"})  # by an older release, at a version that nobody has seen
    assert ids(mixed.find({"email": "a"})) == [1, 2]


NULL_OR_MISSING: list[Any] = [
    {"$exists": False},
    {"$exists": True},
    {"$type": "null"},
    {"$type": 10},
    {"$not": {"$type": "null"}},
    {"$not": {"$exists": True}},
    {"$exists": True, "$eq": None},
    {"$in": [None, 1]},
    None,
]


@pytest.mark.parametrize("condition", NULL_OR_MISSING, ids=str)
def test_what_is_added_as_null_is_there_at_head(people: People, condition: Any) -> None:
    schema = Schema("people")
    schema.revision(2, ops.add("active", None))
    schema.revision(3, ops.rename("mail", "email"))
    documents = [
        {"_id": 1, "mail": "a"},
        {"_id": 2, "mail": "b", "active": 1},
        {"_id": 3, "email": "c", "schema_version": 3},
        {"_id": 4, "email": "d", "active": None, "schema_version": 3},
    ]
    people.insert_many(documents)
    eager = people.database["eager"]
    eager.insert_many([schema.upgrade(document) for document in documents])
    mixed = LazyCollection(people, schema)
    for query in ({"active": condition}, {"active": condition, "email": {"$gte": "a"}}):
        assert ids(mixed.find(query)) == ids(eager.find(query))
        assert ids(mixed.find(query).sort([("email", 1), ("_id", 1)])) == ids(eager.find(query))
    deleted = mixed.delete_many({"active": condition}).deleted_count
    assert deleted == eager.delete_many({"active": condition}).deleted_count


def test_what_is_no_sort_and_no_page_is_refused(people: People) -> None:
    mixed = LazyCollection(people, renamed())
    for wrong in (iter([("email", 1)]), 5):
        with pytest.raises(TypeError, match="sort is a list"):
            mixed.find({}, sort=wrong)  # type: ignore[call-overload]
    for odd in ([("email",)], [("email", 1, 2)], [5]):
        with pytest.raises(ValueError, match="sort has something else in it"):
            mixed.find({}).sort(odd)
    for page in ({"skip": True}, {"skip": 1.0}, {"limit": 2.0}, {"limit": False}):
        with pytest.raises(TypeError, match="must be an integer"):
            mixed.find({}, **page)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="must be an integer"):
        mixed.find_one({}, skip=True)


def test_of_a_path_that_is_sorted_by_twice_the_last_counts(people: People) -> None:
    people.insert_many([{"_id": 1, "mail": "a"}, {"_id": 2, "email": "b", "schema_version": 4}])
    mixed = LazyCollection(people, renamed())
    assert [document["_id"] for document in mixed.find(sort=[("email", -1), ("email", 1)])] == [1, 2]


def test_a_look_that_began_before_a_downgrade_proves_nothing(people: People) -> None:
    people.insert_many([{"_id": number, "email": "a", "schema_version": 4} for number in range(5)])
    mixed = LazyCollection(people, renamed())
    look = matching.looked(mixed._scope)
    command = next(look)
    with suppress(StopIteration):
        while not (isinstance(command, Attempt) and isinstance(command.command, ListIndexes)):
            command = look.send(mixed._driver.carry_out(command))
        mixed.stamp(1, from_version=4)
        people.update_many({}, {"$rename": {"email": "mail"}})
        while True:
            command = look.send(mixed._driver.carry_out(command))
    assert mixed.count_documents({"email": "a"}) == 5


def test_a_hint_of_a_sparse_index_hides_nothing(people: People) -> None:
    people.insert_many(DOCUMENTS)
    people.create_index("email", sparse=True, name="sparse_email")
    mixed = LazyCollection(people, renamed())
    assert sorted(ids(mixed.find({"email": "a"}, hint="sparse_email"))) == [1, 3, 5]
    assert mixed.count_documents({"email": "a"}, hint="sparse_email") == 3
    assert ids(mixed.find({"email": "a"}, hint="sparse_email").sort([("email", 1), ("_id", 1)]).limit(9)) == [1, 3, 5]
    assert mixed.delete_many({"email": "a"}, hint="sparse_email").deleted_count == 3
