"""Queries over mixed versions against the same queries after an upgrade of everything, on a real server.

Random chains of declared operations (some with functions that touch something else), documents at all of their versions, filters, sorts, skips and limits:
`LAZYMIGRATE_TRIPLES` sets how many.
"""

from __future__ import annotations

import os
import random
from typing import Any

import bson
from bson import Int64
from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from test_chains import draw_document, draw_schema

from lazymigrate import LazyCollection, Policy, Schema, UpgradeError
from lazymigrate.drivers.memory import CODEC
from lazymigrate.query import rewrite

TRIPLES = int(os.environ.get("LAZYMIGRATE_TRIPLES", "150"))
SEED = int(os.environ.get("LAZYMIGRATE_TRIPLES_SEED", "7"))
FILTERS = 5  # for each set of documents
DOCUMENTS = 24
LIKELY: list[Any] = [None, 0, 1, 7, "a@x", "new", "N", 2, "12", [], "x", True, 2.5, {}, ["a"], Int64(5)]
OTHERS = ("schema_version", "tally")  # what nobody asks for: a function makes the tally
Document = dict[str, Any]
People = Collection[Document]


def draw_stored(chance: random.Random, schema: Schema) -> list[tuple[Document, Document]]:
    """Documents at all versions, each with what it is upgraded to; those that cannot be upgraded are none."""
    found: list[tuple[Document, Document]] = []
    for number in range(4 * DOCUMENTS):
        document = draw_document(chance, number)
        try:
            version = chance.randint(1, schema.head)
            stored = document if version == 1 else schema.upgrade(document, to=version)
            raw = bson.encode(stored, codec_options=CODEC)
            upgraded = schema.upgrade(bson.decode(raw, CODEC))
            bson.encode(upgraded, codec_options=CODEC)
        except (UpgradeError, bson.errors.InvalidDocument):
            continue
        found.append((stored, upgraded))
        if len(found) == DOCUMENTS:
            break
    return found


def paths(document: Any, prefix: str = "", *, depth: int = 3) -> list[str]:
    """The dotted paths of a document, into its arrays, too."""
    found: list[str] = []
    if isinstance(document, dict):
        for name, value in document.items():
            if depth and name and not name.startswith("$") and "." not in name:
                path = f"{prefix}{name}"
                found += [path, *paths(value, f"{path}.", depth=depth - 1)]
    elif isinstance(document, list) and document:
        found += paths(document[0], prefix, depth=depth - 1)
        found += [f"{prefix}0"] if prefix else []
    return found


def at(document: Any, path: str) -> Any:
    for name in path.split("."):
        if isinstance(document, list):
            document = document[0] if document else None
        document = document.get(name) if isinstance(document, dict) else None
    return document


def draw_condition(chance: random.Random, value: Any) -> Any:
    """A condition that some values meet."""
    pick = chance.choice
    like = pick([value, value, pick(LIKELY)])
    operator = pick(
        ["is", "is", "is", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$exists", "$type", "$not", "null", "$size",
         "$regex", "$all", "$elemMatch", "$mod", "two"]
    )  # fmt: skip
    match operator:
        case "is":
            return {"$eq": like} if isinstance(like, dict) else like
        case "null":
            return None
        case "$in" | "$nin":
            return {operator: [like, pick(LIKELY)]}
        case "$exists":
            return {"$exists": pick([True, False])}
        case "$type":
            return {"$type": pick(["string", "number", "object", "array", "null", ["int", "bool"]])}
        case "$not":
            return {"$not": pick([{"$eq": like}, {"$gt": like}, {"$exists": True}])}
        case "$size":
            return {"$size": pick([0, 1, 2])}
        case "$regex":
            return {"$regex": pick(["^a", "x$", "[0-9]"]), **pick([{}, {"$options": "i"}])}
        case "$all":
            return {"$all": [like]}
        case "$elemMatch":
            return {"$elemMatch": pick([{"$eq": like}, {"sku": "s0"}, {"q": {"$gte": 0}}])}
        case "$mod":
            return {"$mod": [2, pick([0, 1])]}
        case "two":
            return {"$ne": pick(LIKELY), "$exists": True}
        case _:
            return {operator: like}


def draw_filter(chance: random.Random, upgraded: list[Document], *, depth: int = 2) -> Document:
    """A filter over paths that the documents have, or had."""
    document = chance.choice(upgraded)
    names = [path for path in paths(document) if path not in OTHERS] + ["name", "mail", "absent"]
    kind = chance.choice(["leaf"] * 6 + ["two", "$or", "$and", "$nor", "$expr"] if depth else ["leaf"])
    path = chance.choice(names)
    if kind in ("$or", "$and", "$nor"):
        return {kind: [draw_filter(chance, upgraded, depth=depth - 1) for _ in range(chance.randint(1, 2))]}
    if kind == "$expr":
        value = at(document, path)
        return {"$expr": {chance.choice(["$eq", "$ne", "$gt"]): [f"${path}", {"$literal": value}]}}
    drawn = {path: draw_condition(chance, at(document, path))}
    if kind == "two":
        other = chance.choice(names)
        drawn.setdefault(other, draw_condition(chance, at(document, other)))
    return drawn


def test_queries_find_what_they_would_find_after_an_upgrade(people: People) -> None:
    eager = people.database["eager"]
    triples = found = 0
    kinds = dict.fromkeys(("same", "rewritten", "inside", "unsafe"), 0)
    for number in range(-(-TRIPLES // FILTERS)):
        seed = SEED * 1_000_003 + number
        chance = random.Random(seed)
        aside = number % 4 == 3
        schema = draw_schema(chance, aside=aside)
        pairs = draw_stored(chance, schema)
        if not pairs:
            continue
        people.delete_many({})
        eager.delete_many({})
        people.with_options(codec_options=CODEC).insert_many([stored for stored, _ in pairs])
        upgraded = [document for _, document in pairs]
        eager.with_options(codec_options=CODEC).insert_many(upgraded)
        recheck = 60 if number % 3 else 0
        mixed = LazyCollection(people, schema, Policy(recheck=recheck, on_unsafe_query="raise"))
        if number % 2:
            people.drop_indexes()
            mixed.create_backlog_index()
        for _ in range(FILTERS):
            query = draw_filter(chance, upgraded)
            triples += 1
            for version in range(schema.oldest, schema.settled):
                kinds[rewrite(schema, query, version).kind] += 1
            names = [path for document in upgraded for path in paths(document, depth=2)]
            sort = [(chance.choice(names), chance.choice([1, -1])) for _ in range(chance.randint(0, 2))]
            sort = [
                *{path: (path, direction) for path, direction in sort if path not in ("_id", *OTHERS)}.values(),
                ("_id", 1),
            ]
            skip, limit = chance.choice([0, 0, 1, 3]), chance.choice([0, 0, 1, 5])
            asked = {"sort": sort, "skip": skip, "limit": limit}
            try:
                expected = [document["_id"] for document in eager.find(query, **asked)]
            except OperationFailure:  # two arrays cannot be sorted by at once, for one: there is nothing to compare
                continue
            got = [document["_id"] for document in mixed.find(query, **asked)]
            assert got == expected, (seed, query, asked, schema.revisions)
            everything = sorted(document["_id"] for document in eager.find(query))
            for _ in range(2):  # what the first leaves behind, the second relies on
                assert sorted(document["_id"] for document in mixed.find(query)) == everything, (seed, query)
            assert mixed.count_documents(query) == eager.count_documents(query), (seed, query)
            found += len(expected)
    answered = (kinds["same"] + kinds["rewritten"]) / max(1, sum(kinds.values()))
    print(f"{triples} triples, {found} documents found, {answered:.0%} same or rewritten: {kinds}")  # noqa: T201 (the figures are the point)
    assert triples >= TRIPLES * 0.9
    assert answered >= 0.7
    assert kinds["rewritten"] > 0
    assert kinds["inside"] > 0
    assert kinds["unsafe"] == 0
