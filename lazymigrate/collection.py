"""The two faces of a collection: `LazyCollection` for pymongo, `AsyncLazyCollection` for its async API and Motor.

They differ in `await` only: what a method does is a procedure or a plain function, written once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Generic, Literal, TypeVar, cast, overload

from pymongo.results import DeleteResult, InsertManyResult, InsertOneResult, UpdateResult

from lazymigrate.commands import Batches, Count, Find, Procedure
from lazymigrate.coverage import Coverage
from lazymigrate.cursor import AsyncLazyCursor, LazyCursor, Sort
from lazymigrate.drivers.choice import asynchronous_driver, synchronous_driver
from lazymigrate.exceptions import SchemaError
from lazymigrate.model import belongs_to
from lazymigrate.policy import Policy
from lazymigrate.procedures import reads, writes
from lazymigrate.procedures.coverage import coverage
from lazymigrate.procedures.sweep import sweep
from lazymigrate.schema import Schema
from lazymigrate.scope import Scope, tolerant
from lazymigrate.sweeping import ProgressListener, SweepReport

__all__ = ["AsyncLazyCollection", "LazyCollection"]

T = TypeVar("T")
M = TypeVar("M")
Filter = Mapping[str, Any]
Document = dict[str, Any]


class _Bound(Generic[T]):
    """A driver's collection with a schema, a policy and, where there is one, a model."""

    def __init__(self, collection: Any, shape: type[T] | Schema, policy: Policy | None = None) -> None:
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

    def _batches(self, filter: Filter | None, sort: Any, skip: int, limit: int, size: int, options: Any) -> Batches:
        refuse_reshaping(options)
        return Batches({} if filter is None else filter, as_sort(sort), skip, limit, size, options)

    def _find_one(self, filter: Any, sort: Any, skip: int, options: dict[str, Any], *, stores: bool) -> Procedure[Any]:
        refuse_reshaping(options)
        find = Find(as_filter(filter), sort=as_sort(sort), skip=skip, limit=-1, options=options)
        return reads.find_one(self._scope, find, session_of(options), stores=stores)


class LazyCollection(_Bound[T]):
    """A pymongo collection whose documents arrive at head, whatever version they are stored at.

    `shape` is a model (methods give its instances) or a `Schema` (they give dicts). Methods carry pymongo's names,
    arguments and result types; further keywords (`hint=`, `collation=`, `comment=`, …) are handed to pymongo as they
    are. Filters name fields as they are stored, and are sent as they are written.
    """

    @overload
    def __init__(
        self: LazyCollection[Document], collection: Any, shape: Schema, policy: Policy | None = None
    ) -> None: ...

    @overload
    def __init__(self, collection: Any, shape: type[T], policy: Policy | None = None) -> None: ...

    def __init__(self, collection: Any, shape: Any, policy: Policy | None = None) -> None:
        self._driver = synchronous_driver(collection)
        super().__init__(collection, shape, policy)

    def find_one(
        self, filter: Any = None, *, sort: Sort | None = None, skip: int = 0, session: Any = None, **options: Any
    ) -> T | None:
        """The first match at head, or None; a filter that is no mapping is an `_id`.

        An outdated document comes back upgraded (and is stored so under `Policy(write_back=True)`). Raises what
        `find` raises.
        """
        options = with_session(options, session)
        if self._scope.policy.on_error != "raise":
            with self.find(as_filter(filter), sort=sort, skip=skip, batch_size=1, **options) as cursor:
                return next(cursor, None)
        stores = self._stores(session, on_primary=self._driver.on_primary)
        return cast("T | None", self._driver.run(self._find_one(filter, sort, skip, options, stores=stores)))

    def find(
        self,
        filter: Filter | None = None,
        *,
        sort: Sort | None = None,
        skip: int = 0,
        limit: int = 0,
        batch_size: int = 0,
        session: Any = None,
        **options: Any,
    ) -> LazyCursor[T]:
        """A cursor over the matches, at head. Outdated documents come back upgraded.

        Iterating it raises `UpgradeError`, `InvalidVersionError`, `RetiredVersionError` or `ModelError` for a document
        that cannot be read (or skips it: `Policy.on_error`), and `AheadError` for a newer one (or hands it over as
        stored: `Policy.on_ahead`). Batches are of 500 documents unless `batch_size` says otherwise.
        """
        command = self._batches(filter, sort, skip, limit, batch_size, with_session(options, session))
        stores = partial(self._stores, session, on_primary=self._driver.on_primary)
        return LazyCursor(self._scope, self._driver, command, stores=stores)

    def insert_one(self, document: T | Filter, *, session: Any = None, **options: Any) -> InsertOneResult:
        """Insert a model or a dict, stored at head: unstamped ones are stamped, older ones upgraded first.

        `AheadError` for one that is stamped ahead. A dict without `_id` gets one, as pymongo does, and so does a model
        whose `_id` field is None.
        """
        return self._driver.run(writes.insert_one(self._scope, document, with_session(options, session)))

    def insert_many(
        self, documents: Iterable[T | Filter], *, ordered: bool = True, session: Any = None, **options: Any
    ) -> InsertManyResult:
        """Insert models or dicts, each as `insert_one` does; nothing is sent when one of them is refused."""
        options = with_session({"ordered": ordered, **options}, session)
        return self._driver.run(writes.insert_many(self._scope, documents, options))

    def replace_one(
        self,
        filter: Filter,
        replacement: T | Filter,
        *,
        upsert: bool = False,
        session: Any = None,
        **options: Any,
    ) -> UpdateResult:
        """Replace the first match, outdated or not, by a document stored at head (as `insert_one` does).

        A document ahead is never replaced: `AheadError` when there is no other match.
        """
        options = with_session(options, session)
        return self._driver.run(writes.replace_one(self._scope, filter, replacement, upsert=upsert, options=options))

    def save(self, model: T, *, expect: Literal["unchanged"] | None = None, session: Any = None) -> None:
        """Store what was changed in a model since it was loaded or saved; insert a new one.

        Only the changes are written (subdocuments by leaf, arrays whole); other fields, those that the model does not
        know included, stay as they are. The write is guarded by the version; an outdated stored document is upgraded
        by compare-and-set in the same step, and a lost race is replayed on the fresh document.

        `ConflictError` when the document was deleted, when three races were lost, or, under `expect="unchanged"`, when
        anything in it was changed by others. Then nothing is stored: load it again and repeat the change.
        """
        self._driver.run(writes.save(self._scope, model, expect, with_session({}, session)))

    def delete_one(self, filter: Filter, *, session: Any = None, **options: Any) -> DeleteResult:
        """Delete the first match, outdated or not. A document ahead is never deleted: `AheadError` when there is no other."""
        return self._driver.run(writes.delete_one(self._scope, filter, with_session(options, session)))

    def delete_many(self, filter: Filter, *, session: Any = None, **options: Any) -> DeleteResult:
        """Delete all matches, outdated or not. `AheadError` before anything is deleted when one is ahead."""
        return self._driver.run(writes.delete_many(self._scope, filter, with_session(options, session)))

    def count_documents(self, filter: Filter, *, session: Any = None, **options: Any) -> int:
        """How many documents match, whatever their version."""
        return self._driver.run(ask(Count(filter, with_session(options, session))))

    def coverage(self) -> Coverage:
        """How many documents are at each version: counted on the server in one scan."""
        return self._driver.run(coverage(self._scope))

    def sweep(
        self, *, batch_size: int | None = None, limit: int | None = None, progress: ProgressListener | None = None
    ) -> SweepReport:
        """Upgrade what reads did not reach, by compare-and-set, until a fresh count of what is outdated is zero.

        Documents that cannot be upgraded are listed in the quarantine and left as they are.
        """
        return self._driver.run(sweep(self._scope, batch_size=batch_size, limit=limit, progress=progress))


class AsyncLazyCollection(_Bound[T]):
    """An asynchronous collection, pymongo's or Motor's, whose documents arrive at head.

    The same as `LazyCollection`, method by method; everything that may talk to the server is awaited.
    """

    @overload
    def __init__(
        self: AsyncLazyCollection[Document], collection: Any, shape: Schema, policy: Policy | None = None
    ) -> None: ...

    @overload
    def __init__(self, collection: Any, shape: type[T], policy: Policy | None = None) -> None: ...

    def __init__(self, collection: Any, shape: Any, policy: Policy | None = None) -> None:
        self._driver = asynchronous_driver(collection)
        super().__init__(collection, shape, policy)

    async def find_one(
        self, filter: Any = None, *, sort: Sort | None = None, skip: int = 0, session: Any = None, **options: Any
    ) -> T | None:
        """The first match at head, or None; see `LazyCollection.find_one`."""
        options = with_session(options, session)
        if self._scope.policy.on_error != "raise":
            async with self.find(as_filter(filter), sort=sort, skip=skip, batch_size=1, **options) as cursor:
                async for found in cursor:
                    return found
            return None
        stores = self._stores(session, on_primary=self._driver.on_primary)
        return cast("T | None", await self._driver.run(self._find_one(filter, sort, skip, options, stores=stores)))

    def find(
        self,
        filter: Filter | None = None,
        *,
        sort: Sort | None = None,
        skip: int = 0,
        limit: int = 0,
        batch_size: int = 0,
        session: Any = None,
        **options: Any,
    ) -> AsyncLazyCursor[T]:
        """A cursor over the matches, at head; see `LazyCollection.find`."""
        command = self._batches(filter, sort, skip, limit, batch_size, with_session(options, session))
        stores = partial(self._stores, session, on_primary=self._driver.on_primary)
        return AsyncLazyCursor(self._scope, self._driver, command, stores=stores)

    async def insert_one(self, document: T | Filter, *, session: Any = None, **options: Any) -> InsertOneResult:
        """Insert a model or a dict, stored at head; see `LazyCollection.insert_one`."""
        return await self._driver.run(writes.insert_one(self._scope, document, with_session(options, session)))

    async def insert_many(
        self, documents: Iterable[T | Filter], *, ordered: bool = True, session: Any = None, **options: Any
    ) -> InsertManyResult:
        """Insert models or dicts, stored at head; see `LazyCollection.insert_many`."""
        options = with_session({"ordered": ordered, **options}, session)
        return await self._driver.run(writes.insert_many(self._scope, documents, options))

    async def replace_one(
        self,
        filter: Filter,
        replacement: T | Filter,
        *,
        upsert: bool = False,
        session: Any = None,
        **options: Any,
    ) -> UpdateResult:
        """Replace the first match by a document stored at head; see `LazyCollection.replace_one`."""
        options = with_session(options, session)
        return await self._driver.run(
            writes.replace_one(self._scope, filter, replacement, upsert=upsert, options=options)
        )

    async def save(self, model: T, *, expect: Literal["unchanged"] | None = None, session: Any = None) -> None:
        """Store what was changed in a model since it was loaded or saved; see `LazyCollection.save`."""
        await self._driver.run(writes.save(self._scope, model, expect, with_session({}, session)))

    async def delete_one(self, filter: Filter, *, session: Any = None, **options: Any) -> DeleteResult:
        """Delete the first match that is not ahead; see `LazyCollection.delete_one`."""
        return await self._driver.run(writes.delete_one(self._scope, filter, with_session(options, session)))

    async def delete_many(self, filter: Filter, *, session: Any = None, **options: Any) -> DeleteResult:
        """Delete all matches, or none when one is ahead; see `LazyCollection.delete_many`."""
        return await self._driver.run(writes.delete_many(self._scope, filter, with_session(options, session)))

    async def count_documents(self, filter: Filter, *, session: Any = None, **options: Any) -> int:
        """How many documents match, whatever their version."""
        return await self._driver.run(ask(Count(filter, with_session(options, session))))

    async def coverage(self) -> Coverage:
        """How many documents are at each version; see `LazyCollection.coverage`."""
        return await self._driver.run(coverage(self._scope))

    async def sweep(
        self, *, batch_size: int | None = None, limit: int | None = None, progress: ProgressListener | None = None
    ) -> SweepReport:
        """Upgrade what reads did not reach; see `LazyCollection.sweep`."""
        return await self._driver.run(sweep(self._scope, batch_size=batch_size, limit=limit, progress=progress))


def schema_of(shape: Any) -> Schema:
    """The schema that a model belongs to; `SchemaError` for anything else."""
    schema = belongs_to(shape)
    if not isinstance(schema, Schema):
        raise SchemaError(
            f"{getattr(shape, '__qualname__', type(shape).__name__)} is not the model of a schema. Decorate it with "
            "@schema.model (a subclass does not inherit its parent's), or give the Schema itself for plain dicts."
        )
    return schema


def as_filter(filter: Any) -> Filter:
    """A filter out of what `find_one` is given."""
    if filter is None:
        return {}
    return filter if isinstance(filter, Mapping) else {"_id": filter}


def refuse_reshaping(options: Mapping[str, Any]) -> None:
    """Options that make the server send something else than whole documents cannot be upgraded."""
    for name in ("projection", "return_key", "show_record_id"):
        if name in options:
            raise TypeError(f"{name}= is not supported here: an upgrade needs whole documents. Use .raw for it.")


def as_sort(sort: Any) -> Any:
    """A sort as pymongo takes it; a single key may be given by its name."""
    return [(sort, 1)] if isinstance(sort, str) else sort


def with_session(options: dict[str, Any], session: Any) -> dict[str, Any]:
    return options if session is None else {**options, "session": session}


def session_of(options: dict[str, Any]) -> dict[str, Any]:
    return {"session": options["session"]} if "session" in options else {}


def ask(command: Count) -> Procedure[int]:
    """A procedure of one command."""
    count: int = yield command
    return count
