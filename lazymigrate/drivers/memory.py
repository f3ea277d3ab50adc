"""Commands on documents in memory: for tests that choose how procedures interleave, thousands of times a second.

It keeps raw BSON and changes it byte by byte, so that a compare-and-set means here what it means on the server. Its
filters are those that this library sends and the plainest of a user's; anything else is refused by name rather than
answered wrongly. It is no stand-in for MongoDB: that is what the conformance suite holds it against.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from struct import Struct
from typing import Any, TypeVar

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, WriteError
from pymongo.results import BulkWriteResult, DeleteResult, InsertManyResult, InsertOneResult, UpdateResult

from lazymigrate.change import AtHead, Change, CompareAndSet, Fields, Unchanged
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
    Find,
    FindOneAnd,
    Finish,
    InsertMany,
    InsertOne,
    ListIndexes,
    Now,
    Peek,
    Procedure,
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
from lazymigrate.drivers.bucket import Bucket
from lazymigrate.drivers.calls import REFUSALS, failure
from lazymigrate.drivers.matching import is_condition, matches, order_key, reach, type_name, unknown
from lazymigrate.drivers.updating import updated
from lazymigrate.elements import elements, id_of, only
from lazymigrate.splicing import spliced
from lazymigrate.versions import parse_stamp

__all__ = ["AsyncMemoryDriver", "MemoryCollection", "MemoryDriver"]

R = TypeVar("R")
CODEC: CodecOptions[Any] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_PACK = Struct("<i").pack


class MemoryCollection:
    """A collection in memory, for `LazyCollection` in unit tests: documents as raw BSON by raw `_id`."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.codec_options = CODEC
        self.stored: dict[bytes, bytes] = {}
        self.clock: Callable[[], float] = time.monotonic
        self.wait: Callable[[float], None] = time.sleep
        self._beside: dict[str, MemoryCollection] = {}

    def beside(self, name: str) -> MemoryCollection:
        """Another collection of the same database."""
        other = self._beside.setdefault(name, MemoryCollection(name))
        other.clock, other.wait = self.clock, self.wait
        return other

    def put(self, document: Mapping[str, Any] | bytes) -> None:
        """Store a document as it is, decoded or raw, over one with the same `_id`."""
        raw = document if isinstance(document, bytes) else bson.encode(document)
        identity = id_of(raw)
        rest = {name for name, _, _ in elements(raw)} - {"_id"}
        body = identity[4:-1] + b"".join(raw[start:end] for name, start, end in elements(raw) if name in rest)
        self.stored[identity] = _PACK(len(body) + 5) + body + b"\0"

    def documents(self) -> list[dict[str, Any]]:
        """The stored documents, decoded."""
        return [bson.decode(raw, CODEC) for raw in self.stored.values()]


class MemoryDriver:
    """Carries commands out on a `MemoryCollection`; each command is one indivisible step."""

    on_primary = True

    def __init__(self, collection: MemoryCollection) -> None:
        self.collection = collection
        self.bucket = Bucket()

    def run(self, procedure: Procedure[R]) -> R:
        """Carry a procedure out to its end, and give its result."""
        try:
            command = next(procedure)
            while True:
                try:
                    result = self.carry_out(command)
                except BaseException as error:  # an interrupt, too: it may have something to give back
                    command = procedure.throw(error)
                else:
                    command = procedure.send(result)
        except StopIteration as end:
            value: R = end.value
            return value
        finally:
            procedure.close()  # also when it was cancelled or interrupted: it may have something to put back

    def batches(self, command: Batches) -> Iterator[list[dict[str, Any]]]:
        """The documents of a query, a batch at a time."""
        found = self.find(Find(command.filter, command.sort, command.skip, command.limit, command.options))
        size = command.batch_size or 101
        for start in range(0, len(found), size):
            yield [bson.decode(raw, CODEC) for raw in found[start : start + size]]

    def aggregate(self, pipeline: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Refused: pipelines are the server's."""
        raise unknown("aggregation pipelines")

    def watch(self, pipeline: Sequence[Mapping[str, Any]] | None, options: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Refused: it has no oplog."""
        raise unknown("change streams")

    def carry_out(self, command: Command) -> Any:
        """Carry one command out."""
        stored = self.collection.stored
        match command:
            case Attempt(inner):
                try:
                    return self.carry_out(inner)
                except REFUSALS as error:
                    return failure(error)
            case Allowance():
                return self.bucket.take(command)
            case At(place, inner):
                elsewhere = self.collection if place in ("sweep", "proof") else self.collection.beside(place)
                return MemoryDriver(elsewhere).carry_out(inner)
            case Begin(inner):
                return self.carry_out(Attempt(inner))
            case Finish(ticket):
                return ticket
            case Clock():
                return self.collection.clock()
            case StartWorker() | Peek() | Tell():
                raise unknown("other processes")
            case Now():
                return datetime.fromtimestamp(self.collection.clock(), UTC)
            case Wait(seconds):
                return self.collection.wait(seconds)
            case AdminCommand(body) if "hello" in body:
                return {"localTime": datetime.fromtimestamp(self.collection.clock(), UTC).replace(tzinfo=None)}
            case AdminCommand():
                raise OperationFailure("no such command", 59)
            case DatabaseCommand():
                raise unknown("commands of a database")
            case ListIndexes() | Chunks() | ShardKey():
                return []
            case CollectionOptions():
                return {}
            case UpdateStatements() | CreateIndex() | DropIndex():
                raise unknown("update statements and indexes")
            case Find():
                return self.find(command)
            case Aggregate():
                raise unknown("aggregation pipelines")
            case CompareAndSetMany(commands):
                return Stored(sum(map(self.compare_and_set, commands)))
            case InsertOne(document):
                self.insert(document)
                return InsertOneResult(document["_id"], True)
            case InsertMany(documents):
                for index, document in enumerate(documents):
                    try:
                        self.insert(document)
                    except DuplicateKeyError as error:
                        raise BulkWriteError({"writeErrors": [{"index": index, "code": error.code}]}) from error
                return InsertManyResult([document["_id"] for document in documents], True)
            case ReplaceOne():
                return self.replace(command)
            case UpdateOne():
                return self.update(command, limit=1)
            case UpdateMany():
                return self.update(command, limit=0)
            case FindOneAnd():
                return self.find_one_and(command)
            case BulkWrite():
                return self.bulk_write(command)
            case EstimatedCount():
                return len(stored)
            case DeleteOne(filter):
                found = self.find(Find(filter, limit=1))
            case DeleteMany(filter):
                found = self.find(Find(filter))
            case Count(filter):
                return len(self.find(Find(filter)))
            case Distinct():
                raise unknown("distinct")
            case StampCounts(version_field, None, 0):
                return self.stamps(version_field)
            case StampCounts():
                raise unknown("counts of a part")
        for raw in found:
            del stored[id_of(raw)]
        return DeleteResult({"n": len(found)}, True)

    def find(self, command: Find) -> list[bytes]:
        foreign = set(command.options) - {"session", "comment", "max_time_ms", "hint", "projection"}
        projection = command.options.get("projection")
        foreign |= {"projection"} if projection not in (None, {"_id": 1}) else set()
        if foreign:
            raise unknown(f"the option {min(foreign)}")
        found = [raw for raw in self.collection.stored.values() if matches(bson.decode(raw, CODEC), command.filter)]
        keys = command.sort.items() if isinstance(command.sort, Mapping) else command.sort or ()
        for name, direction in reversed([(key, 1) if isinstance(key, str) else key for key in keys]):
            found.sort(key=lambda raw: order_key(reach(bson.decode(raw, CODEC), name)), reverse=direction < 0)
        end = command.skip + abs(command.limit) if command.limit else None
        found = found[command.skip : end]
        return found if projection is None else [id_of(raw) for raw in found]

    def insert(self, document: dict[str, Any]) -> None:
        if bson.encode({"_id": document["_id"]}) in self.collection.stored:
            raise DuplicateKeyError("E11000 duplicate key error", 11000)
        self.collection.put(document)

    def replace(self, command: ReplaceOne) -> UpdateResult:
        found = self.find(Find(command.filter, limit=1))
        if found:
            identity = bson.decode(id_of(found[0]), CODEC)
            if order_key(command.replacement.get("_id", identity["_id"])) != order_key(identity["_id"]):
                raise WriteError("the (immutable) field '_id' was found to have been altered", 66)
            self.collection.put({**identity, **command.replacement})
            return UpdateResult({"n": 1, "nModified": 1}, True)
        if not command.upsert:
            return UpdateResult({"n": 0, "nModified": 0}, True)
        given = {"_id": command.filter["_id"]} if "_id" in command.filter else {"_id": bson.ObjectId()}
        document = {**given, **command.replacement}
        self.insert(document)
        return UpdateResult({"n": 1, "nModified": 0, "upserted": document["_id"]}, True)

    def update(self, command: UpdateOne | UpdateMany, *, limit: int) -> UpdateResult:
        found = self.find(Find(command.filter, limit=limit, options=command.options))
        modified = 0
        for raw in found:
            self.collection.put(updated(bson.decode(raw, CODEC), command.update))
            modified += self.collection.stored[id_of(raw)] != raw
        if found or not command.upsert:
            return UpdateResult({"n": len(found), "nModified": modified}, True)
        given = {name: value for name, value in command.filter.items() if name[:1] != "$" and not is_condition(value)}
        document = {"_id": bson.ObjectId(), **updated(given, command.update, inserted=True)}
        self.insert(document)
        return UpdateResult({"n": 1, "nModified": 0, "upserted": document["_id"]}, True)

    def bulk_write(self, command: BulkWrite) -> BulkWriteResult:
        details: dict[str, Any] = dict.fromkeys(("nInserted", "nMatched", "nModified", "nUpserted", "nRemoved"), 0)
        details |= {"upserted": [], "writeErrors": [], "writeConcernErrors": []}
        for index, write in enumerate(command.writes):
            try:
                result = self.carry_out(write)
            except (DuplicateKeyError, WriteError) as error:
                details["writeErrors"].append({"index": index, "code": error.code})
                if command.options.get("ordered", True):
                    break
                continue
            match result:
                case InsertOneResult():
                    details["nInserted"] += 1
                case UpdateResult(upserted_id=None):
                    details["nMatched"] += result.matched_count
                    details["nModified"] += result.modified_count
                case UpdateResult(upserted_id=identity):
                    details["nUpserted"] += 1
                    details["upserted"].append({"index": index, "_id": identity})
                case _:
                    details["nRemoved"] += result.deleted_count
        if details["writeErrors"]:
            raise BulkWriteError(details)
        return BulkWriteResult(details, True)

    def find_one_and(self, command: FindOneAnd) -> dict[str, Any] | None:
        change = command.change
        options = {name: value for name, value in change.options.items() if name != "sort"}
        found = self.find(Find(change.filter, change.options.get("sort"), limit=1, options=options))
        before: dict[str, Any] | None = bson.decode(found[0], CODEC) if found else None
        target = change.filter if before is None else {"_id": before["_id"]}
        result = self.carry_out(change._replace(filter=target, options=options))
        if not command.after:
            return before
        identity = getattr(result, "upserted_id", None) if before is None else before["_id"]
        return next((document for document in self.collection.documents() if document["_id"] == identity), None)

    def compare_and_set(self, command: CompareAndSet) -> int:
        raw = self.collection.stored.get(command.identity)
        if raw is None or not holds(command, raw):
            return 0
        changed = spliced(raw, command.change)
        self.collection.stored[command.identity] = changed
        return int(changed != raw)

    def stamps(self, version_field: str) -> list[tuple[str, Any, int]]:
        counts: dict[tuple[str, bytes], list[Any]] = {}
        for raw in self.collection.stored.values():
            part = only(raw, (version_field,))
            kind = type_name(part[4]) if len(part) > 5 else "missing"
            stamp = bson.decode(part, CODEC).get(version_field)
            number = stamp if kind in ("int", "long", "double", "decimal") else None
            entry = counts.setdefault((kind, part if number is not None else b""), [kind, number, 0])
            entry[2] += 1
        return [(kind, stamp, count) for kind, stamp, count in counts.values()]


def holds(command: CompareAndSet, raw: bytes) -> bool:
    """Whether the guard of a compare-and-set holds on a stored document."""
    match command.guard:
        case Unchanged(expected):
            return raw == expected
        case Fields(names, expected):
            return only(raw, names) == expected and fits(raw, command.change)
        case AtHead(version_field, base, lowest, highest):
            stamp = bson.decode(only(raw, (version_field,)), CODEC).get(version_field)
            version = parse_stamp(stamp, base)
            return version is not None and lowest <= version <= highest and fits(raw, command.change)


def fits(raw: bytes, change: Change) -> bool:
    """Whether every subdocument that is changed by leaf is there."""
    return change.fits(bson.decode(only(raw, tuple(change.nested)), CODEC))


class AsyncMemoryDriver:
    """A `MemoryDriver` for asynchronous code; it never waits."""

    on_primary = True

    def __init__(self, collection: MemoryCollection) -> None:
        self._driver = MemoryDriver(collection)

    async def run(self, procedure: Procedure[R]) -> R:
        """Carry a procedure out to its end, and give its result."""
        return self._driver.run(procedure)

    async def batches(self, command: Batches) -> AsyncIterator[list[dict[str, Any]]]:
        """The documents of a query, a batch at a time."""
        for batch in self._driver.batches(command):
            yield batch

    async def aggregate(self, pipeline: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Any:
        """Refused: pipelines are the server's."""
        return self._driver.aggregate(pipeline, options)

    async def watch(self, pipeline: Sequence[Mapping[str, Any]] | None, options: Mapping[str, Any]) -> Any:
        """Refused: it has no oplog."""
        return self._driver.watch(pipeline, options)
