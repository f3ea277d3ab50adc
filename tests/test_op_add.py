"""`add`: what it means, that MongoDB does the same where it is used, and which way back restores."""

from __future__ import annotations

from typing import Any

import pytest
from bson import DBRef, Decimal128, Int64
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
from lazymigrate.operation import Effects, Expression, Operation
from lazymigrate.ops.add import Add, add
from lazymigrate.ops.remove import Remove
from lazymigrate.paths import all_of, get_, missing_, passable_, put_, split_path, unpruned_

CASES: list[Case] = [
    (add("a", 1), {"b": 2}, {"b": 2, "a": 1}),
    (add("a", 1), {}, {"a": 1}),
    (add("a", 1), {"a": None}, {"a": None}),
    (add("a", 1), {"a": 2, "b": 3}, {"a": 2, "b": 3}),
    (add("a", 1), {"a": False}, {"a": False}),
    (add("a", None), {"b": 2}, {"b": 2, "a": None}),
    (add("a", Int64(1)), {}, {"a": Int64(1)}),
    (add("a", Decimal128("1.10")), {}, {"a": Decimal128("1.10")}),
    (add("a", float("nan")), {}, {"a": float("nan")}),
    (add("a", "$b"), {"b": 2}, {"b": 2, "a": "$b"}),
    (add("a", {"$x": ["$b", {"$literal": 1}], "y.z": 2}), {}, {"a": {"$x": ["$b", {"$literal": 1}], "y.z": 2}}),
    (add("a.b.c", 1), {}, {"a": {"b": {"c": 1}}}),
    (add("a.b.c", 1), {"a": {"z": 1}}, {"a": {"z": 1, "b": {"c": 1}}}),
    (add("a.b.c", 1), {"a": {"b": {}}, "z": 2}, {"a": {"b": {"c": 1}}, "z": 2}),
    (add("a.b.c", 1), {"a": {"b": {"c": None}}}, {"a": {"b": {"c": None}}}),
    (add("a.b", 1), {"a.b": 2}, {"a.b": 2, "a": {"b": 1}}),
    (add("a.b", 1), {"a": 5}, "runs through 'a'"),
    (add("a.b", 1), {"a": None}, "runs through 'a'"),
    (add("a.b", 1), {"a": [{}]}, "runs through 'a'"),
    (add("a.b", 1), {"a": DBRef("c", 1)}, "runs through 'a'"),
    (add("a.b.c", 1), {"a": {"b": "text"}}, "runs through 'b'"),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


@pytest.mark.parametrize(
    ("operation", "document", "restored"),
    [
        (add("a", 1), {}, True),
        (add("a", 1), {"b": 2}, True),
        (add("a", 1), {"a": 1}, False),  # the way back would remove what was there before
        (add("a", 1), {"a": None}, False),
        (add("a.b.c", 1), {"z": 1}, True),
        (add("a.b.c", 1), {"a": {"z": 1}}, True),
        (add("a.b.c", 1), {"a": {}}, False),  # the way back would take the empty parent for its own
        (add("a.b.c", 1), {"a": {"b": {}, "z": 1}}, False),
        (add("a.b", 1), {"a": 5}, False),
    ],
)
def test_which_documents_the_way_back_restores(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any], restored: bool
) -> None:
    check_way_back(people, operation, document, restored)


def test_the_way_back_removes_the_parents_it_made_and_no_others() -> None:
    operation = add("a.b.c", 1)
    for before in ({"x": 1}, {"x": 1, "a": {"z": 1}}):
        assert applied(way_back(operation), applied(operation, before)) == before


def test_a_constant_is_never_shared_between_documents() -> None:
    value: dict[str, Any] = {"list": [1]}
    operation = add("a", value)
    value["list"].append(2)
    first, second = applied(operation, {}), applied(operation, {})
    first["a"]["list"].append(3)
    assert second == {"a": {"list": [1]}}


def test_it_renders_for_a_document_in_a_variable(people: Collection[dict[str, Any]]) -> None:
    check_in_variable(people, CASES)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("", 1, "non-empty string of dotted names"),
        (5, 1, "non-empty string of dotted names"),
        ("$a", 1, "cannot be addressed"),
        ("a.0", 1, "array index"),
        ("a", object(), "cannot be stored as BSON"),
        ("a", 2**63, "cannot be stored as BSON"),
    ],
)
def test_wrong_declarations(path: Any, value: Any, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        add(path, value)


def test_what_it_says_of_itself() -> None:
    assert str(add("x", 1)) == "+ x"
    assert add("a.b", 1).effects() == Effects(sets=("a.b",))
    assert add("a.b", 1).lossless


class NullIsMissing(Add):
    """A mutant: null is replaced, as it would be with `$ifNull`."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        return put_(document, parts, {"$ifNull": [get_(document, parts), {"$literal": self.value}]})


class Overwrites(Add):
    """A mutant: the constant is set in every document."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        return put_(document, split_path(self.path), {"$literal": self.value})


class EvaluatesTheConstant(Add):
    """A mutant: a constant that looks like an expression is taken for one."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        constant = self.value if isinstance(self.value, str) else {"$literal": self.value}
        parts = split_path(self.path)
        return {"$cond": [missing_(document, parts), put_(document, parts, constant), document]}


class LooksAtTheParent(Add):
    """A mutant: it tests one name of the path too few for absence."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        absent = missing_(document, parts[:-1] or parts)
        return {"$cond": [absent, super().expression(document), document]}


class OneStepShort(Add):
    """A mutant: it looks at one parent too few."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return passable_(document, split_path(self.path)[:-1])


class Never(NeverInMongoDB, Add):
    """A mutant: MongoDB is never asked."""

    __slots__ = ()


class LeavesEmptyParents(Add):
    """A mutant: the way back leaves the parents that were made."""

    __slots__ = ()

    def reverse(self) -> Operation:
        return Remove(self.path)


class RestoresWhatWasThere(Add):
    """A mutant: it says that a document comes back in which the path was present."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        return all_of([self.safe(document), unpruned_(document, split_path(self.path))])


class RestoresEmptyParents(Add):
    """A mutant: it says that an empty parent comes back."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        return all_of([self.safe(document), missing_(document, split_path(self.path))])


MUTANTS = {
    NullIsMissing: DIFFERS,
    Overwrites: DIFFERS,
    EvaluatesTheConstant: DIFFERS,
    LooksAtTheParent: DIFFERS,
    OneStepShort: UNSAFE,
    Never: NARROW,
    LeavesEmptyParents: LOST,
    RestoresWhatWasThere: LOST,
    RestoresEmptyParents: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Add], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
