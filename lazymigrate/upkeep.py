"""Keeping a collection: counting versions, sweeping, going back, and what an operator asks of it.

The two classes are what `LazyCollection` and `AsyncLazyCollection` have beside reading and writing; what they do is in
procedures, loaded when they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from lazymigrate.binding import Binding, Filter, verifying
from lazymigrate.coverage import Coverage
from lazymigrate.drivers.choice import AsynchronousDriver, SynchronousDriver
from lazymigrate.events import Listener
from lazymigrate.policy import Policy

__all__ = ["AsyncUpkeep", "Upkeep"]

if TYPE_CHECKING:
    from lazymigrate.doctor import Diagnosis
    from lazymigrate.drift import Drift
    from lazymigrate.explanation import Explanation
    from lazymigrate.journal import Deployment, Journal, RevisionRecord, StampRecord
    from lazymigrate.overview import CollectionOverview
    from lazymigrate.partition import Partition
    from lazymigrate.quarantine_control import AsyncQuarantine, Quarantine
    from lazymigrate.run_control import AsyncRuns, Runs
    from lazymigrate.sweeper import AsyncSweeper, Sweeper
    from lazymigrate.sweeping import SweepKeywords, SweepReport
    from lazymigrate.trend import TrendPoint
    from lazymigrate.verification import VerifyReport

T = TypeVar("T")


class Upkeep(Binding[T]):
    """A collection that can be counted and swept."""

    def __init__(
        self,
        collection: Any,
        shape: Any,
        policy: Policy | None,
        listeners: Sequence[Listener],
        *,
        driver: SynchronousDriver,
    ) -> None:
        self._driver = driver
        super().__init__(collection, shape, policy, listeners)

    def coverage(self, *, sample: int | None = None, record: bool = False) -> Coverage:
        """How many documents are at each version: counted on the server, from the backlog index or in one scan.

        With the index it costs what is not at head, and `total` is what the collection's metadata say. `sample`: draw that
        many documents at random, and estimate. `record`: keep it in the journal, for `history`.
        """
        return self._driver.run(self._coverage(sample, record=record))

    def overview(self, *, sample: int | None = None, record: bool = False) -> CollectionOverview:
        """Where the collection stands, as reports show it: coverage, by `sample` and `record` as there, and its history,
        the last sweeps, the quarantine by what failed, and what to do next.
        """
        return self._driver.run(self._overview(sample, record=record))

    def history(self, *, limit: int = 50) -> list[TrendPoint]:
        """The last recorded coverages, the oldest first; `lazymigrate.trend.forecast` says when they lead to the end."""
        return self._driver.run(self._history(limit))

    def journal(self, *, limit: int = 20) -> Journal:
        """What the journal says of this collection: its revisions, and the last runs, stamps and recorded coverages."""
        return self._driver.run(self._journal(limit))

    def require(self, version: int) -> Coverage:
        """Nothing is older than `version`, and every stamp is one; else `CoverageError`. For start-up, and before retiring.

        Counted among documents that a majority has; versions that only empty revisions separate are as good as each other.
        """
        return self._driver.run(self._require(version))

    def deploy(self, *, application: str | None = None) -> Deployment:
        """The journal has every revision with a checksum of what it does, and the backlog index of this head is there.

        May be repeated, and run by several at once. `DriftError`, and nothing registered, when a revision does something
        else than what was recorded under its number. `application`: its version, to be recorded. Reads never need it.
        """
        return self._driver.run(self._deploy(application))

    def drift(self, *, sample: int = 1000) -> Drift:
        """What is not as it was recorded: changed revisions, unknown versions, documents that do not fit their stamp.

        Up to `sample` documents of each version are drawn at random, upgraded in memory and validated by the schema's
        model. Nothing is written.
        """
        return self._driver.run(self._drift(sample))

    def retire(self, version: int) -> list[RevisionRecord]:
        """The journal says that the revisions up to `version` are retired: their records. `CoverageError` while one is needed.

        It is then safe to delete them from the code and to declare the schema with `oldest=version`.
        """
        return self._driver.run(self._retire(version))

    def stamp(self, to: int, *, from_version: int, dry_run: bool = False) -> StampRecord:
        """The documents at `from_version` are stamped `to`, and nothing else of them is touched; the journal says so.

        For documents that have the shape of another version than their stamp says. What is ahead of this code is never
        relabelled: `ValueError`. `dry_run` counts only.
        """
        return self._driver.run(self._stamp(to, from_version, dry_run=dry_run))

    def sweep(self, **options: Unpack[SweepKeywords]) -> SweepReport:
        """Upgrade what reads did not reach, until a fresh count of what is outdated and not in the quarantine is zero.

        A document goes to head in one guarded write; one that cannot be upgraded is listed in the quarantine and left as
        it is. Declared chains run inside MongoDB. One sweep at a time: it holds a lease, and goes on where an interrupted
        one was. `LeaseHeldError` while another holds it, `SchemaError` (your function) stops it.

        - `batch_size`: documents on their way at a time; by default it adapts to the server.
        - `rate`: documents a second, at most; `pause`: seconds after each part of a batch; `nice`: rest that many times as
          long as it worked; `max_lag`: wait while a secondary follows more seconds behind (None: never); `window`: work
          only then, as "22:00-06:00" or "22:00-06:00 Europe/Berlin" (UTC by default); `throttle`: a callable that returns
          a reason to wait, or None.
        - `limit`: documents; `max_seconds`: after these it stops, and a later sweep goes on.
        - `max_failures`: how many documents, or with a number below 1 which share of them, may fail before it ends as
          errored; by default more than 1 % and at least 100, or 200 in a row.
        - `dry_run`: upgrade in memory only, and report what would be done.
        - `workers`: local processes to share the work; the schema must be importable by name.
        - `lease`: seconds; `wait_for_lease`: seconds to wait for another's. `stop`: a callable; when it returns True, what
          is on its way is finished and the position is kept. `progress`: called with a `Progress`.
        """
        return self._driver.run(self._sweep(options))

    def sweeper(self, *, every: float = 60.0, **options: Unpack[SweepKeywords]) -> Sweeper:
        """A sweep in a thread of this application, once started: again `every` so many seconds, until it is stopped.

        The options are those of `sweep`; `nice=4` leaves the server to others for four fifths of the time.
        """
        from lazymigrate.sweeper import Sweeper

        def sweep(stop: Callable[[], bool]) -> SweepReport:
            return self._driver.run(self._sweep({**options, "stop": stop}))

        return Sweeper(self._scope.name, sweep, every)

    def downgrade(self, to: int, **options: Unpack[SweepKeywords]) -> SweepReport:
        """Bring everything above version `to` back to it, by the same machine and options as `sweep`.

        Before anything is written: `IrreversibleError` when a revision on the way has no way back, and `LazyMigrateError`
        with their number when documents would lose what upgrading again does not restore, unless `accept_losses` is True.
        `dry_run=True` counts them, too, and those that cannot be brought back. Documents ahead of this code are left
        alone. Code that knows the newer versions upgrades what it reads again: stop it first.
        """
        return self._driver.run(self._sweep(options, to=to))

    def partitions(self, n: int) -> list[Partition]:
        """About `n` parts of the collection of about equal size, which cover every `_id` exactly once."""
        return self._driver.run(self._partitions(n))

    def run_partition(self, partition: Partition, **options: Unpack[SweepKeywords]) -> SweepReport:
        """Sweep one part of the collection, as `sweep` does; it needs no lease, and may be run again at any time."""
        return self._driver.run(self._sweep(options, partition=partition))

    def create_backlog_index(self) -> str:
        """Create the partial index on what is not at head, which is nearly empty when the sweep is done; its name."""
        return self._driver.run(self._create_backlog_index())

    @property
    def runs(self) -> Runs:
        """The collection's sweeps: the current one, those before it, and how to pause, resume and cancel."""
        from lazymigrate.run_control import Runs

        return Runs(self._scope, self._driver)

    @property
    def quarantine(self) -> Quarantine:
        """The documents that could not be upgraded: to be listed, tried again, released."""
        from lazymigrate.quarantine_control import Quarantine

        return Quarantine(self._scope, self._driver)

    def doctor(self) -> Diagnosis:
        """What of this server and collection will bite, each finding with its remedy; nothing is written.

        Server, members, client, clock, rights, collection, validator, documents and indexes. Counts as `coverage` does.
        """
        from lazymigrate.procedures.doctor import Asked, doctor

        return self._driver.run(doctor(self._scope, Asked.of(self._raw, on_primary=self._driver.on_primary)))

    def explain(self, filter: Filter | None = None, **options: Any) -> Explanation:
        """What is done for a filter, version by version: what is run, on which index, and how many documents it examines.

        Where an index is missing, the `create_index` that makes it is named. Each part is run once, to be counted. It holds
        the filter's values; `str()` is for people, `to_dict()` for programs. `collation`, `hint` and `let` as for `find`.
        """
        return self._driver.run(self._explain(filter, options))

    def pipeline_view(self) -> list[dict[str, Any]]:
        """The aggregation stages that show the collection at head, for a view; `SchemaError` names a revision that is a function.

        Documents outside the safe filter pass as stored: their stamp tells.
        """
        return self._pipeline_view()

    def create_view(self, name: str) -> None:
        """Create a MongoDB view of that name that shows the collection at head, for other languages and reporting tools.

        As `pipeline_view`. A view has no indexes of its own, and fields that a revision makes cannot use those of the
        collection: it is for reading much, not for looking up. The server's error when the name is taken.
        """
        self._driver.run(self._create_view(name))

    def verify(self, *, sample: int = 1000) -> VerifyReport:
        """What the upgrade makes of stored outdated documents, in Python and inside MongoDB: nothing is written.

        Up to `sample` documents of each version, drawn at random, are upgraded both ways and compared byte for byte,
        validated by the schema's model, and brought back where every revision declares that this restores them.
        """
        return self._driver.run(verifying(self._scope, sample))


class AsyncUpkeep(Binding[T]):
    """The same, awaited."""

    def __init__(
        self,
        collection: Any,
        shape: Any,
        policy: Policy | None,
        listeners: Sequence[Listener],
        *,
        driver: AsynchronousDriver,
    ) -> None:
        self._driver = driver
        super().__init__(collection, shape, policy, listeners)

    async def coverage(self, *, sample: int | None = None, record: bool = False) -> Coverage:
        """How many documents are at each version; see `LazyCollection.coverage`."""
        return await self._driver.run(self._coverage(sample, record=record))

    async def overview(self, *, sample: int | None = None, record: bool = False) -> CollectionOverview:
        """Where the collection stands, as reports show it; see `LazyCollection.overview`."""
        return await self._driver.run(self._overview(sample, record=record))

    async def history(self, *, limit: int = 50) -> list[TrendPoint]:
        """The last recorded coverages, the oldest first; see `LazyCollection.history`."""
        return await self._driver.run(self._history(limit))

    async def journal(self, *, limit: int = 20) -> Journal:
        """What the journal says of this collection; see `LazyCollection.journal`."""
        return await self._driver.run(self._journal(limit))

    async def require(self, version: int) -> Coverage:
        """Nothing is older than `version`, and every stamp is one; see `LazyCollection.require`."""
        return await self._driver.run(self._require(version))

    async def deploy(self, *, application: str | None = None) -> Deployment:
        """The journal has every revision, and the backlog index is there; see `LazyCollection.deploy`."""
        return await self._driver.run(self._deploy(application))

    async def drift(self, *, sample: int = 1000) -> Drift:
        """What is not as it was recorded; see `LazyCollection.drift`."""
        return await self._driver.run(self._drift(sample))

    async def retire(self, version: int) -> list[RevisionRecord]:
        """The journal says that the revisions up to `version` are retired; see `LazyCollection.retire`."""
        return await self._driver.run(self._retire(version))

    async def stamp(self, to: int, *, from_version: int, dry_run: bool = False) -> StampRecord:
        """The documents at `from_version` are stamped `to`; see `LazyCollection.stamp`."""
        return await self._driver.run(self._stamp(to, from_version, dry_run=dry_run))

    async def sweep(self, **options: Unpack[SweepKeywords]) -> SweepReport:
        """As `LazyCollection.sweep`. A cancelled task gives the lease up and keeps the position for the next one."""
        return await self._driver.run(self._sweep(options))

    def sweeper(self, *, every: float = 60.0, **options: Unpack[SweepKeywords]) -> AsyncSweeper:
        """As `LazyCollection.sweeper`, in a task of the running loop."""
        from lazymigrate.sweeper import AsyncSweeper

        async def sweep(stop: Callable[[], bool]) -> SweepReport:
            return await self._driver.run(self._sweep({**options, "stop": stop}))

        return AsyncSweeper(self._scope.name, sweep, every)

    async def downgrade(self, to: int, **options: Unpack[SweepKeywords]) -> SweepReport:
        """As `LazyCollection.downgrade`."""
        return await self._driver.run(self._sweep(options, to=to))

    async def partitions(self, n: int) -> list[Partition]:
        """About `n` parts of the collection of about equal size, which cover every `_id` exactly once."""
        return await self._driver.run(self._partitions(n))

    async def run_partition(self, partition: Partition, **options: Unpack[SweepKeywords]) -> SweepReport:
        """Sweep one part of the collection, as `sweep` does; it needs no lease, and may be run again at any time."""
        return await self._driver.run(self._sweep(options, partition=partition))

    async def create_backlog_index(self) -> str:
        """Create the partial index on what is not at head, which is nearly empty when the sweep is done; its name."""
        return await self._driver.run(self._create_backlog_index())

    @property
    def runs(self) -> AsyncRuns:
        """The collection's sweeps: the current one, those before it, and how to pause, resume and cancel."""
        from lazymigrate.run_control import AsyncRuns

        return AsyncRuns(self._scope, self._driver)

    @property
    def quarantine(self) -> AsyncQuarantine:
        """The documents that could not be upgraded: to be listed, tried again, released."""
        from lazymigrate.quarantine_control import AsyncQuarantine

        return AsyncQuarantine(self._scope, self._driver)

    async def doctor(self) -> Diagnosis:
        """What of this server and collection will bite; see `LazyCollection.doctor`."""
        from lazymigrate.procedures.doctor import Asked, doctor

        return await self._driver.run(doctor(self._scope, Asked.of(self._raw, on_primary=self._driver.on_primary)))

    async def explain(self, filter: Filter | None = None, **options: Any) -> Explanation:
        """What is done for a filter, version by version; see `LazyCollection.explain`."""
        return await self._driver.run(self._explain(filter, options))

    def pipeline_view(self) -> list[dict[str, Any]]:
        """The aggregation stages that show the collection at head; see `LazyCollection.pipeline_view`."""
        return self._pipeline_view()

    async def create_view(self, name: str) -> None:
        """Create a MongoDB view that shows the collection at head; see `LazyCollection.create_view`."""
        await self._driver.run(self._create_view(name))

    async def verify(self, *, sample: int = 1000) -> VerifyReport:
        """Compare the upgrade in Python and inside MongoDB on stored documents; see `LazyCollection.verify`."""
        return await self._driver.run(verifying(self._scope, sample))
