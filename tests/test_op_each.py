"""`each`: what it means, that MongoDB does the same wherever it is used, and that the way back restores."""

from __future__ import annotations

from typing import Any, ClassVar

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
    caught,
    check,
    lifecycle,
)
from pymongo.collection import Collection
from strategies import scalars

from lazymigrate import ops
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, Operation
from lazymigrate.ops.each import Each, each
from lazymigrate.paths import all_of, get_, passable_, put_, split_path

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


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


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


class OnlyTheFirst(Each):
    """A mutant: it judges the first element for all."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        array = get_(document, parts)
        listed = all_of([passable_(document, parts), {"$isArray": [array]}])
        return super().safe({"$cond": [listed, put_(document, parts, {"$slice": [array, 1]}), document]})


class ChangesTheFirst(Each):
    """A mutant: the other elements stay as they are."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        array = get_(document, parts)
        rest = {"$slice": [array, 1, {"$add": [{"$size": array}, 1]}]}
        first = {"$slice": [get_("$$changed", parts), 1]}
        both = put_(document, parts, {"$concatArrays": [first, rest]})
        changed = {"$let": {"vars": {"changed": super().expression(document)}, "in": both}}
        return {"$cond": [{"$isArray": [array]}, changed, document]}


class NullIsAnArray(FillsNull, Each):
    """A mutant: it makes an empty array of null."""

    __slots__ = ()
    filling: ClassVar[Any] = []


class RunsThrough(RunsThroughAnything, Each):
    """A mutant: it looks at no parent of the array."""

    __slots__ = ()


class RestoresWhatItChanges(RestoresWhatIsSafe, Each):
    """A mutant: it says that the way back restores all that is safe."""

    __slots__ = ()


MUTANTS = {
    OnlyTheFirst: UNSAFE,
    ChangesTheFirst: DIFFERS,
    NullIsAnArray: DIFFERS,
    RunsThrough: UNSAFE,
    RestoresWhatItChanges: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Each], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
