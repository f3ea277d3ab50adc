"""A sweep by Dask: every partition is a task, for whichever worker is free."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from distributed import Client
from pymongo import MongoClient

from lazymigrate import LazyCollection, Partition, Schema, ops
from lazymigrate.sweeping import SweepReport

orders = Schema("orders")
orders.revision(2, ops.rename("mail", "email"), name="email")


@orders.revision(3)
def in_cents(order: dict[str, Any]) -> None:
    """Totals are in cents."""
    order["total"] *= 100


@cache
def shop() -> LazyCollection[dict[str, Any]]:
    """The collection, by the environment of the process: what is given to a task is shown in Dask's dashboard."""
    client = MongoClient[dict[str, Any]](os.environ["MONGODB_URI"])
    return LazyCollection(client[os.environ["MONGODB_DATABASE"]]["orders"], orders)


def sweep(dask: Client, parts: int = 32) -> SweepReport:
    """Sweep all partitions, then what they left, documents that came or changed meanwhile, until a fresh count is zero."""
    partitions = [partition.to_json() for partition in shop().partitions(parts)]
    # Not pure: Dask would answer a second sweep with what it remembers of the first.
    tasks = dask.map(sweep_partition, partitions, pure=False, retries=3)
    done = dask.gather(tasks)
    report = shop().sweep(wait_for_lease=60)
    return report.merged(map(SweepReport.from_json, done))


def sweep_partition(partition: str) -> str:
    """Sweep a partition; to do it again, or twice at a time, does no harm."""
    return shop().run_partition(Partition.from_json(partition)).to_json()
