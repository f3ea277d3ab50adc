"""`remove`: what it means, that MongoDB does the same where it is used, and that it is never lossless."""

from __future__ import annotations

from typing import Any

import pytest
from bson import DBRef
from lifecycle import (
    DIFFERS,
    LOST,
    NARROW,
    UNSAFE,
    Case,
    NeverInMongoDB,
    applied,
    caught,
    check,
    check_in_variable,
    lifecycle,
    way_back,
)
from pymongo.collection import Collection

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Step
from lazymigrate.ops.add import add
from lazymigrate.ops.remove import Remove, remove
from lazymigrate.paths import drop_, get_, missing_, passable_, split_path

# The way back of add, which removes emptied parents too.
PRUNING = way_back(add("a.b.c", 1))

CASES: list[Case] = [
    (remove("a"), {"a": 1, "b": 2}, {"b": 2}),
    (remove("a"), {"b": 2}, {"b": 2}),
    (remove("a"), {"b": 2, "a": None, "c": 3}, {"b": 2, "c": 3}),
    (remove("a"), {"a": {"b": [1]}}, {}),
    (remove("a"), {"a.b": 1, "a": 2}, {"a.b": 1}),
    (remove("a", restore=7), {"a": 1}, {}),
    (remove("a", restore=7), {"b": 2}, {"b": 2}),
    (remove("a.b"), {"a": {"b": 1}}, {"a": {}}),
    (remove("a.b"), {"a": {"x": 1, "b": None, "y": 2}, "z": 3}, {"a": {"x": 1, "y": 2}, "z": 3}),
    (remove("a.b"), {"a": {"x": 1}}, {"a": {"x": 1}}),
    (remove("a.b"), {"a.b": 1}, {"a.b": 1}),
    (remove("a.b"), {}, {}),
    (remove("a.b.c"), {"a": {"b": {"c": 1}, "x": 2}}, {"a": {"b": {}, "x": 2}}),
    (remove("a.b.c"), {"a": {"x": 2}}, {"a": {"x": 2}}),
    (remove("a.b"), {"a": "text"}, "runs through 'a'"),
    (remove("a.b"), {"a": None}, "runs through 'a'"),
    (remove("a.b"), {"a": [{"b": 1}]}, "runs through 'a'"),
    (remove("a.b"), {"a": DBRef("c", 1, b=2)}, "runs through 'a'"),
    (remove("a.b.c"), {"a": {"b": 5}}, "runs through 'b'"),
    (PRUNING, {"a": {"b": {"c": 1, "x": 2}}}, {"a": {"b": {"x": 2}}}),
    (PRUNING, {"a": {"b": 5}}, "runs through 'b'"),
]
# Where it may empty a parent that it is to remove then, MongoDB leaves it to Python.
LEFT_TO_PYTHON: list[Case] = [
    (PRUNING, {"a": {"b": {"c": 1}}}, {}),
    (PRUNING, {"a": {"b": {"c": 1}, "x": 2}}, {"a": {"x": 2}}),
    (PRUNING, {"a": {"b": {}}}, {"a": {"b": {}}}),
    (PRUNING, {"x": 2}, {"x": 2}),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


@pytest.mark.parametrize("case", LEFT_TO_PYTHON)
def test_where_parents_may_be_emptied_on_a_way_back_it_is_left_to_python(
    people: Collection[dict[str, Any]], case: Case
) -> None:
    check(people, *case, only_python=True)


def test_the_way_back_sets_a_constant_where_one_is_given(people: Collection[dict[str, Any]]) -> None:
    assert remove("a").reverse() is None
    value: dict[str, Any] = {"list": [1]}
    back = way_back(remove("a.b", restore=value))
    value["list"].append(2)
    assert back == add("a.b", {"list": [1]})
    assert applied(back, {}) == {"a": {"b": {"list": [1]}}}
    assert applied(way_back(remove("a", restore=None)), {}) == {"a": None}
    lifecycle(people, back, {"x": 1})


def test_it_is_never_lossless() -> None:
    for operation in (remove("a"), remove("a", restore=7)):
        assert not operation.lossless
        assert operation.restores("$$ROOT") is False


def test_it_renders_for_a_document_in_a_variable(people: Collection[dict[str, Any]]) -> None:
    check_in_variable(people, CASES)


@pytest.mark.parametrize(
    ("path", "restore", "reason"),
    [
        ("", 1, "non-empty string of dotted names"),
        (None, 1, "non-empty string of dotted names"),
        ("a.$b", 1, "cannot be addressed"),
        ("a.0", 1, "array index"),
        ("a", object(), "cannot be stored as BSON"),
    ],
)
def test_wrong_declarations(path: Any, restore: Any, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        remove(path, restore=restore)


def test_what_it_says_of_itself() -> None:
    assert str(remove("y")) == "- y"
    assert remove("a.b").effects() == Effects(removes=("a.b",))


class NullIsMissing(Remove):
    """A mutant: null stays."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        null = {"$eq": [get_(document, split_path(self.path)), None]}
        return {"$cond": [null, document, super().expression(document)]}


class DropsTheParent(Remove):
    """A mutant: what it drops has one name too few."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        return drop_(document, parts[:-1] or parts)


class OneStepShort(Remove):
    """A mutant: it looks at one parent too few."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return super().safe(document) if self.prunes else passable_(document, split_path(self.path)[:-1])


class Prunes(Remove):
    """A mutant: it takes emptied parents along."""

    __slots__ = ()

    def compile(self) -> Step:
        return Remove(self.path, self.restore, prunes=True).compile()


class EmptiesInMongoDB(Remove):
    """A mutant: it is used where the way back of another operation empties a parent."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return passable_(document, split_path(self.path))


class Never(NeverInMongoDB, Remove):
    """A mutant: MongoDB is never asked."""

    __slots__ = ()


class RestoresTheConstant(Remove):
    """A mutant: it says that what was removed is what is set again."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        return self.restore is not ...


class RestoresWhatIsAbsent(Remove):
    """A mutant: it says that a document comes back in which there was nothing to remove."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        return self.restore is not ... and missing_(document, split_path(self.path))


MUTANTS = {
    NullIsMissing: DIFFERS,
    DropsTheParent: DIFFERS,
    OneStepShort: UNSAFE,
    Prunes: DIFFERS,
    EmptiesInMongoDB: DIFFERS,
    Never: NARROW,
    RestoresTheConstant: LOST,
    RestoresWhatIsAbsent: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Remove], failure: str) -> None:
    assert failure in caught(people, mutant, CASES, LEFT_TO_PYTHON)
