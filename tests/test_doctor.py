"""`doctor`: each thing that would bite is found where it is, with what to do about it, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import bson
import pytest
from bson import SON
from click.testing import CliRunner, Result
from conftest import Bench
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.write_concern import WriteConcern
from rich.console import Console
from schemas import declared, users

from lazymigrate import LazyCollection, Schema, ops
from lazymigrate.checkups import CHECKUPS, allowed, diagnose
from lazymigrate.cli import group
from lazymigrate.coverage import Coverage
from lazymigrate.doctor import Diagnosis, Facts, Finding, Sample, listed
from lazymigrate.embedded import find_program, free_port
from lazymigrate.exceptions import LazyMigrateError
from lazymigrate.indexes import fate
from lazymigrate.procedures import doctor as procedures
from lazymigrate.report.doctor import diagnosis

People = Collection[dict[str, Any]]
CANARY = "canary-value"


def examined(people: People, schema: Schema | None = None) -> Diagnosis:
    return LazyCollection(people, schema or declared()).doctor()


def about(found: Diagnosis, topic: str, *, severity: str | None = None) -> list[Finding]:
    return [one for one in found.findings if one.topic == topic and severity in (None, one.severity)]


def one(found: Diagnosis, topic: str, text: str) -> Finding:
    """The one finding of a topic that says this."""
    (match,) = [each for each in about(found, topic) if text in str(each)]
    return match


def everything(people: People) -> Any:
    database = people.database
    return {
        name: repr((list(database[name].find()), list(database[name].list_indexes())))
        for name in sorted(database.list_collection_names())
    }


# On a real server


async def test_a_collection_without_trouble_is_well(bench: Bench, people: People) -> None:
    if bench.name == "memory":
        with pytest.raises(LazyMigrateError, match="no server to look at"):
            bench.open(declared()).doctor()
        return
    schema = declared()
    LazyCollection(people, schema).create_backlog_index()
    bench.put({"_id": 1, "full_name": "Ada", "email": "a@b", "active": True, "schema_version": 3})
    before = everything(people)
    found = await bench.call(bench.open(schema).doctor())
    assert [(each.severity, each.topic) for each in found.findings if each.severity != "ok"] == [("note", "members")]
    assert "replica set of one" in str(found)
    assert {each.topic for each in found.findings} == {topic for topic, _, _ in CHECKUPS}
    assert found.worst == "note"
    assert everything(people) == before


def test_it_writes_nothing_where_everything_is_wrong(people: People) -> None:
    people.insert_many([{"_id": n, "name": CANARY, "mail": f"{CANARY}{n}"} for n in range(5)])
    people.insert_one({"_id": "x", "schema_version": CANARY})
    people.create_index("mail", unique=True)
    before = everything(people)
    found = examined(people)
    assert found.worst == "problem"
    assert everything(people) == before
    assert CANARY not in str(found) + found.to_json()


def test_a_missing_collection_is_told_from_an_empty_one(people: People) -> None:
    assert one(examined(people), "collection", "does not exist").severity == "warning"
    people.database.create_collection("people")
    assert about(examined(people), "collection")[0].severity == "ok"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"viewOn": "other", "pipeline": []}, "it is a view"),
        ({"timeseries": {"timeField": "t"}}, "it is a time-series collection"),
    ],
)
def test_what_cannot_be_updated_is_a_problem_and_a_sweep_shows_it(
    people: People, options: dict[str, Any], said: str
) -> None:
    database = people.database
    (database["other"] if "viewOn" in options else people).drop()
    database.create_collection("people", **options)
    stored = database["other"] if "viewOn" in options else people
    stored.insert_one({"t": datetime.now(UTC), "name": "Ada"})
    assert one(examined(people), "collection", said).severity == "problem"
    with pytest.raises(OperationFailure):
        people.update_many({}, {"$set": {"schema_version": 3}})  # as a sweep would


def test_a_capped_collection_can_be_swept_and_is_only_noted(people: People) -> None:
    people.database.create_collection("people", capped=True, size=100_000)
    people.insert_many({"_id": n, "name": "Ada"} for n in range(10))
    assert one(examined(people), "collection", "it is capped").severity == "note"
    assert LazyCollection(people, declared()).sweep().complete


def test_a_collation_sends_sweeps_through_the_client_and_string_ids_to_scans(people: People) -> None:
    database = people.database
    database.create_collection("people", collation={"locale": "en", "strength": 2})
    people.insert_one({"_id": 1, "name": "Ada"})
    found = examined(people)
    assert one(found, "collection", "default collation is 'en'").severity == "warning"
    assert len(about(found, "collection")) == 1
    people.insert_one({"_id": "Ada", "name": "Ada"})
    assert one(examined(people), "collection", "string _ids").severity == "problem"
    plan = database.command(
        "explain",
        {"find": "people", "filter": {"_id": "Ada"}, "collation": {"locale": "simple"}},
        verbosity="queryPlanner",
    )
    assert plan["queryPlanner"]["winningPlan"]["stage"] == "COLLSCAN"  # what the finding is about


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            {"properties": {"_id": {}, "full_name": {}, "active": {}}, "additionalProperties": False},
            "have 'schema_version' and 'email', which its validator does not allow",
        ),
        ({"required": ["_id", "mail"]}, "do not have 'mail', which its validator requires"),
        ({"properties": {"schema_version": {"bsonType": ["string"]}}}, "have an integer in 'schema_version'"),
    ],
)
def test_a_validator_that_contradicts_head_is_a_problem_before_there_are_documents(
    people: People, rules: dict[str, Any], said: str
) -> None:
    people.database.create_collection("people", validator={"$jsonSchema": rules})
    assert one(examined(people), "validator", said).severity == "problem"
    with pytest.raises(OperationFailure):
        people.insert_one({"_id": 1, "full_name": "Ada", "email": "a@b", "active": True, "schema_version": 3})
    people.database.command("collMod", "people", validationAction="warn")
    assert one(examined(people), "validator", said).severity == "note"
    people.database.command("collMod", "people", validationLevel="off")
    assert about(examined(people), "validator")[0].severity == "ok"


def test_any_validator_is_tried_on_upgraded_documents(people: People) -> None:
    people.insert_many({"_id": n, "name": "Ada", "mail": "a@b", "n": n} for n in range(10))
    people.database.command("collMod", "people", validator={"$expr": {"$or": ["$mail", {"$lt": ["$n", 4]}]}})
    assert "10 outdated documents that were upgraded in memory, 6 do not fit" in str(examined(people))
    report = LazyCollection(people, declared()).sweep()
    assert (report.upgraded, report.quarantined) == (4, 6)  # as was foretold


def test_a_validator_that_takes_both_shapes_is_well(people: People) -> None:
    rules = {"anyOf": [{"required": ["mail"]}, {"required": ["email"]}]}
    people.database.create_collection("people", validator={"$jsonSchema": rules})
    people.insert_one({"_id": 1, "name": "Ada", "mail": "a@b"})
    assert about(examined(people), "validator")[0].severity == "ok"


def test_a_unique_index_on_a_renamed_field_is_a_problem_and_the_remedy_helps(people: People) -> None:
    people.insert_many({"_id": n, "mail": f"{n}@x"} for n in range(20))
    people.create_index("mail", unique=True)
    finding = one(examined(people), "indexes", "the unique index 'mail_1'")
    assert finding.severity == "problem"
    assert "revision 3 'revision_3' moves to 'email'" in finding.said
    schema = declared()
    assert LazyCollection(people, schema).sweep().quarantined == 19  # what the finding is about
    _, _, call = finding.remedy.partition("create_index(")
    arguments = eval(f"dict(keys={call.partition(');')[0]})", {"True": True})
    people.create_index(**arguments)
    people.drop_index("mail_1")
    assert LazyCollection(people, schema).quarantine.retry().upgraded == 19
    assert about(examined(people), "indexes", severity="problem") == []
    with pytest.raises(DuplicateKeyError):
        people.insert_one({"email": "3@x"})


@pytest.mark.parametrize(
    ("keys", "options", "severity", "said", "remedy"),
    [
        ("mail", {}, "warning", "moves to 'email': documents at head are not found", "create_index([('email', 1)])"),
        ([("a", 1), ("mail", -1)], {}, "warning", "the index 'a_1_mail_-1'", "create_index([('a', 1), ('email', -1)])"),
        ("mail", {"unique": True, "sparse": True}, "warning", "the unique index 'mail_1'", "unique=True"),
        ("when", {"expireAfterSeconds": 9}, "warning", "documents at head never expire", "expireAfterSeconds=9"),
        ([("mail", "text")], {}, "warning", "the text index 'mail_text'", "on 'email', too"),
        (
            "a",
            {"partialFilterExpression": {"mail": {"$gt": ""}}},
            "warning",
            "the partial index 'a_1' is on 'mail'",
            "make one with a filter on 'email'",
        ),
        ("gone", {}, "warning", "which revision 3 'moves' takes away", "Drop it when the sweep is done"),
        ("active", {"unique": True}, "warning", "which revision 3 'moves' sets or changes", "--dry-run"),
        ("name.first", {}, "warning", "moves to 'person.name.first'", "create_index([('person.name.first', 1)])"),
        ("a", {}, None, "", ""),
        ("born", {}, None, "", ""),
        ("$**", {}, None, "", ""),
    ],
)
def test_an_index_is_followed_to_head(
    people: People, keys: Any, options: dict[str, Any], severity: str | None, said: str, remedy: str
) -> None:
    schema = Schema("people")
    schema.revision(2, ops.rename("name", "full"), ops.nothing())
    schema.revision(
        3,
        ops.rename("mail", "email"),
        ops.rename("when", "at"),
        ops.remove("gone"),
        ops.add("active", value=True),
        name="moves",
    )
    schema.revision(4, ops.rename("full", "name"))
    schema.revision(5, ops.nest(["name"], "person"), ops.convert("born", "date"))
    people.create_index(keys, **options)
    found = [each for each in about(examined(people, schema), "indexes") if "backlog" not in each.said]
    if severity is None:
        assert found == []
        return
    (finding,) = found
    assert finding.severity == severity
    assert said in finding.said
    assert remedy in finding.remedy


def test_an_index_that_has_its_successor_is_only_a_note(people: People) -> None:
    people.create_index("mail")
    people.create_index("email")
    assert one(examined(people), "indexes", "'mail_1'").severity == "note"
    assert not any("email_1" in each.said for each in about(examined(people), "indexes"))


def test_what_a_function_does_to_indexes_is_said_as_far_as_it_says_so(people: People) -> None:
    schema = Schema("people")

    @schema.revision(2, touches={"name"})
    def shout(person: dict[str, Any]) -> None:
        person["name"] = person["name"].upper()

    people.create_index("name")
    people.create_index("other")
    assert one(examined(people, schema), "indexes", "'name_1'").severity == "note"
    assert not any("other_1" in str(each) for each in examined(people, schema).findings)
    unknown = one(examined(people, users()), "indexes", "may change any field")
    assert "'name_1' and 'other_1'" in unknown.said
    assert "touches=" in unknown.remedy


def test_a_path_that_goes_and_comes_back_is_where_it_was() -> None:
    schema = Schema("people")
    schema.revision(2, ops.rename("a", "b"))
    schema.revision(3, ops.rename("b", "a"))
    schema.revision(4, ops.remove("c", restore=0))
    schema.revision(5, ops.add("c", 1))
    assert fate(schema, "a").path == "a"
    assert fate(schema, "a.x").path == "a.x"
    assert fate(schema, "c").path == "c"
    assert fate(schema, "ab").mover is None


def test_the_backlog_index_is_looked_at(people: People) -> None:
    people.insert_one({"_id": 1, "name": "Ada"})
    assert one(examined(people), "indexes", "there is no backlog index").severity == "warning"
    older = Schema("people")
    older.revision(2, ops.rename("name", "full_name"))
    LazyCollection(people, older).create_backlog_index()
    name = LazyCollection(people, declared()).create_backlog_index()
    found = examined(people)
    assert one(found, "indexes", "of an older head").severity == "note"
    assert about(found, "indexes", severity="warning") == []
    people.database.command("collMod", "people", index={"name": name, "hidden": True})
    assert one(examined(people), "indexes", f"'{name}' is hidden").severity == "warning"


def test_documents_that_are_not_as_they_should_be_are_counted(people: People) -> None:
    people.insert_many([{"_id": n, "schema_version": stamp} for n, stamp in enumerate([9, "x", None, None])])
    schema = Schema("people")
    schema.revision(2, ops.convert("n", "int"))
    people.insert_one({"_id": 10, "n": "no number"})
    LazyCollection(people, schema).sweep()
    people.insert_one({"_id": 11, "n": "1"})
    found = examined(people, schema)
    assert one(found, "documents", "1 document is ahead of version 2").severity == "warning"
    nameless = one(found, "documents", "1 document is without a version")
    assert (nameless.severity, nameless.said.partition("holds ")[2]) == ("warning", "is no version.")
    assert one(found, "documents", "1 document is in the quarantine").severity == "warning"
    assert one(found, "documents", "2 documents are outdated, of 6").severity == "note"
    assert one(found, "documents", "of 2 outdated ones that were looked at, 1 cannot be upgraded").severity == "warning"
    later = Schema("people", oldest=3)
    assert (
        one(examined(people, later), "documents", "below version 3: this code cannot read them").severity == "problem"
    )


def test_a_field_that_occurs_twice_and_a_giant_are_noticed(people: People) -> None:
    twice = bson.encode({"_id": 1})[4:-1] + bson.encode({"a": 1})[4:-1] + bson.encode({"a": 2})[4:-1]
    raw = (len(twice) + 5).to_bytes(4, "little") + twice + b"\0"
    people.database.command({"insert": "people", "documents": [bson.raw_bson.RawBSONDocument(raw)]})
    assert one(examined(people), "documents", "a field occurs twice in 1 of 1 outdated").severity == "note"
    people.insert_one({"_id": 2, "text": "x" * 9 * 2**20})
    assert one(examined(people), "documents", "the largest has 9.0 MiB").severity == "note"
    people.insert_one({"_id": 3, "text": "x" * (16 * 2**20 - 500)})
    assert one(examined(people), "documents", "larger than 16 MiB").severity == "warning"


def test_a_write_concern_that_hears_nothing_is_a_warning(people: People) -> None:
    deaf = people.with_options(write_concern=WriteConcern(w=0))
    assert one(examined(deaf), "client", "w=0").severity == "warning"
    assert one(examined(people.with_options(write_concern=WriteConcern(w=1))), "client", "w=1").severity == "note"


def test_the_shard_key_is_read_where_it_is_kept(people: People, client: MongoClient[dict[str, Any]]) -> None:
    people.insert_one({"_id": 1})
    asked = procedures.Asked.of(people, on_primary=True)
    namespace = f"{people.database.name}.people"
    config = client["config"]["collections"]
    config.insert_one({"_id": namespace, "key": {"region": 1, "_id": 1}})
    seen: list[Facts] = []

    def remember(schema: Schema, facts: Facts) -> Diagnosis:
        seen.append(facts)
        return Diagnosis("people")

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(procedures, "diagnose", remember)
            examined(people)
    finally:
        config.delete_one({"_id": namespace})
    assert seen[0].shard_key == {"region": 1, "_id": 1}
    assert asked.database == people.database.name


# Rights


@contextmanager
def user(people: People, *roles: Any) -> Iterator[str]:
    """The URI of a user who has just these roles, on a server that knows users, whether it asks for them or not."""
    database = people.database
    name = f"u{uuid4().hex[:8]}"
    database.command("createUser", name, pwd="canary-password", roles=list(roles))
    host, port = database.client.address
    try:
        yield f"mongodb://{name}:canary-password@{host}:{port}/{database.name}?directConnection=true"
    finally:
        database.command("dropUser", name)


def test_a_user_s_rights_are_read_from_the_server(people: People) -> None:
    people.insert_one({"_id": 1})
    with user(people, "read") as uri, MongoClient[dict[str, Any]](uri) as client:
        found = examined(client[people.database.name]["people"])
        said = one(found, "rights", "lazymigrate.quarantine")
        assert said.severity == "problem"
        assert "may not 'insert', 'update' and 'remove' on" in said.said
        assert one(found, "rights", "read and upgrade documents").severity == "problem"
        assert one(found, "rights", "make the backlog index").severity == "warning"
        assert one(found, "rights", "'replSetGetStatus' and 'serverStatus'").severity == "warning"
    enough = ["readWrite", {"role": "clusterMonitor", "db": "admin"}]
    with user(people, *enough) as uri, MongoClient[dict[str, Any]](uri) as client:
        (finding,) = about(examined(client[people.database.name]["people"]), "rights")
        assert finding.severity == "ok"
        assert "all that is needed" in finding.said


@pytest.mark.parametrize(
    ("resource", "yes"),
    [
        ({"anyResource": True}, True),
        ({"db": "", "collection": ""}, True),
        ({"db": "shop", "collection": ""}, True),
        ({"db": "", "collection": "people"}, True),
        ({"db": "shop", "collection": "people"}, True),
        ({"db": "shop", "collection": "other"}, False),
        ({"db": "other", "collection": ""}, False),
        ({"cluster": True}, False),
    ],
)
def test_a_privilege_covers_what_it_says(resource: dict[str, Any], yes: bool) -> None:
    privileges = [{"resource": resource, "actions": ["find"]}]
    assert allowed(privileges, "find", "shop", "people") is yes
    assert not allowed(privileges, "update", "shop", "people")
    assert allowed(privileges, "find") is bool(resource.get("cluster") or resource.get("anyResource"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A standalone server that refuses what a user may not do: host and port. Its root is root:root."""
    program, _ = find_program()
    port, directory = free_port(), tmp_path_factory.mktemp("guarded")
    command = [
        program,
        *("--dbpath", str(directory), "--port", str(port), "--bind_ip", "127.0.0.1", "--auth", "--nounixsocket"),
        *("--logpath", str(directory / "log"), "--wiredTigerCacheSizeGB", "0.25"),
        *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=2MB)"),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        with MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{port}/?directConnection=true") as client:
            until = time.monotonic() + 30
            while True:
                try:
                    client.admin.command("createUser", "root", pwd="root", roles=["root"])
                    break
                except PyMongoError:
                    assert process.poll() is None
                    assert time.monotonic() < until
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def guarded_people(guarded: str) -> Iterator[People]:
    with MongoClient[dict[str, Any]](f"mongodb://root:root@{guarded}/?directConnection=true") as client:
        database = client[f"test_{uuid4().hex[:12]}"]
        database["people"].insert_one({"_id": 1, "name": "Ada"})
        yield database["people"]
        client.drop_database(database.name)


def test_a_standalone_server_is_a_warning(guarded_people: People) -> None:
    found = examined(guarded_people)
    assert one(found, "members", "a standalone server").severity == "warning"
    assert one(found, "documents", "1 document is outdated").severity == "note"


def test_a_user_who_may_only_read_is_enough_to_look(
    guarded_people: People, guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = guarded_people.database
    database.command("createUser", "reader", pwd="reader", roles=["read"])
    uri = f"mongodb://reader:reader@{guarded}/{database.name}?directConnection=true"
    with MongoClient[dict[str, Any]](uri) as client:
        people = client[database.name]["people"]
        assert one(examined(people), "documents", "1 document is outdated")

        def busy(scope: Any, *, listed: bool) -> Any:
            from lazymigrate.procedures.backlog import create_backlog_index

            return create_backlog_index(scope)

        # A doctor that wrote something would not be let: this is what proves that it writes nothing.
        monkeypatch.setattr(procedures, "counts", busy)
        with pytest.raises(OperationFailure) as caught:
            examined(people)
        assert caught.value.code == 13
    database.command("dropUser", "reader")


def test_a_user_without_rights_is_told_what_is_not_known(guarded_people: People, guarded: str) -> None:
    database = guarded_people.database
    database.command("createUser", "nobody", pwd="nobody", roles=[])
    uri = f"mongodb://nobody:nobody@{guarded}/{database.name}?directConnection=true"
    with MongoClient[dict[str, Any]](uri) as client:
        found = examined(client[database.name]["people"])
    assert one(found, "documents", "may not read them").severity == "problem"
    assert one(found, "rights", "may not 'find' and 'update'").severity == "problem"
    assert not any("does not exist" in each.said for each in found.findings)
    database.command("dropUser", "nobody")


ALL = ("find", "update", "insert", "remove", "createIndex", "listIndexes", "collStats")


@contextmanager
def limited(
    guarded_people: People, guarded: str, actions: tuple[str, ...], *, on_database: tuple[str, ...] = (), aside: bool
) -> Generator[People]:
    """The collection as one sees it who has these actions on it, some on its database, and all on what is beside it or none."""
    database = guarded_people.database
    beside = ("lazymigrate.quarantine", "lazymigrate.journal") if aside else ()
    privileges = [
        {"resource": {"db": database.name, "collection": "people"}, "actions": [*actions]},
        {"resource": {"db": database.name, "collection": ""}, "actions": [*on_database]},
        *({"resource": {"db": database.name, "collection": name}, "actions": [*ALL]} for name in beside),
    ]
    role, name = f"r{uuid4().hex[:8]}", f"u{uuid4().hex[:8]}"
    database.command("createRole", role, privileges=[one for one in privileges if one["actions"]], roles=[])
    database.command("createUser", name, pwd="canary-password", roles=[role])
    uri = f"mongodb://{name}:canary-password@{guarded}/{database.name}?directConnection=true"
    try:
        with MongoClient[dict[str, Any]](uri) as client:
            yield client[database.name]["people"]
    finally:
        database.command("dropUser", name)
        database.command("dropRole", role)


def test_nothing_is_said_to_be_well_that_a_user_without_rights_cannot_see(guarded_people: People, guarded: str) -> None:
    LazyCollection(guarded_people, declared()).create_backlog_index()
    guarded_people.database.command("collMod", "people", validator={"mail": {"$exists": True}})
    with limited(guarded_people, guarded, (), aside=False) as people:
        found = examined(people)
    for topic in ("collection", "validator", "documents", "indexes"):
        assert not about(found, topic, severity="ok"), topic
        assert all("not known" in each.said or "nothing is known" in each.said for each in about(found, topic)), topic
    assert "there is no backlog index" not in str(found)
    assert "featureCompatibilityVersion) is not known" in str(about(found, "server"))


def test_who_may_not_read_the_quarantine_is_told_of_the_documents(guarded_people: People, guarded: str) -> None:
    with limited(guarded_people, guarded, ("find",), aside=False) as people:
        found = examined(people)
    assert one(found, "documents", "1 document is outdated, of 1")
    assert one(found, "documents", "lazymigrate.quarantine'").severity == "note"
    assert not about(found, "documents", severity="problem")


def test_a_sweep_wants_just_the_rights_that_are_called_needed(guarded_people: People, guarded: str) -> None:
    actions = ("find", "update")
    with limited(guarded_people, guarded, actions, aside=True) as people:
        found = examined(people)
        assert one(found, "rights", "may not 'listIndexes'").severity == "problem"
        assert one(found, "indexes", "a sweep is refused").severity == "warning"
        with pytest.raises(OperationFailure, match="listIndexes"):
            LazyCollection(people, declared()).sweep()
    with limited(guarded_people, guarded, (*actions, "listIndexes"), aside=True) as people:
        (finding,) = about(examined(people), "rights")
        assert "'createIndex' and 'dropIndex'" in finding.said
        assert finding.severity == "warning"
        assert LazyCollection(people, declared()).sweep().complete


def test_an_index_that_is_listed_and_cannot_be_tried_is_not_said_to_be_in_the_making(
    guarded_people: People, guarded: str
) -> None:
    name = LazyCollection(guarded_people, declared()).create_backlog_index()
    with limited(guarded_people, guarded, ("listIndexes",), on_database=("listCollections",), aside=True) as people:
        found = examined(people)
        assert one(found, "indexes", f"whether the server uses '{name}' is not known").severity == "note"
        assert "still being built" not in str(found)
        assert about(found, "collection", severity="ok")
        guarded_people.drop_index(name)
        assert one(examined(people), "indexes", "there is no backlog index")


def test_who_sees_neither_indexes_nor_documents_does_not_know_whether_it_exists(
    guarded_people: People, guarded: str
) -> None:
    with limited(guarded_people, guarded, ("find",), on_database=("listCollections",), aside=True) as people:
        assert about(examined(people), "collection", severity="ok")  # there is a document
        guarded_people.drop()
        assert one(examined(people), "collection", "whether it exists is not known").severity == "note"


def test_a_view_is_known_by_how_its_indexes_are_refused(guarded_people: People, guarded: str) -> None:
    guarded_people.database["other"].insert_one({"_id": 1})
    guarded_people.drop()
    guarded_people.database.create_collection("people", viewOn="other", pipeline=[])
    with limited(guarded_people, guarded, ("find", "listIndexes"), aside=True) as people:
        assert one(examined(people), "collection", "it is a view").severity == "problem"


# Verdicts


def member(number: int, state: int, *, late: float = 0, up: bool = True) -> dict[str, Any]:
    date = datetime(2025, 7, 1, tzinfo=UTC) - timedelta(seconds=late)
    return {"name": f"m{number}:27017", "state": state, "health": int(up), "optimeDate": date}


def status(*members: dict[str, Any], majority: int = 2) -> dict[str, Any]:
    return {"members": list(members), "writeMajorityCount": majority}


THREE = status(member(0, 1), member(1, 2), member(2, 2))
WELL = Facts(
    database="shop",
    collection="people",
    write_concern={},
    read_concern=None,
    on_primary=True,
    hello={"setName": "rs", "isWritablePrimary": True},
    build={"version": "7.0.1", "versionArray": [7, 0, 1, 0]},
    compatibility="7.0",
    replication=THREE,
    status={},
    privileges=None,
    options={},
    indexes=[{"name": "_id_", "key": SON([("_id", 1)])}],
    in_use="x",
    coverage=Coverage.of(declared(), "people", []),
)


def test_facts_without_trouble_give_one_ok_for_each_topic() -> None:
    found = diagnose(declared(), WELL)
    assert [(each.topic, each.severity) for each in found.findings if each.severity != "ok"] == [("indexes", "note")]
    assert [each.topic for each in found.findings] == [topic for topic, _, _ in CHECKUPS]


@pytest.mark.parametrize(
    ("facts", "topic", "severity", "said"),
    [
        ({"build": {"version": "4.4.1", "versionArray": [4, 4]}}, "server", "problem", "older than 5.0"),
        ({"build": {"version": "5.0.9", "versionArray": [5, 0]}}, "server", "warning", "has no backlog index"),
        ({"compatibility": "5.0"}, "server", "warning", "behaves like 5.0"),
        ({"build": None}, "server", "note", "not known"),
        ({"hello": {}}, "members", "warning", "standalone"),
        ({"hello": {"setName": "rs"}}, "members", "problem", "takes no writes"),
        ({"replication": None}, "members", "warning", "cannot see how far"),
        ({"status": None}, "members", "warning", "serverStatus"),
        (
            {"replication": status(member(0, 1), member(1, 8, up=False), member(2, 8, up=False))},
            "members",
            "problem",
            "'m1:27017' and 'm2:27017'",
        ),
        (
            {"replication": status(member(0, 1), member(1, 2), member(2, 8, up=False))},
            "members",
            "warning",
            "is not up",
        ),
        (
            {"replication": status(member(0, 1), member(1, 2, late=60), member(2, 2))},
            "members",
            "warning",
            "60 s behind",
        ),
        ({"replication": status(member(0, 1), member(1, 2), member(2, 7))}, "members", "warning", "an arbiter"),
        ({"hello": {"msg": "isdbgrid"}}, "members", "note", "sharded cluster"),
        (
            {"hello": {"msg": "isdbgrid"}, "shard_key": {"region": 1}},
            "members",
            "warning",
            "sharded by 'region'",
        ),
        ({"skew": 61.0}, "clock", "warning", "61 s ahead of"),
        ({"skew": -7.0}, "clock", "warning", "7 s behind"),
        ({"read_concern": "available"}, "client", "note", "'available'"),
        ({"on_primary": False}, "client", "note", "secondaries"),
        ({"sample": Sample(documents=9, largest=15 * 2**20)}, "documents", "warning", "15.0 MiB"),
        ({"hello": {"msg": "isdbgrid"}, "shard_key": None}, "members", "note", "sharded is not known"),
        ({"coverage": None}, "documents", "problem", "may not read"),
        ({"listed": False}, "documents", "note", "in the quarantine is not known"),
        ({"options": None, "kind": None}, "collection", "note", "is not known"),
        ({"kind": None}, "collection", "note", "whether it exists is not known"),
        ({"options": None, "kind": None}, "validator", "note", "is not known"),
        ({"indexes": None}, "indexes", "warning", "they are not known"),
    ],
)
def test_verdicts(facts: dict[str, Any], topic: str, severity: str, said: str) -> None:
    found = diagnose(declared(), replace(WELL, **facts))
    finding = one(found, topic, said)
    assert finding.severity == severity
    assert finding.remedy.endswith(".")


def test_what_is_known_to_be_missing_or_a_view_needs_no_options() -> None:
    for kind, severity in (("missing", "warning"), ("view", "problem")):
        found = diagnose(declared(), replace(WELL, options=None, indexes=None, kind=kind))
        assert [each.severity for each in about(found, "collection")] == [severity]
        assert [each.severity for each in about(found, "validator") + about(found, "indexes")] == ["ok", "ok"]


@pytest.mark.parametrize("key", [{"_id": 1}, {"_id": "hashed"}, {}])
def test_a_collection_sharded_by_its_id_needs_no_warning(key: Any) -> None:
    facts = replace(WELL, hello={"msg": "isdbgrid"}, shard_key=key)
    assert [each.severity for each in about(diagnose(declared(), facts), "members")] == ["note"]


def test_a_clock_that_is_wrong_by_less_than_the_answer_took_is_right(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow answer is no wrong clock: only what the two looks at this machine's clock agree on counts."""
    people.insert_one({"_id": 1})
    driver = LazyCollection(people, declared())._driver
    carry_out = type(driver).carry_out
    looks = iter([-100.0, 100.0])

    def shifted(self: Any, command: Any) -> Any:
        result = carry_out(self, command)
        if type(command).__name__ == "Now":
            return result + timedelta(seconds=next(looks))
        return result

    monkeypatch.setattr(type(driver), "carry_out", shifted)
    assert about(examined(people), "clock")[0].severity == "ok"
    looks = iter([-100.0, -100.0])
    assert "100 s ahead" in str(about(examined(people), "clock")[0]) or "99 s ahead" in str(examined(people))


def test_names_in_a_sentence() -> None:
    assert listed(["a"]) == "'a'"
    assert listed(["a", "b", "c"]) == "'a', 'b' and 'c'"
    assert listed([str(n) for n in range(9)]) == "'0', '1', '2', '3', '4', '5' and 3 more"


def test_a_diagnosis_says_the_gravest_first_and_is_json(people: People) -> None:
    people.insert_one({"_id": 1, "mail": "x"})
    people.create_index("mail", unique=True)
    found = examined(people)
    lines = str(found).splitlines()
    assert lines[0] == "people: problem"
    assert lines[1].startswith("  problem: indexes: ")
    data = json.loads(found.to_json())
    assert (data["format"], data["collection"], data["worst"]) == (1, "people", "problem")
    assert {"severity", "topic", "said", "remedy"} == set(data["findings"][0])
    assert Diagnosis("x").worst == "ok"


def test_hostile_names_are_inert(people: People) -> None:
    name = "x\x1b[31m[red]\u202e"
    hostile = people.database[name]
    hostile.create_index("mail", name=f"i{name}")
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", f"n{name}"), name=f"r{name}")
    found = examined(hostile, schema)
    console = Console(width=200, record=True, force_terminal=True, color_system=None, file=None)
    with console.capture() as captured:
        console.print(diagnosis(found))
    for text in (str(found), captured.get()):
        assert "[red]" in text
        assert "\x1b[31m" not in text
        assert "\u202e" not in text


# The command line

APP = """
from lazymigrate import Schema, ops
people = Schema("people")
people.revision(2, ops.rename("mail", "email"))
"""


def command(tmp_path: Path, people: People, *arguments: str) -> Result:
    (tmp_path / "doctor_app.py").write_text(APP)
    host, port = people.database.client.address
    environment = {
        "LAZYMIGRATE_APP": "doctor_app",
        "LAZYMIGRATE_MONGODB_URI": f"mongodb://{host}:{port}/{people.database.name}?directConnection=true",
        "COLUMNS": "80",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        return CliRunner(env=environment).invoke(group, ["doctor", *arguments], prog_name="lazymigrate")


def test_the_status_is_that_of_the_worst_finding(tmp_path: Path, people: People) -> None:
    people.insert_one({"_id": 1, "mail": "x"})
    warned = command(tmp_path, people)
    assert warned.exit_code == 3, warned.output
    assert "there is no backlog index" in " ".join(warned.stdout.split()).lower()
    people.create_index("mail", unique=True)
    failed = command(tmp_path, people, "--json")
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)["worst"] == "problem"
    people.drop()
    people.database["people"].insert_one({"_id": 1, "email": "x", "schema_version": 2})
    schema = Schema("people")
    schema.revision(2, ops.rename("mail", "email"))
    LazyCollection(people, schema).create_backlog_index()
    well = command(tmp_path, people, "people")
    assert well.exit_code == 0, well.output
    assert "Nothing here will bite" in well.stdout
    assert all(len(line.rstrip()) <= 80 for line in warned.stdout.splitlines())
