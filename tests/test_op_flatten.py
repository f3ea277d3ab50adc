"""`flatten`: what it means, that MongoDB does the same wherever it is used, and that the way back restores."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle import (
    DIFFERS,
    LOST,
    UNSAFE,
    Case,
    RunsThroughAnything,
    admitted,
    caught,
    check,
    lifecycle,
)
from pymongo.collection import Collection
from strategies import scalars

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, Operation, Step
from lazymigrate.ops.flatten import Flatten, flatten
from lazymigrate.paths import get_, is_document_, missing_, split_path

plain = flatten("n", fields=["a", "b"])
deep = flatten("c.n", fields=["a", "b"])

CASES: list[Case] = [
    (plain, {"n": {"b": 2, "a": 1}, "k": 0}, {"k": 0, "a": 1, "b": 2}),
    (plain, {"n": {"a": None}}, {"a": None}),
    (plain, {"n": {"a": 1, "z": 3}, "k": 0}, {"n": {"z": 3}, "k": 0, "a": 1}),
    (plain, {"n": {"z": 3}}, {"n": {"z": 3}}),
    (plain, {"n": {}}, {}),
    (plain, {"k": 0, "a": 1}, {"k": 0, "a": 1}),
    (plain, {"n": {"a": 1}, "b": 2}, {"b": 2, "a": 1}),
    (plain, {"n": {"a": 1}, "a": 2}, "the target 'a' is already present beside 'n.a'"),
    (plain, {"n": {"a": 1}, "a": None}, "the target 'a' is already present"),
    (plain, {"n": None}, "'n' is not a document"),
    (plain, {"n": 5}, "'n' is not a document"),
    (plain, {"n": [{"a": 1}]}, "'n' is not a document"),
    (plain, {"n": {"a": "$b", "b": {"$x": 1}}}, {"a": "$b", "b": {"$x": 1}}),
    (deep, {"c": {"n": {"a": 1}}}, {"c": {"a": 1}}),
    (deep, {"c": {"n": {}}}, {"c": {}}),
    (deep, {"c": {"n": {"b": 1, "z": 2}, "a": 3}}, {"c": {"n": {"z": 2}, "a": 3, "b": 1}}),
    (deep, {"c": {}}, {"c": {}}),
    (deep, {}, {}),
    (deep, {"c": 5}, "the path 'c.n' runs through 'c'"),
    (deep, {"c": None}, "the path 'c.n' runs through 'c'"),
    (deep, {"c": [{"n": {"a": 1}}]}, "the path 'c.n' runs through 'c'"),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


def test_ordinary_documents_are_admitted_and_restored(people: Collection[dict[str, Any]]) -> None:
    documents = [
        {"home": {"street": "High", "city": "Ely"}},
        {"name": "Ada", "home": {"street": "High", "zip": "CB7"}},
        {"name": "Ada"},
        {"home": {"city": None}},
    ]
    count = admitted(people, flatten("home", ["street", "city"]), documents)
    assert (count.safe, count.restored) == (4, 4)


def test_an_empty_subdocument_is_dropped_and_not_restored(people: Collection[dict[str, Any]]) -> None:
    count = admitted(people, plain, [{"n": {}}])
    assert (count.safe, count.restored) == (1, 0)


@pytest.mark.parametrize(
    ("path", "fields", "expected"),
    [
        ("n", [], "names no fields"),
        ("n", "ab", "a list of paths"),
        ("", ["a"], "non-empty string"),
        ("n", [""], "non-empty string"),
        ("n", ["a", "a"], "have the same last name"),
        ("n", ["a.b"], "is not a name but a path"),
        ("c.n", ["n"], "the name of the subdocument itself"),
        ("n", ["$a"], "cannot be addressed"),
    ],
)
def test_wrong_declarations_say_what_to_do(path: Any, fields: Any, expected: str) -> None:
    with pytest.raises(SchemaError, match=expected):
        flatten(path, fields)


def test_description_effects_and_reverse() -> None:
    assert str(deep) == "c.n {} → c.a, c.b"
    assert deep.effects().sets == ("c.a", "c.b")
    back = deep.reverse()
    assert back is not None
    assert str(back) == "c.a, c.b → c.n {}"


inner = st.dictionaries(st.sampled_from(["a", "b", "n", "z"]), scalars, max_size=4)
hitting = st.dictionaries(
    st.sampled_from(["a", "b", "c", "n"]), inner | st.fixed_dictionaries({"n": inner}) | inner | scalars, max_size=4
)
forward = st.sampled_from([plain, deep, flatten("n", ["a"]), flatten("c.n", ["z"]), flatten("c", ["n", "b"])])
placed = st.sampled_from([Flatten("c.n", ("a.x", "b"), prunes=True), Flatten("n", ("c.a", "a.b.z"), prunes=True)])
operations = forward | placed | forward.map(lambda operation: operation.reverse() or operation)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=operations, document=hitting)
def test_mongodb_does_the_same_where_it_is_used_and_the_way_back_restores(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any]
) -> None:
    lifecycle(people, operation, document)


class Keeping(Flatten):
    """A mutant: it leaves an emptied subdocument."""

    __slots__ = ()

    def compile(self) -> Step:
        step, path = super().compile(), self.path

        def spread(document: dict[str, Any]) -> None:
            there = path in document
            step(document)
            if there:
                document.setdefault(path, {})

        return spread


class NullIsMissing(Flatten):
    """A mutant: it takes null for a subdocument that is absent."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return {"$or": [super().safe(document), {"$eq": [get_(document, split_path(self.path)), None]}]}


class OverwritesTheTarget(Flatten):
    """A mutant: it is used where a target is present."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return {"$or": [super().safe(document), is_document_(document, split_path(self.path))]}


class RunsThrough(RunsThroughAnything, Flatten):
    """A mutant: it looks at no parent of the subdocument."""

    __slots__ = ()


class RestoresAnEmptyOne(Flatten):
    """A mutant: it says that an empty subdocument comes back."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        empty = {"$eq": [get_(document, split_path(self.path)), {"$literal": {}}]}
        return {"$or": [super().restores(document), empty]}


class RestoresWhatWasBeside(Flatten):
    """A mutant: it says that a document comes back in which a target was present."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        return {"$or": [super().restores(document), missing_(document, split_path(self.path))]}


MUTANTS = {
    Keeping: DIFFERS,
    NullIsMissing: UNSAFE,
    OverwritesTheTarget: UNSAFE,
    RunsThrough: UNSAFE,
    RestoresAnEmptyOne: LOST,
    RestoresWhatWasBeside: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Flatten], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
