"""Random schedules of everybody who may be at work on one collection at a time, and eight mutants that they must catch.

Three lazy readers (a `find_one`, a batch of a cursor, and one with a projection whose result somebody tries to store), a
lazy `update_one`, a writer that knows nothing of versions, and a deleter. They meet on five documents: one that is
written to, one that is deleted, one ahead, one that cannot be upgraded, and one whose bytes are not what decoding and
encoding gives back.

More of them, and what was counted, by hand: `LAZYMIGRATE_SCHEDULES=20000 pytest -n 0 -s tests/test_schedules.py`.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cache
from itertools import cycle, product
from struct import Struct
from typing import Any

import bson
import pytest
from interleave import Process, World, every_order, random_orders
from pymongo.results import UpdateResult

from lazymigrate import PartialDocumentError, Policy, Schema, ops
from lazymigrate.change import CompareAndSet
from lazymigrate.commands import DeleteOne, Find, Procedure
from lazymigrate.documents import copy_value, same
from lazymigrate.drivers.memory import CODEC, MemoryCollection, MemoryDriver
from lazymigrate.elements import only
from lazymigrate.outcome import Ahead, Outcome, Refused, Upgraded, compare_and_set, outcome
from lazymigrate.procedures import reads, updates, writes
from lazymigrate.scope import Scope
from lazymigrate.splicing import spliced

SCHEDULES = int(os.environ.get("LAZYMIGRATE_SCHEDULES", "2000"))
ENOUGH = 120  # for a mutant: each of them shows in one schedule of eight, or in more

WRITTEN, DELETED, AHEAD, BROKEN, ODD = range(1, 6)
HEAD = 2
MADE = {"visits", "doubled"}
ODD_FIELDS = ("nan", "equal", "undefined")
WRITES = ("n", "likes")  # the chain uses the first one
BEFORE = {"n": 5, "likes": 0, "visits": 3}


def joined(*parts: bytes) -> bytes:
    """The elements of several documents, one after another."""
    body = b"".join(part[4:-1] for part in parts)
    return Struct("<i").pack(len(body) + 5) + body + b"\0"


def key(number: int) -> bytes:
    return bson.encode({"_id": number})


START = {
    key(WRITTEN): bson.encode({"_id": WRITTEN, "views": 3, "n": 5, "likes": 0}),
    key(DELETED): bson.encode({"_id": DELETED, "views": 7, "n": 1}),
    key(AHEAD): bson.encode({"_id": AHEAD, "schema_version": 9, "total": 4}),
    key(BROKEN): bson.encode({"_id": BROKEN, "views": 2}),  # without the "n" that the revision looks for
    key(ODD): joined(
        bson.encode({"_id": ODD, "views": 1, "n": 2, "nan": float("nan"), "equal": 1}),
        bson.encode({"equal": 2}),
        b"\0\0\0\0\x06undefined\0\0",
    ),
}


def tally(document: dict[str, Any]) -> None:
    document["visits"] = document.pop("views")
    document["doubled"] = document["n"] * 2


def whole_guarded() -> Schema:
    schema = Schema("people")
    schema.revision(HEAD)(tally)
    return schema


def fields_guarded() -> Schema:
    schema = Schema("people")
    schema.revision(HEAD, touches={"views", *MADE}, reads={"n"})(tally)
    return schema


def scope_for(schema: Schema) -> Scope:
    policy = Policy(write_back=True, on_error="skip", on_ahead="keep")
    return Scope(schema, schema.adapter, policy, "people", CODEC)


@dataclass
class Verdict:
    """What was counted: the first two are no faults."""

    schedules: int = 0
    refused: int = 0
    """Attempts to store a projected document that ended with a `PartialDocumentError`."""
    lost: int = 0
    """Schedules after which an acknowledged increment is not in the document."""
    missed: int = 0
    """Updates that found no match, although there was one all the time."""
    resurrected: int = 0
    """Schedules after which the deleted document is there."""
    hybrids: int = 0
    """Documents that were stored with a stamp and the fields of another version, or upgraded from what was not stored."""
    differing: int = 0
    """Documents that a reader returned and that were not stored like that."""
    touched_ahead: int = 0
    """Schedules after which a byte of the document ahead is another."""
    half_stored: int = 0
    """Schedules after which a byte of the document that cannot be upgraded is another."""
    left_behind: int = 0
    """Documents that were outdated when a reader with write-back had read them."""
    altered: int = 0
    """Schedules in which bytes that no revision touches became others by an upgrade."""
    first: tuple[int, list[int]] | None = None
    """The number and the order of the first schedule with a fault."""

    @property
    def faults(self) -> int:
        return sum(getattr(self, counter.name) for counter in fields(self)[2:-1])


@dataclass(frozen=True)
class Increment:
    """A command of the writer that knows nothing of versions."""

    field: str


@dataclass
class Witness:
    """A collection during one schedule: it sees every command, whatever is stored, and what the readers return."""

    schema: Schema
    driver: type[MemoryDriver]
    verdict: Verdict
    states: dict[bytes, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    acknowledged: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.collection = MemoryCollection("people")
        self.stored = self.collection.stored
        self.stored.update(START)
        self.carrier = self.driver(self.collection)
        self.faults = self.verdict.faults
        for identity, raw in START.items():
            self.states[identity].append(raw)

    def carry(self, command: Any) -> Any:
        """Carry a command out, and look at what it stored."""
        if isinstance(command, Increment):
            document = self.decode(self.stored[key(WRITTEN)])
            result = self.collection.put({**document, command.field: document.get(command.field, 0) + 1})
            self.acknowledged[command.field] += 1
        else:
            result = self.carrier.carry_out(command)
        for identity, raw in self.stored.items():
            states = self.states[identity]
            if raw != states[-1]:
                self.verdict.hybrids += self.is_hybrid(states[-1], raw)
                states.append(raw)
        return result

    def is_hybrid(self, before: bytes, after: bytes) -> bool:
        """Whether a document has the stamp of one version and fields of another, or was made from other values."""
        document = self.decode(after)
        made = MADE & document.keys()
        if "schema_version" not in document:
            return bool(made)
        if document["schema_version"] == HEAD and (made != MADE or "views" in document):
            return True
        old = self.decode(before)
        return "schema_version" not in old and not same(document, self.schema.upgrade(old))

    def returned(self, document: dict[str, Any], states: list[bytes] | None = None) -> None:
        """A reader gives a document: as it is stored now, or as one of these states; if it is gone, upgraded unstored."""
        identity = key(document["_id"])
        there = identity in self.stored
        if states is None:
            states = self.states[identity][-1:]
        accepted = [self.decode(raw) for raw in states]
        if not there:
            accepted += [self.schema.upgrade(old) for old in accepted]
        self.verdict.differing += not any(same(self.used(document), self.used(other)) for other in accepted)

    def returned_batch(self, documents: list[dict[str, Any]]) -> None:
        """A cursor gives a batch: each document as it was stored at some time; none is left outdated or altered."""
        for document in documents:
            self.returned(document, self.states[key(document["_id"])])
        missing = {WRITTEN, AHEAD, ODD} - {document["_id"] for document in documents}
        self.verdict.differing += len(missing)
        upgraded = [self.decode(self.stored[key(one)]) for one in (WRITTEN, DELETED, ODD) if key(one) in self.stored]
        self.verdict.left_behind += sum(document.get("schema_version") != HEAD for document in upgraded)

    def returned_part(self, part: dict[str, Any], names: list[str]) -> None:
        """A reader with a projection gives that part of what is stored, as it is at head."""
        document = self.schema.upgrade(self.decode(self.stored[key(part["_id"])]))
        expected = {name: value for name, value in document.items() if name in ("_id", *names)}
        self.verdict.differing += not same(dict(part), expected)

    def updated(self, result: UpdateResult) -> None:
        """An update of the document that is there all the time is acknowledged."""
        self.acknowledged["visits"] += result.matched_count
        self.verdict.missed += not result.matched_count

    def close(self, order: list[int]) -> None:
        """Look at what is left when everybody is done."""
        verdict = self.verdict
        written = self.decode(self.stored[key(WRITTEN)])
        verdict.schedules += 1
        verdict.lost += any(written.get(name) != value + self.acknowledged[name] for name, value in BEFORE.items())
        verdict.resurrected += key(DELETED) in self.stored
        verdict.touched_ahead += self.stored[key(AHEAD)] != START[key(AHEAD)]
        verdict.half_stored += self.stored[key(BROKEN)] != START[key(BROKEN)]
        verdict.altered += only(self.stored[key(ODD)], ODD_FIELDS) != only(START[key(ODD)], ODD_FIELDS)
        if verdict.first is None and verdict.faults > self.faults:
            verdict.first = (verdict.schedules, order)

    def used(self, document: dict[str, Any]) -> dict[str, Any]:
        """The fields of a document that the chain uses."""
        names = self.schema.chain(1, HEAD).fields
        return {
            name: value
            for name, value in document.items()
            if names is None or name in names or name == "schema_version"
        }

    def decode(self, raw: bytes) -> dict[str, Any]:
        return bson.decode(raw, CODEC)


def finder(scope: Scope, witness: Witness) -> Procedure[None]:
    """Some documents, one after another."""
    for number in (WRITTEN, DELETED, AHEAD):
        document = yield from reads.find_one(scope, Find({"_id": number}, limit=1), {}, stores=True)
        if document is not None:
            witness.returned(document)


def cursor(scope: Scope, witness: Witness) -> Procedure[None]:
    """All documents, in one batch."""
    raws = yield Find({})
    found = yield from reads.read_batch(scope, [scope.decode(raw) for raw in raws], {}, stores=True)
    witness.returned_batch(list(found))


def projector(scope: Scope, witness: Witness) -> Procedure[None]:
    """A projection, and an attempt to store what it gave."""
    names = ["visits"]
    projected = scope.projected(names)
    assert projected.fetch is not None
    asked = projected.fetch.projection
    raws = yield Find({"_id": WRITTEN})
    documents = [scope.decode(raw if asked is None else only(raw, asked)) for raw in raws]
    (part,) = yield from reads.read_batch(projected, documents, {}, stores=True)
    witness.returned_part(part, names)
    try:
        yield from writes.replace_one(scope, {"_id": WRITTEN}, part, upsert=False, options={})
    except PartialDocumentError:
        witness.verdict.refused += 1


def updater(scope: Scope, witness: Witness) -> Procedure[None]:
    """An increment that is written for the newest shape."""
    increment = {"$inc": {"visits": 1}}
    witness.updated((yield from updates.update_one(scope, {"_id": WRITTEN}, increment, upsert=False, options={})))


def writer() -> Procedure[None]:
    for name in WRITES:
        yield Increment(name)  # type: ignore[misc]


def deleter() -> Procedure[None]:
    yield DeleteOne({"_id": DELETED})


def judge(count: int, driver: type[MemoryDriver] = MemoryDriver, seed: int = 1) -> Verdict:
    """Run everybody in so many random orders and count what must never happen.

    In turn with guards on whole documents and on fields, and on one collection object and on several.
    """
    verdict = Verdict()
    setups = cycle(product((whole_guarded(), fields_guarded()), (True, False)))
    witness: Witness

    def build() -> World:
        nonlocal witness
        schema, together = next(setups)
        witness = Witness(schema, driver, verdict)
        one, two, three, four = [scope_for(schema)] * 4 if together else [scope_for(schema) for _ in range(4)]
        procedures = [
            finder(one, witness),
            cursor(two, witness),
            projector(three, witness),
            updater(four, witness),
            writer(),
            deleter(),
        ]
        return World([Process(procedure) for procedure in procedures], witness.carry)

    for world in random_orders(build, count, seed):
        witness.close(world.schedule)
    return verdict


class BlindReplace(MemoryDriver):
    """`replace_one({"_id": ...}, upgraded)`: what everybody writes first."""

    def compare_and_set(self, command: CompareAndSet) -> int:
        if command.identity not in self.collection.stored:
            return 0
        document = bson.decode(command.raw, CODEC)
        command.change.apply(document)
        self.collection.put(document)
        return 1


class VersionOnlyGuard(BlindReplace):
    """`replace_one({"_id": ..., "schema_version": 1}, upgraded)`: what everybody writes next."""

    def compare_and_set(self, command: CompareAndSet) -> int:
        current = self.collection.stored.get(command.identity)
        if current is None or only(current, ("schema_version",)) != only(command.raw, ("schema_version",)):
            return 0
        return super().compare_and_set(command)


class UpsertOnWriteBack(MemoryDriver):
    """The guarded update with `upsert=True`, so that the upgraded document is stored in any case."""

    def compare_and_set(self, command: CompareAndSet) -> int:
        if command.identity in self.collection.stored:
            return super().compare_and_set(command)
        document = bson.decode(command.raw, CODEC)
        command.change.apply(document)
        self.collection.put(document)
        return 1


class DecodedCompare(MemoryDriver):
    """The document as it was read and the stored one, both decoded, and `==`."""

    def compare_and_set(self, command: CompareAndSet) -> int:
        raw = self.collection.stored.get(command.identity)
        if raw is None or bson.decode(raw, CODEC) != bson.decode(command.raw, CODEC):
            return 0
        self.collection.stored[command.identity] = spliced(raw, command.change)
        return 1


def accept_partial(name: str, document: object) -> None:
    """A projected document is a dict like any other."""


def stamp_after_exception(scope: Scope, raw: bytes) -> Outcome:
    """`try: upgrade(document)`, `except Exception: log`, and the stamp behind both."""
    decided = outcome(scope, raw)
    if not isinstance(decided, Refused):
        return decided
    stored = scope.decode(raw)
    document = copy_value(stored)
    with suppress(KeyError):
        tally(document)
    return stored_as(scope, raw, stored, document)


def relabel_ahead(scope: Scope, raw: bytes) -> Outcome:
    """What is not outdated is at head, and what is at head gets its stamp."""
    decided = outcome(scope, raw)
    if not isinstance(decided, Ahead):
        return decided
    return stored_as(scope, raw, decided.document, copy_value(decided.document))


def stored_as(scope: Scope, raw: bytes, stored: dict[str, Any], document: dict[str, Any]) -> Upgraded:
    document["schema_version"] = HEAD
    return Upgraded(document, stored, compare_and_set(scope, raw, stored, document, HEAD, whole=True))


def filter_as_written(scope: Scope, filter: dict[str, Any]) -> dict[str, Any]:
    """The update goes to whatever the filter matches."""
    return dict(filter)


Patch = tuple[Any, str, Any]


@dataclass(frozen=True)
class Mutant:
    """A usual way to do it, and the fault that it must show."""

    name: str
    fault: str
    driver: type[MemoryDriver] = MemoryDriver
    patches: tuple[Patch, ...] = ()


@cache
def judged(mutant: Mutant) -> Verdict:
    with pytest.MonkeyPatch.context() as patched:
        for module, name, value in mutant.patches:
            patched.setattr(module, name, value)
        return judge(ENOUGH, mutant.driver)


def outcomes(changed: Any) -> tuple[Patch, ...]:
    return tuple((module, "outcome", changed) for module in (reads, updates, writes))


MUTANTS = (
    Mutant("blind replace", "lost", BlindReplace),
    Mutant("version-only guard", "lost", VersionOnlyGuard),
    Mutant("upsert on write-back", "resurrected", UpsertOnWriteBack),
    Mutant("decoded compare", "left_behind", DecodedCompare),
    Mutant("projection saved", "lost", patches=((writes, "refuse_partial", accept_partial),)),
    Mutant("stamp after exception", "half_stored", patches=outcomes(stamp_after_exception)),
    Mutant("relabel ahead", "touched_ahead", patches=outcomes(relabel_ahead)),
    Mutant("unguarded update_one", "hybrids", patches=((updates, "current", filter_as_written),)),
)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The document that cannot be upgraded is worth a line of the log in each schedule."""
    with caplog.at_level(logging.ERROR, logger="lazymigrate"):
        yield


def test_no_schedule_loses_revives_mixes_or_touches_anything() -> None:
    verdict = judge(SCHEDULES)
    print(verdict)  # noqa: T201 (for those who count more of them by hand)
    assert verdict.faults == 0, verdict
    assert verdict.schedules == verdict.refused == SCHEDULES


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_schedules_catch_the_usual_ways(mutant: Mutant) -> None:
    assert getattr(judged(mutant), mutant.fault) > 0


def test_all_of_the_usual_ways_are_caught() -> None:
    killed = 0
    for mutant in MUTANTS:
        verdict = judged(mutant)
        print(f"{mutant.name}: {verdict}")  # noqa: T201 (as above)
        killed += getattr(verdict, mutant.fault) > 0
    print(f"mutants killed {killed}/{len(MUTANTS)}")  # noqa: T201 (as above)
    assert killed == len(MUTANTS) == 8


@pytest.mark.parametrize("method", ["update_one", "find_one_and_update", "find_one_and_replace", "find_one_and_delete"])
@pytest.mark.parametrize("upsert", [False, True])
def test_no_order_lets_a_write_miss_a_document_that_a_reader_brings_to_head(method: str, upsert: bool) -> None:
    schema = Schema("people")
    schema.revision(2, ops.rename("views", "visits"))
    collection = MemoryCollection("people")
    driver = MemoryDriver(collection)
    missed = counted = 0

    def write() -> Procedure[Any]:
        scope = Scope(schema, None, Policy(), "people", CODEC)
        match method:
            case "update_one":
                change = {"$inc": {"visits": 1}}
                return updates.update_one(scope, {"_id": 1}, change, upsert=upsert, options={})
            case "find_one_and_update":
                change = {"$inc": {"visits": 1}}
                return updates.find_one_and_update(scope, {"_id": 1}, change, upsert=upsert, after=True, options={})
            case "find_one_and_replace":
                new = {"visits": 9}
                return updates.find_one_and_replace(scope, {"_id": 1}, new, upsert=upsert, after=False, options={})
            case _:
                return updates.find_one_and_delete(scope, {"_id": 1}, {})

    def judge(result: Any) -> None:
        nonlocal missed
        missed += result is None or getattr(result, "matched_count", 1) != 1

    def build() -> World:
        collection.stored.clear()
        collection.put({"_id": 1, "views": 3})
        storing = Scope(schema, None, Policy(write_back=True), "people", CODEC)
        reader = reads.find_one(storing, Find({"_id": 1}, limit=1), {}, stores=True)
        return World([Process(write(), judge), Process(reader)], driver.carry_out)

    for _world in every_order(build):
        counted += 1
    assert counted > 10
    assert missed == 0
