"""A report as one page: everything is in it, it loads nothing, and it runs nothing.

Its content security policy forbids both, so that even a mistake here could not send anything anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lazymigrate.coverage import percent
from lazymigrate.overview import CollectionOverview, Overview, VersionLine
from lazymigrate.report.drawing import shade, stacked_bar, trend_chart
from lazymigrate.report.markup import Markup, element, joined
from lazymigrate.report.style import STYLE
from lazymigrate.report.table import way_of_counting
from lazymigrate.runs import Run

__all__ = ["page"]

if TYPE_CHECKING:
    from datetime import datetime

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STATES = {"succeeded": "good", "running": "good", "errored": "bad", "cancelled": "soft"}

Cell = Markup | str
Column = tuple[str, str]  # heading, classes of its cells: those with "extra" are left out where there is little room


def page(overview: Overview) -> str:
    """The page, as UTF-8 is to encode it."""
    title = f"Schema coverage of {overview.database}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{title}, {overview.taken:%Y-%m-%d}"),
        element("style", Markup(STYLE)),
    )
    done = sum(each.coverage.complete for each in overview.collections)
    body = element(
        "body",
        element(
            "header",
            element("h1", title),
            element(
                "p",
                f"{done} of {len(overview.collections)} collections complete, as of {moment(overview.taken)}",
                class_="meta",
            ),
        ),
        element("main", summary(overview), *(section(each, place) for place, each in enumerate(overview.collections))),
        element("footer", f"lazymigrate {overview.release}"),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def summary(overview: Overview) -> Markup:
    """All collections in a table, each with a link to what else is known of it."""
    rows = [
        (
            element("a", each.collection, href=f"#collection-{place}"),
            str(each.coverage.head),
            f"{each.coverage.total:,}",
            percent(each.coverage.ratio),
            stacked_bar(each, small=True),
            badge(each),
        )
        for place, each in enumerate(overview.collections)
    ]
    columns = (
        ("collection", "text"),
        ("head", "number extra"),
        ("documents", "number"),
        ("at head", "number"),
        ("coverage", "wide extra"),
        ("state", "whole extra"),
    )
    return element("section", table(columns, rows, "All collections"), class_="card", aria_label="All collections")


def section(overview: CollectionOverview, place: int) -> Markup:
    """All that is known of one collection."""
    counts = overview.coverage
    about = "about " if counts.sampled else ""
    schema = "" if overview.schema == overview.collection else f"schema {overview.schema}, "
    versions = f"head {counts.head}" if counts.oldest == counts.head else f"versions {counts.oldest} to {counts.head}"
    parts = [
        element("div", element("h2", overview.collection), badge(overview), class_="title"),
        element("p", f"{schema}{versions}; {way_of_counting(counts)}, {moment(overview.taken)}", class_="meta"),
        element(
            "p",
            element("strong", f"{about}{percent(counts.ratio)}"),
            f"of {counts.total:,} documents at head",
            class_="share",
        ),
        stacked_bar(overview),
        element("p", element("b", "Next"), *with_code(overview.next_step), class_="note"),
        element("h3", "Versions"),
        versions_table(overview),
        element("p", retirement(overview), class_="soft"),
    ]
    if overview.trend:
        parts += [element("h3", "Over time"), trend_chart(overview), trend_table(overview)]
    if overview.runs:
        parts += [element("h3", "Sweeps"), runs_table(overview.runs)]
    if counts.quarantined:
        parts += [element("h3", "Quarantine"), quarantine_table(overview)]
    return element("section", *parts, class_="card", id=f"collection-{place}")


def badge(overview: CollectionOverview) -> Markup:
    """What there is to say of a collection in two words, or in twice two."""
    counts = overview.coverage
    unlisted = counts.to_sweep
    wrong = counts.invalid + counts.retired + counts.quarantined
    found: list[Markup] = []
    if unlisted:
        found.append(element("span", f"{unlisted:,} outdated", class_="badge warn"))
    if wrong:
        found.append(element("span", f"{wrong:,} {'needs' if wrong == 1 else 'need'} a person", class_="badge bad"))
    if not found:
        said, style = ("complete", "good") if counts.complete else ("not proven", "warn")
        found.append(element("span", said, class_=f"badge {style}"))
    return element("span", *found)


def versions_table(overview: CollectionOverview) -> Markup:
    """The declared versions, and the groups of documents at no declared version; the key to the colours of the bar."""
    counts = overview.coverage
    rows: list[Sequence[Cell]] = [
        (
            joined(swatch(color(overview, line)), f"{line.version} ", element("span", line.label, class_="soft")),
            revision(line),
            f"{line.documents:,}",
            share(line.documents, counts.total),
            need(line),
        )
        for line in overview.versions
    ]
    types = ", ".join(f"{kind} {count:,}" for kind, count in counts.invalid_types.items())
    groups = (
        ("ahead", str(overview.ahead), counts.ahead),
        ("retired", str(overview.retired), counts.retired),
        ("invalid", types, counts.invalid),
    )
    rows += [
        (joined(swatch(name), name), which, f"{documents:,}", share(documents, counts.total), "")
        for name, which, documents in groups
        if documents
    ]
    columns = (
        ("version", "whole"),
        ("revision", "text"),
        ("documents", "number"),
        ("share", "number extra"),
        ("needed by", "number"),
    )
    return table(columns, rows, "Versions")


def color(overview: CollectionOverview, line: VersionLine) -> str:
    return shade(overview, line.version) if line.label == "outdated" else "head"


def swatch(name: str) -> Markup:
    return element("span", class_=f"swatch {name}", aria_hidden="true")


def revision(line: VersionLine) -> Markup:
    """The revision that leads to a version, and where it runs."""
    if line.name is None:
        return element("span", "the oldest", class_="soft")
    kind = "empty" if line.empty else "runs inside MongoDB" if line.declared else "runs in Python"
    return joined(f"{line.name} ", element("span", kind, class_="soft"))


def need(line: VersionLine) -> Cell:
    """How many documents need a revision."""
    if line.name is None:
        return ""
    return element("span", "can be retired", class_="good") if line.retirable else f"{line.needed:,}"


def retirement(overview: CollectionOverview) -> str:
    """Which revisions can go, and what keeps the first of the others."""
    retirable = [line.version for line in overview.versions if line.retirable]
    kept = [line for line in overview.versions if line.name is not None and not line.retirable]
    said: list[str] = []
    if retirable:
        low, high = min(retirable), max(retirable)
        which = f"Revision {low}" if low == high else f"Revisions {low} to {high}"
        said.append(f"{which} can be retired: no document needs what is before.")
    if kept:
        first = kept[-1]
        why = f"{first.needed:,} documents need it" if first.needed else "not every document is known to be past it"
        said.append(f"Revision {first.version} stays: {why}.")
    return " ".join(said)


def trend_table(overview: CollectionOverview) -> Markup:
    """The recorded counts, folded up: what the chart says, in figures."""
    rows = [
        (moment(point.taken), f"{point.at_head:,}", f"{point.total:,}", percent(point.ratio))
        for point in reversed(overview.trend)
    ]
    columns = (("taken", "whole"), ("at head", "number"), ("documents", "number"), ("share", "number"))
    count = len(overview.trend)
    title = "1 recorded count" if count == 1 else f"{count} recorded counts"
    return element("details", element("summary", title), table(columns, rows, title))


def runs_table(runs: Sequence[Run]) -> Markup:
    """The last sweeps, the newest first."""
    rows = [
        (
            moment(run.started),
            element("span", run.state, class_=STATES.get(run.state, "warn")),
            f"{run.kind} to {run.target}",
            f"{run.counts.upgraded:,} of {run.counts.total:,}",
            f"{run.counts.conflicts:,}",
            f"{run.counts.quarantined:,}",
            remark(run),
        )
        for run in runs
    ]
    columns = (
        ("started", "whole"),
        ("state", "whole"),
        ("run", "whole extra"),
        ("upgraded", "number"),
        ("conflicts", "number extra"),
        ("quarantined", "number extra"),
        ("remark", "text"),
    )
    return table(columns, rows, "Sweeps")


def remark(run: Run) -> str:
    """Why a run waits, or why it ended."""
    parts = [
        f"waiting: {run.waiting_for}" if run.waiting_for not in (None, run.state) and not run.over else "",
        f"stopped by {run.stopped_by}" if run.stopped_by not in (None, "finished", run.state) else "",
        run.error or "",
    ]
    return ", ".join(part for part in parts if part)


def quarantine_table(overview: CollectionOverview) -> Markup:
    """The documents that could not be upgraded, by what failed."""
    rows = [
        (
            f"{failing.kinds:,} other kinds" if failing.error is None else failing.error,
            "" if failing.revision is None else str(failing.revision),
            f"{failing.documents:,}",
        )
        for failing in overview.failing
    ]
    return table((("error", "text"), ("revision", "number"), ("documents", "number")), rows, "Quarantine")


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], label: str) -> Markup:
    """A table that is scrolled by itself where there is no room for it."""
    head = element("tr", *(element("th", name, class_=kind or None, scope="col") for name, kind in columns))
    body = (
        element("tr", *(element("td", cell, class_=kind or None) for cell, (_, kind) in zip(row, columns, strict=True)))
        for row in rows
    )
    found = element("table", element("thead", head), element("tbody", *body), aria_label=label)
    return element("div", found, class_="scroll")


def with_code(said: str) -> list[Markup]:
    """A sentence in which commands stand between backticks."""
    return [element("code", part) if place % 2 else joined(part) for place, part in enumerate(said.split("`"))]


def share(documents: int, total: int) -> str:
    return percent(documents / total if total else 0.0)


def moment(date: datetime) -> str:
    return f"{date:%Y-%m-%d %H:%M} UTC"
