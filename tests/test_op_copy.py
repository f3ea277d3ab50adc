"""`copy`: what it means, that MongoDB does the same where it is used, and which way back restores."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Int64, ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle import (
    DIFFERS,
    LOST,
    UNSAFE,
    Case,
    applied,
    caught,
    check,
    check_in_variable,
    check_way_back,
    lifecycle,
)
from pymongo.collection import Collection
from strategies import documents, values

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation
from lazymigrate.ops.copy import Copy, copy
from lazymigrate.paths import all_of, missing_, passable_, put_, split_path

CASES: list[Case] = [
    (copy("a", "b"), {"a": 1, "z": 2}, {"a": 1, "z": 2, "b": 1}),
    (copy("a", "b"), {"a": Int64(1)}, {"a": Int64(1), "b": Int64(1)}),
    (copy("a", "b"), {"a": None}, {"a": None, "b": None}),
    (copy("a", "b"), {"a": "$z", "z": 1}, {"a": "$z", "z": 1, "b": "$z"}),
    (copy("a", "b"), {"a": {"x": [{"y": 1}]}}, {"a": {"x": [{"y": 1}]}, "b": {"x": [{"y": 1}]}}),
    (copy("a", "b"), {"z": 1}, {"z": 1}),
    (copy("a", "b"), {"b": 1}, {"b": 1}),
    (copy("a", "b"), {"a": 1, "b": 1}, "'b' is already present beside 'a'"),
    (copy("a", "b"), {"a": 1, "b": None}, "'b' is already present beside 'a'"),
    (copy("n.a", "b"), {"n": {"a": 1}}, {"n": {"a": 1}, "b": 1}),
    (copy("n.a", "n.b"), {"n": {"a": 1, "z": 2}, "y": 3}, {"n": {"a": 1, "z": 2, "b": 1}, "y": 3}),
    (copy("a", "m.x.b"), {"a": 1}, {"a": 1, "m": {"x": {"b": 1}}}),
    (copy("a", "m.b"), {"a": 1, "m": {"z": 2}}, {"a": 1, "m": {"z": 2, "b": 1}}),
    (copy("a", "m.b"), {"m": 5}, {"m": 5}),
    (copy("a", "m.b"), {"a": 1, "m": None}, "runs through 'm'"),
    (copy("a", "m.b"), {"a": 1, "m": [{}]}, "runs through 'm'"),
    (copy("n.a", "b"), {"n": [{"a": 1}]}, "runs through 'n'"),
    (copy("n.a", "b"), {"n": 5}, "runs through 'n'"),
    (copy("n.a", "b"), {"n.a": 5}, {"n.a": 5}),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


def test_the_copy_shares_nothing_with_its_source() -> None:
    changed = applied(copy("a", "b"), {"a": {"list": [{"x": 1}]}})
    changed["b"]["list"][0]["x"] = 2
    changed["b"]["list"].append(3)
    assert changed["a"] == {"list": [{"x": 1}]}


@pytest.mark.parametrize(
    ("operation", "document", "restored"),
    [
        (copy("a", "b"), {"a": 1}, True),
        (copy("a", "b"), {"a": None, "z": [1]}, True),
        (copy("a", "b"), {"z": 1}, True),
        (copy("a", "b"), {"b": 1}, False),  # the way back would take what was there before for the copy
        (copy("a", "m.x.b"), {"a": 1}, True),
        (copy("a", "m.x.b"), {"a": 1, "m": {"z": 1}}, True),
        (copy("a", "m.x.b"), {"a": 1, "m": {"x": {}}}, False),
        (copy("a", "m.x.b"), {"m": {"x": {}}}, True),
        (copy("a", "m.x.b"), {"m": 5}, False),
    ],
)
def test_which_documents_the_way_back_restores(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any], restored: bool
) -> None:
    check_way_back(people, operation, document, restored)


def test_it_renders_for_a_document_in_a_variable(people: Collection[dict[str, Any]]) -> None:
    check_in_variable(people, CASES)


@pytest.mark.parametrize(
    ("source", "path", "reason"),
    [
        ("", "b", "non-empty string of dotted names"),
        ("a", 5, "non-empty string of dotted names"),
        ("a", "$b", "cannot be addressed"),
        ("a.0", "b", "array index"),
        ("a", "a", "one path is inside the other"),
        ("a", "a.b", "one path is inside the other"),
        ("a.b", "a", "one path is inside the other"),
    ],
)
def test_wrong_declarations(source: Any, path: Any, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        copy(source, path)


def test_what_it_says_of_itself() -> None:
    assert str(copy("a", "m.b")) == "m.b = a"
    assert copy("a", "m.b").effects() == Effects(reads=("a",), sets=("m.b",))
    assert copy("a", "m.b").lossless


def test_ordinary_documents_are_left_to_mongodb(people: Collection[dict[str, Any]]) -> None:
    found: list[Any] = [1, None, "text", {"x": [1]}, [1, 2], ObjectId("0" * 24)]
    people.insert_many([{"a": value, "n": {"a": value}, "m": {"z": 1}} for value in found] + [{"z": 1}])
    for operation in (copy("a", "b"), copy("n.a", "m.b"), copy("n.a", "n.b"), copy("a", "x.y.z")):
        assert people.count_documents({"$expr": operation.safe("$$ROOT")}) == 7
        assert people.count_documents({"$expr": operation.restores("$$ROOT")}) == 7


operations = st.sampled_from(
    [
        copy(source, path)
        for source, path in [("a", "e"), ("a", "b"), ("a.b", "a.e"), ("a", "b.c"), ("a.b", "b.c.d"), ("a.b.c", "e.a.b")]
    ]
)
targeted = st.fixed_dictionaries(
    {},
    optional={
        "a": values | st.dictionaries(st.sampled_from(["b", "c"]), values | st.dictionaries(st.just("c"), values)),
        "b": st.dictionaries(st.sampled_from(["c", "w"]), st.just({}) | st.dictionaries(st.sampled_from("dw"), values)),
        "z": values,
        "e": values | st.just({}) | st.just({"a": {}}),
    },
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=operations, document=targeted | targeted | documents)
def test_mongodb_does_the_same_where_it_is_used_and_the_way_back_restores_where_it_says(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any]
) -> None:
    lifecycle(people, operation, document)


class NullIsMissing(Copy):
    """A mutant: null is not copied."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        return {"$cond": [{"$eq": [f"${self.source}", None]}, document, super().expression(document)]}


class CopiesAConstant(Copy):
    """A mutant: an absent source sets null, as it would with `$ifNull`."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        value = {"$ifNull": [f"${self.source}", None]}
        return {"$cond": [passable_(document, parts), put_(document, parts, value), document]}


class OverwritesTheTarget(Copy):
    """A mutant: it is used where the target is present."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return all_of(passable_(document, split_path(path)) for path in (self.source, self.path))


class OneStepShort(Copy):
    """A mutant: it looks at one parent of the source too few."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        source = split_path(self.source)
        parents = passable_(document, source[:-1])
        return {"$or": [super().safe(document), all_of([parents, missing_(document, source)])]}


class ForgetsWhatWasThere(Copy):
    """A mutant: it says that the way back restores a document in which only the target is present."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        return {"$or": [super().restores(document), missing_(document, split_path(self.source))]}


MUTANTS = {
    NullIsMissing: DIFFERS,
    CopiesAConstant: DIFFERS,
    OverwritesTheTarget: UNSAFE,
    OneStepShort: UNSAFE,
    ForgetsWhatWasThere: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Copy], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
