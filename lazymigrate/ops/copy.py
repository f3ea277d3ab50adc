"""`copy(source, path)`: a second place for a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazymigrate.documents import copy_value
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation, OperationError, Step
from lazymigrate.paths import (
    all_of,
    get_,
    in_sequence,
    missing_,
    overlap,
    passable_,
    put,
    put_,
    reach,
    split_path,
    unpruned_,
)

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["Copy", "copy"]


@dataclass(frozen=True, slots=True)
class Copy(Operation):
    """The value at `source` also stands at `path`; where `source` is absent nothing happens."""

    source: str
    path: str

    def __str__(self) -> str:
        return f"{self.path} = {self.source}"

    def compile(self) -> Step:
        source_path, path = self.source, self.path
        *source_parents, source = split_path(source_path)
        *parents, name = split_path(path)
        source_holders, holders = tuple(source_parents), tuple(parents)

        def set_copy(document: dict[str, Any]) -> None:
            origin = reach(document, source_holders, source_path) if source_holders else document
            if origin is None or source not in origin:
                return
            target = put(document, holders, path) if holders else document
            if name in target:
                raise OperationError(f"the target {path!r} is already present beside {source_path!r}")
            value = origin[source]
            target[name] = value if isinstance(value, str) else copy_value(value)

        return set_copy

    def expression(self, document: Expression) -> Expression:
        source, parts = split_path(self.source), split_path(self.path)

        def changed(document: Expression) -> Expression:
            both = put_(document, parts, get_(document, source))
            return {"$cond": [missing_(document, source), document, both]}

        return in_sequence(document, [changed])

    def _free_(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        return all_of([passable_(document, parts), missing_(document, parts)])

    def safe(self, document: Expression) -> Expression:
        source = split_path(self.source)
        return all_of([passable_(document, source), {"$or": [missing_(document, source), self._free_(document)]}])

    def reverse(self) -> Operation:
        from lazymigrate.ops.remove import Remove

        return Remove(self.path, prunes=True)

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import At, Either, Inside

        source, path = split_path(self.source), split_path(self.path)
        if parts[: len(path)] == path:
            return Either(source, At(source + parts[len(path) :]), At(parts), exclusive=True)
        if path[: len(parts)] == parts:
            return Inside(parts, (source,))
        return At(parts)

    def effects(self) -> Effects:
        return Effects(reads=(self.source,), sets=(self.path,))

    def restores(self, document: Expression) -> Expression:
        source, parts = split_path(self.source), split_path(self.path)
        unchanged = {"$or": [missing_(document, source), unpruned_(document, parts)]}
        return all_of([passable_(document, source), self._free_(document), unchanged])


def copy(source: str, path: str) -> Operation:
    """Give the value at `source` a second place at `path`, whose parents are made; the two share nothing.

    Where `source` is absent nothing happens; where `path` is already present beside it, that is an `UpgradeError`.
    Backwards the copy is removed, whatever it holds by then, with the parents that are then empty.
    """
    split_path(source)
    split_path(path)
    if overlap(source, path):
        raise SchemaError(
            f"copy({source!r}, {path!r}): one path is inside the other, or they are the same. Copy to a path outside."
        )
    return Copy(source, path)
