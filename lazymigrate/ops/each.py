"""`each(path, *operations)`: operations on every subdocument of an array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazymigrate.operation import Effects, Expression, Operation, OperationError, Step
from lazymigrate.paths import all_of, get_, passable_, plain_, put_, reach, split_path
from lazymigrate.sequence import OperationSequence, bound, checked

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["Each", "each"]


@dataclass(frozen=True, slots=True)
class Each(Operation):
    """Apply operations to every element of the array at the path; where it is missing or null nothing happens."""

    path: str
    inner: OperationSequence

    def __str__(self) -> str:
        return f"{self.path}[] {{{self.inner}}}"

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
            if not isinstance(value, list):
                raise OperationError(f"{path!r} is not an array")
            for index, element in enumerate(value):
                if not isinstance(element, dict):
                    raise OperationError(f"the element {index} of {path!r} is not a document")
                try:
                    step(element)
                except OperationError as error:
                    raise OperationError(f"in the element {index} of {path!r}: {error}") from error

        return apply

    def expression(self, document: Expression) -> Expression:
        if self.empty:
            return document
        parts = split_path(self.path)

        def changed(document: Expression) -> Expression:
            array = get_(document, parts)
            mapped = {"$map": {"input": array, "as": "document", "in": self.inner.expression("$$document")}}
            return {"$cond": [{"$isArray": [array]}, put_(document, parts, mapped), document]}

        return bound(document, changed)

    def safe(self, document: Expression) -> Expression:
        return self.empty or self._where(document, self.inner.safe)

    def restores(self, document: Expression) -> Expression:
        return self.empty or (
            self.inner.restores("$$document") is not False and self._where(document, self.inner.restores)
        )

    def _where(self, document: Expression, inner: Callable[[Expression], Expression]) -> Expression:
        """True where there is nothing at the path, or an array of documents of each of which `inner` is true."""
        parts = split_path(self.path)
        condition = all_of([plain_("$$document"), inner("$$document")])

        def judged(array: Expression) -> Expression:
            elements = {"$map": {"input": array, "as": "document", "in": condition}}
            absent = {"$in": [{"$type": array}, ["missing", "null"]]}
            return {"$cond": [{"$isArray": [array]}, {"$allElementsTrue": [elements]}, absent]}

        return bound(
            document, lambda document: all_of([passable_(document, parts), bound(get_(document, parts), judged)])
        )

    def reverse(self) -> Each | None:
        reverse = self.inner.reverse()
        return None if reverse is None else Each(self.path, reverse)

    def apart(self) -> tuple[Operation, ...]:
        return tuple(Each(self.path, OperationSequence((part,))) for part in self.inner.apart())

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import At, Computed, Elements, Inside

        path = split_path(self.path)
        if parts[: len(path)] != path:
            return Operation.origin(self, parts)
        rest = parts[len(path) :]
        if rest and rest[0].isdigit():  # a position, and the key of an element: both are asked for
            return Inside(parts) if len(rest) == 1 and self.renders else Computed()
        if rest and self.inner.origin(rest) == At(rest):
            return At(parts)
        return Elements(path, rest, self.inner)

    def effects(self) -> Effects:
        return Effects(computes=(self.path,))

    @property
    def renders(self) -> bool:
        return self.inner.renders

    @property
    def empty(self) -> bool:
        return self.inner.empty


def each(path: str, *operations: Operation) -> Operation:
    """Apply the operations, in order, to every element of the array at `path`; missing or null: nothing happens.

    Their paths are those of the element. Anything else than an array at `path`, and an element that is not a document,
    is an `UpgradeError`. For arrays inside arrays of documents, write `each` inside `each`. Backwards the operations are
    reversed, the last first; there is a way back when each of them has one.
    """
    split_path(path)
    return Each(path, checked(operations, f"each({path!r}, ...)"))
