"""`check_revision` passes what keeps its contract, and catches what does not, at the right path."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, Code, Int64
from bson.codec_options import CodecOptions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from lazymigrate import Schema, UpgradeError, ops
from lazymigrate.testing import RevisionCheck, RevisionCheckError, check_revision
from lazymigrate.testing.strategies import documents, values

DOCUMENTS = [{"_id": 1, "name": "Ada Lovelace", "mail": "a@x"}, {"name": "Grace Hopper", "schema_version": 1}]

users = Schema("users")


@users.revision(2)
def split_name(user: dict[str, Any]) -> None:
    user["first_name"], _, user["last_name"] = user.pop("name").partition(" ")


@split_name.downgrade
def join_name(user: dict[str, Any]) -> None:
    user["name"] = f"{user.pop('first_name')} {user.pop('last_name')}".strip()


users.revision(3, ops.rename("mail", "email"), ops.add("active", value=True))

tagged = Schema("tagged")


@tagged.revision(2)
def tag(document: dict[str, Any]) -> None:
    document["inside"] = {"tags": list({"one", "two", "three", "four", "five", "six", "seven", *document["words"]})}


def schema_of(function: Any, **keywords: Any) -> Schema:
    schema = Schema("mutant")
    schema.revision(2, **keywords)(function)
    return schema


def caught(schema: Schema, document: dict[str, Any], **options: Any) -> RevisionCheckError:
    """The error for a mutant; a mutant that passes fails the test."""
    with pytest.raises(RevisionCheckError) as info:
        check_revision(schema, 2, [document], **{"hash_seeds": False, **options})
    text = str(info.value)
    assert text.endswith("."), text
    assert text.startswith("mutant: revision 2 ") or "tagged" in text
    return info.value


def test_a_function_that_keeps_its_contract_passes_all_checks() -> None:
    assert check_revision(users, 2, DOCUMENTS) == RevisionCheck(documents=2, restored=2)


def test_operations_are_run_inside_mongodb_and_their_way_back_where_it_restores(db: Database[dict[str, Any]]) -> None:
    given = [{"mail": "a@x"}, {"_id": "b", "mail": "b", "schema_version": Int64(2)}, {"active": False}]
    assert check_revision(users, 3, given, database=db) == RevisionCheck(documents=3, admitted=3, restored=2)
    assert db.list_collection_names() == []


def test_without_a_server_nothing_is_taken_to_be_restored_unless_it_is_said() -> None:
    given = [{"mail": "a@x"}]
    assert check_revision(users, 3, given).restored == 0
    assert check_revision(users, 3, given, lossless=True).restored == 1
    with pytest.raises(RevisionCheckError, match=r"way back: document 0: active: False \(bool\) came back as nothing"):
        check_revision(users, 3, [{"mail": "a", "active": False}], lossless=True)


def test_the_empty_revision_restores_everything_without_a_server() -> None:
    schema = Schema("empty")
    schema.revision(2, ops.nothing())
    assert check_revision(schema, 2, [{"a": 1}], hash_seeds=False) == RevisionCheck(documents=1, restored=1)


def test_documents_of_another_version_and_no_documents_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"document 1 is stamped 2, and revision 2 takes documents of version 1\. Give"
    ):
        check_revision(users, 2, [{"name": "a"}, {"name": "b", "schema_version": 2}])
    with pytest.raises(ValueError, match="stamped 'x'"):
        check_revision(users, 2, [{"name": "a", "schema_version": "x"}])
    with pytest.raises(ValueError, match="no documents"):
        check_revision(users, 2, [])
    with pytest.raises(ValueError, match="there is no revision 9; it has 2 to 3"):
        check_revision(users, 9, DOCUMENTS)
    with pytest.raises(ValueError, match="document 0 cannot be stored as BSON"):
        check_revision(users, 2, [{"name": object()}])
    with pytest.raises(ValueError, match="has no way back, so lossless=True"):
        check_revision(tagged, 2, [{"words": []}], lossless=True)


def test_a_server_form_that_says_something_else_is_caught_at_its_path(db: Database[dict[str, Any]]) -> None:
    schema = Schema("mutant")
    double = ops.compute("sum.half", python=lambda d: d["n"] / 2, mongo={"$toInt": {"$divide": ["$n", 2]}})
    schema.revision(2, ops.rename("mail", "email"), double)
    error = caught(schema, {"n": 4, "mail": "m"}, database=db)
    assert (error.check, error.path, error.index) == ("MongoDB", "sum.half", 0)
    assert "sum.half: 2.0 (double) in Python, 2 (int) inside MongoDB" in str(error)
    assert check_revision(schema, 2, [{"n": 4}], hash_seeds=False).admitted == 0
    assert db.list_collection_names() == []


def test_the_cheaper_forms_that_a_sweep_runs_are_held_to_the_same(db: Database[dict[str, Any]]) -> None:
    schema = Schema("mutant")
    schema.revision(2, ops.rename("mail", "email"))
    assert check_revision(schema, 2, [{"mail": 1}], database=db, hash_seeds=False).admitted == 1
    admits, wrong = schema.safe_filter(1), {"$rename": {"mail": "e"}, "$set": {"schema_version": 2}}
    schema.updates = lambda *_, **__: [(admits, wrong)]  # type: ignore[assignment,misc]
    error = caught(schema, {"mail": 1}, database=db)
    assert (error.check, error.path) == ("MongoDB", "email")
    assert "email: 1 (int) in Python, nothing inside MongoDB" in str(error)


def test_a_server_form_that_fails_or_counts_the_stamp_is_caught(db: Database[dict[str, Any]]) -> None:
    schema = Schema("mutant")
    schema.revision(2, ops.compute("b", python=lambda d: 1, mongo={"$multiply": ["$a", 1]}))
    assert "the update failed" in str(caught(schema, {"a": "text"}, database=db))
    schema = Schema("mutant")
    schema.revision(2, ops.compute("b", python=len, mongo={"$size": {"$objectToArray": "$$CURRENT"}}))
    assert check_revision(schema, 2, [{"a": 1}], hash_seeds=False).documents == 1
    error = caught(schema, {"a": 1}, database=db)
    assert error.path == "b"
    assert "2 (int) in Python, 3 (int) inside MongoDB" in str(error)


def test_a_server_form_that_accepts_what_python_refuses_is_caught(db: Database[dict[str, Any]]) -> None:
    schema = Schema("mutant")
    schema.revision(2, ops.compute("b", python=lambda d: d["a"], mongo="$a"))
    error = caught(schema, {"z": 1}, database=db, allow_refusals=True)
    assert "MongoDB upgrades it, and Python refuses it" in str(error)


def test_fields_in_another_order_are_caught(db: Database[dict[str, Any]]) -> None:
    schema = Schema("mutant")
    schema.revision(2, ops.compute("o", python=lambda d: {"x": 1, "y": 2}, mongo={"$literal": {"y": 2, "x": 1}}))
    error = caught(schema, {}, database=db)
    assert error.path == "o"
    assert "['x', 'y'] in Python, ['y', 'x'] inside MongoDB (the order of the fields)" in str(error)


def test_a_downgrade_that_is_no_inverse_is_caught_unless_it_is_not_meant_to_be() -> None:
    schema = schema_of(lambda d: d.update(upper=d.pop("name").upper()), name="upper")
    schema.revisions[0].downgrade(lambda d: d.update(name=d.pop("upper")))
    error = caught(schema, {"_id": 7, "name": "Ada"})
    assert (error.check, error.path, error.document_id) == ("way back", "name", 7)
    assert "document 0 (_id 7): name: 'Ada' (string) came back as 'ADA' (string)" in str(error)
    assert "lossless=False" in str(error)
    assert check_revision(schema, 2, [{"name": "Ada"}], lossless=False, hash_seeds=False).restored == 0
    assert check_revision(schema, 2, [{"name": "ADA"}], hash_seeds=False).restored == 1


def test_a_downgrade_that_fails_is_caught() -> None:
    schema = schema_of(lambda d: d.update(b=1), name="b")
    schema.revisions[0].downgrade(lambda d: d.update(b=d.pop("missing")))
    assert "it failed with KeyError: 'missing'" in str(caught(schema, {"a": 1}))


def test_shared_state_is_caught() -> None:
    seen: list[Any] = []

    def remember(document: dict[str, Any]) -> None:
        seen.append(document["n"])
        document["history"] = {"seen": list(seen)}

    error = caught(schema_of(remember), {"n": 1})
    assert (error.check, error.path) == ("determinism", "history.seen.1")


def test_a_constant_that_documents_would_share_is_caught() -> None:
    defaults = {"prefs": {"theme": "dark"}}
    error = caught(schema_of(lambda d: d.update(settings=defaults["prefs"]), name="default"), {"n": 1})
    assert (error.check, error.path) == ("sharing", "settings")
    assert "Copy a dict" in str(error)


def test_values_are_shown_shortened() -> None:
    numbers = itertools.count()
    error = caught(schema_of(lambda d: d.update(text=f"{next(numbers)}" * 500), name="long"), {"_id": "i" * 500})
    assert "text: '000" in str(error)
    assert len(str(error)) < 600


def test_a_counter_is_caught() -> None:
    numbers = itertools.count()
    error = caught(schema_of(lambda d: d.update(number=next(numbers)), name="count"), {})
    assert (error.check, error.path) == ("determinism", "number")


def test_an_input_that_is_changed_is_caught() -> None:
    error = caught(schema_of(lambda d: d["code"].scope.update(x=2), name="scope"), {"code": Code("f", {"x": 1})})
    assert (error.check, error.path) == ("input", "code")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ((1, 2), "in.v"),
        ({"k": [datetime(2020, 1, 1, microsecond=1)]}, "in.v.k.0"),
        (datetime(2020, 1, 1, tzinfo=UTC), "in.v"),
        ({1, 2}, None),
        (2**64, None),
    ],
    ids=lambda value: str(value)[:12],
)
def test_values_that_bson_does_not_give_back_are_caught(value: Any, path: str | None) -> None:
    error = caught(schema_of(lambda d: d.update({"in": {"v": value}}), name="value"), {})
    assert (error.check, error.path) == ("BSON", path)


@pytest.mark.parametrize("value", [2**40, Int64(3), Binary(b"x"), float("nan"), -0.0, b"", None, [{}]], ids=repr)
def test_values_that_bson_has_a_type_for_pass(value: Any) -> None:
    schema = schema_of(lambda d: d.update(v=[copy.deepcopy(value)]), name="value")
    assert check_revision(schema, 2, [{}], hash_seeds=False).documents == 1


def test_a_failing_upgrade_is_caught_or_counted(db: Database[dict[str, Any]]) -> None:
    error = caught(schema_of(lambda d: d.update(a=d["b"]), name="a"), {"_id": "x", "z": 1})
    assert "upgrade: document 0 (_id 'x'): it failed with KeyError: 'b'" in str(error)
    assert isinstance(error.__cause__, UpgradeError)
    schema = Schema("refusing")
    schema.revision(2, ops.convert("n", "int"))
    counted = check_revision(
        schema, 2, [{"n": "12"}, {"n": "x"}, {}], database=db, allow_refusals=True, hash_seeds=False
    )
    assert (counted.documents, counted.refused) == (3, 1)
    assert counted.admitted >= 1


def test_the_order_of_a_set_is_caught_by_the_hash_seeds() -> None:
    check_revision(tagged, 2, [{"words": ["eight"]}], hash_seeds=False)
    error = caught(tagged, {"words": ["eight"]}, hash_seeds=True)
    assert error.check == "hash seeds"
    assert error.path is not None
    assert error.path.startswith("inside.tags.")
    assert "under PYTHONHASHSEED=0" in str(error)
    assert "under 1" in str(error)


def test_a_schema_that_no_module_holds_is_not_skipped_silently() -> None:
    error = caught(schema_of(lambda d: d.update(v=1), name="v"), {}, hash_seeds=True)
    assert "no importable module holds the schema 'mutant'" in str(error)
    assert "hash_seeds=False" in str(error)


def test_a_schema_is_found_through_its_model_and_by_file(tmp_path: Path) -> None:
    """As under pytest's importlib mode, where a test module's name cannot be imported."""
    (tmp_path / "shop.py").write_text(
        textwrap.dedent("""
        from pydantic import BaseModel
        from lazymigrate import Schema, ops
        schema = Schema("shop")
        schema.revision(2, ops.rename("a", "b"))
        @schema.model
        class Shop(BaseModel):
            b: int
        print("noise on standard output")
        """)
    )
    (tmp_path / "run.py").write_text(
        textwrap.dedent("""
        import importlib.util, sys
        from lazymigrate.model import belongs_to
        from lazymigrate.testing import check_revision
        spec = importlib.util.spec_from_file_location("odd.shop", sys.argv[1])
        module = importlib.util.module_from_spec(spec)
        sys.modules["odd.shop"] = module
        spec.loader.exec_module(module)
        schema = belongs_to(module.Shop)
        del module.schema
        print(check_revision(schema, 2, [{"a": 1}, {"a": 2}], lossless=True))
        """)
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "run.py"), str(tmp_path / "shop.py")],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "RevisionCheck(documents=2, refused=0, admitted=0, restored=2)" in done.stdout


def test_a_module_that_checks_while_it_is_imported_ends_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "looping.py").write_text(
        textwrap.dedent("""
        from lazymigrate import Schema, ops
        from lazymigrate.testing import check_revision
        schema = Schema("loop")
        schema.revision(2, ops.rename("a", "b"))
        check_revision(schema, 2, [{"a": 1}])
        """)
    )
    done = subprocess.run(
        [sys.executable, "-c", "import looping"], capture_output=True, text=True, check=False, timeout=60,
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parent.parent}"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "Call it in a test function" in done.stderr


def test_aware_dates_are_checked_as_the_application_reads_them() -> None:
    schema = schema_of(lambda d: d.update(old=d["born"] < datetime(2010, 1, 1, tzinfo=UTC)), name="old")
    document = {"born": datetime(2000, 1, 1, tzinfo=UTC)}
    options: CodecOptions[Any] = CodecOptions(tz_aware=True)
    assert check_revision(schema, 2, [document], codec_options=options, hash_seeds=False).documents == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents(optional={"mail": values(), "email": st.none()}))
def test_a_declared_revision_holds_on_any_document(db: Database[dict[str, Any]], document: dict[str, Any]) -> None:
    checked = check_revision(users, 3, [document], database=db, allow_refusals=True, hash_seeds=False)
    assert checked.documents == 1
    assert checked.admitted + checked.refused <= 1
