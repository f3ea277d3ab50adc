"""Values of one BSON type as values of another, in Python: exactly, or `InexactError`.

*Exact* means that the value survives: the same number, instant, truth value or identity. Strings of numbers are in
plain notation (no exponent, no sign but "-", no needless leading zero, no "-0"), those of dates are
"2020-01-31T12:00:00.000Z" (UTC, years 1 to 9999), those of ObjectIds lower case. A double stands for the shortest
decimal number that reads back as the same double, so 0.1 is "0.1". A negative zero is no whole number.
"""

from __future__ import annotations

import re
from decimal import Decimal, DecimalException
from typing import Any, Final

import bson
from bson import Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS

__all__ = [
    "DATE",
    "INT",
    "LONG",
    "TYPES",
    "WHOLE",
    "InexactError",
    "as_bool",
    "as_int",
    "as_long",
    "bool_to_string",
    "date_to_string",
    "decimal_to_double",
    "decimal_to_string",
    "decimal_to_whole",
    "double_to_decimal",
    "double_to_string",
    "double_to_whole",
    "kind_of",
    "string_to_bool",
    "string_to_date",
    "string_to_decimal",
    "string_to_double",
    "string_to_int",
    "string_to_object_id",
    "string_to_whole",
    "whole_to_decimal",
    "whole_to_double",
    "whole_to_string",
]

TYPES: Final = ("int", "long", "double", "decimal", "string", "bool", "date", "objectId")

INT: Final = (-(2**31), 2**31 - 1)
LONG: Final = (-(2**63), 2**63 - 1)
WHOLE: Final = (-(2**53), 2**53)  # between these, every whole number is a double
DATE: Final = (-62135596800000, 253402300799999)  # the years 1 to 9999, in milliseconds
_PLAIN: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_OBJECT_ID: Final = re.compile(r"[0-9a-f]{24}")
_datetime: Final = type(DatetimeMS(0).as_datetime())

_KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "bool",
    Int64: "long",
    float: "double",
    Decimal128: "decimal",
    str: "string",
    _datetime: "date",
    DatetimeMS: "date",
    ObjectId: "objectId",
    dict: "object",
    list: "array",
}
_BSON_KINDS: Final = {
    0x01: "double", 0x02: "string", 0x03: "object", 0x04: "array", 0x05: "binData", 0x07: "objectId", 0x08: "bool",
    0x09: "date", 0x0A: "null", 0x0B: "regex", 0x0D: "javascript", 0x10: "int", 0x11: "timestamp", 0x12: "long",
    0x13: "decimal", 0x7F: "maxKey", 0xFF: "minKey",
}  # fmt: skip


class InexactError(Exception):
    """The value is not exactly one of the other type."""


def kind_of(value: Any) -> str:
    """The BSON type that a decoded value is stored as, by MongoDB's name; "" for what BSON cannot hold."""
    kind = type(value)
    if kind is int:
        return "int" if INT[0] <= value <= INT[1] else "long" if LONG[0] <= value <= LONG[1] else ""
    known = _KINDS.get(kind)
    if known is not None:
        return known
    try:
        return _BSON_KINDS.get(bson.encode({"": value})[4], "")
    except Exception:
        return ""


def _within(number: int, limits: tuple[int, int]) -> int:
    if limits[0] <= number <= limits[1]:
        return int(number)
    raise InexactError


def as_int(number: int) -> int:
    return _within(number, INT)


def as_long(number: int) -> Int64:
    return Int64(_within(number, LONG))


def as_bool(number: int) -> bool:
    return bool(_within(number, (0, 1)))


def whole_to_double(number: int) -> float:
    double = float(number)
    if int(double) != number:
        raise InexactError
    return double


def whole_to_decimal(number: int) -> Decimal128:
    return Decimal128(str(int(number)))


def whole_to_string(number: int) -> str:
    return str(int(number))


def _finite(double: float) -> Decimal:
    number = Decimal(repr(float(double)))
    if not number.is_finite():
        raise InexactError
    return number


def _whole(number: Decimal) -> int:
    """The whole number that a Decimal is; a negative zero is none, for it would lose its sign."""
    if not number.is_finite() or abs(number) > LONG[1] + 1 or (number.is_zero() and number.is_signed()):
        raise InexactError
    whole = int(number)
    if whole != number:
        raise InexactError
    return whole


def double_to_whole(double: float) -> int:
    return _whole(Decimal(float(_finite(double))))


def decimal_to_whole(value: Decimal128) -> int:
    return _whole(value.to_decimal())


def _plain(number: Decimal) -> str:
    """A finite number in plain notation."""
    if not number.is_finite() or (number.is_zero() and number.is_signed()):
        raise InexactError
    return format(number, "f")


def double_to_string(double: float) -> str:
    return _plain(_finite(double)).removesuffix(".0")


def double_to_decimal(double: float) -> Decimal128:
    number = Decimal(repr(float(double)))
    return Decimal128(format(number, "f").removesuffix(".0") if number.is_finite() else number)


def decimal_to_double(value: Decimal128) -> float:
    number = value.to_decimal()
    if number.is_snan():
        raise InexactError
    double = float(number)
    if not number.is_nan() and Decimal(repr(double)) != number:
        raise InexactError
    return double


def decimal_to_string(value: Decimal128) -> str:
    return _plain(value.to_decimal())


def _number(text: str) -> Decimal:
    if not _PLAIN.fullmatch(text):
        raise InexactError
    number = Decimal(text)
    if number.is_zero() and number.is_signed():
        raise InexactError
    return number


def string_to_whole(text: str) -> int:
    try:
        number = int(text) if len(text) <= 20 else None
    except ValueError:
        number = None
    if number is None or str(number) != text:  # int() also reads " 12", "+1", "1_0" and "007"
        raise InexactError
    return number


def string_to_int(text: str) -> int:
    try:
        number = int(text) if len(text) <= 11 else INT[1] + 1
    except ValueError:
        raise InexactError from None
    if not INT[0] <= number <= INT[1] or str(number) != text:
        raise InexactError
    return number


def string_to_double(text: str) -> float:
    number = _number(text)
    double = float(number)
    if Decimal(repr(double)) != number:
        raise InexactError
    return double


def string_to_decimal(text: str) -> Decimal128:
    number = _number(text)
    try:
        return Decimal128(number)
    except DecimalException:
        raise InexactError from None


def string_to_bool(text: str) -> bool:
    if text not in ("true", "false"):
        raise InexactError
    return text == "true"


def bool_to_string(value: bool) -> str:  # noqa: FBT001
    return "true" if value else "false"


def string_to_date(text: str) -> Any:
    try:
        date = _datetime.fromisoformat(text.removesuffix("Z"))
        if date_to_string(date) != text:
            raise InexactError
    except (ValueError, OverflowError):
        raise InexactError from None
    return date


def date_to_string(date: Any) -> str:
    instant = int(DatetimeMS(date)) if isinstance(date, _datetime) else int(date)
    moment = DatetimeMS(_within(instant, DATE)).as_datetime()
    return f"{moment.isoformat(timespec='milliseconds')}Z"


def string_to_object_id(text: str) -> ObjectId:
    if not _OBJECT_ID.fullmatch(text):
        raise InexactError
    return ObjectId(text)
