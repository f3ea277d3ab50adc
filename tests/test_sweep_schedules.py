"""Sweeps among themselves and beside others, in thousands of chosen orders of their commands.

Two sweeps of the same documents (partitions hold no lease), a program that knows nothing of versions and counts, and one
that deletes. What a sweep has begun is carried out at once, or not before it asks for the result. Afterwards every
acknowledged count is there, no document was upgraded twice, and none came back.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from interleave import Process, World, random_orders

from lazymigrate import LazyCollection, Schema
from lazymigrate.change import Fields
from lazymigrate.commands import Begin, DeleteOne, Finish, Procedure, UpdateOne
from lazymigrate.drivers.memory import MemoryDriver
from lazymigrate.elements import only
from lazymigrate.partition import Partition
from lazymigrate.procedures import through
from lazymigrate.procedures.sweep import sweep
from lazymigrate.sweeping import SweepOptions
from lazymigrate.testing import MemoryCollection

SCHEDULES = int(os.environ.get("LAZYMIGRATE_SWEEP_SCHEDULES", "600"))
DOCUMENTS = 4
ALL = Partition(index=0, count=1)


def schema() -> Schema:
    found = Schema("people")

    @found.revision(2)
    def derive(person: dict[str, Any]) -> None:
        person["doubled"] = person["n"] * 2
        person["times"] = person.get("times", 0) + 1

    return found


class Store:
    """A collection in memory, its simulated clock, and what was acknowledged."""

    def __init__(self, seed: int) -> None:
        self.collection = MemoryCollection("people")
        self.now = 0.0
        self.collection.clock = lambda: self.now
        self.collection.wait = self.pass_time
        self.driver = MemoryDriver(self.collection)
        self.chance = random.Random(seed)
        self.counted = dict.fromkeys(range(DOCUMENTS), 1)
        self.deleted: set[int] = set()
        self.derived: dict[int, int] = {}
        self.wrong: list[str] = []
        for n in range(DOCUMENTS):
            self.collection.put({"_id": n, "n": 1})

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def carry(self, command: Any) -> Any:
        """Carry a command out; what is begun is carried out now or at the last moment."""
        if isinstance(command, Begin) and self.chance.random() < 0.5:
            return lambda: self.driver.carry_out(command)
        late = isinstance(command, Finish) and callable(command.ticket)
        result = command.ticket() if late else self.driver.carry_out(command)
        self.watch()
        return result

    def counts(self, n: int) -> Procedure[None]:
        for _ in range(2):
            result = yield UpdateOne({"_id": n}, {"$inc": {"n": 1}})
            self.counted[n] += result.modified_count

    def deletes(self, n: int) -> Procedure[None]:
        result = yield DeleteOne({"_id": n})
        if result.deleted_count:
            self.deleted.add(n)

    def sweeps(self) -> Procedure[Any]:
        lazy = LazyCollection(self.collection, schema())
        return sweep(lazy._scope, SweepOptions(batch_size=2), partition=ALL)

    def world(self) -> World:
        procedures = [self.sweeps(), self.sweeps(), self.counts(0), self.counts(2), self.deletes(3)]
        return World([Process(procedure) for procedure in procedures], self.carry)

    def watch(self) -> None:
        """What was stored by the last command: derived of what is stored beside it, once and for all."""
        for person in self.collection.documents():
            if person.get("schema_version") != 2:
                continue
            n, doubled = person["_id"], person["doubled"]
            if n not in self.derived and doubled != 2 * person["n"]:
                self.wrong.append(f"{n}: derived of a count that was over")
            if self.derived.setdefault(n, doubled) != doubled:
                self.wrong.append(f"{n}: upgraded again")

    def wrongs(self) -> list[str]:
        """All that is wrong in the end."""
        found = {person["_id"]: person for person in self.collection.documents()}
        back = [f"{n} came back" for n in self.deleted & found.keys()]
        lost = [f"{n}: a count was lost" for n, person in found.items() if person["n"] != self.counted[n]]
        twice = [f"{n}: not upgraded once" for n, person in found.items() if person.get("times") != 1]
        return [*self.wrong, *back, *lost, *twice]


def worst(count: int, seed: int) -> list[str]:
    """What went wrong in any of so many schedules; a last sweep makes up for what the others were too late for."""
    stores: list[Store] = []

    def build() -> World:
        stores.append(Store(seed + len(stores)))
        return stores[-1].world()

    wrong: list[str] = []
    for _ in random_orders(build, count, seed):
        store = stores[-1]
        assert LazyCollection(store.collection, schema()).sweep().complete
        wrong += store.wrongs()
    return wrong


def test_nothing_is_lost_done_twice_or_brought_back_in_any_order() -> None:
    assert worst(SCHEDULES, seed=SCHEDULES) == []


@pytest.mark.parametrize("names", [("schema_version",), ()], ids=["the version", "nothing"])
def test_the_schedules_catch_a_guard_of(names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual ways: a difference that is stored by `_id` and version, or by `_id` alone."""
    decide: Callable[..., Any] = through.decide

    def weakly(*arguments: Any) -> Any:
        result = decide(*arguments)
        command = result.command
        return replace(result, command=replace(command, guard=Fields(names, only(command.raw, names), plain=True)))

    monkeypatch.setattr(through, "decide", weakly)
    assert worst(200, seed=1)
