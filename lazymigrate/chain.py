"""A path of revisions from one version to another, compiled once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lazymigrate.exceptions import SchemaError, UpgradeError, describe
from lazymigrate.ops.operation import OperationError
from lazymigrate.revision import Revision

__all__ = ["Chain", "compile_chain"]

Run = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Chain:
    """The way from version `source` to `target`.

    `run` changes a document that it owns and returns it stamped; the stored document's field order is kept, as the
    server keeps it: a field that is there stays in its place and a new one is appended. It raises `UpgradeError`
    (this document) or `SchemaError` (this function); the document is then not to be used.
    `fields` are the top-level fields that the outcome depends on, None when it may be any.
    """

    source: int
    target: int
    revisions: tuple[Revision, ...]
    fields: frozenset[str] | None
    run: Run

    @property
    def declared(self) -> bool:
        """Whether all of it can run inside MongoDB."""
        return all(revision.declared for revision in self.revisions)


def compile_chain(
    schema_name: str, version_field: str, source: int, target: int, revisions: Sequence[Revision]
) -> Chain:
    """Compile the revisions between two versions, given in ascending order; downwards when target < source.

    `IrreversibleError` when a downgrade crosses a revision without a way back.
    """
    upwards = target >= source
    ordered = tuple(revisions) if upwards else tuple(reversed(revisions))
    numbered = [
        (revision.version, revision.step if upwards else revision.back) for revision in ordered if not revision.empty
    ]
    labels = {revision.version: f"revision {revision.version} {revision.name!r}" for revision in ordered}
    verb = "upgraded" if upwards else "downgraded"

    def failed(document: dict[str, Any], stamp: Any, number: int, cause: Exception) -> UpgradeError:
        reason = str(cause) if isinstance(cause, OperationError) else f"it raised {type(cause).__name__}"
        identity = document.get("_id")
        return UpgradeError(
            f"{schema_name}: {describe(identity)} at version {source} cannot be {verb} to {target}: "
            f"{labels[number]} failed: {reason}. Mend the document, or the revision, and read it again.",
            collection=schema_name,
            document_id=identity,
            version=source if stamp is None else stamp,
            revision=number,
        )

    def run_declared(document: dict[str, Any]) -> dict[str, Any]:
        number = source
        try:
            for number, step in numbered:
                step(document)
        except Exception as cause:
            raise failed(document, document.get(version_field), number, cause) from cause
        document[version_field] = target
        return document

    def run_with_functions(document: dict[str, Any]) -> dict[str, Any]:
        working = document.copy()
        working.pop(version_field, None)
        number = source
        try:
            for number, step in numbered:
                step(working)
        except SchemaError:
            raise
        except Exception as cause:
            raise failed(document, document.get(version_field), number, cause) from cause
        for key in document.keys() - working.keys():
            if key != version_field:
                del document[key]
        working.pop(version_field, None)
        document.update(working)
        document[version_field] = target
        return document

    fields: frozenset[str] | None = frozenset()
    plain = True
    for revision in ordered:
        declared = revision.declared if upwards else revision.back_declared
        own = revision.fields if declared or not revision.declared else None
        fields = None if own is None or fields is None else fields | own
        plain = plain and declared
    return Chain(source, target, ordered, fields, run_declared if plain else run_with_functions)
