"""Filters and sorts are written for the newest shape; this is what is asked of the documents as they are stored.

What that takes is loaded when there is a version that can be outdated, and done when a revision may touch what is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from lazymigrate.commands import Aggregate, Batches, Clock, Count, Find, Procedure
from lazymigrate.presence import Look
from lazymigrate.scope import Scope

__all__ = ["Meant", "asked", "asked_find", "asked_query", "count", "is_regular", "pinned"]

if TYPE_CHECKING:
    from lazymigrate.places import Turned

Filter = Mapping[str, Any]
Query = TypeVar("Query", Find, Batches)


class Meant(NamedTuple):
    """A filter, as it is asked of the stored documents.

    `filter` is for all of them. `others` is the filter as it was written, without the versions at which it would find what
    is not meant; `ways` is what it is turned into at those at which something else is meant, too.
    """

    filter: Filter
    others: Filter
    ways: Mapping[int, Turned]

    @classmethod
    def written(cls, filter: Filter) -> Meant:
        """As it was written."""
        return cls(filter, filter, {})

    def options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options of the query: without a hint where it was turned round, since an index on the newest shape may know
        nothing of older documents (a sparse one does not), and the server obeys.
        """
        return {name: option for name, option in options.items() if name != "hint"} if self.ways else options


def asked(scope: Scope, filter: Filter, options: Mapping[str, Any]) -> Procedure[Meant]:
    """A filter for the stored documents."""
    if scope.schema.oldest == scope.schema.settled:
        return Meant.written(filter)
    from lazymigrate.procedures.matching import meant

    return (yield from meant(scope, filter, options))


def asked_query(scope: Scope, query: Query) -> Procedure[Query]:
    """A query for the stored documents."""
    if scope.schema.oldest == scope.schema.settled:
        return query
    known = at_once(scope, query, (yield Clock()))
    if known is not None:
        return known
    from lazymigrate.procedures.ordering import prepared

    return (yield from prepared(scope, query))


def asked_find(scope: Scope, find: Find) -> Procedure[list[bytes]]:
    """The documents that a find for all versions gives: raw, as stored."""
    asked = yield from asked_query(scope, find)
    pipeline = asked.pipeline
    raws: list[bytes] = yield asked if pipeline is None else Aggregate(pipeline, asked.options, primary=asked.primary)
    return raws


def at_once(scope: Scope, query: Query, now: float) -> Query | None:
    """A query for the stored documents, where what was seen a moment ago says what becomes of it; it is asked for most queries,
    and its time is what they cost beside the driver's.
    """
    if scope.presence.due(now, scope.policy.recheck):
        return None
    look = scope.presence.look
    if not (look.indexed or look.seen) and not (look.lately and pinned(query.options)):
        return query
    from lazymigrate.templates import filled, key_of, only_compares

    template = look.templates.get(key_of(query.filter, query.sort, query.skip, query.limit))
    if template is None or not is_regular(look, query) or not only_compares(query.filter):
        return None
    own = filled(template, query.filter, query.skip, query.limit)
    if own.pipeline is None:
        return query._replace(filter=own.filter)
    return query._replace(pipeline=own.pipeline, options={**query.options, "allowDiskUse": True})


def is_regular(look: Look, query: Find | Batches) -> bool:
    """Whether the same becomes of a query as of others like it: its options change nothing of it."""
    options = query.options
    if not options:
        return True
    if "hint" in options or (pinned(options) and not look.indexed):
        return False
    return not query.sort or (options.keys() == {"session"} and not options["session"].in_transaction)


def pinned(options: Mapping[str, Any]) -> bool:
    """Whether a query may see the collection as it was some while ago."""
    session = options.get("session")
    return session is not None and bool(session.in_transaction or session.options.snapshot)


def count(scope: Scope, filter: Filter, options: Mapping[str, Any]) -> Procedure[int]:
    """How many documents match, whatever their version."""
    meant = yield from asked(scope, filter, options)
    counted: int = yield Count(meant.filter, meant.options(options))
    return counted
