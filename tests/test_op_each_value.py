"""`each_value`: what it means, that MongoDB does the same wherever it is used, and that the way back restores."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle import Count, applied, lifecycle
from pymongo.collection import Collection
from strategies import scalars

from lazymigrate import ops
from lazymigrate.documents import same
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, Operation, OperationError
from lazymigrate.ops.each import each
from lazymigrate.ops.each_value import EachValue, each_value
from lazymigrate.paths import is_document_

Case = tuple[Operation, dict[str, Any], dict[str, Any] | str]

single = each_value("m", ops.rename("x", "y"))
several = each_value(
    "m", ops.rename("x", "y"), each("y", ops.rename("p", "q")), ops.rename("k", "x"), ops.add("z", "$x")
)
deep = each_value("c.m", ops.rename("x", "y"))
nested = each_value("m", each_value("b", ops.rename("x", "y"), ops.add("z", 1)), ops.rename("b", "c"))

CASES: list[Case] = [
    (
        single,
        {"m": {"p": {"x": 1, "k": 2}, "q": {"k": 3}}, "b": 3},
        {"m": {"p": {"k": 2, "y": 1}, "q": {"k": 3}}, "b": 3},
    ),
    (
        single,
        {"m": {"": {"x": 1}, "$x": {"x": 2}, "a.b": {"x": 3}, "0": {"x": 4}, "k": {}, "v": {}, "$$entry": {}}},
        {"m": {"": {"y": 1}, "$x": {"y": 2}, "a.b": {"y": 3}, "0": {"y": 4}, "k": {}, "v": {}, "$$entry": {}}},
    ),
    (single, {"m": {}}, {"m": {}}),
    (single, {"m": None}, {"m": None}),
    (single, {"b": 1}, {"b": 1}),
    (single, {"m": 5}, "'m' is not a document"),
    (single, {"m": [{"x": 1}]}, "'m' is not a document"),
    (single, {"m": {"p": {"x": 1}, "q": None}}, "a value of 'm' is not a document"),
    (single, {"m": {"p": 5}}, "a value of 'm' is not a document"),
    (single, {"m": {"p": {}, "q": {"x": 1, "y": 2}}}, "in a value of 'm': the target 'y' is already present"),
    (
        several,
        {"m": {"e": {"x": [{"p": 1}], "k": 2}, "f": {}}},
        {"m": {"e": {"y": [{"q": 1}], "x": 2, "z": "$x"}, "f": {"z": "$x"}}},
    ),
    (several, {"m": {"e": {"x": 1}}}, "in a value of 'm': 'y' is not an array"),
    (deep, {"c": {"m": {"p": {"x": 1}}}}, {"c": {"m": {"p": {"y": 1}}}}),
    (deep, {"c": {}}, {"c": {}}),
    (deep, {"c": None}, "the path 'c.m' runs through 'c'"),
    (nested, {"m": {"p": {"b": {"q": {"x": 1}}}}}, {"m": {"p": {"c": {"q": {"y": 1, "z": 1}}}}}),
    (nested, {"m": {"p": {"b": {"q": 1}}}}, "in a value of 'm': a value of 'b' is not a document"),
    (each_value("m", ops.nothing()), {"m": 5}, {"m": 5}),
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
    documents: list[dict[str, Any]] = [
        {"m": {"p": {"x": [{"p": 1}], "k": 2}, "q": {"k": 2}}},
        {"m": {}},
        {"m": None},
        {},
    ]
    for operation in (single, several):
        count = admitted(people, operation, documents)
        assert (count.safe, count.restored) == (4, 4)


def test_maps_of_ten_thousand_keys_run_inside_mongodb(people: Collection[dict[str, Any]]) -> None:
    big = {"m": {f"key {index}": {"x": [{"p": index}]} for index in range(10_000)}}
    count = admitted(people, several, [big])
    assert (count.safe, count.restored) == (1, 1)


def test_an_error_does_not_name_the_key() -> None:
    with pytest.raises(OperationError) as caught:
        applied(single, {"m": {"ada@example.org": {"x": 1, "y": 2}}})
    assert "ada" not in str(caught.value)


def with_equal_keys() -> bytes:
    """A document whose map holds the key 'a' twice."""
    fields = b"".join(bson.encode({key: {"x": value}})[4:-1] for key, value in (("a", 1), ("c", 2), ("a", 3)))
    inner = (len(fields) + 5).to_bytes(4, "little") + fields + b"\0"
    whole = bson.encode({"_id": 1})[4:-1] + b"\x03m\0" + inner
    return (len(whole) + 5).to_bytes(4, "little") + whole + b"\0"


def test_a_map_with_equal_keys_is_left_to_python(people: Collection[dict[str, Any]]) -> None:
    for raw, admits in ((with_equal_keys(), 0), (bson.encode({"_id": 1, "m": {"a": {}, "c": {}}}), 1)):
        people.delete_many({})
        people.insert_one(RawBSONDocument(raw))
        for condition in (single.safe("$$ROOT"), single.restores("$$ROOT")):
            assert people.count_documents({"$expr": condition}) == admits


@pytest.mark.parametrize(
    ("path", "operations", "expected"),
    [
        ("m.$x", [ops.nothing()], "cannot be addressed"),
        ("m", [], "no operations"),
        ("m", [None], "NoneType is not an operation"),
        ("m", [ops.remove("x"), ops.rename("x", "y")], "has just taken away"),
    ],
)
def test_wrong_declarations_say_what_to_do(path: Any, operations: Any, expected: str) -> None:
    with pytest.raises(SchemaError, match=expected):
        each_value(path, *operations)


def test_description_effects_and_what_it_inherits_from_its_operations() -> None:
    assert str(nested) == "m{} {b{} {x → y; + z}; b → c}"
    assert nested.effects().computes == ("m",)
    assert each_value("m", ops.remove("x")).reverse() is None
    assert each_value("m", ops.nothing()).empty
    assert single.lossless
    assert str(several.reverse()) == "m{} {- z; x → k; y[] {q → p}; y → x}"


keys = st.sampled_from(["", "p", "$x", "a.b", "0", "k", "v"]) | st.text(
    st.characters(exclude_characters="\0", codec="utf-8"), max_size=3
)
pq = st.dictionaries(st.sampled_from(["p", "q"]), scalars, max_size=2)
inner = st.dictionaries(st.sampled_from(["x", "y", "z", "k"]), scalars, max_size=3)
value = (
    inner
    | st.fixed_dictionaries({"b": st.dictionaries(keys, inner, max_size=2)})
    | st.fixed_dictionaries({"x": st.lists(pq, max_size=2), "k": scalars})
)
mapped = st.dictionaries(keys, value, max_size=4) | st.dictionaries(keys, value | scalars, max_size=3) | scalars
hitting = st.fixed_dictionaries(
    {}, optional={"m": mapped, "c": st.fixed_dictionaries({}, optional={"m": mapped}) | scalars}
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
class AnyValue(EachValue):
    """Takes every value of a map for a document."""

    def safe(self, document: Expression) -> Expression:
        return is_document_(document, tuple(self.path.split(".")))


def test_a_mutant_is_caught(people: Collection[dict[str, Any]]) -> None:
    with pytest.raises(AssertionError, match=r"refuses|\} is not \{"):
        for operation, document, _ in CASES:
            assert isinstance(operation, EachValue)
            lifecycle(people, AnyValue(operation.path, operation.inner), document)
