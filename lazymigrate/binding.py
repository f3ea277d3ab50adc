"""What the two faces of a collection share: a schema, a policy and a model beside a driver's collection."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lazymigrate.commands import BATCH_SIZE, Batches, EstimatedCount, Find, Procedure
from lazymigrate.cursor import as_sort, number
from lazymigrate.drivers.memory import MemoryCollection
from lazymigrate.events import Listener
from lazymigrate.exceptions import SchemaError
from lazymigrate.model import belongs_to
from lazymigrate.policy import Policy
from lazymigrate.procedures import reads
from lazymigrate.procedures.coverage import coverage
from lazymigrate.schema import Schema
from lazymigrate.scope import Scope, tolerant

__all__ = [
    "Binding",
    "Filter",
    "Projected",
    "Update",
    "as_filter",
    "ask",
    "upgraded",
    "verifying",
    "with_session",
    "with_sort",
]

if TYPE_CHECKING:
    from lazymigrate.coverage import Coverage
    from lazymigrate.drift import Drift
    from lazymigrate.explanation import Explanation
    from lazymigrate.journal import Deployment, Journal, RevisionRecord, StampRecord
    from lazymigrate.overview import CollectionOverview
    from lazymigrate.partition import Partition
    from lazymigrate.sweeping import SweepKeywords, SweepReport
    from lazymigrate.trend import TrendPoint
    from lazymigrate.verification import VerifyReport

T = TypeVar("T")
Filter = Mapping[str, Any]
Projected = Mapping[str, Any] | Sequence[str]
Update = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Binding(Generic[T]):
    """A driver's collection with a schema, a policy and, where there is one, a model."""

    def __init__(
        self, collection: Any, shape: type[T] | Schema, policy: Policy | None, listeners: Sequence[Listener]
    ) -> None:
        if isinstance(shape, Schema):
            schema, adapter = shape, None
        else:
            schema, adapter = schema_of(shape), schema_of(shape).adapter
        if policy is not None and not isinstance(policy, Policy):
            raise TypeError(f"policy is a Policy, not a {type(policy).__name__}.")
        self._raw = collection
        self._scope = Scope(
            schema=schema,
            adapter=adapter,
            policy=policy or Policy(),
            name=collection.name,
            codec=tolerant(collection.codec_options),
            listeners=tuple(listeners),
            acknowledged=isinstance(collection, MemoryCollection) or bool(collection.write_concern.acknowledged),
            inside=not isinstance(collection, MemoryCollection),
        )

    def __repr__(self) -> str:
        shape = self._scope.adapter.model.__qualname__ if self._scope.adapter else "dict"
        return f"<{type(self).__name__} {self._scope.name!r} of {shape}, head {self._scope.schema.head}>"

    @property
    def raw(self) -> Any:
        """The driver's own collection, untouched: what it reads is as stored, what it writes is not upgraded."""
        return self._raw

    @property
    def schema(self) -> Schema:
        """The schema that documents are upgraded with."""
        return self._scope.schema

    @property
    def policy(self) -> Policy:
        """What this collection does with documents that are outdated, unreadable or ahead."""
        return self._scope.policy

    def _stores(self, session: Any, *, on_primary: bool) -> bool:
        """Whether a read may write back: not from secondaries, and not inside the caller's transaction."""
        return (
            self._scope.policy.write_back
            and on_primary
            and "write_back" not in self._scope.said
            and not (session is not None and session.in_transaction)
        )

    def _again(self, policy: Policy | None, options: dict[str, Any]) -> tuple[Any, Any, Policy]:
        """The arguments for the same collection with other options."""
        raw = self._raw.with_options(**options) if options else self._raw
        adapter = self._scope.adapter
        return raw, self._scope.schema if adapter is None else adapter.model, policy or self._scope.policy

    def _query(
        self, filter: Filter | None, projection: Any, sort: Any, skip: int, limit: int, size: int, options: Any
    ) -> tuple[Scope, Batches]:
        """What a cursor needs for a query."""
        refuse_reshaping(options)
        scope = self._scope if projection is None else self._scope.projected(projection)
        if scope.fetch is not None and scope.fetch.projection is not None:
            options = {**options, "projection": scope.fetch.projection}
        asked = {} if filter is None else filter
        number("skip", skip)
        number("limit", limit, low=None)
        return scope, Batches(asked, as_sort(sort), skip, limit, size or BATCH_SIZE, options)

    def _sweep(
        self, keywords: SweepKeywords, *, to: int | None = None, partition: Partition | None = None
    ) -> Procedure[SweepReport]:
        """The sweep of this collection by this process: upwards, or down to a version; all of it, or a partition."""
        from lazymigrate.course import downwards  # much of this library is for sweeps, and few processes sweep
        from lazymigrate.procedures.sweep import sweep
        from lazymigrate.sweeping import SweepOptions

        host = socket.gethostname()
        holder = f"{host}:{os.getpid()}:{secrets.token_hex(4)}"
        schema = None if keywords.get("workers") is None else importable(self._scope.schema)
        options = SweepOptions(**keywords, holder=holder, host=host, schema=schema)
        course = None if to is None else downwards(self._scope.schema, to)
        return sweep(self._scope, options, course=course, partition=partition)

    def _partitions(self, n: int) -> Procedure[list[Partition]]:
        from lazymigrate.procedures.partitions import partitions

        return partitions(self._scope, n)

    def _create_backlog_index(self) -> Procedure[str]:
        from lazymigrate.procedures.backlog import create_backlog_index

        return create_backlog_index(self._scope)

    def _coverage(self, sample: int | None, *, record: bool) -> Procedure[Coverage]:
        counted = yield from coverage(self._scope, sample=sample)
        if record:
            from lazymigrate.procedures.journal import record_coverage

            yield from record_coverage(counted)
        return counted

    def _overview(self, sample: int | None, *, record: bool) -> Procedure[CollectionOverview]:
        from lazymigrate.procedures.overview import overview

        return overview(self._scope, sample=sample, record=record)

    def _history(self, limit: int) -> Procedure[list[TrendPoint]]:
        from lazymigrate.procedures.journal import trend

        return trend(self._scope, limit)

    def _journal(self, limit: int) -> Procedure[Journal]:
        from lazymigrate.procedures.journal import journal

        return journal(self._scope, limit)

    def _explain(self, filter: Filter | None, options: Mapping[str, Any]) -> Procedure[Explanation]:
        from lazymigrate.procedures.explaining import explain

        return explain(self._scope, {} if filter is None else filter, options)

    def _pipeline_view(self) -> list[dict[str, Any]]:
        from lazymigrate.mixed import upgrade_stages

        return upgrade_stages(self._scope.schema)

    def _create_view(self, name: str) -> Procedure[None]:
        from lazymigrate.procedures.explaining import create_view

        return create_view(self._scope, name)

    def _require(self, version: int) -> Procedure[Coverage]:
        from lazymigrate.procedures.coverage import require

        return require(self._scope, version)

    def _deploy(self, application: str | None) -> Procedure[Deployment]:
        from lazymigrate.procedures.journal import deploy

        return deploy(self._scope, application)

    def _drift(self, sample: int) -> Procedure[Drift]:
        from lazymigrate.procedures.drift import drift

        return drift(self._scope, sample=sample)

    def _retire(self, version: int) -> Procedure[list[RevisionRecord]]:
        from lazymigrate.procedures.journal import retire

        return retire(self._scope, version)

    def _stamp(self, to: int, from_version: int, *, dry_run: bool) -> Procedure[StampRecord]:
        from lazymigrate.procedures.stamping import stamp

        by = f"{socket.gethostname()}:{os.getpid()}"
        return stamp(self._scope, to, from_version=from_version, by=by, dry_run=dry_run)

    def _find_one(self, filter: Any, sort: Any, skip: int, options: dict[str, Any], *, stores: bool) -> Procedure[Any]:
        refuse_reshaping(options)
        find = Find(as_filter(filter), sort=as_sort(sort), skip=number("skip", skip), limit=-1, options=options)
        return reads.find_one(self._scope, find, session_of(options), stores=stores)


def schema_of(shape: Any) -> Schema:
    """The schema that a model belongs to; `SchemaError` for anything else."""
    schema = belongs_to(shape)
    if not isinstance(schema, Schema):
        raise SchemaError(
            f"{getattr(shape, '__qualname__', type(shape).__name__)} is not the model of a schema. Decorate it with "
            "@schema.model (a subclass does not inherit its parent's), or give the Schema itself for plain dicts."
        )
    return schema


def importable(schema: Schema) -> str:
    """The name by which another process finds a schema, `module:attribute`; `SchemaError` when there is none."""
    for name, module in list(sys.modules.items()):
        if name != "__main__":
            for attribute, value in list(vars(module).items()) if isinstance(module, ModuleType) else ():
                if value is schema:
                    return f"{name}:{attribute}"
    raise SchemaError(
        f"{schema.name}: workers are other processes, and cannot import this schema. Let it be an attribute of a module that "
        "can be imported (not of the script that is run), or leave workers= away."
    )


def as_filter(filter: Any) -> Filter:
    """A filter out of what `find_one` is given."""
    if filter is None:
        return {}
    return filter if isinstance(filter, Mapping) else {"_id": filter}


def refuse_reshaping(options: Mapping[str, Any]) -> None:
    """Options that make the server send something else than whole documents cannot be upgraded."""
    for name in ("return_key", "show_record_id"):
        if name in options:
            raise TypeError(f"{name}= is not supported here: an upgrade needs whole documents. Use .raw for it.")


def with_session(options: dict[str, Any], session: Any) -> dict[str, Any]:
    return options if session is None else {**options, "session": session}


def session_of(options: dict[str, Any]) -> dict[str, Any]:
    return {"session": options["session"]} if "session" in options else {}


def with_sort(options: dict[str, Any], sort: Any) -> dict[str, Any]:
    return options if sort is None else {**options, "sort": as_sort(sort)}


def ask(command: EstimatedCount) -> Procedure[int]:
    """A procedure of one command."""
    count: int = yield command
    return count


def upgraded(schema: Schema, pipeline: Sequence[Mapping[str, Any]]) -> list[Any]:
    """A pipeline with the upgrade before it; what is rarely used is loaded when it is."""
    from lazymigrate.mixed import prepend

    return prepend(schema, pipeline)


def verifying(scope: Scope, sample: int) -> Procedure[VerifyReport]:
    """The procedure that compares both ways to upgrade; loaded when it is used."""
    from lazymigrate.procedures.verify import verify

    return verify(scope, sample=sample)
