"""A collection of mixed versions, upgraded by one stage inside MongoDB: byte for byte what Python does, or as stored."""

from __future__ import annotations

import os
import random
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from schemas import declared, users
from strategies import documents
from test_chains import draw_document, draw_schema
from test_odd_documents import ODD, document, encoded, int32
from test_ops import operations
from test_pipeline import in_revisions
from test_versions import INVALID

from lazymigrate import Schema, SchemaError, UpgradeError, mixed, ops
from lazymigrate.drivers.memory import CODEC
from lazymigrate.exceptions import LazyMigrateError
from lazymigrate.mixed import Pending, prepend, upgrade_stages
from lazymigrate.operation import Operation

CHAINS = int(os.environ.get("LAZYMIGRATE_MIXED", "120"))
DOCUMENTS = 14
RAW: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)

People = Collection[dict[str, Any]]


def stamp_of(chance: random.Random, version: int) -> dict[str, Any]:
    """A stamp that stands for a version, in any type that it may have."""
    if version == 1 and chance.random() < 0.7:
        return chance.choice([{}, {"schema_version": None}])
    number = chance.choice([int, Int64, float, lambda number: Decimal128(f"{number}.0")])
    return {"schema_version": number(version)}


def draw_mixed(chance: random.Random, schema: Schema, number: int) -> bytes:
    """A document at any version, ahead included; now and then with a stamp that is none, or a shape that does not fit."""
    drawn = draw_document(chance, number)
    version = chance.randint(1, schema.head + 1)
    if chance.random() < 0.15:
        return bson.encode({**drawn, "schema_version": chance.choice(INVALID)}, codec_options=CODEC)
    try:
        drawn = schema.upgrade(drawn, to=min(version, schema.head))
        del drawn["schema_version"]
    except UpgradeError:
        pass  # it stays at its old shape, under a newer stamp
    stamp = stamp_of(chance, version)
    placed = {**stamp, **drawn} if chance.random() < 0.3 else {**drawn, **stamp}
    return bson.encode({"_id": number, **placed}, codec_options=CODEC)


def upgraded(people: People, schema: Schema, **options: Any) -> dict[Any, bytes]:
    found = people.with_options(codec_options=RAW).aggregate(upgrade_stages(schema), **options)
    return {bson.decode(raw.raw, CODEC)["_id"]: bytes(raw.raw) for raw in found}


def admitted(people: People, schema: Schema) -> set[Any]:
    """The documents on which the chain of their version is exact."""
    return {
        found["_id"]
        for version in range(schema.oldest, schema.settled)
        for found in people.find(schema.safe_filter(version), {"_id": 1})
    }


def compare(people: People, schema: Schema, stored: dict[Any, bytes]) -> tuple[int, int]:
    """How many documents are at head now, and how many differ from what they should be."""
    safe = admitted(people, schema)
    given = upgraded(people, schema)
    assert given.keys() == stored.keys()
    wrong = 0
    for identity, raw in stored.items():
        expected = raw
        if identity in safe:
            expected = bson.encode(schema.upgrade(bson.decode(raw, CODEC)), codec_options=CODEC)
        wrong += given[identity] != expected
    return len(safe), wrong


def fill(people: People, raws: list[bytes]) -> dict[Any, bytes]:
    people.delete_many({})
    people.insert_many([RawBSONDocument(raw) for raw in raws])
    return {bson.decode(raw, CODEC)["_id"]: raw for raw in raws}


def run(people: People, first: int, chains: int) -> tuple[int, int, int]:
    pairs = exact = wrong = 0
    for seed in range(first, first + chains):
        chance = random.Random(seed)
        schema = draw_schema(chance)
        stored = fill(people, [draw_mixed(chance, schema, number) for number in range(DOCUMENTS)])
        safe, differing = compare(people, schema, stored)
        pairs, exact, wrong = pairs + len(stored), exact + safe, wrong + differing
    return pairs, exact, wrong


def test_documents_of_mixed_versions_come_as_python_upgrades_them_or_as_stored(people: People) -> None:
    pairs, exact, wrong = run(people, 7_000, CHAINS)
    assert wrong == 0
    assert exact > 0.3 * pairs


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    chain=st.lists(operations(), min_size=1, max_size=6),
    per_revision=st.integers(1, 3),
    found=st.lists(st.tuples(documents, st.integers(1, 5)), min_size=4, max_size=12),
)
def test_operations_on_the_same_few_fields_do_so_too(
    people: People, chain: list[Operation], per_revision: int, found: list[tuple[dict[str, Any], int]]
) -> None:
    schema = in_revisions(chain, per_revision)
    raws = [{"_id": n, **drawn, "schema_version": version} for n, (drawn, version) in enumerate(found)]
    stored = fill(people, [bson.encode(raw, codec_options=CODEC) for raw in raws])
    assert compare(people, schema, stored)[1] == 0


class Unchecked(Pending):
    """A mutant: every document is taken for safe."""

    def safe(self, document: Any) -> Any:
        return True


class Always(Pending):
    """A mutant: an operation that a document has behind it is applied again."""

    @property
    def _passed(self) -> Any:
        return False


@pytest.mark.parametrize("mutant", [Unchecked, Always])
def test_a_mutant_of_the_operations_is_caught(people: People, monkeypatch: pytest.MonkeyPatch, mutant: Any) -> None:
    monkeypatch.setattr(mixed, "Pending", mutant)
    try:
        wrong = run(people, 7_000, 15)[2]
    except OperationFailure as error:  # an operation met what it is not defined on, inside MongoDB
        wrong = error.code or -1
    assert wrong != 0


def stamps() -> list[bytes]:
    odd = [*INVALID, 1, 2, 3, 4, 1.0, 2.0, Decimal128("2.0"), Int64(1), None]
    raws = [bson.encode({"_id": n, "name": "x", "mail": "m", "schema_version": v}) for n, v in enumerate(odd)]
    undefined = document(int32("_id", 1000), b"\x06schema_version\0", encoded(name="x"))
    return [*raws, undefined, bson.encode({"_id": 1001, "name": "y"})]


def test_only_the_stamps_of_outdated_versions_count_as_such(people: People) -> None:
    schema = declared()
    stored = fill(people, stamps())
    assert compare(people, schema, stored) == (9, 0)
    assert sum(raw != stored[identity] for identity, raw in upgraded(people, schema).items()) == 9


@pytest.mark.parametrize(
    "loose",
    [
        {
            "$in": ["$schema_version", [None, 1, 2, True, [1]]]
        },  # by a client's table: true is 1, and arrays are looked into
        {"$lt": ["$schema_version", 3]},
    ],
)
def test_a_loosely_compared_version_is_caught(people: People, loose: dict[str, Any]) -> None:
    schema = declared()
    stored = fill(people, stamps())
    (stage,) = upgrade_stages(schema)
    condition = stage["$replaceWith"]["$let"]["in"]["$cond"][0]["$and"]
    condition[0] = loose
    changed = people.with_options(codec_options=RAW).aggregate([stage])
    safe = admitted(people, schema)
    assert any(found["_id"] not in safe and bytes(found.raw) != stored[found["_id"]] for found in changed)


def test_documents_that_are_left_alone_keep_every_byte(people: People) -> None:
    schema = declared()
    raws = [document(int32("_id", n), odd, int32("schema_version", 3)) for n, odd in enumerate(ODD.values())]
    raws += [document(int32("_id", 100 + n), odd, encoded(schema_version=[1])) for n, odd in enumerate(ODD.values())]
    people.insert_many([RawBSONDocument(raw) for raw in raws])
    found = people.with_options(codec_options=RAW).aggregate([*upgrade_stages(schema), {"$sort": {"_id": 1}}])
    assert [bytes(each.raw) for each in found] == raws


def test_a_field_that_is_taken_away_and_set_again_stands_where_python_puts_it(people: People) -> None:
    schema = Schema("people")
    schema.revision(2, ops.remove("a"))
    schema.revision(3, ops.rename("b", "a"))
    schema.revision(4, ops.within("in", ops.remove("x")))
    schema.revision(5, ops.within("in", ops.rename("y", "x")))
    shapes = [{"a": 1, "b": 2, "in": {"x": 1, "y": 2, "z": 3}, "c": 3}]
    stored = fill(
        people,
        [
            bson.encode({"_id": n, **shapes[0], "schema_version": version, "last": 1})
            for n, version in enumerate((1, 2, 3, 4, 5))
        ],
    )
    safe, wrong = compare(people, schema, stored)
    assert wrong == 0
    assert safe >= 2


def test_versions_from_which_only_empty_revisions_lead_to_head_pass_as_they_are(people: People) -> None:
    schema = Schema("people")
    assert upgrade_stages(schema) == []
    schema.revision(2, ops.nothing(), name="first")
    assert upgrade_stages(schema) == []
    schema.revision(3, ops.rename("a", "b"))
    schema.revision(4, ops.nothing(), name="one")
    schema.revision(5, ops.nothing(), name="two")
    stored = fill(people, [bson.encode({"_id": v, "a": 1, "schema_version": v}) for v in range(1, 7)])
    assert compare(people, schema, stored) == (2, 0)
    versions = {found["_id"]: found["schema_version"] for found in people.aggregate(upgrade_stages(schema))}
    assert versions == {1: 5, 2: 5, 3: 3, 4: 4, 5: 5, 6: 6}


def test_retired_documents_pass_as_stored(people: People) -> None:
    schema = Schema("people", oldest=3)
    schema.revision(4, ops.rename("a", "b"))
    fill(people, [bson.encode({"_id": v, "a": 1, **({"schema_version": v} if v else {})}) for v in range(5)])
    assert {found["_id"] for found in people.aggregate(upgrade_stages(schema)) if "b" in found} == {3}


def test_a_collation_decides_nothing(db: Any) -> None:
    people = db.create_collection("collated", collation={"locale": "en", "strength": 1})
    schema = Schema("people")
    schema.revision(2, ops.replace_values("state", {"new": 1}), ops.join(["x", "y"], "z"))
    stored = fill(
        people,
        [bson.encode({"_id": n, "state": s, "x": "\x01", "y": s}) for n, s in enumerate(("new", "NEW", "ne\u0301w"))],
    )
    assert compare(people, schema, stored) == (3, 0)


def test_a_hundred_revisions_are_not_nested_too_deep(people: People) -> None:
    schema = Schema("people")
    for version in range(2, 102):
        schema.revision(version, ops.rename(f"a{version - 1}", f"a{version}"), name=f"r{version}")
    stored = fill(
        people,
        [bson.encode({"_id": v, f"a{v}": {"kept": v}, "schema_version": v}) for v in (1, 2, 50, 51, 99, 100, 101)],
    )
    given = upgraded(people, schema)
    for identity, raw in stored.items():
        assert given[identity] == bson.encode(schema.upgrade(bson.decode(raw)))
    assert len(bson.encode({"": upgrade_stages(schema)})) < 400_000


def test_a_plain_function_is_refused_by_name() -> None:
    with pytest.raises(SchemaError, match=r"revision 2 'split_name' is a plain function"):
        upgrade_stages(users())
    with pytest.raises(LazyMigrateError):
        prepend(users(), [])


UPGRADE = upgrade_stages(declared())


@pytest.mark.parametrize(
    ("pipeline", "first", "then"),
    [
        ([], [], []),
        ([{"$match": {"email": 1}}], [], [{"$match": {"email": 1}}]),
        ([{"$match": {"_id": 1}}, {"$count": "n"}], [{"$match": {"_id": 1}}], [{"$count": "n"}]),
        (
            [{"$match": {"_id": {"$gt": 1}, "_id.a": 2, "email": 1}}, {"$limit": 1}],
            [{"$match": {"_id": {"$gt": 1}, "_id.a": 2}}],
            [{"$match": {"email": 1}}, {"$limit": 1}],
        ),
        (
            [{"$sort": {"_id": -1}}, {"$skip": 1}, {"$limit": 2}, {"$match": {"_id": 1}}, {"$sort": {"x": 1}}],
            [{"$sort": {"_id": -1}}, {"$skip": 1}, {"$limit": 2}, {"$match": {"_id": 1}}],
            [{"$sort": {"x": 1}}],
        ),
        ([{"$sample": {"size": 1}}, {"$out": "o"}], [{"$sample": {"size": 1}}], [{"$out": "o"}]),
        ([{"$sort": {"_id": 1, "x": 1}}], [], [{"$sort": {"_id": 1, "x": 1}}]),
        ([{"$geoNear": {}}, {"$geoNear": {}}], [{"$geoNear": {}}], [{"$geoNear": {}}]),
        ([{"$search": {}}, {"$limit": 1}], [{"$search": {}}, {"$limit": 1}], []),
        ([{"$vectorSearch": {}}], [{"$vectorSearch": {}}], []),
        (
            [{"$match": {"$text": {"$search": "x"}, "email": 1}}],
            [{"$match": {"$text": {"$search": "x"}}}],
            [{"$match": {"email": 1}}],
        ),
        ([{"$match": {"$and": [{"$text": {}}], "x": 1}}], [{"$match": {"$and": [{"$text": {}}], "x": 1}}], []),
        ([{"$match": {"$or": [{"_id": 1}]}}], [], [{"$match": {"$or": [{"_id": 1}]}}]),
        ([{"$match": {}}], [], [{"$match": {}}]),
        ([{"$match": "odd"}, {"$limit": 1}], [], [{"$match": "odd"}, {"$limit": 1}]),
        ([{"two": 1, "names": 2}, "odd"], [], [{"two": 1, "names": 2}, "odd"]),
    ],
)
def test_the_upgrade_stands_before_all_that_can_tell_the_difference(pipeline: Any, first: Any, then: Any) -> None:
    before = repr(pipeline)
    assert prepend(declared(), pipeline) == [*first, *UPGRADE, *then]
    assert repr(pipeline) == before
    assert prepend(Schema("people"), pipeline) == pipeline


@pytest.mark.parametrize("name", ["$collStats", "$indexStats", "$changeStream", "$searchMeta", "$documents"])
def test_stages_that_give_no_documents_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"\{name} does not give documents of the collection.*without upgrade=True"):
        prepend(declared(), [{name: {}}])
    assert prepend(declared(), [{"$match": {"x": 1}}, {name: {}}])[-1] == {name: {}}


@pytest.mark.parametrize("pipeline", [{"$match": {}}, "$match"])
def test_a_pipeline_is_a_list(pipeline: Any) -> None:
    with pytest.raises(TypeError, match="list of stages"):
        prepend(declared(), pipeline)


def test_pipelines_see_the_newest_shape(people: People) -> None:
    schema = declared()
    people.create_index([("mail", "text")])
    people.create_index([("place", "2dsphere")])
    point = {"type": "Point", "coordinates": [0, 0]}
    people.insert_many(
        [
            {"_id": 1, "name": "Ada", "mail": "x", "place": point},
            {"_id": 2, "full_name": "Ada", "mail": "y", "schema_version": 2},
            {"_id": 3, "full_name": "Ada", "email": "y", "active": False, "schema_version": 3},
        ]
    )

    def ids(*pipeline: dict[str, Any]) -> set[Any]:
        return {found["_id"] for found in people.aggregate(prepend(schema, list(pipeline)))}

    assert ids({"$match": {"full_name": "Ada"}}) == {1, 2, 3}
    assert ids({"$match": {"_id": {"$lt": 3}, "active": True}}) == {1, 2}
    assert ids({"$match": {"$text": {"$search": "x y"}, "email": "y"}}) == {2}
    assert ids({"$geoNear": {"near": point, "distanceField": "far"}}, {"$match": {"email": "x"}}) == {1}
    assert ids({"$group": {"_id": "$email"}}) == {"x", "y"}
    plan = people.database.command(
        "explain",
        {"aggregate": "people", "pipeline": prepend(schema, [{"$match": {"_id": 2, "email": "y"}}]), "cursor": {}},
    )
    assert "IXSCAN" in str(plan) or "IDHACK" in str(plan)
    assert "COLLSCAN" not in str(plan)
