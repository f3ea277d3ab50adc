"""What a failure means, as a real server and the driver produce it; how long to go on; how many documents may fail."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError

from lazymigrate import Schema, failures
from lazymigrate.exceptions import SchemaError
from lazymigrate.failures import DOCUMENT, FATAL, TRANSIENT, Backoff, Budget, is_about_document, of_error, verdict

NAME = "lazymigrate-failures"  # fail points are for this client alone


@pytest.fixture
def failing(mongo_uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client of its own, since some of the errors close its connections; without retries, so that each is seen."""
    quick = {
        "serverMonitoringMode": "poll",
        "heartbeatFrequencyMS": 500,
    }  # to see soon that the server is there after all
    with MongoClient[dict[str, Any]](mongo_uri, appname=NAME, retryWrites=False, retryReads=False, **quick) as client:
        yield client


@contextmanager
def fail_command(client: MongoClient[Any], command: str, **data: Any) -> Iterator[None]:
    """Let each such command of the failing client fail."""
    point = {"configureFailPoint": "failCommand", "data": {"failCommands": [command], "appName": NAME, **data}}
    client.admin.command({**point, "mode": "alwaysOn"})
    try:
        yield
    finally:
        client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


def raised(call: Callable[[], Any]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_no_code_has_two_verdicts() -> None:
    assert not set(TRANSIENT) & set(DOCUMENT)
    assert not set(TRANSIENT) & set(FATAL)
    assert not set(DOCUMENT) & set(FATAL)


def test_each_code_of_the_server_is_understood_from_the_driver_s_own_error(
    client: MongoClient[dict[str, Any]], failing: MongoClient[dict[str, Any]]
) -> None:
    misunderstood, unsaid = {}, set()
    for expected, table in (("transient", TRANSIENT), ("document", DOCUMENT), ("fatal", FATAL)):
        for code in table:
            with fail_command(client, "update", errorCode=code):
                error = raised(lambda: failing.test.people.update_one({}, {"$set": {"a": 1}}))
            if getattr(error, "code", code) != code:
                unsaid.add(code)
            elif of_error(error) != expected:
                misunderstood[code] = of_error(error)
    assert misunderstood == {}
    # The fail point cannot give these the details without which they do not exist; other tests produce two of them.
    assert unsaid == {121, 249, 283, 343, 361, 11000, 13388}


def test_a_code_that_is_in_no_table_is_a_document_s(
    client: MongoClient[dict[str, Any]], failing: MongoClient[dict[str, Any]]
) -> None:
    with fail_command(client, "update", errorCode=5_999_999):
        error = raised(lambda: failing.test.people.update_one({}, {"$set": {"a": 1}}))
    assert of_error(error) == "document"


@pytest.mark.parametrize("label", ["RetryableWriteError", "TransientTransactionError", "SystemOverloadedError"])
def test_a_label_of_the_server_says_more_than_the_code(
    client: MongoClient[dict[str, Any]], failing: MongoClient[dict[str, Any]], label: str
) -> None:
    with fail_command(client, "update", errorCode=5_999_999, errorLabels=[label]):
        error = raised(lambda: failing.test.people.update_one({}, {"$set": {"a": 1}}))
    assert of_error(error) == "transient"


def test_a_lost_connection_passes(client: MongoClient[dict[str, Any]], failing: MongoClient[dict[str, Any]]) -> None:
    with fail_command(client, "update", closeConnection=True):
        error = raised(lambda: failing.test.people.update_one({}, {"$set": {"a": 1}}))
    assert getattr(error, "code", None) is None
    assert of_error(error) == "transient"


def test_a_server_that_is_not_there_may_come_back() -> None:
    with MongoClient[dict[str, Any]]("mongodb://127.0.0.1:9/", serverSelectionTimeoutMS=50) as nowhere:
        assert of_error(raised(lambda: nowhere.admin.command("ping"))) == "transient"


@pytest.mark.parametrize("code", [64, 91, 189, 11602, 5_999_999])
def test_a_write_that_was_applied_and_not_confirmed_passes(
    client: MongoClient[dict[str, Any]], failing: MongoClient[dict[str, Any]], db: Database[dict[str, Any]], code: int
) -> None:
    people = failing[db.name]["people"]
    people.insert_one({"_id": 1, "a": 0})
    concern = {"code": code, "errmsg": "not confirmed"}
    with fail_command(client, "update", writeConcernError=concern):
        alone = raised(lambda: people.update_one({"_id": 1}, {"$inc": {"a": 1}}))
        together = raised(lambda: people.bulk_write([pymongo.UpdateOne({"_id": 1}, {"$inc": {"a": 1}})]))
    assert [of_error(alone), of_error(together)] == ["transient"] * 2
    assert db["people"].find_one() == {"_id": 1, "a": 2}


@pytest.mark.parametrize("concern", [WriteConcern(w=3, wtimeout=50), WriteConcern(w="nowhere", wtimeout=50)])
def test_a_write_concern_that_nobody_can_satisfy_does_not_pass(
    people: Collection[dict[str, Any]], concern: WriteConcern
) -> None:
    people.insert_one({"_id": 1})
    demanding = people.with_options(write_concern=concern)
    assert of_error(raised(lambda: demanding.update_one({"_id": 1}, {"$set": {"a": 1}}))) == "fatal"


POISON = {"_id": 1, "text": "x y", "zero": 0, "large": 1e300, "pattern": "(", "list": [1, 2], "long": "x" * 9_000_000}
EXPRESSIONS = [
    {"$toInt": "$text"},
    {"$toInt": "$large"},
    {"$toObjectId": "$text"},
    {"$dateFromString": {"dateString": "$text"}},
    {"$dateToString": {"date": "$text"}},
    {"$add": ["$text", 1]},
    {"$divide": [1, "$zero"]},
    {"$sqrt": -1},
    {"$size": "$text"},
    {"$concat": ["$zero", "a"]},
    {"$split": ["$zero", " "]},
    {"$substrCP": ["$text", -1, 2]},
    {"$toLower": "$list"},
    {"$regexMatch": {"input": "a", "regex": "$pattern"}},
    {"$map": {"input": "$text", "in": 1}},
    {"$reduce": {"input": "$text", "initialValue": 0, "in": 1}},
    {"$arrayElemAt": ["$text", 0]},
    {"$arrayToObject": "$text"},
    {"$objectToArray": "$text"},
    {"$mergeObjects": ["$text"]},
    {"$setField": {"field": "a", "input": "$text", "value": 1}},
    {"$switch": {"branches": [{"case": {"$eq": ["$zero", 1]}, "then": 1}]}},
    {"$concat": ["$long", "$long"]},
]


def test_whatever_an_expression_cannot_do_with_a_document_is_a_document_s(people: Collection[dict[str, Any]]) -> None:
    people.insert_one(POISON)
    found = {}
    for expression in EXPRESSIONS:
        update = [{"$set": {"result": expression}}]
        alone = raised(lambda update=update: people.update_one({"_id": 1}, update))
        bulk = raised(lambda update=update: people.bulk_write([pymongo.UpdateOne({"_id": 1}, update)]))
        found[str(expression)] = {of_error(alone), of_error(bulk)}
    assert found == {str(expression): {"document"} for expression in EXPRESSIONS}


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    ("options", "index", "change"),
    [
        ({"validator": {"a": {"$type": "int"}}}, None, {"a": "text"}),
        ({}, {"keys": "a", "unique": True}, {"a": 2}),
        ({}, {"keys": [("a", 1), ("b", 1)]}, {"a": [1, 2], "b": [1, 2]}),
        ({}, {"keys": [("a", "2dsphere")]}, {"a": "nowhere"}),
        ({}, {"keys": [("a", "text")]}, {"a": "text", "language": "klingon"}),
        ({}, None, {"_id": 3}),
        ({}, None, {"a.b.c.d.e.f.g.h.i.j.k": "$deep"}),
    ],
    ids=["validator", "unique", "parallel arrays", "2dsphere", "text", "_id", "depth"],
)
def test_what_the_collection_does_not_take_is_a_document_s(
    db: Database[dict[str, Any]], options: dict[str, Any], index: dict[str, Any] | None, change: dict[str, Any]
) -> None:
    people = db.create_collection("people", **options)
    people.insert_one({"_id": 1, "deep": nested(172)}, bypass_document_validation=True)
    if index is not None:
        people.create_index(**index)
        people.insert_one({"_id": 2, "a": 2} if index.get("unique") else {"_id": 2})
    error = raised(lambda: people.update_one({"_id": 1}, [{"$set": change}]))
    assert of_error(error) == "document"


@pytest.mark.parametrize("value", [2**70, "\ud800", object()])
def test_what_bson_cannot_encode_is_a_document_s(people: Collection[dict[str, Any]], value: Any) -> None:
    error = raised(lambda: people.insert_one({"_id": 1, "a": value}))
    assert of_error(error) == "document"


def test_a_kind_of_collection_that_cannot_be_updated_is_fatal(db: Database[dict[str, Any]]) -> None:
    db["people"].insert_one({"_id": 1})
    db.command("create", "view", viewOn="people", pipeline=[])
    db.create_collection("series", timeseries={"timeField": "at"})
    for name in ("view", "series"):
        error = raised(lambda name=name: db[name].update_many({}, [{"$set": {"a": 1}}]))
        assert of_error(error) == "fatal", name


def test_what_is_wrong_in_the_code_is_fatal(people: Collection[dict[str, Any]], mongo_uri: str) -> None:
    closed = MongoClient[dict[str, Any]](mongo_uri)
    closed.close()
    people.insert_one({"_id": 1})
    errors = [
        raised(lambda: people.database.command("nonsense")),
        raised(lambda: people.update_one({"_id": 1}, [{"$set": {"a": {"$nonsense": 1}}}])),
        raised(lambda: closed.admin.command("ping")),
        raised(lambda: people.insert_one(1)),  # type: ignore[arg-type]
        KeyError("a mistake"),
        SchemaError("a mistake"),
    ]
    assert [of_error(error) for error in errors] == ["fatal"] * len(errors)


def test_an_upgrade_that_fails_is_a_document_s() -> None:
    people = Schema("people")

    @people.revision(2)
    def poisoned(document: dict[str, Any]) -> None:
        """Fail."""
        raise KeyError(document["_id"])

    assert of_error(raised(lambda: people.upgrade({"_id": 1}))) == "document"


def bulk(*codes: int, concerns: tuple[int, ...] = ()) -> PyMongoError:
    return BulkWriteError(
        {
            "writeErrors": [{"index": index, "code": code} for index, code in enumerate(codes)],
            "writeConcernErrors": [{"code": code} for code in concerns],
        }
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (bulk(11000, 121), "document"),
        (bulk(11000, 112), "transient"),
        (bulk(11000, 112, 13), "fatal"),
        (bulk(11000, concerns=(64,)), "transient"),
        (bulk(concerns=(79,)), "fatal"),
    ],
)
def test_a_bulk_says_the_gravest_of_what_its_parts_say(error: PyMongoError, expected: str) -> None:
    assert of_error(error) == expected


def test_what_says_nothing_of_a_document_never_makes_it_a_refused_one() -> None:
    assert not any(is_about_document(code) for code in [*TRANSIENT, *FATAL])
    assert all(is_about_document(code) for code in DOCUMENT)
    assert is_about_document(5_999_999)


def test_without_its_row_an_election_would_put_documents_into_the_quarantine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdict(10107, (), "WriteError") == "transient"
    monkeypatch.delitem(failures.VERDICTS, 10107)
    assert verdict(10107, (), "WriteError") == "document"


# Backoff


@given(st.integers(), st.floats(0.01, 1), st.floats(1, 10), st.floats(0, 100))
def test_tries_are_further_and_further_apart_until_the_patience_ends(
    seed: int, first: float, longest: float, patience: float
) -> None:
    backoff = Backoff(random.Random(seed), first=first, longest=longest, patience=patience)
    now, length, began = 1000.0, first, 1000.0
    while (seconds := backoff.wait(now)) is not None:
        assert 0 < seconds <= length
        assert seconds >= length / 2 or now + seconds == pytest.approx(began + patience)
        now += seconds
        length = min(longest, length * 2)
    assert now == pytest.approx(began + patience)


def test_a_success_begins_the_patience_afresh() -> None:
    backoff = Backoff(random.Random(1), patience=10)
    assert backoff.wait(0) is not None
    assert backoff.wait(9) is not None
    backoff.succeeded()
    again = backoff.wait(1000)
    assert again is not None
    assert again <= 0.05
    assert backoff.wait(1009) is not None
    assert backoff.wait(1010) is None


def test_many_that_failed_at_once_do_not_come_back_at_once() -> None:
    waits = {Backoff(random.Random(seed)).wait(0) for seed in range(100)}
    assert len(waits) == 100


# Budget


def tried(budget: Budget, poisoned: list[int], documents: int) -> int | None:
    """After how many documents the budget is exceeded; None when it never is."""
    before = 0
    for place in poisoned:
        budget.succeeded(place - before)
        if budget.exceeded:
            return place
        budget.refused()
        if budget.exceeded:
            return place + 1
        before = place + 1
    budget.succeeded(documents - before)
    return documents if budget.exceeded else None


def stopped(share: float, seeds: int) -> list[int | None]:
    return [
        tried(Budget(), sorted(random.Random(seed).sample(range(100_000), int(100_000 * share))), 100_000)
        for seed in range(seeds)
    ]


def test_one_per_cent_of_poison_never_ends_a_run_and_two_per_cent_always_does() -> None:
    assert set(stopped(0.01, 200)) == {None}
    assert None not in stopped(0.02, 50)


def test_without_the_allowance_for_chance_one_per_cent_would_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "DEVIATIONS", 0.0)
    assert set(stopped(0.01, 20)) != {None}


def test_where_all_is_poison_it_ends_within_two_hundred_documents() -> None:
    after = tried(Budget(), list(range(1000)), 1000)
    assert after is not None
    assert after <= 200


def test_two_hundred_in_a_row_end_a_run_whose_share_is_small() -> None:
    budget = Budget()
    budget.succeeded(1_000_000)
    budget.refused(199)
    assert not budget.exceeded
    budget.succeeded()
    budget.refused(199)
    assert not budget.exceeded
    budget.refused()
    assert (budget.tried, budget.failed, budget.in_a_row) == (1_000_400, 399, 200)
    assert str(budget.reason()).startswith("200 documents in a row have failed.")


@pytest.mark.parametrize("bound", [0, 1, 250, 250.0])
def test_a_whole_number_is_how_many_may_fail_in_a_row_or_not(bound: float) -> None:
    budget = Budget(bound)
    budget.refused(int(bound))
    assert not budget.exceeded
    budget.refused()
    assert budget.exceeded
    assert f"max_failures is {bound:g}." in str(budget.reason())


def test_a_number_below_one_is_a_share() -> None:
    budget = Budget(0.5)
    for _ in range(10_000):
        budget.succeeded()
        budget.refused()
    assert not budget.exceeded
    budget.refused(150)
    budget.succeeded()
    assert not budget.exceeded
    for _ in range(10):
        budget.refused(150)
        budget.succeeded()
    assert budget.exceeded
    assert "50 % may. Look at the quarantine" in str(budget.reason())


def test_nothing_to_count_counts_nothing() -> None:
    budget = Budget()
    budget.refused(3)
    budget.succeeded(0)
    assert (budget.tried, budget.failed, budget.in_a_row) == (3, 3, 3)


@pytest.mark.parametrize("wrong", [-1, 1.5, float("nan"), float("inf"), True, "10"])
def test_a_budget_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"max_failures=.*choose how many"):
        Budget(wrong)
