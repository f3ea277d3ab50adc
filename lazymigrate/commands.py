"""The I/O that procedures ask for: frozen values, carried out by a driver. (Named tuples, since two dozen frozen dataclasses
take 10 ms to make when the library is imported.)

A procedure is a generator that yields these and is sent their results; an error of the server is thrown into it, or,
around an `Attempt`, sent as a `Failure`. `options` are the driver's own keywords (`session=`, `hint=`, …), handed
over untouched. Results of writes are the driver's (`pymongo.results`), since users get them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from lazymigrate.change import CompareAndSet

__all__ = [
    "Aggregate",
    "Allowance",
    "Attempt",
    "Batches",
    "BulkWrite",
    "Command",
    "CompareAndSetMany",
    "Count",
    "DeleteMany",
    "DeleteOne",
    "Distinct",
    "EstimatedCount",
    "Failure",
    "Find",
    "FindOneAnd",
    "InsertMany",
    "InsertOne",
    "ListInQuarantine",
    "Procedure",
    "QuarantineCount",
    "ReplaceOne",
    "StampCounts",
    "Stored",
    "UpdateMany",
    "UpdateOne",
]

Options = Mapping[str, Any]
NONE: Options = MappingProxyType({})


class Find(NamedTuple):
    """→ `list[bytes]`: the matching documents, raw. For few of them: `limit`, or an `_id` list."""

    filter: Mapping[str, Any]
    sort: Any = None
    skip: int = 0
    limit: int = 0
    options: Options = NONE
    primary: bool = False
    """Ask the primary, whatever the collection reads from: what is about to be written depends on it."""


class Batches(NamedTuple):
    """→ an iterator of `list[dict]`: the matching documents, decoded, a server batch at a time."""

    filter: Mapping[str, Any]
    sort: Any = None
    skip: int = 0
    limit: int = 0
    batch_size: int = 0
    options: Options = NONE


class Aggregate(NamedTuple):
    """→ `list[bytes]`: what an aggregation that writes nothing gives, raw. `primary`: as in `Find`."""

    pipeline: Sequence[Mapping[str, Any]]
    options: Options = NONE
    primary: bool = False


class CompareAndSetMany(NamedTuple):
    """→ `Stored`. In no order; those that did not win changed nothing.

    `hurried`: one server's word is enough, where the collection asks for no more. What a failover undoes is outdated
    again, and upgraded again.
    """

    commands: Sequence[CompareAndSet]
    options: Options = NONE
    hurried: bool = False


class Stored(NamedTuple):
    """How many compare-and-sets won, and which the server refused (index → error code; `error`: the first of them)."""

    won: int
    refused: Mapping[int, int] = MappingProxyType({})
    error: Exception | None = None


class InsertOne(NamedTuple):
    """→ `InsertOneResult`."""

    document: dict[str, Any]
    options: Options = NONE


class InsertMany(NamedTuple):
    """→ `InsertManyResult`."""

    documents: list[dict[str, Any]]
    options: Options = NONE


class ReplaceOne(NamedTuple):
    """→ `UpdateResult`."""

    filter: Mapping[str, Any]
    replacement: dict[str, Any]
    upsert: bool = False
    options: Options = NONE


class UpdateOne(NamedTuple):
    """→ `UpdateResult`. `update` is a mapping of operators or a pipeline."""

    filter: Mapping[str, Any]
    update: Any
    upsert: bool = False
    options: Options = NONE


class UpdateMany(NamedTuple):
    """→ `UpdateResult`. `update` is a mapping of operators or a pipeline."""

    filter: Mapping[str, Any]
    update: Any
    upsert: bool = False
    options: Options = NONE


class FindOneAnd(NamedTuple):
    """→ `dict | None`: the document that was changed, before or after it was, decoded; `change` says how."""

    change: UpdateOne | ReplaceOne | DeleteOne
    after: bool = False


class BulkWrite(NamedTuple):
    """→ `BulkWriteResult`: writes in one go, in their order unless the options say otherwise."""

    writes: Sequence[InsertOne | UpdateOne | UpdateMany | ReplaceOne | DeleteOne | DeleteMany]
    options: Options = NONE


class EstimatedCount(NamedTuple):
    """→ `int`: how many documents there are, by the collection's metadata."""

    options: Options = NONE


class DeleteOne(NamedTuple):
    """→ `DeleteResult`."""

    filter: Mapping[str, Any]
    options: Options = NONE


class DeleteMany(NamedTuple):
    """→ `DeleteResult`."""

    filter: Mapping[str, Any]
    options: Options = NONE


class Count(NamedTuple):
    """→ `int`: how many documents match. `primary`: as in `Find`."""

    filter: Mapping[str, Any]
    options: Options = NONE
    primary: bool = False


class Distinct(NamedTuple):
    """→ `list`: the distinct values of a key among the matching documents, decoded."""

    key: str
    filter: Mapping[str, Any]
    options: Options = NONE


class StampCounts(NamedTuple):
    """→ `list[tuple[str, Any, int]]`: BSON type of the stamp, the stamp (None unless a number), and how many."""

    version_field: str


class ListInQuarantine(NamedTuple):
    """→ None: list these entries; one that is listed already counts another attempt."""

    collection: str
    entries: Sequence[Mapping[str, Any]]


class QuarantineCount(NamedTuple):
    """→ `int`: how many documents of a collection are listed in the quarantine."""

    collection: str


class Allowance(NamedTuple):
    """→ `int`: of the documents that are wanted, how many may be written now, at so many a second on the average."""

    rate: float
    wanted: int


class Attempt(NamedTuple):
    """→ what its command gives, or a `Failure` where the server or the network refused."""

    command: Command


class Failure(NamedTuple):
    """A refused command: the server's error code (None: it did not answer) and the error itself."""

    code: int | None
    error: Exception


Command = (
    Find
    | Aggregate
    | CompareAndSetMany
    | InsertOne
    | InsertMany
    | ReplaceOne
    | UpdateOne
    | UpdateMany
    | FindOneAnd
    | BulkWrite
    | EstimatedCount
    | DeleteOne
    | DeleteMany
    | Count
    | Distinct
    | StampCounts
    | ListInQuarantine
    | QuarantineCount
    | Allowance
    | Attempt
)

R = TypeVar("R")
Procedure = Generator[Command, Any, R]
