"""Listing the documents that cannot be upgraded: ids, versions and errors, never values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazymigrate.commands import Attempt, Failure, ListInQuarantine, Procedure
from lazymigrate.exceptions import DocumentError
from lazymigrate.scope import LOGGER, Scope

__all__ = ["list_errors"]


def list_errors(scope: Scope, errors: Sequence[DocumentError]) -> Procedure[None]:
    """List the documents of these errors. A quarantine that cannot be written is logged, and fails nothing."""
    entries = [entry(scope, error) for error in errors]
    if entries:
        result = yield Attempt(ListInQuarantine(scope.name, entries))
        if isinstance(result, Failure):
            LOGGER.warning(
                "%s: %d documents could not be listed in the quarantine (code %s)",
                scope.name,
                len(entries),
                result.code,
            )
        else:
            scope.tell("quarantined", len(entries))


def entry(scope: Scope, error: DocumentError) -> dict[str, Any]:
    version = error.version
    if isinstance(version, (str, bytes, dict, list)):
        version = None
    return {
        "document_id": error.document_id,
        "version": version,
        "revision": getattr(error, "revision", None),
        "error": type(error.__cause__ or error).__name__,
        "head": scope.schema.head,
    }
