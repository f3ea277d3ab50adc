"""Operations as such: any of the simple ones on any document, and that each has a table of cases that catches mutants."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lifecycle import KINDS, caught, lifecycle
from pymongo.collection import Collection
from strategies import documents, paths, values

from lazymigrate import ops
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Operation


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


NAMES = sorted({*ops.__all__} - {"Operation"})


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_has_cases_that_catch_mutants_and_nothing_else(
    people: Collection[dict[str, Any]], name: str
) -> None:
    """The module `test_op_<name>` has a test of its mutants, and what is no mutant passes the same cases."""
    module = import_module(f"test_op_{name}")
    (parameters,) = module.test_a_mutant_is_caught.pytestmark
    kind = type(module.CASES[0][0])
    assert kind.__name__.lower() == name.replace("_", "")
    assert list(parameters.args[1]) == list(module.MUTANTS.items())
    assert len(module.MUTANTS) >= 3
    for mutant, failure in module.MUTANTS.items():
        assert issubclass(mutant, kind)
        assert failure in KINDS
    same = type("Same", (kind,), {"__slots__": ()})
    assert caught(people, same, module.CASES, getattr(module, "LEFT_TO_PYTHON", ())) == set()
