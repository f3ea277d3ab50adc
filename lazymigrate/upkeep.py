"""Keeping a collection: counting versions, sweeping, going back, and what an operator asks of it.

The two classes are what `LazyCollection` and `AsyncLazyCollection` have beside reading and writing; what they do is in
procedures, loaded when they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from lazymigrate.binding import Binding, verifying
from lazymigrate.coverage import Coverage
from lazymigrate.drivers.choice import AsynchronousDriver, SynchronousDriver
from lazymigrate.events import Listener
from lazymigrate.policy import Policy
from lazymigrate.procedures.coverage import coverage

__all__ = ["AsyncUpkeep", "Upkeep"]

if TYPE_CHECKING:
    from lazymigrate.partition import Partition
    from lazymigrate.quarantine_control import AsyncQuarantine, Quarantine
    from lazymigrate.run_control import AsyncRuns, Runs
    from lazymigrate.sweeper import AsyncSweeper, Sweeper
    from lazymigrate.sweeping import SweepKeywords, SweepReport
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

    def coverage(self) -> Coverage:
        """How many documents are at each version: counted on the server in one scan."""
        return self._driver.run(coverage(self._scope))

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

    async def coverage(self) -> Coverage:
        """How many documents are at each version; see `LazyCollection.coverage`."""
        return await self._driver.run(coverage(self._scope))

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

    async def verify(self, *, sample: int = 1000) -> VerifyReport:
        """Compare the upgrade in Python and inside MongoDB on stored documents; see `LazyCollection.verify`."""
        return await self._driver.run(verifying(self._scope, sample))
