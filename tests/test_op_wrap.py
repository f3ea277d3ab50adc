"""`wrap`: what it means, that MongoDB does the same where it is used, and which way back restores."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Int64, ObjectId
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle import (
    DIFFERS,
    LOST,
    UNSAFE,
    WRONG_PATHS,
    Case,
    RestoresWhatIsSafe,
    RunsThroughAnything,
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
from lazymigrate.ops.wrap import Wrap, wrap
from lazymigrate.paths import missing_, put_, split_path

CASES: list[Case] = [
    (wrap("a"), {"a": 1, "z": 2}, {"a": [1], "z": 2}),
    (wrap("a"), {"a": Int64(1)}, {"a": [Int64(1)]}),
    (wrap("a"), {"a": "$z", "z": 1}, {"a": ["$z"], "z": 1}),
    (wrap("a"), {"a": ""}, {"a": [""]}),
    (wrap("a"), {"a": False}, {"a": [False]}),
    (wrap("a"), {"a": {"x": 1}}, {"a": [{"x": 1}]}),
    (wrap("a"), {"a": {}}, {"a": [{}]}),
    (wrap("a"), {"a": None, "z": 1}, {"a": [], "z": 1}),
    (wrap("a"), {"a": []}, {"a": []}),
    (wrap("a"), {"a": [1, None]}, {"a": [1, None]}),
    (wrap("a"), {"z": 1}, {"z": 1}),
    (wrap("n.a"), {"n": {"a": 1, "z": 2}, "y": 3}, {"n": {"a": [1], "z": 2}, "y": 3}),
    (wrap("n.a"), {"n": {}}, {"n": {}}),
    (wrap("n.a"), {"n.a": 1}, {"n.a": 1}),
    (wrap("n.m.a"), {"n": {"m": {"a": None}}}, {"n": {"m": {"a": []}}}),
    (wrap("n.a"), {"n": 5}, "runs through 'n'"),
    (wrap("n.a"), {"n": None}, "runs through 'n'"),
    (wrap("n.a"), {"n": [{"a": 1}]}, "runs through 'n'"),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


@pytest.mark.parametrize(
    ("operation", "document", "restored"),
    [
        (wrap("a"), {"a": 1}, True),
        (wrap("a"), {"a": None}, True),
        (wrap("a"), {"z": 1}, True),
        (wrap("a"), {"a": {"x": [1]}}, True),
        (wrap("a"), {"a": []}, False),
        (wrap("a"), {"a": [1]}, False),
        (wrap("n.a"), {"n": {"a": 1}}, True),
        (wrap("n.a"), {"n": 5}, False),
    ],
)
def test_which_documents_the_way_back_restores(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any], restored: bool
) -> None:
    check_way_back(people, operation, document, restored)


def test_it_renders_for_a_document_in_a_variable(people: Collection[dict[str, Any]]) -> None:
    check_in_variable(people, CASES)


def test_what_the_driver_reads_as_null_is_left_to_python(people: Collection[dict[str, Any]]) -> None:
    """BSON's undefined: still in old documents, and None in Python."""
    undefined = RawBSONDocument(b"\x11\0\0\0\x10_id\0\1\0\0\0\x06a\0\0")
    people.insert_one(undefined)
    assert people.find_one() == {"_id": 1, "a": None}
    assert people.count_documents({"$expr": wrap("a").safe("$$ROOT")}) == 0
    assert people.count_documents({"$expr": wrap("a").restores("$$ROOT")}) == 0


@pytest.mark.parametrize(("path", "reason"), WRONG_PATHS)
def test_wrong_declarations(path: Any, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        wrap(path)


def test_what_it_says_of_itself() -> None:
    assert str(wrap("n.a")) == "n.a → [n.a]"
    assert wrap("n.a").effects() == Effects(computes=("n.a",))
    assert wrap("n.a").lossless


def test_ordinary_documents_are_left_to_mongodb(people: Collection[dict[str, Any]]) -> None:
    found: list[Any] = [1, None, "text", {"x": [1]}, [1, 2], [], ObjectId("0" * 24)]
    people.insert_many([{"a": value, "n": {"a": value}} for value in found] + [{"z": 1}])
    for operation in (wrap("a"), wrap("n.a")):
        assert people.count_documents({"$expr": operation.safe("$$ROOT")}) == 8
        assert people.count_documents({"$expr": operation.restores("$$ROOT")}) == 6


operations = st.sampled_from([wrap(path) for path in ("a", "a.b", "a.b.c", "b")])
found = values | st.lists(values, max_size=2)
targeted = st.fixed_dictionaries(
    {},
    optional={
        "z": values,
        "a": found | st.fixed_dictionaries({"b": found | st.fixed_dictionaries({"c": found, "w": values})}),
        "b": found,
    },
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=operations, document=targeted | targeted | documents)
def test_mongodb_does_the_same_where_it_is_used_and_the_way_back_restores_where_it_says(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any]
) -> None:
    lifecycle(people, operation, document)


class WrapsNull(Wrap):
    """A mutant: null becomes a list that holds it."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        null = {"$eq": [f"${self.path}", None]}
        wrapped = put_(document, split_path(self.path), {"$literal": [None]})
        return {"$cond": [null, wrapped, super().expression(document)]}


class WrapsWhatIsMissing(Wrap):
    """A mutant: an absent value becomes an empty list."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        made = put_(document, parts, {"$literal": []})
        return {"$cond": [missing_(document, parts), made, super().expression(document)]}


class WrapsLists(Wrap):
    """A mutant: a list becomes a list of a list."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        value = f"${self.path}"
        wrapped = put_(document, split_path(self.path), [value])
        return {"$cond": [{"$isArray": [value]}, wrapped, super().expression(document)]}


class RunsThrough(RunsThroughAnything, Wrap):
    """A mutant: it looks at no parent at all."""

    __slots__ = ()


class RestoresLists(RestoresWhatIsSafe, Wrap):
    """A mutant: it says that lists come back."""

    __slots__ = ()


MUTANTS = {
    WrapsNull: DIFFERS,
    WrapsWhatIsMissing: DIFFERS,
    WrapsLists: DIFFERS,
    RunsThrough: UNSAFE,
    RestoresLists: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Wrap], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
