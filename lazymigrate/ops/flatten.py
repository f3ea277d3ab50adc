"""`flatten(path, fields=[...])`: spread fields of a subdocument beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation, OperationError, Step
from lazymigrate.ops.nest import Nest, field_names
from lazymigrate.paths import (
    all_of,
    drop_,
    get_,
    is_document_,
    missing_,
    passable_,
    plain_,
    prune,
    put,
    put_,
    reach,
    split_path,
)
from lazymigrate.sequence import bound, composed

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["Flatten", "flatten", "pruned_"]


@dataclass(frozen=True, slots=True)
class Flatten(Operation):
    """Move fields of the subdocument at the path to the targets, whose last names they have; drop it when it is empty.

    `prunes` (the way back of an operation that made parents) also removes the parents that are then empty.
    """

    path: str
    targets: tuple[str, ...]
    prunes: bool = False

    def __str__(self) -> str:
        return f"{self.path} {{}} → {', '.join(self.targets)}"

    @property
    def _moves(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(parts[-1], parts) for parts in map(split_path, self.targets)]

    def compile(self) -> Step:
        path, prunes = self.path, self.prunes
        *parents, home = split_path(path)
        holders = tuple(parents)
        moves = [(name, parts[:-1], target) for target, (name, parts) in zip(self.targets, self._moves, strict=True)]

        def spread(document: dict[str, Any]) -> None:
            holder = reach(document, holders, path)
            if holder is None or home not in holder:
                return
            source = holder[home]
            if not isinstance(source, dict):
                raise OperationError(f"{path!r} is not a document")
            for name, above, target in moves:
                if name in source:
                    place = put(document, above, target)
                    if name in place:
                        raise OperationError(f"the target {target!r} is already present beside '{path}.{name}'")
                    place[name] = source.pop(name)
            if not source:
                del holder[home]
                if prunes:
                    prune(document, holders)

        return spread

    def expression(self, document: Expression) -> Expression:
        path, moves = split_path(self.path), self._moves

        def without(name: str) -> Callable[[Expression], Expression]:
            return lambda source: {"$unsetField": {"field": {"$literal": name}, "input": source}}

        def place(name: str, parts: tuple[str, ...]) -> Callable[[Expression], Expression]:
            value = get_("$$source", (name,))
            absent = missing_("$$source", (name,))
            return lambda document: {"$cond": [absent, document, put_(document, parts, value)]}

        def spread(document: Expression) -> Expression:
            emptied = {"$eq": ["$$rest", {"$literal": {}}]}
            dropped = drop_(document, path)
            kept = {"$cond": [emptied, dropped, put_(document, path, "$$rest")]}
            placed = composed(kept, [place(*move) for move in moves])
            if self.prunes and len(path) > 1:
                placed = {"$cond": [emptied, pruned_(placed, path), placed]}
            rest = composed("$$source", [without(name) for name, _ in moves])
            inner = {"$let": {"vars": {"rest": rest}, "in": placed}}
            changed = {"$let": {"vars": {"source": get_(document, path)}, "in": inner}}
            return {"$cond": [is_document_(document, path), changed, document]}

        return bound(document, spread)

    def safe(self, document: Expression) -> Expression:
        path = split_path(self.path)

        def conditions(document: Expression) -> Expression:
            free = [
                {
                    "$or": [
                        missing_(document, (*path, name)),
                        all_of([passable_(document, parts), missing_(document, parts)]),
                    ]
                }
                for name, parts in self._moves
            ]
            source = {"$or": [missing_(document, path), all_of([plain_(get_(document, path)), *free])]}
            return all_of([passable_(document, path), source])

        return bound(document, conditions)

    def reverse(self) -> Operation:
        return Nest(self.targets, self.path)

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import At, Computed, Either, Inside, Nothing

        path = split_path(self.path)
        for name, target in self._moves:
            source = (*path, name)
            if parts[: len(target)] == target:
                return Either(source, At(source + parts[len(target) :]), At(parts), exclusive=True)
            if parts[: len(source)] == source:
                return Nothing()
        if path[: len(parts)] == parts:
            return Computed() if self.prunes or parts == path else Inside(parts)
        made = tuple((*path, name) for name, target in self._moves if target[: len(parts)] == parts)
        return Inside(parts, made) if made else At(parts)

    def effects(self) -> Effects:
        sources = tuple(f"{self.path}.{name}" for name, _ in self._moves)
        return Effects(reads=sources, sets=self.targets, removes=sources)

    def restores(self, document: Expression) -> Expression:
        path = split_path(self.path)

        def conditions(document: Expression) -> Expression:
            value = get_(document, path)
            free = [all_of([passable_(document, parts), missing_(document, parts)]) for _, parts in self._moves]
            homes = [  # parents that are made stay
                {"$or": [missing_(document, (*path, name)), is_document_(document, parts[:-1])]}
                for name, parts in self._moves
                if parts[:-1] != path[: len(parts) - 1]
            ]
            there = all_of([plain_(value), {"$ne": [value, {"$literal": {}}]}, *homes])
            return all_of([passable_(document, path), *free, {"$or": [missing_(document, path), there]}])

        return bound(document, conditions)


def pruned_(document: Expression, parts: tuple[str, ...]) -> Expression:
    """The document without those parents of a path that are empty, from the innermost outwards; where `passable_`."""

    def prune_(above: tuple[str, ...]) -> Callable[[Expression], Expression]:
        def render(document: Expression) -> Expression:
            empty = {"$eq": [get_(document, above), {"$literal": {}}]}
            return {"$cond": [empty, drop_(document, above), document]}

        return render

    return composed(document, [prune_(parts[:depth]) for depth in range(len(parts) - 1, 0, -1)])


def flatten(path: str, fields: Iterable[str]) -> Operation:
    """Move these fields of the subdocument at `path` beside it, in the order given, and drop it when it is then empty.

    Where `path` is missing nothing happens; anything else than a document there, null included, is an `UpgradeError`,
    and so is a field that is already beside it. Backwards the fields are nested again.
    """
    parts = split_path(path)
    label = f"flatten({path!r}, ...)"
    names = field_names(fields, label)
    for name in names:
        if "." in name:
            raise SchemaError(
                f"{label}: {name!r} is not a name but a path. Name fields of {path!r}; for one deeper, use rename."
            )
        if name == parts[-1]:
            raise SchemaError(
                f"{label}: the field {name!r} has the name of the subdocument itself. Rename one of them before."
            )
    return Flatten(path, tuple(".".join((*parts[:-1], name)) for name in names))
