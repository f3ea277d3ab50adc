"""`call`: a plain function among operations, held to the fields that it declares."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle import DIFFERS, LOST, MEANING, Case, applied, caught, check
from pymongo.collection import Collection
from strategies import documents

from lazymigrate import Schema, UpgradeError
from lazymigrate.documents import same
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, Operation, OperationError, Step
from lazymigrate.ops.call import Call, call


def tidy(document: dict[str, Any]) -> None:
    if "c" in document:
        document["a"] = [document.get("b"), document.pop("c")]


def untidy(document: dict[str, Any]) -> None:
    document["c"] = document.pop("a")[1]


def empty(document: dict[str, Any]) -> None:
    document.clear()


def meddle(document: dict[str, Any]) -> None:
    document["b"] = 9


def meddle_inside(document: dict[str, Any]) -> None:
    document.setdefault("b", {})["x"] = 9


def identify(document: dict[str, Any]) -> None:
    document["_id"] = 9


def drop_identity(document: dict[str, Any]) -> None:
    del document["_id"]


def seen(document: dict[str, Any]) -> None:
    document["a"] = sorted(document)


def done(function: Any, *, reads: Any = ()) -> Operation:
    return call(function, touches={"a", "c"}, reads=reads)


CASES: list[Case] = [
    (done(tidy, reads={"b"}), {"c": 1, "b": 2, "d": 3}, {"b": 2, "d": 3, "a": [2, 1]}),
    (done(tidy), {"c": 1, "b": 2}, {"b": 2, "a": [None, 1]}),
    (done(tidy), {"b": 2}, {"b": 2}),
    (done(tidy), {"c": None}, {"a": [None, None]}),
    (done(tidy), {"a": 0, "d": 1, "c": 1}, {"a": [None, 1], "d": 1}),
    (done(seen, reads={"b"}), {"_id": 1, "d": 1, "c": 2, "b": 3}, {"_id": 1, "d": 1, "c": 2, "b": 3, "a": ["_id", "b", "c"]}),
    (done(drop_identity), {"_id": 1, "a": 1}, {"_id": 1, "a": 1}),
    (done(identify), {"_id": 1}, "it changed the _id"),
    (done(identify), {}, "it gave the document an _id"),
    (done(meddle, reads={"b"}), {"b": 1}, "it changed the field 'b'"),
    (done(meddle), {"b": 1}, "it changed the field 'b'"),
    (done(meddle), {}, "it changed the field 'b'"),
    (done(meddle_inside, reads={"b"}), {"b": {"x": 1}}, "it changed the field 'b'"),
    (done(empty, reads={"b"}), {"b": 1}, "it changed the field 'b'"),
    (done(empty), {"_id": 1, "a": 1, "b": 2, "c": 3}, {"_id": 1, "b": 2}),
    (call(tidy, touches={"a", "c"}, back=untidy), {"a": 0, "c": 1}, {"a": [None, 1]}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


def test_what_it_raises_is_raised_and_what_it_returns_is_refused() -> None:
    with pytest.raises(KeyError, match="a"):
        applied(call(untidy, touches={"a"}), {})
    with pytest.raises(SchemaError, match=r"call\(.*returned a int"):
        applied(call(lambda document: 5, touches={"a"}), {})  # type: ignore[arg-type,return-value]


def test_the_way_back_is_given_the_same_fields() -> None:
    operation = call(tidy, touches={"a", "c"}, reads={"b"}, back=untidy)
    back = operation.reverse()
    assert back is not None
    before = {"b": 2, "c": 1}
    assert applied(back, applied(operation, before)) == before
    assert back.reverse() == operation
    assert not operation.lossless
    assert call(tidy, touches={"a"}).reverse() is None
    wrong = call(tidy, touches={"a", "c"}, back=meddle).reverse()
    assert wrong is not None
    with pytest.raises(OperationError, match="it changed the field 'b'"):
        applied(wrong, {})


def test_it_has_no_form_inside_mongodb() -> None:
    with pytest.raises(SchemaError, match="has no form inside MongoDB"):
        done(tidy).expression("$$ROOT")
    assert done(tidy).safe("$$ROOT") is False


async def waits(document: dict[str, Any]) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"function": "tidy"}, "Decorate a function"),
        ({"function": waits}, "coroutine"),
        ({"function": lambda: None}, "one positional parameter"),
        ({"back": waits}, "coroutine"),
        ({"touches": ()}, "could change nothing"),
        ({"touches": None}, "could change nothing"),
        ({"touches": "name"}, "set of field names"),
        ({"touches": {"a.b"}}, "top-level fields"),
        ({"touches": {"_id"}}, "top-level fields"),
        ({"reads": "name"}, "set of field names"),
        ({"reads": {"a.b"}}, "top-level fields"),
    ],
)
def test_wrong_declarations(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        call(**{"function": tidy, "touches": {"a"}, **arguments})


def test_descriptions_and_effects() -> None:
    operation = call(tidy, touches={"c", "a"}, reads={"b"})
    assert str(operation) == "call tidy"
    assert (operation.effects().computes, operation.effects().reads) == (("a", "c"), ("b",))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=documents, function=st.sampled_from([tidy, seen, empty, meddle, untidy]))
def test_fields_that_it_does_not_touch_are_as_they_were(document: dict[str, Any], function: Any) -> None:
    before = copy.deepcopy(document)
    try:
        changed = applied(done(function), document)
    except (OperationError, KeyError, TypeError, IndexError):
        return
    others = [name for name in before if name not in ("a", "c")]
    assert [name for name in changed if name not in ("a", "c")] == others
    assert all(same(changed[name], before[name]) for name in others)


class RunsInMongoDB(Call):
    """A mutant: it claims a form inside MongoDB."""

    __slots__ = ()

    @property
    def renders(self) -> bool:
        return True

    def safe(self, document: Expression) -> Expression:
        return True

    def expression(self, document: Expression) -> Expression:
        return document


class Unguarded(Call):
    """A mutant: the function is given the whole document."""

    __slots__ = ()

    def compile(self) -> Step:
        return self.function


class GivesNothingToRead(Call):
    """A mutant: the function is not given what it only reads."""

    __slots__ = ()

    def compile(self) -> Step:
        return Call(self.function, self.touches).compile()


class RestoresEverything(Call):
    """A mutant: it says that the way back restores every document."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        return self.back is not None


MUTANTS = {
    RunsInMongoDB: DIFFERS,
    Unguarded: MEANING,
    GivesNothingToRead: MEANING,
    RestoresEverything: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Call], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)


def test_an_error_names_the_call_and_the_field_that_it_is_not_given() -> None:
    def give(person: dict[str, Any]) -> None:
        person["a"] = person["b"]

    def take(person: dict[str, Any]) -> None:
        person["a"] = person["c"]

    schema = Schema("people")
    schema.revision(2, call(give, touches={"a"}, reads={"b"}), call(take, touches={"a"}))
    with pytest.raises(UpgradeError, match=r"'call take' raised KeyError for 'c', which it is not given"):
        schema.upgrade({"_id": 1, "b": 1, "c": 2})
    with pytest.raises(UpgradeError, match=r"'call give' raised KeyError for 'b'\. Mend") as caught:
        schema.upgrade({"_id": 1})
    assert isinstance(caught.value.__cause__, KeyError)
