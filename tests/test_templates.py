"""Filters that were turned round before: the same result for other values, and never one for what they do not fit."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from lazymigrate import LazyCollection, Policy, Schema, ops
from lazymigrate.ordering import Pages
from lazymigrate.procedures import asking, matching, ordering
from lazymigrate.templates import filled, only_compares, slotted, slotted_pages, template_of

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


def test_a_template_is_filled_and_shares_nothing() -> None:
    stamp = {"schema_version": {"$in": [1]}}
    names = slotted({"email": "a", "n": 1}, "schema_version")
    assert names is not None
    turned = {"$or": [names, {"mail": names["email"], "n": names["n"], **stamp}]}
    pages = slotted_pages(Pages.of(3, -2))
    template = template_of(turned, [{"$match": turned}, {"$limit": pages.most}, {"$skip": pages.skip}, {"$limit": 7}])
    asked = {"email": 1, "n": {"$gt": 2}}
    own = filled(template, asked, 10, 5)
    expected = {"$or": [asked, {"mail": 1, "n": {"$gt": 2}, **stamp}]}
    assert own.pipeline == [{"$match": expected}, {"$limit": 15}, {"$skip": 10}, {"$limit": 7}]
    own.pipeline[0]["$match"]["$or"][1]["schema_version"]["$in"].append("what a listener does")
    assert filled(template, asked, 10, 5).pipeline[0]["$match"] == expected
    alone = template_of(turned, None)
    assert filled(alone, asked, 0, 0).filter == expected
    assert filled(alone, {"email": "n", "n": "email"}, 0, 0).filter["$or"][0] == {"email": "n", "n": "email"}
    assert not only_compares({"email": 1, "n": None})


@pytest.mark.parametrize("filter", [{"email": None}, {"email": {"$ne": 1}}, {"schema_version": 1}, {"$or": [{"a": 1}]}])
def test_there_are_no_slots_for_what_does_more_than_compare(filter: dict[str, Any]) -> None:
    assert slotted(filter, "schema_version") is None


def in_order(people: Any, query: dict[str, Any], **options: Any) -> list[Any]:
    options = {"sort": [("email", -1), ("_id", 1)], "limit": 3, **options}
    return [document["_id"] for document in people.find(query, **options)]


def test_a_sort_is_worked_out_once(mixed: LazyCollection[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    mixed.create_backlog_index()
    assert in_order(mixed, {"email": {"$gte": "b"}}) == [2]
    assert in_order(mixed, {}) == [2, 1, 3]
    assert mixed.find_one({"email": "a"}, sort=[("email", -1)]) is not None
    monkeypatch.setattr(ordering, "worked_out", None)  # nothing is worked out any more
    assert in_order(mixed, {"email": {"$gte": "a"}}) == [2, 1, 3]
    assert in_order(mixed, {"email": "a"}) == [1, 3]
    assert in_order(mixed, {"email": {"$in": ["b"]}}) == [2]
    assert in_order(mixed, {}) == [2, 1, 3]
    first = mixed.find_one({"email": {"$gte": "a"}}, sort=[("email", -1)])
    assert first is not None
    assert first["_id"] == 2


def test_another_page_or_direction_is_another_query(mixed: LazyCollection[dict[str, Any]]) -> None:
    for limit in (0, 1, 2):
        for skip in (0, 1, 2):
            for direction in (1, -1):
                order = [("email", direction), ("_id", 1)]
                expected = [4, 1, 3, 2] if direction == 1 else [2, 1, 3, 4]
                page = expected[skip : skip + limit] if limit else expected[skip:]
                assert in_order(mixed, {}, sort=order, skip=skip, limit=limit) == page
                assert in_order(mixed, {}, sort=order, skip=skip, limit=limit) == page


def test_options_that_change_what_is_sent_have_no_template(
    mixed: LazyCollection[dict[str, Any]], client: MongoClient[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_transaction() -> list[Any]:
        with client.start_session() as session, session.start_transaction():
            return in_order(mixed, {"email": {"$gte": "b"}}, session=session)

    assert in_order(mixed, {"email": {"$gte": "b"}}) == [2]
    assert in_transaction() == [2]
    with client.start_session() as session:
        assert in_order(mixed, {"email": {"$gte": "b"}}, session=session) == [2]
    assert in_order(mixed, {"email": {"$gte": "B"}}, collation={"locale": "en", "strength": 1}) == [2]
    monkeypatch.setattr(asking, "is_regular", lambda *_: True)
    with pytest.raises(OperationFailure):  # a transaction knows no `$unionWith`
        in_transaction()


def test_pages_of_one_order_are_one_query(mixed: LazyCollection[dict[str, Any]]) -> None:
    mixed.create_backlog_index()
    for skip in range(1, 4):
        for limit in (1, 2, 3):
            assert in_order(mixed, {}, skip=skip, limit=limit) == [2, 1, 3, 4][skip : skip + limit]
    assert len(mixed._scope.presence.look.templates) == 2  # one of them for a single document


def test_there_is_no_end_of_queries_and_an_end_of_templates(
    mixed: LazyCollection[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "MANY", 5)
    for number in range(12):
        assert found(mixed, {"email": "a", f"other_{number}": 1}) == []
        assert len(mixed._scope.presence.look.templates) <= 5
    at_once = LazyCollection(mixed.raw, renamed(), Policy(recheck=0))
    assert found(at_once, {"email": "a"}) == [1, 3]
    assert not at_once._scope.presence.look.templates  # none of them would ever be used


def test_what_was_worked_out_before_a_look_is_not_used_after_it(
    mixed: LazyCollection[dict[str, Any]], people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.delete_many({"schema_version": {"$in": [None, 1]}})

    def meanwhile(filter: Any, pipeline: Any) -> Any:
        """Another thread looks again, while the template of this one is on its way."""
        monkeypatch.setattr(ordering, "template_of", template_of)
        people.insert_one({"_id": 9, "mail": "a"})
        mixed._scope.presence.forget()
        assert found(mixed, {"email": "a", "x": 1}) == []
        return template_of(filter, pipeline)

    monkeypatch.setattr(ordering, "template_of", meanwhile)
    assert found(mixed, {"email": "a"}) == [3]
    assert found(mixed, {"email": "a"}) == [3, 9]


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
