"""All collections on one screen of a terminal."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from lazymigrate.coverage import Coverage, percent
from lazymigrate.overview import CollectionOverview, Overview
from lazymigrate.report.bars import coverage_bar
from lazymigrate.verification import printable

__all__ = ["StatusTable"]

ROOM = 110  # columns from which on everything that is wrong has a column of its own
WRONG = (
    # attribute of a coverage, style of a count above nothing
    ("ahead", "magenta"),
    ("retired", "red"),
    ("invalid", "red"),
    ("quarantined", "red"),
)
STATES = {"running": "green", "succeeded": "green", "errored": "red", "cancelled": "bright_black"}


class StatusTable:
    """A row for each collection, and below it what to do next; it fits 80 columns and uses more."""

    def __init__(self, overview: Overview) -> None:
        self.overview = overview

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= ROOM
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black", expand=wide)
        table.add_column("collection", overflow="fold", min_width=10)
        for heading in ("head", "documents", "at head"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("", ratio=1 if wide else None, min_width=8)
        wrong = [("outdated", "yellow"), *(WRONG if wide else ())]
        for heading, _ in wrong:
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("sweep", no_wrap=True)
        for each in self.overview.collections:
            counts = each.coverage
            table.add_row(
                Text(printable(each.collection), style="bold"),
                str(counts.head),
                f"{counts.total:,}",
                percent(counts.ratio),
                coverage_bar(counts),
                *(counted(counts, name, style) for name, style in wrong),
                state(each),
            )
        yield Group(table, Text(), steps(self.overview, wrong_too=not wide))


def counted(coverage: Coverage, name: str, style: str) -> Text:
    count = getattr(coverage, name)
    return Text(f"{count:,}", style=style if count else "bright_black")


def state(overview: CollectionOverview) -> Text:
    """What became of the last sweep, or that there was none."""
    if overview.run is None:
        return Text("none", style="bright_black")
    return Text(overview.run.state, style=STATES.get(overview.run.state, "yellow"))


def steps(overview: Overview, *, wrong_too: bool) -> Table:
    """What to do next for each collection, behind what is wrong where that has no column."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bright_black", overflow="fold", max_width=24)
    table.add_column(overflow="fold")
    for each in overview.collections:
        said = Text(each.next_step, style="green" if each.coverage.complete else "")
        found = [(f"{count:,} {name}", style) for name, style in WRONG if (count := getattr(each.coverage, name))]
        if wrong_too and found:
            said = Text(", ").join(Text(text, style=style) for text, style in found).append(". ").append_text(said)
        table.add_row(Text(printable(each.collection)), said)
    return table
