"""A part of a collection that can be swept by itself: a value that travels as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import bson
from bson import json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.json_util import JSONMode, JSONOptions

__all__ = ["EXACT", "Partition", "between", "bound_of"]

EXACT: CodecOptions[Any] = CodecOptions(
    uuid_representation=UuidRepresentation.UNSPECIFIED, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
"""Decodes an `_id` to what encodes to the same bytes under any options: a UUID stays a `Binary`."""

CANONICAL = JSONOptions(
    json_mode=JSONMode.CANONICAL,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    tz_aware=False,
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Partition:
    """The documents whose `_id` is greater than `after` and not greater than `upto`, in MongoDB's order of all types.

    `people.partitions(n)` gives some that cover every document exactly once, those that are inserted later included: the
    first has no `after` and the last no `upto` (None). `index` counts from 0 to `count` - 1. It has no state: it may be
    swept by any process that has the same revisions, by two at a time, and again.
    """

    index: int
    count: int
    after: Any = None
    upto: Any = None

    def __post_init__(self) -> None:
        if type(self.index) is not int or type(self.count) is not int or not 0 <= self.index < self.count:
            raise ValueError(
                f"A partition's index is an integer from 0 to its count - 1, not {self.index!r} of {self.count!r}. "
                "Take partitions as people.partitions(n) gives them."
            )
        for name, open_end in (("after", self.index == 0), ("upto", self.index == self.count - 1)):
            if (getattr(self, name) is None) != open_end:
                raise ValueError(
                    f"{self} has {'no' if not open_end else 'a'} bound {name!r}: only the first is open below, and only "
                    "the last above. Take partitions as people.partitions(n) gives them."
                )

    def __str__(self) -> str:
        return f"partition {self.index + 1} of {self.count}"

    def __repr__(self) -> str:
        return f"<Partition {self.index + 1} of {self.count}>"

    def filter(self) -> dict[str, Any]:
        """The filter for its documents, answered from the index on `_id`.

        By `$expr`, since `{_id: {$gt: x}}` finds only those of x's own type.
        """
        bounds: list[dict[str, Any]] = [
            {"$expr": {operator: ["$_id", {"$literal": bound}]}}
            for operator, bound in (("$gt", self.after), ("$lte", self.upto))
            if bound is not None
        ]
        return {"$and": bounds} if len(bounds) == 2 else dict(*bounds)

    def to_json(self) -> str:
        """A JSON object in canonical Extended JSON, which keeps the type of every bound. An open end is left out."""
        fields: dict[str, Any] = {"index": self.index, "count": self.count}
        fields |= {name: bound for name in ("after", "upto") if (bound := getattr(self, name)) is not None}
        return json_util.dumps(fields, json_options=CANONICAL)

    @classmethod
    def from_json(cls, text: str) -> Partition:
        """The partition that `to_json` wrote; `ValueError` for anything else."""
        try:
            loaded: Any = json_util.loads(text, json_options=CANONICAL)
        except (BSONError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"This is not Extended JSON ({type(error).__name__}). {REMEDY}") from error
        fields = cast("dict[str, Any]", loaded) if isinstance(loaded, dict) else {}
        if not {"index", "count"} <= fields.keys() <= {"index", "count", "after", "upto"}:
            raise ValueError(
                "A partition is a JSON object with index and count, and after and upto unless it is open there, and "
                f"nothing else. {REMEDY}"
            )
        if None in (fields.get("after", 0), fields.get("upto", 0)):
            raise ValueError(f"A partition that is open at an end leaves that bound out; it is not null. {REMEDY}")
        numbers = {name: plain(fields[name]) for name in ("index", "count")}
        return cls(**numbers, after=fields.get("after"), upto=fields.get("upto"))


REMEDY = "Hand over what Partition.to_json() wrote, unchanged."


def plain(number: Any) -> Any:
    """A number of Extended JSON, which may be long, as Python's own."""
    return int(number) if isinstance(number, int) and not isinstance(number, bool) else number


def between(bounds: Sequence[Any]) -> list[Partition]:
    """The partitions that these bounds divide a collection into; they are in order, distinct, and from `bound_of`."""
    count = len(bounds) + 1
    ends = [None, *bounds, None]
    return [Partition(index=n, count=count, after=ends[n], upto=ends[n + 1]) for n in range(count)]


def bound_of(raw: bytes) -> Any:
    """The `_id` of a raw document of nothing else, as a bound; None where it cannot be one.

    That is: null, which stands for an open end, and what Python or JSON would change (equal keys, a text that is not
    UTF-8), since it might then stand elsewhere in the order.
    """
    try:
        bound = bson.decode(raw, EXACT)["_id"]
        returned = json_util.loads(json_util.dumps({"_id": bound}, json_options=CANONICAL), json_options=CANONICAL)
        return bound if bson.encode(returned, codec_options=EXACT) == raw else None
    except (BSONError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError):
        return None
