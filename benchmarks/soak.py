"""Old and new code on the same hot documents for a while: nothing that was acknowledged is lost, nothing comes back.

Run: `python benchmarks/soak.py [--seconds 60] [--processes 8] [--documents 300]`.

Each process remembers what it was acknowledged: for every document its own counters, and the list that it pushed to; the
documents that it inserted, and those that it deleted. In the end this is compared with what is stored:

- *lost*: counters and lists that are not what was acknowledged, and inserted documents that are not there;
- *phantoms*: documents that were deleted, or that nobody inserted, and are there;
- *hybrids*: documents whose fields do not fit their stamp, in any read of the run and at its end; and, after a last
  sweep, documents that do not have the shape of head;
- *missed*: writes of new code by `_id` that matched nothing, although the document was there all the time;
- *failures*: anything else. `ConflictError` and `AheadError` are allowed, and counted.

The counters `own` and the lists `log` lie outside of what the revisions touch; the counters `hits`, later `visits`, are
moved by them; and `label` is derived from what old code goes on changing. So that documents stay outdated for as long as
the run lasts, old code puts some of them back into their first shape now and then, each in one update.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pymongo
from pydantic import BaseModel, Field
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database

from lazymigrate import AheadError, ConflictError, LazyCollection, Policy, Schema, embedded, ops

__all__ = ["ROLES", "Report", "soak"]

Document = dict[str, Any]
Operation = Callable[[], None]

COLLECTION = "people"
BUCKETS = 30
HEAD = 3
SHAPES = {
    1: {"name", "mail", "hits"},
    2: {"first_name", "last_name", "label", "mail", "hits"},
    3: {"first_name", "last_name", "label", "email", "visits"},
}
FIELDS = set().union(*SHAPES.values())
COUNTERS = {1: "hits", 2: "hits", 3: "visits"}
PUT_BACK = [
    {"$set": {"name": {"$concat": ["$first_name", " ", "$last_name"]}, "mail": "$email", "hits": "$visits"}},
    {"$unset": ["first_name", "last_name", "label", "email", "visits", "schema_version"]},
]


def schema(head: int, *, touches: bool) -> Schema:
    """The history as far as `head`. `touches`: the function says what it uses, and only that is guarded."""
    history = Schema(COLLECTION)

    @history.revision(2, touches={"name", "first_name", "last_name", "label"} if touches else None)
    def split_name(person: Document) -> None:
        person["first_name"], _, person["last_name"] = person.pop("name").partition(" ")
        person["label"] = f"{person['last_name']}, {person['first_name']}"

    if head > 2:
        history.revision(3, ops.rename("mail", "email"), ops.rename("hits", "visits"))
    return history


def model(history: Schema) -> type[Any]:
    """The model of the counters; everything else is unknown to it and stays as it is."""
    if history.head == 2:

        class Older(BaseModel):
            id: int | str = Field(alias="_id")
            hits: dict[str, int]
            own: dict[str, int]
            touched: int = 0

        return history.model(Older)

    class Newer(BaseModel):
        id: int | str = Field(alias="_id")
        visits: dict[str, int]
        own: dict[str, int]
        touched: int = 0

    return history.model(Newer)


def document(
    identity: int | str, version: int, first: str, last: str, counted: Mapping[str, int] | None = None
) -> Document:
    """A document as the code of a version writes it; without a stamp at the first."""
    made: Document = {"_id": identity, "hot": isinstance(identity, int), "bucket": hash_of(identity) % BUCKETS}
    if version == 1:
        made |= {"name": f"{first} {last}", "mail": f"{identity}@example.org"}
    else:
        made |= {"first_name": first, "last_name": last, "label": f"{last}, {first}"}
        made["mail" if version == 2 else "email"] = f"{identity}@example.org"
        made["schema_version"] = version
    return {**made, COUNTERS[version]: {}, "own": dict(counted or {}), "log": {}}


def hash_of(identity: int | str) -> int:
    return identity if isinstance(identity, int) else sum(identity.encode())


def misfit(found: Document) -> str | None:
    """What is wrong with the shape of a document, given its stamp."""
    version = found.get("schema_version", 1)
    if found.keys() & FIELDS != SHAPES.get(version):
        return f"{found['_id']}: stamped {version} with {sorted(found.keys() & FIELDS)}"
    if version > 1 and found["label"] != f"{found['last_name']}, {found['first_name']}":
        return f"{found['_id']}: the label is not of these names"
    return None


@dataclass(slots=True)
class Ledger:
    """What one process was acknowledged."""

    name: str
    own: dict[Any, int] = field(default_factory=dict)
    counted: dict[Any, int] = field(default_factory=dict)
    pushed: dict[Any, list[int]] = field(default_factory=dict)
    inserted: set[Any] = field(default_factory=set)
    deleted: set[Any] = field(default_factory=set)
    operations: Counter[str] = field(default_factory=Counter)
    conflicts: int = 0
    ahead: int = 0
    put_back: int = 0
    hybrids: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def differences(self, found: Document) -> list[str]:
        """What a document that was read is missing of what was acknowledged, or has more."""
        identity = found["_id"]
        counters = found.get("visits", found.get("hits", {}))
        wrong = []
        for what, has, expected in (
            ("own", found.get("own", {}).get(self.name, 0), self.own.get(identity, 0)),
            ("visits", counters.get(self.name, 0), self.counted.get(identity, 0)),
            ("log", found.get("log", {}).get(self.name, []), self.pushed.get(identity, [])),
        ):
            if has != expected:
                wrong.append(f"{what} of {self.name} in {identity}: {has} stored, {expected} acknowledged")
        return wrong


class Process:
    """One process at work; its role says with which operations."""

    def __init__(self, database: Database[Document], ledger: Ledger, number: int, documents: int) -> None:
        self.raw: Collection[Document] = database[COLLECTION]
        self.ledger = ledger
        self.me = ledger.name
        self.documents = documents
        self.chance = random.Random(number)
        self.serial = 0
        self.live: list[str] = []
        """The documents that this process inserted and has not deleted."""

    def operations(self) -> dict[Operation, int]:
        """What the process does, each so many times as often as the others."""
        raise NotImplementedError

    def run(self, seconds: float) -> None:
        """Work until the time is over; the first failure ends it."""
        table = self.operations()
        choices, weights = list(table), list(table.values())
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.ledger.failures:
            operation = self.chance.choices(choices, weights)[0]
            name = operation.__name__
            try:
                operation()
            except ConflictError:
                self.ledger.conflicts += 1
                name += " (conflict)"
            except AheadError:
                self.ledger.ahead += 1
                name += " (ahead)"
            except Exception:
                self.ledger.failures.append(f"{self.me}: {name}\n{traceback.format_exc()}")
            self.ledger.operations[name] += 1

    def hot(self) -> int:
        return self.chance.randrange(self.documents)

    def bucket(self) -> int:
        return self.chance.randrange(BUCKETS)

    def next(self) -> int:
        self.serial += 1
        return self.serial

    def new_id(self) -> str:
        return f"{self.me}-{self.next()}"

    def expect(self, condition: object, what: str) -> None:
        if not condition:
            raise AssertionError(what)

    def seen(self, found: Document) -> None:
        """Look at a document that was read: its shape, and what this process was acknowledged of it."""
        wrong = misfit(found)
        if wrong is not None:
            self.ledger.hybrids.append(f"seen by {self.me}: {wrong}")
        for difference in self.ledger.differences(found):
            raise AssertionError(difference)

    def own_up(self, identity: Any) -> None:
        self.ledger.own[identity] = self.ledger.own.get(identity, 0) + 1

    def count_up(self, identity: Any) -> None:
        self.ledger.counted[identity] = self.ledger.counted.get(identity, 0) + 1

    def pushed(self, identity: Any, value: int) -> None:
        self.ledger.pushed.setdefault(identity, []).append(value)

    def settle(self, identities: Sequence[Any], matched: int) -> None:
        """After a write of several: in which documents this process's own counter was raised."""
        raised = 0
        for found in self.raw.find({"_id": {"$in": [*identities]}}):
            stored, known = found["own"].get(self.me, 0), self.ledger.own.get(found["_id"], 0)
            if stored == known + 1:
                self.own_up(found["_id"])
                raised += 1
            self.seen(found)
        self.expect(raised == matched, f"{matched} acknowledged, {raised} stored")

    def inserted(self, identity: str) -> None:
        self.ledger.inserted.add(identity)
        self.live.append(identity)

    def deleted(self, identity: str) -> None:
        self.live.remove(identity)
        self.ledger.deleted.add(identity)
        self.forget(identity)

    def forget(self, identity: str) -> None:
        for known in (self.ledger.own, self.ledger.counted, self.ledger.pushed):
            known.pop(identity, None)

    def mine(self) -> str:
        """One of the documents that this process inserted, and that nobody else replaces or deletes."""
        while len(self.live) < 5:
            self.insert()
        return self.chance.choice(self.live)

    def insert(self) -> None:
        raise NotImplementedError


class Plain(Process):
    """A program of the first release, on plain pymongo: it knows nothing of versions."""

    def operations(self) -> dict[Operation, int]:
        return {
            self.find_one: 2,
            self.inc: 4,
            self.push: 2,
            self.inc_what_moves: 4,
            self.set_what_is_derived_from: 2,
            self.put_back: 3,
            self.replace: 1,
            self.delete_and_insert: 1,
        }

    def find_one(self) -> None:
        self.seen(self.raw.find_one({"_id": self.hot()}) or {})

    def inc(self) -> None:
        identity = self.hot()
        result = self.raw.update_one({"_id": identity}, {"$inc": {f"own.{self.me}": 1}})
        self.expect(result.matched_count == 1, "a hot document is gone")
        self.own_up(identity)

    def push(self) -> None:
        identity, value = self.hot(), self.next()
        result = self.raw.update_one({"_id": identity}, {"$push": {f"log.{self.me}": value}})
        self.expect(result.matched_count == 1, "a hot document is gone")
        self.pushed(identity, value)

    def inc_what_moves(self) -> None:
        identity = self.hot()
        asked = {"_id": identity, "hits": {"$exists": True}}
        if self.raw.update_one(asked, {"$inc": {f"hits.{self.me}": 1}}).matched_count:
            self.count_up(identity)

    def set_what_is_derived_from(self) -> None:
        asked = {"_id": self.hot(), "name": {"$exists": True}}
        self.raw.update_one(asked, {"$set": {"name": f"{self.me} {self.next()}"}})

    def put_back(self) -> None:
        self.raw.update_many({"bucket": self.bucket(), "hot": True, "schema_version": HEAD}, PUT_BACK)

    def insert(self) -> None:
        identity = self.new_id()
        self.raw.insert_one(document(identity, 1, self.me, identity))
        self.inserted(identity)

    def replace(self) -> None:
        identity = self.mine()
        again = document(identity, 1, self.me, str(self.next()), {self.me: self.serial})
        self.expect(self.raw.replace_one({"_id": identity}, again).matched_count == 1, f"{identity} is gone")
        self.forget(identity)
        self.ledger.own[identity] = self.serial

    def delete_and_insert(self) -> None:
        identity = self.mine()
        self.expect(self.raw.delete_one({"_id": identity}).deleted_count == 1, f"{identity} is gone")
        self.deleted(identity)
        self.insert()


class Lazy(Process):
    """A program that uses lazymigrate, with the history as far as `head`."""

    head = HEAD

    def __init__(self, database: Database[Document], ledger: Ledger, number: int, documents: int) -> None:
        super().__init__(database, ledger, number, documents)
        history = schema(self.head, touches=number % 4 < 2)
        self.people = LazyCollection(self.raw, history, Policy(write_back=True))
        self.keeping = self.people.with_options(policy=Policy(write_back=True, on_ahead="keep"))
        self.typed = LazyCollection(self.raw, model(history))
        self.counter = COUNTERS[self.head]

    def operations(self) -> dict[Operation, int]:
        return {
            self.find_one: 8,
            self.find: 2,
            self.update_one: 8,
            self.update_one_by_a_pipeline: 3,
            self.update_names: 3,
            self.update_many: 3,
            self.touch_what_others_delete: 2,
            self.find_one_and_update: 5,
            self.save: 8,
            self.save_what_others_delete: 3,
            self.bulk_write: 3,
            self.replace: 2,
            self.delete_and_insert: 3,
            self.sweep: 1,
        }

    def names(self) -> Document:
        last = str(self.next())
        return {"first_name": self.me, "last_name": last, "label": f"{last}, {self.me}"}

    def missed(self, what: str) -> None:
        """A document that was there all the time was not matched."""
        self.ledger.missed.append(f"{what} of {self.me}")

    def find_one(self) -> None:
        found = self.people.find_one({"_id": self.hot()})
        self.expect(found is not None and found["schema_version"] == self.head, "not given at head")
        self.seen(found or {})

    def find(self) -> None:
        for found in self.keeping.find({"bucket": self.bucket()}).to_list():
            self.seen(found)

    def update_one(self) -> None:
        identity, value = self.hot(), self.next()
        update = {
            "$inc": {f"own.{self.me}": 1, f"{self.counter}.{self.me}": 1},
            "$push": {f"log.{self.me}": value},
        }
        if self.people.update_one({"_id": identity}, update).matched_count:
            self.own_up(identity)
            self.count_up(identity)
            self.pushed(identity, value)
        else:
            self.missed("update_one")

    def update_one_by_a_pipeline(self) -> None:
        identity, path = self.hot(), f"own.{self.me}"
        update = [{"$set": {path: {"$add": [{"$ifNull": [f"${path}", 0]}, 1]}}}]
        if self.people.update_one({"_id": identity}, update).matched_count:
            self.own_up(identity)
        else:
            self.missed("update_one by a pipeline")

    def update_names(self) -> None:
        if not self.people.update_one({"_id": self.hot()}, {"$set": self.names()}).matched_count:
            self.missed("update_one of names")

    def update_many(self) -> None:
        identities = self.chance.sample(range(self.documents), 3)
        result = self.people.update_many({"_id": {"$in": identities}}, {"$inc": {f"own.{self.me}": 1}})
        self.settle(identities, result.matched_count)

    def touch_what_others_delete(self) -> None:
        asked = {"hot": False, "bucket": self.bucket()}
        self.people.update_many(asked, {"$set": {"touched": self.next()}})

    def find_one_and_update(self) -> None:
        identity, after = self.hot(), self.chance.random() < 0.5
        update = {"$inc": {f"own.{self.me}": 1}}
        found = self.people.find_one_and_update({"_id": identity}, update, return_document=after)
        if found is None:
            self.missed("find_one_and_update")
            return
        if not after:
            self.seen(found)
        self.own_up(identity)
        if after:
            self.seen(found)

    def save(self) -> None:
        identity = self.hot()
        found = self.typed.find_one(identity)
        self.expect(found is not None, "a hot document is gone")
        own, counters = found.own, getattr(found, self.counter)
        self.expect(own.get(self.me, 0) == self.ledger.own.get(identity, 0), "an acknowledged write is not read")
        own[self.me] = own.get(self.me, 0) + 1
        counters[self.me] = counters.get(self.me, 0) + 1
        self.typed.save(found)
        self.own_up(identity)
        self.count_up(identity)

    def save_what_others_delete(self) -> None:
        for found in self.typed.find({"hot": False, "bucket": self.bucket()}).limit(3):
            found.touched = self.next()
            self.typed.save(found)

    def bulk_write(self) -> None:
        one, other = self.chance.sample(range(self.documents), 2)
        identity, new = self.mine(), self.new_id()
        result = self.people.bulk_write(
            [
                pymongo.UpdateOne({"_id": one}, {"$inc": {f"own.{self.me}": 1}}),
                pymongo.InsertOne(document(new, self.head, self.me, new)),
                pymongo.UpdateMany({"_id": {"$in": [other]}}, {"$inc": {f"own.{self.me}": 1}}),
                pymongo.DeleteOne({"_id": identity}),
            ],
            ordered=self.chance.random() < 0.5,
        )
        self.inserted(new)
        self.expect(result.inserted_count == 1, "an insert without an error that inserted nothing")
        if self.gone(identity, result.deleted_count):
            self.deleted(identity)
        self.settle([one, other], result.matched_count)

    def gone(self, identity: str, count: int) -> bool:
        """Whether a document of this process was deleted; older code does not delete what is ahead of it meanwhile."""
        self.expect(count or self.head < HEAD, f"{identity} is gone")
        return count == 1

    def insert(self) -> None:
        identity, way = self.new_id(), self.chance.randrange(4)
        at_head = document(identity, self.head, self.me, identity)
        if way == 0:
            self.people.insert_one(at_head)
        elif way == 1:
            self.people.insert_one({**document(identity, 1, self.me, identity), "schema_version": 1})
        elif way == 2:
            other = self.new_id()
            self.people.insert_many([at_head, document(other, self.head, self.me, other)])
            self.inserted(other)
        else:
            del at_head["_id"], at_head["schema_version"]
            result = self.people.update_one({"_id": identity}, {"$set": at_head}, upsert=True)
            self.expect(result.upserted_id == identity, "an upsert that inserted nothing")
        self.inserted(identity)

    def replace(self) -> None:
        identity = self.mine()
        again = document(identity, self.head, self.me, str(self.next()), {self.me: self.serial})
        if self.chance.random() < 0.5:
            matched = self.people.replace_one({"_id": identity}, again).matched_count
        else:
            matched = self.people.find_one_and_replace({"_id": identity}, again) is not None
        if matched:
            self.forget(identity)
            self.ledger.own[identity] = self.serial
        else:
            self.missed("a replacement")

    def delete_and_insert(self) -> None:
        identity, way = self.mine(), self.chance.randrange(3)
        if way == 0:
            gone = self.gone(identity, self.people.delete_one({"_id": identity}).deleted_count)
        elif way == 1:
            gone = self.gone(identity, self.people.delete_many({"_id": identity}).deleted_count)
        else:
            found = self.people.find_one_and_delete({"_id": identity})
            gone = found is not None
            if found is None:
                self.missed("find_one_and_delete")
            else:
                self.seen(found)
        if gone:
            self.deleted(identity)
        if len(self.live) < 12:
            self.insert()

    def sweep(self) -> None:
        part = self.people.partitions(1)[0]  # one that needs no lease, so that several sweep at once
        report = self.people.run_partition(part, batch_size=self.chance.choice([10, 100]), limit=200)
        self.ledger.conflicts += report.conflicts
        self.expect(report.quarantined == 0, "a document was put in the quarantine")


class Older(Lazy):
    """The release before: it knows versions 1 and 2."""

    head = 2

    def missed(self, what: str) -> None:  # noqa: ARG002 (as its parent's)
        """A document that is ahead at one look, and was put back before the next: neither matched nor ahead."""
        self.ledger.put_back += 1


class Careless(Process):
    """What lazymigrate is not: it stores the upgraded document as it was read. It shows that a loss is noticed."""

    def operations(self) -> dict[Operation, int]:
        return {self.read_and_replace: 1}

    def read_and_replace(self) -> None:
        for found in self.raw.find({"bucket": self.bucket()}).to_list():
            if found.get("schema_version") is None:
                upgraded = schema(HEAD, touches=False).upgrade(found)
                self.raw.replace_one({"_id": found["_id"]}, upgraded, upsert=True)


ROLES: Mapping[str, type[Process]] = {"new": Lazy, "plain": Plain, "older": Older, "careless": Careless}
ORDER = ("new", "plain", "older", "new")
"""The roles of four processes; more of them begin again."""


@dataclass(slots=True)
class Report:
    """What a run did, and what was found wrong; `str()` gives the figures."""

    seconds: float
    roles: Sequence[str]
    documents: int
    operations: dict[str, Counter[str]] = field(default_factory=dict)
    acknowledged: int = 0
    conflicts: int = 0
    ahead: int = 0
    put_back: int = 0
    """Writes of older code that matched nothing, since the document was put back while they looked."""
    outdated: int = 0
    """Documents that were not at head when the processes had ended."""
    lost: list[str] = field(default_factory=list)
    phantoms: list[str] = field(default_factory=list)
    hybrids: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    """Writes that matched nothing, of documents that were there all the time."""
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        total = sum(sum(counts.values()) for counts in self.operations.values())
        lines = [
            f"{len(self.roles)} processes ({', '.join(self.roles)}) on {self.documents} hot documents for {self.seconds:.0f} s",
            f"  {total:,} operations; {self.acknowledged:,} acknowledged counts and pushes compared with what is stored",
        ]
        for role, counts in self.operations.items():
            lines.append(f"  {role}: " + ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))
        lines.append(
            f"  conflicts {self.conflicts:,}, ahead {self.ahead:,}, put back while older code looked {self.put_back}, "
            f"outdated at the end {self.outdated:,}; "
            f"lost {len(self.lost)}, phantoms {len(self.phantoms)}, hybrids {len(self.hybrids)}, "
            f"missed {len(self.missed)}, failures {len(self.failures)}"
        )
        wrong = [*self.lost, *self.phantoms, *self.hybrids, *self.missed, *self.failures]
        return "\n".join([*lines, *(f"  {what}" for what in wrong[:20])])


def soak(
    uri: str, database: str, *, seconds: float, roles: Sequence[str], documents: int = 300, seed: int = 1
) -> Report:
    """Let a process for each role work on fresh documents of an empty database; what became of them."""
    with MongoClient[Document](uri) as client:
        people = client[database][COLLECTION]
        people.insert_many([document(n, 1 + n % HEAD, "first", str(n)) for n in range(documents)])
        people.create_index("bucket")
        ledgers = work(uri, database, seconds, roles, documents, seed)
        report = Report(seconds, roles, documents)
        for role, ledger in zip(roles, ledgers, strict=True):
            report.operations.setdefault(role, Counter()).update(ledger.operations)
            report.conflicts += ledger.conflicts
            report.ahead += ledger.ahead
            report.put_back += ledger.put_back
            report.hybrids += ledger.hybrids
            report.missed += ledger.missed
            report.failures += ledger.failures
            report.acknowledged += sum(ledger.own.values()) + sum(ledger.counted.values())
            report.acknowledged += sum(map(len, ledger.pushed.values()))
        judge(people, ledgers, report)
    return report


def work(uri: str, database: str, seconds: float, roles: Sequence[str], documents: int, seed: int) -> list[Ledger]:
    """The ledgers of processes that began together."""
    context = multiprocessing.get_context("spawn")
    barrier, ledgers = context.Barrier(len(roles)), context.Queue()
    processes = [
        context.Process(
            target=one_process,
            args=(uri, database, seconds, role, number, documents, seed, barrier, ledgers),
            daemon=True,
        )
        for number, role in enumerate(roles)
    ]
    try:
        for process in processes:
            process.start()
        found = [ledgers.get(timeout=seconds + 120) for _ in processes]
        for process in processes:
            process.join(timeout=60)
    finally:
        for process in processes:
            process.kill()
    return [ledger for _, ledger in sorted(found, key=lambda item: item[0])]


def one_process(
    uri: str,
    database: str,
    seconds: float,
    role: str,
    number: int,
    documents: int,
    seed: int,
    barrier: Any,
    ledgers: Any,
) -> None:
    """What runs in a process of its own."""
    ledger = Ledger(f"p{number}")
    with MongoClient[Document](uri) as client:
        process = ROLES[role](client[database], ledger, number, documents)
        process.chance.seed(seed * 1000 + number)
        client.admin.command("ping")
        barrier.wait(timeout=60)
        process.run(seconds)
    ledgers.put((number, ledger))


def judge(people: Collection[Document], ledgers: Sequence[Ledger], report: Report) -> None:
    """Compare what is stored with what was acknowledged; then sweep, and look at the shapes."""
    inserted = set(range(report.documents)).union(*(ledger.inserted for ledger in ledgers))
    deleted: set[Any] = set().union(*(ledger.deleted for ledger in ledgers))
    stored = {found["_id"]: found for found in people.find()}
    report.phantoms += [f"{identity} was deleted" for identity in stored.keys() & deleted]
    report.phantoms += [f"{identity} was inserted by nobody" for identity in stored.keys() - inserted]
    report.lost += [f"{identity} was inserted" for identity in inserted - deleted - stored.keys()]
    report.hybrids += misfits(stored.values())
    report.outdated = sum(found.get("schema_version") != HEAD for found in stored.values())
    report.lost += differences(stored.values(), ledgers)
    swept = LazyCollection(people, schema(HEAD, touches=False)).sweep()
    if not swept.complete or swept.quarantined:
        report.failures.append(str(swept))
    at_head = people.find().to_list()
    report.hybrids += [*misfits(at_head), *(str(d["_id"]) for d in at_head if d.get("schema_version") != HEAD)]
    report.lost += differences(at_head, ledgers)
    if {found["_id"] for found in at_head} != stored.keys():
        report.failures.append("the last sweep deleted or inserted documents")


def misfits(documents: Iterable[Document]) -> list[str]:
    return [wrong for wrong in map(misfit, documents) if wrong is not None]


def differences(documents: Iterable[Document], ledgers: Sequence[Ledger]) -> list[str]:
    return [difference for found in documents for ledger in ledgers for difference in ledger.differences(found)]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--processes", type=int, default=8)
    arguments.add_argument("--documents", type=int, default=300)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    roles = [ORDER[number % len(ORDER)] for number in range(options.processes)]
    with embedded.server() as server:
        name = f"soak_{uuid4().hex[:12]}"
        report = soak(
            server.uri, name, seconds=options.seconds, roles=roles, documents=options.documents, seed=options.seed
        )
        print(report)
        with MongoClient[Document](server.uri) as client:
            client.drop_database(name)
    if report.lost or report.phantoms or report.hybrids or report.missed or report.failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
