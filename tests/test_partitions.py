"""Partitions: together they cover every document exactly once, travel as JSON, and are about as large as each other."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from conftest import Bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from lazymigrate import LazyCollection, Partition, Schema, ops
from lazymigrate.partition import EXACT, between, bound_of
from lazymigrate.procedures import partitions as procedure

Stored = Collection[dict[str, Any]]


def schema() -> Schema:
    declared = Schema("people")
    declared.revision(2, ops.add("active", True))
    return declared


def divide(collection: Stored, n: int) -> list[Partition]:
    lazy = LazyCollection(collection, schema())
    return lazy._driver.run(procedure.partitions(lazy._scope, n))


def keys(collection: Stored, filter: Any, hint: str | None = None) -> list[bytes]:
    """The `_id`s of matching documents, byte for byte."""
    found = collection.with_options(codec_options=EXACT).find(filter, {"_id": 1}, hint=hint)
    return [bson.encode(document, codec_options=EXACT) for document in found]


def assert_covered_once(collection: Stored, parts: list[Partition]) -> None:
    assert [part.index for part in parts] == list(range(len(parts)))
    assert {part.count for part in parts} == {len(parts)}
    found = [identity for part in parts for identity in keys(collection, part.filter())]
    assert len(found) == len(set(found))
    assert set(found) == set(keys(collection, {}))


# Every document is in exactly one

MIXED: list[Any] = [
    None, -1, 0, 1, 2**31, Int64(2**62), 1.5, float("nan"), float("-inf"), float("inf"), Decimal128("2.5"), Decimal128("1E+400"),
    "", "a", "A", "é", "$a", "a\0b", {}, {"a": 1}, {"a": 2}, {"b": 1, "c": {"d": [1, "x"]}}, {"a": None},
    b"", b"x", Binary(b"x", 5), Binary(uuid4().bytes, 4), Binary(uuid4().bytes, 3), ObjectId(), ObjectId("0" * 24), True, False,
    datetime(1969, 1, 1), datetime(2020, 1, 1, 1, 2, 3, 4000), DatetimeMS(2**60), DatetimeMS(-(2**60)),
    Timestamp(1, 2), Code("x"), Code("x", {"y": 1}), MinKey(), MaxKey(),
]  # fmt: skip


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 20, len(MIXED), 1000])
def test_ids_of_every_type_are_covered_once(people: Stored, n: int) -> None:
    people.insert_many([{"_id": identity} for identity in MIXED])
    parts = divide(people, n)
    assert_covered_once(people, parts)
    assert len(parts) <= n
    assert len(parts) >= min(n, len(MIXED)) - 1  # null is no bound: it stands for an open end
    assert_covered_once(people, [Partition.from_json(part.to_json()) for part in parts])


def test_plain_comparisons_would_miss_ids_of_other_types(people: Stored) -> None:
    people.insert_many([{"_id": identity} for identity in MIXED])
    plain = [
        {"_id": {name: bound for name, bound in (("$gt", part.after), ("$lte", part.upto)) if bound is not None}}
        for part in divide(people, 8)
    ]
    assert sum(map(people.count_documents, plain)) < len(MIXED) / 2


def test_what_is_inserted_later_is_covered_too(people: Stored) -> None:
    people.insert_many([{"_id": n} for n in range(100)])
    parts = divide(people, 4)
    people.insert_many(
        [{"_id": identity} for identity in [*range(-5, 0), *range(200, 300), "text", MinKey(), MaxKey()]]
    )
    assert_covered_once(people, parts)


identities = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-20, 20),
    st.floats(allow_nan=False),  # NaN has many forms, and JSON has one
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.binary(max_size=5),
    st.booleans(),
    st.builds(ObjectId, st.binary(min_size=12, max_size=12)),
    st.uuids().map(Binary.from_uuid),
    st.builds(DatetimeMS, st.integers(-(2**63), 2**63 - 1)),
    st.dictionaries(
        st.sampled_from("abc"), st.one_of(st.none(), st.integers(-5, 5), st.text("ab", max_size=3)), max_size=2
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(identities, max_size=40), st.integers(1, 12))
def test_any_ids_are_covered_once(people: Stored, given_ids: list[Any], n: int) -> None:
    people.delete_many({})
    for identity in given_ids:
        people.with_options(codec_options=EXACT).replace_one({"_id": {"$eq": identity}}, {"x": 1}, upsert=True)
    parts = divide(people, n)
    assert_covered_once(people, parts)
    assert_covered_once(people, [Partition.from_json(part.to_json()) for part in parts])


@given(identities)
def test_any_bound_comes_out_of_json_as_it_went_in(identity: Any) -> None:
    raw = bson.encode({"_id": identity}, codec_options=EXACT)
    assert bson.encode({"_id": bound_of(raw)}, codec_options=EXACT) == raw
    first, last = (Partition.from_json(part.to_json()) for part in between([identity]))
    for bound in (first.upto, last.after):
        assert bson.encode({"": bound}, codec_options=EXACT) == bson.encode({"": identity}, codec_options=EXACT)


COLLATIONS = [
    {"locale": "en", "strength": 1},
    {"locale": "de", "numericOrdering": True},
    {"locale": "fr", "backwards": True},
]


@pytest.mark.parametrize("collation", COLLATIONS, ids=lambda one: str(one["locale"]))
def test_nothing_is_lost_in_the_order_of_a_collation(people: Stored, collation: dict[str, Any]) -> None:
    people.database.create_collection(people.name, collation=collation)
    texts = ["a", "B", "c", "D", "é", "z", "10", "9", "x10", "x9", "côte", "cotise", "Z1", "_"]
    people.insert_many([{"_id": text} for text in texts])
    people.insert_many([{"_id": {"name": text, "n": 1}} for text in texts])
    people.insert_many([{"_id": n} for n in range(5)])
    for n in (2, 3, 7, 11, 33):
        parts = divide(people, n)
        assert len(parts) == n
        assert_covered_once(people, parts)
        for part in parts[1:]:
            assert ids_walked(people, part) <= 33 / n + 2


def ids_walked(collection: Stored, part: Partition) -> int:
    lenient: CodecOptions[Any] = CodecOptions(unicode_decode_error_handler="replace")  # the bounds of a collation
    explained = collection.with_options(codec_options=lenient).find(part.filter()).explain()
    assert "_id_" in str(explained["queryPlanner"]["winningPlan"])
    assert "COLLSCAN" not in str(explained["queryPlanner"]["winningPlan"])
    return int(explained["executionStats"]["totalKeysExamined"])


def test_a_partition_walks_its_own_part_of_the_index_on_ids(people: Stored) -> None:
    people.insert_many([{"_id": n} for n in range(1000)] + [{"_id": str(n)} for n in range(1000)])
    for part in divide(people, 4):
        assert ids_walked(people, part) <= people.count_documents(part.filter()) + 2 < 1000


# How many, and where

LARGE = 20_000


@pytest.fixture
def large(people: Stored) -> Stored:
    people.insert_many([{"_id": ObjectId()} for _ in range(LARGE)])
    return people


def asked(collection: Stored, n: int) -> Iterator[Any]:
    """The aggregations that a division sends."""
    lazy = LazyCollection(collection, schema())
    running = procedure.partitions(lazy._scope, n)
    command = next(running)
    while True:
        yield command
        try:
            command = running.send(lazy._driver.carry_out(command))
        except StopIteration:
            return


@pytest.mark.parametrize("n", [2, 4, 8])
def test_a_large_collection_is_sampled_and_its_parts_are_about_equal(large: Stored, n: int) -> None:
    assert any("$sample" in repr(command) for command in asked(large, n))
    parts = divide(large, n)
    assert len(parts) == n
    assert_covered_once(large, parts)
    shares = [len(keys(large, part.filter())) for part in parts]
    assert max(shares) < 2 * LARGE / n
    assert min(shares) > LARGE / n / 2


def test_a_sample_stays_below_the_share_from_which_the_server_reads_everything(large: Stored) -> None:
    for n in (2, 8, 20):
        sizes = [
            stage["$sample"]["size"]
            for command in asked(large, n)
            for stage in getattr(getattr(command, "command", None), "pipeline", [])
            if "$sample" in stage
        ]
        assert sizes
        assert all(size < LARGE * 0.05 for size in sizes)


def test_a_small_collection_is_divided_exactly(people: Stored) -> None:
    people.insert_many([{"_id": n} for n in range(100)])
    assert not any("$sample" in repr(command) for command in asked(people, 8))
    shares = [len(keys(people, part.filter())) for part in divide(people, 8)]
    assert max(shares) - min(shares) <= 1


def test_there_are_no_more_partitions_than_documents(people: Stored) -> None:
    assert [str(part) for part in divide(people, 4)] == ["partition 1 of 1"]
    people.insert_many([{"_id": n} for n in range(3)])
    assert [people.count_documents(part.filter()) for part in divide(people, 8)] == [1, 1, 1]


@pytest.mark.parametrize("n", [0, -1, 1.5, True, None, "4"])
def test_a_number_of_partitions_that_is_none_is_refused(people: Stored, n: Any) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        divide(people, n)


async def test_every_driver_divides_alike(bench: Bench) -> None:
    bench.put(*({"_id": n} for n in range(10)))
    lazy = bench.open(schema())
    if bench.name == "memory":
        with pytest.raises(ValueError, match="aggregation pipelines"):
            lazy._driver.run(procedure.partitions(lazy._scope, 2))
        assert lazy._driver.run(procedure.partitions(lazy._scope, 1)) == between(())
        first, last = between([4])
        assert len(await bench.list(lazy.find(first.filter()))) == 5
        assert len(await bench.list(lazy.find(last.filter()))) == 5
        return
    assert await bench.call(lazy._driver.run(procedure.partitions(lazy._scope, 2))) == between([4])


# Chunks


@pytest.fixture
def sharded(people: Stored, client: MongoClient[dict[str, Any]]) -> Iterator[Any]:
    """Writes what `config` holds of a sharded collection, as mongos writes it."""
    config = client["config"]
    uuid = Binary.from_uuid(uuid4())

    def shard(key: dict[str, Any], bounds: list[Any]) -> None:
        config["collections"].insert_one({"_id": f"{people.database.name}.{people.name}", "uuid": uuid, "key": key})
        ends = [MinKey(), *bounds, MaxKey()]
        field = next(iter(key))
        config["chunks"].insert_many(
            [
                {
                    "_id": ObjectId(),
                    "uuid": uuid,
                    "min": {field: ends[n]},
                    "max": {field: ends[n + 1]},
                    "shard": f"s{n}",
                }
                for n in range(len(bounds) + 1)
            ]
        )

    yield shard
    config["collections"].delete_many({"uuid": uuid})
    config["chunks"].delete_many({"uuid": uuid})


def bounds_of(parts: list[Partition]) -> list[Any]:
    return [part.upto for part in parts[:-1]]


def test_partitions_end_where_chunks_do(people: Stored, sharded: Any) -> None:
    people.insert_many([{"_id": n} for n in range(100)])
    sharded({"_id": 1}, [10, 20, 90, 91, 92, 93, 94])
    assert bounds_of(divide(people, 8)) == [10, 20, 90, 91, 92, 93, 94]
    assert bounds_of(divide(people, 4)) == [20, 91, 93]
    assert bounds_of(divide(people, 3)) == [20, 92]
    assert_covered_once(people, divide(people, 8))


@pytest.mark.parametrize(
    ("key", "bounds"), [({"_id": "hashed"}, [1, 2, 3]), ({"city": 1}, ["a", "b", "c"]), ({"_id": 1}, [10, 20])]
)
def test_other_shard_keys_and_fewer_chunks_than_partitions_leave_it_to_the_ids(
    people: Stored, sharded: Any, key: dict[str, Any], bounds: list[Any]
) -> None:
    people.insert_many([{"_id": n} for n in range(100)])
    sharded(key, bounds)
    assert bounds_of(divide(people, 4)) == [24, 49, 74]


def test_who_may_not_know_of_chunks_gets_partitions_all_the_same(people: Stored) -> None:
    people.insert_many([{"_id": n} for n in range(100)])
    admin = people.database.client.admin
    admin.command(
        {
            "configureFailPoint": "failCommand",
            "mode": {"times": 2},
            "data": {
                "failCommands": ["aggregate"],
                "errorCode": 13,
                "namespace": f"{people.database.name}.{people.name}",
            },
        }
    )
    try:
        with pytest.raises(OperationFailure):
            list(people.aggregate([]))
        assert bounds_of(divide(people, 4)) == [24, 49, 74]
    finally:
        admin.command({"configureFailPoint": "failCommand", "mode": "off"})


# The value

UUIDS = ["standard", "pythonLegacy", "unspecified"]


@pytest.mark.parametrize("representation", [4, 3, 0], ids=["standard", "legacy", "unspecified"])
@pytest.mark.parametrize("tz_aware", [False, True])
def test_it_does_not_depend_on_how_the_collection_decodes(people: Stored, representation: int, tz_aware: bool) -> None:
    people.insert_many([{"_id": Binary(UUID(int=n).bytes, 4)} for n in range(10)])
    people.insert_many([{"_id": datetime(2020, 1, n)} for n in range(1, 10)])
    options: CodecOptions[Any] = CodecOptions(uuid_representation=representation, tz_aware=tz_aware)
    parts = divide(people.with_options(codec_options=options), 6)
    assert parts == divide(people, 6)
    found = [people.with_options(codec_options=options).count_documents(part.filter()) for part in parts]
    assert sum(found) == 19
    assert min(found) >= 3


def test_its_json_is_canonical_and_an_open_end_is_left_out() -> None:
    first, middle, last = between([1, ObjectId("5" * 24)])
    assert json.loads(first.to_json()) == {
        "index": {"$numberInt": "0"},
        "count": {"$numberInt": "3"},
        "upto": {"$numberInt": "1"},
    }
    assert json.loads(middle.to_json())["upto"] == {"$oid": "5" * 24}
    assert "upto" not in json.loads(last.to_json())
    assert Partition.from_json(middle.to_json()) == middle
    assert (
        Partition.from_json('{"index": 1, "count": 3, "after": 1, "upto": {"$oid": "555555555555555555555555"}}')
        == middle
    )


def test_long_and_int_stay_what_they_are() -> None:
    first, _ = between([Int64(5)])
    assert type(Partition.from_json(first.to_json()).upto) is Int64
    first, _ = between([5])
    assert type(Partition.from_json(first.to_json()).upto) is int


SECRET = "ada@example.org"


def test_its_text_shows_no_values() -> None:
    first, last = between([SECRET])
    assert str(first) == "partition 1 of 2"
    for text in (str(first), repr(last), f"{first}", repr([first, last])):
        assert SECRET not in text


def test_it_can_be_pickled() -> None:
    for part in between([Int64(5), {"a": [1]}]):
        assert pickle.loads(pickle.dumps(part)) == part


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", "3", '"x"', "{}", '{"index": 0}', '{"count": 1}', '{"index": 0, "count": 0}',
        '{"index": -1, "count": 2}', '{"index": 2, "count": 2}', '{"index": true, "count": 2}', '{"index": "0", "count": 1}',
        '{"index": 0.0, "count": 1}', '{"index": 0, "count": 2}', '{"index": 0, "count": 2, "after": 1, "upto": 2}',
        '{"index": 1, "count": 2}', '{"index": 1, "count": 2, "after": 1, "upto": 2}',
        '{"index": 1, "count": 2, "after": null}', '{"index": 0, "count": 2, "upto": null}',
        '{"index": 0, "count": 1, "more": 1}', '{"index": 0, "count": 2, "upto": {"$oid": "ada@example.org"}}',
        '{"index": 0, "count": 2, "upto": {"$numberLong": "ada@example.org"}}',
        '{"index": 0, "count": 2, "upto": {"$binary": {"base64": "ada@example.org"}}}',
        '{"index": 0, "count": 2, "upto": {"$date": "ada@example.org"}}',
        '{"index": 0, "count": 2, "upto": {"$numberDecimal": "ada@example.org"}}', "[" * 100_000,
    ],
    ids=lambda text: text[:60],
)  # fmt: skip
def test_json_that_is_no_partition_is_refused_in_words(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"(Partition\.to_json\(\) wrote, unchanged|as people\.partitions\(n\) gives them)\.$"
    ) as caught:
        Partition.from_json(text)
    assert type(caught.value) is ValueError
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", [None, 3, {}, []])
def test_what_is_no_text_is_refused_too(text: Any) -> None:
    with pytest.raises(ValueError, match="unchanged"):
        Partition.from_json(text)


def raw_id(kind: bytes, value: bytes) -> bytes:
    body = kind + b"_id\0" + value + b"\0"
    return (len(body) + 4).to_bytes(4, "little") + body


EQUAL_KEYS = raw_id(b"\x03", b"\x13\0\0\0" + b"\x10a\0\2\0\0\0" + b"\x10a\0\1\0\0\0" + b"\0")
NOT_UTF8 = raw_id(b"\x02", b"\x02\0\0\0\xff\0")


@pytest.mark.parametrize("raw", [raw_id(b"\x0a", b""), EQUAL_KEYS, NOT_UTF8], ids=["null", "equal keys", "not UTF-8"])
def test_an_id_that_would_stand_for_something_else_is_no_bound(people: Stored, raw: bytes) -> None:
    assert bound_of(raw) is None
    odd: Collection[Any] = people.with_options(codec_options=CodecOptions(document_class=RawBSONDocument))
    odd.insert_one(RawBSONDocument(raw))
    people.insert_many([{"_id": 5}, {"_id": {"a": 1}}, {"_id": {"a": 1.5}}, {"_id": {"a": 3}}, {"_id": ObjectId()}])
    parts = divide(people, 6)
    assert len(parts) == 5
    assert sorted(people.count_documents(part.filter()) for part in parts) == [1, 1, 1, 1, 2]


def test_without_that_rule_documents_would_be_in_two_partitions(
    people: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd: Collection[Any] = people.with_options(codec_options=CodecOptions(document_class=RawBSONDocument))
    odd.insert_one(RawBSONDocument(EQUAL_KEYS))
    people.insert_many([{"_id": {"a": 1.2}}, {"_id": {"a": 1.5}}, {"_id": {"a": 3}}])
    assert sum(people.count_documents(part.filter()) for part in divide(people, 4)) == 4
    monkeypatch.setattr(procedure, "bound_of", lambda raw: bson.decode(raw)["_id"])
    assert sum(people.count_documents(part.filter()) for part in divide(people, 4)) > 4
