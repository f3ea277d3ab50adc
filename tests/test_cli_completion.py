"""Every help fits one screen, and a shell can complete commands and the names of schemas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import lazymigrate
from lazymigrate.cli import group

ROOT = Path(lazymigrate.__file__).parents[1]
RUN = [sys.executable, "-c", "from lazymigrate.cli import main; main()"]
LONG = {("sweep",), ("downgrade",)}  # have the options of a sweep


def commands(of: click.Command = group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words that call each command and group."""
    yield path
    if isinstance(of, click.Group):
        for name, inner in of.commands.items():
            yield from commands(inner, (*path, name))


@pytest.mark.parametrize("path", sorted(commands()), ids=lambda path: " ".join(path) or "lazymigrate")
def test_every_help_fits_one_screen(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(group, [*path, "--help"], prog_name="lazymigrate", terminal_width=80)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) <= (40 if path in LONG else 24), done.stdout
    assert max(map(len, lines)) <= 80
    assert done.stdout.startswith(f"Usage: {' '.join(['lazymigrate', *path])}")


def complete(typed: str, directory: Path, app: str | None = None) -> list[str]:
    """What bash is offered after a line that was typed."""
    words = typed.split(" ")
    environment = {name: value for name, value in os.environ.items() if "MONGODB_URI" not in name}
    done = subprocess.run(
        RUN,
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
        env={
            **environment,
            "PYTHONPATH": str(ROOT),
            "_LAZYMIGRATE_COMPLETE": "bash_complete",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(words) - 1),
            **({"LAZYMIGRATE_APP": app} if app else {}),
        },
    )
    assert "Traceback" not in done.stderr
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_the_shell_is_given_a_script(tmp_path: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        done = subprocess.run(
            RUN,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "_LAZYMIGRATE_COMPLETE": f"{shell}_source"},
        )
        assert f"_LAZYMIGRATE_COMPLETE={shell}_complete" in done.stdout


def test_commands_and_options_are_completed(tmp_path: Path) -> None:
    assert {"doctor", "diff", "downgrade", "demo"} <= set(complete("lazymigrate d", tmp_path))
    assert complete("lazymigrate quarantine re", tmp_path) == ["release", "retry"]
    assert complete("lazymigrate diff --t", tmp_path) == ["--to"]


def test_names_of_schemas_are_completed(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from lazymigrate import Schema\nprint('hello')\n"
        "users, usages, orders = Schema('users'), Schema('usages'), Schema('orders')\nodd = Schema('u\\x1b[31m')\n"
    )
    assert complete("lazymigrate doctor us", tmp_path, "shop") == ["users", "usages"]
    assert complete("lazymigrate doctor users us", tmp_path, "shop") == ["usages"]
    assert complete("lazymigrate diff ", tmp_path, "shop") == ["users", "usages", "orders"]
    assert complete("lazymigrate diff --app shop o", tmp_path) == ["orders"]


@pytest.mark.parametrize("app", [None, "nowhere", "broken"])
def test_without_an_application_nothing_is_completed_and_nothing_is_said(tmp_path: Path, app: str | None) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('no')")
    assert complete("lazymigrate doctor u", tmp_path, app) == []


def test_what_an_application_prints_is_not_in_the_output(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "from lazymigrate import Schema\nprint('imported')\n\n\ndef made():\n    print('made')\n    return Schema('people')\n"
    )
    done = subprocess.run(
        [*RUN, "check", "--app", "noisy:made", "--offline", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout)["schemas"] == ["people"]
    assert done.stderr.split() == ["imported", "made"]


@pytest.mark.parametrize("project", ["tool = 3", "[tool]\nlazymigrate = 3", f"[tool.lazymigrate]\napp = {'1' * 5000}"])
def test_an_odd_project_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: str) -> None:
    (tmp_path / "pyproject.toml").write_text(project)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(group, ["check", "--offline"], prog_name="lazymigrate")
    assert done.exit_code == 2
    assert "--app" in done.stderr
