"""Dataclasses as models: pydantic's and the standard library's, frozen ones and those with slots."""

from __future__ import annotations

import copy
import dataclasses
import gc
import itertools
import pickle
from typing import Annotated, Any
from uuid import uuid4

import bson
import pydantic.dataclasses
import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from pymongo import InsertOne, MongoClient, ReplaceOne
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from lazymigrate import AsyncLazyCollection, ConflictError, LazyCollection, ModelError, Schema, SchemaError, ops
from lazymigrate.fields import ObjectId
from lazymigrate.testing import MemoryCollection

People = Collection[dict[str, Any]]
Identity = Annotated[ObjectId | None, Field(alias="_id")]
OLD, NEW, ANY = bson.ObjectId("5" * 24), bson.ObjectId("6" * 24), bson.ObjectId("7" * 24)

KINDS: dict[str, Any] = {
    "pydantic": pydantic.dataclasses.dataclass,
    "pydantic frozen": pydantic.dataclasses.dataclass(frozen=True),
    "pydantic checking": pydantic.dataclasses.dataclass(config=ConfigDict(validate_assignment=True)),
    "standard": dataclasses.dataclass,
    "standard frozen": dataclasses.dataclass(frozen=True),
    "standard slots": dataclasses.dataclass(slots=True, weakref_slot=True),
    "standard frozen slots": dataclasses.dataclass(frozen=True, slots=True, weakref_slot=True),
}
FROZEN = [name for name in KINDS if "frozen" in name]
ASIDE = [name for name in KINDS if "slots" in name or "checking" in name]
HOLDING = [name for name in KINDS if name not in ASIDE]


class Note(BaseModel):
    text: str = ""


@dataclasses.dataclass
class Address:
    city: str = ""
    tags: list[str] = dataclasses.field(default_factory=list)
    zip_code: Annotated[str, Field(alias="zip")] = ""


def declared(kind: str) -> type[Any]:
    """A class of its own, since a model belongs to one schema."""

    class Person:
        id: Identity = None
        email: str = ""
        address: Address = dataclasses.field(default_factory=Address)
        others: list[Address] = dataclasses.field(default_factory=list)
        note: Note | None = None
        bag: dict[str, Any] = dataclasses.field(default_factory=dict)
        age: int = 18

    return KINDS[kind](Person)  # type: ignore[no-any-return]


def schema_of(model: type[Any]) -> Schema:
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email"))
    schema.model(model)
    return schema


def opened(model: type[Any], *documents: dict[str, Any]) -> tuple[LazyCollection[Any], MemoryCollection]:
    schema_of(model)
    store = MemoryCollection("people")
    for document in documents:
        store.put(document)
    return LazyCollection(store, model), store


def put(instance: Any, field: str, value: Any) -> None:
    """Assign to a field, also of a frozen instance."""
    try:
        setattr(instance, field, value)
    except (dataclasses.FrozenInstanceError, pydantic.ValidationError):
        object.__setattr__(instance, field, value)


STORED: dict[str, Any] = {
    "_id": OLD,
    "unknown": {"kept": [True]},
    "email": "a",
    "address": {"city": "A", "odd": 1, "tags": ["t"], "zip": "1"},
    "others": [{"city": "B", "note": "kept"}, {"city": "C", "note": "kept too"}],
    "note": {"text": "n", "more": 1},
    "bag": {"deep": {"x": [1]}},
    "schema_version": 2,
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_loads_instances_of_the_class_itself(kind: str) -> None:
    model = declared(kind)
    people, _ = opened(model, STORED)
    person = people.find_one(OLD)
    assert type(person) is model
    assert (person.id, person.email, person.address.zip_code, person.age) == (OLD, "a", "1", 18)
    assert [type(found) for found in people.find({})] == [model]


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (lambda p: None, {}),
        (lambda p: put(p, "email", "b"), {"email": "b"}),
        (lambda p: put(p, "age", 19), {"age": 19}),
        (lambda p: put(p, "age", 18), {}),
        (lambda p: put(p.address, "city", "Z"), {"address": {**STORED["address"], "city": "Z"}}),
        (lambda p: put(p.address, "zip_code", "2"), {"address": {**STORED["address"], "zip": "2"}}),
        (lambda p: p.address.tags.append("u"), {"address": {**STORED["address"], "tags": ["t", "u"]}}),
        (lambda p: put(p.others[1], "city", "D"), {"others": [STORED["others"][0], {"city": "D", "note": "kept too"}]}),
        (lambda p: p.others.pop(0), {"others": [STORED["others"][1]]}),
        (lambda p: put(p.note, "text", "m"), {"note": {"text": "m", "more": 1}}),
        (lambda p: put(p, "note", None), {"note": None}),
        (lambda p: p.bag["deep"]["x"].append(2), {"bag": {"deep": {"x": [1, 2]}}}),
    ],
)
def test_the_difference_is_written_and_nothing_else(kind: str, change: Any, changed: dict[str, Any]) -> None:
    people, store = opened(declared(kind), STORED)
    person = people.find_one(OLD)
    change(person)
    people.save(person)
    assert bson.encode(store.documents()[0]) == bson.encode({**STORED, **changed})
    people.save(person, expect="unchanged")
    assert bson.encode(store.documents()[0]) == bson.encode({**STORED, **changed})


def test_defaults_that_nobody_changed_stay_away(kind: str) -> None:
    people, store = opened(declared(kind), {"_id": OLD, "x": 1, "schema_version": 2})
    person = people.find_one(OLD)
    people.save(person)
    assert store.documents() == [{"_id": OLD, "x": 1, "schema_version": 2}]
    put(person.address, "city", "A")
    people.save(person)
    assert store.documents()[0]["address"] == {"city": "A", "tags": [], "zip": ""}
    assert "others" not in store.documents()[0]


def test_outdated_documents_are_upgraded_and_saved(kind: str) -> None:
    people, store = opened(declared(kind), {"_id": OLD, "mail": "a", "kept": 1})
    person = people.find_one(OLD)
    assert person.email == "a"
    put(person, "age", 3)
    people.save(person)
    assert store.documents() == [{"_id": OLD, "kept": 1, "email": "a", "age": 3, "schema_version": 2}]


def test_a_new_one_is_inserted_once_and_gets_an_id(kind: str) -> None:
    model = declared(kind)
    people, store = opened(model)
    person = model(email="new")
    people.save(person)
    assert isinstance(person.id, bson.ObjectId)
    put(person, "email", "newer")
    people.save(person)
    assert [(found["_id"], found["email"]) for found in store.documents()] == [(person.id, "newer")]


def test_every_method_that_takes_models_takes_dataclasses(kind: str, people: People) -> None:
    model = declared(kind)
    schema = schema_of(model)
    lazy = LazyCollection(people, model)

    def made(identity: bson.ObjectId, email: str) -> Any:
        person = model(email=email)
        object.__setattr__(person, "id", identity)
        return person

    first = made(OLD, "1")
    assert lazy.insert_one(first).inserted_id == OLD
    lazy.insert_many([made(NEW, "2"), made(ANY, "3")])
    lazy.replace_one({"_id": OLD}, made(OLD, "one"))
    lazy.bulk_write([ReplaceOne({"_id": NEW}, made(NEW, "two")), InsertOne(model(email="4"))])
    before = lazy.find_one_and_replace({"_id": ANY}, made(ANY, "three"))
    assert type(before) is model
    assert before.email == "3"
    assert sorted(found["email"] for found in people.find()) == ["4", "one", "three", "two"]
    put(first, "age", 5)
    lazy.save(first)
    stored = people.find_one({"_id": OLD})
    assert stored is not None
    assert (stored["email"], stored["age"], stored["schema_version"]) == ("one", 5, 2)
    again = schema.load(stored)
    assert schema.dump(again) == {**stored}


def test_conflicts(kind: str, people: People) -> None:
    model = declared(kind)
    schema_of(model)
    people.insert_one(STORED)
    lazy = LazyCollection(people, model)
    person = lazy.find_one(OLD)
    people.update_one({}, {"$set": {"age": 77}})
    put(person, "email", "b")
    with pytest.raises(ConflictError):
        lazy.save(person, expect="unchanged")
    lazy.save(person)
    assert people.find_one() == {**STORED, "email": "b", "age": 77}
    people.delete_many({})
    put(person, "email", "c")
    with pytest.raises(ConflictError, match="deleted"):
        lazy.save(person)
    assert people.count_documents({}) == 0


async def test_with_an_async_driver(kind: str, people: People, mongo_uri: str) -> None:
    from pymongo import AsyncMongoClient

    model = declared(kind)
    schema_of(model)
    people.insert_one(STORED)
    async with AsyncMongoClient[dict[str, Any]](mongo_uri) as client:
        lazy = AsyncLazyCollection(client[people.database.name]["people"], model)
        person = await lazy.find_one(OLD)
        assert person is not None
        put(person, "email", "b")
        await lazy.save(person)
    assert people.find_one() == {**STORED, "email": "b"}


def test_a_transaction_that_was_aborted(kind: str, client: MongoClient[dict[str, Any]], people: People) -> None:
    model = declared(kind)
    schema_of(model)
    people.insert_one(STORED)
    lazy = LazyCollection(people, model)
    person = model(email="new")
    with client.start_session() as session:
        session.start_transaction()
        lazy.save(person, session=session)
        session.abort_transaction()
    lazy.save(person)
    assert people.count_documents({"email": "new"}) == 1


def test_what_is_remembered_does_not_show(kind: str) -> None:
    model = declared(kind)
    people, _ = opened(model, STORED)
    loaded, again = people.find_one(OLD), people.find_one(OLD)
    made = model(
        **{field.name: getattr(again, field.name) for field in dataclasses.fields(model) if field.name != "id"}
    )
    object.__setattr__(made, "id", OLD)
    assert loaded == again == made
    assert repr(loaded) == repr(made)
    assert dataclasses.asdict(loaded) == dataclasses.asdict(made)
    assert dataclasses.astuple(loaded) == dataclasses.astuple(made)
    assert copy.copy(loaded) == made
    assert copy.deepcopy(loaded) == made
    assert pydantic.TypeAdapter(model).dump_json(loaded) == pydantic.TypeAdapter(model).dump_json(made)


@dataclasses.dataclass(frozen=True)
class Held:
    id: Annotated[int, Field(alias="_id")]
    email: str = ""


@dataclasses.dataclass(frozen=True, slots=True, weakref_slot=True)
class Slotted:
    id: Annotated[int, Field(alias="_id")]
    email: str = ""


def fresh(model: type[Any]) -> type[Any]:
    """The same class as one that no schema has; pickle finds it by its name."""
    del_name = "__lazymigrate_schema__"
    if del_name in vars(model):
        delattr(model, del_name)
    return model


@pytest.mark.parametrize("model", [Held, Slotted])
def test_instances_can_be_pickled_and_replaced(model: Any) -> None:
    people, store = opened(fresh(model), {"_id": 1, "email": "a", "kept": 1, "schema_version": 2})
    person = people.find_one(1)
    assert hash(person) == hash(model(1, "a"))
    travelled = pickle.loads(pickle.dumps(person))
    assert travelled == person
    replaced = dataclasses.replace(person, email="b")
    assert replaced == model(1, "b")
    with pytest.raises(DuplicateKeyError):  # it is a new instance, made by its constructor; nothing is overwritten
        people.save(replaced)
    object.__setattr__(travelled, "email", "c")
    if model is Held:
        people.save(travelled)
        assert store.documents() == [{"_id": 1, "email": "c", "kept": 1, "schema_version": 2}]
    else:
        with pytest.raises(DuplicateKeyError):
            people.save(travelled)


@pytest.mark.parametrize("kind", HOLDING)
def test_copies_know_where_they_came_from(kind: str) -> None:
    people, store = opened(declared(kind), STORED)
    loaded = people.find_one(OLD)
    for copied, email in ((copy.copy(loaded), "b"), (copy.deepcopy(loaded), "c")):
        put(copied, "email", email)
        people.save(copied)
        assert store.documents() == [{**STORED, "email": email}]


@pytest.mark.parametrize("kind", ASIDE)
def test_what_is_remembered_of_instances_that_are_gone_is_dropped(kind: str) -> None:
    model = declared(kind)
    people, _ = opened(model, *({**STORED, "_id": bson.ObjectId()} for _ in range(50)))
    adapter = people.schema.adapter
    assert adapter is not None
    table = adapter._aside
    assert table is not None
    held = list(people.find({}))
    for person in held:
        put(person, "age", 7)
        people.save(person)
    assert len(table) == 50
    del held, person
    gc.collect()
    assert table == {}


def test_defaults_that_are_another_each_time(kind: str) -> None:
    counter = itertools.count()

    class Item:
        q: int
        key: str = dataclasses.field(default_factory=lambda: uuid4().hex)

    Inner = KINDS[kind](Item)

    class Cart:
        id: Identity = dataclasses.field(default_factory=bson.ObjectId)
        number: int = dataclasses.field(default_factory=lambda: next(counter))
        items: list[Inner] = dataclasses.field(default_factory=list)  # type: ignore[valid-type]

    Cart.__annotations__["items"] = list[Inner]  # type: ignore[valid-type]
    stored = {"_id": OLD, "items": [{"q": 1, "more": 1}], "schema_version": 2}
    carts, store = opened(KINDS[kind](Cart), stored)
    cart = carts.find_one(OLD)
    carts.save(cart)
    assert store.documents() == [stored]
    put(cart.items[0], "q", 2)
    carts.save(cart)
    carts.save(cart)
    assert store.documents() == [{**stored, "items": [{"q": 2, "more": 1}]}]
    put(cart, "number", 1000)
    carts.save(cart)
    assert store.documents() == [{**stored, "items": [{"q": 2, "more": 1}], "number": 1000}]


def test_what_post_init_makes_is_no_change() -> None:
    @dataclasses.dataclass
    class Thing:
        id: Annotated[int, Field(alias="_id")]
        key: str = ""
        length: int = dataclasses.field(init=False)

        def __post_init__(self) -> None:
            self.key = self.key or uuid4().hex
            self.length = len(self.key)

    things, store = opened(Thing, {"_id": 1, "schema_version": 2})
    thing = things.find_one(1)
    assert thing.length == 32
    things.save(thing)
    assert store.documents() == [{"_id": 1, "schema_version": 2}]
    things.insert_one(Thing(2, "abc"))
    assert store.documents()[1] == {"_id": 2, "key": "abc", "schema_version": 2}


def test_extra_fields() -> None:
    @pydantic.dataclasses.dataclass(config=ConfigDict(extra="forbid"))
    class Strict:
        id: Annotated[int, Field(alias="_id")]
        email: str = ""

    people, store = opened(Strict, {"_id": 1, "mail": "a"}, {"_id": 2, "more": "canary", "schema_version": 2})
    person = people.find_one(1)
    person.email = "b"
    people.save(person)
    assert store.documents()[0] == {"_id": 1, "email": "b", "schema_version": 2}
    with pytest.raises(ModelError, match="more") as caught:
        people.find_one(2)
    assert "canary" not in str(caught.value)

    @pydantic.dataclasses.dataclass(config=ConfigDict(extra="allow"))
    class Open:
        id: Annotated[int, Field(alias="_id")]

    things, store = opened(Open, {"_id": 1, "more": {"x": [1]}, "gone": 1, "schema_version": 2})
    thing = things.find_one(1)
    things.save(thing)
    thing.more["x"].append(2)
    del thing.gone
    things.save(thing)
    assert store.documents() == [{"_id": 1, "more": {"x": [1, 2]}, "schema_version": 2}]


class NamedModel(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    id: int = Field(alias="_id")
    bag: dict[str, Any] = Field(default={}, alias="sack")


class ChoosingModel(BaseModel):
    id: int = Field(alias="_id")
    sack: dict[str, Any] = Field(default={}, validation_alias=AliasChoices("sack", "bag"))

    @property
    def bag(self) -> dict[str, Any]:
        return self.sack


@pytest.mark.parametrize("model", [NamedModel, ChoosingModel])
def test_what_a_model_read_by_another_name_is_not_shared_with_the_document(model: Any) -> None:
    people, store = opened(fresh(model), {"_id": 1, "bag": {"x": [1]}, "schema_version": 2})
    person = people.find_one(1)
    person.bag["x"].append(2)
    people.save(person)
    assert store.documents()[0]["sack"] == {"x": [1, 2]}


@pytest.mark.parametrize("kind", ["pydantic", "standard", "standard slots"])
def test_the_configuration_of_a_standard_dataclass_and_names_beside_aliases(kind: str) -> None:
    class Named:
        __pydantic_config__ = ConfigDict(populate_by_name=True)
        id: Annotated[int, Field(alias="_id")]
        bag: Annotated[dict[str, Any], Field(alias="sack")] = dataclasses.field(default_factory=dict)

    people, store = opened(
        KINDS[kind](Named),
        {"_id": 1, "bag": {"x": [1]}, "schema_version": 2},
    )
    person = people.find_one(1)
    person.bag["x"].append(2)
    people.save(person)
    assert store.documents()[0]["sack"] == {"x": [1, 2]}


def test_a_version_field_is_filled_and_wrong_values_are_named(kind: str) -> None:
    class Stamped:
        id: Annotated[int, Field(alias="_id")]
        schema_version: int = 0

    model = KINDS[kind](Stamped)
    people, store = opened(model, {"_id": 1}, {"_id": "canary"})
    person = people.find_one(1)
    assert person.schema_version == 2
    people.save(person)
    with pytest.raises(ModelError, match="_id") as caught:
        list(people.find({}))
    assert "canary" not in str(caught.value).split("does not fit")[1]
    object.__setattr__(person, "schema_version", 9)
    people.save(person)
    assert store.documents()[0] == {"_id": 1, "schema_version": 2}


def test_a_dataclass_that_contains_itself() -> None:
    people, store = opened(
        fresh(Node), {"_id": 1, "below": [{"_id": 2, "bag": {"x": [1]}, "odd": 1}], "schema_version": 2}
    )
    node = people.find_one(1)
    node.below[0].bag["x"].append(2)
    people.save(node)
    assert store.documents()[0]["below"] == [{"_id": 2, "bag": {"x": [1, 2]}, "odd": 1}]


@dataclasses.dataclass
class Node:
    id: Annotated[int, Field(alias="_id")]
    below: list[Node] = dataclasses.field(default_factory=list)
    bag: dict[str, Any] = dataclasses.field(default_factory=dict)


def test_names_of_a_function_are_found_where_the_model_is_declared() -> None:
    @dataclasses.dataclass
    class Leaf:
        x: int = 0

    for config in ({}, {"defer_build": True}):
        schema = Schema("things")

        @schema.model
        @dataclasses.dataclass
        class Tree:
            id: Annotated[int, Field(alias="_id")]
            leaf: Leaf
            __pydantic_config__ = config

        assert schema.load({"_id": 1, "leaf": {"x": 2}}) == Tree(1, Leaf(2))


def refused(model: Any, match: str) -> None:
    schema = Schema("things")
    with pytest.raises(SchemaError, match=match):
        schema.model(model)
    assert schema.adapter is None
    assert "__lazymigrate_schema__" not in vars(model)


@pytest.mark.parametrize("decorate", [dataclasses.dataclass, pydantic.dataclasses.dataclass])
def test_slots_without_a_place_for_weak_references_are_refused(decorate: Any) -> None:
    @decorate(slots=True)
    class Thing:
        id: Annotated[int, Field(alias="_id")]

    refused(Thing, r"weakref_slot=True\), or give it a base class with __slots__ = \(\"__weakref__\",\)\.$")


def test_a_base_class_with_the_slot_will_do() -> None:
    class Referable:
        __slots__ = ("__weakref__",)

    @pydantic.dataclasses.dataclass(slots=True)
    class Thing(Referable):
        id: Annotated[int, Field(alias="_id")]
        email: str = ""

    things, store = opened(Thing, {"_id": 1, "kept": 1, "schema_version": 2})
    thing = things.find_one(1)
    thing.email = "b"
    things.save(thing)
    assert store.documents() == [{"_id": 1, "kept": 1, "schema_version": 2, "email": "b"}]


def test_what_cannot_be_a_model_is_refused() -> None:
    class Plain:
        id: int

    @dataclasses.dataclass
    class Skewed:
        id: Annotated[int, Field(validation_alias=AliasChoices("a", "b"), serialization_alias="c")]

    @dataclasses.dataclass
    class Derived:
        id: int
        twice: int = dataclasses.field(default=0, init=False)

    @dataclasses.dataclass
    class Given:
        id: int
        seed: dataclasses.InitVar[int]

    @dataclasses.dataclass
    class Foreign:
        id: Plain

    @dataclasses.dataclass
    class Early:
        id: Later  # type: ignore[name-defined]  # noqa: F821

    @dataclasses.dataclass
    class Empty:
        pass

    refused(Plain, "neither a pydantic model")
    refused(Skewed, "written as 'c' and read as a, b")
    refused(Derived, "init=False")
    refused(Given, "InitVar")
    with pytest.raises(SchemaError, match="Plain"):
        Schema("things").model(Foreign)
    refused(Early, "Later")
    refused(Empty, "no fields")


def test_a_subclass_with_other_fields_is_not_cut_short() -> None:
    @dataclasses.dataclass
    class Thing:
        id: Annotated[int, Field(alias="_id")]

    @dataclasses.dataclass
    class Wider(Thing):
        more: int = 0

    class Same(Thing):
        pass

    things, store = opened(Thing)
    with pytest.raises(TypeError, match="other fields"):
        things.insert_one(Wider(1, 2))
    things.insert_one(Same(1))
    assert store.documents() == [{"_id": 1, "schema_version": 2}]
