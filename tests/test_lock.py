"""The lock file: what it says, what is read back from it, and how git merges it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import create_model

from lazymigrate import Schema, ops
from lazymigrate.lock import Lock, LockConflictError, LockedRevision, LockedSchema, LockError
from lazymigrate.shape import shape

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
CHECKSUMS = st.from_regex(r"(ops|code|bytecode-cpython-3\.11):[0-9a-f]{32}", fullmatch=True)


@st.composite
def schemas(draw: st.DrawFn) -> LockedSchema:
    oldest = draw(st.integers(0, 2**40))
    names = draw(st.lists(st.tuples(TEXTS, CHECKSUMS), max_size=4))
    revisions = [
        LockedRevision(version=oldest + number, name=name, checksum=checksum)
        for number, (name, checksum) in enumerate(names, 1)
    ]
    return LockedSchema(
        name=draw(TEXTS),
        version_field=draw(TEXTS),
        base=draw(st.integers(0, 9)),
        oldest=oldest,
        revisions=tuple(revisions),
        shape=draw(st.none() | st.lists(TEXTS, max_size=4).map(tuple)),
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(schemas(), max_size=3))
def test_whatever_is_written_is_read_back(found: list[LockedSchema]) -> None:
    lock = Lock({schema.name: schema for schema in found})
    assert Lock.parse(lock.text()) == lock
    assert Lock.parse(lock.text().replace("\n", "\r\n")) == lock


HOSTILE = [
    "]\n[x]",
    '"',
    "\\",
    "\x1b[31m",
    "<<<<<<< HEAD",
    "\u202e",
    "\x85",
    "\u2028",
    "=======",
    "a.b",
    "é",
    " ",
    "🦣",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_on_their_line(name: str) -> None:
    schema = Schema(name, version_field="v")
    schema.revision(2, ops.nothing(), name=name)
    schema.model(create_model("Model", f=(int, ...)))
    text = Lock.of([schema]).text()
    assert Lock.parse(text) == Lock.of([schema])
    assert text.isascii() or name in ("é", "🦣")
    assert "\x1b" not in text
    assert len(text.splitlines()) == 14


def test_it_is_for_people_to_read() -> None:
    schema = Schema("users", oldest=2)
    schema.revision(3, ops.rename("mail", "email"), name="email")
    schema.model(create_model("User", email=(str, ...), nick=(str | None, None)))
    assert Lock.of([schema, Schema("a b", version_field="v", base=0)]).text().splitlines() == [
        "# What each version of the application's schemas does: `lazymigrate check` compares the code with it.",
        "# Commit this file. It is written by `lazymigrate check --write`, and not meant to be edited.",
        "format = 1",
        "",
        '[schemas."a b"]',
        'version_field = "v"',
        "base = 0",
        "oldest = 0",
        "revisions = [",
        "]",
        "",
        "[schemas.users]",
        'version_field = "schema_version"',
        "base = 1",
        "oldest = 2",
        "revisions = [",
        '  "3 email ops:4573c1a88c625c3a85667a020219ec2a",',
        "]",
        "shape = [",
        '  "email: str",',
        '  "nick: null | str (optional)",',
        "]",
    ]


def test_the_order_of_declaration_does_not_count() -> None:
    assert Lock.of([Schema("b"), Schema("a")]).text() == Lock.of([Schema("a"), Schema("b")]).text()


def test_two_schemas_of_one_name_are_an_error() -> None:
    with pytest.raises(LockError, match=r"Give each a name of its own\."):
        Lock.of([Schema("a"), Schema("a")])


def test_a_name_that_is_no_unicode_is_an_error() -> None:
    with pytest.raises(LockError, match=r"Rename it"):
        Lock.of([Schema("\ud800")]).text()


TABLE = 'format = 1\n[schemas.a]\nversion_field = "v"\nbase = 1\noldest = 1\nrevisions = []\n'
WRONG = {
    "no TOML": ("format = [", "is not TOML"),
    "a newer format": ("format = 2", "format 2"),
    "no format": ("[schemas.a]", "format = 1"),
    "a format that is none": ('format = "1"', "format = 1"),
    "no tables": ("format = 1\nschemas = 3", "format = 1"),
    "a table that is none": ("format = 1\n[schemas]\na = 3", "'version_field' is missing"),
    "a truth for a number": (TABLE.replace("base = 1", "base = true"), "'base' is missing"),
    "a text for a list": (TABLE.replace("[]", '"2 a ops:00"'), "'revisions' is missing"),
    "no line of a revision": (TABLE.replace("[]", '["two a ops:00"]'), "not 'version name checksum'"),
    "a number for a line": (TABLE.replace("[]", "[2]"), "not 'version name checksum'"),
    "no shape": (TABLE + "shape = [1]", "'shape' is no list of lines"),
    "a number that is too long": (TABLE.replace("base = 1", f"base = {'1' * 5000}"), "is not TOML"),
    "a marker that was left": (TABLE + "=======\n", "markers of git that do not belong together (the first in line 7)"),
    "half a merge": ("<<<<<<< ours\n" + TABLE, "markers of git that do not belong together (the first in line 1)"),
    "a hostile name": (TABLE.replace("a]", '"\\u001b[31m"]').replace("base = 1", ""), "'base' is missing"),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_a_file_that_is_no_lock_is_one_sentence_with_a_remedy(text: str, said: str) -> None:
    with pytest.raises(LockError) as caught:
        Lock.parse(text)
    assert said in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert str(caught.value).endswith((".", "--write`."))


def declared(*names: str, fields: tuple[str, ...] = ()) -> Schema:
    """A schema whose revisions add fields of these names."""
    schema = Schema("users")
    for version, name in enumerate(("first", "second", *names), 2):
        schema.revision(version, ops.add(name, 1), name=name)
    schema.model(create_model("User", **dict.fromkeys(("name", *names, *fields), (int, 0))))
    return schema


class Repository:
    """A repository of git with a lock file."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "lazymigrate.lock"
        self.directory = directory
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.org")
        self.commit(declared())

    def git(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        run = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
        return subprocess.run(run, cwd=self.directory, check=check, capture_output=True, text=True)

    def commit(self, *schemas: Schema) -> None:
        self.file.write_text(Lock.of(schemas).text())
        self.git("add", ".")
        self.git("commit", "-q", "--allow-empty", "-m", "x")

    def branches(self, ours: Schema, theirs: Schema, style: str = "merge") -> bool:
        """Whether a branch with theirs merges into one with ours."""
        self.git("checkout", "-q", "-b", "theirs")
        self.commit(theirs)
        self.git("checkout", "-q", "main")
        self.commit(ours)
        return self.git("-c", f"merge.conflictStyle={style}", "merge", "theirs", check=False).returncode == 0


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    return Repository(tmp_path)


@pytest.mark.parametrize("style", ["merge", "diff3"])
def test_two_branches_that_add_the_same_version_conflict(repository: Repository, style: str) -> None:
    ours, theirs = declared("phone"), declared("fax", "telex")
    assert not repository.branches(ours, theirs, style)
    with pytest.raises(LockConflictError) as caught:
        Lock.parse(repository.file.read_text())
    (collision,) = caught.value.collisions
    assert (collision.schema, collision.ours.version, collision.ours.name, collision.theirs.name) == (
        "users",
        4,
        "phone",
        "fax",
    )
    assert (collision.after_ours, collision.after_theirs) == (5, 6)
    found = [side.schemas["users"].revisions for side in caught.value.sides]
    assert found == [Lock.of([each]).schemas["users"].revisions for each in (ours, theirs)]
    assert "renumber the one that is merged later to 5 if that is theirs, to 6 if that is ours" in str(caught.value)


def test_one_version_each_is_renumbered_to_the_next(repository: Repository) -> None:
    assert not repository.branches(declared("phone"), declared("fax"))
    with pytest.raises(
        LockConflictError, match=r"'phone' \(ours\) and 'fax' \(theirs\)\. .* merged later to 5, and run"
    ):
        Lock.parse(repository.file.read_text())


def test_a_branch_that_adds_a_version_merges_with_one_that_does_not(repository: Repository) -> None:
    assert repository.branches(declared("phone"), declared())
    assert Lock.parse(repository.file.read_text()) == Lock.of([declared("phone")])


def test_branches_that_change_different_schemas_merge(repository: Repository) -> None:
    other, grown = Schema("aaa"), Schema("aaa")
    grown.revision(2, ops.add("x", 1))
    repository.commit(declared(), other)
    repository.git("checkout", "-q", "-b", "theirs")
    repository.commit(declared(), grown)
    repository.git("checkout", "-q", "main")
    repository.commit(declared("phone"), other)
    assert repository.git("merge", "theirs", check=False).returncode == 0
    assert Lock.parse(repository.file.read_text()) == Lock.of([declared("phone"), grown])


def test_a_conflict_without_revisions_says_so(repository: Repository) -> None:
    assert not repository.branches(declared(fields=("zip",)), declared(fields=("zoo",)))
    with pytest.raises(LockConflictError, match=r"has conflict markers of git\. Settle the code") as caught:
        Lock.parse(repository.file.read_text())
    assert caught.value.collisions == ()


def test_the_shape_of_a_lock_is_that_of_the_model() -> None:
    schema = declared("phone")
    assert schema.adapter is not None
    assert Lock.of([schema]).schemas["users"].shape == shape(schema.adapter.model)
