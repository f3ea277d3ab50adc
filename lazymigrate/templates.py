"""Filters that were turned round before, but for the values in them.

An application asks the same few filters again and again. What becomes of one depends on its names, on the versions that there
may be and on the indexes, and (as long as it compares with values, `places.compares`) not on its values. So it is worked out
once, with each name standing for its value, and the values are put in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lazymigrate.places import compares

__all__ = ["Template", "filled", "template_of"]

Filter = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Template:
    """What becomes of the filters with certain names, all of which compare with values.

    `apart` excludes the documents at which such a filter would find what is not meant, None where there are none; `branches`
    are asked besides: the names of the conditions by those that they get, and the conditions on the version.
    """

    apart: Filter | None
    branches: tuple[tuple[Mapping[str, str], Filter], ...]


def template_of(turned: Filter, names: Filter, version_field: str) -> Template | None:
    """The template out of what became of a filter whose values are its own names; None where that is more than renaming."""
    others, *named = turned.get("$or", [turned])
    apart = None
    if others != names:
        written, apart = others.get("$and", [None, None])
        if written != names:
            return None
    branches: list[tuple[Mapping[str, str], Filter]] = []
    for branch in named:
        if "$and" in branch:
            return None
        own = {new: old for new, old in branch.items() if new != version_field and new[:1] != "$"}
        branches.append((own, {name: condition for name, condition in branch.items() if name not in own}))
    return Template(apart, tuple(branches))


def filled(template: Template, filter: Filter) -> Filter | None:
    """A filter with the names of the template, for the stored documents; None where it does more than compare."""
    for condition in filter.values():
        if not compares(condition):
            return None
    others = filter if template.apart is None else {"$and": [filter, template.apart]}
    if not template.branches:
        return others
    named = [{**{new: filter[old] for new, old in names.items()}, **stamp} for names, stamp in template.branches]
    return {"$or": [others, *named]}
