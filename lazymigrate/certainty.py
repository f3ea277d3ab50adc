"""What is certain about a condition without asking the server: of a scalar, of a document, and of nothing at all.

`decided` says True or False only where MongoDB would say the same in any case, and None elsewhere. Comparisons are within
one type, as MongoDB brackets them; a condition that asks for null holds where the field is missing, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from bson import Decimal128

from lazymigrate.ops.exact import kind_of
from lazymigrate.origin import Parts
from lazymigrate.predicates import is_regex, operators, separate

__all__ = ["DOCUMENT", "MISSING", "SCALARS", "blind", "bracket", "certain", "decided", "only_null", "sees_no_array"]

MISSING: Final[Any] = object()
DOCUMENT: Final[Any] = object()  # one of which nothing else is known
SCALARS: Final = ("bool", "number", "string", "date", "objectId")  # brackets that are neither null nor hold anything

_NUMBERS: Final = ("int", "long", "double", "decimal")
_KNOWN: Final = ("null", "bool", "number", "string")
_CODES: Final = {
    1: "double", 2: "string", 3: "object", 4: "array", 5: "binData", 7: "objectId", 8: "bool", 9: "date", 10: "null",
    16: "int", 18: "long", 19: "decimal",
}  # fmt: skip
_ORDERED: Final = {
    "$gt": lambda one, other: one > other,
    "$gte": lambda one, other: one >= other,
    "$lt": lambda one, other: one < other,
    "$lte": lambda one, other: one <= other,
}
_NUMERIC: Final = ("$mod", "$bitsAllSet", "$bitsAnySet", "$bitsAllClear", "$bitsAnyClear")


def bracket(value: Any) -> str:
    """The values that a value is compared with: its BSON type, one for all numbers, and "" where that is not known."""
    if value is MISSING:
        return "missing"
    if value is DOCUMENT:
        return "object"
    kind = kind_of(value)
    return "number" if kind in _NUMBERS else kind


def decided(condition: Any, value: Any, *, collation: bool = False) -> bool | None:
    """Whether the value meets a condition, which may be several operators; None where that is not certain.

    With `collation`, strings may be equal that are not the same.
    """
    answers = [_single(*next(iter(one.items())), value, collation) for one in separate(condition)]
    return False if False in answers else None if None in answers else True


def certain(condition: Any, values: Iterable[Any], *, collation: bool = False) -> list[bool] | None:
    """What is decided of each of the values; None where one of the answers is not certain."""
    answers = [decided(condition, value, collation=collation) for value in values]
    known = [answer for answer in answers if answer is not None]
    return known if len(known) == len(answers) else None


def _single(name: str, operand: Any, value: Any, collation: bool) -> bool | None:  # noqa: FBT001 (one row per operator)
    kind = bracket(value)
    match name:
        case "$eq":
            return _equal(value, operand, collation)
        case "$ne":
            return _opposite(_equal(value, operand, collation))
        case "$in":
            return _any(value, operand, collation)
        case "$nin":
            return _opposite(_any(value, operand, collation))
        case "$gt" | "$gte" | "$lt" | "$lte":
            return _compared(name, value, operand, collation)
        case "$exists":
            wanted = bool(operand) if operand is None or isinstance(operand, (bool, int)) else None
            return None if wanted is None else (value is not MISSING) == wanted
        case "$type":
            return _is_of(value, operand)
        case "$not":
            if not isinstance(operand, Mapping) and not is_regex(operand):
                return None
            return _opposite(decided(operand, value, collation=collation))
        case "$regex":
            return None if kind not in ("missing", "null", "bool", "number", "object") else False
        case "$size" | "$elemMatch":
            return None if kind in ("array", "") else False
        case "$all":
            if kind in ("array", "") or not isinstance(operand, (list, tuple)):
                return None
            answers = [_wanted(value, item, collation) for item in operand]
            return False if False in answers or not answers else None if None in answers else True
        case _ if name in _NUMERIC:
            return False if kind in ("missing", "null", "bool", "string", "object") else None
        case "$geoWithin" | "$geoIntersects":
            return False if kind in ("missing", "null", "bool", "number", "string") else None
        case _:
            return None


def _opposite(answer: bool | None) -> bool | None:  # noqa: FBT001 (it is a value here)
    return None if answer is None else not answer


def _wanted(value: Any, item: Any, collation: bool) -> bool | None:  # noqa: FBT001 (passed on)
    """What one item of `$in` or `$all` says: a pattern, an `$elemMatch`, or a value to be equal to."""
    if is_regex(item) or (isinstance(item, Mapping) and operators(item) is item):
        return decided(item, value, collation=collation)
    return _equal(value, item, collation)


def _any(value: Any, items: Any, collation: bool) -> bool | None:  # noqa: FBT001 (passed on)
    if not isinstance(items, (list, tuple)):
        return None
    answers = [_wanted(value, item, collation) for item in items]
    return True if True in answers else None if None in answers else False


def _equal(value: Any, operand: Any, collation: bool) -> bool | None:  # noqa: FBT001 (passed on)
    one, other = bracket(value), bracket(operand)
    if "" in (one, other) or "array" in (one, other):
        return False if other == "array" and one in ("missing", "object", *_KNOWN) else None
    if one != other:
        return one == "missing" and other == "null"
    if one not in _KNOWN or (one == "string" and collation):
        return None
    if one == "number":
        left, right = _number(value), _number(operand)
        return None if _is_rounded(left, right) else left == right or (_is_nan(left) and _is_nan(right))
    return bool(value == operand)


def _compared(name: str, value: Any, operand: Any, collation: bool) -> bool | None:  # noqa: FBT001 (passed on)
    one, other = bracket(value), bracket(operand)
    if other in ("minKey", "maxKey", "") or one in ("array", ""):
        return None
    if other == "null":
        return one in ("missing", "null") and name in ("$gte", "$lte")
    if one != other:
        return False
    if one not in _KNOWN or (one == "string" and collation):
        return None
    if one == "number":
        left, right = _number(value), _number(operand)
        if _is_nan(left) or _is_nan(right):
            return _is_nan(left) and _is_nan(right) and name in ("$gte", "$lte")
        return None if _is_rounded(left, right) else bool(_ORDERED[name](left, right))
    if one == "string":
        return bool(_ORDERED[name](value.encode(errors="surrogatepass"), operand.encode(errors="surrogatepass")))
    return bool(_ORDERED[name](value, operand))


def _number(value: Any) -> Any:
    return value.to_decimal() if isinstance(value, Decimal128) else value


def _is_nan(number: Any) -> bool:
    return bool(number.is_nan()) if hasattr(number, "is_nan") else math.isnan(number)


def _is_rounded(one: Any, other: Any) -> bool:
    """Whether the server compares a fraction in binary with a decimal, for which it rounds."""
    doubles = [number for number in (one, other) if isinstance(number, float)]
    return len(doubles) == 1 and isinstance(one if doubles[0] is other else other, Decimal) and doubles[0] % 1 != 0


def _is_of(value: Any, operand: Any) -> bool | None:
    if value is MISSING:
        return False
    kind = "object" if value is DOCUMENT else kind_of(value)
    if kind in ("array", ""):
        return None
    asked = operand if isinstance(operand, (list, tuple)) else [operand]
    names = [_CODES.get(int(one)) if isinstance(one, (int, float)) else one for one in asked]
    if kind in names or ("number" in names and bracket(value) == "number"):
        return True
    return False if all(isinstance(name, str) for name in names) else None


def blind(condition: Any) -> bool:
    """Whether a condition sees no difference between two documents, nor between arrays of as many documents."""
    return all(_is_blind(*next(iter(one.items()))) for one in separate(condition))


def _is_blind(name: str, operand: Any) -> bool:
    plain = ("missing", "number", "null", "bool", "string", "date", "objectId", "binData", "timestamp")
    match name:
        case "$exists" | "$type" | "$size" | "$regex":
            return True
        case "$eq" | "$ne" | "$gt" | "$gte" | "$lt" | "$lte":
            return bracket(operand) in plain
        case "$in" | "$nin" | "$all":
            return isinstance(operand, (list, tuple)) and all(
                is_regex(item) or bracket(item) in plain for item in operand
            )
        case "$not":
            return (isinstance(operand, Mapping) or is_regex(operand)) and blind(operand)
        case _:
            return name in _NUMERIC


def only_null(condition: Any) -> bool:
    """Whether all that a condition asks is if there is something, or if that is null."""
    return all(_is_only_null(*next(iter(one.items()))) for one in separate(condition))


def _is_only_null(name: str, operand: Any) -> bool:
    match name:
        case "$exists":
            return True
        case "$eq" | "$ne" | "$gt" | "$gte" | "$lt" | "$lte":
            return operand is None
        case "$in" | "$nin":
            return isinstance(operand, (list, tuple)) and all(item is None for item in operand)
        case "$type":
            return operand in ("null", 10)
        case "$not":
            return isinstance(operand, Mapping) and only_null(operand)
        case _:
            return False


def sees_no_array(condition: Any, rest: Parts) -> bool:
    """Whether a condition is met by a value just when it is met by an array of that value alone, and null by none."""
    if rest and rest[0].isdigit():
        return False
    for one in separate(condition):
        (name, operand), *_ = one.items()
        match name:
            case "$exists" | "$regex" | "$mod":
                known = True
            case "$eq" | "$ne" | "$gt" | "$gte" | "$lt" | "$lte":
                known = bracket(operand) in SCALARS
            case "$in" | "$nin":
                known = isinstance(operand, (list, tuple)) and all(bracket(item) in SCALARS for item in operand)
            case "$type":
                asked = operand if isinstance(operand, (list, tuple)) else [operand]
                known = all(kind in ("bool", "number", "int", "long", "double", "string", "object") for kind in asked)
            case "$not":
                known = isinstance(operand, Mapping) and sees_no_array(operand, rest)
            case _:
                known = False
        if not known:
            return False
    return True
