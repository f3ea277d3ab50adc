"""Operations as plain data that BSON can hold, with the types of their constants kept apart.

`{"op": "rename", "old": "mail", "new": "email"}`: the name of the operation and its fields; those that have their
default are left out, so that an operation may get another field without having changed. Operations inside are lists of
the same, pairs are lists of two, sets are sorted, and functions are whatever the caller makes of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from typing import Any, cast

from lazymigrate.behaviour import behaviour, qualified_name
from lazymigrate.documents import copy_value
from lazymigrate.operation import Operation
from lazymigrate.sequence import OperationSequence

__all__ = ["data", "described"]


def data(operation: Operation) -> dict[str, Any]:
    """The operation as plain data; a function is `{"function": "module.name", "checksum": "code:..."}`."""

    def named(function: Callable[..., Any]) -> dict[str, str]:
        return {"function": qualified_name(function), "checksum": behaviour(function)}

    return described(operation, named)


def described(operation: Operation, function: Callable[[Callable[..., Any]], Any]) -> dict[str, Any]:
    """The operation as plain data, with what `function` makes of each function in it."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(operation).__name__).lower()
    return {"op": name, **{field: _plain(value, function) for field, value in _told(operation)}}


def _told(operation: Operation) -> Iterator[tuple[str, Any]]:
    """The fields of an operation that have not their default."""
    for field in fields(cast("Any", operation)):
        value, default = getattr(operation, field.name), field.default
        if default is MISSING or type(value) is not type(default) or value != default:
            yield field.name, value


def _plain(value: Any, function: Callable[[Callable[..., Any]], Any]) -> Any:
    if isinstance(value, OperationSequence):
        return [described(inner, function) for inner in value.operations]
    if isinstance(value, Operation):
        return described(value, function)
    if isinstance(value, tuple):
        return [_plain(inner, function) for inner in value]
    if isinstance(value, frozenset):
        return sorted(value)
    if callable(value):
        return function(value)
    return copy_value(value)
