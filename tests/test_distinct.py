"""Distinct values: those that the server gives once everything was upgraded, found without upgrading anything."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Mapping
from typing import Any

import bson
import pytest
from bson import DBRef, Decimal128, Int64
from conftest import Bench
from pymongo.collation import Collation
from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from schemas import declared, users
from test_chains import draw_document, draw_schema
from test_odd_documents import raws

from lazymigrate import LazyCollection, Policy, Schema, UpgradeError, ops
from lazymigrate.commands import Aggregate, Command, Distinct, Find
from lazymigrate.drivers.memory import CODEC
from lazymigrate.procedures import distinct as module
from lazymigrate.procedures.distinct import changes, distinct, values_at

CHAINS = int(os.environ.get("LAZYMIGRATE_DISTINCT", "12"))
DOTTED = ("address.city", "items.sku", "items.price.net", "items.1.sku", "tags.0", "prefs.k1")

People = Collection[dict[str, Any]]


def ask(
    people: Any, shape: Any, key: str, filter: Mapping[str, Any] | None = None, policy: Any = None, **options: Any
) -> Any:
    opened = people.open(shape, policy) if isinstance(people, Bench) else LazyCollection(people, shape, policy)
    return opened._driver.run(distinct(opened._scope, key, filter, options))


def commands(people: People, shape: Any, key: str, filter: Any = None, **options: Any) -> tuple[list[Any], list[Any]]:
    """The values, and the commands that it took."""
    opened = LazyCollection(people, shape)
    procedure, given, sent = distinct(opened._scope, key, filter, options), None, []
    while True:
        try:
            command: Command = procedure.send(given)
        except StopIteration as end:
            return end.value, [type(command) for command in sent]
        sent.append(command)
        given = opened._driver.carry_out(command)


def eagerly(people: People, schema: Schema) -> People:
    """The oracle: a copy of the collection in which what is outdated was upgraded."""
    copy = people.database["eager"]
    copy.drop()
    for document in people.find():
        version = schema.version_of(document)
        copy.insert_one(schema.upgrade(document) if version < schema.settled else document)
    return copy


def canonical(value: Any) -> Any:
    """A form in which values are equal where the server holds them for equal: enough for the documents of these tests."""
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, (int, float, Decimal128)):
        number = float(value.to_decimal()) if isinstance(value, Decimal128) else value
        return f"number {number + 0.0:g}"  # a negative zero is a zero
    if isinstance(value, dict):
        return repr([(name, canonical(inner)) for name, inner in value.items()])
    if isinstance(value, list):
        return repr([canonical(inner) for inner in value])
    return repr(value)


def same_values(one: list[Any], other: list[Any]) -> bool:
    return sorted(map(canonical, one)) == sorted(map(canonical, other)) and len(one) == len({*map(canonical, one)})


def numbers() -> Schema:
    schema = Schema("people")
    schema.revision(2, ops.rename("n", "m"))
    return schema


def test_random_documents_have_the_values_that_they_have_once_upgraded(people: People) -> None:
    asked = compared = 0
    for seed in range(CHAINS):
        chance = random.Random(seed)
        schema = draw_schema(chance)
        people.delete_many({})
        for number in range(25):
            document = draw_document(chance, number)
            version = chance.randint(1, schema.head + 1)
            try:
                document = schema.upgrade(document, to=min(version, schema.head))
                schema.upgrade(document)
            except UpgradeError:
                continue
            people.insert_one({**document, "schema_version": version})
        before = raws(people)
        fields = {name for document in people.find() for name in schema_fields(schema, document)}
        oracle = eagerly(people, schema)
        for key in (*sorted(fields), *DOTTED):
            found = ask(people, schema, key)
            expected = oracle.distinct(key)
            assert same_values(found, expected), (seed, key, found, expected)
            asked, compared = asked + 1, compared + len(found)
        assert found == ask(people, schema, key)
        assert raws(people) == before
    assert asked > 10 * CHAINS
    assert compared > 2 * asked


def schema_fields(schema: Schema, document: dict[str, Any]) -> set[str]:
    version = schema.version_of(document)
    return set(document if version > schema.head else schema.upgrade(document))


VALUES: list[Any] = [
    None, 1, 1.0, Decimal128("1"), Int64(1), True, "1", "a", "A", "", [], [1, [2, 3]], {"b": 1}, {"b": 1.0}, [{"b": 2}, {"b": [3]}, 4],
    {"b": {"c": 1}}, [[{"b": 9}]], {"0": "zero"}, ["first", "second"], float("nan"), Decimal128("NaN"), -0.0, 0,
    {"b": [{"c": 1}, {"c": [2, [3]]}]}, DBRef("others", 5), b"x", [None], [[]], {},
]  # fmt: skip


@pytest.mark.parametrize("key", ["a", "a.b", "a.b.c", "a.0", "a.0.b", "a.1.0", "a.b.0", "a.$id", "a.-1", "missing"])
def test_a_key_is_followed_as_the_server_follows_it(people: People, key: str) -> None:
    people.insert_many([{"_id": n, "a": value} for n, value in enumerate(VALUES)])
    people.insert_one({"_id": 1000, "a.b": "dotted", "a": {"b": "shadowed", "b.c": "inner"}})
    schema = Schema("people")

    @schema.revision(2)
    def any_field(document: dict[str, Any]) -> None:
        document.setdefault("seen", True)

    expected = people.with_options(codec_options=CODEC).distinct(key)
    assert commands(people, schema, key)[1] == [Find, Distinct, *([Aggregate] if expected else [])]
    found = ask(people, schema, key)
    # The server keeps one of several equal values: which one, it does not say.
    assert sorted(map(canonical, found)) == sorted(map(canonical, expected))
    assert set(map(canonical, values_of_all(people, key))) == set(map(canonical, expected))


def values_of_all(people: People, key: str) -> list[Any]:
    return [value for found in people.with_options(codec_options=CODEC).find() for value in values_at(found, key)]


def test_values_of_old_and_new_documents_are_merged_as_the_server_compares_them(people: People) -> None:
    people.insert_many(
        [{"m": 1, "schema_version": 2}, {"m": {"x": 1}, "schema_version": 2}, {"m": "ahead", "schema_version": 3}]
    )
    people.insert_many([{"n": value} for value in (1.0, Decimal128("1"), {"x": Int64(1)}, 2, [2.0, 3], True, "1")])
    found, sent = commands(people, numbers(), "m")
    assert found == [1, "ahead", {"x": 1}, 2, 3, True, "1"]
    assert [type(value) for value in found] == [int, str, dict, int, int, bool, str]
    assert sent == [Find, Distinct, Aggregate]


def test_values_that_the_server_has_given_already_take_no_further_question(people: People) -> None:
    people.insert_many([{"m": "x", "schema_version": 2}, {"n": "x"}, {"n": None}, {"m": None, "schema_version": 2.0}])
    assert commands(people, numbers(), "m") == ([None, "x"], [Find, Distinct])


def test_a_collection_at_head_takes_one_query_more_and_no_key_that_is_untouched_any(people: People) -> None:
    people.insert_many([{"m": 1, "other": 2, "schema_version": 2}, {"m": 3, "schema_version": 5}])
    assert commands(people, numbers(), "m") == ([1, 3], [Find, Distinct])
    people.insert_one({"n": 4, "other": 5})
    assert commands(people, numbers(), "other") == ([2, 5], [Distinct])
    assert commands(people, numbers(), "_id.x")[1] == [Distinct]
    assert commands(people, Schema("people"), "m") == ([1, 3], [Distinct])


@pytest.mark.parametrize(
    ("key", "changed"),
    [("name", True), ("name.x", True), ("first.x", True), ("fir", False), ("schema_version", True), ("_id", False)],
)
def test_which_keys_an_upgrade_may_change(key: str, changed: bool) -> None:
    schema = Schema("people")

    @schema.revision(2, touches={"name", "first"})
    def split(document: dict[str, Any]) -> None:
        document["first"] = document.pop("name")

    assert changes(schema, key) is changed
    assert changes(users(), "anything")
    assert not changes(users(), "_id")


def test_the_version_field_is_that_of_upgraded_documents(people: People) -> None:
    people.insert_many(
        [{}, {"schema_version": 1}, {"schema_version": 2}, {"schema_version": 7}, {"schema_version": "x"}]
    )
    assert ask(people, numbers(), "schema_version") == [2, 7, "x"]


def test_the_filter_is_of_the_newest_shape(people: People) -> None:
    people.insert_many([{"n": 1, "k": "x"}, {"n": 2, "k": "y"}, {"m": 3, "k": "x", "schema_version": 2}])
    assert ask(people, numbers(), "m", {"k": "x"}) == [3, 1]
    assert ask(people, numbers(), "m", {"n": 2}) == []
    assert ask(people, numbers(), "m", {"m": 1}) == [1]
    assert ask(people, numbers(), "m", {"$nor": [{"k": "x"}]}) == [2]
    with pytest.raises(TypeError, match="key must be an instance of str"):
        ask(people, numbers(), 5)  # type: ignore[arg-type]


def test_pages_of_any_ids_and_nothing_but_values_is_kept(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    ids: list[Any] = [None, 1, 2.5, "a", "b", "c", "d", {"x": 1}, {"x": 2}, {"x": 3}, b"1", b"2", True, False]
    people.insert_many([{"_id": identity, "n": number} for number, identity in enumerate(ids)])
    found, sent = commands(people, numbers(), "m")
    assert sorted(found) == list(range(len(ids)))
    assert sent.count(Find) > len(ids) // 3


@pytest.mark.parametrize("default", [True, False])
def test_a_collation_merges_values_and_hides_no_page(db: Any, monkeypatch: pytest.MonkeyPatch, default: bool) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    loose = Collation("en", strength=1)
    people = db.create_collection("people", **({"collation": loose} if default else {}))
    options = {} if default else {"collation": loose}
    simple = {"collation": {"locale": "simple"}} if default else {}
    texts = ["a", "A", "á", "Á", "b", "B", "c"]
    schema = Schema("people")
    schema.revision(2, ops.rename("n", "m"))
    if not default:  # under its default collation the collection would not take an _id that is equal to another
        people.insert_many([{"_id": text, "n": text * 2} for text in texts])
        assert len(ask(people, schema, "m")) == 7
    else:
        people.insert_many([{"n": text * 2} for text in texts])
        assert len(ask(people, schema, "m", **simple)) == 7
    people.insert_one({"_id": "z", "m": "BB", "schema_version": 2})
    found = ask(people, schema, "m", **options)
    assert found[0] == "BB"
    assert sorted(text.lower().replace("á", "a") for text in found) == ["aa", "bb", "cc"]


def test_ids_that_a_collation_holds_for_equal_are_all_read(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    ids: list[Any] = ["a", "A", "á", "Á", "b", {"k": "x"}, {"k": "X"}, {"k": "x\u0301"}]
    people.insert_many([{"_id": identity, "n": number} for number, identity in enumerate(ids)])
    found = ask(people, numbers(), "m", collation=Collation("en", strength=1))
    assert sorted(found) == list(range(len(ids)))


def test_options_of_distinct_are_passed_to_each_query(people: People, client: Any) -> None:
    people.create_index([("n", 1)])
    people.insert_many([{"n": 1}, {"m": 2, "schema_version": 2}])
    with client.start_session() as session, session.start_transaction():
        people.insert_one({"n": "inside"}, session=session)
        found = ask(people, numbers(), "m", session=session, comment="why", maxTimeMS=5000)
        assert found == [2, 1, "inside"]
        session.abort_transaction()
    with client.start_session(snapshot=True) as session:
        assert ask(people, numbers(), "m", session=session) == [2, 1]
    with pytest.raises(OperationFailure, match="hint"):
        ask(people, numbers(), "m", hint="absent")
    options = {"hint": "n_1", "collation": {"locale": "en"}, "comment": "why", "maxTimeMS": 5}
    procedure = distinct(LazyCollection(people, numbers())._scope, "m", {}, options)
    assert next(procedure).options == {**{k: options[k] for k in ("hint", "collation", "comment")}, "max_time_ms": 5}
    asked = procedure.send([bson.encode({"_id": 1, "n": 1})])
    assert (type(asked), asked.options) == (Distinct, options)
    grouping = procedure.send([])
    assert grouping.options == {k: options[k] for k in ("collation", "comment", "maxTimeMS")}


def test_what_cannot_be_upgraded_raises_or_is_left_out(
    people: People, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    people.insert_many([{"_id": n, "n": "secret", "m": n} for n in range(3)])
    people.insert_many([{"_id": 5, "n": 5}, {"_id": 6, "m": "invalid", "schema_version": "x"}])
    with pytest.raises(UpgradeError) as caught:
        ask(people, numbers(), "m")
    assert caught.value.collection == "people"
    before = raws(people)
    with caplog.at_level(logging.WARNING, "lazymigrate"):
        assert ask(people, numbers(), "m", policy=Policy(on_error="skip")) == ["invalid", 5]
    assert [record.getMessage() for record in caplog.records] == [
        "people: 3 documents could not be read and were skipped"
    ]
    assert people.database["lazymigrate.quarantine"].count_documents({}) == 0
    assert ask(people, numbers(), "m", policy=Policy(on_error="quarantine")) == ["invalid", 5]
    assert people.database["lazymigrate.quarantine"].count_documents({"_id.collection": "people"}) == 3
    assert raws(people) == before


def test_a_document_that_is_upgraded_between_the_two_questions_is_not_missed(people: People) -> None:
    people.insert_many([{"_id": 1, "n": "a"}, {"_id": 2, "m": "b", "schema_version": 2}])
    opened = LazyCollection(people, numbers())
    procedure, given = distinct(opened._scope, "m", None, {}), None
    for step in range(3):
        command = procedure.send(given)
        if step == 1:
            opened.sweep()
        given = opened._driver.carry_out(command)
        if step == 1:
            break
    with pytest.raises(StopIteration) as end:
        procedure.send(given)
    assert sorted(end.value.value) == ["a", "b"]


def test_a_collection_that_is_emptied_meanwhile_still_has_an_answer(people: People) -> None:
    people.insert_one({"n": ["a", "b", "a"]})
    opened = LazyCollection(people, numbers())
    procedure = distinct(opened._scope, "m", None, {})
    procedure.send(opened._driver.carry_out(next(procedure)))
    people.delete_many({})
    assert isinstance(procedure.send([]), Aggregate)
    with pytest.raises(StopIteration) as end:
        procedure.send([])
    assert end.value.value == ["a", "b"]


def test_dates_that_python_has_no_year_for_are_read(people: People) -> None:
    far = bson.DatetimeMS(253402300800000)
    people.insert_many(
        [{"n": far}, {"m": far, "schema_version": 2}, {"m": bson.DatetimeMS(far._value + 1), "schema_version": 2}]
    )
    assert len(ask(people, numbers(), "m")) == 2


async def test_every_driver_gives_the_same(bench: Bench) -> None:
    bench.put(
        {"_id": 1, "name": "Ada", "mail": ["a@x", "b@x"]},
        {"_id": 2, "full_name": "Grace", "mail": "a@x", "schema_version": 2},
        {"_id": 3, "full_name": "Edsger", "email": "c@x", "active": False, "schema_version": 3},
        {"_id": 4, "email": "ahead@x", "schema_version": 4},
    )
    schema = declared()
    if bench.name == "memory":
        with pytest.raises(ValueError, match="does not know distinct"):
            await bench.call(ask(bench, schema, "email"))
        return
    assert sorted(await bench.call(ask(bench, schema, "email"))) == ["a@x", "ahead@x", "b@x", "c@x"]
    assert sorted(await bench.call(ask(bench, schema, "active", {"_id": {"$lt": 4}}))) == [False, True]
    assert await bench.call(ask(bench, schema, "full_name", {"full_name": "Ada"}, comment="why")) == ["Ada"]
    bench.put({"_id": 5, "mail": 1, "email": 2})
    with pytest.raises(UpgradeError):
        await bench.call(ask(bench, schema, "email"))
    assert len(await bench.call(ask(bench, schema, "email", policy=Policy(on_error="skip")))) == 4
