"""Asynchronous operations cancelled at random points: what is stored is whole, and nothing is left lying about.

A cancelled write may have been applied or not: never by half. `LAZYMIGRATE_CANCELLATIONS` sets how many operations are
cancelled on each driver.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import bson
import pymongo
import pytest
from conftest import Bench
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.synchronous.command_cursor import CommandCursor
from pymongo.synchronous.cursor import Cursor
from schemas import declared, user_model, users

from lazymigrate import Policy

CANCELLATIONS = int(os.environ.get("LAZYMIGRATE_CANCELLATIONS", "300"))
TURNS, SECONDS = 40, 0.004
ON_SERVER = pytest.mark.parametrize("bench", ["pymongo_async", "motor"], indirect=True)

Document = dict[str, Any]
Operation = Callable[["Round"], Awaitable[Any]]
Effect = Callable[[Document], Document | None]

CHANGE = {"$set": {"email": "new@x"}, "$inc": {"visits": 1}}
REPLACEMENT = {"first_name": "Grace", "last_name": "Hopper", "email": "g@x", "active": True}


def changed(at_head: Document) -> Document:
    return {**at_head, "email": "new@x", "visits": 1}


def saved(at_head: Document) -> Document:
    return {**at_head, "email": "saved@x", "address": {"city": "London"}}


def replaced(at_head: Document) -> Document:
    return {"_id": at_head["_id"], **REPLACEMENT, "schema_version": 3}


def deleted(_at_head: Document) -> None:
    return None


def unchanged(at_head: Document) -> Document:
    return at_head


@dataclass
class Round:
    """Three documents, at versions 1, 2 and 3, that one operation is about; and ids for two more."""

    world: World
    first: int

    @property
    def ids(self) -> list[int]:
        return [self.first, self.first + 1, self.first + 2]

    @property
    def new(self) -> list[int]:
        return [self.first + 3, self.first + 4]

    @property
    def asked(self) -> Document:
        return {"_id": {"$in": self.ids}}

    def one(self) -> Document:
        return {"_id": self.world.chance.choice(self.ids)}


async def find_one(this: Round) -> None:
    await this.world.storing.find_one(this.one())


async def find(this: Round) -> None:
    async for _ in this.world.storing.find(this.asked, batch_size=this.world.chance.choice([1, 2, 9])):
        await asyncio.sleep(0)


async def find_in_a_block(this: Round) -> None:
    async with this.world.storing.find(this.asked, batch_size=1) as cursor:
        await cursor.to_list(2)


async def save(this: Round) -> None:
    person = await this.world.typed.find_one(this.one())
    person.email = "saved@x"
    person.address["city"] = "London"
    await this.world.typed.save(person)


async def update_one(this: Round) -> None:
    await this.world.people.update_one(this.one(), CHANGE)


async def update_many(this: Round) -> None:
    await this.world.people.update_many(this.asked, CHANGE)


async def find_one_and_update(this: Round) -> None:
    await this.world.people.find_one_and_update(this.one(), CHANGE, return_document=True)


async def find_one_and_delete(this: Round) -> None:
    await this.world.people.find_one_and_delete(this.asked, sort=[("_id", 1)])


async def insert_one(this: Round) -> None:
    await this.world.people.insert_one(this.world.fresh(this.new[0]))


async def insert_many(this: Round) -> None:
    await this.world.people.insert_many([this.world.fresh(identity) for identity in this.new])


async def replace_one(this: Round) -> None:
    await this.world.people.replace_one(this.one(), REPLACEMENT)


async def bulk_write(this: Round) -> None:
    await this.world.people.bulk_write(
        [
            pymongo.UpdateOne({"_id": this.ids[0]}, CHANGE),
            pymongo.UpdateMany({"_id": this.ids[1]}, CHANGE),
            pymongo.InsertOne(this.world.fresh(this.new[0])),
        ],
        ordered=False,
    )


async def delete_many(this: Round) -> None:
    await this.world.people.delete_many(this.asked)


async def sweep(this: Round) -> None:
    await this.world.people.sweep(batch_size=2)


async def aggregate(this: Round) -> None:
    cursor = await this.world.declared.aggregate([{"$match": this.asked}], upgrade=True, batchSize=1)
    async for _ in cursor:
        await asyncio.sleep(0)


async def distinct(this: Round) -> None:
    await this.world.people.distinct("email", this.asked)


async def watch(this: Round) -> None:
    async with await this.world.people.watch(max_await_time_ms=1) as stream:
        await this.world.people.update_one({"_id": this.ids[0]}, CHANGE)
        await stream.try_next()


OPERATIONS: dict[Operation, Effect] = {
    find_one: unchanged,
    find: unchanged,
    find_in_a_block: unchanged,
    save: saved,
    update_one: changed,
    update_many: changed,
    find_one_and_update: changed,
    find_one_and_delete: deleted,
    insert_one: unchanged,
    insert_many: unchanged,
    replace_one: replaced,
    bulk_write: changed,
    delete_many: deleted,
    sweep: unchanged,
    aggregate: unchanged,
    distinct: unchanged,
    watch: changed,
}


@dataclass
class World:
    """A collection under test, and what each of its documents may be."""

    bench: Bench
    chance: random.Random
    allowed: dict[int, list[Document | None]] = field(default_factory=dict)
    cancelled: Counter[str] = field(default_factory=Counter)
    ended: int = 0

    def __post_init__(self) -> None:
        self.schema = users()
        self.people = self.bench.open(self.schema)
        self.storing = self.bench.open(self.schema, Policy(write_back=True))
        self.typed = self.bench.open(user_model(users()), Policy(write_back=True))
        self.declared = self.bench.open(declared())

    @property
    def faces(self) -> list[Any]:
        return [self.people, self.storing, self.typed, self.declared]

    def fresh(self, identity: int) -> Document:
        return {"_id": identity, "first_name": "New", "last_name": str(identity), "email": "n@x", "active": True}

    def begin(self, number: int, effect: Effect) -> Round:
        """Store the documents of a round, and note what they may become."""
        this = Round(self, number * 5)
        one, two, three = this.ids
        kept = {"kept": {"x": [1]}}
        old = [
            {"_id": one, "name": f"P {one}", "mail": "m@x", **kept},
            {"_id": two, "first_name": "P", "last_name": str(two), "mail": "m@x", "schema_version": 2, **kept},
            {"_id": three, **kept, **self.fresh(three), "schema_version": 3},
        ]
        self.bench.stored.insert_many(old)
        for document in old:
            at_head = self.schema.upgrade(document)
            self.allowed[document["_id"]] = [document, at_head, effect(at_head)]
        for identity in this.new:
            self.allowed[identity] = [None, {**self.fresh(identity), "schema_version": 3}]
        return this

    def check(self, identities: list[int], *, at_head: bool = False) -> None:
        """Every document is whole; at its old version, or at head, byte by byte."""
        raws = self.bench.stored.find_raw_batches({"_id": {"$in": identities}})
        stored = {d["_id"]: d for batch in raws for d in bson.decode_all(batch)}
        for identity in identities:
            expected = self.allowed[identity][1 if at_head and self.allowed[identity][0] is not None else 0 :]
            found = stored.get(identity)
            assert found in expected, (found, expected)
            if found is not None and found in self.allowed[identity][:2]:
                own = expected[expected.index(found)]
                assert bson.encode(found) == bson.encode(own), (found, own)

    async def cancel(self, operation: Operation, number: int) -> None:
        """Start an operation, and cancel it after a random number of turns, or after a moment."""
        this = self.begin(number, OPERATIONS[operation])
        task = asyncio.create_task(operation(this))  # type: ignore[arg-type]
        if self.chance.random() < 0.7:
            for _ in range(self.chance.randrange(TURNS)):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(self.chance.random() * SECONDS)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            self.cancelled[operation.__name__] += 1
        else:
            self.ended += 1
        for face in self.faces:
            assert face._scope.in_flight == {}, operation.__name__
        self.check([*this.ids, *this.new])
        again = await asyncio.wait_for(self.people.find_one({"_id": this.ids[2]}), 5)
        assert again is None or again["schema_version"] == 3
        if self.chance.random() < 0.2:
            asked = {"_id": -number - 1}
            await asyncio.wait_for(self.people.update_one(asked, {"$set": {"n": number}}, upsert=True), 5)


@contextmanager
def nothing_said() -> Iterator[list[Any]]:
    """What the loop's exception handler and the warnings say meanwhile; it must be nothing."""
    said: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: said.append(context))
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield said
            gc.collect()
            said += [str(warning.message) for warning in warned]
    finally:
        loop.set_exception_handler(None)


def open_cursors() -> list[Any]:
    """The cursors of any driver that nobody closed."""
    gc.collect()
    cursors = (AsyncCursor, AsyncCommandCursor, Cursor, CommandCursor)
    return [
        thing
        for thing in gc.get_objects()
        if (isinstance(thing, cursors) and thing.alive and thing.cursor_id)
        or (isinstance(thing, AsyncChangeStream) and thing.alive)
    ]


@ON_SERVER
async def test_a_cancelled_operation_leaves_whole_documents_and_nothing_behind(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(bench, random.Random(7))
    operations = list(OPERATIONS)
    number = 0
    with nothing_said() as said:
        while world.cancelled.total() < CANCELLATIONS:
            await world.cancel(operations[number % len(operations)], number)
            number += 1
            assert number < 20 * CANCELLATIONS, "the operations end before they can be cancelled"
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0)
        world.check(list(world.allowed))
        assert (await world.people.sweep()).complete
        world.check(list(world.allowed), at_head=True)
    assert said == []
    assert [record for record in caplog.records if record.name == "lazymigrate"] == []
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and is_ours(task)] == []
    assert open_cursors() == []
    assert CANCELLATIONS < 300 or set(world.cancelled) == {operation.__name__ for operation in operations}
    print(f"{bench.name}: {world.cancelled.total()} cancelled, {world.ended} ended before: {dict(world.cancelled)}")  # noqa: T201


def is_ours(task: asyncio.Task[Any]) -> bool:
    """Whether a task runs code of this library, or of this module."""
    return any(
        "lazymigrate" in frame.f_code.co_filename or frame.f_code.co_filename == __file__ for frame in task.get_stack()
    )
