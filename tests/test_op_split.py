"""`split`: what it means, that MongoDB does the same where it is used, and which way back restores."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Int64
from bson.code import Code
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle import (
    DIFFERS,
    LOST,
    UNSAFE,
    Case,
    Count,
    RunsThroughAnything,
    applied,
    caught,
    check,
    check_in_variable,
    check_way_back,
    lifecycle,
    way_back,
)
from pymongo.collection import Collection
from strategies import documents, values

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation
from lazymigrate.ops.join import Join, has_type_
from lazymigrate.ops.split import Split, split
from lazymigrate.paths import all_of, passable_, split_path

TWO = split("a", ["b", "c"])
THREE = split("a", into=["b", "c", "d"], on=", ")
IN_PLACE = split("a", ["a", "b"])
LAST_IN_PLACE = split("a", ["b", "a"])
NESTED = split("n.a", ["n.b", "m.x.c"])
WIDE = split("a", ["b", "c"], on="aa")

CASES: list[Case] = [
    (TWO, {"a": "Ada Lovelace", "z": 1}, {"z": 1, "b": "Ada", "c": "Lovelace"}),
    (TWO, {"a": "Ada King Lovelace"}, {"b": "Ada", "c": "King Lovelace"}),
    (TWO, {"a": "Ada"}, {"b": "Ada", "c": ""}),
    (TWO, {"a": "Ada "}, {"b": "Ada", "c": ""}),
    (TWO, {"a": " Ada"}, {"b": "", "c": "Ada"}),
    (TWO, {"a": "  "}, {"b": "", "c": " "}),
    (TWO, {"a": ""}, {"b": "", "c": ""}),
    (TWO, {"a": None, "z": 1}, {"z": 1, "b": None, "c": None}),
    (TWO, {"z": 1}, {"z": 1}),
    (TWO, {"b": 1, "c": 2}, {"b": 1, "c": 2}),
    (TWO, {"a": "$a $$ROOT"}, {"b": "$a", "c": "$$ROOT"}),
    (TWO, {"a": "äöü 😀 x"}, {"b": "äöü", "c": "😀 x"}),
    (TWO, {"a": "x\0 y\0"}, {"b": "x\0", "c": "y\0"}),
    (TWO, {"a.b": 1, "a": "x y"}, {"a.b": 1, "b": "x", "c": "y"}),
    (TWO, {"a": 5}, "'a' is neither a string nor null"),
    (TWO, {"a": ["x y"]}, "'a' is neither a string nor null"),
    (TWO, {"a": {"x": "y"}}, "'a' is neither a string nor null"),
    (TWO, {"a": Code("x y")}, "'a' is neither a string nor null"),
    (TWO, {"a": "x y", "c": None}, "'c' is already present beside 'a'"),
    (TWO, {"a": None, "b": 1}, "'b' is already present beside 'a'"),
    (THREE, {"a": "x, y, z, w"}, {"b": "x", "c": "y", "d": "z, w"}),
    (THREE, {"a": "x, y"}, {"b": "x", "c": "y", "d": ""}),
    (THREE, {"a": "x,y"}, {"b": "x,y", "c": "", "d": ""}),
    (THREE, {"a": "x, , z"}, {"b": "x", "c": "", "d": "z"}),
    (WIDE, {"a": "xaaay"}, {"b": "x", "c": "ay"}),
    (WIDE, {"a": "aaaa"}, {"b": "", "c": "aa"}),
    (split("a", ["b", "c"], on="ö"), {"a": "äöü"}, {"b": "ä", "c": "ü"}),
    (split("a", ["b", "c"], on="\0"), {"a": "x\0y"}, {"b": "x", "c": "y"}),
    (split("a", ["b", "c"], on="$$ROOT"), {"a": "x$$ROOTy"}, {"b": "x", "c": "y"}),
    (IN_PLACE, {"y": 0, "a": "Ada Lovelace", "z": 1}, {"y": 0, "a": "Ada", "z": 1, "b": "Lovelace"}),
    (LAST_IN_PLACE, {"y": 0, "a": "Ada Lovelace", "z": 1}, {"y": 0, "a": "Lovelace", "z": 1, "b": "Ada"}),
    (IN_PLACE, {"a": None}, {"a": None, "b": None}),
    (NESTED, {"n": {"a": "x y"}}, {"n": {"b": "x"}, "m": {"x": {"c": "y"}}}),
    (NESTED, {"n": {"a": "x y", "z": 1}, "m": {"w": 1}}, {"n": {"z": 1, "b": "x"}, "m": {"w": 1, "x": {"c": "y"}}}),
    (NESTED, {"n": {}, "m": 5}, {"n": {}, "m": 5}),
    (NESTED, {"n": 5}, "runs through 'n'"),
    (NESTED, {"n": None}, "runs through 'n'"),
    (NESTED, {"n": [{"a": "x y"}]}, "runs through 'n'"),
    (NESTED, {"n": {"a": "x y"}, "m": [1]}, "runs through 'm'"),
    (split("n.a", ["b", "c"]), {"n": {"a": "x y"}}, {"n": {}, "b": "x", "c": "y"}),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


RESTORED = [
    (TWO, {"a": "Ada Lovelace"}, True),
    (TWO, {"a": "Ada King Lovelace"}, True),
    (TWO, {"a": "Ada King "}, True),
    (TWO, {"a": "Ada"}, True),
    (TWO, {"z": 1}, True),
    (TWO, {"b": "x"}, False),  # the way back would gather what was there before
    (TWO, {"a": None}, False),
    (TWO, {"a": ""}, False),
    (TWO, {"a": "Ada "}, False),
    (TWO, {"a": " Ada"}, False),
    (THREE, {"a": "x, , z"}, False),
    (THREE, {"a": "x, y"}, True),
    (WIDE, {"a": "xaaaay"}, True),
    (IN_PLACE, {"a": "Ada Lovelace", "z": 1}, True),
    (NESTED, {"n": {"a": "x y"}}, True),
    (NESTED, {"n": {"a": "x y"}, "m": {"w": 1}}, True),
    (NESTED, {"n": {"a": "x y"}, "m": {}}, False),  # the way back would take the empty parent for its own
    (NESTED, {"m": 5}, False),
    (split("n.a", ["b", "c"]), {"n": {"a": "x y"}}, True),
]


@pytest.mark.parametrize(("operation", "document", "restored"), RESTORED)
def test_which_documents_the_way_back_restores(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any], restored: bool
) -> None:
    check_way_back(people, operation, document, restored)


def test_the_way_back_prunes_what_it_made_inside_mongodb_too(people: Collection[dict[str, Any]]) -> None:
    count = Count()
    reverse = way_back(NESTED)
    lifecycle(people, reverse, {"n": {"b": "x"}, "m": {"x": {"c": "y"}}}, count)
    lifecycle(people, reverse, {"n": {"b": "x"}, "m": {"x": {"c": "y"}, "w": 1}}, count)
    lifecycle(people, reverse, {"n": {"b": "x"}, "m": {"x": {}}}, count)
    lifecycle(people, way_back(reverse), {"n": {"a": "x y"}}, count)
    lifecycle(people, way_back(way_back(split("n.o.a", ["b", "c"]))), {"n": {"o": {"a": "x y"}}, "z": 1}, count)
    assert count.safe == count.documents
    assert applied(reverse, {"n": {"b": "x"}, "m": {"x": {"c": "y"}}}) == {"n": {"a": "x y"}}
    assert applied(reverse, {"n": {"b": "x"}, "m": {"x": {}}}) == {"n": {"a": "x"}, "m": {"x": {}}}


def test_texts_are_told_apart_byte_by_byte_whatever_the_collation(people: Collection[dict[str, Any]]) -> None:
    collated = people.database.create_collection("collated", collation={"locale": "en", "strength": 1})
    for document in ({"a": "\0"}, {"a": "\0 x"}, {"a": "x \u0301"}, {"a": "xXy"}, {"a": "\0 \0"}):
        for operation in (TWO, THREE, split("a", ["b", "c"], on="x")):
            count = Count()
            lifecycle(collated, operation, document, count)
            assert count.safe == 1
            back = applied(way_back(operation), applied(operation, document))
            assert count.restored == (back == document)


@pytest.mark.parametrize("variable", ["item", "document", "before", "parts", "part", "text", "found", "at"])
def test_it_renders_for_a_document_in_any_variable(people: Collection[dict[str, Any]], variable: str) -> None:
    check_in_variable(people, CASES, variable)


@pytest.mark.parametrize(
    ("declare", "reason"),
    [
        (lambda: split("", ["b", "c"]), "non-empty string of dotted names"),
        (lambda: split("a", ["b"]), "two paths or more, and has 1.*rename"),
        (lambda: split("a", "bc"), "str is not a list of paths"),
        (lambda: split("a", ["b", 5]), "non-empty string of dotted names"),  # type: ignore[list-item]
        (lambda: split("a", ["b", "$c"]), "cannot be addressed"),
        (lambda: split("a", ["b", "b"]), "'b' and 'b' are the same"),
        (lambda: split("a", ["b", "b.c"]), "one is inside the other"),
        (lambda: split("a", ["a.b", "a.c"]), "one is inside the other"),
        (lambda: split("a.x", ["a", "b"]), "one is inside the other"),
        (lambda: split("a", ["b", "c"], on=""), "non-empty string"),
        (lambda: split("a", ["b", "c"], on=None), "non-empty string"),  # type: ignore[arg-type]
        (lambda: split("a", ["b", "c"], on="\ud800"), "cannot be stored as BSON"),
    ],
)
def test_wrong_declarations(declare: Any, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        declare()


def test_what_it_says_of_itself() -> None:
    assert str(TWO) == "a → b, c"
    assert TWO.effects() == Effects(reads=("a",), sets=("b", "c"), removes=("a",))
    assert IN_PLACE.effects() == Effects(sets=("b",), computes=("a",))
    assert TWO.lossless
    assert split("a", ("b", "c")) == TWO
    assert hash(TWO)


def test_ordinary_documents_are_left_to_mongodb(people: Collection[dict[str, Any]]) -> None:
    names = ["Ada Lovelace", "Ada", "Ada King Lovelace", "Żółć Ąę", "", None]
    people.insert_many([{"a": name, "n": {"a": name}, "z": Int64(1)} for name in names] + [{"z": 1}])
    for operation in (TWO, THREE, IN_PLACE, NESTED):
        assert people.count_documents({"$expr": operation.safe("$$ROOT")}) == 7
        assert people.count_documents({"$expr": operation.restores("$$ROOT")}) >= 5


operations = st.sampled_from(
    [
        split(path, into, on)
        for path, into in [
            ("a", ["b", "c"]),
            ("a", ["c", "a"]),
            ("a", ["b", "c", "d"]),
            ("a", ["a", "n.b", "n.c"]),
            ("n.a", ["n.b", "c"]),
            ("n.a", ["n.m.b", "m.c"]),
            ("n.a", ["b", "n.a", "m.n.o"]),
        ]
        for on in (" ", "aa", "ä", "a", "$")
    ]
)
texts = st.lists(st.sampled_from(["", " ", "a", "aa", "b", "ä", "Ã", "😀", "$", "$a", "\0", "A"]), max_size=8).map(
    "".join
)
fields = st.one_of(texts, texts, texts, st.none(), values)
inner = st.fixed_dictionaries({}, optional={"z": values, "a": fields, "m": st.just({}), "b": fields})
targeted = st.fixed_dictionaries(
    {},
    optional={
        "y": values, "a": fields, "n": inner | inner | values, "z": values, "m": st.dictionaries(st.just("w"), values),
    },
)  # fmt: skip
crowded = st.fixed_dictionaries({"a": fields}, optional={"b": fields, "c": fields, "d": fields, "n": inner})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=operations, document=targeted | targeted | targeted | crowded | documents, backwards=st.booleans())
def test_mongodb_does_the_same_where_it_is_used_and_the_way_back_restores_where_it_says(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any], backwards: bool
) -> None:
    lifecycle(people, way_back(way_back(operation)) if backwards else operation, document)


class NullIsMissing(Split):
    """A mutant: null stays null instead of becoming null everywhere."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        null = {"$eq": [{"$type": f"${self.path}"}, "null"]}
        return {"$cond": [null, document, super().expression(document)]}


class LosesTheRest(Split):
    """A mutant: the last part is one part and not the rest."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        longer = Split(self.path, (*self.into, "spare"), self.on).expression(document)
        return {"$unsetField": {"field": "spare", "input": longer}}


class OverwritesTargets(Split):
    """A mutant: it is used where a target is present."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        places = [passable_(document, split_path(path)) for path in (self.path, *self.into)]
        return all_of([*places, has_type_(f"${self.path}", "string", "null", "missing")])


class RunsThrough(RunsThroughAnything, Split):
    """A mutant: it looks at no parent of the source."""

    __slots__ = ()


class RestoresEverything(Split):
    """A mutant: it says that every string comes back."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        string = all_of([self.safe(document), has_type_(f"${self.path}", "string")])
        return {"$or": [super().restores(document), string]}


class LeavesEmptyParents(Split):
    """A mutant: the way back leaves the parents that were made."""

    __slots__ = ()

    def reverse(self) -> Operation:
        return Join(self.into, self.path, self.on)


MUTANTS = {
    NullIsMissing: DIFFERS,
    LosesTheRest: DIFFERS,
    OverwritesTargets: UNSAFE,
    RunsThrough: UNSAFE,
    RestoresEverything: LOST,
    LeavesEmptyParents: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Split], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
