"""How each command is spelled in pymongo's vocabulary, which Motor and the asynchronous API share.

A `Call` names a method, its arguments, and what to make of the result; a driver only decides how to wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pymongo
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from bson.son import SON
from pymongo.collation import Collation
from pymongo.errors import BulkWriteError, InvalidOperation, OperationFailure, PyMongoError, WriteError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from lazymigrate.change import CompareAndSet, statement
from lazymigrate.commands import (
    AdminCommand,
    Aggregate,
    Allowance,
    At,
    Attempt,
    Batches,
    Begin,
    BulkWrite,
    Chunks,
    Clock,
    CollectionOptions,
    Command,
    CompareAndSetMany,
    Count,
    CreateIndex,
    DatabaseCommand,
    DeleteMany,
    DeleteOne,
    Distinct,
    DropIndex,
    EstimatedCount,
    Failure,
    Find,
    FindOneAnd,
    Finish,
    InsertMany,
    InsertOne,
    ListIndexes,
    Now,
    Peek,
    ReplaceOne,
    ShardKey,
    StampCounts,
    StartWorker,
    Stored,
    Tell,
    UpdateMany,
    UpdateOne,
    UpdateStatements,
    Wait,
)
from lazymigrate.drivers.bulk import request
from lazymigrate.elements import split
from lazymigrate.failures import TOO_LARGE, is_about_document
from lazymigrate.quarantine import QUARANTINE

__all__ = ["REFUSALS", "Call", "InvalidOperation", "call", "failure", "find_arguments", "targets"]

JOURNAL = "lazymigrate.journal"
MAJORITY = WriteConcern(w="majority")
SIMPLE = Collation(locale="simple")


def unchanged(result: Any) -> Any:
    return result


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Call:
    """One method of a driver's collection, or of the databases that `on` may name.

    `update`: statements of an update command, which `bound` makes when the collection is known. `gives` says how the result comes: a `"value"`, a cursor of raw `"batches"` (from find), or the documents or raw
    batches of a cursor that `"aggregate"` gives. `recover` makes a result out of an error, or raises it again.
    """

    method: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    gives: str = "value"
    on: str = "documents"
    update: Sequence[Any] | None = None
    receive: Callable[[Any], Any] = unchanged
    recover: Callable[[PyMongoError], Any] | None = None

    def bound(self, targets: Mapping[str, Any]) -> tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]:
        """The method, its arguments and keywords."""
        target = targets[self.on]
        if self.update is None:
            return getattr(target, self.method), self.arguments, self.keywords
        command = SON(
            [
                ("update", target.name),
                ("updates", self.update),
                ("ordered", False),
                ("writeConcern", target.write_concern.document),
            ]
        )
        return target.database.command, (command,), {"codec_options": target.codec_options}


def targets(collection: Any, reading: Any) -> dict[str, Any]:
    """The collections that calls go to, by name.

    A compare-and-set needs to hear whether it won, and what is decided by what is stored is asked of the primary,
    whatever the collection's options.
    """
    concern = collection.write_concern if collection.write_concern.acknowledged else WriteConcern(w=1)
    hurried = concern if concern.document else WriteConcern(w=1)
    database = collection.database
    own = {
        "codec_options": collection.codec_options,
        "write_concern": MAJORITY,
        "read_preference": ReadPreference.PRIMARY,
    }
    sweeping = collection.with_options(**own, read_concern=ReadConcern("local"))
    return {
        "documents": collection,
        "reading": reading,
        "guarded": collection.with_options(write_concern=concern, read_preference=ReadPreference.PRIMARY),
        "hurried": collection.with_options(write_concern=hurried, read_preference=ReadPreference.PRIMARY),
        "sweep": sweeping,
        "proof": sweeping.with_options(read_concern=ReadConcern("majority")),
        "quarantine": database.get_collection(QUARANTINE, **own),
        "journal": database.get_collection(JOURNAL, **own),
        "sharding": database.client.get_database("config")["collections"],
        "database": database,
        "admin": database.client.get_database("admin", read_preference=ReadPreference.PRIMARY),
    }


def call(command: Command) -> Call:
    """The call that carries a command out; an `Attempt` is the driver's own affair."""
    match command:
        case Find():
            keywords = {
                **find_arguments(command),
                **({"batch_size": abs(command.limit)} if command.limit not in (0, -1) else {}),
            }
            return Call(
                "find_raw_batches", (command.filter,), keywords, gives="batches", on=asked(command), receive=joined
            )
        case Aggregate(pipeline, options):
            arguments = ([*pipeline],)
            return Call(
                "aggregate_raw_batches", arguments, options, gives="aggregate", on=asked(command), receive=joined
            )
        case At(place, inner):
            if isinstance(inner, At):
                raise TypeError("a command is carried out at one place")
            return replace(call(inner), on=place)
        case UpdateStatements(statements):
            return Call("command", update=statements, receive=stored)
        case ListIndexes():
            return Call("list_indexes", gives="aggregate")
        case CollectionOptions():
            return Call("options")
        case CreateIndex(keys, options):
            return Call("create_index", ([*keys],), options)
        case DropIndex(name):
            return Call("drop_index", (name,))
        case Chunks(namespace):
            return Call(
                "aggregate_raw_batches", (chunk_ends(namespace),), gives="aggregate", on="sharding", receive=joined
            )
        case ShardKey(namespace):
            found, projection = {"_id": namespace}, {"_id": 0, "key": 1}
            return Call("find_raw_batches", (found, projection), gives="batches", on="sharding", receive=joined)
        case AdminCommand(body):
            return Call("command", (body,), on="admin")
        case DatabaseCommand(body):
            return Call("command", (body,), on="database")
        case CompareAndSetMany(encoded=encoded) if encoded:
            return Call("command", update=[RawBSONDocument(statement) for statement in encoded], receive=stored)
        case CompareAndSetMany(commands, options, hurried):
            return compare_and_set(commands, options, "hurried" if hurried else "guarded")
        case InsertOne(document, options):
            return Call("insert_one", (document,), options)
        case InsertMany(documents, options):
            return Call("insert_many", (documents,), options)
        case ReplaceOne(filter, replacement, upsert, options):
            return Call("replace_one", (filter, replacement), {"upsert": upsert, **options})
        case UpdateOne(filter, update, upsert, options):
            return Call("update_one", (filter, update), {"upsert": upsert, **options})
        case UpdateMany(filter, update, upsert, options):
            return Call("update_many", (filter, update), {"upsert": upsert, **options})
        case FindOneAnd(change, after):
            return find_one_and(change, after=after)
        case BulkWrite(writes, options):
            return Call("bulk_write", ([request(write) for write in writes],), options)
        case EstimatedCount(options):
            return Call("estimated_document_count", (), options)
        case DeleteOne(filter, options):
            return Call("delete_one", (filter,), options)
        case DeleteMany(filter, options):
            return Call("delete_many", (filter,), options)
        case Count(filter, options):
            return Call("count_documents", (filter,), options, on=asked(command))
        case Distinct(key, filter, options):
            return Call("distinct", (key, filter), options, on="reading")
        case StampCounts(version_field, filter, sample):
            matching: list[dict[str, Any]] = [] if filter is None else [{"$match": filter}]
            drawn: list[dict[str, Any]] = [{"$sample": {"size": sample}}] if sample else []
            pipeline = [*matching, *drawn, *stamp_counts(version_field)]
            return Call("aggregate", (pipeline,), gives="aggregate", receive=stamps)
        case Attempt() | Allowance() | Clock() | Now() | Wait() | Begin() | Finish() | StartWorker() | Peek() | Tell():
            raise TypeError("this command is carried out by the driver itself")


def asked(command: Find | Aggregate | Count) -> str:
    return "guarded" if command.primary else "documents"


def find_arguments(command: Find | Batches) -> dict[str, Any]:
    """The keywords of a find; those that are not set are left out."""
    keywords = dict(command.options)
    for name in ("sort", "skip", "limit"):
        value = getattr(command, name)
        if value:
            keywords[name] = value
    if isinstance(command, Batches) and command.batch_size:
        keywords["batch_size"] = command.batch_size
    return keywords


REFUSALS = (PyMongoError, BSONError, OverflowError, ValueError)  # of a server, a network, or the encoding


def joined(batches: list[bytes]) -> list[bytes]:
    return split(b"".join(batches))


def find_one_and(change: UpdateOne | ReplaceOne | DeleteOne, *, after: bool) -> Call:
    match change:
        case DeleteOne(filter, options):
            return Call("find_one_and_delete", (filter,), options, on="reading")
        case UpdateOne(filter, changed, upsert, options):
            method = "find_one_and_update"
        case ReplaceOne(filter, changed, upsert, options):
            method = "find_one_and_replace"
    keywords = {"upsert": upsert, "return_document": after, **options}
    return Call(method, (filter, changed), keywords, on="reading")


def compare_and_set(commands: Any, options: Mapping[str, Any], on: str) -> Call:
    if len(commands) == 1:
        spelled = statement(commands[0])
        return Call(
            "update_one" if isinstance(spelled.update, list) else "replace_one",
            (spelled.filter, spelled.update),
            {"collation": SIMPLE, **options},
            on=on,
            receive=modified,
            recover=refused_one,
        )
    return Call(
        "bulk_write",
        ([update(command) for command in commands],),
        {"ordered": False, **options},
        on=on,
        receive=modified,
        recover=modified_in_spite,
    )


def update(command: CompareAndSet) -> Any:
    spelled = statement(command)
    if isinstance(spelled.update, list):
        return pymongo.UpdateOne(spelled.filter, spelled.update, collation=SIMPLE)
    return pymongo.ReplaceOne(spelled.filter, spelled.update, collation=SIMPLE)


def stored(answer: Mapping[str, Any]) -> Stored:
    """What the server's update command answers. (A write concern that failed proves nothing, and nothing relies on it.)"""
    errors = answer.get("writeErrors", ())
    for item in errors:
        if not is_about_document(item["code"]):
            raise OperationFailure("a statement of an update failed", item["code"], {"code": item["code"]})
    return Stored(int(answer.get("nModified", 0)), {item["index"]: item["code"] for item in errors})


def modified(result: Any) -> Stored:
    return Stored(int(result.modified_count))


def refused_one(error: PyMongoError) -> Stored:
    """The server refused the document itself (a validator, a unique index, its size); any other error stays one."""
    if isinstance(error, OperationFailure):
        about_document = isinstance(error, WriteError) and is_about_document(error.code)
        if about_document or error.code in TOO_LARGE:
            return Stored(0, {0: error.code or 0}, error)
    raise error


def modified_in_spite(error: PyMongoError) -> Stored:
    """Of a bulk in which single operations were refused: which. Any other error stays one."""
    if isinstance(error, BulkWriteError) and not error.details.get("writeConcernErrors"):
        refused = {item["index"]: item["code"] for item in error.details["writeErrors"]}
        if all(map(is_about_document, refused.values())):
            return Stored(int(error.details["nModified"]), refused, error)
    raise error


def stamp_counts(version_field: str) -> list[dict[str, Any]]:
    kind = {"$type": f"${version_field}"}
    is_number = {"$in": [kind, ["int", "long", "double", "decimal"]]}
    return [
        {
            "$group": {
                "_id": {"kind": kind, "stamp": {"$cond": [is_number, f"${version_field}", None]}},
                "count": {"$sum": 1},
            }
        }
    ]


def chunk_ends(namespace: str) -> list[dict[str, Any]]:
    """Where a collection's chunks end, as `config` has it; they refer to it by its UUID since MongoDB 5.0."""
    return [
        {"$match": {"_id": namespace, "key": {"_id": 1}}},
        {"$lookup": {"from": "chunks", "localField": "uuid", "foreignField": "uuid", "as": "chunk"}},
        {"$unwind": "$chunk"},
        {"$project": {"_id": "$chunk.max._id"}},
        {"$sort": {"_id": 1}},
    ]


def stamps(groups: list[dict[str, Any]]) -> list[tuple[str, Any, int]]:
    return [(group["_id"]["kind"], group["_id"]["stamp"], group["count"]) for group in groups]


def failure(error: Exception) -> Failure:
    """A refused command as a value."""
    code = error.code if isinstance(error, OperationFailure) else None
    if isinstance(error, BulkWriteError):
        code = next((item.get("code") for item in error.details.get("writeErrors", ())), code)
    return Failure(code, error)
