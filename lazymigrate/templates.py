"""Queries that were turned round before, but for the values in them.

An application asks the same few queries again and again. What becomes of one depends on its names and its order, on the versions
that there may be and on the indexes, and (as long as its filter compares with values, `places.compares`) not on these values. So
it is worked out once, with a *slot* in the place of each value, and the values are put in.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lazymigrate.ordering import sort_of
from lazymigrate.places import compares

__all__ = ["Slot", "Template", "filled", "key_of", "slotted", "template_of"]

Filter = Mapping[str, Any]


class Slot(str):
    """The place of what a filter compares the field of this name with."""

    __slots__ = ()


class _Open(dict[Any, Any]):
    """A document with slots somewhere in it. All others are the same for all values, and are shared."""


class _OpenList(list[Any]):
    """A list with slots somewhere in it."""


@dataclass(frozen=True, slots=True)
class Template:
    """What becomes of a query: its filter and its pipeline, where it takes one, with slots in them."""

    filter: Any
    pipeline: Any


def key_of(filter: Any, sort: Any, skip: int, limit: int) -> Hashable | None:
    """What queries have in common to which the same happens; None where that depends on more.

    Where there is no sort, what is skipped and the limit stay what they are.
    """
    if type(filter) is not dict:
        return None
    if not sort:
        return tuple(filter)
    keys = tuple(sort_of(sort))
    if not all(type(path) is str and type(direction) is int for path, direction in keys):
        return None
    return tuple(filter), keys, skip, limit


def slotted(filter: Filter, version_field: str) -> Filter | None:
    """The filter with slots in it; None where it does more than compare, or asks for the stamp as it is stored."""
    if version_field in filter or not all(map(compares, filter.values())):
        return None
    return {name: Slot(name) for name in filter}


def template_of(filter: Any, pipeline: Any) -> Template:
    """The template out of what a filter with slots became."""
    return Template(marked(filter), marked(pipeline))


def marked(node: Any) -> Any:
    """The same, in which everything that holds a slot can be told by its type."""
    if isinstance(node, Mapping):
        document = {name: marked(value) for name, value in node.items()}
        return _Open(document) if any(map(is_open, document.values())) else document
    if isinstance(node, Sequence) and not isinstance(node, (str, bytes)):
        values = [marked(value) for value in node]
        return _OpenList(values) if any(map(is_open, values)) else values
    return node


def is_open(node: Any) -> bool:
    return isinstance(node, (Slot, _Open, _OpenList))


def filled(template: Template, filter: Filter) -> Template | None:
    """The template with the values of a filter in it, which has the same names; None where it does more than compare."""
    for condition in filter.values():
        if not compares(condition):
            return None
    return Template(put(template.filter, filter), put(template.pipeline, filter))


def put(node: Any, filter: Filter) -> Any:
    """Values in the place of slots."""
    kind = type(node)
    if kind is Slot:
        return filter[node]
    if kind is _Open:
        return {name: put(value, filter) for name, value in node.items()}
    if kind is _OpenList:
        return [put(value, filter) for value in node]
    return node
