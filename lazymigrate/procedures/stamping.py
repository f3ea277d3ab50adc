"""Setting versions without transforming documents: for those that have the shape of another version than their stamp says."""

from __future__ import annotations

from dataclasses import replace

from bson import ObjectId

from lazymigrate.commands import At, Count, InsertOne, Procedure, ReplaceOne, UpdateMany
from lazymigrate.journal import StampRecord
from lazymigrate.procedures.runs import clock
from lazymigrate.scope import LOGGER, Scope
from lazymigrate.versions import at_version

__all__ = ["stamp"]


def stamp(scope: Scope, to: int, *, from_version: int, by: str, dry_run: bool = False) -> Procedure[StampRecord]:
    """The documents at `from_version` are stamped `to`, nothing else of them is touched, and the journal says so.

    What is ahead of this code is never relabelled: both are versions from base to head, `to` from oldest on. The record is
    written before the documents, and completed after them. `dry_run` counts only.
    """
    schema = scope.schema
    for name, version, lowest in (("to", to, schema.oldest), ("from_version", from_version, schema.base)):
        if type(version) is not int or not lowest <= version <= schema.head:
            raise ValueError(f"{scope.name}: {name}={version!r} is not a version from {lowest} to {schema.head}.")
    if to == from_version:
        raise ValueError(
            f"{scope.name}: from version {to} to itself: there is nothing to stamp. Choose another version."
        )
    chosen = {"$and": at_version(schema.version_field, from_version, schema.base)}
    record = StampRecord(
        collection=scope.name, source=from_version, target=to, at=(yield from clock()), by=by, id=ObjectId()
    )
    if dry_run:
        return completed(record, (yield At("sweep", Count(chosen))))
    yield At("journal", InsertOne(record.to_document()))
    try:
        result = yield At("sweep", UpdateMany(chosen, {"$set": {schema.version_field: to}}))
    finally:
        scope.presence.forget()  # what is stored now, this process has made so
    record = completed(record, result.modified_count)
    yield At("journal", ReplaceOne({"_id": record.to_document()["_id"]}, record.to_document()))
    LOGGER.info("%s: stamped %d documents from version %d to %d", scope.name, record.documents, from_version, to)
    return record


def completed(record: StampRecord, documents: int) -> StampRecord:
    return replace(record, documents=documents, finished=True)
