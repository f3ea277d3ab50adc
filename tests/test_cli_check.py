"""`lazymigrate check`: what fails a pipeline, what is written, and what a merge leaves behind."""

from __future__ import annotations

import importlib
import itertools
import json
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pymongo.collection import Collection

from lazymigrate import LazyCollection, Schema, checking, ops
from lazymigrate.checking import check, compare
from lazymigrate.cli import group
from lazymigrate.cli.app import find_schemas
from lazymigrate.lock import Lock, LockedRevision, LockedSchema

NUMBERS = itertools.count()
APP = """
    from pydantic import BaseModel
    from lazymigrate import Schema, ops

    people = Schema("people")

    @people.revision(2)
    def split_name(person):
        person["first_name"], _, person["last_name"] = person.pop("name").partition(" ")

    people.revision(3, ops.add("active", True), name="active")
    # more

    @people.model
    class Person(BaseModel):
        first_name: str
        last_name: str
        active: bool = True
        # fields
"""
FIELD = ("# fields", "nick: str | None = None")
REVISION = ("# more", "people.revision(4, ops.add('nick', None), name='nick')")
EMPTY = ("# more", "people.revision(4, ops.nothing(), name='nick')")
CONSTANT = ('"active", True', '"active", False')


@dataclass
class Application:
    """An application in the current directory, and the command that checks it."""

    directory: Path
    name: str
    source: str = textwrap.dedent(APP)

    @property
    def lock(self) -> Path:
        return self.directory / "lazymigrate.lock"

    def edit(self, *edits: tuple[str, str]) -> None:
        for old, new in edits:
            assert old in self.source
            self.source = self.source.replace(old, new)
        (self.directory / f"{self.name}.py").write_text(self.source)

    def __call__(self, *arguments: str, **environment: str) -> Result:
        for name in [name for name in sys.modules if name.partition(".")[0].startswith(self.name)]:
            del sys.modules[name]
        importlib.invalidate_caches()
        blank = {"MONGODB_URI": None, "LAZYMIGRATE_MONGODB_URI": None, "LAZYMIGRATE_APP": self.name}
        result = CliRunner().invoke(group, ["check", *arguments], env={**blank, **environment})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def open(self, people: Collection[dict[str, Any]]) -> LazyCollection[dict[str, Any]]:
        sys.modules.pop(self.name, None)
        importlib.invalidate_caches()
        (schema,) = find_schemas(self.name)
        return LazyCollection(people, schema)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it is kept by the second, and edits come faster
    application = Application(tmp_path, f"checked_app_{next(NUMBERS)}")
    application.edit()
    yield application
    for name in [name for name in sys.modules if name.startswith("checked_app_")]:
        del sys.modules[name]


@pytest.fixture
def locked(app: Application) -> Application:
    assert app("--write").exit_code == 0
    return app


def test_the_lock_file_is_asked_for_written_and_then_sound(app: Application) -> None:
    first = app()
    assert first.exit_code == 3
    assert "not in the lock file" in first.output
    assert not app.lock.exists()
    assert app("--write").exit_code == 0
    text = app.lock.read_bytes()
    sound = app()
    assert (sound.exit_code, sound.output) == (0, "sound: people\n")
    assert app("--write").exit_code == 0
    assert app.lock.read_bytes() == text
    assert [path.name for path in app.directory.iterdir() if "lock" in path.name] == ["lazymigrate.lock"]


@pytest.mark.parametrize("revision", [REVISION, EMPTY], ids=["with an operation", "empty"])
def test_a_field_without_a_revision_fails_and_with_one_passes(locked: Application, revision: tuple[str, str]) -> None:
    locked.edit(FIELD)
    failed = locked()
    assert failed.exit_code == 1
    assert "another shape than version 3" in failed.output
    assert "\n    + nick: null | str (optional)\n" in failed.output
    assert "ops.nothing()" in failed.output
    locked.edit(revision)
    assert locked().exit_code == 3
    assert locked("--write").exit_code == 0
    assert locked().exit_code == 0


def test_without_the_comparison_of_shapes_a_field_without_a_revision_would_pass(
    locked: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked.edit(FIELD)
    monkeypatch.setattr(checking, "shapes", lambda *_: ())
    assert locked().exit_code == 0


def test_the_last_line_says_what_was_counted(locked: Application) -> None:
    locked.edit(REVISION)
    assert locked().output.splitlines()[-1] == "1 change to write to lazymigrate.lock"
    locked.edit(CONSTANT)
    assert locked().output.splitlines()[-1] == "1 finding of drift, 1 change to write to lazymigrate.lock"
    locked.edit(('Schema("people")', 'Schema("people", base=0, oldest=1)'), ("name='nick'", "name='two'"))
    assert locked().output.splitlines()[-1] == "2 findings of drift, 1 change to write to lazymigrate.lock"


def test_what_is_no_change_is_none(locked: Application) -> None:
    locked.edit(
        ("def split_name(person):", "def split_name(person: dict) -> None:\n    '''Two names.'''"),
        ("active: bool = True", "active: bool = False  # another default is no other shape"),
        ("first_name: str\n    last_name: str", "last_name: str\n    first_name: str"),
    )
    assert locked().exit_code == 0


def test_a_changed_revision_is_not_written_over_unless_that_is_accepted(locked: Application) -> None:
    before = locked.lock.read_text()
    locked.edit(CONSTANT)
    for arguments in ([], ["--write"]):
        failed = locked(*arguments)
        assert failed.exit_code == 1
        assert "revision 3 'active' does something else than when it was locked" in failed.output
        assert locked.lock.read_text() == before
    assert locked("--write", "--accept").exit_code == 0
    assert locked.lock.read_text() != before
    assert locked().exit_code == 0


def test_without_the_guard_a_changed_revision_would_be_written_over(
    locked: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = locked.lock.read_text()
    locked.edit(CONSTANT)
    monkeypatch.setattr(checking.CheckReport, "writable", lambda *_, **__: True)
    locked("--write")
    assert locked.lock.read_text() != before


def test_the_report_as_json(locked: Application) -> None:
    assert json.loads(locked("--json").output) == {
        "format": 1,
        "sound": True,
        "drift": False,
        "unwritten": False,
        "schemas": ["people"],
        "findings": [],
    }
    locked.edit(FIELD)
    done = locked("--json")
    assert done.exit_code == 1
    (found,) = json.loads(done.output)["findings"]
    assert (found["schema"], found["kind"], found["level"]) == ("people", "shape", "drift")
    assert found["lines"] == ["+ nick: null | str (optional)"]
    locked.edit(REVISION)
    report = json.loads(locked("--json").output)
    assert (report["drift"], report["unwritten"], report["sound"]) == (False, True, False)


def test_another_file(app: Application) -> None:
    assert app("--write", "--file", "other.lock").exit_code == 0
    assert not app.lock.exists()
    assert app("--file", "other.lock").exit_code == 0
    assert app("--write", "--file", "nowhere/other.lock").exit_code == 2


def revision(version: int, name: str = "x", checksum: str = "ops:00") -> LockedRevision:
    return LockedRevision(version=version, name=name, checksum=checksum)


BEFORE = LockedSchema(
    name="a",
    version_field="v",
    base=1,
    oldest=1,
    revisions=(revision(2), revision(3, "y", "code:00")),
    shape=("f: int",),
)
THIRD = revision(3, "y", "code:00")
COMPARED: dict[str, tuple[LockedSchema, list[tuple[str, str]]]] = {
    "nothing": (BEFORE, []),
    "a changed revision": (replace(BEFORE, revisions=(revision(2, checksum="ops:01"), THIRD)), [("changed", "drift")]),
    "a function for operations": (
        replace(BEFORE, revisions=(revision(2, checksum="code:00"), THIRD)),
        [("changed", "drift")],
    ),
    "another name": (replace(BEFORE, revisions=(revision(2, "z"), THIRD)), [("renamed", "write")]),
    "another name and changed": (
        replace(BEFORE, revisions=(revision(2, "z", "ops:01"), THIRD)),
        [("changed", "drift")],
    ),
    "a missing revision": (replace(BEFORE, revisions=(revision(2),)), [("missing", "drift")]),
    "a new revision": (replace(BEFORE, revisions=(*BEFORE.revisions, revision(4))), [("new", "write")]),
    "retired revisions": (replace(BEFORE, oldest=2, revisions=(THIRD,)), [("retired", "write")]),
    "all retired": (replace(BEFORE, oldest=5, revisions=()), [("retired", "write")]),
    "oldest lowered": (
        replace(BEFORE, oldest=0, base=0, revisions=(revision(1), *BEFORE.revisions)),
        [("base", "drift"), ("oldest", "drift")],
    ),
    "another version field": (replace(BEFORE, version_field="w"), [("version_field", "drift")]),
    "another base": (replace(BEFORE, base=0), [("base", "drift")]),
    "another shape": (replace(BEFORE, shape=("f: str",)), [("shape", "drift")]),
    "another shape and a revision": (
        replace(BEFORE, shape=("f: str",), revisions=(*BEFORE.revisions, revision(4))),
        [("new", "write")],
    ),
    "another shape and only a changed revision": (
        replace(BEFORE, shape=("f: str",), revisions=(revision(2, checksum="ops:01"), THIRD)),
        [("changed", "drift"), ("shape", "drift")],
    ),
    "no model": (replace(BEFORE, shape=None), [("model", "write")]),
    "no source": (
        replace(BEFORE, revisions=(revision(2), revision(3, "y", "bytecode-cpython-3.11:00"))),
        [("incomparable", "note")],
    ),
}


@pytest.mark.parametrize(("now", "found"), COMPARED.values(), ids=COMPARED)
def test_what_is_found(now: LockedSchema, found: list[tuple[str, str]]) -> None:
    report = compare(Lock({"a": now}), Lock({"a": BEFORE}))
    assert [(finding.kind, finding.level) for finding in report.findings] == found
    assert report.drift == any(level == "drift" for _, level in found)
    assert report.unwritten == any(level == "write" for _, level in found)
    assert report.writable() == (not report.drift)
    assert report.writable(accept=True)
    for finding in report.findings:
        assert finding.remedy.endswith(".")
        assert str(finding) in str(report)


def test_schemas_that_come_and_go() -> None:
    here, there = replace(BEFORE, name="here"), replace(BEFORE, name="there")
    report = compare(Lock({"here": here}), Lock({"there": there}))
    assert [(finding.schema, finding.kind) for finding in report.findings] == [("there", "gone"), ("here", "new")]
    assert report.drift


def test_the_worst_comes_first_and_notes_alone_are_sound() -> None:
    now, found = COMPARED["no source"]
    assert found
    report = compare(Lock({"a": now}), Lock({"a": BEFORE}))
    assert report.sound
    more = compare(Lock({"a": replace(now, base=0)}), Lock({"a": BEFORE}))
    assert [finding.level for finding in more.findings] == ["drift", "note"]


def test_hostile_names_are_inert() -> None:
    schema = Schema("\x1b[31m<b>[red]")
    schema.revision(2, ops.nothing(), name="\x1b]0;x\x07")
    report = check([schema], Lock.of([Schema("\x1b[31m<b>[red]", version_field="\x1b[1m")]))
    assert len(report.findings) == 2
    assert str(report).replace("\n", "").isprintable()
    assert "\x1b" not in report.to_json()


def test_hostile_names_are_inert_on_the_command_line(app: Application) -> None:
    app.edit(('Schema("people")', 'Schema("\\x1b[31mpeople")'), ('name="active"', 'name="\\x1b]0;active\\x07"'))
    for arguments in ([], ["--write"], []):
        assert "\x1b" not in app(*arguments).output
    app.edit(CONSTANT)
    assert "\x1b" not in app().output
    app.edit(("people.revision(3", "people.revision(2"))
    assert "\x1b" not in app().output


# A merge of two branches


MERGED = """
    import importlib, pathlib
    from lazymigrate import Schema, ops

    people = Schema("people")
    for step in sorted(pathlib.Path(__file__).parent.glob("step_*.py")):
        exec(compile(step.read_text(), str(step), "exec"), {"people": people, "ops": ops})
"""


class Branches:
    """Two branches with a revision each, in files that git can merge."""

    def __init__(self, app: Application) -> None:
        self.app = app
        app.source = textwrap.dedent(MERGED)
        app.edit()
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.org")
        self.commit("a_first", 2)

    def git(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        run = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
        return subprocess.run(run, cwd=self.app.directory, check=check, capture_output=True, text=True)

    def declare(self, name: str, version: int) -> None:
        (self.app.directory / f"step_{name}.py").write_text(
            f"people.revision({version}, ops.add('{name}', 1), name='{name}')"
        )

    def commit(self, name: str, version: int) -> None:
        self.declare(name, version)
        assert self.app("--write").exit_code == 0
        self.git("add", ".")
        self.git("commit", "-q", "-m", name)


def test_a_merge_of_two_revisions_of_one_number_is_explained_until_it_is_settled(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    branches = Branches(app)
    branches.commit("b_second", 3)
    branches.git("checkout", "-q", "-b", "theirs")
    branches.commit("d_fax", 4)
    branches.git("checkout", "-q", "main")
    branches.commit("c_phone", 4)
    merged = branches.git("merge", "theirs", check=False)
    assert merged.returncode != 0
    assert "lazymigrate.lock" in merged.stdout
    conflicted = app.lock.read_text()
    assert "<<<<<<<" in conflicted

    failed = app("--write")
    assert failed.exit_code == 1
    assert "people: both branches added version 4: 'c_phone' (ours) and 'd_fax' (theirs)." in failed.output
    assert "renumber the one that is merged later to 5, and run `lazymigrate check --write`." in failed.output
    assert "people: version 4 is declared twice: 'c_phone'" in failed.output  # the code's own error
    assert app.lock.read_text() == conflicted
    kinds = [finding["kind"] for finding in json.loads(app("--json").output)["findings"]]
    assert sorted(kinds) == ["conflict", "declaration"]

    (app.directory / "step_d_fax.py").unlink()  # one of them is lost
    lost = app("--write", "--accept")
    assert lost.exit_code == 1
    assert "both branches added version 4" in lost.output
    assert app.lock.read_text() == conflicted

    branches.declare("d_fax", 5)
    assert app().exit_code == 3
    assert app("--write").exit_code == 0
    assert app().exit_code == 0
    assert '  "4 c_phone ops:' in app.lock.read_text()
    assert '  "5 d_fax ops:' in app.lock.read_text()


@pytest.mark.parametrize("kept", ["a4 a5 b4", "a4 b4 b5"])
def test_a_revision_beside_those_that_meet_is_missed_too(kept: str) -> None:
    from lazymigrate.lock import conflict

    def people(names: str) -> Schema:
        schema = Schema("people")
        for number, name in enumerate(names.split(), 2):
            schema.revision(number, ops.add(name, 1), name=name)
        return schema

    met = conflict(Lock.of([people("a4 a5")]), Lock.of([people("b4 b5")]))
    (found,) = checking.check_conflict([people(kept)], met).findings
    lost = ({"a4", "a5", "b4", "b5"} - {*kept.split()}).pop()
    assert (found.level, found.text) == ("drift", f"revision 3 '{lost}' of a merged branch is not declared")
    assert not checking.check_conflict([people("a4 a5 b4 b5")], met).drift


def test_without_the_guard_a_revision_that_a_merge_lost_would_not_be_missed() -> None:
    from lazymigrate.lock import conflict

    ours, theirs, kept = Schema("people"), Schema("people"), Schema("people")
    ours.revision(2, ops.add("phone", 1))
    theirs.revision(2, ops.add("fax", 1))
    kept.revision(2, ops.add("phone", 1))
    met = conflict(Lock.of([ours]), Lock.of([theirs]))
    assert checking.check_conflict([kept], met).drift
    met.collisions, met.sides = (), (met.sides[0], met.sides[0])
    assert not checking.check_conflict([kept], met).drift


# With a server


def uri_of(mongo_uri: str, people: Collection[dict[str, Any]]) -> str:
    separator, _, options = mongo_uri.partition("?")
    return f"{separator.rstrip('/')}/{people.database.name}?{options}"


RETIRED = [
    ('Schema("people")', 'Schema("people", oldest=2)'),
    ("@people.revision(2)\n", ""),
]


def test_retired_revisions_that_documents_still_need_fail(
    locked: Application, people: Collection[dict[str, Any]], mongo_uri: str
) -> None:
    uri = uri_of(mongo_uri, people)
    locked.edit(*RETIRED)
    assert locked("--write").exit_code == 0
    people.insert_many([{"_id": 1, "schema_version": 2}, {"_id": 2, "schema_version": 3}])
    assert locked(MONGODB_URI=uri).exit_code == 0
    people.insert_many([{"_id": 3, "name": "Ada"}, {"_id": 4, "schema_version": 1}])
    before = locked.lock.read_text()
    for arguments in ([], ["--write", "--accept"]):
        failed = locked(*arguments, MONGODB_URI=uri)
        assert failed.exit_code == 1
        assert "people: 2 documents are older than oldest=2" in failed.output
    assert locked.lock.read_text() == before
    assert locked("--offline", MONGODB_URI=uri).exit_code == 0
    assert locked("--json", "--uri", uri).exit_code == 1
    assert people.count_documents({}) == 4


def test_a_revision_that_was_deployed_is_never_accepted_as_another(
    locked: Application, people: Collection[dict[str, Any]], mongo_uri: str
) -> None:
    uri = uri_of(mongo_uri, people)
    locked.open(people).deploy()
    assert locked(MONGODB_URI=uri).exit_code == 0
    locked.edit(CONSTANT)
    before = locked.lock.read_text()
    failed = locked("--write", "--accept", MONGODB_URI=uri)
    assert failed.exit_code == 1
    assert "revision 3 'active'" in failed.output
    assert "registered" in failed.output
    assert "Restore it as it was deployed" in failed.output
    assert locked.lock.read_text() == before


def test_without_the_journal_a_deployed_revision_would_be_accepted_as_another(
    locked: Application, people: Collection[dict[str, Any]], mongo_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked.open(people).deploy()
    locked.edit(CONSTANT)
    monkeypatch.setattr(sys.modules["lazymigrate.cli.check"], "check_stored", lambda *_: ())
    assert locked("--write", "--accept", MONGODB_URI=uri_of(mongo_uri, people)).exit_code == 0


def test_a_server_that_does_not_answer_is_one_sentence_without_the_password(locked: Application) -> None:
    uri = "mongodb://u:canary@127.0.0.1:1/shop?serverSelectionTimeoutMS=200"
    failed = locked(MONGODB_URI=uri)
    assert failed.exit_code == 1
    assert "does not answer" in failed.output
    assert "canary" not in failed.output
    assert locked("--offline", MONGODB_URI=uri).exit_code == 0


# What can be wrong with the command


def test_a_lock_file_that_cannot_be_read_is_one_sentence(locked: Application) -> None:
    for text, said in (("format = [", "is not TOML"), ("format = 2", "has the format 2")):
        locked.lock.write_text(text)
        for arguments in ([], ["--write", "--accept"]):
            failed = locked(*arguments)
            assert failed.exit_code == 1
            assert said in failed.output
            assert locked.lock.read_text() == text
    locked.lock.write_bytes(b"\xff")
    assert locked().exit_code == 2
    locked.lock.unlink()
    locked.lock.mkdir()
    assert locked().exit_code == 2


def test_wrong_usage_is_exit_status_2(app: Application) -> None:
    assert app("--accept").exit_code == 2
    assert app("--app", "no_such_module_here").exit_code == 2
    app.edit(("people = Schema", "1 / 0\npeople = Schema"))
    failed = app()
    assert failed.exit_code == 2
    assert "ZeroDivisionError" in failed.output


def test_a_wrong_declaration_is_shown_as_it_is_said(app: Application) -> None:
    app.edit(("people.revision(3", "people.revision(5"))
    failed = app("--write")
    assert failed.exit_code == 1
    assert "revision 5 'active'" in failed.output
    assert "Number it 3, or declare what is between." in failed.output
    assert not app.lock.exists()


def test_help_fits_one_screen() -> None:
    done = CliRunner().invoke(group, ["check", "--help"], terminal_width=80)
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert len(lines) <= 24
    assert all(len(line) <= 80 for line in lines)


PAGE = Path(__file__).parent.parent / "docs" / "check.md"


def test_the_commands_and_the_example_of_the_page_are_right(app: Application) -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    commands = [
        command.group(1)
        for language, block in blocks
        if language in ("sh", "yaml")
        for command in re.finditer(r"lazymigrate check ([^#\n]*)", block)
    ]
    assert len(commands) == 4
    for command in commands:
        assert app(*shlex.split(command.replace("shop.schemas", app.name))).exit_code in (0, 3)
    for language, block in blocks:
        if language == "python":
            exec(block, {})
        if language == "toml":
            assert Lock.parse(block).schemas["users"].head == 3
    assert {"sh", "yaml", "python", "toml", "text"} == {language for language, _ in blocks}


def test_the_page_lists_every_finding() -> None:
    kinds = set(re.findall(r"(?m)^\| (\w+) +\| (?:drift|write|note) ", str(checking.__doc__)))
    table = PAGE.read_text("utf-8").partition("## What it finds")[2].partition("\n\nA revision")[0]
    assert kinds == set(
        re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in table.splitlines() if "|" in row))
    )
    assert {finding for _, found in COMPARED.values() for finding, _ in found} <= kinds
