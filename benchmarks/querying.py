"""What a query over mixed versions costs: times the same query on a collection that was upgraded altogether.

Run: `python benchmarks/querying.py [--documents n] [--rounds n]`. Ratios in one run, interleaved, medians.

Half of the documents (1 KB, 20 fields) are outdated, and the filter (or sort) is on a field that a revision renames; both names
are indexed, and there is a backlog index. The upgraded collection is asked twice: in the same way, and through the driver alone
("raw"). Beside the ratios: how many documents the server examined for those that it gave.
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
from reading import document

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
            own: dict[str, Any] = {"_id": number, **document(None)}
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
    return sum(len(list(people.find({"email": {"$gte": value}}).limit(100))) for value in values())


def sorts(people: Any) -> int:
    return sum(len(list(people.find().sort("email", -1).limit(20))) for _ in range(TIMES))


def sorts_from(people: Any) -> int:
    return sum(len(list(people.find({"email": {"$gte": value}}).sort("email", 1).limit(20))) for value in values())


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
        client.admin.command("fsync")  # what was written last is no slower to read than the rest
        queries = {
            "find": (finds, 1.3),
            "range of 100": (ranges, 1.3),
            "sort and limit 20": (sorts, 1.5),
            "range, sort and limit 20": (sorts_from, 1.5),
        }
        pairs = {}
        for name, (query, most) in queries.items():
            ours = partial(seconds, query, mixed)
            pairs[f"{name}, half outdated"] = Pair(ours, partial(seconds, query, done), most)
            pairs[f"{name}, half outdated, raw"] = Pair(ours, partial(seconds, query, done.raw), most)
        for name, (query, _) in queries.items():
            pairs[f"{name}, none outdated"] = Pair(
                partial(seconds, query, bare), partial(seconds, query, bare.raw), 1.05
            )
            pairs[f"{name}, none outdated, index"] = Pair(
                partial(seconds, query, done), partial(seconds, query, done.raw), 1.05
            )
        pairs["raw, against raw"] = Pair(partial(seconds, finds, done.raw), partial(seconds, finds, done.raw), 1.05)
        measure(pairs, options.rounds)
        explained = mixed.explain({"email": values()[0]}).to_dict()
        for part in explained["parts"]:
            print(
                f"  {part['versions'] or 'others'}: {part['documents_examined']} documents examined, "
                f"{part['documents_returned']} returned, {part['indexes']}"
            )


if __name__ == "__main__":
    main()
