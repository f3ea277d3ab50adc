"""Decoded documents: copying them, and comparing them as MongoDB would store them."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["copy_value", "same"]


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
        if ordered and list(one) != list(other):
            return False
        return all(key in other and same(value, other[key], ordered=ordered) for key, value in one.items())
    if isinstance(one, list):
        return (
            isinstance(other, list)
            and len(one) == len(other)
            and all(same(a, b, ordered=ordered) for a, b in zip(one, other, strict=True))
        )
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return bool(one == other and math.copysign(1, one) == math.copysign(1, other))
    return bool(one == other)
