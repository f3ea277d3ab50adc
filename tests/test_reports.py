"""Reports: one value, shown as text, as JSON and as a page; whatever is stored or named, none of them obeys it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import html5lib
import pytest
from bson import ObjectId
from pymongo.collection import Collection
from rich.console import Console, RenderableType

from lazymigrate import LazyCollection, Schema, ops
from lazymigrate.advice import next_step
from lazymigrate.coverage import Coverage
from lazymigrate.overview import CollectionOverview, Failing, Overview
from lazymigrate.report import markup
from lazymigrate.report.bars import divided
from lazymigrate.report.html import page
from lazymigrate.report.prometheus import exposition
from lazymigrate.report.status import StatusTable
from lazymigrate.report.table import coverage_report
from lazymigrate.runs import Counts, Run, RunState
from lazymigrate.trend import TrendPoint

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
HOSTILE = (
    "<script>alert(1)</script>",
    "[red]not red[/red]",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202egnirts\u202c",
    '" onload="alert(1)',
    "line\nfeed\r",
    "-->]]>&lt;",
)
INVISIBLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def schema_of(name: str = "people", oldest: int | None = None) -> Schema:
    """Four versions, or those from `oldest` on: a function, operations, and a revision that changes nothing."""
    schema = Schema(name, oldest=oldest)
    if oldest is None:

        @schema.revision(2)
        def by_hand(document: dict[str, Any]) -> None:
            document["two"] = 2

    if oldest is None or oldest < 3:
        schema.revision(3, ops.rename("mail", "email"), name="three")
    schema.revision(4, ops.nothing(), name="four")
    return schema


def run_of(state: RunState, **changes: Any) -> Run:
    given: dict[str, Any] = {
        "id": ObjectId(),
        "collection": "people",
        "kind": "sweep",
        "target": 4,
        "state": state,
        "seq": 1,
        "fence": 1,
        "holder": "host:1:abc",
        "host": "host",
        "expires": None,
        "lease_seconds": 15.0,
        "created": NOW,
        "started": NOW,
        "updated": NOW,
        "position": {"after": "ada@example.org"},
        "counts": Counts(total=10, upgraded=5),
    }
    return Run(**{**given, **changes})


def overview_of(schema: Schema, *counts: tuple[str, Any, int], quarantined: int = 0, **more: Any) -> Overview:
    coverage = Coverage.of(schema, more.pop("collection", "people"), counts, quarantined)
    coverage = replace(coverage, spared=min(quarantined, coverage.outdated))
    found = CollectionOverview.of(schema, coverage, taken=NOW, **more)
    return Overview.of([found], database=more.get("database", "shop"), release="1.2.3")


def mixed() -> Overview:
    """A collection with something of everything."""
    points = [TrendPoint(taken=NOW - timedelta(days=9 - n), total=100, at_head=10 * n) for n in range(1, 4)]
    return overview_of(
        schema_of(oldest=2),
        ("int", 2, 40),
        ("int", 3, 20),
        ("int", 4, 30),
        ("int", 1, 3),
        ("int", 9, 2),
        ("string", None, 5),
        quarantined=4,
        runs=[run_of("interrupted", stopped_by="limit"), run_of("errored", ended=NOW, error="KeyError")],
        failing=[Failing(error="KeyError", revision=3, documents=3), Failing(error=None, revision=None, documents=1)],
        trend=points,
    )


def printed(what: RenderableType, width: int = 80, *, terminal: bool = False) -> str:
    console = Console(file=StringIO(), width=width, force_terminal=terminal, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def words(text: str) -> str:
    return " ".join(text.split())


FORMATS: dict[str, Callable[[Overview], str]] = {
    "status": lambda overview: printed(StatusTable(overview)),
    "wide status": lambda overview: printed(StatusTable(overview), 140),
    "text": lambda overview: printed(coverage_report(overview)),
    "wide text": lambda overview: printed(coverage_report(overview), 140),
    "json": Overview.to_json,
    "html": page,
    "prometheus": exposition,
}


# The value


def test_an_overview_gathers_what_is_stored(people: Collection[dict[str, Any]]) -> None:
    people.insert_many([{"n": n} for n in range(4)])
    people.insert_many([{"schema_version": 3}, {"schema_version": 4}, {"schema_version": 7}, {"schema_version": "x"}])
    schema = Schema("people")

    @schema.revision(2)
    def two(document: dict[str, Any]) -> None:
        if document["n"] == 3:
            raise KeyError("no")
        document["two"] = 2

    schema.revision(3, ops.rename("mail", "email"), name="three")
    schema.revision(4, ops.nothing(), name="four")
    collection = LazyCollection(people, schema)
    collection.coverage(record=True)
    collection.sweep()
    found = collection.overview(record=True)

    assert [(line.version, line.documents, line.label) for line in found.versions] == [
        (4, 4, "head"),
        (3, 1, "at head"),
        (2, 0, "outdated"),
        (1, 1, "outdated"),
    ]
    assert [(line.name, line.needed, line.retirable) for line in found.versions] == [
        ("four", 2, False),
        ("three", 1, False),
        ("two", 1, False),
        (None, 0, False),
    ]
    assert (found.ahead.versions, found.ahead.documents, found.ahead.lowest) == (1, 1, 7)
    assert found.coverage.invalid_types == {"string": 1}
    assert found.failing == (Failing(error="KeyError", revision=2, documents=1),)
    assert found.run is not None
    assert found.run.state == "succeeded"
    assert [point.at_head for point in found.trend] == [2, 5]
    assert "quarantine retry" in found.next_step


async def test_every_driver_gives_the_same_overview(bench: Any) -> None:
    bench.put({"_id": 1, "mail": "a"}, {"_id": 2, "schema_version": 4}, {"_id": 3, "schema_version": [1]})
    found = await bench.call(bench.open(schema_of()).overview())
    assert [line.documents for line in found.versions] == [1, 0, 0, 1]
    assert found.coverage.invalid == 1
    assert found.runs == found.failing == found.trend == ()
    assert found.next_step == "Sweep 1 outdated document: `lazymigrate sweep people`."


async def test_every_driver_counts_the_quarantine_by_what_failed(bench: Any) -> None:
    schema = Schema("people")

    @schema.revision(2)
    def picky(document: dict[str, Any]) -> None:
        raise (KeyError if document["_id"] < 3 else ValueError)("no")

    bench.put(*({"_id": number} for number in range(5)))
    people = bench.open(schema)
    await bench.call(people.sweep())
    found = await bench.call(people.overview())
    assert found.failing == (
        Failing(error="KeyError", revision=2, documents=3),
        Failing(error="ValueError", revision=2, documents=2),
    )


def test_what_others_wrote_into_the_quarantine_is_a_few_groups(people: Collection[dict[str, Any]]) -> None:
    listed = [
        {"_id": {"collection": "people", "document_id": number}, "error": f"Error{number}", "revision": 2, "head": 4}
        for number in range(500)
    ]
    listed += [
        {"_id": {"collection": "people", "document_id": "x"}, "error": {"a": 1}, "revision": "two"},
        {"_id": {"collection": "people", "document_id": "y"}, "error": "x" * 10_000},
    ]
    people.database["lazymigrate.quarantine"].insert_many(listed)
    found = LazyCollection(people, schema_of()).overview()
    assert found.coverage.quarantined == 502
    assert len(found.failing) == 21
    assert sum(failing.documents for failing in found.failing) == 502
    assert found.failing[-1] == Failing(error=None, revision=None, documents=482, kinds=482)


def test_what_is_no_name_of_an_error_is_not_shown(people: Collection[dict[str, Any]]) -> None:
    people.database["lazymigrate.quarantine"].insert_many(
        [
            {"_id": {"collection": "people", "document_id": 1}, "error": {"canary": 1}, "revision": "canary"},
            {"_id": {"collection": "people", "document_id": 2}, "error": "x" * 10_000},
        ]
    )
    found = LazyCollection(people, schema_of()).overview()
    assert {(failing.error, failing.revision) for failing in found.failing} == {("unknown", None), ("x" * 100, None)}


def test_five_thousand_junk_versions_are_one_group_in_every_format(people: Collection[dict[str, Any]]) -> None:
    people.insert_many([{"schema_version": 10_000 + number} for number in range(5_000)])
    people.insert_many([{"schema_version": f"<b>{number}"} for number in range(5_000)])
    found = LazyCollection(people, schema_of()).overview()
    overview = Overview.of([found], database="shop", release="1")
    assert found.ahead.versions == found.ahead.documents == found.others.versions == 5_000
    for name, written in ((name, write(overview)) for name, write in FORMATS.items()):
        assert len(written) < 20_000, name
        assert "14999" in written or name in ("status", "wide status", "prometheus"), name
        assert "14998" not in written, name
    assert "5,000 versions, 10000 to 14999" in words(FORMATS["wide text"](overview))


def test_versions_that_are_retired_and_ahead_are_bounded_apart_and_together() -> None:
    (found,) = mixed().collections
    assert (found.retired.lowest, found.retired.highest, found.retired.documents) == (1, 1, 3)
    assert (found.ahead.lowest, found.ahead.highest, found.ahead.documents) == (9, 9, 2)
    assert (found.others.lowest, found.others.highest, found.others.documents, found.others.versions) == (1, 9, 5, 2)


def test_a_revision_can_be_retired_once_nothing_is_before_it() -> None:
    (found,) = overview_of(schema_of(), ("int", 3, 5), ("int", 4, 1)).collections
    assert [(line.version, line.retirable, line.needed) for line in found.versions] == [
        (4, False, 5),
        (3, True, 0),
        (2, True, 0),
        (1, False, 0),
    ]


# What to do next


STEPS: list[tuple[list[tuple[str, Any, int]], int, RunState | None, str]] = [
    ([("int", 1, 5)], 0, "running", "at work"),
    ([("int", 1, 5)], 0, "paused", "lazymigrate run resume people"),
    ([("int", 1, 5)], 0, "errored", "ended as errored"),
    ([("int", 1, 5)], 0, "interrupted", "Go on with 5 outdated documents: `lazymigrate sweep people`."),
    ([("int", 1, 1)], 0, None, "Sweep 1 outdated document: `lazymigrate sweep people`."),
    ([("int", 1, 5), ("string", None, 1)], 2, "succeeded", "Sweep 3 outdated documents"),
    ([("int", 1, 2)], 2, "succeeded", "quarantine retry --all"),
    ([("string", None, 1), ("bool", None, 1)], 0, None, "2 documents have stamps that are no version (bool, string)"),
    ([("int", 9, 1)], 0, None, "1 document is above version 4: deploy"),
    ([], 0, None, "There are no documents"),
    ([("int", 4, 1)], 0, None, "can be retired when no older release writes any more: `lazymigrate retire people 4`."),
]


@pytest.mark.parametrize(("counts", "listed", "state", "said"), STEPS, ids=[step[3][:30] for step in STEPS])
def test_the_next_step_is_the_first_thing_in_the_way(
    counts: list[tuple[str, Any, int]], listed: int, state: RunState | None, said: str
) -> None:
    coverage = Coverage.of(schema_of(), "people", counts, listed)
    coverage = replace(coverage, spared=min(listed, coverage.outdated))
    assert said in next_step("people", coverage, None if state is None else run_of(state))


def test_a_revision_that_is_written_wrongly_is_not_looked_for_in_the_quarantine() -> None:
    coverage = Coverage.of(schema_of(), "people", [("int", 1, 5)])
    assert "a revision is written wrongly" in next_step("people", coverage, run_of("errored", error="SchemaError"))


def test_documents_below_the_oldest_version_need_an_older_release() -> None:
    coverage = Coverage.of(schema_of(oldest=2), "people", [("missing", None, 2), ("int", 4, 1)])
    assert next_step("people", coverage, None).startswith("2 documents are below version 2")


def test_a_sample_is_never_the_end() -> None:
    coverage = Coverage.estimated(schema_of(), "people", [("int", 4, 10)], total=1_000)
    assert "A sample proves nothing" in next_step("people", coverage, None)


def test_a_name_is_one_word_for_a_shell() -> None:
    coverage = Coverage.of(schema_of("a b; rm -rf /"), "people", [("int", 1, 5)])
    assert "`lazymigrate sweep 'a b; rm -rf /'`" in next_step("a b; rm -rf /", coverage, None)


# JSON


def test_json_says_its_format_and_everything_else() -> None:
    document = json.loads(mixed().to_json())
    assert {name: document[name] for name in ("format", "taken", "lazymigrate", "database", "complete")} == {
        "format": 1,
        "taken": "2026-05-04T12:00:00+00:00",
        "lazymigrate": "1.2.3",
        "database": "shop",
        "complete": False,
    }
    (found,) = document["collections"]
    assert found["versions"][0] == {
        "version": 4,
        "name": "four",
        "declared": True,
        "empty": True,
        "documents": 30,
        "label": "head",
        "needed": 60,
        "retirable": False,
    }
    assert found["invalid"] == {"documents": 5, "types": {"string": 5}}
    assert found["others"] == {"versions": 2, "documents": 5, "lowest": 1, "highest": 9}
    assert found["runs"][0]["state"] == "interrupted"
    assert found["trend"][0] == {"taken": "2026-04-26T12:00:00+00:00", "total": 100, "at_head": 10, "stuck": 0}
    assert found["forecast"] == "2026-05-05T12:00:00+00:00"


def test_json_has_no_value_of_a_document() -> None:
    assert "ada@example.org" in mixed().collections[0].runs[0].to_json()  # where the sweep is, is an _id
    for write in FORMATS.values():
        assert "ada@" not in write(mixed())


# Text


def test_coverage_fits_eighty_columns_and_says_who_needs_what() -> None:
    text = printed(coverage_report(mixed()))
    assert all(len(line) <= 80 for line in text.splitlines())
    said = words(text)
    assert "people 50.0% of 100 documents at head 4" in said
    assert "4 head four (empty) 30 30.0%" in said
    assert "retired version 1 3 3.0%" in said
    assert "ahead version 9 2 2.0%" in said
    assert "counted in one scan of the collection" in said
    assert "10.0% on 2026-04-26, 30.0% on 2026-04-28; at this pace swept about 2026-05-05" in said
    assert "sweep interrupted since 2026-05-04 12:00 UTC, 5 of 10 upgraded" in said
    assert "quarantine 3 KeyError in revision 3, 1 of 1 other kinds" in said


def test_what_is_estimated_says_so_with_its_interval() -> None:
    schema = schema_of()
    coverage = Coverage.estimated(schema, "people", [("int", 4, 50), ("int", 1, 50)], total=10_000)
    overview = Overview.of([CollectionOverview.of(schema, coverage, taken=NOW)], database="shop", release="1")
    for name in ("text", "html"):
        said = words(re.sub("<[^>]*>", " ", FORMATS[name](overview)))
        assert "about 50.0%" in said
        assert "from a random sample of 100: 40.4% to 59.6% at head, in 95 of 100 cases" in said
    (found,) = json.loads(overview.to_json())["collections"]
    assert (found["source"], found["sampled"]) == ("sample", 100)
    assert found["interval"] == pytest.approx([0.4038, 0.5962], abs=1e-4)


def test_the_status_has_a_row_for_each_collection_and_fits_eighty_columns() -> None:
    (first,) = mixed().collections
    (second,) = overview_of(schema_of(), ("int", 4, 3), collection="orders").collections
    overview = Overview.of([first, second], database="shop", release="1")
    narrow, wide = printed(StatusTable(overview)), printed(StatusTable(overview), 120)
    assert all(len(line) <= 80 for line in narrow.splitlines())
    assert "people 4 100 50.0%" in words(narrow)
    assert "2 ahead, 3 retired, 5 invalid, 4 quarantined. Go on with 36 outdated documents" in words(narrow)
    assert re.search(r"orders +4 +3 +100\.0% +█+ +0 +none", narrow)
    assert words(wide).startswith(
        "collection head documents at head outdated ahead retired invalid quarantined sweep people 4 100 50.0%"
    )
    assert re.search(r"40 +2 +3 +5 +4 +interrupted", wide)


def test_without_colours_what_is_at_head_is_told_from_the_rest() -> None:
    overview = overview_of(schema_of(), ("int", 1, 50), ("int", 4, 50))
    assert re.search(r" (█+)▒+ ", printed(StatusTable(overview)))
    nothing = overview_of(schema_of(), ("int", 1, 50))
    assert "█" not in printed(StatusTable(nothing))


def test_many_declared_versions_take_a_dozen_lines() -> None:
    schema = Schema("people")
    for version in range(2, 200):
        schema.revision(version, ops.rename(f"a{version}", f"b{version}"))
    overview = overview_of(schema, ("int", 77, 1), ("int", 199, 5))
    text = printed(coverage_report(overview))
    assert len(text.splitlines()) < 30
    for version in (199, 77, 1):
        assert re.search(rf"^{version} (head|outdated)", text, flags=re.MULTILINE), version
    assert "187 more declared versions" in printed(coverage_report(overview), 140)


@pytest.mark.parametrize(
    ("shares", "width", "marks"),
    [
        ([1.0], 10, [10]),
        ([0.999], 10, [9]),
        ([0.0001], 10, [1]),
        ([0.0], 10, [0]),
        ([0.0, 1.0], 10, [0, 10]),
        ([0.998, 0.001, 0.001], 10, [8, 1, 1]),
        ([1 / 3, 1 / 3, 1 / 3], 10, [4, 3, 3]),
        ([], 10, []),
    ],
)
def test_a_bar_shows_something_for_something_and_all_only_for_all(
    shares: list[float], width: int, marks: list[int]
) -> None:
    assert divided(shares, width) == marks


def test_the_examples_of_the_documentation_run(tmp_path: Path, mongo_uri: str) -> None:
    root = Path(__file__).parent.parent
    blocks = re.findall(
        r"^```python\n(.*?)^```", (root / "docs" / "reports.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert any("assert" in block for block in blocks)
    file = tmp_path / "reports.py"
    file.write_text("\n".join(blocks), "utf-8")
    environment = {**os.environ, "MONGODB_URI": mongo_uri, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def test_every_field_of_the_json_is_documented() -> None:
    page = (Path(__file__).parent.parent / "docs" / "reports.md").read_text("utf-8")
    document = json.loads(mixed().to_json())
    (found,) = document["collections"]
    groups = [document, found, found["versions"][0], found["ahead"], found["quarantine"][0], found["runs"][0]]
    missing = {name for group in groups for name in group if f"`{name}`" not in page}
    assert missing == set()


# The page


def test_the_page_is_strictly_valid_and_loads_nothing() -> None:
    written = page(mixed())
    html5lib.HTMLParser(strict=True).parse(written)
    assert not re.search(
        r"(src|srcset|action|data|poster)\s*=|https?:|url\(|@import|<script|<link|<iframe", written, re.IGNORECASE
    )
    assert set(re.findall(r'href="([^"]*)"', written)) == {"#collection-0"}
    assert (
        '<meta http-equiv="Content-Security-Policy" content="default-src &#x27;none&#x27;; style-src &#x27;unsafe-inline&#x27;">'
        in written
    )


def test_the_strict_parser_finds_what_is_wrong() -> None:
    with pytest.raises(html5lib.html5parser.ParseError):
        html5lib.HTMLParser(strict=True).parse(page(mixed()).replace("</h1>", "</h2>", 1))


def test_pictures_on_the_page_say_in_words_what_they_show() -> None:
    tree = html5lib.parse(page(mixed()), namespaceHTMLElements=False)
    pictures = tree.findall(".//{http://www.w3.org/2000/svg}svg")
    assert len(pictures) == 3
    assert {picture.get("role") for picture in pictures} == {"img"}
    labels = [picture.get("aria-label") for picture in pictures]
    assert labels[1] == "at head 50.0%, version 2 40.0%, ahead 2.0%, retired 3.0%, invalid 5.0%"
    assert labels[2] == "10.0% at head on 2026-04-26, 30.0% on 2026-04-28, swept about 2026-05-05"


def test_the_page_shows_all_there_is() -> None:
    tree = html5lib.parse(page(mixed()), namespaceHTMLElements=False)
    said = words(" ".join(tree.itertext()))
    for part in (
        "Schema coverage of shop",
        "0 of 1 collections complete",
        "50.0% of 100 documents at head",
        "Go on with 36 outdated documents",
        "4 head four empty 30 30.0%",
        "Revision 3 stays: 40 documents need it.",
        "interrupted sweep to 4 5 of 10",
        "KeyError 3 3",
        "swept about 2026-05-05",
    ):
        assert part in said, part


def test_an_empty_collection_has_a_page_too() -> None:
    html5lib.HTMLParser(strict=True).parse(page(overview_of(schema_of())))


# Hostile input


def hostile(text: str) -> Overview:
    """An overview in which everything that can be named by somebody is named like this."""
    schema = Schema(text)
    schema.revision(2, ops.rename("a", "b"), name=text)
    coverage = Coverage.of(schema, text, [("missing", None, 3), (text, None, 2), ("int", 9, 1)], 2)
    found = CollectionOverview.of(
        schema,
        coverage,
        taken=NOW,
        runs=[run_of("running", collection=text, host=text, waiting_for=text, stopped_by=text, error=text)],
        failing=[Failing(error=text, revision=2, documents=2)],
        trend=[TrendPoint(taken=NOW, total=6, at_head=1)],
    )
    return Overview.of([found], database=text, release="1")


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_hostile_is_shown_and_not_obeyed(name: str, text: str) -> None:
    written = FORMATS[name](hostile(text))
    assert not INVISIBLE.search(written)
    if name == "json":
        assert json.loads(written)["collections"][0]["collection"] == text
        assert written.isascii()
    elif name == "html":
        html5lib.HTMLParser(strict=True).parse(written)
        tree = html5lib.parse(written, namespaceHTMLElements=False)
        assert {element.tag for element in tree.iter()} & {"script", "b onload", "red"} == set()
        assert not [element for element in tree.iter() if "onload" in element.attrib]
    elif "[red]" in text and name == "wide text":
        assert "[red]not red[/red]" in written


def test_without_escaping_the_page_would_obey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "escape", lambda text: text)
    tree = html5lib.parse(page(hostile(HOSTILE[0])), namespaceHTMLElements=False)
    assert tree.findall(".//script")


def test_without_making_it_printable_a_page_would_turn_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "printable", lambda text: text)
    assert INVISIBLE.search(page(hostile(HOSTILE[3])))
