"""`each_value`: what it means, that MongoDB does the same wherever it is used, and that the way back restores."""

from __future__ import annotations

from typing import Any, ClassVar

import bson
import pytest
from bson.raw_bson import RawBSONDocument
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
    with_equal_keys,
)
from pymongo.collection import Collection
from strategies import scalars

from lazymigrate import ops
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, Operation, OperationError
from lazymigrate.ops.each import each
from lazymigrate.ops.each_value import EachValue, each_value
from lazymigrate.paths import get_, is_document_, put_, split_path

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
    (several, {"m": {"f": {"z": 0}}}, {"m": {"f": {"z": 0}}}),
    (several, {"m": {"e": {"x": 1}}}, "in a value of 'm': 'y' is not an array"),
    (deep, {"c": {"m": {"p": {"x": 1}}}}, {"c": {"m": {"p": {"y": 1}}}}),
    (deep, {"c": {}}, {"c": {}}),
    (deep, {"c": None}, "the path 'c.m' runs through 'c'"),
    (nested, {"m": {"p": {"b": {"q": {"x": 1}}}}}, {"m": {"p": {"c": {"q": {"y": 1, "z": 1}}}}}),
    (nested, {"m": {"p": {"b": {"q": 1}}}}, "in a value of 'm': a value of 'b' is not a document"),
    (each_value("m", ops.nothing()), {"m": 5}, {"m": 5}),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


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


class AnyValue(EachValue):
    """A mutant: it takes every value of a map for one that can be changed."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return {"$or": [super().safe(document), is_document_(document, split_path(self.path))]}


class NullIsAMap(FillsNull, EachValue):
    """A mutant: it makes an empty map of null."""

    __slots__ = ()
    filling: ClassVar[Any] = {}


class RunsThrough(RunsThroughAnything, EachValue):
    """A mutant: it looks at no parent of the map."""

    __slots__ = ()


class TurnsTheKeys(EachValue):
    """A mutant: the keys come out in the other order."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        entries = {"$objectToArray": get_("$$changed", parts)}
        turned = put_("$$changed", parts, {"$arrayToObject": {"$reverseArray": entries}})
        changed = {"$let": {"vars": {"changed": super().expression(document)}, "in": turned}}
        return {"$cond": [is_document_(document, parts), changed, document]}


class RestoresWhatItChanges(RestoresWhatIsSafe, EachValue):
    """A mutant: it says that the way back restores all that is safe."""

    __slots__ = ()


MUTANTS = {
    AnyValue: UNSAFE,
    NullIsAMap: DIFFERS,
    RunsThrough: UNSAFE,
    TurnsTheKeys: DIFFERS,
    RestoresWhatItChanges: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[EachValue], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
