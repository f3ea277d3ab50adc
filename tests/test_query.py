"""A filter for the newest shape finds the same documents at an older version.

`LAZYMIGRATE_QUERIES` sets how many filters are drawn for each of the two kinds of chains.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId, Regex
from pymongo.collection import Collection
from pymongo.database import Database
from querying import any_chain, asked_paths, colliding_chain, draw_filter, upgraded, values_at
from test_chains import Draw

from lazymigrate import Schema, UpgradeError, certainty, ops, turning
from lazymigrate.operation import Operation
from lazymigrate.query import Rewriting, SortKey, rewrite, sort_keys, touched, touched_path

QUERIES = int(os.environ.get("LAZYMIGRATE_QUERIES", "300"))
SEED = int(os.environ.get("LAZYMIGRATE_QUERIES_SEED", "20240601"))
EACH = 6  # filters for one chain and its documents
NEVER = {"_id": {"$in": []}}

Document = dict[str, Any]


def chain_of(*operations: Operation) -> Schema:
    """A revision for each operation."""
    schema = Schema("people")
    for operation in operations:
        schema.revision(schema.head + 1, operation)
    return schema


def anything(document: Document) -> None:
    document["anything"] = 1


# What is rewritten, and how


RENAMED = (ops.rename("mail", "email"),)
NESTED = (ops.rename("mail", "contact.email"),)
KEPT = (ops.rename("mail", "email", on_conflict="keep_new"),)
ADDED = (ops.add("active", True),)
MAPPED = (ops.replace_values("state", {"new": "N", "old": 2}),)
SETTLED = (ops.replace_values("state", {"new": "N", None: "none"}, otherwise="other"),)
LINES = (ops.each("items", ops.rename("net", "amount")),)
NO_ARRAY = {"$not": {"$type": "array"}}


@pytest.mark.parametrize(
    ("operations", "asked", "expected"),
    [
        (RENAMED, {"email": "x"}, {"$or": [{"mail": "x"}, {"email": "x"}]}),
        (RENAMED, {"email.host": "x"}, {"$or": [{"mail.host": "x"}, {"email.host": "x"}]}),
        (RENAMED, {"email.0": "x"}, {"$or": [{"mail.0": "x"}, {"email.0": "x"}]}),
        (
            RENAMED,
            {"email": {"$gt": 1, "$lt": 5}},
            {"$or": [{"mail": {"$gt": 1, "$lt": 5}}, {"email": {"$gt": 1, "$lt": 5}}]},
        ),
        (
            RENAMED,
            {"email": None},
            {"$or": [{"mail": {"$eq": None, "$exists": True}}, {"mail": {"$exists": False}, "email": None}]},
        ),
        (
            RENAMED,
            {"email.host": None},
            {"$or": [{"mail.host": None, "mail": {"$exists": True}}, {"mail": {"$exists": False}, "email.host": None}]},
        ),
        (
            RENAMED,
            {"email": {"$ne": "x"}},
            {"$or": [{"mail": {"$ne": "x", "$exists": True}}, {"mail": {"$exists": False}, "email": {"$ne": "x"}}]},
        ),
        (RENAMED, {"email": {"$exists": True}}, {"$or": [{"mail": {"$exists": True}}, {"email": {"$exists": True}}]}),
        (RENAMED, {"email": {"$exists": False}}, {"mail": {"$exists": False}, "email": {"$exists": False}}),
        (RENAMED, {"mail": "x"}, NEVER),
        (RENAMED, {"mail": None, "age": 3}, {"age": 3}),
        (RENAMED, {"mail": {"$exists": False}}, {}),
        (
            RENAMED,
            {"$and": [{"email": "x"}, {"age": 3}], "$comment": "why"},
            {"$or": [{"mail": "x"}, {"email": "x"}], "age": 3, "$comment": "why"},
        ),
        (
            RENAMED,
            {"$nor": [{"email": "x"}, {"age": 3}]},
            {"$nor": [{"mail": "x"}, {"email": "x"}, {"age": 3}]},
        ),
        (
            NESTED,
            {"contact.email": {"$in": ["x", "y"]}},
            {
                "$or": [
                    {"mail": {"$in": ["x", "y"]}},
                    {"contact.email": {"$in": ["x", "y"]}},
                ]
            },
        ),
        (
            NESTED,
            {"contact": {"$exists": True}},
            {"$or": [{"mail": {"$exists": True}}, {"contact": {"$exists": True}}]},
        ),
        (NESTED, {"contact": None}, {"mail": {"$exists": False}, "contact": None}),
        (
            (ops.rename("mail", "email", on_conflict="keep_old"),),
            {"email": "x"},
            {"$or": [{"mail": "x"}, {"mail": {"$exists": False}, "email": "x"}]},
        ),
        (KEPT, {"email": "x"}, {"$or": [{"email": "x"}, {"email": {"$exists": False}, "mail": "x"}]}),
        (ADDED, {"active": True}, {"$or": [{"active": True}, {"active": {"$exists": False}}]}),
        (ADDED, {"active": {"$ne": True}}, {"active": {"$ne": True, "$exists": True}}),
        (ADDED, {"active": None}, {"active": {"$eq": None, "$exists": True}}),
        (ADDED, {"active": {"$exists": True}}, {}),
        (ADDED, {"active": {"$exists": False}}, NEVER),
        (ADDED, {"active": {"$not": {"$type": "bool"}}}, {"active": {"$not": {"$type": "bool"}, "$exists": True}}),
        (
            (ops.add("prefs", {"theme": "dark"}),),
            {"prefs.theme": "dark"},
            {"$or": [{"prefs.theme": "dark"}, {"prefs": {"$exists": False}}]},
        ),
        ((ops.remove("age"),), {"age": {"$gt": 3}}, NEVER),
        ((ops.remove("age"),), {"$or": [{"age": {"$gt": 3}}, {"name": "x"}]}, {"name": "x"}),
        (
            (ops.copy("mail", "login"),),
            {"login": "x"},
            {"$or": [{"mail": "x"}, {"login": "x"}]},
        ),
        (
            (ops.nest(["city", "zip"], "address"),),
            {"address.zip": "1"},
            {"$or": [{"zip": "1"}, {"address.zip": "1"}]},
        ),
        (
            (ops.flatten("address", ["zip"]),),
            {"zip": "1"},
            {"$or": [{"address.zip": "1"}, {"zip": "1"}]},
        ),
        (
            (ops.rename_keys("prefs", {"a": "b", "b": "a"}),),
            {"prefs.a": 1},
            {"prefs.b": 1},
        ),
        (
            (ops.within("address", ops.rename("zip", "code")),),
            {"address.code": "1"},
            {"$or": [{"address.zip": "1"}, {"address.code": "1"}]},
        ),
        (
            (ops.within("address", ops.add("known", value=True)),),
            {"address.known": {"$exists": True}},
            {"$or": [{"address.known": {"$exists": True}}, {"address": {"$type": "object"}}]},
        ),
        (
            (ops.each_value("prefs", ops.rename("by", "who")),),
            {"prefs.k.who": "x"},
            {"$or": [{"prefs.k.by": "x"}, {"prefs.k.who": "x"}]},
        ),
        (MAPPED, {"state": "N"}, {"$or": [{"state": "N"}, {"state": {"$in": ["new"], **NO_ARRAY}}]}),
        (
            MAPPED,
            {"state": {"$in": ["N", 2]}},
            {"$or": [{"state": {"$in": ["N", 2]}}, {"state": {"$in": ["new", "old"], **NO_ARRAY}}]},
        ),
        (
            SETTLED,
            {"state": "none"},
            {"state": {"$type": "null", **NO_ARRAY}},
        ),
        (
            SETTLED,
            {"state": "other"},
            {
                "state": {"$exists": True},
                "$nor": [{"state": {"$in": ["new"], **NO_ARRAY}}, {"state": {"$type": "null", **NO_ARRAY}}],
            },
        ),
        (
            LINES,
            {"items.amount": {"$gt": 3}},
            {"items": {"$elemMatch": {"$or": [{"net": {"$gt": 3}}, {"amount": {"$gt": 3}}]}}},
        ),
        (
            LINES,
            {"items.amount": {"$ne": 3}},
            {
                "$nor": [
                    {"items": {"$elemMatch": {"$or": [{"net": 3}, {"amount": 3}]}}},
                ]
            },
        ),
        (
            LINES,
            {"items": {"$elemMatch": {"amount": 3, "sku": "x"}}},
            {
                "items": {
                    "$elemMatch": {"$or": [{"net": 3}, {"amount": 3}], "sku": "x"},
                }
            },
        ),
        (
            RENAMED,
            {"$expr": {"$gt": ["$email", "$age"]}},
            {"$expr": {"$gt": [{"$cond": [{"$eq": [{"$type": "$mail"}, "missing"]}, "$email", "$mail"]}, "$age"]}},
        ),
        (
            (ops.remove("age"), ops.add("limit", 5)),
            {"$expr": {"$eq": ["$age", "$limit"]}},
            {
                "$expr": {
                    "$eq": [
                        "$$REMOVE",
                        {"$cond": [{"$eq": [{"$type": "$limit"}, "missing"]}, {"$literal": 5}, "$limit"]},
                    ]
                }
            },
        ),
    ],
)
def test_a_filter_is_turned_round(operations: tuple[Operation, ...], asked: Document, expected: Document) -> None:
    rewriting = rewrite(chain_of(*operations), asked, 1)
    assert (rewriting.kind, plain(rewriting.filter)) == ("rewritten", plain(expected))


def plain(filter: Any) -> Any:
    """`{"$eq": x}` alone says what `x` does."""
    if isinstance(filter, list):
        return [plain(part) for part in filter]
    if not isinstance(filter, dict):
        return filter
    if filter.keys() == {"$eq"}:
        return filter["$eq"]
    return {name: plain(part) for name, part in filter.items()}


OPERATORS: list[Any] = [
    "x", {"$eq": "x"}, {"$gt": 1}, {"$gte": 1}, {"$lt": 1}, {"$lte": 1}, {"$in": ["x"]}, {"$type": "string"},
    {"$all": ["x", "y"]}, {"$elemMatch": {"a": 1}}, {"$elemMatch": {"$gt": 1}}, {"$size": 2}, {"$regex": "^x", "$options": "i"},
    Regex("^x"), {"$mod": [4, 0]}, {"$bitsAllSet": 3}, {"$bitsAnyClear": [1, 5]},
    {"$geoWithin": {"$centerSphere": [[0, 0], 1]}}, {"$gt": 1, "$lte": 9}, {"nested": {"document": 1}}, ["a", "list"],
]  # fmt: skip


@pytest.mark.parametrize("condition", OPERATORS, ids=repr)
def test_every_operator_is_the_same_at_the_other_path(condition: Any) -> None:
    rewriting = rewrite(chain_of(*RENAMED), {"email": condition}, 1)
    assert rewriting.filter == {"$or": [{"mail": condition}, {"email": condition}]}


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"_id": 1},
        {"_id": {"$in": [1, 2]}, "age": {"$gt": 3}},
        {"schema_version": 1},
        {"age": 3, "$comment": "why"},
        {"$expr": {"$gt": ["$age", {"$literal": "$email"}]}},
        {"$or": [{"age": 1}, {"$nor": [{"age.x": 2}]}]},
    ],
    ids=repr,
)
def test_what_no_revision_changes_is_the_very_filter(asked: Document) -> None:
    schema = chain_of(*RENAMED, ops.nothing())
    rewriting = rewrite(schema, asked, 1)
    assert (rewriting.kind, rewriting.unsafe) == ("same", ())
    assert rewriting.filter is asked
    assert rewrite(schema, {"email": 1}, 2).kind == "same"  # only empty revisions are left
    assert not touched(schema, asked) or "$expr" in asked


@pytest.mark.parametrize("asked", [5, {"$and": {}}, {"$or": []}, {"$nor": [1]}, {"$and": "email"}, {1: 2}], ids=repr)
def test_what_is_no_filter_is_left_to_the_server(asked: Any) -> None:
    rewriting = rewrite(chain_of(*RENAMED), asked, 1)
    assert rewriting.kind == "same"
    assert rewriting.filter is asked


@pytest.mark.parametrize(
    ("operation", "same"),
    [
        (ops.add("active", True), [{"active": False}, {"active": {"$ne": False}}, {"active": {"$in": [0, "x"]}}]),
        (ops.within("address", ops.rename("zip", "code")), [{"address": None}, {"address": {"$type": "object"}}]),
        (ops.each("items", ops.rename("net", "amount")), [{"items": {"$size": 2}}, {"items.0": {"$exists": True}}]),
        (ops.each("items", ops.rename("net", "amount")), [{"items.sku": "x"}, {"items": {"$elemMatch": {"sku": "x"}}}]),
        (ops.convert("age", "long"), [{"age": None}, {"age": {"$exists": True}}, {"age": {"$ne": None}}]),
        (ops.wrap("tags"), [{"tags": "x"}, {"tags": {"$nin": ["x", 2]}}, {"tags.deep": 3}, {"tags": {"$regex": "x"}}]),
        (ops.replace_values("state", {"new": "N"}), [{"state": "other"}, {"state": {"$exists": True}}, {"state": 5}]),
        (ops.compute("total.net", python=lambda _: 1, mongo=1), [{"total.gross": 1}, {"net": 1}]),
        (ops.rename("address.zip", "zip"), [{"address": {"$exists": True}}, {"address.city": "x"}]),
    ],
    ids=str,
)
def test_what_a_change_does_not_show_in_is_the_very_filter(operation: Operation, same: list[Document]) -> None:
    for asked in same:
        assert rewrite(chain_of(operation), asked, 1).filter is asked, asked


@pytest.mark.parametrize(
    ("operations", "asked"),
    [
        (NESTED, {"contact": {"email": "x"}}),
        (RENAMED, {"$expr": {"$eq": ["$$ROOT.email", 1]}}),
        (RENAMED, {"$expr": {"$eq": [{"$getField": "email"}, 1]}}),
        (RENAMED, {"$jsonSchema": {"required": ["email"]}}),
        ((ops.convert("age", "string"),), {"age": "3"}),
        ((ops.split("name", into=["first", "last"]),), {"first": "x"}),
        ((ops.unwrap("tags"),), {"tags": "x"}),
        ((ops.wrap("tags"),), {"tags": None}),
        ((ops.compute("total", python=lambda _: 1, mongo=1),), {"total": 1}),
        (LINES, {"items.0.amount": 3}),
        (LINES, {"items": {"$elemMatch": {"price": {"net": 1}, "amount": [5]}, "$eq": {"amount": 3}}}),
        ((ops.add("kind", "text"),), {"kind": {"$regex": "^t"}}),
        ((ops.add("kinds", ["text"]),), {"kinds": "text"}),
        ((ops.rename_keys("prefs", {"a.b": "c"}),), {"prefs.c": 1}),
    ],
    ids=lambda case: re.sub(r" at 0x[0-9a-f]+", "", repr(case)),
)
def test_what_is_computed_is_matched_inside(operations: tuple[Operation, ...], asked: Document) -> None:
    assert rewrite(chain_of(*operations), asked, 1) == Rewriting(version=1, kind="inside", filter=None)


def test_strings_are_decided_only_where_no_collation_compares_them() -> None:
    schema = chain_of(ops.add("kind", "text"), ops.replace_values("state", {"new": "N"}))
    for asked in ({"kind": "TEXT"}, {"state": "n"}):
        assert rewrite(schema, asked, 1).kind in ("same", "rewritten")
        assert rewrite(schema, asked, 1, collation=True).kind == "inside"
    assert rewrite(schema, {"kind": 5}, 1, collation=True).kind == "same"
    assert rewrite(schema, {"state": {"$exists": True}}, 1, collation=True).kind == "same"


def test_the_way_starts_at_the_version_that_is_asked_about() -> None:
    schema = chain_of(ops.rename("mail", "email"), ops.rename("email", "contact"))
    newer = {"$or": [{"email": "x"}, {"contact": "x"}]}
    assert rewrite(schema, {"contact": "x"}, 2).filter == newer
    assert rewrite(schema, {"contact": "x"}, 3).kind == "same"
    older = rewrite(schema, {"contact": "x"}, 1).filter
    assert older == {"$or": [{"mail": "x"}, {"email": "x"}, {"contact": "x"}]}


def test_a_long_chain_of_moves_stays_a_flat_filter(people: Collection[Document]) -> None:
    schema = chain_of(*(ops.rename(f"f{n}", f"f{n + 1}") for n in range(20)))
    older = rewrite(schema, {"f20": "x"}, 1).filter
    assert older is not None
    assert len(older["$or"]) == 21
    assert rewrite(schema, {"$expr": {"$eq": ["$f20", "x"]}}, 1).kind == "inside"  # it would double with each move
    people.insert_many([{"_id": 1, "f0": "x"}, {"_id": 2, "f7": "x"}, {"_id": 3, "f20": "x"}, {"_id": 4, "f3": "y"}])
    assert [document["_id"] for document in people.find(older)] == [1, 2, 3]


# Functions


def test_a_function_makes_unsafe_what_it_may_touch_and_nothing_else() -> None:
    schema = chain_of(ops.rename("mail", "email"))
    schema.revision(3, name="narrow", touches={"name", "age"}, reads={"title"})(anything)
    schema.revision(4, ops.rename("age", "years"))
    for asked in ({"email": "x"}, {"title": "x"}, {"_id": 1}, {"schema_version": 2}):
        assert rewrite(schema, asked, 1).kind in ("same", "rewritten"), asked
    for asked, unsafe in (
        ({"name": "x"}, (("name", 3),)),
        ({"years": 3}, (("years", 3),)),
        ({"$or": [{"years.x": 3}, {"name": "x"}, {"name": "y"}, {"email": 1}]}, (("years.x", 3), ("name", 3))),
        ({"$expr": {"$eq": ["$years", "$email"]}}, (("years", 3),)),
        ({"$expr": {"$eq": ["$$ROOT", 1]}}, (("$expr", 3),)),
        ({"$jsonSchema": {}}, (("$jsonSchema", 3),)),
    ):
        assert rewrite(schema, asked, 1) == Rewriting(version=1, kind="unsafe", filter=None, unsafe=unsafe), asked
    assert rewrite(schema, {"years": 3}, 3).kind == "rewritten"


def test_a_function_without_touches_makes_everything_unsafe_but_the_id() -> None:
    schema = chain_of(ops.rename("mail", "email"))
    schema.revision(3)(anything)
    schema.revision(4, ops.convert("age", "string"))
    schema.revision(5, ops.call(anything, touches={"age", "anything"}))
    for asked in ({"_id": 1}, {"_id.x": 1}, {"schema_version": 3}, {}):
        assert rewrite(schema, asked, 1).kind == "same"
        assert not touched(schema, asked)
    assert rewrite(schema, {"email": "x"}, 1).unsafe == (("email", 3),)
    assert rewrite(schema, {"age": "x"}, 1).unsafe == (("age", 3), ("age", 5))
    assert rewrite(schema, {"age": "x"}, 3).unsafe == (("age", 5),)
    assert rewrite(schema, {"email": "x"}, 3).kind == "same"
    assert touched(schema, {"email": "x"})
    assert not touched_path(schema, "_id.x")


def test_what_a_function_made_is_unsafe_after_a_declared_computation() -> None:
    schema = Schema("people")
    schema.revision(2, name="first", touches={"a"})(anything)
    schema.revision(3, name="second", touches={"z"})(anything)
    schema.revision(4, ops.join(["a", "b"], "c"))
    assert rewrite(schema, {"c": "x"}, 1).unsafe == (("c", 2),)  # it is made of `a`
    assert rewrite(schema, {"c": "x"}, 2).kind == "inside"  # what revision 3 touches has no part in it
    assert rewrite(schema, {"c": "x"}, 3).kind == "inside"


def test_a_function_on_the_elements_of_an_array_is_named_for_the_field_of_the_array() -> None:
    schema = chain_of(ops.each("items", ops.call(anything, touches={"net"})))
    schema.revision(3, name="other", touches={"z"})(anything)
    assert rewrite(schema, {"items.net": 5}, 1).unsafe == (("items.net", 2),)
    assert rewrite(schema, {"items.sku": 5}, 1).kind == "same"


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"$text": {"$search": "x"}}, "$text"),
        ({"$where": "true"}, "$where"),
        ({"place": {"$near": [0, 0]}}, "$near"),
        ({"place": {"$nearSphere": [0, 0]}, "email": 1}, "$nearSphere"),
    ],
)
def test_what_only_the_stored_document_is_asked_is_unsafe_while_anything_changes(asked: Document, name: str) -> None:
    schema = chain_of(*RENAMED, ops.convert("age", "string"), ops.nothing())
    rewriting = rewrite(schema, asked, 1)
    assert (rewriting.kind, rewriting.unsafe) == ("unsafe", ((name, 3),))
    assert touched(schema, asked)
    assert rewrite(schema, asked, 3).filter is asked


# The fast question


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ({"age": 3, "name.first": "x", "_id": 1, "schema_version": 2}, False),
        ({"email": 1}, True),
        ({"email.host": 1}, True),
        ({"mail": 1}, True),
        ({"emails": 1}, False),
        ({"$and": [{"age": 1}, {"$or": [{"x": 1}, {"active": 1}]}]}, True),
        ({"$nor": [{"age": 1}], "$comment": "email"}, False),
        ({"$expr": {"$eq": ["$age", 1]}}, True),
        ({"$or": "email"}, True),
        ({1: 2}, True),
        (5, True),
    ],
    ids=repr,
)
def test_whether_a_revision_may_touch_a_filter_is_a_look_at_names(asked: Any, *, answer: bool) -> None:
    assert touched(chain_of(*RENAMED, *ADDED), asked) is answer


def test_a_schema_that_changes_nothing_touches_nothing() -> None:
    schema = chain_of(ops.nothing())
    assert not touched(schema, {"$where": "true", "a": 1})
    schema.revision(3, ops.rename("a", "b"))
    assert touched(schema, {"a": 1})
    assert touched_path(schema, "b.c")
    assert not touched_path(schema, "c.b")


def test_a_computed_field_touches_no_other_though_it_may_read_all() -> None:
    schema = chain_of(ops.compute("total", python=lambda _: 1, mongo=1))
    assert touched(schema, {"total": 1})
    assert not touched(schema, {"net": 1})


# Sorting


def test_a_path_to_sort_by_is_found_where_it_was() -> None:
    schema = chain_of(*RENAMED, *ADDED, ops.remove("age"), ops.convert("size", "long"))
    assert sort_keys(schema, "email", 1) == [
        SortKey(condition={"mail": {"$exists": True}}, path="mail"),
        SortKey(condition={"mail": {"$exists": False}}, path="email"),
    ]
    assert sort_keys(schema, "active", 1) == [
        SortKey(condition={"active": {"$exists": True}}, path="active"),
        SortKey(condition={"active": {"$exists": False}}, path=None, constant=True),
    ]
    assert sort_keys(schema, "age", 1) == [SortKey(condition={}, path=None)]
    assert sort_keys(schema, "name", 1) == [SortKey(condition={}, path="name")]
    assert sort_keys(schema, "_id", 1) == [SortKey(condition={}, path="_id")]
    assert sort_keys(schema, "size", 1) is None
    assert sort_keys(schema, "size", 5) == [SortKey(condition={}, path="size")]
    assert sort_keys(chain_of(ops.add("kinds", [1])), "kinds", 1) is None
    assert sort_keys(chain_of(*NESTED), "contact", 1) is None
    assert sort_keys(chain_of(ops.call(anything, touches={"a"})), "a", 1) is None


def test_the_conditions_of_a_sort_divide_the_documents(db: Database[Document]) -> None:
    found = 0
    for number in range(QUERIES // EACH):
        chance = random.Random(SEED + number)
        schema, documents, paths = colliding_chain(chance)
        pairs = together(schema, documents)
        db["old"].delete_many({})
        db["old"].insert_many(documents)
        for path in chance.sample([path for path in paths if "0" not in path], 3):
            keys = sort_keys(schema, path, 1)
            if keys is None:
                continue
            matched: Counter[Any] = Counter()
            for key in keys:
                for stored in db["old"].find(dict(key.condition)):
                    if stored["_id"] in pairs:
                        matched[stored["_id"]] += 1
                        before = [key.constant] if key.path is None else list(values_at(stored, key.path.split(".")))
                        after = list(values_at(pairs[stored["_id"]], path.split(".")))
                        assert repr(before) == repr(after) or (before == [None] and not after), (SEED + number, path)
                        found += key.path != path
            assert matched == dict.fromkeys(pairs, 1), (SEED + number, path)
    assert found > QUERIES // EACH


def together(schema: Schema, documents: list[Document]) -> dict[Any, Document]:
    return {document["_id"]: document for document in upgraded(schema, documents)}


# The same documents, on a server


def disagreements(
    db: Database[Document], draw: Callable[[random.Random], Any], count: int, kinds: Counter[str]
) -> list[Any]:
    """The filters that find other documents at the old version than at head, out of `count`."""
    wrong: list[Any] = []
    old, new = db["old"], db["new"]
    for number in range(max(1, count // EACH)):
        chance = random.Random(SEED + number)
        schema, documents, paths = draw(chance)
        heads = upgraded(schema, documents)
        identities = {document["_id"] for document in heads}
        old.delete_many({})
        new.delete_many({})
        old.insert_many(documents)
        if heads:
            new.insert_many(heads)
        for _ in range(EACH):
            asked = draw_filter(chance, paths, heads)
            rewriting = rewrite(schema, asked, 1)
            kinds[rewriting.kind] += 1
            assert rewriting.kind == "same" or touched(schema, asked)
            if rewriting.filter is None:
                continue
            expected = {document["_id"] for document in new.find(asked, {"_id": 1})}
            found = {document["_id"] for document in old.find(dict(rewriting.filter), {"_id": 1})}
            kinds["documents found"] += len(expected)
            if found & identities != expected:
                wrong.append((SEED + number, asked, rewriting.filter))
    return wrong


@pytest.mark.parametrize(("draw", "share"), [(any_chain, 0.7), (colliding_chain, 0.6)])  # the second has functions, too
def test_a_rewritten_filter_finds_the_documents_that_the_filter_finds_at_head(
    db: Database[Document], draw: Callable[[random.Random], Any], share: float
) -> None:
    kinds: Counter[str] = Counter()
    assert disagreements(db, draw, QUERIES, kinds) == []
    asked = sum(kinds[kind] for kind in ("same", "rewritten", "inside", "unsafe"))
    print(f"{draw.__name__}: {asked} filters, {dict(kinds)}")  # noqa: T201 (the figures are the point)
    assert kinds["same"] + kinds["rewritten"] >= share * asked
    assert kinds["rewritten"] > 0.05 * asked
    assert kinds["documents found"] > asked


def test_a_rename_without_its_second_half_is_caught(db: Database[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    def first_only(leaf: Any, origin: Any, *, collation: bool) -> Any:
        return turning.through(leaf, origin.first, collation=collation)

    monkeypatch.setattr(turning, "_either", first_only)
    assert disagreements(db, colliding_chain, 120, Counter())


def test_two_places_that_are_wrongly_taken_for_exclusive_are_caught(
    db: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    either = turning._either

    def always(leaf: Any, origin: Any, *, collation: bool) -> Any:
        return either(leaf, replace(origin, exclusive=True), collation=collation)

    monkeypatch.setattr(turning, "_either", always)
    assert disagreements(db, colliding_chain, 600, Counter())


def test_null_that_is_not_missing_is_caught(db: Database[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    def equality_only(condition: Any, value: Any, *, collation: bool = False) -> bool | None:
        return False if condition is None else certainty.decided(condition, value, collation=collation)

    monkeypatch.setattr(turning, "decided", equality_only)
    assert disagreements(db, colliding_chain, 300, Counter())


def test_a_path_that_holds_a_changed_one_and_counts_as_unchanged_is_caught(
    db: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turning, "_inside", lambda leaf, _origin: leaf)
    assert disagreements(db, colliding_chain, 300, Counter())


VALUES: list[Any] = [
    None, True, False, 0, 1, 1.5, -0.0, float("nan"), float("inf"), Int64(5), Int64(2**40), Decimal128("1.5"), Decimal128("NaN"),
    "", "x", "é", "\U0001f600", {}, {"a": 1}, datetime(2020, 1, 1), ObjectId("0" * 24), b"x",
]  # fmt: skip


def test_what_is_decided_here_is_what_the_server_decides(people: Collection[Document]) -> None:
    values = [certainty.MISSING, *VALUES]
    people.insert_many([{"_id": n, **({} if n == 0 else {"v": value})} for n, value in enumerate(values)])
    operands = [*VALUES, [], [1, "x"]]
    conditions: list[Any] = [*operands, Regex("x")]
    conditions += [{name: one} for name in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte") for one in operands]
    conditions += [{name: [one, "zz"]} for name in ("$in", "$nin", "$all") for one in operands]
    conditions += [
        {"$type": one} for one in ("null", "bool", "number", "int", "long", "double", "string", 2, 16, ["object", 18])
    ]
    conditions += [{"$exists": one} for one in (True, False, 1, 0)]
    conditions += [{"$not": {"$gt": one}} for one in operands] + [{"$not": Regex("x")}]
    conditions += [
        {"$size": 0},
        {"$mod": [2, 1]},
        {"$elemMatch": {"$gt": 0}},
        {"$bitsAllSet": 1},
        {"$regex": "X", "$options": "i"},
    ]
    certain = 0
    for condition in conditions:
        found = {document["_id"] for document in people.find({"v": condition}, {"_id": 1})}
        for number, value in enumerate(values):
            for one in (value, certainty.DOCUMENT) if isinstance(value, dict) else (value,):
                answer = certainty.decided(condition, one)
                assert answer is None or answer == (number in found), (condition, value)
                certain += answer is not None
    assert certain > 0.85 * len(conditions) * len(values)


# The mistakes of others


def test_points_above_fifty_find_the_legacy_score(people: Collection[Document]) -> None:
    schema = chain_of(ops.rename("score", "points"))
    people.insert_many([{"_id": "legacy", "score": 80}, {"_id": "low", "score": 20}, {"_id": "half", "points": 60}])
    rewriting = rewrite(schema, {"points": {"$gt": 50}}, 1)
    assert rewriting.filter is not None
    assert {document["_id"] for document in people.find(rewriting.filter)} == {"legacy", "half"}
    assert people.count_documents({"points": {"$gt": 50}}) == 1


def test_a_query_on_a_renamed_property_does_not_come_back_empty(people: Collection[Document]) -> None:
    """Mongo.Migration #2: `Find(x => x.Name == ...)` missed the documents that nobody had read since the rename."""
    schema = chain_of(ops.rename("Title", "Name"))
    people.insert_many([{"_id": 1, "Title": "dune"}, {"_id": 2, "Title": "emma"}])
    older = rewrite(schema, {"Name": {"$regex": "^d"}}, 1).filter
    assert older is not None
    assert [document["_id"] for document in people.find(older)] == [1]


def test_a_query_on_a_field_with_an_old_name_looks_at_both_and_can_use_both_indexes(
    people: Collection[Document],
) -> None:
    """Morphia #2867: `AlsoLoad` reads the old name, and a query for the new one does not ask for it."""
    schema = chain_of(ops.rename("mail", "email"))
    people.insert_many([{"_id": n, "mail": f"{n}@x"} for n in range(500)] + [{"_id": 500, "email": "7@x"}])
    people.create_index("mail")
    people.create_index("email")
    older = rewrite(schema, {"email": "7@x"}, 1).filter
    assert older is not None
    explained = people.database.command("explain", {"find": "people", "filter": older}, verbosity="executionStats")
    assert explained["executionStats"]["nReturned"] == 2
    assert explained["executionStats"]["totalDocsExamined"] == 2


def test_documents_that_cannot_be_upgraded_are_what_the_guarantee_leaves_out() -> None:
    schema = chain_of(ops.rename("mail", "email"))
    with pytest.raises(UpgradeError):
        schema.upgrade({"_id": 1, "mail": "x", "email": "y"})
    assert upgraded(schema, [{"_id": 1, "mail": "x", "email": "y"}, {"_id": 2, "mail": "x"}]) == [
        {"_id": 2, "email": "x", "schema_version": 2}
    ]


def test_the_paths_that_are_drawn_are_those_of_the_newest_shape() -> None:
    chance = random.Random(1)
    draw = Draw(chance)
    assert set(draw.shape) <= set(asked_paths(draw, chance))
