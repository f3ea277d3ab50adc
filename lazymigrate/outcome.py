"""What becomes of one stored document when it is upgraded: a value, decided without any I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bson
from bson.errors import BSONError

from lazymigrate.change import Change, CompareAndSet, Unchanged, fields_guard
from lazymigrate.elements import id_of
from lazymigrate.exceptions import DocumentError, UpgradeError
from lazymigrate.scope import Scope

__all__ = ["Ahead", "Outcome", "Refused", "Settled", "Upgraded", "compare_and_set", "outcome"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Settled:
    """At head already, empty revisions aside: nothing to store."""

    document: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Upgraded:
    """Outdated: the document at head, the one that was stored, and the compare-and-set that stores the upgrade."""

    document: dict[str, Any]
    stored: dict[str, Any]
    command: CompareAndSet


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ahead:
    """Written by newer code: as stored, never to be written by this code."""

    document: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Refused:
    """It cannot be upgraded, and stays as it is."""

    error: DocumentError


Outcome = Settled | Upgraded | Ahead | Refused


def outcome(scope: Scope, raw: bytes) -> Outcome:
    """Decide about one document as it was read; raises only `SchemaError`, which is about the code."""
    schema = scope.schema
    try:
        document = scope.decode(raw)
    except BSONError as error:
        return Refused(undecodable(scope, raw, error))
    try:
        version = schema.version_of(document)
        if version > schema.head:
            return Ahead(document)
        if version >= schema.settled:
            return Settled(schema.chain(version, schema.head).run(document))
        stored = scope.decode(raw)
        upgraded = scope.normal(schema.chain(version, schema.head).run(document), version)
        return Upgraded(upgraded, stored, compare_and_set(scope, raw, stored, upgraded, version))
    except DocumentError as error:
        return Refused(scope.named(error))


def compare_and_set(
    scope: Scope, raw: bytes, stored: dict[str, Any], wanted: dict[str, Any], version: int, *, whole: bool = False
) -> CompareAndSet:
    """The compare-and-set that makes a stored document (`raw`, decoded: `stored`) what is wanted.

    Guarded by the whole document, or by the fields that the chain is known to use.
    """
    change = Change.between(stored, wanted)
    plain = bson.encode(stored, codec_options=scope.codec) == raw
    fields = scope.schema.chain(version, scope.schema.head).fields
    if whole or fields is None:
        return CompareAndSet(raw, Unchanged(raw, plain), change)
    return CompareAndSet(raw, fields_guard(raw, fields | {scope.schema.version_field}, plain=plain), change)


def undecodable(scope: Scope, raw: bytes, error: BSONError) -> UpgradeError:
    """The error for a document whose BSON cannot be read at all."""
    return UpgradeError(
        f"{scope.name}: a document cannot be decoded ({type(error).__name__}), so it cannot be upgraded. Repair it with "
        "a client that reads raw BSON, or choose other codec_options.",
        collection=scope.name,
        document_id=bson.decode(id_of(raw)).get("_id"),
    )
