"""What the journal says of a collection, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lazymigrate.coverage import percent
from lazymigrate.journal import Journal
from lazymigrate.trend import forecast
from lazymigrate.verification import printable

__all__ = ["history_of"]


def history_of(journal: Journal) -> RenderableType:
    """Revisions, runs, stamps and coverage, each under a heading; what there is none of is left out."""
    parts: list[RenderableType] = []
    if journal.revisions:
        table = columns(("revision", True), ("registered (UTC)", False), ("by", False), ("name", False))
        for record in journal.revisions:
            retired = "" if record.retired is None else f", retired {record.retired:%Y-%m-%d}"
            table.add_row(
                str(record.version),
                f"{record.registered:%Y-%m-%d %H:%M}",
                text(record.application or ""),
                text(f"{record.name}{retired}"),
            )
        parts += section("Revisions", table)
    if journal.runs:
        table = columns(("begun (UTC)", False), ("to", True), ("upgraded", True), ("state", False))
        for run in journal.runs:
            kind = "" if run.kind == "sweep" else f"{run.kind}, "
            upgraded = f"{run.counts.upgraded:,}"
            table.add_row(f"{run.created:%Y-%m-%d %H:%M}", str(run.target), upgraded, text(f"{kind}{run.state}"))
        parts += section("Sweeps", table)
    if journal.stamps:
        table = columns(("at (UTC)", False), ("from", True), ("to", True), ("documents", True), ("by", False))
        for stamp in journal.stamps:
            count = f"{stamp.documents:,}" if stamp.finished else "unknown"
            table.add_row(f"{stamp.at:%Y-%m-%d %H:%M}", str(stamp.source), str(stamp.target), count, text(stamp.by))
        parts += section("Stamps set by hand", table)
    if journal.trend:
        table = columns(("taken (UTC)", False), ("at head", True), ("of", True), ("share", True))
        for point in journal.trend:
            share = percent(point.ratio)
            table.add_row(f"{point.taken:%Y-%m-%d %H:%M}", f"{point.at_head:,}", f"{point.total:,}", share)
        parts += section("Coverage", table)
        ends = forecast(journal.trend)
        if ends is not None:
            parts.append(Padding(Text(f"At this pace swept on {ends:%Y-%m-%d}."), (0, 2)))
    if not parts:
        return text(f"{journal.collection}: the journal is empty. `lazymigrate deploy` registers the revisions.")
    return Group(text(journal.collection, style="bold"), *parts)


def columns(*headings: tuple[str, bool]) -> Table:
    """A plain table; headings, and whether they are of numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black")
    for heading, number in headings:
        table.add_column(heading, justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table


def section(title: str, table: Table) -> list[RenderableType]:
    return [Text(f"  {title}", style="underline"), Padding(table, (0, 2))]


def text(said: str, style: str = "") -> Text:
    return Text(printable(said), style=style)
