"""Through the client: chains with functions, and documents that are not safe inside MongoDB.

Pages of outdated documents come raw, are upgraded in memory and stored by compare-and-set, each document encoded by itself
first, so that one that BSON cannot hold spoils no others. What loses its compare-and-set is still outdated, and is met
again by the next pass. A command that the server refuses as a whole is halved, down to the document that is to blame.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from lazymigrate.change import CompareAndSet
from lazymigrate.commands import At, Attempt, Begin, CompareAndSetMany, Failure, Find, Finish, Procedure, Stored
from lazymigrate.elements import id_of
from lazymigrate.encoding import encoded, replaced
from lazymigrate.exceptions import DocumentError
from lazymigrate.failures import of_error
from lazymigrate.lowering import lowered
from lazymigrate.outcome import Outcome, Refused, Upgraded, outcome, replacement, unstored
from lazymigrate.procedures.quarantine import list_errors, listed_among
from lazymigrate.procedures.shift import OPEN, Shift

__all__ = ["decide", "next_page", "through"]

COMMAND_BYTES = 12_000_000  # of update statements in one command, which the server takes up to 16 MiB
LARGE = 1_000_000  # bytes of a document of which no second copy is sent beside the first
PAGE_BYTES = 4_000_000  # of documents in a page, as far as the last page tells


class Item(NamedTuple):
    """A document as it was read, and what stores it upgraded: an update statement in BSON, and a compare-and-set.

    Of the two, the other is missing where one is enough: no statement where the server runs none, no command where the
    statement is all that is known.
    """

    raw: bytes
    statement: bytes
    command: CompareAndSet | None = None


def through(shift: Shift, *, listed: bool) -> Procedure[None]:
    """Move what is left by way of the client, from the shift's position on; `listed`: there is a quarantine to spare."""
    size = min(shift.slice_size, 100)
    page = yield Begin(At("sweep", next_page(shift, shift.next_after, size)))
    while True:
        raws = yield Finish(page)
        if isinstance(raws, Failure):
            raws = yield from shift.must(next_page(shift, shift.next_after, size))
        if not raws:
            yield from shift.drain()
            return
        if not (yield from shift.ready()):
            return
        raws = raws[: shift.allowance]
        upto = shift.scope.decode(id_of(raws[-1]))["_id"]
        size = fitting(shift.slice_size, raws)
        page = yield Begin(At("sweep", next_page(shift, upto, size)))
        items, errors = yield from upgraded(shift, raws, listed=listed)
        yield from refuse(shift, errors)
        yield from send(shift, items, upto)


def next_page(shift: Shift, after: Any, size: int) -> Find:
    """The query for the outdated documents that follow an `_id`; one answer of the server, however large they are."""
    found = shift.course.where(shift.bounds(after=after))
    return Find(found, sort=[("_id", 1)], limit=-size, options={"hint": shift.hint})


def fitting(size: int, raws: Sequence[bytes]) -> int:
    """How many documents of that size to ask for."""
    largest = max(1, sum(map(len, raws)) // len(raws))
    return max(1, min(size, PAGE_BYTES // largest))


def upgraded(
    shift: Shift, raws: Sequence[bytes], *, listed: bool
) -> Procedure[tuple[list[Item], list[tuple[DocumentError, int | None]]]]:
    """The upgraded documents of a page, and the errors of those that cannot be; it ends early when too many cannot."""
    if listed:
        ids = [id_of(raw) for raw in raws]
        spared = yield from shift.patiently(lambda: listed_among(shift.scope, ids))
        raws = [raw for raw in raws if id_of(raw) not in spared]
    items: list[Item] = []
    errors: list[tuple[DocumentError, int | None]] = []
    for raw in raws:
        result = item_of(shift, raw)
        if isinstance(result, Item):
            shift.budget.interrupted_row()  # it counts as tried when it is stored, or is refused there
            items.append(result)
        elif isinstance(result, Refused):
            errors.append((result.error, None))
            shift.budget.refused(1)
            if shift.budget.exceeded:
                break
    return items, errors


def item_of(shift: Shift, raw: bytes) -> Item | Refused | None:
    """What is to be sent for one document; None where nothing is."""
    scope = shift.scope
    if scope.inside and shift.course.kind == "sweep" and len(raw) < LARGE:
        wanted = replacement(scope, raw)
        if isinstance(wanted, bytes):
            return Item(raw, replaced(id_of(raw), raw, wanted))
        if wanted is not None:
            return wanted
    result = decide(shift, raw)
    if isinstance(result, Upgraded):
        return Item(raw, encoded(result.command, scope.codec) if scope.inside else b"", result.command)
    return result if isinstance(result, Refused) else None


def decide(shift: Shift, raw: bytes) -> Outcome:
    """What becomes of one document."""
    upwards = shift.course.kind == "sweep"
    return outcome(shift.scope, raw) if upwards else lowered(shift.scope, raw, shift.course)


def send(shift: Shift, items: Sequence[Item], upto: Any) -> Procedure[None]:
    """Let the compare-and-sets of a page leave, in as few commands as they fit into."""
    groups = grouped(items)
    for number, group in enumerate(groups):
        last = number == len(groups) - 1
        yield from shift.launch(
            At("sweep", command(group)), len(group), upto if last else OPEN, partial(land, shift, group)
        )
        if not last:
            yield from shift.drain()
    if not groups:
        yield from shift.drain()
        shift.after = upto


def grouped(items: Sequence[Item]) -> list[list[Item]]:
    """The items in groups whose statements fit into one command."""
    groups: list[list[Item]] = []
    room = 0
    for item in items:
        if not groups or len(item.statement) > room:
            groups.append([])
            room = COMMAND_BYTES
        groups[-1].append(item)
        room -= len(item.statement)
    return groups


def command(items: Sequence[Item]) -> CompareAndSetMany:
    """The compare-and-sets of some documents."""
    known = [item.command for item in items if item.command is not None]
    return CompareAndSetMany(known, encoded=[item.statement for item in items if item.statement])


def land(shift: Shift, items: Sequence[Item], result: Stored | Failure) -> Procedure[None]:
    """Count what became of some compare-and-sets; after an answer that never came, read again what they did."""
    if isinstance(result, Failure):
        yield from land_again(shift, items, result)
        return
    lost = len(items) - result.won - len(result.refused)
    shift.upgraded += result.won
    shift.conflicts += lost
    shift.scope.tell("conflict", lost)
    shift.budget.succeeded(len(items) - len(result.refused))
    shift.budget.refused(len(result.refused))
    yield from refuse(
        shift,
        [
            (unstored(shift.scope, items[index].raw, shift.course.target, code), code)
            for index, code in result.refused.items()
        ],
    )


def land_again(shift: Shift, items: Sequence[Item], failure: Failure) -> Procedure[None]:
    """After a failed command: those that are at the target were stored; the others are tried again, in halves if need be."""
    verdict = of_error(failure.error)
    if verdict == "fatal":
        raise failure.error
    if verdict == "document" and len(items) == 1:
        shift.budget.refused(1)
        code = failure.code
        yield from refuse(shift, [(unstored(shift.scope, items[0].raw, shift.course.target, code), code)])
        return
    if verdict == "document":
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            yield from land(shift, half, (yield Attempt(At("sweep", command(half)))))
        return
    left = yield from still_outdated(shift, items)
    rest = [item for item in items if id_of(item.raw) in left]
    shift.upgraded += len(items) - len(rest)
    shift.budget.succeeded(len(items) - len(rest))
    if rest:
        yield from land(shift, rest, (yield from shift.insist(command(rest))))


def still_outdated(shift: Shift, items: Sequence[Item]) -> Procedure[set[bytes]]:
    """The raw `_id`s of those documents that are still to be moved."""
    ids = [shift.scope.decode(id_of(item.raw))["_id"] for item in items]
    found = shift.course.where([{"_id": {"$in": ids}}])
    raws = yield from shift.must(Find(found, options={"projection": {"_id": 1}}))
    return {id_of(raw) for raw in raws}


def refuse(shift: Shift, errors: Sequence[tuple[DocumentError, int | None]]) -> Procedure[None]:
    """List documents in the quarantine."""
    if errors:
        shift.quarantined += yield from list_errors(
            shift.scope, [error for error, _ in errors], [code for _, code in errors]
        )
