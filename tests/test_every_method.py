"""Every method on a document of every age: what it gives, and what is stored afterwards.

docs/methods.md is made of these cases: `python tests/test_every_method.py` writes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pydantic import BaseModel, Field
from pymongo.collection import Collection
from schemas import declared

from lazymigrate import AheadError, CoverageError, LazyCollection, PartialDocument, Policy, Schema

PAGE = Path(__file__).parent.parent / "docs" / "methods.md"
Document = dict[str, Any]

OUTDATED: Document = {"_id": 1, "name": "Ada", "mail": "a@x", "kept": {"x": 1}, "schema_version": 1}
UPGRADED: Document = {
    "_id": 1, "kept": {"x": 1}, "full_name": "Ada", "email": "a@x", "active": True, "schema_version": 3,
}  # fmt: skip
AT_HEAD: Document = {**UPGRADED, "active": False}
LOWERED: Document = {"_id": 1, "kept": {"x": 1}, "name": "Ada", "mail": "a@x", "schema_version": 1}
AHEAD: Document = {"_id": 1, "full_name": "Ada", "email": "a@x", "active": True, "more": [1], "schema_version": 4}
REPLACEMENT: Document = {"full_name": "Grace", "email": "g@x", "active": True}
REPLACED: Document = {"_id": 1, **REPLACEMENT, "schema_version": 3}
CHANGE = {"$set": {"email": "new@x"}, "$inc": {"visits": 1}}
CHANGED = {"email": "new@x", "visits": 1}
AGES = {"outdated": OUTDATED, "at_head": AT_HEAD, "ahead": AHEAD, "ahead_kept": AHEAD}
SAME: Any = object()


@dataclass(frozen=True)
class Cell:
    """A sentence of the table, and what proves it: what the method gives or raises, and what is stored then."""

    says: str
    gives: Any = None
    stored: Document | None = SAME
    raises: type[Exception] | None = None


@dataclass(frozen=True)
class Row:
    """A method, how it is called here, and its four cells.

    `given`: the document of that age is not stored before, but handed to the call.
    """

    method: str
    call: Callable[..., Any]
    outdated: Cell
    at_head: Cell
    ahead: Cell
    ahead_kept: Cell
    variant: str = ""
    given: bool = False
    typed: bool = False
    policy: Document = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.method} {self.variant}".strip()


def refused(says: str = "`AheadError`; nothing is written") -> Cell:
    return Cell(says, raises=AheadError)


def not_matched(gives: Any) -> Cell:
    return Cell("not matched", gives)


def save(people: LazyCollection[Any]) -> Any:
    """A model that was loaded, whatever the policy says of documents ahead, and changed."""
    person = people.with_options(policy=Policy(on_ahead="keep")).find_one(1)
    person.email = "new@x"
    people.save(person)


def watch(people: LazyCollection[Any], document: Document) -> Any:
    """The document in the event of its own insert."""
    with people.watch(max_await_time_ms=50) as stream:
        people.raw.insert_one(document)
        for _ in range(200):
            event = stream.try_next()
            if event is not None:
                return event["fullDocument"]
    raise AssertionError("no event")


def sweep(people: LazyCollection[Any]) -> Any:
    report = people.sweep()
    return report.upgraded, report.remaining, report.complete


def run_partition(people: LazyCollection[Any]) -> Any:
    report = people.run_partition(people.partitions(1)[0])
    return report.upgraded, report.remaining, report.complete


def sweeper(people: LazyCollection[Any]) -> Any:
    with people.sweeper(every=0.01) as running:
        while running.report is None:
            assert running.running, running.error
    return running.report.complete


def coverage(people: LazyCollection[Any]) -> Any:
    counted = people.coverage()
    return counted.outdated, counted.at_head, counted.ahead


def verify(people: LazyCollection[Any]) -> Any:
    report = people.verify()
    return report.sampled, report.agrees


def drift(people: LazyCollection[Any]) -> Any:
    found = people.drift()
    return found.sampled, found.unknown


def viewed(people: LazyCollection[Any]) -> Any:
    people.create_view("view")
    return people.raw.database["view"].find_one(1)


def listed(cursor: Any) -> list[Any]:
    found = list(cursor)
    cursor.close()
    return found


ONE = {"_id": 1}
READS = {"raises": AheadError}
PROJECTION = {"email": 1, "active": 1}

ROWS = (
    Row(
        "find_one",
        lambda people: people.find_one(ONE),
        outdated=Cell("comes back upgraded; nothing is stored", UPGRADED),
        at_head=Cell("comes back as stored", AT_HEAD),
        ahead=Cell("`AheadError`", raises=AheadError),
        ahead_kept=Cell("comes back as stored, with its stamp", AHEAD),
    ),
    Row(
        "find_one",
        lambda people: people.find_one(ONE),
        variant="under `Policy(write_back=True)`",
        policy={"write_back": True},
        outdated=Cell("comes back upgraded, and is stored so", UPGRADED, UPGRADED),
        at_head=Cell("comes back as stored", AT_HEAD),
        ahead=Cell("`AheadError`; never written back", raises=AheadError),
        ahead_kept=Cell("comes back as stored; never written back", AHEAD),
    ),
    Row(
        "find",
        lambda people: list(people.find(ONE)),
        outdated=Cell("comes back upgraded; nothing is stored", [UPGRADED]),
        at_head=Cell("comes back as stored", [AT_HEAD]),
        ahead=Cell("`AheadError` when the cursor gets there", raises=AheadError),
        ahead_kept=Cell("comes back as stored, with its stamp", [AHEAD]),
    ),
    Row(
        "find",
        lambda people: list(people.find(ONE)),
        variant="under `Policy(write_back=True)`",
        policy={"write_back": True},
        outdated=Cell("comes back upgraded, and is stored so, a batch at a time", [UPGRADED], UPGRADED),
        at_head=Cell("comes back as stored", [AT_HEAD]),
        ahead=Cell("`AheadError`; never written back", raises=AheadError),
        ahead_kept=Cell("comes back as stored; never written back", [AHEAD]),
    ),
    Row(
        "find",
        lambda people: list(people.find(ONE, projection=PROJECTION)),
        variant="with `projection=`",
        policy={"write_back": True},
        outdated=Cell(
            "upgraded, then trimmed to what was asked; never written back",
            [PartialDocument({"_id": 1, "email": "a@x", "active": True})],
        ),
        at_head=Cell("trimmed to what was asked", [PartialDocument({"_id": 1, "email": "a@x", "active": False})]),
        ahead=Cell("`AheadError` when the cursor gets there", raises=AheadError),
        ahead_kept=Cell(
            "trimmed to the fields of these names", [PartialDocument({"_id": 1, "email": "a@x", "active": True})]
        ),
    ),
    Row(
        "insert_one",
        lambda people, document: people.insert_one(document).inserted_id,
        given=True,
        outdated=Cell("stamped older: upgraded first, stored at head", 1, UPGRADED),
        at_head=Cell("stored as given; without a stamp: stamped", 1, AT_HEAD),
        ahead=refused(),
        ahead_kept=refused(),
    ),
    Row(
        "insert_many",
        lambda people, document: people.insert_many([document, {**REPLACEMENT, "_id": 2}]).inserted_ids,
        given=True,
        outdated=Cell("stamped older: upgraded first, stored at head", [1, 2], UPGRADED),
        at_head=Cell("stored as given; without a stamp: stamped", [1, 2], AT_HEAD),
        ahead=refused("`AheadError`; none of them is inserted"),
        ahead_kept=refused("`AheadError`; none of them is inserted"),
    ),
    Row(
        "replace_one",
        lambda people: people.replace_one(ONE, REPLACEMENT).matched_count,
        outdated=Cell("replaced by a document at head", 1, REPLACED),
        at_head=Cell("replaced by a document at head", 1, REPLACED),
        ahead=refused(),
        ahead_kept=not_matched(0),
    ),
    Row(
        "save",
        save,
        typed=True,
        outdated=Cell("upgraded and changed in one compare-and-set", None, {**UPGRADED, "email": "new@x"}),
        at_head=Cell("only what was changed is written, guarded by the version", None, {**AT_HEAD, "email": "new@x"}),
        ahead=refused(),
        ahead_kept=refused(),
    ),
    Row(
        "delete_one",
        lambda people: people.delete_one(ONE).deleted_count,
        outdated=Cell("deleted", 1, None),
        at_head=Cell("deleted", 1, None),
        ahead=refused("`AheadError` when nothing else matches; nothing is deleted"),
        ahead_kept=not_matched(0),
    ),
    Row(
        "delete_many",
        lambda people: people.delete_many(ONE).deleted_count,
        outdated=Cell("deleted", 1, None),
        at_head=Cell("deleted", 1, None),
        ahead=refused("`AheadError` when one of them is ahead; nothing is deleted"),
        ahead_kept=not_matched(0),
    ),
    Row(
        "count_documents",
        lambda people: people.count_documents({**ONE, "email": {"$exists": True}}),
        outdated=Cell("counted, if it matches once it is upgraded", 1),
        at_head=Cell("counted", 1),
        ahead=Cell("counted", 1),
        ahead_kept=Cell("counted", 1),
    ),
    Row(
        "estimated_document_count",
        lambda people: people.estimated_document_count(),
        outdated=Cell("counted", 1),
        at_head=Cell("counted", 1),
        ahead=Cell("counted", 1),
        ahead_kept=Cell("counted", 1),
    ),
    Row(
        "update_one",
        lambda people: people.update_one(ONE, CHANGE).matched_count,
        outdated=Cell("brought to head by compare-and-set, then updated", 1, {**UPGRADED, **CHANGED}),
        at_head=Cell("updated", 1, {**AT_HEAD, **CHANGED}),
        ahead=refused("`AheadError` when nothing else matches; nothing is written"),
        ahead_kept=not_matched(0),
    ),
    Row(
        "update_one",
        lambda people: people.update_one(ONE, [{"$set": {"both": ["$full_name", "$email"]}}]).matched_count,
        variant="by a pipeline",
        outdated=Cell("brought to head first: the pipeline sees head", 1, {**UPGRADED, "both": ["Ada", "a@x"]}),
        at_head=Cell("updated, and stays stamped", 1, {**AT_HEAD, "both": ["Ada", "a@x"]}),
        ahead=refused("`AheadError` when nothing else matches; nothing is written"),
        ahead_kept=not_matched(0),
    ),
    Row(
        "update_many",
        lambda people: people.update_many(ONE, CHANGE).matched_count,
        outdated=Cell("all are brought to head, then updated", 1, {**UPGRADED, **CHANGED}),
        at_head=Cell("updated", 1, {**AT_HEAD, **CHANGED}),
        ahead=refused("`AheadError` when one of them is ahead; nothing is written"),
        ahead_kept=not_matched(0),
    ),
    Row(
        "find_one_and_update",
        lambda people: people.find_one_and_update(ONE, CHANGE),
        outdated=Cell(
            "brought to head, then updated; given at head, before or after", UPGRADED, {**UPGRADED, **CHANGED}
        ),
        at_head=Cell("updated and given", AT_HEAD, {**AT_HEAD, **CHANGED}),
        ahead=refused("`AheadError` when nothing else matches; nothing is written"),
        ahead_kept=not_matched(None),
    ),
    Row(
        "find_one_and_replace",
        lambda people: people.find_one_and_replace(ONE, REPLACEMENT),
        outdated=Cell("given at head, and replaced by a document at head", UPGRADED, REPLACED),
        at_head=Cell("given, and replaced by a document at head", AT_HEAD, REPLACED),
        ahead=refused("`AheadError` when nothing else matches; nothing is written"),
        ahead_kept=not_matched(None),
    ),
    Row(
        "find_one_and_delete",
        lambda people: people.find_one_and_delete(ONE),
        outdated=Cell("deleted, and given at head", UPGRADED, None),
        at_head=Cell("deleted and given", AT_HEAD, None),
        ahead=refused("`AheadError` when nothing else matches; nothing is deleted"),
        ahead_kept=not_matched(None),
    ),
    Row(
        "bulk_write",
        lambda people, document: people.bulk_write([pymongo.InsertOne(document)]).inserted_count,
        variant="of `InsertOne`",
        given=True,
        outdated=Cell("stamped older: upgraded first, stored at head", 1, UPGRADED),
        at_head=Cell("stored as given; without a stamp: stamped", 1, AT_HEAD),
        ahead=refused("`AheadError`; nothing of the bulk is written"),
        ahead_kept=refused("`AheadError`; nothing of the bulk is written"),
    ),
    Row(
        "bulk_write",
        lambda people: people.bulk_write([pymongo.UpdateOne(ONE, CHANGE)]).matched_count,
        variant="of `UpdateOne`",
        outdated=Cell("brought to head before the bulk is sent, then updated", 1, {**UPGRADED, **CHANGED}),
        at_head=Cell("updated", 1, {**AT_HEAD, **CHANGED}),
        ahead=refused("`AheadError`; nothing of the bulk is written"),
        ahead_kept=not_matched(0),
    ),
    Row(
        "bulk_write",
        lambda people: people.bulk_write([pymongo.UpdateMany(ONE, CHANGE)]).matched_count,
        variant="of `UpdateMany`",
        outdated=Cell("all are brought to head before the bulk is sent, then updated", 1, {**UPGRADED, **CHANGED}),
        at_head=Cell("updated", 1, {**AT_HEAD, **CHANGED}),
        ahead=refused("`AheadError`; nothing of the bulk is written"),
        ahead_kept=not_matched(0),
    ),
    Row(
        "bulk_write",
        lambda people: people.bulk_write([pymongo.ReplaceOne(ONE, REPLACEMENT)]).matched_count,
        variant="of `ReplaceOne`",
        outdated=Cell("replaced by a document at head", 1, REPLACED),
        at_head=Cell("replaced by a document at head", 1, REPLACED),
        ahead=refused("`AheadError`; nothing of the bulk is written"),
        ahead_kept=not_matched(0),
    ),
    Row(
        "bulk_write",
        lambda people: people.bulk_write([pymongo.DeleteOne(ONE), pymongo.DeleteMany(ONE)]).deleted_count,
        variant="of `DeleteOne`, `DeleteMany`",
        outdated=Cell("deleted", 1, None),
        at_head=Cell("deleted", 1, None),
        ahead=refused("`AheadError`; nothing of the bulk is written"),
        ahead_kept=not_matched(0),
    ),
    Row(
        "aggregate",
        lambda people: listed(people.aggregate([{"$match": ONE}])),
        outdated=Cell("as stored", [OUTDATED]),
        at_head=Cell("as stored", [AT_HEAD]),
        ahead=Cell("as stored", [AHEAD]),
        ahead_kept=Cell("as stored", [AHEAD]),
    ),
    Row(
        "aggregate",
        lambda people: listed(people.aggregate([{"$match": {"email": "a@x"}}], upgrade=True)),
        variant="with `upgrade=True`",
        outdated=Cell("the pipeline sees it upgraded; nothing is stored", [UPGRADED]),
        at_head=Cell("as stored", [AT_HEAD]),
        ahead=Cell("as stored, with its stamp", [AHEAD]),
        ahead_kept=Cell("as stored, with its stamp", [AHEAD]),
    ),
    Row(
        "distinct",
        lambda people: people.distinct("email"),
        outdated=Cell("the value that it has at head; nothing is stored", ["a@x"]),
        at_head=Cell("its value", ["a@x"]),
        ahead=Cell("its value as stored", ["a@x"]),
        ahead_kept=Cell("its value as stored", ["a@x"]),
    ),
    Row(
        "watch",
        watch,
        given=True,
        outdated=Cell(
            "`fullDocument` and `fullDocumentBeforeChange` come upgraded; nothing is stored", UPGRADED, OUTDATED
        ),
        at_head=Cell("the event as the server gives it", AT_HEAD, AT_HEAD),
        ahead=Cell("as stored, and a warning is logged; the stream goes on", AHEAD, AHEAD),
        ahead_kept=Cell("as stored", AHEAD, AHEAD),
    ),
    Row(
        "coverage",
        coverage,
        outdated=Cell("counted as `outdated`, under its version", (1, 0, 0)),
        at_head=Cell("counted as `at_head`", (0, 1, 0)),
        ahead=Cell("counted as `ahead`", (0, 0, 1)),
        ahead_kept=Cell("counted as `ahead`", (0, 0, 1)),
    ),
    Row(
        "sweep",
        sweep,
        outdated=Cell("upgraded by compare-and-set, or inside MongoDB", (1, 0, True), UPGRADED),
        at_head=Cell("left alone", (0, 0, True)),
        ahead=Cell("left alone; the sweep is complete", (0, 0, True)),
        ahead_kept=Cell("left alone; the sweep is complete", (0, 0, True)),
    ),
    Row(
        "run_partition",
        run_partition,
        outdated=Cell("upgraded, if its `_id` is in the partition", (1, 0, True), UPGRADED),
        at_head=Cell("left alone", (0, 0, True)),
        ahead=Cell("left alone", (0, 0, True)),
        ahead_kept=Cell("left alone", (0, 0, True)),
    ),
    Row(
        "sweeper",
        sweeper,
        outdated=Cell("upgraded in the background", True, UPGRADED),
        at_head=Cell("left alone", True),
        ahead=Cell("left alone", True),
        ahead_kept=Cell("left alone", True),
    ),
    Row(
        "downgrade",
        lambda people: people.downgrade(1, accept_losses=True).upgraded,
        outdated=Cell("brought back, if it is above the target", 0),
        at_head=Cell("brought back; with a loss only where that is accepted", 1, LOWERED),
        ahead=Cell("left alone", 0),
        ahead_kept=Cell("left alone", 0),
    ),
    Row(
        "quarantine",
        lambda people: people.quarantine.retry().upgraded,
        variant="and its `retry`",
        outdated=Cell("upgraded, if it is listed", 0),
        at_head=Cell("left alone", 0),
        ahead=Cell("left alone", 0),
        ahead_kept=Cell("left alone", 0),
    ),
    Row(
        "verify",
        verify,
        outdated=Cell("upgraded in Python and inside MongoDB, and compared; nothing is written", (1, True)),
        at_head=Cell("not looked at", (0, True)),
        ahead=Cell("not looked at", (0, True)),
        ahead_kept=Cell("not looked at", (0, True)),
    ),
    Row(
        "require",
        lambda people: people.require(3).outdated,
        variant="of head",
        outdated=Cell("`CoverageError`", raises=CoverageError),
        at_head=Cell("lets pass", 0),
        ahead=Cell("lets pass", 0),
        ahead_kept=Cell("lets pass", 0),
    ),
    Row(
        "drift",
        drift,
        outdated=Cell("looked at, if it is in the sample; nothing is written", (1, {})),
        at_head=Cell("looked at, if it is in the sample", (1, {})),
        ahead=Cell("counted as `unknown`", (0, {4: 1})),
        ahead_kept=Cell("counted as `unknown`", (0, {4: 1})),
    ),
    Row(
        "stamp",
        lambda people: people.stamp(2, from_version=1).documents,
        variant="of its version",
        outdated=Cell("its stamp is changed, and nothing else", 1, {**OUTDATED, "schema_version": 2}),
        at_head=Cell("left alone, if it is at another version", 0),
        ahead=Cell("left alone", 0),
        ahead_kept=Cell("left alone", 0),
    ),
    Row(
        "create_view",
        viewed,
        outdated=Cell("the view shows it upgraded", UPGRADED),
        at_head=Cell("the view shows it", AT_HEAD),
        ahead=Cell("the view shows it as stored", AHEAD),
        ahead_kept=Cell("the view shows it as stored", AHEAD),
    ),
)

TOUCH_NO_DOCUMENTS = {
    "with_options",
    "partitions",
    "create_backlog_index",
    "runs",
    "deploy",
    "retire",
    "journal",
    "history",
    "overview",
    "doctor",
    "explain",
    "pipeline_view",
}
"""Methods that give or change no document: they count, explain, or concern the journal and the indexes."""
CASES = [pytest.param(row, age, id=f"{row.name}-{age}".replace(" ", "_")) for row in ROWS for age in AGES]


def shape(schema: Schema, row: Row) -> Any:
    """The schema, or a model for it."""
    if not row.typed:
        return schema

    class Person(BaseModel):
        id: int = Field(alias="_id")
        full_name: str
        email: str
        active: bool

    return schema.model(Person)


@pytest.mark.parametrize(("row", "age"), CASES)
def test_what_a_method_does_with_a_document_of_an_age(row: Row, age: str, people: Collection[Document]) -> None:
    cell: Cell = getattr(row, age)
    document = dict(AGES[age])
    policy = Policy(on_ahead="keep" if age == "ahead_kept" else "raise", **row.policy)
    lazy = LazyCollection(people, shape(declared(), row), policy)
    if not row.given:
        people.insert_one(document)
    arguments = (dict(document),) if row.given else ()
    before = None if row.given else document
    if cell.raises is not None:
        with pytest.raises(cell.raises):
            row.call(lazy, *arguments)
    else:
        result = row.call(lazy, *arguments)
        assert result == cell.gives
        if isinstance(cell.gives, list):
            assert [type(item) for item in result] == [type(item) for item in cell.gives]
    assert people.find_one(ONE) == (before if cell.stored is SAME else cell.stored)
    if cell.raises is not None:
        assert people.count_documents({}) == (0 if row.given else 1)


def test_a_warning_is_logged_for_a_change_of_a_document_ahead_unless_it_is_kept(
    people: Collection[Document], caplog: pytest.LogCaptureFixture
) -> None:
    for on_ahead, said in (("keep", 0), ("raise", 1)):
        watch(LazyCollection(people, declared(), Policy(on_ahead=on_ahead)), dict(AHEAD))
        assert len(caplog.records) == said
        people.delete_many({})


def public_methods(thing: type[Any]) -> set[str]:
    return {name for name, _ in inspect.getmembers(thing, inspect.isfunction) if not name.startswith("_")}


def test_every_method_has_a_row_and_no_cell_is_empty() -> None:
    assert {row.method for row in ROWS} == public_methods(LazyCollection) - TOUCH_NO_DOCUMENTS | {"quarantine"}
    assert [row.name for row in ROWS if not all(getattr(row, age).says.strip() for age in AGES)] == []
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_the_page_says_what_was_tested() -> None:
    assert PAGE.read_text("utf-8") == page(), "write it again: python tests/test_every_method.py"


def page() -> str:
    return "\n".join([*introduction(), *table(), *unwrapped()])


def introduction() -> Iterator[str]:
    yield "# Method by method"
    yield ""
    yield "What each method of a `LazyCollection` does with one document, by the age of that document: *outdated* is below the"
    yield "newest version that the schema knows, *at head* is at it, *ahead* was written by newer code. `AsyncLazyCollection` has the"
    yield "same methods, awaited."
    yield ""
    yield f"Each of the {len(ROWS) * len(AGES)} cells is a test that calls the method on such a document and looks at the result and at what is stored"
    yield "afterwards; this page is written from these tests, `tests/test_every_method.py`, and a method without a row fails them."
    yield "Two rules hold everywhere. What is stored is at head, or as it was before: never between. And a document ahead is"
    yield "never written, replaced or deleted: where the table says *not matched*, the method did its work as if that document"
    yield "were not there. A document that cannot be upgraded is an `UpgradeError` of the methods that would upgrade it (under"
    yield '`Policy(on_error="skip")` or `"quarantine"`, reads leave it out).'
    yield "Filters and sorts are written for the newest shape and are exact over all versions: [queries.md](queries.md)."
    yield ""
    others = ", ".join(f"`{name}`" for name in sorted(TOUCH_NO_DOCUMENTS))
    yield f"These give and change no documents: {others}."
    yield ""


def table() -> Iterator[str]:
    yield '| method | outdated | at head | ahead | ahead, under `Policy(on_ahead="keep")` |'
    yield "|---|---|---|---|---|"
    for row in ROWS:
        cells = [f"`{row.method}` {row.variant}".strip(), *(getattr(row, age).says for age in AGES)]
        yield f"| {' | '.join(cells)} |"
    yield ""


def unwrapped() -> Iterator[str]:
    names = [name for name in dir(Collection) if not name.startswith("_") and not hasattr(LazyCollection, name)]
    yield "## What is not wrapped"
    yield ""
    yield "These names of pymongo's own `Collection` are reached through `.raw`, as in `people.raw.create_index(...)`. What is"
    yield "read there is as stored, and what is written there is not upgraded and not stamped:"
    yield ""
    yield ", ".join(f"`{name}`" for name in names) + "."
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
