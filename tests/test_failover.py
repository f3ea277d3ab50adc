"""Sweeps that lose their primary, and sweeps that are killed themselves, while nobody looks after them.

`python benchmarks/failover.py` and `python benchmarks/kills.py` are the same with more documents, twenty times and two
hundred times.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from replica import ReplicaSet, replica_set

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def failover(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])  # which the processes that are started inherit
    return importlib.import_module("failover")


@pytest.fixture
def kills(failover: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    module = importlib.import_module("kills")
    monkeypatch.setenv(module.CALLS, str(tmp_path / "calls"))  # put back afterwards
    return module


@pytest.fixture(scope="module")
def members() -> Iterator[ReplicaSet]:
    with replica_set() as members:
        yield members


def test_a_sweep_outlasts_its_primaries(failover: Any, members: ReplicaSet) -> None:
    report = failover.failovers(members, kills=2, documents=4_000, seed=2)
    print(report)  # noqa: T201 (the figures are the point)
    assert report.disturbances == 2
    assert report.sound, report


def test_what_is_left_behind_counted_twice_or_lost_would_be_seen(failover: Any, members: ReplicaSet) -> None:
    with MongoClient[dict[str, Any]](members.uri, w="majority") as client:
        people = client["seen"]["people"]
        people.insert_many({"_id": number, "n": 1, "schema_version": 2} for number in range(10))
        assert failover.count(people, 10) == {"outdated": 0, "twice": 0, "lost": 0}
        people.update_one({"_id": 1}, {"$unset": {"schema_version": 1}})
        people.update_one({"_id": 2}, {"$inc": {"n": 1}})
        people.delete_one({"_id": 3})
        counted = failover.count(people, 10)
        assert counted == {"outdated": 1, "twice": 1, "lost": 1}
        for name, number in counted.items():
            figures = failover.Figures()
            failover.wrong(figures, {name: number})
            report = failover.Report(10, {"function": figures})
            assert not report.sound, name
            assert "NOT SOUND" in str(report)


def test_a_sweep_outlasts_being_killed(
    kills: Any, mongo_uri: str, db: Database[dict[str, Any]], tmp_path: Path
) -> None:
    report = kills.kills(
        mongo_uri, db.name, engine="function", number=2, documents=3_000, batch=100, seed=3, directory=tmp_path
    )
    print(report)  # noqa: T201 (the figures are the point)
    assert report.killed.total() == 2
    assert len(report.rework) == 2
    assert report.sound, report


@pytest.mark.parametrize(
    "bad", [{"outdated": 1}, {"twice": 1}, {"lost": 1}, {"left": 1}, {"failed": ["it ended"]}, {"rework": [0, 101]}]
)
def test_a_kill_that_costs_too_much_would_be_seen(kills: Any, bad: dict[str, Any]) -> None:
    assert kills.Report("function", 1_000, 100, rework=[0, 100]).sound
    report = kills.Report("function", 1_000, 100, **bad)
    assert not report.sound
    assert "NOT SOUND" in str(report)
