"""The embedded server: found in the stated order, ended with its process, and a clear word where there is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from lazymigrate import embedded

HOLD = """
import sys
from lazymigrate import embedded
running = embedded.start()
print(running.uri, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def own_program(monkeypatch: pytest.MonkeyPatch) -> str:
    """A program to start, whatever server the other tests use."""
    monkeypatch.delenv("LAZYMIGRATE_MONGODB_URI", raising=False)
    try:
        return embedded.find_program()[0]
    except embedded.ServerError as error:
        pytest.fail(f"these tests start a server of their own: {error}")


def answers(uri: str) -> bool:
    try:
        with MongoClient(uri, serverSelectionTimeoutMS=300) as client:
            client.admin.command("ping")
    except PyMongoError:
        return False
    return True


def test_a_server_can_be_written_to_and_leaves_nothing_behind(
    own_program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with embedded.server() as running:
        assert "127.0.0.1" in running.uri
        with MongoClient(running.uri) as client:
            client.test.things.insert_one({"x": 1})
            assert client.admin.command("hello")["setName"]
        assert list(tmp_path.iterdir())
    assert not answers(running.uri)
    assert list(tmp_path.iterdir()) == []
    running.stop()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_server_ends_with_its_process(own_program: str, tmp_path: Path, how: signal.Signals | None) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "LAZYMIGRATE_MONGOD": own_program}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    uri = holder.stdout.readline().strip()
    assert answers(uri)
    if how is not None:
        holder.send_signal(how)
    holder.stdin.close()
    holder.wait()
    holder.stdout.close()
    for _ in range(50):
        if not answers(uri) and not list(tmp_path.iterdir()):
            break
    assert not answers(uri)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_runs_already_is_used_and_left_running(mongo_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYMIGRATE_MONGODB_URI", mongo_uri)
    with embedded.server() as running:
        assert running.uri == mongo_uri
        assert running.origin == "LAZYMIGRATE_MONGODB_URI"
    assert answers(mongo_uri)


def test_a_named_program_comes_before_the_one_on_the_path(
    own_program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = tmp_path / "mongod"
    on_path.symlink_to(own_program)
    monkeypatch.delenv("LAZYMIGRATE_MONGOD", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded.find_program() == (str(on_path), "mongod on the PATH")
    monkeypatch.setenv("LAZYMIGRATE_MONGOD", own_program)
    assert embedded.find_program() == (own_program, "LAZYMIGRATE_MONGOD")


def assert_lists_all_the_ways(message: str) -> None:
    for way in ("LAZYMIGRATE_MONGODB_URI", "LAZYMIGRATE_MONGOD=", "PATH", "lazymigrate[embedded]"):
        assert way in message


def test_no_server_is_an_error_that_lists_all_the_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAZYMIGRATE_MONGODB_URI", raising=False)
    monkeypatch.delenv("LAZYMIGRATE_MONGOD", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(embedded.ServerError, match="No MongoDB server was found") as caught:
        embedded.start()
    assert_lists_all_the_ways(str(caught.value))


def test_a_program_that_does_not_start_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "mongod"
    broken.write_text("#!/bin/sh\necho cannot find libcurl.so.4 >&2\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.delenv("LAZYMIGRATE_MONGODB_URI", raising=False)
    monkeypatch.setenv("LAZYMIGRATE_MONGOD", str(broken))
    with pytest.raises(embedded.ServerError, match=r"libcurl\.so\.4") as caught:
        embedded.start()
    assert_lists_all_the_ways(str(caught.value))
    monkeypatch.setenv("LAZYMIGRATE_MONGOD", str(tmp_path))
    with pytest.raises(embedded.ServerError, match="does not name a program"):
        embedded.start()


def test_a_server_that_does_not_answer_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYMIGRATE_MONGODB_URI", "mongodb://user:canary@127.0.0.1:1/?serverSelectionTimeoutMS=200")
    with pytest.raises(embedded.ServerError, match="does not answer") as caught:
        embedded.start()
    assert "canary" not in str(caught.value)
    server = embedded.Server("mongodb://user:canary@127.0.0.1", "somewhere")
    assert "canary" not in repr(server)
