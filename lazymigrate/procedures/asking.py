"""Filters and sorts are written for the newest shape; this is what is asked of the documents as they are stored.

What that takes is loaded when there is a version that can be outdated, and done when a revision may touch what is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from lazymigrate.commands import Batches, Clock, Count, Find, Procedure
from lazymigrate.scope import Scope

__all__ = ["Meant", "asked", "asked_find", "asked_query", "count"]

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
    if not query.sort and "hint" not in query.options:
        before = yield from as_before(scope, query.filter)
        if before is not None:
            return query._replace(filter=before)
    from lazymigrate.procedures.ordering import prepared

    return (yield from prepared(scope, query))


def asked_find(scope: Scope, find: Find) -> Procedure[list[bytes]]:
    """The documents that a find for all versions gives: raw, as stored."""
    if scope.schema.oldest == scope.schema.settled:
        raws: list[bytes] = yield find
        return raws
    if not find.sort and "hint" not in find.options:
        before = yield from as_before(scope, find.filter)
        if before is not None:
            raws = yield find._replace(filter=before)
            return raws
    from lazymigrate.procedures.ordering import prepared_find

    return (yield from prepared_find(scope, find))


def as_before(scope: Scope, filter: Filter) -> Procedure[Filter | None]:
    """A filter for the stored documents, where one with the same names was turned round a moment ago."""
    template = scope.presence.templates.get(tuple(filter)) if type(filter) is dict else None
    if template is None or scope.presence.due((yield Clock()), scope.policy.recheck):
        return None
    from lazymigrate.templates import filled

    return filled(template, filter)


def count(scope: Scope, filter: Filter, options: Mapping[str, Any]) -> Procedure[int]:
    """How many documents match, whatever their version."""
    meant = yield from asked(scope, filter, options)
    counted: int = yield Count(meant.filter, meant.options(options))
    return counted
