"""What the first read of an outdated document costs with write-back, beside a plain read of it.

Run: `python benchmarks/first_touch.py [--documents 2000] [--rounds 11]`.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

from paired import Pair, measure
from pymongo import MongoClient
from pymongo.collection import Collection
from reading import declared, document, functions

from lazymigrate import LazyCollection, Policy, Schema, embedded

LIMIT = 2.6


def one_by_one(source: Collection[Any], schema: Schema | None, policy: Policy, count: int) -> float:
    """Seconds to read every document of a fresh copy by its `_id`; without a schema, as pymongo reads it."""
    work = fresh(source)
    people: Any = work if schema is None else LazyCollection(work, schema, policy)
    started = time.perf_counter()
    for identity in range(count):
        people.find_one({"_id": identity})
    return time.perf_counter() - started


def in_batches(source: Collection[Any], schema: Schema | None, policy: Policy, count: int) -> float:
    """Seconds to read every document of a fresh copy by a cursor."""
    work = fresh(source)
    people: Any = work if schema is None else LazyCollection(work, schema, policy)
    started = time.perf_counter()
    found = sum(1 for _ in people.find(batch_size=500))
    seconds = time.perf_counter() - started
    assert found == count
    return seconds


def fresh(source: Collection[Any]) -> Collection[Any]:
    source.aggregate([{"$out": "work"}])
    return source.database["work"]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--documents", type=int, default=2_000)
    arguments.add_argument("--rounds", type=int, default=11)
    options = arguments.parse_args()
    with embedded.server() as server, MongoClient[dict[str, Any]](server.uri) as client:
        source = client["bench"]["source"]
        source.insert_many([{"_id": n, **document(None)} for n in range(options.documents)])
        storing, reading = Policy(write_back=True), Policy()
        pairs: dict[str, Pair] = {}
        for kind, schema in (("operations", declared()), ("functions", functions())):
            for way, run in (("find_one", one_by_one), ("find", in_batches)):
                for name, other in (("a plain read", None), ("a read without write-back", schema)):
                    pairs[f"{way}, {kind}, against {name}"] = Pair(
                        partial(run, source, schema, storing, options.documents),
                        partial(run, source, other, reading, options.documents),
                        LIMIT if way == "find_one" else float("inf"),
                    )
        print(f"{options.documents:,} outdated documents, {options.rounds} rounds; median (quartiles)")
        measure(pairs, options.rounds)


if __name__ == "__main__":
    main()
