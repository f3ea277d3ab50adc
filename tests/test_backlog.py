"""The backlog index: what is in it, what is answered from it, and how it is made, found and dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from itertools import combinations
from typing import Any

import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from conftest import Bench
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from test_versions import ABOVE_AND_INVALID, INVALID, VALID, stamped

from lazymigrate import LazyCollection, LazyMigrateError, Schema, backlog, ops
from lazymigrate.backlog import NOT_A_VERSION, BacklogIndex
from lazymigrate.commands import Procedure
from lazymigrate.procedures.backlog import backlog_index, create_backlog_index, drop_stale_backlog_indexes
from lazymigrate.versions import ahead_filter, at_version, outdated_filter, parse_stamp

FIELD = "schema_version"
Stored = Collection[dict[str, Any]]


def schema(head: int = 4, *, empty: int = 0, **options: Any) -> Schema:
    """Revisions up to head, of which the last so many are empty."""
    declared = Schema("people", **options)
    for version in range(declared.oldest + 1, head + 1):
        operation = ops.nothing() if version > head - empty else ops.add(f"added_{version}", version)
        declared.revision(version, operation)
    return declared


def run(collection: Stored, declared: Schema, procedure: Callable[..., Procedure[Any]], **options: Any) -> Any:
    """Carry a procedure out as a collection does."""
    lazy = LazyCollection(collection, declared)
    return lazy._driver.run(procedure(lazy._scope, **options))


def create(collection: Stored, declared: Schema) -> str:
    return str(run(collection, declared, create_backlog_index))


def names(collection: Stored) -> set[str]:
    return {one["name"] for one in collection.list_indexes()}


def stages(plan: Any) -> list[str]:
    """The stages of a plan, each with the index that it walks."""
    plan = plan.get("queryPlan", plan)
    inner = [plan["inputStage"]] if "inputStage" in plan else plan.get("inputStages", [])
    return [plan["stage"] + ":" + plan.get("indexName", ""), *(name for one in inner for name in stages(one))]


class Explained:
    """How the server answered a query."""

    def __init__(self, collection: Stored, filter: Any, *, page: int = 0, hint: str | None = None) -> None:
        cursor = collection.find(filter)
        if page:
            cursor = cursor.sort("_id", 1).limit(page)
        if hint:
            cursor = cursor.hint(hint)
        explained = cursor.explain()
        self.stages = stages(explained["queryPlanner"]["winningPlan"])
        self.indexes = {stage.partition(":")[2] for stage in self.stages} - {""}
        self.sorts = "SORT:" in self.stages
        self.returned = explained["executionStats"]["nReturned"]
        self.keys = explained["executionStats"]["totalKeysExamined"]
        self.documents = explained["executionStats"]["totalDocsExamined"]


# What it is


def test_its_name_carries_the_version_field_and_what_counts_as_at_head() -> None:
    assert backlog.index(schema(4)).name == "lazymigrate_backlog_schema_version_4"
    assert backlog.index(schema(4, empty=1)).name == "lazymigrate_backlog_schema_version_3_to_4"
    assert backlog.index(schema(4, version_field="v")).name == "lazymigrate_backlog_v_4"


def test_unstamped_documents_are_in_it_unless_they_count_as_at_head() -> None:
    def unstamped(declared: Schema) -> bool:
        return {FIELD: None} in backlog.index(declared).filter["$or"]

    assert unstamped(schema(2))
    assert not unstamped(Schema("people"))
    assert not unstamped(schema(3, empty=2))
    assert unstamped(Schema("people", oldest=3))


ODD = [
    Code("x", {"a": 1}),
    DBRef("c", 1),
    3.5,
    Decimal128("3.5"),
    Int64(2**62),
    float("nan"),
    [3],
    [1, 4],
    [None],
    3,
    4,
]
STAMPS = [s for stamps in VALID.values() for s in stamps] + INVALID + ABOVE_AND_INVALID + ODD


@pytest.mark.parametrize("empty", [0, 1, 2, 3])
def test_exactly_what_is_not_at_head_is_in_it(people: Stored, empty: int) -> None:
    declared = schema(4, empty=empty)
    people.insert_many([{"_id": n, **stamped(stamp)} for n, stamp in enumerate(STAMPS)])
    name = create(people, declared)
    held = {document["_id"] for document in people.find({}, hint=name)}  # a hint is obeyed whatever the index lacks
    expected = set()
    for n, stamp in enumerate(STAMPS):
        version = parse_stamp(stamped(stamp).get(FIELD), declared.base)
        if version is None or not declared.settled <= version <= declared.head:
            expected.add(n)
    assert held == expected
    assert people.count_documents(backlog.index(declared).filter) == len(expected)


def test_the_list_of_types_is_every_type_that_a_version_cannot_have(people: Stored) -> None:
    everything = [
        "", {}, [], b"", ObjectId(), True, datetime(2020, 1, 1), Regex("a"), Code("x"), Code("x", {}),
        Timestamp(1, 1), MinKey(), MaxKey(), Binary(b"", 5),
    ]  # fmt: skip
    people.insert_many([{FIELD: value} for value in everything])
    assert people.count_documents({FIELD: {"$type": [*NOT_A_VERSION]}}) == len(everything)
    numbers = [1, Int64(1), 1.5, Decimal128("1"), None]
    people.insert_many([{FIELD: value} for value in numbers])
    assert people.count_documents({FIELD: {"$type": [*NOT_A_VERSION]}}) == len(everything)


# What is answered from it

OUTDATED = 50


@pytest.fixture
def mostly_done(people: Stored) -> tuple[Stored, Schema, str]:
    """50,000 documents at head, 50 outdated at three versions, one ahead, two without a version."""
    declared = schema(4)
    documents: list[dict[str, Any]] = [{"_id": n, FIELD: 4} for n in range(50_000)]
    for n in range(OUTDATED):
        documents[n * 1000] = {"_id": n * 1000, **[{}, {FIELD: 1}, {FIELD: 2}, {FIELD: 3}, {FIELD: None}][n % 5]}
    documents[7][FIELD] = 9
    documents[8][FIELD] = "4"
    documents[9][FIELD] = [4]
    people.insert_many(documents)
    return people, declared, create(people, declared)


def questions(declared: Schema) -> dict[str, dict[str, Any]]:
    return {
        "outdated": outdated_filter(FIELD, declared.oldest, declared.settled, declared.base),
        "of the older ones": outdated_filter(FIELD, 1, 3, 1),
        "of the later ones": outdated_filter(FIELD, 2, 4, 1),
        "outdated in the form for pages": backlog.outdated_within(declared),
        "at base": {"$and": at_version(FIELD, 1, 1)},
        "at one version": {"$and": at_version(FIELD, 3, 1)},
        "ahead": ahead_filter(FIELD, 4),
        "of no version's type": {FIELD: {"$type": [*NOT_A_VERSION]}},
    }


def test_every_question_is_answered_from_it_alone(mostly_done: tuple[Stored, Schema, str]) -> None:
    people, declared, name = mostly_done
    for asked, question in questions(declared).items():
        plan = Explained(people, question)
        assert plan.indexes == {name}, asked
        assert plan.returned, asked
        assert plan.keys <= OUTDATED + 10, asked
        assert plan.documents <= OUTDATED + 10, asked


def test_all_that_is_not_at_head_is_answered_from_it_too(mostly_done: tuple[Stored, Schema, str]) -> None:
    people, declared, name = mostly_done
    plan = Explained(people, backlog.index(declared).filter)
    assert (plan.indexes, plan.returned) == ({name}, OUTDATED + 3)
    assert plan.keys <= 2 * plan.returned  # one walk for the types, and one for the numbers


def test_a_filter_that_means_the_same_and_is_not_seen_to_scans_the_collection(
    mostly_done: tuple[Stored, Schema, str],
) -> None:
    people = mostly_done[0]
    plain = {"$and": [{FIELD: {"$in": [None, 1, 2, 3]}}, {"$nor": [{FIELD: {"$type": "array"}}]}]}
    assert Explained(people, plain).returned == OUTDATED
    assert Explained(people, plain).documents == 50_000


def test_a_page_of_outdated_documents_by_id_is_read_in_order_and_nothing_else(
    mostly_done: tuple[Stored, Schema, str],
) -> None:
    people, declared, name = mostly_done
    after, upto = (
        {"$expr": {operator: ["$_id", {"$literal": n}]}} for operator, n in (("$gt", 19_000), ("$lte", 40_000))
    )
    inside = backlog.outdated_within(declared, after, upto)
    page = Explained(people, inside, page=10, hint=name)
    assert (page.returned, page.sorts, page.indexes) == (10, False, {name})
    assert page.documents <= 10 + 5  # one document of each version and of both kinds of no stamp is held ready
    assert page.keys <= 10 + 5
    found = [document["_id"] for document in people.find(inside, hint=name).sort("_id", 1).limit(10)]
    assert found == [n * 1000 for n in range(20, 30)]
    # The same conditions beside the $or: right, and sorted at every page.
    beside = {"$and": [outdated_filter(FIELD, 1, 4, 1), after, upto]}
    assert Explained(people, beside, page=10, hint=name).sorts


def test_without_the_index_the_same_page_walks_the_ids(mostly_done: tuple[Stored, Schema, str]) -> None:
    people, declared, name = mostly_done
    people.drop_index(name)
    after = {"$expr": {"$gt": ["$_id", {"$literal": 19_000}]}}
    page = Explained(people, backlog.outdated_within(declared, after), page=10, hint="_id_")
    assert (page.returned, page.sorts, page.indexes) == (10, False, {"_id_"})
    assert page.keys <= 10_000


CONDITIONS = [{"n": {"$gt": 10}}, {"$expr": {"$gt": ["$_id", 5]}}, {"$or": [{"n": 12}, {"n": {"$gt": 20}}]}]


@pytest.mark.parametrize("declared", [schema(4), schema(4, empty=1), schema(5, oldest=2), Schema("people")], ids=repr)
def test_the_form_for_pages_means_the_same(people: Stored, declared: Schema) -> None:
    people.insert_many([{"_id": n, "n": n, **stamped(stamp)} for n, stamp in enumerate(STAMPS)])
    plain = outdated_filter(FIELD, declared.oldest, declared.settled, declared.base)
    for several in range(4):
        for extra in combinations(CONDITIONS, several):
            found = {one["_id"] for one in people.find(backlog.outdated_within(declared, *extra))}
            assert found == {one["_id"] for one in people.find({"$and": [plain, *extra]})}


# Making, finding, dropping


async def test_it_is_made_once_on_every_driver_and_found(bench: Bench) -> None:
    lazy = bench.open(schema(3))

    async def do(procedure: Callable[..., Procedure[Any]]) -> Any:
        return await bench.call(lazy._driver.run(procedure(lazy._scope)))

    if bench.name == "memory":
        with pytest.raises(ValueError, match="memory collection does not know"):
            await do(create_backlog_index)
        assert await do(backlog_index) is None
        assert await do(drop_stale_backlog_indexes) == []
        return
    assert await do(backlog_index) is None
    name = await do(create_backlog_index)
    assert name == backlog.index(schema(3)).name
    assert await do(create_backlog_index) == name
    assert names(bench.stored) == {"_id_", name}
    assert await do(backlog_index) == name
    assert await do(drop_stale_backlog_indexes) == []


def test_a_collection_that_does_not_exist_has_none_and_gets_one(people: Stored) -> None:
    assert run(people, schema(), backlog_index) is None
    assert run(people, schema(), drop_stale_backlog_indexes) == []
    assert people.database.list_collection_names() == []
    assert run(people, schema(), create_backlog_index) == run(people, schema(), backlog_index)


def renamed(wanted: BacklogIndex, name: str, **options: Any) -> dict[str, Any]:
    return {"keys": [*wanted.keys], **wanted.options, "name": name, **options}


def test_it_is_known_by_what_it_is_whatever_its_name(people: Stored) -> None:
    people.create_index(**renamed(backlog.index(schema()), "ours"))
    assert run(people, schema(), backlog_index) == "ours"
    assert create(people, schema()) == "ours"
    assert names(people) == {"_id_", "ours"}


@pytest.mark.parametrize(
    "other",
    [
        {"keys": [(FIELD, 1)]},
        {"keys": [("_id", 1), (FIELD, 1)]},
        {"keys": [(FIELD, -1), ("_id", 1)]},
        {"keys": [(FIELD, 1), ("_id", 1)], "partialFilterExpression": {FIELD: {"$lt": 4}}},
        {"keys": [(FIELD, 1), ("_id", 1)], "partialFilterExpression": {"$or": [{FIELD: None}, {FIELD: {"$lt": 3}}]}},
        {"keys": [(FIELD, 1), ("_id", 1)], "partialFilterExpression": {"added_2": {"$exists": True}}},
        {"keys": [(FIELD, 1), ("_id", 1)], "collation": {"locale": "en", "strength": 2}},
    ],
)
def test_an_index_that_lacks_something_is_not_taken_for_one(people: Stored, other: dict[str, Any]) -> None:
    people.create_index(**{**other, "name": backlog.index(schema()).name})
    assert run(people, schema(), backlog_index) is None


def test_an_index_of_another_filter_under_its_name_is_the_servers_refusal(people: Stored) -> None:
    wanted = backlog.index(schema())
    people.create_index([*wanted.keys], name=wanted.name, partialFilterExpression={FIELD: 1})
    with pytest.raises(OperationFailure) as caught:
        create(people, schema())
    assert caught.value.code == 86


@pytest.mark.parametrize("whole", [False, True])
def test_an_index_on_all_documents_serves_too_and_the_partial_one_is_preferred(people: Stored, whole: bool) -> None:
    people.create_index([(FIELD, 1), ("_id", 1)], name="everything")
    assert run(people, schema(), backlog_index, whole=whole) == "everything"
    name = create(people, schema())
    assert run(people, schema(), backlog_index, whole=whole) == name


def test_the_index_of_newer_code_serves_older_code_for_what_is_outdated_only(people: Stored) -> None:
    newer = create(people, schema(6))
    older = schema(4)
    assert run(people, older, backlog_index) == newer
    assert run(people, older, backlog_index, whole=True) is None
    people.insert_many([{"_id": n, **stamped(stamp)} for n, stamp in enumerate(STAMPS)])
    outdated = outdated_filter(FIELD, 1, 4, 1)
    assert Explained(people, outdated).indexes == {newer}
    assert Explained(people, outdated).returned == people.count_documents(outdated, hint="_id_")


def test_the_index_of_older_code_does_not_serve_newer_code(people: Stored) -> None:
    create(people, schema(4))
    assert run(people, schema(6), backlog_index) is None


def test_a_name_given_away_for_an_index_that_lacks_documents_would_lose_them(
    people: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.insert_many([{"_id": version, FIELD: version} for version in range(1, 7)])
    create(people, schema(4))
    outdated = outdated_filter(FIELD, 1, 6, 1)
    monkeypatch.setattr(backlog, "covers", lambda held, wanted: True)
    wrong = run(people, schema(6), backlog_index)
    assert wrong == backlog.index(schema(4)).name
    assert people.count_documents(outdated, hint=wrong) == 4  # of 5: the one at head 4 is not in that index
    assert people.count_documents(outdated) == 5


def test_an_empty_revision_brings_an_index_of_its_own_and_the_one_before_still_serves(people: Stored) -> None:
    before = create(people, schema(3))
    assert run(people, schema(4, empty=1), backlog_index, whole=True) == before
    after = create(people, schema(4, empty=1))
    assert after != before
    people.insert_many([{"_id": n, FIELD: 4} for n in range(10)])  # all at head
    assert Explained(people, {FIELD: {"$gt": 0}}, hint=after).returned == 0
    assert Explained(people, {FIELD: {"$gt": 0}}, hint=before).returned == 10
    assert run(people, schema(4, empty=1), drop_stale_backlog_indexes) == [before]


def test_a_hidden_index_is_none_and_a_second_is_not_made(people: Stored) -> None:
    name = create(people, schema())
    people.database.command("collMod", people.name, index={"name": name, "hidden": True})
    assert run(people, schema(), backlog_index) is None
    with pytest.raises(LazyMigrateError, match=r"hidden.*Unhide it with collMod, or drop it\.$"):
        create(people, schema())
    people.database.command("collMod", people.name, index={"name": name, "hidden": False})
    assert run(people, schema(), backlog_index) == create(people, schema()) == name


def test_an_index_that_is_being_built_is_none_until_it_is_there(people: Stored, client: MongoClient[Any]) -> None:
    people.insert_many([{"_id": n} for n in range(10)])
    point = "hangAfterStartingIndexBuild"
    made: list[str] = []
    builders = [threading.Thread(target=lambda: made.append(create(people, schema(5)))) for _ in range(2)]
    old = create(people, schema(4))
    admin = client.admin
    count = admin.command({"configureFailPoint": point, "mode": "alwaysOn"})["count"]
    try:
        for builder in builders:
            builder.start()
        admin.command({"waitForFailPoint": point, "timesEntered": count + 1, "maxTimeMS": 60_000})
        assert backlog.index(schema(5)).name in names(people)  # the list has it already
        assert run(people, schema(5), backlog_index) is None
        assert run(people, schema(5), drop_stale_backlog_indexes) == []
    finally:
        admin.command({"configureFailPoint": point, "mode": "off"})
        for builder in builders:
            builder.join()
    assert made == [backlog.index(schema(5)).name] * 2
    assert run(people, schema(5), backlog_index) == made[0]
    assert run(people, schema(5), drop_stale_backlog_indexes) == [old]


def test_only_indexes_of_older_heads_are_dropped_and_only_when_there_is_one_for_this(people: Stored) -> None:
    old = [create(people, schema(head)) for head in (2, 3)]
    newer = create(people, schema(6))
    other_field = create(people, schema(2, version_field="v"))
    people.create_index(**renamed(backlog.index(schema(3, empty=1)), "somebody_elses"))
    people.create_index([(FIELD, 1)], name="lazymigrate_backlog_schema_version_1")
    before = names(people)
    assert run(people, schema(4), drop_stale_backlog_indexes) == []
    assert names(people) == before
    mine = create(people, schema(4))
    assert sorted(run(people, schema(4), drop_stale_backlog_indexes)) == sorted(old)
    assert names(people) == before - {*old} | {mine}
    assert {newer, other_field, "somebody_elses"} <= names(people)


def test_an_index_that_another_process_has_dropped_meanwhile_is_no_error(
    people: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(people, schema(4))
    monkeypatch.setattr(backlog, "stale", lambda schema, descriptions: ["gone"])
    assert run(people, schema(4), drop_stale_backlog_indexes) == []


def test_it_has_the_order_of_a_collection_with_a_collation(people: Stored) -> None:
    people.database.create_collection(people.name, collation={"locale": "en", "strength": 2})
    name = create(people, schema())
    assert run(people, schema(), backlog_index) == name
    people.insert_many([{"_id": letter, FIELD: version} for version, letter in enumerate("bCaD", start=1)])
    page = Explained(people, backlog.outdated_within(schema()), page=3, hint=name)
    assert (page.sorts, page.returned) == (False, 3)
    found = people.find(backlog.outdated_within(schema()), hint=name).sort("_id", 1)
    assert [one["_id"] for one in found] == ["a", "b", "C"]
