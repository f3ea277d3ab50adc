"""Where a version has what is asked for at a path of the newest shape: the quick way, for the filters that are asked most.

Most filters compare a field with a value: equal to, greater than, one of. No missing field meets such a condition, so where a
revision moved the field, the documents that meet it are those that meet the same condition at one of a few *places*. These
are known by the path and the version alone, and found once; a filter is then turned round by putting other names into it.

It is exact where it answers: the places are what `lazymigrate.query` makes of a probe, and a value that stands for a missing
one, or was converted, or replaced, is left to it altogether.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any, Final, TypeVar
from uuid import UUID

from bson import Decimal128, ObjectId

from lazymigrate.query import SortKey, rewrite, sort_keys
from lazymigrate.schema import Schema

__all__ = ["Turned", "compares", "means_the_same", "order", "places", "turned"]

Filter = Mapping[str, Any]
R = TypeVar("R")

SCALARS: Final = (str, int, float, bool, ObjectId, datetime, Decimal128, UUID, bytes)
COMPARISONS: Final = frozenset({"$eq", "$gt", "$gte", "$lt", "$lte"})
PROBE: Final = "a value that no document has"
MOST: Final = 40  # branches of one version: a path that thirty renames moved has one for each
MANY: Final = 1000  # paths that are remembered: an application may make them of data


@dataclass(frozen=True, slots=True)
class Turned:
    """A filter at one version: the documents that it finds as it is written are among those meant (`as_written`), or are not;
    `branches` find the others.
    """

    as_written: bool
    branches: tuple[Filter, ...]


def turned(schema: Schema, filter: Filter, version: int) -> Turned | None:
    """The filter at a version; None where it takes more than putting other names into it."""
    moved: list[tuple[str, tuple[str, ...]]] = []
    for path, condition in filter.items():
        if not isinstance(path, str) or path[:1] == "$":
            return None
        if means_the_same(schema, path, condition, version):
            continue
        own = places(schema, path, version)
        if own is None or not compares(condition):
            return None
        moved.append((path, own))
    if not moved:
        return Turned(as_written=True, branches=())
    branches: list[Filter] = []
    as_written = False
    for combination in product(*(own for _, own in moved)):
        names = dict(zip((path for path, _ in moved), combination, strict=True))
        if all(path == place for path, place in names.items()):
            as_written = True
            continue
        branch = renamed(filter, names)
        if branch is None or len(branches) == MOST:
            return None
        branches.append(branch)
    return Turned(as_written, tuple(branches))


def means_the_same(schema: Schema, path: str, condition: Any, version: int) -> bool:
    """Whether the documents of a version that meet a condition are those that meet it at head.

    What is added as null is at head where nothing was: a comparison with a value does not tell, anything else may.
    """
    if places(schema, path, version) != (path,):
        return False
    return compares(condition) or order(schema, path, version) == [SortKey(condition={}, path=path)]


def renamed(filter: Filter, names: Mapping[str, str]) -> Filter | None:
    """The filter with other names in it; None where two of its conditions would meet at one."""
    found = {names.get(path, path): condition for path, condition in filter.items()}
    return found if len(found) == len(filter) else None


def compares(condition: Any) -> bool:
    """Whether a condition compares with a value, so that nothing that is missing or null meets it."""
    if type(condition) is not dict:
        return isinstance(condition, SCALARS)
    for operator, operand in condition.items():
        if operator in COMPARISONS:
            if not isinstance(operand, SCALARS):
                return False
        elif operator != "$in" or type(operand) is not list or not all(isinstance(value, SCALARS) for value in operand):
            return False
    return bool(condition)


def places(schema: Schema, path: str, version: int) -> tuple[str, ...] | None:
    """The paths at which documents of a version have what is compared at `path` at head; found once, and kept.

    A document meets a comparison at `path` when it meets it at one of these. None where that does not say it.
    """
    return kept(schema, "places", path, version, found)


def order(schema: Schema, path: str, version: int) -> list[SortKey] | None:
    """What `sort_keys` gives, found once and kept."""
    return kept(schema, "order", path, version, sort_keys)


def kept(schema: Schema, kind: str, path: str, version: int, find: Callable[[Schema, str, int], R]) -> R:
    """What is found for a path and a version, remembered as long as the chain between the version and head is."""
    known = schema.chain(version, schema.head).known
    key = (kind, path)
    if key not in known:
        if len(known) > MANY:
            known.clear()
        known[key] = find(schema, path, version)
    value: R = known[key]
    return value


def found(schema: Schema, path: str, version: int) -> tuple[str, ...] | None:
    """The same, found."""
    keys = order(schema, path, version)
    if keys is None or any(key.path is None and key.constant is not None for key in keys):
        return None
    asked = rewrite(schema, {path: PROBE}, version)
    if asked.kind == "same":
        return (path,)
    if asked.filter is None:
        return None
    parts = asked.filter.get("$or", [asked.filter]) if len(asked.filter) == 1 else []
    own = tuple(name for part in parts if len(part) == 1 for name, value in part.items() if value == PROBE)
    return own if own and len(own) == len(parts) else None
