"""The face of a pymongo collection; `async_collection` is the same with `await`.

What a method does is a procedure or a plain function, written once.
"""

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
from lazymigrate.cursor import LazyCursor, Sort
from lazymigrate.drivers.bulk import understood
from lazymigrate.drivers.choice import synchronous_driver
from lazymigrate.events import Listener
from lazymigrate.policy import Policy
from lazymigrate.procedures import updates, writes
from lazymigrate.procedures.asking import count
from lazymigrate.procedures.distinct import distinct
from lazymigrate.projection import PartialDocument
from lazymigrate.schema import Schema
from lazymigrate.stream import LazyChangeStream
from lazymigrate.upkeep import Upkeep

__all__ = ["LazyCollection"]

if TYPE_CHECKING:
    from pymongo.results import BulkWriteResult, DeleteResult, InsertManyResult, InsertOneResult, UpdateResult

T = TypeVar("T")
Document = dict[str, Any]


class LazyCollection(Upkeep[T]):
    """A pymongo collection whose documents arrive at head, whatever version they are stored at.

    `shape` is a model (methods give its instances) or a `Schema` (they give dicts). Methods carry pymongo's names,
    arguments and result types; further keywords (`hint=`, `collation=`, `comment=`, …) are handed to pymongo as they
    are. Filters and sorts name fields of the newest shape as they are stored, and are exact over documents of all versions
    (but for fields that a plain function may touch: `Policy.on_unsafe_query`).
    """

    @overload
    def __init__(
        self: LazyCollection[Document],
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
        super().__init__(collection, shape, policy, listeners, driver=synchronous_driver(collection))

    @overload
    def find_one(
        self, filter: Any = None, projection: None = None, *, sort: Sort | None = None, skip: int = 0, **options: Any
    ) -> T | None: ...

    @overload
    def find_one(
        self, filter: Any, projection: Projected, *, sort: Sort | None = None, skip: int = 0, **options: Any
    ) -> PartialDocument | None: ...

    @overload
    def find_one(
        self, filter: Any = None, *, projection: Projected, sort: Sort | None = None, skip: int = 0, **options: Any
    ) -> PartialDocument | None: ...

    def find_one(
        self,
        filter: Any = None,
        projection: Projected | None = None,
        *,
        sort: Sort | None = None,
        skip: int = 0,
        session: Any = None,
        **options: Any,
    ) -> Any:
        """The first match at head, or None; a filter that is no mapping is an `_id`.

        An outdated document comes back upgraded (and is stored so under `Policy(write_back=True)`). Raises what
        `find` raises.
        """
        options = with_session(options, session)
        if projection is not None or self._scope.policy.on_error != "raise":
            with self.find(
                as_filter(filter), projection=projection, sort=sort, skip=skip, batch_size=1, **options
            ) as cursor:
                return next(cursor, None)
        stores = self._stores(session, on_primary=self._driver.on_primary)
        return self._driver.run(self._find_one(filter, sort, skip, options, stores=stores))

    @overload
    def find(
        self, filter: Filter | None = None, projection: None = None, *, sort: Sort | None = None, **options: Any
    ) -> LazyCursor[T]: ...

    @overload
    def find(
        self, filter: Filter | None, projection: Projected, *, sort: Sort | None = None, **options: Any
    ) -> LazyCursor[PartialDocument]: ...

    @overload
    def find(
        self, filter: Filter | None = None, *, projection: Projected, sort: Sort | None = None, **options: Any
    ) -> LazyCursor[PartialDocument]: ...

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
    ) -> LazyCursor[Any]:
        """A cursor over the matches, at head. Outdated documents come back upgraded.

        Iterating it raises `UpgradeError`, `InvalidVersionError`, `RetiredVersionError` or `ModelError` for a document
        that cannot be read (or skips it: `Policy.on_error`), and `AheadError` for a newer one (or hands it over as
        stored: `Policy.on_ahead`). Batches are of 500 documents unless `batch_size` says otherwise. With a `projection`
        the documents are `PartialDocument`s: dicts of what was asked, of the newest shape, which no write accepts.
        """
        options = with_session(options, session)
        scope, command = self._query(filter, projection, sort, skip, limit, batch_size, options)
        stores = partial(self._stores, session, on_primary=self._driver.on_primary)
        return LazyCursor(scope, self._driver, command, stores=stores)

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
        upsert: bool = False,  # noqa: FBT001, FBT002 (as pymongo's)
        *,
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

    def update_one(
        self,
        filter: Filter,
        update: Update,
        upsert: bool = False,  # noqa: FBT001, FBT002 (as pymongo's)
        *,
        session: Any = None,
        **options: Any,
    ) -> UpdateResult:
        """Update one match by operators or a pipeline; an outdated one is brought to head first: never a hybrid.

        Where several match and no `sort` says which is meant, one at head is taken first. What an upsert inserts is
        stamped. `AheadError` when only documents ahead match, `UpgradeError` when the match cannot be upgraded; nothing
        is updated then. `ValueError` when the update names the version field.
        """
        options = with_session(options, session)
        return self._driver.run(updates.update_one(self._scope, filter, update, upsert=upsert, options=options))

    def update_many(
        self,
        filter: Filter,
        update: Update,
        upsert: bool = False,  # noqa: FBT001, FBT002 (as pymongo's)
        *,
        session: Any = None,
        **options: Any,
    ) -> UpdateResult:
        """Update all matches; those that are outdated are brought to head first, a page at a time.

        `AheadError` before anything is written when one is ahead; `UpgradeError` when one cannot be upgraded: others may
        be at head by then, and none is updated.
        """
        options = with_session(options, session)
        return self._driver.run(updates.update_many(self._scope, filter, update, upsert=upsert, options=options))

    def find_one_and_update(
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
        """Update one match as `update_one` does, and give it as it was before (or after) the update: at head in either case."""
        options = with_session(with_sort(options, sort), session)
        procedure = updates.find_one_and_update(
            self._scope, filter, update, upsert=upsert, after=return_document, options=options
        )
        return cast("T | None", self._driver.run(procedure))

    def find_one_and_replace(
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
        """Replace one match by a document at head (as `insert_one` stores it), and give it as it was before, or after.

        What it was before is given at head, too; one that cannot be upgraded is not replaced, and raises why.
        """
        options = with_session(with_sort(options, sort), session)
        procedure = updates.find_one_and_replace(
            self._scope, filter, replacement, upsert=upsert, after=return_document, options=options
        )
        return cast("T | None", self._driver.run(procedure))

    def find_one_and_delete(
        self, filter: Filter, *, sort: Sort | None = None, session: Any = None, **options: Any
    ) -> T | None:
        """Delete one match and give it, at head; one that cannot be upgraded is not deleted, and raises why."""
        options = with_session(with_sort(options, sort), session)
        return cast("T | None", self._driver.run(updates.find_one_and_delete(self._scope, filter, options)))

    def bulk_write(
        self, requests: Iterable[Any], *, ordered: bool = True, session: Any = None, **options: Any
    ) -> BulkWriteResult:
        """Send pymongo's `InsertOne`, `UpdateOne`, … in one go, each as the method of its name would.

        `AheadError` before anything is written when one of them matches a document ahead. All outdated documents that an
        update matches are at head before the first is sent.
        """
        options = with_session({"ordered": ordered, **options}, session)
        return self._driver.run(updates.bulk_write(self._scope, understood(requests), options))

    def delete_one(self, filter: Filter, *, session: Any = None, **options: Any) -> DeleteResult:
        """Delete the first match, outdated or not. A document ahead is never deleted: `AheadError` when there is no other."""
        return self._driver.run(writes.delete_one(self._scope, filter, with_session(options, session)))

    def delete_many(self, filter: Filter, *, session: Any = None, **options: Any) -> DeleteResult:
        """Delete all matches, outdated or not. `AheadError` before anything is deleted when one is ahead."""
        return self._driver.run(writes.delete_many(self._scope, filter, with_session(options, session)))

    def count_documents(self, filter: Filter, *, session: Any = None, **options: Any) -> int:
        """How many documents match, whatever their version."""
        return self._driver.run(count(self._scope, filter, with_session(options, session)))

    def estimated_document_count(self, **options: Any) -> int:
        """How many documents there are, by the collection's metadata."""
        return self._driver.run(ask(EstimatedCount(options)))

    def with_options(self, *, policy: Policy | None = None, **options: Any) -> LazyCollection[T]:
        """The same collection with another policy, or with pymongo's other options (`read_preference=`, …)."""
        return cast("LazyCollection[T]", LazyCollection(*self._again(policy, options), listeners=self._scope.listeners))

    def aggregate(
        self, pipeline: Sequence[Filter], *, upgrade: bool = False, session: Any = None, **options: Any
    ) -> Any:
        """The server's own cursor; with `upgrade`, the pipeline sees documents at head.

        The upgrade is prepended as stages (behind what must be first, or may as well). Documents outside the safe filter
        pass as stored, with their stamp. `SchemaError` names a revision that cannot run inside MongoDB.
        """
        stages = upgraded(self._scope.schema, pipeline) if upgrade else pipeline
        return self._driver.aggregate(stages, with_session(options, session))

    def distinct(self, key: str, filter: Filter | None = None, *, session: Any = None, **options: Any) -> list[Any]:
        """The distinct values at `key`, as if every match were at head; outdated ones are upgraded in memory."""
        return self._driver.run(distinct(self._scope, key, filter, with_session(options, session)))

    def watch(
        self, pipeline: Sequence[Filter] | None = None, *, session: Any = None, **options: Any
    ) -> LazyChangeStream:
        """A change stream whose documents are at head; one that cannot be upgraded stays as stored, and is logged."""
        stream = self._driver.watch(pipeline, with_session(options, session))
        return LazyChangeStream(self._scope, stream, pipeline)
