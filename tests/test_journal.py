"""The journal of revisions: deploying, drift of all three kinds, retiring, stamping."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from bson import Decimal128, Int64, json_util
from conftest import Bench
from pydantic import BaseModel, Field
from schemas import declared, users

from lazymigrate import CoverageError, DriftError, LazyCollection, LazyMigrateError, Schema, ops
from lazymigrate.backlog import index
from lazymigrate.journal import RevisionRecord


def raising(limit: int) -> Schema:
    """One function with a constant in it."""
    schema = Schema("people")
    if limit == 10:

        @schema.revision(2)
        def cap(document: dict[str, Any]) -> None:
            """Cap it."""
            document["n"] = min(document["n"], 10)

        return schema

    @schema.revision(2)
    def cap(document: dict[str, Any]) -> None:
        """Cap it."""
        document["n"] = min(document["n"], 20)

    return schema


def reformatted() -> Schema:
    schema = Schema("people")

    @schema.revision(2)
    def cap(document: dict) -> None:
        """Cap the number, as the shop wants it."""
        # as agreed
        document["n"] = min(
            document["n"],
            10,
        )

    return schema


def open_as(people: Any, schema: Schema) -> Any:
    return LazyCollection(people, schema)


def recorded(people: Any) -> list[dict[str, Any]]:
    return list(people.database["lazymigrate.journal"].find({"_id.kind": "revision"}).sort("_id", 1))


def test_a_deployment_registers_every_revision_once(people: Any) -> None:
    schema = users()
    first = open_as(people, schema).deploy(application="shop 1.4")
    assert (first.registered, first.known, first.index) == ((2, 3), (), index(schema).name)
    assert "registered revisions 2, 3" in str(first)
    before = recorded(people)
    again = open_as(people, users()).deploy(application="shop 1.5")
    assert (again.registered, again.known) == ((), (2, 3))
    assert recorded(people) == before
    assert before[0]["name"] == "split_name"
    assert before[0]["description"] == "A name becomes a first and a last name."
    assert before[0]["operations"] is None
    assert before[1]["application"] == "shop 1.4"
    assert [entry["op"] for entry in json.loads(before[1]["operations"])] == ["rename", "add"]
    assert json.loads(first.to_json())["registered"] == [2, 3]


async def test_every_driver_deploys(bench: Bench) -> None:
    if bench.name == "memory":
        with pytest.raises(ValueError, match="does not know"):  # it has no indexes, and says so
            await bench.call(bench.open(declared()).deploy())
        return
    people = bench.open(declared())
    assert (await bench.call(people.deploy())).registered == (2, 3)
    assert (await bench.call(people.deploy())).registered == ()
    assert not (await bench.call(people.drift())).found


def test_a_new_revision_is_added_and_the_old_index_goes(people: Any) -> None:
    old = declared()
    open_as(people, old).deploy()
    newer = declared()
    newer.revision(4, ops.rename("a", "b"))
    deployed = open_as(people, newer).deploy()
    assert (deployed.registered, deployed.dropped) == ((4,), (index(old).name,))
    assert set(people.index_information()) == {"_id_", index(newer).name}
    back = open_as(people, declared()).deploy()  # the old release once more: it is not refused
    assert back.newer == (4,)
    assert "of a newer release" in str(back)


def test_a_changed_constant_is_drift_with_both_dates(people: Any) -> None:
    open_as(people, raising(10)).deploy(application="shop 1")
    before = recorded(people)
    with pytest.raises(DriftError, match="Take the change back, and declare it as a new revision") as caught:
        open_as(people, raising(20)).deploy()
    (changed,) = caught.value.revisions
    assert changed.version == 2
    assert changed.application == "shop 1"
    assert timedelta(0) <= changed.found - changed.registered < timedelta(minutes=5)
    text = str(caught.value)
    assert f"registered {changed.registered:%Y-%m-%d %H:%M} UTC by shop 1" in text
    assert f"something else as of {changed.found:%Y-%m-%d %H:%M} UTC" in text
    assert recorded(people) == before
    found = open_as(people, raising(20)).drift()
    assert found.found
    assert [revision.version for revision in found.revisions] == [2]


def test_formatting_comments_and_docstrings_are_no_drift(people: Any) -> None:
    open_as(people, raising(10)).deploy()
    assert not open_as(people, reformatted()).drift().revisions
    assert open_as(people, reformatted()).deploy().registered == ()


def test_nothing_is_registered_beside_a_changed_revision(people: Any) -> None:
    open_as(people, raising(10)).deploy()
    wrong = raising(20)
    wrong.revision(3, ops.rename("a", "b"))
    with pytest.raises(DriftError):
        open_as(people, wrong).deploy()
    assert [record["_id"]["version"] for record in recorded(people)] == [2]


def test_of_two_who_deploy_at_once_both_succeed_or_one_is_refused(people: Any) -> None:
    for same in (True, False):
        people.database["lazymigrate.journal"].delete_many({})
        outcomes: list[Any] = []
        ready = threading.Barrier(4)

        def deploy(limit: int, ready: Any = ready, outcomes: list[Any] = outcomes) -> None:
            schema = raising(limit)
            ready.wait()
            try:
                outcomes.append(open_as(people, schema).deploy())
            except DriftError as error:
                outcomes.append(error)

        threads = [threading.Thread(target=deploy, args=(10 if same or n % 2 else 20,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [outcome for outcome in outcomes if isinstance(outcome, DriftError)]
        assert len(outcomes) == 4
        assert len(refused) == (0 if same else 2)
        assert sum(outcome.registered == (2,) for outcome in outcomes if outcome not in refused) == 1
        assert len(recorded(people)) == 1


def test_a_deployment_that_does_not_compare_again_would_pass_over_drift(
    people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_as(people, raising(10)).deploy()
    monkeypatch.setattr("lazymigrate.procedures.journal.changed", lambda *_: ())
    assert open_as(people, raising(20)).deploy().registered == ()  # the guard is what refuses


def test_versions_that_the_code_does_not_know_are_drift(people: Any) -> None:
    schema = Schema("people", oldest=2)
    schema.revision(3, ops.rename("a", "b"))
    people.insert_many(
        [{}, {"schema_version": 9}, {"schema_version": 9}, {"schema_version": "x"}, {"schema_version": 3}]
    )
    found = open_as(people, schema).drift()
    assert found.unknown == {1: 1, 9: 2}
    assert found.invalid == {"string": 1}
    assert "3 documents at versions that this code does not know: 9, 1" in str(found)
    assert "1 document with a stamp that is no version (string)" in str(found)
    assert [line.partition(" ")[0] for line in found.remedies] == ["Read", "Set"]
    assert str(found).endswith("\n  ".join(found.remedies))


def test_documents_that_do_not_fit_their_stamp_are_drift_without_their_values(people: Any) -> None:
    schema = users()

    @schema.model
    class User(BaseModel):
        id: Any = Field(alias="_id")
        first_name: str
        last_name: str
        email: str
        age: int = 0

    people.insert_many(
        [
            {"first_name": "A", "last_name": "B", "email": "c", "schema_version": 3},
            {"first_name": "A", "last_name": "B", "schema_version": 3, "_id": 7},
            {"first_name": "A", "last_name": "B", "email": "c", "age": "canary", "schema_version": 3},
            {"mail": "canary"},
            {"name": "Ada Lovelace", "mail": "canary"},
        ]
    )
    found = open_as(people, schema).drift()
    details = {(finding.version, finding.kind, finding.detail, finding.count) for finding in found.misfits}
    assert details == {
        (3, "unfit", "email: missing", 1),
        (3, "unfit", "age: int_parsing", 1),
        (1, "failing", "revision 2 'split_name'", 1),
    }
    assert found.sampled == 5
    assert "Mend the documents" in str(found)
    assert "canary" not in str(found) + found.to_json()
    assert next(finding for finding in found.misfits if "email" in finding.detail).document_ids == (7,)
    assert json.loads(found.to_json())["found"] is True


def test_no_document_is_looked_at_when_none_is_to_be(people: Any) -> None:
    people.insert_one({"mail": 1})
    found = open_as(people, users()).drift(sample=0)
    assert (found.sampled, found.found) == (0, False)
    with pytest.raises(ValueError, match="at least 0"):
        open_as(people, users()).drift(sample=-1)


def test_operations_are_kept_as_data_with_their_types(people: Any) -> None:
    schema = Schema("people")
    constants = {"$set": 1, "a.b": [Int64(1), 1.0, True, None, Decimal128("1.0"), "1"], "": {}}
    schema.revision(2, ops.add("odd", constants), ops.replace_values("kind", [(1, "one"), ("$two", 2)]))
    open_as(people, schema).deploy()
    (document,) = recorded(people)
    record = RevisionRecord.from_document(document)
    assert record.operations is not None
    text = json_util.dumps(record.operations, json_options=json_util.CANONICAL_JSON_OPTIONS)
    assert '"$numberLong"' in text
    assert '"$numberDecimal"' in text
    assert '"$numberDouble"' in text


def test_retiring_needs_that_no_document_needs_it(people: Any) -> None:
    people.insert_many([{"schema_version": 2}, {"schema_version": 3}])
    opened = open_as(people, declared())
    opened.deploy()
    (record,) = opened.retire(2)
    assert record.retired is not None
    assert opened.retire(2) == [record]  # nothing new
    with pytest.raises(CoverageError, match="revision 3 or one before is needed by 1 document"):
        opened.retire(3)
    assert recorded(people)[1]["retired"] is None
    people.insert_one({"schema_version": "junk"})
    with pytest.raises(CoverageError, match="what is needed by 1 document with a stamp"):
        opened.retire(2)
    with pytest.raises(ValueError, match="choose one from 2 to 3"):
        opened.retire(1)


@pytest.mark.parametrize("deployed", [False, True])
def test_an_empty_revision_is_not_retired_while_documents_are_before_it(people: Any, deployed: bool) -> None:
    """The backlog index has not these documents, and `oldest` would cut them off."""
    schema = Schema("people")
    schema.revision(2, ops.rename("a", "b"))
    schema.revision(3, ops.nothing(), name="empty")
    people.insert_one({"schema_version": 2})
    opened = open_as(people, schema)
    if deployed:
        opened.deploy()
    with pytest.raises(CoverageError, match=r"needed by 1 document\. No sweep .* retire those up to 2 only\.$"):
        opened.retire(3)
    opened.retire(2)
    people.update_many({}, {"$set": {"schema_version": 3}})
    opened.retire(3)


@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        ("revision", {"$unset": {"checksum": 1}}),
        ("revision", {"$set": {"registered": "SECRET"}}),
        ("revision", {"$set": {"operations": "{SECRET"}}),
        ("coverage", {"$unset": {"total": 1}}),
        ("stamp", {"$set": {"from": "SECRET"}}),
        ("run", {"$unset": {"run": 1}}),
    ],
)
def test_a_document_of_the_journal_that_was_edited_by_hand_is_named(people: Any, kind: str, edit: Any) -> None:
    opened = open_as(people, declared())
    people.insert_one({"name": "Ada Lovelace"})
    opened.deploy()
    opened.overview(record=True)
    opened.stamp(2, from_version=1)
    opened.sweep()
    assert people.database["lazymigrate.journal"].update_many({"_id.kind": kind}, edit).modified_count
    with pytest.raises(LazyMigrateError, match=rf'"kind": "{kind}".* is not as it was written') as caught:
        opened.journal()
    assert "SECRET" not in str(caught.value)


def test_stamping_changes_the_stamp_and_nothing_else(people: Any) -> None:
    before = [{"_id": 1, "a": 1}, {"_id": 2, "a": 2, "schema_version": None}, {"_id": 3, "schema_version": 1.0, "z": 1}]
    others = [{"_id": 4, "schema_version": 2}, {"_id": 5, "schema_version": 9}, {"_id": 6, "schema_version": [1]}]
    people.insert_many([*before, *others])
    opened = open_as(people, declared())
    foretold = opened.stamp(3, from_version=1, dry_run=True)
    assert foretold.documents == 3
    assert people.database["lazymigrate.journal"].count_documents({}) == 0
    done = opened.stamp(3, from_version=1)
    assert (done.documents, done.finished) == (3, True)
    assert list(people.find().sort("_id", 1)) == [{**doc, "schema_version": 3} for doc in before] + others
    (record,) = people.database["lazymigrate.journal"].find({"_id.kind": "stamp"})
    assert (record["from"], record["to"], record["documents"], record["finished"]) == (1, 3, 3, True)
    assert "3 documents stamped from version 1 to 3" in str(done)
    assert opened.stamp(3, from_version=1).documents == 0


@pytest.mark.parametrize(("to", "source"), [(4, 1), (0, 1), (3, 9), (3, 3), (3, 0), (True, 2), (3, "1")])
def test_stamping_what_is_ahead_or_to_what_is_not_known_is_refused(people: Any, to: Any, source: Any) -> None:
    people.insert_many([{"schema_version": version} for version in (0, 1, 2, 3, 9)])
    with pytest.raises(ValueError, match="version"):
        open_as(people, declared()).stamp(to, from_version=source)
    assert [document["schema_version"] for document in people.find()] == [0, 1, 2, 3, 9]
