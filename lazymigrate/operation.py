"""What every operation is.

An operation is a frozen value with three renderings that say the same:

- `compile()`: a closure that changes one document in Python. **Its meaning is the definition.**
- `expression(document)`: an aggregation expression for the changed document, given an expression for the document;
  exact, byte for byte, on the documents for which `safe(document)` is true, and never used on others.
- `reverse()`: the operation that goes back, or None; on the documents for which `restores(document)` is true, the way
  back gives the document that was there before (a field that moved away and came back stands last).

`effects()` says which paths it reads, sets and removes; declarations are checked with it and the compare-and-set
guards with it. `origin(parts)` says where the value at a path comes from; filters for the newest shape are turned into
filters for an older one with it. Operations compose because an expression takes and gives a document: the same rendering serves the
whole document and a subdocument.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["Effects", "Expression", "Fragment", "Move", "Operation", "OperationError", "Step"]

Step = Callable[[dict[str, Any]], None]
Expression = Any


class OperationError(Exception):
    """An operation met a document that it is not defined on; its text names paths and no values."""


@dataclass(frozen=True, slots=True)
class Effects:
    """Dotted paths: those whose values are used, those that get a value, those that are taken away.

    `computes` are those whose value is made out of their own: it is there before and after.
    """

    reads: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    computes: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.reads, *self.sets, *self.removes, *self.computes)

    def within(self, path: str) -> Effects:
        """The same, of a subdocument at a path."""
        inside = (
            tuple(f"{path}.{name}" for name in group) for group in (self.reads, self.sets, self.removes, self.computes)
        )
        return Effects(*inside)


class Move(NamedTuple):
    """What an operation does to a document that has not got the field `new`, which a chain does without a call.

    The value at `old` moves to `new`, and where `old` is absent nothing happens; with `old` None, the constant is set.
    """

    old: str | None
    new: str
    constant: Any = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Fragment:
    """An operation as part of one `$set`, where it only concerns top-level fields.

    `sets` are expressions on the whole document by field name, `unsets` names; `condition` is `safe` in the language of
    filters, which is faster than an expression. Fragments whose names do not meet are rendered together. `narrow` is the
    same operation on the documents that have none of its new fields, which is nearly all of them, in a cheaper form.
    """

    sets: Mapping[str, Expression] = field(default_factory=dict)
    unsets: tuple[str, ...] = ()
    condition: Mapping[str, Any] = field(default_factory=dict)
    narrow: Narrow | None = None

    @property
    def names(self) -> frozenset[str]:
        """The fields that it reads or changes."""
        return frozenset(self.sets) | frozenset(self.unsets)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Narrow:
    """A fragment on the documents that have no field `absent`.

    `value` is what the field is then set to. `operator` and `argument` are the same as an update operator (`"$rename"`),
    and `name` is the field it is written for.
    """

    absent: str
    value: Expression
    operator: str
    name: str
    argument: Any


class Operation(ABC):
    """A declared change: data that runs in Python, inside MongoDB and backwards."""

    __slots__ = ()

    @abstractmethod
    def compile(self) -> Step:
        """The closure that applies the operation to a document, or raises `OperationError` and names the path."""

    @abstractmethod
    def expression(self, document: Expression) -> Expression:
        """The changed document as an aggregation expression."""

    @abstractmethod
    def safe(self, document: Expression) -> Expression:
        """A boolean aggregation expression: true where `expression` is exact."""

    @abstractmethod
    def reverse(self) -> Operation | None:
        """The operation that undoes this one, or None."""

    @abstractmethod
    def effects(self) -> Effects:
        """The paths it reads, sets and removes."""

    def fragment(self) -> Fragment | None:
        """The same as part of one `$set`; None where it has no such form."""
        return None

    def move(self) -> Move | None:
        """The same as data, where it only moves or adds a top-level field; None where it does more."""
        return None

    @property
    def changes(self) -> frozenset[str] | None:
        """The top-level fields that it may change; None when it may be any."""
        if self.unbounded:
            return None
        effects = self.effects()
        return frozenset(path.partition(".")[0] for path in (*effects.sets, *effects.removes, *effects.computes))

    def apart(self) -> tuple[Operation, ...]:
        """The same as operations applied one after the other, each as simple as can be."""
        return (self,)

    def origin(self, parts: Parts) -> Origin:
        """Where the value at a path of the changed document comes from, in any document on which the operation succeeds.

        As far as the effects tell. What is taken away is `Nothing`, and the value that holds a computed one stays of its type.
        """
        from lazymigrate.origin import At, Computed, Inside, Nothing
        from lazymigrate.paths import overlap

        if self.unbounded:
            return Computed()
        path, effects = ".".join(parts), self.effects()
        if any(overlap(path, other) for other in effects.sets):
            return Computed()
        if any(path == other or path.startswith(other + ".") for other in effects.removes):
            return Nothing()
        computed = [other for other in effects.computes if overlap(path, other)]
        if any(overlap(path, other) for other in effects.removes) or not all(
            other.startswith(path + ".") for other in computed
        ):
            return Computed()
        return Inside(parts) if computed else At(parts)

    def restores(self, document: Expression) -> Expression:  # noqa: ARG002
        """A boolean aggregation expression: true where the way back restores the document; False for never."""
        return False

    @property
    def lossless(self) -> bool:
        """Whether there are documents that the way back is known to restore exactly."""
        return self.reverse() is not None and self.restores("$$ROOT") is not False

    @property
    def renders(self) -> bool:
        """Whether it can run inside MongoDB."""
        return True

    @property
    def unbounded(self) -> bool:
        """Whether it may use or change more of the document than its effects name."""
        return False

    @property
    def empty(self) -> bool:
        """Whether it changes no document at all."""
        return False
