"""`unwrap(path)`: a list becomes its first element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lazymigrate.operation import Effects, Expression, Operation, Step
from lazymigrate.paths import get_, in_sequence, missing_, passable_, put_, reach, split_path

__all__ = ["Unwrap", "unwrap"]


@dataclass(frozen=True, slots=True)
class Unwrap(Operation):
    """A list becomes its first element, an empty one null; anything else stays."""

    path: str

    def __str__(self) -> str:
        return f"[{self.path}] → {self.path}"

    def compile(self) -> Step:
        path = self.path
        *parents, name = split_path(path)
        holders = tuple(parents)

        def take_first(document: dict[str, Any]) -> None:
            holder = reach(document, holders, path) if holders else document
            if holder is not None and name in holder:
                value = holder[name]
                if isinstance(value, list):
                    holder[name] = value[0] if value else None

        return take_first

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)

        def changed(document: Expression) -> Expression:
            value = get_(document, parts)
            first = {"$ifNull": [{"$arrayElemAt": [value, 0]}, None]}  # a missing value would remove the field
            return {"$cond": [{"$eq": [{"$type": value}, "array"]}, put_(document, parts, first), document]}

        return in_sequence(document, [changed])

    def safe(self, document: Expression) -> Expression:
        return passable_(document, split_path(self.path))

    def reverse(self) -> Operation:
        from lazymigrate.ops.wrap import Wrap

        return Wrap(self.path)

    def effects(self) -> Effects:
        return Effects(computes=(self.path,))

    def restores(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        value = get_(document, parts)
        first = {"$type": {"$arrayElemAt": [value, 0]}}
        single = {
            "$or": [
                {"$eq": [{"$size": value}, 0]},
                {"$and": [{"$eq": [{"$size": value}, 1]}, {"$not": {"$in": [first, ["array", "null", "undefined"]]}}]},
            ]
        }
        listed = {"$cond": [{"$eq": [{"$type": value}, "array"]}, single, missing_(document, parts)]}
        return {"$cond": [passable_(document, parts), listed, False]}


def unwrap(path: str) -> Operation:
    """Put the first element of the list at `path` in its place, null for an empty list; anything but a list stays.

    The other elements are lost. Where `path` is absent nothing happens. Backwards it is `wrap`, which restores lists of
    one element that is neither null nor itself a list, and empty lists.
    """
    split_path(path)
    return Unwrap(path)
