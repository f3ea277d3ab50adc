"""`people.quarantine`: the documents that could not be upgraded, to be looked at, tried again, or released."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from lazymigrate.commands import Procedure
from lazymigrate.drivers.choice import AsynchronousDriver, SynchronousDriver
from lazymigrate.procedures import quarantine
from lazymigrate.quarantine import LOWEST, QuarantineEntry
from lazymigrate.scope import Scope
from lazymigrate.sweeping import SweepReport

__all__ = ["AsyncQuarantine", "Quarantine"]

PAGE = 500
Found = list[QuarantineEntry]


class Quarantine:
    """The listed documents of one collection. Iterating it gives all entries in the order of their `_id`s, a page at a time.

    Sweeps leave listed documents alone until they are tried again (`retry`) or released.
    """

    def __init__(self, scope: Scope, driver: SynchronousDriver) -> None:
        self._scope = scope
        self._driver = driver

    def __iter__(self) -> Iterator[QuarantineEntry]:
        page = self.list(limit=PAGE)
        while page:
            yield from page
            page = self.list(limit=PAGE, after=page[-1]) if len(page) == PAGE else []

    def list(self, *, limit: int | None = None, after: QuarantineEntry | None = None) -> Found:
        """The entries in the order of their `_id`s: at most `limit`, beyond the entry `after`."""
        return self._driver.run(listing(self._scope, limit, after))

    def get(self, document_id: Any) -> QuarantineEntry | None:
        """The entry of one document, or None where that is not listed."""
        return next(iter(self._driver.run(quarantine.entries_of(self._scope, [document_id]))), None)

    def count(self) -> int:
        """How many documents are listed."""
        return self._driver.run(counting(self._scope))

    def retry(self, ids: Iterable[Any] | None = None, *, batch_size: int = PAGE) -> SweepReport:
        """Upgrade the listed documents again (those that `ids` names), by compare-and-set, `batch_size` at a time.

        What is at head then, was deleted, or is ahead leaves the quarantine; what fails again stays, with another attempt
        counted: `quarantined` of the report says how many. `SchemaError` (your function) is raised at once.
        """
        return self._driver.run(retrying(self._scope, ids, batch_size))

    def release(self, ids: Iterable[Any]) -> int:
        """Drop the entries of these `_id`s and leave the documents as they are: the next sweep tries them.

        Returns how many of them were listed.
        """
        return self._driver.run(quarantine.release(self._scope, several(ids)))


class AsyncQuarantine:
    """The listed documents of one collection. Iterating it gives all entries in the order of their `_id`s, a page at a time.

    Sweeps leave listed documents alone until they are tried again (`retry`) or released.
    """

    def __init__(self, scope: Scope, driver: AsynchronousDriver) -> None:
        self._scope = scope
        self._driver = driver

    async def __aiter__(self) -> AsyncIterator[QuarantineEntry]:
        page = await self.list(limit=PAGE)
        while page:
            for entry in page:
                yield entry
            page = await self.list(limit=PAGE, after=page[-1]) if len(page) == PAGE else []

    async def list(self, *, limit: int | None = None, after: QuarantineEntry | None = None) -> Found:
        """The entries in the order of their `_id`s: at most `limit`, beyond the entry `after`."""
        return await self._driver.run(listing(self._scope, limit, after))

    async def get(self, document_id: Any) -> QuarantineEntry | None:
        """The entry of one document, or None where that is not listed."""
        return next(iter(await self._driver.run(quarantine.entries_of(self._scope, [document_id]))), None)

    async def count(self) -> int:
        """How many documents are listed."""
        return await self._driver.run(counting(self._scope))

    async def retry(self, ids: Iterable[Any] | None = None, *, batch_size: int = PAGE) -> SweepReport:
        """Upgrade the listed documents again (those that `ids` names), by compare-and-set, `batch_size` at a time.

        What is at head then, was deleted, or is ahead leaves the quarantine; what fails again stays, with another attempt
        counted: `quarantined` of the report says how many. `SchemaError` (your function) is raised at once.
        """
        return await self._driver.run(retrying(self._scope, ids, batch_size))

    async def release(self, ids: Iterable[Any]) -> int:
        """Drop the entries of these `_id`s and leave the documents as they are: the next sweep tries them.

        Returns how many of them were listed.
        """
        return await self._driver.run(quarantine.release(self._scope, several(ids)))


def listing(scope: Scope, limit: int | None, after: QuarantineEntry | None) -> Procedure[Found]:
    if limit is not None and limit < 1:
        raise ValueError(f"{scope.name}: limit={limit!r}: it is at least 1, or None.")
    return quarantine.entries(scope, after=LOWEST if after is None else after.document_id, limit=limit or 0)


def counting(scope: Scope) -> Procedure[int]:
    count: int = yield quarantine.count_listed(scope)
    return count


def retrying(scope: Scope, ids: Iterable[Any] | None, batch_size: int) -> Procedure[SweepReport]:
    """The procedure that tries documents again; loaded when it is used."""
    from lazymigrate.procedures.retry import retry

    return retry(scope, None if ids is None else several(ids), batch_size=batch_size)


def several(ids: Iterable[Any]) -> list[Any]:
    """The `_id`s; a single one that happens to be iterable is not taken for many."""
    if isinstance(ids, (str, bytes, Mapping)):
        raise TypeError(f"ids are several _ids, and this is one {type(ids).__name__}. Put it into a list.")
    return list(ids)
