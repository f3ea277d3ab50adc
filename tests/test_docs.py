"""Every operation has a page, and every page runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lazymigrate import ops

PAGES = Path(__file__).parent.parent / "docs" / "operations"


def test_every_operation_has_a_page_and_every_page_an_operation() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == set(ops.__all__) - {"Operation"}


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert blocks
    assert any("assert" in block for block in blocks)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
