"""Making, finding and dropping the backlog index. What it is, `backlog` says."""

from __future__ import annotations

from lazymigrate import backlog
from lazymigrate.commands import At, Attempt, CreateIndex, DropIndex, Failure, Find, ListIndexes, Procedure
from lazymigrate.exceptions import LazyMigrateError
from lazymigrate.scope import Scope

__all__ = ["backlog_index", "create_backlog_index", "drop_stale_backlog_indexes"]

NO_SUCH_INDEX = 2  # how the server refuses a hint of an index that is not there, hidden, or still being built
GONE = frozenset({26, 27})  # the collection or the index was dropped by another process meanwhile


def create_backlog_index(scope: Scope) -> Procedure[str]:
    """The index for this code's head is there, built and used by the server: its name.

    Made where it is not there yet, a collection that does not exist included; an index that is the same but for its name
    is taken as it is, and one that another process is building is waited for. Nothing is dropped. `LazyMigrateError`
    when somebody has hidden it; the server's `OperationFailure` when its name is taken by another index (code 86).
    """
    wanted = backlog.index(scope.schema)
    found = backlog.exact(scope.schema, (yield At("sweep", ListIndexes())))
    options = wanted.options
    if found is not None:
        if found.get("hidden"):
            raise LazyMigrateError(
                f"{scope.name}: the index {found['name']!r} is hidden, so that the server does not use it, and there "
                "cannot be a second one like it. Unhide it with collMod, or drop it."
            )
        options = {"name": found["name"], "partialFilterExpression": found["partialFilterExpression"]}
    name: str = yield At("sweep", CreateIndex(wanted.keys, options))
    scope.presence.forget()  # what was known of the collection's indexes
    return name


def backlog_index(scope: Scope, *, whole: bool = False) -> Procedure[str | None]:
    """The name of an index that holds all outdated documents and is in use, fit for a hint; None where there is none.

    `whole`: one that holds everything that is not at head, documents ahead and invalid stamps included. An index is
    known by its keys and its filter; one that is hidden or still being built is none.
    """
    below = {scope.schema.version_field: {"$lt": scope.schema.settled}}
    for name in backlog.serving(scope.schema, (yield At("sweep", ListIndexes())), whole=whole):
        # The list has indexes that are being built too, and does not tell. A hint does, and needs no further right.
        probe = Find(below, limit=1, options={"hint": name, "projection": {"_id": 1}})
        answer = yield Attempt(At("sweep", probe))
        if not isinstance(answer, Failure):
            return name
        if answer.code != NO_SUCH_INDEX:
            raise answer.error
    return None


def drop_stale_backlog_indexes(scope: Scope) -> Procedure[list[str]]:
    """The backlog indexes of heads below this one are gone: their names. Only once this head's own is in use, else none.

    Older code loses nothing by it: what is outdated for it lies inside this head's index too. Indexes of newer code, of
    other version fields and with names of somebody else's stay.
    """
    if (yield from backlog_index(scope, whole=True)) is None:
        return []
    dropped: list[str] = []
    for name in backlog.stale(scope.schema, (yield At("sweep", ListIndexes()))):
        answer = yield Attempt(At("sweep", DropIndex(name)))
        if not isinstance(answer, Failure):
            dropped.append(name)
        elif answer.code not in GONE:
            raise answer.error
    return dropped
