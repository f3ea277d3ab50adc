"""`within`: what it means, that MongoDB does the same wherever it is used, and that the way back restores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle import (
    DIFFERS,
    LOST,
    UNSAFE,
    Case,
    FillsNull,
    RestoresWhatIsSafe,
    RunsThroughAnything,
    admitted,
    applied,
    caught,
    check,
    lifecycle,
)
from pymongo.collection import Collection
from strategies import scalars

from lazymigrate import ops
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, Operation, OperationError
from lazymigrate.ops.each import each
from lazymigrate.ops.within import Within, within
from lazymigrate.sequence import OperationSequence

single = within("a", ops.rename("x", "y"))
several = within("a", ops.rename("x", "y"), each("y", ops.rename("p", "q")), ops.rename("k", "x"), ops.add("z", "$x"))
deep = within("a.b", ops.rename("x", "y"))
nested = within("a", within("b", ops.rename("x", "y")), ops.add("k", 1))

CASES: list[Case] = [
    (single, {"a": {"x": 1, "k": 2}, "b": 3}, {"a": {"k": 2, "y": 1}, "b": 3}),
    (single, {"a": {}}, {"a": {}}),
    (single, {"a": None}, {"a": None}),
    (single, {"b": 1}, {"b": 1}),
    (single, {"a": {"x": 1, "y": 2}}, "in 'a': the target 'y' is already present beside 'x'"),
    (single, {"a": 5}, "'a' is not a document"),
    (single, {"a": [{"x": 1}]}, "'a' is not a document"),
    (several, {"a": {"x": None, "k": 1}}, {"a": {"y": None, "x": 1, "z": "$x"}}),
    (several, {"a": {"x": [{"p": 1}], "z": None}}, {"a": {"z": None, "y": [{"q": 1}]}}),
    (several, {"a": {"x": 1}}, "in 'a': 'y' is not an array"),
    (several, {"a": {"y": [{"p": 1}], "k": {}}}, {"a": {"y": [{"q": 1}], "x": {}, "z": "$x"}}),
    (
        several,
        {"a": {"x": [{"p": 1, "q": 2}]}},
        "in 'a': in the element 0 of 'y': the target 'q' is already present beside 'p'",
    ),
    (deep, {"a": {"b": {"x": 1}}}, {"a": {"b": {"y": 1}}}),
    (deep, {"a": {}}, {"a": {}}),
    (deep, {"a": None}, "the path 'a.b' runs through 'a'"),
    (deep, {"a": [{"b": {"x": 1}}]}, "the path 'a.b' runs through 'a'"),
    (nested, {"a": {"b": {"x": 1}}}, {"a": {"b": {"y": 1}, "k": 1}}),
    (nested, {"a": {"b": None}}, {"a": {"b": None, "k": 1}}),
    (nested, {"a": {"b": 5}}, "in 'a': 'b' is not a document"),
    (within("a", ops.rename("_id", "id")), {"a": {"_id": 1}}, {"a": {"id": 1}}),
    (within("a", ops.nothing()), {"a": 5}, {"a": 5}),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


def test_ordinary_documents_are_admitted_and_restored(people: Collection[dict[str, Any]]) -> None:
    documents: list[dict[str, Any]] = [{"a": {"x": [{"p": 1}], "k": 2}}, {"a": {"k": 2}}, {"a": None}, {}]
    assert (admitted(people, single, documents).safe, admitted(people, single, documents).restored) == (4, 4)
    assert (admitted(people, several, documents).safe, admitted(people, several, documents).restored) == (4, 4)


def test_a_database_reference_is_left_to_python(people: Collection[dict[str, Any]]) -> None:
    reference = {"a": bson.DBRef("c", 1)}
    assert admitted(people, single, [reference]).safe == 0
    with pytest.raises(OperationError, match="not a document"):
        applied(single, reference)


def test_a_hundred_operations_are_not_too_deep(people: Collection[dict[str, Any]]) -> None:
    independent = within("a", *(ops.rename(f"x{index}", f"y{index}") for index in range(100)))
    follow = within("a", *(ops.rename(f"x{index + 1}", f"x{index}") for index in range(24)))
    document = {"a": {f"x{index}": index for index in range(100)}}
    count = admitted(people, independent, [document])
    assert (count.safe, count.restored) == (1, 1)
    count = admitted(people, follow, [{"a": {f"x{index}": 1 for index in range(1, 25)}}])
    assert (count.safe, count.restored) == (1, 1)


@pytest.mark.parametrize(
    ("path", "operations", "expected"),
    [
        ("", [ops.nothing()], "non-empty string"),
        ("a", [], "no operations"),
        ("a", [5], "int is not an operation"),
        ("a", [lambda document: None], "function is not an operation"),
        ("a", [ops.remove("x"), ops.rename("x", "y")], "has just taken away"),
        ("a", [ops.remove("x"), within("x", ops.rename("p", "q"))], "has just taken away"),
        ("a", [ops.rename("x", "y"), ops.remove("y")], "has just set"),
        ("a", [ops.rename("x", "y"), ops.add("y.z", 1)], "has just set"),
    ],
)
def test_wrong_declarations_say_what_to_do(path: Any, operations: Any, expected: str) -> None:
    with pytest.raises(SchemaError, match=expected):
        within(path, *operations)


def test_description_effects_and_what_it_inherits_from_its_operations() -> None:
    assert str(several) == "a {x → y; y[] {p → q}; k → x; + z}"
    assert several.effects().removes == ("a.x", "a.k")
    assert within("a", ops.remove("x")).reverse() is None
    assert not within("a", ops.remove("x")).lossless
    assert within("a", ops.nothing(), ops.nothing()).empty
    assert not single.empty
    assert single.lossless
    assert str(several.reverse()) == "a {- z; x → k; y[] {q → p}; y → x}"


@dataclass(frozen=True, slots=True)
class Calls(Within):
    """An operation that cannot run inside MongoDB."""

    @property
    def renders(self) -> bool:
        return False


def test_one_operation_that_does_not_render_keeps_the_whole_from_mongodb(people: Collection[dict[str, Any]]) -> None:
    assert isinstance(single, Within)
    operation = within("a", ops.add("k", 1), Calls("b", single.inner))
    assert not operation.renders
    assert operation.safe("$$ROOT") == within("a", Calls("b", single.inner)).safe("$$ROOT")
    assert admitted(people, operation, [{"a": {"b": {"x": 1}}}]).safe == 0


inner = st.dictionaries(st.sampled_from(["x", "y", "z", "w", "k", "b"]), scalars, max_size=4)
pq = st.dictionaries(st.sampled_from(["p", "q"]), scalars, max_size=2)
sub = (
    inner
    | st.fixed_dictionaries({"b": inner | scalars, "w": inner})
    | st.fixed_dictionaries({"x": st.lists(pq, max_size=2), "k": scalars})
    | st.fixed_dictionaries({"x": inner})
    | scalars
)
hitting = st.fixed_dictionaries({}, optional={"a": sub | sub | st.fixed_dictionaries({"b": sub}), "b": scalars})
forward = st.sampled_from([single, several, deep, nested])
operations = forward | forward.map(lambda operation: operation.reverse() or operation)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=operations, document=hitting)
def test_mongodb_does_the_same_where_it_is_used_and_the_way_back_restores(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any]
) -> None:
    lifecycle(people, operation, document)


class Blind(Within):
    """A mutant: it judges each operation on the document that was there before the others."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        alone = [Within(self.path, OperationSequence((inner,))) for inner in self.inner.operations]
        return {"$and": [operation.safe(document) for operation in alone]}


class NullIsADocument(FillsNull, Within):
    """A mutant: it makes an empty document of null."""

    __slots__ = ()
    filling: ClassVar[Any] = {}


class RunsThrough(RunsThroughAnything, Within):
    """A mutant: it looks at no parent of the subdocument."""

    __slots__ = ()


class OnlyTheFirst(Within):
    """A mutant: it applies the first operation and forgets the others."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        return Within(self.path, OperationSequence(self.inner.operations[:1])).expression(document)


class RestoresWhatItChanges(RestoresWhatIsSafe, Within):
    """A mutant: it says that the way back restores all that is safe."""

    __slots__ = ()


MUTANTS = {
    Blind: UNSAFE,
    NullIsADocument: DIFFERS,
    RunsThrough: UNSAFE,
    OnlyTheFirst: DIFFERS,
    RestoresWhatItChanges: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Within], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
