"""A sweep among errors: every kind of error, at every step, before and after the server has done what it was asked.

Errors are the server's own (its `failCommand` fail point, for the commands of the sweep's client alone), or those of a
line that is cut: `Line` stands between client and server, hands everything on, and hangs up before or after the server
has carried a chosen command out. Whatever happens, in the end nothing is outdated, every counter has moved exactly once,
and no document is lost. No sweep may hang: each has a limit of its own, and the process one that ends it.
"""

from __future__ import annotations

import faulthandler
import socket
import struct
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import bson
import pymongo.common
import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import AutoReconnect, OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from lazymigrate import LazyCollection, Schema, ops
from lazymigrate.procedures import inside

DOCUMENTS, BATCH = 200, 50
MAX_SECONDS, HANGING = 30, 50
ENGINES = ("function", "declared")
DEFEATED = 2  # as often as it takes to defeat the driver, which tries once more

ERRORS: dict[str, dict[str, Any]] = {
    "HostUnreachable": {"errorCode": 6},
    "HostNotFound": {"errorCode": 7},
    "LockTimeout": {"errorCode": 24},
    "CursorNotFound": {"errorCode": 43},
    "MaxTimeMSExpired": {"errorCode": 50},
    "WriteConcernFailed": {"errorCode": 64},
    "NetworkTimeout": {"errorCode": 89},
    "ShutdownInProgress": {"errorCode": 91},
    "WriteConflict": {"errorCode": 112},
    "QueryPlanKilled": {"errorCode": 175},
    "PrimarySteppedDown": {"errorCode": 189},
    "ExceededTimeLimit": {"errorCode": 262},
    "SocketException": {"errorCode": 9001},
    "NotWritablePrimary": {"errorCode": 10107},
    "InterruptedAtShutdown": {"errorCode": 11600},
    "InterruptedDueToReplStateChange": {"errorCode": 11602},
    "NotPrimaryNoSecondaryOk": {"errorCode": 13435},
    "NotPrimaryOrSecondary": {"errorCode": 13436},
    "any, labelled RetryableWriteError": {"errorCode": 8, "errorLabels": ["RetryableWriteError"]},
    "any, labelled TransientTransactionError": {"errorCode": 8, "errorLabels": ["TransientTransactionError"]},
    "NotWritablePrimary, without its labels": {"errorCode": 10107, "errorLabels": []},
    "connection closed": {"closeConnection": True},
}
STEPS: dict[str, tuple[str, str]] = {
    "read a batch": ("find", "people"),
    "write a batch": ("update", "people"),
    "count": ("aggregate", "people"),
    "look for an index": ("listIndexes", "people"),
    "count the quarantine": ("aggregate", "lazymigrate.quarantine"),
    "read the run": ("find", "lazymigrate.journal"),
    "begin the run": ("insert", "lazymigrate.journal"),
    "save the checkpoint": ("update", "lazymigrate.journal"),
}
AFTER = {
    "WriteConcernFailed": 64,
    "ShutdownInProgress": 91,
    "PrimarySteppedDown": 189,
    "NotWritablePrimary": 10107,
    "InterruptedAtShutdown": 11600,
    "InterruptedDueToReplStateChange": 11602,
}
WRITES = ("write a batch", "begin the run", "save the checkpoint")
OF_ENGINES = ("read a batch", "write a batch")  # the other steps are the same whichever engine sweeps
EVERY_STEP = [(engine, step) for step in STEPS for engine in (ENGINES if step in OF_ENGINES else ENGINES[:1])]
ONCE_OR_TWICE = ("read the run", "begin the run", "look for an index", "count the quarantine")
SOME_ERRORS = ("LockTimeout", "PrimarySteppedDown", "ShutdownInProgress", "connection closed")  # one of each kind
EVERY_ERROR = [
    (engine, step, error) for engine, step in EVERY_STEP for error in (SOME_ERRORS if step in ONCE_OR_TWICE else ERRORS)
]
EVERY_WRITE = [(engine, step) for engine, step in EVERY_STEP if step in WRITES]
OPTIONS = "heartbeatFrequencyMS=500&serverMonitoringMode=poll"


def schema(engine: str) -> Schema:
    """Two versions: every document is counted once, in memory or inside MongoDB."""
    counted = Schema("people")
    if engine == "declared":
        plus_one = {"$add": [{"$ifNull": ["$n", 0]}, 1]}
        counted.revision(
            2, ops.compute("n", python=lambda person: person.get("n", 0) + 1, mongo=plus_one), name="count"
        )
        return counted

    @counted.revision(2)
    def count(person: dict[str, Any]) -> None:
        person["n"] = person.get("n", 0) + 1

    return counted


@dataclass
class Trial:
    """Some outdated documents, a client of its own for the sweep, and the fail point for the commands of that client."""

    uri: str
    db: Database[dict[str, Any]]
    engine: str
    name: str = field(default_factory=lambda: f"sweep-{uuid4().hex[:8]}")

    def sweep(self, **options: str) -> Any:
        """Sweep through a client that is known by its name."""
        more = "".join(f"&{name}={value}" for name, value in options.items())
        uri = f"{self.uri}{'&' if '?' in self.uri else '?'}{OPTIONS}&appName={self.name}{more}"
        with MongoClient[dict[str, Any]](uri) as client:
            people = LazyCollection(client[self.db.name]["people"], schema(self.engine))
            return people.sweep(batch_size=BATCH, max_seconds=MAX_SECONDS, wait_for_lease=MAX_SECONDS, lease=1)

    @contextmanager
    def failing(self, step: str, mode: Any, **fault: Any) -> Generator[list[int]]:
        """The fail point for a step of the sweep; the list tells afterwards how often it was met."""
        command, collection = STEPS[step]
        met: list[int] = []
        only = {"appName": self.name, "namespace": f"{self.db.name}.{collection}"}
        before = self.fail_point("off")
        self.fail_point(mode, failCommands=[command], **only, **fault)
        try:
            yield met
        finally:
            met.append(self.fail_point("off") - before)

    def fail_point(self, mode: Any, **data: Any) -> int:
        """Set it; how often it was met before."""
        more = {"data": data} if data else {}
        answer = self.db.client.admin.command({"configureFailPoint": "failCommand", "mode": mode, **more})
        return int(answer["count"])

    def judge(self, report: Any) -> None:
        """Nothing outdated among what a majority has, everything counted once, and everything there."""
        assert (report.complete, report.remaining, report.stopped_by) == (True, 0, "finished")
        assert (report.quarantined, self.outdated()) == (0, 0)
        assert self.counters() == dict.fromkeys(range(DOCUMENTS), 1)

    def outdated(self) -> int:
        people = self.db.get_collection("people", read_concern=ReadConcern("majority"))
        return people.count_documents({"schema_version": {"$ne": 2}})

    def counters(self) -> dict[int, int]:
        return {person["_id"]: person.get("n", 0) for person in self.db["people"].find()}


@pytest.fixture(autouse=True)
def _nothing_hangs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process ends when a test hangs; and clients look for a lost server at once, not twice a second."""
    monkeypatch.setattr(pymongo.common, "MIN_HEARTBEAT_INTERVAL", 0.02)
    faulthandler.dump_traceback_later(HANGING, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def engine() -> str:
    return "function"


@pytest.fixture
def trial(engine: str, mongo_uri: str, db: Database[dict[str, Any]]) -> Trial:
    db["people"].insert_many({"_id": number, "name": "Ada"} for number in range(DOCUMENTS))
    return Trial(mongo_uri, db, engine)


@pytest.mark.parametrize(("engine", "step", "error"), EVERY_ERROR)
def test_a_sweep_outlasts_an_error_before_anything_was_done(trial: Trial, error: str, step: str) -> None:
    with trial.failing(step, {"times": DEFEATED}, **ERRORS[error]) as met:
        report = trial.sweep()
    assert met[0] >= 1
    trial.judge(report)


@pytest.mark.parametrize(("engine", "step"), EVERY_WRITE)
@pytest.mark.parametrize("error", AFTER)
def test_a_sweep_outlasts_an_error_after_all_was_done(trial: Trial, error: str, step: str) -> None:
    concern = {"code": AFTER[error], "errmsg": "done, but who knows for how long"}
    with trial.failing(step, {"times": DEFEATED}, writeConcernError=concern) as met:
        report = trial.sweep()
    assert met[0] >= 1
    trial.judge(report)


@pytest.mark.parametrize(("engine", "step"), EVERY_WRITE)
def test_a_sweep_outlasts_a_write_that_is_done_after_it_was_given_up(trial: Trial, step: str) -> None:
    with trial.failing(step, {"times": 1}, blockConnection=True, blockTimeMS=500) as met:
        report = trial.sweep(socketTimeoutMS="200")
    assert met[0] == 1
    trial.judge(report)


@pytest.mark.parametrize(("engine", "step"), EVERY_STEP)
def test_a_sweep_outlasts_errors_at_every_third_attempt(trial: Trial, step: str) -> None:
    with trial.failing(step, {"activationProbability": 0.33}, errorCode=11602, errorLabels=[]):
        report = trial.sweep()
    trial.judge(report)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("step", OF_ENGINES)
def test_what_does_not_pass_ends_the_sweep_and_the_next_one_goes_on(trial: Trial, step: str) -> None:
    with trial.failing(step, {"skip": 1}, errorCode=13) as met, pytest.raises(OperationFailure, match="fail"):
        trial.sweep()
    assert met[0] >= 1
    assert trial.outdated()
    trial.judge(trial.sweep())


@dataclass
class Line:
    """A line to a server that is cut once: at the `nth` command of a kind, before or after the server has done it."""

    uri: str
    command: str
    collection: str
    nth: int
    after: bool
    seen: int = 0
    cut: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    lines: list[socket.socket] = field(default_factory=list)

    def serve(self, listening: socket.socket) -> None:
        """Give every caller a connection of its own to the server."""
        with suppress(OSError):
            while True:
                caller, _ = listening.accept()
                server = socket.create_connection(parse_uri(self.uri)["nodelist"][0])
                self.lines += [caller, server]
                threading.Thread(target=self.connect, args=(caller, server), daemon=True).start()

    def connect(self, caller: socket.socket, server: socket.socket) -> None:
        """Hand on one request after the other, and its answer."""
        with suppress(OSError), caller, server:
            while request := message(caller):
                chosen = self.chosen(request)
                if chosen and not self.after:
                    return
                server.sendall(request)
                answer = message(server)
                if chosen:
                    return
                caller.sendall(answer)

    def chosen(self, request: bytes) -> bool:
        """Whether this is where the line is cut."""
        length, _, _, kind = struct.unpack_from("<4i", request)
        if kind != 2013:  # the first words of a connection
            return False
        (size,) = struct.unpack_from("<i", request, 21)  # 16 bytes of header, 4 of flags, and the kind of the section
        assert length >= 21 + size
        asked: dict[str, Any] = bson.decode(request[21 : 21 + size])
        with self.lock:
            if asked.get(self.command) != self.collection:
                return False
            self.seen += 1
            if self.seen != self.nth:
                return False
            self.cut.set()
            return True


def message(line: socket.socket) -> bytes:
    """One message of MongoDB's protocol; nothing when the other side has hung up."""
    received = b""
    wanted = 4
    while len(received) < wanted:
        part = line.recv(wanted - len(received))
        if not part:
            return b""
        received += part
        if len(received) == 4:
            (wanted,) = struct.unpack("<i", received)
    return received


@contextmanager
def line(uri: str, step: str, nth: int, *, after: bool) -> Generator[tuple[str, Line]]:
    """A line that will be cut, and the URI of the server at its other end."""
    command, collection = STEPS[step]
    cutting = Line(uri, command, collection, nth, after)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=cutting.serve, args=(listening,), daemon=True)
        serving.start()
        try:
            yield f"mongodb://127.0.0.1:{listening.getsockname()[1]}/?directConnection=true", cutting
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            serving.join(timeout=10)
            for end in cutting.lines:
                end.close()


@pytest.mark.parametrize("nth", [1, 2, 4])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("engine", "step"), EVERY_STEP)
def test_a_sweep_outlasts_a_cut_line(trial: Trial, step: str, after: bool, nth: int) -> None:
    nth = 1 if step == "begin the run" else nth  # it begins once
    with line(trial.uri, step, nth, after=after) as (uri, cutting):
        trial.uri = uri
        report = trial.sweep()
    assert cutting.cut.is_set() == (cutting.seen >= nth)
    assert cutting.cut.is_set() or nth > 1, "a sweep does each of these at least once"
    trial.judge(report)


@pytest.fixture
def _counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutant: updates inside MongoDB forget which version they are for."""
    guarded: Callable[..., Any] = inside.statements

    def unguarded(*arguments: Any) -> Any:
        built = guarded(*arguments)
        bounds = arguments[-1]
        careless = [{**one, "q": {"$and": [{}, *bounds]}} for one in built.statements]
        return built._replace(statements=careless)

    monkeypatch.setattr(inside, "statements", unguarded)


@pytest.mark.usefixtures("_counted_again")
@pytest.mark.parametrize("engine", ["declared"])
def test_a_repeated_update_without_its_version_would_be_seen(trial: Trial) -> None:
    with line(trial.uri, "write a batch", 1, after=True) as (uri, cutting):
        trial.uri = uri
        trial.sweep()
    assert cutting.cut.is_set()
    assert 2 in trial.counters().values()


def test_the_line_is_cut_where_it_is_to_be(trial: Trial) -> None:
    for after, moved in ((False, 0), (True, 1)):
        with line(trial.uri, "write a batch", 2, after=after) as (uri, cutting):
            more = f"{OPTIONS}&retryWrites=false"
            with MongoClient[dict[str, Any]](f"{uri}&{more}") as client:
                people = client[trial.db.name]["people"]
                people.update_one({"_id": 0}, {"$set": {"n": 0}})
                with pytest.raises(AutoReconnect):
                    people.update_one({"_id": 0}, {"$inc": {"n": 1}})
        assert cutting.cut.is_set()
        assert trial.counters()[0] == moved
