"""The sweep: upgrade what reads do not reach.

It walks the outdated documents by `_id` (never by version: documents that leave a walked index are met again), a batch
at a time, and stores each batch by compare-and-set. A pass can leave stragglers behind, documents that somebody
changed between the read and the write, so it goes on until a fresh count of what is outdated and not refused is zero.
"""

from __future__ import annotations

from typing import Any

from lazymigrate.commands import CompareAndSetMany, Count, Find, Procedure, StampCounts
from lazymigrate.coverage import Coverage
from lazymigrate.elements import only
from lazymigrate.exceptions import DocumentError
from lazymigrate.outcome import Refused, Upgraded, outcome
from lazymigrate.procedures.quarantine import list_errors
from lazymigrate.scope import LOGGER, Scope
from lazymigrate.sweeping import Progress, ProgressListener, StoppedBy, SweepReport
from lazymigrate.versions import outdated_filter

__all__ = ["sweep"]

BATCH_SIZE = 500
START: Any = object()


def sweep(
    scope: Scope, *, batch_size: int | None = None, limit: int | None = None, progress: ProgressListener | None = None
) -> Procedure[SweepReport]:
    """Upgrade outdated documents until a fresh count finds none, or `limit` documents were upgraded.

    A document that cannot be upgraded is listed in the quarantine and left as it is. `SchemaError` stops the sweep.
    """
    size = BATCH_SIZE if batch_size is None else batch_size
    if size < 1:
        raise ValueError(f"{scope.name}: batch_size={batch_size!r}: it is at least 1.")
    if limit is not None and limit < 0:
        raise ValueError(f"{scope.name}: limit={limit!r}: it is at least 0, or None.")
    schema = scope.schema
    outdated = outdated_filter(schema.version_field, schema.oldest, schema.settled, schema.base)
    total = remaining = yield Count(outdated)
    listed: set[bytes] = set()
    upgraded = conflicts = passes = 0
    stopped_by: StoppedBy = "finished"
    while remaining and stopped_by == "finished":
        passes += 1
        moved = refused = 0
        after: Any = START
        while True:
            if limit is not None and upgraded >= limit:
                stopped_by = "limit"
                break
            page = size if limit is None else min(size, limit - upgraded)
            raws = yield Find(beyond(outdated, after), sort=[("_id", 1)], limit=page)
            if not raws:
                break
            after = scope.decode(only(raws[-1], ("_id",)))["_id"]
            decided = [outcome(scope, raw) for raw in raws]
            commands = [result.command for result in decided if isinstance(result, Upgraded)]
            won = (yield CompareAndSetMany(commands)) if commands else 0
            upgraded += won
            conflicts += len(commands) - won
            moved += len(commands)
            errors: list[DocumentError] = []
            for raw, result in zip(raws, decided, strict=True):
                if isinstance(result, Refused):
                    refused += 1
                    if only(raw, ("_id",)) not in listed:
                        listed.add(only(raw, ("_id",)))
                        errors.append(result.error)
            yield from list_errors(scope, errors)
            LOGGER.info("%s: swept a batch of %d, %d upgraded so far", scope.name, len(raws), upgraded)
            if progress is not None:
                progress(Progress(upgraded, total, conflicts, len(listed)))
        remaining = yield Count(outdated)
        if stopped_by == "finished" and remaining <= refused:
            break
        if stopped_by == "finished" and not moved:
            stopped_by = "errored"
    counted = Coverage.of(schema, scope.name, (yield StampCounts(schema.version_field)))
    return SweepReport(
        collection=scope.name,
        upgraded=upgraded,
        conflicts=conflicts,
        quarantined=len(listed),
        remaining=counted.outdated,
        passes=passes,
        complete=counted.outdated == 0 and counted.invalid == 0,
        stopped_by=stopped_by,
    )


def beyond(filter: dict[str, Any], after: Any) -> dict[str, Any]:
    """The filter, for documents that follow an `_id` in the order of all BSON types."""
    if after is START:
        return filter
    return {"$and": [filter, {"$expr": {"$gt": ["$_id", {"$literal": after}]}}]}
