"""The backlog index: a partial index on exactly the documents that are not at head, nearly empty when a sweep is done.

**What is in it.** Every document whose stamp is none of `settled` … `head`: no stamp (where that means an outdated
version), a number below, above or between, NaN, and every BSON type that no version has. So the questions about what
is outdated, at one version, ahead or invalid are answered from it alone, and cost what they find.

**Why its name carries the versions.** An index is used only for questions that lie inside its filter, and a filter
cannot be changed. A new head needs a new index, and so does one that only an empty revision leads to: the index of the
head before would still answer, but it would take in every document that is stamped from then on.

**What may be asked of whom.** The server decides by itself whether an index holds all that a filter asks for, with one
exception: a `hint` of a partial index is obeyed even where it does not, and documents are silently missing. So a name
is only given away for what that index covers, and what must be proved is counted without a hint.

Needs MongoDB 6.0, the first with `$or` in the filter of an index. Measured on 6.0.5; There, the planner does not
see that `{v: {$in: [null, 1]}}` lies inside, nor `{v: {$type: "string"}}` alone, and it orders the documents of several
versions by `_id` without sorting them only where every branch of the `$or` has all the conditions (`versions.within`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lazymigrate.schema import Schema
from lazymigrate.versions import within

__all__ = ["NOT_A_VERSION", "BacklogIndex", "conditions", "exact", "index", "outdated_within", "serving", "stale"]

Description = Mapping[str, Any]

NOT_A_VERSION = (
    "string",
    "object",
    "array",
    "binData",
    "objectId",
    "bool",
    "date",
    "regex",
    "dbPointer",
    "javascript",
    "symbol",
    "javascriptWithScope",
    "timestamp",
    "minKey",
    "maxKey",
)
"""The BSON types that no version has; a question after some of them is answered from the index when it names them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogIndex:
    """The index for one head: what `CreateIndex` takes, and what the collection's own list of indexes is held against."""

    name: str
    keys: tuple[tuple[str, int], ...]
    filter: Mapping[str, Any]

    @property
    def options(self) -> dict[str, Any]:
        """The options to create it with. Its collation is the collection's, as the order of `_id`s is."""
        return {"name": self.name, "partialFilterExpression": self.filter}


def index(schema: Schema) -> BacklogIndex:
    """The index on exactly what is not at head; two schemas that disagree on that have different names for it."""
    field = schema.version_field
    span = f"{schema.head}" if schema.settled == schema.head else f"{schema.settled}_to_{schema.head}"
    return BacklogIndex(
        name=f"{prefix(field)}{span}",
        keys=((field, 1), ("_id", 1)),
        filter={"$or": [{field: condition} for condition in conditions(schema)]},
    )


def conditions(schema: Schema) -> list[Any]:
    """What is asked of the stamp of a document that is not at head: one of these."""
    between = [{"$gt": version, "$lt": version + 1} for version in range(schema.settled, schema.head)]
    return [
        *outdated_conditions(schema),
        {"$gt": schema.head},
        *between,
        math.nan,
        {"$type": [*NOT_A_VERSION]},
    ]


def outdated_conditions(schema: Schema) -> list[Any]:
    """The same, for what is below: outdated and retired versions."""
    return [*([None] if schema.base < schema.settled else []), {"$lt": schema.settled}]


def outdated_within(schema: Schema, *conditions: Mapping[str, Any]) -> dict[str, Any]:
    """The outdated documents that match all of these conditions; exactly those, and in the form of `versions.within`."""
    return within(schema.version_field, schema.oldest, schema.settled, schema.base, conditions)


def exact(schema: Schema, descriptions: Sequence[Description]) -> Description | None:
    """Of a collection's indexes as the server describes them: the one that `index` would make, whatever its name."""
    wanted = parts(index(schema).filter, schema.version_field)
    for described in fit(schema.version_field, descriptions):
        if parts(described.get("partialFilterExpression"), schema.version_field) == wanted:
            return described
    return None


def serving(schema: Schema, descriptions: Sequence[Description], *, whole: bool) -> list[str]:
    """The names of the indexes that hold everything that is outdated, or the `whole` backlog; the narrowest first.

    They are known by what they are: an index of newer code serves older code for what is outdated, and so does an index
    on all documents that somebody else made. Whether one is in use, not hidden and built to its end, is not said here.
    """
    asked = conditions(schema) if whole else outdated_conditions(schema)
    wanted = [part for condition in asked if (part := part_of(condition)) is not None]
    first = exact(schema, descriptions)
    found = [
        described
        for described in fit(schema.version_field, descriptions)
        if covers(parts(described.get("partialFilterExpression"), schema.version_field), wanted)
    ]
    found.sort(key=lambda described: (described is not first, "partialFilterExpression" not in described))
    return [str(described["name"]) for described in found]


def stale(schema: Schema, descriptions: Sequence[Description]) -> list[str]:
    """The names of the backlog indexes of heads below this one; never an index that has another's name."""
    found: list[str] = []
    for described in fit(schema.version_field, descriptions):
        if str(described["name"]).startswith(prefix(schema.version_field)):
            held = parts(described.get("partialFilterExpression"), schema.version_field) or ()
            heads = [part.low for part in held if isinstance(part, Numbers) and part.high == math.inf]
            if heads and min(heads) < schema.head:
                found.append(str(described["name"]))
    return found


def prefix(version_field: str) -> str:
    return f"lazymigrate_backlog_{version_field}_"


def fit(version_field: str, descriptions: Iterable[Description]) -> list[Description]:
    """The indexes with the right keys and in the order of the collection, which the one on `_id` has.

    A sparse index without a filter leaves out nothing here, since every document has an `_id`.
    """
    described = [*descriptions]
    order = next((one.get("collation") for one in described if [*one["key"].items()] == [("_id", 1)]), None)
    keys = [(version_field, 1), ("_id", 1)]
    return [one for one in described if [*one["key"].items()] == keys and one.get("collation") == order]


class Numbers(NamedTuple):
    """The numbers between two others, these not included."""

    low: float
    high: float


class Only(NamedTuple):
    """One value: no stamp, or NaN."""

    name: str


class Types(NamedTuple):
    """The values of some BSON types."""

    names: frozenset[str]


Part = Numbers | Only | Types


def part_of(condition: Any) -> Part | None:
    """What a condition on the stamp lets in; None for one that backlog indexes do not have."""
    match condition:
        case None:
            return Only("none")
        case float() if math.isnan(condition):
            return Only("nan")
        case {"$type": [*names], **rest} if not rest:
            return Types(frozenset(map(str, names)))
        case {**bounds} if bounds and bounds.keys() <= {"$gt", "$lt"}:
            low: Any = bounds.get("$gt", -math.inf)
            high: Any = bounds.get("$lt", math.inf)
            return Numbers(low, high) if is_number(low) and is_number(high) else None
        case _:
            return None


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def parts(filter: Any, version_field: str) -> frozenset[Part] | None:
    """What the filter of an index lets in, as far as that is known; None when it has no filter, and lets in everything."""
    if filter is None:
        return None
    branches = filter["$or"] if [*filter] == ["$or"] else [filter]
    found = (part_of(branch[version_field]) for branch in branches if [*branch] == [version_field])
    return frozenset(part for part in found if part is not None)


def covers(held: frozenset[Part] | None, wanted: Iterable[Part]) -> bool:
    """Whether each of the wanted parts lies inside one that an index holds."""
    return held is None or all(any(inside(part, other) for other in held) for part in wanted)


def inside(part: Part, other: Part) -> bool:
    match part, other:
        case Numbers(low, high), Numbers(lower, higher):
            return lower <= low and high <= higher
        case Types(names), Types(more):
            return names <= more
        case _:
            return part == other
