"""Which driver carries a given collection; Motor is imported only when the collection is Motor's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.collection import Collection

from lazymigrate.commands import Batches, Procedure
from lazymigrate.drivers.memory import AsyncMemoryDriver, MemoryCollection, MemoryDriver
from lazymigrate.drivers.pymongo import PymongoDriver
from lazymigrate.drivers.pymongo_async import AsyncDriver
from lazymigrate.scope import tolerant
from lazymigrate.wording import with_article

__all__ = ["AsynchronousDriver", "SynchronousDriver", "asynchronous_driver", "synchronous_driver"]

R = TypeVar("R")


class SynchronousDriver(Protocol):
    """What `LazyCollection` needs of a driver."""

    on_primary: bool

    def run(self, procedure: Procedure[R]) -> R: ...

    def batches(self, command: Batches) -> Iterator[list[dict[str, Any]]]: ...

    def aggregate(self, pipeline: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Any: ...

    def watch(self, pipeline: Sequence[Mapping[str, Any]] | None, options: Mapping[str, Any]) -> Any: ...


class AsynchronousDriver(Protocol):
    """What `AsyncLazyCollection` needs of a driver."""

    on_primary: bool

    async def run(self, procedure: Procedure[R]) -> R: ...

    def batches(self, command: Batches) -> AsyncIterator[list[dict[str, Any]]]: ...

    async def aggregate(self, pipeline: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Any: ...

    async def watch(self, pipeline: Sequence[Mapping[str, Any]] | None, options: Mapping[str, Any]) -> Any: ...


def synchronous_driver(collection: Any) -> SynchronousDriver:
    """The driver for a pymongo collection; `TypeError` for any other."""
    if isinstance(collection, MemoryCollection):
        return MemoryDriver(collection)
    if isinstance(collection, Collection):
        return PymongoDriver(collection, reading(collection))
    hint = "Use AsyncLazyCollection for it." if is_asynchronous(collection) else "Give it db['name']."
    raise TypeError(f"LazyCollection takes a pymongo Collection, not {with_article(type(collection).__name__)}. {hint}")


def asynchronous_driver(collection: Any) -> AsynchronousDriver:
    """The driver for a collection of pymongo's asynchronous API or of Motor; `TypeError` for any other."""
    if isinstance(collection, MemoryCollection):
        return AsyncMemoryDriver(collection)
    if isinstance(collection, AsyncCollection):
        return AsyncDriver(collection, reading(collection))
    if is_motor(collection):
        from lazymigrate.drivers.motor import MotorDriver

        return MotorDriver(collection, reading(collection))
    hint = "Use LazyCollection for it." if isinstance(collection, Collection) else "Give it db['name']."
    raise TypeError(
        f"AsyncLazyCollection takes a pymongo AsyncCollection or a Motor collection, not a "
        f"{type(collection).__name__}. {hint}"
    )


def is_motor(collection: object) -> bool:
    """By class, since attributes of a collection are its sub-collections and prove nothing."""
    return any(base.__name__ == "AgnosticCollection" for base in type(collection).__mro__)


def is_asynchronous(collection: object) -> bool:
    return isinstance(collection, AsyncCollection) or is_motor(collection)


def reading(collection: Any) -> Any:
    """The collection with codec options under which no document fails a whole batch."""
    codec = collection.codec_options
    if issubclass(codec.document_class, RawBSONDocument) or not issubclass(codec.document_class, dict):
        raise TypeError(
            f"The collection's document_class is {codec.document_class.__name__}, and an upgrade needs documents that it "
            "can change. Give it a collection whose document_class is dict or a subclass of it."
        )
    return collection.with_options(codec_options=tolerant(codec))
