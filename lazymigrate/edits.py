"""What a user changed in a model, as a change to the stored document: never more than that.

Two dumps of the model are compared, the one it was loaded as and the one it is now; the stored document decides whether
a subdocument can be changed by leaf, and lends the elements of its arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from lazymigrate.change import DEEPEST, Change
from lazymigrate.documents import copy_value, same

__all__ = ["edits", "settle_defaults"]


def settle_defaults(loaded: BaseModel, now: BaseModel, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Make two dumps differ only where the user changed something: what neither instance was given is a default, and a
    factory gives another one each time; what the user alone has set is a change, if only to the default.
    """
    for field, name in dumped_names(type(now)).items():
        if name not in after or name not in before:
            continue
        set_at_load, set_by_now = field in loaded.model_fields_set, field in now.model_fields_set
        one, other = getattr(loaded, field, None), getattr(now, field, None)
        if set_by_now and not set_at_load:
            before.pop(name)
        elif not set_by_now and not set_at_load and not isinstance(after[name], (dict, list)):
            before[name] = after[name]
        elif isinstance(one, BaseModel) and isinstance(other, BaseModel) and type(one) is type(other):
            settle_defaults(one, other, before[name], after[name])
        elif isinstance(one, list) and isinstance(other, list):
            for index, (inner, inner_now) in enumerate(zip(one, other, strict=False)):
                if isinstance(inner, BaseModel) and isinstance(inner_now, type(inner)):
                    settle_defaults(inner, inner_now, before[name][index], after[name][index])
        elif isinstance(one, dict) and isinstance(other, dict):
            for key, inner in one.items():
                inner_now = other.get(key)
                if isinstance(inner, BaseModel) and isinstance(inner_now, type(inner)):
                    settle_defaults(inner, inner_now, before[name][key], after[name][key])


def dumped_names(model: type[BaseModel]) -> dict[str, str]:
    """Field → the key that it is dumped under."""
    return {field: info.serialization_alias or info.alias or field for field, info in model.model_fields.items()}


def edits(before: Mapping[str, Any], after: Mapping[str, Any], stored: Mapping[str, Any], depth: int = 0) -> Change:
    """The change between two dumps, by leaf where the stored document has the subdocument."""
    sets: dict[str, Any] = {}
    nested: dict[str, Change] = {}
    for name, value in after.items():
        old, below = before.get(name, ...), stored.get(name)
        if same(old, value):
            continue
        if isinstance(value, dict) and isinstance(old, dict) and isinstance(below, dict):
            inner = edits(old, value, below, depth + 1)
            if inner.empty:
                continue
            if depth < DEEPEST:
                nested[name] = inner
            else:
                sets[name] = changed(below, inner)
        elif isinstance(value, list) and isinstance(old, list) and isinstance(below, list) and len(old) == len(below):
            sets[name] = merged(old, value, below)
        else:
            sets[name] = value
    return Change(sets=sets, unsets=tuple(name for name in before if name not in after), nested=nested)


def merged(before: list[Any], after: list[Any], stored: list[Any]) -> list[Any]:
    """An array of the model as it is to be stored: an element that is unchanged, wherever it now stands, is the stored
    one, and one that was changed in its place keeps the fields that the model does not know.
    """
    free = set(range(len(before)))
    result: list[Any] = []
    for index, value in enumerate(after):
        found = index if index in free and same(before[index], value) else None
        if found is None:
            found = next((other for other in sorted(free) if same(before[other], value)), None)
        if found is not None:
            free.discard(found)
            result.append(stored[found])
            continue
        old, below = (before[index], stored[index]) if index in free else (None, None)
        if isinstance(value, dict) and isinstance(old, dict) and isinstance(below, dict) and len(before) == len(after):
            free.discard(index)
            result.append(changed(below, edits(old, value, below)))
        else:
            result.append(value)
    return result


def changed(document: dict[str, Any], change: Change) -> dict[str, Any]:
    """A copy of a document with a change made to it."""
    copied: dict[str, Any] = copy_value(document)
    change.apply(copied)
    return copied
