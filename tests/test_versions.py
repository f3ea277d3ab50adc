"""One table of stamps for the client and for the server."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from pymongo.collection import Collection

from lazymigrate import InvalidVersionError, LazyCollection, RetiredVersionError, Schema, ops
from lazymigrate.versions import ahead_filter, outdated_filter

ABSENT = object()
VALID = {
    1: [ABSENT, None, 1, Int64(1), 1.0, Decimal128("1"), Decimal128("1.0")],
    2: [2, 2.0, Decimal128("2"), Decimal128("2.00")],
    3: [3, 3.0],
    4: [4, Int64(4), 4.0, Decimal128("4E+0")],
    100: [100, Decimal128("1E+2"), 1e2],
}
INVALID = [
    True, False, 0, -1, Int64(-7), 1.5, 2.5, float("nan"), float("-inf"), Decimal128("NaN"), Decimal128("1.5"),
    "1", "2", "", {}, {"v": 2}, [], [1], [2, 1], [None], b"2", ObjectId("5" * 24), datetime(2020, 1, 1), Regex("2"),
    Timestamp(2, 2), Code("2"), MinKey(), MaxKey(), Binary(b"2", 5), Decimal128("-Infinity"),
    float("inf"), Decimal128("Infinity"), Decimal128("1E+6000"), 1e300,
]  # fmt: skip
ABOVE_AND_INVALID = [99.5, Decimal128("99.5")]


def schema() -> Schema:
    declared = Schema("people")
    for version in (2, 3):
        declared.revision(version, ops.add(f"added_{version}", version))
    return declared


def stamped(stamp: Any) -> dict[str, Any]:
    return {} if stamp is ABSENT else {"schema_version": stamp}


@pytest.mark.parametrize(("version", "stamp"), [(v, s) for v, stamps in VALID.items() for s in stamps])
def test_valid_stamps(version: int, stamp: Any) -> None:
    found = schema().version_of(stamped(stamp))
    assert found == version
    assert type(found) is int


@pytest.mark.parametrize("stamp", INVALID + ABOVE_AND_INVALID, ids=repr)
def test_invalid_stamps(stamp: Any) -> None:
    with pytest.raises(InvalidVersionError) as caught:
        schema().version_of(stamped(stamp))
    assert caught.value.version is stamp


def test_versions_below_oldest_are_retired_and_not_guessed() -> None:
    declared = Schema("people", oldest=3)
    for stamp in (ABSENT, None, 1, 2.0):
        with pytest.raises(RetiredVersionError, match="retired"):
            declared.version_of(stamped(stamp))
    assert declared.version_of({"schema_version": 3}) == 3
    with pytest.raises(InvalidVersionError):
        declared.version_of({"schema_version": 0})


def test_the_server_counts_what_the_client_counts(people: Collection[dict[str, Any]]) -> None:
    known = schema()
    everything = [(v, s) for v, stamps in VALID.items() for s in stamps]
    everything += [(None, s) for s in INVALID + ABOVE_AND_INVALID]
    people.insert_many([{"_id": n, **stamped(stamp)} for n, (_, stamp) in enumerate(everything)])
    outdated = {d["_id"] for d in people.find(outdated_filter("schema_version", 1, 3, 1))}
    assert outdated == {n for n, (version, _) in enumerate(everything) if version in (1, 2)}
    ahead = {d["_id"] for d in people.find(ahead_filter("schema_version", 3))}
    above = {n for n, (_, stamp) in enumerate(everything) if any(stamp is other for other in ABOVE_AND_INVALID)}
    assert ahead == {n for n, (version, _) in enumerate(everything) if version in (4, 100)} | above
    # A fraction above head is invalid to the client; the server keeps it out of writes as well, which is the safe side.
    coverage = LazyCollection(people, known).coverage()
    assert coverage.by_version == {v: len(stamps) for v, stamps in VALID.items()}
    assert coverage.invalid == len(INVALID) + len(ABOVE_AND_INVALID)
    assert coverage.total == len(everything)
    assert coverage.at_head + coverage.outdated + coverage.ahead + coverage.invalid == coverage.total


def test_a_stamp_in_any_number_type_is_upgraded_and_becomes_an_int(people: Collection[dict[str, Any]]) -> None:
    stamps = [s for v, stamps in VALID.items() if v < 3 for s in stamps]
    people.insert_many([{"_id": n, **stamped(stamp)} for n, stamp in enumerate(stamps)])
    assert LazyCollection(people, schema()).sweep().upgraded == len(stamps)
    assert {type(d["schema_version"]) for d in people.find()} == {int}
    assert people.count_documents({"schema_version": {"$type": "int"}, "added_3": 3}) == len(stamps)
