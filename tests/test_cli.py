"""The command line, as a process: what a person sees."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
