"""`nest`: what it means, that MongoDB does the same wherever it is used, and that the way back restores."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle import DIFFERS, LOST, UNSAFE, Case, admitted, applied, caught, check, lifecycle
from pymongo.collection import Collection
from strategies import scalars

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, Operation
from lazymigrate.ops.nest import Nest, nest
from lazymigrate.paths import all_of, get_, is_document_, missing_, passable_, put_, split_path

plain = nest(["a", "b"], "n")
deep = nest(["a.x", "b"], "c.n")
beside = nest(["a.x", "a.y"], "a.n")

CASES: list[Case] = [
    (plain, {"a": 1, "k": 0, "b": 2}, {"k": 0, "n": {"a": 1, "b": 2}}),
    (plain, {"b": 2, "a": None}, {"n": {"a": None, "b": 2}}),
    (plain, {"b": 2}, {"n": {"b": 2}}),
    (plain, {"k": 0}, {"k": 0}),
    (plain, {"k": 0, "n": 5}, {"k": 0, "n": 5}),
    (plain, {"n": {}}, {"n": {}}),
    (plain, {"n": {"z": 1}, "a": 1}, {"n": {"z": 1, "a": 1}}),
    (plain, {"n": {}, "a": 1}, {"n": {"a": 1}}),
    (plain, {"n": {"a": 0}, "b": 1}, {"n": {"a": 0, "b": 1}}),
    (plain, {"n": {"a": 0}, "a": 1}, "the target 'n.a' is already present beside 'a'"),
    (plain, {"n": {"a": None}, "a": 1}, "the target 'n.a' is already present"),
    (plain, {"n": None, "a": 1}, "the target 'n' is already present, and is not a document"),
    (plain, {"n": [{}], "a": 1}, "the target 'n' is already present, and is not a document"),
    (plain, {"n": 5, "b": 1}, "the target 'n' is already present, and is not a document"),
    (plain, {"a": {"x": "$b"}, "b": ["$$ROOT"]}, {"n": {"a": {"x": "$b"}, "b": ["$$ROOT"]}}),
    (deep, {"a": {"x": 1}, "b": 2}, {"a": {}, "c": {"n": {"x": 1, "b": 2}}}),
    (deep, {"a": {"x": 1, "y": 2}, "c": {"z": 3}}, {"a": {"y": 2}, "c": {"z": 3, "n": {"x": 1}}}),
    (deep, {"a": {"y": 2}, "c": {}}, {"a": {"y": 2}, "c": {}}),
    (deep, {"a": {"x": 1}, "c": {}}, {"a": {}, "c": {"n": {"x": 1}}}),
    (deep, {"a": 5, "b": 1}, "the path 'a.x' runs through 'a'"),
    (deep, {"a": [{"x": 1}]}, "the path 'a.x' runs through 'a'"),
    (deep, {"a": None}, "the path 'a.x' runs through 'a'"),
    (deep, {"b": 1, "c": None}, "the path 'c.n' runs through 'c'"),
    (deep, {"c": 7}, {"c": 7}),
    (beside, {"a": {"x": 1, "y": 2}}, {"a": {"n": {"x": 1, "y": 2}}}),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


def test_ordinary_documents_are_admitted_and_restored(people: Collection[dict[str, Any]]) -> None:
    documents = [
        {"street": "High", "city": "Ely"},
        {"name": "Ada", "street": "High", "city": None},
        {"name": "Ada"},
        {"name": "Ada", "city": "Ely", "home": {"zip": "CB7"}},
    ]
    count = admitted(people, nest(["street", "city"], "home"), documents)
    assert (count.safe, count.restored) == (4, 4)


def test_the_way_back_puts_each_field_where_it_was_and_removes_the_parents_that_were_made() -> None:
    for document in ({"a": {"x": 1}, "b": 2}, {"a": {"x": 1, "y": 2}, "c": {"z": 3}}, {"b": 1}, {"k": 1}):
        back = deep.reverse()
        assert back is not None
        assert applied(back, applied(deep, document)) == document


def test_the_way_back_runs_inside_mongodb_where_parents_are_emptied(people: Collection[dict[str, Any]]) -> None:
    back = nest(["x", "y"], "a.b.n").reverse()
    assert back is not None
    documents = [{"a": {"b": {"n": {"x": 1}}}}, {"a": {"b": {"n": {"x": 1, "y": 2}}, "z": 1}}, {"a": {"b": {}}}]
    assert admitted(people, back, documents).safe == 3
    assert applied(back, documents[0]) == {"x": 1}


def test_many_fields_are_gathered(people: Collection[dict[str, Any]]) -> None:
    names = [f"f{index}" for index in range(150)]
    operation = nest(names, "all")
    document = {name: index for index, name in enumerate(names)}
    count = admitted(people, operation, [document])
    assert (count.safe, count.restored) == (1, 1)
    back = operation.reverse()
    assert back is not None
    assert admitted(people, back, [applied(operation, document)]).safe == 1


@pytest.mark.parametrize(
    ("paths", "under", "expected"),
    [
        ([], "n", "names no fields"),
        ("ab", "n", "a list of paths"),
        (5, "n", "a list of paths"),
        (["a"], "", "non-empty string"),
        (["a", ""], "n", "non-empty string"),
        (["a", 5], "n", "non-empty string"),
        (["a.x", "b.x"], "n", "have the same last name"),
        (["a", "a"], "n", "have the same last name"),
        (["a", "a.x"], "n", "inside one another"),
        (["n"], "n", "the same, or inside one another"),
        (["n.x"], "n", "the same, or inside one another"),
        (["a"], "a.n", "the same, or inside one another"),
    ],
)
def test_wrong_declarations_say_what_to_do(paths: Any, under: Any, expected: str) -> None:
    with pytest.raises(SchemaError, match=expected):
        nest(paths, under)


def test_description_and_effects() -> None:
    assert str(deep) == "a.x, b → c.n {}"
    assert deep.effects().sets == ("c.n.x", "c.n.b")
    assert deep.effects().removes == ("a.x", "b")
    assert deep.lossless


inner = st.dictionaries(st.sampled_from(["a", "b", "n", "x", "y", "z"]), scalars, max_size=4)
hitting = st.dictionaries(
    st.sampled_from(["a", "b", "c", "n", "x"]),
    inner | st.fixed_dictionaries({"n": inner}) | inner | scalars,
    max_size=5,
)
forward = st.sampled_from([plain, deep, beside, nest(["a.x", "b.y"], "n.n"), nest(["b"], "a.n"), nest(["x"], "c.n.z")])
operations = forward | forward.map(lambda operation: operation.reverse() or operation)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=operations, document=hitting)
def test_mongodb_does_the_same_where_it_is_used_and_the_way_back_restores(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any]
) -> None:
    lifecycle(people, operation, document)


class Overwriting(Nest):
    """A mutant: it takes a name that is already in the subdocument for a free one."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        sources = [passable_(document, split_path(path)) for path in self.paths]
        there = is_document_(document, split_path(self.under))
        return {"$or": [super().safe(document), all_of([*sources, there])]}


class NullIsMissing(Nest):
    """A mutant: where the first field is null, nothing is gathered."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        null = {"$eq": [get_(document, split_path(self.paths[0])), None]}
        return {"$cond": [null, document, super().expression(document)]}


class OneStepShort(Nest):
    """A mutant: it looks at no parent of the sources."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return {"$or": [super().safe(document), all_of(missing_(document, split_path(path)) for path in self.paths)]}


class MakesAnEmptyOne(Nest):
    """A mutant: it makes the subdocument where there is nothing to gather."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        under = split_path(self.under)
        made = put_(document, under, {"$literal": {}})
        absent = all_of([passable_(document, under), missing_(document, under)])
        none = all_of([*(missing_(document, split_path(path)) for path in self.paths), absent])
        return {"$cond": [none, made, super().expression(document)]}


class RestoresAnEmptyOne(Nest):
    """A mutant: it says that an empty subdocument stays on the way back."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        empty = {"$eq": [get_(document, split_path(self.under)), {"$literal": {}}]}
        return {"$or": [super().restores(document), all_of([self.safe(document), empty])]}


MUTANTS = {
    Overwriting: UNSAFE,
    NullIsMissing: DIFFERS,
    OneStepShort: UNSAFE,
    MakesAnEmptyOne: DIFFERS,
    RestoresAnEmptyOne: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Nest], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
