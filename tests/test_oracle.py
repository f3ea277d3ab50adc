"""Nobody can tell whether documents were upgraded eagerly or lazily: random sequences of everything, done both ways.

One collection holds documents of every age and is used through lazymigrate, with a second process of older code, with
sweeps and write-backs in between. The other holds the same documents upgraded at once, and is used through pymongo.
`LAZYMIGRATE_SEQUENCES` sets how many sequences are drawn for each driver.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field, replace
from typing import Any

import bson
import pymongo
import pytest
from conftest import Bench
from lifecycle import unordered
from pymongo.collection import Collection

from lazymigrate import AheadError, ConflictError, Policy, Schema, ops
from lazymigrate.documents import same
from lazymigrate.drivers.memory import CODEC
from lazymigrate.procedures import updates

SEQUENCES = int(os.environ.get("LAZYMIGRATE_SEQUENCES", "45"))
STEPS = 14
IDS = 6

Document = dict[str, Any]


def schema(head: int, *, functions: bool) -> Schema:
    """The same history as far as `head`; its middle revision is a function or operations."""
    history = Schema("people")
    history.revision(2, ops.rename("mail", "email"), ops.add("active", value=True))
    if head > 2 and functions:

        @history.revision(3)
        def count_marks(document: Document) -> None:
            document["count"] = len(document.get("marks") or ())
            document["label"] = f"{document.pop('title', '')}!"

    elif head > 2:
        history.revision(3, ops.rename("title", "label"), ops.add("count", 0))
    if head > 3:
        history.revision(4, ops.convert("age", "string"), ops.nest(["street"], "address"))
    return history


def aged(chance: random.Random, identity: int, version: int) -> Document:
    """A document as the code of a version would have written it."""
    document: Document = {"_id": identity, "n": chance.randint(0, 3), "marks": [chance.randint(0, 9)]}
    document["mail" if version < 2 else "email"] = f"{identity}@x"
    document["title" if version < 3 else "label"] = chance.choice(["a", "b"])
    age = chance.choice([5, 44, None])
    document["age"] = age if version < 4 or age is None else str(age)
    if chance.random() < 0.7:
        document |= {"street": "s"} if version < 4 else {"address": {"street": "s"}}
    if version > 1 or chance.random() < 0.3:
        document["schema_version"] = version
    return document


@dataclass
class Both:
    """The lazy and the eager world, side by side."""

    bench: Bench
    eager: Collection[Document]
    chance: random.Random
    functions: bool
    with_older: bool
    steps: list[str] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.schema = schema(4, functions=self.functions)
        exact = Policy(on_unsafe_query="scan", recheck=0)
        self.lazy = self.bench.open(self.schema, exact)
        self.storing = self.bench.open(self.schema, replace(exact, write_back=True))
        self.before = self.bench.open(schema(2, functions=self.functions), exact)

    def asked(self, identity: int) -> Document:
        """A filter for the newest shape, on a field that stays, moves, comes, or is computed."""
        return self.chance.choice(
            [
                {"n": {"$gte": identity}},
                {"n": {"$lte": identity}},
                {"email": {"$in": [f"{identity}@x", f"{identity + 1}@x"]}},
                {"label": {"$ne": "a"}, "active": True},
                {"address.street": {"$exists": identity % 2 == 0}},
                {"$or": [{"age": "44"}, {"email": f"{identity}@x"}]},
                {"count": {"$lte": 1}, "n": {"$gt": 0}},
                {"age": None},
            ]
        )

    def order(self) -> list[tuple[str, int]]:
        """A sort that leaves no two documents alike."""
        key = self.chance.choice(["_id", "email", "label", "age", "address.street", "count"])
        last = [("_id", self.chance.choice([1, -1]))]
        return last if key == "_id" else [(key, self.chance.choice([1, -1])), *last]

    def update(self) -> Any:
        value = self.chance.randint(0, 5)
        return self.chance.choice(
            [
                {"$set": {"n": value}},
                {"$inc": {"visits": 1, "n": 1}},
                {"$push": {"marks": value}},
                {"$unset": {"active": ""}},
                {"$rename": {"label": "caption"}},
                {"$set": {"email": "new", "deep.er": value}, "$min": {"n": 1}},
                {"$set": {"label": "c"}, "$unset": {"caption": ""}},
                [{"$set": {"total": {"$sum": "$marks"}}}],
            ]
        )

    async def step(self) -> None:
        name = self.chance.choice(
            [
                "insert_old",
                "insert_new",
                "update_one",
                "update_many",
                "upsert",
                "replace",
                "delete",
                "delete_many",
                "find_one_and_update",
                "find_one_and_replace",
                "find_one_and_delete",
                "find_one",
                "find",
                "read_and_store",
                "bulk_write",
                "count",
                "sweep",
                *(["older"] * 3 if self.with_older else []),
            ]
        )
        self.steps.append(name)
        self.done[name] = self.done.get(name, 0) + 1
        await getattr(self, name)(self.chance.randrange(IDS))

    async def same(self, lazy: Any, eager: Any, *names: str) -> Any:
        """Both results, one awaited; the attributes of them that must agree."""
        given = await self.bench.call(lazy)
        if names:
            for name in names:
                assert getattr(given, name) == getattr(eager, name), (name, self.steps)
        else:
            self.equal(given, eager)
        return given

    def equal(self, given: Any, expected: Any) -> None:
        if isinstance(given, list):
            assert len(given) == len(expected), self.steps
            for one, other in zip(given, expected, strict=True):
                self.equal(one, other)
        elif isinstance(given, dict) and isinstance(expected, dict):
            assert same(unordered(given), unordered(expected)), (self.steps, given, expected)
            if not self.with_older:
                assert list(given) == list(expected), (self.steps, given, expected)
        else:
            assert given == expected, self.steps

    async def insert_old(self, identity: int) -> None:
        document = aged(self.chance, identity, self.chance.choice([1, 1, 2, 3]))
        if self.eager.find_one({"_id": identity}) is None:
            self.bench.stored.insert_one(dict(document))
            self.eager.insert_one(self.schema.upgrade(document))

    async def insert_new(self, identity: int) -> None:
        document = aged(self.chance, identity, 4)
        if self.eager.find_one({"_id": identity}) is None:
            await self.bench.call(self.lazy.insert_one(dict(document)))
            self.eager.insert_one({**document, "schema_version": 4})

    async def update_one(self, identity: int) -> None:
        asked, update = {"_id": identity}, self.update()
        await self.same(
            self.lazy.update_one(asked, update), self.eager.update_one(asked, update), "matched_count", "modified_count"
        )

    async def update_many(self, identity: int) -> None:
        asked, update = self.asked(identity), self.update()
        await self.same(
            self.lazy.update_many(asked, update),
            self.eager.update_many(asked, update),
            "matched_count",
            "modified_count",
        )

    async def upsert(self, identity: int) -> None:
        asked = {"_id": identity}
        update = {"$set": {"n": 2}, "$setOnInsert": {"email": "up"}}
        stamped = {"$set": {"n": 2}, "$setOnInsert": {"email": "up", "schema_version": 4}}
        await self.same(
            self.lazy.update_one(asked, update, upsert=True),
            self.eager.update_one(asked, stamped, upsert=True),
            "matched_count",
            "upserted_id",
        )

    async def replace(self, identity: int) -> None:
        document = {"n": 9, "email": "replaced", "schema_version": 4}
        upsert = self.chance.random() < 0.3
        await self.same(
            self.lazy.replace_one({"_id": identity}, document, upsert=upsert),
            self.eager.replace_one({"_id": identity}, document, upsert=upsert),
            "matched_count",
            "upserted_id",
        )

    async def delete(self, identity: int) -> None:
        asked = {"_id": identity}
        await self.same(self.lazy.delete_one(asked), self.eager.delete_one(asked), "deleted_count")

    async def delete_many(self, identity: int) -> None:
        asked = {"n": identity, **self.asked(identity)}
        await self.same(self.lazy.delete_many(asked), self.eager.delete_many(asked), "deleted_count")

    async def find_one_and_update(self, identity: int) -> None:
        asked, update, after = self.asked(identity), self.update(), self.chance.random() < 0.5
        sort = self.order()
        await self.same(
            self.lazy.find_one_and_update(asked, update, sort=sort, return_document=after),
            self.eager.find_one_and_update(asked, update, sort=sort, return_document=after),
        )

    async def find_one_and_replace(self, identity: int) -> None:
        document, after = {"n": 7, "schema_version": 4}, self.chance.random() < 0.5
        await self.same(
            self.lazy.find_one_and_replace({"_id": identity}, document, return_document=after),
            self.eager.find_one_and_replace({"_id": identity}, document, return_document=after),
        )

    async def find_one_and_delete(self, identity: int) -> None:
        asked, sort = self.asked(identity), self.order()
        await self.same(
            self.lazy.find_one_and_delete(asked, sort=sort),
            self.eager.find_one_and_delete(asked, sort=sort),
        )

    async def find_one(self, identity: int) -> None:
        people = self.chance.choice([self.lazy, self.storing])
        await self.same(people.find_one({"_id": identity}), self.eager.find_one({"_id": identity}))

    async def find(self, identity: int) -> None:
        people = self.chance.choice([self.lazy, self.storing])
        asked, sort = self.asked(identity), self.order()
        found = await self.bench.list(people.find(asked, batch_size=2).sort(sort).skip(1).limit(4))
        self.equal(found, list(self.eager.find(asked).sort(sort).skip(1).limit(4)))

    async def read_and_store(self, identity: int) -> None:
        found = await self.same(self.lazy.find_one({"_id": identity}), self.eager.find_one({"_id": identity}))
        if found is not None:
            found["n"] = 4
            await self.bench.call(self.lazy.replace_one({"_id": identity}, found))
            self.eager.replace_one({"_id": identity}, found)

    async def bulk_write(self, identity: int) -> None:
        writes: list[Any] = [
            pymongo.UpdateOne({"_id": identity}, self.update()),
            pymongo.UpdateMany(self.asked(identity), {"$inc": {"n": 1}}),
            pymongo.DeleteOne({"_id": (identity + 1) % IDS}),
        ]
        await self.same(
            self.lazy.bulk_write(writes),
            self.eager.bulk_write(writes),
            "matched_count",
            "modified_count",
            "deleted_count",
        )

    async def count(self, identity: int) -> None:
        asked = self.asked(identity)
        await self.same(self.lazy.count_documents(asked), self.eager.count_documents(asked))

    async def sweep(self, identity: int) -> None:
        report = await self.bench.call(self.lazy.sweep(batch_size=identity + 1))
        assert report.complete, report

    async def older(self, identity: int) -> None:
        """What the release before does: it knows versions 1 and 2, and must not touch what is newer."""
        asked, update = {"_id": identity}, {"$set": {"n": 8}, "$push": {"marks": 3}}
        stored = self.bench.stored.find_one(asked)
        try:
            if stored is None:
                document = aged(self.chance, identity, 2)
                await self.bench.call(self.before.insert_one(document))
                self.eager.insert_one(self.schema.upgrade(document))
            elif self.chance.random() < 0.5:
                await self.bench.call(self.before.update_one(asked, update))
                newer = stored.get("schema_version", 1) > 2
                assert not newer, (self.steps, stored)
                # What a function derives from a field that older code goes on changing is derived when it is upgraded.
                self.eager.replace_one(asked, self.schema.upgrade(self.bench.stored.find_one(asked)))
            else:
                assert (await self.bench.call(self.before.delete_one(asked))).deleted_count == 1
                self.eager.delete_one(asked)
        except AheadError:
            assert stored["schema_version"] > 2

    async def end(self) -> None:
        """A last sweep leaves the same documents, byte for byte unless older code wrote some of their fields."""
        assert (await self.bench.call(self.lazy.sweep())).complete
        lazy = {d["_id"]: d for d in self.bench.stored.find()}
        eager = {d["_id"]: d for d in self.eager.find()}
        assert lazy.keys() == eager.keys(), self.steps
        for identity, document in lazy.items():
            self.equal(document, eager[identity])
            if not self.with_older:
                assert bson.encode(document, codec_options=CODEC) == bson.encode(eager[identity], codec_options=CODEC)


@pytest.mark.parametrize("bench", ["pymongo", "pymongo_async", "motor"], indirect=True)
async def test_lazy_is_eager(bench: Bench) -> None:
    done: dict[str, int] = {}
    seed = int(os.environ.get("LAZYMIGRATE_SEQUENCES_SEED", "1"))
    eager = bench.stored.database["eager"]
    for number in range(SEQUENCES):
        chance = random.Random(f"{bench.name} {seed} {number}")
        bench.stored.delete_many({})
        eager.delete_many({})
        both = Both(bench, eager, chance, functions=number % 2 == 0, with_older=number % 3 == 0, done=done)
        for _ in range(4):
            await both.insert_old(chance.randrange(IDS))
        for _ in range(STEPS):
            try:
                await both.step()
            except ConflictError as error:
                raise AssertionError(both.steps) from error
        await both.end()
    assert SEQUENCES < 40 or len(done) == 18, done
    print(f"{bench.name}: {SEQUENCES} sequences, {sum(done.values())} steps: {done}")  # noqa: T201 (the figures are the point)


async def test_the_oracle_catches_an_update_that_does_not_ask_for_the_version(
    people: Collection[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "current", lambda scope, asked: dict(asked))
    bench = Bench("pymongo", people, people)
    with pytest.raises(AssertionError):
        for number in range(20):
            chance = random.Random(number)
            people.delete_many({})
            eager = people.database["eager"]
            eager.delete_many({})
            both = Both(bench, eager, chance, functions=False, with_older=False)
            for _ in range(4):
                await both.insert_old(chance.randrange(IDS))
            for identity in range(IDS):
                await both.update_one(identity)
            await both.end()
