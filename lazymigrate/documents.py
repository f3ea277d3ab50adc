"""Decoded documents: copying them, and comparing them as MongoDB would store them."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["copy_value", "same"]


def copy_value(value: Any) -> Any:
    """A copy that shares no dict or list with the original (other BSON values are immutable, or taken as such)."""
    if isinstance(value, dict):
        copied = value.copy()
        for key, inner in copied.items():
            if isinstance(inner, (dict, list)):
                copied[key] = copy_value(inner)
        return copied
    if isinstance(value, list):
        return [copy_value(inner) if isinstance(inner, (dict, list)) else inner for inner in value]
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two decoded values are the same BSON: types and the order of fields count, and NaN is itself."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if isinstance(one, dict):
        if len(one) != len(other):
            return False
        return all(
            key == other_key and same(value, other_value)
            for (key, value), (other_key, other_value) in zip(one.items(), other.items(), strict=True)
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if kind is float:
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return bool(one == other and math.copysign(1, one) == math.copysign(1, other))
    return bool(one == other)
