"""The few filters that the memory driver answers, as MongoDB answers them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bson import Decimal128, MaxKey, MinKey, ObjectId

__all__ = ["is_condition", "matches", "order_key", "reach", "type_name", "unknown"]

_TYPE_NAMES = {
    0x01: "double",
    0x02: "string",
    0x03: "object",
    0x04: "array",
    0x05: "binData",
    0x06: "undefined",
    0x07: "objectId",
    0x08: "bool",
    0x09: "date",
    0x0A: "null",
    0x10: "int",
    0x12: "long",
    0x13: "decimal",
}
_MISSING: Any = object()


def type_name(code: int) -> str:
    """MongoDB's alias of a BSON type."""
    return _TYPE_NAMES.get(code, "other")


def order_key(value: Any) -> tuple[int, Any]:
    """A key that sorts values of mixed types as MongoDB does."""
    if value is None or value is _MISSING:
        return (1, 0)
    match value:
        case bool():
            return (8, value)
        case int() | float() | Decimal128():
            number = value.to_decimal() if isinstance(value, Decimal128) else Decimal(value)
            return (2, (0, Decimal(0)) if number.is_nan() else (1, number))
        case str():
            return (3, value)
        case dict():
            return (4, tuple((order_key(inner)[0], key, order_key(inner)) for key, inner in value.items()))
        case list():
            return (5, tuple(order_key(inner) for inner in value))
        case bytes():
            return (6, value)
        case ObjectId():
            return (7, value)
        case datetime():
            return (9, value)
        case MinKey():
            return (0, 0)
        case MaxKey():
            return (99, 0)
        case _:
            raise unknown(f"values of the type {type(value).__name__}")


def matches(document: Mapping[str, Any], filter: Mapping[str, Any]) -> bool:
    """Whether a document matches; `ValueError` where the filter says more than is known here."""
    for name, condition in filter.items():
        if name == "$and":
            held = all(matches(document, part) for part in condition)
        elif name == "$or":
            held = any(matches(document, part) for part in condition)
        elif name == "$nor":
            held = not any(matches(document, part) for part in condition)
        elif name == "$expr":
            held = beyond(document, condition)
        elif name.startswith("$"):
            raise unknown(f"the operator {name}")
        else:
            held = field_matches(reach(document, name), condition)
        if not held:
            return False
    return True


def beyond(document: Mapping[str, Any], condition: Any) -> bool:
    match condition:
        case {"$gt": ["$_id", {"$literal": bound}]}:
            return order_key(document["_id"]) > order_key(bound)
        case {"$lte": ["$_id", {"$literal": bound}]}:
            return order_key(document["_id"]) <= order_key(bound)
        case _:
            raise unknown("this $expr")


def reach(document: Any, path: str) -> Any:
    for name in path.split("."):
        if isinstance(document, list):
            raise unknown("paths through arrays")
        if not isinstance(document, Mapping) or name not in document:
            return _MISSING
        document = document[name]
    return document


def field_matches(value: Any, condition: Any) -> bool:
    if not is_condition(condition):
        return any(equal(item, condition) for item in candidates(value))
    return all(operator_matches(value, operator, operand) for operator, operand in condition.items())


def is_condition(condition: Any) -> bool:
    """Whether it is operators; anything else is a value to be equal to."""
    return isinstance(condition, Mapping) and bool(condition) and all(str(key).startswith("$") for key in condition)


def candidates(value: Any) -> list[Any]:
    """The values that a comparison looks at: the value, and the elements of an array."""
    return [value, *value] if isinstance(value, list) else [value]


def operator_matches(value: Any, operator: str, operand: Any) -> bool:
    if operator == "$not":
        return not field_matches(value, operand)
    if operator == "$exists":
        return (value is not _MISSING) == bool(operand)
    if operator == "$type" and operand == "array":
        return isinstance(value, list)
    if operator == "$eq":
        return any(equal(item, operand) for item in candidates(value))
    if operator == "$ne":
        return not any(equal(item, operand) for item in candidates(value))
    if operator == "$in":
        return any(equal(item, choice) for item in candidates(value) for choice in operand)
    if operator == "$nin":
        return not any(equal(item, choice) for item in candidates(value) for choice in operand)
    if operator in ("$gt", "$gte", "$lt", "$lte"):
        return any(compare(item, operator, operand) for item in candidates(value))
    raise unknown(f"the operator {operator}")


def equal(value: Any, other: Any) -> bool:
    return bool(order_key(value) == order_key(other))


def compare(value: Any, operator: str, operand: Any) -> bool:
    """A comparison within one type, as MongoDB brackets them."""
    if value is _MISSING:
        return False
    left, right = order_key(value), order_key(operand)
    if left[0] != right[0]:
        return False
    if left[0] == 2 and 0 in (left[1][0], right[1][0]):  # NaN
        return left == right and operator in ("$gte", "$lte")
    tests = {"$gt": left > right, "$gte": left >= right, "$lt": left < right, "$lte": left <= right}
    return tests[operator]


def unknown(what: str) -> ValueError:
    return ValueError(f"The memory collection does not know {what}. Use a real server for this test.")
