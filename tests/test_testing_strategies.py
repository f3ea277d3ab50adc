"""What the public strategies draw can be stored, and comes back as it was drawn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection

from lazymigrate.documents import same
from lazymigrate.drivers.memory import CODEC
from lazymigrate.paths import split_path
from lazymigrate.testing.strategies import datetimes, documents, ids, names, paths, scalars, texts, values

FIELDS = {"name": texts(), "age": st.integers(0, 99)}


@settings(max_examples=400, deadline=None)
@given(documents(_id=ids()))
def test_a_document_decodes_to_itself(document: dict[str, Any]) -> None:
    raw = bson.encode(document)
    assert same(bson.decode(raw, CODEC), document)
    assert bson.encode(bson.decode(raw, CODEC)) == raw


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents(_id=ids()))
def test_a_document_can_be_stored(people: Collection[dict[str, Any]], document: dict[str, Any]) -> None:
    people.delete_many({})
    people.insert_one(document)
    raw = people.with_options(codec_options=CODEC.with_options(document_class=RawBSONDocument)).find_one()
    assert raw is not None
    assert bytes(raw.raw) == bson.encode(document)


@pytest.mark.parametrize(
    "kind",
    [type(None), bool, int, float, str, bytes, Int64, Decimal128, Binary, ObjectId, DatetimeMS, Regex, Timestamp, Code,
     MinKey, MaxKey],
)  # fmt: skip
def test_every_type_is_drawn(kind: type) -> None:
    assert type(drawn(scalars(), lambda value: type(value) is kind)) is kind


def drawn(strategy: st.SearchStrategy[Any], condition: Callable[[Any], bool]) -> Any:
    return find(strategy, condition, settings=settings(max_examples=5000, database=None, phases=[Phase.generate]))


@pytest.mark.parametrize("kind", [Int64, Code, Binary, Decimal128, dict])
def test_an_example_with_any_type_can_be_shrunk(kind: type) -> None:
    quick = settings(max_examples=2000, database=None)
    found = find(st.lists(values(), min_size=1), lambda drawn: any(type(v) is kind for v in drawn), settings=quick)
    assert [type(value) for value in found] == [kind]


@pytest.mark.parametrize("name", ["a.b", "$a", "", "日本"])
def test_odd_names_are_drawn_on_demand(name: str) -> None:
    assert drawn(names(), lambda value: value == name) == name


@given(names(odd=False))
def test_plain_names_have_no_dots_and_dollars(name: str) -> None:
    assert name.isalnum()


@given(paths(max_depth=2))
def test_paths_are_what_operations_take(path: str) -> None:
    assert 1 <= len(split_path(path)) <= 2


def test_numbers_that_break_comparisons_are_drawn() -> None:
    assert str(drawn(scalars(), lambda value: isinstance(value, Decimal128) and str(value) == "-0")) == "-0"
    assert drawn(scalars(), lambda value: isinstance(value, float) and value != value) is not None
    assert drawn(datetimes(), lambda value: isinstance(value, DatetimeMS) and int(value) < 0) is not None


@given(documents(FIELDS, optional={"mail": texts()}, others=st.nothing(), _id=st.integers(1, 3)))
def test_a_shape_is_kept(document: dict[str, Any]) -> None:
    assert next(iter(document)) == "_id"
    assert {"_id", "name", "age"} <= set(document) <= {"_id", "name", "age", "mail"}


def test_fields_come_in_any_order_and_with_others() -> None:
    some = documents(FIELDS, optional={"mail": texts()})
    assert next(iter(drawn(some, lambda document: next(iter(document)) == "age"))) == "age"
    assert "mail" in drawn(some, lambda document: "mail" in document)
    assert len(drawn(some, lambda document: len(document) > 4)) > 4


@given(values(st.just(1), st.just("k")))
def test_what_values_are_made_of_can_be_given(value: Any) -> None:
    while not isinstance(value, int):
        if isinstance(value, list):
            value = value[0] if value else 1
        else:
            assert set(value) <= {"k"}
            value = value.get("k", 1)
    assert value == 1


def test_without_hypothesis_only_the_strategies_fail_and_say_what_to_install() -> None:
    code = """
import sys
sys.modules["hypothesis"] = None
import lazymigrate.testing
print(sorted(name for name in ("click", "rich", "motor", "pytest") if name in sys.modules))
try:
    import lazymigrate.testing.strategies
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[]",
        "lazymigrate.testing.strategies needs Hypothesis, which is not installed. Run: pip install hypothesis",
    ]


def test_importing_the_package_loads_nothing_of_the_tests() -> None:
    code = "import sys, lazymigrate; print(*[name for name in sys.modules if name.startswith('lazymigrate.testing')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
