"""A sweep's update statements: decided by comparing only what a revision touched, put together from bytes, and exact."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import bson
import pytest
from bson import Binary, Code, Int64, ObjectId
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection

from lazymigrate import Policy, Schema, UpgradeError, encoding
from lazymigrate.change import AtHead, Change, CompareAndSet, Guard, Unchanged, fields_guard, statement
from lazymigrate.commands import At, CompareAndSetMany, Stored
from lazymigrate.documents import copy_value, same
from lazymigrate.drivers.memory import CODEC
from lazymigrate.drivers.pymongo import PymongoDriver
from lazymigrate.encoding import encoded
from lazymigrate.outcome import Refused, Upgraded, compare_and_set, outcome
from lazymigrate.scope import Scope
from lazymigrate.testing import strategies

Raw = dict[str, Any]
TWICE = bson.encode({"_id": 1, "z": 1})[4:-1] + bson.encode({"z": 2})[4:-1]
EQUAL_KEYS = (len(TWICE) + 5).to_bytes(4, "little") + TWICE + b"\0"
FIELDS = ("a", "b", "a.b", "$a", "")


def scope_of(*functions: Callable[[Raw], None], codec: CodecOptions[Any] = CODEC, touches: Any = None) -> Scope:
    """A collection whose revisions are these functions."""
    schema = Schema("people")
    for number, function in enumerate(functions, 2):
        schema.revision(number, name=f"revision_{number}", touches=touches)(function)
    return Scope(schema, None, Policy(), "people", codec)


def spelled(command: CompareAndSet, codec: CodecOptions[Any] = CODEC) -> bytes:
    """The statement of a compare-and-set, by its definition."""
    made = statement(command)
    whole = {"q": made.filter, "u": made.update, "multi": False, "collation": {"locale": "simple"}}
    return bson.encode(whole, codec_options=codec)


def guards(raw: bytes, *, plain: bool) -> list[Guard]:
    return [Unchanged(raw, plain), fields_guard(raw, FIELDS, plain=plain), AtHead("schema_version", 1, 1, 2)]


@pytest.mark.parametrize("plain", [True, False])
@settings(max_examples=200, deadline=None)
@given(identity=strategies.ids(), before=strategies.documents(), after=strategies.documents())
def test_the_bytes_are_those_of_the_statement(*, plain: bool, identity: Any, before: Raw, after: Raw) -> None:
    raw = bson.encode({"_id": identity, **before}, codec_options=CODEC)
    change = Change.between(bson.decode(raw, CODEC), bson.decode(bson.encode({"_id": identity, **after}), CODEC))
    for guard in guards(raw, plain=plain):
        command = CompareAndSet(raw, guard, change)
        assert encoded(command, CODEC) == spelled(command)


def test_a_change_in_several_steps_and_one_that_meets_equal_keys_are_spelled_out() -> None:
    raw = bson.encode({"_id": 1, **{f"old{n}": n for n in range(200)}})
    many = CompareAndSet(raw, Unchanged(raw, plain=True), Change({"new": 1}, tuple(f"old{n}" for n in range(200))))
    assert encoded(many, CODEC) == spelled(many)
    assert len(bson.decode(encoded(many, CODEC))["u"]) > 1
    odd = CompareAndSet(EQUAL_KEYS, Unchanged(EQUAL_KEYS, plain=False), Change({"z": 3}))
    assert encoded(odd, CODEC) == spelled(odd)
    assert isinstance(bson.decode(encoded(odd, CODEC))["u"], dict)


def by_comparing_all(scope: Scope, raw: bytes) -> Upgraded | UpgradeError:
    """What becomes of a document, by its definition: all of it decoded twice, normalised and compared."""
    stored, document = scope.decode(raw), scope.decode(raw)
    try:
        wanted = scope.normal(scope.schema.chain(1, scope.schema.head).run(document), 1)
    except UpgradeError as error:
        return error
    return Upgraded(wanted, stored, compare_and_set(scope, raw, stored, wanted, 1))


def change_scope(value: Any) -> None:
    """A value of an odd type that can be changed in place."""
    if isinstance(value, Code) and value.scope:
        scope: Any = value.scope
        scope["changed"] = 1


SHARED = {"list": [1, {"deep": [2]}], "text": "x"}
WORKS: dict[str, Callable[[Any], object]] = {
    "nothing": lambda document: None,
    "drops": lambda document: document.pop("a", None),
    "drops the _id": lambda document: document.pop("_id", None),
    "moves": lambda document: document.update(c=document.pop("a", None)),
    "swaps": lambda document: document.update(a=document.get("b"), b=document.get("a")),
    "clears": lambda document: document.clear(),
    "sets what is there": lambda document: document.update(copy_value(document)),
    "an equal value of another type": lambda document: document.update(
        {name: Int64(value) for name, value in document.items() if type(value) is int and name != "_id"}
    ),
    "in place": lambda document: [
        value.clear() if isinstance(value, list) else value.update(new=float("nan"))
        for name, value in document.items()
        if isinstance(value, (dict, list)) and name != "_id"
    ],
    "the scope of code": lambda document: [change_scope(value) for value in document.values()],
    "what BSON holds otherwise": lambda document: document.update(
        pair=(1, 2), when=datetime(2024, 1, 1, 0, 0, 0, 1234), big=2**40, data=Binary(b"x", 0)
    ),
    "constants": lambda document: document.update(SHARED),
    "in another order": lambda document: document.update(
        {name: document.pop(name) for name in sorted(document, reverse=True)}
    ),
}


def revision(work: str) -> Callable[[Raw], None]:
    """A function of a revision, which returns nothing."""

    def change(document: Raw) -> None:
        WORKS[work](document)

    return change


@settings(max_examples=400, deadline=None)
@given(
    identity=strategies.ids(),
    fields=strategies.documents(),
    works=st.lists(st.sampled_from(sorted(WORKS)), min_size=1, max_size=3),
    known=st.booleans(),
)
def test_an_outcome_is_what_comparing_all_of_the_document_gives(
    *, identity: Any, fields: Raw, works: list[str], known: bool
) -> None:
    fields.pop("schema_version", None)
    touches = {name for name in ("a", "b", "c", *SHARED, *fields) if name and "." not in name} if known else None
    scope = scope_of(*map(revision, works), touches=touches)
    raw = bson.encode({"_id": identity, **fields}, codec_options=CODEC)
    found = outcome(scope, raw)
    expected = by_comparing_all(scope, raw)
    if isinstance(expected, UpgradeError):
        assert isinstance(found, Refused)
        assert str(found.error) == str(expected)
        return
    assert isinstance(found, Upgraded)
    assert same(found.document, expected.document)
    assert same(found.stored, expected.stored)
    assert spelled(found.command) == encoded(found.command, CODEC)
    assert in_any_order(found.command.change) == in_any_order(expected.command.change)
    assert found.command.guard.__class__ is expected.command.guard.__class__
    assert not shared(found.document) & (shared(found.stored) | shared(SHARED))


def in_any_order(change: Change) -> dict[str, Any]:
    """A change as what it does to each name, in BSON."""
    sets = {name: bson.encode({"": value}, codec_options=CODEC) for name, value in change.sets.items()}
    nested = {name: in_any_order(inner) for name, inner in change.nested.items()}
    return {"sets": sets, "unsets": {*change.unsets}, "nested": nested}


def shared(value: Any) -> set[int]:
    """The dicts and lists of a value, by identity."""
    if not isinstance(value, (dict, list)):
        return set()
    inner = value.values() if isinstance(value, dict) else value
    return {id(value)}.union(*map(shared, inner))


def test_a_value_that_bson_cannot_hold_refuses_the_document_by_its_id() -> None:
    class Unknown: ...

    identity = ObjectId()
    for value in (Unknown(), 2**64, "\ud800", {1: 2}, {"a\0": 1}, timedelta(1)):
        scope = scope_of(lambda document, value=value: document.update(odd=[value]))
        found = outcome(scope, bson.encode({"_id": identity, "kept": 1}))
        assert isinstance(found, Refused)
        assert isinstance(found.error, UpgradeError)
        assert (found.error.document_id, found.error.version) == (identity, 1)
        assert str(identity) in str(found.error)


def raws(people: Collection[Raw]) -> list[bytes]:
    codec: Any = people.codec_options.with_options(document_class=RawBSONDocument)
    found: Any = people.with_options(codec_options=codec).find().sort("_id")
    return [bytes(document.raw) for document in found]


def send(people: Collection[Raw], commands: list[CompareAndSet]) -> Stored:
    statements = [encoded(command, CODEC) for command in commands]
    stored: Stored = PymongoDriver(people, people).carry_out(
        At("sweep", CompareAndSetMany(commands, encoded=statements))
    )
    return stored


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=strategies.documents(), after=strategies.documents())
def test_the_server_stores_the_change_byte_by_byte(people: Collection[Raw], before: Raw, after: Raw) -> None:
    people.delete_many({})
    raw = bson.encode({"_id": 1, **before}, codec_options=CODEC)
    people.insert_one(RawBSONDocument(raw))
    raw = raws(people)[0]  # the server gives a zero timestamp a time
    change = Change.between(bson.decode(raw, CODEC), bson.decode(bson.encode({"_id": 1, **after}), CODEC))
    expected = bson.decode(raw, CODEC)
    change.apply(expected)
    won = send(people, [CompareAndSet(raw, Unchanged(raw, plain=True), change)]).won
    assert won == (0 if change.empty else 1)
    assert raws(people)[0] == bson.encode(expected, codec_options=CODEC)


def test_text_that_the_codec_reads_and_cannot_write_stays_as_it_is(people: Collection[Raw]) -> None:
    codec = CODEC.with_options(unicode_decode_error_handler="surrogateescape")
    stored = bson.encode({"_id": 1, "text": "....", "n": 1}).replace(b"....", b"a\xff\xfeb")
    people.insert_one(RawBSONDocument(stored))
    decided = outcome(scope_of(lambda document: document.update(n=2) or None, codec=codec), raws(people)[0])
    assert isinstance(decided, Upgraded)
    assert send(people, [decided.command]).won == 1
    kept = stored.replace(b"\x10n\0\1", b"\x10n\0\2")[4:-1]
    assert raws(people)[0][4:].startswith(kept)


def race(people: Collection[Raw]) -> list[int]:
    """What a field holds after a sweep's statement met another's increment, which came after the read."""
    people.delete_many({})
    people.insert_many([{"_id": n, "name": "Bob", "visits": 1} for n in range(3)])
    scope = scope_of(lambda document: document.update(visits=document["visits"] * 10))
    decided = [outcome(scope, raw) for raw in raws(people)]
    people.update_one({"_id": 1}, {"$inc": {"visits": 1}})
    send(people, [result.command for result in decided if isinstance(result, Upgraded)])
    return [document["visits"] for document in people.find().sort("_id")]


def test_a_document_that_changed_after_the_read_is_left_alone(
    people: Collection[Raw], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert race(people) == [10, 2, 10]
    guarded = encoding.guarded

    def unguarded(identity: bytes, raw: bytes, wanted: bytes) -> bytes:
        made = bson.decode(guarded(identity, raw, wanted))
        choice = made["u"][0]["$replaceWith"]["$cond"]
        made["u"][0]["$replaceWith"] = choice[1]
        return bson.encode(made)

    monkeypatch.setattr(encoding, "guarded", unguarded)
    assert race(people) == [10, 10, 10], "without its guard a statement loses what others wrote"


def test_a_document_that_is_gone_does_not_come_back(people: Collection[Raw]) -> None:
    people.insert_one({"_id": 1, "n": 1})
    decided = outcome(scope_of(lambda document: document.update(n=2)), raws(people)[0])
    assert isinstance(decided, Upgraded)
    people.delete_one({})
    assert send(people, [decided.command]).won == 0
    assert raws(people) == []
