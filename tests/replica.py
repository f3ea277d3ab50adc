"""A replica set of three on this machine, whose members can be killed, frozen, deposed and brought back.

The members are children of one supervisor, which alone sends them signals: a process id that it has not waited for
cannot belong to anybody else. It is told what to do line by line on its standard input, and when that is closed, because
the process that asked for the set has left it or is gone, killed or not, it kills all members and removes their files.

A member that is killed is killed as by a power cut short of the disk: it comes back by its journal (`restart`).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from lazymigrate.embedded import find_program, free_port

__all__ = ["Node", "ReplicaSet", "ReplicaSetError", "replica_set"]

T = TypeVar("T")

NAME = "lazymigrate"
MEMBERS = 3
PATIENCE = 60.0
PRIMARY, SECONDARY = 1, 2

_SUPERVISOR = """
import os, shutil, signal, subprocess, sys
root, count, *rest = sys.argv[1:]
width = len(rest) // int(count)
commands = [rest[start : start + width] for start in range(0, len(rest), width)]
children = {}

def start(number):
    with open(os.path.join(root, f"{number}.output"), "ab") as output:
        children[number] = subprocess.Popen(commands[number], stdin=subprocess.DEVNULL, stdout=output, stderr=output)

def kill(number):
    children[number].kill()
    children[number].wait()

def freeze(number):
    children[number].send_signal(signal.SIGSTOP)

def thaw(number):
    children[number].send_signal(signal.SIGCONT)

orders = {"start": start, "kill": kill, "freeze": freeze, "thaw": thaw}
for line in sys.stdin:
    order, number = line.split()
    orders[order](int(number))
    print(children[int(number)].poll() is None, flush=True)
for number in children:
    kill(number)
shutil.rmtree(root, ignore_errors=True)
"""


class ReplicaSetError(RuntimeError):
    """The set is not in the state that was waited for; the message says in which it is."""


@dataclass(frozen=True, slots=True)
class Node:
    """One member: its number in the set, and the port on loopback where it answers."""

    number: int
    port: int

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __str__(self) -> str:
        return f"node {self.number}"


@dataclass(slots=True)
class ReplicaSet:
    """Three members that answer at `uri`, which names them all."""

    uri: str = field(repr=False)
    nodes: tuple[Node, ...]
    _supervisor: subprocess.Popen[str] = field(repr=False)
    _clients: dict[Node, MongoClient[dict[str, Any]]] = field(default_factory=dict, repr=False)
    _down: set[Node] = field(default_factory=set)
    _frozen: set[Node] = field(default_factory=set)

    @property
    def down(self) -> frozenset[Node]:
        """The members that were killed and not restarted."""
        return frozenset(self._down)

    @property
    def frozen(self) -> frozenset[Node]:
        """The members that are frozen."""
        return frozenset(self._frozen)

    def primary(self) -> Node:
        """The member that takes writes, waited for."""
        return self.wait("to have a primary", self._primary)

    def kill_primary(self) -> Node:
        """Kill the primary with SIGKILL; the member that it was."""
        node = self.primary()
        self._order("kill", node)
        self._down.add(node)
        return node

    def step_down(self) -> Node:
        """Depose the primary for two seconds, whether others have caught up or not; the member that it was."""
        node = self.primary()
        with contextlib.suppress(PyMongoError):  # the connection may be closed meanwhile
            self.ask(node, {"replSetStepDown": 2, "secondaryCatchUpPeriodSecs": 0, "force": True})
        return node

    def freeze_secondary(self) -> Node:
        """Stop a secondary with SIGSTOP: its connections stay open, and nobody answers; the member that it is."""
        primary = self.primary()
        node = next(node for node in self.nodes if node != primary and node not in self._down | self._frozen)
        self._order("freeze", node)
        self._frozen.add(node)
        return node

    def thaw(self) -> None:
        """Let every frozen member go on."""
        for node in self._frozen:
            self._order("thaw", node)
        self._frozen.clear()

    def restart(self, node: Node) -> None:
        """Start a member that was killed again, on its files; without waiting for it."""
        self._order("start", node)
        self._down.discard(node)

    def wait_until_healthy(self) -> None:
        """Wait until one member is the primary, the others follow it, and all have what it has."""
        self.wait("to be healthy", self._healthy)

    def ask(self, node: Node, command: dict[str, Any]) -> dict[str, Any]:
        """What one member answers to a command on its `admin` database."""
        if node not in self._clients:
            self._clients[node] = MongoClient(
                f"mongodb://{node.host}/?directConnection=true",
                serverSelectionTimeoutMS=500,
                connectTimeoutMS=500,
                socketTimeoutMS=5000,
            )
        return self._clients[node].admin.command(command)

    def wait(self, what: str, ready: Callable[[], T | None]) -> T:
        """What `ready` gives as soon as it gives anything, however often that is refused; else `ReplicaSetError`."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(PyMongoError):
                found = ready()
                if found:
                    return found
            time.sleep(0.05)
        down, frozen = sorted(map(str, self._down)), sorted(map(str, self._frozen))
        raise ReplicaSetError(f"Waited {PATIENCE:.0f} seconds for the set {what}; down: {down}, frozen: {frozen}.")

    def close(self) -> None:
        """End all members and remove their files."""
        for client in self._clients.values():
            client.close()
        if self._supervisor.stdin is not None:
            self._supervisor.stdin.close()
        self._supervisor.wait(timeout=PATIENCE)
        if self._supervisor.stdout is not None:
            self._supervisor.stdout.close()

    def _order(self, order: str, node: Node) -> None:
        supervisor = self._supervisor
        assert supervisor.stdin is not None
        assert supervisor.stdout is not None
        supervisor.stdin.write(f"{order} {node.number}\n")
        supervisor.stdin.flush()
        if not supervisor.stdout.readline():
            raise ReplicaSetError("The supervisor of the replica set is gone.")

    def _running(self) -> list[Node]:
        return [node for node in self.nodes if node not in self._down | self._frozen]

    def _primary(self) -> Node | None:
        for node in self._running():
            with contextlib.suppress(PyMongoError):
                if self.ask(node, {"hello": 1}).get("isWritablePrimary"):
                    return node
        return None

    def _healthy(self) -> bool:
        node = self._primary()
        if node is None:
            return False
        members = self.ask(node, {"replSetGetStatus": 1})["members"]
        states = sorted(member["state"] for member in members)
        newest = max(member["optimeDate"] for member in members if member["state"] == PRIMARY)
        level = all(member.get("optimeDate") is not None and member["optimeDate"] >= newest for member in members)
        return states == [PRIMARY, *[SECONDARY] * (MEMBERS - 1)] and level


@contextmanager
def replica_set() -> Generator[ReplicaSet]:
    """A replica set of three for the duration of a `with` block, healthy at its beginning."""
    program, _ = find_program()
    root = Path(tempfile.mkdtemp(prefix="lazymigrate-set-"))
    nodes = tuple(Node(number, free_port()) for number in range(MEMBERS))
    commands: list[str] = []
    for node in nodes:
        (root / str(node.number)).mkdir()
        commands += command(program, node, root / str(node.number))
    supervisor = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _SUPERVISOR, str(root), str(MEMBERS), *commands],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    hosts = ",".join(node.host for node in nodes)
    members = ReplicaSet(f"mongodb://{hosts}/?replicaSet={NAME}", nodes, supervisor)
    try:
        for node in nodes:
            members.restart(node)
        initiate(members)
        members.wait_until_healthy()
        yield members
    finally:
        members.close()


def command(program: str, node: Node, directory: Path) -> list[str]:
    """How a member is started; as long for each."""
    return [
        program,
        *("--dbpath", str(directory), "--port", str(node.port), "--bind_ip", "127.0.0.1", "--replSet", NAME),
        *("--logpath", str(directory / "log"), "--logappend", "--oplogSize", "64", "--wiredTigerCacheSizeGB", "0.25"),
        *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=2MB)"),
        *("--networkMessageCompressors", "snappy,zstd", "--nounixsocket"),
        *("--setParameter", "enableTestCommands=1"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    ]


def initiate(members: ReplicaSet) -> None:
    """Make the members one set, in which a second without a primary is enough for an election."""
    config = {
        "_id": NAME,
        "members": [{"_id": node.number, "host": node.host} for node in members.nodes],
        "settings": {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 500},
    }

    def initiated() -> bool:
        members.ask(members.nodes[0], {"replSetInitiate": config})
        return True

    for node in members.nodes:
        members.wait("to answer", partial(members.ask, node, {"ping": 1}))
    members.wait("to be initiated", initiated)
