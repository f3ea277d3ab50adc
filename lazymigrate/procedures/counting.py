"""Counting what is left: of documents that a majority has, so that no failover can undo what the count says."""

from __future__ import annotations

from functools import partial

from lazymigrate.backlog import index
from lazymigrate.commands import At, Procedure, StampCounts
from lazymigrate.coverage import Coverage
from lazymigrate.procedures.backlog import backlog_index
from lazymigrate.procedures.persistence import PATIENCE, must
from lazymigrate.procedures.quarantine import count_listed, unlisted_outdated
from lazymigrate.procedures.shift import Shift

__all__ = ["counted", "left_to_do"]


def counted(shift: Shift, *, patience: float = PATIENCE) -> Procedure[Coverage]:
    """The stamps of the shift's documents, all of them or, where there is a backlog index, those that are not at head.

    One scan without the index, and what is outdated with it; kept as `shift.counted`.
    """
    scope, parts = shift.scope, shift.bounds()
    if shift.course.kind == "sweep":
        find = partial(backlog_index, scope, whole=True)
        if (yield from shift.patiently(find, patience=patience)) is not None:
            parts = [dict(index(scope.schema).filter), *parts]
    command = At("proof", StampCounts(scope.schema.version_field, {"$and": parts} if parts else None))
    stamps = yield from must(command, shift.waits, patience=patience)
    shift.counted = Coverage.of(scope.schema, scope.name, stamps)
    return shift.counted


def left_to_do(shift: Shift, *, patience: float = PATIENCE) -> Procedure[int]:
    """How many documents are still to be moved and not in the quarantine; more than there are where that is not zero."""
    yield from counted(shift, patience=patience)
    left = sum(shift.present.values())
    if not left:
        return 0
    listed: int = yield from must(count_listed(shift.scope), shift.waits)
    if not listed or left > listed:
        return left
    moved = shift.course.where(shift.bounds())
    return (yield from shift.patiently(partial(unlisted_outdated, shift.scope, moved)))
