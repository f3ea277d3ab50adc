"""Updating in place: never a hybrid of two versions.

What an update is written for is the newest shape, so it is only ever sent to documents at head: its filter says so, and
no interleaving can get around that. An outdated match is first brought to head by compare-and-set, as the sweep would,
and then updated like any other; between the two it is a document at head that nobody has updated yet.

Where one document is asked for, and no sort says which, one at head is taken before one that must be upgraded first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lazymigrate.commands import (
    BulkWrite,
    CompareAndSetMany,
    DeleteMany,
    DeleteOne,
    Find,
    FindOneAnd,
    InsertOne,
    Procedure,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
)
from lazymigrate.exceptions import ConflictError
from lazymigrate.outcome import Refused, Upgraded, outcome
from lazymigrate.procedures.asking import Meant, asked, asked_find
from lazymigrate.procedures.reads import RACES, arrive
from lazymigrate.procedures.writes import at_head, inserted, new, refuse_ahead, storable, writable
from lazymigrate.projection import PartialDocument
from lazymigrate.scope import Scope
from lazymigrate.versions import among

if TYPE_CHECKING:
    from pymongo.results import BulkWriteResult, UpdateResult

__all__ = [
    "bulk_write",
    "find_one_and_delete",
    "find_one_and_replace",
    "find_one_and_update",
    "update_many",
    "update_one",
]

PAGE = 100
FILTERS = 500  # in one $or

Filter = Mapping[str, Any]
Options = Mapping[str, Any]
Write = InsertOne | UpdateOne | UpdateMany | ReplaceOne | DeleteOne | DeleteMany


def update_one(scope: Scope, filter: Filter, update: Any, *, upsert: bool, options: Options) -> Procedure[UpdateResult]:
    """Update one match, at head or brought there first; `AheadError` when there are only such as are ahead."""
    refuse_stamp(scope, update)
    allowed = current(scope, filter)
    upserting = UpdateOne(allowed, stamped(scope, update, upsert=upsert), upsert=upsert, options=options)
    result: UpdateResult
    if not scope.acknowledged:  # nobody will say whether there was a match
        if scope.policy.on_ahead == "raise":
            yield from refuse_ahead(scope, filter, options)
        yield from upgrade_matches(scope, filter, options)
        result = yield upserting
        return result
    lost = 0
    while True:
        yield from upgrade_first(scope, filter, options)
        result = yield UpdateOne(allowed, stamped(scope, update), upsert=False, options=options)
        if result.matched_count:
            return result
        won = yield from upgrade_match(scope, filter, options)
        if won is None:
            break
        lost = patience(scope, won, lost)
    if not upsert and scope.schema.settled > scope.schema.oldest:  # others may have brought one to head in between
        result = yield UpdateOne(allowed, stamped(scope, update), upsert=False, options=options)
        if result.matched_count:
            return result
    if scope.policy.on_ahead == "raise":
        yield from refuse_ahead(scope, filter, options)
    if upsert:
        result = yield upserting
    return result


def update_many(
    scope: Scope, filter: Filter, update: Any, *, upsert: bool, options: Options
) -> Procedure[UpdateResult]:
    """Update all matches once all of them are at head; `AheadError` before anything is written when one is ahead."""
    refuse_stamp(scope, update)
    allowed = current(scope, filter)
    if scope.policy.on_ahead == "raise":
        yield from refuse_ahead(scope, filter, options)
    yield from upgrade_matches(scope, filter, options)
    result: UpdateResult = yield UpdateMany(allowed, stamped(scope, update, upsert=upsert), upsert, options)
    return result


def find_one_and_update(
    scope: Scope, filter: Filter, update: Any, *, upsert: bool, after: bool, options: Options
) -> Procedure[Any]:
    """Update one match and give it, before or after: at head in either case."""
    refuse_stamp(scope, update)
    allowed = current(scope, filter)
    plain = UpdateOne(allowed, stamped(scope, update), upsert=False, options=options)
    missing = UpdateOne(allowed, stamped(scope, update, upsert=True), upsert=True, options=options) if upsert else None
    return (yield from find_one_and(scope, filter, plain, missing, after=after, options=options))


def find_one_and_replace(
    scope: Scope, filter: Filter, replacement: Any, *, upsert: bool, after: bool, options: Options
) -> Procedure[Any]:
    """Replace one match by a document at head and give it, before or after: at head in either case."""
    document = storable(scope, replacement, at_head(scope, replacement))
    allowed = current(scope, filter)
    plain = ReplaceOne(allowed, document, upsert=False, options=options)
    missing = ReplaceOne(allowed, document, upsert=True, options=options) if upsert else None
    return (yield from find_one_and(scope, filter, plain, missing, after=after, options=options))


def find_one_and_delete(scope: Scope, filter: Filter, options: Options) -> Procedure[Any]:
    """Delete one match and give it, at head; one that cannot be upgraded is not deleted, and raises why."""
    delete = DeleteOne(current(scope, filter), options)
    return (yield from find_one_and(scope, filter, delete, None, after=False, options=options))


def find_one_and(
    scope: Scope,
    filter: Filter,
    change: UpdateOne | ReplaceOne | DeleteOne,
    missing: UpdateOne | ReplaceOne | None,
    *,
    after: bool,
    options: Options,
) -> Procedure[Any]:
    """Change one match and give it; where there is none, what `missing` gives."""
    lost = 0
    while True:
        yield from upgrade_first(scope, filter, options)
        found = yield FindOneAnd(change, after)
        if found is not None:
            return given(scope, found, options)
        won = yield from upgrade_match(scope, filter, options)
        if won is None:
            break
        lost = patience(scope, won, lost)
    if missing is None and scope.schema.settled > scope.schema.oldest:  # others may have brought one to head in between
        found = yield FindOneAnd(change, after)
        if found is not None:
            return given(scope, found, options)
    if scope.policy.on_ahead == "raise":
        yield from refuse_ahead(scope, filter, options)
    if missing is None:
        return None
    found = yield FindOneAnd(missing, after)
    return None if found is None else given(scope, found, options)


def given(scope: Scope, found: dict[str, Any], options: Options) -> Any:
    """What was found at head as the caller gets it; a projection was the server's own."""
    if options.get("projection") is None:
        return arrive(scope, found)
    if scope.schema.version_field in found:
        found[scope.schema.version_field] = scope.schema.head
    return PartialDocument(found)


def bulk_write(scope: Scope, writes: Sequence[tuple[Write, Any]], options: Options) -> Procedure[BulkWriteResult]:
    """Several writes in one go, each with what it was given to store.

    `AheadError` before anything is written when one of them matches a document ahead. What an update matches is at head
    before the first of them is sent; an earlier write of the same bulk leaves nothing outdated that a later one could
    meet.
    """
    prepared: list[Write] = []
    updates: list[UpdateOne | UpdateMany | ReplaceOne] = []
    filtered: list[UpdateOne | UpdateMany | ReplaceOne | DeleteOne | DeleteMany] = []
    for write, given in writes:
        match write:
            case InsertOne():
                prepared.append(InsertOne(new(scope, given)))
                continue
            case ReplaceOne(filter, _, upsert, own):
                document = storable(scope, given, at_head(scope, given))
                meant = yield from asked(scope, filter, {**options, **own})
                if upsert and meant.ways:  # what is inserted has the equalities of its filter, as that was written
                    updates.append(write)
                    meant = Meant.written(meant.others)
                prepared.append(ReplaceOne(writable(scope, meant.filter), document, upsert, meant.options(own)))
            case UpdateOne(filter, update, upsert, own) | UpdateMany(filter, update, upsert, own):
                refuse_stamp(scope, update)
                again = stamped(scope, update, upsert=upsert)
                prepared.append(type(write)(current(scope, filter), again, upsert, own))
                updates.append(write)
            case DeleteOne(filter, own) | DeleteMany(filter, own):
                meant = yield from asked(scope, filter, {**options, **own})
                prepared.append(type(write)(writable(scope, meant.filter), meant.options(own)))
        filtered.append(write)
    shared = {name: options[name] for name in ("session", "let") if name in options}
    if scope.policy.on_ahead == "raise":
        for wanted, own in together(filtered):
            yield from refuse_ahead(scope, wanted, {**shared, **own})
    for wanted, own in together(updates):
        yield from upgrade_matches(scope, wanted, {**shared, **own})
    result: BulkWriteResult = yield BulkWrite(prepared, options)
    for write, (_, given) in zip(prepared, writes, strict=True):
        if isinstance(write, InsertOne):
            inserted(scope, given, write.document, options)
    return result


def together(writes: Sequence[Any]) -> list[tuple[Filter, Options]]:
    """The filters of writes, as few as ask for all of them, with the collation that each is asked under."""
    groups: dict[str, list[Any]] = {}
    alone: list[tuple[Filter, Options]] = []
    for write in writes:
        own = {"collation": write.options["collation"]} if "collation" in write.options else {}
        if fits_or(write.filter):
            groups.setdefault(repr(own), []).append((write.filter, own))
        else:
            alone.append((write.filter, own))
    for group in groups.values():
        for start in range(0, len(group), FILTERS):
            part = group[start : start + FILTERS]
            alone.append(({"$or": [wanted for wanted, _ in part]}, part[0][1]))
    return alone


def fits_or(filter: Any) -> bool:
    """Whether a filter may stand in an `$or`: a search by text or distance may not."""
    if isinstance(filter, Mapping):
        return all(key not in ("$text", "$near", "$nearSphere") and fits_or(inner) for key, inner in filter.items())
    return all(map(fits_or, filter)) if isinstance(filter, list) else True


def current(scope: Scope, filter: Filter) -> dict[str, Any]:
    """The filter, of documents at head."""
    schema = scope.schema
    writable(scope, filter)
    return among(filter, schema.version_field, schema.settled, schema.head + 1, schema.base)


def outdated(scope: Scope, filter: Filter) -> dict[str, Any]:
    """The filter, of outdated documents."""
    schema = scope.schema
    return among(filter, schema.version_field, schema.oldest, schema.settled, schema.base)


def upgrade_first(scope: Scope, filter: Filter, options: Options) -> Procedure[None]:
    """Where a sort says which match is meant: bring that one to head."""
    while "sort" in options and scope.schema.settled > scope.schema.oldest:
        find = Find(
            writable(scope, filter), options["sort"], limit=1, options=scope.find_options(options), primary=True
        )
        if not (yield from upgraded(scope, (yield from asked_find(scope, find)), options)):
            break


def upgrade_match(scope: Scope, filter: Filter, options: Options) -> Procedure[int | None]:
    """Bring an outdated match to head; how many were, and None when there is none."""
    meant = yield from asked(scope, filter, options)
    return (yield from upgrade_some(scope, meant.filter, meant.options(options), 1))


def upgrade_some(scope: Scope, filter: Filter, options: Options, page: int) -> Procedure[int | None]:
    """Bring some outdated documents to head, by a filter for documents as stored; None when there is none."""
    if scope.schema.settled == scope.schema.oldest:
        return None
    raws = yield Find(outdated(scope, filter), limit=page, options=scope.find_options(options), primary=True)
    return (yield from upgraded(scope, raws, options)) if raws else None


def upgrade_matches(scope: Scope, filter: Filter, options: Options) -> Procedure[None]:
    """Bring all outdated matches to head, a page at a time; raises why one of them cannot be."""
    meant = yield from asked(scope, filter, options)
    lost = 0
    while (won := (yield from upgrade_some(scope, meant.filter, meant.options(options), PAGE))) is not None:
        lost = patience(scope, won, lost)


def patience(scope: Scope, won: int, lost: int) -> int:
    """How many times in a row nothing could be brought to head; `ConflictError` when that is too often."""
    if won:
        return 0
    if lost == RACES:
        raise ConflictError(
            f"{scope.name}: outdated documents that the write matches were changed by others each of {lost} times; "
            "nothing was written. Repeat it.",
            collection=scope.name,
            document_id=None,
            version=scope.schema.head,
        )
    return lost + 1


def upgraded(scope: Scope, raws: Sequence[bytes], options: Options) -> Procedure[int]:
    """Store the upgrade of documents as they were read; how many were. Raises why one cannot be upgraded or stored."""
    commands = []
    for raw in raws:
        decided = outcome(scope, raw)
        if isinstance(decided, Refused):
            raise decided.error
        if isinstance(decided, Upgraded):
            commands.append(decided.command)
    if not commands:
        return 0
    session = {"session": options["session"]} if "session" in options else {}
    stored = yield CompareAndSetMany(commands, session)
    if stored.error is not None:
        raise stored.error
    return int(stored.won)


def refuse_stamp(scope: Scope, update: Any) -> None:
    """`ValueError` when an update by operators names the version field."""
    field = scope.schema.version_field
    if not isinstance(update, Mapping):
        return
    for operator, changes in update.items():
        if isinstance(changes, Mapping):
            paths = [*changes, *(changes.values() if operator == "$rename" else ())]
            if any(isinstance(path, str) and path.split(".")[0] == field for path in paths):
                raise ValueError(
                    f"{scope.name}: an update cannot change {field!r}, which says what shape the document has. Leave it "
                    "out; what is stored is stamped by itself."
                )


def stamped(scope: Scope, update: Any, *, upsert: bool = False) -> Any:
    """An update that leaves the document stamped: what it inserts, and what a pipeline makes of it."""
    field, head = scope.schema.version_field, scope.schema.head
    if isinstance(update, list):
        return [*update, {"$set": {field: {"$literal": head}}}] if update else update
    if upsert and isinstance(update, Mapping) and update and all(str(name).startswith("$") for name in update):
        return {**update, "$setOnInsert": {**update.get("$setOnInsert", {}), field: head}}
    return update
