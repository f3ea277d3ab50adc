"""Coverage: exact on every kind of stamp, from the backlog index as from a scan; estimates, and what follows from them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from bson import Decimal128, Int64, MaxKey, ObjectId, Regex
from conftest import Bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemas import declared, users

from lazymigrate import AsyncLazyCollection, CoverageError, LazyCollection, Schema, ops
from lazymigrate.advice import next_step
from lazymigrate.coverage import Coverage, percent, wilson
from lazymigrate.trend import TrendPoint, forecast
from lazymigrate.versions import parse_stamp

ABSENT = object()
STAMPS = st.one_of(
    st.integers(-2, 7),
    st.integers(-2, 7).map(Int64),
    st.integers(-2, 7).map(float),
    st.integers(-2, 7).map(lambda number: Decimal128(Decimal(number))),
    st.sampled_from(
        [
            ABSENT, None, True, False, 1.5, float("nan"), float("inf"), float("-inf"), Decimal128("NaN"), Decimal128("2.5"),
            Decimal128("Infinity"), 2**40, Int64(2**63 - 1), 1e300, "2", "", {}, {"a": 2}, [], [2], [1, 3], [None],
            datetime(2026, 1, 1), ObjectId(), b"2", Regex("2"), MaxKey(),
        ]
    ),
)  # fmt: skip


def schemas() -> list[Schema]:
    trailing = declared()
    trailing.revision(4, ops.nothing(), name="nothing")
    retired = Schema("people", oldest=2)
    retired.revision(3, ops.rename("mail", "email"))
    zero = Schema("people", base=0)
    for version in (1, 2, 3):
        zero.revision(version, ops.rename(f"a{version}", f"b{version}"))
    return [declared(), trailing, retired, zero, Schema("people")]


def expected(schema: Schema, stamps: list[Any]) -> dict[str, int]:
    """The counts by the client's own table."""
    found = dict.fromkeys(("at_head", "outdated", "ahead", "invalid", "retired"), 0)
    for stamp in stamps:
        version = parse_stamp(None if stamp is ABSENT else stamp, schema.base)
        if version is None:
            found["invalid"] += 1
        elif version < schema.oldest:
            found["retired"] += 1
        elif version > schema.head:
            found["ahead"] += 1
        else:
            found["at_head" if version >= schema.settled else "outdated"] += 1
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stamps=st.lists(STAMPS, max_size=30), which=st.integers(0, 4), by_index=st.booleans())
def test_counts_are_exact_for_every_kind_of_stamp(people: Any, stamps: list[Any], which: int, by_index: bool) -> None:
    schema = schemas()[which]
    people.drop()
    people.insert_many(
        [{"n": n} if s is ABSENT else {"n": n, "schema_version": s} for n, s in enumerate(stamps)] or [{"n": -1}]
    )
    if not stamps:
        people.delete_many({})
    collection = LazyCollection(people, schema)
    if by_index:
        collection.create_backlog_index()
    counted = collection.coverage()
    assert counted.source == ("index" if by_index else "scan")
    assert {name: getattr(counted, name) for name in expected(schema, stamps)} == expected(schema, stamps)
    assert counted.total == len(stamps) == sum(expected(schema, stamps).values())
    assert sum(counted.by_version.values()) + counted.invalid == counted.total
    assert sum(counted.invalid_types.values()) == counted.invalid
    drawn = collection.coverage(sample=1000)  # more than there are: all of them
    assert {name: getattr(drawn, name) for name in expected(schema, stamps)} == expected(schema, stamps)
    assert drawn.complete == counted.complete


def test_a_count_by_a_filter_that_forgets_a_type_would_be_caught(people: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    people.insert_many([{"schema_version": "2"}, {"schema_version": 3}, {}])
    collection = LazyCollection(people, declared())
    collection.create_backlog_index()
    assert collection.coverage().invalid_types == {"string": 1}
    monkeypatch.setattr("lazymigrate.backlog.NOT_A_VERSION", ("object",))
    wrong = collection.coverage()
    assert (wrong.source, wrong.invalid) != ("index", 1)


async def test_every_driver_counts_the_same(bench: Bench) -> None:
    bench.put({"_id": 1, "name": "Ada"}, {"_id": 2, "schema_version": 3}, {"_id": 3, "schema_version": 9})
    people = bench.open(users())
    counted = await bench.call(people.coverage())
    assert (counted.at_head, counted.outdated, counted.ahead, counted.total) == (1, 1, 1, 3)
    if bench.name != "memory":
        assert "from a sample of 2)" in str(await bench.call(people.coverage(sample=2)))
        assert "1 of 3 documents at head (33.3%), 1 outdated" in str(await bench.call(people.coverage(sample=50)))


async def test_what_is_listed_and_mended_does_not_hide_what_is_outdated(bench: Bench) -> None:
    for number in range(6):
        bench.put({"_id": number, "mail": 1})  # nothing to make names of: each fails
    people = bench.open(users())
    await bench.call(people.sweep())
    before = await bench.call(people.coverage())
    assert (before.outdated, before.quarantined, before.spared, before.to_sweep) == (6, 6, 6, 0)
    bench.put(
        {"_id": 0, "first_name": "A", "last_name": "B", "email": "c", "schema_version": 3}
    )  # mended by the application
    bench.remove(1)
    bench.put({"_id": "new", "name": "Ada Lovelace", "mail": "m"})
    after = await bench.call(people.coverage())
    assert (after.outdated, after.quarantined, after.spared, after.to_sweep) == (5, 6, 4, 1)
    assert "Sweep 1 outdated document:" in next_step("users", after, None)


def test_what_the_index_costs_grows_with_what_is_outdated(client: Any, people: Any) -> None:
    people.insert_many([{"schema_version": 3, "n": n} for n in range(2000)])
    people.insert_many([{"n": n} for n in range(7)])
    collection = LazyCollection(people, declared())
    collection.create_backlog_index()
    database = people.database
    database.command("profile", 2)
    try:
        assert collection.coverage().outdated == 7
    finally:
        database.command("profile", 0)
    examined = [entry.get("docsExamined", 0) for entry in database["system.profile"].find({"ns": people.full_name})]
    assert 7 <= sum(examined) <= 20


def test_a_view_is_counted_in_a_scan(people: Any) -> None:
    people.insert_many([{}, {"schema_version": 3}])
    people.database.command("create", "seen", viewOn=people.name, pipeline=[])
    counted = LazyCollection(people.database["seen"], declared()).coverage()
    assert (counted.source, counted.at_head, counted.outdated) == ("scan", 1, 1)


def test_which_revisions_are_needed_and_which_can_be_retired(people: Any) -> None:
    people.insert_many([{"schema_version": 2}, {"schema_version": 2}, {"schema_version": 3}])
    schema = declared()
    schema.revision(4, ops.rename("a", "b"))
    counted = LazyCollection(people, schema).coverage()
    assert [counted.needed(revision) for revision in (2, 3, 4)] == [0, 2, 3]
    assert counted.retirable == 2
    people.insert_one({"schema_version": "junk"})
    assert LazyCollection(people, schema).coverage().retirable == 1  # nobody knows what that document needs


def test_with_the_index_an_empty_last_revision_is_never_said_to_be_needless(people: Any) -> None:
    people.insert_many([{"schema_version": 3}, {"schema_version": 4}])
    schema = declared()
    schema.revision(4, ops.nothing(), name="nothing")
    collection = LazyCollection(people, schema)
    assert collection.coverage().needed(4) == 1
    collection.create_backlog_index()
    counted = collection.coverage()
    assert (counted.source, counted.at_head, counted.retirable) == ("index", 2, 3)


def test_a_sample_proves_nothing() -> None:
    drawn = Coverage.estimated(declared(), "people", [("int", 3, 100)], total=1000)
    assert (drawn.at_head, drawn.ratio, drawn.complete, drawn.retirable) == (1000, 1.0, False, 1)
    assert drawn.interval is not None
    low, high = drawn.interval
    assert 0.95 < low < 0.97
    assert high == 1.0
    assert "96.3% to 100.0%, from a sample of 100" in str(drawn)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 1000)), min_size=1, max_size=5), st.integers(0, 10**9))
def test_estimates_add_up_to_the_total(drawn: list[tuple[int, int]], total: int) -> None:
    counts = [("int", stamp, count) for stamp, count in drawn]
    estimated = Coverage.estimated(declared(), "people", counts, total=total)
    assert estimated.total == max(total, sum(count for _, count in drawn))


@given(st.integers(1, 10_000).flatmap(lambda size: st.tuples(st.integers(0, size), st.just(size))))
def test_the_interval_holds_the_share(case: tuple[int, int]) -> None:
    hits, size = case
    low, high = wilson(hits, size)
    assert 0 <= low <= hits / size <= high <= 1


def test_the_interval_is_wilsons() -> None:
    low, high = wilson(90, 100)  # a worked example: 0.826 to 0.945
    assert (round(low, 3), round(high, 3)) == (0.826, 0.945)


def test_nothing_is_rounded_to_what_it_is_not() -> None:
    assert [percent(ratio) for ratio in (0, 0.00000001, 0.5, 0.9996, 0.99999999, 1)] == [
        "0.0%", "0.001%", "50.0%", "99.960%", "99.999%", "100.0%",
    ]  # fmt: skip


def test_junk_versions_are_in_one_bucket(people: Any) -> None:
    people.insert_many([{"schema_version": 1000 + n} for n in range(5000)] + [{"schema_version": 3}])
    told = json.loads(LazyCollection(people, declared()).coverage().to_json())
    assert len(told["by_version"]) == 21
    assert told["other_versions"] == {"versions": 4980, "documents": 4980}
    assert told["ahead"] == 5000


@pytest.mark.parametrize("sample", [0, -1, True, 1.5, "all"])
def test_a_sample_that_is_none_is_refused(people: Any, sample: Any) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LazyCollection(people, declared()).coverage(sample=sample)


async def test_require_lets_pass_what_only_empty_revisions_separate(people: Any, bench: Bench) -> None:
    schema = users()
    schema.revision(4, ops.nothing(), name="nothing")
    bench.put({"_id": 1, "schema_version": 3}, {"_id": 2, "schema_version": 9})
    opened = bench.open(schema)
    assert (await bench.call(opened.require(4))).outdated == 0
    bench.put({"_id": 3, "schema_version": 2})
    assert (await bench.call(opened.require(2))).outdated == 1
    with pytest.raises(CoverageError, match=r"1 document older than version 4\. Sweep") as caught:
        await bench.call(opened.require(4))
    assert caught.value.coverage.outdated == 1
    bench.put({"_id": 3, "schema_version": "junk"})
    with pytest.raises(CoverageError, match="1 document with a stamp that is no version"):
        await bench.call(opened.require(2))
    with pytest.raises(ValueError, match="from 1 to 4"):
        await bench.call(opened.require(5))


async def test_what_is_retired_is_older_than_anything_required(bench: Bench) -> None:
    schema = Schema("people", oldest=2)
    schema.revision(3, ops.rename("a", "b"))
    bench.put({"_id": 1})
    with pytest.raises(CoverageError):
        await bench.call(bench.open(schema).require(2))


NOW = datetime(2026, 5, 1)


def at(day: float, behind: int, total: int = 1000) -> TrendPoint:
    return TrendPoint(taken=NOW + timedelta(days=day), total=total, at_head=total - behind)


def test_a_steady_pace_leads_to_its_end() -> None:
    assert forecast([at(0, 400), at(1, 300), at(2, 200)]) == NOW + timedelta(days=4)


@pytest.mark.parametrize(
    "points",
    [[], [at(0, 5)], [at(0, 5), at(0, 3)], [at(0, 5), at(1, 5)], [at(0, 5), at(1, 6)], [at(0, 5), at(1, 0)]],
    ids=["none", "one", "one moment", "no pace", "backwards", "done"],
)
def test_no_forecast_where_nothing_can_be_said(points: list[TrendPoint]) -> None:
    assert forecast(points) is None


def test_what_no_sweep_mends_is_not_in_the_forecast() -> None:
    points = [TrendPoint(taken=NOW + timedelta(days=n), total=9, at_head=n, stuck=5) for n in range(5)]
    assert forecast(points[:4]) == NOW + timedelta(days=4)
    assert forecast(points) is None


def test_a_forecast_beyond_ten_years_is_none() -> None:
    assert forecast([at(0, 1_000_000, 10**7), at(1, 999_999, 10**7)]) is None


async def test_recorded_coverage_is_a_history(bench: Bench) -> None:
    bench.put({"_id": 1}, {"_id": 2, "schema_version": 3})
    people = bench.open(declared())
    assert await bench.call(people.history()) == []
    await bench.call(people.coverage())
    assert await bench.call(people.history()) == []
    for _ in range(3):
        await bench.call(people.coverage(record=True))
    points = await bench.call(people.history(limit=2))
    assert [(point.total, point.at_head) for point in points] == [(2, 1), (2, 1)]
    assert points[0].taken <= points[1].taken
    with pytest.raises(ValueError, match="at least 1"):
        await bench.call(people.history(limit=0))


def test_histories_of_other_collections_are_not_mixed_in(db: Any) -> None:
    for name in ("people", "people2", "peopl"):
        LazyCollection(db[name], declared()).coverage(record=True)
    assert len(LazyCollection(db["people"], declared()).history()) == 1


def test_the_asynchronous_face_has_the_same(people: Any) -> None:
    names = ("coverage", "history", "require", "deploy", "drift", "retire", "stamp")
    assert all(hasattr(AsyncLazyCollection, name) for name in names)
