"""The journal: revisions are registered, compared and retired; coverage is recorded."""

from __future__ import annotations

from collections.abc import Sequence

from bson import ObjectId

from lazymigrate.commands import At, Attempt, Failure, Find, InsertOne, Procedure, UpdateOne
from lazymigrate.coverage import Coverage
from lazymigrate.exceptions import CoverageError, DriftError
from lazymigrate.journal import (
    Deployment,
    Journal,
    RevisionRecord,
    StampRecord,
    changed,
    coverage_document,
    key,
    of_kind,
    to_point,
)
from lazymigrate.procedures.backlog import create_backlog_index, drop_stale_backlog_indexes
from lazymigrate.procedures.coverage import proven
from lazymigrate.procedures.runs import clock, history, recorded
from lazymigrate.scope import LOGGER, Scope
from lazymigrate.trend import TrendPoint
from lazymigrate.wording import documents

__all__ = ["deploy", "journal", "record_coverage", "records", "retire", "trend"]

DUPLICATE = 11000
NO_PARTIAL_INDEX = frozenset({67, 72, 166})  # an old server, a time-series collection, a view


def records(scope: Scope) -> Procedure[list[RevisionRecord]]:
    """The revisions that the journal has of this collection, the oldest first."""
    raws = yield At("journal", Find(of_kind("revision", scope.name, "version"), sort=[("_id", 1)]))
    return [recorded(scope, raw, RevisionRecord.from_document) for raw in raws]


def journal(scope: Scope, limit: int = 20) -> Procedure[Journal]:
    """What the journal says of this collection: every revision, and the last of everything else."""
    points = yield from trend(scope, limit)
    stamps = yield At("journal", Find(of_kind("stamp", scope.name, "stamp"), sort=[("_id", -1)], limit=limit))
    return Journal(
        collection=scope.name,
        revisions=(yield from records(scope)),
        runs=(yield from history(scope, limit)),
        stamps=[recorded(scope, raw, StampRecord.from_document) for raw in stamps],
        trend=points,
    )


def deploy(scope: Scope, application: str | None = None) -> Procedure[Deployment]:
    """All revisions are in the journal, and the backlog index of this head is there; nothing of it twice.

    `DriftError` when one does something else than what was recorded under its number, and nothing is registered then. Of
    two who deploy different revisions under one number at once, one is refused.
    """
    schema = scope.schema
    now = yield from clock()
    known = yield from records(scope)
    refuse_drift(scope, (changed(schema, known, now)))
    versions = {record.version for record in known}
    registered: list[int] = []
    for revision in schema.revisions:
        if revision.version in versions:
            continue
        record = RevisionRecord.of(scope.name, revision, now, application)
        answer = yield Attempt(At("journal", InsertOne(record.to_document())))
        if not isinstance(answer, Failure):
            registered.append(revision.version)
        elif answer.code == DUPLICATE:  # somebody else deploys, too
            refuse_drift(scope, changed(schema, (yield from records(scope)), now))
        else:
            raise answer.error
    index, dropped = yield from indexed(scope)
    return Deployment(
        collection=scope.name,
        head=schema.head,
        registered=tuple(registered),
        known=tuple(r.version for r in schema.revisions if r.version not in registered),
        newer=tuple(sorted(version for version in versions if version > schema.head)),
        index=index,
        dropped=tuple(dropped),
    )


def refuse_drift(scope: Scope, revisions: Sequence[object]) -> None:
    """`DriftError` for revisions that are not what they were."""
    if revisions:
        lines = "".join(f"\n  {revision}" for revision in revisions)
        raise DriftError(
            f"{scope.name}: what has run already was changed:{lines}\nDocuments that were upgraded before are not what this "
            "code makes of others. Take the change back, and declare it as a new revision.",
            collection=scope.name,
            revisions=tuple(revisions),  # type: ignore[arg-type]
        )


def indexed(scope: Scope) -> Procedure[tuple[str | None, list[str]]]:
    """The backlog index of this head, made where it is missing, and those of older heads that were dropped."""
    try:
        index = yield from create_backlog_index(scope)
    except Exception as error:
        if getattr(error, "code", None) not in NO_PARTIAL_INDEX:
            raise
        LOGGER.warning("%s: there can be no backlog index here (%s)", scope.name, type(error).__name__)
        return None, []
    return index, (yield from drop_stale_backlog_indexes(scope))


def record_coverage(coverage: Coverage) -> Procedure[TrendPoint]:
    """The coverage is in the journal, under the server's time."""
    document = coverage_document(coverage, (yield from clock()), ObjectId())
    yield At("journal", InsertOne(document))
    return to_point(document)


def trend(scope: Scope, limit: int = 50) -> Procedure[list[TrendPoint]]:
    """The last recorded coverages, the oldest first."""
    if type(limit) is not int or limit < 1:
        raise ValueError(f"{scope.name}: limit={limit!r}: it is a number of points, at least 1.")
    wanted = of_kind("coverage", scope.name, "taken")
    raws = yield At("journal", Find(wanted, sort=[("_id", -1)], limit=limit))
    return [recorded(scope, raw, to_point) for raw in reversed(raws)]


def retire(scope: Scope, version: int) -> Procedure[list[RevisionRecord]]:
    """The journal says that the revisions up to `version` are retired: their records; no document needs them.

    `CoverageError` while one does, as a majority has it. The declarations are the application's to remove.
    """
    schema = scope.schema
    if type(version) is not int or not schema.oldest < version <= schema.head:
        raise ValueError(
            f"{scope.name}: revision {version!r} cannot be retired: choose one from {schema.oldest + 1} to {schema.head}."
        )
    # the backlog index lacks what only empty revisions separate from head, and what retiring one of these would cut off
    counted = yield from proven(scope, at_head=version > schema.settled)
    needed = counted.needed(version)
    if needed or counted.invalid:
        parts = [f"revision {version} or one before is needed by {documents(needed)}"] if needed else []
        parts += (
            [f"nobody knows what is needed by {documents(counted.invalid)} with a stamp that is no version"]
            if counted.invalid
            else []
        )
        remedy = "Sweep the collection first, and look what is in the quarantine."
        if not counted.needed(schema.settled) and not counted.invalid:  # a sweep would find nothing to do
            remedy = f"No sweep rewrites documents for empty revisions: retire those up to {schema.settled} only."
            remedy = (
                remedy
                if schema.settled > schema.oldest
                else "No sweep rewrites documents for empty revisions: keep them."
            )
        raise CoverageError(f"{scope.name}: {', and '.join(parts)}. {remedy}", coverage=counted)
    now = yield from clock()
    for number in range(schema.oldest + 1, version + 1):
        own = {"_id": key("revision", scope.name, version=number), "retired": None}
        yield At("journal", UpdateOne(own, {"$set": {"retired": now}}))
    return [record for record in (yield from records(scope)) if schema.oldest < record.version <= version]
