"""More than one machine: the recipes run as they are shown, and a killed worker costs nothing but its time.

Celery and Dask run in processes of their own, as they would for a user; what the test looks at is what is stored.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import psutil
import pytest
import yaml
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database

from lazymigrate import LazyCollection, Schema
from lazymigrate.cli import group, work
from lazymigrate.sweeping import SweepReport

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
RECIPES = ROOT / "docs" / "recipes"
PATIENCE = 150.0  # seconds, for processes that start on a busy machine
ORDERS = 400

Orders = Collection[dict[str, Any]]


@pytest.fixture
def orders(db: Database[dict[str, Any]]) -> Orders:
    db["orders"].insert_many(
        [{"_id": number, "total": number, "mail": f"{number}@example.org"} for number in range(ORDERS)]
    )
    return db["orders"]


def done(orders: Orders) -> int:
    return orders.count_documents({"schema_version": 3})


def totals(orders: Orders) -> dict[int, int]:
    return {order["_id"]: order["total"] for order in orders.find()}


ONCE = {number: number * 100 for number in range(ORDERS)}  # each order upgraded, and none twice


def environment(example: str, here: Path, mongo_uri: str, database: str, **more: str) -> dict[str, str]:
    path = os.pathsep.join(map(str, (ROOT, EXAMPLES / example, here)))
    own = {
        "PYTHONPATH": path,
        "MONGODB_URI": mongo_uri,
        "MONGODB_DATABASE": database,
        "LAZYMIGRATE_MONGODB_URI": mongo_uri,
    }
    return {**os.environ, **own, "PYTHONWARNINGS": "ignore", **more}


@contextmanager
def program(command: list[str], here: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A program that is killed, with what it started, if it is still there at the end."""
    with (here / f"{len(list(here.glob('*.log')))}.log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=here, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            yield process
        finally:
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            for member in (process, *family):
                member.kill()
            process.communicate()


def until(happened: Callable[[], Any], *, while_running: subprocess.Popen[str]) -> Any:
    """What is waited for; a program that ends before that fails the test."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := happened():
            return found
        assert while_running.poll() is None, "the program ended too early"
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


# The examples, and the pages that show them.


@pytest.mark.parametrize("example", ["02_celery", "03_dask"])
def test_an_example_sweeps_all_orders_with_two_workers(example: str, tmp_path: Path, mongo_uri: str) -> None:
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / example / f"run_{example[3:]}.py")],
        cwd=tmp_path,
        env=environment(example, tmp_path, mongo_uri, "unused"),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    said, after = ended.stdout.splitlines()
    assert said.startswith("Sweep: orders: 2,000 upgraded in ")
    assert said.endswith("; complete (finished)")
    assert after == "After: orders: 2,000 of 2,000 documents at head (100.0%)"
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        assert not [name for name in client.list_database_names() if name.startswith(f"lazymigrate_{example[3:]}")]


SHOWN = {
    "celery": ["02_celery/tasks.py", "02_celery/celeryconfig.py"],
    "dask": ["03_dask/sweep.py", "03_dask/run_dask.py"],
}
PAGES = sorted(page.stem for page in RECIPES.glob("*.md"))


def blocks(page: str, language: str) -> list[str]:
    text = (RECIPES / f"{page}.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", SHOWN)
def test_a_page_shows_the_files_that_run(page: str) -> None:
    assert blocks(page, "python")[:2] == [(EXAMPLES / name).read_text("utf-8") for name in SHOWN[page]]


def test_every_snippet_can_be_read_by_what_it_is_for() -> None:
    assert PAGES == ["airflow", "celery", "cron", "dask", "kubernetes"]
    for page in PAGES:
        for block in blocks(page, "python"):
            ast.parse(block, page)
        for block in blocks(page, "sh"):
            subprocess.run(["sh", "-n"], input=block, text=True, check=True)


def jobs() -> list[dict[str, Any]]:
    return [yaml.safe_load(block)["spec"] for block in blocks("kubernetes", "yaml")]


def command_lines(page: str) -> list[list[str]]:
    """The calls of `lazymigrate` in what a page shows, as words."""
    scripts = blocks(page, "sh")
    if page == "kubernetes":
        for job in jobs():
            (container,) = job["template"]["spec"]["containers"]
            words = container["command"]
            scripts.append(shlex.join(words) if words[0] == "lazymigrate" else container["args"][0])
    said = [line for script in scripts for line in script.replace("\\\n", " ").splitlines()]
    said += re.findall(r"`(lazymigrate [^`]+)`", (RECIPES / f"{page}.md").read_text("utf-8"))
    return [shlex.split(call) for line in said for call in re.findall(r"\blazymigrate ([^>|]+)", line)]


@pytest.mark.parametrize("page", ["cron", "kubernetes"])
def test_the_command_line_has_what_the_pages_call(page: str) -> None:
    calls = command_lines(page)
    assert "sweep" in [call[0] for call in calls]
    for name, *words in calls:
        command: Any = group.commands[name]
        if isinstance(command, click.Group):
            command = command.commands[words[0]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, (name, words)
    alone = set(re.findall(r"`(--[a-z-]+)", (RECIPES / f"{page}.md").read_text("utf-8")))
    assert alone <= {option for parameter in group.commands["sweep"].params for option in parameter.opts}


def test_the_jobs_treat_each_exit_status_as_what_it_means() -> None:
    meant = {"Ignore": {work.GO_ON}, "FailIndex": {work.NOT_COMPLETE}}
    each, end = (
        {
            rule["action"]: set(rule["onExitCodes"]["values"])
            for rule in job["podFailurePolicy"]["rules"]
            if "onExitCodes" in rule
        }
        for job in jobs()
    )
    assert each == meant | {"FailJob": {click.UsageError.exit_code}}
    assert end == {"Ignore": {work.GO_ON}, "FailJob": {click.UsageError.exit_code, work.NOT_COMPLETE}}
    assert [job["template"]["spec"]["restartPolicy"] for job in jobs()] == ["Never", "Never"]
    (script,) = jobs()[0]["template"]["spec"]["containers"][0]["args"]
    assert f"$((JOB_COMPLETION_INDEX + 1))/{jobs()[0]['completions']} " in script


# A worker that is killed in the middle.

SLOWLY = """
from lazymigrate import LazyCollection

as_it_is = LazyCollection.run_partition
LazyCollection.run_partition = lambda people, partition: as_it_is(people, partition, rate=60)
"""
BY_HAND = """
import time
from lazymigrate import LazyCollection
from lazymigrate.sweeping import SweepReport

def run_partition(people, partition):  # what is written by hand: it does not look whether a document was done before
    for order in list(people.raw.find(partition.filter())):
        people.raw.update_one(
            {"_id": order["_id"]},
            {"$mul": {"total": 100}, "$rename": {"mail": "email"}, "$set": {"schema_version": 3}},
        )
        time.sleep(0.01)
    return SweepReport(collection=people.raw.name)

LazyCollection.run_partition = run_partition
"""
SEND = "from tasks import sweep; print(sweep.delay(parts=4).get(timeout=90, interval=0.1))"
DASK = """
import os
from distributed import Client, LocalCluster
from sweep import sweep

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as dask:
        print(*dask.run(os.getpid).values(), flush=True)
        print(sweep(dask, parts=4).to_json(), flush=True)
"""


def celery_killed(orders: Orders, here: Path, mongo_uri: str, application: str) -> subprocess.CompletedProcess[str]:
    """Sweep by the two processes of a Celery worker, one of which is killed in the middle."""
    (here / "slowly.py").write_text(f"{SLOWLY}\nfrom tasks import *\n{application}")
    around = environment("02_celery", here, mongo_uri, orders.database.name, CELERY_DIRECTORY=str(here))
    pool = ["--pool", "prefork", "--concurrency", "2", "--loglevel", "WARNING"]
    with (
        program(["-m", "celery", "-A", "slowly", "worker", *pool], here, around) as worker,
        program(["-c", SEND], here, around) as sender,
    ):
        until(lambda: done(orders) > ORDERS / 10, while_running=sender)
        victim = psutil.Process(worker.pid).children()[0]
        victim.kill()
        assert done(orders) < ORDERS * 3 / 4
        said, _ = sender.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess([], sender.returncode, said)


def test_a_process_of_celery_that_is_killed_in_the_middle_costs_nothing(
    orders: Orders, tmp_path: Path, mongo_uri: str
) -> None:
    sent = celery_killed(orders, tmp_path, mongo_uri, "")
    assert sent.returncode == 0
    report = SweepReport.from_json(sent.stdout)
    assert (report.remaining, report.complete, report.stopped_by) == (0, True, "finished")
    assert totals(orders) == ONCE


def test_without_the_rejection_the_partition_of_a_killed_process_stays_behind(
    orders: Orders, tmp_path: Path, mongo_uri: str
) -> None:
    sent = celery_killed(orders, tmp_path, mongo_uri, "sweep_partition.reject_on_worker_lost = False")
    assert sent.returncode != 0
    assert done(orders) < ORDERS


def dask_killed(orders: Orders, here: Path, mongo_uri: str, preloaded: str) -> SweepReport:
    """Sweep by two processes of Dask, one of which is killed in the middle; its nanny starts another."""
    (here / "preloaded.py").write_text(preloaded)
    (here / "go.py").write_text(DASK)
    more = {"DASK_DISTRIBUTED__WORKER__PRELOAD": "preloaded"}
    around = environment("03_dask", here, mongo_uri, orders.database.name, **more)
    with program([str(here / "go.py")], here, around) as dask:
        assert dask.stdout is not None
        victim, _ = map(int, dask.stdout.readline().split())
        until(lambda: done(orders) > ORDERS / 10, while_running=dask)
        os.kill(victim, signal.SIGKILL)
        assert done(orders) < ORDERS * 3 / 4
        said, _ = dask.communicate(timeout=PATIENCE)
        assert dask.returncode == 0
        return SweepReport.from_json(said)


def test_a_worker_of_dask_that_is_killed_in_the_middle_costs_nothing(
    orders: Orders, tmp_path: Path, mongo_uri: str
) -> None:
    report = dask_killed(orders, tmp_path, mongo_uri, SLOWLY)
    assert (report.remaining, report.complete, report.stopped_by) == (0, True, "finished")
    assert totals(orders) == ONCE


def test_the_same_by_hand_upgrades_twice_what_the_killed_worker_had_done(
    orders: Orders, tmp_path: Path, mongo_uri: str
) -> None:
    dask_killed(orders, tmp_path, mongo_uri, BY_HAND)
    twice = {number for number, total in totals(orders).items() if total == number * 100**2 and number}
    assert twice


# The report of a sweep in parts.

shapes = Schema("orders")


@shapes.revision(2)
def in_cents(order: dict[str, Any]) -> None:
    order["total"] *= 100


def test_a_merged_report_adds_up_what_was_done_and_counts_afresh_what_is_left(orders: Orders) -> None:
    shop = LazyCollection(orders, shapes)
    orders.insert_one({"_id": ORDERS, "total": None})
    first, *others = shop.partitions(3)
    parts = [shop.run_partition(first)]
    orders.insert_one({"_id": -1, "total": 1})  # an old release writes behind the sweep
    parts += [shop.run_partition(partition) for partition in others]
    assert parts[0].remaining == 0  # it was, when that was counted: a sum of these would overlook the document
    report = shop.sweep().merged(parts)
    assert (report.upgraded, report.quarantined, report.remaining, report.complete) == (ORDERS + 1, 1, 1, False)
    assert report.passes == 2
    assert shop.coverage().outdated == 1


def test_the_sum_of_what_the_parts_counted_would_overlook_a_document(orders: Orders) -> None:
    shop = LazyCollection(orders, shapes)
    first, last = shop.partitions(2)
    parts = [shop.run_partition(first)]
    orders.insert_one({"_id": -1, "total": 1})
    parts.append(shop.run_partition(last))
    assert sum(part.remaining for part in parts) == 0
    assert shop.coverage().outdated == 1
    report = shop.sweep().merged(parts)
    assert (report.upgraded, report.remaining, report.complete) == (ORDERS + 1, 0, True)


def test_a_report_is_merged_with_none_but_its_own_parts() -> None:
    report = SweepReport(collection="orders", upgraded=1, complete=True)
    assert report.merged([]) == report
    rehearsed = replace(report, dry_run=True)
    for whole, part in (
        (report, replace(report, collection="users")),
        (report, replace(report, kind="downgrade")),
        (report, rehearsed),
        (rehearsed, rehearsed),  # each counts the same documents
    ):
        with pytest.raises(ValueError, match=r"^orders: a report is of another collection, .*after them\.$"):
            whole.merged([part])


@pytest.mark.parametrize(
    "report",
    [
        SweepReport(collection="orders"),
        SweepReport(
            collection="ö", upgraded=3, seconds=0.25, passes=2, complete=True, stopped_by="max_seconds", dry_run=True
        ),
    ],
)
def test_a_report_travels_as_json(report: SweepReport) -> None:
    assert SweepReport.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"collection": 1}', '{"collection": "a", "upgraded": "1"}', '{"collection": "a", "b": 1}',
     '{"collection": "a", "upgraded": true}', '{"collection": "a", "stopped_by": "x"}', "[" * 100_000],
)  # fmt: skip
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"wrote, unchanged\.$"):
        SweepReport.from_json(text)
