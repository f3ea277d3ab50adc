"""Chains of any operations: the MongoDB rendering is byte-identical to the Python one wherever the safety filter admits it.

The chains are drawn over documents of a known shape, so that most documents fit most operations; some fields are absent,
null or of another type. `LAZYMIGRATE_CHAINS` sets how many chains are drawn.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import bson
from bson import Decimal128, Int64
from bson.raw_bson import RawBSONDocument
from lifecycle import unordered
from pymongo.collection import Collection
from test_odd_documents import raws

from lazymigrate import Schema, SchemaError, UpgradeError, ops
from lazymigrate.documents import same
from lazymigrate.drivers.memory import CODEC
from lazymigrate.operation import Operation

CHAINS = int(os.environ.get("LAZYMIGRATE_CHAINS", "260"))
DOCUMENTS = 10

Shape = dict[str, str]
ODD: list[Any] = [None, 5, "odd", [], {}, [1], True, 2.5, {"x": None}, "", Decimal128("1.5"), datetime(2020, 1, 1)]
START: Shape = {
    "name": "text", "mail": "word", "age": "int", "score": "double", "address": "document", "items": "documents",
    "prefs": "map", "tags": "list", "state": "enum", "note": "word",
}  # fmt: skip


def value(chance: random.Random, kind: str) -> Any:
    match kind:
        case "text":
            return " ".join(chance.choice(["ada", "grace", "$x", "é"]) for _ in range(chance.randint(2, 3)))
        case "word":
            return chance.choice(["a@x", "$mail", "ü", "12", "w.w"])
        case "int":
            return chance.choice([0, 7, -3, 2**31 - 1, Int64(5), Int64(2**40)])
        case "double":
            return chance.choice([1.0, 2.5, -7.0, 1e6])
        case "enum":
            return chance.choice(["new", "old", "other"])
        case "list":
            return chance.choice([[], ["a"], ["a", "b"]])
        case "document":
            return {"city": "x", **({"zip": "1"} if chance.random() < 0.8 else {}), "extra": {"deep": 1}}
        case "documents":
            return [{"sku": f"s{n}", "price": {"net": n}, "q": n} for n in range(chance.randint(0, 3))]
        case _:
            return {key: {"on": True, "by": key} for key in chance.sample(["k1", "k.2", "$k3", "k4"], 2)}


def draw_document(chance: random.Random, number: int) -> dict[str, Any]:
    document: dict[str, Any] = {"_id": number}
    for name, kind in START.items():
        dice = chance.random()
        if dice < 0.86:
            document[name] = value(chance, kind)
        elif dice < 0.9:
            document[name] = chance.choice(ODD)
    return document


@dataclass
class Draw:
    """One chain: operations that fit a shape, which they change."""

    chance: random.Random
    shape: Shape = field(default_factory=lambda: dict(START))
    made: int = 0

    def fresh(self, kind: str) -> str:
        self.made += 1
        name = f"f{self.made}"
        self.shape[name] = kind
        return name

    def some(self, *kinds: str) -> str | None:
        names = [name for name, kind in self.shape.items() if kind in kinds]
        return self.chance.choice(names) if names else None

    def operation(self) -> Operation | None:
        pick = self.chance.choice
        kind = pick(
            [
                "rename",
                "rename_in",
                "add",
                "add_in",
                "remove",
                "convert",
                "replace",
                "split",
                "join",
                "wrap",
                "unwrap",
                "nest",
                "flatten",
                "within",
                "each",
                "copy",
                "rename_keys",
                "each_value",
                "compute",
                "nothing",
            ]
        )
        if kind in ("add", "add_in"):
            return ops.add(
                self.fresh("word") if kind == "add" else f"{self.fresh('document')}.x.y", pick(["$a", None, {"q": [1]}])
            )
        if kind == "nothing":
            return ops.nothing()
        wanted = {
            "convert": ("int", "double"), "replace": ("enum",), "split": ("text",), "wrap": ("word", "int"),
            "unwrap": ("list",), "within": ("document",), "each": ("documents",), "rename_keys": ("map",),
            "each_value": ("map",), "flatten": ("document",),
        }.get(kind, ("word", "int", "text", "enum", "document", "list"))  # fmt: skip
        name = self.some(*wanted)
        if name is None:
            return None
        old = self.shape[name]
        match kind:
            case "rename":
                del self.shape[name]
                return ops.rename(name, self.fresh(old))
            case "rename_in":
                del self.shape[name]
                return ops.rename(name, f"{self.fresh('other')}.inner")
            case "remove":
                del self.shape[name]
                return ops.remove(name, restore=pick([..., None, "r"]))
            case "convert":
                self.shape[name] = to = pick(["long", "string", "decimal"])
                return ops.convert(name, to, back=pick([None, old]))
            case "replace":
                return ops.replace_values(name, {"new": "N", "old": 2}, **pick([{}, {"otherwise": None}]))
            case "split":
                del self.shape[name]
                return ops.split(name, into=[self.fresh("word"), self.fresh("word")])
            case "join":
                other = self.some("word", "enum")
                if old not in ("word", "enum") or other in (None, name):
                    return None
                del self.shape[name], self.shape[other]
                return ops.join([name, other], self.fresh("text"))
            case "wrap":
                self.shape[name] = "list"
                return ops.wrap(name)
            case "unwrap":
                self.shape[name] = "other"
                return ops.unwrap(name)
            case "nest":
                other = self.some("word", "int")
                if other in (None, name):
                    return None
                del self.shape[name], self.shape[other]
                return ops.nest([name, other], self.fresh("other"))
            case "flatten":
                self.shape[name] = "other"
                return ops.flatten(name, fields=["city", "zip"])
            case "within":
                return ops.within(name, ops.rename("zip", "code"), ops.add("seen", value=True))
            case "each":
                return ops.each(name, ops.within("price", ops.rename("net", "amount")), ops.remove("q", restore=0))
            case "copy":
                return ops.copy(name, self.fresh(old))
            case "rename_keys":
                return ops.rename_keys(name, {"k1": "key.1", "$k3": "k3"})
            case "each_value":
                return ops.each_value(name, ops.rename("by", "who"))
            case _:
                return ops.compute(self.fresh("other"), python=lambda d, n=name: d.get(n), mongo=f"${name}")


def tally(document: dict[str, Any]) -> None:
    document["tally"] = document.get("tally", 0) + 1


def draw_schema(chance: random.Random, *, aside: bool = False) -> Schema:
    """A chain; with functions in it that touch nothing of what operations do, `aside`."""
    draw = Draw(chance)
    schema = Schema("people")
    wanted = chance.randint(1, 8)
    while wanted:
        if aside and chance.random() < 0.3:
            schema.revision(schema.head + 1, name=f"tally_{schema.head}", touches={"tally"})(tally)
        operation = draw.operation()
        if operation is not None:
            schema.revision(schema.head + 1, operation)
            wanted -= 1
    return schema


def test_chains_of_any_operations(people: Collection[dict[str, Any]], record_property: Any) -> None:
    seed = int(os.environ.get("LAZYMIGRATE_CHAINS_SEED", "20240601"))
    pairs = admitted = restored = declared_chains = by_operators = narrowed = 0
    for number in range(CHAINS):
        chance = random.Random(seed + number)
        schema = draw_schema(chance)
        declared_chains += all(revision.declared for revision in schema.revisions)
        people.delete_many({})
        before = {n: bson.encode(draw_document(chance, n), codec_options=CODEC) for n in range(DOCUMENTS)}
        people.insert_many([RawBSONDocument(raw) for raw in before.values()])
        safe = {document["_id"] for document in people.find(schema.safe_filter(1), {"_id": 1})}
        ways = schema.updates(1) if number % 2 else [(schema.safe_filter(1), schema.pipeline(1))]
        by_operators += isinstance(ways[0][1], dict)
        narrowed += len(ways) == 2
        assert sum(people.update_many(*way).matched_count for way in ways) == len(safe)
        after = raws(people)
        for identity, raw in before.items():
            pairs += 1
            document = bson.decode(raw, CODEC)
            if identity not in safe:
                assert after[identity] == raw, (seed + number, identity)
                continue
            admitted += 1
            upgraded = schema.upgrade(document)
            assert after[identity] == bson.encode(upgraded, codec_options=CODEC), (seed + number, identity)
            if all(revision.lossless for revision in schema.revisions):
                restored += goes_back(people, schema, document, upgraded)
    record_property("pairs", pairs)
    print(f"{pairs} pairs, {admitted} admitted ({admitted / pairs:.0%}), {restored} restored by the way back")  # noqa: T201 (the figures are the point)
    assert declared_chains == CHAINS
    assert admitted >= 0.6 * pairs
    assert (restored and by_operators and narrowed) or CHAINS < 50


def goes_back(
    people: Collection[dict[str, Any]], schema: Schema, document: dict[str, Any], upgraded: dict[str, Any]
) -> bool:
    """Whether the document is in the domain of every way back; then going back restores it."""
    state = dict(document)
    for revision in schema.revisions:
        (operation,) = revision.operations
        people.database["domain"].replace_one({"_id": document["_id"]}, state, upsert=True)
        if not people.database["domain"].count_documents(
            {"_id": document["_id"], "$expr": {"$and": [operation.restores("$$ROOT"), True]}}
        ):
            return False
        state = schema.upgrade({**state, "schema_version": revision.version - 1}, to=revision.version)
    try:
        back = schema.downgrade(upgraded, to=1)
    except (UpgradeError, SchemaError) as error:
        raise AssertionError(f"{document} cannot go back") from error
    assert same(unordered(back), unordered({**document, "schema_version": 1}))
    return True
