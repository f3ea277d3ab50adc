"""Coverage by version, with bars, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lazymigrate.coverage import Coverage, percent
from lazymigrate.overview import CollectionOverview, Overview, VersionLine
from lazymigrate.report.bars import Bar, Sparkline, parts
from lazymigrate.runs import Run
from lazymigrate.verification import printable

__all__ = ["coverage_report", "coverage_table", "failures", "sweep_line", "way_of_counting"]

SHOWN = 12
COLORS = {"head": "green", "at head": "green", "outdated": "yellow"}


def coverage_table(coverage: Coverage, *, title: str) -> Table:
    """How many documents are at each version, newest first, with the totals below."""
    table = Table(title=Text(printable(title)), title_justify="left", title_style="bold")
    table.add_column("version")
    table.add_column("documents", justify="right")
    table.add_column("share", justify="right")
    table.add_column("", ratio=1)
    total = coverage.total
    versions = sorted(coverage.by_version.items(), reverse=True)
    for version, count in versions[:SHOWN]:
        label, color = state_of(coverage, version)
        row(table, f"{version} {label}".strip(), count, total, color)
    hidden = versions[SHOWN:]
    if hidden:
        row(table, f"{len(hidden):,} others", sum(count for _, count in hidden), total, "yellow")
    if coverage.invalid:
        row(table, "no version", coverage.invalid, total, "red")
    table.add_section()
    table.add_row("at head", f"{coverage.at_head:,}", percent(coverage.ratio), summary(coverage))
    return table


def state_of(coverage: Coverage, version: int) -> tuple[str, str]:
    if version > coverage.head:
        return "(ahead)", "magenta"
    return ("(head)", "green") if version == coverage.head else ("", "yellow")


def row(table: Table, label: str, count: int, total: int, color: str) -> None:
    share = count / total if total else 0.0
    table.add_row(label, f"{count:,}", percent(share), Bar((share, color)))


def summary(coverage: Coverage) -> Text:
    """What is not at head, or that nothing is."""
    if not coverage.total:
        return Text("no documents")
    found = [f"{count:,} {name}" for name, count, _ in parts(coverage) if name != "at head"]
    found += [f"{coverage.quarantined:,} quarantined"] if coverage.quarantined else []
    return Text(", ".join(found) or "complete", style="" if found else "green")


def coverage_report(overview: Overview) -> RenderableType:
    """The collections, one after the other."""
    found: list[RenderableType] = []
    for each in overview.collections:
        found += [Text(), collection_report(each)] if found else [collection_report(each)]
    return Group(*found)


def collection_report(overview: CollectionOverview) -> RenderableType:
    """One collection: a table by version, and under it how it was counted, how it moves, and what to do next."""
    return Group(title(overview), Text(), versions(overview), Text(), remarks(overview))


def title(overview: CollectionOverview) -> Text:
    counts = overview.coverage
    line = Text(printable(overview.collection), style="bold")
    about = "about " if counts.sampled else ""
    line.append(
        f"  {about}{percent(counts.ratio)} of {counts.total:,} documents at head {counts.head}", style="default"
    )
    return line


def versions(overview: CollectionOverview) -> Table:
    """The declared versions, the newest first, and a row for each other group of documents."""
    counts = overview.coverage
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black", expand=True)
    table.add_column("version", no_wrap=True)
    table.add_column("revision", overflow="fold", ratio=3)
    for heading in ("documents", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", ratio=2, min_width=8)
    table.add_column("needed by", justify="right", no_wrap=True)
    shown, hidden = selected(overview)
    for line in shown:
        add(
            table,
            f"{line.version} {line.label}",
            revision_text(line),
            line.documents,
            counts.total,
            COLORS[line.label],
            needed_text(line),
        )
    if hidden:
        documents = sum(line.documents for line in hidden)
        add(table, "others", Text(f"{len(hidden):,} more declared versions"), documents, counts.total, "yellow")
    for name, group, color in (("ahead", overview.ahead, "magenta"), ("retired", overview.retired, "red")):
        if group.documents:
            add(table, name, Text(str(group)), group.documents, counts.total, color)
    if counts.invalid:
        add(table, "invalid", Text(printable(types(counts))), counts.invalid, counts.total, "red")
    return table


def add(
    table: Table, label: str, revision: Text, documents: int, total: int, color: str, needed: Text | None = None
) -> None:
    share = documents / total if total else 0.0
    count = Text(f"{documents:,}", style="" if documents else "bright_black")
    table.add_row(
        Text(label, style=color if documents else "bright_black"),
        revision,
        count,
        Text(percent(share), style=count.style),
        Bar((share, color)),
        needed or Text(),
    )


def selected(overview: CollectionOverview) -> tuple[list[VersionLine], list[VersionLine]]:
    """What is shown line by line and what all together: the ends first, then where the documents are, newer before older."""
    lines = overview.versions
    if len(lines) <= SHOWN:
        return list(lines), []
    ends = {lines[0].version, lines[-1].version}
    ranked = sorted(lines, key=lambda line: (line.version not in ends, not line.documents, -line.version))
    kept = {line.version for line in ranked[:SHOWN]}
    return [line for line in lines if line.version in kept], [line for line in lines if line.version not in kept]


def revision_text(line: VersionLine) -> Text:
    """The revision that leads to a version, and how it works where that is worth a word."""
    if line.name is None:
        return Text("oldest", style="bright_black")
    text = Text(printable(line.name))
    kind = "empty" if line.empty else "" if line.declared else "function"
    return text.append(f" ({kind})", style="bright_black") if kind else text


def needed_text(line: VersionLine) -> Text:
    """How many documents need the revision, or that it can go."""
    if line.name is None:
        return Text()
    if line.retirable:
        return Text("can be retired", style="green")
    return Text(f"{line.needed:,}", style="" if line.needed else "bright_black")


def types(coverage: Coverage) -> str:
    """The BSON types of the stamps that are no versions."""
    return ", ".join(f"{kind} {count:,}" for kind, count in coverage.invalid_types.items())


def remarks(overview: CollectionOverview) -> Table:
    """What else is known, a line each."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bright_black", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(*way_of_counting(overview.coverage).split(" ", 1))
    if overview.trend:
        table.add_row("trend", trend(overview))
    if overview.run is not None:
        table.add_row("sweep", Text(sweep_line(overview.run)))
    if overview.coverage.quarantined:
        table.add_row("quarantine", Text(failures(overview)))
    table.add_row("next", Text(overview.next_step, style="green" if overview.coverage.complete else "yellow"))
    return table


def way_of_counting(coverage: Coverage) -> str:
    """How the documents were counted, with the interval where it is an estimate."""
    if not coverage.sampled or coverage.interval is None:
        return coverage.way
    low, high = coverage.interval
    return f"estimated from a random sample of {coverage.sampled:,}: {percent(low)} to {percent(high)} at head, in 95 of 100 cases"


def trend(overview: CollectionOverview) -> RenderableType:
    first, last = overview.trend[0], overview.trend[-1]
    said = f"{percent(last.ratio)} on {last.taken:%Y-%m-%d}"
    if first is not last:
        said = f"{percent(first.ratio)} on {first.taken:%Y-%m-%d}, {said}"
    if overview.forecast is not None:
        said += f"; at this pace swept about {overview.forecast:%Y-%m-%d}"
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(Sparkline([point.ratio for point in overview.trend]), Text(said))
    return row


def sweep_line(run: Run) -> str:
    """The current run in a line."""
    counts = run.counts
    kind = "" if run.kind == "sweep" else f"{run.kind}, "
    since = "" if run.over else "since "
    when = f"{run.ended or run.started:%Y-%m-%d %H:%M} UTC"
    said = f"{kind}{run.state} {since}{when}, {counts.upgraded:,} of {counts.total:,} upgraded"
    if run.waiting_for not in (None, run.state) and not run.over:
        said += f"; waiting: {run.waiting_for}"
    if run.error:
        said += f"; {run.error}"
    return printable(said)


def failures(overview: CollectionOverview) -> str:
    """The documents of the quarantine by what failed."""
    said: list[str] = []
    for failing in overview.failing:
        if failing.error is None:
            said.append(f"{failing.documents:,} of {failing.kinds:,} other kinds")
        else:
            where = "" if failing.revision is None else f" in revision {failing.revision}"
            said.append(f"{failing.documents:,} {failing.error}{where}")
    return printable(", ".join(said) or f"{overview.coverage.quarantined:,} documents")
