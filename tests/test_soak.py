"""Old and new code on the same hot documents, in processes of their own: the soak, for a few seconds.

`python benchmarks/soak.py` is the same for a minute, with twice the processes.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])  # which the processes that are started inherit
    return importlib.import_module("soak")


def test_nothing_acknowledged_is_lost_and_nothing_comes_back(
    soak: Any, mongo_uri: str, db: Database[dict[str, Any]]
) -> None:
    report = soak.soak(mongo_uri, db.name, seconds=4, roles=soak.ORDER)
    print(report)  # noqa: T201 (the figures are the point)
    assert not report.failures, report
    assert not report.lost, report
    assert not report.phantoms, report
    assert not report.hybrids, report
    assert not report.missed, report
    assert {role: counts.total() > 50 for role, counts in report.operations.items()} == dict.fromkeys(soak.ORDER, True)
    assert report.acknowledged > 200


def test_the_soak_would_notice_an_upgrade_that_is_stored_as_it_was_read(
    soak: Any, mongo_uri: str, db: Database[dict[str, Any]]
) -> None:
    report = soak.soak(mongo_uri, db.name, seconds=2, roles=["plain", "plain", "careless"], documents=30)
    assert report.lost or report.failures
