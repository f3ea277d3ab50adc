"""Decoded documents: copying them, and comparing them as MongoDB would store them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

__all__ = ["copy_value", "same"]

COMPARED = frozenset({str, int, bool, bytes})  # of these types, equal values are the same


def copy_value(value: Any) -> Any:
    """A copy that shares no dict or list with the original (other BSON values are immutable, or taken as such)."""
    if isinstance(value, dict):
        copied: dict[Any, Any] = value.copy() if type(value) is dict else type(value)(value)
        for key, inner in copied.items():
            if isinstance(inner, (dict, list)):
                copied[key] = copy_value(inner)
        return copied
    if isinstance(value, list):
        return [copy_value(inner) if isinstance(inner, (dict, list)) else inner for inner in value]
    return value


def same(one: Any, other: Any, *, ordered: bool = True) -> bool:
    """Whether two decoded values are the same BSON: types count, NaN is itself, and so does the order of fields."""
    if one is other:
        return True
    if isinstance(one, dict):
        if not isinstance(other, dict) or len(one) != len(other):
            return False
        if list(one) == list(other):
            return all_same(one.values(), other.values(), ordered=ordered)
        return not ordered and all(
            key in other and same(value, other[key], ordered=False) for key, value in one.items()
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all_same(one, other, ordered=ordered)
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return bool(one == other and math.copysign(1, one) == math.copysign(1, other))
    return bool(one == other)


def all_same(ones: Iterable[Any], others: Iterable[Any], *, ordered: bool) -> bool:
    """Whether as many values are the same, one by one; without a call for each of the usual ones."""
    for one, other in zip(ones, others, strict=True):
        if one is other:
            continue
        if type(one) in COMPARED:
            if type(other) is not type(one) or one != other:
                return False
        elif not same(one, other, ordered=ordered):
            return False
    return True
