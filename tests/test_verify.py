"""`verify`: what differs, fails, does not fit or cannot go back is found and named; nothing is written; no value leaks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Int64, ObjectId
from bson.raw_bson import RawBSONDocument
from conftest import Bench
from pydantic import BaseModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure
from rich.console import Console
from schemas import declared, users
from test_odd_documents import IDENTITY, ODD, document, int32, raws

from lazymigrate import LazyCollection, Schema, ops
from lazymigrate.commands import Aggregate, Procedure
from lazymigrate.drivers.pymongo import PymongoDriver
from lazymigrate.procedures import verify as procedure
from lazymigrate.report.verification import verification
from lazymigrate.verification import Finding, VerifiedVersion, VerifyReport, first_difference

ROOT = Path(__file__).parent.parent
CANARY = "canary-value"


def stored(people: Collection[dict[str, Any]]) -> list[bytes]:
    return sorted(raws(people).values())


def found(report: VerifyReport) -> list[tuple[str, str, int]]:
    return [(finding.kind, finding.detail, finding.count) for finding in report.findings]


async def test_a_declared_chain_agrees_on_every_driver(bench: Bench) -> None:
    bench.put(*({"_id": n, "name": CANARY, "mail": f"m{n}"} for n in range(5)))
    bench.put({"_id": 10, "full_name": "x", "mail": "m", "schema_version": 2}, {"_id": 11, "schema_version": 3})
    before = bench.all()
    people = bench.open(declared())
    if bench.name == "memory":
        with pytest.raises(ValueError, match=r"does not know aggregation pipelines\. Use a real server"):
            await bench.call(people.verify())
        return
    report = await bench.call(people.verify())
    assert report == VerifyReport(
        collection="people",
        head=3,
        versions=(
            VerifiedVersion(1, stored=5, sampled=5, identical=5, restored=5),
            VerifiedVersion(2, stored=1, sampled=1, identical=1, restored=1),
        ),
    )
    assert report.agrees
    assert bench.all() == before
    assert str(report) == "people: 6 of 6 outdated documents verified to 3, 6 identical, 6 restored"


def test_the_sample_is_limited_and_random(people: Collection[dict[str, Any]]) -> None:
    people.insert_many([{"_id": n, "name": "x"} for n in range(300)])
    lazy = LazyCollection(people, declared())
    report = lazy.verify(sample=7)
    assert (report.stored, report.sampled) == (300, 7)
    assert lazy.verify(sample=301).sampled == 300
    with pytest.raises(ValueError, match="at least 1"):
        lazy.verify(sample=0)


def test_a_function_leaves_its_documents_to_the_client(people: Collection[dict[str, Any]]) -> None:
    people.insert_many([{"_id": 1, "name": "Ada L", "mail": "m"}, {"_id": 2, "mail": CANARY}])
    report = LazyCollection(people, users()).verify()
    assert report.versions == (VerifiedVersion(1, stored=2, sampled=2, client=1, failing=1),)
    assert report.findings == (Finding(1, "failing", "revision 2 'split_name'", 1, (2,)),)
    assert not report.agrees
    assert CANARY not in str(report) + report.to_json() + repr(report)


def test_a_server_form_that_differs_is_found_at_its_path(people: Collection[dict[str, Any]]) -> None:
    schema = Schema("people")
    schema.revision(2, ops.compute("sum.half", python=lambda d: d["n"] / 2, mongo={"$divide": ["$n", 2]}))
    schema.revision(3, ops.compute("text", python=lambda d: str(d["n"]), mongo={"$toString": "$n"}))
    people.insert_many([{"_id": n, "n": n, "secret": CANARY} for n in range(8)])
    people.insert_one({"_id": CANARY, "n": 2.0})
    before = stored(people)
    report = LazyCollection(people, schema).verify()
    assert found(report) == [("differing", "text: another string inside MongoDB", 1)]
    assert report.versions[0].identical == 8
    assert report.findings[0].document_ids == (CANARY,)
    assert report.findings[0].shown_ids == ["a str"]
    assert str(report).endswith("(1 document whose _id is a str)")
    assert CANARY not in str(report) + report.to_json()
    assert stored(people) == before


@pytest.mark.parametrize(
    ("identities", "count", "said"),
    [
        ((5, 7), 2, "_id 5, 7"),
        (("a", "b"), 2, "2 documents whose _id is a str"),
        ((5, "a", {}, "b"), 4, "_id 5; 2 documents whose _id is a str, 1 document whose _id is a dict"),
        (("a", b"", "b"), 9, "among them 2 documents whose _id is a str, 1 document whose _id is a bytes"),
        (([],), 1, "1 document whose _id is a list"),
    ],
)
def test_documents_are_named_in_words_that_say_nothing_of_a_person(
    identities: tuple[Any, ...], count: int, said: str
) -> None:
    finding = Finding(1, "failing", "revision 2", count, identities)
    assert finding.named == said
    assert str(finding).endswith(f"({said})")


def shown(*versions: VerifiedVersion, findings: tuple[Finding, ...] = ()) -> str:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(verification(VerifyReport("people", 6, versions, findings)))
    return captured.get()


def test_only_what_was_compared_agrees() -> None:
    both = shown(VerifiedVersion(1, stored=9, sampled=9, identical=5, client=4))
    assert "Python and MongoDB agree. What only the client upgrades was not compared." in both
    alone = shown(VerifiedVersion(1, stored=251, sampled=251, client=251))
    assert "All can be upgraded. Only the client does it, so that nothing was compared." in alone
    assert "agree" not in alone
    gone = shown(VerifiedVersion(1, stored=3, sampled=0))
    assert "Nothing was compared: others changed these documents meanwhile. Verify again." in gone
    assert shown(VerifiedVersion(1, stored=3, sampled=3, identical=3)).endswith("Python and MongoDB agree.\n")


def test_what_fails_is_not_said_to_be_upgraded() -> None:
    said = shown(
        VerifiedVersion(1, stored=5, sampled=5, failing=5),
        findings=(Finding(1, "failing", "revision 2", 5, ("a", "b")),),
    )
    assert "people: 5 of 5 outdated documents tried, up to version 6" in said
    assert "upgraded to" not in said
    assert "among them 2 documents whose _id is a str" in said


def test_types_and_order_count(people: Collection[dict[str, Any]]) -> None:
    schema = Schema("people")
    schema.revision(
        2,
        ops.compute("long", python=lambda d: Int64(1) if d["_id"] == 1 else 1, mongo={"$literal": 1}),
        ops.compute("o", python=lambda d: {"x": 1, "y": 2}, mongo={"$cond": [
            {"$eq": ["$_id", 2]}, {"$literal": {"y": 2, "x": 1}}, {"$literal": {"x": 1, "y": 2}}]}),
        ops.compute("z", python=lambda d: None if d["_id"] == 3 else {}, mongo={"$literal": {}}),
    )  # fmt: skip
    people.insert_many([{"_id": n} for n in (1, 2, 3, 4)])
    assert sorted(found(LazyCollection(people, schema).verify())) == [
        ("differing", "long: long in Python, int inside MongoDB", 1),
        ("differing", "o: the fields come in another order inside MongoDB", 1),
        ("differing", "z: null in Python, object inside MongoDB", 1),
    ]


def test_what_mongodb_refuses_or_accepts_alone_is_found_by_halving(people: Collection[dict[str, Any]]) -> None:
    schema = Schema("people")
    schema.revision(2, ops.compute("b", python=lambda d: d["a"], mongo={"$add": ["$a", 0]}))
    people.insert_many([{"_id": n, "a": n} for n in range(20)])
    people.update_one({"_id": 13}, {"$set": {"a": CANARY}})
    people.update_one({"_id": 14}, {"$unset": {"a": ""}})
    report = LazyCollection(people, schema).verify()
    assert report.versions[0].identical == 18
    assert sorted(found(report)) == [
        ("differing", "MongoDB refuses (code 16554) what Python upgrades", 1),
        ("differing", "MongoDB upgrades what Python refuses: revision 2 'revision_2'", 1),
    ]
    assert CANARY not in str(report)


def test_documents_outside_the_safe_filter_are_left_to_the_client(people: Collection[dict[str, Any]]) -> None:
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email"))
    people.insert_many([{"_id": 1, "mail": "m"}, {"_id": 2, "mail": "m", "email": "e"}])
    report = LazyCollection(people, schema).verify()
    assert report.versions == (VerifiedVersion(1, stored=2, sampled=2, identical=1, failing=1, restored=1),)


@pytest.mark.parametrize("odd", ODD)
def test_odd_documents_do_not_differ(people: Collection[dict[str, Any]], odd: str) -> None:
    schema = Schema("people")
    schema.revision(2, ops.rename("n", "doubled"), ops.add("settings.theme", "dark"), ops.remove("gone"))
    people.insert_one(RawBSONDocument(document(IDENTITY, int32("n", 4), ODD[odd], int32("gone", 1))))
    report = LazyCollection(people, schema).verify()
    assert report.agrees, str(report)
    (found,) = report.versions
    assert (found.identical, found.client) == ((0, 1) if odd == "equal keys" else (1, 0))


def test_documents_that_do_not_fit_the_model_are_found(people: Collection[dict[str, Any]]) -> None:
    schema = declared()

    @schema.model
    class Person(BaseModel):
        full_name: str

    people.insert_many([{"_id": 1, "name": "Ada"}, {"_id": 2, "name": [CANARY]}])
    for shape in (Person, schema):
        report = LazyCollection(people, shape).verify()
        assert found(report) == [("unfit", "full_name: string_type", 1)]
        assert report.versions[0].identical == 2
        assert CANARY not in str(report)


def test_a_way_back_that_does_not_restore_is_found(people: Collection[dict[str, Any]]) -> None:
    schema = Schema("people")
    schema.revision(2, ops.rename("a", "b"))
    people.insert_many([{"_id": 1, "a": 1}, {"_id": 2, "a": CANARY}])
    back = schema.downgrade

    def broken(upgraded: dict[str, Any], *, to: int) -> dict[str, Any]:
        return {**back(upgraded, to=to), "a": 1}

    schema.downgrade = broken  # type: ignore[method-assign]
    report = LazyCollection(people, schema).verify()
    assert found(report) == [("unrestored", "a: string comes back as int", 1)]
    assert (report.versions[0].restored, report.versions[0].unrestored) == (1, 1)


def test_retired_invalid_ahead_and_settled_documents_are_not_sampled(people: Collection[dict[str, Any]]) -> None:
    schema = Schema("people", oldest=2)
    schema.revision(3, ops.rename("a", "b"))
    schema.revision(4, ops.nothing())
    stamps = [1, 2, 3, 4, 9, "x", [2], True, 2.0, None]
    people.insert_many([{"_id": n, "schema_version": stamp} for n, stamp in enumerate(stamps)])
    report = LazyCollection(people, schema).verify()
    assert report.versions == (VerifiedVersion(2, stored=2, sampled=2, identical=2, restored=2),)
    assert str(LazyCollection(people.database["empty"], schema).verify()) == "empty: no document is outdated"


def test_a_document_that_changes_between_the_reads_is_no_difference(people: Collection[dict[str, Any]]) -> None:
    people.insert_many([{"_id": n, "name": "x"} for n in range(3)])
    lazy = LazyCollection(people, declared())
    seen = 0

    def meanwhile(inner: Procedure[VerifyReport]) -> Procedure[VerifyReport]:
        nonlocal seen
        command = next(inner)
        while True:
            if seen == 2:  # the sample is drawn, and not compared yet
                people.update_one({"_id": 0}, {"$set": {"name": "y"}})
                people.delete_one({"_id": 1})
                people.update_one({"_id": 2}, {"$set": {"schema_version": 2}})
            seen += 1
            try:
                command = inner.send((yield command))
            except StopIteration as end:
                return end.value

    driver = PymongoDriver(people, people)
    report = driver.run(meanwhile(procedure.verify(lazy._scope)))
    assert seen > 2
    assert report.versions == (VerifiedVersion(1, stored=3, sampled=1, identical=1, restored=1),)


def test_large_documents_are_compared_alone_or_left_to_the_client(people: Collection[dict[str, Any]]) -> None:
    people.insert_many([{"_id": n, "name": "x" * size} for n, size in enumerate((9_000_000, 6_000_000, 3_000_000, 5))])
    report = LazyCollection(people, declared()).verify()
    (version,) = report.versions
    assert (version.sampled, version.identical, version.client) == (4, 3, 1)
    assert report.agrees


def test_a_collation_that_ignores_case_makes_no_difference(db: Database[dict[str, Any]]) -> None:
    people = db.create_collection("people", collation={"locale": "en", "strength": 1})
    people.insert_one({"_id": 1, "state": "NEW"})
    schema = Schema("people")
    schema.revision(2, ops.compute("new", python=lambda d: d["state"] == "new", mongo={"$eq": ["$state", "new"]}))
    assert LazyCollection(people, schema).verify().versions[0].identical == 1


def test_an_error_of_the_server_before_the_comparison_is_raised(people: Collection[dict[str, Any]]) -> None:
    driver = PymongoDriver(people, people)
    with pytest.raises(OperationFailure):
        driver.carry_out(Aggregate([{"$nonsense": 1}]))


@pytest.mark.parametrize(
    ("one", "other", "path", "kinds"),
    [
        ({"a": {"b": [1, {"c": 1}]}}, {"a": {"b": [1, {"c": 2}]}}, "a.b.1.c", ("int", "int")),
        ({"a": 1}, {"a": Int64(1)}, "a", ("int", "long")),
        ({"a": 1, "b": 2}, {"b": 2}, "a", ("int", "nothing")),
        ({"b": 2}, {"b": 2, "a\x1b[31m": 1}, "a\\x1b[31m", ("nothing", "int")),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, "a", ("object", "object")),
        ({"x": 1, "y": 2}, {"y": 2, "x": 1}, "(the document)", ("object", "object")),
        ({"ä": ObjectId("0" * 24)}, {"ä": "x"}, "ä", ("objectId", "string")),
    ],
)
def test_the_first_difference(one: Any, other: Any, path: str, kinds: tuple[str, str]) -> None:
    difference = first_difference(bson.encode(one), bson.encode(other))
    assert difference is not None
    assert (difference.path, (difference.expected, difference.found)) == (path, kinds)
    assert first_difference(bson.encode(one), bson.encode(one)) is None
    assert (first_difference(bson.encode(one), bson.encode(other), ordered=False) is None) == difference.reordered


# The command line

RUN = [sys.executable, "-c", "from lazymigrate.cli import main; main()", "verify"]
SHOP = """
    from pydantic import BaseModel
    from lazymigrate import Schema, ops
    users = Schema("people")
    users.revision(2, ops.rename("name", "full_name"))
    orders = Schema("orders")
    orders.revision(2, ops.compute("b", python=lambda d: 1, mongo={"$literal": "x"}))
    @users.model
    class User(BaseModel):
        full_name: str
    class Other(BaseModel):
        pass
    both = [User, orders]
    nothing = []
    number = 5
    def make():
        return users
    def fail():
        raise RuntimeError("mongodb://me:canary-value@host is down")
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(textwrap.dedent(SHOP))
    return tmp_path


def run(shop: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if "MONGODB" not in name and name != "LAZYMIGRATE_APP"}
    paths = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return subprocess.run(
        [*RUN, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=shop,
        env={**clean, "PYTHONPATH": paths, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8", **environment},
    )


def test_the_command_agrees_or_differs(shop: Path, mongo_uri: str, db: Database[dict[str, Any]]) -> None:
    db["people"].insert_many([{"_id": n, "name": "x"} for n in range(3)])
    db["orders"].insert_one({"_id": ObjectId(), "a": CANARY})
    good = run(shop, "--app", "shop:users", "--database", db.name, MONGODB_URI=mongo_uri)
    assert good.returncode == 0, good.stderr
    assert "people: 3 of 3 outdated documents tried, up to version 2" in good.stdout
    assert "Python and MongoDB agree." in good.stdout
    bad = run(shop, "--app", "shop", "--database", db.name, MONGODB_URI=mongo_uri)
    assert bad.returncode == 1
    assert "b: int in Python, string inside MongoDB" in bad.stdout
    assert "1 finding." in bad.stdout
    assert CANARY not in bad.stdout
    assert all(len(line) <= 80 for line in (good.stdout + bad.stdout).splitlines())
    assert bad.stderr == ""


def test_the_command_as_json(shop: Path, mongo_uri: str, db: Database[dict[str, Any]]) -> None:
    db["orders"].insert_one({"_id": 1})
    done = run(shop, "--app", "shop:both", "--database", db.name, "--json", "--sample", "2", MONGODB_URI=mongo_uri)
    assert done.returncode == 1
    people, orders = map(json.loads, done.stdout.splitlines())
    assert (people["collection"], people["agrees"], people["versions"]) == ("people", True, [])
    assert orders["findings"] == [
        {
            "version": 1,
            "kind": "differing",
            "detail": "b: int in Python, string inside MongoDB",
            "count": 1,
            "documents": ["1"],
        }
    ]
    assert orders["versions"][0]["sampled"] == 1


@pytest.mark.parametrize("app", ["shop:users", "shop:User", "shop:make"])
def test_the_application_is_named_in_three_ways(
    shop: Path, mongo_uri: str, db: Database[dict[str, Any]], app: str
) -> None:
    db["elsewhere"].insert_one({"name": "x"})
    common = ["--database", db.name, "--collection", "elsewhere"]
    server = {"LAZYMIGRATE_MONGODB_URI": mongo_uri, "MONGODB_URI": "mongodb://u:canary-value@127.0.0.1:1"}
    assert "elsewhere: 1 of 1" in run(shop, "--app", app, *common, **server).stdout
    assert "elsewhere: 1 of 1" in run(shop, *common, LAZYMIGRATE_APP=app, **server).stdout
    (shop / "pyproject.toml").write_text(f'[tool.lazymigrate]\napp = "{app}"\n')
    assert "elsewhere: 1 of 1" in run(shop, *common, **server).stdout
    assert "elsewhere: 1 of 1" in run(shop, *common, "--uri", mongo_uri, MONGODB_URI="mongodb://nowhere").stdout
    assert "no module 'other'" in run(shop, *common, LAZYMIGRATE_APP="other", **server).stderr


def test_the_database_may_stand_in_the_uri(shop: Path, mongo_uri: str, db: Database[dict[str, Any]]) -> None:
    db["people"].insert_one({"name": "x"})
    base, _, query = mongo_uri.partition("?")
    uri = f"{base.rstrip('/')}/{db.name}" + (f"?{query}" if query else "")
    assert "people: 1 of 1" in run(shop, "--app", "shop:users", MONGODB_URI=uri).stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ([], {}, "Which application? Name it with --app"),
        (["--app", "nonsense"], {}, "There is no module 'nonsense' here"),
        (["--app", "a b"], {}, "does not name a module"),
        (["--app", "shop:missing"], {}, "shop has no 'missing'"),
        (["--app", "shop:nothing"], {}, "holds no schema"),
        (["--app", "shop:number"], {}, "is of the type int. Name a module"),
        (["--app", "shop:Other"], {}, "is not the model of a schema"),
        (["--app", "shop:fail"], {}, "raised RuntimeError"),
        (["--app", "shop", "--collection", "x"], {}, "--collection is for one schema, and there are 2"),
        (["--app", "shop"], {}, "Which server? Set MONGODB_URI"),
        (["--app", "shop"], {"MONGODB_URI": "mongodb://127.0.0.1:1"}, "Which database? Pass --database"),
        (["--app", "shop", "--database", "a/b"], {"MONGODB_URI": "mongodb://h"}, "cannot be the name of a database"),
        (["--app", "shop"], {"MONGODB_URI": "mongodb://u:canary-value/x@h/d"}, "is not valid (InvalidURI"),
        (["--app", "shop"], {"MONGODB_URI": "mongodb://u:canary-value:y@h/d"}, "is not valid (InvalidURI"),
        (["--app", "shop"], {"MONGODB_URI": "http://canary-value/d"}, "is not valid (InvalidURI"),
        (["--app", "shop", "--sample", "0"], {}, "--sample"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what_to_do(
    shop: Path, arguments: list[str], environment: dict[str, str], said: str
) -> None:
    done = run(shop, *arguments, **environment)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_a_broken_application_is_named_with_its_line(shop: Path) -> None:
    (shop / "broken.py").write_text("from lazymigrate import Schema\nSchema('')\n")
    done = run(shop, "--app", "broken")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "Importing 'broken' raised SchemaError: A schema's name is a non-empty string" in said
    assert "broken.py:2. Mend the application" in said, "its own line, and not the library's"
    (shop / "broken.py").write_text("from lazymigrate import Schema\nnothing = [\n")
    assert re.search(
        r"raised SyntaxError: '\[' was never closed at \S+broken\.py:2\.",
        " ".join(run(shop, "--app", "broken").stderr.split()),
    )
    (shop / "broken.py").write_text(
        "import lazymigrate\nimport importlib\n\nimportlib.import_module('nowhere_at_all')\n"
    )
    assert re.search(r"broken\.py:4\. Mend", " ".join(run(shop, "--app", "broken").stderr.split()))
    (shop / "broken.py").write_text("import not_there_at_all\n")
    assert "raised ModuleNotFoundError: No module named 'not_there_at_all'" in run(shop, "--app", "broken").stderr
    (shop / "pyproject.toml").write_text("[tool.lazymigrate]\napp = 5\n")
    assert "app is 5" in run(shop).stderr
    (shop / "pyproject.toml").write_text("[tool")
    assert "pyproject.toml cannot be read" in run(shop).stderr


def test_a_server_that_does_not_answer_is_an_error_without_the_password(shop: Path) -> None:
    uri = "mongodb://u:canary-value@127.0.0.1:1/d?serverSelectionTimeoutMS=200"
    done = run(shop, "--app", "shop", MONGODB_URI=uri)
    assert done.returncode == 1
    assert "MongoDB at 127.0.0.1:1 does not answer: the connection was refused. Start it" in done.stderr
    assert "Traceback" not in done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_a_server_that_refuses_is_an_error_without_the_password(shop: Path, mongo_uri: str) -> None:
    host = mongo_uri.split("//")[1].split("/", maxsplit=1)[0]
    done = run(shop, "--app", "shop", MONGODB_URI=f"mongodb://u:canary-value@{host}/d?directConnection=true")
    assert done.returncode == 1
    assert "refused the command (code 18, AuthenticationFailed). Check the user name" in done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_help_fits_one_screen(shop: Path) -> None:
    done = run(shop, "--help", MONGODB_URI="mongodb://u:canary-value@h/d")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert len(lines) <= 24
    assert all(len(line) <= 80 for line in lines)
    assert CANARY not in done.stdout
