"""Which documents a sweep moves, and where to: towards head, or back to an older version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lazymigrate.chain import Chain
from lazymigrate.rendering import Update
from lazymigrate.schema import Schema
from lazymigrate.versions import within

__all__ = ["Course", "downwards", "upwards"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """The documents at the versions `lowest` to `highest` (both included) are to be at `target`."""

    schema: Schema
    kind: Literal["sweep", "downgrade"]
    lowest: int
    highest: int
    target: int

    @property
    def filter(self) -> dict[str, Any]:
        """The stored documents that are to be moved; exactly those."""
        return self.where([])

    def where(self, conditions: Sequence[Mapping[str, Any]], *, lowest: int | None = None) -> dict[str, Any]:
        """Those of them that match all of some conditions, and are at `lowest` or above.

        Each branch has all conditions: so a page of them by `_id` comes from the backlog index without a sort.
        """
        first = self.lowest if lowest is None else lowest
        return within(self.schema.version_field, first, self.highest + 1, self.schema.base, conditions)

    def chain(self, version: int) -> Chain:
        """The way from a version to the target."""
        return self.schema.chain(version, self.target)

    def inside(self) -> dict[int, list[Update]]:
        """By version, the updates that move documents inside MongoDB; versions that need the client are left out.

        Of several updates of one version the first is the cheapest, and the last is for all that it left.
        """
        if self.kind == "downgrade":
            return {}
        versions = range(self.lowest, self.highest + 1)
        return {
            version: self.schema.updates(version, to=self.target, exact=True)
            for version in versions
            if self.chain(version).declared
        }


def upwards(schema: Schema) -> Course:
    """All that is outdated, to head."""
    return Course(schema=schema, kind="sweep", lowest=schema.oldest, highest=schema.settled - 1, target=schema.head)


def downwards(schema: Schema, to: int) -> Course:
    """All that is above `to`, down to it; `IrreversibleError` where a revision has no way back."""
    if type(to) is not int or not schema.oldest <= to <= schema.head:
        raise ValueError(f"{schema.name}: to={to!r} is not a version from {schema.oldest} to {schema.head}.")
    if to < schema.head:
        schema.chain(schema.head, to)
    return Course(schema=schema, kind="downgrade", lowest=to + 1, highest=schema.head, target=to)
