"""The sweep: upgrade what reads do not reach.

It walks the outdated documents by `_id` (never by version: documents that leave a walked index are met again), a batch
at a time, and stores each batch by compare-and-set. A pass can leave stragglers behind, documents that somebody
changed between the read and the write, so it goes on until a fresh count of what is outdated and not refused is zero.
"""

from __future__ import annotations

from typing import Any

import bson

from lazymigrate.commands import CompareAndSetMany, Count, Find, Procedure, StampCounts, Stored
from lazymigrate.coverage import Coverage
from lazymigrate.elements import id_of
from lazymigrate.exceptions import DocumentError, UpgradeError, describe
from lazymigrate.outcome import Refused, Upgraded, outcome
from lazymigrate.procedures.quarantine import list_errors
from lazymigrate.scope import LOGGER, Scope
from lazymigrate.sweeping import Progress, ProgressListener, StoppedBy, SweepReport
from lazymigrate.versions import outdated_filter

__all__ = ["sweep"]

BATCH_SIZE = 500
START: Any = object()
IDLE_PASSES = 3  # that find outdated documents and can do nothing about any


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
    total = remaining = yield Count(outdated, primary=True)
    listed: set[bytes] = set()
    upgraded = conflicts = passes = idle = 0
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
            raws = yield Find(beyond(outdated, after), sort=[("_id", 1)], limit=page, primary=True)
            if not raws:
                break
            after = scope.decode(id_of(raws[-1]))["_id"]
            decided = [outcome(scope, raw) for raw in raws]
            todo = [result for result in decided if isinstance(result, Upgraded)]
            stored = (yield CompareAndSetMany([result.command for result in todo])) if todo else Stored(0)
            upgraded += stored.won
            lost = len(todo) - stored.won - len(stored.refused)
            conflicts += lost
            scope.tell("conflict", lost)
            moved += stored.won + lost
            problems = [result.error for result in decided if isinstance(result, Refused)]
            problems += [unstored(scope, todo[index], code) for index, code in stored.refused.items()]
            refused += len(problems)
            errors = [error for error in problems if key(scope, error) not in listed]
            listed.update(key(scope, error) for error in errors)
            yield from list_errors(scope, errors)
            LOGGER.info("%s: swept a batch of %d, %d upgraded so far", scope.name, len(raws), upgraded)
            if progress is not None:
                progress(Progress(done=upgraded, total=total, conflicts=conflicts, quarantined=len(listed)))
        remaining = yield Count(outdated, primary=True)
        if remaining <= refused:
            break
        idle = 0 if moved else idle + 1
        if idle == IDLE_PASSES:
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


def unstored(scope: Scope, result: Upgraded, code: int) -> UpgradeError:
    """The error for a document that the server did not take at head."""
    return UpgradeError(
        f"{scope.name}: {describe(result.document.get('_id'))} was upgraded, and the server refused to store it (code "
        f"{code}): a validator, a unique index or its size. Change the rule or the document.",
        collection=scope.name,
        document_id=result.document.get("_id"),
        version=result.stored.get(scope.schema.version_field),
    )


def key(scope: Scope, error: DocumentError) -> bytes:
    """What tells one refused document from another."""
    return bson.encode({"_id": error.document_id}, codec_options=scope.codec)


def beyond(filter: dict[str, Any], after: Any) -> dict[str, Any]:
    """The filter, for documents that follow an `_id` in the order of all BSON types."""
    if after is START:
        return filter
    return {"$and": [filter, {"$expr": {"$gt": ["$_id", {"$literal": after}]}}]}
