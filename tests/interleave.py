"""Choosing how procedures interleave: every order of their commands, one command at a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lazymigrate.commands import Procedure

Carry = Callable[[Any], Any]


@dataclass
class Process:
    """A procedure that is advanced one command at a time; `done` is called at the moment it ends."""

    procedure: Procedure[Any]
    done: Callable[[Any], None] = lambda result: None
    command: Any = None
    finished: bool = False
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.advance(lambda: next(self.procedure))

    def step(self, carry: Carry) -> None:
        try:
            result = carry(self.command)
        except Exception as error:
            self.advance(lambda error=error: self.procedure.throw(error))
        else:
            self.advance(lambda: self.procedure.send(result))

    def advance(self, move: Callable[[], Any]) -> None:
        try:
            self.command = move()
        except StopIteration as end:
            self.finished = True
            self.done(end.value)


@dataclass
class World:
    """Some processes over one store, and what went wrong."""

    processes: list[Process]
    carry: Carry
    schedule: list[int] = field(default_factory=list)

    def run(self, prefix: list[int], choose: Callable[[list[int]], int]) -> list[list[int]]:
        """Run to the end; the alternatives that were open after the prefix."""
        open_choices: list[list[int]] = []
        while alive := [n for n, process in enumerate(self.processes) if not process.finished]:
            at = len(self.schedule)
            chosen = prefix[at] if at < len(prefix) else choose(alive)
            if at >= len(prefix):
                open_choices += [[*self.schedule, other] for other in alive if other != chosen]
            self.schedule.append(chosen)
            self.processes[chosen].step(self.carry)
        return open_choices


def every_order(build: Callable[[], World], at_most: int | None = None) -> Iterator[World]:
    """The world after each possible order of the commands."""
    prefixes: list[list[int]] = [[]]
    count = 0
    while prefixes and (at_most is None or count < at_most):
        world = build()
        prefixes += world.run(prefixes.pop(), lambda alive: alive[0])
        count += 1
        yield world


def random_orders(build: Callable[[], World], count: int, seed: int) -> Iterator[World]:
    """The world after some random orders."""
    chance = random.Random(seed)
    for _ in range(count):
        world = build()
        world.run([], chance.choice)
        yield world
