"""A path of revisions from one version to another, compiled once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lazymigrate.exceptions import SchemaError, UpgradeError, describe
from lazymigrate.operation import Operation, OperationError, Step
from lazymigrate.revision import ABSENT, Revision, keep_identity

__all__ = ["Chain", "Run", "compile_chain"]

Run = Callable[[dict[str, Any]], dict[str, Any]]
Failed = Callable[[Any, Any, int, Exception], UpgradeError]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Chain:
    """The way from version `source` to `target`.

    `run` changes a document that it owns and returns it stamped; the stored document's field order is kept, as the
    server keeps it: a field that is there stays in its place and a new one is appended. It raises `UpgradeError`
    (this document) or `SchemaError` (this function); the document is then not to be used.
    `fields` are the top-level fields that the outcome depends on, None when it may be any. `changes` are those that an
    upgrade may change, None when it may be any, and for a downgrade. `known` is kept by `lazymigrate.places`.
    """

    source: int
    target: int
    revisions: tuple[Revision, ...]
    fields: frozenset[str] | None
    changes: frozenset[str] | None
    run: Run
    known: dict[tuple[str, str], Any] = field(default_factory=dict)

    @property
    def declared(self) -> bool:
        """Whether all of it can run inside MongoDB."""
        if self.target >= self.source:
            return all(revision.declared for revision in self.revisions)
        return all(revision.declared_back for revision in self.revisions)


def compile_chain(
    schema_name: str, version_field: str, source: int, target: int, revisions: Sequence[Revision]
) -> Chain:
    """Compile the revisions between two versions, given in ascending order; downwards when target < source.

    `IrreversibleError` when a downgrade crosses a revision without a way back.
    """
    upwards = target >= source
    ordered = tuple(revisions) if upwards else tuple(reversed(revisions))
    by_number = {revision.version: revision for revision in ordered}
    verb = "upgraded" if upwards else "downgraded"

    def failed(identity: Any, stamp: Any, number: int, cause: Exception) -> UpgradeError:
        revision = by_number[number]
        reason = str(cause) if isinstance(cause, OperationError) else revision.reason(cause)
        return UpgradeError(
            f"{schema_name}: {describe(identity)} at version {source} cannot be {verb} to {target}: revision {number} "
            f"{revision.name!r} failed: {reason}. Mend the document, or the revision, and read it again.",
            collection=schema_name,
            document_id=identity,
            version=source if stamp is None else stamp,
            revision=number,
        )

    steps = [
        (revision.version, revision.step if upwards else revision.back) for revision in ordered if not revision.empty
    ]
    fields: frozenset[str] | None = frozenset()
    changes: frozenset[str] | None = frozenset()
    declared: list[tuple[int, Operation]] | None = []
    for revision in ordered:
        of_operations = revision.function is None if upwards else revision.back_of_operations
        known = upwards or revision.function is not None or of_operations  # else the way back is anybody's function
        own = revision.fields if known else None
        fields = None if own is None or fields is None else fields | own
        changed = revision.changes if upwards else None
        changes = None if changed is None or changes is None else changes | changed
        # An operation that looks at the whole document must not see the stamp either.
        if declared is None or not of_operations or any(operation.unbounded for operation in revision.operations):
            declared = None
        else:
            operations = (revision.operations if upwards else revision.reverses) or ()
            declared += [(revision.version, operation) for operation in operations if not operation.empty]
    if declared is not None:
        run = declared_run(declared, version_field, target, failed)
    else:
        functions = [(number, step, by_number[number] if upwards else None) for number, step in steps]
        run = functions_run(functions, version_field, target, failed)
    return Chain(source, target, ordered, fields, changes, run)


def declared_run(declared: Sequence[tuple[int, Operation]], version_field: str, target: int, failed: Failed) -> Run:
    """Operations on a document that need not be kept from the stamp; each with the number of its revision."""
    plan = tuple(instruction(operation) for _, operation in declared)

    def run(document: dict[str, Any]) -> dict[str, Any]:
        step: Any = None
        try:
            for old, new, step in plan:
                if old is not None:
                    if old in document:
                        if new in document:
                            step(document)
                        else:
                            document[new] = document.pop(old)
                elif new is None:
                    step(document)
                elif new not in document:
                    document[new] = step
        except SchemaError:
            raise
        except Exception as cause:
            number = next(declared[index][0] for index, done in enumerate(plan) if done[2] is step)
            raise failed(document.get("_id"), document.get(version_field), number, cause) from cause
        document[version_field] = target
        return document

    return run


def functions_run(
    steps: Sequence[tuple[int, Step, Revision | None]], version_field: str, target: int, failed: Failed
) -> Run:
    """Steps that may be anybody's code: they never see the stamp, and `_id` stays what it is.

    With a revision comes the right to call its function without the step around it, which does the same checks.
    """
    direct = [
        (number, step, revision, None if revision is None else revision.unrestricted)
        for number, step, revision in steps
    ]

    def run(document: dict[str, Any]) -> dict[str, Any]:
        identity, stamp = document.get("_id", ABSENT), document.get(version_field)
        place = take_stamp(document, version_field) if version_field in document else None
        fragile = isinstance(identity, dict)  # a function could change it in place: only the step itself would notice
        number = 0
        try:
            for number, step, revision, function in direct:  # noqa: B007 (the handler names the revision)
                if function is None or revision is None or fragile:
                    step(document)
                else:
                    returned = function(document)
                    if returned is not None:
                        revision.refuse(function, returned)
                document.pop(version_field, None)  # it cannot be set for the next function, either
                if document.get("_id", ABSENT) is not identity:
                    keep_identity(document, identity)
        except SchemaError:
            raise
        except Exception as cause:
            raise failed(None if identity is ABSENT else identity, stamp, number, cause) from cause
        if place is None:
            document[version_field] = target
            return document
        return put_stamp(document, version_field, target, place)

    return run


def instruction(operation: Operation) -> tuple[Any, Any, Any]:
    """An operation for the loop of a chain: a move's `old` and `new` and the step for where `new` is there already; an
    addition's `new` and constant; or the step alone. (Measured: half the time of a call for each.)
    """
    move = operation.move()
    if move is None:
        return None, None, operation.compile()
    return move.old, move.new, move.constant if move.old is None else operation.compile()


def take_stamp(document: dict[str, Any], version_field: str) -> list[str]:
    """Take the stamp away, since a function never sees it; what is needed to put it back in its place."""
    names = list(document)
    del document[version_field]
    return names


def put_stamp(document: dict[str, Any], version_field: str, version: int, names: list[str]) -> dict[str, Any]:
    """The document stamped where the stamp stood, which is where the server keeps it."""
    if names[-1] == version_field:  # the usual place: only what the functions appended has to follow it
        known = set(names)
        appended: list[str] = []
        for name in reversed(document):
            if name in known:
                break
            appended.append(name)
        document[version_field] = version
        for name in reversed(appended):
            document[name] = document.pop(name)
        return document
    placed = {
        name: version if name == version_field else document[name]
        for name in names
        if name == version_field or name in document
    }
    placed.update(document)
    document.clear()
    document.update(placed)
    return document
