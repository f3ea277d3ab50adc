"""The size of a slice follows the time that it takes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazymigrate import pacing
from lazymigrate.pacing import Pace


def at_work(pace: Pace, rate: float, overhead: float, slices: int = 80) -> float:
    """Let a pace work on a server that is always as fast; how long its next slice takes."""
    for _ in range(slices):
        pace.worked(pace.size, overhead + pace.size / rate)
    return overhead + pace.size / rate


servers = st.tuples(st.floats(2_000, 1_000_000), st.floats(0, 0.08))


@given(servers, st.integers(10, 5000))
def test_a_slice_comes_to_take_the_target_as_far_as_the_bounds_allow(server: tuple[float, float], start: int) -> None:
    pace = Pace(start=start)
    seconds = at_work(pace, *server)
    assert seconds == pytest.approx(0.2, rel=0.02) or (pace.size == 5000 and seconds < 0.2)


@given(servers, servers)
def test_it_comes_back_to_the_target_when_the_server_changes(
    server: tuple[float, float], other: tuple[float, float]
) -> None:
    pace = Pace()
    at_work(pace, *server)
    seconds = at_work(pace, *other)
    assert seconds == pytest.approx(0.2, rel=0.02) or (pace.size == 5000 and seconds < 0.2)


@given(st.floats(0.1, 2_000), st.floats(0, 5))
def test_no_slice_comes_to_take_more_than_four_times_the_target_but_the_smallest(rate: float, overhead: float) -> None:
    pace = Pace()
    seconds = at_work(pace, rate, overhead, slices=400)
    assert seconds < 0.82 + 1 / rate or pace.size <= 11 + 0.02 * rate


@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 100) | st.none()), max_size=50))
def test_it_stays_within_its_bounds_and_changes_by_no_more_than_it_may(story: list[tuple[int, float | None]]) -> None:
    pace = Pace(lowest=7, highest=900, start=100)
    for documents, seconds in story:
        before = pace.size
        if seconds is None:
            pace.failed()
        else:
            pace.worked(documents, seconds)
        assert 7 <= pace.size <= 900
        assert before / 4 - 1 <= pace.size <= before * 2 + 1


def test_it_grows_by_less_than_it_shrinks() -> None:
    faster, slower = Pace(), Pace()
    faster.worked(500, 0.1)
    slower.worked(500, 0.4)
    assert (faster.size, slower.size) == (707, 250)


def test_it_shrinks_at_once_when_the_server_is_slow() -> None:
    pace = Pace()
    pace.worked(500, 60)
    assert pace.size == 125
    pace.worked(125, 60)
    assert pace.size == 31


def test_a_tiny_slice_that_was_fast_says_nothing_and_one_that_was_slow_does() -> None:
    pace = Pace()
    pace.worked(3, 0.001)
    assert pace.size == 500
    pace.worked(3, 1)
    assert pace.size == 125


def test_it_halves_after_a_failure() -> None:
    pace = Pace()
    pace.failed()
    assert pace.size == 250


def test_a_fixed_size_never_changes() -> None:
    pace = Pace(fixed=40_000)
    for documents, seconds in ((40_000, 90), (40_000, 0.0001), (1, 5)):
        pace.worked(documents, seconds)
        pace.failed()
    assert pace.size == 40_000


def throughput(pace: Pace, rate: float, overhead: float) -> float:
    """Documents per second in the long run."""
    documents, seconds = 0, 0.0
    for _ in range(1000):
        documents += pace.size
        seconds += overhead + pace.size / rate
        pace.worked(pace.size, overhead + pace.size / rate)
    return documents / seconds


@given(st.floats(0.1, 0.35), st.floats(2_000, 100_000))
def test_where_the_way_to_the_server_is_long_a_slice_is_still_worth_it(overhead: float, rate: float) -> None:
    smallest = throughput(Pace(fixed=10), rate, overhead)
    assert throughput(Pace(), rate, overhead) > 3 * smallest


def test_if_it_looked_only_at_the_target_a_long_way_would_leave_ten_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(self: Pace, documents: int, seconds: float) -> None:
        """Learn nothing."""

    assert throughput(Pace(), 10_000, 0.3) > 1000
    monkeypatch.setattr(Pace, "_learn", blind)
    assert throughput(Pace(), 10_000, 0.3) < 50


def test_a_server_whose_speed_varies_is_kept_near_the_target() -> None:
    drawn = random.Random(1)
    pace, times = Pace(), []
    for _ in range(2000):
        seconds = 0.01 + pace.size / 4000 * drawn.lognormvariate(0, 0.5)
        times.append(seconds)
        pace.worked(pace.size, seconds)
    settled = sorted(times[50:])
    median = settled[len(settled) // 2]
    assert 0.1 < median < 0.3
    assert settled[-1] < pacing.STRETCH * 0.2 * 4


@pytest.mark.parametrize(
    "wrong", [{"target": 0}, {"target": float("nan")}, {"lowest": 0}, {"lowest": 20, "highest": 10}, {"fixed": 0}]
)
def test_a_pace_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="choose"):
        Pace(**wrong)
