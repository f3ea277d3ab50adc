"""The revision under check, the documents that it is checked on, and the error that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError

from lazymigrate.revision import Revision
from lazymigrate.schema import Schema
from lazymigrate.verification import Difference
from lazymigrate.versions import parse_stamp

__all__ = ["Case", "RevisionCheckError", "Subject", "cases"]

SHOWN = 60  # characters of a value
_ABSENT: Any = object()


class RevisionCheckError(AssertionError):
    """A revision broke its contract on one of the documents; the text shows the first path at which it did.

    `check` names the contract, `index` and `document_id` the document, and `path` is the dotted path (None where no
    single path is to blame).
    """

    def __init__(
        self, message: str, *, check: str, index: int | None = None, document_id: Any = None, path: str | None = None
    ) -> None:
        super().__init__(message)
        self.check = check
        self.index = index
        self.document_id = document_id
        self.path = path


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Case:
    """One of the documents: as it would be stored, of the version before."""

    index: int
    identity: Any
    given_id: bool
    raw: bytes

    def __str__(self) -> str:
        name = f"document {self.index}"
        return f"{name} (_id {shortened(self.identity)})" if self.given_id else name


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Subject:
    """A revision of a schema, and how its documents are decoded."""

    schema: Schema
    revision: Revision
    codec: CodecOptions[Any]

    def decode(self, raw: bytes) -> dict[str, Any]:
        """A stored document as the revision is given it."""
        document: dict[str, Any] = bson.decode(raw, self.codec)
        return document

    def encode(self, document: Mapping[str, Any]) -> bytes:
        """A document as it would be stored."""
        return bson.encode(document, codec_options=self.codec)

    def upgrade(self, document: dict[str, Any]) -> dict[str, Any]:
        """What the revision makes of a document, stamped."""
        return self.schema.upgrade(document, to=self.revision.version)

    def unstamped(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """A document without its stamp."""
        return {name: value for name, value in document.items() if name != self.schema.version_field}

    def fail(
        self,
        check: str,
        case: Case | None,
        said: str,
        remedy: str,
        path: str | None = None,
        cause: BaseException | None = None,
    ) -> NoReturn:
        """Raise the error: which check, of which document, what was seen, and what to do."""
        on = "" if case is None else f" {case}:"
        raise RevisionCheckError(
            f"{self.schema.name}: revision {self.revision.version} {self.revision.name!r}, {check}:{on} {said}. {remedy}",
            check=check,
            index=None if case is None else case.index,
            document_id=None if case is None else case.identity,
            path=path,
        ) from cause

    def differs(
        self, check: str, case: Case, difference: Difference, sides: tuple[bytes, bytes], words: str, remedy: str
    ) -> NoReturn:
        """Raise the error for two documents that differ; `words` say what the two sides are, with `{0}` and `{1}`."""
        if difference.reordered:
            one, other = (list_of_names(self.decode(raw), difference.parts) for raw in sides)
            said = f"{difference.path}: {words.format(one, other)} (the order of the fields)"
        else:
            one, other = (
                "nothing" if kind == "nothing" else f"{value_at(self.decode(raw), difference.parts)} ({kind})"
                for raw, kind in zip(sides, (difference.expected, difference.found), strict=True)
            )
            said = f"{difference.path}: {words.format(one, other)}"
        self.fail(check, case, said, remedy, difference.path)


def cases(subject: Subject, documents: Iterable[Mapping[str, Any]]) -> list[Case]:
    """The documents as they would be stored at the version before: stamped unless that is base, and with an `_id`.

    `ValueError` for one that is stamped otherwise or cannot be stored, and where there is none at all.
    """
    schema, before = subject.schema, subject.revision.version - 1
    found: list[Case] = []
    for index, given in enumerate(documents):
        document = dict(given)
        stamp = document.get(schema.version_field)
        if stamp is None and before != schema.base:
            document[schema.version_field] = before
        elif stamp is not None and parse_stamp(stamp, schema.base) != before:
            raise ValueError(
                f"{schema.name}: document {index} is stamped {stamp!r}, and revision {before + 1} takes documents of "
                f"version {before}. Give documents of that version, stamped or not."
            )
        identity = document.pop("_id", _ABSENT)
        given_id = identity is not _ABSENT
        if not given_id:
            identity = bson.ObjectId(index.to_bytes(12, "big"))
        try:
            raw = subject.encode({"_id": identity, **document})
        except (BSONError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(
                f"{schema.name}: document {index} cannot be stored as BSON ({error}). Give documents as MongoDB holds them."
            ) from error
        found.append(Case(index, identity, given_id, raw))
    if not found:
        raise ValueError(f"{schema.name}: there are no documents to check revision {before + 1} on. Give at least one.")
    return found


def value_at(document: Any, parts: tuple[str, ...]) -> str:
    """The value at a path, short enough for a message."""
    for name in parts:
        document = document[int(name)] if isinstance(document, list) else document[name]
    return shortened(document)


def list_of_names(document: Any, parts: tuple[str, ...]) -> str:
    """The names of the fields of the subdocument at a path."""
    for name in parts:
        document = document[int(name)] if isinstance(document, list) else document[name]
    return shortened(list(document))


def shortened(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
