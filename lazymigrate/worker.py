"""A worker of a sweep: `python -m lazymigrate.worker`, started by a sweep with `workers=`, never by hand.

The first line of its standard input is its task; lines after it are `pause`, `resume` and `stop`, and the end of the input
means that its parent is gone. It prints a JSON object a line: progress, and at the end a report or an error.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from threading import Event, Thread
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import MongoClient

from lazymigrate.collection import LazyCollection
from lazymigrate.exceptions import LazyMigrateError
from lazymigrate.partition import Partition

__all__ = ["main"]


class Wishes:
    """What the parent wishes."""

    def __init__(self) -> None:
        self.paused, self.stopped = Event(), Event()

    def follow(self) -> None:
        """Hear what the parent says, to its end."""
        for line in sys.stdin:
            match line.strip():
                case "pause":
                    self.paused.set()
                case "resume":
                    self.paused.clear()
                case _:
                    self.stopped.set()
        self.stopped.set()


def main() -> None:
    """Do the task that comes through the standard input."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they reach the whole group, and the parent decides what they mean
        signal.signal(number, signal.SIG_IGN)
    task = json.loads(sys.stdin.readline())
    wishes = Wishes()
    Thread(target=wishes.follow, daemon=True).start()
    try:
        said: dict[str, Any] = {"report": work(task, wishes)}
    except LazyMigrateError as error:
        said = {"error": str(error)}
    except Exception as error:  # its text may hold a document's values
        said = {"error": f"a worker failed ({type(error).__name__}, code {getattr(error, 'code', None)})"}
    say(said)


def say(message: Mapping[str, Any]) -> None:
    """Tell the parent; where it is gone, nobody, so that what is on its way is finished all the same."""
    try:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def work(task: Mapping[str, Any], wishes: Wishes) -> dict[str, Any]:
    """Sweep the partition of a task."""
    sys.path[:] = task["path"]
    module, _, name = task["schema"].partition(":")
    try:
        schema = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise LazyMigrateError(f"a worker cannot import {task['schema']} ({type(error).__name__})") from error
    with MongoClient[dict[str, Any]](**task["client"]) as client:
        codec = CodecOptions[dict[str, Any]](**task["codec"])
        collection = client[task["database"]].get_collection(task["collection"], codec_options=codec)
        report = LazyCollection(collection, schema).run_partition(
            Partition.from_json(task["partition"]),
            **task["options"],
            throttle=lambda: "paused" if wishes.paused.is_set() else None,
            stop=wishes.stopped.is_set,
            progress=lambda progress: say({"progress": asdict(progress)}),
        )
    return asdict(report)


if __name__ == "__main__":
    main()
