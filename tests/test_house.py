"""The tree is the architecture: who imports whom, what is exported, and what is loaded."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import lazymigrate
from lazymigrate import AsyncLazyCollection, LazyCollection
from lazymigrate.cursor import AsyncLazyCursor, LazyCursor

PACKAGE = Path(lazymigrate.__file__).parent

FLOORS = (
    (
        "declaring",
        (
            "exceptions",
            "versions",
            "documents",
            "elements",
            "operation",
            "origin",
            "paths",
            "sequence",
            "ops",
            "restricted",
            "revision",
            "syntax",
            "behaviour",
            "declaration",
            "checksum",
            "fields",
            "policy",
            "events",
            "wording",
        ),
    ),
    (
        "deciding",
        (
            "chain",
            "change",
            "splicing",
            "encoding",
            "edits",
            "sharing",
            "model",
            "schema",
            "scope",
            "outcome",
            "rendering",
            "mixed",
            "presence",
            "ordering",
            "places",
            "templates",
            "explanation",
            "coverage",
            "trend",
            "advice",
            "overview",
            "journal",
            "drift",
            "sweeping",
            "course",
            "lowering",
            "failures",
            "pacing",
            "throttling",
            "runs",
            "leases",
            "quarantine",
            "backlog",
            "partition",
            "verification",
            "shape",
            "lock",
            "checking",
            "doctor",
            "indexes",
            "topology",
            "checkups",
            "comparison",
            "trimming",
            "projection",
            "elemmatch",
            "predicates",
            "certainty",
            "turning",
            "links",
            "rewritten_expression",
            "query",
        ),
    ),
    ("doing", ("workers", "commands", "procedures")),
    ("drivers", ("drivers",)),
    (
        "faces",
        (
            "binding",
            "upkeep",
            "worker",
            "sweeper",
            "collection",
            "async_collection",
            "cursor",
            "stream",
            "report",
            "integrations",
            "cli",
            "embedded",
            "run_control",
            "quarantine_control",
            "testing",
            "__init__",
        ),
    ),
)
FLOOR_OF = {room: height for height, (_, rooms) in enumerate(FLOORS) for room in rooms}
DRIVERS, FACES = 3, 4
OUTSIDE = {"pymongo", "motor", "asyncio", "time", "threading", "datetime", "click", "rich"}
ALLOWED = {
    "drivers": {"pymongo", "motor", "asyncio", "datetime", "time", "threading"},
    "documents": set(),
    "throttling": {"datetime"},  # the hours of the day, and the dates of a replica set's status
    "runs": {"datetime"},  # the dates that the journal holds
    "journal": {"datetime"},
    "trend": {"datetime"},
    "places": {"datetime"},  # the types that a filter compares with
    "leases": {"datetime"},  # how much later a lease ends than the server's clock says now
    "embedded": {"pymongo", "time"},
    "worker": {"pymongo", "threading"},  # a process of its own, which hears its parent beside its work
    "sweeper": {"asyncio", "threading"},  # the application's thread, or task
    "report": {"rich"},
    "integrations": {"time", "threading"},  # how old a count is, and who takes the next one
    "cli": {"click", "rich", "pymongo"},
    "testing": {"pymongo", "datetime"},  # the error of a server that is asked; the dates of documents
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """The modules that a file imports, but those for type checkers only."""
    tree = ast.parse(path.read_text())
    guarded = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
        for node in ast.walk(branch)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in guarded:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the floor"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_imports_upwards_and_only_drivers_know_the_outside(path: Path) -> None:
    here = room(path)
    assert here in FLOOR_OF, f"{here} has no floor: name the one it belongs to in FLOORS"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "lazymigrate":
            there = parts[1] if parts[1] in FLOOR_OF else "__init__"
            assert FLOOR_OF[there] <= FLOOR_OF[here], f"{here} imports {there}, which is above it"
        elif parts[0] in OUTSIDE:
            assert parts[0] in ALLOWED.get(here, set()), f"{here} knows {parts[0]}"


def test_the_walk_would_catch_an_import_upwards(tmp_path: Path) -> None:
    bad = tmp_path / "x.py"
    bad.write_text("import pymongo\nfrom lazymigrate.drivers import motor\n")
    assert imports(bad) == {"pymongo", "lazymigrate.drivers.motor"}
    assert FLOOR_OF["drivers"] > FLOOR_OF["ops"]


def test_no_module_is_past_400_lines() -> None:
    assert [str(path) for path in modules() if len(path.read_text().splitlines()) > 400] == []


def public(thing: object) -> dict[str, object]:
    """What a class, with its parents in this library, or a module has for everybody."""
    parents = [
        parent
        for parent in getattr(thing, "__mro__", (thing,))
        if "lazymigrate" in getattr(parent, "__module__", "lazymigrate")
    ]
    return {name: value for parent in reversed(parents) for name, value in vars(parent).items() if name[:1] != "_"}


def test_the_two_faces_have_the_same_methods_and_signatures() -> None:
    for one, other in ((LazyCollection, AsyncLazyCollection), (LazyCursor, AsyncLazyCursor)):
        assert public(one).keys() == public(other).keys()
        for name, method in public(one).items():
            if not inspect.isfunction(method):
                continue
            twin = getattr(other, name)
            if method is twin:  # both have it from one parent: what only remembers, as a cursor's sort
                continue
            assert inspect.signature(method).parameters == inspect.signature(twin).parameters, name
            awaited = inspect.iscoroutinefunction(twin)
            assert awaited == (name not in ("find", "with_options", "sweeper", "pipeline_view")), name
            assert not inspect.iscoroutinefunction(method), name


def test_everything_exported_exists_and_is_documented() -> None:
    assert len(lazymigrate.__all__) == len(set(lazymigrate.__all__))
    for name in lazymigrate.__all__:
        thing = getattr(lazymigrate, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            for attribute, value in public(thing).items():
                if inspect.isfunction(value) or isinstance(value, property):
                    assert inspect.getdoc(value), f"{name}.{attribute}"


def test_every_module_says_what_it_is_and_exports_what_it_has() -> None:
    for found in pkgutil.walk_packages([str(PACKAGE)], "lazymigrate."):
        module = importlib.import_module(found.name)
        assert module.__doc__, found.name
        if not found.ispkg:
            for name in module.__all__:
                assert hasattr(module, name), f"{found.name}.{name}"


def test_importing_loads_no_command_line_no_terminal_and_no_motor() -> None:
    code = "import sys, lazymigrate; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "pymongo" in loaded
    assert not {"click", "rich", "motor", "tornado", "hypothesis", "pytest"} & set(loaded)
