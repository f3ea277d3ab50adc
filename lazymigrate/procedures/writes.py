"""Writing: everything that is stored is at head, and nothing that newer code wrote is touched.

A document ahead is kept out of every write by the write's own filter, so that no interleaving can touch it; the
`AheadError` comes from a look beforehand where several documents may be written (or one upserted), and from a look
afterwards where one was asked for and none was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import bson
from bson import ObjectId
from bson.codec_options import CodecOptions
from bson.errors import InvalidDocument

from lazymigrate.change import AtHead, Change, CompareAndSet
from lazymigrate.commands import (
    CompareAndSetMany,
    DeleteMany,
    DeleteOne,
    Find,
    InsertMany,
    InsertOne,
    Procedure,
    ReplaceOne,
    Stored,
)
from lazymigrate.documents import copy_value, same
from lazymigrate.exceptions import ConflictError, DocumentError, ModelError, describe
from lazymigrate.model import Origin
from lazymigrate.outcome import Ahead, Refused, compare_and_set, outcome
from lazymigrate.procedures.asking import asked
from lazymigrate.procedures.reads import RACES
from lazymigrate.scope import Scope
from lazymigrate.trimming import refuse_partial
from lazymigrate.versions import ahead_filter, not_ahead, parse_stamp

if TYPE_CHECKING:
    from pymongo.results import DeleteResult, InsertManyResult, InsertOneResult, UpdateResult

__all__ = ["delete_many", "delete_one", "insert_many", "insert_one", "replace_one", "save"]

UNSTORABLE = (InvalidDocument, OverflowError, ValueError)

Expect = Literal["unchanged"] | None


def at_head(scope: Scope, given: Any) -> dict[str, Any]:
    """A new document at head out of a model or a mapping, which is left as it is.

    Unstamped: stamped. Stamped older: upgraded first. `AheadError` for one that is ahead.
    """
    schema = scope.schema
    refuse_partial(scope.name, given)
    if scope.adapter is not None and isinstance(given, scope.adapter.model):
        origin = scope.adapter.origin(given)
        if origin is not None:
            refuse_newer(scope, origin.stored)
        document = scope.adapter.dump(given)
        document[schema.version_field] = schema.head
        scope.adapter.check(document)
        return document
    if not isinstance(given, Mapping):
        accepted = f"a mapping or a {scope.adapter.model.__qualname__}" if scope.adapter else "a mapping"
        raise TypeError(f"{scope.name}: a document is {accepted}, not a {type(given).__name__}.")
    document = dict(given)
    try:
        if document.get(schema.version_field) is None:
            document[schema.version_field] = schema.head
            return document
        refuse_newer(scope, document)
        return schema.upgrade(document)
    except DocumentError as error:
        scope.named(error)
        raise


def refuse_newer(scope: Scope, document: dict[str, Any]) -> None:
    """`AheadError` when a document came from newer code."""
    version = parse_stamp(document.get(scope.schema.version_field), scope.schema.base)
    if version is not None and version > scope.schema.head:
        raise scope.named(scope.schema.ahead(document))


def refuse_ahead(scope: Scope, filter: Mapping[str, Any], options: Mapping[str, Any]) -> Procedure[None]:
    """`AheadError` when a write with this filter would match a document of newer code."""
    schema = scope.schema
    ahead = {"$and": [dict(filter), ahead_filter(schema.version_field, schema.head)]}
    for raw in (yield Find(ahead, limit=1, options=scope.find_options(options), primary=True)):
        document = scope.decode(raw)
        try:
            schema.version_of(document)
        except DocumentError as error:
            scope.named(error)
            raise
        raise scope.named(schema.ahead(document))


def writable(scope: Scope, filter: Mapping[str, Any]) -> dict[str, Any]:
    """The filter without the documents of newer code."""
    if not isinstance(filter, Mapping):
        raise TypeError(f"{scope.name}: a filter is a mapping, not a {type(filter).__name__}.")
    return not_ahead(filter, scope.schema.version_field, scope.schema.head)


def insert_one(scope: Scope, given: Any, options: Mapping[str, Any]) -> Procedure[InsertOneResult]:
    """Insert a document at head; a dict without `_id` gets one, as pymongo does."""
    document = new(scope, given)
    result: InsertOneResult = yield InsertOne(document, options)
    inserted(scope, given, document, options)
    return result


def insert_many(scope: Scope, given: Iterable[Any], options: Mapping[str, Any]) -> Procedure[InsertManyResult]:
    """Insert documents at head; nothing is sent when one of them is not fit to be stored."""
    items = list(given)
    documents = [new(scope, item) for item in items]
    try:
        result: InsertManyResult = yield InsertMany(documents, options)
    except Exception as error:  # those that were stored are stored, whatever became of the others
        failed = {item["index"] for item in (getattr(error, "details", None) or {}).get("writeErrors", ())}
        if failed:
            end = min(failed) if options.get("ordered", True) else len(items)
            for index in set(range(end)) - failed:
                inserted(scope, items[index], documents[index], options)
        raise
    for item, document in zip(items, documents, strict=True):
        inserted(scope, item, document, options)
    return result


def new(scope: Scope, given: Any) -> dict[str, Any]:
    """The document to insert, with an `_id`, which what was given gets too; refused here if BSON cannot hold it."""
    document = at_head(scope, given)
    if "_id" not in document:
        document = {"_id": ObjectId(), **document}
    storable(scope, given, document)
    if isinstance(given, dict):
        given.setdefault("_id", document["_id"])
    elif scope.adapter is not None and isinstance(given, scope.adapter.model):
        scope.adapter.identify(given, document["_id"])
    return document


def inserted(scope: Scope, given: Any, document: dict[str, Any], options: Mapping[str, Any]) -> None:
    """Let a model know that it is stored now, or will be when the transaction is committed."""
    if scope.adapter is not None and isinstance(given, scope.adapter.model):
        own = scope.decode(bson.encode(document, codec_options=scope.codec))
        scope.adapter.remember(given, Origin(own, own, pending=in_transaction(options)))


def in_transaction(options: Mapping[str, Any]) -> bool:
    """Whether what is written now may yet be undone."""
    session = options.get("session")
    return session is not None and bool(session.in_transaction)


def storable(scope: Scope, given: Any, document: dict[str, Any]) -> dict[str, Any]:
    """The document; refused here if BSON cannot hold it."""
    try:
        bson.encode(document, codec_options=scope.codec)
    except UNSTORABLE as error:
        raise unstorable(scope, given, document, error) from None
    return document


def unstorable(scope: Scope, given: Any, document: dict[str, Any], error: Exception) -> Exception:
    """Pymongo's own error for a dict; for a model one that names the path and no value."""
    if scope.adapter is None or not isinstance(given, scope.adapter.model):
        return error
    found = next(iter(foreign(document, scope.codec)), None)
    if found is None:
        return error
    path, kind = found
    return ModelError(
        f"{scope.name}: the field {path!r} holds a {kind}, which BSON has no type for. Give the field a type that BSON "
        "has, a pydantic serializer and validator, or the collection codec_options with a type registry.",
        collection=scope.name,
        document_id=document.get("_id"),
        version=scope.schema.head,
        errors=((path, kind),),
    )


def foreign(value: Any, codec: CodecOptions[Any], path: str = "") -> Iterable[tuple[str, str]]:
    """The paths of a document that hold something BSON has no type for."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                yield path or "(the document)", f"key of type {type(key).__name__}"
            yield from foreign(inner, codec, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from foreign(inner, codec, f"{path}.{index}")
    else:
        try:
            bson.encode({"": value}, codec_options=codec)
        except UNSTORABLE:
            yield path, type(value).__name__


def replace_one(
    scope: Scope, filter: Mapping[str, Any], replacement: Any, *, upsert: bool, options: Mapping[str, Any]
) -> Procedure[UpdateResult]:
    """Replace the first match, whatever its version, by a document at head."""
    writable(scope, filter)
    document = at_head(scope, replacement)
    raises = scope.policy.on_ahead == "raise"
    if upsert and raises:
        yield from refuse_ahead(scope, filter, options)
    storable(scope, replacement, document)
    meant = yield from asked(scope, filter, options)
    # What an upsert inserts has the equalities of its filter: it is asked for as it was written, when there is no match;
    # but not of the versions at which that finds others than are meant.
    alone = upsert and not meant.ways
    result: UpdateResult = yield ReplaceOne(
        writable(scope, meant.filter), document, upsert=alone, options=meant.options(options)
    )
    if upsert and not alone and not (result.acknowledged and result.matched_count):
        result = yield ReplaceOne(writable(scope, meant.others), document, upsert=True, options=options)
    if result.acknowledged and not in_transaction(options) and (result.matched_count or result.upserted_id is not None):
        identity = document.get("_id", result.upserted_id)
        if identity is not None:
            inserted(scope, replacement, {"_id": identity, **document}, options)
    if not upsert and raises and result.acknowledged and not result.matched_count:
        yield from refuse_ahead(scope, filter, options)
    return result


def delete_one(scope: Scope, filter: Mapping[str, Any], options: Mapping[str, Any]) -> Procedure[DeleteResult]:
    """Delete the first match that is not ahead; `AheadError` when there are only such."""
    meant = yield from asked(scope, filter, options)
    result: DeleteResult = yield DeleteOne(writable(scope, meant.filter), meant.options(options))
    if scope.policy.on_ahead == "raise" and result.acknowledged and not result.deleted_count:
        yield from refuse_ahead(scope, filter, options)
    return result


def delete_many(scope: Scope, filter: Mapping[str, Any], options: Mapping[str, Any]) -> Procedure[DeleteResult]:
    """Delete all matches; `AheadError` before anything is deleted when one is ahead."""
    writable(scope, filter)
    if scope.policy.on_ahead == "raise":
        yield from refuse_ahead(scope, filter, options)
    meant = yield from asked(scope, filter, options)
    result: DeleteResult = yield DeleteMany(writable(scope, meant.filter), meant.options(options))
    return result


def save(scope: Scope, instance: Any, expect: Expect, options: Mapping[str, Any]) -> Procedure[None]:
    """Store what the user changed in a model that was loaded or saved before; insert a new one.

    The write is guarded by the version (and by every byte under `expect="unchanged"`). A stored document that is
    outdated is upgraded by compare-and-set in the same step. A lost race is replayed on the fresh document; after
    three, and when the document is gone, `ConflictError`.
    """
    adapter = scope.adapter
    refuse_partial(scope.name, instance)
    if adapter is None:
        raise TypeError(
            f"{scope.name}: save() stores instances of a model, and this collection was opened with a schema. Use "
            "replace_one() or insert_one(), or open it with the model."
        )
    if expect not in (None, "unchanged"):
        raise ValueError(f"{scope.name}: expect={expect!r}: it is None or 'unchanged'.")
    if not isinstance(instance, adapter.model):
        raise TypeError(f"{scope.name}: save() stores a {adapter.model.__qualname__}, not a {type(instance).__name__}.")
    origin = adapter.origin(instance)
    if origin is None:
        yield from insert_one(scope, instance, options)
        return
    if origin.pending and not (yield Find({"_id": origin.stored["_id"]}, limit=1, options=options, primary=True)):
        yield from insert_one(scope, instance, options)  # the transaction that inserted it was aborted
        return
    refuse_newer(scope, origin.stored)
    try:
        change = adapter.changes(instance, origin, scope.stored_form)
    except UNSTORABLE as error:
        raise unstorable(scope, instance, adapter.dump(instance), error) from None
    refuse_new_id(scope, change, origin)
    merged = copy_value(origin.document)
    change.apply(merged)
    adapter.check(merged)
    written = yield from store(scope, change, origin, expect, options)
    if written and not in_transaction(options):  # an aborted transaction is run again, with the same changes to make
        merged[scope.schema.version_field] = scope.schema.head
        adapter.remember(instance, Origin(merged, merged))


def store(scope: Scope, change: Change, origin: Origin, expect: Expect, options: Mapping[str, Any]) -> Procedure[bool]:
    """Apply a user's change to the stored document, whatever became of it since; whether anything was written."""
    schema = scope.schema
    document_id = origin.stored["_id"]
    stored_version = parse_stamp(origin.stored.get(schema.version_field), schema.base)
    if not change.empty and expect is None and stored_version is not None and stored_version >= schema.settled:
        guard = AtHead(schema.version_field, schema.base, schema.settled, schema.head)
        stamped = Change({**change.sets, schema.version_field: schema.head}, change.unsets, change.nested)
        identity = bson.encode({"_id": document_id}, codec_options=scope.codec)
        stored_now = yield CompareAndSetMany([CompareAndSet(identity, guard, stamped)], options)
        if accepted(stored_now):
            return True
    for _ in range(RACES):
        raws = yield Find({"_id": document_id}, limit=1, options=scope.find_options(options), primary=True)
        if not raws:
            raise conflict(scope, document_id, "was deleted since it was loaded", "Insert it as a new one, or drop it")
        raw: bytes = raws[0]
        stored = scope.decode(raw)
        if expect == "unchanged" and not same(stored, origin.stored, ordered=False):
            raise conflict(scope, document_id, "was changed since it was loaded", "Load it again and repeat the change")
        command = replay(scope, raw, stored, change, whole=expect == "unchanged")
        if command.change.empty:
            return not change.empty
        if accepted((yield CompareAndSetMany([command], options))):
            return True
        scope.tell("conflict", 1)
    raise conflict(
        scope, document_id, f"was changed by others each of {RACES} times", "Load it again and repeat the change"
    )


def accepted(stored: Stored) -> bool:
    """Whether a single compare-and-set won; what the server refused is the caller's to hear."""
    if stored.error is not None:
        raise stored.error
    return stored.won == 1


def replay(scope: Scope, raw: bytes, stored: dict[str, Any], change: Change, *, whole: bool) -> CompareAndSet:
    """The compare-and-set that upgrades a stored document where needed and makes the user's change to it."""
    schema = scope.schema
    decided = outcome(scope, raw)
    if isinstance(decided, Refused):
        raise decided.error
    if isinstance(decided, Ahead):
        raise scope.named(schema.ahead(stored))
    wanted = copy_value(decided.document)
    if not change.fits(wanted):
        raise conflict(
            scope, stored["_id"], "lost a subdocument that was changed", "Load it again and repeat the change"
        )
    change.apply(wanted)
    version = schema.version_of(stored)
    if version >= schema.settled and not whole and bson.encode(stored, codec_options=scope.codec) == raw:
        guard = AtHead(schema.version_field, schema.base, schema.settled, schema.head)
        return CompareAndSet(raw, guard, Change.between(stored, wanted))
    return compare_and_set(scope, raw, stored, wanted, version, whole=whole)


def refuse_new_id(scope: Scope, change: Change, origin: Origin) -> None:
    """An `_id` cannot change in place."""
    if "_id" in change.sets or "_id" in change.unsets or "_id" in change.nested:
        raise ModelError(
            f"{scope.name}: the _id of {describe(origin.stored['_id'])} was changed after it was loaded, and MongoDB "
            "cannot change one in place. Insert a new document, and delete the old one.",
            collection=scope.name,
            document_id=origin.stored["_id"],
            version=scope.schema.head,
            errors=(("_id", "changed"),),
        )


def conflict(scope: Scope, document_id: Any, what: str, remedy: str) -> ConflictError:
    return ConflictError(
        f"{scope.name}: {describe(document_id)} {what}; nothing was stored. {remedy}.",
        collection=scope.name,
        document_id=document_id,
        version=scope.schema.head,
    )
