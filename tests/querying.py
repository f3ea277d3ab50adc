"""Random chains, documents and filters for the newest shape, drawn so that they have to do with each other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from bson import Decimal128, Int64, Regex
from test_chains import ODD, Draw, draw_document

from lazymigrate import Schema, SchemaError, UpgradeError, ops
from lazymigrate.operation import Operation

__all__ = ["any_chain", "asked_paths", "colliding_chain", "draw_filter", "upgraded"]

Document = dict[str, Any]

NAMES = ["a", "b", "c"]
PLACES = [*NAMES, "a.b", "a.c", "b.a", "b.c", "c.a", "a.b.c", "b.c.a", "c.a.b"]
SCALARS: list[Any] = [None, 0, 1, 2, 2.0, Int64(2), 2.5, Decimal128("2"), "", "x", "y", True, False, "2"]
WITHIN = {
    "document": ["city", "zip", "code", "seen", "extra", "extra.deep", "inner", "x.y", "x", "x.y.q"],
    "documents": ["sku", "price", "price.amount", "price.net", "q", "0", "0.sku", "0.price.amount"],
    "map": ["k1", "k1.who", "k1.by", "k3", "k3.who", "k4.on", "k4"],
}


def any_chain(chance: random.Random) -> tuple[Schema, list[Document], list[str]]:
    """A chain of operations of every kind, documents that fit it for the most part, and paths to ask for."""
    draw, schema = Draw(chance), Schema("people")
    wanted = chance.randint(1, 8)
    while wanted:
        operation = draw.operation()
        if operation is not None:
            schema.revision(schema.head + 1, operation)
            wanted -= 1
    documents = [draw_document(chance, number) for number in range(10)]
    for document in documents:  # what a rename finds where its source is absent
        if chance.random() < 0.3:
            document[f"f{chance.randint(1, draw.made + 1)}"] = chance.choice(["a@x", 7, None, {"city": "x"}, *ODD])
    return schema, documents, asked_paths(draw, chance)


def asked_paths(draw: Draw, chance: random.Random) -> list[str]:
    paths = list(draw.shape)
    for name, kind in draw.shape.items():
        inner = WITHIN.get(kind, ["inner", "city", "name", "x.y"] if kind == "other" else [])
        paths += [f"{name}.{rest}" for rest in chance.sample(inner, min(2, len(inner)))]
    return [*paths, chance.choice(["name", "mail", "age", "state", "f1", "f2", "nowhere"])]


def colliding_chain(chance: random.Random) -> tuple[Schema, list[Document], list[str]]:
    """A chain on few names, which it moves about, and documents of which many cannot be upgraded."""
    schema = Schema("people")
    wanted = chance.randint(1, 4)
    while wanted:
        if chance.random() < 0.1:
            name = chance.choice(NAMES)
            schema.revision(schema.head + 1, name=f"number_{schema.head}", touches={name})(counting(name))
        else:
            try:
                schema.revision(schema.head + 1, *(colliding(chance, 2) for _ in range(chance.choice([1, 1, 2]))))
            except SchemaError:
                continue
        wanted -= 1
    documents = [
        {"_id": number, **{name: drawn_value(chance, 3) for name in NAMES if chance.random() < 0.6}}
        for number in range(24)
    ]
    return schema, documents, [*PLACES, "a.0", "b.0.c", "a.b.0"]


def counting(name: str) -> Any:
    def count(document: Document) -> None:
        document[name] = len(str(document.get(name)))

    return count


def colliding(chance: random.Random, depth: int) -> Operation:
    place = lambda: chance.choice(PLACES)  # noqa: E731 (a draw each time)
    inner = lambda: [colliding(chance, depth - 1) for _ in range(chance.choice([1, 1, 2]))]  # noqa: E731
    kinds = ["rename"] * 4 + ["add"] * 2 + ["remove", "copy", "nest", "flatten", "keys", "replace", "convert", "wrap"]
    match chance.choice(kinds + (["within", "each", "each_value"] if depth else [])):
        case "rename":
            return ops.rename(place(), place(), on_conflict=chance.choice(["error", "keep_new", "keep_old"]))
        case "add":
            return ops.add(place(), chance.choice([*SCALARS, {"a": 1}, {"b": {"c": "x"}}, [1]]))
        case "remove":
            return ops.remove(place())
        case "copy":
            return ops.copy(place(), place())
        case "nest":
            return ops.nest(chance.sample(PLACES, chance.randint(1, 2)), place())
        case "flatten":
            return ops.flatten(place(), chance.sample(NAMES, chance.randint(1, 2)))
        case "keys":
            return ops.rename_keys(place(), chance.choice([{"a": "b"}, {"a": "b", "b": "a"}, {"b": "c", "c": "d"}]))
        case "replace":
            pairs = list(zip(chance.sample([None, 1, "x", True, 2.5], 2), chance.choices(SCALARS, k=2), strict=True))
            return ops.replace_values(place(), pairs, **chance.choice([{}, {}, {"otherwise": chance.choice(SCALARS)}]))
        case "convert":
            return ops.convert(place(), chance.choice(["string", "long", "bool"]))
        case "wrap":
            return chance.choice([ops.wrap, ops.unwrap])(place())
        case "within":
            return ops.within(place(), *inner())
        case "each":
            return ops.each(place(), *inner())
        case _:
            return ops.each_value(place(), *inner())


def drawn_value(chance: random.Random, depth: int) -> Any:
    dice = chance.random()
    if depth == 0 or dice < 0.3:
        return chance.choice(SCALARS)
    if dice < 0.8:
        return {name: drawn_value(chance, depth - 1) for name in NAMES if chance.random() < 0.6}
    if dice < 0.9:
        count = chance.randint(0, 2)
        return [{name: drawn_value(chance, depth - 1) for name in NAMES if chance.random() < 0.5} for _ in range(count)]
    return [drawn_value(chance, depth - 1) for _ in range(chance.randint(0, 2))]


def upgraded(schema: Schema, documents: list[Document]) -> list[Document]:
    """Those documents that can be, at head."""
    found: list[Document] = []
    for document in documents:
        try:
            found.append(schema.upgrade(document))
        except UpgradeError:
            continue
    return found


def values_at(value: Any, names: list[str]) -> Iterator[Any]:
    """What stands at a path, through arrays too."""
    if not names:
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from values_at(element, names)
    elif isinstance(value, dict) and names[0] in value:
        yield from values_at(value[names[0]], names[1:])


def draw_filter(chance: random.Random, paths: list[str], documents: list[Document], *, depth: int = 2) -> Document:
    """A filter for documents at head; the values that it asks for are often theirs."""
    dice = chance.random()
    if depth and dice < 0.2:
        parts = [draw_filter(chance, paths, documents, depth=depth - 1) for _ in range(chance.randint(1, 3))]
        return {chance.choice(["$and", "$or", "$nor"]): parts}
    if depth and dice < 0.27:
        return {"$expr": draw_expression(chance, paths, documents)}
    listed = chance.sample(paths, 2 if dice > 0.85 else 1)
    return {path: draw_condition(chance, path, documents, depth) for path in listed}


def operand(chance: random.Random, path: str, documents: list[Document]) -> Any:
    known = [value for document in documents for value in values_at(document, path.split("."))]
    flat = [item for value in known for item in (value if isinstance(value, list) and value else [value])]
    flat = [item for item in flat if not isinstance(item, dict) or not any(name[:1] == "$" for name in item)]
    return chance.choice(flat) if flat and chance.random() < 0.75 else chance.choice(SCALARS)


def draw_condition(chance: random.Random, path: str, documents: list[Document], depth: int) -> Any:
    value = lambda: operand(chance, path, documents)  # noqa: E731 (a draw each time)
    match chance.choice(
        ["plain"] * 4
        + [
            "null",
            "$eq",
            "$ne",
            "$gt",
            "$gte",
            "$lt",
            "$lte",
            "$in",
            "$in",
            "$nin",
            "$exists",
            "$exists",
            "$type",
            "$size",
        ]
        + ["$regex", "$mod", "$all", "$elemMatch", "two"]
        + (["$not"] if depth else [])
    ):
        case "plain":
            return value()
        case "null":
            return None
        case "$in" | "$nin" | "$all" as name:
            return {name: [value() for _ in range(chance.randint(1, 3))]}
        case "$exists":
            return {"$exists": chance.random() < 0.5}
        case "$type":
            return {
                "$type": chance.choice(["string", "number", "null", "object", "array", "bool", ["int", "string"], 2])
            }
        case "$size":
            return {"$size": chance.randint(0, 2)}
        case "$regex":
            return chance.choice([{"$regex": "a"}, {"$regex": "X", "$options": "i"}, Regex("^x")])
        case "$mod":
            return {"$mod": [2, chance.randint(0, 1)]}
        case "$elemMatch":
            inner = [{"$gt": 0}, {"sku": "s1"}, {"price.amount": {"$lt": 2}}, {"a": 1}, {"b": None}, {"c": {"$ne": 2}}]
            return {"$elemMatch": chance.choice(inner)}
        case "two":
            return {"$gte": value(), "$exists": True, "$ne": value()}
        case "$not":
            inner = draw_condition(chance, path, documents, 0)
            operators = isinstance(inner, dict) and next(iter(inner), "").startswith("$")
            return {"$not": inner if operators else {"$eq": inner}}
        case name:
            return {name: value()}


def draw_expression(chance: random.Random, paths: list[str], documents: list[Document]) -> Any:
    path = chance.choice(paths)
    value = {"$literal": operand(chance, path, documents)}
    match chance.randint(0, 3):
        case 0:
            return {chance.choice(["$eq", "$gt", "$lte", "$ne"]): [f"${path}", value]}
        case 1:
            return {"$eq": [{"$type": f"${path}"}, chance.choice(["string", "missing", "object", "array"])]}
        case 2:
            return {"$eq": [{"$ifNull": [f"${path}", "nothing"]}, chance.choice(["nothing", value])]}
        case _:
            return {"$lt": [f"${path}", f"${chance.choice(paths)}"]}
