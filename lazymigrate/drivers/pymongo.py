"""Commands on pymongo's synchronous API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

from pymongo.collection import Collection
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
from lazymigrate.drivers.calls import REFUSALS, call, failure, find_arguments, targets
from lazymigrate.drivers.here import HERE

__all__ = ["PymongoDriver"]

R = TypeVar("R")


class Tickets:
    """The commands that a procedure has begun, each in a thread of its own, and its workers.

    (Not in a pool: a pool takes nothing more once the interpreter is about to exit, when a sweep has to end its batch.)
    """

    def __init__(self) -> None:
        self._threads: list[Thread] = []
        self._workers: list[Any] = []

    def begin(self, carry_out: Callable[[Command], Any], command: Command) -> Future[Any]:
        """Carry a command out meanwhile."""
        future: Future[Any] = Future()

        def work() -> None:
            try:
                future.set_result(carry_out(command))
            except BaseException as error:
                future.set_exception(error)

        thread = Thread(target=work, name="lazymigrate", daemon=True)
        self._threads = [*(other for other in self._threads if other.is_alive()), thread]
        thread.start()
        return future

    def start(self, collection: Any, command: StartWorker) -> Any:
        """Start a worker."""
        from lazymigrate.drivers.processes import hire

        self._workers.append(hire(collection, command))
        return self._workers[-1]

    def close(self) -> None:
        """Wait until all have ended."""
        for worker in self._workers:
            worker.close()
        for thread in self._threads:
            thread.join()


class PymongoDriver:
    """Carries commands out on a `pymongo.collection.Collection`."""

    def __init__(self, collection: Collection[Any], reading: Collection[Any]) -> None:
        self._targets = targets(collection, reading)
        self._reading = reading
        self._bucket = Bucket()
        self.on_primary = collection.read_preference == ReadPreference.PRIMARY

    def run(self, procedure: Procedure[R]) -> R:
        """Carry a procedure out to its end, and give its result."""
        tickets: Tickets | None = None
        try:
            command = next(procedure)
            while True:
                try:
                    if isinstance(command, (Begin, StartWorker)):
                        tickets = tickets or Tickets()
                        if isinstance(command, Begin):
                            result = tickets.begin(self.carry_out, Attempt(command.command))
                        else:
                            result = tickets.start(self._targets["documents"], command)
                    elif isinstance(command, Finish):
                        result = command.ticket.result()
                    else:
                        result = self.carry_out(command)
                except BaseException as error:  # an interrupt, too: it may have something to give back
                    command = procedure.throw(error)
                else:
                    command = procedure.send(result)
        except StopIteration as end:
            value: R = end.value
            return value
        finally:
            if tickets is not None:
                tickets.close()
            procedure.close()  # also when it was cancelled or interrupted: it may have something to put back

    def carry_out(self, command: Command) -> Any:
        """Carry one command out."""
        if isinstance(command, Attempt):
            try:
                return self.carry_out(command.command)
            except REFUSALS as error:
                return failure(error)
        if isinstance(command, Allowance):
            return self._bucket.take(command)
        here = HERE.get(type(command))
        if here is not None:
            return here(command)
        if isinstance(command, Wait):
            return time.sleep(command.seconds)
        spelled = call(command)
        method, arguments, keywords = spelled.bound(self._targets)
        try:
            result = method(*arguments, **keywords)
            return spelled.receive(result if spelled.gives == "value" else list(result))
        except PyMongoError as error:
            if spelled.recover is None:
                raise
            return spelled.recover(error)

    def batches(self, command: Batches) -> Iterator[list[dict[str, Any]]]:
        """The documents of a query as the server sends them, a batch at a time."""
        if command.pipeline is not None:
            with self._reading.aggregate(command.pipeline, batchSize=command.batch_size, **command.options) as together:
                while documents := together.to_list(command.batch_size):
                    yield documents
            return
        with self._reading.find(command.filter, **find_arguments(command)) as cursor:
            taken = 0
            for first in cursor:
                buffered = (cursor.retrieved or 0) - taken
                taken += buffered
                documents = cursor.to_list(buffered - 1) if buffered > 1 else []
                documents.insert(0, first)
                yield documents
                del documents, first

    def aggregate(self, pipeline: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Any:
        """The driver's own cursor over what a pipeline gives."""
        return self._reading.aggregate(pipeline, **options)

    def watch(self, pipeline: Sequence[Mapping[str, Any]] | None, options: Mapping[str, Any]) -> Any:
        """The driver's own change stream, opened: it has every change that is made from now on."""
        return self._reading.watch(pipeline, **options)
