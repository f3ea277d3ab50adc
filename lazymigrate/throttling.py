"""When the next slice of work may begin, and if it may not, why: decided from times and reports that are handed in.

In the order in which they are asked, since the first that holds is the one that is told:

| holds up the next slice                          | until                                                                 |
|--------------------------------------------------|-----------------------------------------------------------------------|
| a window of the day                              | it opens                                                              |
| the application                                  | its callable gives no reason any more                                 |
| a secondary that follows too far behind          | it has caught up, as far as the last look at the servers tells         |
| the server's flow control, its queue, its tickets | the server says otherwise                                             |
| a rate, a pause, being nice                      | the time is over; of several, the one that takes longest              |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from inspect import iscoroutinefunction
from math import inf, isfinite
from typing import Any

__all__ = ["Health", "Throttle", "Waiting", "Window"]

RECHECK = 1.0  # seconds after which to ask again about what nobody can foresee
MOST_QUEUED = 100  # operations that wait for a lock or a ticket
PRIMARY, SECONDARY = 1, 2  # states of a replica set's members
LONGEST_REASON = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Why the next slice may not begin yet, in words for a status line, and for how many seconds, as far as is known."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the servers are, as far as they say; None for what is not known, which holds nothing up.

    - `lag`: how many seconds the slowest secondary follows behind the primary, and `slowest`: its host.
    - `queued`: operations that wait for a lock or a ticket; `write_tickets`: how many writers more could be admitted.
    - `flow_control`: whether the primary holds writers back, since a majority follows too far behind.
    """

    lag: float | None = None
    slowest: str | None = None
    queued: int | None = None
    write_tickets: int | None = None
    flow_control: bool | None = None

    @classmethod
    def of(cls, replication: Mapping[str, Any] | None, status: Mapping[str, Any] | None) -> Health:
        """Understand what `replSetGetStatus` and `serverStatus` answer; None for one that was not allowed.

        Counted are the secondaries that are up and have their data: none that is down, arbitrates, starts, recovers or is
        synchronised for the first time. A replica set's status does not say which members are delayed on purpose. They
        should be hidden, and where `serverStatus` names the members that are not (its section `repl`), hidden ones are not
        counted. A delayed member that is not hidden counts as one that is behind.
        """
        lag, slowest = slowest_secondary(replication, visible(status))
        queued = reach(status, "globalLock", "currentQueue", "total")
        flow_control = reach(status, "flowControl", "isLagged")
        tickets = reach(status, "wiredTiger", "concurrentTransactions", "write", "available")
        if tickets is None:
            tickets = reach(status, "queues", "execution", "write", "available")  # its place since MongoDB 8.0
        return cls(
            lag=lag,
            slowest=slowest,
            queued=queued if isinstance(queued, int) else None,
            write_tickets=tickets if isinstance(tickets, int) else None,
            flow_control=flow_control if isinstance(flow_control, bool) else None,
        )

    def hindrances(self, max_lag: float | None) -> Iterator[str]:
        """What speaks against more work."""
        if max_lag is not None and self.lag is not None and self.lag > max_lag:
            who = f"the secondary {self.slowest}" if self.slowest else "a secondary"
            yield f"{who} follows {self.lag:.0f} s behind (limit {max_lag:g} s)"
        if self.flow_control:
            yield "the server's flow control is engaged"
        if self.queued is not None and self.queued > MOST_QUEUED:
            yield f"the server queues {self.queued:,} operations"
        if self.write_tickets == 0:
            yield "the server has no write ticket left"


def visible(status: Mapping[str, Any] | None) -> frozenset[str] | None:
    """The members that are not hidden; None where nothing says which."""
    names = reach(status, "repl", "hosts")
    return frozenset([*names, *(reach(status, "repl", "passives") or ())]) if names else None


def slowest_secondary(
    replication: Mapping[str, Any] | None, counted: frozenset[str] | None
) -> tuple[float | None, str | None]:
    """The lag and the host of the secondary that is furthest behind; without a primary, nobody knows."""
    members = [
        (member.get("state"), member["optimeDate"], str(member.get("name", "")))
        for member in reach(replication, "members") or ()
        if member.get("health") == 1 and isinstance(member.get("optimeDate"), datetime)
    ]
    newest = max((date for state, date, _ in members if state == PRIMARY), default=None)
    if newest is None:
        return None, None
    followers = [
        ((newest - date).total_seconds(), host)
        for state, date, host in members
        if state == SECONDARY and (counted is None or host in counted)
    ]
    lag, host = max(followers, default=(0.0, None))
    return max(lag, 0.0), one_line(host) if host else None


def reach(found: Any, *path: str) -> Any:
    """What is at a path of a nested answer; None where it does not lead anywhere."""
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


WINDOW = re.compile(r"(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)(?:\s+(\S+))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The hours of each day in which work may be done, in minutes since midnight; it may go over midnight."""

    opens: int
    closes: int
    zone: tzinfo
    text: str

    @classmethod
    def parse(cls, text: str) -> Window:
        """Understand `"22:00-06:00"`, which is UTC, or `"22:00-06:00 Europe/Berlin"`; `ValueError` for anything else."""
        found = WINDOW.fullmatch(text.strip())
        if found is None:
            raise ValueError(
                f'window={text!r}: write it as "22:00-06:00", or with a zone: "22:00-06:00 Europe/Berlin".'
            )
        opens, closes = minutes(found[1], found[2], text), minutes(found[3], found[4], text)
        if opens % DAY == closes % DAY:
            raise ValueError(f"window={text!r}: choose two different times, or None for the whole day.")
        zone = found[5] or "UTC"
        hours = f"{found[1]:0>2}:{found[2]}-{found[3]:0>2}:{found[4]}"
        return cls(opens=opens % DAY, closes=closes % DAY, zone=zone_of(zone, text), text=f"{hours} {zone}")

    def opens_in(self, wall: datetime) -> float:
        """How many seconds are left until it opens; 0 while it is open."""
        local = wall.astimezone(self.zone)
        now = local.hour * 60 + local.minute
        is_open = (now - self.opens) % DAY < (self.closes - self.opens) % DAY
        return 0.0 if is_open else ((self.opens - now) % DAY) * 60.0 - local.second


DAY = 24 * 60


def minutes(hours: str, rest: str, text: str) -> int:
    total = int(hours) * 60 + int(rest)
    if int(rest) > 59 or total > DAY:
        raise ValueError(f"window={text!r}: {hours}:{rest} is no time of the day. Choose one from 00:00 to 24:00.")
    return total


def zone_of(name: str, text: str) -> tzinfo:
    if name.upper() == "UTC":
        return UTC  # known also where there is no database of zones
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"window={text!r}: this machine knows no zone of that name. Choose one such as Europe/Berlin, or UTC; where it "
            "knows none at all, install the package tzdata."
        ) from error


class Throttle:
    """Whether the next slice of work may begin; over any time, no more than was asked for.

    - `rate`: documents per second; never more than a second's worth at once, if slices have at most `most` documents.
    - `pause`: seconds to rest after each slice; `nice`: how many times as long to rest as the slice took.
    - `max_lag`: how many seconds a secondary may follow behind; None for any.
    - `window`: the hours of the day (`Window.parse`); None for the whole day.
    - `ask`: a callable of the application, which gives a reason to wait, or None. It is asked before each slice, and about
      twice a second while it has a reason. Where it raises something, that is a reason: it never ends a run.

    Times are handed in: `now` in seconds of a clock that only goes forward, `wall` as an aware datetime.
    """

    __slots__ = ("_ask", "_due", "_max_lag", "_nice", "_owed", "_pause", "_rate", "_rests", "_since", "_window")

    def __init__(
        self,
        *,
        rate: float | None = None,
        pause: float = 0.0,
        nice: float = 0.0,
        max_lag: float | None = 10.0,
        window: str | None = None,
        ask: Callable[[], str | None] | None = None,
    ) -> None:
        self._pause = at_least_zero("pause", pause, "a number of seconds, from 0")
        self._nice = at_least_zero("nice", nice, "how many times as long to rest as to work, from 0")
        self._max_lag = None if max_lag is None else at_least_zero("max_lag", max_lag, "a number of seconds, or None")
        self._window = None if window is None else Window.parse(window)
        if ask is not None and (not callable(ask) or iscoroutinefunction(ask)):
            raise ValueError("ask: it is no plain function. Give one that returns a reason to wait, or None.")
        self._ask = ask
        self._rests: Mapping[str, float] = {}  # reason → when it is over
        self._since = self._due = -inf  # when the last documents began to be paid for, and when they are
        self._owed = 0
        self._rate: float | None = None
        self.set_rate(rate)

    @property
    def rate(self) -> float | None:
        """Documents per second; None for as many as can be."""
        return self._rate

    def set_rate(self, rate: float | None) -> None:
        """Change the rate, which holds at once; setting the same one again changes nothing.

        What was done at a lower rate is reckoned at the new one, so that a wait for it is cut short.
        """
        if rate is not None and (not is_number(rate) or rate <= 0):
            raise ValueError(f"rate={rate!r}: choose a number of documents per second above 0, or None for no limit.")
        self._rate = rate
        if rate is not None:
            self._due = min(self._due, self._since + self._owed / rate)

    @property
    def most(self) -> int | None:
        """How many documents a slice may have, so that no more than a second's worth is done at once; None for any."""
        return None if self._rate is None else max(1, int(self._rate / 2))

    def worked(self, documents: int, seconds: float, now: float) -> None:
        """Count a slice that has just ended."""
        self._rests = {
            f"pause {self._pause:g} s": now + self._pause,
            f"nice {self._nice:g}": now + self._nice * seconds,
        }
        if self._rate is not None and self.most is not None:
            # What was not used of the last moments may be used now: a second's worth, with the slice itself.
            unused = max(0.0, 1.0 - self.most / self._rate)
            self._since = max(self._due, now - seconds - unused)
            self._owed = documents
            self._due = self._since + documents / self._rate

    def waits(self, now: float, wall: datetime, health: Health | None) -> Waiting | None:
        """Why the next slice may not begin; None when it may. To be asked again after half a second at the latest."""
        return next(self._reasons(now, wall, health), None)

    def _reasons(self, now: float, wall: datetime, health: Health | None) -> Iterator[Waiting]:
        if self._window is not None:
            closed = self._window.opens_in(wall)
            if closed > 0:
                yield Waiting(reason=f"outside {self._window.text}", seconds=closed)
        said = asked(self._ask)
        if said is not None:
            yield Waiting(reason=said, seconds=RECHECK)
        if health is not None:
            for hindrance in health.hindrances(self._max_lag):
                yield Waiting(reason=hindrance, seconds=RECHECK)
        rests = dict(self._rests)
        if self._rate is not None:
            rests[f"rate {self._rate:,.12g}/s"] = self._due
        reason, over = max(rests.items(), key=lambda rest: rest[1], default=("", -inf))
        if over > now:
            yield Waiting(reason=reason, seconds=over - now)


def asked(ask: Callable[[], str | None] | None) -> str | None:
    """What the application has against more work, made fit for a status line."""
    if ask is None:
        return None
    try:
        said = ask()
    except Exception as error:
        return f"the application's question whether to wait raised {type(error).__name__}"
    if said is None or said == "":
        return None
    if not isinstance(said, str):
        return f"the application gave a {type(said).__name__} as its reason to wait, where None or a text is expected"
    return one_line(f"the application says: {said}")


def one_line(text: str) -> str:
    """Foreign text, without what would move a terminal's cursor, and not too long."""
    shown = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return shown if len(shown) <= LONGEST_REASON else f"{shown[: LONGEST_REASON - 1]}…"


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def at_least_zero(name: str, value: float, choice: str) -> float:
    if not is_number(value) or value < 0:
        raise ValueError(f"{name}={value!r}: choose {choice}.")
    return value
