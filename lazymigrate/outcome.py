"""What becomes of one stored document when it is upgraded: a value, decided without any I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import bson
from bson import Binary, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError

from lazymigrate.change import Change, CompareAndSet, Unchanged, fields_guard
from lazymigrate.elements import id_of
from lazymigrate.exceptions import DocumentError, UpgradeError, describe
from lazymigrate.scope import Scope

__all__ = [
    "Ahead",
    "Outcome",
    "Refused",
    "Settled",
    "Upgraded",
    "compare_and_set",
    "is_plain",
    "outcome",
    "replacement",
    "undecodable",
    "unstored",
]


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


ABSENT: Any = object()
IMMUTABLE = frozenset(
    {
        type(None),
        bool,
        int,
        float,
        str,
        bytes,
        type(DatetimeMS(0).as_datetime()),
        UUID,
        Binary,
        DatetimeMS,
        Decimal128,
        Int64,
        MaxKey,
        MinKey,
        ObjectId,
        Timestamp,
    }
)

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
        stored = second(scope, raw, document)
        upgraded = schema.chain(version, schema.head).run(document)
        change = settle(scope, stored, upgraded, version)
        return Upgraded(upgraded, stored, guarded(scope, raw, stored, change, version))
    except DocumentError as error:
        return Refused(scope.named(error))


def replacement(scope: Scope, raw: bytes) -> bytes | Refused | None:
    """The document at head in BSON, to replace the one that was read and is guarded by all of its bytes.

    None where that would not do: the chain says what it uses, so that less is to be guarded; or decoding and encoding alone
    change the document, so that only what the chain changed may be written. Those are for `outcome`.
    """
    try:
        document = scope.decode(raw)
        if bson.encode(document, codec_options=scope.codec) != raw:
            return None
    except (BSONError, OverflowError, TypeError, ValueError):
        return None
    try:
        version = scope.schema.version_of(document)
        chain = scope.schema.chain(version, scope.schema.head)
        if chain.fields is not None or version >= scope.schema.settled:
            return None
        return scope.encode(chain.run(document), version)
    except DocumentError as error:
        return Refused(scope.named(error))


def second(scope: Scope, raw: bytes, document: dict[str, Any]) -> dict[str, Any]:
    """The same document once more; of values, the two share just those that nobody can change."""
    again = document.copy()
    changeable = [name for name, value in document.items() if type(value) not in IMMUTABLE]
    if changeable:
        own = scope.decode(raw)
        again.update({name: own[name] for name in changeable})
    return again


def settle(scope: Scope, stored: dict[str, Any], upgraded: dict[str, Any], version: int) -> Change:
    """What `upgraded` changed in `stored`; afterwards `upgraded` is as it will be read back (`Scope.normal`).

    What a revision left alone is the same object in both (`second`), so that only the rest is encoded and compared.
    """
    rest = {name: value for name, value in upgraded.items() if stored.get(name, ABSENT) is not value}
    if "_id" in upgraded:  # to be named, when BSON cannot hold the rest
        rest["_id"] = upgraded["_id"]
    rest = scope.normal(rest, version)
    upgraded.update(rest)
    if "_id" in upgraded and next(iter(upgraded)) != "_id":  # the server has it first
        others = [(name, upgraded.pop(name)) for name in list(upgraded) if name != "_id"]
        upgraded.update(others)
    return Change.between({name: stored[name] for name in stored if name in rest or name not in upgraded}, rest)


def compare_and_set(
    scope: Scope, raw: bytes, stored: dict[str, Any], wanted: dict[str, Any], version: int, *, whole: bool = False
) -> CompareAndSet:
    """The compare-and-set that makes a stored document (`raw`, decoded: `stored`) what is wanted.

    Guarded by the whole document, or by the fields that the chain is known to use.
    """
    return guarded(scope, raw, stored, Change.between(stored, wanted), version, whole=whole)


def guarded(
    scope: Scope, raw: bytes, stored: dict[str, Any], change: Change, version: int, *, whole: bool = False
) -> CompareAndSet:
    """The compare-and-set that makes a change to a stored document (`raw`, decoded: `stored`)."""
    plain = is_plain(scope, raw, stored)
    fields = scope.schema.chain(version, scope.schema.head).fields
    if whole or fields is None:
        return CompareAndSet(raw, Unchanged(raw, plain), change)
    return CompareAndSet(raw, fields_guard(raw, fields | {scope.schema.version_field}, plain=plain), change)


def is_plain(scope: Scope, raw: bytes, stored: dict[str, Any]) -> bool:
    """Whether the decoded document, encoded again, has the bytes that were read."""
    try:
        return bson.encode(stored, codec_options=scope.codec) == raw
    except (BSONError, OverflowError, TypeError, ValueError):  # some codecs read what they cannot write
        return False


def undecodable(scope: Scope, raw: bytes, error: BSONError) -> UpgradeError:
    """The error for a document whose BSON cannot be read at all."""
    return UpgradeError(
        f"{scope.name}: a document cannot be decoded ({type(error).__name__}), so it cannot be upgraded. Repair it with "
        "a client that reads raw BSON, or choose other codec_options.",
        collection=scope.name,
        document_id=bson.decode(id_of(raw)).get("_id"),
    )


def unstored(scope: Scope, raw: bytes, target: int, code: int | None) -> UpgradeError:
    """The error for a document, as it was read, that the server did not take at the version that it was brought to."""
    stored = scope.decode(raw)
    return UpgradeError(
        f"{scope.name}: {describe(stored.get('_id'))} was brought to version {target}, and the server refused to store it "
        f"(code {code}): a validator, a unique index or its size. Change the rule or the document.",
        collection=scope.name,
        document_id=stored.get("_id"),
        version=stored.get(scope.schema.version_field),
    )
