"""What a chain of operations costs beside the same written by hand: in Python, and as an update inside MongoDB.

Run: `python benchmarks/operations.py [--documents 100000] [--rounds 11]`. The functions by hand mean the same: an absent
field is no error, and a target that is there is one. The updates by hand are the fastest of several that give the same
documents, byte for byte; beside the one that leaves documents alone whose targets are there already stands one that looks
at nothing but the version. Ours are two statements: the first upgrades all of these documents, the second looks for what
the first left (without an index on the version, that is a scan).
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import bson
from paired import Pair, measure
from pymongo import MongoClient
from pymongo.collection import Collection
from reading import document

from lazymigrate import Schema, embedded, ops
from lazymigrate.operation import Operation

Document = dict[str, Any]

IN_PYTHON, IN_MONGODB = 1.3, 1.05

ONE = [ops.rename("number_4", "amount")]
THREE = [*ONE, ops.add("active", value=True), ops.rename("text_5", "label")]
TEN = [
    *THREE,
    ops.add("source", "import"),
    ops.rename("text_7", "remark"),
    ops.rename("number_8", "price"),
    ops.add("locale", "en"),
    ops.rename("text_9", "title"),
    ops.remove("text_11"),
    ops.add("archived", value=False),
]
TEN_KINDS = [
    *THREE,
    ops.convert("text_1", "int"),
    ops.remove("text_11"),
    ops.replace_values("text_3", {"new": "N", "old": "O"}),
    ops.wrap("pad"),
    ops.rename("address.street", "address.road"),
    ops.add("source", "import"),
    ops.rename("text_7", "remark"),
]


class RefusedError(Exception):
    """What the functions by hand raise."""


def move(document: Document, old: str, new: str) -> None:
    if old in document:
        if new in document:
            raise RefusedError(new)
        document[new] = document.pop(old)


def one_by_hand(document: Document) -> Document:
    if "number_4" in document:
        if "amount" in document:
            raise RefusedError("amount")
        document["amount"] = document.pop("number_4")
    document["schema_version"] = 2
    return document


def three_by_hand(document: Document) -> Document:
    if "number_4" in document:
        if "amount" in document:
            raise RefusedError("amount")
        document["amount"] = document.pop("number_4")
    if "active" not in document:
        document["active"] = True
    if "text_5" in document:
        if "label" in document:
            raise RefusedError("label")
        document["label"] = document.pop("text_5")
    document["schema_version"] = 4
    return document


def ten_by_hand(document: Document) -> Document:
    if "number_4" in document:
        if "amount" in document:
            raise RefusedError("amount")
        document["amount"] = document.pop("number_4")
    if "active" not in document:
        document["active"] = True
    if "text_5" in document:
        if "label" in document:
            raise RefusedError("label")
        document["label"] = document.pop("text_5")
    if "source" not in document:
        document["source"] = "import"
    if "text_7" in document:
        if "remark" in document:
            raise RefusedError("remark")
        document["remark"] = document.pop("text_7")
    if "number_8" in document:
        if "price" in document:
            raise RefusedError("price")
        document["price"] = document.pop("number_8")
    if "locale" not in document:
        document["locale"] = "en"
    if "text_9" in document:
        if "title" in document:
            raise RefusedError("title")
        document["title"] = document.pop("text_9")
    document.pop("text_11", None)
    if "archived" not in document:
        document["archived"] = False
    document["schema_version"] = 11
    return document


def in_a_loop(document: Document) -> Document:
    """The same ten as small functions, one for each revision: how it is usually written."""
    for function in SMALL:
        function(document)
    document["schema_version"] = 11
    return document


SMALL: list[Callable[[Document], Any]] = [
    lambda d: move(d, "number_4", "amount"),
    lambda d: d.setdefault("active", True),
    lambda d: move(d, "text_5", "label"),
    lambda d: d.setdefault("source", "import"),
    lambda d: move(d, "text_7", "remark"),
    lambda d: move(d, "number_8", "price"),
    lambda d: d.setdefault("locale", "en"),
    lambda d: move(d, "text_9", "title"),
    lambda d: d.pop("text_11", None),
    lambda d: d.setdefault("archived", False),
]
NAMES = {"new": "N", "old": "O"}


def ten_kinds_by_hand(document: Document) -> Document:
    if "number_4" in document:
        if "amount" in document:
            raise RefusedError("amount")
        document["amount"] = document.pop("number_4")
    if "active" not in document:
        document["active"] = True
    if "text_5" in document:
        if "label" in document:
            raise RefusedError("label")
        document["label"] = document.pop("text_5")
    value = document.get("text_1")
    if value is not None and type(value) is not int:
        if not isinstance(value, str) or str(number := int(value)) != value or not -(2**31) <= number < 2**31:
            raise RefusedError("text_1")
        document["text_1"] = number
    document.pop("text_11", None)
    value = document.get("text_3")
    if type(value) is str and value in NAMES:
        document["text_3"] = NAMES[value]
    if "pad" in document:
        value = document["pad"]
        if value is None:
            document["pad"] = []
        elif not isinstance(value, list):
            document["pad"] = [value]
    address = document.get("address")
    if address is not None:
        if not isinstance(address, dict):
            raise RefusedError("address")
        if "street" in address:
            if "road" in address:
                raise RefusedError("address.road")
            address["road"] = address.pop("street")
    if "source" not in document:
        document["source"] = "import"
    if "text_7" in document:
        if "remark" in document:
            raise RefusedError("remark")
        document["remark"] = document.pop("text_7")
    document["schema_version"] = 11
    return document


def moved(renamed: dict[str, str], added: Document, removed: list[str], version: int, names: list[str]) -> Document:
    """The fastest pipeline by hand for renames, constants and removals: one `$set`, new fields in the order of `names`."""
    values: Document = {new: f"${old}" for old, new in renamed.items()} | added
    gone = dict.fromkeys([*renamed, *removed], "$$REMOVE")
    return {"$set": {name: values[name] for name in names} | {"schema_version": version} | gone}


UPDATES: dict[str, Any] = {  # the fastest of several that were tried
    "one": {"$rename": {"number_4": "amount"}, "$set": {"schema_version": 2}},
    "three": [moved({"number_4": "amount", "text_5": "label"}, {"active": True}, [], 4, ["amount", "active", "label"])],
    "ten": [
        moved(
            {"number_4": "amount", "text_5": "label", "text_7": "remark", "number_8": "price", "text_9": "title"},
            {"active": True, "source": "import", "locale": "en", "archived": False},
            ["text_11"],
            11,
            ["amount", "active", "label", "source", "remark", "price", "locale", "title", "archived"],
        )
    ],
}


def stored(kinds: bool = False) -> Document:  # noqa: FBT001, FBT002
    found = document(None)
    return found | {"text_1": "1234", "text_3": "new", "pad": "z" * 380} if kinds else found


def schema_of(operations: list[Operation]) -> Schema:
    schema = Schema("documents")
    for operation in operations:
        schema.revision(schema.head + 1, operation)
    return schema


def run(function: Callable[[Document], Any], data: bytes) -> float:
    """Seconds for the function on freshly decoded documents: they are changed in place."""
    documents = bson.decode_all(data)
    started = time.perf_counter()
    deque(map(function, documents), 0)
    return time.perf_counter() - started


def in_python(rounds: int) -> None:
    pairs: dict[str, Pair] = {}
    for name, operations, by_hand in [
        ("1 operation", ONE, one_by_hand),
        ("3 operations", THREE, three_by_hand),
        ("10 operations", TEN, ten_by_hand),
        ("10 operations, functions in a loop", TEN, in_a_loop),
        ("10 operations of 6 kinds", TEN_KINDS, ten_kinds_by_hand),
    ]:
        data = b"".join(bson.encode({"_id": n, **stored(operations is TEN_KINDS)}) for n in range(500))
        ours = schema_of(operations).upgrades()[None]
        for raw in islice(bson.decode_all(data), 3):
            assert list(ours(dict(raw)).items()) == list(by_hand(bson.decode(bson.encode(raw))).items())
        pairs[name] = Pair(partial(run, ours, data), partial(run, by_hand, data), IN_PYTHON)
    print(f"In Python, {len(bson.encode(stored()))} bytes, {rounds} rounds; median (quartiles)")
    measure(pairs, rounds)


def update_all(source: Collection[Document], updates: list[Any], count: int) -> float:
    """Seconds for the updates of a fresh copy of the collection."""
    work = source.database["work"]
    source.aggregate([{"$out": work.name}])
    started = time.perf_counter()
    changed = sum(work.update_many(*update).modified_count for update in updates)
    seconds = time.perf_counter() - started
    assert changed == count, changed
    return seconds


def in_mongodb(documents: int, rounds: int) -> None:
    with embedded.server() as server, MongoClient[Document](server.uri) as client:
        source = client["bench"]["documents"]
        for start in range(0, documents, 1000):
            source.insert_many([stored() for _ in range(min(1000, documents - start))])
        pairs: dict[str, Pair] = {}
        for (name, update), operations in zip(UPDATES.items(), [ONE, THREE, TEN], strict=True):
            first, rest = schema_of(operations).updates(1)
            absent = {path: {"$exists": False} for operation in operations for path in operation.effects().sets}
            careless: list[Any] = [({"schema_version": None}, update)]
            careful: list[Any] = [({"schema_version": None, **absent}, update)]
            for label, ours, by_hand in (
                ("", [first], careful),
                (", which overwrites what is there", [first], careless),
                (", ours with a look for what is left", [first, rest], careful),
            ):
                pairs[f"{name} by hand{label}"] = Pair(
                    partial(update_all, source, list(ours), documents),
                    partial(update_all, source, by_hand, documents),
                    IN_MONGODB,
                )
        print(f"As updates of {documents:,} documents, {rounds} rounds; median (quartiles)")
        measure(pairs, rounds)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--documents", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=11)
    options = arguments.parse_args()
    in_python(options.rounds * 20)
    in_mongodb(options.documents, options.rounds)


if __name__ == "__main__":
    main()
