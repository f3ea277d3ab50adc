"""Plain functions held to their contract: they change the document that they are given, and only what they declare.

Revisions that are functions and the operation `call` share it. What a function may not do is found out after it ran,
on a copy that is then thrown away: nothing of it is ever stored.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, NoReturn, cast

from lazymigrate.documents import copy_value, same
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import OperationError, Step

__all__ = ["ABSENT", "Function", "check_function", "field_names", "held", "keep_identity", "refuse", "restricted"]

Function = Callable[[dict[str, Any]], None]

ABSENT: Any = object()


def held(function: Function, label: str) -> Step:
    """The function held to its contract: it mutates, returns None (`SchemaError`), and leaves `_id` alone."""
    call = cast("Callable[[dict[str, Any]], object]", function)

    def run(document: dict[str, Any]) -> None:
        identity = document.get("_id", ABSENT)
        before = copy_value(identity) if isinstance(identity, dict) else identity
        returned = call(document)
        if returned is not None:
            refuse(function, returned, label)
        if document.get("_id", ABSENT) is not before:
            keep_identity(document, before)

    return run


def restricted(run: Step, touches: frozenset[str], reads: frozenset[str]) -> Step:
    """The step given only these top-level fields and `_id`; `OperationError` when it changes one not in `touches`."""
    writable, visible = touches, touches | reads | {"_id"}

    def run_on_part(document: dict[str, Any]) -> None:
        part = {key: value for key, value in document.items() if key in visible}
        watched = {key: copy_value(value) for key, value in part.items() if key not in writable}
        run(part)
        for key in part.keys() | watched.keys():
            if key not in writable and not same(part.get(key, ABSENT), watched.get(key, ABSENT)):
                raise OperationError(f"it changed the field {key!r}, which is not in its touches={sorted(writable)}")
        for key in writable:
            if key in document and key not in part:
                del document[key]
        document.update((key, value) for key, value in part.items() if key in writable)

    return run_on_part


def refuse(function: object, returned: object, label: str) -> NoReturn:
    """The error for a function that returned something."""
    name = getattr(function, "__name__", type(function).__name__)
    if inspect.iscoroutine(returned):
        returned.close()
    raise SchemaError(
        f"{label}: the function {name!r} returned a {type(returned).__name__}. A revision changes the "
        "document that it is given and returns None; remove the return value."
    )


def keep_identity(document: dict[str, Any], identity: Any) -> None:
    """Put `_id` back where a function dropped it, and refuse a changed one."""
    if identity is ABSENT:
        if "_id" in document:
            raise OperationError("it gave the document an _id; an _id cannot be changed")
    elif "_id" not in document:
        document["_id"] = identity
    elif not same(document["_id"], identity):
        raise OperationError("it changed the _id; an _id cannot be changed")


def check_function(function: object, label: str) -> None:
    """`SchemaError` unless it is a plain function of one positional parameter."""
    if not callable(function):
        raise SchemaError(f"{label} is a {type(function).__name__}. Decorate a function that takes the document.")
    target = getattr(function, "__call__", function) if not inspect.isroutine(function) else function  # noqa: B004
    for is_wrong, kind in (
        (inspect.iscoroutinefunction, "a coroutine function"),
        (inspect.isasyncgenfunction, "an asynchronous generator"),
        (inspect.isgeneratorfunction, "a generator function"),
    ):
        if is_wrong(function) or is_wrong(target):
            raise SchemaError(f"{label} is {kind}. A revision is a plain function: it changes a dict and does no I/O.")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    demanded = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if len(required) > 1 or not positional or demanded:
        raise SchemaError(
            f"{label} takes ({', '.join(str(p) for p in parameters)}). A revision takes one positional parameter, the "
            "document; give the others defaults, or remove them."
        )


def field_names(value: Collection[str] | None, what: str, label: str) -> frozenset[str] | None:
    """A set of top-level field names out of `touches=` or `reads=`."""
    if value is None:
        return None
    if (
        not isinstance(value, Collection)
        or isinstance(value, str)
        or not all(isinstance(name, str) and name for name in value)
    ):
        raise SchemaError(f"{label}: {what} is a set of field names. Write {what}={{'name', ...}}.")
    for name in value:
        if "." in name or name == "_id":
            raise SchemaError(
                f"{label}: {what} names top-level fields, and {name!r} is not one that a revision may name. "
                "Name the outermost field."
            )
    return frozenset(value)
