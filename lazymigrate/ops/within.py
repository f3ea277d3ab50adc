"""`within(path, *operations)`: operations on a subdocument."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lazymigrate.operation import Effects, Expression, Operation, OperationError, Step
from lazymigrate.paths import all_of, get_, is_document_, passable_, plain_, put_, reach, split_path
from lazymigrate.sequence import OperationSequence, bound, checked

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["Within", "within"]


@dataclass(frozen=True, slots=True)
class Within(Operation):
    """Apply operations to the subdocument at the path; where it is missing or null nothing happens."""

    path: str
    inner: OperationSequence

    def __str__(self) -> str:
        return f"{self.path} {{{self.inner}}}"

    def compile(self) -> Step:
        path, step, empty = self.path, self.inner.compile(), self.empty
        *parents, name = split_path(path)
        holders = tuple(parents)

        def apply(document: dict[str, Any]) -> None:
            if empty:
                return
            holder = reach(document, holders, path) if holders else document
            if holder is None or (value := holder.get(name)) is None:
                return
            if not isinstance(value, dict):
                raise OperationError(f"{path!r} is not a document")
            try:
                step(value)
            except OperationError as error:
                raise OperationError(f"in {path!r}: {error}") from error

        return apply

    def expression(self, document: Expression) -> Expression:
        if self.empty:
            return document
        parts = split_path(self.path)

        def changed(document: Expression) -> Expression:
            inner = bound(get_(document, parts), self.inner.expression)
            return {"$cond": [is_document_(document, parts), put_(document, parts, inner), document]}

        return bound(document, changed)

    def safe(self, document: Expression) -> Expression:
        return self.empty or self._where(document, self.inner.safe)

    def restores(self, document: Expression) -> Expression:
        return self.empty or (
            self.inner.restores("$$document") is not False and self._where(document, self.inner.restores)
        )

    def _where(self, document: Expression, inner: Any) -> Expression:
        """True where there is nothing at the path, or a document of which `inner` is true."""
        parts = split_path(self.path)

        def judged(value: Expression) -> Expression:
            absent = {"$in": [{"$type": value}, ["missing", "null"]]}
            return {"$or": [absent, all_of([plain_(value), inner(value)])]}

        return bound(
            document, lambda document: all_of([passable_(document, parts), bound(get_(document, parts), judged)])
        )

    def reverse(self) -> Within | None:
        reverse = self.inner.reverse()
        return None if reverse is None else Within(self.path, reverse)

    def apart(self) -> tuple[Operation, ...]:
        return tuple(Within(self.path, OperationSequence((part,))) for part in self.inner.apart())

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import Inside, beneath

        path = split_path(self.path)
        if path[: len(parts)] == parts:
            return Inside(parts)
        if parts[: len(path)] == path:
            return beneath(path, self.inner.origin(parts[len(path) :]))
        return Operation.origin(self, parts)

    def effects(self) -> Effects:
        inside = self.inner.effects().within(self.path)
        return replace(inside, reads=(*inside.reads, self.path)) if self.inner.unbounded else inside

    @property
    def renders(self) -> bool:
        return self.inner.renders

    @property
    def empty(self) -> bool:
        return self.inner.empty


def within(path: str, *operations: Operation) -> Operation:
    """Apply the operations, in order, to the subdocument at `path`; where it is missing or null nothing happens.

    Their paths are those of the subdocument. Anything else than a document at `path` is an `UpgradeError`; what the
    operations refuse is one too, and names both paths. Backwards they are reversed, the last first; there is a way back
    when each of them has one.
    """
    split_path(path)
    return Within(path, checked(operations, f"within({path!r}, ...)"))
