"""`call(function)`: a plain function among operations."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation, Step
from lazymigrate.restricted import Function, check_function, field_names, held, restricted

__all__ = ["Call", "call"]


@dataclass(frozen=True, slots=True)
class Call(Operation):
    """Run a function on the fields that it declares, and `_id`."""

    function: Function
    touches: frozenset[str]
    reads: frozenset[str] = frozenset()
    back: Function | None = None

    def __str__(self) -> str:
        return f"call {_name(self.function)}"

    def compile(self) -> Step:
        return restricted(held(self.function, f"call({_name(self.function)})"), self.touches, self.reads)

    def expression(self, document: Expression) -> Expression:  # noqa: ARG002
        raise SchemaError(
            f"call({_name(self.function)}) is a plain function and has no form inside MongoDB. Declare the change with "
            "other operations, or with compute()."
        )

    def safe(self, document: Expression) -> Expression:  # noqa: ARG002
        return False

    def reverse(self) -> Operation | None:
        return None if self.back is None else Call(self.back, self.touches, self.reads, self.function)

    def effects(self) -> Effects:
        return Effects(reads=tuple(sorted(self.reads)), computes=tuple(sorted(self.touches)))

    @property
    def renders(self) -> bool:
        return False


def _name(function: object) -> str:
    return getattr(function, "__name__", type(function).__name__)


def call(
    function: Function, *, touches: Collection[str], reads: Collection[str] = (), back: Function | None = None
) -> Operation:
    """Run a plain function that is given only the fields in `touches` and `reads`, and `_id`; it changes them in place
    and returns None.

    Both are sets of top-level names. Changing a field that is not in `touches` is an `UpgradeError`, and so is whatever
    the function raises; returning something is a `SchemaError`. A revision with a call never runs inside MongoDB.
    `back` is a function too, given the same fields; without it there is no way back.
    """
    label = f"call({_name(function)})"
    check_function(function, label)
    touched = field_names(touches, "touches", label)
    if not touched:
        raise SchemaError(f"{label}: without touches the function could change nothing. Name the fields it changes.")
    if back is not None:
        check_function(back, f"the way back of {label}")
    return Call(function, touched, field_names(reads, "reads", label) or frozenset(), back)
