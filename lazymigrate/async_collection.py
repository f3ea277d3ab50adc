"""The face of an asynchronous collection, pymongo's or Motor's: `collection`, with `await`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from lazymigrate.binding import (
    Filter,
    Projected,
    Update,
    as_filter,
    ask,
    upgraded,
    with_session,
    with_sort,
)
from lazymigrate.commands import EstimatedCount
from lazymigrate.cursor import AsyncLazyCursor, Sort
from lazymigrate.drivers.bulk import understood
from lazymigrate.drivers.choice import asynchronous_driver
from lazymigrate.events import Listener
from lazymigrate.policy import Policy
from lazymigrate.procedures import updates, writes
from lazymigrate.procedures.asking import count
from lazymigrate.procedures.distinct import distinct
from lazymigrate.projection import PartialDocument
from lazymigrate.schema import Schema
from lazymigrate.stream import AsyncLazyChangeStream
from lazymigrate.upkeep import AsyncUpkeep

__all__ = ["AsyncLazyCollection"]

if TYPE_CHECKING:
    from pymongo.results import BulkWriteResult, DeleteResult, InsertManyResult, InsertOneResult, UpdateResult

T = TypeVar("T")
Document = dict[str, Any]


class AsyncLazyCollection(AsyncUpkeep[T]):
    """An asynchronous collection, pymongo's or Motor's, whose documents arrive at head.

    The same as `LazyCollection`, method by method; everything that may talk to the server is awaited.
    """

    @overload
    def __init__(
        self: AsyncLazyCollection[Document],
        collection: Any,
        shape: Schema,
        policy: Policy | None = None,
        *,
        listeners: Sequence[Listener] = (),
    ) -> None: ...

    @overload
    def __init__(
        self, collection: Any, shape: type[T], policy: Policy | None = None, *, listeners: Sequence[Listener] = ()
    ) -> None: ...

    def __init__(
        self, collection: Any, shape: Any, policy: Policy | None = None, *, listeners: Sequence[Listener] = ()
    ) -> None:
        super().__init__(collection, shape, policy, listeners, driver=asynchronous_driver(collection))

    @overload
    async def find_one(
        self, filter: Any = None, projection: None = None, *, sort: Sort | None = None, skip: int = 0, **options: Any
    ) -> T | None: ...

    @overload
    async def find_one(
        self, filter: Any, projection: Projected, *, sort: Sort | None = None, skip: int = 0, **options: Any
    ) -> PartialDocument | None: ...

    @overload
    async def find_one(
        self, filter: Any = None, *, projection: Projected, sort: Sort | None = None, skip: int = 0, **options: Any
    ) -> PartialDocument | None: ...

    async def find_one(
        self,
        filter: Any = None,
        projection: Projected | None = None,
        *,
        sort: Sort | None = None,
        skip: int = 0,
        session: Any = None,
        **options: Any,
    ) -> Any:
        """The first match at head, or None; see `LazyCollection.find_one`."""
        options = with_session(options, session)
        if projection is not None or self._scope.policy.on_error != "raise":
            cursor = self.find(as_filter(filter), projection=projection, sort=sort, skip=skip, batch_size=1, **options)
            async with cursor:
                async for found in cursor:
                    return found
            return None
        stores = self._stores(session, on_primary=self._driver.on_primary)
        return await self._driver.run(self._find_one(filter, sort, skip, options, stores=stores))

    @overload
    def find(
        self, filter: Filter | None = None, projection: None = None, *, sort: Sort | None = None, **options: Any
    ) -> AsyncLazyCursor[T]: ...

    @overload
    def find(
        self, filter: Filter | None, projection: Projected, *, sort: Sort | None = None, **options: Any
    ) -> AsyncLazyCursor[PartialDocument]: ...

    @overload
    def find(
        self, filter: Filter | None = None, *, projection: Projected, sort: Sort | None = None, **options: Any
    ) -> AsyncLazyCursor[PartialDocument]: ...

    def find(
        self,
        filter: Filter | None = None,
        projection: Projected | None = None,
        *,
        sort: Sort | None = None,
        skip: int = 0,
        limit: int = 0,
        batch_size: int = 0,
        session: Any = None,
        **options: Any,
    ) -> AsyncLazyCursor[Any]:
        """A cursor over the matches, at head; see `LazyCollection.find`."""
        options = with_session(options, session)
        scope, command = self._query(filter, projection, sort, skip, limit, batch_size, options)
        stores = partial(self._stores, session, on_primary=self._driver.on_primary)
        return AsyncLazyCursor(scope, self._driver, command, stores=stores)

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
        upsert: bool = False,  # noqa: FBT001, FBT002 (as pymongo's)
        *,
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

    async def update_one(
        self,
        filter: Filter,
        update: Update,
        upsert: bool = False,  # noqa: FBT001, FBT002 (as pymongo's)
        *,
        session: Any = None,
        **options: Any,
    ) -> UpdateResult:
        """Update one match by operators or a pipeline; see `LazyCollection.update_one`."""
        options = with_session(options, session)
        return await self._driver.run(updates.update_one(self._scope, filter, update, upsert=upsert, options=options))

    async def update_many(
        self,
        filter: Filter,
        update: Update,
        upsert: bool = False,  # noqa: FBT001, FBT002 (as pymongo's)
        *,
        session: Any = None,
        **options: Any,
    ) -> UpdateResult:
        """Update all matches; see `LazyCollection.update_many`."""
        options = with_session(options, session)
        return await self._driver.run(updates.update_many(self._scope, filter, update, upsert=upsert, options=options))

    async def find_one_and_update(
        self,
        filter: Filter,
        update: Update,
        *,
        sort: Sort | None = None,
        upsert: bool = False,
        return_document: bool = False,
        session: Any = None,
        **options: Any,
    ) -> T | None:
        """Update one match as `update_one` does; see `LazyCollection.find_one_and_update`."""
        options = with_session(with_sort(options, sort), session)
        procedure = updates.find_one_and_update(
            self._scope, filter, update, upsert=upsert, after=return_document, options=options
        )
        return cast("T | None", await self._driver.run(procedure))

    async def find_one_and_replace(
        self,
        filter: Filter,
        replacement: T | Filter,
        *,
        sort: Sort | None = None,
        upsert: bool = False,
        return_document: bool = False,
        session: Any = None,
        **options: Any,
    ) -> T | None:
        """Replace one match by a document at head (as `insert_one` stores it); see `LazyCollection.find_one_and_replace`."""
        options = with_session(with_sort(options, sort), session)
        procedure = updates.find_one_and_replace(
            self._scope, filter, replacement, upsert=upsert, after=return_document, options=options
        )
        return cast("T | None", await self._driver.run(procedure))

    async def find_one_and_delete(
        self, filter: Filter, *, sort: Sort | None = None, session: Any = None, **options: Any
    ) -> T | None:
        """Delete one match and give it; see `LazyCollection.find_one_and_delete`."""
        options = with_session(with_sort(options, sort), session)
        return cast("T | None", await self._driver.run(updates.find_one_and_delete(self._scope, filter, options)))

    async def bulk_write(
        self, requests: Iterable[Any], *, ordered: bool = True, session: Any = None, **options: Any
    ) -> BulkWriteResult:
        """Send pymongo's `InsertOne`; see `LazyCollection.bulk_write`."""
        options = with_session({"ordered": ordered, **options}, session)
        return await self._driver.run(updates.bulk_write(self._scope, understood(requests), options))

    async def delete_one(self, filter: Filter, *, session: Any = None, **options: Any) -> DeleteResult:
        """Delete the first match that is not ahead; see `LazyCollection.delete_one`."""
        return await self._driver.run(writes.delete_one(self._scope, filter, with_session(options, session)))

    async def delete_many(self, filter: Filter, *, session: Any = None, **options: Any) -> DeleteResult:
        """Delete all matches, or none when one is ahead; see `LazyCollection.delete_many`."""
        return await self._driver.run(writes.delete_many(self._scope, filter, with_session(options, session)))

    async def count_documents(self, filter: Filter, *, session: Any = None, **options: Any) -> int:
        """How many documents match, whatever their version."""
        return await self._driver.run(count(self._scope, filter, with_session(options, session)))

    async def estimated_document_count(self, **options: Any) -> int:
        """How many documents there are; see `LazyCollection.estimated_document_count`."""
        return await self._driver.run(ask(EstimatedCount(options)))

    def with_options(self, *, policy: Policy | None = None, **options: Any) -> AsyncLazyCollection[T]:
        """The same collection with another policy; see `LazyCollection.with_options`."""
        return cast(
            "AsyncLazyCollection[T]",
            AsyncLazyCollection(*self._again(policy, options), listeners=self._scope.listeners),
        )

    async def aggregate(
        self, pipeline: Sequence[Filter], *, upgrade: bool = False, session: Any = None, **options: Any
    ) -> Any:
        """The server's own cursor, of documents at head where `upgrade`; see `LazyCollection.aggregate`."""
        stages = upgraded(self._scope.schema, pipeline) if upgrade else pipeline
        return await self._driver.aggregate(stages, with_session(options, session))

    async def distinct(
        self, key: str, filter: Filter | None = None, *, session: Any = None, **options: Any
    ) -> list[Any]:
        """The distinct values at `key`; see `LazyCollection.distinct`."""
        return await self._driver.run(distinct(self._scope, key, filter, with_session(options, session)))

    async def watch(
        self, pipeline: Sequence[Filter] | None = None, *, session: Any = None, **options: Any
    ) -> AsyncLazyChangeStream:
        """A change stream whose documents are at head; see `LazyCollection.watch`."""
        stream = await self._driver.watch(pipeline, with_session(options, session))
        return AsyncLazyChangeStream(self._scope, stream, pipeline)
