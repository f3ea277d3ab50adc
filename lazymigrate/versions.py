"""What a stamp means: one table for the client and for the server.

| stored stamp                                              | is                                     |
|-----------------------------------------------------------|----------------------------------------|
| missing, null (and the deprecated undefined)              | the base version                       |
| int, long; a double or Decimal128 without a fraction      | that version, from base upwards        |
| the same, below base                                      | invalid                                |
| bool, other number (1.5, NaN, infinity), string, document, array, any other type | invalid         |

The filters below say the same to the server. They differ from the obvious ones on purpose: `{v: {$lt: 2}}` misses a
missing stamp and includes `[1]`, and `{v: 2}` includes `[2]`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bson import Decimal128

__all__ = ["ahead_filter", "among", "at_version", "not_ahead", "outdated_filter", "parse_stamp"]

HIGHEST = 2**63 - 1  # what a BSON long can hold


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
    stamps = [None, version] if version == base else [version]
    return [{version_field: {"$in": stamps}}, {"$nor": [{version_field: {"$type": "array"}}]}]


def outdated_filter(version_field: str, oldest: int, below: int, base: int) -> dict[str, Any]:
    """The documents whose version is from `oldest` to less than `below`; exactly those."""
    versions: list[int | None] = list(range(oldest, below))
    if oldest <= base < below:
        versions.insert(0, None)
    return {"$and": [{version_field: {"$in": versions}}, {"$nor": [{version_field: {"$type": "array"}}]}]}


def among(filter: Mapping[str, Any], version_field: str, oldest: int, below: int, base: int) -> dict[str, Any]:
    """The documents that match `filter` and whose version is from `oldest` to less than `below`."""
    versions = outdated_filter(version_field, oldest, below, base)["$and"]
    if below == oldest + 1 > base + 1:  # `$in` with one value is an equality, which an upsert would store first of all
        versions = [{version_field: {"$gte": oldest, "$lte": oldest}}, versions[1]]
    return {**filter, "$and": [*filter.get("$and", ()), *versions]}


def ahead_filter(version_field: str, head: int) -> dict[str, Any]:
    """The documents whose stamp is a number greater than head, up to the highest that a version can be."""
    return {version_field: {"$gt": head, "$lte": HIGHEST, "$not": {"$type": "array"}}}


def not_ahead(filter: Mapping[str, Any], version_field: str, head: int) -> dict[str, Any]:
    """The documents that match `filter` and that this code may write."""
    return {**filter, "$nor": [*filter.get("$nor", ()), ahead_filter(version_field, head)]}
