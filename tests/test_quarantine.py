"""The quarantine: what is listed is found again, whatever its `_id`; what leaves it is at head, or gone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import Binary, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from bson.codec_options import CodecOptions, UuidRepresentation
from bson.raw_bson import RawBSONDocument
from conftest import Bench
from pymongo.collection import Collection
from schemas import users
from test_docs import python_of

from lazymigrate import LazyCollection, Policy, Schema, SchemaError, UpgradeError, ops
from lazymigrate.change import CompareAndSet, Statement
from lazymigrate.cli.app import is_this_machine
from lazymigrate.commands import At, Attempt, CompareAndSetMany, Procedure, Stored
from lazymigrate.drivers import calls
from lazymigrate.drivers.memory import MemoryCollection
from lazymigrate.exceptions import DocumentError
from lazymigrate.procedures import quarantine as procedures
from lazymigrate.procedures import retry as retrying
from lazymigrate.quarantine import among, between
from lazymigrate.versions import outdated_filter

ROOT = Path(__file__).parent.parent
People = Collection[dict[str, Any]]
CANARY = "canary-value"
STANDARD = CodecOptions[dict[str, Any]](uuid_representation=UuidRepresentation.STANDARD)
IDS = [
    MinKey(),
    None,
    -1,
    2,
    2.5,
    Int64(2**40),
    Decimal128("7.10"),
    "",
    "Ada",
    "ada",
    "$dollar\x1b[31m",
    {"a": 1, "b": 2},
    {"b": 2, "a": 1},
    {"a": {"b": None}},
    b"\0\1",
    Binary(b"x", 0x80),
    UUID(int=7),
    ObjectId("0123456789abcdef01234567"),
    False,
    datetime(2024, 1, 2, 3, 4, 5, 678000),
    Timestamp(1, 2),
    MaxKey(),
]


class Fault:
    """A revision that fails until it is mended."""

    def __init__(self) -> None:
        self.mended = False
        self.schema = Schema("people")
        self.schema.revision(2)(self.upgrade)

    def upgrade(self, person: dict[str, Any]) -> None:
        if person.get("broken") and not self.mended:
            raise KeyError(CANARY)
        person["done"] = True


@pytest.fixture
def fault() -> Fault:
    return Fault()


def listing(bench: Bench, schema: Schema) -> Any:
    return bench.open(schema, Policy(on_error="quarantine"))


async def listed(bench: Bench, people: Any) -> list[Any]:
    return [entry.document_id for entry in await bench.call(people.quarantine.list())]


async def read_all(bench: Bench, people: Any) -> None:
    await bench.list(people.find(sort=[("_id", 1)]))


def run(people: LazyCollection[Any], procedure: Procedure[Any]) -> Any:
    return people._driver.run(procedure)


def raw_id(value: Any) -> bytes:
    return bson.encode({"_id": value}, codec_options=STANDARD)


def list_ids(people: LazyCollection[Any], ids: list[Any]) -> int:
    errors = [UpgradeError("no", collection="people", document_id=value, version=1, revision=2) for value in ids]
    count: int = run(people, procedures.list_errors(people._scope, errors))
    return count


async def test_an_entry_says_what_failed_since_when_and_how_often_and_no_value(bench: Bench, fault: Fault) -> None:
    bench.put({"_id": 1, "broken": CANARY}, {"_id": 2, "schema_version": CANARY}, {"_id": 3})
    people = listing(bench, fault.schema)
    await read_all(bench, people)
    (first,) = [entry for entry in await bench.call(people.quarantine.list()) if entry.document_id == 1]
    await read_all(bench, people)
    entry, invalid = await bench.call(people.quarantine.list())
    assert (entry.document_id, entry.version, entry.revision, entry.head) == (1, 1, 2, 2)
    assert (entry.error, entry.code, entry.attempts) == ("KeyError", None, 2)
    assert entry.first_seen == first.first_seen
    assert first.first_seen <= first.last_seen <= entry.last_seen
    if bench.name != "memory":
        assert timedelta(0) <= datetime.now(UTC) - entry.last_seen < timedelta(minutes=1)
    assert (invalid.document_id, invalid.version, invalid.error) == (2, None, "InvalidVersionError")
    assert str(entry).startswith("document 1 at version 1: KeyError in revision 2, 2 attempts since ")
    said = json.loads(entry.to_json())
    assert (said["document_id"], said["revision"], said["attempts"]) == (1, 2, 2)
    assert datetime.fromisoformat(said["first_seen"]) == entry.first_seen
    assert CANARY not in repr((entry, invalid, entry.to_json(), bench.quarantined()))


async def test_entries_are_counted_found_and_given_in_pages(
    bench: Bench, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.put(*({"_id": n, "broken": True} for n in range(7)))
    people = listing(bench, fault.schema)
    await read_all(bench, people)
    assert await bench.call(people.quarantine.count()) == 7
    page = await bench.call(people.quarantine.list(limit=3))
    assert [entry.document_id for entry in page] == [0, 1, 2]
    page = await bench.call(people.quarantine.list(limit=3, after=page[-1]))
    assert [entry.document_id for entry in page] == [3, 4, 5]
    monkeypatch.setattr("lazymigrate.quarantine_control.PAGE", 3)
    assert [entry.document_id for entry in await bench.list(people.quarantine)] == list(range(7))
    assert (await bench.call(people.quarantine.get(4))).document_id == 4
    assert await bench.call(people.quarantine.get(7)) is None
    with pytest.raises(ValueError, match=r"limit=0: it is at least 1, or None\."):
        await bench.call(people.quarantine.list(limit=0))


async def test_a_retry_after_the_fix_empties_the_quarantine(bench: Bench, fault: Fault) -> None:
    bench.put(*({"_id": n, "broken": True} for n in range(5)))
    people = listing(bench, fault.schema)
    await read_all(bench, people)
    fault.mended = True
    report = await bench.call(people.quarantine.retry(batch_size=2))
    assert (report.upgraded, report.quarantined, report.remaining, report.complete) == (5, 0, 0, True)
    assert bench.quarantined() == []
    assert all(d == {"_id": d["_id"], "broken": True, "done": True, "schema_version": 2} for d in bench.all().values())


async def test_what_fails_again_stays_and_what_is_at_head_ahead_or_gone_leaves(bench: Bench, fault: Fault) -> None:
    bench.put(*({"_id": n, "broken": True} for n in range(5)))
    people = listing(bench, fault.schema)
    await read_all(bench, people)
    bench.put({"_id": 1}, {"_id": 2, "schema_version": 2}, {"_id": 3, "schema_version": 9})
    bench.remove(4)
    before = bench.all()
    report = await bench.call(people.quarantine.retry(batch_size=2))
    assert (report.upgraded, report.quarantined, report.remaining) == (1, 1, 1)
    (entry,) = await bench.call(people.quarantine.list())
    assert (entry.document_id, entry.attempts) == (0, 2)
    assert bench.all() == {**before, 1: {"_id": 1, "done": True, "schema_version": 2}}


async def test_only_the_documents_that_are_named_are_tried_and_only_listed_ones(bench: Bench, fault: Fault) -> None:
    bench.put(*({"_id": n, "broken": True} for n in range(4)))
    people = listing(bench, fault.schema)
    await read_all(bench, people)
    bench.put({"_id": 9, "broken": True})
    fault.mended = True
    report = await bench.call(people.quarantine.retry(iter([1, 3, 9])))
    assert (report.upgraded, report.quarantined, report.remaining) == (2, 0, 3)
    assert await listed(bench, people) == [0, 2]
    assert (await bench.call(people.quarantine.retry([]))).upgraded == 0
    assert await listed(bench, people) == [0, 2]


async def test_a_released_document_is_untouched_and_no_longer_listed(bench: Bench, fault: Fault) -> None:
    bench.put(*({"_id": n, "broken": True} for n in range(4)))
    people = listing(bench, fault.schema)
    await read_all(bench, people)
    before = bench.all()
    assert await bench.call(people.quarantine.release([1, 2, 77])) == 2
    assert await listed(bench, people) == [0, 3]
    assert bench.all() == before
    assert await bench.call(people.quarantine.release([])) == 0


@pytest.mark.parametrize("one", ["ab", b"ab", {"a": 1}])
async def test_one_id_is_not_taken_for_several(bench: Bench, one: Any) -> None:
    people = bench.open(users())
    for method in (people.quarantine.release, people.quarantine.retry):
        with pytest.raises(TypeError, match=r"Put it into a list\."):
            await bench.call(method(one))


async def test_a_mistake_in_the_declaration_is_raised_at_once_and_nothing_leaves(bench: Bench, fault: Fault) -> None:
    bench.put(*({"_id": n, "broken": True} for n in range(3)))
    await read_all(bench, listing(bench, fault.schema))
    mistaken = Schema("people")

    @mistaken.revision(2)
    def returns(person: dict[str, Any]) -> Any:
        return {**person}

    before = bench.all()
    people = bench.open(mistaken)
    with pytest.raises(SchemaError):
        await bench.call(people.quarantine.retry())
    assert await listed(bench, people) == [0, 1, 2]
    assert bench.all() == before


async def test_how_many_were_new_is_told_and_a_code_is_kept(bench: Bench) -> None:
    people = bench.open(users())
    errors: list[DocumentError] = [UpgradeError("no", document_id=n, version=1) for n in range(3)]
    assert await bench.call(people._driver.run(procedures.list_errors(people._scope, errors[:2], [None, 121]))) == 2
    assert await bench.call(people._driver.run(procedures.list_errors(people._scope, errors, [11000, None, 1]))) == 1
    assert await bench.call(people._driver.run(procedures.list_errors(people._scope, []))) == 0
    entries = await bench.call(people.quarantine.list())
    assert [(entry.code, entry.attempts) for entry in entries] == [(11000, 2), (None, 2), (1, 1)]


def test_a_document_that_the_server_refuses_stays_with_its_code(people: People, fault: Fault) -> None:
    fault.schema.revision(3, ops.rename("mail", "email"))
    people.create_index("email", unique=True, sparse=True)
    people.insert_many([{"_id": 0, "email": CANARY, "schema_version": 3}])
    people.insert_many({"_id": n, "mail": CANARY if n == 3 else f"{n}", "broken": True} for n in range(1, 6))
    lazy = LazyCollection(people, fault.schema, Policy(on_error="quarantine"))
    assert len(list(lazy.find())) == 1
    fault.mended = True
    report = lazy.quarantine.retry()
    assert (report.upgraded, report.conflicts, report.quarantined, report.remaining) == (4, 0, 1, 1)
    (entry,) = lazy.quarantine.list()
    assert (entry.document_id, entry.error, entry.code, entry.attempts) == (3, "UpgradeError", 11000, 2)
    assert CANARY not in str(entry) + entry.to_json()


def test_a_quarantine_that_cannot_be_written_fails_no_read(people: People, caplog: pytest.LogCaptureFixture) -> None:
    people.database.create_collection("lazymigrate.quarantine", validator={"never": 1})
    people.insert_one({"_id": 1, "mail": CANARY})
    lazy = LazyCollection(people, users(), Policy(on_error="quarantine"))
    assert list(lazy.find()) == []
    assert "1 documents could not be listed in the quarantine (code 121)" in caplog.text
    assert CANARY not in caplog.text


@pytest.fixture
def kinds(people: People) -> LazyCollection[dict[str, Any]]:
    """A collection with an outdated document of each kind of `_id`."""
    people = people.with_options(codec_options=STANDARD)
    people.insert_many({"_id": value} for value in IDS)
    return LazyCollection(people, users())


def by_server(people: LazyCollection[Any]) -> list[bytes]:
    """The raw `_id`s in the server's order."""
    return [bson.encode({"_id": d["_id"]}, codec_options=STANDARD) for d in people.raw.find().sort("_id", 1)]


def test_ids_of_every_kind_are_listed_and_found_exactly(kinds: LazyCollection[Any]) -> None:
    some, others = IDS[::2], IDS[1::2]
    assert list_ids(kinds, some) == len(some)
    asked = [raw_id(value) for value in IDS]
    assert run(kinds, procedures.listed_among(kinds._scope, asked)) == {raw_id(value) for value in some}
    assert [raw_id(entry.document_id) for entry in kinds.quarantine.list()] == [
        value for value in by_server(kinds) if value in {raw_id(value) for value in some}
    ]
    elsewhere = LazyCollection(kinds.raw.database["peopl"].with_options(codec_options=STANDARD), users())
    assert run(elsewhere, procedures.listed_among(elsewhere._scope, asked)) == set()
    assert elsewhere.quarantine.count() == 0
    assert elsewhere.quarantine.release(IDS) == 0
    assert run(kinds, procedures.forget(kinds._scope, asked)) == len(some)
    assert list_ids(kinds, others) == len(others)
    assert kinds.quarantine.release(IDS) == len(others)


@pytest.mark.parametrize("representation", [UuidRepresentation.JAVA_LEGACY, UuidRepresentation.UNSPECIFIED])
def test_uuids_are_found_under_the_codec_of_the_collection(people: People, representation: int) -> None:
    codec = CodecOptions[dict[str, Any]](uuid_representation=representation)
    people = people.with_options(codec_options=codec)
    first, second = Binary.from_uuid(UUID(int=1)), Binary.from_uuid(UUID(int=2), UuidRepresentation.JAVA_LEGACY)
    people.insert_many([{"_id": first}, {"_id": second}])
    lazy = LazyCollection(people, users(), Policy(on_error="quarantine"))
    assert list(lazy.find()) == []
    asked = [bson.encode({"_id": value}) for value in (first, second)]
    assert run(lazy, procedures.listed_among(lazy._scope, asked)) == set(asked)
    assert run(lazy, procedures.unlisted_outdated(lazy._scope, {})) == 0
    assert lazy.quarantine.retry().quarantined == 2


def test_a_number_of_another_type_is_the_same_document(people: People) -> None:
    lazy = LazyCollection(people, users())
    people.insert_many([{"_id": 1.0}, {"_id": 2}])
    list_ids(lazy, [1])
    asked = [bson.encode({"_id": 1.0}), bson.encode({"_id": 2})]
    assert run(lazy, procedures.listed_among(lazy._scope, asked)) == {asked[0]}
    assert run(lazy, procedures.unlisted_outdated(lazy._scope, {})) == 1
    report = lazy.quarantine.retry()
    assert (report.upgraded, report.quarantined, report.remaining) == (0, 1, 2)
    assert [entry.document_id for entry in lazy.quarantine.list()] == [1.0]


def test_an_interval_has_the_listed_documents_that_the_server_has_in_it(kinds: LazyCollection[Any]) -> None:
    list_ids(kinds, IDS[1::2])
    inside = {raw_id(value) for value in IDS[1::2]}
    order = by_server(kinds)
    ends: list[int | None] = [None, *range(0, len(order), 3)]
    for low in ends:
        for high in ends:
            after = None if low is None else bson.decode(order[low], STANDARD)["_id"]
            upto = None if high is None else bson.decode(order[high], STANDARD)["_id"]
            if None in (after, upto) and ((low is not None and after is None) or (high is not None and upto is None)):
                continue  # the _id null cannot be told from an open end
            found = run(kinds, procedures.listed_between(kinds._scope, after, upto))
            expected = order[0 if low is None else low + 1 : None if high is None else high + 1]
            assert [raw_id(value) for value in found] == [value for value in expected if value in inside]


def test_outdated_documents_that_are_not_listed_are_counted_by_the_server(kinds: LazyCollection[Any]) -> None:
    kinds.raw.insert_many({"_id": f"head{n}", "schema_version": 3} for n in range(3))
    outdated = outdated_filter("schema_version", 1, 3, 1)
    count = procedures.unlisted_outdated
    assert run(kinds, count(kinds._scope, outdated)) == len(IDS)
    list_ids(kinds, [*IDS[:5], "not there", "head0"])
    assert run(kinds, count(kinds._scope, outdated)) == len(IDS) - 5
    assert run(kinds, count(kinds._scope, {"_id": {"$in": IDS[3:7]}})) == 2
    list_ids(kinds, IDS)
    assert run(kinds, count(kinds._scope, outdated)) == 0


def test_the_memory_collection_counts_them_without_pipelines(fault: Fault) -> None:
    memory = MemoryCollection("people")
    lazy = LazyCollection(memory, fault.schema, Policy(on_error="quarantine"))
    for n in range(4):
        memory.put({"_id": n, "broken": n > 1})
    assert not lazy._scope.inside
    assert len(list(lazy.find())) == 2
    outdated = outdated_filter("schema_version", 1, 2, 1)
    assert run(lazy, procedures.unlisted_outdated(lazy._scope, outdated)) == 2


@pytest.mark.parametrize(
    "command",
    [
        {"find": "lazymigrate.quarantine", "filter": among("people", [1, "a", {"b": 1}])},
        {"find": "lazymigrate.quarantine", "filter": between("people", 3, 9)},
        {"find": "lazymigrate.quarantine", "filter": between("people"), "sort": {"_id": 1}},
    ],
)
def test_questions_about_entries_are_answered_from_the_index(people: People, command: dict[str, Any]) -> None:
    lazy = LazyCollection(people, users())
    list_ids(lazy, [*range(20)])
    list_ids(LazyCollection(people.database["zoo"], users()), [*range(20)])
    explained = people.database.command({"explain": command, "verbosity": "executionStats"})
    stats = explained["executionStats"]
    assert stats["totalKeysExamined"] <= 21
    assert stats["totalDocsExamined"] == stats["nReturned"] <= 20


def meddled(procedure: Procedure[Any], meddle: Callable[[], Any]) -> Procedure[Any]:
    """A procedure, and somebody else who writes each time just before it stores documents."""
    answer: Callable[[], Any] = lambda: next(procedure)  # noqa: E731
    while True:
        try:
            command = answer()
        except StopIteration as end:
            return end.value
        inner = command
        while isinstance(inner, (At, Attempt)):
            inner = inner.command
        if isinstance(inner, CompareAndSetMany):
            meddle()
        try:
            result = yield command
        except Exception as error:
            answer = partial(procedure.throw, error)
        else:
            answer = partial(procedure.send, result)


def unguarded(command: CompareAndSet) -> Statement:
    return Statement(RawBSONDocument(command.identity), [{"$replaceWith": {"$literal": apply(command)}}])


def apply(command: CompareAndSet) -> dict[str, Any]:
    document = bson.decode(command.raw)
    command.change.apply(document)
    return document


@pytest.fixture
def contested(people: People, fault: Fault) -> LazyCollection[dict[str, Any]]:
    """Four listed documents that a mended schema could upgrade now."""
    people.insert_many({"_id": n, "broken": True, "seen": 0} for n in range(4))
    lazy = LazyCollection(people, fault.schema, Policy(on_error="quarantine"))
    assert list(lazy.find()) == []
    fault.mended = True
    return lazy


def contend(lazy: LazyCollection[Any], writes: int) -> tuple[Any, int]:
    """Try all again, while somebody writes to the document 2 before each of so many compare-and-sets; who wrote how often."""
    left = writes

    def meddle() -> None:
        nonlocal left
        if left:
            left -= 1
            lazy.raw.update_one({"_id": 2}, {"$inc": {"seen": 1}})

    report = run(lazy, meddled(retrying.retry(lazy._scope), meddle))
    return report, writes - left


@pytest.mark.parametrize("writes", [1, 2])
def test_a_retry_loses_no_write_and_wins_in_the_end(contested: LazyCollection[Any], writes: int) -> None:
    report, written = contend(contested, writes)
    assert (report.upgraded, report.conflicts, report.quarantined, report.remaining) == (4, writes, 0, 0)
    assert contested.raw.find_one(2) == {"_id": 2, "broken": True, "seen": written, "done": True, "schema_version": 2}
    assert contested.quarantine.count() == 0


def test_the_test_catches_a_retry_without_a_guard(
    contested: LazyCollection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "statement", unguarded)
    _, written = contend(contested, 1)
    assert contested.raw.find_one(2)["seen"] < written


def unlisted_and_outdated(lazy: LazyCollection[Any]) -> int:
    count: int = run(lazy, procedures.unlisted_outdated(lazy._scope, outdated_filter("schema_version", 1, 2, 1)))
    return count


def test_what_loses_every_race_stays_listed(contested: LazyCollection[Any]) -> None:
    report, written = contend(contested, 100)
    assert (report.upgraded, report.conflicts, report.quarantined, report.remaining) == (3, 3, 1, 1)
    assert contested.raw.find_one(2) == {"_id": 2, "broken": True, "seen": written}
    assert [entry.document_id for entry in contested.quarantine.list()] == [2]
    assert unlisted_and_outdated(contested) == 0


def test_the_test_catches_a_retry_that_takes_all_for_won(
    contested: LazyCollection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = retrying.store

    def optimistic(scope: Any, commands: Any) -> Procedure[Stored]:
        yield from honest(scope, commands)
        return Stored(len(commands))

    monkeypatch.setattr(retrying, "store", optimistic)
    contend(contested, 100)
    assert unlisted_and_outdated(contested) == 1


def test_a_document_that_is_deleted_meanwhile_is_not_brought_back(contested: LazyCollection[Any]) -> None:
    report = run(contested, meddled(retrying.retry(contested._scope), lambda: contested.raw.delete_one({"_id": 2})))
    assert (report.upgraded, report.quarantined, report.remaining) == (3, 0, 0)
    assert contested.raw.find_one(2) is None
    assert contested.quarantine.count() == 0


def test_a_command_that_is_refused_as_a_whole_is_halved_down_to_the_document(
    contested: LazyCollection[Any],
) -> None:
    """Old and new together are more than one command may hold."""
    big = "x" * 9_000_000
    contested.raw.update_one({"_id": 2}, {"$set": {"big": big}})
    schema = Schema("people")

    @schema.revision(2)
    def turn(person: dict[str, Any]) -> None:
        if "big" in person:
            person["big"] = person["big"].replace("x", "y")

    lazy = LazyCollection(contested.raw, schema)
    report = lazy.quarantine.retry()
    assert (report.upgraded, report.quarantined, report.remaining) == (3, 1, 1)
    (entry,) = lazy.quarantine.list()
    assert (entry.document_id, entry.error, entry.attempts) == (2, "UpgradeError", 2)


APP = """
    from lazymigrate import Schema

    people, zoo = Schema("people"), Schema("zoo")

    for schema in (people, zoo):
        @schema.revision(2)
        def upgrade(document):
            if document.get("broken"):
                raise KeyError("canary-value")
"""


@dataclass
class Shell:
    """The command in a directory with an application."""

    directory: Path
    uri: str
    database: str

    def __call__(
        self, *arguments: str, uri: str | None = None, typed: str = "", app: str = "app:people", columns: int = 80
    ) -> Any:
        name, *rest = arguments
        where = [] if "--help" in arguments else ["--database", self.database]
        command = [sys.executable, "-c", "from lazymigrate.cli.quarantine import quarantine; quarantine()"]
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
            "COLUMNS": str(columns),
            "MONGODB_URI": uri or self.uri,
            "LAZYMIGRATE_APP": app,
        }
        return subprocess.run(
            [*command, name, *where, *rest],
            cwd=self.directory,
            env=environment,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def shell(people: People, tmp_path: Path, mongo_uri: str) -> Shell:
    (tmp_path / "app.py").write_text(textwrap.dedent(APP))
    return Shell(tmp_path, mongo_uri, people.database.name)


@pytest.fixture
def some(people: People) -> list[Any]:
    """Listed documents; the one with the _id 5 could be upgraded now."""
    ids = [5, -6, "7", "ada", "\x1b[31m[red]\u202e", ObjectId("0123456789abcdef01234567"), UUID(int=7), {"a": 1}]
    own = people.with_options(codec_options=STANDARD)
    own.insert_many({"_id": value, "broken": value != 5} for value in ids)
    list_ids(LazyCollection(own, users()), ids)
    refused: list[DocumentError] = [UpgradeError("no", collection="people", document_id="ada", version=1)]
    lazy = LazyCollection(own, users())
    run(lazy, procedures.list_errors(lazy._scope, refused, [11000]))
    return ids


def test_the_list_fits_a_terminal_and_shows_text_inert(shell: Shell, some: list[Any]) -> None:
    done = shell("ls", columns=200)
    assert done.returncode == 0, done.stderr
    assert "people: 8 documents could not be upgraded" in done.stdout
    for written in ("5", "-6", '"7"', '"ada"', "0123456789abcdef01234567", str(UUID(int=7)), '{"a": 1}'):
        assert any(line.split("  ")[0] == written for line in done.stdout.splitlines())
    assert r'"\u001b[31m[red]\u202e"' in done.stdout
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    narrow = shell("ls").stdout
    assert max(map(len, narrow.splitlines())) <= 80
    assert re.search(r"(?m)^0123456789abcdef01234567 +1 +2 +UpgradeError +1  \d{4}-\d\d-\d\d$", narrow)
    shortened = shell("ls", "--limit", "3").stdout
    assert "and 5 more: --limit shows more of them, --json all" in shortened
    lines = [json.loads(line) for line in shell("ls", "--json").stdout.splitlines()]
    assert [line["collection"] for line in lines] == ["people"] * 8
    assert [line["document_id"] for line in lines][:2] == [-6, 5]
    assert len(shell("ls", "--json", "--limit", "3").stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("5", 5),
        ("7", "7"),
        ('"7"', "7"),
        ("ada", "ada"),
        (r'"\u001b[31m[red]\u202e"', "\x1b[31m[red]\u202e"),
        ("0123456789abcdef01234567", {"$oid": "0123456789abcdef01234567"}),
        ('{"$oid": "0123456789abcdef01234567"}', {"$oid": "0123456789abcdef01234567"}),
        (str(UUID(int=7)), {"$uuid": str(UUID(int=7))}),
        ('{"a": 1}', {"a": 1}),
    ],
)
def test_an_id_is_found_as_it_is_shown_and_as_people_type_it(
    shell: Shell, some: list[Any], typed: str, found: Any
) -> None:
    done = shell("show", "--json", typed)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["document_id"] == found


def test_one_document_is_shown_with_what_to_do(shell: Shell, some: list[Any]) -> None:
    done = shell("show", "--", "-6")
    assert done.stdout.startswith("people: -6\n")
    assert "error       UpgradeError in revision 2" in done.stdout
    assert done.stdout.endswith(
        "`lazymigrate diff people -- -6` says which operation fails, and where. Correct the revision or the document, and "
        "try it again with `lazymigrate quarantine retry -- -6`.\n"
    )
    missing = shell("show", "\x1b[31m")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert r'"\u001b[31m" is not listed (people).' in missing.stderr
    assert "\x1b" not in missing.stderr


def test_a_retry_says_by_its_status_whether_any_stays(shell: Shell, some: list[Any], people: People) -> None:
    done = shell("retry", "5", "ada")
    assert (done.returncode, done.stderr) == (3, "")
    assert "people: 1 upgraded in 1 pass, 0 conflicts, 1 quarantined" in done.stdout
    assert "canary" not in done.stdout
    people.update_many({}, {"$unset": {"broken": ""}})
    done = shell("retry", "--all", "--json", "--batch", "3")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["upgraded"], report["quarantined"], report["complete"]) == (7, 0, True)
    assert shell("ls").stdout == "people: no document is listed\n"


def test_a_retry_says_how_many_left_the_list_without_it(shell: Shell, some: list[Any], people: People) -> None:
    people.delete_many({"_id": {"$in": [-6, "7"]}})
    people.update_one({"_id": "ada"}, {"$set": {"schema_version": 2}})
    done = shell("retry", "--all")
    first, second = done.stdout.splitlines()
    assert first.startswith("people: 1 upgraded in 1 pass, 0 conflicts, 4 quarantined")
    assert second == "people: 3 documents taken off the list, no longer outdated or gone"
    people.delete_one({"_id": {"a": 1}})
    done = shell("retry", '{"a": 1}')
    assert done.stdout.splitlines()[1] == "people: 1 document taken off the list, no longer outdated or gone"
    assert shell("retry", "--all").stdout.count("\n") == 1
    assert shell("retry", "--all", "--json").stdout.count("\n") == 1


def test_the_heading_of_short_ids_is_in_one_piece(shell: Shell, people: People) -> None:
    people.insert_many({"_id": n, "broken": True} for n in range(3))
    list_ids(LazyCollection(people, users()), [0, 1, 2])
    heading = shell("ls").stdout.splitlines()[1]
    assert heading.split() == ["_id", "version", "revision", "error", "tried", "last"]


def test_documents_are_released_by_name_or_all(shell: Shell, some: list[Any], people: People) -> None:
    done = shell("release", "5", "7")
    assert (done.returncode, done.stdout) == (0, "people: 2 released; the next sweep tries them\n")
    done = shell("release", "--all", "--json")
    assert json.loads(done.stdout) == {"collection": "people", "released": 6}
    assert people.count_documents({"schema_version": 2}) == 0


@pytest.mark.parametrize("arguments", [["retry"], ["release"], ["retry", "--all", "5"]])
def test_what_to_work_on_must_be_said(shell: Shell, some: list[Any], arguments: list[str]) -> None:
    done = shell(*arguments)
    assert done.returncode == 2
    assert "Name their _ids, or pass --all (and not both)." in done.stderr


def test_an_id_in_two_collections_is_shown_of_both_and_written_of_none(
    shell: Shell, some: list[Any], people: People
) -> None:
    list_ids(LazyCollection(people.database["zoo"], users()), [5])
    lines = shell("show", "5", "--json", app="app").stdout.splitlines()
    assert [json.loads(line)["collection"] for line in lines] == ["people", "zoo"]
    done = shell("release", "5", app="app")
    assert done.returncode == 2
    assert "5 is listed in people, zoo. Name one schema in --app." in done.stderr
    assert people.database["lazymigrate.quarantine"].count_documents({}) == 9


@pytest.mark.parametrize("typed", ["", "n\n"])
def test_writing_to_another_machine_is_asked_for(
    shell: Shell, some: list[Any], people: People, mongo_uri: str, typed: str
) -> None:
    """127.1 leads here, and the command cannot know that."""
    port = people.database.client.address[1]
    uri = f"mongodb://127.1:{port}/?directConnection=true"
    done = shell("release", "--all", "--json", uri=uri, typed=typed)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"This writes to the database {people.database.name} of MongoDB at 127.1:{port}." in done.stderr
    assert "people: 8 listed documents are dropped from the quarantine." in done.stderr
    assert "Nothing was written. Answer y, or pass --yes." in done.stderr
    assert people.database["lazymigrate.quarantine"].count_documents({}) == 8
    agreed = shell("release", "5", "--json", uri=uri, typed="y\n")
    assert json.loads(agreed.stdout) == {"collection": "people", "released": 1}
    assert shell("release", "--all", "--yes", uri=uri).stderr == ""
    assert people.database["lazymigrate.quarantine"].count_documents({}) == 0


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("/tmp/mongodb-27017.sock", True),
        ("localhost.example.org", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("db", False),
    ],
)
def test_which_servers_are_this_machine(host: str, here: bool) -> None:
    assert is_this_machine(host) is here


@pytest.mark.parametrize("arguments", [["--help"], ["ls", "--help"], ["retry", "--help"], ["release", "--help"]])
def test_help_fits_one_screen(shell: Shell, arguments: list[str]) -> None:
    done = shell(*arguments)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) <= 24
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_examples_of_the_page_run(tmp_path: Path, mongo_uri: str) -> None:
    (block,) = python_of(ROOT / "docs" / "quarantine.md")
    environment = {**os.environ, "MONGODB_URI": mongo_uri, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
