"""What reading through lazymigrate costs beside the driver: ratios in one process, interleaved, medians.

Run: `python benchmarks/reading.py [--documents 100000] [--rounds 11]`.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from paired import Pair, measure
from pydantic import BaseModel
from pymongo import MongoClient

from lazymigrate import LazyCollection, Schema, embedded, ops

LIMITS = {
    "dicts, same batch_size": 1.05,
    "dicts, both defaults, nested": 0.75,
    "dicts, both defaults, flat": 0.75,
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


def nested_document() -> dict[str, Any]:
    """As large, but in the shape of an application's: subdocuments and arrays, which the garbage collector follows."""
    return {
        "first_name": "Ada",
        "last_name": "Lovelace",
        "email": "ada.lovelace@example.org",
        "active": True,
        "created": datetime(2024, 1, 1),
        "updated": datetime(2024, 5, 1),
        "address": {"street": "12 St James's Square", "city": "London", "geo": {"type": "Point", "at": [-0.13, 51.5]}},
        "phones": [{"kind": "home", "number": "+44 20 7946 0000"}, {"kind": "work", "number": "+44 20 7946 0001"}],
        "tags": ["a", "b", "c"],
        "roles": ["admin", "author"],
        "orders": [{"sku": f"sku-{n}", "quantity": n, "price": 9.5} for n in range(4)],
        "settings": {"theme": "dark", "language": "en", "mail": {"news": True, "offers": False}},
        "score": 12.5,
        "visits": 1234,
        "referrer": None,
        "notes": "x" * 140,
        "locale": "en-GB",
        "schema_version": 4,
    }


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
        at_head, outdated, nested = (client["bench"][name] for name in ("at_head", "outdated", "nested"))
        for start in range(0, options.documents, 1000):
            count = min(1000, options.documents - start)
            at_head.insert_many([document(4) for _ in range(count)])
            outdated.insert_many([document(None) for _ in range(count)])
            nested.insert_many([nested_document() for _ in range(count)])
        schema = declared()
        schema.model(Model)
        plain, typed = LazyCollection(at_head, schema), LazyCollection(at_head, Model)
        lazy_nested = LazyCollection(nested, schema)
        by_operations, by_functions = LazyCollection(outdated, declared()), LazyCollection(outdated, functions())
        validate = Model.model_validate

        def raw_models() -> None:
            for found in at_head.find(batch_size=1000):
                validate(found)

        ways: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "dicts, same batch_size": (
                lambda: drain(plain.find(batch_size=1000)),
                lambda: drain(at_head.find(batch_size=1000)),
            ),
            "dicts, both defaults, nested": (lambda: drain(lazy_nested.find()), lambda: drain(nested.find())),
            "dicts, both defaults, flat": (lambda: drain(plain.find()), lambda: drain(at_head.find())),
            "models": (lambda: drain(typed.find(batch_size=1000)), raw_models),
            "three declared revisions": (
                lambda: drain(by_operations.find(batch_size=1000)),
                lambda: drain(outdated.find(batch_size=1000)),
            ),
            "three functions": (
                lambda: drain(by_functions.find(batch_size=1000)),
                lambda: drain(outdated.find(batch_size=1000)),
            ),
        }
        pairs = {
            name: Pair(partial(clock, ours), partial(clock, other), LIMITS[name])
            for name, (ours, other) in ways.items()
        }
        size = client["bench"].command("collstats", "at_head")["avgObjSize"]
        print(f"{options.documents:,} documents of {size} bytes, {options.rounds} rounds; median (quartiles)")
        measure(pairs, options.rounds)
    import_time()


def import_time() -> None:
    """What `import lazymigrate` takes on top of pymongo and pydantic: the time of its own modules, the median of nine."""
    own = []
    for _ in range(9):
        done = subprocess.run(
            [
                sys.executable,
                "-X",
                "importtime",
                "-c",
                "import pymongo, pydantic.main, pydantic.fields\nimport lazymigrate",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        lines = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines()]
        own.append(sum(int(line[0]) for line in lines if line[-1].strip().startswith("lazymigrate")) / 1000)
    print(f"  import lazymigrate {statistics.median(own):.0f} ms ({min(own):.0f} to {max(own):.0f}), at most 40")


if __name__ == "__main__":
    main()
