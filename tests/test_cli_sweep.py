"""Sweeping on the command line, as a process: what a person sees, what a script is told, what a signal does."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from pymongo.collection import Collection
from rich.console import Console

import lazymigrate
from lazymigrate import Schema
from lazymigrate.cli import group
from lazymigrate.cli.interruption import Interruption
from lazymigrate.collection import LazyCollection
from lazymigrate.report.progress import LiveProgress, ProgressLines, clock, progress_on
from lazymigrate.sweeping import Progress

sweep_module = sys.modules["lazymigrate.cli.sweep"]
People = Collection[dict[str, Any]]
ROOT = Path(lazymigrate.__file__).parents[1]
RUN = [sys.executable, "-c", "from lazymigrate.cli import main; main()"]
APP = """
    import fcntl

    from lazymigrate import Schema, ops

    ALIVE = open("alive", "a")
    fcntl.flock(ALIVE, fcntl.LOCK_SH)  # held by every process that works for this application

    people = Schema("people")

    @people.revision(2)
    def double(person):
        person["doubled"] = person["n"] * 2
        person["times"] = person.get("times", 0) + 1

    @double.downgrade
    def halve(person):
        del person["doubled"], person["times"]

    zoo = Schema("zoo")
    zoo.revision(2, ops.rename("name", "title"))

    one_way = Schema("one_way")

    @one_way.revision(2)
    def there(document):
        document["new"] = 1
"""


@dataclass
class Shell:
    """The command in a directory with an application."""

    directory: Path
    uri: str
    database: str
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: str, uri: str | None = None, app: str = "app:people", columns: int = 80) -> Any:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
            "COLUMNS": str(columns),
            "LAZYMIGRATE_MONGODB_URI": uri or self.uri,
            "LAZYMIGRATE_APP": app,
        }
        process = subprocess.Popen(
            [*RUN, *arguments],
            cwd=self.directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def __call__(self, *arguments: str, typed: str = "", **where: Any) -> subprocess.CompletedProcess[str]:
        return ended(self.start(*arguments, **where), typed)

    def again(self, stderr: str) -> subprocess.CompletedProcess[str]:
        """Run the command that was printed, as a shell would read it."""
        (line,) = re.findall(r"(?m)^  (lazymigrate .*)$", stderr)
        return self(*shlex.split(line)[1:])

    @property
    def nobody_is_left(self) -> bool:
        """Whether no process holds what each of the application holds."""
        with (self.directory / "alive").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True


def ended(process: Any, typed: str = "") -> subprocess.CompletedProcess[str]:
    out, errors = process.communicate(typed, timeout=120)
    assert "Traceback" not in errors, errors
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)


def eventually(true: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What a question gives as soon as that is true."""
    until = time.monotonic() + seconds
    while not (answer := true()):
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.02)
    return answer


@pytest.fixture
def shell(people: People, tmp_path: Path, mongo_uri: str) -> Iterator[Shell]:
    (tmp_path / "app.py").write_text(textwrap.dedent(APP))
    separator, _, options = mongo_uri.partition("?")
    shell = Shell(tmp_path, f"{separator.rstrip('/')}/{people.database.name}?{options}", people.database.name)
    yield shell
    for process in shell.started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def fill(people: People, count: int, **other: Any) -> None:
    people.insert_many({"_id": n, "n": n, **other} for n in range(count))


def upgraded(people: People) -> int:
    return people.count_documents({"schema_version": 2})


def everything(people: People) -> dict[str, list[Any]]:
    """All that the database holds."""
    database = people.database
    return {name: list(database[name].find(sort=[("_id", 1)])) for name in sorted(database.list_collection_names())}


# Ends


def test_a_sweep_of_all_schemas_says_what_it_did(shell: Shell, people: People) -> None:
    fill(people, 30)
    people.database["zoo"].insert_many({"_id": n, "name": "x"} for n in range(20))
    done = shell("sweep", app="app")
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first.startswith("people: 30 upgraded in 1 pass")
    assert second.startswith("zoo: 20 upgraded in 1 pass")
    assert third.startswith("one_way: 0 upgraded")
    assert upgraded(people) == 30
    again = shell("sweep", "zoo", "--json", app="app")
    report = json.loads(again.stdout)
    assert (report["collection"], report["upgraded"], report["complete"]) == ("zoo", 0, True)


def test_json_is_all_that_stdout_gets(shell: Shell, people: People) -> None:
    fill(people, 30)
    done = shell("sweep", "--json", "--batch", "8", "--nice", "0.1", "--pause", "0", "--max-lag", "none")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["upgraded"] == 30
    assert "people: 30/30 (100%)" in done.stderr


def test_a_dry_run_writes_nothing_and_foretells(shell: Shell, people: People) -> None:
    fill(people, 30)
    before = everything(people)
    done = shell("sweep", "--dry-run", "--json")
    assert (done.returncode, everything(people)) == (0, before)
    assert (json.loads(done.stdout)["upgraded"], json.loads(done.stdout)["dry_run"]) == (30, True)
    people.insert_one({"_id": "poison"})
    before = everything(people)
    done = shell("sweep", "--dry-run")
    assert (done.returncode, everything(people)) == (3, before)
    assert "1 quarantined" in done.stdout
    assert shell("sweep").returncode == 3  # and now in earnest: what was equal before is not any more
    assert everything(people) != before


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--max-failures", "0"], 1, "ended as errored: too many documents failed"),
        ([], 3, "`lazymigrate quarantine ls` lists it."),
        (["--limit", "5"], 3, "(limit)"),
    ],
)
def test_the_status_says_what_is_to_be_done(
    shell: Shell, people: People, options: list[str], status: int, said: str
) -> None:
    fill(people, 30)
    people.insert_one({"_id": -1})
    done = shell("sweep", *options)
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert people.count_documents({"_id": -1, "schema_version": None}) == 1


def test_a_limit_is_for_all_collections_together(shell: Shell, people: People) -> None:
    fill(people, 4)
    people.database["zoo"].insert_many({"_id": n, "name": "x"} for n in range(20))
    done = shell("sweep", "people", "zoo", "--limit", "10", "--batch", "1", "--json", app="app")
    assert done.returncode == 3
    assert [json.loads(line)["upgraded"] for line in done.stdout.splitlines()] == [4, 6]


def test_when_its_time_is_over_it_says_how_to_go_on(shell: Shell, people: People) -> None:
    fill(people, 400)
    done = shell("sweep", "--rate", "100", "--batch", "10", "--max-seconds", "0.5")
    assert done.returncode == 75, done.stderr
    so_far = upgraded(people)
    assert 0 < so_far < 400
    assert "  lazymigrate sweep --rate 100 --batch 10 --max-seconds 0.5\n" in done.stderr
    assert shell("sweep", "--rate", "100000").returncode == 0
    assert people.count_documents({"times": 1}) == 400


# Signals


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_finishes_the_batch_and_prints_the_command_that_goes_on(
    shell: Shell, people: People, number: int, status: int
) -> None:
    fill(people, 600)
    process = shell.start("sweep", "people", "--rate", "200", "--max-lag", "none")
    eventually(lambda: upgraded(people) > 50)
    os.kill(process.pid, number)
    done = ended(process)
    assert done.returncode == status
    so_far = upgraded(people)
    assert f"{so_far:,} upgraded" in done.stdout
    assert so_far < 600
    assert shell.uri not in done.stderr
    run = LazyCollection(people, Schema("people")).runs.current()
    assert run is not None
    assert (run.state, run.expires, run.counts.upgraded) == ("interrupted", None, so_far)
    assert (shell("run", "set", "--rate", "none").returncode, shell("run", "resume").returncode) == (0, 0)
    resumed = shell.again(done.stderr.replace(" --rate 200", ""))
    assert resumed.returncode == 0, resumed.stderr
    assert people.count_documents({"times": 1, "schema_version": 2}) == 600


def test_the_printed_command_names_the_variable_instead_of_the_uri(shell: Shell, people: People) -> None:
    fill(people, 400)
    secret = shell.uri.replace("?", "?appName=canary&")
    arguments = ["--uri", secret, "--rate", "100", "--max-seconds", "0.3", "--max-failures", "0.5", "--", "people"]
    done = shell("sweep", *arguments)
    assert done.returncode == 75
    assert "put it into LAZYMIGRATE_MONGODB_URI." in done.stderr
    assert "  lazymigrate sweep --rate 100 --max-seconds 0.3 --max-failures 0.5 people\n" in done.stderr
    assert "canary" not in done.stdout + done.stderr


def test_one_signal_ends_the_wait_for_a_lease(shell: Shell, people: People) -> None:
    fill(people, 600)
    first = shell.start("sweep", "--rate", "50")
    eventually(lambda: upgraded(people) > 10)
    refused = shell("sweep")
    assert refused.returncode == 1
    assert re.search(r"Error: people: a sweep to version 2 is running; .* holds the lease", refused.stderr)
    second = shell.start("sweep", "--wait-for-lease", "100", uri=f"{shell.uri}&appName=second")
    eventually(lambda: connected(people, "second"))
    os.kill(second.pid, signal.SIGINT)
    done = ended(second)
    assert done.returncode == 130
    assert "  lazymigrate sweep --wait-for-lease 100\n" in done.stderr
    assert first.poll() is None
    os.kill(first.pid, signal.SIGTERM)
    assert ended(first).returncode == 75


def connected(people: People, name: str) -> bool:
    """Whether a process that calls itself so talks to the server."""
    pipeline = [{"$currentOp": {"idleConnections": True}}, {"$match": {"appName": name}}]
    return bool(list(people.database.client.admin.aggregate(pipeline)))


class Interrupting(ModuleType):
    """An application, one of whose documents interrupts the process that upgrades it."""

    def __init__(self, *numbers: int) -> None:
        super().__init__("interrupting")
        self.people = Schema("people")

        @self.people.revision(2)
        def double(person: dict[str, Any]) -> None:
            if person["n"] == 50:
                for number in numbers:
                    signal.raise_signal(number)
            person["doubled"] = person["n"] * 2


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "interrupting", Interrupting(signal.SIGINT))


def inside(shell: Shell, *arguments: str) -> Any:
    """The command in this process, where a mutant can be."""
    environment = {"LAZYMIGRATE_MONGODB_URI": shell.uri, "LAZYMIGRATE_APP": "interrupting"}
    return CliRunner().invoke(group, arguments, env=environment, prog_name="lazymigrate")


def test_a_wish_to_stop_is_followed_after_the_batch(shell: Shell, people: People, interrupting: None) -> None:
    fill(people, 300)
    before = signal.getsignal(signal.SIGINT)
    done = inside(shell, "sweep", "--batch", "40")
    assert done.exit_code == 130
    assert 51 <= upgraded(people) <= 90
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_second_signal_ends_at_once_and_gives_the_lease_up(
    shell: Shell, people: People, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    monkeypatch.setitem(sys.modules, "interrupting", Interrupting(number, number))
    fill(people, 300)
    done = inside(shell, "sweep", "--batch", "40")
    assert done.exit_code == status
    assert "Interrupted at once: nothing is lost. Go on with:\n\n  lazymigrate sweep --batch 40\n" in done.stderr
    assert done.stdout == ""
    assert people.find_one(50) == {"_id": 50, "n": 50}
    run = LazyCollection(people, Schema("people")).runs.current()
    assert run is not None
    assert (run.state, run.expires) == ("interrupted", None)


def test_the_mutant_that_hears_no_wish_would_go_on(
    shell: Shell, people: People, interrupting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Interruption, "stop", lambda self: setattr(self, "_heeded", True))
    fill(people, 300)
    assert inside(shell, "sweep", "--batch", "40").exit_code == 0
    assert upgraded(people) == 300


# Another process's wishes


def test_a_sweep_is_paused_slowed_resumed_and_cancelled_from_another_process(shell: Shell, people: People) -> None:
    fill(people, 3000)
    process = shell.start("sweep", "--rate", "100")
    current = LazyCollection(people, Schema("people")).runs.current

    def state() -> Any:
        run = current()
        return run and run.state

    eventually(lambda: upgraded(people) > 20)
    assert "pausing" in shell("run", "pause").stdout
    eventually(lambda: state() == "paused")
    count = upgraded(people)
    listed = shell("run", "ls", "--json")
    assert json.loads(listed.stdout)["state"] == "paused"
    assert json.loads(shell("run", "set", "people", "--rate", "50.5", "--json").stdout)["rate"] == 50.5
    assert upgraded(people) == count
    assert "running" in shell("run", "resume").stdout
    eventually(lambda: upgraded(people) > count)
    table = shell("run", "ls").stdout
    assert re.search(r"(?m)^people +2 .* running ", table)
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "cancelling" in shell("run", "cancel").stdout
    done = ended(process)
    assert (done.returncode, state()) == (3, "cancelled")
    assert "(cancelled)" in done.stdout
    over = shell("run", "pause")
    assert over.returncode == 1
    assert "Error: people: cannot pause a run that is cancelled. It is over. Start a sweep" in over.stderr
    assert upgraded(people) < 3000


def test_wishes_that_make_no_sense_are_refused(shell: Shell, people: People) -> None:
    done = shell("run", "pause")
    assert (done.returncode, done.stderr) == (1, "Error: people: there is no run. Start a sweep.\n")
    assert "Which run? Name a schema: people, zoo, one_way." in shell("run", "pause", app="app").stderr
    assert shell("run", "set", "--rate", "0").returncode == 2
    assert shell("run", "set").returncode == 2
    assert shell("run", "ls").stdout == "There was no run yet. `lazymigrate sweep` starts one.\n"


def test_resuming_what_nobody_works_on_says_which_command_does(shell: Shell, people: People) -> None:
    fill(people, 10)
    assert shell("sweep", "--limit", "5").returncode == 3
    done = shell("run", "resume")
    assert done.returncode == 0
    assert "enqueued" in done.stdout
    assert done.stdout.endswith("\nNo process works on it. Go on with: lazymigrate sweep people\n")
    told = shell("run", "resume", "--json")
    assert json.loads(told.stdout)["state"] == "enqueued"
    assert "lazymigrate sweep people" in told.stderr
    assert shell("sweep", "people").returncode == 0
    assert shell("downgrade", "people", "--to", "1", "--limit", "5", "--yes").returncode == 3
    assert "Go on with: lazymigrate downgrade people --to 1\n" in shell("run", "resume").stdout


def test_a_revision_that_is_written_wrongly_is_listed_with_a_remedy(shell: Shell, people: People) -> None:
    (shell.directory / "wrong.py").write_text(
        "from lazymigrate import Schema\n\npeople = Schema('people')\n\n\n"
        "@people.revision(2)\ndef second(person):\n    return person\n"
    )
    fill(people, 3)
    failed = shell("sweep", app="wrong")
    assert failed.returncode == 1
    listed = " ".join(shell("run", "ls", app="wrong").stdout.split())
    assert "a revision is written wrongly;" in listed
    assert shell("sweep", app="wrong").stderr == failed.stderr


# Workers and partitions


def test_workers_share_the_work_and_none_is_left(shell: Shell, people: People) -> None:
    fill(people, 2000)
    done = shell("sweep", "--workers", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["upgraded"] == 2000
    assert people.count_documents({"times": 1}) == 2000
    assert shell.nobody_is_left


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_no_worker_outlives_its_parent(shell: Shell, people: People, number: int, status: int) -> None:
    fill(people, 2000)
    process = shell.start("sweep", "--workers", "2", "--rate", "100")
    eventually(lambda: upgraded(people) > 20)
    assert not shell.nobody_is_left
    os.kill(process.pid, number)
    assert ended(process).returncode == status
    eventually(lambda: shell.nobody_is_left)
    assert people.count_documents({"times": 1}) == upgraded(people) < 2000


def test_partitions_of_a_file_cover_the_collection_once(shell: Shell, people: People) -> None:
    fill(people, 1000)
    written = shell("partitions", "people", "3").stdout
    (shell.directory / "parts").write_text(written)
    assert len(written.splitlines()) == 3
    found = []
    for part in (1, 2, 3):
        done = shell("sweep", "people", "--partition", f"{part}/3", "--partitions-file", "parts", "--json")
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout)["upgraded"])
    assert sum(found) == 1000
    assert min(found) > 100
    assert people.count_documents({"times": 1}) == 1000


def test_a_partition_of_a_sample_is_a_part_and_one_too_many_is_nothing(shell: Shell, people: People) -> None:
    fill(people, 1000)
    done = shell("sweep", "--partition", "2/2", "--json")
    assert done.returncode == 0, done.stderr
    assert 300 < json.loads(done.stdout)["upgraded"] == upgraded(people) < 700
    people.delete_many({"_id": {"$gt": 0}})
    done = shell("sweep", "--partition", "4/4")
    assert (done.returncode, done.stdout[:19]) == (0, "people: 0 upgraded ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not have each part once"),
        ('{"index": 1, "count": 2, "after": 5}\n', "does not have each part once"),
        ("canary\n", "This is not Extended JSON"),
        ('{"index": 0, "count": 1}\n{"index": 0, "count": 1}\n', "does not have each part once"),
    ],
)
def test_a_file_that_is_none_of_partitions_is_wrong_usage(
    shell: Shell, people: People, interrupting: None, text: str, said: str
) -> None:
    file = shell.directory / "parts"
    file.write_text(text)
    done = inside(shell, "sweep", "people", "--partition", "1/2", "--partitions-file", str(file))
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Write it anew with `lazymigrate partitions`." in done.stderr
    assert "canary" not in done.stderr


# Going back


def test_a_downgrade_counts_asks_and_goes_back(shell: Shell, people: People) -> None:
    fill(people, 50)
    assert shell("sweep").returncode == 0
    people.update_one({"_id": 7}, {"$unset": {"times": ""}})  # its way back will raise
    before = everything(people)
    declined = shell("downgrade", "people", "--to", "1", typed="n\n")
    assert (declined.returncode, everything(people)) == (1, before)
    assert "people: 49 documents can be brought back to version 1, " in declined.stderr
    assert "; 1 cannot." in declined.stderr
    assert "`lazymigrate quarantine ls` lists it" in " ".join(shell("downgrade", "--help").stdout.split())
    assert "Nothing was written. Answer y, or pass --yes." in declined.stderr
    dry = shell("downgrade", "people", "--to", "1", "--dry-run", "--json")
    assert (dry.returncode, everything(people)) == (3, before)
    done = shell("downgrade", "people", "--to", "1", "--json", typed="y\n")
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["upgraded"] == 49
    assert people.count_documents({"schema_version": {"$in": [None, 1]}, "doubled": None}) == 49
    assert upgraded(people) == 1


def test_a_loss_of_data_needs_more_than_a_yes(shell: Shell, people: People) -> None:
    people.insert_many({"_id": n, "n": n, "doubled": 2 * n, "times": 1, "schema_version": 2} for n in range(5))
    people.insert_one({"_id": 9, "n": 9, "doubled": 99, "times": 1, "schema_version": 2})  # upgrading again makes it 18
    before = everything(people)
    dry = shell("downgrade", "people", "--to", "1", "--dry-run", "--json")
    assert (dry.returncode, json.loads(dry.stdout)["losses"]) == (3, 1)
    refused = shell("downgrade", "people", "--to", "1", "--yes")
    assert (refused.returncode, everything(people)) == (1, before)
    assert "6 documents can be brought back to version 1, 1 of them with a loss of data" in refused.stderr
    assert "Pass --accept-losses beside --yes, or change the way back." in refused.stderr
    accepted = shell("downgrade", "people", "--to", "1", "--yes", "--accept-losses")
    assert accepted.returncode == 0, accepted.stderr
    assert upgraded(people) == 0


def test_what_has_no_way_back_is_refused_before_anything_is_written(shell: Shell, people: People) -> None:
    people.database["one_way"].insert_one({"_id": 1, "new": 1, "schema_version": 2})
    before = everything(people)
    done = shell("downgrade", "one_way", "--to", "1", "--yes", app="app")
    assert (done.returncode, everything(people)) == (1, before)
    assert done.stderr.startswith("Error: ")
    beyond = shell("downgrade", "one_way", "--to", "9", "--yes", app="app")
    assert beyond.returncode == 2
    assert "--to 9: choose a version from 1 to 2." in beyond.stderr


# Wrong usage, and other machines


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sweep", "nobody"], "There is no schema 'nobody'. Choose from: 'people'."),
        (["sweep", "--rate", "0"], "choose a number above 0."),
        (["sweep", "--rate", "nan"], "choose a number above 0."),
        (["sweep", "--nice", "-1"], "choose a number at least 0."),
        (["sweep", "--max-lag", "much"], "choose a number at least 0, or none."),
        (["sweep", "--max-failures", "2.5"], "choose a share below 1, or a whole number."),
        (["sweep", "--window", "at night"], "write it as"),
        (["sweep", "--batch", "0"], "0 is not in the range"),
        (["sweep", "--partition", "4/3"], "write it as 3/8"),
        (["sweep", "--partition", "0/3"], "write it as 3/8"),
        (["sweep", "--partitions-file", __file__], "Say which part: --partition 3/8."),
        (["sweep", "--workers", "2", "--dry-run"], "Leave --partition or --dry-run away, or --workers."),
        (["partitions", "people", "0"], "0 is not in the range"),
        (["downgrade", "people"], "Missing option '--to'"),
    ],
)
def test_wrong_usage_is_said_in_a_sentence(
    shell: Shell, people: People, interrupting: None, arguments: list[str], said: str
) -> None:
    done = inside(shell, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    "arguments", [["sweep"], ["sweep", "--yes"], ["run", "ls"], ["downgrade", "people", "--to", "1"]]
)
def test_a_server_that_does_not_answer_is_said_in_a_sentence(shell: Shell, arguments: list[str]) -> None:
    uri = "mongodb://me:canary@127.0.0.1:1/shop?serverSelectionTimeoutMS=200"
    done = shell(*arguments, uri=uri)
    assert (done.returncode, done.stdout) == (1, "")
    assert "MongoDB at 127.0.0.1:1 does not answer" in done.stderr
    assert "canary" not in done.stderr


def test_sweeping_another_machine_is_asked_for(shell: Shell, people: People) -> None:
    """127.1 leads here, and the command cannot know that."""
    fill(people, 30)
    before = everything(people)
    uri = shell.uri.replace("127.0.0.1", "127.1")
    asked = shell("sweep", "--json", uri=uri, typed="n\n")
    assert (asked.returncode, asked.stdout, everything(people)) == (1, "", before)
    assert re.search(r"This writes to the database test_\w+ of MongoDB at 127\.1:\d+\.", asked.stderr)
    assert "people: 30 outdated documents are upgraded to version 2." in asked.stderr
    agreed = shell("sweep", "--json", uri=uri, typed="y\n")
    assert json.loads(agreed.stdout)["upgraded"] == 30
    silent = shell("sweep", "--yes", uri=uri)
    assert (silent.returncode, "Go on?" in silent.stderr) == (0, False)


def test_the_mutant_that_does_not_ask_would_write(
    shell: Shell, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("interrupting")
    module.__dict__["people"] = Schema("people")
    module.__dict__["people"].revision(2, lazymigrate.ops.rename("n", "number"))
    monkeypatch.setitem(sys.modules, "interrupting", module)
    fill(people, 30)
    elsewhere = Shell(shell.directory, shell.uri.replace("127.0.0.1", "127.1"), shell.database)
    assert inside(elsewhere, "sweep").exit_code == 1
    assert upgraded(people) == 0
    monkeypatch.setattr(sweep_module, "confirm_write", lambda *_, **__: None)
    assert inside(elsewhere, "sweep").exit_code == 0
    assert upgraded(people) == 30


@pytest.mark.parametrize("name", ["sweep", "downgrade", "partitions", "run", "run ls", "run pause", "run set"])
def test_help_fits_one_screen(name: str) -> None:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(group, [*name.split(), "--help"], terminal_width=80)
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert len(lines) <= 40
    assert all(len(line) <= 80 for line in lines)


# What it looks like


@dataclass
class Screen:
    """A console of some width, with a clock that is moved by hand."""

    width: int
    terminal: bool = True
    now: float = 100.0

    def __post_init__(self) -> None:
        self.console = Console(
            file=StringIO(),
            width=self.width,
            force_terminal=self.terminal,
            color_system=None,
            get_time=lambda: self.now,
            legacy_windows=False,
            _environ={},
        )

    def shows(self, thing: Any) -> list[str]:
        with self.console.capture() as captured:
            self.console.print(thing)
        return captured.get().splitlines()

    @property
    def text(self) -> str:
        file: Any = self.console.file
        return str(file.getvalue())


AT_WORK = Progress(done=45_678, total=123_456, rate=1234.5, conflicts=3, quarantined=12, lag=2.4)


@pytest.mark.parametrize("width", [80, 120])
def test_the_bar_has_all_that_is_known_in_two_lines(width: int) -> None:
    screen = Screen(width)
    live = LiveProgress(screen.console, "people")
    (counting,) = screen.shows(live.drawn())
    assert counting.startswith("people")
    assert "counting, 0:00:00" in counting
    live(AT_WORK)
    first, second = screen.shows(live.drawn())
    assert re.fullmatch(r"people +[━╸╺ ]+ +45,678/123,456  36%  1,234/s  0:01:03 to go *", first)
    assert len(first.rstrip()) <= width
    assert second.replace("\xa0", " ").rstrip() == ("running · 77,766 left · 3 conflicts · 12 quarantined · lag 2 s")


@pytest.mark.parametrize(
    ("progress", "notice", "said"),
    [
        (Progress(waiting_for="nice 1"), None, "waiting: nice 1"),
        (Progress(waiting_for="paused", state="paused"), None, "paused"),
        (Progress(state="cancelling"), None, "cancelling"),
        (Progress(waiting_for="nice 1"), "finishing the batch", "finishing the batch"),
        (Progress(waiting_for="\x1b[31m[red]no"), None, r"waiting: \x1b[31m[red]no"),
    ],
)
def test_the_state_and_its_reason_come_first(progress: Progress, notice: str | None, said: str) -> None:
    screen = Screen(80)
    live = LiveProgress(screen.console, "people", lambda: notice)
    live(progress)
    assert screen.shows(live.drawn())[1].startswith(f"{said} · ")


def test_a_long_reason_and_a_long_name_stay_within_the_screen() -> None:
    screen = Screen(80)
    live = LiveProgress(screen.console, "p" * 100)
    live(
        Progress(done=12_345_678, total=123_456_789, rate=98_765.4, waiting_for="the application says: " + "why " * 15)
    )
    lines = screen.shows(live.drawn())
    assert all(len(line) <= 80 for line in lines)
    assert "12,345,678/123,456,789" in lines[0]
    assert "111,111,111\xa0left" in "".join(lines)


def test_where_there_is_no_terminal_a_line_comes_every_ten_seconds_and_one_at_the_end() -> None:
    screen = Screen(80, terminal=False)
    notice: list[str | None] = [None]
    with progress_on(screen.console, "people", lambda: notice[0]) as lines:
        assert isinstance(lines, ProgressLines)
        for _ in range(250):  # 25 seconds
            screen.now += 0.1
            lines(AT_WORK)
        assert len(screen.text.splitlines()) == 2
        notice[0] = "finishing the batch"
        lines(AT_WORK)
        lines(AT_WORK)
    first, second, third, last = screen.text.splitlines()
    assert first == second == last
    assert last == (
        "people: 45,678/123,456 (36%), 1,234/s, 77,766 left, 3 conflicts, 12 quarantined, lag 2 s, running, 0:01:03 to go"
    )
    assert "finishing the batch" in third


def test_a_terminal_gets_a_bar_that_ends_with_the_time_it_took() -> None:
    screen = Screen(80)
    with progress_on(screen.console, "people") as live:
        assert isinstance(live, LiveProgress)
        live(Progress(done=5, total=5, rate=5.0))
        screen.now += 3661
    assert re.search(r"people +━+ +5/5  100%  5/s  1:01:01", screen.text)


def test_an_error_leaves_no_bar_that_shows_nothing() -> None:
    for last in (None, Progress(total=5)):
        screen = Screen(80)
        with suppress(KeyError), progress_on(screen.console, "people") as live:
            if last is not None:
                live(last)
            raise KeyError
        assert screen.text.endswith("\x1b[2K")  # the line was erased
    screen = Screen(80)
    with suppress(KeyError), progress_on(screen.console, "people") as live:
        live(Progress(done=3, total=5))
        raise KeyError
    assert "3/5" in screen.text
    assert not screen.text.endswith("\x1b[2K")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00:00"), (59.6, "0:01:00"), (3600, "1:00:00"), (90061, "1 d 1:01:01")]
)
def test_durations_are_read_as_clocks(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
