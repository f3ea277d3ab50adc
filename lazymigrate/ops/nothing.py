"""`nothing()`: the version moves and no document needs rewriting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lazymigrate.operation import Effects, Expression, Operation, Step

__all__ = ["Nothing", "nothing"]


@dataclass(frozen=True, slots=True)
class Nothing(Operation):
    """The empty revision."""

    def __str__(self) -> str:
        return "nothing"

    def compile(self) -> Step:
        def leave(document: dict[str, Any]) -> None:
            """There is nothing to change."""

        return leave

    def expression(self, document: Expression) -> Expression:
        return document

    def safe(self, document: Expression) -> Expression:  # noqa: ARG002
        return True

    def reverse(self) -> Operation:
        return self

    def effects(self) -> Effects:
        return Effects()

    def restores(self, document: Expression) -> Expression:  # noqa: ARG002
        return True

    @property
    def empty(self) -> bool:
        return True


def nothing() -> Operation:
    """Change nothing: documents of the version before count as at head, and none is rewritten for it."""
    return Nothing()
