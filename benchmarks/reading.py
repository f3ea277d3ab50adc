"""What reading through lazymigrate costs beside the driver: ratios in one process, interleaved, medians.

Run: `python benchmarks/reading.py [--documents 100000] [--rounds 11]`. The two sides of a ratio run right after each
other, in an order drawn afresh; the median over the rounds is printed with the quartiles.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pymongo import MongoClient

from lazymigrate import LazyCollection, Schema, embedded, ops

LIMITS = {
    "dicts, same batch_size": 1.05,
    "dicts, both defaults": 0.75,
    "models": 1.05,
    "three declared revisions": 1.25,
    "three functions": 1.25,
}


class Model(BaseModel):
    number_0: float
    text_1: str
    number_2: float
    text_3: str
    tags: list[str]
    address: dict[str, int | str]
    pad: str


def document(stamp: int | None) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for n in range(16):
        fields[f"number_{n}" if n % 2 == 0 else f"text_{n}"] = n * 1.5 if n % 2 == 0 else "x" * 30
    fields |= {"tags": ["a", "b"], "address": {"street": "y" * 40, "number": 7}, "pad": "z" * 330}
    return fields if stamp is None else {**fields, "schema_version": stamp}


def declared() -> Schema:
    schema = Schema("documents")
    schema.revision(2, ops.rename("number_4", "amount"))
    schema.revision(3, ops.add("active", value=True))
    schema.revision(4, ops.rename("text_5", "label"))
    return schema


def functions() -> Schema:
    schema = Schema("documents")

    @schema.revision(2)
    def rename_amount(document: dict[str, Any]) -> None:
        document["amount"] = document.pop("number_4")

    @schema.revision(3)
    def activate(document: dict[str, Any]) -> None:
        document.setdefault("active", True)

    @schema.revision(4)
    def rename_label(document: dict[str, Any]) -> None:
        document["label"] = document.pop("text_5")

    return schema


def drain(iterable: Any) -> None:
    for _ in iterable:
        pass


def clock(way: Callable[[], None]) -> float:
    gc.collect()
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--documents", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=11)
    options = arguments.parse_args()
    with embedded.server() as server, MongoClient[dict[str, Any]](server.uri) as client:
        at_head, outdated = client["bench"]["at_head"], client["bench"]["outdated"]
        for start in range(0, options.documents, 1000):
            count = min(1000, options.documents - start)
            at_head.insert_many([document(4) for _ in range(count)])
            outdated.insert_many([document(None) for _ in range(count)])
        schema = declared()
        schema.model(Model)
        plain, typed = LazyCollection(at_head, schema), LazyCollection(at_head, Model)
        by_operations, by_functions = LazyCollection(outdated, declared()), LazyCollection(outdated, functions())
        validate = Model.model_validate

        def raw_models() -> None:
            for found in at_head.find(batch_size=1000):
                validate(found)

        ways: dict[str, Callable[[], None]] = {
            "raw, default batches": lambda: drain(at_head.find()),
            "raw, batch_size=1000": lambda: drain(at_head.find(batch_size=1000)),
            "raw outdated, batch_size=1000": lambda: drain(outdated.find(batch_size=1000)),
            "raw + model_validate": raw_models,
            "lazy dicts, batch_size=1000": lambda: drain(plain.find(batch_size=1000)),
            "lazy dicts, default": lambda: drain(plain.find()),
            "lazy models, batch_size=1000": lambda: drain(typed.find(batch_size=1000)),
            "lazy, declared": lambda: drain(by_operations.find(batch_size=1000)),
            "lazy, functions": lambda: drain(by_functions.find(batch_size=1000)),
        }
        ratios = {
            "dicts, same batch_size": ("lazy dicts, batch_size=1000", "raw, batch_size=1000"),
            "dicts, both defaults": ("lazy dicts, default", "raw, default batches"),
            "models": ("lazy models, batch_size=1000", "raw + model_validate"),
            "three declared revisions": ("lazy, declared", "raw outdated, batch_size=1000"),
            "three functions": ("lazy, functions", "raw outdated, batch_size=1000"),
        }
        found: dict[str, list[float]] = {name: [] for name in ratios}
        for number in range(options.rounds + 1):
            for name, pair in random.sample(list(ratios.items()), len(ratios)):
                seconds = {way: clock(ways[way]) for way in random.sample(pair, 2)}
                if number:  # the first round warms the caches
                    found[name].append(seconds[pair[0]] / seconds[pair[1]])
        size = client["bench"].command("collstats", "at_head")["avgObjSize"]
        print(f"{options.documents:,} documents of {size} bytes, {options.rounds} rounds; median (quartiles)")
        for name, values in found.items():
            low, median, high = statistics.quantiles(values, n=4)
            print(f"  {name:28} {median:.3f}  ({low:.2f} to {high:.2f})  at most {LIMITS[name]}")
    import_time()


def import_time() -> None:
    """What `import lazymigrate` adds to pymongo and pydantic."""
    both, alone = [], []
    for _ in range(9):
        for code, into in (
            ("import pymongo, pydantic.main, lazymigrate", both),
            ("import pymongo, pydantic.main", alone),
        ):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            into.append(time.perf_counter() - started)
    added = statistics.median(b - a for a, b in zip(alone, both, strict=True))
    print(f"  import lazymigrate adds {added * 1000:.0f} ms to pymongo and pydantic (at most 40)")


if __name__ == "__main__":
    main()
