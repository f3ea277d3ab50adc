"""A real server for every test that talks to one, and the four drivers behind one interface."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings
from pymongo import AsyncMongoClient, MongoClient
from pymongo.collection import Collection
from pymongo.database import Database

from lazymigrate import AsyncLazyCollection, LazyCollection, embedded
from lazymigrate.testing import MemoryCollection

# The gate draws the same examples each time, so that what it says is about the change; elsewhere they are drawn afresh.
settings.register_profile("gate", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("gate")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """More processes than processors, since many tests wait for a server, or for another process."""
    processors = os.cpu_count() or 1
    return processors + min(processors, 4)


@pytest.fixture(scope="session")
def mongo_uri() -> Iterator[str]:
    """A MongoDB that can be written to; a missing one is a failure, never a skip."""
    with embedded.server() as server:
        yield server.uri


@pytest.fixture(scope="session")
def client(mongo_uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongo_uri, heartbeatFrequencyMS=500) as client:  # finds a server again at once
        yield client


@pytest.fixture
def db(client: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    name = f"test_{uuid4().hex[:12]}"
    yield client[name]
    client.drop_database(name)


@pytest.fixture
def people(db: Database[dict[str, Any]]) -> Collection[dict[str, Any]]:
    return db["people"]


def key(identity: Any) -> Any:
    return repr(identity) if isinstance(identity, dict) else identity


async def settled(value: Any) -> Any:
    """A result, awaited where it is awaitable."""
    return await value if hasattr(value, "__await__") else value


@dataclass
class Bench:
    """One driver under test: how to open its collection, and a plain way to see and set what is stored."""

    name: str
    collection: Any
    stored: Any

    def open(self, shape: Any, policy: Any = None) -> Any:
        face = AsyncLazyCollection if self.name in ("pymongo_async", "motor") else LazyCollection
        return face(self.collection, shape, policy)

    async def call(self, value: Any) -> Any:
        return await settled(value)

    async def list(self, cursor: Any) -> list[Any]:
        if hasattr(cursor, "__aiter__"):
            return [document async for document in cursor]
        return list(cursor)

    def put(self, *documents: dict[str, Any]) -> None:
        for document in documents:
            if isinstance(self.stored, MemoryCollection):
                self.stored.put(document)
            else:
                self.stored.replace_one({"_id": document["_id"]}, document, upsert=True)

    def all(self) -> dict[Any, dict[str, Any]]:
        found = self.stored.documents() if isinstance(self.stored, MemoryCollection) else self.stored.find()
        return {key(document["_id"]): document for document in found}

    def remove(self, identity: Any) -> None:
        if isinstance(self.stored, MemoryCollection):
            for key, document in list(zip(self.stored.stored, self.stored.documents(), strict=True)):
                if document["_id"] == identity:
                    del self.stored.stored[key]
        else:
            self.stored.delete_one({"_id": identity})

    def quarantined(self) -> list[dict[str, Any]]:
        if isinstance(self.stored, MemoryCollection):
            entries = self.stored.beside("quarantine").documents()
        else:
            entries = list(self.stored.database["lazymigrate.quarantine"].find({"_id.collection": self.stored.name}))
        return [{**entry, "document_id": entry["_id"]["document_id"]} for entry in entries]


DRIVERS = ("pymongo", "pymongo_async", "motor", "memory")


@pytest.fixture(params=DRIVERS)
async def bench(request: pytest.FixtureRequest, mongo_uri: str, db: Database[dict[str, Any]]) -> AsyncIterator[Bench]:
    """The same case on each of the four drivers."""
    kind = request.param
    stored = db["people"]
    if kind == "memory":
        memory = MemoryCollection("people")
        yield Bench(kind, memory, memory)
    elif kind == "pymongo":
        yield Bench(kind, stored, stored)
    elif kind == "pymongo_async":
        async with AsyncMongoClient[dict[str, Any]](mongo_uri) as asynchronous:
            yield Bench(kind, asynchronous[db.name]["people"], stored)
    else:
        from motor.motor_asyncio import AsyncIOMotorClient

        motor: Any = AsyncIOMotorClient(mongo_uri)
        try:
            yield Bench(kind, motor[db.name]["people"], stored)
        finally:
            motor.close()
