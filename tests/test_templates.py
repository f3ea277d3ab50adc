"""Filters that were turned round before: the same result for other values, and never one for what they do not fit."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.collection import Collection

from lazymigrate import LazyCollection, Policy, Schema, ops
from lazymigrate.procedures import matching
from lazymigrate.templates import Template, filled, template_of

People = Collection[dict[str, Any]]


def renamed() -> Schema:
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email"))
    schema.revision(3, ops.rename("town", "address.town"))
    return schema


def found(people: Any, query: dict[str, Any]) -> list[Any]:
    return sorted(document["_id"] for document in people.find(query))


@pytest.fixture
def mixed(people: People) -> LazyCollection[dict[str, Any]]:
    people.insert_many(
        [
            {"_id": 1, "mail": "a", "town": "Ulm"},
            {"_id": 2, "email": "b", "town": "Bonn", "schema_version": 2},
            {"_id": 3, "email": "a", "address": {"town": "Ulm"}, "schema_version": 3},
            {"_id": 4, "mail": None, "schema_version": 1},
        ]
    )
    return LazyCollection(people, renamed())


def test_other_values_are_put_in(mixed: LazyCollection[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(mixed, {"email": "a", "address.town": "Ulm"}) == [1, 3]
    monkeypatch.setattr(matching, "way", None)  # nothing is turned round any more
    assert found(mixed, {"email": "b", "address.town": "Bonn"}) == [2]
    assert found(mixed, {"email": {"$gte": "a"}, "address.town": {"$in": ["Ulm", "Bonn"]}}) == [1, 2, 3]
    assert mixed.find_one({"email": "b", "address.town": "Bonn"}) is not None


def test_what_does_more_than_compare_is_turned_round_by_itself(mixed: LazyCollection[dict[str, Any]]) -> None:
    assert found(mixed, {"email": "a"}) == [1, 3]
    assert found(mixed, {"email": None}) == [4]
    assert found(mixed, {"email": {"$ne": "a"}}) == [2, 4]
    assert found(mixed, {"email": {"$exists": True}}) == [1, 2, 3, 4]
    assert found(mixed, {"email": {"$regex": "^a"}}) == [1, 3]


def test_a_template_for_everything_would_miss_documents(
    mixed: LazyCollection[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(mixed, {"email": "a"}) == [1, 3]
    monkeypatch.setattr("lazymigrate.templates.compares", lambda _: True)
    assert found(mixed, {"email": {"$ne": "a"}}) != [2, 4]


def test_templates_end_with_what_they_rest_on(people: People) -> None:
    people.insert_one({"_id": 1, "email": "a", "schema_version": 3})
    mixed = LazyCollection(people, renamed(), Policy(recheck=60))
    assert found(mixed, {"email": "a"}) == [1]
    people.update_one({"_id": 1}, {"$set": {"schema_version": 3, "town": "x"}})
    mixed.downgrade(1, accept_losses=True)
    assert found(mixed, {"email": "a"}) == [1]
    at_once = LazyCollection(people, renamed(), Policy(recheck=0))
    assert found(at_once, {"email": "b"}) == []
    people.insert_one({"_id": 2, "mail": "b"})
    assert found(at_once, {"email": "b"}) == [2]


def test_a_template_is_names_and_nothing_else() -> None:
    stamp = {"schema_version": {"$in": [1]}}
    turned = {"$or": [{"email": "email", "n": "n"}, {"mail": "email", "n": "n", **stamp}]}
    template = template_of(turned, {"email": "email", "n": "n"}, "schema_version")
    assert template == Template(None, (({"mail": "email", "n": "n"}, stamp),))
    assert filled(template, {"email": 1, "n": 2}) == {"$or": [{"email": 1, "n": 2}, {"mail": 1, "n": 2, **stamp}]}
    assert filled(template, {"email": 1, "n": None}) is None
    assert template_of({"$or": [{"email": "email"}, {"$and": []}]}, {"email": "email"}, "schema_version") is None


def computed() -> Schema:
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email"))
    schema.revision(3, ops.convert("age", "int"))
    return schema


def test_what_a_sort_saw_of_the_versions_is_not_relied_on(people: People) -> None:
    people.insert_one({"_id": 1, "email": "a", "age": "5", "schema_version": 2})
    mixed = LazyCollection(people, computed())
    mixed.create_backlog_index()
    assert [document["_id"] for document in mixed.find({"email": "a"}).sort("age", 1)] == [1]  # asks what is there now
    people.insert_one({"_id": 2, "mail": "a", "age": "6"})  # by an older process, at a version that was not there
    assert found(mixed, {"email": "a"}) == [1, 2]
