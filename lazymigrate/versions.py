"""What a stamp means: one table for the client and for the server.

| stored stamp                                              | is                                     |
|-----------------------------------------------------------|----------------------------------------|
| missing, null (and the deprecated undefined)              | the base version                       |
| int, long; a double or Decimal128 without a fraction      | that version, from base upwards        |
| the same, below base                                      | invalid                                |
| bool, other number (1.5, NaN, infinity), string, document, array, any other type | invalid         |

The filters below say the same to the server. They differ from the obvious ones on purpose: `{v: {$lt: 2}}` misses a
missing stamp and includes `[1]`, and `{v: 2}` includes `[2]`. Each of them lies inside the filter of the backlog index
(`backlog`) in a way that the server can see, so that it is answered from that index where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from bson import Decimal128

__all__ = [
    "ahead_filter",
    "among",
    "at_version",
    "at_versions",
    "not_ahead",
    "outdated_filter",
    "parse_stamp",
    "within",
]

HIGHEST = 2**63 - 1  # what a BSON long can hold
SINGLE = MappingProxyType({"$not": {"$type": "array"}})  # the server looks for a value in the elements of an array too


def parse_stamp(stamp: Any, base: int) -> int | None:
    """The version that a stored stamp stands for, or None when it is not one."""
    kind = type(stamp)
    if stamp is None:
        return base
    if kind is bool:
        return None
    if isinstance(stamp, int):
        version = int(stamp)
    elif isinstance(stamp, float):
        if not math.isfinite(stamp) or stamp != math.floor(stamp):
            return None
        version = int(stamp)
    elif isinstance(stamp, (Decimal128, Decimal)):
        number = stamp.to_decimal() if isinstance(stamp, Decimal128) else stamp
        if not number.is_finite() or abs(number) > HIGHEST or number != number.to_integral_value():
            return None
        version = int(number)
    else:
        return None
    return version if base <= version <= HIGHEST else None


def at_version(version_field: str, version: int, base: int) -> list[dict[str, Any]]:
    """Filters that together match the documents at one version; exactly those."""
    return [either(stamped(version_field, version, version + 1, base))]


def at_versions(version_field: str, versions: Sequence[int], base: int, *, alone: bool = False) -> dict[str, Any]:
    """The documents at one of several versions; exactly those.

    `alone`: as one condition, which is cheaper beside others that an index serves; by itself, the backlog index does not.
    """
    found: list[dict[str, Any]] = [{version_field: {"$in": [*versions], **SINGLE}}]
    if alone:
        return {version_field: {"$in": [*([None] if base in versions else []), *versions], **SINGLE}}
    return either([{version_field: {"$eq": None, **SINGLE}}, *found] if base in versions else found)


def outdated_filter(version_field: str, oldest: int, below: int, base: int) -> dict[str, Any]:
    """The documents whose version is from `oldest` to less than `below`; exactly those. Its one key is `$and`."""
    return {"$and": [either(stamped(version_field, oldest, below, base))]}


def stamped(version_field: str, oldest: int, below: int, base: int) -> list[dict[str, Any]]:
    """Filters of which each document whose version is from `oldest` to less than `below` matches one; no other any.

    No stamp and a number are asked for apart, since the server does not see that `{v: {$in: [null, 1]}}` lies inside
    `{$or: [{v: null}, {v: {$lt: 2}}]}`, the filter of a backlog index.
    """
    filters = [{version_field: {"$in": list(range(oldest, below)), **SINGLE}}]
    return [{version_field: {"$eq": None, **SINGLE}}, *filters] if oldest <= base < below else filters


def within(
    version_field: str, oldest: int, below: int, base: int, conditions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The documents of `outdated_filter` that match all of these conditions too; exactly those.

    Every branch has all the conditions, so that a page by `_id` is read in order under a hint of the index on `_id` and
    of the backlog index alike: nothing is sorted, and bounds on `_id` bound the index. Beside an `$or` they would not.
    """
    return either([{"$and": [versions, *conditions]} for versions in stamped(version_field, oldest, below, base)])


def either(filters: list[dict[str, Any]]) -> dict[str, Any]:
    """The documents that match one of the filters."""
    return filters[0] if len(filters) == 1 else {"$or": filters}


def among(filter: Mapping[str, Any], version_field: str, oldest: int, below: int, base: int) -> dict[str, Any]:
    """The documents that match `filter` and whose version is from `oldest` to less than `below`."""
    versions = either(stamped(version_field, oldest, below, base))
    if below == oldest + 1 > base + 1:  # `$in` with one value is an equality, which an upsert would store first of all
        versions = {version_field: {"$gte": oldest, "$lte": oldest, **SINGLE}}
    return {**filter, "$and": [*filter.get("$and", ()), versions]}


def ahead_filter(version_field: str, head: int) -> dict[str, Any]:
    """The documents whose stamp is a number greater than head, up to the highest that a version can be."""
    return {version_field: {"$gt": head, "$lte": HIGHEST, **SINGLE}}


def not_ahead(filter: Mapping[str, Any], version_field: str, head: int) -> dict[str, Any]:
    """The documents that match `filter` and that this code may write."""
    return {**filter, "$nor": [*filter.get("$nor", ()), ahead_filter(version_field, head)]}
