"""The I/O that procedures ask for: frozen values, carried out by a driver. (Named tuples, since two dozen frozen dataclasses
take 10 ms to make when the library is imported.)

A procedure is a generator that yields these and is sent their results; an error of the server is thrown into it, or,
around an `Attempt`, sent as a `Failure`. `options` are the driver's own keywords (`session=`, `hint=`, …), handed
over untouched. Results of writes are the driver's (`pymongo.results`), since users get them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

from lazymigrate.change import CompareAndSet
from lazymigrate.workers import Peek, StartWorker, Tell, WorkerState

__all__ = [
    "BATCH_SIZE",
    "AdminCommand",
    "Aggregate",
    "Allowance",
    "At",
    "Attempt",
    "Batches",
    "Begin",
    "BulkWrite",
    "Chunks",
    "Clock",
    "CollectionOptions",
    "Command",
    "CompareAndSetMany",
    "Count",
    "CreateIndex",
    "DatabaseCommand",
    "DeleteMany",
    "DeleteOne",
    "Distinct",
    "DropIndex",
    "EstimatedCount",
    "Failure",
    "Find",
    "FindOneAnd",
    "Finish",
    "InsertMany",
    "InsertOne",
    "ListIndexes",
    "Now",
    "Peek",
    "Place",
    "Procedure",
    "ReplaceOne",
    "ShardKey",
    "StampCounts",
    "StartWorker",
    "Stored",
    "Tell",
    "UpdateMany",
    "UpdateOne",
    "UpdateStatements",
    "Wait",
    "WorkerState",
]

Options = Mapping[str, Any]
NONE: Options = MappingProxyType({})


class Find(NamedTuple):
    """→ `list[bytes]`: the matching documents, raw. For few of them: `limit`, or an `_id` list. With a `limit` below zero
    they come in one answer of the server, which is fewer where they are large.
    """

    filter: Mapping[str, Any]
    sort: Any = None
    skip: int = 0
    limit: int = 0
    options: Options = NONE
    primary: bool = False
    """Ask the primary, whatever the collection reads from: what is about to be written depends on it."""
    pipeline: Sequence[Mapping[str, Any]] | None = None
    """What is sent instead, as an aggregation with these options (`procedures.ordering`)."""


BATCH_SIZE = 500  # documents that a cursor fetches at a time, unless it is told


class Batches(NamedTuple):
    """→ an iterator of `list[dict]`: the matching documents, decoded, a server batch at a time."""

    filter: Mapping[str, Any]
    sort: Any = None
    skip: int = 0
    limit: int = 0
    batch_size: int = BATCH_SIZE
    options: Options = NONE
    pipeline: Sequence[Mapping[str, Any]] | None = None
    """What is sent instead, as an aggregation with these options (`procedures.ordering`)."""


class Aggregate(NamedTuple):
    """→ `list[bytes]`: what an aggregation that writes nothing gives, raw. `primary`: as in `Find`."""

    pipeline: Sequence[Mapping[str, Any]]
    options: Options = NONE
    primary: bool = False


class CompareAndSetMany(NamedTuple):
    """→ `Stored`. In no order; those that did not win changed nothing.

    `hurried`: one server's word is enough, where the collection asks for no more. What a failover undoes is outdated
    again, and upgraded again. `encoded`: the update statements of the commands in BSON, to be sent as they are in one
    command of the server, which no driver retries; together they are smaller than a document may be.
    """

    commands: Sequence[CompareAndSet]
    options: Options = NONE
    hurried: bool = False
    encoded: Sequence[bytes] = ()


class Stored(NamedTuple):
    """How many compare-and-sets won, and which the server refused (index → error code; `error`: the first of them)."""

    won: int
    refused: Mapping[int, int] = MappingProxyType({})
    error: Exception | None = None


class UpdateStatements(NamedTuple):
    """→ `Stored`: update statements as the server has them, one after the other in one command. No driver retries it."""

    statements: Sequence[Mapping[str, Any]]


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
    """→ `list[tuple[str, Any, int]]`: BSON type of the stamp, the stamp (None unless a number), and how many that match.

    With `sample`, of that many documents drawn at random.
    """

    version_field: str
    filter: Mapping[str, Any] | None = None
    sample: int = 0


class Allowance(NamedTuple):
    """→ `int`: of the documents that are wanted, how many may be written now, at so many a second on the average."""

    rate: float
    wanted: int


class ListIndexes(NamedTuple):
    """→ `list[dict]`: the collection's indexes, as the server describes them; none for a collection that is not there."""


class CollectionOptions(NamedTuple):
    """→ `dict`: the options that the collection was created with, as the server describes them."""


class CreateIndex(NamedTuple):
    """→ `str`: the name of the index. One that is there already is no error."""

    keys: Sequence[tuple[str, int]]
    options: Options = NONE


class DropIndex(NamedTuple):
    """→ None."""

    name: str


class AdminCommand(NamedTuple):
    """→ `dict`: what the server answers to a command on its `admin` database."""

    command: Mapping[str, Any]


class DatabaseCommand(NamedTuple):
    """→ `dict`: what the server answers to a command on the collection's own database."""

    command: Mapping[str, Any]


class Chunks(NamedTuple):
    """→ `list[bytes]`: raw documents with the `_id`s where the chunks of a collection end, in order; none for one that is
    not sharded by ranges of its `_id`. `namespace`: the names of its database and itself.
    """

    namespace: str


class ShardKey(NamedTuple):
    """→ `list[bytes]`: one raw document with the `key` that a collection is sharded by; none for one that is not sharded."""

    namespace: str


class Clock(NamedTuple):
    """→ `float`: seconds of a clock that only goes forward."""


class Now(NamedTuple):
    """→ `datetime`: what the clock on the wall of this machine says, with its zone, UTC."""


class Wait(NamedTuple):
    """→ None, that many seconds later."""

    seconds: float


Place = Literal["sweep", "proof", "quarantine", "journal"]


class At(NamedTuple):
    """→ what its command gives, at another place than the collection as the caller configured it.

    - `"sweep"`: the collection on the primary, with write concern majority.
    - `"proof"`: the same, reading only what a majority has: what is seen there no failover undoes.
    - `"quarantine"`, `"journal"`: these collections of the same database, on the primary, with write concern majority.
    """

    place: Place
    command: Command


class Begin(NamedTuple):
    """→ a ticket: its command is being carried out while the procedure goes on, and ends even if the procedure does not."""

    command: Command


class Finish(NamedTuple):
    """→ what the command of a ticket gave, or a `Failure`, when it has ended."""

    ticket: Any


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
    | Allowance
    | UpdateStatements
    | ListIndexes
    | CollectionOptions
    | CreateIndex
    | DropIndex
    | AdminCommand
    | DatabaseCommand
    | Chunks
    | ShardKey
    | Clock
    | Now
    | Wait
    | At
    | Begin
    | Finish
    | StartWorker
    | Peek
    | Tell
    | Attempt
)

R = TypeVar("R")
Procedure = Generator[Command, Any, R]
