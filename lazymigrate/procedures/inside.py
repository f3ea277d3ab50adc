"""Inside MongoDB: declared chains are run by the server itself, one range of `_id`s after the other.

A range holds as many outdated documents as a flight may take. Its update names the version and the safe filter, so it may
be sent again after an answer that never came, and whatever it leaves (documents that are not safe, that the server
refuses, or that came meanwhile) is still outdated, and goes through the client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from lazymigrate.commands import At, Count, Failure, Find, Procedure, Stored, UpdateStatements
from lazymigrate.elements import id_of
from lazymigrate.failures import of_error
from lazymigrate.procedures.quarantine import listed_between
from lazymigrate.procedures.shift import OPEN, Shift
from lazymigrate.rendering import Update

__all__ = ["inside"]


class Range(NamedTuple):
    """Some documents by their `_id`s: the filter of all that are outdated, their number, what bounds them."""

    filter: Mapping[str, Any]
    documents: int
    bounds: Sequence[Mapping[str, Any]]


def inside(shift: Shift, *, listed: bool) -> Procedure[None]:
    """Move what can be moved inside MongoDB, from the shift's position on; `listed`: there is a quarantine to spare."""
    ways = {version: updates for version, updates in shift.course.inside().items() if version in shift.present}
    if not ways:
        return
    lowest = min(ways)
    while True:
        after, size = shift.next_after, shift.slice_size
        # Asked before it is known whether the next flight may leave: others are on their way meanwhile.
        upto = yield from bound(shift, lowest, after, size)
        if not (yield from shift.ready()):
            return
        bounds = shift.bounds(after=after, upto=upto)
        spared = (yield from listed_in(shift, after, upto)) if listed else []
        bounds += [{"_id": {"$nin": spared}}] if spared else []
        found = shift.course.where(bounds, lowest=lowest)
        known = upto is not OPEN and not spared
        some = Range(found, size if known else (yield from shift.must(Count(found))), bounds)
        if some.documents:
            first = statements(shift, ways, 0, bounds)
            yield from shift.launch(
                At("sweep", first), some.documents, upto, partial(land, shift, ways=ways, some=some, sent=first)
            )
        if upto is OPEN:
            yield from shift.drain()
            return


def listed_in(shift: Shift, after: Any, upto: Any) -> Procedure[list[Any]]:
    """The documents of a range that are in the quarantine."""
    ends = [None if end is OPEN else end for end in (after, upto)]
    return (yield from shift.patiently(lambda: listed_between(shift.scope, *ends)))


def bound(shift: Shift, lowest: int, after: Any, size: int) -> Procedure[Any]:
    """The `_id` of the last of the next `size` documents; `OPEN` where fewer are left."""
    options = {"projection": {"_id": 1}, "hint": shift.hint}
    bounds = shift.bounds(after=after)
    if shift.dense and lowest == min(shift.present):
        found: Mapping[str, Any] = {"$and": bounds} if bounds else {}
    else:
        found = shift.course.where(bounds, lowest=lowest)
    last = yield from shift.must(Find(found, sort=[("_id", 1)], skip=size - 1, limit=-1, options=options))
    return shift.scope.decode(id_of(last[0]))["_id"] if last else OPEN


def statements(
    shift: Shift, ways: Mapping[int, Sequence[Update]], which: int, bounds: Sequence[Mapping[str, Any]]
) -> UpdateStatements:
    """The cheapest (0) or the last (-1) update of each version, for a range."""
    return UpdateStatements(
        [
            {
                "q": {"$and": [*updates[which].filter["$and"], *bounds]},
                "u": updates[which].update,
                "multi": True,
                "hint": shift.hint,
            }
            for updates in ways.values()
        ]
    )


def land(
    shift: Shift, result: Stored | Failure, *, ways: Mapping[int, list[Update]], some: Range, sent: UpdateStatements
) -> Procedure[None]:
    """Count what an update did; what it left although it may be safe gets the update for all that is."""
    moved, proven = yield from outcome_of(shift, result, sent)
    several = {version: updates for version, updates in ways.items() if len(updates) > 1}
    if moved < some.documents and several and proven:
        rest = statements(shift, several, -1, some.bounds)
        more, proven = yield from outcome_of(shift, (yield from shift.insist(rest)), rest)
        moved += more
    if not proven:
        left = yield from shift.must(Count(some.filter))
        moved = max(0, some.documents - left)
    shift.upgraded += moved
    shift.budget.succeeded(moved)


def outcome_of(shift: Shift, result: Stored | Failure, sent: UpdateStatements) -> Procedure[tuple[int, bool]]:
    """How many documents an update moved, and whether that is sure."""
    proven = True
    if isinstance(result, Failure) and of_error(result.error) == "transient":
        proven = False
        result = yield from shift.insist(sent)
    if isinstance(result, Failure):
        if of_error(result.error) == "fatal":
            raise result.error
        return 0, False
    return result.won, proven and not result.refused
