"""`lazymigrate status` and `lazymigrate coverage`: what a person sees, and what a script is told."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from uuid import uuid4

import html5lib
import pytest
from click.testing import CliRunner, Result
from prometheus_client.parser import text_string_to_metric_families
from pymongo.database import Database

from lazymigrate.cli import group

coverage_module = sys.modules["lazymigrate.cli.coverage"]
APP = """
    from lazymigrate import Schema, ops

    people = Schema("people")
    people.revision(2, ops.rename("name", "full_name"), name="full_name")
    orders = Schema("orders")
    orders.revision(2, ops.rename("a", "b"))
    hostile = Schema("<script>[red]\\x1b[31m")
    hostile.revision(2, ops.rename("a", "b"), name="[bold]<b>\\x1b]0;owned\\x07\\u202e")
"""
FILES = ("text", "json", "html", "prometheus")


class Shell:
    """The command, in this process."""

    def __init__(self, module: str, uri: str) -> None:
        self.module = module
        self.uri = uri

    def __call__(
        self, *arguments: str, app: str = "", uri: str | None = None, columns: int = 80, **more: Any
    ) -> Result:
        environment = {
            "COLUMNS": str(columns),
            "LAZYMIGRATE_APP": f"{self.module}:{app}" if app else self.module,
            "LAZYMIGRATE_MONGODB_URI": self.uri if uri is None else uri,
        }
        done = CliRunner(env=environment).invoke(group, arguments, terminal_width=80, **more)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done


@pytest.fixture
def shell(db: Database[dict[str, Any]], tmp_path: Path, mongo_uri: str, monkeypatch: pytest.MonkeyPatch) -> Shell:
    name = f"app_{uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(APP))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    server, _, options = mongo_uri.partition("?")
    db["people"].insert_many([{"name": "canary"}, {"name": "canary"}, {"full_name": "canary", "schema_version": 2}])
    db["orders"].insert_one({"b": 1, "schema_version": 2})
    return Shell(name, f"{server.rstrip('/')}/{db.name}?{options}")


def words(text: str) -> str:
    return " ".join(text.split())


# status


def test_status_shows_every_collection_and_what_to_do_next(shell: Shell) -> None:
    done = shell("status")
    assert done.exit_code == 0, done.output
    said = words(done.stdout)
    assert "people 2 3 33.3%" in said
    assert "orders 2 1 100.0%" in said
    assert "people Sweep 2 outdated documents: `lazymigrate sweep people`." in said
    assert (
        "orders Complete; revision 2 can be retired when no older release writes any more: `lazymigrate retire orders 2`."
        in said
    )
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_status_has_the_columns_of_a_wide_terminal(shell: Shell) -> None:
    heading = shell("status", columns=120).stdout.splitlines()[0].split()
    assert heading == [
        "collection",
        *("head", "documents", "at", "head", "outdated", "ahead", "retired", "invalid", "quarantined", "sweep"),
    ]


def test_status_of_some_schemas_as_json(shell: Shell) -> None:
    document = json.loads(shell("status", "--json", "orders").stdout)
    assert [each["collection"] for each in document["collections"]] == ["orders"]
    assert document["format"] == 1


def test_status_and_coverage_write_nothing(shell: Shell, db: Database[dict[str, Any]]) -> None:
    before = sorted(db.list_collection_names())
    shell("status")
    for form in FILES:
        shell("coverage", "--format", form)
    assert sorted(db.list_collection_names()) == before


# coverage


def test_coverage_tells_a_script_whether_it_is_complete(shell: Shell) -> None:
    assert shell("coverage", "orders").exit_code == 0
    assert shell("coverage", "people").exit_code == 3
    assert shell("coverage").exit_code == 3
    assert shell("coverage", "nobody").exit_code == 2
    assert shell("coverage", uri="mongodb://127.0.0.1:1/shop?serverSelectionTimeoutMS=50").exit_code == 1


def test_coverage_in_text(shell: Shell) -> None:
    done = shell("coverage", "people")
    said = words(done.stdout)
    assert "people 33.3% of 3 documents at head 2" in said
    assert "2 head full_name 1 33.3%" in said
    assert "counted in one scan of the collection" in said
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_coverage_says_when_it_was_counted_from_the_backlog_index(shell: Shell, db: Database[dict[str, Any]]) -> None:
    from lazymigrate import LazyCollection, Schema, ops

    schema = Schema("people")
    schema.revision(2, ops.rename("name", "full_name"))
    LazyCollection(db["people"], schema).create_backlog_index()
    assert "counted from the backlog index" in words(shell("coverage", "people").stdout)


def test_a_sample_is_an_estimate_and_never_complete(shell: Shell, db: Database[dict[str, Any]]) -> None:
    db["orders"].insert_many([{"schema_version": 2} for _ in range(99)])
    done = shell("coverage", "orders", "--sample", "10")
    assert "estimated from a random sample of 10: 72.2% to 100.0% at head" in words(done.stdout)
    assert done.exit_code == 3


def test_json_is_a_format(shell: Shell) -> None:
    one, other = (json.loads(shell("coverage", *way).stdout) for way in (["--json"], ["--format", "json"]))
    for document in (one, other):
        document.pop("taken")
        for each in document["collections"]:
            each.pop("taken")
    assert one == other
    assert [each["collection"] for each in one["collections"]] == ["people", "orders", "<script>[red]\x1b[31m"]


@pytest.mark.parametrize("form", ["html", "text", "prometheus"])
def test_two_formats_at_once_are_wrong_usage(shell: Shell, form: str) -> None:
    done = shell("coverage", "--format", form, "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"--json is --format json, and --format says {form}. Give one of the two." in done.stderr
    assert shell("coverage", "orders", "--format", "json", "--json").exit_code == 0


def test_a_collection_for_two_schemas_is_told_the_nearest_remedy(shell: Shell) -> None:
    said = words(shell("coverage", "--collection", "x").stderr)
    assert "--collection is for one schema, and there are 3: people, orders," in said
    assert "Name one as the argument (`coverage people --collection NAME`), or in --app." in said
    assert shell("coverage", "orders", "--collection", "x").exit_code == 0
    assert "Name one in --app." in shell("quarantine", "ls", "--collection", "x").stderr, "it takes no names"


def test_prometheus_reads_the_text(shell: Shell) -> None:
    families = list(text_string_to_metric_families(shell("coverage", "--format", "prometheus").stdout))
    assert len(families) == 9
    assert {sample.labels["collection"] for sample in families[0].samples} >= {"people", "orders"}


@pytest.mark.parametrize("form", FILES)
def test_a_file_has_what_would_be_printed(shell: Shell, tmp_path: Path, form: str) -> None:
    file = tmp_path / "report"
    file.write_text("the one before")
    file.chmod(0o600)
    done = shell("coverage", "people", "--format", form, "-o", str(file))
    assert done.exit_code == 3
    assert done.stdout == ""
    written = file.read_text("utf-8")
    assert "people" in written
    assert "the one before" not in written
    assert written.endswith("\n")
    assert sorted(path.name for path in tmp_path.glob("*report*")) == ["report"], "nothing is left beside it"
    if form == "html":
        html5lib.HTMLParser(strict=True).parse(written)


def test_a_file_is_replaced_in_one_piece_or_not_at_all(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "metrics.prom"
    file.write_text("whole")

    def torn(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", torn)
    done = shell("coverage", "people", "--format", "prometheus", "-o", str(file))
    assert done.exit_code == 1
    assert words(done.stderr) == (
        f"Error: {file} cannot be written (No space left on device). Choose another file for --output."
    )
    assert file.read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == ["metrics.prom"]


def test_a_file_keeps_its_rights_and_a_link_stays_one(shell: Shell, tmp_path: Path) -> None:
    fresh, file, link = tmp_path / "fresh", tmp_path / "private", tmp_path / "link"
    file.touch(0o600)
    link.symlink_to(file)
    for path in (fresh, link):
        shell("coverage", "people", "--json", "-o", str(path))
    assert link.is_symlink()
    assert json.loads(file.read_text())["format"] == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (tmp_path / "plain").touch()
    assert fresh.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_pipe_is_written_to_and_not_replaced(shell: Shell, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        shell("coverage", "people", "--json", "-o", str(pipe))
        out, _ = reader.communicate(timeout=60)
    assert json.loads(out)["format"] == 1
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_directory_that_is_not_there_is_wrong_usage(shell: Shell, tmp_path: Path) -> None:
    done = shell("coverage", "-o", str(tmp_path / "no" / "report.html"))
    assert done.exit_code == 2
    assert "There is no directory" in done.stderr
    assert shell("coverage", "-o", str(tmp_path)).exit_code == 2


def test_recorded_counts_become_a_trend(shell: Shell, db: Database[dict[str, Any]]) -> None:
    assert "trend" not in shell("coverage", "people").stdout
    shell("coverage", "people", "--record")
    db["people"].update_many({}, {"$set": {"schema_version": 2}})
    done = shell("coverage", "people", "--record", "--json")
    (found,) = json.loads(done.stdout)["collections"]
    assert [(point["at_head"], point["total"]) for point in found["trend"]] == [(1, 3), (3, 3)]
    assert "33.3% on" in words(shell("coverage", "people").stdout)


def test_recording_asks_before_it_writes_to_another_machine(
    shell: Shell, db: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lazymigrate.cli.app.is_this_machine", lambda host: False)
    done = shell("coverage", "people", "--record", input="n\n")
    assert done.exit_code == 1
    assert "The journal gets the coverage of people." in done.stderr
    assert "lazymigrate.journal" not in db.list_collection_names()
    assert shell("coverage", "people", input="n\n").exit_code == 3, "only --record asks"
    assert shell("coverage", "people", "--record", "--yes").exit_code == 3
    assert db["lazymigrate.journal"].count_documents({"_id.kind": "coverage"}) == 1


def test_without_asking_it_would_have_written(
    shell: Shell, db: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lazymigrate.cli.app.is_this_machine", lambda host: False)
    monkeypatch.setattr(coverage_module, "confirm_write", lambda *_, **__: None)
    assert shell("coverage", "people", "--record", input="n\n").exit_code == 3
    assert db["lazymigrate.journal"].count_documents({"_id.kind": "coverage"}) == 1


@pytest.mark.parametrize("command", [["status"], *(["coverage", "--format", form] for form in FILES)], ids=" ".join)
def test_nothing_hostile_and_nothing_secret_is_printed(
    shell: Shell, db: Database[dict[str, Any]], command: list[str]
) -> None:
    db["people"].insert_one({"name": "canary", "schema_version": "canary\x1b[31m<script>"})
    done = shell(*command)
    assert done.exit_code in (0, 3), done.output
    assert "canary" not in done.output
    assert not {"\x1b", "\x07", "\u202e"} & set(done.output)
    if "html" in command:
        assert "<script>" not in done.output
    elif "json" not in command:
        assert "[red]" in done.output.replace("\n", "")
    refused = shell(*command, uri="mongodb://user:canary@127.0.0.1:1/shop?serverSelectionTimeoutMS=50")
    assert refused.exit_code == 1
    assert "canary" not in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.parametrize("name", ["status", "coverage"])
def test_help_fits_one_screen(name: str) -> None:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(group, [name, "--help"], terminal_width=80)
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert len(lines) <= 24
    assert all(len(line) <= 80 for line in lines)
