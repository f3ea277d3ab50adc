"""What every procedure needs to know of the collection that it serves."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError

from lazymigrate.events import Event, EventKind, Listener
from lazymigrate.exceptions import DocumentError, UpgradeError, describe
from lazymigrate.model import ModelAdapter
from lazymigrate.policy import Policy
from lazymigrate.presence import Presence
from lazymigrate.projection import Fetch, parse
from lazymigrate.schema import Schema

__all__ = ["Scope", "tolerant"]

LOGGER = logging.getLogger("lazymigrate")


def tolerant(codec: CodecOptions[Any]) -> CodecOptions[Any]:
    """Options that also read dates beyond year 9999 (as `DatetimeMS`), where the others would fail the whole batch."""
    if codec.datetime_conversion == DatetimeConversion.DATETIME:
        return codec.with_options(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
    return codec


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Scope:
    """A schema at work on one collection: how documents are decoded, what they become, and what the policy is.

    `acknowledged`: whether the server says what became of the caller's writes. `inside`: whether it runs pipelines (the
    memory collection runs none). `fetch` is the projection of one query.
    Three things change: `said`, what this collection object has warned of, so that it does so once; `in_flight`, the
    raw `_id`s of the documents that it is writing back just now; and `presence`, what it knows of which versions are stored.
    """

    schema: Schema
    adapter: ModelAdapter[Any] | None
    policy: Policy
    name: str
    codec: CodecOptions[Any]
    listeners: tuple[Listener, ...] = ()
    acknowledged: bool = True
    inside: bool = True
    fetch: Fetch | None = None
    said: set[str] = field(default_factory=set)
    in_flight: dict[bytes, object] = field(default_factory=dict)
    presence: Presence = field(default_factory=Presence)

    def projected(self, projection: Any) -> Scope:
        """The same for one query with a projection, which gives no models; itself where there is none."""
        parsed = parse(projection)
        if parsed is None:
            return self
        fields = self.schema.chain(self.schema.oldest, self.schema.head).fields
        return replace(self, adapter=None, fetch=parsed.to_fetch(fields, self.schema.version_field))

    def decode(self, raw: bytes) -> dict[str, Any]:
        """A raw document as the application reads it."""
        document: dict[str, Any] = bson.decode(raw, self.codec)
        return document

    def stored_form(self, document: dict[str, Any]) -> dict[str, Any]:
        """A document as BSON holds it; raises what `bson.encode` raises."""
        return self.decode(bson.encode(document, codec_options=self.codec))

    def normal(self, document: dict[str, Any], version: int) -> dict[str, Any]:
        """An upgraded document as it will be read back: a tuple, microseconds or a time zone as BSON holds them.

        `UpgradeError` when BSON cannot hold it.
        """
        return self.decode(self.encode(document, version))

    def encode(self, document: dict[str, Any], version: int) -> bytes:
        """An upgraded document in BSON; `UpgradeError` when BSON cannot hold it. `version` is the one it had before."""
        try:
            return bson.encode(document, codec_options=self.codec)
        except (BSONError, OverflowError, TypeError, ValueError) as error:
            raise UpgradeError(
                f"{self.name}: {describe(document.get('_id'))} at version {version} was upgraded to something that BSON "
                f"cannot hold ({type(error).__name__}). Let the revisions set values that MongoDB has types for.",
                collection=self.name,
                document_id=document.get("_id"),
                version=version,
            ) from error

    def present(self, document: dict[str, Any], stored: dict[str, Any] | None = None) -> Any:
        """A document as the caller gets it: itself, or an instance of the model."""
        if self.adapter is None:
            return document
        return self.adapter.load(document, stored)

    def named(self, error: DocumentError) -> DocumentError:
        """The error, with the name of this collection."""
        error.collection = self.name
        return error

    def tell(self, kind: EventKind, count: int) -> None:
        """Let the listeners know that something happened to some documents."""
        if count:
            for listener in self.listeners:
                try:
                    getattr(listener, kind)(Event(self.name, count))
                except Exception as error:
                    LOGGER.warning(
                        "%s: %s.%s raised %s", self.name, type(listener).__name__, kind, type(error).__name__
                    )

    def once(self, notice: str, message: str, *arguments: object) -> None:
        """Log a warning the first time."""
        if notice not in self.said:
            self.said.add(notice)
            LOGGER.warning(message, *arguments)

    def find_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a write's options that a query for the same documents takes too."""
        return {name: options[name] for name in ("session", "collation", "let", "hint") if name in options}
