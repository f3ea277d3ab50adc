"""Commands on Motor, which differs from pymongo's asynchronous API in what has to be awaited."""

from __future__ import annotations

from typing import Any

from lazymigrate.drivers.calls import Call
from lazymigrate.drivers.pymongo_async import AsyncDriver

__all__ = ["MotorDriver"]


class MotorDriver(AsyncDriver):
    """Carries commands out on a `motor.motor_asyncio.AsyncIOMotorCollection`."""

    async def result(self, spelled: Call) -> Any:
        """What a call gives: a cursor comes without `await`, anything else is awaited."""
        called = getattr(self._targets[spelled.on], spelled.method)(*spelled.arguments, **spelled.keywords)
        return await called if spelled.gives == "value" else [item async for item in called]

    def retrieved(self, cursor: Any) -> int:
        """How many documents the server has sent so far, which Motor itself does not tell."""
        return int(cursor.delegate.retrieved or 0)
