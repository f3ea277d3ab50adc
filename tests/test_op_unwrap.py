"""`unwrap`: what it means, that MongoDB does the same where it is used, and which way back restores."""

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
    WRONG_PATHS,
    Case,
    RunsThroughAnything,
    caught,
    check,
    check_in_variable,
    check_way_back,
    lifecycle,
)
from pymongo.collection import Collection
from strategies import documents
from test_op_wrap import targeted

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation
from lazymigrate.ops.unwrap import Unwrap, unwrap
from lazymigrate.paths import all_of, drop_, put_, split_path

CASES: list[Case] = [
    (unwrap("a"), {"a": [1], "z": 2}, {"a": 1, "z": 2}),
    (unwrap("a"), {"a": [Int64(1), 2]}, {"a": Int64(1)}),
    (unwrap("a"), {"a": ["$z"], "z": 1}, {"a": "$z", "z": 1}),
    (unwrap("a"), {"a": [{"x": 1}, 2]}, {"a": {"x": 1}}),
    (unwrap("a"), {"a": [[1, 2]]}, {"a": [1, 2]}),
    (unwrap("a"), {"a": [None, 1], "z": 1}, {"a": None, "z": 1}),
    (unwrap("a"), {"a": [], "z": 1}, {"a": None, "z": 1}),
    (unwrap("a"), {"a": 1}, {"a": 1}),
    (unwrap("a"), {"a": None}, {"a": None}),
    (unwrap("a"), {"a": {"0": 1}}, {"a": {"0": 1}}),
    (unwrap("a"), {"z": 1}, {"z": 1}),
    (unwrap("n.a"), {"n": {"a": [1], "z": 2}, "y": 3}, {"n": {"a": 1, "z": 2}, "y": 3}),
    (unwrap("n.a"), {"n": {}}, {"n": {}}),
    (unwrap("n.a"), {"n.a": [1]}, {"n.a": [1]}),
    (unwrap("n.m.a"), {"n": {"m": {"a": []}}}, {"n": {"m": {"a": None}}}),
    (unwrap("n.a"), {"n": 5}, "runs through 'n'"),
    (unwrap("n.a"), {"n": None}, "runs through 'n'"),
    (unwrap("n.a"), {"n": [{"a": [1]}]}, "runs through 'n'"),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


@pytest.mark.parametrize(
    ("operation", "document", "restored"),
    [
        (unwrap("a"), {"a": [1]}, True),
        (unwrap("a"), {"a": []}, True),
        (unwrap("a"), {"z": 1}, True),
        (unwrap("a"), {"a": [{"x": [1]}]}, True),
        (unwrap("a"), {"a": [None]}, False),
        (unwrap("a"), {"a": [[1]]}, False),
        (unwrap("a"), {"a": [[]]}, False),
        (unwrap("a"), {"a": [1, 2]}, False),
        (unwrap("a"), {"a": 1}, False),
        (unwrap("a"), {"a": None}, False),
        (unwrap("n.a"), {"n": {"a": [1]}}, True),
        (unwrap("n.a"), {"n": [1]}, False),
    ],
)
def test_which_documents_the_way_back_restores(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any], restored: bool
) -> None:
    check_way_back(people, operation, document, restored)


def test_it_renders_for_a_document_in_a_variable(people: Collection[dict[str, Any]]) -> None:
    check_in_variable(people, CASES)


@pytest.mark.parametrize(("path", "reason"), WRONG_PATHS)
def test_wrong_declarations(path: Any, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        unwrap(path)


def test_what_it_says_of_itself() -> None:
    assert str(unwrap("n.a")) == "[n.a] → n.a"
    assert unwrap("n.a").effects() == Effects(computes=("n.a",))
    assert unwrap("n.a").lossless


def test_ordinary_documents_are_left_to_mongodb(people: Collection[dict[str, Any]]) -> None:
    found: list[Any] = [1, None, "text", {"x": [1]}, [1, 2], [], ObjectId("0" * 24)]
    people.insert_many([{"a": value, "n": {"a": value}} for value in found] + [{"z": 1}])
    for operation in (unwrap("a"), unwrap("n.a")):
        assert people.count_documents({"$expr": operation.safe("$$ROOT")}) == 8
        assert people.count_documents({"$expr": operation.restores("$$ROOT")}) == 2


operations = st.sampled_from([unwrap(path) for path in ("a", "a.b", "a.b.c", "b")])


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=operations, document=targeted | targeted | documents)
def test_mongodb_does_the_same_where_it_is_used_and_the_way_back_restores_where_it_says(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any]
) -> None:
    lifecycle(people, operation, document)


class RemovesWhatWasEmpty(Unwrap):
    """A mutant: an empty list leaves no value at all."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        empty = {"$eq": [f"${self.path}", []]}
        return {"$cond": [empty, drop_(document, split_path(self.path)), super().expression(document)]}


class TakesTheLast(Unwrap):
    """A mutant: it takes the other end of the list."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        value = f"${self.path}"
        turned = put_(document, split_path(self.path), {"$reverseArray": [value]})
        return super().expression({"$cond": [{"$isArray": [value]}, turned, document]})


class RunsThrough(RunsThroughAnything, Unwrap):
    """A mutant: it looks at no parent at all."""

    __slots__ = ()


class RestoresEveryElement(Unwrap):
    """A mutant: it says that a list of one null, or of one list, comes back."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        value = f"${self.path}"
        single = {"$cond": [{"$isArray": [value]}, {"$eq": [{"$size": value}, 1]}, False]}
        return {"$or": [super().restores(document), all_of([self.safe(document), single])]}


class RestoresWhatIsNoList(Unwrap):
    """A mutant: it says that a value comes back that was no list."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        other = {"$not": [{"$isArray": [f"${self.path}"]}]}
        return {"$or": [super().restores(document), all_of([self.safe(document), other])]}


MUTANTS = {
    RemovesWhatWasEmpty: DIFFERS,
    TakesTheLast: DIFFERS,
    RunsThrough: UNSAFE,
    RestoresEveryElement: LOST,
    RestoresWhatIsNoList: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Unwrap], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
