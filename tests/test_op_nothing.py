"""`nothing`: the empty operation, in Python, inside MongoDB and backwards."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Int64
from hypothesis import HealthCheck, given, settings
from lifecycle import DIFFERS, LOST, NARROW, Case, NeverInMongoDB, admitted, caught, check, check_in_variable
from pymongo.collection import Collection
from strategies import documents

from lazymigrate.operation import Effects, Expression, Operation, Step
from lazymigrate.ops.add import add
from lazymigrate.ops.nothing import Nothing, nothing

CASES: list[Case] = [
    (nothing(), {"a": 1}, {"a": 1}),
    (nothing(), {}, {}),
    (nothing(), {"b": None, "a": {"x": None}}, {"b": None, "a": {"x": None}}),
    (nothing(), {"a": Int64(1), "b": "$a", "$c": [{}]}, {"a": Int64(1), "b": "$a", "$c": [{}]}),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=documents)
def test_every_document_is_left_as_it_is_and_restored(
    people: Collection[dict[str, Any]], document: dict[str, Any]
) -> None:
    count = admitted(people, nothing(), [document])
    assert (count.safe, count.restored) == (1, 1)


def test_it_renders_for_a_document_in_a_variable(people: Collection[dict[str, Any]]) -> None:
    check_in_variable(people, CASES)


def test_what_it_says_of_itself() -> None:
    assert str(nothing()) == "nothing"
    assert nothing().empty
    assert nothing().effects() == Effects()
    assert nothing().reverse() == nothing()
    assert nothing().lossless


class DropsNulls(Nothing):
    """A mutant: null is taken for missing."""

    __slots__ = ()

    def compile(self) -> Step:
        def drop_nulls(document: dict[str, Any]) -> None:
            for name in [name for name, value in document.items() if value is None]:
                del document[name]

        return drop_nulls


class MakesAnew(Nothing):
    """A mutant: inside MongoDB one field is set, to what it is or to null."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        kept = {"$ifNull": [{"$getField": {"field": "a", "input": document}}, None]}
        return {"$setField": {"field": "a", "input": document, "value": kept}}


class Never(NeverInMongoDB, Nothing):
    """A mutant: MongoDB is never asked."""

    __slots__ = ()


class GoesBackWithSomething(Nothing):
    """A mutant: it undoes what it has not done."""

    __slots__ = ()

    def reverse(self) -> Operation:
        return add("undone", 1)


MUTANTS = {DropsNulls: DIFFERS, MakesAnew: DIFFERS, Never: NARROW, GoesBackWithSomething: LOST}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Nothing], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
