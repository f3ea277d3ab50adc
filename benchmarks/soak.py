"""Old and new code on the same hot documents for a while: nothing that was acknowledged is lost, nothing comes back.

Run: `python benchmarks/soak.py [--seconds 60] [--processes 8] [--documents 300]`.

Each process remembers what it was acknowledged: for every document its own counters, and the list that it pushed to; the
documents that it inserted, and those that it deleted. In the end this is compared with what is stored:

- *lost*: counters and lists that are not what was acknowledged, and inserted documents that are not there;
- *phantoms*: documents that were deleted, or that nobody inserted, and are there;
- *hybrids*: documents whose fields do not fit their stamp, in any read of the run and at its end; and, after a last
  sweep, documents that do not have the shape of head;
- *failures*: anything else. `ConflictError` and `AheadError` are allowed, and counted.

The counters `own` and the lists `log` lie outside of what the revisions touch; the counters `hits`, later `visits`, are
moved by them; and `label` is derived from what old code goes on changing. So that documents stay outdated for as long as
the run lasts, old code puts them back into their first shape now and then, each in one update.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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


def document(identity: int | str, version: int, first: str, last: str, counted: Mapping[str, int] | None = None) -> Document:
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
    hybrids: list[str] = field(default_factory=list)
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

    def seen(self, found: Document, *, complete: bool = True) -> None:
        """Look at a document that was read: its shape, and what this process knows of it."""
        wrong = misfit(found)
        if wrong is not None:
            self.ledger.hybrids.append(f"seen by {self.me}: {wrong}")
        if complete:
            for difference in self.ledger.differences(found):
                raise AssertionError(difference)

    def own_up(self, identity: Any) -> None:
        self.ledger.own[identity] = self.ledger.own.get(identity, 0) + 1

    def count_up(self, identity: Any) -> None:
        self.ledger.counted[identity] = self.ledger.counted.get(identity, 0) + 1

    def push(self, identity: Any, value: int) -> None:
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

    @contextmanager
    def mine(self) -> Iterator[str | None]:
        """One of this process's own documents, if there is any."""
        yield self.chance.choice(self.live) if self.live else None

    def deleted(self, identity: str, count: int) -> None:
        self.expect(count == 1, f"{identity}, which nobody else deletes, was not there")
        self.live.remove(identity)
        self.ledger.deleted.add(identity)
        for known in (self.ledger.own, self.ledger.counted, self.ledger.pushed):
            known.pop(identity, None)

    def crowded(self) -> bool:
        return len(self.live) > 12
