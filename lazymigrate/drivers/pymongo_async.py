"""Commands on pymongo's asynchronous API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeVar

from pymongo.errors import PyMongoError
from pymongo.read_preferences import ReadPreference

from lazymigrate.commands import (
    Allowance,
    Attempt,
    Batches,
    Begin,
    Command,
    Finish,
    Procedure,
    StartWorker,
    Wait,
)
from lazymigrate.drivers.bucket import Bucket
from lazymigrate.drivers.calls import REFUSALS, Call, call, failure, find_arguments, targets
from lazymigrate.drivers.here import HERE

__all__ = ["AsyncDriver"]

R = TypeVar("R")


class AsyncDriver:
    """Carries commands out on a `pymongo.asynchronous.collection.AsyncCollection`."""

    def __init__(self, collection: Any, reading: Any) -> None:
        self._targets = targets(collection, reading)
        self._reading = reading
        self._bucket = Bucket()
        self.on_primary = collection.read_preference == ReadPreference.PRIMARY

    async def run(self, procedure: Procedure[R]) -> R:
        """Carry a procedure out to its end, and give its result."""
        begun: list[asyncio.Task[Any]] = []
        workers: list[Any] = []
        try:
            command = next(procedure)
            while True:
                try:
                    if isinstance(command, Begin):
                        result: Any = asyncio.ensure_future(self.carry_out(Attempt(command.command)))
                        begun = [*(task for task in begun if not task.done()), result]
                    elif isinstance(command, Finish):
                        result = await command.ticket
                    elif isinstance(command, StartWorker):
                        from lazymigrate.drivers.processes import hire

                        result = hire(self._targets["documents"], command)
                        workers.append(result)
                    else:
                        result = await self.carry_out(command)
                except BaseException as error:  # an interrupt, too: it may have something to give back
                    command = procedure.throw(error)
                else:
                    command = procedure.send(result)
        except StopIteration as end:
            value: R = end.value
            return value
        finally:
            for task in begun:
                task.cancel()
            if begun:
                await asyncio.gather(*begun, return_exceptions=True)
            for worker in workers:
                await asyncio.to_thread(worker.close)
            procedure.close()  # also when it was cancelled or interrupted: it may have something to put back

    async def carry_out(self, command: Command) -> Any:
        """Carry one command out."""
        if isinstance(command, Attempt):
            try:
                return await self.carry_out(command.command)
            except REFUSALS as error:
                return failure(error)
        if isinstance(command, Allowance):
            return self._bucket.take(command)
        here = HERE.get(type(command))
        if here is not None:
            return here(command)
        if isinstance(command, Wait):
            return await asyncio.sleep(command.seconds)
        spelled = call(command)
        try:
            return spelled.receive(await self.result(spelled))
        except PyMongoError as error:
            if spelled.recover is None:
                raise
            return spelled.recover(error)

    async def result(self, spelled: Call) -> Any:
        """What a call gives, waited for as this API wants it: every method is awaited but those of find."""
        method, arguments, keywords = spelled.bound(self._targets)
        called = method(*arguments, **keywords)
        if spelled.gives == "value":
            return await called
        cursor = called if spelled.gives == "batches" else await called
        return [item async for item in cursor]

    async def batches(self, command: Batches) -> AsyncIterator[list[dict[str, Any]]]:
        """The documents of a query as the server sends them, a batch at a time."""
        if command.pipeline is not None:
            together = await self.aggregate(command.pipeline, {"batchSize": command.batch_size, **command.options})
            try:
                while documents := await together.to_list(command.batch_size):
                    yield documents
            finally:
                await together.close()
            return
        cursor = self._reading.find(command.filter, **find_arguments(command))
        try:
            taken = 0
            async for first in cursor:
                buffered = self.retrieved(cursor) - taken
                taken += buffered
                documents = await cursor.to_list(buffered - 1) if buffered > 1 else []
                documents.insert(0, first)
                yield documents
                del documents, first
        finally:
            await cursor.close()

    async def aggregate(self, pipeline: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Any:
        """The driver's own cursor over what a pipeline gives."""
        return await self._reading.aggregate(pipeline, **options)

    async def watch(self, pipeline: Sequence[Mapping[str, Any]] | None, options: Mapping[str, Any]) -> Any:
        """The driver's own change stream, opened: it has every change that is made from now on."""
        return await self._reading.watch(pipeline, **options)

    def retrieved(self, cursor: Any) -> int:
        """How many documents the server has sent so far."""
        return int(cursor.retrieved or 0)
