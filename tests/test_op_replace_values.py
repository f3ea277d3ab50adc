"""`replace_values`: what is replaced by what, compared as MongoDB compares."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Regex, Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle import (
    DIFFERS,
    LOST,
    UNSAFE,
    Case,
    Count,
    RestoresWhatIsSafe,
    RunsThroughAnything,
    applied,
    caught,
    check,
    lifecycle,
)
from pymongo.collection import Collection
from strategies import documents

from lazymigrate.documents import same
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, Operation, Step
from lazymigrate.ops.replace_values import ReplaceValues, compared, replace_values
from lazymigrate.paths import missing_, put_, split_path

NAN = float("nan")
STATUS = {"new": 1, "done": 2, None: 0}

CASES: list[Case] = [
    (replace_values("a", STATUS), {"z": 1, "a": "new", "b": 2}, {"z": 1, "a": 1, "b": 2}),
    (replace_values("a", STATUS), {"a": "old"}, {"a": "old"}),
    (replace_values("a", STATUS), {"a": None}, {"a": 0}),
    (replace_values("a", STATUS), {"b": None}, {"b": None}),
    (replace_values("a", STATUS), {"a": "NEW"}, {"a": "NEW"}),
    (replace_values("a", STATUS), {"a": "newer"}, {"a": "newer"}),
    (replace_values("a", STATUS), {"a": ["new"]}, {"a": ["new"]}),
    (replace_values("a", STATUS), {"a": {"new": 1}}, {"a": {"new": 1}}),
    (replace_values("a", STATUS, otherwise="?"), {"a": "old"}, {"a": "?"}),
    (replace_values("a", STATUS, otherwise=None), {"a": [1]}, {"a": None}),
    (replace_values("a", {"new": 1}, otherwise="?"), {"a": None}, {"a": "?"}),
    (replace_values("a", {"new": 1}, otherwise="?"), {}, {}),
    (replace_values("a", {1: "one"}), {"a": 1}, {"a": "one"}),
    (replace_values("a", {1: "one"}), {"a": 1.0}, {"a": "one"}),
    (replace_values("a", {1: "one"}), {"a": Int64(1)}, {"a": "one"}),
    (replace_values("a", {1: "one"}), {"a": Decimal128("1.00")}, {"a": "one"}),
    (replace_values("a", {1: "one"}), {"a": True}, {"a": True}),
    (replace_values("a", [(1, "one"), (True, "yes")]), {"a": True}, {"a": "yes"}),
    (replace_values("a", {True: "yes", False: "no"}), {"a": 0}, {"a": 0}),
    (replace_values("a", {0.1: "tenth"}), {"a": Decimal128("0.1")}, {"a": Decimal128("0.1")}),
    (replace_values("a", {0.5: "half"}), {"a": Decimal128("0.5")}, {"a": "half"}),
    (replace_values("a", {2.0**53: "big"}), {"a": 2**53 + 1}, {"a": 2**53 + 1}),
    (replace_values("a", {NAN: 0}), {"a": NAN}, {"a": 0}),
    (replace_values("a", {NAN: 0}), {"a": Decimal128("NaN")}, {"a": 0}),
    (replace_values("a", {0: "zero"}), {"a": -0.0}, {"a": "zero"}),
    (replace_values("a", {"$b": "$c"}), {"a": "$b", "c": 1}, {"a": "$c", "c": 1}),
    (replace_values("a", {"": "empty"}), {"a": ""}, {"a": "empty"}),
    (replace_values("a", {"ä": 1}), {"a": "ä"}, {"a": 1}),
    (replace_values("a", {"x": {"y": ["$z"]}}), {"a": "x"}, {"a": {"y": ["$z"]}}),
    (replace_values("a", {"x": "y", "y": "x"}), {"a": "y"}, {"a": "x"}),
    (replace_values("a", {datetime(2020, 1, 1): "then"}), {"a": datetime(2020, 1, 1)}, {"a": "then"}),
    (replace_values("a", {ObjectId("0" * 24): None}), {"a": ObjectId("0" * 24)}, {"a": None}),
    (replace_values("a", {"x": 1}), {"a": b"x"}, {"a": b"x"}),
    (replace_values("a.b.c", {"x": 1}), {"a": {"b": {"c": "x", "d": 1}}}, {"a": {"b": {"c": 1, "d": 1}}}),
    (replace_values("a.b.c", {"x": 1}), {"a": {}}, {"a": {}}),
    (replace_values("a.b", {"x": 1}), {"a": None}, "runs through 'a'"),
    (replace_values("a.b", {"x": 1}), {"a": [{"b": "x"}]}, "runs through 'a'"),
    (replace_values("a.b", {"x": 1}, otherwise=2), {"a": 5}, "runs through 'a'"),
]
ONLY_PYTHON: list[tuple[Operation, Any, Any]] = [
    (replace_values("a", [({"x": 1, "y": 2}, "point")]), {"x": 1.0, "y": 2}, "point"),
    (replace_values("a", [({"x": 1, "y": 2}, "point")]), {"y": 2, "x": 1}, {"y": 2, "x": 1}),
    (replace_values("a", [({"x": 1}, "point")]), {"x": True}, {"x": True}),
    (replace_values("a", [([], None)]), [], None),
    (replace_values("a", [([1, [2]], "list")]), [1, [Decimal128("2")]], "list"),
    (replace_values("a", [(b"x", "bytes")]), b"x", "bytes"),
    (replace_values("a", [(b"x", "bytes")]), Binary(b"x", 5), Binary(b"x", 5)),
    (replace_values("a", [(Binary(UUID(int=1).bytes, 4), "one")]), UUID(int=1), "one"),
    (replace_values("a", [(Regex("^x"), "regex")]), Regex("^x"), "regex"),
    (replace_values("a", [(Timestamp(1, 2), "stamp")]), Timestamp(1, 2), "stamp"),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


@pytest.mark.parametrize(("operation", "before", "after"), ONLY_PYTHON)
def test_what_is_compared_in_python_only(
    people: Collection[dict[str, Any]], operation: Operation, before: Any, after: Any
) -> None:
    assert same(applied(operation, {"a": before}), {"a": after})
    if not isinstance(before, UUID):
        count = Count()
        lifecycle(people, operation, {"a": before}, count)
        lifecycle(people, operation, {"a": "text"}, count)
        assert (count.documents, count.safe) == (2, 1), "other types than those of the constants are admitted"


@pytest.mark.parametrize(
    ("pairs", "before", "restored"),
    [
        ([("x", 1), (None, 2)], "x", 1),
        ([("x", 1), (None, 2)], None, 1),
        ([("x", 1), (None, 2)], "other", 1),
        ([("x", 1), (None, 2)], 1, 0),
        ([("x", 1), (None, 2)], 1.0, 0),
        ([("x", "y"), ("y", "x")], "x", 1),
        ([(1, "one")], 1, 1),
        ([(1, "one")], 1.0, 0),
        ([(1, "one")], Int64(1), 0),
        ([(1.0, "one")], 1.0, 1),
        ([(0.0, "zero")], -0.0, 0),
        ([("x", {"y": 1})], {"y": 1}, 0),
        ([("x", {"y": 1})], {"y": 2}, 0),
        ([("x", {"y": 1})], [1], 1),
        ([("x", 1), ("y", 1.0)], "x", 0),
    ],
)
def test_where_the_way_back_restores(
    people: Collection[dict[str, Any]], pairs: list[Any], before: Any, restored: int
) -> None:
    count = Count()
    lifecycle(people, replace_values("a", pairs), {"a": before}, count)
    assert (count.safe, count.restored) == (1, restored)


def test_the_way_back() -> None:
    assert replace_values("a", {"x": 1, "y": 2}).reverse() == replace_values("a", {1: "x", 2: "y"})
    assert replace_values("a", {"x": 1, "y": 2}).lossless
    for operation in (replace_values("a", {"x": 1, "y": 1.0}), replace_values("a", {"x": 1}, otherwise=2)):
        assert operation.reverse() is None
        assert not operation.lossless


def test_a_collation_decides_nothing(people: Collection[dict[str, Any]]) -> None:
    people.insert_many([{"_id": 1, "a": "new"}, {"_id": 2, "a": "NEW"}])
    operation = replace_values("a", {"new": 1})
    change = [{"$replaceWith": operation.expression("$$ROOT")}]
    people.update_many({}, change, collation={"locale": "en", "strength": 1})
    assert list(people.find()) == [{"_id": 1, "a": 1}, {"_id": 2, "a": "NEW"}]


def test_a_constant_is_never_shared_between_documents() -> None:
    operation = replace_values("a", {"x": [1]}, otherwise={"y": 1})
    first = applied(operation, {"a": "x"})
    first["a"].append(2)
    assert applied(operation, {"a": "x"}) == {"a": [1]}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "nothing to replace"),
        ([], "nothing to replace"),
        ("ab", "dict or a list of pairs"),
        (5, "dict or a list of pairs"),
        ([("a",)], "no pair"),
        (["ab"], "no pair"),
        ([(1, "x"), (1.0, "y")], "the same to MongoDB"),
        ([(Decimal128("1.0"), "x"), (Int64(1), "y")], "the same to MongoDB"),
        ([({"x": 1}, "x"), ({"x": 1.0}, "y")], "the same to MongoDB"),
        ({"x": object()}, "cannot be stored as BSON"),
        ({object(): "x"}, "cannot be stored as BSON"),
    ],
)
def test_wrong_declarations(mapping: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        replace_values("a", mapping)
    with pytest.raises(SchemaError):
        replace_values("a.0", {"x": 1})
    with pytest.raises(SchemaError):
        replace_values("a", {"x": 1}, otherwise=object())


def test_descriptions() -> None:
    assert str(replace_values("a.b", {"x": 1})) == "a.b: 1 value replaced"
    assert str(replace_values("a", {"x": 1, "y": 2})) == "a: 2 values replaced"
    assert replace_values("a", {"x": 1}).effects().paths == ("a",)


constants = st.one_of(
    st.sampled_from(["new", "New", "", "$b", "ä", "a\0b"]),
    st.sampled_from([0, 1, -1, Int64(1), 1.0, 0.0, -0.0, 0.1, NAN, Decimal128("1.0"), Decimal128("0.1"), 2**53]),
    st.sampled_from([None, True, False, datetime(2020, 1, 1), ObjectId("0" * 24), b"x", Timestamp(1, 2)]),
    st.sampled_from([{"x": 1}, {"x": 1.0}, {"x": "$a"}, [], [1], {}]),
)


@st.composite
def met(draw: st.DrawFn) -> tuple[Operation, dict[str, Any]]:
    path = draw(st.sampled_from(["a", "a.b"]))
    pairs = draw(st.lists(st.tuples(constants, constants), min_size=1, max_size=5, unique_by=lambda p: compared(p[0])))
    operation = replace_values(path, pairs, otherwise=draw(st.one_of(st.just(...), st.just(...), constants)))
    document = draw(documents)
    if draw(st.integers(0, 9)):
        value = draw(st.one_of(st.sampled_from([old for old, _ in pairs]), constants))
        document["a"] = value if path == "a" else {"b": value, "d": 1}
    return operation, document


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=met())
def test_mongodb_does_the_same_where_it_is_used(
    people: Collection[dict[str, Any]], case: tuple[Operation, dict[str, Any]]
) -> None:
    lifecycle(people, *case)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=constants, other=constants | st.floats() | st.integers(-(2**63), 2**63 - 1))
def test_constants_are_compared_as_mongodb_compares_them(
    people: Collection[dict[str, Any]], one: Any, other: Any
) -> None:
    people.delete_many({})
    people.insert_one({"_id": 1, "one": one, "other": other})
    assert (compared(one) == compared(other)) == bool(people.count_documents({"$expr": {"$eq": ["$one", "$other"]}}))


class ComparedAsPython(ReplaceValues):
    """A mutant: it takes True for 1."""

    __slots__ = ()

    def compile(self) -> Step:
        path, pairs, step = self.path, self.pairs, super().compile()

        def replace(document: dict[str, Any]) -> None:
            if path in document and any(document[path] == old for old, _ in pairs):
                document[path] = next(new for old, new in pairs if document[path] == old)
            else:
                step(document)

        return replace


class NullIsMissing(ReplaceValues):
    """A mutant: it leaves null alone."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        return {"$cond": [{"$eq": [f"${self.path}", None]}, document, super().expression(document)]}


class MissingIsNull(ReplaceValues):
    """A mutant: it sets what null would become where there is nothing."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        null = put_(document, parts, {"$literal": None})
        return super().expression({"$cond": [missing_(document, parts), null, document]})


class RunsThrough(RunsThroughAnything, ReplaceValues):
    """A mutant: it looks at no parent at all."""

    __slots__ = ()


class RestoresWhatIsEqual(RestoresWhatIsSafe, ReplaceValues):
    """A mutant: it says that a value comes back that only compares as equal to a constant."""

    __slots__ = ()


MUTANTS = {
    ComparedAsPython: DIFFERS,
    NullIsMissing: DIFFERS,
    MissingIsNull: DIFFERS,
    RunsThrough: UNSAFE,
    RestoresWhatIsEqual: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[ReplaceValues], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
