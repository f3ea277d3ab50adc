"""Whole chains inside MongoDB: what `pipeline` does under `safe_filter` is what `upgrade` does, and the rest is left alone."""

from __future__ import annotations

import random
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lifecycle import unordered
from pymongo.collection import Collection
from schemas import users
from strategies import documents
from test_odd_documents import raws
from test_ops import operations

from lazymigrate import Schema, SchemaError, UpgradeError, ops
from lazymigrate.drivers.memory import CODEC
from lazymigrate.operation import Operation

People = Collection[dict[str, Any]]


def in_revisions(chain: list[Operation], per_revision: int) -> Schema:
    schema = Schema("people")
    for version, start in enumerate(range(0, len(chain), per_revision), 2):
        try:
            schema.revision(version, *chain[start : start + per_revision])
        except SchemaError:
            assume(condition=False)
    return schema


def fields(raw: bytes) -> dict[str, bytes]:
    """A document's fields, each as bytes: their order aside, which may differ for one that was removed and set again."""
    document = unordered(bson.decode(raw, CODEC))
    return {name: bson.encode({"": value}, codec_options=CODEC) for name, value in document.items()}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    chain=st.lists(operations(), min_size=1, max_size=6),
    per_revision=st.integers(1, 3),
    found=st.lists(documents, min_size=4, max_size=12),
    cheapest=st.booleans(),
)
def test_a_chain_inside_mongodb_does_what_python_does(
    people: People,
    chain: list[Operation],
    per_revision: int,
    found: list[dict[str, Any]],
    cheapest: bool,
) -> None:
    schema = in_revisions(chain, per_revision)
    before = {n: bson.encode({"_id": n, **document}, codec_options=CODEC) for n, document in enumerate(found)}
    people.delete_many({})
    people.insert_many([RawBSONDocument(raw) for raw in before.values()])
    admitted = {document["_id"] for document in people.find(schema.safe_filter(1), {"_id": 1})}
    ways = schema.updates(1) if cheapest else [(schema.safe_filter(1), schema.pipeline(1))]
    assert sum(people.update_many(*way).matched_count for way in ways) == len(admitted)
    after = raws(people)
    for identity, raw in before.items():
        if identity in admitted:
            expected = bson.encode(schema.upgrade(bson.decode(raw, CODEC)), codec_options=CODEC)
            assert fields(after[identity]) == fields(expected)
        else:
            assert after[identity] == raw


def test_ordinary_documents_are_admitted_and_done_in_few_stages(people: People) -> None:
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email"), ops.add("active", value=True), ops.remove("legacy"))
    schema.revision(3, ops.rename("name", "full_name"), ops.convert("age", "int"))
    schema.revision(4, ops.rename("email", "contact.email"))
    chance = random.Random(1)
    stored = [
        {"_id": n, "name": f"P {n}", "mail": f"{n}@x", "legacy": 1, "age": chance.choice([n, float(n), str(n)])}
        for n in range(100)
    ]
    people.insert_many([dict(document) for document in stored])
    people.insert_one({"_id": "other version", "name": "x", "schema_version": 2})
    assert people.update_many(schema.safe_filter(1), schema.pipeline(1)).modified_count == 100
    for document in stored:
        assert bson.encode(people.find_one({"_id": document["_id"]}) or {}) == bson.encode(schema.upgrade(document))
    assert len(schema.pipeline(1, to=2)) == 1
    assert schema.pipeline(4) == [{"$set": {"schema_version": {"$literal": 4}}}]


def test_the_cheapest_exact_update_comes_first(people: People) -> None:
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email"))
    schema.revision(3, ops.remove("legacy"), ops.add("kind", "person"))
    narrow, rest = schema.updates(1)
    assert narrow.update == {
        "$rename": {"mail": "email"},
        "$set": {"kind": "person", "schema_version": 3},
        "$unset": {"legacy": ""},
    }
    assert {"email": {"$exists": False}} in narrow.filter["$and"]
    assert rest == (schema.safe_filter(1), schema.pipeline(1))
    stored = [
        {"mail": "a", "legacy": 1, "note": None},
        {"schema_version": None, "mail": None},
        {"schema_version": 1.0, "legacy": 2},
        {"kind": "other", "mail": "b"},
        {"email": "there", "kind": None},
        {"email": "there", "mail": "both"},
        {"schema_version": 2, "mail": "of revision 2"},
    ]
    people.insert_many([{"_id": n, **document} for n, document in enumerate(stored)])
    before = raws(people)
    assert [people.update_many(*update).modified_count for update in schema.updates(1)] == [3, 2]
    after = raws(people)
    for n, raw in before.items():
        document = bson.decode(raw, CODEC)
        left_alone = n in (5, 6)
        assert after[n] == (raw if left_alone else bson.encode(schema.upgrade(document), codec_options=CODEC))


def test_operators_are_only_used_where_new_fields_keep_their_order(people: People) -> None:
    people.insert_one({"_id": 1, "x": 1})
    people.update_one({}, {"$rename": {"x": "b"}, "$set": {"a": 1}})
    assert list(people.find_one() or {}) == ["_id", "a", "b"]  # what a rename and then an add must not give

    def update(*operations: Operation) -> Any:
        schema = Schema("people")
        schema.revision(2, *operations)
        return schema.updates(1)[0].update

    assert isinstance(update(ops.add("a", 1), ops.rename("x", "b")), dict)
    assert isinstance(update(ops.remove("a")), dict)
    for others in (
        [ops.rename("x", "b"), ops.add("a", 1)],  # the server would put a first
        [ops.add("zip", "")],  # ... and the stamp before it
        [ops.convert("age", "int"), ops.add("a", 1)],  # no operator does this
        [ops.add("a.b", 1)],
    ):
        assert isinstance(update(*others), list)
    assert update(ops.rename("x", "b"), ops.add("a", 1)) == [
        {"$set": {"b": "$x", "a": {"$literal": 1}, "schema_version": {"$literal": 2}, "x": "$$REMOVE"}}
    ]


def test_a_plain_function_on_the_way_is_named() -> None:
    schema = users()
    for ask in (schema.pipeline, schema.safe_filter, schema.updates):
        with pytest.raises(SchemaError, match="revision 2 'split_name' is a plain function"):
            ask(1)
    assert schema.pipeline(2)
    with pytest.raises(ValueError, match="below"):
        schema.pipeline(3, to=2)
    with pytest.raises(ValueError, match="to=9"):
        schema.pipeline(2, to=9)


def test_call_and_compute_among_operations() -> None:
    schema = Schema("people")
    schema.revision(2, ops.call(lambda document: document.update(b=document["a"] + 1), touches={"b"}, reads={"a"}))
    schema.revision(3, ops.compute("seen", python=sorted, mongo={"$literal": 0}))
    assert [revision.declared for revision in schema.revisions] == [False, True]
    assert [revision.fields for revision in schema.revisions] == [{"a", "b"}, None]
    upgraded = schema.upgrade({"_id": 1, "a": 1, "schema_version": 1})
    assert upgraded == {"_id": 1, "a": 1, "b": 2, "seen": ["_id", "a", "b"], "schema_version": 3}
    with pytest.raises(UpgradeError):
        schema.upgrade({"_id": 1})
    schema = Schema("people")
    schema.revision(2, ops.call(lambda document: document, touches={"a"}))  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="returned"):
        schema.upgrade({"_id": 1})
