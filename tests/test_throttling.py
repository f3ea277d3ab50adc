"""When the next slice of work may begin, and what is said while it may not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient

from lazymigrate.throttling import Health, Throttle, Waiting, Window

NOON = datetime(2025, 7, 1, 12, tzinfo=UTC)


def reason(throttle: Throttle, now: float = 0.0, wall: datetime = NOON, health: Health | None = None) -> str | None:
    waiting = throttle.waits(now, wall, health)
    return None if waiting is None else waiting.reason


def test_nothing_is_held_up_where_nothing_was_asked_for() -> None:
    throttle = Throttle()
    throttle.worked(10_000, 1, now=5)
    assert throttle.waits(5, NOON, Health()) is None
    assert throttle.waits(5, NOON, None) is None
    assert throttle.most is None


# Rate, pause, nice


def slices(throttle: Throttle, story: list[tuple[int, float, float]]) -> list[tuple[float, int]]:
    """When each slice of a story (documents, seconds, idle time before it) began, and how many documents it had."""
    now, begun = 100.0, []
    for documents, seconds, idle in story:
        now += idle
        while (waiting := throttle.waits(now, NOON, None)) is not None:
            now += min(waiting.seconds, 0.5)
        begun.append((now, min(documents, throttle.most or documents)))
        now += seconds
        throttle.worked(begun[-1][1], seconds, now)
    return begun


def most_at_once(begun: list[tuple[float, int]], rate: float) -> float:
    """The largest excess of documents over the rate, in any interval of time."""
    return max(
        sum(count for _, count in begun[first : last + 1]) - (begun[last][0] - begun[first][0]) * rate
        for first in range(len(begun))
        for last in range(first, len(begun))
    )


stories = st.lists(st.tuples(st.integers(1, 2000), st.floats(0, 2), st.floats(0, 3)), min_size=1, max_size=25)


@given(st.floats(0.5, 5000), stories)
def test_never_more_than_a_second_s_worth_is_done_at_once(rate: float, story: list[tuple[int, float, float]]) -> None:
    begun = slices(Throttle(rate=rate), story)
    assert most_at_once(begun, rate) <= max(rate, 1) * 1.000001


def test_slices_of_any_size_would_be_more_than_a_second_s_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    story = [(2000, 0.0, 0.0)] * 20
    assert most_at_once(slices(Throttle(rate=100), story), 100) <= 100.001
    monkeypatch.setattr(Throttle, "most", 2000)
    assert most_at_once(slices(Throttle(rate=100), story), 100) > 1000


@given(st.floats(2, 5000), st.floats(0, 0.3))
def test_the_rate_is_reached_on_the_average_where_the_server_is_fast_enough(rate: float, share: float) -> None:
    throttle = Throttle(rate=rate)
    most = throttle.most or 1
    begun = slices(throttle, [(most, share * most / rate, 0.0)] * 200)
    seconds = begun[-1][0] - begun[0][0]
    assert sum(count for _, count in begun) / seconds == pytest.approx(rate, rel=0.05)


def test_what_a_slow_moment_left_is_made_up_for() -> None:
    begun = slices(Throttle(rate=100), [(50, 0.9 if number % 2 else 0.1, 0.0) for number in range(100)])
    assert sum(count for _, count in begun) / (begun[-1][0] - begun[0][0]) == pytest.approx(100, rel=0.05)


def test_a_rate_says_how_long_it_is_waited_for() -> None:
    throttle = Throttle(rate=500)
    throttle.worked(500, 0.0, now=10)
    assert throttle.waits(10, NOON, None) == Waiting(reason="rate 500/s", seconds=0.5)
    assert throttle.waits(10.5, NOON, None) is None


def test_a_new_rate_holds_at_once() -> None:
    throttle = Throttle(rate=1)
    throttle.worked(60, 0.0, now=10)
    assert throttle.waits(10, NOON, None) == Waiting(reason="rate 1/s", seconds=60)
    throttle.set_rate(1)
    assert throttle.waits(10, NOON, None) == Waiting(reason="rate 1/s", seconds=60)
    throttle.set_rate(60)
    assert throttle.waits(10, NOON, None) == Waiting(reason="rate 60/s", seconds=1)
    throttle.set_rate(None)
    assert throttle.waits(10, NOON, None) is None


def test_a_lower_rate_is_not_made_to_pay_for_what_was_done_before() -> None:
    throttle = Throttle(rate=1000)
    throttle.worked(500, 0.0, now=10)
    throttle.set_rate(1)
    throttle.worked(1, 0.0, now=10)
    assert throttle.waits(10, NOON, None) == Waiting(reason="rate 1/s", seconds=1)


def test_a_pause_is_made_after_each_slice() -> None:
    throttle = Throttle(pause=0.2)
    assert throttle.waits(1, NOON, None) is None
    throttle.worked(10, 3, now=4)
    assert throttle.waits(4, NOON, None) == Waiting(reason="pause 0.2 s", seconds=pytest.approx(0.2))
    assert throttle.waits(4.21, NOON, None) is None


def test_being_nice_is_to_rest_as_long_as_the_slice_took() -> None:
    throttle = Throttle(nice=2)
    throttle.worked(10, 3, now=4)
    assert throttle.waits(4, NOON, None) == Waiting(reason="nice 2", seconds=6)
    assert throttle.waits(9.9, NOON, None) is not None
    assert throttle.waits(10, NOON, None) is None


def test_of_several_rests_the_longest_is_told() -> None:
    throttle = Throttle(nice=1, pause=0.5, rate=10)
    throttle.worked(5, 0.1, now=1)
    assert reason(throttle, 1.05) == "pause 0.5 s"
    throttle.worked(5, 3, now=6)
    assert reason(throttle, 6) == "nice 1"
    throttle.worked(100, 3, now=6)
    assert reason(throttle, 6) == "rate 10/s"


# The hours of the day


@pytest.mark.parametrize(
    ("window", "wall", "closed"),
    [
        ("22:00-06:00", "2025-07-01T21:59:30+00:00", 30),
        ("22:00-06:00", "2025-07-01T22:00:00+00:00", 0),
        ("22:00-06:00", "2025-07-01T05:59:59+00:00", 0),
        ("22:00-06:00", "2025-07-01T06:00:00+00:00", 16 * 3600),
        ("9:00-17:30", "2025-07-01T08:00:00+00:00", 3600),
        ("9:00-17:30", "2025-07-01T17:29:59+00:00", 0),
        ("9:00-17:30", "2025-07-01T17:30:00+00:00", 15.5 * 3600),
        ("00:00-24:00", None, None),
        ("20:00-24:00", "2025-07-01T23:59:59+00:00", 0),
        ("20:00-24:00", "2025-07-01T00:00:00+00:00", 20 * 3600),
        ("22:00-06:00 Europe/Berlin", "2025-07-01T20:00:00+00:00", 0),  # summer time
        ("22:00-06:00 Europe/Berlin", "2025-01-01T20:00:00+00:00", 3600),
        ("22:00-06:00", "2025-07-01T23:00:00+02:00", 3600),
    ],
)
def test_a_window_is_open_from_its_first_minute_to_before_its_last(
    window: str, wall: str | None, closed: float | None
) -> None:
    if wall is None:
        with pytest.raises(ValueError, match="two different times"):
            Window.parse(window)
    else:
        assert Window.parse(window).opens_in(datetime.fromisoformat(wall)) == closed


@given(
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),
    st.integers(-14, 14),
)
def test_when_it_says_that_it_opens_it_is_open_and_not_before(
    opens: int, closes: int, wall: datetime, offset: int
) -> None:
    if opens == closes:
        closes = (closes + 1) % 1440
    text = f"{opens // 60:02}:{opens % 60:02}-{closes // 60:02}:{closes % 60:02}"
    window = Window.parse(text)
    at = wall.replace(microsecond=0, tzinfo=timezone(timedelta(hours=offset)))
    left = window.opens_in(at)
    assert window.opens_in(at + timedelta(seconds=left)) == 0
    if left:
        assert window.opens_in(at + timedelta(seconds=left - 1)) == 1


def test_outside_its_window_a_sweep_waits_and_says_which() -> None:
    throttle = Throttle(window="22:00-6:00")
    assert throttle.waits(0, NOON, None) == Waiting(reason="outside 22:00-06:00 UTC", seconds=36_000)
    assert reason(Throttle(window="9:00-11:00  Europe/Berlin")) == "outside 09:00-11:00 Europe/Berlin"
    assert throttle.waits(0, NOON + timedelta(hours=11), None) is None


@pytest.mark.parametrize(
    ("window", "wrong"),
    [
        ("", "write it as"),
        ("22-6", "write it as"),
        ("22:00-06:00 Europe/Berlin please", "write it as"),
        ("22:60-06:00", "no time of the day"),
        ("24:01-06:00", "no time of the day"),
        ("99:00-06:00", "no time of the day"),
        ("06:00-06:00", "two different times"),
        ("22:00-06:00 Atlantis/Capital", "knows no zone"),
        ("22:00-06:00 ../../etc/passwd", "knows no zone"),
        ("22:00-06:00 Europe", "knows no zone"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(window: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        Throttle(window=window)


# The application


def test_the_application_is_asked_and_its_reason_is_told() -> None:
    said: list[str | None] = [None, "", "the sale is on", None]
    throttle = Throttle(ask=lambda: said.pop(0))
    assert [reason(throttle) for _ in range(4)] == [None, None, "the application says: the sale is on", None]


def test_an_application_that_raises_makes_the_sweep_wait_and_never_ends_it() -> None:
    def ask() -> str | None:
        raise LookupError("mongodb://user:secret@host")

    assert reason(Throttle(ask=ask)) == "the application's question whether to wait raised LookupError"


def test_what_the_application_says_cannot_move_the_terminal_s_cursor() -> None:
    throttle = Throttle(ask=lambda: "a\x1b[2J\r\nb" + "c" * 1000)
    said = str(reason(throttle))
    assert said.startswith("the application says: a [2J b")
    assert said.isprintable()
    assert len(said) == 120


def test_an_answer_that_is_no_text_is_a_reason_that_names_its_type() -> None:
    throttle = Throttle(ask=lambda: False)  # type: ignore[arg-type, return-value]
    assert reason(throttle) == "the application gave a bool as its reason to wait, where None or a text is expected"


# The servers


def member(name: str, state: int, behind: float = 0, **others: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "health": 1.0, "optimeDate": NOON - timedelta(seconds=behind), **others}


PRIMARY = member("db1:27017", 1)


def lag(*members: dict[str, Any], status: dict[str, Any] | None = None) -> tuple[float | None, str | None]:
    health = Health.of({"members": list(members)}, status)
    return health.lag, health.slowest


def test_the_lag_is_that_of_the_slowest_secondary() -> None:
    found = lag(member("db2:27017", 2, 3), PRIMARY, member("db3:27017", 2, 14))
    assert found == (14, "db3:27017")


@pytest.mark.parametrize(
    "other",
    [
        member("db3:27017", 8, 999, health=0.0),  # down
        member("db3:27017", 2, 999, health=0.0),
        {"name": "db3:27017", "state": 7, "health": 1.0},  # an arbiter
        member("db3:27017", 5, 999),  # starting, or synchronised for the first time
        member("db3:27017", 3, 999),  # recovering
        member("db3:27017", 9, 999),  # rolling back
    ],
)
def test_a_member_that_has_no_part_in_it_does_not_count(other: dict[str, Any]) -> None:
    assert lag(PRIMARY, member("db2:27017", 2, 1), other) == (1, "db2:27017")


def test_without_a_primary_or_a_permission_the_lag_is_not_known() -> None:
    assert lag(member("db2:27017", 2), member("db3:27017", 2, 14)) == (None, None)
    assert Health.of(None, None) == Health()
    assert Health.of({}, {}) == Health()
    assert lag(PRIMARY) == (0, None)


def test_a_secondary_that_knows_more_than_the_primary_has_said_is_not_behind() -> None:
    assert lag(PRIMARY, member("db2:27017", 2, -2)) == (0, "db2:27017")


def test_a_hidden_member_which_may_be_delayed_on_purpose_does_not_count() -> None:
    members = PRIMARY, member("db2:27017", 2, 1), member("db3:27017", 2, 2), member("delayed:27017", 2, 3600)
    seen = {"repl": {"hosts": ["db1:27017", "db2:27017"], "passives": ["db3:27017"]}}
    assert lag(*members, status=seen) == (2, "db3:27017")
    assert lag(*members) == (3600, "delayed:27017")


def test_a_secondary_that_follows_too_far_behind_is_named() -> None:
    health = Health.of({"members": [PRIMARY, member("db2:27017", 2, 14)]}, None)
    assert reason(Throttle(), health=health) == "the secondary db2:27017 follows 14 s behind (limit 10 s)"
    assert reason(Throttle(max_lag=14), health=health) is None
    assert reason(Throttle(max_lag=None), health=health) is None


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"globalLock": {"currentQueue": {"total": 130}}}, "the server queues 130 operations"),
        ({"globalLock": {"currentQueue": {"total": 100}}}, None),
        ({"flowControl": {"isLagged": True}}, "the server's flow control is engaged"),
        ({"flowControl": {"isLagged": False}}, None),
        (
            {"wiredTiger": {"concurrentTransactions": {"write": {"available": 0}}}},
            "the server has no write ticket left",
        ),
        ({"wiredTiger": {"concurrentTransactions": {"write": {"available": 1}}}}, None),
        ({"queues": {"execution": {"write": {"available": 0}}}}, "the server has no write ticket left"),
        ({"globalLock": 7, "flowControl": None, "wiredTiger": {"concurrentTransactions": []}}, None),
    ],
)
def test_a_server_under_pressure_holds_the_sweep_up(status: dict[str, Any], said: str | None) -> None:
    assert reason(Throttle(), health=Health.of(None, status)) == said


def test_what_a_real_server_answers_is_understood(client: MongoClient[dict[str, Any]]) -> None:
    replication = client.admin.command("replSetGetStatus")
    status = client.admin.command("serverStatus")
    health = Health.of(replication, status)
    assert (health.lag, health.slowest, health.flow_control) == (0.0, None, False)
    assert health.queued is not None
    assert health.write_tickets is not None
    assert health.write_tickets > 0
    assert set(status["repl"]["hosts"]) == {each["name"] for each in replication["members"]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0},
        {"rate": -1},
        {"rate": True},
        {"rate": "5"},
        {"rate": float("inf")},
        {"pause": -1},
        {"pause": float("nan")},
        {"nice": -0.1},
        {"nice": None},
        {"max_lag": -1},
    ],
)
def test_a_throttle_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name}=.*choose"):
        Throttle(**wrong)


def test_a_question_that_would_have_to_be_awaited_is_refused() -> None:
    async def ask() -> str | None:
        return None

    with pytest.raises(ValueError, match="no plain function"):
        Throttle(ask=ask)  # type: ignore[arg-type]
