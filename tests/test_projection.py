"""Projections: what the server is asked for and what Python trims off, held against the server's own `find`."""

from __future__ import annotations

import pickle
import random
from typing import Any

import pytest
from bson import DBRef, Decimal128, Int64, ObjectId
from bson.codec_options import CodecOptions
from bson.son import SON
from conftest import Bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from schemas import users
from test_chains import START, draw_document, draw_schema

from lazymigrate import Schema, UpgradeError, ops, projection, trimming
from lazymigrate.documents import same
from lazymigrate.elemmatch import match_pipelines, read_matches
from lazymigrate.exceptions import LazyMigrateError, PartialDocumentError
from lazymigrate.projection import Fetch, Projection, parse
from lazymigrate.trimming import PartialDocument, refuse_partial

People = Collection[dict[str, Any]]
CODEC: CodecOptions[Any] = CodecOptions()
EXAMPLES = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

DOCUMENTS: list[dict[str, Any]] = [
    {
        "_id": {"x": 1, "y": 2},
        "e": 5,
        "a": {"c": 2, "b": 1, "deep": {"z": [{"k": 1, "l": 2}], "y": None}},
        "d": [{"b": [1, 2], "c": 2}, 5, [{"b": [1, 2, 3]}, 7, [{"b": [4, 5], "c": 1}]], [], {"c": 1}, None],
        "f": [1, 2, 3, 4, 5],
        "g": [[1, 2], [3], {"0": 3}, "s"],
        "schema_version": 1,
        "a.b": "a literal key",
    },
    {"_id": 2, "f": {"x": [1, 2, 3]}, "e": None, "a": [], "d": "x", "r": DBRef("c", 1, z=3, w=[1, 2])},
    {"_id": 3, "d": [], "a": "text", "g": [None, {"b": [{"c": 1}, {"c": 2}]}], "f": [{"x": [[1, 2], 3], "0": 1}]},
    {"_id": ObjectId("0" * 24)},
]
PROJECTIONS: list[Any] = [
    {},
    [],
    ["a"],
    ("e", "a.b"),
    {"a"},
    {"a": 1},
    {"a": True},
    {"a": 5},
    {"a": 0.5},
    {"a": Int64(3)},
    {"a": float("nan")},
    {"a": Decimal128("0.1")},
    {"a": 0},
    {"a": False},
    {"a": 0.0},
    {"a": -0.0},
    {"a": Decimal128("0")},
    {"missing": 1},
    {"missing": 0},
    {"missing.b": 1, "a": {"b": 1}},
    # _id
    {"_id": 0},
    {"_id": 1},
    {"_id": False, "a": 1},
    {"a": 1, "_id": 0},
    {"_id": 1, "a": 0},
    {"a": 0, "_id": 0},
    {"_id.x": 1},
    {"_id": {"x": 0}},
    {"_id.y": 1, "e": 1},
    # paths, nested forms, arrays
    {"a.b": 1},
    {"a.b": 0},
    {"a": {"b": 1}},
    {"a": {"b": 0}, "e": 0},
    {"a": {"deep.z": 1}, "a.c": 1},
    {"a.b": 1, "a": {"c": 1}},
    {"a.deep.z.k": 1},
    {"a.deep.z.k": 0},
    {"a.deep.y.none": 1},
    {"a.b.c": 1},
    {"a._id": 0},
    {"d.b": 1},
    {"d.b": 0},
    {"d": {"b": {"c": 1}}},
    {"d.c": 1, "d.b": 1, "_id": 0},
    {"d.0": 1},
    {"g.0": 1},
    {"g.b.c": 0},
    {"f.0": 0},
    {"e.x": 1},
    {"e.x": 0},
    # $slice
    {"f": {"$slice": 2}},
    {"f": {"$slice": -2}},
    {"f": {"$slice": 0}},
    {"f": {"$slice": 2.0}},
    {"f": {"$slice": [1, 2]}},
    {"f": {"$slice": (1, 2)}},
    {"f": {"$slice": [-3, 2]}},
    {"f": {"$slice": [-30, 2]}},
    {"f": {"$slice": [30, 2]}},
    {"f": {"$slice": 2**40}},
    {"f": {"$slice": [-(2**40), 2**40]}},
    {"f": {"$slice": 1}, "e": 1},
    {"f": {"$slice": 1}, "e": 0},
    {"f": {"$slice": 1}, "_id": 0},
    {"f": {"$slice": 1}, "_id": 1},
    {"f": {"$slice": 1}, "_id.x": 1},
    {"f": {"$slice": 1}, "_id.x": 0},
    {"f.x": {"$slice": 1}},
    {"f.x": {"$slice": -1}, "e": 1},
    {"f": {"x": {"$slice": 1}, "y": 0}},
    {"d.b": {"$slice": 1}},
    {"d.b": {"$slice": 1}, "e": 1},
    {"d.b": {"$slice": 1}, "d.c": 0},
    {"g.b.c": {"$slice": 1}},
    {"g": {"$slice": 2}, "a.c": 1},
    {"r.w": {"$slice": 1}},
    # $elemMatch
    {"f": {"$elemMatch": {"$gt": 2}}},
    {"f": {"$elemMatch": {"$gt": 9}}},
    {"f": {"$elemMatch": {"$gt": 2}}, "_id": 0},
    {"f": {"$elemMatch": {"$gt": 2}}, "_id": 1},
    {"f": {"$elemMatch": {"$gt": 2}}, "_id.x": 0},
    {"f": {"$elemMatch": {"$gt": 2}}, "_id.x": 1},
    {"f": {"$elemMatch": {"$gt": 2}}, "e": 1},
    {"f": {"$elemMatch": {"$gt": 2}}, "e": 0},
    {"f": {"$elemMatch": {"$in": [3, 2]}}, "d": {"$slice": 1}},
    {"f": {"$elemMatch": {"$gt": 2}}, "d": {"$slice": 1}, "_id": 1},
    {"f": {"$elemMatch": {"$gt": 2}}, "d": {"$slice": 1}, "_id": 0},
    {"g": {"$elemMatch": {"$size": 1}}, "f": {"$elemMatch": {"$gt": 2}}, "d": {"$elemMatch": {"c": 1}}, "a": 1},
    {"d": {"$elemMatch": {"b": 1}}},
    {"d": {"$elemMatch": {"b": {"$exists": False}}}},
    {"d": {"$elemMatch": {}}},
    {"f": {"$elemMatch": {}}},
    {"d": {"$elemMatch": {"$eq": None}}},
    {"g": {"$elemMatch": {"0": 3}}},
    {"g": {"$elemMatch": {"$elemMatch": {"$gt": 2}}}},
    {"g": {"$elemMatch": {"$not": {"$gt": "r"}}}},
    # operators on what is never an array
    {"_id": {"$slice": 1}},
    {"_id": {"$slice": 1}, "a": 1},
    {"_id.x": {"$slice": 1}},
    {"_id": {"$elemMatch": {"x": 1}}},
    {"_id": {"$elemMatch": {"x": 1}}, "a": 1},
    {"_id": {"$elemMatch": {"x": 1}}, "a": 0},
    # references, which the driver gives as values of their own
    {"r.z": 1},
    {"r.z": 0},
    {"r.$id": 1},
    {"r": {"$id": 1, "$ref": 1}},
    {"r.$id": 0},
    {"$id": 1},
]
REFUSED_BY_BOTH: list[Any] = [
    {"e": 1, "a": 0},
    {"a": {"b": 1, "c": 0}},
    {"_id": 0, "a": 1, "e": 0},
    {"_id.x": 0, "a": 1},
    {"a": {"_id": 0}, "e": 1},
    {"a": 1, "a.b": 1},
    {"a.b": 1, "a": 1},
    {"a.b": 1, "a.b.c": 1},
    {"a": {"b": 1}, "a.b": 1},
    {"a": {"b.c": 1, "b": 1}},
    {"_id": 1, "_id.x": 1},
    {"f": {"$slice": 1}, "f.x": 0},
    {"f": {"$elemMatch": {"$gt": 2}}, "f.x": 1},
    {"a": {}},
    {"a": {"b": {}}},
    {"": 1},
    {"a.": 1},
    {".a": 1},
    {"a..b": 1},
    {"$a": 1},
    {"a.$b": 1},
    {"a": {"b": 1, "$add": [1, 2]}},
    {"f": {"$elemMatch": {}, "$slice": 1}},
    {"f": {"$slice": [1, 0]}},
    {"f": {"$slice": [1, -1]}},
    {"f": {"$slice": [1]}},
    {"f": {"$slice": "x"}},
    {"f": {"$slice": True}},
    {"f": {"$slice": None}},
    {"f": {"$slice": [True, 1]}},
    {"f.x": {"$elemMatch": {"$gt": 2}}},
    {"f": {"x": {"$elemMatch": {"$gt": 2}}}},
    {"f": {"$elemMatch": 5}},
    {"f": {"$elemMatch": [1]}},
    {"d.$.b": 1},
]
COMPUTED: list[Any] = [
    {"a": None},
    {"a": "b"},
    {"a": "$e"},
    {"a": []},
    {"a": ObjectId("0" * 24)},
    {"a": {"b": "x"}},
    {"a": {"$add": [1, "$e"]}},
    {"a": {"$literal": 1}},
    {"a": {"$meta": "textScore"}},
    {"d.$": 1},
    {"_id": "x"},
]


def understood(asked: Any) -> Projection:
    parsed = parse(asked)
    assert parsed is not None
    return parsed


def matched_for(people: People, fetched: Fetch, documents: list[dict[str, Any]]) -> list[dict[str, int | None]]:
    results = [
        raw
        for pipeline in match_pipelines(documents, fetched.matches, CODEC)
        for batch in people.aggregate_raw_batches(pipeline)
        for raw in split(batch)
    ]
    return read_matches(results, fetched.matches, len(documents))


def split(batch: bytes) -> list[bytes]:
    found = []
    while batch:
        size = int.from_bytes(batch[:4], "little")
        found.append(batch[:size])
        batch = batch[size:]
    return found


def trimmed(people: People, fetched: Fetch, document: dict[str, Any]) -> PartialDocument:
    return fetched.trim(document, matched_for(people, fetched, [document])[0])


def store(people: People, document: dict[str, Any]) -> dict[str, Any]:
    """The document as the only one of the collection, as it is read back."""
    people.delete_many({})
    people.insert_one(document)
    stored = people.find_one()
    assert stored is not None
    return stored


def disagreements(people: People) -> list[tuple[Any, Any, Any]]:
    """The cases of the table in which `trim` does not give what the server gives."""
    found = []
    for number, document in enumerate(DOCUMENTS):
        whole = store(people, document)
        for asked in PROJECTIONS:
            wanted = people.find_one({}, asked)
            try:
                given = trimmed(people, understood(asked).whole, whole)
            except Exception as error:
                given = PartialDocument(error=repr(error))
            if not same(dict(given), wanted):
                found.append((number, asked, (given, wanted)))
        assert same(whole, people.find_one()), "the document was changed"
    return found


def test_trimming_gives_what_the_server_gives(people: People) -> None:
    assert disagreements(people) == []


@pytest.mark.parametrize("asked", REFUSED_BY_BOTH, ids=repr)
def test_what_the_server_refuses_is_refused_at_once(people: People, asked: Any) -> None:
    people.insert_many(DOCUMENTS)
    with pytest.raises(OperationFailure):
        people.find({}, asked).to_list()
    with pytest.raises(ValueError, match=r"\. [A-Z].*\.$"):
        parse(asked)


@pytest.mark.parametrize("asked", COMPUTED, ids=repr)
def test_what_the_server_computes_is_refused_with_the_remedy(asked: Any) -> None:
    with pytest.raises(ValueError, match=r"do it in Python, or use \.raw"):
        parse(asked)


@pytest.mark.parametrize("asked", [5, "name", b"name", {1: 1}, {"a": {1: 1}}, [1], 2.5], ids=repr)
def test_what_is_no_projection_is_a_type_error(asked: Any) -> None:
    with pytest.raises(TypeError):
        parse(asked)


@pytest.mark.parametrize("count", [1.5, float("nan"), float("inf"), [1.5, 1], [1, 2, 3], []], ids=repr)
def test_a_slice_is_of_whole_numbers(count: Any) -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        parse({"a": {"$slice": count}})


def test_only_none_is_no_projection() -> None:
    assert parse(None) is None
    assert type(understood({}).trim({"a": 1})) is PartialDocument
    assert understood({}).to_fetch(frozenset({"a"}), "v").projection is None


names = st.sampled_from(["a", "b", "c"])
scalars = st.sampled_from([None, True, 1, 2, "x", 2.5, {}, []])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
documents = st.dictionaries(names | st.sampled_from(["d", "a.b"]), values | st.lists(values, max_size=4), max_size=5)
paths = st.lists(names, min_size=1, max_size=3).map(".".join) | st.sampled_from(["d", "d.a", "_id", "_id.a", "z"])
counts = st.integers(-3, 3)
slices = st.builds(lambda n: {"$slice": n}, counts | st.tuples(counts, st.integers(1, 3)).map(list))
conditions = st.sampled_from(
    [{"a": 1}, {"a": {"$exists": True}}, {"$gt": 1}, {}, {"$size": 1}, {"a.b": 1}, {"$elemMatch": {"$gte": 1}},
     {"$type": "object"}, {"b": None}, {"$in": [None, "x"]}, {"$ne": 1}],
)  # fmt: skip
matches = st.builds(lambda condition: {"$elemMatch": condition}, conditions)
operators = slices | slices | matches


def asked_for(plain: int) -> st.SearchStrategy[dict[str, Any]]:
    """Projections that include, or that exclude; some with paths inside one another."""
    leaf = st.just(plain) | st.just(plain) | operators
    nested = st.dictionaries(names, leaf | st.dictionaries(names, st.just(plain) | slices, min_size=1), min_size=1)
    some = st.dictionaries(paths, leaf | nested, max_size=4)
    return st.builds(lambda asked, identity: {**asked, **identity}, some, st.sampled_from([{}, {}, {"_id": 0}]))


projections = asked_for(1) | asked_for(0) | st.dictionaries(paths, st.sampled_from([0, 1, {"$slice": 1}]), max_size=3)


@EXAMPLES
@given(identity=st.sampled_from([1, {"a": 1, "b": 2}]), document=documents, asked=projections)
def test_trimming_any_document_gives_what_the_server_gives(
    people: People, identity: Any, document: dict[str, Any], asked: dict[str, Any]
) -> None:
    whole = store(people, {"_id": identity, **document})
    try:
        wanted = people.find_one({}, asked)
    except OperationFailure:
        with pytest.raises(ValueError):
            parse(asked)
        return
    parsed = understood(asked)
    given_ = trimmed(people, parsed.whole, whole)
    assert same(dict(given_), wanted)
    assert same(dict(trimmed(people, parsed.whole, given_)), wanted) or skips(parsed)


def skips(parsed: Projection) -> bool:
    """Whether a part of an array is left that would be left out of that part again."""
    return any(isinstance(leaf, trimming.Slice) and leaf.skip > 0 for _, leaf in parsed.leaves)


# Fetching a part, upgrading it and trimming it.

INSIDE = ["city", "extra.deep", "sku", "price.net", "price.amount", "k1", "on", "inner", "x.y", "code", "seen", "zip"]


def draw_projection(chance: random.Random, schema: Schema) -> dict[str, Any]:
    """A projection, mostly of fields that the revisions use."""
    used = schema.chain(schema.oldest, schema.head).fields or START
    fields = sorted({*chance.choices(sorted(used), k=4), *chance.sample([*START, "schema_version", "f1", "f2"], 2)})
    plain = chance.choice([0, 1, 1])
    asked: dict[str, Any] = {}
    for name in chance.sample(fields, chance.randint(0, len(fields))):
        dice = chance.random()
        if dice < 0.5:
            asked[name] = plain
        elif dice < 0.7:
            asked[f"{name}.{chance.choice(INSIDE)}"] = plain
        elif dice < 0.85:
            asked[name] = {"$slice": chance.choice([1, -1, 0, [1, 1], [-2, 1]])}
        else:
            asked[name] = {"$elemMatch": chance.choice([{"q": 1}, {"sku": {"$gt": "s0"}}, {"$gt": "a"}, {"q": None}])}
    if chance.random() < 0.3:
        asked["_id"] = 0
    return asked


def upgraded(schema: Schema, stored: dict[str, Any]) -> dict[str, Any] | str:
    """The document at head, or which revision failed."""
    try:
        return schema.upgrade(stored)
    except UpgradeError as error:
        return f"revision {error.revision}"


def read(people: People, schema: Schema, fetched: Fetch) -> list[PartialDocument | str]:
    """The stored documents as a caller would get them."""
    arrived = [upgraded(schema, part) for part in people.find({}, fetched.projection).sort("_id")]
    whole = [document for document in arrived if isinstance(document, dict)]
    ready = iter(map(fetched.trim, whole, matched_for(people, fetched, whole)))
    return [document if isinstance(document, str) else next(ready) for document in arrived]


def expected(people: People, schema: Schema, asked: dict[str, Any]) -> list[dict[str, Any] | str]:
    """What the server gives of the stored documents once all of each was upgraded."""
    eager = people.database["eager"]
    eager.delete_many({})
    arrived = [upgraded(schema, document) for document in people.find().sort("_id")]
    eager.insert_many([document for document in arrived if isinstance(document, dict)] or [{"_id": "none"}])
    ready = eager.find({}, asked).sort("_id")
    return [document if isinstance(document, str) else next(ready) for document in arrived]


def draw_stored(chance: random.Random, schema: Schema, version: int) -> dict[str, Any] | None:
    """A document as it may be stored at a version, its fields in any order; the base has a stamp, or none."""
    document = draw_document(chance, version)
    names = [name for name in document if name != "_id"]
    chance.shuffle(names)
    document = {"_id": version, **{name: document[name] for name in names}}
    if version == schema.oldest and chance.random() < 0.5:
        return document
    try:
        return schema.upgrade(document, to=version)
    except UpgradeError:
        return None


def chain_case(people: People, chance: random.Random, *, forget: bool = False) -> list[Any]:
    """One chain and one projection, on stored documents of every version; what disagrees."""
    schema = draw_schema(chance)
    asked = draw_projection(chance, schema)
    fields = schema.chain(schema.oldest, schema.head).fields
    if forget and fields:
        fields -= {chance.choice(sorted(fields))}
    fetched = understood(asked).to_fetch(fields, "schema_version")
    drawn = [draw_stored(chance, schema, version) for version in range(schema.oldest, schema.head + 1)]
    people.delete_many({})
    people.insert_many([document for document in drawn if document is not None] or [{"_id": 0}])
    pairs = zip(read(people, schema, fetched), expected(people, schema, asked), strict=True)
    return [(asked, *pair) for pair in pairs if not alike(*pair)]


def alike(given_: dict[str, Any] | str, wanted: dict[str, Any] | str) -> bool:
    return same(dict(given_), wanted) if isinstance(given_, dict) else given_ == wanted


@EXAMPLES
@given(seed=st.integers(0, 2**32))
def test_upgrading_what_was_fetched_gives_what_an_eager_migration_gives(people: People, seed: int) -> None:
    assert chain_case(people, random.Random(seed)) == []


def test_the_property_sees_a_field_that_was_not_fetched(people: People) -> None:
    assert any(chain_case(people, random.Random(seed), forget=True) for seed in range(200))


def renamed() -> Schema:
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email"), ops.add("active", value=True), ops.copy("email", "login"))
    return schema


def fetch_of(schema: Schema, asked: Any) -> Fetch:
    fields = schema.chain(schema.oldest, schema.head).fields
    return understood(asked).to_fetch(fields, schema.version_field)


def test_a_renamed_field_is_fetched_under_both_names_and_trimmed_in_the_order_of_the_upgraded(people: People) -> None:
    schema = renamed()
    store(people, {"_id": 1, "mail": "a@x", "big": "x" * 100, "name": {"first": "a", "last": "b"}})
    fetched = fetch_of(schema, {"email": 1, "name.last": 1})
    ours = {"_id": 1, "active": 1, "email": 1, "login": 1, "mail": 1, "schema_version": 1}
    assert fetched.projection == {**ours, "name.last": 1}
    (given_,) = read(people, schema, fetched)
    assert list(given_.items()) == [("_id", 1), ("name", {"last": "b"}), ("email", "a@x")]
    forgets = understood({"email": 1, "name.last": 1}).to_fetch(
        frozenset({"email", "active", "login"}), "schema_version"
    )
    assert not same(read(people, schema, forgets), [given_])


def test_an_excluded_field_is_fetched_where_a_revision_needs_it(people: People) -> None:
    schema = renamed()
    store(people, {"mail": "a@x", "big": "x" * 100, "_id": 1, "tags": [1, 2, 3]})
    fetched = fetch_of(schema, {"mail": 0, "email": 0, "big": 0, "_id": 0, "schema_version": 0})
    assert fetched.projection == {"big": 0}
    (given_,) = read(people, schema, fetched)
    assert given_ == {"tags": [1, 2, 3], "active": True, "login": "a@x"}


def test_what_no_revision_uses_is_left_to_the_server() -> None:
    schema = renamed()
    asked = {"tags": {"$slice": [1, 2]}, "items": {"$elemMatch": {"q": 1}}, "name": {"last": 1}}
    fetched = fetch_of(schema, asked)
    assert fetched.projection is not None
    assert fetched.matches == ()
    served = {name: value for name, value in fetched.projection.items() if value != 1}
    assert served == {"tags": {"$slice": [1, 2]}, "items": {"$elemMatch": {"q": 1}}}
    assert fetched.projection["name.last"] == 1
    got = {"_id": 1, "name": {"last": "b"}, "tags": [2, 3], "items": [{"q": 1}], "email": "x", "schema_version": 2}
    assert list(fetched.trim(got).items()) == [(n, got[n]) for n in ("_id", "name", "tags", "items")]
    assert fetch_of(schema, {"login": {"$elemMatch": {"q": 1}}}).matches[0].path == "login"


@pytest.mark.parametrize(
    ("asked", "projection"),
    [
        ({}, None),
        ({"_id": 0}, None),
        ({"mail": 0}, None),
        ({"tags": {"$slice": 1}}, {"tags": {"$slice": 1}}),
        ({"tags": {"$slice": 1}, "big": 0}, {"tags": {"$slice": 1}, "big": 0}),
        ({"mail": {"$slice": 1}, "tags": {"$elemMatch": {}}}, None),  # alone, $elemMatch would make it an inclusion
    ],
    ids=repr,
)
def test_an_exclusion_stays_one_when_parts_of_it_are_done_here(asked: Any, projection: Any) -> None:
    assert fetch_of(renamed(), asked).projection == projection


def test_functions_decide_what_is_fetched_by_what_they_touch(people: People) -> None:
    schema = Schema("people")

    @schema.revision(2, touches={"name", "first", "last"}, reads={"country"})
    def split_name(user: dict[str, Any]) -> None:
        user["first"], _, user["last"] = user.pop("name").partition(" ")

    fetched = fetch_of(schema, ["last", "first"])
    assert fetched.projection == dict.fromkeys(["_id", "country", "first", "last", "name", "schema_version"], 1)
    store(people, {"_id": 1, "schema_version": 1, "name": "Ada L", "other": 1})
    (given_,) = read(people, schema, fetched)
    assert list(given_.items()) == [("_id", 1), ("first", "Ada"), ("last", "L")]

    @schema.revision(3)
    def anything(user: dict[str, Any]) -> None:
        user["last"] = user["last"] + str(user.get("other"))

    fetched = fetch_of(schema, {"last": 1, "_id": 0})
    assert fetched.projection is None
    assert read(people, schema, fetched) == [{"last": "L1"}]


def test_a_field_that_no_projection_can_name_means_whole_documents() -> None:
    assert understood(["a"]).to_fetch(frozenset({"$odd"}), "v").projection is None
    assert understood(["a"]).to_fetch(frozenset({"$id"}), "v").projection is not None


def test_the_stamp_is_given_only_where_it_was_asked_for(people: People) -> None:
    schema = renamed()
    store(people, {"_id": 1, "mail": "x"})
    assert read(people, schema, fetch_of(schema, ["schema_version"])) == [{"_id": 1, "schema_version": 2}]
    assert read(people, schema, fetch_of(schema, {"schema_version": 1, "_id": 0})) == [{"schema_version": 2}]
    assert read(people, schema, fetch_of(schema, ["email"])) == [{"_id": 1, "email": "x"}]


# $elemMatch on documents at hand.


def test_the_server_matches_the_elements_of_many_documents_whatever_the_collection_holds(people: People) -> None:
    parsed = understood({"a": {"$elemMatch": {"$gt": 3}}, "b": {"$elemMatch": {"c": 1}}})
    held = [{"a": [1, n], "b": [{"c": 0}, {"c": n}]} for n in range(6)] + [{"a": 5}, {}, {"a": []}]
    for pipelines in (match_pipelines(held, parsed.element_matches, CODEC, chunk=size) for size in (100, 10**6)):
        raws = [raw for each in pipelines for batch in people.aggregate_raw_batches(each) for raw in split(batch)]
        found = read_matches(raws, parsed.element_matches, len(held))
        assert [each["a"] for each in found] == [None] * 4 + [1] * 2 + [None] * 3
        assert [each["b"] for each in found] == [None, 1] + [None] * 7
    assert len(match_pipelines(held, parsed.element_matches, CODEC, chunk=100)) > 1
    assert match_pipelines([{"a": 5}, {}], parsed.element_matches, CODEC) == []


def test_matching_follows_the_collation_of_the_query(people: People) -> None:
    parsed = understood({"a": {"$elemMatch": {"$eq": "B"}}})
    (pipeline,) = match_pipelines([{"a": ["a", "b", "B"]}], parsed.element_matches, CODEC)
    (plain,), (folded,) = (
        people.aggregate(pipeline, collation=collation).to_list()
        for collation in (None, {"locale": "en", "strength": 2})
    )
    assert (plain["index"], folded["index"]) == (2, 1)


def test_trimming_without_being_told_of_the_match_fails() -> None:
    with pytest.raises(KeyError):
        understood({"a": {"$elemMatch": {"$gt": 3}}}).trim({"a": [5]})


# What comes out.


def test_a_partial_document_is_a_dict_that_says_so_and_is_refused() -> None:
    partial = understood(["a"]).trim({"_id": 7, "a": 1, "b": 2})
    assert partial == {"_id": 7, "a": 1}
    for same_kind in (partial.copy(), pickle.loads(pickle.dumps(partial))):
        assert type(same_kind) is PartialDocument
        with pytest.raises(PartialDocumentError, match="document 7 was read with a projection") as caught:
            refuse_partial("people", same_kind)
        assert isinstance(caught.value, LazyMigrateError)
        assert (caught.value.collection, caught.value.document_id) == ("people", 7)
    refuse_partial("people", dict(partial))


def test_other_document_classes_and_tuples_are_trimmed_too() -> None:
    document = {"_id": 1, "a": SON([("b", 1), ("c", 2)]), "t": ({"b": 1, "c": 2}, 5), "s": (1, 2, 3)}
    given_ = understood({"a.c": 1, "t.b": 1, "s": {"$slice": 1}}).trim(document)
    assert given_ == {"_id": 1, "a": SON([("c", 2)]), "t": [{"b": 1}], "s": (1,)}
    assert type(given_["a"]) is SON


# Mutants.


def test_the_table_catches_a_trim_that_forgets_arrays(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimming, "ARRAYS", ())
    assert disagreements(people)


def test_the_table_catches_slices_that_run_through_nested_arrays(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    members_of = trimming.members_of
    monkeypatch.setattr(
        trimming, "members_of", lambda tree, *, includes, slices=True: members_of(tree, includes=includes)
    )
    assert {number for number, asked, _ in disagreements(people) if "d.b" in asked} == {0}


def test_the_table_catches_an_inclusion_in_the_order_of_the_projection(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    def members_of(tree: Any, *, includes: bool, slices: bool = True) -> Any:
        return lambda document: {name: document[name] for name in tree if name in document}

    monkeypatch.setattr(trimming, "members_of", members_of)
    assert any(asked == ("e", "a.b") for _, asked, _ in disagreements(people))


def test_the_table_catches_a_wrong_default_for_operators_alone(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "is_inclusion", lambda leaves, identity: any(leaf is True for _, leaf in leaves))
    caught = [asked for _, asked, _ in disagreements(people)]
    assert {"f": {"$elemMatch": {"$gt": 2}}} in caught
    assert {"f": {"$slice": 1}, "_id": 1} in caught


def test_slicing_again_what_the_server_sliced_would_be_wrong(people: People) -> None:
    schema, asked = renamed(), {"tags": {"$slice": [1, 1]}, "email": 1}
    store(people, {"_id": 1, "mail": "x", "tags": [1, 2, 3]})
    fetched, wanted = fetch_of(schema, asked), expected(people, schema, asked)
    assert read(people, schema, fetched) == wanted == [{"_id": 1, "tags": [2], "email": "x"}]
    twice = Fetch(fetched.projection, (), understood(asked).whole.run)
    assert read(people, schema, twice) != wanted


async def test_a_projection_may_be_the_second_argument(bench: Bench) -> None:
    bench.put({"_id": 1, "name": "Ada Lovelace", "mail": "m"})
    people = bench.open(users())
    assert await bench.call(people.find_one({}, {"email": 1, "_id": 0})) == {"email": "m"}
    assert await bench.list(people.find({}, ["email"])) == [{"_id": 1, "email": "m"}]
