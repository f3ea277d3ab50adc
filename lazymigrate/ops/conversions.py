"""Which conversions between BSON types there are, and where MongoDB does what Python does.

MongoDB's own conversions are wider ("+1" and "007" are numbers, 2.5 is the int 2) and coarser (a double has six digits
as a string, fifteen as a Decimal128). So its side is used only where going there and back gives the same, byte for
byte. It never uses `$regexMatch`, which fails on a string that is not valid UTF-8, and never compares strings, which
a collation could decide. What is exact, `exact` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bson import Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS

from lazymigrate.operation import Expression
from lazymigrate.ops.exact import (
    DATE,
    INT,
    LONG,
    WHOLE,
    as_bool,
    as_int,
    as_long,
    bool_to_string,
    date_to_string,
    decimal_to_double,
    decimal_to_string,
    decimal_to_whole,
    double_to_decimal,
    double_to_string,
    double_to_whole,
    string_to_bool,
    string_to_date,
    string_to_decimal,
    string_to_double,
    string_to_int,
    string_to_object_id,
    string_to_whole,
    whole_to_decimal,
    whole_to_double,
    whole_to_string,
)
from lazymigrate.paths import all_of

__all__ = ["CONVERSIONS", "Conversion", "same_bytes_"]


def _between_(value: Expression, limits: tuple[int, int]) -> Expression:
    low, high = limits
    return {"$and": [{"$gte": [value, {"$literal": Int64(low)}]}, {"$lte": [value, {"$literal": Int64(high)}]}]}


def same_bytes_(one: Expression, other: Expression) -> Expression:
    """True where two strings are the same, under any collation."""
    return {
        "$and": [
            {"$eq": [{"$strLenBytes": one}, {"$strLenBytes": other}]},
            {"$eq": [{"$indexOfBytes": [one, other]}, 0]},
        ]
    }


def _without_(text: Expression, letters: str) -> Expression:
    return all_of({"$eq": [{"$indexOfBytes": [text, {"$literal": letter}]}, -1]} for letter in letters)


def _signed_(number: Expression, text: Expression) -> Expression:
    """True but for a negative zero."""
    return {"$or": [{"$ne": [number, 0]}, _without_(text, "-")]}


def _is_whole_(number: Expression) -> Expression:
    return {"$eq": [{"$trunc": number}, number]}


def _always(_value: Expression) -> Expression:
    return True


def _in(limits: tuple[int, int]) -> Callable[[Expression], Expression]:
    return lambda value: _between_(value, limits)


def _whole_in(limits: tuple[int, int]) -> Callable[[Expression], Expression]:
    return lambda value: all_of(
        [_between_(value, limits), _is_whole_(value), _signed_(value, {"$toString": value})],
    )


def _to(kind: str) -> Callable[[Expression], Expression]:
    return lambda value: {"$convert": {"input": value, "to": kind}}


def _double_text(value: Expression) -> Expression:
    """The shortest notation of a double, where `_double_has_text`."""
    fifteen = {"$toString": {"$toDecimal": value}}
    return {
        "$cond": [_is_whole_(value), {"$toString": {"$toLong": value}}, {"$rtrim": {"input": fifteen, "chars": "0"}}]
    }


def _double_has_text(value: Expression) -> Expression:
    """Whole and in range, or with no more than fifteen digits: these are then its shortest notation."""
    fifteen = {"$toDecimal": value}
    back = {"$convert": {"input": fifteen, "to": "double", "onError": None}}
    return {
        "$cond": [
            _is_whole_(value),
            all_of([_between_(value, WHOLE), _signed_(value, {"$toString": value})]),
            all_of([_without_({"$toString": fifteen}, "E"), {"$eq": [back, value]}]),
        ]
    }


def _decimal_is_double(value: Expression) -> Expression:
    """No more than fifteen digits, and far from where doubles end."""
    double = {"$convert": {"input": value, "to": "double", "onError": None}}
    size = {"$abs": value}
    return all_of(
        [
            {"$or": [{"$eq": [value, 0]}, {"$and": [{"$gt": [size, 1e-300]}, {"$lt": [size, 1e300]}]}]},
            {"$eq": [{"$toDecimal": double}, value]},
        ]
    )


def _decimal_is_plain(value: Expression) -> Expression:
    text = {"$toString": value}
    return all_of([_without_(text, "ENI"), _signed_(value, text)])


def _round_trips(kind: str, zero: Any) -> Callable[[Expression], Expression]:
    """A string that MongoDB reads as a value whose string it is; `zero` is a value whose string can always be read."""
    return lambda value: same_bytes_(
        {"$toString": {"$convert": {"input": value, "to": kind, "onError": {"$literal": zero}}}}, value
    )


def _string_is_decimal(value: Expression) -> Expression:
    number = {"$convert": {"input": value, "to": "decimal", "onError": {"$literal": Decimal128("0")}}}
    return all_of([_round_trips("decimal", Decimal128("0"))(value), _without_(value, "ENI"), _signed_(number, value)])


def _string_is_double(value: Expression) -> Expression:
    return all_of([{"$lte": [{"$strLenBytes": value}, 15]}, _string_is_decimal(value)])


def _string_is_date(value: Expression) -> Expression:
    epoch = {"$literal": DatetimeMS(0)}
    date = {"$convert": {"input": value, "to": "date", "onError": epoch}}
    return {"$cond": [_is_year(date), same_bytes_({"$toString": date}, value), False]}


def _is_year(value: Expression) -> Expression:
    first, last = ({"$literal": DatetimeMS(limit)} for limit in DATE)
    return {"$and": [{"$gte": [value, first]}, {"$lte": [value, last]}]}


def _string_is_bool(value: Expression) -> Expression:
    return {"$or": [same_bytes_(value, {"$literal": "true"}), same_bytes_(value, {"$literal": "false"})]}


def _string_truth(value: Expression) -> Expression:
    return {"$eq": [{"$strLenBytes": value}, 4]}


def _short(text: Expression) -> Expression:
    """Without zeros behind the point."""
    return {"$or": [_without_(text, "."), same_bytes_({"$rtrim": {"input": text, "chars": "0"}}, text)]}


def _decimal_is_short(value: Expression) -> Expression:
    text = {"$toString": value}
    return all_of([_without_(text, "E"), _short(text)])


def _decimal_is_digits(value: Expression) -> Expression:
    return _without_({"$toString": value}, "E.")


@dataclass(frozen=True, slots=True)
class Conversion:
    """From one type to another: `python` converts or raises `InexactError`; `mongo` is the same where `safe`, and the
    value comes back as the same bytes where `safe` and `returns`.
    """

    python: Callable[[Any], Any]
    mongo: Callable[[Expression], Expression]
    safe: Callable[[Expression], Expression] = _always
    returns: Callable[[Expression], Expression] = _always


def _via(first: Callable[[Any], Any], then: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: then(first(value))


def _double_decimal(value: Expression) -> Expression:
    return {"$toDecimal": _double_text(value)}


_BIT: Final = (0, 1)
_ZERO_ID: Final = ObjectId("0" * 24)

CONVERSIONS: Final[dict[tuple[str, str], Conversion]] = {
    ("int", "long"): Conversion(as_long, _to("long")),
    ("int", "double"): Conversion(whole_to_double, _to("double")),
    ("int", "decimal"): Conversion(whole_to_decimal, _to("decimal")),
    ("int", "string"): Conversion(whole_to_string, _to("string")),
    ("int", "bool"): Conversion(as_bool, _to("bool"), _in(_BIT)),
    ("long", "int"): Conversion(as_int, _to("int"), _in(INT)),
    ("long", "double"): Conversion(whole_to_double, _to("double"), _in(WHOLE)),
    ("long", "decimal"): Conversion(whole_to_decimal, _to("decimal")),
    ("long", "string"): Conversion(whole_to_string, _to("string")),
    ("long", "bool"): Conversion(as_bool, _to("bool"), _in(_BIT)),
    ("double", "int"): Conversion(_via(double_to_whole, as_int), _to("int"), _whole_in(INT)),
    ("double", "long"): Conversion(_via(double_to_whole, as_long), _to("long"), _whole_in(WHOLE)),
    ("double", "decimal"): Conversion(double_to_decimal, _double_decimal, _double_has_text),
    ("double", "string"): Conversion(double_to_string, _double_text, _double_has_text),
    ("double", "bool"): Conversion(_via(double_to_whole, as_bool), _to("bool"), _whole_in(_BIT)),
    ("decimal", "int"): Conversion(_via(decimal_to_whole, as_int), _to("int"), _whole_in(INT), _decimal_is_digits),
    ("decimal", "long"): Conversion(_via(decimal_to_whole, as_long), _to("long"), _whole_in(LONG), _decimal_is_digits),
    ("decimal", "double"): Conversion(decimal_to_double, _to("double"), _decimal_is_double, _decimal_is_short),
    ("decimal", "string"): Conversion(decimal_to_string, _to("string"), _decimal_is_plain),
    ("decimal", "bool"): Conversion(_via(decimal_to_whole, as_bool), _to("bool"), _whole_in(_BIT), _decimal_is_digits),
    ("string", "int"): Conversion(string_to_int, _to("int"), _round_trips("int", 0)),
    ("string", "long"): Conversion(_via(string_to_whole, as_long), _to("long"), _round_trips("long", 0)),
    ("string", "double"): Conversion(string_to_double, _to("double"), _string_is_double, _short),
    ("string", "decimal"): Conversion(string_to_decimal, _to("decimal"), _string_is_decimal),
    ("string", "bool"): Conversion(string_to_bool, _string_truth, _string_is_bool),
    ("string", "date"): Conversion(string_to_date, _to("date"), _string_is_date),
    ("string", "objectId"): Conversion(string_to_object_id, _to("objectId"), _round_trips("objectId", _ZERO_ID)),
    ("bool", "int"): Conversion(as_int, _to("int")),
    ("bool", "long"): Conversion(as_long, _to("long")),
    ("bool", "double"): Conversion(whole_to_double, _to("double")),
    ("bool", "decimal"): Conversion(whole_to_decimal, _to("decimal")),
    ("bool", "string"): Conversion(bool_to_string, _to("string")),
    ("date", "string"): Conversion(date_to_string, _to("string"), _is_year),
    ("objectId", "string"): Conversion(str, _to("string")),
}
