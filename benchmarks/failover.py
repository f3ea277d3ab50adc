"""Sweeps while the primary is killed and deposed, and secondaries freeze: nothing is left behind, nothing is done twice.

Run: `python benchmarks/failover.py [--kills 20] [--documents 30000] [--seed 1]`.

A replica set of three is started on this machine. Sweeps run in a process of their own, unattended, by turns through the
client (the revision is a function) and inside MongoDB (it is declared); the revision adds one to a counter. Meanwhile, at
random moments, the primary is killed with SIGKILL or deposed, and now and then a secondary is frozen before. What was
killed comes back a moment later. After each sweep that succeeded, when the set is whole again (so that everything that a
failover undoes has been undone), it is counted:

- *outdated*: documents that are not at head, among those that a majority has: 0, since the sweep said so;
- *twice*: documents whose counter is not exactly 1;
- *lost*: documents that are not there;
- *failed*: sweeps that ended in any other way than by success.

Each is to be 0, and the exit code is 1 otherwise. `seconds` is what a sweep took on the average, elections included; `calm`
is what one took that nobody disturbed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from lazymigrate import LazyCollection, Schema, ops

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from replica import ReplicaSet, replica_set

__all__ = ["ENGINES", "Report", "count", "failovers", "pristine", "restore", "wrong"]

Document = dict[str, Any]

DATABASE, COLLECTION, PRISTINE = "failover", "people", "pristine"
HEAD = 2
LEASE = 2.0
HANGING = 180.0
PER_SWEEP = 3  # times at most that it loses its primary
DISTURBANCES = ("kill", "step down")


def by_function() -> Schema:
    """The counter is counted in memory."""
    schema = Schema(COLLECTION)

    @schema.revision(HEAD)
    def counted(person: Document) -> None:
        person["n"] = person.get("n", 0) + 1

    return schema


def declared() -> Schema:
    """The counter is counted inside MongoDB."""
    schema = Schema(COLLECTION)
    plus_one = {"$add": [{"$ifNull": ["$n", 0]}, 1]}
    schema.revision(
        HEAD, ops.compute("n", python=lambda person: person.get("n", 0) + 1, mongo=plus_one), name="counted"
    )
    return schema


ENGINES = {"function": by_function, "declared": declared}


@dataclass
class Figures:
    """What became of the sweeps of one engine."""

    calm: float = 0.0
    sweeps: int = 0
    seconds: float = 0.0
    disturbances: Counter[str] = field(default_factory=Counter)
    outdated: int = 0
    twice: int = 0
    lost: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass
class Report:
    """The figures of each engine."""

    documents: int
    figures: dict[str, Figures] = field(default_factory=dict)

    @property
    def disturbances(self) -> int:
        """How often a primary was killed or deposed."""
        return sum(sum(of.disturbances[kind] for kind in DISTURBANCES) for of in self.figures.values())

    @property
    def sound(self) -> bool:
        """Whether all that is to be 0 is."""
        return not any(of.outdated or of.twice or of.lost or of.failed for of in self.figures.values())

    def __str__(self) -> str:
        columns = ("sweeps", "kills", "step-downs", "freezes", "calm", "seconds", "outdated", "twice", "lost", "failed")
        lines = [f"{self.documents:,} documents", "  engine    " + "".join(f"{name:>11}" for name in columns)]
        for engine, of in self.figures.items():
            counts = [of.sweeps, *(of.disturbances[kind] for kind in (*DISTURBANCES, "freeze"))]
            times = [f"{of.calm:.1f}", f"{of.seconds / max(1, of.sweeps):.1f}"]
            bad = [of.outdated, of.twice, of.lost, len(of.failed)]
            lines.append(f"  {engine:10}" + "".join(f"{value:>11}" for value in [*counts, *times, *bad]))
        lines += [f"  {engine}: {what}" for engine, of in self.figures.items() for what in of.failed[:10]]
        verdict = "sound" if self.sound else "NOT SOUND"
        return "\n".join([*lines, f"{verdict}: {self.disturbances} times without a primary"])


def pristine(people: Collection[Document], documents: int) -> None:
    """Make the documents, of some 300 bytes each and unstamped, in the collection that others are restored from."""
    source = people.database[PRISTINE].with_options(write_concern=WriteConcern("majority"))
    for start in range(0, documents, 10_000):
        numbers = range(start, min(start + 10_000, documents))
        source.insert_many([{"_id": number, "name": f"person {number}", "text": "x" * 230} for number in numbers])


def restore(people: Collection[Document]) -> None:
    """Put everything back to where it was."""
    majority = people.database[PRISTINE].with_options(write_concern=WriteConcern("majority"))
    majority.aggregate([{"$out": people.name}])


def count(people: Collection[Document], documents: int) -> dict[str, int]:
    """How many documents are outdated, counted twice (or never), and lost, among those that a majority has."""
    proven = people.with_options(read_concern=ReadConcern("majority"))
    return {
        "outdated": proven.count_documents({"schema_version": {"$ne": HEAD}}),
        "twice": proven.count_documents({"schema_version": HEAD, "n": {"$ne": 1}}),
        "lost": documents - proven.count_documents({}),
    }


def one_sweep(uri: str, engine: str, pipe: Connection) -> None:
    """What runs in a process of its own: a sweep, and nobody who looks after it."""
    with MongoClient[Document](uri) as client:
        people = LazyCollection(client[DATABASE][COLLECTION], ENGINES[engine]())
        client.admin.command("ping")
        pipe.send("ready")
        try:
            report = people.sweep(lease=LEASE, wait_for_lease=HANGING)
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}")
        else:
            pipe.send(None if report.complete and report.stopped_by == "finished" else str(report))


class Sweeping:
    """A sweep in a process of its own, from the moment at which it begins."""

    def __init__(self, uri: str, engine: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe(duplex=False)
        self.process = context.Process(target=one_sweep, args=(uri, engine, other), daemon=True)
        self.process.start()
        other.close()
        self.began = time.monotonic()
        self.failure = self.answer(HANGING)
        if self.failure == "ready":
            self.failure, self.began = None, time.monotonic()

    def ended(self, seconds: float) -> bool:
        """Whether it ends within these seconds."""
        return self.pipe.poll(max(0.0, seconds))

    def answer(self, seconds: float) -> str | None:
        """What the process says next."""
        if not self.pipe.poll(seconds):
            return f"it did not end within {seconds:.0f} seconds"
        try:
            said: str | None = self.pipe.recv()
        except EOFError:
            return "the process ended without a word"
        return said

    def end(self) -> tuple[str | None, float]:
        """Wait for its end: what went wrong, and the seconds that it took."""
        failure = self.failure or self.answer(HANGING)
        seconds = time.monotonic() - self.began
        self.process.kill()
        self.process.join()
        self.pipe.close()
        return failure, seconds


def disturb(members: ReplicaSet, kind: str, *, freeze: bool, chance: random.Random) -> None:
    """Take the primary away, and let everything come back a moment later."""
    if freeze:
        members.freeze_secondary()
        time.sleep(chance.uniform(0, 0.5))
    down = members.kill_primary() if kind == "kill" else members.step_down()
    time.sleep(chance.uniform(0.2, 2.0))
    if kind == "kill":
        members.restart(down)
    members.thaw()
    members.primary()


def failovers(members: ReplicaSet, *, kills: int, documents: int, seed: int) -> Report:
    """Sweep by turns with each engine until the primary was taken away that many times; what became of it."""
    chance = random.Random(seed)
    report = Report(documents, {engine: Figures() for engine in ENGINES})
    with MongoClient[Document](members.uri) as client:
        people = client[DATABASE][COLLECTION]
        pristine(people, documents)
        for engine, of in report.figures.items():
            judge(members, people, engine, of, documents, kinds=[], chance=chance)
            of.calm, of.seconds = of.seconds, 0.0
            of.sweeps = 0
        kinds = [DISTURBANCES[number % len(DISTURBANCES)] for number in range(kills)]
        chance.shuffle(kinds)
        engines = list(report.figures.items())
        turn = 0
        while kinds and not any(of.failed for of in report.figures.values()):
            engine, of = engines[turn % len(engines)]
            judge(members, people, engine, of, documents, kinds=kinds, chance=chance)
            turn += 1
    return report


def judge(
    members: ReplicaSet,
    people: Collection[Document],
    engine: str,
    of: Figures,
    documents: int,
    *,
    kinds: list[str],
    chance: random.Random,
) -> None:
    """One sweep from the beginning, disturbed as `kinds` says as long as it lasts and kinds are left; then count."""
    members.wait_until_healthy()
    restore(people)
    sweeping = Sweeping(members.uri, engine)
    enough = max(0, len(kinds) - PER_SWEEP)
    while len(kinds) > enough and sweeping.failure is None and not sweeping.ended(chance.uniform(0, of.calm)):
        freeze = chance.random() < 0.4
        of.disturbances[kinds[-1]] += 1
        of.disturbances["freeze"] += freeze
        disturb(members, kinds.pop(), freeze=freeze, chance=chance)
    failure, seconds = sweeping.end()
    members.wait_until_healthy()
    counted = count(people, documents)
    of.sweeps += 1
    of.seconds += seconds
    print(
        f"{engine}: sweep {of.sweeps}, {seconds:.1f} s, {counted}, {failure or 'succeeded'}",
        file=sys.stderr,
        flush=True,
    )
    if failure is not None:
        of.failed.append(failure)
        return
    wrong(of, counted)


def wrong(of: Any, counted: Mapping[str, int]) -> None:
    """Add what was counted to the figures."""
    for name, number in counted.items():
        setattr(of, name, getattr(of, name) + number)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--documents", type=int, default=30_000)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    with replica_set() as members:
        report = failovers(members, kills=options.kills, documents=options.documents, seed=options.seed)
    print(report)
    if not report.sound:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
