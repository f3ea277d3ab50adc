"""`rename(old, new)`: move a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Fragment, Move, Narrow, Operation, OperationError, Step
from lazymigrate.paths import (
    all_of,
    drop_,
    get_,
    missing_,
    overlap,
    passable_,
    prune,
    put,
    put_,
    reach,
    split_path,
    unpruned_,
)

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["OnConflict", "Rename", "rename"]

OnConflict = Literal["error", "keep_new", "keep_old"]


@dataclass(frozen=True, slots=True)
class Rename(Operation):
    """Move the value at `old` to `new`; where `old` is absent nothing happens."""

    old: str
    new: str
    on_conflict: OnConflict = "error"
    prunes: bool = False

    def __str__(self) -> str:
        return f"{self.old} → {self.new}"

    def compile(self) -> Step:
        old_path, new_path, on_conflict, prunes = self.old, self.new, self.on_conflict, self.prunes
        *old_parents, old = split_path(old_path)
        *new_parents, new = split_path(new_path)
        sources, targets = tuple(old_parents), tuple(new_parents)
        only_parent = sources[0] if len(sources) == 1 else None
        taken = f"the target {new_path!r} is already present beside {old_path!r}"

        def move(document: dict[str, Any]) -> None:
            if old in document:
                if new not in document:
                    document[new] = document.pop(old)
                elif on_conflict == "keep_new":
                    del document[old]
                elif on_conflict == "keep_old":
                    document[new] = document.pop(old)
                else:
                    raise OperationError(taken)

        def move_nested(document: dict[str, Any]) -> None:
            source = reach(document, sources, old_path) if sources else document
            if source is None or old not in source:
                return
            target = put(document, targets, new_path) if targets else document
            if new in target and on_conflict == "error":
                raise OperationError(taken)
            value = source.pop(old)
            if new not in target or on_conflict == "keep_old":
                target[new] = value
            if prunes:
                prune(document, sources)

        def move_inside(document: dict[str, Any]) -> None:
            holder = document.get(only_parent) if only_parent is not None else None
            if type(holder) is not dict:
                holder = reach(document, sources, old_path)
            if holder is not None:
                move(holder)

        if sources == targets:
            return move_inside if sources else move
        return move_nested

    def expression(self, document: Expression) -> Expression:
        old, new = split_path(self.old), split_path(self.new)
        without = drop_(document, old)
        moved = put_(without, new, get_(document, old))
        if self.on_conflict == "keep_new":
            moved = {"$cond": [missing_(document, new), moved, without]}
        return {"$cond": [missing_(document, old), document, moved]}

    def safe(self, document: Expression) -> Expression:
        old, new = split_path(self.old), split_path(self.new)
        absent = missing_(document, old)
        conditions = [passable_(document, new)]
        if self.on_conflict == "error":
            conditions.append(missing_(document, new))
        if self.prunes and len(old) > 1:  # pruning is left to Python where something may be emptied
            size = {"$size": {"$objectToArray": {"$ifNull": [get_(document, old[:-1]), {"$literal": {}}]}}}
            conditions.append({"$gt": [size, 1]})
        return all_of([passable_(document, old), {"$or": [absent, all_of(conditions)]}])

    def fragment(self) -> Fragment | None:
        if "." in self.old + self.new or self.on_conflict != "error":
            return None
        moved = {"$cond": [missing_("$$ROOT", (self.old,)), f"${self.new}", f"${self.old}"]}
        only_one = {"$or": [{self.old: {"$exists": False}}, {self.new: {"$exists": False}}]}
        narrow = Narrow(self.new, f"${self.old}", "$rename", self.old, self.new)
        return Fragment(sets={self.new: moved}, unsets=(self.old,), condition=only_one, narrow=narrow)

    def move(self) -> Move | None:
        return None if "." in self.old + self.new else Move(self.old, self.new)

    def reverse(self) -> Operation:
        return Rename(self.new, self.old, self.on_conflict, prunes=True)

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import At, Computed, Either, Inside, Nothing

        old, new = split_path(self.old), split_path(self.new)
        if parts[: len(new)] == new:
            moved, stayed = At(old + parts[len(new) :]), At(parts)
            if self.on_conflict != "keep_new":
                return Either(old, moved, stayed, exclusive=self.on_conflict == "error")
            kept = Either(new, stayed, moved)
            return kept if len(new) == 1 else Either(old, kept, stayed)  # without `old`, an array may hold `new`
        if parts[: len(old)] == old:
            return Nothing()
        holds_old, holds_new = old[: len(parts)] == parts, new[: len(parts)] == parts
        if holds_old:
            return Computed() if self.prunes else Inside(parts)
        return Inside(parts, (old,)) if holds_new else At(parts)

    def effects(self) -> Effects:
        return Effects(reads=(self.old,), sets=(self.new,), removes=(self.old,))

    def restores(self, document: Expression) -> Expression:
        new = split_path(self.new)
        return all_of([self.safe(document), missing_(document, new), unpruned_(document, new)])


def rename(old: str, new: str, *, on_conflict: OnConflict = "error") -> Operation:
    """Move the value at `old` to `new`, across nesting too; parents of `new` are made, emptied ones of `old` stay.

    Where both are present it is an `UpgradeError`, unless `on_conflict` says to `"keep_new"` (`old` is dropped) or to
    `"keep_old"` (`new` is overwritten). Backwards it is itself, reversed.
    """
    split_path(old)
    split_path(new)
    if overlap(old, new):
        raise SchemaError(
            f"rename({old!r}, {new!r}): one path is inside the other, or they are the same. Rename to a path outside "
            "first, or use a function."
        )
    if on_conflict not in ("error", "keep_new", "keep_old"):
        raise SchemaError(
            f"rename({old!r}, {new!r}): on_conflict is {on_conflict!r}. Use 'error', 'keep_new' or 'keep_old'."
        )
    return Rename(old, new, on_conflict)
