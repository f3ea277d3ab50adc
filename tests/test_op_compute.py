"""`compute`: a value said twice, and what happens where the two could differ."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle import DIFFERS, LOST, UNSAFE, Case, applied, caught, check, lifecycle
from pymongo.collection import Collection
from strategies import documents, values

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, Operation
from lazymigrate.ops.compute import Compute, compute
from lazymigrate.ops.rename import rename
from lazymigrate.paths import in_sequence, missing_, passable_, put_, split_path


def tag(document: dict[str, Any]) -> Any:
    value = document.get("b")
    return f"<{value}>" if isinstance(value, str) else value


TAG = {"$cond": [{"$eq": [{"$type": "$b"}, "string"]}, {"$concat": [{"$literal": "<"}, "$b", {"$literal": ">"}]}, "$b"]}


def untag(document: dict[str, Any]) -> None:
    document.pop("a", None)


top = compute("a", python=tag, mongo=TAG, back=untag)
nested = compute("a.x.y", python=tag, mongo=TAG)

CASES: list[Case] = [
    (top, {"b": "t", "c": 1}, {"b": "t", "c": 1, "a": "<t>"}),
    (top, {"a": 5, "b": "t"}, {"a": "<t>", "b": "t"}),
    (top, {"b": None}, {"b": None, "a": None}),
    (top, {}, {"a": None}),
    (top, {"a": 5}, {"a": None}),
    (top, {"b": {"$x": ["$c"]}, "c": 1}, {"b": {"$x": ["$c"]}, "c": 1, "a": {"$x": ["$c"]}}),
    (top, {"b": "$c", "c": 1}, {"b": "$c", "c": 1, "a": "<$c>"}),
    (nested, {"b": 1}, {"b": 1, "a": {"x": {"y": 1}}}),
    (nested, {"a": {"x": {"y": 1, "z": 2}}, "b": 3}, {"a": {"x": {"y": 3, "z": 2}}, "b": 3}),
    (nested, {"a": 5, "b": 1}, "runs through 'a'"),
    (nested, {"a": {"x": None}, "b": 1}, "runs through 'x'"),
    (nested, {"a": [{"x": {}}], "b": 1}, "runs through 'a'"),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


def test_in_a_subdocument_and_after_another_operation_its_fields_are_those_of_the_document_it_is_given(
    people: Collection[dict[str, Any]],
) -> None:
    people.insert_one({"_id": 1, "b": "outer", "s": {"b": "in"}, "l": [{"b": "1"}, {"b": 2}]})
    each = {"$map": {"input": "$l", "as": "item", "in": top.expression("$$item")}}
    after = in_sequence("$$ROOT", [rename("b", "x").expression, top.expression])
    found = people.aggregate([{"$project": {"_id": 0, "s": top.expression("$s"), "l": each, "after": after}}]).next()
    assert found["s"] == {"b": "in", "a": "<in>"}
    assert found["l"] == [{"b": "1", "a": "<1>"}, {"b": 2, "a": 2}]
    assert found["after"]["a"] is None


def test_a_value_is_never_shared_with_the_place_it_was_taken_from() -> None:
    document: dict[str, Any] = {"b": [1]}
    changed = applied(top, document)
    changed["a"].append(2)
    assert changed["b"] == [1]


def test_what_python_raises_is_raised() -> None:
    with pytest.raises(KeyError):
        applied(compute("a", python=lambda document: document["b"], mongo="$b"), {})


def test_the_way_back_is_a_function() -> None:
    back = top.reverse()
    assert back is not None
    assert applied(back, {"a": 1, "b": 2}) == {"b": 2}
    assert (back.renders, back.safe("$$ROOT"), back.reverse()) == (False, False, None)
    with pytest.raises(SchemaError, match="has no form inside MongoDB"):
        back.expression("$$ROOT")
    assert nested.reverse() is None
    assert not top.lossless
    wrong = compute("a", python=tag, mongo="$b", back=lambda document: document.pop("a")).reverse()
    assert wrong is not None
    with pytest.raises(SchemaError, match="returned a int"):
        applied(wrong, {"a": 1})


async def waits(document: dict[str, Any]) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "a.0"}, "array index"),
        ({"python": "tag"}, "Decorate a function"),
        ({"python": waits}, "coroutine"),
        ({"python": lambda: 1}, "one positional parameter"),
        ({"back": lambda one, two: None}, "one positional parameter"),
        ({"mongo": object()}, "cannot be stored as BSON"),
        ({"mongo": {"$add": ["$$ROOT.b", 1]}}, r"write \$\$CURRENT"),
        ({"mongo": "$$NOW"}, "give a constant"),
        ({"mongo": {"$floor": {"$rand": {}}}}, r"use call\(\)"),
    ],
)
def test_wrong_declarations(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        compute(**{"path": "a", "python": tag, "mongo": "$b", **arguments})


def test_descriptions_and_effects() -> None:
    assert str(top) == "a = tag"
    mongo = {"$concat": ["$b.c", {"$literal": "$d"}, "$$CURRENT.e", "$_id", "$b.c"]}
    effects = compute("a", python=tag, mongo=mongo).effects()
    assert (effects.sets, effects.reads) == (("a",), ("b.c", "e"))
    compute("a", python=tag, mongo={"$literal": "$$NOW"})


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=documents, value=values, operation=st.sampled_from([top, nested]))
def test_mongodb_does_the_same_where_it_is_used(
    people: Collection[dict[str, Any]], document: dict[str, Any], value: Any, operation: Operation
) -> None:
    lifecycle(people, operation, {**document, "b": value})


class MissingStaysMissing(Compute):
    """A mutant: it sets nothing where the expression has no value."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        value = {"$let": {"vars": {"CURRENT": document}, "in": self.mongo}}
        return put_(document, split_path(self.path), value)


class OneStepShort(Compute):
    """A mutant: it looks at one parent too few."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        return passable_(document, split_path(self.path)[:-1])


class KeepsWhatIsThere(Compute):
    """A mutant: it sets the value only where there is none."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        absent = missing_(document, split_path(self.path))
        return {"$cond": [absent, super().expression(document), document]}


class RestoresWhatItReplaced(Compute):
    """A mutant: it says that the way back restores every document."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        return self.back is not None


MUTANTS = {
    MissingStaysMissing: DIFFERS,
    OneStepShort: UNSAFE,
    KeepsWhatIsThere: DIFFERS,
    RestoresWhatItReplaced: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Compute], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
