"""Sweeps killed with SIGKILL at random points and started again: nothing lost, nothing done twice, little done again.

Run: `python benchmarks/kills.py [--engine function|declared|workers] [--kills 200] [--documents 100000] [--batch 1000]`.

A sweep runs in a process of its own, which is killed several times on its way; the points are drawn evenly from all the
time that it works (as long as one that nobody kills), its beginning and its end included, and some of the kills hit it
while it still waits for the lease of the one before it. Each time it is started again, and waits for the lease, until it
has succeeded. Then it is counted, everything is put back to where it was, and the next sweep begins, until all kills are
used up. `function`: through the client. `declared`: inside MongoDB. `workers`: through four processes, of which the one
that sweeps, one of its workers, or all are killed by turns.

- *outdated*, *twice*, *lost*: as in `failover.py`, after each sweep that succeeded; each is to be 0.
- *rework*: upgrades that were made in memory, and made again since they were not stored when the process was killed. (The
  function counts its calls in memory that outlives the process.) For each kill at most one batch, or with workers one batch
  each. Inside MongoDB there is none: what the server has done stays done, and what it has not was not begun.
- *gone over*: documents that were at head when the process was killed, and that its checkpoint did not know of. They are
  passed over, by their version, and not upgraded again: for information.
- *left*: workers that went on for more than ten seconds without the process that had started them; to be 0.
"""

from __future__ import annotations

import argparse
import importlib
import mmap
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import uuid4

from failover import COLLECTION, HEAD, Document, count, declared, pristine, restore, wrong
from pymongo import MongoClient
from pymongo.collection import Collection

from lazymigrate import LazyCollection, Schema, embedded
from lazymigrate.runs import OVER

__all__ = ["Report", "kills"]

WORKERS = 4
LEASE = 1.0
PER_SWEEP = 5
WAITING_SHARE = 0.1  # of the kills hit a sweep that waits for the lease
HANGING = 300.0
CALLS = "LAZYMIGRATE_KILLS_CALLS"
VICTIMS = {"function": ("sweep",), "declared": ("sweep",), "workers": ("sweep", "worker", "all")}

COUNTED = Schema(COLLECTION)
DECLARED = declared()


@COUNTED.revision(HEAD)
def counted(person: Document) -> None:
    """The counter, and a note outside the process that it was counted."""
    calls()[person["_id"]] += 1
    person["n"] = person.get("n", 0) + 1


@cache
def calls() -> mmap.mmap:
    """How often the function was called for each document: a byte each, in a file that processes share."""
    with Path(os.environ[CALLS]).open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


@dataclass
class Report:
    """What became of the sweeps."""

    engine: str
    documents: int
    batch: int
    sweeps: int = 0
    outdated: int = 0
    twice: int = 0
    lost: int = 0
    left: int = 0
    calm: float = 0.0
    killed: Counter[str] = field(default_factory=Counter)
    where: list[float] = field(default_factory=list)
    """How much of the collection was at head at each kill."""
    rework: list[int] = field(default_factory=list)
    gone_over: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def allowed(self) -> int:
        """How many documents a kill may cost, in rework."""
        return self.batch * (WORKERS if self.engine == "workers" else 1)

    @property
    def sound(self) -> bool:
        """Whether all that is to be 0 is, and no kill cost more than it may."""
        return not (self.outdated or self.twice or self.lost or self.left or self.failed) and all(
            documents <= self.allowed for documents in self.rework
        )

    def __str__(self) -> str:
        killed = ", ".join(f"{what} {number}" for what, number in sorted(self.killed.items()))
        tenths = Counter(min(9, int(share * 10)) for share in self.where)
        lines = [
            f"{self.engine}: {self.documents:,} documents, batches of {self.batch:,}; one sweep takes {self.calm:.1f} s",
            f"  {self.killed.total()} kills ({killed}) in {self.sweeps} sweeps; by tenths of the collection: "
            + " ".join(str(tenths[tenth]) for tenth in range(10)),
            f"  outdated {self.outdated}, twice {self.twice}, lost {self.lost}, left {self.left}, failed {len(self.failed)}",
            f"  rework per kill: {distribution(self.rework)}; at most {self.allowed:,} allowed",
            f"  gone over per kill: {distribution(self.gone_over)}",
        ]
        return "\n".join([*lines, *(f"  {what}" for what in self.failed[:10]), "sound" if self.sound else "NOT SOUND"])


def distribution(figures: list[int]) -> str:
    if not figures:
        return "none"
    return f"median {statistics.median(figures):,.0f}, most {max(figures):,}, in all {sum(figures):,} documents"


def one_sweep(uri: str, database: str, engine: str, batch: int, pipe: Connection) -> None:
    """What runs in a process of its own, which leads a group so that its workers can be found."""
    os.setsid()
    begun: list[bool] = []

    def began(_progress: Any) -> None:
        if not begun:
            begun.append(True)
            pipe.send("began")

    # By its name, since workers import the schema, too, and this may be the main module under another one.
    schema = (
        importlib.import_module("kills").DECLARED if engine == "declared" else importlib.import_module("kills").COUNTED
    )
    with MongoClient[Document](uri) as client:
        people = LazyCollection(client[database][COLLECTION], schema)
        client.admin.command("ping")
        pipe.send("ready")
        try:
            report = people.sweep(
                batch_size=batch,
                lease=LEASE,
                wait_for_lease=HANGING,
                progress=began,
                workers=WORKERS if engine == "workers" else None,
            )
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}")
        else:
            pipe.send("succeeded" if report.complete and report.stopped_by == "finished" else str(report))


class Sweeping:
    """A sweep in a process of its own."""

    def __init__(self, uri: str, database: str, engine: str, batch: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe(duplex=False)
        self.process = context.Process(target=one_sweep, args=(uri, database, engine, batch, other))
        self.process.start()
        other.close()
        self.said: str | None = None

    def hear(self, *words: str, seconds: float = HANGING) -> bool:
        """Whether it says one of these words, or that it has ended, within these seconds."""
        deadline = time.monotonic() + seconds
        while self.said not in words and not self.ended:
            if not self.pipe.poll(max(0.0, deadline - time.monotonic())):
                return False
            try:
                self.said = self.pipe.recv()
            except EOFError:
                self.said = "the process ended without a word"
        return True

    @property
    def ended(self) -> bool:
        """Whether it has said its last word."""
        return self.said not in (None, "ready", "began")

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        return [pid for pid in group(self.process.pid) if pid != self.process.pid]

    def kill(self, victim: str, chance: random.Random) -> None:
        """Kill it, one of its workers, or all of them at once."""
        workers = self.workers()
        if victim == "worker" and workers:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
            self.hear()  # what the sweep says to this: it may go on, or end
            self.process.join(timeout=HANGING)
        elif victim == "all":
            self.end()
        self.process.kill()
        self.process.join()

    def end(self) -> None:
        """Kill whatever is left of its group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)


def group(leader: int | None) -> list[int]:
    """The living processes of a group."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [int(pid) for pid, pgid, state in rows if int(pgid) == leader and not state.startswith("Z")]


@dataclass
class Killer:
    """Kills the sweeps of one collection, and knows what each kill cost."""

    uri: str
    people: Collection[Document]
    report: Report
    chance: random.Random
    known_rework: int = 0
    known_gone_over: int = 0

    def start(self) -> Sweeping:
        """A sweep that is about to begin."""
        sweeping = Sweeping(self.uri, self.people.database.name, self.report.engine, self.report.batch)
        if not sweeping.hear("ready"):
            self.report.failed.append("a process did not begin")
        return sweeping

    def calm(self) -> None:
        """Measure a sweep that nobody kills."""
        self.put_back()
        sweeping = self.start()
        sweeping.hear("began")
        began = time.monotonic()
        sweeping.hear()
        self.report.calm = time.monotonic() - began
        self.finish(sweeping)

    def put_back(self) -> None:
        """Begin again with outdated documents, which nobody has upgraded."""
        restore(self.people)
        with Path(os.environ[CALLS]).open("r+b") as file:
            file.write(bytes(self.report.documents))
        self.known_rework = self.known_gone_over = 0

    def round(self, most: int) -> None:
        """One sweep from the beginning to its success, killed a few times on its way."""
        self.put_back()
        moments = sorted(self.chance.uniform(0, self.report.calm) for _ in range(min(PER_SWEEP, most)))
        gaps = [moment - before for before, moment in zip([0.0, *moments], moments, strict=False)]
        left = most
        sweeping = self.start()
        while left:
            if left < most and self.chance.random() < WAITING_SHARE:
                ended = sweeping.hear(seconds=self.chance.uniform(0, LEASE))
                when = "waiting"
            elif gaps:
                sweeping.hear("began")
                ended = sweeping.hear(seconds=gaps.pop(0))
                when = "working"
            else:
                break
            if ended:
                break
            self.kill(sweeping, when)
            left -= 1
            sweeping = self.start()
        sweeping.hear()
        self.finish(sweeping)

    def kill(self, sweeping: Sweeping, when: str) -> None:
        """Kill a sweep, wait until nothing moves, and see what it cost."""
        victim = self.chance.choice(VICTIMS[self.report.engine])
        self.report.killed[f"{victim}, {when}"] += 1
        sweeping.kill(victim, self.chance)
        deadline = time.monotonic() + 10
        while group(sweeping.process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.report.left += len(group(sweeping.process.pid))
        sweeping.end()
        sweeping.pipe.close()
        at_head = self.settled()
        self.report.where.append(at_head / self.report.documents)
        run = self.people.database["lazymigrate.journal"].find_one({"_id.kind": "run"}) or {}
        begun = run.get("state") not in OVER  # else it is the run before, and this one was killed before it began
        known = run.get("counts", {}).get("upgraded", 0) if begun else 0
        gone_over = at_head - known - self.known_gone_over
        self.known_gone_over += gone_over
        self.report.gone_over.append(gone_over)
        if self.report.engine != "declared":
            rework = sum(calls()[:]) - at_head - self.known_rework
            self.known_rework += rework
            self.report.rework.append(rework)

    def settled(self) -> int:
        """How many documents are at head, when the server has done what it was still asked."""
        before, now = -1, self.at_head()
        while before != now:
            time.sleep(0.1)
            before, now = now, self.at_head()
        return now

    def at_head(self) -> int:
        return self.people.count_documents({"schema_version": HEAD})

    def finish(self, sweeping: Sweeping) -> None:
        """Count what a sweep has left, after its last word."""
        sweeping.process.join(timeout=30)
        sweeping.end()
        sweeping.process.kill()
        sweeping.process.join()
        sweeping.pipe.close()
        self.report.sweeps += 1
        if sweeping.said != "succeeded":
            self.report.failed.append(sweeping.said or "a sweep did not end")
            return
        wrong(self.report, count(self.people, self.report.documents))
        if self.report.engine != "declared" and 0 in calls()[:]:
            self.report.failed.append("a document was upgraded by nobody")


def kills(
    uri: str, database: str, *, engine: str, number: int, documents: int, batch: int, seed: int, directory: Path
) -> Report:
    """Kill sweeps of one engine that many times; what became of them."""
    report = Report(engine, documents, batch)
    notes = directory / "calls"
    notes.write_bytes(bytes(documents))
    os.environ[CALLS] = str(notes)
    calls.cache_clear()
    with MongoClient[Document](uri) as client:
        killer = Killer(uri, client[database][COLLECTION], report, random.Random(seed))
        pristine(killer.people, documents)
        killer.calm()
        while report.killed.total() < number and not report.failed:
            killer.round(number - report.killed.total())
            done = f"{report.killed.total()} of {number} kills, {report.sweeps} sweeps"
            print(f"{engine}: {done}, {len(report.failed)} failed", file=sys.stderr, flush=True)
    return report


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--engine", choices=list(VICTIMS), default="function")
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--documents", type=int, default=100_000)
    arguments.add_argument("--batch", type=int, default=1_000)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    with embedded.server() as server, tempfile.TemporaryDirectory() as directory:
        name = f"kills_{uuid4().hex[:12]}"
        report = kills(
            server.uri,
            name,
            engine=options.engine,
            number=options.kills,
            documents=options.documents,
            batch=options.batch,
            seed=options.seed,
            directory=Path(directory),
        )
        print(report)
        with MongoClient[Document](server.uri) as client:
            client.drop_database(name)
    if not report.sound:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
