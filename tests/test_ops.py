"""Operations: what they mean in Python, and that MongoDB does the same, byte for byte, wherever it is used."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lifecycle import applied, lifecycle
from pymongo.collection import Collection
from strategies import documents, paths, values

from lazymigrate import ops
from lazymigrate.documents import same
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Operation, OperationError

CASES: list[tuple[Operation, dict[str, Any], dict[str, Any] | str]] = [
    (ops.rename("a", "b"), {"a": 1, "c": 2}, {"c": 2, "b": 1}),
    (ops.rename("a", "b"), {"c": 2}, {"c": 2}),
    (ops.rename("a", "b"), {"a": None}, {"b": None}),
    (ops.rename("a", "b"), {"a": 1, "b": 2}, "'b' is already present"),
    (ops.rename("a", "b"), {"b": 2}, {"b": 2}),
    (ops.rename("a", "b", on_conflict="keep_new"), {"a": 1, "b": 2}, {"b": 2}),
    (ops.rename("a", "b", on_conflict="keep_old"), {"a": 1, "b": 2, "c": 3}, {"b": 1, "c": 3}),
    (ops.rename("a.x", "b"), {"a": {"x": 1}}, {"a": {}, "b": 1}),
    (ops.rename("a", "b.x.y"), {"a": 1}, {"b": {"x": {"y": 1}}}),
    (ops.rename("a.x", "a.y"), {"a": {"x": 1, "z": 2}}, {"a": {"z": 2, "y": 1}}),
    (ops.rename("a.x", "b"), {"a": 5}, "runs through 'a'"),
    (ops.rename("a.x", "b"), {"a": None}, "runs through 'a'"),
    (ops.rename("a.x", "b"), {"a": [{"x": 1}]}, "runs through 'a'"),
    (ops.rename("a", "b.x"), {"a": 1, "b": [1]}, "runs through 'b'"),
    (ops.rename("a", "b.x"), {"b": 5}, {"b": 5}),
    (ops.add("a", 1), {"b": 2}, {"b": 2, "a": 1}),
    (ops.add("a", 1), {"a": None}, {"a": None}),
    (ops.add("a.b.c", 1), {"a": {"z": 1}}, {"a": {"z": 1, "b": {"c": 1}}}),
    (ops.add("a.b", 1), {"a": 5}, "runs through 'a'"),
    (ops.add("a.b", 1), {"a": None}, "runs through 'a'"),
    (ops.add("a", "$b"), {"b": 2}, {"b": 2, "a": "$b"}),
    (ops.remove("a"), {"a": 1, "b": 2}, {"b": 2}),
    (ops.remove("a"), {"b": 2}, {"b": 2}),
    (ops.remove("a.b"), {"a": {"b": 1}}, {"a": {}}),
    (ops.remove("a.b"), {"a": "text"}, "runs through 'a'"),
    (ops.remove("a.b"), {}, {}),
    (ops.nothing(), {"a": 1}, {"a": 1}),
]


@pytest.mark.parametrize(("operation", "document", "expected"), CASES)
def test_what_an_operation_means(
    operation: Operation, document: dict[str, Any], expected: dict[str, Any] | str
) -> None:
    if isinstance(expected, str):
        with pytest.raises(OperationError, match=expected):
            applied(operation, document)
    else:
        found = applied(operation, document)
        assert same(found, expected)


def test_a_constant_is_never_shared_between_documents() -> None:
    value: dict[str, Any] = {"list": [1]}
    operation = ops.add("a", value)
    value["list"].append(2)
    first, second = applied(operation, {}), applied(operation, {})
    first["a"]["list"].append(3)
    assert second == {"a": {"list": [1]}}


def test_the_way_back_removes_the_parents_it_made_and_no_others() -> None:
    for operation in (ops.add("a.b.c", 1), ops.rename("x", "a.b.c")):
        reverse = operation.reverse()
        assert reverse is not None
        for before in ({"x": 1}, {"x": 1, "a": {"z": 1}}):
            assert applied(reverse, applied(operation, before)) == before
    assert ops.remove("a").reverse() is None
    back = ops.remove("a", restore=7).reverse()
    assert back is not None
    assert applied(back, {}) == {"a": 7}


def test_descriptions() -> None:
    assert [str(operation) for operation in (ops.rename("a", "b.c"), ops.add("x", 1), ops.remove("y"), ops.nothing())] == [
        "a → b.c", "+ x", "- y", "nothing",
    ]  # fmt: skip


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    kind = draw(st.sampled_from(["rename", "add", "remove", "back"]))
    path = draw(paths)
    if kind == "add":
        return ops.add(path, draw(values))
    if kind == "remove":
        return ops.remove(path)
    try:
        operation = ops.rename(path, draw(paths), on_conflict=draw(st.sampled_from(["error", "keep_new", "keep_old"])))
    except SchemaError:
        assume(condition=False)
        raise
    reverse = draw(st.sampled_from([operation, ops.add(path, 1)])).reverse() if kind == "back" else operation
    assert reverse is not None
    return reverse


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=operations(), document=documents)
def test_mongodb_does_the_same_where_it_is_used_and_nothing_elsewhere(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any]
) -> None:
    lifecycle(people, operation, document)


def test_the_filter_is_not_simply_none(people: Collection[dict[str, Any]]) -> None:
    """Plain documents are safe, and each case of the table above that Python does is one that MongoDB does."""
    for operation, document, expected in CASES:
        people.delete_many({})
        people.insert_one({"_id": 1, **document})
        safe = people.count_documents({"$expr": operation.safe("$$ROOT")})
        assert safe == (0 if isinstance(expected, str) else 1)
