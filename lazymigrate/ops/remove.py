"""`remove(path, restore=...)`: delete a field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lazymigrate.operation import Effects, Expression, Fragment, Operation, Step
from lazymigrate.ops.constants import constant
from lazymigrate.paths import drop_, get_, passable_, prune, reach, split_path

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["Remove", "remove"]

_NOTHING: Final[Any] = ...


@dataclass(frozen=True, slots=True)
class Remove(Operation):
    """Delete the path; where it is absent nothing happens.

    `prunes` (the way back of an operation that made parents) also removes the parents that are then empty.
    """

    path: str
    restore: Any = _NOTHING
    prunes: bool = False

    def __str__(self) -> str:
        return f"- {self.path}"

    def compile(self) -> Step:
        path, prunes = self.path, self.prunes
        *parents, name = split_path(path)
        holders = tuple(parents)

        def drop(document: dict[str, Any]) -> None:
            document.pop(name, None)

        def drop_nested(document: dict[str, Any]) -> None:
            holder = reach(document, holders, path)
            if holder is not None and name in holder:
                del holder[name]
                if prunes:
                    prune(document, holders)

        return drop_nested if holders else drop

    def expression(self, document: Expression) -> Expression:
        return drop_(document, split_path(self.path))

    def safe(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        if not self.prunes or len(parts) == 1:
            return passable_(document, parts)
        holder = get_(document, parts[:-1])  # pruning is left to Python where something may be emptied
        keeps = {"$gt": [{"$size": {"$objectToArray": {"$ifNull": [holder, {"$literal": {}}]}}}, 1]}
        return {"$and": [passable_(document, parts), keeps]}

    def fragment(self) -> Fragment | None:
        return None if "." in self.path else Fragment(unsets=(self.path,))

    def reverse(self) -> Operation | None:
        from lazymigrate.ops.add import Add

        return None if self.restore is _NOTHING else Add(self.path, self.restore)

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import Inside

        holds = split_path(self.path)[: len(parts)] == parts and ".".join(parts) != self.path
        return Inside(parts) if holds and not self.prunes else Operation.origin(self, parts)

    def effects(self) -> Effects:
        return Effects(removes=(self.path,))


def remove(path: str, *, restore: Any = ...) -> Operation:
    """Delete the field at `path`, if it is there. What it held is lost.

    There is a way back only with `restore`, a constant that is set where the path is absent.
    """
    split_path(path)
    return Remove(path, restore if restore is _NOTHING else constant(restore, f"remove({path!r}, restore=...)"))
