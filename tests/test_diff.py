"""`diff`: a document before and after, as BSON has it, and nothing else is touched."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import Binary, Decimal128, Int64, ObjectId, json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection
from rich.console import Console
from schemas import users

from lazymigrate import Schema, UpgradeError
from lazymigrate import comparison as comparisons
from lazymigrate.cli import group
from lazymigrate.comparison import Comparison, DocumentChange, Line, changes, compared
from lazymigrate.report.comparison import comparison

People = Collection[dict[str, Any]]
STANDARD = CodecOptions[dict[str, Any]](uuid_representation=UuidRepresentation.STANDARD)
APP = """
from pydantic import BaseModel

from lazymigrate import Schema, ops

people = Schema("people")

@people.revision(2)
def split_name(person):
    person["first"], _, person["last"] = person.pop("name").partition(" ")

@split_name.downgrade
def join_name(person):
    person["name"] = person.pop("first") + " " + person.pop("last")

people.revision(3, ops.rename("mail", "email"), name="email")

@people.model
class Person(BaseModel):
    first: str
    email: str

other = Schema("other")
"""


def between(before: dict[str, Any], after: dict[str, Any]) -> Comparison:
    return Comparison(version=1, target=2, before=before, after=after)


# What differs


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"b": 1}, [("a", "removed"), ("b", "added")]),
        ({"a": 1}, {"a": Int64(1)}, [("a", "changed")]),
        ({"a": 1}, {"a": 1.0}, [("a", "changed")]),
        ({"a": 1}, {"a": True}, [("a", "changed")]),
        ({"a": 0.0}, {"a": -0.0}, [("a", "changed")]),
        ({"a": float("nan")}, {"a": float("nan")}, []),
        ({"a": Decimal128("1.0")}, {"a": Decimal128("1.00")}, [("a", "changed")]),
        ({"a": None}, {}, [("a", "removed")]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}, [("a", "reordered")]),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, [("a.c", "added")]),
        ({"a": [1, {"b": 1}]}, {"a": [1, {"b": 2}, 3]}, [("a.1.b", "changed"), ("a.2", "added")]),
        ({"a": [1]}, {"a": {"0": 1}}, [("a", "changed")]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, [("", "reordered")]),
        ({"a": UUID(int=1)}, {"a": Binary.from_uuid(UUID(int=1))}, []),
    ],
)
def test_paths_that_differ_are_named_with_how(
    before: dict[str, Any], after: dict[str, Any], expected: list[tuple[str, Any]]
) -> None:
    assert between(before, after).changes == [DocumentChange(path, kind) for path, kind in expected]


def test_a_comparison_by_python_s_equality_would_miss_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "encoded", lambda value: value)
    assert between({"a": 1, "b": 1, "c": 0.0}, {"a": Int64(1), "b": True, "c": -0.0}).changes == []


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, -0.0, 1.0, 1.5])
    | st.text(max_size=3)
    | st.integers(-3, 3).map(Int64),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
documents = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine, drawing takes as long
@given(documents, documents)
def test_nothing_differs_exactly_where_the_bytes_are_the_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    same = bson.encode(before) == bson.encode(after)
    assert (list(changes(before, after)) == []) is same
    assert (between(before, after).lines() == []) is same


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents, documents)
def test_the_lines_of_a_diff_rebuild_both_documents(before: dict[str, Any], after: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparisons, "AROUND", 10_000)
        found = between(before, after)
        lines = found.lines()
    if lines:
        one = [line.text for line in lines if line.mark in "- "]
        other = [line.text for line in lines if line.mark in "+ "]
        assert (read(one), read(other)) == (read(whole(before, found)), read(whole(after, found)))


def whole(document: dict[str, Any], found: Comparison) -> list[str]:
    alike = {each.path for each in changes(found.before, found.after)} & {
        each.path
        for each in changes(found.before, found.after)
        if each.kind == "changed" and comparisons.jsonable(each.before) == comparisons.jsonable(each.after)
    }
    return comparisons.written(document, alike)


def read(lines: list[str]) -> list[str]:
    return [line for line in lines if line]


def test_a_value_that_only_changes_its_type_is_shown_with_it() -> None:
    lines = between({"a": 1, "b": 1}, {"a": Int64(1), "b": 2}).lines()
    assert lines == [
        Line(" ", "{"),
        Line("-", '  "a": {"$numberInt": "1"}'),
        Line("-", '  "b": 1'),
        Line("+", '  "a": {"$numberLong": "1"}'),
        Line("+", '  "b": 2'),
        Line(" ", "}"),
    ]


def test_what_is_far_from_a_change_is_left_out() -> None:
    before = {f"f{n:02}": n for n in range(40)}
    lines = between(before, {**before, "f20": -1}).lines()
    assert [line.mark for line in lines].count("…") == 2
    assert len(lines) == 2 + 3 + 2 + 3
    assert lines[0].mark == lines[-1].mark == "…"


def test_the_upgraded_document_is_as_it_will_be_read_back() -> None:
    schema = Schema("people")

    @schema.revision(2)
    def tuples(person: dict[str, Any]) -> None:
        person["tags"] = (1, 2)

    assert compared(schema, {"_id": 1}, to=None).after["tags"] == [1, 2]


def test_there_and_back() -> None:
    schema = users()
    stored = {"_id": 1, "name": "Ada Lovelace", "mail": "a@b"}
    there = compared(schema, stored, to=2)
    assert (there.version, there.target, [one.version for one in there.revisions]) == (1, 2, [2])
    back = compared(schema, dict(compared(schema, stored, to=None).after), to=1)
    assert [one.version for one in back.revisions] == [3, 2]
    assert dict(back.after) == {**stored, "schema_version": 1}
    with pytest.raises(UpgradeError) as caught:
        compared(schema, {"_id": 1}, to=None)
    assert caught.value.revision == 2


@pytest.mark.parametrize("color", [True, False])
def test_marks_are_there_with_and_without_color(color: bool) -> None:
    schema = users()
    found = compared(schema, {"_id": 1, "name": "Ada Lovelace"}, to=None)
    console = Console(width=30, force_terminal=color, color_system="standard" if color else None)
    with console.capture() as captured:
        console.print(comparison(found, title="people 1"), soft_wrap=True)
    shown = captured.get()
    assert ("\x1b[31m" in shown) is color
    assert '-   "name": "Ada Lovelace"' in shown
    assert '+   "first_name": "Ada"' in shown
    assert "2 split_name: function" in shown
    assert "mail → email; + active" in shown


def test_hostile_documents_are_inert() -> None:
    bad = "\x1b[31m[red]\u202e\x9b"
    found = replace(between({"_id": bad, bad: 1}, {"_id": bad, bad: {bad: [bad]}}), revisions=())
    console = Console(width=80, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(comparison(found, title=bad), soft_wrap=True)
    shown = captured.get()
    assert "[red]" in shown
    assert not {"\x1b", "\u202e", "\x9b"} & set(shown)
    assert found.to_json().isascii()


# The command line


def command(tmp_path: Path, *arguments: str, people: People | None = None, typed: str | None = None) -> Result:
    (tmp_path / "diff_app.py").write_text(APP)
    environment: dict[str, Any] = {
        "LAZYMIGRATE_APP": "diff_app",
        "COLUMNS": "80",
        "MONGODB_URI": None,
        "LAZYMIGRATE_MONGODB_URI": None,
    }
    if people is not None:
        host, port = people.database.client.address
        environment["MONGODB_URI"] = f"mongodb://{host}:{port}/{people.database.name}?directConnection=true"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        done = CliRunner(env=environment).invoke(group, ["diff", *arguments], prog_name="lazymigrate", input=typed)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def test_a_stored_document_is_shown_and_left_alone(tmp_path: Path, people: People) -> None:
    people.insert_one({"_id": 5, "name": "Ada Lovelace", "mail": "a@b"})
    before = list(people.find())
    done = command(tmp_path, "people", "5", people=people)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("people 5: version 1 → 3\n")
    assert '-   "mail": "a@b"\n' in done.stdout
    assert '+   "email": "a@b"\n' in done.stdout
    assert list(people.find()) == before
    assert people.database.list_collection_names() == ["people"]


def test_json_holds_both_documents_and_the_changes(tmp_path: Path, people: People) -> None:
    identity = ObjectId()
    people.insert_one({"_id": identity, "first": "Ada", "mail": 7, "schema_version": 2})
    done = command(tmp_path, "people", str(identity), "--json", people=people)
    assert done.exit_code == 0, done.output
    data = json_util.loads(done.stdout)
    assert data["before"] == {"_id": identity, "first": "Ada", "mail": 7, "schema_version": 2}
    assert data["after"] == {"_id": identity, "first": "Ada", "schema_version": 3, "email": 7}
    assert data["changes"] == [
        {"path": "mail", "kind": "removed"},
        {"path": "schema_version", "kind": "changed"},
        {"path": "email", "kind": "added"},
    ]
    assert (data["collection"], data["version"], data["to"], data["revisions"]) == ("people", 2, 3, [3])
    assert data["unfit"] == "email: string_type"


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        (ObjectId("64b64c1f9d3e2a0001a1b2c3"), "64b64c1f9d3e2a0001a1b2c3"),
        ("64b64c1f9d3e2a0001a1b2c3", '"64b64c1f9d3e2a0001a1b2c3"'),
        ("ada", "ada"),
        (5, "5"),
        ("5", '"5"'),
        ("5", "5"),
        ({"a": 1}, '{"a": 1}'),
        (Binary.from_uuid(UUID(int=7)), str(UUID(int=7))),
    ],
)
def test_an_id_is_read_as_the_quarantine_reads_it(tmp_path: Path, people: People, stored: Any, typed: str) -> None:
    people.insert_one({"_id": stored, "name": "Ada Lovelace"})
    done = command(tmp_path, "people", typed, people=people)
    assert done.exit_code == 0, done.output
    assert '+   "first": "Ada"' in done.stdout


def test_it_goes_where_it_is_told(tmp_path: Path, people: People) -> None:
    people.insert_one({"_id": 1, "first": "Ada", "last": "L", "email": "a@b", "schema_version": 3})
    back = command(tmp_path, "people", "1", "--to", "1", people=people)
    assert back.exit_code == 0, back.output
    assert "version 3 → 1" in back.stdout
    assert "  3 email: undone: mail → email\n  2 split_name: undone: function\n" in back.stdout
    same = command(tmp_path, "people", "1", people=people)
    assert "Nothing changes." in same.stdout
    wrong = command(tmp_path, "people", "1", "--to", "9", people=people)
    assert wrong.exit_code == 2
    assert "not a version from 1 to 3" in wrong.stderr


def test_an_upgrade_that_fails_is_told_with_its_revision_and_without_values(tmp_path: Path, people: People) -> None:
    people.insert_one({"_id": 1, "nome": "canary-value"})
    done = command(tmp_path, "people", "1", people=people)
    assert done.exit_code == 1
    assert "revision 2" in done.stderr
    assert "split_name" in done.stderr
    assert "canary-value" not in done.output
    ahead = people.database["people"]
    ahead.insert_one({"_id": 2, "schema_version": 9})
    assert "Deploy the release" in command(tmp_path, "people", "2", people=people).stderr


def test_a_failure_names_the_document_as_it_was_typed(tmp_path: Path, people: People) -> None:
    people.insert_many([{"_id": "bad-1"}, {"_id": "\x1b[31m", "schema_version": "x"}])
    done = command(tmp_path, "people", "bad-1", people=people)
    assert 'people: document "bad-1" at version 1 cannot be upgraded' in done.stderr
    assert ".document_id" not in done.stderr
    done = command(tmp_path, "people", "\x1b[31m", people=people)
    assert r'document "\u001b[31m" has a str' in done.stderr
    assert "\x1b" not in done.output


def test_a_file_needs_no_server(tmp_path: Path) -> None:
    text = '{"_id": {"$oid": "64b64c1f9d3e2a0001a1b2c3"}, "name": "Ada Lovelace", "mail": "a@b"}'
    (tmp_path / "one.json").write_text(text)
    stored = command(tmp_path, "people", "--file", str(tmp_path / "one.json"))
    assert stored.exit_code == 0, stored.output
    assert stored.stdout.startswith("people 64b64c1f9d3e2a0001a1b2c3: version 1 → 3\n")
    piped = command(tmp_path, "people", "--file", "-", typed=text)
    assert piped.stdout == stored.stdout
    assert '-   "_id"' not in stored.stdout


@pytest.mark.parametrize(
    ("arguments", "typed", "said"),
    [
        (["people"], None, "Give its _id, or --file"),
        (["people", "1", "--file", "-"], "{}", "Give its _id, or --file"),
        (["nobody", "--file", "-"], "{}", "There is no schema 'nobody'"),
        (["people", "--file", "-"], "[1]", "it holds no document"),
        (["people", "--file", "-"], '{"a": canary', "cannot be read as Extended JSON"),
        (["people", "--file", "-"], '{"a": {"$oid": "canary"}}', "cannot be read as Extended JSON"),
        (["people", "--file", "-"], "[" * 100_000, "cannot be read as Extended JSON"),
        (["people", "--file", "nowhere.json"], None, "does not exist"),
        (["people", "1"], None, "Which server?"),
    ],
)
def test_wrong_usage_is_told_with_the_remedy(
    tmp_path: Path, arguments: list[str], typed: str | None, said: str
) -> None:
    done = command(tmp_path, *arguments, typed=typed)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert "canary" not in done.output


def test_a_document_that_is_not_there_is_an_error(tmp_path: Path, people: People) -> None:
    done = command(tmp_path, "people", "1\x1b[31m", people=people)
    assert done.exit_code == 1
    assert "has no document" in done.stderr
    assert "\x1b" not in done.output


def test_a_document_that_misfits_the_model_is_told_on_the_side(tmp_path: Path) -> None:
    done = command(tmp_path, "people", "--file", "-", typed='{"_id": 1, "name": "Ada L", "mail": 5}')
    assert done.exit_code == 0
    assert "does not fit the model: email: string_type" in done.stderr
    assert "does not fit" not in done.stdout
    fits = command(tmp_path, "people", "--file", "-", "--json", typed='{"_id": 1, "name": "Ada L", "mail": "x"}')
    assert json.loads(fits.stdout)["unfit"] is None
