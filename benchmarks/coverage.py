"""What a coverage costs: from the backlog index with few and with many outdated documents, against one scan.

Run: `python benchmarks/coverage.py [--documents n] [--rounds n]`. Ratios in one run, interleaved, medians.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from typing import Any

from pymongo import MongoClient
from reading import declared, document

from lazymigrate import LazyCollection, embedded

Client = MongoClient[dict[str, Any]]
SHARES = (0.001, 0.5)
LIMIT = {0.001: 0.1}  # of the seconds of a scan


def filled(client: Client, share: float, documents: int) -> LazyCollection[dict[str, Any]]:
    """A collection of which this share is outdated, with the backlog index."""
    chance = random.Random(1)
    collection = client["bench"][f"share_{share}"]
    for start in range(0, documents, 1000):
        batch = []
        for number in range(start, min(start + 1000, documents)):
            stamp = chance.choice([None, 2, 3]) if chance.random() < share else 4
            batch.append({"_id": number, **document(stamp)})
        collection.insert_many(batch)
    people = LazyCollection(collection, declared())
    people.create_backlog_index()
    return people


def group(people: LazyCollection[dict[str, Any]]) -> int:
    """What one would write by hand."""
    found = people.raw.aggregate([{"$group": {"_id": "$schema_version", "count": {"$sum": 1}}}])
    return sum(each["count"] for each in found)


def seconds(work: Any, *arguments: Any) -> float:
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--documents", type=int, default=500_000)
    arguments.add_argument("--rounds", type=int, default=7)
    options = arguments.parse_args()
    with embedded.server() as server, Client(server.uri) as client:
        opened = {share: filled(client, share, options.documents) for share in SHARES}
        taken: dict[float, list[tuple[float, float]]] = {share: [] for share in SHARES}
        for _ in range(options.rounds + 1):  # the first is not counted
            for share, people in opened.items():
                taken[share].append((seconds(people.coverage), seconds(group, people)))
        print(f"{options.documents:,} documents of 1 KB; medians of {options.rounds}")
        for share, people in opened.items():
            ours = statistics.median(pair[0] for pair in taken[share][1:])
            scan = statistics.median(pair[1] for pair in taken[share][1:])
            ratio = statistics.median(pair[0] / pair[1] for pair in taken[share][1:])
            limit = f"  at most {LIMIT[share]}" if share in LIMIT else ""
            print(f"  {share:6.1%} outdated: {ours * 1000:8.1f} ms, $group {scan * 1000:8.1f} ms: {ratio:.3f}{limit}")
            counted = people.coverage()
            assert counted.source == "index"
            assert counted.total == group(people) == options.documents


if __name__ == "__main__":
    main()
