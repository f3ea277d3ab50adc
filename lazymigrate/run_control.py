"""`people.runs`: what an operator asks of a collection's sweep, from any process that reaches the database.

A wish is written into the journal and heard by the process that sweeps at its next checkpoint. The runs that methods
return are as they were stored: `pausing`, not yet `paused`.
"""

from __future__ import annotations

from lazymigrate.drivers.choice import AsynchronousDriver, SynchronousDriver
from lazymigrate.procedures import runs
from lazymigrate.runs import Run
from lazymigrate.scope import Scope

__all__ = ["AsyncRuns", "Runs"]

Found = list[Run]


class Runs:
    """The runs of one collection. A wish that a run cannot follow in its state is a `RunError`."""

    def __init__(self, scope: Scope, driver: SynchronousDriver) -> None:
        self._scope = scope
        self._driver = driver

    def pause(self) -> Run:
        """The process that sweeps ends the batch in hand, and then stands still until `resume` or `cancel`.

        `RunError` where no process sweeps.
        """
        return self._driver.run(runs.pause(self._scope))

    def resume(self) -> Run:
        """A run that was paused goes on.

        One that was interrupted is enqueued, which starts nothing: the next `sweep()` goes on with it. `RunError` for a
        run that is being cancelled or is over.
        """
        return self._driver.run(runs.resume(self._scope))

    def cancel(self) -> Run:
        """The run ends for good: after the batch in hand, or at once where no process works on it.

        What was upgraded stays so. `RunError` for a run that is over.
        """
        return self._driver.run(runs.cancel(self._scope))

    def set(self, *, rate: float | None) -> Run:
        """From the next checkpoint on at most `rate` documents a second are upgraded; None: as many as can be.

        It stays so for whoever goes on with this run. `RunError` for a run that is over.
        """
        return self._driver.run(runs.set_rate(self._scope, rate))

    def current(self) -> Run | None:
        """The last run, over or not; None where there never was one. One whose process died is interrupted."""
        return self._driver.run(runs.current(self._scope))

    def list(self, limit: int = 20) -> Found:
        """The last runs, newest first."""
        return self._driver.run(runs.history(self._scope, limit))


class AsyncRuns:
    """The runs of one collection. A wish that a run cannot follow in its state is a `RunError`."""

    def __init__(self, scope: Scope, driver: AsynchronousDriver) -> None:
        self._scope = scope
        self._driver = driver

    async def pause(self) -> Run:
        """The process that sweeps ends the batch in hand, and then stands still until `resume` or `cancel`.

        `RunError` where no process sweeps.
        """
        return await self._driver.run(runs.pause(self._scope))

    async def resume(self) -> Run:
        """A run that was paused goes on.

        One that was interrupted is enqueued, which starts nothing: the next `sweep()` goes on with it. `RunError` for a
        run that is being cancelled or is over.
        """
        return await self._driver.run(runs.resume(self._scope))

    async def cancel(self) -> Run:
        """The run ends for good: after the batch in hand, or at once where no process works on it.

        What was upgraded stays so. `RunError` for a run that is over.
        """
        return await self._driver.run(runs.cancel(self._scope))

    async def set(self, *, rate: float | None) -> Run:
        """From the next checkpoint on at most `rate` documents a second are upgraded; None: as many as can be.

        It stays so for whoever goes on with this run. `RunError` for a run that is over.
        """
        return await self._driver.run(runs.set_rate(self._scope, rate))

    async def current(self) -> Run | None:
        """The last run, over or not; None where there never was one. One whose process died is interrupted."""
        return await self._driver.run(runs.current(self._scope))

    async def list(self, limit: int = 20) -> Found:
        """The last runs, newest first."""
        return await self._driver.run(runs.history(self._scope, limit))
