"""`rename`: what it means, that MongoDB does the same where it is used, and which way back restores."""

from __future__ import annotations

from typing import Any

import pytest
from bson import DBRef, Int64
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
    check_way_back,
    way_back,
)
from pymongo.collection import Collection

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation, Step
from lazymigrate.ops.rename import Rename, rename
from lazymigrate.paths import all_of, drop_, get_, missing_, passable_, put_, split_path, unpruned_

KEEP_NEW = rename("a", "b", on_conflict="keep_new")
KEEP_OLD = rename("a", "b", on_conflict="keep_old")

CASES: list[Case] = [
    (rename("a", "b"), {"a": 1, "c": 2}, {"c": 2, "b": 1}),
    (rename("a", "b"), {"a": Int64(1)}, {"b": Int64(1)}),
    (rename("a", "b"), {"a": "$c", "c": 2}, {"c": 2, "b": "$c"}),
    (rename("a", "b"), {"a": {"$x": ["$c"]}, "c": 2}, {"c": 2, "b": {"$x": ["$c"]}}),
    (rename("a", "b"), {"c": 2}, {"c": 2}),
    (rename("a", "b"), {"a": None}, {"b": None}),
    (rename("a", "b"), {"a": 1, "b": 2}, "'b' is already present beside 'a'"),
    (rename("a", "b"), {"a": 1, "b": None}, "'b' is already present beside 'a'"),
    (rename("a", "b"), {"a": None, "b": 2}, "'b' is already present beside 'a'"),
    (rename("a", "b"), {"b": 2}, {"b": 2}),
    (KEEP_NEW, {"a": 1, "b": 2}, {"b": 2}),
    (KEEP_NEW, {"a": 1, "b": None}, {"b": None}),
    (KEEP_NEW, {"a": 1, "c": 3}, {"c": 3, "b": 1}),
    (KEEP_OLD, {"a": 1, "b": 2, "c": 3}, {"b": 1, "c": 3}),
    (KEEP_OLD, {"a": None, "b": 2}, {"b": None}),
    (KEEP_OLD, {"b": 2}, {"b": 2}),
    (rename("a.x", "b", on_conflict="keep_new"), {"a": {"x": 1}, "b": 2}, {"a": {}, "b": 2}),
    (rename("a", "b.x", on_conflict="keep_old"), {"a": 1, "b": {"x": 2, "y": 3}}, {"b": {"x": 1, "y": 3}}),
    (rename("a.x", "b"), {"a": {"x": 1}}, {"a": {}, "b": 1}),
    (rename("a.x", "b"), {"a": {"x": 1, "z": 2}}, {"a": {"z": 2}, "b": 1}),
    (rename("a.x", "b"), {"a": {}}, {"a": {}}),
    (rename("a.x", "b"), {"a.x": 1}, {"a.x": 1}),
    (rename("a", "b.x.y"), {"a": 1}, {"b": {"x": {"y": 1}}}),
    (rename("a", "b.x"), {"a": 1, "b": {"z": 2}, "c": 3}, {"b": {"z": 2, "x": 1}, "c": 3}),
    (rename("a", "b.x"), {"a": 1, "b": {}}, {"b": {"x": 1}}),
    (rename("a", "b.x"), {"a": 1, "b": {"x": None}}, "'b.x' is already present beside 'a'"),
    (rename("a.x", "a.y"), {"a": {"x": 1, "z": 2}}, {"a": {"z": 2, "y": 1}}),
    (rename("a.x", "a.y.z"), {"a": {"x": 1}}, {"a": {"y": {"z": 1}}}),
    (rename("a.x", "b"), {"a": 5}, "runs through 'a'"),
    (rename("a.x", "b"), {"a": None}, "runs through 'a'"),
    (rename("a.x", "b"), {"a": [{"x": 1}]}, "runs through 'a'"),
    (rename("a.x", "b"), {"a": DBRef("c", 1, x=2)}, "runs through 'a'"),
    (rename("a", "b.x"), {"a": 1, "b": [1]}, "runs through 'b'"),
    (rename("a", "b.x"), {"a": 1, "b": None}, "runs through 'b'"),
    (rename("a", "b.x.y"), {"a": 1, "b": {"x": 5}}, "runs through 'x'"),
    (rename("a", "b.x"), {"b": 5}, {"b": 5}),
    (way_back(rename("a", "b.x")), {"b": {"x": 1, "z": 2}}, {"b": {"z": 2}, "a": 1}),
    (way_back(rename("a", "b.x")), {"b": {}}, {"b": {}}),
    (way_back(rename("a", "b.x")), {"b": {"x": 1}, "a": 2}, "'a' is already present beside 'b.x'"),
]
# The way back removes the parents that it empties, and leaves that to Python.
LEFT_TO_PYTHON: list[Case] = [
    (way_back(rename("a", "b.x")), {"b": {"x": 1}, "c": 2}, {"c": 2, "a": 1}),
    (way_back(rename("a", "b.x.y")), {"b": {"x": {"y": 1}}}, {"a": 1}),
    (way_back(rename("a", "b.x.y")), {"b": {"x": {"y": 1}, "z": 2}}, {"b": {"z": 2}, "a": 1}),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


@pytest.mark.parametrize("case", LEFT_TO_PYTHON)
def test_where_parents_are_emptied_on_the_way_back_it_is_left_to_python(
    people: Collection[dict[str, Any]], case: Case
) -> None:
    check(people, *case, only_python=True)


@pytest.mark.parametrize(
    ("operation", "document", "restored"),
    [
        (rename("a", "b"), {"a": 1, "c": 2}, True),
        (rename("a", "b"), {"a": None}, True),
        (rename("a", "b"), {"c": 2}, True),
        (rename("a", "b"), {"b": 1}, False),  # the way back would move what was there before
        (rename("a", "b"), {"a": 1, "b": 2}, False),
        (KEEP_NEW, {"a": 1, "b": 2}, False),
        (KEEP_OLD, {"a": 1, "b": 2}, False),
        (KEEP_OLD, {"a": 1}, True),
        (rename("a.x", "b"), {"a": {"x": 1}}, True),
        (rename("a.x", "b"), {"a": {}}, True),
        (rename("a", "b.x.y"), {"a": 1}, True),
        (rename("a", "b.x.y"), {"a": 1, "b": {"z": 2}}, True),
        (rename("a", "b.x.y"), {"a": 1, "b": {}}, False),  # the way back would take the empty parent for its own
        (rename("a", "b.x.y"), {"a": 1, "b": {"x": {}}}, False),
        (rename("a", "b.x"), {"b": 5}, False),
    ],
)
def test_which_documents_the_way_back_restores(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any], restored: bool
) -> None:
    check_way_back(people, operation, document, restored)


def test_the_way_back_removes_the_parents_it_made_and_no_others() -> None:
    operation = rename("x", "a.b.c")
    for before in ({"x": 1}, {"x": 1, "a": {"z": 1}}):
        assert applied(way_back(operation), applied(operation, before)) == before


def test_it_renders_for_a_document_in_a_variable(people: Collection[dict[str, Any]]) -> None:
    check_in_variable(people, CASES)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("", "b"), "non-empty string of dotted names"),
        (("a", 5), "non-empty string of dotted names"),
        (("a", "$b"), "cannot be addressed"),
        (("a.0", "b"), "array index"),
        (("a", "a"), "one path is inside the other"),
        (("a", "a.b"), "one path is inside the other"),
        (("a.b", "a"), "one path is inside the other"),
        (("a", "b", "keep"), "on_conflict is 'keep'"),
    ],
)
def test_wrong_declarations(arguments: tuple[Any, ...], reason: str) -> None:
    old, new, *on_conflict = arguments
    with pytest.raises(SchemaError, match=reason):
        rename(old, new, on_conflict=on_conflict[0] if on_conflict else "error")


def test_what_it_says_of_itself() -> None:
    operation = rename("a", "b.c")
    assert str(operation) == "a → b.c"
    assert operation.effects() == Effects(reads=("a",), sets=("b.c",), removes=("a",))
    assert operation.lossless
    assert str(way_back(operation)) == "b.c → a"


class NullIsMissing(Rename):
    """A mutant: null is not moved."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        null = {"$eq": [get_(document, split_path(self.old)), None]}
        return {"$cond": [null, document, super().expression(document)]}


class DropsTheParent(Rename):
    """A mutant: what is taken away has one name too few."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        old = split_path(self.old)
        without = drop_(super().expression(document), old[:-1] or old)
        return {"$cond": [missing_(document, old), document, without]}


class OneStepShort(Rename):
    """A mutant: it looks at one parent of the target too few."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return all_of([passable_(document, split_path(self.old)), passable_(document, split_path(self.new)[:-1])])


class OverwritesTheTarget(Rename):
    """A mutant: it is used where the target is present."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return all_of(passable_(document, split_path(path)) for path in (self.old, self.new))


class KeepsTheOther(Rename):
    """A mutant: of two values it keeps the wrong one."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        other = {"keep_new": "keep_old", "keep_old": "keep_new", "error": "error"}
        return Rename(self.old, self.new, other[self.on_conflict]).expression(document)  # type: ignore[arg-type]


class SetsWhatIsAbsent(Rename):
    """A mutant: an absent value becomes null, as it would with `$ifNull`."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        old, new = split_path(self.old), split_path(self.new)
        absent = all_of([missing_(document, old), passable_(document, new)])
        return {"$cond": [absent, put_(document, new, {"$literal": None}), super().expression(document)]}


class Prunes(Rename):
    """A mutant: it takes emptied parents along."""

    __slots__ = ()

    def compile(self) -> Step:
        return Rename(self.old, self.new, self.on_conflict, prunes=True).compile()


class LeavesEmptyParents(Rename):
    """A mutant: the way back leaves the parents that were made."""

    __slots__ = ()

    def reverse(self) -> Operation:
        return Rename(self.new, self.old, self.on_conflict)


class RestoresWhatWasThere(Rename):
    """A mutant: it says that a document comes back in which the target was present."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        return all_of([self.safe(document), unpruned_(document, split_path(self.new))])


class RestoresEmptyParents(Rename):
    """A mutant: it says that an empty parent of the target comes back."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        return all_of([self.safe(document), missing_(document, split_path(self.new))])


class Never(NeverInMongoDB, Rename):
    """A mutant: MongoDB is never asked."""

    __slots__ = ()


class EmptiesInMongoDB(Rename):
    """A mutant: it is used where the way back empties a parent."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return Rename(self.old, self.new, self.on_conflict).safe(document)


MUTANTS = {
    NullIsMissing: DIFFERS,
    DropsTheParent: DIFFERS,
    OneStepShort: UNSAFE,
    OverwritesTheTarget: UNSAFE,
    KeepsTheOther: DIFFERS,
    SetsWhatIsAbsent: DIFFERS,
    Prunes: DIFFERS,
    LeavesEmptyParents: LOST,
    RestoresWhatWasThere: LOST,
    RestoresEmptyParents: LOST,
    Never: NARROW,
    EmptiesInMongoDB: DIFFERS,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Rename], failure: str) -> None:
    assert failure in caught(people, mutant, CASES, LEFT_TO_PYTHON)
