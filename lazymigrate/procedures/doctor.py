"""Asking a server and a collection for what `checkups` decides from. Nothing is written, and no document's value is kept.

Whatever may be refused is an attempt: who may not know something is told that this is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import bson
from bson.codec_options import CodecOptions

from lazymigrate.checkups import diagnose
from lazymigrate.commands import (
    AdminCommand,
    Aggregate,
    At,
    Attempt,
    CollectionOptions,
    Command,
    Failure,
    Find,
    ListIndexes,
    Now,
    Procedure,
    ShardKey,
)
from lazymigrate.course import upwards
from lazymigrate.coverage import Coverage
from lazymigrate.doctor import Diagnosis, Facts, Kind, Sample
from lazymigrate.elements import elements
from lazymigrate.exceptions import LazyMigrateError
from lazymigrate.outcome import Refused, Upgraded, outcome
from lazymigrate.procedures.backlog import backlog_index
from lazymigrate.procedures.coverage import coverage
from lazymigrate.procedures.quarantine import count_listed
from lazymigrate.runs import moment
from lazymigrate.scope import Scope

__all__ = ["Asked", "doctor"]

DENIED = 13
OF_A_VIEW = 166  # how the server refuses the indexes of a view
DRAWN = 1000  # documents whose sizes are looked at
TRIED = 100  # documents that are upgraded in memory
TRIED_BYTES = 4 * 2**20  # a command holds 16 MiB
DATED: CodecOptions[Any] = CodecOptions(tz_aware=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the application's client asks of the server: names, and the concerns of its writes and reads."""

    database: str
    write_concern: Mapping[str, Any]
    read_concern: str | None
    on_primary: bool

    @classmethod
    def of(cls, collection: Any, *, on_primary: bool) -> Asked:
        """What a driver's collection asks for; one in memory asks for nothing."""
        database = getattr(collection, "database", None)
        return cls(
            database="" if database is None else database.name,
            write_concern={} if database is None else collection.write_concern.document,
            read_concern=None if database is None else collection.read_concern.level,
            on_primary=on_primary,
        )


def doctor(scope: Scope, asked: Asked) -> Procedure[Diagnosis]:
    """What of this server and this collection will bite; nothing is written.

    `LazyMigrateError` for a collection in memory, which has no server.
    """
    if not scope.inside:
        raise LazyMigrateError(
            f"{scope.name}: a collection in memory has no server to look at. Give it one of MongoDB."
        )
    before = yield Now()
    hello = yield AdminCommand({"hello": 1})
    after = yield Now()
    connection = (yield from known(AdminCommand({"connectionStatus": 1, "showPrivileges": True}))) or {}
    users = connection.get("authInfo", {})
    parameter = yield from known(AdminCommand({"getParameter": 1, "featureCompatibilityVersion": 1}))
    options = yield from known(CollectionOptions())
    indexes = yield Attempt(At("sweep", ListIndexes()))
    is_view = isinstance(indexes, Failure) and indexes.code == OF_A_VIEW
    indexes = None if isinstance(indexes, Failure) and indexes.code is not None else insisted(indexes)
    seen = yield from known(Find({}, limit=1, options={"projection": {"_id": 1}}))
    kind: Kind | None = "view" if is_view else kind_of(options, indexes, any_seen=bool(seen))
    counted, sample, tried, listed = None, None, Tried(), (yield from known(count_listed(scope))) is not None
    if seen is not None:
        counted = yield from counts(scope, listed=listed)
        sample = yield from drawn()
        tried = yield from upgraded_in_memory(scope, (options or {}).get("validator"))
    keys = yield from known(ShardKey(f"{asked.database}.{scope.name}"))
    late = (moment(hello["localTime"]) - before).total_seconds()
    early = (moment(hello["localTime"]) - after).total_seconds()
    facts = Facts(
        database=asked.database,
        collection=scope.name,
        write_concern=asked.write_concern,
        read_concern=asked.read_concern,
        on_primary=asked.on_primary,
        hello=hello,
        build=(yield from known(AdminCommand({"buildInfo": 1}))),
        compatibility=((parameter or {}).get("featureCompatibilityVersion") or {}).get("version"),
        replication=(yield from known(AdminCommand({"replSetGetStatus": 1}))),
        status=(yield from known(AdminCommand({"serverStatus": 1, "metrics": 0, "tcmalloc": 0, "mirroredReads": 0}))),
        privileges=users.get("authenticatedUserPrivileges", []) if users.get("authenticatedUsers") else None,
        skew=min(late, early, key=abs) if late * early > 0 else 0.0,
        kind=kind,
        options=options,
        indexes=indexes,
        readable=seen is not None,
        in_use=(yield from in_use(scope)) if kind in ("collection", None) else None,
        shard_key=None if keys is None else bson.decode(keys[0])["key"] if keys else {},
        coverage=counted,
        listed=listed,
        sample=sample,
        tried=tried.tried,
        upgraded=tried.upgraded,
        failed=tried.failed,
        refused=tried.refused,
        doubled=tried.doubled,
    )
    return diagnose(scope.schema, facts)


def known(command: Command) -> Procedure[Any]:
    """What a command gives; None where it is refused."""
    answer = yield Attempt(command)
    return None if isinstance(answer, Failure) and answer.code is not None else insisted(answer)


def insisted(answer: Any) -> Any:
    """An answer, or the error of a server that did not answer at all."""
    if isinstance(answer, Failure):
        raise answer.error
    return answer


def kind_of(options: Mapping[str, Any] | None, indexes: Sequence[Any] | None, *, any_seen: bool) -> Kind | None:
    """What it is; None where that cannot be told from what one may see.

    Every collection has an index, and only views and time series have these options. A collection that does not exist has
    no options either, so that one of which nothing else is seen may be missing.
    """
    if options is not None and "viewOn" in options:
        return "view"
    if options is not None and "timeseries" in options:
        return "time-series"
    if not options and indexes == [] and not any_seen:
        return "missing"
    return "collection" if options or (options is not None and (indexes or any_seen)) else None


def counts(scope: Scope, *, listed: bool) -> Procedure[Coverage | None]:
    """The documents per version; None for a user who may not count them."""
    try:
        return (yield from coverage(scope, listed=listed))
    except Exception as error:
        if getattr(error, "code", None) == DENIED:
            return None
        raise


def drawn() -> Procedure[Sample | None]:
    """The sizes of some documents, and whether their `_id`s are strings: what is counted comes back, and nothing else."""
    pipeline: list[dict[str, Any]] = [
        {"$sample": {"size": DRAWN}},
        {
            "$group": {
                "_id": None,
                "documents": {"$sum": 1},
                "largest": {"$max": {"$bsonSize": "$$ROOT"}},
                "text_ids": {"$sum": {"$cond": [{"$eq": [{"$type": "$_id"}, "string"]}, 1, 0]}},
            }
        },
        {"$project": {"_id": 0}},
    ]
    raws = yield from known(Aggregate(pipeline))
    return Sample(**bson.decode(raws[0])) if raws else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What became of some outdated documents in memory."""

    tried: int = 0
    upgraded: int = 0
    failed: int = 0
    refused: int = 0
    doubled: int = 0


def upgraded_in_memory(scope: Scope, rules: Any) -> Procedure[Tried]:
    """Upgrade some outdated documents, and ask the server which of them the collection's validator would refuse."""
    raws: list[bytes] = (yield from known(Find(upwards(scope.schema).filter, limit=-TRIED))) or []
    documents: list[dict[str, Any]] = []
    size, failed = 0, 0
    for raw in raws:
        result = outcome(scope, raw)
        size += len(raw)
        failed += isinstance(result, Refused)
        if isinstance(result, Upgraded) and size <= TRIED_BYTES:
            documents.append(result.document)
    tried = Tried(tried=len(raws), upgraded=len(documents), failed=failed, doubled=sum(map(has_equal_keys, raws)))
    if not rules or not documents:
        return tried
    pipeline: list[dict[str, Any]] = [
        {"$limit": 1},
        {"$project": {"_id": 0, "document": {"$literal": documents}}},
        {"$unwind": "$document"},
        {"$replaceRoot": {"newRoot": "$document"}},
        {"$match": {"$nor": [rules]}},
        {"$count": "refused"},
    ]
    found = yield from known(Aggregate(pipeline))
    return replace(tried, refused=int(bson.decode(found[0])["refused"])) if found else tried


def has_equal_keys(raw: bytes) -> bool:
    names = [name for name, _, _ in elements(raw)]
    return len(names) != len(set(names))


def in_use(scope: Scope) -> Procedure[str | None]:
    """The backlog index that answers questions; None where there is none, or nobody may know."""
    try:
        return (yield from backlog_index(scope, whole=True))
    except Exception as error:
        if getattr(error, "code", None) is None:
            raise
        return None
