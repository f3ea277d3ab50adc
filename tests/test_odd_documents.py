"""Documents that decoding and encoding would change: upgraded by compare-and-set, every untouched byte as it was."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from pymongo.collection import Collection

from lazymigrate import LazyCollection, Policy, Schema, ops
from lazymigrate.change import Change, CompareAndSet, Unchanged
from lazymigrate.commands import CompareAndSetMany
from lazymigrate.drivers import memory
from lazymigrate.drivers.memory import CODEC
from lazymigrate.drivers.pymongo import PymongoDriver
from lazymigrate.elements import elements, only


def element(code: int, name: str, payload: bytes) -> bytes:
    return bytes([code]) + name.encode() + b"\0" + payload


def document(*parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def encoded(**fields: Any) -> bytes:
    return bson.encode(fields)[4:-1]


def int32(name: str, value: int) -> bytes:
    return element(0x10, name, struct.pack("<i", value))


IDENTITY = encoded(_id=1)
TWICE = document(int32("z", 1), int32("z", 2))

ODD = {
    "nan": encoded(nan=float("nan")),
    "negative zero": encoded(zero=-0.0),
    "int64": encoded(long=Int64(5)),
    "decimal": encoded(price=Decimal128("1.10"), nan=Decimal128("NaN")),
    "dotted name": encoded(**{"a.b": 1, "a": {"b": 2}}),
    "dollar name": encoded(**{"$dollar": 1, "$$ROOT": 2}),
    "dollar strings": encoded(text="$first_name", root="$$ROOT"),
    "undefined": element(0x06, "undefined", b""),
    "symbol": element(0x0E, "symbol", struct.pack("<i", 3) + b"hi\0"),
    "year 10000": element(0x09, "when", struct.pack("<q", 253402300800000)),
    "year -1": element(0x09, "when", struct.pack("<q", -62198755200000)),
    "equal keys": int32("a", 1) + int32("a", 2),
    "equal keys inside": element(0x03, "inside", TWICE),
    "equal keys in an array": element(0x04, "list", document(element(0x03, "0", TWICE))),
    "regex and code": encoded(regex=bson.Regex("a.*", "i"), code=bson.Code("x", {"y": 1})),
    "empty": encoded(empty={}, none=None, list=[], text=""),
    "deep": encoded(deep={"a": {"b": {"c": {"d": {"e": [{"f": 1}]}}}}}),
}


def by_function() -> Schema:
    schema = Schema("people")

    @schema.revision(2)
    def change(person: dict[str, Any]) -> None:
        person["doubled"] = person.pop("n") * 2
        person["settings"]["theme"] = "dark"
        person["$new"] = "$n"
        person["new.dotted"] = 1

    return schema


def by_operations() -> Schema:
    schema = Schema("people")
    schema.revision(2, ops.rename("n", "doubled"), ops.add("settings.theme", "dark"), ops.remove("gone"))
    return schema


def raws(people: Collection[dict[str, Any]]) -> dict[Any, bytes]:
    codec = people.codec_options.with_options(document_class=RawBSONDocument)
    stored = [bytes(raw.raw) for raw in people.with_options(codec_options=codec).find()]
    return {bson.decode(raw, CODEC)["_id"]: raw for raw in stored}


def parts(raw: bytes) -> list[tuple[str, bytes]]:
    return [(name, raw[start:end]) for name, start, end in elements(raw)]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("declare", [by_function, by_operations])
@pytest.mark.parametrize("way", ["find_one", "find", "sweep"])
def test_every_untouched_field_is_byte_identical(
    people: Collection[dict[str, Any]], odd: str, declare: Any, way: str
) -> None:
    settings = element(0x03, "settings", document(int32("size", 1), ODD["equal keys inside"]))
    stored = document(IDENTITY, int32("n", 4), ODD[odd], settings, int32("gone", 1), int32("last", 1))
    people.insert_one(RawBSONDocument(stored))
    assert raws(people)[1] == stored
    lazy = LazyCollection(people, declare(), Policy(write_back=True))
    if way == "find_one":
        lazy.find_one({})
    elif way == "find":
        list(lazy.find())
    else:
        assert lazy.sweep().complete
    upgraded = raws(people)[1]
    touched = {"n", "doubled", "settings", "gone", "$new", "new.dotted", "schema_version"}
    untouched = [part for part in parts(stored) if part[0] not in touched]
    assert [part for part in parts(upgraded) if part[0] not in touched] == untouched
    inner = dict(parts(upgraded))["settings"][len("settings") + 2 :]
    assert parts(inner)[:2] == parts(document(int32("size", 1), ODD["equal keys inside"]))
    assert dict(parts(inner))["theme"] == encoded(theme="dark")
    found = bson.decode(upgraded, CODEC)
    assert found["schema_version"] == 2
    assert found["doubled"] == (8 if declare is by_function else 4)
    if declare is by_function:
        assert (found["$new"], found["new.dotted"], found["gone"]) == ("$n", 1, 1)


def subdocument(name: str, *inner: bytes) -> bytes:
    return element(0x03, name, document(*inner))


MEETING_EQUAL_KEYS = {
    "a renamed field": (ops.rename("a", "b"), [int32("a", 1), int32("a", 2)]),
    "a renamed field of a subdocument": (ops.rename("s.a", "b"), [subdocument("s", int32("a", 1), int32("a", 2))]),
    "a removed field": (ops.remove("a"), [int32("a", 1), int32("a", 2)]),
    "a removed field of a subdocument": (ops.remove("s.a"), [subdocument("s", int32("a", 1), int32("a", 2))]),
    "a field that is there": (ops.add("a", 1), [int32("a", 1), int32("a", 2)]),
    "a target": (ops.rename("a", "b", on_conflict="keep_old"), [int32("a", 1), int32("b", 2), int32("b", 3)]),
    "a converted field": (ops.convert("a", "string"), [int32("a", 1), int32("a", 2)]),
    "a replaced value": (ops.replace_values("a", {1: "x", 2: "y"}), [int32("a", 1), int32("a", 2)]),
    "a wrapped value": (ops.wrap("a"), [int32("a", 1), int32("a", 2)]),
    "a copied value": (ops.copy("a", "b"), [int32("a", 1), int32("a", 2)]),
    "a nested field": (ops.nest(["a"], "s"), [int32("a", 1), int32("a", 2)]),
    "beside a field that is set again": (
        ops.within("s", ops.rename("a", "b"), ops.add("a", 1)),
        [subdocument("s", int32("z", 1), int32("z", 2), int32("a", 1))],
    ),
    "in an element": (
        ops.each("l", ops.rename("a", "b"), ops.add("a", 1)),
        [element(0x04, "l", document(subdocument("0", int32("z", 1), int32("z", 2), int32("a", 1))))],
    ),
}


@pytest.mark.parametrize("case", MEETING_EQUAL_KEYS)
def test_a_change_that_meets_equal_keys_is_never_sent_as_a_pipeline(
    people: Collection[dict[str, Any]], case: str
) -> None:
    """It would end a MongoDB 6.0.5."""
    operation, inner = MEETING_EQUAL_KEYS[case]
    schema = Schema("people")
    schema.revision(2, operation)
    stored = document(IDENTITY, int32("n", 4), *inner, element(0x02, "text", b"\2\0\0\0x\0"))
    people.insert_one(RawBSONDocument(stored))
    assert people.count_documents(schema.safe_filter(1)) == 0
    upgraded = schema.upgrade(bson.decode(stored, CODEC))
    assert LazyCollection(people, schema, Policy(write_back=True)).find_one({}) == upgraded
    assert bson.decode(raws(people)[1], CODEC) == upgraded
    people.replace_one({}, RawBSONDocument(stored))
    assert LazyCollection(people, schema).sweep().complete
    assert bson.decode(raws(people)[1], CODEC) == upgraded


def test_a_save_that_meets_equal_keys_reads_the_document_first(people: Collection[dict[str, Any]]) -> None:
    schema = Schema("people")

    @schema.model
    class Person(BaseModel):
        id: int = Field(alias="_id")
        n: int
        s: dict[str, Any]

    twice = subdocument("s", int32("a", 1), int32("a", 2))
    people.insert_one(
        RawBSONDocument(document(IDENTITY, int32("n", 1), int32("n", 2), twice, int32("k", 1), int32("k", 2)))
    )
    lazy = LazyCollection(people, Person)
    person = lazy.find_one({})
    assert person is not None
    person.n, person.s["a"] = 7, 8
    lazy.save(person)
    kept = document(IDENTITY, int32("n", 7), subdocument("s", int32("a", 8)), int32("k", 1), int32("k", 2))
    stamped = people.find_one({}) or {}
    assert (stamped["n"], stamped["s"], stamped["k"]) == (7, {"a": 8}, 2)
    assert parts(raws(people)[1])[: len(parts(kept))] == parts(kept)


@pytest.mark.parametrize("declare", [by_function, by_operations])
def test_a_document_of_15_megabytes(people: Collection[dict[str, Any]], declare: Any) -> None:
    big = {"_id": 1, "n": 2, "settings": {}, "pad": "x" * (15 * 1024 * 1024)}
    people.insert_one(big)
    assert LazyCollection(people, declare(), Policy(write_back=True)).find_one({})["schema_version"] == 2
    stored = people.find_one({})
    assert stored is not None
    assert (stored["schema_version"], stored["settings"], len(stored["pad"])) == (
        2,
        {"theme": "dark"},
        15 * 1024 * 1024,
    )
    assert stored["doubled"] in (2, 4)


def test_many_fields_removed_and_set_at_once(people: Collection[dict[str, Any]]) -> None:
    schema = Schema("people")

    @schema.revision(2)
    def replace_all(person: dict[str, Any]) -> None:
        for key in [key for key in person if key.startswith("old")]:
            person[key.replace("old", "new.")] = person.pop(key)

    stored = {"_id": 1, **{f"old{n}": {"v": n} for n in range(300)}, "kept": 1}
    people.insert_one(stored)
    arrived = LazyCollection(people, schema, Policy(write_back=True)).find_one({})
    assert (
        arrived
        == people.find_one({})
        == {
            "_id": 1,
            "kept": 1,
            "schema_version": 2,
            **{f"new.{n}": {"v": n} for n in range(300)},
        }
    )


def test_an_ignoring_collation_does_not_weaken_the_guard(db: Any) -> None:
    people = db.create_collection("people", collation={"locale": "en", "strength": 1})
    people.insert_one({"_id": ObjectId(), "name": "Bob"})
    raw = next(iter(raws(people).values()))
    command = CompareAndSet(raw, Unchanged(raw, plain=True), Change({"seen": "Bob"}))
    people.update_one({}, {"$set": {"name": "BOB"}})
    assert PymongoDriver(people, people).carry_out(CompareAndSetMany([command])).won == 0
    assert people.find_one({}, {"_id": 0}) == {"name": "BOB"}


names = st.sampled_from(["a", "b", "c", "a.b", "$a", "", "ä"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.sampled_from(["", "$a", "$$ROOT", "text"]),
    st.sampled_from([Int64(1), Decimal128("1.0"), datetime(2020, 1, 1), b"x", ObjectId("0" * 24)]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8
)
documents = st.dictionaries(names, values, max_size=5)


@pytest.mark.parametrize("plain", [True, False])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=documents, after=documents)
def test_any_change_is_stored_as_it_was_decided(
    people: Collection[dict[str, Any]], plain: bool, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """In both spellings of the compare-and-set, on the server and in memory, byte by byte."""
    people.delete_many({})
    raw = bson.encode({"_id": 1, **before})
    people.insert_one(RawBSONDocument(raw))
    change = Change.between(bson.decode(raw, CODEC), bson.decode(bson.encode({"_id": 1, **after}), CODEC))
    expected = bson.decode(raw, CODEC)
    change.apply(expected)
    command = CompareAndSet(raw, Unchanged(raw, plain=plain), change)
    won = PymongoDriver(people, people).carry_out(CompareAndSetMany([command]))
    assert won.won == (0 if change.empty else 1)
    assert raws(people)[1] == memory.spliced(raw, change) == bson.encode(expected, codec_options=CODEC)
    wanted = {"_id": 1, **after}
    assert {key: bson.encode({"v": value}) for key, value in expected.items()} == {
        key: bson.encode({"v": value}) for key, value in wanted.items()
    }


@settings(max_examples=300, deadline=None)
@given(documents)
def test_a_raw_document_is_cut_at_its_fields(fields: dict[str, Any]) -> None:
    raw = bson.encode(fields)
    assert [name for name, _, _ in elements(raw)] == list(fields)
    for name, value in fields.items():
        assert only(raw, (name,)) == bson.encode({name: value})
