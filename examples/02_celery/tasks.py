"""A sweep by Celery: every partition is a task, for whichever worker is free."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from celery import Celery, Task, chord
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from lazymigrate import LazyCollection, LeaseHeldError, Partition, Schema, ops
from lazymigrate.sweeping import SweepReport

orders = Schema("orders")
orders.revision(2, ops.rename("mail", "email"), name="email")


@orders.revision(3)
def in_cents(order: dict[str, Any]) -> None:
    """Totals are in cents."""
    order["total"] *= 100


@cache
def shop() -> LazyCollection[dict[str, Any]]:
    """The collection; opened at first use, since a client must not be taken along when a worker forks."""
    client = MongoClient[dict[str, Any]](os.environ["MONGODB_URI"])
    return LazyCollection(client[os.environ["MONGODB_DATABASE"]]["orders"], orders)


app = Celery("tasks")
app.config_from_object("celeryconfig")

AGAIN = {
    "acks_late": True,  # a task is done when it has ended, not when it was handed out …
    "reject_on_worker_lost": True,  # … so that one whose process was killed goes to another
    "autoretry_for": (PyMongoError, LeaseHeldError),
    "retry_backoff": True,
    "max_retries": 8,
}


@app.task(bind=True, **AGAIN)
def sweep(self: Task, parts: int = 32) -> None:
    """Plan: a task for every partition, and when all have ended, one more."""
    partitions = [partition.to_json() for partition in shop().partitions(parts)]
    raise self.replace(chord((sweep_partition.s(partition) for partition in partitions), finish.s()))


@app.task(**AGAIN)
def sweep_partition(partition: str) -> str:
    """Sweep a partition; to do it again, or twice at a time, does no harm."""
    return shop().run_partition(Partition.from_json(partition)).to_json()


@app.task(**AGAIN)
def finish(parts: list[str]) -> str:
    """Sweep what the partitions left, documents that came or changed meanwhile, until a fresh count is zero."""
    report = shop().sweep(wait_for_lease=60)
    return report.merged(map(SweepReport.from_json, parts)).to_json()
