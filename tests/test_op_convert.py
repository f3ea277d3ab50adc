"""`convert`: which values convert and to what, and that MongoDB agrees wherever it is asked."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
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
from strategies import documents, values

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Expression, Operation, OperationError, Step
from lazymigrate.ops.conversions import CONVERSIONS
from lazymigrate.ops.convert import Convert, convert
from lazymigrate.ops.exact import TYPES
from lazymigrate.paths import all_of

ID = ObjectId("5f0a1b2c3d4e5f6a7b8c9d0e")
NOON = datetime(2020, 1, 31, 12)
ISO = "2020-01-31T12:00:00.000Z"
D = Decimal128

# what a value becomes; `...` where it is refused
EXACT: list[tuple[Any, str, Any]] = [
    ("12", "int", 12),
    ("-12", "int", -12),
    ("0", "int", 0),
    ("2147483647", "int", 2**31 - 1),
    ("12", "long", Int64(12)),
    ("9223372036854775807", "long", Int64(2**63 - 1)),
    (2.0, "int", 2),
    (-3.0, "long", Int64(-3)),
    (Int64(5), "int", 5),
    (5, "long", Int64(5)),
    (D("2.00"), "int", 2),
    (D("1E+3"), "long", Int64(1000)),
    (D("9223372036854775807"), "long", Int64(2**63 - 1)),
    (7, "double", 7.0),
    (Int64(2**53), "double", 2.0**53),
    ("12.5", "double", 12.5),
    ("12.50", "double", 12.5),
    ("0.1", "double", 0.1),
    (D("19.90"), "double", 19.9),
    (12, "decimal", D("12")),
    (0.1, "decimal", D("0.1")),
    (19.99, "decimal", D("19.99")),
    (2.0, "decimal", D("2")),
    ("12.50", "decimal", D("12.50")),
    (12, "string", "12"),
    (Int64(-(2**63)), "string", "-9223372036854775808"),
    (2.0, "string", "2"),
    (19.99, "string", "19.99"),
    (123456789.125, "string", "123456789.125"),
    (D("12.50"), "string", "12.50"),
    (True, "string", "true"),
    ("false", "bool", False),
    (1, "bool", True),
    (Int64(0), "bool", False),
    (1.0, "bool", True),
    (D("0"), "bool", False),
    (True, "int", 1),
    (False, "long", Int64(0)),
    (True, "double", 1.0),
    (True, "decimal", D("1")),
    (ISO, "date", NOON),
    ("0001-01-01T00:00:00.000Z", "date", datetime(1, 1, 1)),
    ("9999-12-31T23:59:59.999Z", "date", datetime(9999, 12, 31, 23, 59, 59, 999000)),
    (NOON, "string", ISO),
    ("5f0a1b2c3d4e5f6a7b8c9d0e", "objectId", ID),
    (ID, "string", "5f0a1b2c3d4e5f6a7b8c9d0e"),
]
ONLY_PYTHON: list[tuple[Any, str, Any]] = [
    (2.0**60, "long", Int64(2**60)),
    (Int64(2**60), "double", 2.0**60),
    (1e16, "string", "10000000000000000"),
    (0.30000000000000004, "string", "0.30000000000000004"),
    (1e-7, "string", "0.0000001"),
    (1 / 3, "decimal", D("0.3333333333333333")),
    (float("inf"), "decimal", D("Infinity")),
    (-0.0, "decimal", D("-0")),
    (D("1E+3"), "string", "1000"),
    (D("Infinity"), "double", float("inf")),
    ("1234567890.123456", "double", 1234567890.123456),
    ("0.0000001", "decimal", D("1E-7")),
]
REFUSED: list[tuple[Any, str]] = [
    *[(text, kind) for kind in ("int", "long", "double", "decimal") for text in
      [" 12", "12 ", "12\n", "1e3", "1E+3", "+1", "-0", "-0.0", "007", ".5", "5.", "", "１２", "1_0", "0x1", "NaN", "inf",
       "Infinity", "12\0", "$a", "text"]],
    ("1.0", "int"),
    ("2147483648", "int"),
    ("9223372036854775808", "long"),
    ("9" * 5000, "long"),
    (2.5, "int"),
    (2.0**31, "int"),
    (2.0**63, "long"),
    (-0.0, "int"),
    (float("nan"), "int"),
    (float("inf"), "long"),
    (Int64(2**31), "int"),
    (Int64(2**53 + 1), "double"),
    (D("2.5"), "int"),
    (D("NaN"), "int"),
    (D("sNaN"), "double"),
    (D("-0"), "int"),
    (D("1E+6000"), "long"),
    (D("1E+6000"), "double"),
    (D("1E-400"), "double"),
    (D("0.1234567890123456789"), "double"),
    ("0.1234567890123456789", "double"),
    ("1" * 35, "decimal"),
    ("9" * 7000, "decimal"),
    (float("nan"), "string"),
    (-0.0, "string"),
    (D("NaN"), "string"),
    (D("-0.00"), "string"),
    ("True", "bool"),
    ("1", "bool"),
    (2, "bool"),
    (-0.0, "bool"),
    ("2020-01-31", "date"),
    ("2020-01-31T12:00:00Z", "date"),
    ("2020-01-31T12:00:00.000", "date"),
    ("2020-01-31t12:00:00.000z", "date"),
    ("2020-01-31T12:00:00.000+00:00", "date"),
    ("2020-02-30T12:00:00.000Z", "date"),
    ("2020-01-31T24:00:00.000Z", "date"),
    ("0000-12-31T00:00:00.000Z", "date"),
    (DatetimeMS(253402300800000), "string"),
    (DatetimeMS(-62135596800001), "string"),
    (1580472000000, "date"),
    (NOON, "long"),
    (ID, "date"),
    ("5F0A1B2C3D4E5F6A7B8C9D0E", "objectId"),
    ("5f0a", "objectId"),
    ([12], "int"),
    ({"x": 12}, "string"),
    (b"12", "string"),
]  # fmt: skip

CASES: list[Case] = [
    *(
        (convert("a", kind), {"z": 1, "a": before, "b": 2}, {"z": 1, "a": after, "b": 2})
        for before, kind, after in EXACT
    ),
    *((convert("a", kind), {"a": before}, "at 'a'") for before, kind in REFUSED),
    *((convert("a", kind), {"a": None}, {"a": None}) for kind in TYPES),
    *((convert("a", kind), {"b": None}, {"b": None}) for kind in TYPES),
    *((convert("a", kind), {"a": after}, {"a": after}) for _, kind, after in EXACT),
    (convert("a.b.c", "int"), {"a": {"b": {"c": "5", "d": 1}}}, {"a": {"b": {"c": 5, "d": 1}}}),
    (convert("a.b.c", "int"), {"a": {}}, {"a": {}}),
    (convert("a", "int", back="decimal"), {"a": D("2.00")}, {"a": 2}),
    (convert("a.b", "int"), {"a": None}, "runs through 'a'"),
    (convert("a.b", "int"), {"a": [{"b": "5"}]}, "runs through 'a'"),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


@pytest.mark.parametrize(("before", "kind", "after"), ONLY_PYTHON)
def test_what_only_python_does_exactly(people: Collection[dict[str, Any]], before: Any, kind: Any, after: Any) -> None:
    check(people, convert("a", kind), {"a": before}, {"a": after}, only_python=True)


@pytest.mark.parametrize(("source", "target"), CONVERSIONS)
def test_the_way_back_restores(people: Collection[dict[str, Any]], source: Any, target: Any) -> None:
    count = Count()
    examples = [before for before, kind, _ in EXACT if kind == target] + [1, Int64(1), D("1"), None]
    for before in examples:
        lifecycle(people, convert("a", target, back=source), {"a": before}, count)
    assert count.restored >= 2, "null, and an ordinary value of the type"
    assert convert("a", target, back=source).lossless
    assert not convert("a", target).lossless
    assert convert("a", target).reverse() is None


def test_no_value_stands_in_an_error() -> None:
    for before, kind in REFUSED:
        if isinstance(before, str) and len(before) > 3:
            with pytest.raises(OperationError) as caught:
                applied(convert("a", kind), {"a": before})
            assert before not in str(caught.value)
            assert caught.value.__cause__ is None


def test_dates_with_a_time_zone_and_microseconds_convert_as_they_are_stored() -> None:
    zoned = datetime(2020, 1, 31, 14, 0, 0, 999, tzinfo=timezone(timedelta(hours=2)))
    assert applied(convert("a", "string"), {"a": zoned}) == {"a": ISO}


def test_a_string_that_is_not_utf8_is_refused_without_an_error(people: Collection[dict[str, Any]]) -> None:
    raw = bson.encode({"_id": 1, "a": "abcdef"}).replace(b"abcdef", b"1\xff\xfe\xc3(2")
    people.insert_one(RawBSONDocument(raw))
    for kind in TYPES:
        operation = convert("a", kind)
        admitted = people.count_documents({"$expr": {"$and": [operation.safe("$$ROOT"), True]}})
        assert admitted == (1 if kind == "string" else 0)


def test_a_collation_decides_nothing(people: Collection[dict[str, Any]]) -> None:
    people.insert_one({"_id": 1, "a": "2020-01-31t12:00:00.000z"})
    loose = {"locale": "en", "strength": 1, "alternate": "shifted"}
    assert people.count_documents({"$expr": convert("a", "date").safe("$$ROOT")}, collation=loose) == 0
    assert people.count_documents({"$expr": {"$eq": ["$a", "20200131T120000000Z"]}}, collation=loose) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a", "integer"), "is not a type"),
        (("a", None), "is not a type"),
        (("a", "int", "text"), "is not a type"),
        (("a", "int", "int"), "are the same type"),
        (("a", "date", "int"), "have no values in common"),
        (("a", "objectId", "date"), "have no values in common"),
        (("a.0", "int"), "array index"),
        (("", "int"), "non-empty"),
    ],
)
def test_wrong_declarations(arguments: tuple[Any, ...], message: str) -> None:
    path, to, *back = arguments
    with pytest.raises(SchemaError, match=message):
        convert(path, to, back=back[0] if back else None)


def test_descriptions() -> None:
    assert str(convert("a.b", "int")) == "a.b: int"
    assert convert("a", "int", back="string").reverse() == Convert("a", "string", "int")
    assert convert("a", "int").effects().paths == ("a",)


numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.integers(-(10**9), 10**9).map(float),
    st.floats(),
    st.integers(-(10**17), 10**17).flatmap(lambda n: st.integers(0, 18).map(lambda p: n / 10**p)),
    st.decimals(allow_nan=True, places=3, min_value=-(10**9), max_value=10**9).map(Decimal128),
    st.tuples(st.integers(0, 10**16), st.integers(-330, 330)).map(lambda t: Decimal128(f"{t[0]}E{t[1]}")),
    st.sampled_from([-0.0, 0.0, 1.0, 2.0**53, 2.0**63, Decimal128("-0"), Decimal128("NaN"), Decimal128("1.0"), 5e-324]),
)
dates = st.one_of(
    st.datetimes(max_value=datetime(9999, 12, 31)).map(lambda d: d.replace(microsecond=d.microsecond // 1000 * 1000)),
    st.integers(-(2**63), 2**63 - 1).map(DatetimeMS),
)
texts = st.one_of(
    numbers.map(str),
    st.decimals(places=2, min_value=-(10**6), max_value=10**6).map(str),
    st.from_regex(r"\A[-+ ]?[0-9]{0,20}(\.[0-9]{0,20})?([eE][-+]?[0-9]{1,3})?\n?\Z"),
    st.datetimes().map(lambda d: d.isoformat(timespec="milliseconds") + "Z"),
    st.from_regex(r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\.[0-9]{3}Z\Z"),
    st.binary(min_size=12, max_size=12).map(lambda b: b.hex()),
    st.sampled_from(["true", "false", "True", "", "$a", "5F0A1B2C3D4E5F6A7B8C9D0E", "NaN", "Infinity"]),
)
objects = st.binary(min_size=12, max_size=12).map(ObjectId)
convertible = numbers | texts | dates | objects | st.booleans() | st.none() | values


@st.composite
def met(draw: st.DrawFn) -> tuple[Operation, dict[str, Any]]:
    source, target = draw(st.sampled_from(sorted(CONVERSIONS)))
    path = draw(st.sampled_from(["a", "a.b"]))
    document = draw(documents)
    if draw(st.integers(0, 9)):
        value = draw(convertible)
        document["a"] = value if path == "a" else {"d": 1, "b": value}
    return convert(path, target, back=draw(st.sampled_from([None, source]))), document


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=met())
def test_mongodb_does_the_same_where_it_is_used(
    people: Collection[dict[str, Any]], case: tuple[Operation, dict[str, Any]]
) -> None:
    lifecycle(people, *case)


def test_ordinary_documents_are_admitted(people: Collection[dict[str, Any]]) -> None:
    prices = [round(0.07 * n, 2) for n in range(1, 300)]
    for kind in ("string", "decimal"):
        people.delete_many({})
        people.insert_many([{"a": price} for price in prices])
        assert people.count_documents({"$expr": convert("a", kind).safe("$$ROOT")}) == len(prices)


class Truncates(Convert):
    """A mutant: it trusts MongoDB's own conversion of numbers."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        converted = {"$convert": {"input": f"${self.path}", "to": self.to, "onError": None}}
        trusted = all_of([{"$isNumber": f"${self.path}"}, {"$ne": [converted, None]}])
        return {"$or": [super().safe(document), trusted]}


class NullIsMissing(Convert):
    """A mutant: it drops null."""

    __slots__ = ()

    def compile(self) -> Step:
        step = super().compile()

        def change(document: dict[str, Any]) -> None:
            step(document)
            if document.get(self.path) is None:
                document.pop(self.path, None)

        return change


class RunsThrough(RunsThroughAnything, Convert):
    """A mutant: it looks at no parent at all."""

    __slots__ = ()


class RestoresWhatItConverts(RestoresWhatIsSafe, Convert):
    """A mutant: it says that the way back restores whatever is converted."""

    __slots__ = ()


MUTANTS = {Truncates: UNSAFE, NullIsMissing: DIFFERS, RunsThrough: UNSAFE, RestoresWhatItConverts: LOST}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Convert], failure: str) -> None:
    assert failure in caught(people, mutant, CASES)
