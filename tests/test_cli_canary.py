"""No password and no document's value comes out of the command line: through every command, and every way to fail.

The commands are found by walking the group, so that one without a case here fails.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
import pytest
from click.testing import CliRunner, Result
from pymongo.collection import Collection

from lazymigrate.cli import app as cli_app
from lazymigrate.cli import group

People = Collection[dict[str, Any]]
Path_ = tuple[str, ...]

PASSWORD = "canary-password"
VALUE = "canary-value"
USER = "canary-user"

CASES: dict[Path_, list[list[str]]] = {
    # command: the arguments of some ways to call it; the first of them is also tried with everything that can be wrong
    ("check",): [["--file", "one.lock"], ["--file", "two.lock", "--write"], ["--file", "one.lock", "--json"]],
    ("coverage",): [
        [],
        ["--json"],
        ["--sample", "5"],
        ["--record"],
        ["--format", "html", "-o", "report.html"],
        ["--format", "prometheus"],
    ],
    ("deploy",): [[], ["--json"]],
    ("diff",): [["people", "1"], ["people", "1", "--json"], ["people", "0"], ["people", "77"]],
    ("doctor",): [[], ["--json"]],
    ("downgrade",): [["people", "--to", "1"], ["people", "--to", "1", "--json"], ["people", "--to", "1", "--dry-run"]],
    ("drift",): [[], ["--json"]],
    ("history",): [[], ["--json"]],
    ("partitions",): [["people", "2"]],
    ("quarantine", "ls"): [[], ["--json"]],
    ("quarantine", "show"): [["0"], ["0", "--json"], ["77"]],
    ("quarantine", "retry"): [["--all"], ["0"], ["--all", "--json"]],
    ("quarantine", "release"): [["--all", "--json"], ["0"], ["77"]],
    ("retire",): [["people", "2", "--yes"], ["people", "2", "--yes", "--json"]],
    ("run", "ls"): [[], ["--json"]],
    ("run", "pause"): [["people"]],
    ("run", "resume"): [["people"]],
    ("run", "cancel"): [["people", "--json"]],
    ("run", "set"): [["people", "--rate", "5"]],
    ("stamp",): [
        ["people", "--from", "1", "--to", "2", "--yes"],
        ["people", "--from", "2", "--to", "1", "--yes", "--json"],
    ],
    ("status",): [[], ["--json"]],
    ("sweep",): [[], ["--json"], ["--dry-run"], ["--max-failures", "0"], ["--max-seconds", "0.000001"]],
    ("verify",): [[], ["--json"]],
}
OWN_SERVER: dict[Path_, list[list[str]]] = {("demo",): [["--documents", "10"]]}  # has an application of its own
OFFLINE = {("check",)}  # does something useful without a server
SHOWS_VALUES = {("diff",)}  # a person asked for them
STATUSES = {0, 1, 2, 3, 75}

APP = f"""
from pydantic import BaseModel

from lazymigrate import Schema, ops

people = Schema("people")

@people.revision(2)
def second(person):
    if person.get("bad"):
        raise ValueError("it is {VALUE} of " + person["name"])
    person["second"] = person["name"]

@second.downgrade
def first(person):
    person.pop("second", None)

people.revision(3, ops.rename("mail", "email"), ops.convert("n", "int", back="string"))

@people.model
class Person(BaseModel):
    name: int
"""


def commands(of: click.Command = group, path: Path_ = ()) -> Iterator[tuple[Path_, click.Command]]:
    """Every command that does something, with the words that call it."""
    if isinstance(of, click.Group):
        for name, inner in of.commands.items():
            yield from commands(inner, (*path, name))
    else:
        yield path, of


EVERY = dict(commands())
WITH_APP = sorted(EVERY.keys() - OWN_SERVER.keys())


@dataclass
class Shell:
    """The command, with an application and a server that asks for a password."""

    directory: Path
    uri: str
    people: People

    def __call__(self, *words: str, typed: str = "", **environment: str | None) -> Result:
        settings = {"LAZYMIGRATE_APP": "canary_app", "LAZYMIGRATE_MONGODB_URI": self.uri, "COLUMNS": "80"}
        runner = CliRunner(env={**settings, "MONGODB_URI": None, **environment})
        return runner.invoke(group, list(words), prog_name="lazymigrate", input=typed)

    def written(self) -> str:
        """What the command left in its directory."""
        files = [path for path in self.directory.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
        return "".join(path.read_text("utf-8") for path in files)


@pytest.fixture
def stranger(people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The server does not know the user: whoever gets as far as it is refused."""
    (tmp_path / "canary_app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    host, port = people.database.client.address
    options = "directConnection=true&serverSelectionTimeoutMS=300"
    return Shell(tmp_path, f"mongodb://{USER}:{PASSWORD}@{host}:{port}/{people.database.name}?{options}", people)


@pytest.fixture
def shell(stranger: Shell) -> Iterator[Shell]:
    """The server knows the user, and the collection has documents of all kinds."""
    people = stranger.people
    people.insert_one({"_id": 0, "name": VALUE, "bad": VALUE})
    people.insert_many({"_id": n, "name": f"{VALUE}{n}", "mail": VALUE, "n": "5"} for n in range(1, 6))
    people.insert_one({"_id": 6, "name": VALUE, "n": VALUE, "schema_version": 2})
    people.insert_one({"_id": 7, "name": VALUE, "schema_version": VALUE})
    people.insert_one({"_id": 8, "name": VALUE, "email": VALUE, "schema_version": 3})
    name = f"{USER}{uuid4().hex[:8]}"
    database = people.database
    database.command("createUser", name, pwd=PASSWORD, roles=[{"role": "root", "db": "admin"}])
    yield Shell(stranger.directory, stranger.uri.replace(USER, name), people)
    database.command("dropUser", name)


def leaks(done: Result, *secrets: str) -> list[str]:
    """Which of these came out, in plain text or in pieces that a terminal's width made of them."""
    joined = re.sub(r"\s+", "", done.stdout + done.stderr)
    return [secret for secret in secrets if secret in joined]


def readable(done: Result) -> None:
    """An end that a person can act on: a known status, no traceback, and after an error what to do about it."""
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code in STATUSES
    assert "Traceback" not in done.output


def refused(done: Result) -> None:
    """An error of one sentence, or a few, and the remedy."""
    readable(done)
    assert done.exit_code in (1, 2), done.output
    said = done.stderr.strip().splitlines()
    (error,) = [line for line in said if line.startswith("Error: ")]
    assert said[-1] == error, done.stderr
    assert error.endswith(".")
    assert re.search(r"[.?] \S", error), f"no remedy: {error}"
    assert len(error) < 400


def test_every_command_has_a_case() -> None:
    assert set(EVERY) == CASES.keys() | OWN_SERVER.keys()


@pytest.mark.parametrize("path", WITH_APP, ids=" ".join)
def test_no_command_lets_a_password_or_a_value_out(shell: Shell, path: Path_) -> None:
    secrets = (PASSWORD,) if path in SHOWS_VALUES else (PASSWORD, VALUE)
    if path[0] == "quarantine":
        shell("sweep")
    for arguments in CASES[path]:
        done = shell(*path, *arguments)
        readable(done)
        assert leaks(done, *secrets) == [], arguments
        assert not {PASSWORD, VALUE} & set(re.findall(r"canary-\w+", shell.written()))
        given = shell(*path, *arguments, "--uri", shell.uri, LAZYMIGRATE_MONGODB_URI=None)
        readable(given)
        assert leaks(given, *secrets) == [], arguments


def test_a_value_comes_out_of_diff_since_a_person_asked_for_it(shell: Shell) -> None:
    assert leaks(shell("diff", "people", "1"), PASSWORD, VALUE) == [VALUE]
    assert leaks(shell("diff", "people", "0"), PASSWORD, VALUE) == []  # it fails, and the error's own text stays inside
    assert leaks(shell("diff", "people", "7"), PASSWORD, VALUE) == []


def unreachable(shell: Shell) -> dict[str, str | None]:
    return {"LAZYMIGRATE_MONGODB_URI": f"mongodb://{USER}:{PASSWORD}@127.0.0.1:1/shop?serverSelectionTimeoutMS=100"}


def wrong_password(shell: Shell) -> dict[str, str | None]:
    return {"LAZYMIGRATE_MONGODB_URI": shell.uri.replace(f":{PASSWORD}@", f":{PASSWORD}-wrong@")}


def no_port(shell: Shell) -> dict[str, str | None]:
    return {"LAZYMIGRATE_MONGODB_URI": f"mongodb://{USER}:{PASSWORD}@host:{PASSWORD}/shop"}


def unescaped(shell: Shell) -> dict[str, str | None]:
    return {"LAZYMIGRATE_MONGODB_URI": f"mongodb://{USER}:{PASSWORD}@{PASSWORD}:1/2@host/shop"}


def no_scheme(shell: Shell) -> dict[str, str | None]:
    return {"LAZYMIGRATE_MONGODB_URI": f"{USER}:{PASSWORD}@host/shop"}


def no_database(shell: Shell) -> dict[str, str | None]:
    return {"LAZYMIGRATE_MONGODB_URI": re.sub(r"/test_\w+", "/", shell.uri)}


def no_server(shell: Shell) -> dict[str, str | None]:
    return {"LAZYMIGRATE_MONGODB_URI": None}


SERVER_TROUBLE: tuple[Callable[[Shell], dict[str, str | None]], ...] = (
    unreachable,
    wrong_password,
    no_port,
    unescaped,
    no_scheme,
    no_database,
    no_server,
)


@pytest.mark.parametrize("trouble", SERVER_TROUBLE, ids=lambda trouble: trouble.__name__)
@pytest.mark.parametrize("path", sorted(set(WITH_APP) - OFFLINE), ids=" ".join)
def test_trouble_with_the_server_is_told_without_the_password(
    stranger: Shell, path: Path_, trouble: Callable[[Shell], dict[str, str | None]]
) -> None:
    arguments = [*CASES[path][0]]
    if path[0] != "quarantine" and any(one.name == "as_json" for one in EVERY[path].params):
        arguments = [*(one for one in arguments if one != "--json"), "--json"]
    done = stranger(*path, *arguments, **trouble(stranger))
    refused(done)
    assert done.stdout == ""
    assert leaks(done, PASSWORD, VALUE) == []


MISPLACED: list[list[str]] = [
    ["URI"],
    ["check", "URI"],
    ["status", "URI"],
    ["status", "--app", "URI"],
    ["status", "--database", "URI"],
    ["status", "--collection", "URI"],
    ["status", "--sample", "URI"],
    ["coverage", "-o", "URI"],
    ["coverage", "--format", "URI"],
    ["diff", "people", "URI"],
    ["diff", "people", "--file", "URI"],
    ["quarantine", "show", "URI"],
    ["quarantine", "URI"],
    ["run", "pause", "URI"],
    ["stamp", "URI", "--from", "1", "--to", "2"],
]


@pytest.mark.parametrize("words", MISPLACED, ids=" ".join)
def test_a_uri_in_the_place_of_something_else_is_told_without_its_password(shell: Shell, words: list[str]) -> None:
    uri = f"mongodb://{USER}:{PASSWORD}@localhost/shop"
    done = shell(*(uri if word == "URI" else word for word in words))
    readable(done)
    assert done.exit_code in (1, 2)
    assert leaks(done, PASSWORD) == []


RAISES = "raise RuntimeError('no answer from mongodb+srv://{user}:{password}@db.example.org/shop and ' + 'x' * 9)"
APPS: dict[str, str] = {
    "missing_app": "",
    "raising": RAISES,
    "chained": "try:\n    {raises}\nexcept RuntimeError as error:\n    raise ImportError(str(error)) from error",
    "unescaped_app": "raise RuntimeError('mongodb://{user}:{password}@{password}@db.example.org/shop')",
    "factory": "def make():\n    {raises}",
    "nothing_in_it": "uri = 'mongodb://{user}:{password}@db/'",
}


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("path", WITH_APP, ids=" ".join)
def test_trouble_with_the_application_is_told_without_the_password(stranger: Shell, path: Path_, app: str) -> None:
    module = f"{app}_{uuid4().hex[:8]}"
    if APPS[app]:
        raises = RAISES.format(user=USER, password=PASSWORD)
        text = APPS[app].format(user=USER, password=PASSWORD, raises=raises)
        (stranger.directory / f"{module}.py").write_text(text)
    done = stranger(*path, *CASES[path][0], LAZYMIGRATE_APP=f"{module}:make" if app == "factory" else module)
    refused(done)
    assert leaks(done, PASSWORD, VALUE) == []


@pytest.mark.parametrize("path", sorted(set(WITH_APP) - OFFLINE), ids=" ".join)
def test_names_that_are_wrong_are_told(shell: Shell, path: Path_) -> None:
    bad = shell(*path, *CASES[path][0], "--database", f"no {PASSWORD}$")
    assert bad.exit_code == 2
    readable(bad)
    bad = shell(*path, *CASES[path][0], "--collection", "no..name")
    assert bad.exit_code == 2
    assert "Correct --collection." in bad.stderr
    gone = shell(*path, *CASES[path][0], "--collection", "nobody_made_this")
    readable(gone)
    assert leaks(gone, PASSWORD, VALUE) == []


@pytest.mark.parametrize("path", sorted(set(WITH_APP) - OFFLINE), ids=" ".join)
def test_who_is_asked_is_not_told_the_password(shell: Shell, path: Path_, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_app, "is_this_machine", lambda host: False)
    done = shell(*path, *CASES[path][0], typed="n\n")
    readable(done)
    assert leaks(done, PASSWORD, *([] if path in SHOWS_VALUES else [VALUE])) == []


def test_the_demonstration_does_not_show_the_password(shell: Shell) -> None:
    done = shell("demo", "--documents", "10")
    assert done.exit_code == 0, done.output
    assert leaks(done, PASSWORD) == []
    for trouble in (unreachable, wrong_password, no_port, unescaped):
        failed = shell("demo", "--documents", "10", **trouble(shell))
        readable(failed)
        assert failed.exit_code == 1
        assert leaks(failed, PASSWORD) == []


def test_without_the_guards_the_canaries_come_out(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above would see."""
    (shell.directory / "leaky_canary.py").write_text(RAISES.format(user=USER, password=PASSWORD))
    with monkeypatch.context() as patch:
        patch.setattr(cli_app, "redacted", lambda text: text)
        assert leaks(shell("verify", LAZYMIGRATE_APP="leaky_canary"), PASSWORD) == [PASSWORD]
    with monkeypatch.context() as patch:
        patch.setattr(cli_app, "refusal", lambda client, error: shell.uri)
        patch.setattr(cli_app, "redacted", lambda text: text)
        failed = shell("verify", LAZYMIGRATE_MONGODB_URI=wrong_password(shell)["LAZYMIGRATE_MONGODB_URI"])
        assert leaks(failed, PASSWORD) == [PASSWORD]


def test_a_uri_with_unknown_options_is_not_shown(shell: Shell) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done = shell("status", LAZYMIGRATE_MONGODB_URI=f"{shell.uri}&pass={PASSWORD}&retryWrites={PASSWORD}")
    readable(done)
    assert leaks(done, PASSWORD) == []
    assert not any(PASSWORD in str(each.message) for each in caught)
