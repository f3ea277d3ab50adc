"""`save` on a real server, in the situations in which a simpler one loses something."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from bson.raw_bson import RawBSONDocument
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure
from test_odd_documents import document, encoded, int32, raws

from lazymigrate import ConflictError, LazyCollection, ModelError, Policy, Schema, ops

People = Collection[dict[str, Any]]


def opened(people: People, model: type[Any], policy: Policy | None = None) -> LazyCollection[Any]:
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email"))
    schema.model(model)
    return LazyCollection(people, model, policy)


def numbers() -> type[Any]:
    """A model of its own for each test, since a model belongs to one schema."""

    class Numbers(BaseModel):
        id: int = Field(alias="_id")
        a: int = 0
        b: int = 0

    return Numbers


def test_a_value_that_a_validator_made_can_be_changed(people: People) -> None:
    class Shown(BaseModel):
        id: int = Field(alias="_id")
        first: str
        display: str = ""
        other: str = Field(default="", validation_alias=AliasChoices("other", "old_other"))

        @model_validator(mode="before")
        @classmethod
        def fill(cls, data: dict[str, Any]) -> dict[str, Any]:
            return {"display": data["first"], **data}

    people.insert_one({"_id": 1, "first": "a", "old_other": "o", "schema_version": 2})
    lazy = opened(people, Shown)
    shown = lazy.find_one(1)
    shown.display, shown.other = "CHANGED", "OTHER"
    lazy.save(shown)
    stored = people.find_one()
    assert stored is not None
    assert (stored["display"], stored["other"]) == ("CHANGED", "OTHER")


def test_a_transaction_that_is_run_again_saves_again(client: MongoClient[dict[str, Any]], people: People) -> None:
    Numbers = numbers()
    people.insert_one({"_id": 1, "a": 0, "schema_version": 2})
    lazy = opened(people, Numbers)
    loaded, new = lazy.find_one(1), Numbers(_id=2, a=1)
    runs: list[int] = []

    def work(session: Any) -> None:
        runs.append(1)
        loaded.a = 42
        lazy.save(loaded, session=session)
        lazy.save(loaded, session=session)
        lazy.save(new, session=session)
        new.b = 7
        lazy.save(new, session=session)
        if len(runs) == 1:
            error = OperationFailure("again", 112)
            error._add_error_label("TransientTransactionError")
            raise error

    with client.start_session() as session:
        session.with_transaction(work)
    assert len(runs) == 2
    assert list(people.find(sort=[("_id", 1)])) == [
        {"_id": 1, "a": 42, "schema_version": 2},
        {"_id": 2, "a": 1, "b": 7, "schema_version": 2},
    ]
    loaded.b = 1
    lazy.save(loaded)
    assert people.find_one({"_id": 1}) == {"_id": 1, "a": 42, "b": 1, "schema_version": 2}


@pytest.mark.parametrize("count", [5, 25, 90])
def test_many_leaves_of_a_subdocument_leave_the_others_alone(people: People, count: int) -> None:
    class Wide(BaseModel):
        id: int = Field(alias="_id")
        prefs: dict[str, Any]

    prefs = {f"k{n}": {"x": n, "y": n} if n % 2 else n for n in range(100)}
    people.insert_one({"_id": 1, "prefs": prefs, "schema_version": 2})
    lazy = opened(people, Wide)
    wide = lazy.find_one(1)
    for n in range(count):
        if n % 2:
            wide.prefs[f"k{n}"]["x"] = -n
        else:
            wide.prefs[f"k{n}"] = -n
    people.update_one({}, {"$set": {"prefs.k99.x": 777, "prefs.new": 1, "prefs.k1.y": 55}})
    lazy.save(wide)
    stored = people.find_one()
    assert stored is not None
    assert (stored["prefs"]["k99"]["x"], stored["prefs"]["new"], stored["prefs"]["k1"]) == (777, 1, {"x": -1, "y": 55})
    assert stored["prefs"]["k2"] == -2
    assert len(stored["prefs"]) == 101


def test_equal_keys_survive(people: People) -> None:
    class Mailed(BaseModel):
        id: int = Field(alias="_id")
        email: str
        inner: dict[str, Any] = {}

    twice = int32("z", 1) + int32("z", 2)
    inner = b"\x03inner\0" + document(int32("q", 1), twice)
    people.insert_one(RawBSONDocument(document(encoded(_id=1, email="a"), twice, inner, encoded(schema_version=2))))
    lazy = opened(people, Mailed)
    mailed = lazy.find_one(1)
    mailed.email = "b"
    mailed.inner["q"] = 5
    lazy.save(mailed)
    changed = b"\x03inner\0" + document(int32("q", 5), twice)
    assert raws(people)[1] == document(encoded(_id=1, email="b"), twice, changed, encoded(schema_version=2))


def test_a_model_that_keeps_extra_fields_and_validates_assignments(people: People) -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow", validate_assignment=True)
        id: int = Field(alias="_id")
        a: int = 0

    people.insert_one({"_id": 1, "a": 1, "more": 2, "schema_version": 2})
    lazy = opened(people, Open)
    found = lazy.find_one(1)
    found.a = 5
    assert set(found.model_dump()) == {"id", "a", "more"}
    lazy.save(found)
    assert people.find_one() == {"_id": 1, "a": 5, "more": 2, "schema_version": 2}


def test_elements_of_a_list_keep_what_the_model_does_not_know_and_defaults_are_not_invented(people: People) -> None:
    class Item(BaseModel):
        q: int
        key: str = Field(default_factory=lambda: uuid4().hex)

    class Cart(BaseModel):
        id: int = Field(alias="_id")
        name: str = ""
        items: list[Item] = []
        one: Item | None = None

    items = [{"q": n, "note": f"n{n}"} for n in range(3)]
    people.insert_one({"_id": 1, "name": "a", "items": items, "one": {"q": 1}, "schema_version": 2})
    lazy = opened(people, Cart)
    cart = lazy.find_one(1)
    cart.name = "b"
    people.update_one({}, {"$push": {"items": {"q": 9}}})
    lazy.save(cart)
    assert people.find_one() == {
        "_id": 1, "name": "b", "items": [*items, {"q": 9}], "one": {"q": 1}, "schema_version": 2,
    }  # fmt: skip
    cart = lazy.find_one(1)
    cart.items[0].q = 5
    lazy.save(cart)
    assert people.find_one()["items"] == [{"q": 5, "note": "n0"}, *items[1:], {"q": 9}]


def test_elements_that_stay_keep_what_the_model_does_not_know(people: People) -> None:
    class Item(BaseModel):
        q: int
        key: str = ""

    class Cart(BaseModel):
        id: int = Field(alias="_id")
        items: list[Item] = []

    items = [{"q": n, "note": f"n{n}"} for n in range(4)]
    people.insert_one({"_id": 1, "items": items, "schema_version": 2})
    lazy = opened(people, Cart)
    cart = lazy.find_one(1)
    del cart.items[1]
    cart.items.reverse()
    cart.items.append(Item(q=9))
    lazy.save(cart)
    assert people.find_one()["items"] == [items[3], items[2], items[0], {"q": 9, "key": ""}]


def test_after_a_replacement_only_what_changed_since_is_saved(people: People) -> None:
    Numbers = numbers()
    people.insert_one({"_id": 1, "a": 0, "b": 0, "schema_version": 2})
    lazy = opened(people, Numbers)
    found = lazy.find_one(1)
    found.a = 1
    lazy.replace_one({"_id": 1}, found)
    people.update_one({}, {"$set": {"a": 500}})
    found.b = 2
    lazy.save(found)
    assert people.find_one() == {"_id": 1, "a": 500, "b": 2, "schema_version": 2}


def test_of_an_insert_that_failed_in_part_each_model_knows_whether_it_is_stored(people: People) -> None:
    Numbers = numbers()
    people.insert_one({"_id": 7, "schema_version": 2})
    lazy = opened(people, Numbers)
    first, second, third = Numbers(_id=1), Numbers(_id=7), Numbers(_id=3)
    with pytest.raises(BulkWriteError):
        lazy.insert_many([first, second, third])
    first.a = 5
    lazy.save(first)
    lazy.save(third)
    with pytest.raises(DuplicateKeyError):
        lazy.save(second)
    assert {d["_id"]: d.get("a") for d in people.find()} == {1: 5, 3: 0, 7: None}


def test_values_that_bson_rounds_are_no_conflict(people: People) -> None:
    class Timed(BaseModel):
        id: int = Field(alias="_id")
        at: datetime

    lazy = opened(people, Timed)
    moment = datetime(2024, 1, 1, 12, 0, 0, 123456, UTC)
    made = Timed(_id=1, at=moment)
    lazy.insert_one(made)
    lazy.save(made, expect="unchanged")
    found = lazy.find_one(1)
    found.at = moment
    lazy.save(found)
    lazy.save(found, expect="unchanged")
    assert people.count_documents({"at": moment.replace(microsecond=123000)}) == 1


def test_what_could_not_be_read_again_is_not_stored(people: People) -> None:
    Numbers = numbers()
    people.insert_one({"_id": 1, "a": 1, "schema_version": 2})
    lazy = opened(people, Numbers)
    found = lazy.find_one(1)
    found.a = "canary"
    with pytest.raises(ModelError) as caught:
        lazy.save(found)
    assert "canary" not in str(caught.value)
    found.a = 5
    lazy.save(found)
    assert people.find_one()["a"] == 5
    with pytest.raises(ModelError):
        lazy.insert_one(Numbers.model_construct(id=2, a="canary"))
    assert people.count_documents({}) == 1


def test_nothing_to_save_of_a_document_that_is_gone_is_a_conflict(people: People) -> None:
    Numbers = numbers()
    people.insert_one({"_id": 1, "schema_version": 2})
    lazy = opened(people, Numbers)
    found = lazy.find_one(1)
    lazy.save(found)
    people.delete_many({})
    with pytest.raises(ConflictError, match="deleted"):
        lazy.save(found)


def test_what_the_server_refuses_is_the_callers_to_hear(people: People) -> None:
    Numbers = numbers()
    people.create_index("a", unique=True)
    people.insert_many([{"_id": 1, "a": 1, "schema_version": 2}, {"_id": 2, "a": 2}])
    lazy = opened(people, Numbers)
    for identity in (1, 2):
        found = lazy.find_one(identity)
        found.a = 3 - identity
        with pytest.raises(DuplicateKeyError):
            lazy.save(found)
