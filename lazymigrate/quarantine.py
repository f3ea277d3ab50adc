"""The quarantine: where documents that cannot be upgraded are listed, one entry each, in a collection beside the others.

An entry's `_id` is `{collection, document_id}`, so that one index, which is always there, answers every question about
it: whether documents are listed, which are within a range of `_id`s, which belong to a collection. Subdocuments compare
field by field: the entries of a collection stand together, in the order of its `_id`s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bson import Binary, Decimal128, MaxKey, MinKey, json_util
from bson.binary import UuidRepresentation
from bson.json_util import JSONMode, JSONOptions
from bson.son import SON

from lazymigrate.exceptions import DocumentError, describe

__all__ = ["QUARANTINE", "QuarantineEntry", "among", "between", "extended_json", "key", "said_of"]

if TYPE_CHECKING:
    from datetime import datetime

QUARANTINE = "lazymigrate.quarantine"
LOWEST, HIGHEST = MinKey(), MaxKey()
EXTENDED = JSONOptions(json_mode=JSONMode.RELAXED, uuid_representation=UuidRepresentation.STANDARD)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineEntry:
    """A document that could not be upgraded, as it was the last time somebody tried; never a value of it but the `_id`.

    - `version`: its stamp, None where that is no number; `head`: the version that it was to reach.
    - `revision`: the number of the revision that failed; None where the result as a whole was refused.
    - `error`: the class of what was raised; `code`: the server's, where it was the server that refused.
    - `attempts`: how often it was tried, from `first_seen` to `last_seen` (in UTC).
    """

    document_id: Any
    version: Any = None
    revision: int | None = None
    error: str = ""
    code: int | None = None
    attempts: int = 0
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    head: int | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any], document_id: Any) -> QuarantineEntry:
        """An entry as it is stored; fields that this release does not know are left out."""
        known = {field.name for field in fields(cls)} - {"document_id"}
        return cls(document_id=document_id, **{name: document[name] for name in known if name in document})

    def __str__(self) -> str:
        where = "" if self.revision is None else f" in revision {self.revision}"
        code = "" if self.code is None else f" (code {self.code})"
        attempts = "1 attempt" if self.attempts == 1 else f"{self.attempts:,} attempts"
        since = "" if self.first_seen is None else f" since {self.first_seen:%Y-%m-%d %H:%M} UTC"
        version = "" if self.version is None else f" at version {self.version}"
        return f"{describe(self.document_id)}{version}: {self.error}{where}{code}, {attempts}{since}"

    def to_json(self) -> str:
        """The entry as a JSON object: `document_id` in relaxed Extended JSON, times in ISO 8601."""
        document = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("first_seen", "last_seen"):
            document[name] = None if document[name] is None else document[name].isoformat()
        return extended_json({**document, "document_id": without_binary(self.document_id)})


def extended_json(value: Any) -> str:
    """A value in relaxed Extended JSON and in ASCII: nothing in it that a terminal would obey."""
    return json_util.dumps(without_binary(value), json_options=EXTENDED, default=str)


def without_binary(value: Any) -> Any:
    """A UUID as people write it; anything else as it is."""
    if isinstance(value, Binary) and value.subtype == 4 and len(value) == 16:
        value = value.as_uuid()
    return {"$uuid": str(value)} if isinstance(value, UUID) else value


def key(collection: str, document_id: Any) -> SON[str, Any]:
    """The `_id` of a document's entry."""
    return SON([("collection", collection), ("document_id", document_id)])


def among(collection: str, document_ids: Iterable[Any]) -> dict[str, Any]:
    """The entries of these documents."""
    return {"_id": {"$in": [key(collection, document_id) for document_id in document_ids]}}


def between(collection: str, after: Any = LOWEST, upto: Any = HIGHEST) -> dict[str, Any]:
    """The entries of a collection's documents that follow the `_id` `after`, up to that of `upto`; by default all."""
    lower = "$gte" if after is LOWEST else "$gt"
    return {"_id": {lower: key(collection, after), "$lte": key(collection, upto)}}


def said_of(error: DocumentError, code: int | None, head: int) -> dict[str, Any]:
    """What an entry says of an error: a stamp that is no number may be anything, and is left out."""
    is_number = isinstance(error.version, (int, float, Decimal128)) and not isinstance(error.version, bool)
    return {
        "version": error.version if is_number else None,
        "revision": getattr(error, "revision", None),
        "error": type(error.__cause__ or error).__name__,
        "code": code,
        "head": head,
    }
