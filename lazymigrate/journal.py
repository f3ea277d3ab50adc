"""What the journal keeps beside runs: the revisions that were deployed, coverage over time, and stamps set by hand.

The journal is one collection of the same database. Its documents' `_id`s are `{kind, collection, …}`, so that those of one
kind and collection stand together, in the order of what follows, and the index on `_id` answers every question about
them. Reads of the application's documents never need it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson import MaxKey, MinKey, json_util
from bson.son import SON

from lazymigrate.checksum import checksum, same
from lazymigrate.coverage import Coverage
from lazymigrate.declaration import data
from lazymigrate.revision import Revision
from lazymigrate.runs import EXTENDED, Run, moment
from lazymigrate.schema import Schema
from lazymigrate.trend import TrendPoint
from lazymigrate.wording import documents

__all__ = [
    "ChangedRevision",
    "Deployment",
    "Journal",
    "RevisionRecord",
    "StampRecord",
    "changed",
    "coverage_document",
    "key",
    "of_kind",
    "to_point",
]


def key(kind: str, collection: str, **rest: Any) -> dict[str, Any]:
    """The `_id` of a document of the journal."""
    return SON([("kind", kind), ("collection", collection), *rest.items()])


def of_kind(kind: str, collection: str, by: str) -> dict[str, Any]:
    """The filter for all documents of one kind that belong to a collection; `by` is the last key of their `_id`s."""
    bounds = (key(kind, collection, **{by: end}) for end in (MinKey(), MaxKey()))
    return {"_id": dict(zip(("$gt", "$lt"), bounds, strict=True))}


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionRecord:
    """A revision as it was when it was first deployed.

    - `checksum`: of what it does (`lazymigrate.checksum`). `operations`: these as data; None for a function.
    - `registered`: when, by the server's clock, in UTC; `application`: the version of the application that did it.
    - `retired`: when it was found that no document needs it any more, and somebody said so; else None.
    """

    collection: str
    version: int
    name: str
    checksum: str
    description: str = ""
    operations: Sequence[Mapping[str, Any]] | None = None
    registered: datetime
    application: str | None = None
    retired: datetime | None = None

    @classmethod
    def of(cls, collection: str, revision: Revision, now: datetime, application: str | None) -> RevisionRecord:
        """The record of a revision that is deployed now."""
        return cls(
            collection=collection,
            version=revision.version,
            name=revision.name,
            checksum=checksum(revision),
            description=revision.description,
            operations=None if revision.function is not None else [data(each) for each in revision.operations],
            registered=now,
            application=application,
        )

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> RevisionRecord:
        """The record that a document of the journal holds."""
        operations = document.get("operations")
        retired, application = document.get("retired"), document.get("application")
        return cls(
            collection=document["_id"]["collection"],
            version=int(document["_id"]["version"]),
            name=str(document["name"]),
            checksum=str(document["checksum"]),
            description=str(document.get("description", "")),
            operations=None if operations is None else json_util.loads(operations, json_options=EXTENDED),
            registered=moment(document["registered"]),
            application=None if application is None else str(application),
            retired=None if retired is None else moment(retired),
        )

    def to_document(self) -> dict[str, Any]:
        """The document that the journal holds for it; operations in Extended JSON, since constants may be any BSON."""
        operations = None if self.operations is None else json_util.dumps(self.operations, json_options=EXTENDED)
        return {
            "_id": key("revision", self.collection, version=self.version),
            "name": self.name,
            "description": self.description,
            "checksum": self.checksum,
            "operations": operations,
            "registered": self.registered,
            "application": self.application,
            "retired": self.retired,
        }

    def to_json(self) -> str:
        """The record as a JSON object: operations in canonical Extended JSON, dates in ISO 8601."""
        operations = json_util.dumps(self.operations, json_options=EXTENDED)
        return json.dumps(
            {
                "version": self.version,
                "name": self.name,
                "description": self.description,
                "checksum": self.checksum,
                "operations": json.loads(operations),
                "registered": iso(self.registered),
                "application": self.application,
                "retired": iso(self.retired),
            }
        )

    def __str__(self) -> str:
        by = "" if self.application is None else f" by {self.application}"
        retired = "" if self.retired is None else f", retired {self.retired:%Y-%m-%d}"
        return f"revision {self.version} {self.name!r}, registered {self.registered:%Y-%m-%d %H:%M} UTC{by}{retired}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedRevision:
    """A revision that does something else than what was recorded under its number.

    `name` is what it is called here, `recorded` what it was called there; `registered` and `application` are the
    record's, `found` is when the difference was seen (both UTC).
    """

    version: int
    name: str
    recorded: str
    registered: datetime
    application: str | None
    found: datetime

    def __str__(self) -> str:
        called = "" if self.name == self.recorded else f", recorded as {self.recorded!r}"
        by = "" if self.application is None else f" by {self.application}"
        return (
            f"revision {self.version} {self.name!r}{called}, registered {self.registered:%Y-%m-%d %H:%M} UTC{by}, does "
            f"something else as of {self.found:%Y-%m-%d %H:%M} UTC"
        )


def changed(schema: Schema, records: Sequence[RevisionRecord], now: datetime) -> tuple[ChangedRevision, ...]:
    """The revisions of the schema that differ from their records; those that cannot be compared do not count."""
    recorded = {record.version: record for record in records}
    return tuple(
        ChangedRevision(
            version=revision.version,
            name=revision.name,
            recorded=record.name,
            registered=record.registered,
            application=record.application,
            found=now,
        )
        for revision in schema.revisions
        if (record := recorded.get(revision.version)) is not None and same(record.checksum, checksum(revision)) is False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What `deploy` did: nothing of it is done twice.

    - `registered`: the revisions that were new to the journal; `known`: those that it had; `newer`: those that it has and
      this code does not: a newer release was deployed before.
    - `index`: the name of the backlog index, None where the server or the collection cannot have one; `dropped`: the
      names of those of older heads.
    """

    collection: str
    head: int
    registered: tuple[int, ...] = ()
    known: tuple[int, ...] = ()
    newer: tuple[int, ...] = ()
    index: str | None = None
    dropped: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.collection}: head {self.head}"]
        parts.append(f"registered {numbers(self.registered)}" if self.registered else "nothing new to register")
        if self.newer:
            parts.append(f"the journal has {numbers(self.newer)} of a newer release")
        parts.append("no backlog index" if self.index is None else f"backlog index {self.index!r}")
        if self.dropped:
            parts.append(f"dropped {', '.join(map(repr, self.dropped))}")
        return ", ".join(parts)

    def to_json(self) -> str:
        """All of it as a JSON object."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})


def numbers(versions: Sequence[int]) -> str:
    return f"{'revision' if len(versions) == 1 else 'revisions'} {', '.join(map(str, versions))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StampRecord:
    """That somebody set versions without transforming documents: `documents` of them, from version `source` to `target`.

    `finished` is False until it is known how many; a record that stays so tells of an interruption.
    """

    collection: str
    source: int
    target: int
    at: datetime
    by: str
    documents: int = 0
    finished: bool = False
    id: Any = field(default=None, compare=False)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> StampRecord:
        """The record that a document of the journal holds."""
        return cls(
            collection=document["_id"]["collection"],
            source=int(document["from"]),
            target=int(document["to"]),
            at=moment(document["at"]),
            by=str(document["by"]),
            documents=int(document["documents"]),
            finished=bool(document["finished"]),
            id=document["_id"]["stamp"],
        )

    def to_document(self) -> dict[str, Any]:
        """The document that the journal holds for it."""
        return {
            "_id": key("stamp", self.collection, stamp=self.id),
            "from": self.source,
            "to": self.target,
            "at": self.at,
            "by": self.by,
            "documents": self.documents,
            "finished": self.finished,
        }

    def __str__(self) -> str:
        what = f"{documents(self.documents)} stamped" if self.finished else "documents were being stamped"
        return f"{self.collection}: {what} from version {self.source} to {self.target}, {self.at:%Y-%m-%d %H:%M} UTC by {self.by}"

    def to_json(self) -> str:
        """The record as a JSON object."""
        document = self.to_document()
        del document["_id"]
        return json.dumps({"collection": self.collection, **document, "at": self.at.isoformat()})


def coverage_document(coverage: Coverage, taken: datetime, unique: Any) -> dict[str, Any]:
    """The document that the journal holds for a coverage: counts only."""
    names = ("head", "total", "at_head", "outdated", "ahead", "invalid", "retired", "quarantined", "source", "sampled")
    named, _ = coverage.named()
    return {
        "_id": key("coverage", coverage.collection, taken=taken, id=unique),
        **{name: getattr(coverage, name) for name in names},
        "by_version": [[version, count] for version, count in named.items()],
    }


def to_point(document: Mapping[str, Any]) -> TrendPoint:
    """A recorded coverage as a point of a trend."""
    return TrendPoint(
        taken=moment(document["_id"]["taken"]),
        total=int(document["total"]),
        at_head=int(document["at_head"]),
        stuck=sum(int(document.get(name, 0)) for name in ("ahead", "invalid", "retired", "quarantined")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """What the journal says of one collection: `revisions` by number; `runs` and `stamps`, the newest first; `trend`, the
    oldest first.
    """

    collection: str
    revisions: Sequence[RevisionRecord] = ()
    runs: Sequence[Run] = ()
    stamps: Sequence[StampRecord] = ()
    trend: Sequence[TrendPoint] = ()

    def to_json(self) -> str:
        """All of it as a JSON object; dates in ISO 8601."""
        points = [{"taken": iso(p.taken), "total": p.total, "at_head": p.at_head, "ratio": p.ratio} for p in self.trend]
        return json.dumps(
            {
                "collection": self.collection,
                "revisions": [json.loads(record.to_json()) for record in self.revisions],
                "runs": [json.loads(run.to_json()) for run in self.runs],
                "stamps": [json.loads(stamp.to_json()) for stamp in self.stamps],
                "trend": points,
            }
        )


def iso(date: datetime | None) -> str | None:
    return None if date is None else date.isoformat()
