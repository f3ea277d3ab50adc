"""Reading: every document arrives at head, whatever version it is stored at.

The per-document path is a plain function, `arrive`. Only what needs the server again is a procedure: write-back and
the quarantine.

**Write-back.** What is returned is what is stored, in the fields that the chain uses: the winner of the
compare-and-set returns what it stored; the loser reads again and returns what the winner stored, and after three lost
races the upgraded copy of the last read, unstored. A document deleted meanwhile is returned as it was read and never
brought back. No failure of a write-back fails the read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from bson import encode
from bson.errors import BSONError

from lazymigrate.change import CompareAndSet
from lazymigrate.commands import Aggregate, Allowance, Attempt, CompareAndSetMany, Failure, Find, Procedure
from lazymigrate.documents import copy_value
from lazymigrate.elements import id_of
from lazymigrate.elemmatch import match_pipelines, read_matches
from lazymigrate.exceptions import AheadError, DocumentError
from lazymigrate.outcome import Ahead, Outcome, Refused, Settled, Upgraded, outcome, undecodable
from lazymigrate.procedures.asking import asked_find
from lazymigrate.procedures.quarantine import list_errors
from lazymigrate.projection import Fetch, PartialDocument
from lazymigrate.scope import LOGGER, Scope

__all__ = ["arrive", "as_read", "find_one", "read_batch", "upgrade_stored"]

RACES = 3

UNAUTHORIZED = 13
NOT_WRITABLE = {166: "it is a view", 20: "its kind of collection cannot be updated", 72: "it cannot be updated"}


def arrive(scope: Scope, document: dict[str, Any]) -> Any:
    """One decoded document as the caller gets it: upgraded in memory, and a model where there is one.

    Raises the `DocumentError` that it is refused with.
    """
    schema = scope.schema
    try:
        version = schema.version_of(document)
        if version > schema.head:
            if scope.policy.on_ahead == "raise":
                raise schema.ahead(document)
            return scope.present(document)
        stored = copy_value(document) if scope.adapter is not None and version < schema.settled else None
        return scope.present(schema.chain(version, schema.head).run(document), stored)
    except DocumentError as error:
        scope.named(error)
        raise


def all_at_head(scope: Scope, documents: list[dict[str, Any]]) -> bool:
    """Whether every document of a batch is stamped with head; the price of the library on each of them."""
    head, field = scope.schema.head, scope.schema.version_field
    if head < 2:  # True == 1: only a head above it can be told by equality alone
        return False
    return all([document.get(field) == head for document in documents])  # noqa: C419 (half the time of a generator)


def as_read(scope: Scope, documents: list[dict[str, Any]]) -> bool:
    """Whether the caller gets a batch as the driver gave it, so that there is nothing to be done."""
    return scope.adapter is None and scope.fetch is None and all_at_head(scope, documents)


def read_batch(
    scope: Scope, documents: list[dict[str, Any]], options: dict[str, Any], *, stores: bool
) -> Procedure[Iterable[Any]]:
    """A batch of a cursor as the caller gets it, with write-back where `stores`.

    What is returned is iterated once: under `on_error="raise"` each document is made ready when it is asked for (few
    are alive at a time, which the garbage collector thanks), and the error of one comes in its place.
    """
    if scope.fetch is not None:
        return (yield from read_projected(scope, scope.fetch, documents, options))
    fresh: dict[bytes, Outcome] = {}
    if not all_at_head(scope, documents):
        if scope.listeners:
            scope.tell("upgraded", sum(is_outdated(scope, document) for document in documents))
        if stores:
            fresh = yield from store_outdated(scope, documents, options)
    ready = ready_with(scope, fresh)
    if scope.policy.on_error == "raise":
        return map(ready, documents)
    values: list[Any] = []
    skipped: list[DocumentError] = []
    for document in documents:
        try:
            values.append(ready(document))
        except AheadError:  # skipping is for documents that cannot be read, not for newer ones
            raise
        except DocumentError as error:
            skipped.append(error)
    if skipped:
        LOGGER.warning("%s: %d documents could not be read and were skipped", scope.name, len(skipped))
        if scope.policy.on_error == "quarantine":
            yield from list_errors(scope, skipped)
    return values


def store_outdated(
    scope: Scope, documents: list[dict[str, Any]], options: dict[str, Any]
) -> Procedure[dict[bytes, Outcome]]:
    """Read the outdated documents of a batch again, raw, and store their upgrade; by raw `_id`, what became of each."""
    outdated = [document["_id"] for document in documents if is_outdated(scope, document)]
    if not outdated:
        return {}
    found = yield Attempt(Find({"_id": {"$in": outdated}}, options=options, primary=True))
    if isinstance(found, Failure):
        explain_refusal(scope, found)
        return {}
    return (yield from upgrade_stored(scope, found, options))


def read_projected(
    scope: Scope, fetch: Fetch, documents: list[dict[str, Any]], options: dict[str, Any]
) -> Procedure[Iterable[PartialDocument]]:
    """A batch of a query with a projection: brought to head, and then trimmed to what was asked. Nothing is stored."""
    values = yield from read_batch(replace(scope, fetch=None), documents, options, stores=False)
    if not fetch.matches:
        return map(fetch.trim, values)
    whole = list(values)
    answers: list[bytes] = []
    for pipeline in match_pipelines(whole, fetch.matches, scope.codec):
        answers += yield Aggregate(pipeline, options)
    matched = read_matches(answers, fetch.matches, len(whole))
    return map(fetch.trim, whole, matched)


def ready_with(scope: Scope, fresh: dict[bytes, Outcome]) -> Callable[[dict[str, Any]], Any]:
    """The function that makes one document ready, given what became of those that were written back."""
    if fresh:

        def ready(document: dict[str, Any]) -> Any:
            decided = fresh.get(identity(scope, document))
            return arrive(scope, document) if decided is None else settle(scope, decided)

        return ready
    schema, adapter = scope.schema, scope.adapter
    head, field, upgrades = schema.head, schema.version_field, schema.upgrades()

    def ready_document(document: dict[str, Any]) -> Any:
        stamp = document.get(field)
        if type(stamp) is int or stamp is None:
            if stamp == head:
                return document
            upgrade = upgrades.get(stamp)
            if upgrade is not None:
                try:
                    return upgrade(document)
                except DocumentError as error:
                    scope.named(error)
                    raise
        return arrive(scope, document)

    if adapter is None:
        return ready_document
    load = adapter.load

    def ready_model(document: dict[str, Any]) -> Any:
        if type(document.get(field)) is int and document[field] == head:
            try:
                return load(document)
            except DocumentError as error:
                scope.named(error)
                raise
        return arrive(scope, document)

    return ready_model


def find_one(scope: Scope, find: Find, options: dict[str, Any], *, stores: bool) -> Procedure[Any]:
    """The first matching document at head, or None; raises whatever it is refused with."""
    raws = yield from asked_find(scope, find)
    if not raws:
        return None
    raw = raws[0]
    if not stores:
        try:
            document = scope.decode(raw)
        except BSONError as error:
            raise undecodable(scope, raw, error) from error
        if scope.listeners:
            scope.tell("upgraded", int(is_outdated(scope, document)))
        return arrive(scope, document)
    if scope.listeners:
        scope.tell("upgraded", int(isinstance(outcome(scope, raw), Upgraded)))
    decided = yield from upgrade_stored(scope, raws, options)
    return settle(scope, decided[id_of(raw)])


def settle(scope: Scope, decided: Outcome) -> Any:
    """What the caller gets for a decided document; raises what it is refused with."""
    match decided:
        case Settled(document):
            return scope.present(document)
        case Upgraded(document, stored, _):
            return scope.present(document, stored)
        case Ahead(document):
            if scope.policy.on_ahead == "raise":
                raise scope.named(scope.schema.ahead(document))
            return scope.present(document)
        case Refused(error):
            raise error


def upgrade_stored(scope: Scope, raws: Sequence[bytes], options: dict[str, Any]) -> Procedure[dict[bytes, Outcome]]:
    """Upgrade documents as they were read and store them by compare-and-set; by raw `_id`, what became of each.

    Never fails because of the storing: then the outcome is the upgraded copy, unstored.
    """
    decided: dict[bytes, Outcome] = {}
    attempts, waited = 0, False
    while True:
        commands: list[CompareAndSet] = []
        for raw in raws:
            result = outcome(scope, raw)
            decided[id_of(raw)] = result
            if isinstance(result, Upgraded):
                commands.append(result.command)
        if not commands or attempts == RACES:
            break
        if scope.policy.write_back_rate is not None:
            commands = commands[: (yield Allowance(scope.policy.write_back_rate, len(commands)))]
        # What this collection object is writing back elsewhere is read again before it is written in spite of that.
        elsewhere = [command for command in commands if not waited and command.identity in scope.in_flight]
        own = [command for command in commands if command not in elsewhere] if elsewhere else commands
        waited = True
        attempts += not elsewhere
        lost = [*elsewhere, *(yield from write_back(scope, own, decided, options))]
        if not lost:
            break
        ids = [scope.decode(command.identity)["_id"] for command in lost]
        again = yield Attempt(Find({"_id": {"$in": ids}}, options=options, primary=True))
        if isinstance(again, Failure):
            explain_refusal(scope, again)
            break
        raws = again
    return decided


def write_back(
    scope: Scope, commands: Sequence[CompareAndSet], decided: dict[bytes, Outcome], options: dict[str, Any]
) -> Procedure[list[CompareAndSet]]:
    """Store upgrades, and note in `decided` which are stored; those that may have lost their race come back."""
    if not commands:
        return []
    flight = object()
    for command in commands:
        scope.in_flight.setdefault(command.identity, flight)
    try:
        won = yield Attempt(CompareAndSetMany(commands, options, hurried=True))
    finally:
        for command in commands:
            if scope.in_flight.get(command.identity) is flight:
                del scope.in_flight[command.identity]
    if isinstance(won, Failure):
        explain_refusal(scope, won)
        return []
    if won.refused:
        LOGGER.warning(
            "%s: the server refused %d write-backs (code %s)",
            scope.name,
            len(won.refused),
            min(won.refused.values()),
        )
    conflicts = len(commands) - won.won - len(won.refused)
    scope.tell("written_back", won.won)
    scope.tell("conflict", conflicts)
    if won.won == len(commands):
        for command in commands:
            decided[command.identity] = as_stored(decided[command.identity])
        return []
    LOGGER.debug("%s: %d of %d write-backs lost their race", scope.name, conflicts, len(commands))
    return [command for index, command in enumerate(commands) if index not in won.refused]


def as_stored(decided: Outcome) -> Outcome:
    """An upgraded document once it is stored."""
    return Settled(decided.document) if isinstance(decided, Upgraded) else decided


def explain_refusal(scope: Scope, failure: Failure) -> None:
    """Say once why nothing is written back, where that will not change by itself."""
    if failure.code == UNAUTHORIZED:
        scope.once(
            "write_back",
            "%s: this user may not write, so nothing is written back. Grant it the role readWrite, or set "
            "Policy(write_back=False).",
            scope.name,
        )
    elif failure.code in NOT_WRITABLE:
        scope.once("write_back", "%s: nothing is written back: %s.", scope.name, NOT_WRITABLE[failure.code])
    else:
        LOGGER.warning("%s: nothing was written back (code %s)", scope.name, failure.code)


def is_outdated(scope: Scope, document: dict[str, Any]) -> bool:
    """Whether there is anything to store for a decoded document."""
    stamp = document.get(scope.schema.version_field)
    if stamp == scope.schema.head and scope.schema.head > 1:
        return False
    try:
        return "_id" in document and scope.schema.version_of(document) < scope.schema.settled
    except DocumentError:
        return False


def identity(scope: Scope, document: dict[str, Any]) -> bytes:
    """The key of a decoded document among raw ones."""
    return encode({"_id": document["_id"]}, codec_options=scope.codec) if "_id" in document else b""
