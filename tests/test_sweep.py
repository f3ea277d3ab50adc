"""The sweep on a real server, where the server has something to say."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from bson.codec_options import CodecOptions, UuidRepresentation
from pydantic import BaseModel, Field, field_validator
from pymongo.collection import Collection
from pymongo.database import Database
from schemas import users

from lazymigrate import LazyCollection, ModelError, Policy, Schema, ops

People = Collection[dict[str, Any]]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_documents_that_the_server_refuses_are_listed_and_the_others_done(people: People, batch_size: int) -> None:
    schema = Schema("people")

    @schema.revision(2)
    def canonical(person: dict[str, Any]) -> None:
        person["email"] = person["email"].lower()

    people.create_index("email", unique=True)
    people.insert_many({"_id": n, "email": f"Canary{n}@x"} for n in range(10))
    people.insert_many({"_id": 100 + n, "email": f"canary{n}@x", "schema_version": 2} for n in (2, 5, 6))
    report = LazyCollection(people, schema).sweep(batch_size=batch_size)
    assert (report.upgraded, report.quarantined, report.remaining) == (7, 3, 3)
    assert report.stopped_by == "finished"
    entries = list(people.database["lazymigrate.quarantine"].find())
    assert {entry["_id"]["document_id"] for entry in entries} == {2, 5, 6}
    assert "anary" not in repr(entries)


def test_a_validator_that_refuses_everything_ends_the_sweep(db: Database[dict[str, Any]]) -> None:
    people = db.create_collection("people", validator={"active": {"$exists": False}}, validationAction="error")
    people.insert_many({"_id": n, "name": "A B", "mail": "m"} for n in range(5))
    report = LazyCollection(people, users()).sweep(batch_size=2)
    assert (report.upgraded, report.quarantined, report.remaining, report.complete) == (0, 5, 5, False)


def test_the_quarantine_takes_the_ids_that_the_collection_has(people: People) -> None:
    codec = CodecOptions[dict[str, Any]](uuid_representation=UuidRepresentation.STANDARD)
    people = people.with_options(codec_options=codec)
    people.insert_many([{"_id": UUID(int=n)} for n in range(3)])
    report = LazyCollection(people, users()).sweep()
    assert (report.quarantined, report.remaining) == (3, 3)
    assert list(LazyCollection(people, users(), Policy(on_error="quarantine")).find()) == []
    assert LazyCollection(people, users()).coverage().quarantined == 3


@pytest.mark.parametrize("raised", [KeyError("canary"), StopIteration("canary"), RuntimeError("canary")])
def test_a_validator_that_raises_anything_is_a_model_error_in_its_place(people: People, raised: Exception) -> None:
    schema = Schema("people")
    schema.revision(2, ops.nothing())

    @schema.model
    class Picky(BaseModel):
        id: int = Field(alias="_id")

        @field_validator("id")
        @classmethod
        def pick(cls, value: int) -> int:
            if value == 3:
                raise raised
            return value

    people.insert_many({"_id": n, "schema_version": 2} for n in range(6))
    with pytest.raises(ModelError) as caught:
        list(LazyCollection(people, Picky).find())
    assert "canary" not in str(caught.value)
    found = LazyCollection(people, Picky, Policy(on_error="skip")).find()
    assert [picky.id for picky in found] == [0, 1, 2, 4, 5]


def test_what_a_function_sets_is_returned_as_it_is_stored(people: People) -> None:
    from datetime import UTC, datetime

    schema = Schema("people")

    @schema.revision(2)
    def stamp(person: dict[str, Any]) -> None:
        person["at"] = datetime(2024, 1, 1, 0, 0, 0, 999, UTC)
        person["pair"] = ("a", "b")

    people.insert_one({"_id": 1})
    lazy = LazyCollection(people, schema, Policy(write_back=True))
    assert lazy.find_one(1) == people.find_one() == lazy.find_one(1)


def test_a_cursor_made_before_a_transaction_and_read_inside_writes_nothing_back(people: People) -> None:
    people.insert_one({"_id": 1, "name": "A B", "mail": "m"})
    lazy = LazyCollection(people, users(), Policy(write_back=True))
    with people.database.client.start_session() as session:
        cursor = lazy.find(session=session)
        with session.start_transaction():
            assert [d["schema_version"] for d in cursor] == [3]
    assert people.find_one() == {"_id": 1, "name": "A B", "mail": "m"}


def test_skipping_to_the_first_readable_document_stores_no_more_than_that(people: People) -> None:
    people.insert_many([{"_id": 0, "bad": 1}, *({"_id": n, "name": "A B", "mail": "m"} for n in range(1, 9))])
    lazy = LazyCollection(people, users(), Policy(write_back=True, on_error="skip"))
    assert lazy.find_one({}, sort="_id")["_id"] == 1
    assert people.count_documents({"schema_version": 3}) <= 2


@pytest.mark.parametrize("option", ["projection", "return_key", "show_record_id"])
def test_options_that_reshape_documents_are_refused(people: People, option: str) -> None:
    lazy = LazyCollection(people, users())
    for read in (lazy.find, lazy.find_one):
        with pytest.raises(TypeError, match=option):
            read({}, **{option: True})
