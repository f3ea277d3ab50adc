"""Every example of the README runs, in order, on a real server; what it promises in a comment is checked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pymongo import MongoClient

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def shop(mongo_uri: str) -> str:
    with MongoClient(mongo_uri) as client:
        client.drop_database("shop")
        return mongo_uri


def test_the_examples_run_as_they_stand(shop: str, tmp_path: Path) -> None:
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks("python")), "utf-8")
    environment = {**os.environ, "MONGODB_URI": shop, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["users: 1 of 1 documents at head (100.0%)", "Ada"]
    with MongoClient(shop) as client:
        stored = list(client["shop"]["users"].find({}, {"_id": 0}).sort("first_name"))
        client.drop_database("shop")
    assert stored == [
        {
            "note": "kept",
            "first_name": "Ada",
            "last_name": "King",
            "email": "ada@example.org",
            "active": False,
            "schema_version": 3,
        },
        {
            "first_name": "Grace",
            "last_name": "Hopper",
            "email": "g@example.org",
            "active": False,
            "schema_version": 3,
        },
    ]


def test_the_two_commands_are_one_line_each_and_come_first() -> None:
    commands = blocks("sh")
    assert len(commands) >= 2
    assert all(command.count("\n") == 1 for command in commands[:2])
    assert commands[0].rstrip().endswith("lazymigrate demo")
    assert "pytest" in commands[1]


def test_the_operations_listed_are_those_that_exist() -> None:
    from lazymigrate import ops

    listed = set(re.findall(r"^\| `ops\.(\w+)\(", README, flags=re.MULTILINE))
    assert listed == set(ops.__all__) - {"Operation"}
