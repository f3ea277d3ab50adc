"""Several operations as one: each is judged on what the ones before it gave, and never evaluated where it may not be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lifecycle import Count, lifecycle
from pymongo.collection import Collection
from strategies import documents, paths, values

from lazymigrate import ops
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, Operation
from lazymigrate.ops.call import call
from lazymigrate.ops.compute import compute
from lazymigrate.ops.each import each
from lazymigrate.ops.flatten import flatten
from lazymigrate.ops.nest import nest
from lazymigrate.ops.within import within
from lazymigrate.paths import distinct_
from lazymigrate.sequence import OperationSequence, changed_before, safe_in_sequence


@st.composite
def operation(draw: st.DrawFn) -> Operation:
    path, other = draw(paths), draw(paths)
    try:
        return draw(
            st.sampled_from(
                [
                    lambda: ops.rename(path, other),
                    lambda: ops.rename(path, other).reverse(),
                    lambda: flatten(path, ["a", "b"]),
                    lambda: flatten(path, ["a", "b"]).reverse(),
                    lambda: ops.add(path, draw(values)),
                    lambda: ops.remove(path),
                    lambda: within(path, ops.rename("a", "b"), ops.rename("c", "a")),
                    lambda: nest([path, "d"], other),
                    lambda: nest([path, "d"], other).reverse(),
                    ops.nothing,
                ]
            )
        )()
    except SchemaError:
        assume(condition=False)
        raise


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(operation(), min_size=1, max_size=5), document=documents)
def test_any_sequence_is_exact_where_it_is_safe_and_restores_where_it_says(
    people: Collection[dict[str, Any]], operations: list[Operation], document: dict[str, Any]
) -> None:
    sequence = OperationSequence(tuple(operations))
    lifecycle(people, sequence, document)
    reverse = sequence.reverse()
    if reverse is not None:
        lifecycle(people, reverse, document)


def test_a_later_operation_is_judged_on_what_the_earlier_gave(people: Collection[dict[str, Any]]) -> None:
    sequence = OperationSequence((ops.rename("a", "b"), ops.rename("b", "c.d"), ops.add("a", 1)))
    count = Count()
    for document in ({"a": 1}, {"b": 1}, {"a": 1, "c": {}}, {"a": 1, "c": 5}, {"a": 1, "b": 2}):
        lifecycle(people, sequence, document, count)
    assert (count.safe, count.restored) == (3, 1)


def test_long_strands_and_many_strands_are_not_too_deep(people: Collection[dict[str, Any]]) -> None:
    for step in (1, 2):
        names = [(f"x{index}", f"x{index + 1}") for index in range(0, 80 * step, step)]
        sequence = OperationSequence(tuple(ops.rename(*pair) for pair in names))
        count = Count()
        lifecycle(people, sequence, {"x0": 1, "y": 2}, count)
        assert (count.safe, count.restored) == (1, 1)


def test_operations_that_do_not_meet_are_judged_on_the_original_document() -> None:
    apart = [ops.rename("a.x", "b"), ops.remove("c.y")]
    assert not changed_before(apart, 1)
    assert safe_in_sequence(apart, "$$ROOT", [1]) == {"$and": [distinct_("$$ROOT"), apart[1].safe("$$ROOT")]}
    meeting = [ops.rename("a.x", "c.x"), ops.remove("c.y")]
    assert changed_before(meeting, 1)
    assert "$let" in str(safe_in_sequence(meeting, "$$ROOT", [1]))
    assert safe_in_sequence(apart, "$$ROOT", []) == distinct_("$$ROOT")


def test_what_is_asked_about_rests_on_the_safety_of_what_comes_before(people: Collection[dict[str, Any]]) -> None:
    operations = [each("a", ops.rename("x", "y")), ops.rename("a", "b"), ops.rename("d", "e")]
    people.insert_many([{"a": 5}, {"a": [{"x": 1}]}, {"a": [{}], "b": 1}, {"d": 1, "e": 1}])
    for judged, expected in (([1], 2), ([2], 3), ([0], 3), (None, 1)):
        assert people.count_documents({"$expr": safe_in_sequence(operations, "$$ROOT", judged)}) == expected


def test_an_operation_that_may_see_everything_is_judged_after_all_that_comes_before() -> None:
    count = compute("n", python=len, mongo={"$size": {"$objectToArray": "$$CURRENT"}})
    assert changed_before([ops.add("a", 1), count], 1)
    assert not changed_before([ops.nothing(), count], 1)
    assert changed_before([count, ops.add("a", 1)], 1)
    assert within("a", count).effects().reads == ("a",)
    assert not changed_before([ops.add("b", 1), within("a", count)], 1)


def test_functions_and_what_they_do_not_touch(people: Collection[dict[str, Any]]) -> None:
    def grow(document: dict[str, Any]) -> None:
        document["a"] = 1

    function = call(grow, touches={"a"})
    sequence = OperationSequence((function, ops.rename("b", "c")))
    assert not sequence.renders
    assert sequence.safe("$$ROOT") is False
    lifecycle(people, within("x", function, ops.rename("b", "c")), {"x": {"b": 1}})
    assert not within("x", function).renders
    assert within("x", function).restores("$$ROOT") is False
    assert within("x", function).reverse() is None


@dataclass(frozen=True, slots=True)
class Blind(OperationSequence):
    """Judges every operation on the document that was there before all of them."""

    def safe(self, document: Expression) -> Expression:
        return {"$and": [operation.safe(document) for operation in self.operations]}


def test_a_mutant_is_caught(people: Collection[dict[str, Any]]) -> None:
    with pytest.raises(AssertionError, match="what Python refuses"):
        lifecycle(people, Blind((ops.rename("a", "b"), within("b", ops.rename("x", "y")))), {"a": 5})
