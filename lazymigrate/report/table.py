"""Coverage as a table with bars, for a terminal."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from lazymigrate.coverage import Coverage

__all__ = ["coverage_table"]

SHOWN = 12


class Bar:
    """A share of a whole, drawn as wide as the cell allows; at least one mark for anything above nothing."""

    def __init__(self, share: float, color: str) -> None:
        self.share = share
        self.style = Style.parse(color)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(10, min(30, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        full, rest = ("#", ".") if options.ascii_only else ("█", "░")
        width = min(30, options.max_width)
        filled = round(self.share * width)
        if self.share > 0:
            filled = max(1, filled)
        if self.share < 1:
            filled = min(filled, width - 1)
        yield Segment(full * filled, self.style)
        yield Segment(rest * (width - filled), Style.parse("bright_black"))


def coverage_table(coverage: Coverage, *, title: str) -> Table:
    """How many documents are at each version, newest first, with the totals below."""
    table = Table(title=Text(title), title_justify="left", title_style="bold")
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
        row(table, f"{len(hidden)} others", sum(count for _, count in hidden), total, "yellow")
    if coverage.invalid:
        row(table, "no version", coverage.invalid, total, "red")
    table.add_section()
    table.add_row("at head", f"{coverage.at_head:,}", f"{coverage.ratio:.1%}", summary(coverage))
    return table


def state_of(coverage: Coverage, version: int) -> tuple[str, str]:
    if version > coverage.head:
        return "(ahead)", "magenta"
    return ("(head)", "green") if version == coverage.head else ("", "yellow")


def row(table: Table, label: str, count: int, total: int, color: str) -> None:
    share = count / total if total else 0.0
    table.add_row(label, f"{count:,}", f"{share:.1%}", Bar(share, color))


def summary(coverage: Coverage) -> Text:
    if not coverage.total:
        return Text("no documents")
    parts = [
        f"{getattr(coverage, name):,} {name}"
        for name in ("outdated", "ahead", "invalid", "retired", "quarantined")
        if getattr(coverage, name)
    ]
    return Text(", ".join(parts) or "complete", style="" if parts else "green")
