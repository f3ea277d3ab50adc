"""The checksum of a revision: what changes it, what does not, and on which Python."""

from __future__ import annotations

import importlib
import itertools
import json
import math
import py_compile
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId, json_util

import lazymigrate
from lazymigrate import Schema, ops, syntax
from lazymigrate.behaviour import behaviour
from lazymigrate.checksum import checksum, kind_of, same
from lazymigrate.declaration import data
from lazymigrate.operation import Operation

ROOT = Path(lazymigrate.__file__).parents[1]
HEAD = "from lazymigrate import Schema, ops\nusers = Schema('users')\n"
NUMBERS = itertools.count()


class Library:
    """Application packages that are written, imported and forgotten."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, source: str, **others: str) -> ModuleType:
        """A new package of the module `schemas` and others; the module, imported."""
        package = f"shop_{next(NUMBERS)}"
        (self.directory / package).mkdir()
        files = {"__init__": "", "schemas": HEAD + textwrap.dedent(source), **others}
        for name, text in files.items():
            (self.directory / package / f"{name}.py").write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        return importlib.import_module(f"{package}.schemas")

    def __call__(self, source: str, **others: str) -> str:
        """The checksum of the first revision of an application."""
        return checksum(self.write(source, **others).users.revisions[0])


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    monkeypatch.syspath_prepend(tmp_path)
    yield Library(tmp_path)
    for name in [name for name in sys.modules if name.startswith("shop_")]:
        del sys.modules[name]


PLAIN = """
    RATE = {"eur": 1, "usd": [2, 3.0]}

    def clean(text):
        return text.strip() if text else last(text)

    def last(text):
        return clean("x") and "nobody"

    @users.revision(2, touches={"name", "rate"}, reads={"mail"})
    def tidy(user):
        user["name"] = clean(user["name"])
        if user.get("mail"):
            user["rate"] = RATE["eur"] + 1

    @tidy.downgrade
    def back(user):
        user["name"] = user["name"] + " "
"""

UNCHANGED = {
    "formatting": [
        ('user["name"] = clean(user["name"])', "user['name'] = (\n            clean(user['name'])\n        )")
    ],
    "a comment": [('user.get("mail"):', 'user.get("mail"):  # there are some without')],
    "a docstring": [("def tidy(user):", "def tidy(user):\n        '''Tidy up.'''")],
    "a docstring of a helper": [("def clean(text):", "def clean(text):\n        'Strip.'")],
    "annotations": [
        ("def tidy(user):", "def tidy(user: dict) -> None:"),
        ("def clean(text):", "def clean(text: str):"),
    ],
    "its name": [("def tidy", "def tidy_up"), ("@tidy", "@tidy_up")],
    "the name of the way back": [("def back", "def untidy")],
    "a statement that does nothing": [("if user.get", "pass\n        if user.get")],
    "where it stands": [("RATE =", "OTHER = 5\n\n\n    RATE =")],
    "a constant that it does not use": [("RATE =", "OTHER = 5; RATE =")],
    "the order of a set": [('touches={"name", "rate"}', 'touches=["rate", "name"]')],
    "the name of the revision": [('reads={"mail"}', "reads={\"mail\"}, name='something'")],
}
CHANGED = {
    "a constant in the body": [("+ 1", "+ 2")],
    "a constant's type": [("+ 1", "+ 1.0")],
    "a constant of the module": [("[2, 3.0]", "[2, 3.5]")],
    "the type of a constant of the module": [("[2, 3.0]", "[2, 3]")],
    "a function that it calls": [("text.strip()", "text.rstrip()")],
    "a function that is called by one that it calls": [("nobody", "somebody")],
    "the way back": [('+ " "', '+ "  "')],
    "no way back": [("@tidy.downgrade", "@staticmethod")],
    "touches": [('{"name", "rate"}', '{"name", "rate", "x"}')],
    "reads": [('reads={"mail"}', 'reads={"mail", "x"}')],
    "neither touches nor reads": [(', touches={"name", "rate"}, reads={"mail"}', "")],
    "an order of statements": [('user["name"] = clean(user["name"])', 'user["name"] = user["name"]; clean(\'\')')],
}


def edited(edits: list[tuple[str, str]]) -> str:
    source = PLAIN
    for old, new in edits:
        assert old in source, old
        source = source.replace(old, new)
    return source


@pytest.mark.parametrize("edits", UNCHANGED.values(), ids=UNCHANGED)
def test_what_does_not_change_what_a_function_does_does_not_count(
    edits: list[tuple[str, str]], library: Library
) -> None:
    assert library(edited(edits)) == library(PLAIN)


@pytest.mark.parametrize("edits", CHANGED.values(), ids=CHANGED)
def test_what_changes_what_a_function_does_counts(edits: list[tuple[str, str]], library: Library) -> None:
    assert library(edited(edits)) != library(PLAIN)


@pytest.mark.parametrize(
    ("guard", "name"), [("visit_Expr", "a docstring"), ("visit_Pass", "a statement that does nothing")]
)
def test_without_its_guard_a_change_that_is_none_would_count(
    guard: str, name: str, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library(PLAIN) == library(edited(UNCHANGED[name]))
    monkeypatch.setattr(syntax._Bare, guard, syntax._Bare.generic_visit)
    assert library(PLAIN) != library(edited(UNCHANGED[name]))


def test_an_annotated_assignment_is_an_assignment(library: Library) -> None:
    found = {library(PLAIN.replace("if user.get", f"{line}\n        if user.get")) for line in ("x = 3", "x: int = 3")}
    assert len(found) == 1
    assert library(PLAIN.replace("if user.get", "x: int\n        if user.get")) == library(PLAIN)


def test_a_constant_of_the_module_would_not_count_without_what_a_function_refers_to(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = edited(CHANGED["a constant of the module"])
    assert library(PLAIN) != library(other)
    monkeypatch.setattr("lazymigrate.behaviour.references", lambda _: [])
    assert library(PLAIN) == library(other)


def test_what_is_reached_through_a_module_of_the_package_counts(library: Library) -> None:
    source = """
        from . import rates

        @users.revision(2)
        def convert(user):
            user["sum"] = rates.convert(user["sum"]) * rates.FACTOR
    """
    rates = "FACTOR = 2\ndef convert(amount):\n    return amount + 1\n"
    found = {library(source, rates=text) for text in (rates, rates.replace("+ 1", "+ 2"), rates.replace("= 2", "= 3"))}
    assert len(found) == 3
    assert library(source, rates=rates + "OTHER = 1\n") in found


def test_what_is_outside_of_the_package_counts_by_its_name_only(library: Library) -> None:
    source = """
        from {} import dumps
        import logging

        log = logging.getLogger("{}")

        @users.revision(2)
        def encode(user):
            log.debug("one")
            user["text"] = dumps(user["data"])
    """
    assert library(source.format("json", "a")) == library(source.format("json", "b"))
    assert library(source.format("json", "a")) != library(source.format("pickle", "a"))


def test_closures_defaults_patterns_enums_and_cached_functions_count(library: Library) -> None:
    source = """
        import enum, functools, re
        from datetime import datetime
        from types import MappingProxyType

        class Color(enum.Enum):
            RED = "red"

        RED = Color.RED
        PATTERN = re.compile("a+", re.I)
        SINCE = datetime(2020, 1, 1)
        NAMES = MappingProxyType({"a": ("b", frozenset({"c", "d"}))})

        @functools.cache
        def slow(text):
            return text + "s"

        def half(factor):
            def divide(user, *, rest=7):
                user["n"] = user["n"] // factor + rest
                user["x"] = [RED, PATTERN, SINCE, NAMES, slow("")]
            return divide

        users.revision(2)(half(3))
    """
    edits = [
        "half(3)>half(4)",
        "rest=7>rest=8",
        '"red">"blue"',
        "a+>b+",
        "re.I>re.M",
        "2020>2021",
        '"d">"e"',
        '"s">"t"',
    ]
    found = [library(source), *(library(source.replace(*edit.split(">"))) for edit in edits)]
    assert len(set(found)) == len(edits) + 1
    assert library(source.replace('{"c", "d"}', '{"d", "c"}')) == found[0]


VALUES_OUTSIDE = [
    "None", "1", "1.0", "True", "'1'", "b'1'", "1j", "(1,)", "[1]", "{1}", "frozenset({1})", "{1: 1}", "{1: 1.0}",
    "Decimal('1')", "date(2020, 1, 1)", "date(2020, 1, 2)", "UUID(int=1)", "UUID(int=2)", "ObjectId('0' * 24)",
    "ObjectId('1' * 24)", "Int64(1)", "Decimal128('1')", "Pair(1, 2)", "Pair(1, 3)", "OrderedDict(a=1)",
]  # fmt: skip


def test_every_kind_of_plain_value_counts(library: Library) -> None:
    source = """
        from collections import OrderedDict, namedtuple
        from datetime import date
        from decimal import Decimal
        from uuid import UUID
        from bson import Decimal128, Int64, ObjectId

        Pair = namedtuple("Pair", "a b")
        VALUE = {}

        @users.revision(2)
        def give(user):
            user["value"] = VALUE
    """
    found = [library(source.format(value)) for value in VALUES_OUTSIDE]
    assert len(set(found)) == len(VALUES_OUTSIDE)
    assert [library(source.format(value)) for value in VALUES_OUTSIDE] == found


def test_values_that_cannot_be_looked_into_do_no_harm(library: Library) -> None:
    source = """
        class Bomb:
            def __getattr__(self, name):
                raise RuntimeError(name)

        bomb, circle = Bomb(), []
        circle.append(circle)

        @users.revision(2)
        def give(user):
            user["value"] = bomb, circle, nowhere, __name__ and {}
    """
    assert library(source.format(1)) == library(source.format("1  # one")) != library(source.format(2))


def test_a_variable_of_an_enclosing_function_counts(library: Library) -> None:
    source = """
        def counter(start):
            def count(user):
                nonlocal start
                start += 1
                user["n"] = start
            return count

        users.revision(2)(counter({}))
    """
    assert library(source.format(1)) != library(source.format(2))


def test_two_lambdas_on_one_line_are_told_apart(library: Library) -> None:
    source = """
        pair = (lambda d: d.pop("a"), lambda d: d.pop("b")); users.revision(2, ops.call({}, touches={{"a", "b"}}))
    """
    first, second = library(source.format("pair[0]")), library(source.format("pair[1]"))
    assert first != second
    assert library(source.format("lambda document: document.pop('a')")) not in (first, second)  # another parameter
    assert library(source.format("(\n                lambda d: d.pop('a')\n        )")) == first


def test_the_lambda_around_another_is_not_the_other(library: Library) -> None:
    made = library.write("outer = lambda: (lambda d: d.pop('a'))\ninner = outer()\nsame = lambda d: d.pop('a')")
    assert behaviour(made.inner) == behaviour(made.same) != behaviour(made.outer)


def test_a_function_among_operations_counts_by_what_it_does(library: Library) -> None:
    source = """
        def twice(document):
            return document["n"] * 2

        users.revision(2, ops.within("a", ops.compute("m", python=twice, mongo={"$multiply": ["$n", 2]})))
    """
    assert library(source) == library(source.replace("twice", "doubled"))
    assert library(source) != library(source.replace("* 2", "* 3"))
    assert library(source).startswith("ops:")


def test_objects_that_can_be_called_partials_and_methods_count_by_what_they_do(library: Library) -> None:
    source = """
        import functools

        class Scale:
            def __init__(self, factor):
                self.factor = factor

            def __call__(self, document):
                document["n"] *= self.factor

            def scale(self, document):
                document["n"] *= 5

        def power(document, exponent=1):
            document["n"] **= exponent

        users.revision(2, ops.call({}, touches={{"n"}}))
    """
    given = ["Scale(2)", "Scale(3)", "Scale(2).scale", "power", "functools.partial(power, exponent=3)"]
    given.append("functools.partial(power, exponent=4)")
    assert len({library(source.format(each)) for each in given}) == len(given)
    for each in given:
        assert library(source.format(each)) == library(source.format(each))


def test_a_decorator_of_another_package_counts_by_its_name(library: Library) -> None:
    source = """
        from contextlib import contextmanager, nullcontext

        @contextmanager
        def quietly():
            yield

        @users.revision(2)
        @quietly()
        def tidy(user):
            user["n"] = 1
    """
    assert library(source) == library(source.replace("tidy", "untidy"))
    assert library(source) != library(source.replace("= 1", "= 2"))
    assert library(source) != library(source.replace("@quietly()", ""))


def test_functions_without_a_source_are_of_a_kind_that_only_this_python_can_compare(library: Library) -> None:
    def made(body: str) -> str:
        names: dict[str, Any] = {}
        exec(f"def change(user):\n    {body}", names)
        schema = Schema("users")
        schema.revision(2)(names["change"])
        return checksum(schema.revisions[0])

    one, other = made("user['a'] = 1"), made("user['a'] = 2")
    assert one.startswith(f"bytecode-{sys.implementation.name}-{sys.version_info[0]}.{sys.version_info[1]}:")
    assert one == made("user['a'] =  1")
    assert same(one, other) is False
    assert same(one, library(PLAIN)) is None
    assert same("bytecode-cpython-3.11:00", "bytecode-cpython-3.12:00") is None
    assert same("ops:00", "code:00") is False
    assert same("code:00", "code:00") is True


def test_an_operation_with_a_function_without_a_source_cannot_be_compared_either() -> None:
    schema = Schema("users")
    schema.revision(2, ops.call(eval("lambda d: d.pop('a')"), touches={"a"}))
    assert checksum(schema.revisions[0]).startswith("bytecode-")


def test_a_module_that_is_there_as_bytecode_only_has_no_source(library: Library) -> None:
    made = library.write(PLAIN)
    source = Path(str(made.__file__))
    found = checksum(made.users.revisions[0])
    py_compile.compile(str(source), cfile=str(source.with_suffix(".pyc")))
    source.unlink()
    del sys.modules[made.__name__]
    importlib.invalidate_caches()
    again = checksum(importlib.import_module(made.__name__).users.revisions[0])
    assert again.startswith("bytecode-")
    assert same(found, again) is None


def test_a_module_that_was_edited_since_is_not_taken_for_what_runs(library: Library) -> None:
    made = library.write(PLAIN)
    source = Path(str(made.__file__))
    source.write_text("\n\n\n" + source.read_text())
    assert checksum(made.users.revisions[0]).startswith("bytecode-")


GOLDEN = """
    LIMITS = {"low": -1.5, "names": ("ä", b"\\x00"), "set": {3, 1, 2}}

    def fit(value, *, most=10**20):
        return min(value, most) if value is not None else f"{value!r:>{most}} no" "thing"

    @users.revision(2, touches={"n", "m"})
    def golden(user: dict) -> None:
        '''What it does.'''
        first, *rest = user.pop("n", [None])
        try:
            user["m"] = [fit(each) for each in rest if each not in LIMITS["set"]]
        except (TypeError, KeyError) as error:
            match first:
                case {"a": int(number), **others} if number:
                    user["m"] = {**others, "key": lambda x: x[1:None:2]}
                case None | True:
                    raise ValueError from error

    @golden.downgrade
    def back(user):
        class Local:
            x: int = 1
        user["n"] = [y := user["m"], Local.x]

    users.revision(
        3,
        ops.rename("mail", "email"),
        ops.add("active", [True, 1, 1.0, None, {"b": 1, "a": "1"}]),
        ops.each("tags", ops.replace_values("kind", [(1, "one"), (True, "yes")], otherwise=None)),
    )
"""
FUNCTION, OPERATIONS = "code:2bc0a9a8900636fab453f0d0bc2c4638", "ops:4127f231f59dea715855db4e537b7c43"


def golden(library: Library) -> list[str]:
    return [checksum(revision) for revision in library.write(GOLDEN).users.revisions]


def test_the_algorithm_has_not_changed(library: Library) -> None:
    """Recorded checksums would all be drift: if this fails on purpose, the journal and the lock file need a new format."""
    assert golden(library) == [FUNCTION, OPERATIONS]


CASES: dict[str, Operation] = {
    "add": ops.add("a.b", {"x": [1, None]}),
    "call": ops.call(len, touches={"b", "a"}, reads={"c"}),
    "compute": ops.compute("a", python=lambda d: d["b"], mongo="$b"),
    "convert": ops.convert("a", "int", back="string"),
    "copy": ops.copy("a", "b"),
    "each": ops.each("a", ops.add("b", 1), ops.within("c", ops.remove("d"))),
    "each_value": ops.each_value("a", ops.remove("b")),
    "flatten": ops.flatten("a", fields=["x", "y"]),
    "join": ops.join(["a", "b"], into="c", with_=", "),
    "nest": ops.nest(["a", "b"], under="c"),
    "nothing": ops.nothing(),
    "remove": ops.remove("a", restore=None),
    "rename": ops.rename("a", "b", on_conflict="keep_new"),
    "rename_keys": ops.rename_keys("a", {"x": "y"}),
    "replace_values": ops.replace_values("a", [(1, "x"), ("y", None)]),
    "split": ops.split("a", into=["b", "c"], on="/"),
    "unwrap": ops.unwrap("a"),
    "within": ops.within("a", ops.rename("b", "c")),
    "wrap": ops.wrap("a"),
}


def test_every_operation_is_data_that_bson_holds() -> None:
    assert CASES.keys() == set(ops.__all__) - {"Operation"}
    for name, operation in CASES.items():
        found = data(operation)
        assert found["op"] == name
        assert bson.decode(bson.encode(found)) == found
    assert data(CASES["rename"]) == {"op": "rename", "old": "a", "new": "b", "on_conflict": "keep_new"}
    assert data(CASES["each"])["inner"][1] == {"op": "within", "path": "c", "inner": [{"op": "remove", "path": "d"}]}
    assert data(CASES["replace_values"])["pairs"] == [[1, "x"], ["y", None]]
    assert data(CASES["remove"])["restore"] is None
    assert "restore" not in data(ops.remove("a"))
    assert data(CASES["call"])["touches"] == ["a", "b"]
    assert data(CASES["call"])["function"]["function"] == "builtins.len"
    assert data(CASES["compute"])["python"]["function"].endswith("test_checksum.<lambda>")
    assert data(CASES["compute"])["python"]["checksum"].startswith("code:")


def test_data_is_a_copy() -> None:
    operation = ops.add("a", {"x": [1]})
    data(operation)["value"]["x"].append(2)
    assert data(operation)["value"] == {"x": [1]}


VALUES = [
    1, 1.0, True, "1", Int64(1), Decimal128("1"), Decimal128("1.0"), None, [1], [True], {"a": 1, "b": 2}, {"b": 2, "a": 1},
    {}, [], "", b"1", math.nan, -0.0, 0.0, datetime(2020, 1, 1), ObjectId("0" * 24), {"$numberInt": "1"}, ["1"],
]  # fmt: skip


def test_constants_keep_their_types() -> None:
    def of(value: Any) -> str:
        schema = Schema("users")
        schema.revision(2, ops.add("a", value))
        return checksum(schema.revisions[0])

    assert len({of(value) for value in VALUES}) == len(VALUES)
    kept = {json_util.dumps(data(ops.add("a", v)), json_options=json_util.CANONICAL_JSON_OPTIONS) for v in VALUES[:-2]}
    assert len(kept) == len(VALUES) - 2


def test_arguments_of_operations_and_a_way_back_of_its_own_count() -> None:
    def of(*operations: Operation, back: Callable[[dict[str, Any]], None] | None = None, version: int = 2) -> str:
        schema = Schema("users", oldest=version - 1)
        revision = schema.revision(version, *operations, name="any")
        if back is not None:
            revision.downgrade(back)
        return checksum(revision)

    assert of(ops.rename("a", "b")) != of(ops.rename("a", "c"))
    assert of(ops.remove("a")) != of(ops.remove("a", restore=None))
    assert of(ops.add("a", 1), ops.add("b", 1)) != of(ops.add("b", 1), ops.add("a", 1))
    assert of(ops.remove("a")) != of(ops.remove("a"), back=lambda d: d.update(a=1))
    assert of(ops.remove("a"), back=lambda d: d.update(a=1)) != of(ops.remove("a"), back=lambda d: d.update(a=2))
    assert of(ops.add("a", 1), version=7) == of(ops.add("a", 1))


def test_importing_the_library_loads_no_parser() -> None:
    code = "import sys, lazymigrate; print('symtable' in sys.modules, 'lazymigrate.syntax' in sys.modules)"
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT).stdout == "False False\n"


@pytest.mark.parametrize("branches", [120, 900])
def test_a_function_that_is_nested_too_deeply_has_a_checksum_of_its_bytecode(library: Library, branches: int) -> None:
    source = HEAD + "@users.revision(2)\ndef f(d):\n    if d['c'] == '': d['x'] = 0\n"
    source += "".join(f"    elif d['c'] == '{number}': d['x'] = {number}\n" for number in range(branches))
    one, other = (checksum(library.write(each).users.revisions[0]) for each in (source, source.replace("= 7", "= 8")))
    assert kind_of(one).startswith("bytecode-")
    assert same(one, other) is False


def test_the_checksum_does_not_depend_on_hash_seeds(library: Library, tmp_path: Path) -> None:
    made = library.write(GOLDEN)
    code = (
        f"import json\nfrom lazymigrate.checksum import checksum\nfrom {made.__name__} import users\n"
        "print(json.dumps([checksum(revision) for revision in users.revisions]))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-O", "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "0123"
    }
    assert [json.loads(each) for each in found] == [golden(library)]
    assert kind_of(golden(library)[0]) == "code"
