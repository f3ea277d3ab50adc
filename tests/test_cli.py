"""The command line, as a process: what a person sees."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from dns.resolver import NXDOMAIN, LifetimeTimeout
from pymongo import MongoClient
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from lazymigrate.cli.app import connected
from lazymigrate.cli.refusal import refusal, unresolved
from lazymigrate.wording import with_article

RUN = [sys.executable, "-c", "from lazymigrate.cli import main; main()"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8", **environment},
    )


def test_the_demonstration_tells_its_story(mongo_uri: str) -> None:
    done = run("demo", "--documents", "1000", LAZYMIGRATE_MONGODB_URI=mongo_uri)
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert out.count("│ at head") == 3
    assert "1 (" not in out.split("Afterwards:")[1]
    assert "3 (head) │     1,000 │ 100.0%" in out
    assert "complete" in out.split("Afterwards:")[1]
    assert "█" in out
    assert all(len(line) <= 80 for line in out.splitlines() if line.startswith(("│", "┏", "└")))
    assert mongo_uri not in out


def test_the_demonstration_without_a_server_says_what_to_do() -> None:
    done = run("demo", LAZYMIGRATE_MONGODB_URI="mongodb://u:canary@127.0.0.1:1/?serverSelectionTimeoutMS=200")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "lazymigrate[embedded]" in done.stderr
    assert "Traceback" not in done.stderr
    assert "canary" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["-h"]])
def test_help_fits_one_screen(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    assert all(len(line) <= 80 for line in lines)


def test_wrong_usage_is_exit_code_2() -> None:
    assert run("demo", "--documents", "many").returncode == 2
    assert run("nonsense").returncode == 2


# What is said of an error of the server


@pytest.fixture
def nowhere() -> Any:
    """A client that has not looked for its server yet."""
    with MongoClient[dict[str, Any]](
        "mongodb://canary-user:canary-password@db.example.org/shop", connect=False
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("error", "cause", "remedy"),
    [
        (AutoReconnect("h:1: [Errno 111] Connection refused (…)"), "the connection was refused", "Start it,"),
        (AutoReconnect("h:1: [WinError 10061] the target machine actively refused it"), "the connection was", "Start"),
        (AutoReconnect("h:1: [Errno -2] Name or service not known"), "the name of the host is not known", "Correct"),
        (
            AutoReconnect("h:1: [Errno 8] nodename nor servname provided"),
            "the name of the host is not known",
            "Correct",
        ),
        (AutoReconnect("h:1: [Errno 11001] getaddrinfo failed"), "the name of the host is not known", "Correct"),
        (AutoReconnect("SSL handshake failed: h:1: [SSL: WRONG_VERSION_NUMBER]"), "the TLS handshake failed", "Check"),
        (AutoReconnect("h:1: [SSL: CERTIFICATE_VERIFY_FAILED] (…)"), "the TLS handshake failed", "Check `tls`"),
        (NetworkTimeout("h:1: The read operation took too long"), "it timed out", "Check the firewall"),
        (AutoReconnect("h:1: timed out (configured timeouts: …)"), "it timed out", "Check the firewall"),
        (AutoReconnect("h:1: [Errno 113] No route to host"), "no network leads there", "Check the network"),
        (AutoReconnect("h:1: connection closed"), "it closed the connection", "Check whether it wants TLS"),
        (
            ServerSelectionTimeoutError('No replica set members available for replica set name "nope", Timeout: 0.3s'),
            "no member belongs to the replica set that was named",
            "Correct `replicaSet`",
        ),
        (ServerSelectionTimeoutError("No primary available for writes, Timeout: 5s"), "there is no primary", "Wait"),
    ],
)
def test_why_a_server_does_not_answer_is_said_in_plain_words(
    nowhere: MongoClient[Any], error: PyMongoError, cause: str, remedy: str
) -> None:
    said = refusal(nowhere, error)
    assert said.startswith(f"MongoDB at db.example.org:27017 does not answer: {cause}")
    assert f". {remedy}" in said
    assert said.endswith(".")
    assert "h:1" not in said
    assert "canary" not in said


def test_a_cause_that_nobody_knows_is_named_by_its_class(nowhere: MongoClient[Any]) -> None:
    said = refusal(nowhere, ServerSelectionTimeoutError("canary, Timeout: 5s: timed out, refused, [SSL"))
    assert said.startswith("MongoDB at db.example.org:27017 does not answer (ServerSelectionTimeoutError). Start it,")
    assert "canary" not in said


def test_dns_is_told_from_a_uri_that_is_wrong() -> None:
    def configuration(cause: Exception) -> ConfigurationError:
        error = ConfigurationError("canary")
        error.__cause__ = cause
        return error

    said = str(unresolved(configuration(NXDOMAIN())))
    assert said.startswith("DNS has no entry for the name in the mongodb+srv:// URI. Correct")
    assert "DNS did not answer in time" in str(unresolved(configuration(LifetimeTimeout(timeout=1, errors=[]))))
    assert unresolved(configuration(ValueError())) is None
    assert unresolved(ConfigurationError("canary")) is None


def test_a_name_that_dns_does_not_know_is_an_error_and_not_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_name(uri: str, **_: Any) -> None:
        raise ConfigurationError(f"The DNS query name does not exist: {uri}.") from NXDOMAIN()

    monkeypatch.setattr("lazymigrate.cli.app.MongoClient", no_such_name)
    with (
        pytest.raises(click.ClickException, match="DNS has no entry") as caught,
        connected("mongodb+srv://u:canary@x.invalid/atlas", None),
    ):
        pass
    assert caught.value.exit_code == 1
    assert "canary" not in caught.value.message


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            'not authorized on shop to execute command { find: "lazymigrate.journal", filter: { x: "canary" }, $db: "s" }',
            "this user may not `find` in shop.lazymigrate.journal. Grant it: `lazymigrate doctor` lists the rights",
        ),
        (
            'not authorized on shop to execute command { listCollections: 1, filter: { name: "canary" } }',
            "this user may not `listCollections` in shop. Grant it:",
        ),
        (
            'not authorized on shop to execute command { usersInfo: "canary" }',
            "this user may not `usersInfo` in shop. Grant it:",
        ),
        (
            'not authorized on sh\x1b[1mop to execute command { find: "a\x1b[31mb" }',
            r"this user may not `find` in sh\x1b[1mop.a\x1b[31mb. Grant it:",
        ),
        (
            "command find requires authentication",
            "the command `find` (code 13, Unauthorized): nobody has logged in. Put",
        ),
        ("not canary", "(code 13, Unauthorized). Check what this user may do, and the server's log."),
    ],
)
def test_a_right_that_is_missing_is_named_and_nothing_of_the_command_s_body(
    nowhere: MongoClient[Any], said: str, expected: str
) -> None:
    told = refusal(nowhere, OperationFailure(said, 13, {"errmsg": said, "codeName": "Unauthorized"}))
    assert told.startswith("MongoDB at db.example.org:27017 refused the command")
    assert expected in told
    assert told.isprintable()
    assert "canary" not in told


def status(directory: Path, uri: str) -> str:
    """The error of a command that asks this server."""
    (directory / "shop_of_errors.py").write_text('from lazymigrate import Schema\nshop = Schema("shop")\n')
    path = os.pathsep.join([str(directory), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = run("status", LAZYMIGRATE_APP="shop_of_errors", LAZYMIGRATE_MONGODB_URI=uri, PYTHONPATH=path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "canary" not in done.stdout + done.stderr
    return done.stderr


def test_the_driver_s_own_errors_are_understood(tmp_path: Path, mongo_uri: str) -> None:
    host = mongo_uri.split("//")[1].split("/", maxsplit=1)[0]
    user, options = "u:canary-password@", "serverSelectionTimeoutMS=300&connectTimeoutMS=200"
    assert "the connection was refused. Start it" in status(tmp_path, f"mongodb://{user}127.0.0.1:1/d?{options}")
    unknown = status(tmp_path, f"mongodb://{user}host.invalid/d?{options}")
    assert "MongoDB at host.invalid:27017 does not answer: the name of the host is not known." in unknown
    assert "the TLS handshake failed" in status(tmp_path, f"mongodb://{user}{host}/d?tls=true&{options}")
    assert "the replica set that was named" in status(tmp_path, f"mongodb://{user}{host}/d?replicaSet=x&{options}")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "it timed out. Check" in status(tmp_path, f"mongodb://{user}127.0.0.1:{port}/d?{options}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("int", "an int"),
        ("object", "an object"),
        ("AsyncCollection", "an AsyncCollection"),
        ("UpgradeError", "an UpgradeError"),
        ("UUID", "a UUID"),
        ("User", "a User"),
        ("str", "a str"),
    ],
)
def test_the_article_is_the_one_that_is_spoken(name: str, said: str) -> None:
    assert with_article(name) == said
