"""Commands on Motor, which differs from pymongo's asynchronous API in what has to be awaited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lazymigrate.drivers.calls import Call
from lazymigrate.drivers.pymongo_async import AsyncDriver

__all__ = ["MotorDriver"]


class MotorDriver(AsyncDriver):
    """Carries commands out on a `motor.motor_asyncio.AsyncIOMotorCollection`."""

    async def result(self, spelled: Call) -> Any:
        """What a call gives: a cursor comes without `await`, anything else is awaited."""
        method, arguments, keywords = spelled.bound(self._targets)
        called = method(*arguments, **keywords)
        return await called if spelled.gives == "value" else [item async for item in called]

    async def aggregate(self, pipeline: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Any:
        """Motor's own cursor over what a pipeline gives; Motor asks the server when it is first iterated."""
        return self._reading.aggregate(pipeline, **options)

    async def watch(self, pipeline: Sequence[Mapping[str, Any]] | None, options: Mapping[str, Any]) -> Any:
        """Motor's own change stream, opened: by itself, Motor would open it at the first event that is asked for."""
        return await self._reading.watch(pipeline, **options).__aenter__()

    def retrieved(self, cursor: Any) -> int:
        """How many documents the server has sent so far, which Motor itself does not tell."""
        return int(cursor.delegate.retrieved or 0)
