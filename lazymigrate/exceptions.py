"""What can go wrong, and whose turn it is.

Every error is a child of `LazyMigrateError`. Its text says what happened and, in its last sentence, what to do
about it. The text never holds a document's values: an `_id` is shown only when it is an ObjectId, a UUID or an
integer; data is carried by attributes and the cause is chained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from bson import ObjectId

from lazymigrate.wording import with_article

__all__ = [
    "AheadError",
    "ConflictError",
    "CoverageError",
    "DocumentError",
    "DriftError",
    "InvalidVersionError",
    "IrreversibleError",
    "LazyMigrateError",
    "LeaseHeldError",
    "ModelError",
    "PartialDocumentError",
    "RetiredVersionError",
    "RunError",
    "SchemaError",
    "UnsafeQueryError",
    "UnsafeQueryWarning",
    "UpgradeError",
]


if TYPE_CHECKING:
    from datetime import datetime

    from lazymigrate.coverage import Coverage
    from lazymigrate.journal import ChangedRevision


class LazyMigrateError(Exception):
    """The parent of every error of this library."""


class SchemaError(LazyMigrateError):
    """A declaration is wrong; nothing of it was registered."""


class IrreversibleError(LazyMigrateError):
    """A downgrade would have to cross a revision that has no way back; nothing was changed."""

    def __init__(self, message: str, *, revision: int) -> None:
        super().__init__(message)
        self.revision = revision


class CoverageError(LazyMigrateError):
    """Documents are older than what was required of a collection, or have no version; `coverage` is the count."""

    def __init__(self, message: str, *, coverage: Coverage) -> None:
        super().__init__(message)
        self.coverage = coverage


class DriftError(LazyMigrateError):
    """Revisions do something else than what was recorded of them; nothing was registered.

    Attributes: `collection`, and `revisions`, each with both dates.
    """

    def __init__(self, message: str, *, collection: str, revisions: tuple[ChangedRevision, ...]) -> None:
        super().__init__(message)
        self.collection = collection
        self.revisions = revisions


class RunError(LazyMigrateError):
    """A run cannot do what was asked of it in the state that it is in; it was left as it is.

    Attributes: `collection`, and `state` (None where there is no run).
    """

    def __init__(self, message: str, *, collection: str = "", state: str | None = None) -> None:
        super().__init__(message)
        self.collection = collection
        self.state = state


class LeaseHeldError(LazyMigrateError):
    """The right to sweep a collection is another process's, now or again; nothing was changed.

    Attributes: `collection`, `holder` (who has the lease, or had it last; None where the run is gone) and `expires`
    (when it ends unless it is renewed, in UTC; None where nobody has it any more).
    """

    def __init__(
        self, message: str, *, collection: str = "", holder: str | None = None, expires: datetime | None = None
    ) -> None:
        super().__init__(message)
        self.collection = collection
        self.holder = holder
        self.expires = expires


class UnsafeQueryError(LazyMigrateError):
    """What was asked for cannot be answered exactly while documents are outdated; nothing was sent.

    Attributes: `collection`, `field` (as asked for) and `revision` (the number of the one that may touch it).
    """

    def __init__(self, message: str, *, collection: str, field: str, revision: int) -> None:
        super().__init__(message)
        self.collection = collection
        self.field = field
        self.revision = revision


class UnsafeQueryWarning(UserWarning):
    """What was asked for may have missed outdated documents: a plain function may touch the field, and has not yet."""


class DocumentError(LazyMigrateError):
    """The parent of the errors that are about one document.

    Attributes: `collection` (the name of the collection, or of the schema where no collection is involved),
    `document_id` (the `_id`, or None), `version` (the stamp as stored: an invalid one is kept as it is).
    """

    def __init__(self, message: str, *, collection: str = "", document_id: Any = None, version: Any = None) -> None:
        super().__init__(message)
        self.collection = collection
        self.document_id = document_id
        self.version = version


class InvalidVersionError(DocumentError):
    """The document's stamp is not a version; the document was left as it is."""


class RetiredVersionError(DocumentError):
    """The document is older than the oldest version this code can upgrade; it was left as it is."""


class AheadError(DocumentError):
    """The document was written by newer code; it was neither relabelled nor changed."""


class UpgradeError(DocumentError):
    """A revision could not be applied to the document; the stored document was left as it is.

    `revision` is the number of the revision that failed (None when the result as a whole cannot be stored);
    the cause is chained.
    """

    def __init__(
        self,
        message: str,
        *,
        collection: str = "",
        document_id: Any = None,
        version: Any = None,
        revision: int | None = None,
    ) -> None:
        super().__init__(message, collection=collection, document_id=document_id, version=version)
        self.revision = revision


class ModelError(DocumentError):
    """The document is at head but does not fit the model.

    `errors` lists the paths that failed with the error's type, as pydantic names it; never a value.
    """

    def __init__(
        self,
        message: str,
        *,
        collection: str = "",
        document_id: Any = None,
        version: Any = None,
        errors: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message, collection=collection, document_id=document_id, version=version)
        self.errors = errors


class PartialDocumentError(DocumentError):
    """A document that was read with a projection was to be written; nothing was stored."""


class ConflictError(DocumentError):
    """A save lost its compare-and-set for good; nothing was stored."""


def describe(document_id: Any) -> str:
    """How an error's text names a document without showing a value that may be personal."""
    if isinstance(document_id, (ObjectId, UUID, int)):
        return f"document {document_id}"
    if document_id is None:
        return "a document"
    return f"a document (its _id is in .document_id, {with_article(type(document_id).__name__)})"
