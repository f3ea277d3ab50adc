"""Counting what is left: of documents that a majority has, so that no failover can undo what the count says."""

from __future__ import annotations

from functools import partial

from lazymigrate.commands import Procedure
from lazymigrate.coverage import Coverage
from lazymigrate.procedures.coverage import proven
from lazymigrate.procedures.persistence import PATIENCE, must
from lazymigrate.procedures.quarantine import count_listed, unlisted_outdated
from lazymigrate.procedures.shift import Shift

__all__ = ["counted", "left_to_do"]


def counted(shift: Shift, *, patience: float = PATIENCE) -> Procedure[Coverage]:
    """The stamps of the shift's documents, or of those that are not at head; kept as `shift.counted`."""
    at_head = shift.course.kind != "sweep"  # those are what a downgrade moves
    count = partial(proven, shift.scope, shift.bounds(), at_head=at_head)
    shift.counted = yield from shift.patiently(count, patience=patience)
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
