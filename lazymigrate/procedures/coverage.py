"""Counting versions."""

from __future__ import annotations

from lazymigrate.commands import Procedure, StampCounts
from lazymigrate.coverage import Coverage
from lazymigrate.procedures.quarantine import count_listed
from lazymigrate.scope import Scope

__all__ = ["coverage"]


def coverage(scope: Scope) -> Procedure[Coverage]:
    """The documents per version, counted on the server: one scan, and nothing but counts comes back."""
    counts = yield StampCounts(scope.schema.version_field)
    quarantined = yield count_listed(scope)
    return Coverage.of(scope.schema, scope.name, counts, quarantined)
