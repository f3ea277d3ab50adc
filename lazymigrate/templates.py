"""Queries that were turned round before, but for the values in them.

An application asks the same few queries again and again. What becomes of one depends on its names and its order, on the versions
that there may be, on the collection's collation and indexes, and (as long as its filter compares with values, `places.compares`)
not on these values, nor on how many documents it skips. So it is worked out once, with a *slot* in the place of each of
these, and they are put in.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from lazymigrate.ordering import Pages, sort_of
from lazymigrate.places import compares

__all__ = ["Slot", "Template", "filled", "key_of", "only_compares", "slotted", "slotted_pages", "template_of"]

Filter = Mapping[str, Any]


class Slot(str):
    """The place of what a filter compares the field of this name with; of a number of `Pages`, by its name after a `$`."""

    __slots__ = ()


class Template(NamedTuple):
    """What becomes of a query: its filter, and its pipeline where it takes one."""

    filter: Any
    pipeline: Any


def key_of(filter: Any, sort: Any, skip: Any, limit: Any) -> Hashable | None:
    """What queries have in common to which the same happens; None where that depends on more."""
    if type(filter) is not dict:
        return None
    if not sort:
        return tuple(filter)
    keys = tuple(sort_of(sort))
    if not all(type(path) is str and type(direction) is int for path, direction in keys):
        return None
    if type(skip) is not int or type(limit) is not int:  # True == 1, and the server takes one of them
        return None
    return tuple(filter), keys, skip > 0, min(abs(limit), 2)


def slotted(filter: Filter, version_field: str) -> Filter | None:
    """The filter with slots in it; None where it does more than compare, or asks for the stamp as it is stored."""
    if version_field in filter or not only_compares(filter):
        return None
    return {name: Slot(name) for name in filter}


def only_compares(filter: Filter) -> bool:
    """Whether a filter can be put into a template."""
    return all(map(compares, filter.values()))


def slotted_pages(pages: Pages) -> Pages:
    """The same with slots for all that is not 0."""
    return Pages(*(Slot(f"${name}") if number else 0 for name, number in zip(Pages._fields, pages, strict=True)))


def template_of(filter: Any, pipeline: Any) -> Template:
    """The template out of what became of a query with slots."""
    return Template(plain(filter), plain(pipeline))


def plain(node: Any) -> Any:
    """The same of dicts and lists."""
    if isinstance(node, Mapping):
        return {name: plain(value) for name, value in node.items()}
    if isinstance(node, Sequence) and not isinstance(node, (str, bytes)):
        return [plain(value) for value in node]
    return node


def filled(template: Template, filter: Filter, skip: int, limit: int) -> Template:
    """What becomes of a query with these values, of which nothing is shared; its filter only compares."""
    if template.pipeline is None:
        return Template(put(template.filter, filter), None)
    pages = zip(Pages._fields, Pages.of(skip, limit), strict=True)
    return Template(filter, put(template.pipeline, {**filter, **{f"${name}": number for name, number in pages}}))


def put(node: Any, values: Mapping[str, Any]) -> Any:
    """Values in the place of slots."""
    kind = type(node)
    if kind is Slot:
        return values[node]
    if kind is dict:
        return {name: put(value, values) for name, value in node.items()}
    if kind is list:
        return [put(value, values) for value in node]
    return node
