"""`rename_keys`: what it means, that MongoDB does the same wherever it is used, and that the way back restores."""

from __future__ import annotations

from typing import Any

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
    RestoresWhatIsSafe,
    RunsThroughAnything,
    admitted,
    caught,
    check,
    lifecycle,
    with_equal_keys,
)
from pymongo.collection import Collection
from strategies import scalars

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, Operation, Step
from lazymigrate.ops.rename_keys import RenameKeys, rename_keys
from lazymigrate.paths import all_of, get_, is_document_, split_path

single = rename_keys("m", {"a": "b"})
several = rename_keys("m", {"a": "p", "b": "q", "": "$x", "a.b": "0"})
swap = rename_keys("m", {"a": "b", "b": "a"})
shift = rename_keys("m", {"b": "c", "a": "b"})
deep = rename_keys("c.m", {"a": "b"})

CASES: list[Case] = [
    (single, {"m": {"a": 1, "z": 2}, "k": 3}, {"m": {"z": 2, "b": 1}, "k": 3}),
    (single, {"m": {"a": None}}, {"m": {"b": None}}),
    (single, {"m": {"z": 2}}, {"m": {"z": 2}}),
    (single, {"m": {"b": 2}}, {"m": {"b": 2}}),
    (single, {"m": {}}, {"m": {}}),
    (single, {"m": None}, {"m": None}),
    (single, {}, {}),
    (single, {"m": {"a": 1, "b": 2}}, "the key 'b' is already present beside 'a' in 'm'"),
    (single, {"m": {"a": 1, "b": None}}, "the key 'b' is already present"),
    (single, {"m": 5}, "'m' is not a document"),
    (single, {"m": [{"a": 1}]}, "'m' is not a document"),
    (several, {"m": {"a.b": 4, "": 3, "b": 2, "a": 1}}, {"m": {"p": 1, "q": 2, "$x": 3, "0": 4}}),
    (several, {"m": {"b": 2, "a": {"b": 5}}}, {"m": {"p": {"b": 5}, "q": 2}}),
    (swap, {"m": {"b": 2, "z": 0, "a": 1}}, {"m": {"z": 0, "b": 1, "a": 2}}),
    (swap, {"m": {"a": 1, "z": 0}}, {"m": {"z": 0, "b": 1}}),
    (shift, {"m": {"a": 1, "b": 2, "z": 0}}, {"m": {"z": 0, "c": 2, "b": 1}}),
    (shift, {"m": {"a": 1}}, {"m": {"b": 1}}),
    (shift, {"m": {"b": 2, "c": 3}}, "the key 'c' is already present beside 'b' in 'm'"),
    (shift, {"m": {"a": 1, "c": 3}}, {"m": {"c": 3, "b": 1}}),
    (deep, {"c": {"m": {"a": 1}, "z": 0}}, {"c": {"m": {"b": 1}, "z": 0}}),
    (deep, {"c": {}}, {"c": {}}),
    (deep, {"c": None}, "the path 'c.m' runs through 'c'"),
    (deep, {"c": [{"m": {"a": 1}}]}, "the path 'c.m' runs through 'c'"),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


def test_ordinary_documents_are_admitted_and_restored(people: Collection[dict[str, Any]]) -> None:
    documents: list[dict[str, Any]] = [{"m": {"a": 1, "z": 2}}, {"m": {"z": 2}}, {"m": {}}, {"m": None}, {}]
    for operation in (single, several, swap, shift):
        count = admitted(people, operation, documents)
        assert (count.safe, count.restored) == (5, 5)


def test_two_hundred_keys_are_not_too_deep_and_swaps_restore(people: Collection[dict[str, Any]]) -> None:
    operation = rename_keys("m", {f"a{index}": f"b{index}" for index in range(200)})
    count = admitted(people, operation, [{"m": {f"a{index}": index for index in range(200)}}])
    assert (count.safe, count.restored) == (1, 1)
    count = admitted(people, swap, [{"m": {"a": 1, "b": 2}}, {"m": {"b": 2}}])
    assert (count.safe, count.restored) == (2, 2)


def test_a_map_with_equal_keys_is_left_to_python(people: Collection[dict[str, Any]]) -> None:
    for raw, admits in ((with_equal_keys(), 0), (bson.encode({"_id": 1, "m": {"a": {}, "c": {}}}), 1)):
        people.delete_many({})
        people.insert_one(RawBSONDocument(raw))
        for condition in (single.safe("$$ROOT"), single.restores("$$ROOT")):
            assert people.count_documents({"$expr": condition}) == admits


@pytest.mark.parametrize(
    ("path", "keys", "expected"),
    [
        ("", {"a": "b"}, "non-empty string"),
        ("m", {}, "needs a mapping"),
        ("m", [("a", "b")], "needs a mapping"),
        ("m", {"a": 1}, "is not a key"),
        ("m", {1: "a"}, "is not a key"),
        ("m", {"a\0": "b"}, "is not a key"),
        ("m", {"a": "\ud800"}, "cannot be stored as BSON"),
        ("m", {"a": "a"}, "to itself"),
        ("m", {"a": "c", "b": "c"}, "the same new name"),
    ],
)
def test_wrong_declarations_say_what_to_do(path: Any, keys: Any, expected: str) -> None:
    with pytest.raises(SchemaError, match=expected):
        rename_keys(path, keys)


def test_description_effects_and_reverse() -> None:
    assert str(swap) == "m{} a → b, b → a"
    assert deep.effects().computes == ("c.m",)
    assert str(shift.reverse()) == "m{} c → b, b → a"
    assert single.lossless


keys = st.sampled_from(["a", "b", "c", "p", "q", "", "$x", "a.b", "0"])
mapped = st.dictionaries(keys, scalars, max_size=5)
either = mapped | mapped | scalars
hitting = st.fixed_dictionaries(
    {}, optional={"m": either, "c": st.fixed_dictionaries({}, optional={"m": either}) | scalars}
)
forward = st.sampled_from([single, several, swap, shift, deep])
operations = forward | forward.map(lambda operation: operation.reverse() or operation)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=operations, document=hitting)
def test_mongodb_does_the_same_where_it_is_used_and_the_way_back_restores(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any]
) -> None:
    lifecycle(people, operation, document)


class OneByOne(RenameKeys):
    """A mutant: it renames one key after the other, so that a swap undoes itself."""

    __slots__ = ()

    def compile(self) -> Step:
        steps = [RenameKeys(self.path, (pair,)).compile() for pair in self.keys]

        def apply(document: dict[str, Any]) -> None:
            for step in steps:
                step(document)

        return apply


class OverwritesAKey(RenameKeys):
    """A mutant: it is used where a new key is present."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return {"$or": [super().safe(document), is_document_(document, split_path(self.path))]}


class RunsThrough(RunsThroughAnything, RenameKeys):
    """A mutant: it looks at no parent of the map."""

    __slots__ = ()


class NullIsMissing(RenameKeys):
    """A mutant: a key whose value is null keeps its name."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        value = {"$getField": {"field": {"$literal": self.keys[0][0]}, "input": get_(document, parts)}}
        null = all_of([is_document_(document, parts), {"$eq": [value, None]}])
        return {"$cond": [null, document, super().expression(document)]}


class RestoresANewKey(RestoresWhatIsSafe, RenameKeys):
    """A mutant: it says that a map comes back in which a new key was present."""

    __slots__ = ()


MUTANTS = {
    OneByOne: DIFFERS,
    OverwritesAKey: UNSAFE,
    RunsThrough: UNSAFE,
    NullIsMissing: DIFFERS,
    RestoresANewKey: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[RenameKeys], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
