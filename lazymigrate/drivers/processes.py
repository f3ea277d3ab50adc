"""Workers: processes of this machine that sweep partitions, for a procedure in this one.

A worker is a fresh interpreter (nothing is forked: connections and threads do not survive that). Its task comes through its
standard input, so that no command line shows a password; what it says comes back through its standard output, a JSON
object a line; its standard error is its parent's. When its standard input ends, because its parent has died, it finishes what is on its way and ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from threading import Thread
from typing import Any

from bson.codec_options import CodecOptions

from lazymigrate.commands import StartWorker, WorkerState
from lazymigrate.exceptions import LazyMigrateError

__all__ = ["Worker", "hire"]

END_SECONDS = 60.0


class Worker:
    """A running worker."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lazymigrate.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._said: Mapping[str, Any] = {}
        self._reader = Thread(target=self._listen, daemon=True)
        self._reader.start()
        self.tell(json.dumps(task))

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            with suppress(ValueError):  # whatever the application itself prints
                said = json.loads(line)
                if isinstance(said, dict) and said.keys() & {"progress", "report", "error"}:
                    self._said = said

    def peek(self) -> WorkerState:
        """How it is, without waiting."""
        ended = self._process.poll() is not None
        if ended:
            self._reader.join()
            if not self._said.keys() & {"report", "error"}:
                code = self._process.returncode
                self._said = {"error": f"a worker ended with the exit code {code} before it reported"}
        return WorkerState(ended, self._said)

    def tell(self, message: str) -> None:
        """Send it a line; one that has ended hears nothing."""
        with suppress(OSError, ValueError):
            if self._process.stdin is not None:
                self._process.stdin.write(message.encode() + b"\n")
                self._process.stdin.flush()

    def close(self) -> None:
        """Let it finish what is on its way, and end."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()


def hire(collection: Any, command: StartWorker) -> Worker:
    """A worker for a task on a collection."""
    return Worker({**command.task, **connection(collection), "path": sys.path})


def connection(collection: Any) -> dict[str, Any]:
    """What another process needs to open the same collection, fit for JSON."""
    client = collection.database.client
    client = getattr(client, "delegate", client) if "delegate" in vars(client) else client
    known: Mapping[str, Any] | None = getattr(client, "_init_kwargs", None)
    if known is None:
        raise LazyMigrateError(unfit("this version of pymongo does not say how it was connected"))
    plain = {name: value for name, value in known.items() if value is not None and not name.startswith("_")}
    for name in ("connect", "document_class", "tz_aware", "type_registry"):
        plain.pop(name, None)
    for name, value in plain.items():
        if not isinstance(value, (str, int, float, list, tuple)):
            raise LazyMigrateError(unfit(f"its option {name} is a {type(value).__name__}"))
    used = collection.codec_options
    codec = {"uuid_representation": used.uuid_representation, "tz_aware": used.tz_aware}
    if CodecOptions(**codec, datetime_conversion=used.datetime_conversion) != used:
        raise LazyMigrateError(unfit("its codec_options have more than a representation of UUIDs and tz_aware"))
    codec["datetime_conversion"] = int(used.datetime_conversion)
    return {
        "client": plain,
        "database": collection.database.name,
        "collection": collection.name,
        "codec": codec,
    }


def unfit(reason: str) -> str:
    return (
        f"Workers cannot connect as this client did: {reason}. Use `lazymigrate sweep --workers`, or run_partition in "
        "processes of your own."
    )
