"""`add(path, value)`: set a constant where the path is absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazymigrate.operation import Effects, Expression, Fragment, Move, Narrow, Operation, Step
from lazymigrate.ops.constants import constant, copier
from lazymigrate.paths import all_of, missing_, passable_, put, put_, split_path, unpruned_

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["Add", "add"]


@dataclass(frozen=True, slots=True)
class Add(Operation):
    """Set a constant where the path is absent; a value that is there, null included, stays."""

    path: str
    value: Any

    def __str__(self) -> str:
        return f"+ {self.path}"

    def compile(self) -> Step:
        path, make = self.path, copier(self.value)
        *parents, name = split_path(path)
        holders = tuple(parents)

        def set_default(document: dict[str, Any]) -> None:
            if name not in document:
                document[name] = make()

        def set_nested_default(document: dict[str, Any]) -> None:
            set_default(put(document, holders, path))

        return set_nested_default if holders else set_default

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        return {"$cond": [missing_(document, parts), put_(document, parts, {"$literal": self.value}), document]}

    def safe(self, document: Expression) -> Expression:
        return passable_(document, split_path(self.path))

    def fragment(self) -> Fragment | None:
        if "." in self.path:
            return None
        kept = {"$cond": [missing_("$$ROOT", (self.path,)), {"$literal": self.value}, f"${self.path}"]}
        narrow = Narrow(self.path, {"$literal": self.value}, "$set", self.path, self.value)
        return Fragment(sets={self.path: kept}, narrow=narrow)

    def move(self) -> Move | None:
        if "." in self.path or isinstance(self.value, (dict, list)):  # each document needs a copy of its own
            return None
        return Move(None, self.path, self.value)

    def reverse(self) -> Operation:
        from lazymigrate.ops.remove import Remove

        return Remove(self.path, prunes=True)

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import At, Either, Inside, found_in

        path = split_path(self.path)
        if parts[: len(path)] == path:  # a value that is there stays
            return Either(path, At(parts), found_in(self.value, parts[len(path) :]))
        return Inside(parts, ((),)) if path[: len(parts)] == parts else At(parts)

    def effects(self) -> Effects:
        return Effects(sets=(self.path,))

    def restores(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        return all_of([missing_(document, parts), unpruned_(document, parts)])


def add(path: str, value: Any) -> Operation:
    """Set `value` where `path` is absent; parents are made, and a value that is there stays.

    Backwards it is removed, with the parents that are then empty. `value` is a constant that BSON can hold
    (`SchemaError` otherwise); every document gets a copy of its own.
    """
    split_path(path)
    return Add(path, constant(value, f"add({path!r}, ...)"))
