"""Two lazy readers with write-back and a writer that knows nothing of versions, in every order of their commands.

Nothing that is acknowledged is lost, and what a reader returns is what is stored at that moment. The same test catches
the two usual ways to do it: replacing by `_id`, and guarding with `_id` and version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import bson
import pytest
from interleave import Process, World, every_order, random_orders
from pymongo.collection import Collection
from schemas import counter, user_model, users

from lazymigrate import Policy, Schema, ops
from lazymigrate.change import CompareAndSet, Statement
from lazymigrate.commands import Find, Procedure
from lazymigrate.drivers import calls, memory
from lazymigrate.drivers.memory import CODEC, MemoryCollection, MemoryDriver
from lazymigrate.drivers.pymongo import PymongoDriver
from lazymigrate.procedures import reads, writes
from lazymigrate.scope import Scope

START = {"_id": 1, "n": 5, "other": {"x": 1}}
WRITES = 2


@dataclass(frozen=True)
class Increment:
    """A command of the writer that knows nothing of versions."""

    field: str = "n"


@dataclass
class Verdict:
    schedules: int = 0
    lost: int = 0
    differing: int = 0
    hybrids: int = 0


@dataclass
class Store:
    """What the test sees of a store: set it up, look at it, and carry a command out."""

    reset: Callable[[], None]
    look: Callable[[], dict[str, Any]]
    carry: Callable[[Any], Any]
    differing: list[Any] = field(default_factory=list)


def in_memory(driver: type[MemoryDriver] = MemoryDriver, start: dict[str, Any] = START) -> Store:
    collection = MemoryCollection("people")
    carrier = driver(collection)

    def reset() -> None:
        collection.stored.clear()
        collection.put(start)

    def carry(command: Any) -> Any:
        if isinstance(command, Increment):
            (document,) = collection.documents()
            document[command.field] = document.get(command.field, 0) + 1
            return collection.put(document)
        return carrier.carry_out(command)

    return Store(reset, lambda: collection.documents()[0], carry)


def on_mongod(collection: Collection[dict[str, Any]], start: dict[str, Any] = START) -> Store:
    carrier = PymongoDriver(collection, collection)

    def reset() -> None:
        collection.replace_one({"_id": start["_id"]}, start, upsert=True)

    def carry(command: Any) -> Any:
        if isinstance(command, Increment):
            return collection.update_one({"_id": start["_id"]}, {"$inc": {command.field: 1}})
        return carrier.carry_out(command)

    def look() -> dict[str, Any]:
        document = collection.find_one({"_id": start["_id"]})
        assert document is not None
        return document

    return Store(reset, look, carry)


def writer(field: str = "n", times: int = WRITES) -> Procedure[None]:
    for _ in range(times):
        yield Increment(field)  # type: ignore[misc]


def scope_for(schema: Schema, policy: Policy | None = None) -> Scope:
    return Scope(schema, schema.adapter, policy or Policy(write_back=True), "people", CODEC)


def lazy_reader(scope: Scope) -> Procedure[Any]:
    return reads.find_one(scope, Find({"_id": 1}, limit=1), {}, stores=True)


def cursor_reader(scope: Scope) -> Procedure[Any]:
    """A batch of a cursor: the documents were decoded before the write-back reads them again."""
    raws = yield Find({"_id": 1})
    found = yield from reads.read_batch(scope, [scope.decode(raw) for raw in raws], {}, stores=True)
    (document,) = found
    return document


def judge(
    store: Store,
    schema: Schema,
    orders: Callable[[Callable[[], World]], Iterator[World]],
    compared: Callable[[dict[str, Any]], Any] = lambda document: document,
    written: str = "n",
    reader: Callable[[Scope], Procedure[Any]] = lazy_reader,
) -> Verdict:
    """Run the readers and the writer in the given orders and count what must never happen."""
    verdict = Verdict()
    scope = scope_for(schema)

    def compare(returned: dict[str, Any]) -> None:
        if compared(returned) != compared(store.look()):
            verdict.differing += 1

    def build() -> World:
        store.reset()
        readers = [Process(reader(scope), compare) for _ in range(2)]
        return World([*readers, Process(writer(written))], store.carry)

    for _world in orders(build):
        verdict.schedules += 1
        stored = store.look()
        if stored[written] != START.get(written, 0) + WRITES:
            verdict.lost += 1
        if stored["schema_version"] != schema.head:
            verdict.hybrids += 1
    return verdict


def replace_by_id(self: MemoryDriver, command: CompareAndSet) -> int:
    """Mutant: what everybody writes first."""
    read = getattr(command.guard, "raw", command.raw)
    self.collection.stored[command.identity] = memory.spliced(read, command.change)
    return 1


def replace_by_id_and_version(self: MemoryDriver, command: CompareAndSet) -> int:
    """Mutant: what everybody writes next."""
    current = bson.decode(self.collection.stored[command.identity])
    read = bson.decode(command.raw)
    if current.get("schema_version") != read.get("schema_version"):
        return 0
    return replace_by_id(self, command)


def change_by_version(self: MemoryDriver, command: CompareAndSet) -> int:
    """Mutant: the version guards, but only the difference is written: a derived value comes out stale."""
    raw = self.collection.stored[command.identity]
    if bson.decode(raw).get("schema_version") != bson.decode(command.raw).get("schema_version"):
        return 0
    self.collection.stored[command.identity] = memory.spliced(raw, command.change)
    return 1


MUTANTS = (replace_by_id, replace_by_id_and_version, change_by_version)


@pytest.mark.parametrize("reader", [lazy_reader, cursor_reader])
def test_no_order_loses_a_write_or_returns_what_is_not_stored(reader: Any) -> None:
    verdict = judge(in_memory(), counter(), every_order, reader=reader)
    assert verdict.schedules > 200
    assert (verdict.lost, verdict.differing, verdict.hybrids) == (0, 0, 0)


def test_the_same_with_a_guard_on_the_fields_that_the_chain_uses() -> None:
    schema = Schema("people")

    @schema.revision(2, touches={"doubled"}, reads={"n"})
    def double(document: dict[str, Any]) -> None:
        document["doubled"] = document["n"] * 2

    assert schema.chain(1, 2).fields == {"n", "doubled"}
    verdict = judge(in_memory(), schema, every_order)
    assert verdict.schedules > 200
    assert (verdict.lost, verdict.differing, verdict.hybrids) == (0, 0, 0)

    schema = Schema("people")
    schema.revision(2, ops.rename("other", "moved"))
    verdict = judge(in_memory(), schema, every_order, lambda document: (document.get("moved"), "other" in document))
    assert (verdict.lost, verdict.differing, verdict.hybrids) == (0, 0, 0)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_test_catches_the_usual_ways(mutant: Any) -> None:
    broken = type("Broken", (MemoryDriver,), {"compare_and_set": mutant})
    verdict = judge(in_memory(broken), counter(), every_order)
    assert verdict.lost or verdict.differing


def test_a_sample_of_the_orders_on_a_real_server(people: Collection[dict[str, Any]]) -> None:
    verdict = judge(on_mongod(people), counter(), lambda build: random_orders(build, 100, seed=1))
    assert verdict.schedules == 100
    assert (verdict.lost, verdict.differing, verdict.hybrids) == (0, 0, 0)


def whole(command: CompareAndSet) -> dict[str, Any]:
    document = bson.decode(command.raw)
    command.change.apply(document)
    return document


def by_id(command: CompareAndSet) -> Statement:
    return Statement({"_id": 1}, [{"$replaceWith": {"$literal": whole(command)}}])


def by_id_and_version(command: CompareAndSet) -> Statement:
    stamp = bson.decode(command.raw).get("schema_version")
    return Statement({"_id": 1, "schema_version": stamp}, [{"$replaceWith": {"$literal": whole(command)}}])


@pytest.mark.parametrize("mutant", [by_id, by_id_and_version])
def test_the_test_catches_the_usual_ways_on_a_real_server_too(
    people: Collection[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, mutant: Any
) -> None:
    monkeypatch.setattr(calls, "statement", mutant)
    verdict = judge(on_mongod(people), counter(), lambda build: random_orders(build, 100, seed=1))
    assert verdict.lost or verdict.differing


def test_a_deleted_document_is_never_brought_back() -> None:
    schema = counter()
    scope = scope_for(schema)

    def deleter() -> Procedure[None]:
        yield writes.DeleteOne({"_id": 1})

    counted = 0
    collection = MemoryCollection("people")
    carrier = MemoryDriver(collection)

    def build() -> World:
        collection.stored.clear()
        collection.put(START)
        return World([Process(lazy_reader(scope)), Process(lazy_reader(scope)), Process(deleter())], carrier.carry_out)

    for _world in every_order(build):
        counted += 1
        assert not collection.stored
    assert counted > 20


def test_saves_and_an_unaware_writer_lose_nothing_in_any_order() -> None:
    """Two saves of different fields and increments of a third: all of it is stored."""
    schema = users()
    user_model(schema)
    collection = MemoryCollection("people")
    carrier = MemoryDriver(collection)
    scope = scope_for(schema, Policy())
    start = {"_id": 1, "name": "Ada Lovelace", "mail": "m", "n": 0}

    def carry(command: Any) -> Any:
        if isinstance(command, Increment):
            (document,) = collection.documents()
            return collection.put({**document, "n": document["n"] + 1})
        return carrier.carry_out(command)

    def saver(field: str) -> Procedure[None]:
        (raw,) = yield Find({"_id": 1})
        user = reads.arrive(scope, scope.decode(raw))
        setattr(user, field, "changed")
        yield from writes.save(scope, user, None, {})

    def build() -> World:
        collection.stored.clear()
        collection.put(start)
        return World([Process(saver("first_name")), Process(saver("last_name")), Process(writer(times=1))], carry)

    counted = 0
    for _world in every_order(build):
        counted += 1
        (stored,) = collection.documents()
        assert (stored["first_name"], stored["last_name"], stored["n"]) == ("changed", "changed", 1)
        assert stored["schema_version"] == 3
        assert "name" not in stored
    assert counted > 100
