"""Trying the listed documents again: what is at head then leaves the quarantine, what fails again stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import bson

from lazymigrate.change import CompareAndSet
from lazymigrate.commands import At, Clock, CompareAndSetMany, Failure, Find, Procedure, Stored
from lazymigrate.elements import id_of
from lazymigrate.exceptions import DocumentError
from lazymigrate.failures import of_error
from lazymigrate.outcome import Outcome, Refused, Upgraded, outcome, unstored
from lazymigrate.procedures.coverage import proven
from lazymigrate.procedures.persistence import insist, must, patiently
from lazymigrate.procedures.quarantine import entries, entries_of, forget, list_errors
from lazymigrate.quarantine import LOWEST
from lazymigrate.scope import LOGGER, Scope
from lazymigrate.sweeping import SweepReport

__all__ = ["retry"]

RACES = 3


@dataclass(slots=True)
class Tally:
    """What became of the documents so far; `stayed`: are listed still."""

    upgraded: int = 0
    conflicts: int = 0
    stayed: int = 0


def retry(scope: Scope, ids: Sequence[Any] | None = None, *, batch_size: int = 500) -> Procedure[SweepReport]:
    """Upgrade the listed documents again, or those of them that `ids` names, by compare-and-set, a batch at a time.

    What is at head afterwards, was deleted, or is ahead leaves the quarantine. What fails again stays, with another
    attempt counted; so does what others changed at each of three tries. `SchemaError` is raised at once.
    """
    if batch_size < 1:
        raise ValueError(f"{scope.name}: batch_size={batch_size!r}: it is at least 1.")
    started = yield Clock()
    tally = Tally()
    if ids is None:
        after: Any = LOWEST
        while page := (yield from entries(scope, after=after, limit=batch_size)):
            after = page[-1].document_id
            yield from retry_batch(scope, [entry.document_id for entry in page], tally)
    else:
        for start in range(0, len(ids), batch_size):
            page = yield from entries_of(scope, ids[start : start + batch_size])
            yield from retry_batch(scope, [entry.document_id for entry in page], tally)
    return (yield from report(scope, tally, started))


def retry_batch(scope: Scope, document_ids: Sequence[Any], tally: Tally) -> Procedure[None]:
    """Try some listed documents, those that lose their compare-and-set up to three times."""
    pending = {encoded(scope, document_id): document_id for document_id in document_ids}
    settled: list[bytes] = []
    errors: list[tuple[DocumentError, int | None]] = []
    for _ in range(RACES):
        if not pending:
            break
        raws: list[bytes] = yield from must(At("sweep", Find({"_id": {"$in": [*pending.values()]}})))
        decided: dict[bytes, Outcome] = {normal(scope, raw): outcome(scope, raw) for raw in raws}
        todo = {raw_id: result for raw_id, result in decided.items() if isinstance(result, Upgraded)}
        errors += [(result.error, None) for result in decided.values() if isinstance(result, Refused)]
        settled += [raw_id for raw_id in pending if not isinstance(decided.get(raw_id), (Upgraded, Refused))]
        stored = (yield from store(scope, [result.command for result in todo.values()])) if todo else Stored(0)
        names = list(todo)
        head = scope.schema.head
        for index, code in stored.refused.items():
            errors.append((unstored(scope, todo[names[index]].command.raw, head, code), code))
        left = [raw_id for index, raw_id in enumerate(names) if index not in stored.refused]
        tally.upgraded += stored.won
        tally.conflicts += len(left) - stored.won
        scope.tell("conflict", len(left) - stored.won)
        if stored.won == len(left):
            settled += left
            left = []
        # Which of them lost, the server does not say: they are read again, and what is at head by then has won.
        pending = {raw_id: scope.decode(raw_id)["_id"] for raw_id in left}
    yield from forget(scope, settled)  # before the others are listed: 1.0 may be listed where 1 is gone
    yield from list_errors(scope, [error for error, _ in errors], [code for _, code in errors])
    tally.stayed += len(errors) + len(pending)
    LOGGER.info(
        "%s: tried %d listed documents again, %d upgraded so far", scope.name, len(document_ids), tally.upgraded
    )


def store(scope: Scope, commands: Sequence[CompareAndSet]) -> Procedure[Stored]:
    """Store upgrades; a command that is refused as a whole is halved, down to the document that is to blame."""
    result = yield from insist(At("sweep", CompareAndSetMany(commands)))
    if not isinstance(result, Failure):
        stored: Stored = result
        return stored
    if of_error(result.error) != "document":
        raise result.error
    if len(commands) == 1:
        return Stored(0, {0: result.code or 0}, result.error)
    middle = len(commands) // 2
    first = yield from store(scope, commands[:middle])
    second = yield from store(scope, commands[middle:])
    refused = {**first.refused, **{middle + index: code for index, code in second.refused.items()}}
    return Stored(first.won + second.won, refused, first.error or second.error)


def normal(scope: Scope, raw: bytes) -> bytes:
    """The raw `_id` of a document as the collection's codec writes it."""
    return encoded(scope, scope.decode(id_of(raw))["_id"])


def encoded(scope: Scope, document_id: Any) -> bytes:
    return bson.encode({"_id": document_id}, codec_options=scope.codec)


def report(scope: Scope, tally: Tally, started: float) -> Procedure[SweepReport]:
    """The report, with a fresh count."""
    counted = yield from patiently(partial(proven, scope))
    return SweepReport(
        collection=scope.name,
        upgraded=tally.upgraded,
        conflicts=tally.conflicts,
        quarantined=tally.stayed,
        remaining=counted.outdated,
        passes=1,
        seconds=(yield Clock()) - started,
        complete=counted.outdated == 0 and counted.invalid == 0,
    )
