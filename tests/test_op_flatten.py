"""`flatten`: what it means, that MongoDB does the same wherever it is used, and that the way back restores."""

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

from lazymigrate.documents import same
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Operation, OperationError, Step
from lazymigrate.ops.flatten import Flatten, flatten

Case = tuple[Operation, dict[str, Any], dict[str, Any] | str]

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


@dataclass(frozen=True, slots=True)
class Keeping(Flatten):
    """Leaves an emptied subdocument where it is."""

    def compile(self) -> Step:
        step = Flatten.compile(self)
        parts = self.path.split(".")

        def spread(document: dict[str, Any]) -> None:
            step(document)
            if len(parts) == 1:
                document.setdefault(parts[0], {})

        return spread


def test_a_mutant_is_caught(people: Collection[dict[str, Any]]) -> None:
    with pytest.raises(AssertionError, match=r"refuses|\} is not \{"):
        for operation, document, _ in CASES:
            assert isinstance(operation, Flatten)
            lifecycle(people, Keeping(operation.path, operation.targets), document)
