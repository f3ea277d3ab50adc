"""What a sweep takes and what it leaves to others: ratios in one run, interleaved, on fresh copies; medians.

Run: `python benchmarks/sweeping.py --part declared|function|memory|foreground|oplog|poison [--documents n] [--rounds n]`
(several `--part`s, or none for all of them).

- declared: operations, swept inside MongoDB, against one hand-written `update_many`.
- function: functions, swept through the client, against a hand-written loop of `find` and an unguarded `bulk_write`.
- memory: how much the sweeping process grows, a small collection against a large one.
- foreground: what readers and writers keep, of throughput and of p99, during a sweep and during one big `update_many`.
- oplog: bytes that replicas have to fetch for each upgraded document, and what a second sweep writes.
- poison: one document in a hundred cannot be upgraded, against none.

How many documents a command should have, and how many commands should be on their way (two cores, 1 KB documents, MongoDB
6.0.5, write concern majority; medians of six interleaved rounds, with others at work on the same cores: single rounds lie
up to a half away, and only the step from one to two on their way stands out):

- Range updates, as times one `update_many`: one at a time 0.6 (500 documents), 0.7 (1,000), 0.8 (2,000), 0.9 (5,000); two
  0.9, 1.2, 1.2, 1.1; three 1.0, 1.1, 1.1, 1.2. Two of 2,000 to 5,000 it is; a third gains nothing. Of the server's time, in
  microseconds for each document: `update_many` 35, ranges 41 to 44, finding the bounds 2, each more look at every document
  (a count, the statement of a version that nobody has) 2 to 3.
- Compare-and-sets that are encoded already, as times the whole hand-written loop: one at a time 1.0 (500 documents), 1.0
  (1,000), 1.1 (2,000); two 1.7, 1.4, 1.8; three 1.2, 1.8, 1.7. Two of 1,000 to 2,000 it is.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from paired import Pair, measure
from pymongo import DESCENDING, MongoClient, ReplaceOne
from pymongo.collection import Collection
from reading import declared, document, functions

from lazymigrate import LazyCollection, Schema, embedded, ops
from lazymigrate.sweeping import SweepReport

Client = MongoClient[dict[str, Any]]

LIMITS = {"declared": 1 / 1.2, "function": 1.0, "poison": 1 / 0.8}  # seconds of ours, in those of the other
KEPT = 0.75  # of the throughput of readers and writers
OPLOG = {"functions": 400, "operations, one revision": 250}  # bytes of a document
SEEDS = 1_000
WARM_UP = 2_000
LOADS = ("reads", "updates")


def sweep(work: Collection[Any], schema: Schema, **options: Any) -> SweepReport:
    report = LazyCollection(work, schema).sweep(**options)
    assert report.remaining == report.quarantined, report
    return report


def fresh(source: Collection[Any]) -> Collection[Any]:
    """A copy of a collection to be swept, as if nobody had ever swept it."""
    database = source.database
    for name in ("lazymigrate.journal", "lazymigrate.quarantine"):
        database.drop_collection(name)
    source.aggregate([{"$out": "work"}])
    return database["work"]


def filled(collection: Collection[Any], documents: int) -> Collection[Any]:
    """Outdated documents of 1 KB."""
    for start in range(0, documents, SEEDS):
        count = min(SEEDS, documents - start)
        collection.insert_many([{"_id": start + n, **document(None)} for n in range(count)])
    return collection


def clock(source: Collection[Any], way: Callable[[Collection[Any]], object]) -> float:
    work = fresh(source)
    started = time.perf_counter()
    way(work)
    return time.perf_counter() - started


def update_many(work: Collection[Any]) -> None:
    """The declared schema by hand."""
    sets = {"amount": "$number_4", "active": True, "label": "$text_5", "schema_version": 4}
    work.update_many({"schema_version": None}, [{"$set": sets}, {"$unset": ["number_4", "text_5"]}])


def find_and_replace(work: Collection[Any]) -> None:
    """The schema of functions by hand; what others write meanwhile is lost."""
    writes: list[ReplaceOne[dict[str, Any]]] = []
    for found in work.find({"schema_version": None}):
        found["amount"] = found.pop("number_4")
        found.setdefault("active", True)
        found["label"] = found.pop("text_5")
        found["schema_version"] = 4
        writes.append(ReplaceOne({"_id": found["_id"]}, found))
        if len(writes) == 1000:
            work.bulk_write(writes)
            writes.clear()
    if writes:
        work.bulk_write(writes)


def compare(part: str, client: Client, documents: int, rounds: int) -> None:
    """The parts that are a ratio of seconds."""
    source = filled(client["bench"]["source"], documents)
    if part == "declared":
        ours, other = lambda work: sweep(work, declared()), update_many
        pair = Pair(partial(clock, source, ours), partial(clock, source, other), LIMITS[part])
        name = "declared sweep, in one update_many"
    elif part == "function":
        ours, other = lambda work: sweep(work, functions()), find_and_replace
        pair = Pair(partial(clock, source, ours), partial(clock, source, other), LIMITS[part])
        name = "function sweep, in an unguarded loop"
    else:
        source.aggregate(
            [{"$set": {"number_4": {"$cond": [{"$mod": ["$_id", 100]}, "$number_4", "poison"]}}}, {"$out": "poisoned"}]
        )
        poisoned = source.database["poisoned"]
        clean = partial(clock, source, lambda work: sweep(work, choosy()))
        pair = Pair(partial(clock, poisoned, lambda work: sweep(work, choosy(), max_failures=0.5)), clean, LIMITS[part])
        name = "1 % poison, in a clean sweep"
    measure({name: pair}, rounds)


def choosy() -> Schema:
    """A function that fails on what is not a number."""
    schema = Schema("documents")

    @schema.revision(2)
    def halve(document: dict[str, Any]) -> None:
        document["half"] = document["number_4"] / 2

    return schema


def small(client: Client, name: str, documents: int) -> None:
    """Outdated documents of about 120 bytes, made by the server."""
    database = client["bench"]
    database["seeds"].drop()
    database["seeds"].insert_many([{"_id": n} for n in range(SEEDS)])
    shape = {
        "_id": {"$add": [{"$multiply": ["$n", SEEDS]}, "$_id"]},
        "number_4": "$n",
        "text_5": "x" * 20,
        "pad": "y" * 30,
    }
    repeated = {"$range": [0, documents // SEEDS]}
    database["seeds"].aggregate(
        [{"$set": {"n": repeated}}, {"$unwind": "$n"}, {"$project": shape}, {"$out": name}], allowDiskUse=True
    )


def memory(client: Client, uri: str, documents: int) -> None:
    """The growth of the sweeping process, a process of its own each time."""
    for kind in ("functions", "operations"):
        grown = {}
        for count in (documents // 20, documents):
            small(client, "warm", WARM_UP)
            small(client, "work", count)
            child = [sys.executable, __file__, "--grow", kind, "--uri", uri]
            done = subprocess.run(child, capture_output=True, text=True, check=True)
            grown[count] = json.loads(done.stdout)
            print(f"  {kind}, {count:9,} documents: {grown[count] / 2**20:6.1f} MiB more at the peak", flush=True)


def grow(kind: str, uri: str) -> None:
    """Sweep, and print by how many bytes this process was larger at the peak than after a short sweep. (Linux.)"""
    schema = {"functions": functions, "operations": declared}[kind]()
    with Client(uri) as client:
        sweep(client["bench"]["warm"], schema)
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = resident("VmRSS")
        sweep(client["bench"]["work"], schema)
        print(resident("VmHWM") - before)


def resident(line: str) -> int:
    """Bytes of this process in memory, now or at the peak. (`getrusage` counts the parent before `exec`, too.)"""
    status = Path("/proc/self/status").read_text()
    return next(int(found.split()[1]) * 1024 for found in status.splitlines() if found.startswith(line))


def load(uri: str, kind: str, documents: int, begin: Any, end: Any, results: Any) -> None:
    """Read or update single documents until the end: how many a second, and the 99th percentile of the seconds of one."""
    with Client(uri) as client:
        work = client["bench"]["work"]
        taken: list[float] = []
        work.find_one({"_id": 0})
        begin.wait()
        started = time.perf_counter()
        while not end.is_set():
            identity = random.randrange(documents)
            before = time.perf_counter()
            if kind == "reads":
                work.find_one({"_id": identity})
            else:
                work.update_one({"_id": identity}, {"$inc": {"visits": 1}})
            taken.append(time.perf_counter() - before)
        results.put((kind, len(taken) / (time.perf_counter() - started), statistics.quantiles(taken, n=100)[98]))


@contextmanager
def loaded(uri: str, documents: int) -> Generator[dict[str, tuple[float, float]], None, None]:
    """A reader and a writer, each in its process; afterwards the result has what they reached."""
    spawn = multiprocessing.get_context("spawn")
    begin, end, results = spawn.Barrier(len(LOADS) + 1), spawn.Event(), spawn.Queue()
    found: dict[str, tuple[float, float]] = {}
    processes = [spawn.Process(target=load, args=(uri, kind, documents, begin, end, results)) for kind in LOADS]
    for process in processes:
        process.start()
    begin.wait()
    try:
        yield found
    finally:
        end.set()
        for _ in processes:
            kind, rate, slowest = results.get()
            found[kind] = rate, slowest
        for process in processes:
            process.join()


def foreground(client: Client, uri: str, documents: int, rounds: int) -> None:
    """Throughput and p99 of a reader and a writer, alone and beside each way to upgrade everything."""
    source = filled(client["bench"]["source"], documents)
    ways: dict[str, Callable[[Collection[Any]], object]] = {
        "alone": lambda _: time.sleep(10),
        "declared, nice=1": lambda work: sweep(work, declared(), nice=1),
        "functions, nice=1": lambda work: sweep(work, functions(), nice=1),
        "one update_many": update_many,
    }
    found: dict[str, list[dict[str, tuple[float, float]]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in random.sample(list(ways), len(ways)):
            work = fresh(source)
            with loaded(uri, documents) as reached:
                ways[way](work)
            found[way].append(reached)
    for way, rounds_of_it in found.items():
        for kind in LOADS:
            rate = statistics.median(reached[kind][0] for reached in rounds_of_it)
            slowest = statistics.median(reached[kind][1] for reached in rounds_of_it)
            kept = statistics.median(
                reached[kind][0] / alone[kind][0] for reached, alone in zip(rounds_of_it, found["alone"], strict=True)
            )
            print(
                f"  {way:20} {kind:8} {rate:7,.0f}/s  p99 {slowest * 1000:6.2f} ms  kept {kept:.0%}  at least {KEPT:.0%}"
            )


def oplog(client: Client, documents: int) -> None:
    """Bytes of the oplog for each document, and its entries after a second sweep.

    The fixed part of an entry, 128 bytes here, and the values that a change moves are in it whoever writes it.
    """
    source = filled(client["bench"]["source"], documents)
    ways: dict[str, Callable[[Collection[Any]], object]] = {
        "functions": lambda work: sweep(work, functions()),
        "operations, three revisions": lambda work: sweep(work, declared()),
        "operations, one revision": lambda work: sweep(work, one_revision()),
        "three revisions by hand, update_many": update_many,
        "three revisions by hand, bulk_write": find_and_replace,
    }
    for name, way in ways.items():
        work = fresh(source)
        before = newest(client)
        way(work)
        entries, size = written(client, before, work.full_name)
        limit = OPLOG.get(name)
        print(
            f"  {name:38} {size / documents:5.0f} bytes for each, {entries:,} entries"
            + (f"  at most {limit}" if limit else "")
        )
        if limit:
            before = newest(client)
            way(work)
            entries, _ = written(client, before, work.full_name)
            others, _ = written(client, before, {"$regex": "^bench[.]"})
            print(f"  {'once more':38} {entries} entries for the collection, {others} for its database")


def one_revision() -> Schema:
    schema = Schema("documents")
    schema.revision(2, ops.rename("text_5", "label"), ops.add("active", value=True))
    return schema


def newest(client: Client) -> Any:
    """When the last write of all was."""
    last = client["local"]["oplog.rs"].find_one(sort=[("$natural", DESCENDING)])
    assert last is not None
    return last["ts"]


def written(client: Client, after: Any, namespace: Any) -> tuple[int, int]:
    """The entries of the oplog for a namespace since then, and the sum of their bytes."""
    total = {"$group": {"_id": None, "entries": {"$sum": 1}, "size": {"$sum": {"$bsonSize": "$$ROOT"}}}}
    match = {"$match": {"ts": {"$gt": after}, "ns": namespace, "op": {"$ne": "n"}}}
    for found in client["local"]["oplog.rs"].aggregate([match, total]):
        return found["entries"], found["size"]
    return 0, 0


PARTS = {
    "declared": 200_000,
    "function": 200_000,
    "memory": 2_000_000,
    "foreground": 500_000,
    "oplog": 10_000,
    "poison": 100_000,
}
"""The documents that each part takes, unless it is told."""


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--part", action="append", choices=PARTS)
    arguments.add_argument("--documents", type=int)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--grow", help=argparse.SUPPRESS)
    arguments.add_argument("--uri", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.grow:
        grow(options.grow, options.uri)
        return
    for part in options.part or PARTS:
        documents = options.documents or PARTS[part]
        with embedded.server() as server, Client(server.uri) as client:
            print(f"{part}: {documents:,} documents", flush=True)
            if part == "memory":
                memory(client, server.uri, documents)
            elif part == "foreground":
                foreground(client, server.uri, documents, options.rounds)
            elif part == "oplog":
                oplog(client, documents)
            else:
                compare(part, client, documents, options.rounds)


if __name__ == "__main__":
    main()
