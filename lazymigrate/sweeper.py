"""A sweep in the background of an application: in a thread, or in a task.

It sweeps, rests, and sweeps again until it is stopped. Where several instances of an application run one each, the lease
lets one of them work at a time. It ends with the process: what is on its way is finished and the position is kept. A
process that was forked has no thread of its parent's: there it is not running until it is started.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections.abc import Awaitable, Callable
from threading import Event, Thread
from types import TracebackType
from typing import Self

from lazymigrate.exceptions import LeaseHeldError
from lazymigrate.sweeping import SweepReport

__all__ = ["AsyncSweeper", "Sweeper"]

LOGGER = logging.getLogger("lazymigrate")
Stop = Callable[[], bool]


def noted(name: str, error: Exception) -> None:
    """An error of the background is logged by its class; its text may hold values."""
    if isinstance(error, LeaseHeldError):
        LOGGER.debug("%s: another process sweeps", name)
    else:
        LOGGER.warning("%s: the sweep in the background failed (%s); it will try again", name, type(error).__name__)


class Sweeper:
    """A sweep in a thread of its own; made by `LazyCollection.sweeper`, started by `start` or a `with` block.

    `report` is that of the last sweep that came to an end, `error` what the last one failed with.
    """

    def __init__(self, name: str, sweep: Callable[[Stop], SweepReport], every: float) -> None:
        self._name = name
        self._sweep = sweep
        self._every = every
        self._stop = Event()
        self._thread: Thread | None = None
        self.report: SweepReport | None = None
        self.error: Exception | None = None

    @property
    def running(self) -> bool:
        """Whether its thread is alive, in this process."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to sweep, unless it runs already."""
        if self.running:
            return
        self._stop = Event()
        self._thread = Thread(target=self._work, args=(self._stop,), name=f"sweep of {self._name}", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def stop(self, timeout: float | None = None) -> bool:
        """Let it finish what is on its way and end; whether it has, after `timeout` seconds at most."""
        self._stop.set()
        if self._thread is not None and self.running:
            self._thread.join(timeout)
        stopped = not self.running
        if stopped:
            atexit.unregister(self.stop)
        return stopped

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _work(self, stop: Event) -> None:
        while not stop.is_set():
            try:
                self.report = self._sweep(stop.is_set)
                self.error = None
            except Exception as error:
                self.error = error
                noted(self._name, error)
            stop.wait(self._every)


class AsyncSweeper:
    """A sweep in a task of the running loop; made by `AsyncLazyCollection.sweeper`, started by `start` or `async with`.

    `report` is that of the last sweep that came to an end, `error` what the last one failed with.
    """

    def __init__(self, name: str, sweep: Callable[[Stop], Awaitable[SweepReport]], every: float) -> None:
        self._name = name
        self._sweep = sweep
        self._every = every
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.report: SweepReport | None = None
        self.error: Exception | None = None

    @property
    def running(self) -> bool:
        """Whether its task is not done."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin to sweep, unless it runs already; to be called while the loop runs."""
        if not self.running:
            self._stop = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._work(self._stop), name=f"sweep of {self._name}")

    async def stop(self) -> None:
        """Let it finish what is on its way, and wait until it has ended."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop()

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                self.report = await self._sweep(stop.is_set)
                self.error = None
            except Exception as error:
                self.error = error
                noted(self._name, error)
            try:
                await asyncio.wait_for(stop.wait(), self._every)
            except TimeoutError:
                continue
