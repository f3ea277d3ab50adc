"""`each_value(path, *operations)`: operations on every value of a subdocument that is used as a map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazymigrate.operation import Effects, Expression, Operation, OperationError, Step
from lazymigrate.paths import all_of, distinct_, get_, is_document_, passable_, plain_, put_, reach, split_path
from lazymigrate.sequence import OperationSequence, bound, checked

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["EachValue", "each_value"]


@dataclass(frozen=True, slots=True)
class EachValue(Operation):
    """Apply operations to every value of the map at the path; where it is missing or null nothing happens."""

    path: str
    inner: OperationSequence

    def __str__(self) -> str:
        return f"{self.path}{{}} {{{self.inner}}}"

    def compile(self) -> Step:
        path, step, empty = self.path, self.inner.compile(), self.empty
        *parents, name = split_path(path)
        holders = tuple(parents)

        def apply(document: dict[str, Any]) -> None:
            if empty:
                return
            holder = reach(document, holders, path) if holders else document
            if holder is None or (values := holder.get(name)) is None:
                return
            if not isinstance(values, dict):
                raise OperationError(f"{path!r} is not a document")
            for value in values.values():  # a key is data, and is not named
                if not isinstance(value, dict):
                    raise OperationError(f"a value of {path!r} is not a document")
                try:
                    step(value)
                except OperationError as error:
                    raise OperationError(f"in a value of {path!r}: {error}") from error

        return apply

    def expression(self, document: Expression) -> Expression:
        if self.empty:
            return document
        parts = split_path(self.path)
        value = {"$let": {"vars": {"document": "$$entry.v"}, "in": self.inner.expression("$$document")}}
        entry = {"k": "$$entry.k", "v": value}

        def changed(document: Expression) -> Expression:
            entries = {"$map": {"input": {"$objectToArray": get_(document, parts)}, "as": "entry", "in": entry}}
            mapped = put_(document, parts, {"$arrayToObject": entries})
            return {"$cond": [is_document_(document, parts), mapped, document]}

        return bound(document, changed)

    def safe(self, document: Expression) -> Expression:
        return self.empty or self._where(document, self.inner.safe)

    def restores(self, document: Expression) -> Expression:
        return self.empty or (
            self.inner.restores("$$document") is not False and self._where(document, self.inner.restores)
        )

    def _where(self, document: Expression, inner: Callable[[Expression], Expression]) -> Expression:
        """True where there is nothing at the path, or a map of documents of each of which `inner` is true."""
        parts = split_path(self.path)
        condition = all_of([plain_("$$document"), inner("$$document")])
        value = {"$let": {"vars": {"document": "$$entry.v"}, "in": condition}}

        def judged(values: Expression) -> Expression:
            absent = {"$in": [{"$type": values}, ["missing", "null"]]}
            entries = {"$map": {"input": {"$objectToArray": values}, "as": "entry", "in": value}}
            every = all_of([distinct_(values), {"$allElementsTrue": [entries]}])
            return {"$or": [absent, all_of([plain_(values), every])]}

        return bound(
            document, lambda document: all_of([passable_(document, parts), bound(get_(document, parts), judged)])
        )

    def reverse(self) -> EachValue | None:
        reverse = self.inner.reverse()
        return None if reverse is None else EachValue(self.path, reverse)

    def apart(self) -> tuple[Operation, ...]:
        return tuple(EachValue(self.path, OperationSequence((part,))) for part in self.inner.apart())

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import Inside, beneath

        path = split_path(self.path)
        key, rest = parts[: len(path) + 1], parts[len(path) + 1 :]
        if parts[: len(path)] != path:
            return Operation.origin(self, parts)
        return beneath(key, self.inner.origin(rest)) if rest else Inside(parts)

    def effects(self) -> Effects:
        return Effects(computes=(self.path,))

    @property
    def renders(self) -> bool:
        return self.inner.renders

    @property
    def empty(self) -> bool:
        return self.inner.empty


def each_value(path: str, *operations: Operation) -> Operation:
    """Apply the operations, in order, to every value of the subdocument at `path`, whatever its keys are.

    For a subdocument that is used as a map. Their paths are those of the value; every value must be a document, anything
    else is an `UpgradeError`, which does not name the key. Where `path` is missing or null nothing happens. Backwards
    the operations are reversed, the last first; there is a way back when each of them has one.
    """
    split_path(path)
    return EachValue(path, checked(operations, f"each_value({path!r}, ...)"))
