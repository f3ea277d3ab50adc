"""Deploying, looking for drift, stamping and retiring on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from pymongo.uri_parser import parse_uri
from schemas import declared

from lazymigrate import Schema, ops
from lazymigrate.backlog import index
from lazymigrate.cli import group
from lazymigrate.collection import LazyCollection

Invoke = Callable[..., Result]
People = Collection[dict[str, Any]]


@pytest.fixture
def schema(monkeypatch: pytest.MonkeyPatch) -> Schema:
    module = ModuleType("journal_app")
    module.__dict__["people"] = declared()
    monkeypatch.setitem(sys.modules, "journal_app", module)
    schema: Schema = module.__dict__["people"]
    return schema


@pytest.fixture
def invoke(mongo_uri: str, people: People, schema: Schema) -> Invoke:
    def run(*arguments: str, answer: str | None = None, uri: str = mongo_uri) -> Result:
        command, *rest = arguments
        where = ["--app", "journal_app", "--uri", uri, "--database", people.database.name]
        runner = CliRunner(env={"COLUMNS": "80", "LAZYMIGRATE_APP": ""})
        return runner.invoke(group, [command, *where, *rest], input=answer, terminal_width=80)

    return run


def elsewhere(uri: str) -> str:
    """The same server under a name that does not look like this machine."""
    host, port = parse_uri(uri)["nodelist"][0]
    assert host == "127.0.0.1"
    return f"mongodb://127.1:{port}/?directConnection=true"


def test_deploying_registers_and_says_so(invoke: Invoke, people: People, schema: Schema) -> None:
    done = invoke("deploy", "--application", "shop 1")
    assert done.exit_code == 0, done.output
    assert "registered revisions 2, 3" in done.output
    assert index(schema).name in people.index_information()
    assert "nothing new to register" in invoke("deploy").output
    assert json.loads(invoke("deploy", "--json").stdout)["known"] == [2, 3]


def test_deploying_to_another_machine_asks(invoke: Invoke, people: People, mongo_uri: str) -> None:
    refused = invoke("deploy", answer="n\n", uri=elsewhere(mongo_uri))
    assert refused.exit_code == 1
    assert f"This writes to the database {people.database.name} of MongoDB at" in refused.stderr
    assert "up to 2 revisions are registered" in refused.stderr
    assert "Nothing was written" in refused.stderr
    assert people.database.list_collection_names() == []
    assert invoke("deploy", answer="y\n", uri=elsewhere(mongo_uri)).exit_code == 0


def test_drift_is_an_error_with_a_remedy(invoke: Invoke, people: People) -> None:
    assert invoke("deploy").exit_code == 0
    assert invoke("drift").exit_code == 0
    changed = Schema("people")
    changed.revision(2, ops.rename("name", "title"))
    changed.revision(3, ops.rename("mail", "email"), ops.add("active", value=True))
    sys.modules["journal_app"].__dict__["people"] = changed
    refused = invoke("deploy")
    assert refused.exit_code == 1
    assert "revision 2 'revision_2', registered" in refused.stderr
    assert "Take the change back" in refused.stderr
    assert "Traceback" not in refused.stderr
    found = invoke("drift")
    assert found.exit_code == 1
    assert "does something else as of" in found.stdout
    assert json.loads(invoke("drift", "--json").stdout)["revisions"][0]["version"] == 2


def test_history_shows_what_there_is(invoke: Invoke, people: People) -> None:
    assert "the journal is empty" in invoke("history").output
    people.insert_many([{"name": "x"}, {}])
    invoke("deploy", "--application", "[red]\x1b[31mshop")
    invoke("coverage", "--record")
    invoke("stamp", "people", "--from", "1", "--to", "2", "--yes")
    invoke("sweep")
    shown = invoke("history").output
    for heading in ("Revisions", "Sweeps", "Stamps set by hand", "Coverage"):
        assert heading in shown
    assert "[red]\\x1b[31mshop" in shown
    assert "succeeded" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    told = json.loads(invoke("history", "--json").stdout)
    assert [revision["version"] for revision in told["revisions"]] == [2, 3]
    assert told["revisions"][0]["operations"] == [{"op": "rename", "old": "name", "new": "full_name"}]
    assert told["stamps"][0]["documents"] == 2
    assert told["trend"][0]["total"] == 2


def test_stamping_asks_even_here(invoke: Invoke, people: People) -> None:
    people.insert_many([{"_id": 1}, {"_id": 2, "schema_version": 2}])
    told = invoke("stamp", "people", "--from", "1", "--to", "3", "--dry-run")
    assert "1 document at version 1; nothing was written" in told.output
    refused = invoke("stamp", "people", "--from", "1", "--to", "3", answer="n\n")
    assert refused.exit_code == 1
    assert "the version of 1 document becomes 3 instead of 1" in refused.stderr
    assert people.find_one(1) == {"_id": 1}
    done = invoke("stamp", "people", "--from", "1", "--to", "3", answer="y\n")
    assert done.exit_code == 0
    assert "1 document stamped from version 1 to 3" in done.stdout
    assert people.find_one(1) == {"_id": 1, "schema_version": 3}
    assert people.find_one(2) == {"_id": 2, "schema_version": 2}
    assert invoke("stamp", "people", "--from", "9", "--to", "3", "--yes").exit_code == 2
    assert json.loads(invoke("stamp", "people", "--from", "1", "--to", "3", "--yes", "--json").stdout)["documents"] == 0


def test_retiring_says_what_to_delete_or_what_is_missing(invoke: Invoke, people: People) -> None:
    people.insert_many([{"_id": 1, "schema_version": 2}])
    invoke("deploy")
    needed = invoke("retire", "people", "3", "--yes")
    assert needed.exit_code == 3
    assert "revision 3 or one before is needed by 1 document. Sweep" in needed.stderr
    done = invoke("retire", "people", "2", answer="y\n")
    assert done.exit_code == 0, done.output
    assert "Schema('people', …, oldest=2)" in done.stdout
    assert "delete revision 2" in done.stdout
    assert "schemas.py:" in done.stdout
    assert invoke("retire", "people", "9", "--yes").exit_code == 2
    assert json.loads(invoke("retire", "people", "2", "--yes", "--json").stdout)["recorded"] == [2]


# What may not be meant

NOTHING_THERE = "people: There are no documents. If there should be, correct --database or --collection."


@pytest.mark.parametrize("command", ["sweep", "deploy", "drift", "verify"])
def test_a_collection_without_documents_may_be_a_mistyped_one(invoke: Invoke, people: People, command: str) -> None:
    done = invoke(command, "--json")
    assert (done.exit_code, done.stderr.count(NOTHING_THERE)) == (0, 1)
    assert json.loads(done.stdout)["collection"] == "people"
    assert NOTHING_THERE in invoke(command).output
    people.insert_one({"_id": 1, "schema_version": 3})
    done = invoke(command)
    assert (done.exit_code, "There are no documents" in done.output) == (0, False)


def test_a_deployment_elsewhere_says_that_there_is_nothing_before_it_asks(invoke: Invoke, mongo_uri: str) -> None:
    refused = invoke("deploy", answer="n\n", uri=elsewhere(mongo_uri))
    assert refused.stderr.index(NOTHING_THERE) < refused.stderr.index("Go on?")


def test_what_a_server_does_not_let_one_look_at_is_not_remarked_on(
    invoke: Invoke, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OperationFailure("not authorized", 13)

    people.insert_one({"_id": 1})
    invoke("deploy")
    sys.modules["journal_app"].__dict__["people"] = another()
    monkeypatch.setattr(LazyCollection, "journal", refuse)
    monkeypatch.setattr("lazymigrate.cli.remarks.is_empty", refuse)
    done = invoke("sweep", "--json")
    assert (done.exit_code, json.loads(done.stdout)["upgraded"]) == (0, 1)
    assert "revision 2" not in done.stderr
    assert invoke("sweep").exit_code == 0


def test_nothing_is_retired_where_nothing_is_stored(invoke: Invoke, people: People) -> None:
    for options in (["--yes"], ["--yes", "--json"], []):
        refused = invoke("retire", "people", "3", *options, answer="y\n")
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert f"{NOTHING_THERE} Nothing was written." in refused.stderr
        assert refused.stderr.endswith("on purpose, retire in Python: people.retire(3).\n")
    assert people.database.list_collection_names() == []


def test_retiring_asks_for_what_no_count_can_say(invoke: Invoke, people: People) -> None:
    people.insert_one({"_id": 1, "schema_version": 3})
    asked = invoke("retire", "people", "3", answer="n\n")
    assert asked.exit_code == 1
    assert "brings documents below version 3 later: an older release, a queue, a backup?" in asked.stderr
    assert "RetiredVersionError" in asked.stderr
    assert "no older release writes any more" in " ".join(invoke("retire", "--help").stdout.split())


def another() -> Schema:
    """The schema with both revisions changed."""
    changed = Schema("people")
    changed.revision(2, ops.rename("name", "title"))
    changed.revision(3, ops.rename("mail", "address"), name="\x1b[31mred")
    return changed


def test_a_sweep_goes_on_after_it_has_said_that_revisions_were_changed(invoke: Invoke, people: People) -> None:
    invoke("deploy", "--application", "shop 1")
    people.insert_many([{"_id": 1}, {"_id": 2}])
    assert "revision" not in invoke("sweep", "--limit", "1").stderr
    sys.modules["journal_app"].__dict__["people"] = another()
    for options in (["--dry-run"], []):
        done = invoke("sweep", "--json", *options)
        assert (done.exit_code, json.loads(done.stdout)["upgraded"]) == (0, 1)
        (said,) = [line for line in done.stderr.splitlines() if "than what was registered" in line]
        assert said.startswith("people: revision 2 'revision_2' (registered 2")
        assert "UTC by shop 1), revision 3 " in said
        assert "documents that are upgraded now will differ from those before." in said
        assert "`lazymigrate drift`" in said
        assert "\x1b" not in said
