"""What a query over mixed versions costs: times the same query on a collection that was upgraded altogether.

Run: `python benchmarks/querying.py [--documents n] [--rounds n]`. Ratios in one run, interleaved, medians.

Half of the documents are outdated, and the filter (or sort) is on a field that a revision renames; both names are indexed, and
there is a backlog index. Beside the ratios: how many documents the server examined for those that it gave.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from paired import Pair, measure
from pymongo import MongoClient
from pymongo.collection import Collection

from lazymigrate import LazyCollection, Schema, embedded, ops

Client = MongoClient[dict[str, Any]]
VALUES = 10_000  # different ones: twenty documents for each, of 200,000
TIMES = 40  # queries in one measurement


def schema() -> Schema:
    people = Schema("people")
    people.revision(2, ops.rename("mail", "email"))
    people.revision(3, ops.add("active", value=True))
    return people


def filled(collection: Collection[Any], documents: int, share: float) -> Collection[Any]:
    """Documents of which this share is outdated, at two versions."""
    chance = random.Random(1)
    for start in range(0, documents, 1000):
        batch = []
        for number in range(start, start + 1000):
            own: dict[str, Any] = {"_id": number, "pad": "x" * 500}
            value = f"{chance.randrange(VALUES):06}@example.org"
            if chance.random() >= share:
                own |= {"email": value, "active": True, "schema_version": 3}
            elif chance.random() < 0.5:
                own |= {"mail": value}
            else:
                own |= {"email": value, "schema_version": 2}
            batch.append(own)
        collection.insert_many(batch)
    return collection


def values() -> list[str]:
    chance = random.Random(2)
    return [f"{chance.randrange(VALUES):06}@example.org" for _ in range(TIMES)]


def finds(people: Any) -> int:
    return sum(len(list(people.find({"email": value}))) for value in values())


def ranges(people: Any) -> int:
    return sum(len(list(people.find({"email": {"$gte": value}}).limit(100))) for value in values()[:10])


def sorts(people: Any) -> int:
    return sum(len(list(people.find().sort("email", -1).limit(20))) for _ in range(10))


def sorts_from(people: Any) -> int:
    return sum(len(list(people.find({"email": {"$gte": value}}).sort("email", 1).limit(20))) for value in values()[:10])


def seconds(work: Callable[[Any], int], people: Any) -> float:
    started = time.perf_counter()
    work(people)
    return time.perf_counter() - started


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--documents", type=int, default=200_000)
    arguments.add_argument("--rounds", type=int, default=15)
    options = arguments.parse_args()
    with embedded.server() as server, Client(server.uri) as client:
        database = client["bench"]
        mixed = LazyCollection(filled(database["mixed"], options.documents, 0.5), schema())
        done = LazyCollection(filled(database["done"], options.documents, 0.5), schema())
        done.sweep()
        for people in (mixed, done):
            people.raw.create_index("email")
            people.raw.create_index("mail")
            people.create_backlog_index()
        bare = LazyCollection(filled(database["bare"], options.documents, 0.0), schema())  # no backlog index
        bare.raw.create_index("email")
        assert finds(mixed) == finds(done) > 0
        assert sorts(mixed) == sorts(done)
        pairs = {
            "find, half outdated": Pair(partial(seconds, finds, mixed), partial(seconds, finds, done.raw), 1.3),
            "range of 100, half outdated": Pair(
                partial(seconds, ranges, mixed), partial(seconds, ranges, done.raw), 1.3
            ),
            "sort and limit 20, half outdated": Pair(
                partial(seconds, sorts, mixed), partial(seconds, sorts, done.raw), 1.5
            ),
            "range, sort and limit 20": Pair(
                partial(seconds, sorts_from, mixed), partial(seconds, sorts_from, done.raw), 1.5
            ),
            "range of 100, none outdated, index": Pair(
                partial(seconds, ranges, done), partial(seconds, ranges, done.raw), 1.05
            ),
            "range of 100, none outdated, no index": Pair(
                partial(seconds, ranges, bare), partial(seconds, ranges, bare.raw), 1.05
            ),
            "find, none outdated, index": Pair(partial(seconds, finds, done), partial(seconds, finds, done.raw), 1.05),
            "sort, none outdated, index": Pair(partial(seconds, sorts, done), partial(seconds, sorts, done.raw), 1.05),
            "find, none outdated, no index": Pair(
                partial(seconds, finds, bare), partial(seconds, finds, bare.raw), 1.05
            ),
            "raw, against raw": Pair(partial(seconds, finds, done.raw), partial(seconds, finds, done.raw), 1.05),
        }
        measure(pairs, options.rounds)
        explained = mixed.explain({"email": values()[0]}).to_dict()
        for part in explained["parts"]:
            print(
                f"  {part['versions'] or 'others'}: {part['documents_examined']} documents examined, "
                f"{part['documents_returned']} returned, {part['indexes']}"
            )


if __name__ == "__main__":
    main()
