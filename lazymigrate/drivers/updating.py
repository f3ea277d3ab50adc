"""The few updates that the memory driver makes, as MongoDB makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lazymigrate.documents import copy_value
from lazymigrate.drivers.matching import unknown

__all__ = ["updated"]

_MISSING: Any = object()


def updated(document: dict[str, Any], update: Any, *, inserted: bool = False) -> dict[str, Any]:
    """The document after an update by operators; `inserted`: it is one that an upsert makes."""
    if not isinstance(update, Mapping):
        raise unknown("updates by pipelines")
    changed: dict[str, Any] = copy_value(document)
    changes: list[tuple[str, str, Any]] = []
    for operator, fields in update.items():
        if operator == "$rename":
            for old, new in fields.items():
                value = place(changed, old)[0].get(old.split(".")[-1], _MISSING)
                if value is not _MISSING:
                    changes += [("$unset", old, None), ("$set", new, value)]
        elif operator == "$setOnInsert":
            changes += [("$set", path, value) for path, value in fields.items()] if inserted else []
        elif operator in OPERATORS or operator == "$unset":
            changes += [(operator, path, value) for path, value in fields.items()]
        else:
            raise unknown(f"the update operator {operator}")
    for operator, path, value in sorted(changes, key=lambda change: change[1]):
        holder, name = place(changed, path)
        if operator == "$unset":
            holder.pop(name, None)
        else:
            holder[name] = OPERATORS[operator](holder.get(name, _MISSING), value)
    return changed


def place(document: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    *parents, name = path.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
        if not isinstance(document, dict):
            raise unknown("paths through anything but documents")
    return document, name


def pushed(old: Any, value: Any) -> list[Any]:
    return [*([] if old is _MISSING else old), value]


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "$set": lambda _old, value: copy_value(value),
    "$inc": lambda old, value: value if old is _MISSING else old + value,
    "$push": pushed,
    "$min": lambda old, value: value if old is _MISSING else min(old, value),
    "$max": lambda old, value: value if old is _MISSING else max(old, value),
}
