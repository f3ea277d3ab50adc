"""Every operation has a page, and every page runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lazymigrate import ops

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = DOCS / "operations"


def test_every_operation_has_a_page_and_every_page_an_operation() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == set(ops.__all__) - {"Operation"}


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page: Path) -> None:
    blocks = python_of(page)
    assert blocks
    assert any("assert" in block for block in blocks)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)


def python_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("page", "command", "said"),
    [
        ("testing", ["-m", "pytest", "-p", "no:cacheprovider"], "5 passed"),
        ("verify", [], ""),
        ("sweep", [], ""),
        ("doctor", [], ""),
        ("journal", [], ""),
        ("queries", [], ""),
        ("operations", [], ""),
    ],
)
def test_the_examples_of_a_page_run_as_one_file(
    page: str, command: list[str], said: str, tmp_path: Path, mongo_uri: str
) -> None:
    file = tmp_path / f"test_{page}.py"
    file.write_text("\n".join(python_of(DOCS / f"{page}.md")), "utf-8")
    environment = {**os.environ, "MONGODB_URI": mongo_uri, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command, str(file)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout
