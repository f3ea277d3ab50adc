"""Models: what is loaded is remembered without being shared, and only what the user changed is written."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pymongo.collection import Collection

from lazymigrate import LazyCollection, ModelError, Schema, SchemaError, ops
from lazymigrate.fields import ObjectId
from lazymigrate.model import stored_names
from lazymigrate.sharing import shared_fields
from lazymigrate.testing import MemoryCollection


class Color(Enum):
    RED = "red"


class Inner(BaseModel):
    city: str = ""
    tags: list[str] = []


class Wide(BaseModel):
    id: int = Field(alias="_id")
    plain: str = "x"
    numbers: list[int] = []
    inner: Inner = Inner()
    inners: list[Inner] = []
    color: Color = Color.RED
    labels: set[str] = set()
    free: Any = None
    bag: dict[str, Any] = {}
    bare: list = []  # type: ignore[type-arg]
    same: Annotated[list[int], BeforeValidator(lambda value: value)] = []


def opened(model: type[Any], *documents: dict[str, Any]) -> tuple[LazyCollection[Any], MemoryCollection]:
    schema = Schema("things")
    schema.revision(2, ops.rename("old_plain", "plain"))
    schema.model(model)
    store = MemoryCollection("things")
    for document in documents:
        store.put(document)
    return LazyCollection(store, model), store


def fresh(base: type[BaseModel], **config: Any) -> type[Any]:
    """A subclass of its own, since a model belongs to one schema."""
    return type(base.__name__, (base,), {"model_config": ConfigDict(**config), "__module__": __name__})


def test_only_fields_that_could_share_containers_are_copied() -> None:
    def shared(model: type[BaseModel]) -> frozenset[str] | None:
        return shared_fields(model, stored_names(model, "things"))

    assert shared(Wide) == {"free", "bag", "bare", "same"}
    assert shared(Inner) == frozenset()
    assert shared(fresh(Inner, extra="allow")) is None


STORED = {
    "_id": 1,
    "plain": "p",
    "numbers": [1],
    "inner": {"city": "A", "tags": ["t"], "unknown": 1},
    "inners": [{"city": "B", "note": "kept"}],
    "labels": ["l"],
    "free": {"deep": [1]},
    "bag": {"deep": {"x": [1]}},
    "bare": [[1]],
    "same": [1],
    "unknown": {"kept": True},
    "schema_version": 2,
}


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (lambda m: m.numbers.append(2), {"numbers": [1, 2]}),
        (lambda m: setattr(m.inner, "city", "C"), {"inner": {"city": "C", "tags": ["t"], "unknown": 1}}),
        (lambda m: m.inner.tags.append("u"), {"inner": {"city": "A", "tags": ["t", "u"], "unknown": 1}}),
        (lambda m: setattr(m.inners[0], "city", "C"), {"inners": [{"city": "C", "note": "kept"}]}),
        (lambda m: m.labels.add("k"), {"labels": ["k", "l"]}),
        (lambda m: m.free["deep"].append(2), {"free": {"deep": [1, 2]}}),
        (lambda m: m.bag["deep"]["x"].append(2), {"bag": {"deep": {"x": [1, 2]}}}),
        (lambda m: m.bag.pop("deep"), {"bag": {}}),
        (lambda m: m.bare[0].append(2), {"bare": [[1, 2]]}),
        (lambda m: m.same.append(2), {"same": [1, 2]}),
        (lambda m: setattr(m, "color", Color.RED), {"color": "red"}),
        (lambda m: None, {}),
    ],
)
def test_every_kind_of_change_is_seen_and_nothing_else_is_written(change: Any, changed: dict[str, Any]) -> None:
    things, store = opened(fresh(Wide), STORED)
    thing = things.find_one(1)
    change(thing)
    things.save(thing)
    assert store.documents() == [{**STORED, **changed}]
    again = things.find_one(1)
    assert again == thing


def test_defaults_that_were_never_set_stay_away_even_when_they_differ_each_time() -> None:
    class Timed(BaseModel):
        id: int = Field(alias="_id")
        at: datetime = Field(default_factory=lambda: datetime.now(UTC))
        plain: str = "default"
        inner: Inner = Inner()

    stored = {"_id": 1, "schema_version": 2}
    things, store = opened(Timed, stored)
    thing = things.find_one(1)
    things.save(thing)
    assert store.documents() == [stored]
    thing.plain = "default"
    things.save(thing)
    assert store.documents() == [{**stored, "plain": "default"}]
    thing.inner.city = "A"
    things.save(thing)
    assert store.documents()[0]["inner"] == {"city": "A", "tags": []}


def test_a_loaded_model_equals_a_constructed_one_and_travels() -> None:
    model = fresh(Inner)
    schema = Schema("things")
    schema.revision(2, ops.nothing())
    schema.model(model)
    loaded = schema.load({"city": "A", "tags": ["x"]})
    made = model(city="A", tags=["x"])
    assert loaded == made
    assert repr(loaded) == repr(made)
    assert loaded.model_dump() == made.model_dump()
    assert dict(loaded) == dict(made)
    assert loaded.model_copy(update={"city": "B"}).city == "B"
    assert copy.deepcopy(loaded) == made


class Travelling(BaseModel):
    id: int = Field(alias="_id")
    plain: str = ""


def test_a_model_that_was_pickled_can_be_saved() -> None:
    things, store = opened(Travelling, {"_id": 1, "plain": "a", "kept": 1, "schema_version": 2})
    thing = pickle.loads(pickle.dumps(things.find_one(1)))
    thing.plain = "b"
    things.save(thing)
    assert store.documents() == [{"_id": 1, "plain": "b", "kept": 1, "schema_version": 2}]


def test_frozen_models_are_saved_through_their_copies() -> None:
    things, store = opened(fresh(Wide, frozen=True), STORED)
    thing = things.find_one(1)
    things.save(thing.model_copy(update={"plain": "new"}))
    assert store.documents() == [{**STORED, "plain": "new"}]


def test_models_that_forbid_or_keep_extra_fields() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")
        id: int = Field(alias="_id")
        plain: str

    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        id: int = Field(alias="_id")

    stored = {"_id": 1, "old_plain": "a"}
    things, store = opened(Strict, stored)
    thing = things.find_one(1)
    thing.plain = "b"
    things.save(thing)
    assert store.documents() == [{"_id": 1, "plain": "b", "schema_version": 2}]

    things, store = opened(Open, {"_id": 1, "plain": "a", "more": {"x": [1]}, "schema_version": 2})
    thing = things.find_one(1)
    thing.more["x"].append(2)
    del thing.plain
    things.save(thing)
    assert store.documents() == [{"_id": 1, "more": {"x": [1, 2]}, "schema_version": 2}]


def test_a_model_with_a_version_field_gets_it_filled() -> None:
    class Stamped(BaseModel):
        id: int = Field(alias="_id")
        schema_version: int = 0

    things, store = opened(Stamped, {"_id": 1})
    assert things.find_one(1).schema_version == 2
    things.insert_one(Stamped(_id=2))
    assert store.documents()[1] == {"_id": 2, "schema_version": 2}


def test_a_subclass_is_not_the_model_of_its_parents_schema() -> None:
    model = fresh(Inner)
    opened(model)
    with pytest.raises(SchemaError, match="subclass"):
        LazyCollection(MemoryCollection(), fresh(model))
    with pytest.raises(SchemaError, match="not the model"):
        LazyCollection(MemoryCollection(), dict)


def test_object_ids_in_models() -> None:
    class Thing(BaseModel):
        id: ObjectId = Field(alias="_id")

    text = "507f1f77bcf86cd799439011"
    assert str(Thing(_id=text).id) == text
    assert Thing.model_validate_json(f'{{"_id": "{text}"}}').model_dump_json() == f'{{"id":"{text}"}}'
    assert Thing.model_json_schema()["properties"]["_id"]["type"] == "string"
    with pytest.raises(ValueError, match="pattern"):
        Thing(_id="canary")


def test_what_bson_cannot_hold_is_named_by_its_path(people: Collection[dict[str, Any]]) -> None:
    class Priced(BaseModel):
        id: int = Field(alias="_id")
        prices: dict[str, Any] = {}

    schema = Schema("people")
    schema.model(Priced)
    with pytest.raises(ModelError, match=r"prices\.net") as caught:
        LazyCollection(people, Priced).insert_one(Priced(_id=1, prices={"net": {"canary": object}.keys()}))
    assert "canary" not in str(caught.value)
    assert people.count_documents({}) == 0
