"""`wrap(path)`: a single value becomes a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazymigrate.operation import Effects, Expression, Operation, Step
from lazymigrate.paths import all_of, get_, in_sequence, passable_, put_, reach, split_path

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["Wrap", "wrap"]


@dataclass(frozen=True, slots=True)
class Wrap(Operation):
    """Anything but a list becomes a list of one, null an empty one."""

    path: str

    def __str__(self) -> str:
        return f"{self.path} → [{self.path}]"

    def compile(self) -> Step:
        path = self.path
        *parents, name = split_path(path)
        holders = tuple(parents)

        def enclose(document: dict[str, Any]) -> None:
            holder = reach(document, holders, path) if holders else document
            if holder is not None and name in holder:
                value = holder[name]
                if value is None:
                    holder[name] = []
                elif not isinstance(value, list):
                    holder[name] = [value]

        return enclose

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)

        def changed(document: Expression) -> Expression:
            value = get_(document, parts)
            listed = {"$cond": [{"$eq": [{"$type": value}, "null"]}, {"$literal": []}, [value]]}
            kept = {"$in": [{"$type": value}, ["missing", "array"]]}
            return {"$cond": [kept, document, put_(document, parts, listed)]}

        return in_sequence(document, [changed])

    def safe(self, document: Expression) -> Expression:
        parts = split_path(self.path)  # BSON's undefined, long deprecated, decodes to None: Python says what it becomes
        return all_of([passable_(document, parts), {"$ne": [{"$type": get_(document, parts)}, "undefined"]}])

    def reverse(self) -> Operation:
        from lazymigrate.ops.unwrap import Unwrap

        return Unwrap(self.path)

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import Enclosed

        path = split_path(self.path)
        return Enclosed(path, parts[len(path) :]) if parts[: len(path)] == path else Operation.origin(self, parts)

    def effects(self) -> Effects:
        return Effects(computes=(self.path,))

    def restores(self, document: Expression) -> Expression:
        return all_of([self.safe(document), {"$ne": [{"$type": get_(document, split_path(self.path))}, "array"]}])


def wrap(path: str) -> Operation:
    """Make a list of the value at `path`: of one element, or of none where the value is null; a list stays as it is.

    Where `path` is absent nothing happens. Backwards it is `unwrap`, which restores all that was no list.
    """
    split_path(path)
    return Wrap(path)
