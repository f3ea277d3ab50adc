"""`each`: what it means, that MongoDB does the same wherever it is used, and that the way back restores."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle import Count, applied, lifecycle
from pymongo.collection import Collection
from strategies import scalars

from lazymigrate import ops
from lazymigrate.documents import same
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, Operation, OperationError
from lazymigrate.ops.each import Each, each

Case = tuple[Operation, dict[str, Any], dict[str, Any] | str]

single = each("a", ops.rename("x", "y"))
several = each("a", ops.rename("x", "y"), each("y", ops.rename("p", "q")), ops.rename("k", "x"), ops.add("z", "$x"))
deep = each("c.a", ops.rename("x", "y"))
nested = each("a", each("b", ops.rename("x", "y"), ops.add("z", 1)), ops.rename("b", "c"))

CASES: list[Case] = [
    (single, {"a": [{"x": 1, "k": 2}, {"k": 3}], "b": 3}, {"a": [{"k": 2, "y": 1}, {"k": 3}], "b": 3}),
    (single, {"a": []}, {"a": []}),
    (single, {"a": None}, {"a": None}),
    (single, {"b": 1}, {"b": 1}),
    (single, {"a": {"x": 1}}, "'a' is not an array"),
    (single, {"a": 5}, "'a' is not an array"),
    (single, {"a": [{"x": 1}, None]}, "the element 1 of 'a' is not a document"),
    (single, {"a": [5]}, "the element 0 of 'a' is not a document"),
    (single, {"a": [[{"x": 1}]]}, "the element 0 of 'a' is not a document"),
    (single, {"a": [{}, {"x": 1, "y": 2}]}, "in the element 1 of 'a': the target 'y' is already present"),
    (several, {"a": [{"x": [{"p": 1}], "k": 2}, {"z": 0}]}, {"a": [{"y": [{"q": 1}], "x": 2, "z": "$x"}, {"z": 0}]}),
    (several, {"a": [{"x": 1}]}, "in the element 0 of 'a': 'y' is not an array"),
    (deep, {"c": {"a": [{"x": 1}]}}, {"c": {"a": [{"y": 1}]}}),
    (deep, {"c": {}}, {"c": {}}),
    (deep, {}, {}),
    (deep, {"c": None}, "the path 'c.a' runs through 'c'"),
    (deep, {"c": [{"a": [{"x": 1}]}]}, "the path 'c.a' runs through 'c'"),
    (nested, {"a": [{"b": [{"x": 1}, {}]}, {"b": None}]}, {"a": [{"c": [{"y": 1, "z": 1}, {"z": 1}]}, {"c": None}]}),
    (nested, {"a": [{"b": [5]}]}, "in the element 0 of 'a': the element 0 of 'b' is not a document"),
    (each("a", ops.rename("_id", "id")), {"a": [{"_id": 1}]}, {"a": [{"id": 1}]}),
    (each("a", ops.nothing()), {"a": 5}, {"a": 5}),
]


@pytest.mark.parametrize(("operation", "document", "expected"), CASES)
def test_what_it_means(operation: Operation, document: dict[str, Any], expected: dict[str, Any] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(OperationError, match=re.escape(expected)):
            applied(operation, document)
    else:
        assert same(applied(operation, document), expected)


def admitted(people: Collection[dict[str, Any]], operation: Operation, documents: list[dict[str, Any]]) -> Count:
    """Hold each document to the lifecycle, and count."""
    count = Count()
    for document in documents:
        lifecycle(people, operation, document, count)
    return count


def test_mongodb_does_each_case_that_python_does_and_no_other(people: Collection[dict[str, Any]]) -> None:
    for operation, document, expected in CASES:
        assert admitted(people, operation, [document]).safe == (not isinstance(expected, str)), (operation, document)


def test_ordinary_documents_are_admitted_and_restored(people: Collection[dict[str, Any]]) -> None:
    documents: list[dict[str, Any]] = [{"a": [{"x": [{"p": 1}], "k": 2}, {"k": 2}]}, {"a": []}, {"a": None}, {}]
    for operation in (single, several):
        count = admitted(people, operation, documents)
        assert (count.safe, count.restored) == (4, 4)
    count = admitted(people, nested, [{"a": [{"b": [{"x": 1}, {"x": 2}]}, {"b": []}]}])
    assert (count.safe, count.restored) == (1, 1)


def test_arrays_of_ten_thousand_elements_run_inside_mongodb(people: Collection[dict[str, Any]]) -> None:
    big = {"a": [{"x": [{"p": index}], "k": 1, "b": [{"x": index}]} for index in range(10_000)]}
    for operation in (several, nested):
        count = admitted(people, operation, [big])
        assert (count.safe, count.restored) == (1, 1)
    assert admitted(people, several, [{"a": [*big["a"], {"x": 1, "y": 1}]}]).safe == 0


@pytest.mark.parametrize(
    ("path", "operations", "expected"),
    [
        ("a.0", [ops.nothing()], "array index"),
        ("a", [], "no operations"),
        ("a", ["x"], "str is not an operation"),
        ("a", [ops.remove("x"), ops.rename("x", "y")], "has just taken away"),
        ("a", [ops.add("x", 1), ops.remove("x")], "has just set"),
    ],
)
def test_wrong_declarations_say_what_to_do(path: Any, operations: Any, expected: str) -> None:
    with pytest.raises(SchemaError, match=expected):
        each(path, *operations)


def test_description_effects_and_what_it_inherits_from_its_operations() -> None:
    assert str(nested) == "a[] {b[] {x → y; + z}; b → c}"
    assert nested.effects().computes == ("a",)
    assert each("a", ops.remove("x")).reverse() is None
    assert not each("a", ops.remove("x")).lossless
    assert each("a", ops.nothing()).empty
    assert single.lossless
    assert str(several.reverse()) == "a[] {- z; x → k; y[] {q → p}; y → x}"


pq = st.dictionaries(st.sampled_from(["p", "q"]), scalars, max_size=2)
inner = st.dictionaries(st.sampled_from(["x", "y", "z", "k"]), scalars, max_size=3)
element = (
    inner
    | st.fixed_dictionaries({"b": st.lists(inner, max_size=2)})
    | st.fixed_dictionaries({"x": st.lists(pq, max_size=2), "k": scalars})
)
array = st.lists(element, max_size=3) | st.lists(element | scalars, max_size=3) | scalars | inner
hitting = st.fixed_dictionaries(
    {}, optional={"a": array, "c": st.fixed_dictionaries({}, optional={"a": array}) | scalars}
)
forward = st.sampled_from([single, several, deep, nested])
operations = forward | forward.map(lambda operation: operation.reverse() or operation)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=operations, document=hitting)
def test_mongodb_does_the_same_where_it_is_used_and_the_way_back_restores(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any]
) -> None:
    lifecycle(people, operation, document)


@dataclass(frozen=True, slots=True)
class OnlyTheFirst(Each):
    """Judges the first element for all."""

    def safe(self, document: Expression) -> Expression:
        first = {"$setField": {"field": "a", "input": document, "value": {"$slice": ["$a", 1]}}}
        return {"$or": [{"$not": [{"$isArray": ["$a"]}]}, Each.safe(self, first)]}


def test_a_mutant_is_caught(people: Collection[dict[str, Any]]) -> None:
    with pytest.raises(AssertionError, match=r"refuses|\} is not \{"):
        for operation, document, _ in CASES:
            assert isinstance(operation, Each)
            lifecycle(people, OnlyTheFirst(operation.path, operation.inner), document)
