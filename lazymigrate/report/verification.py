"""What `verify` found, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lazymigrate.verification import Finding, VerifyReport, printable

__all__ = ["verification"]

SHOWN = 20  # findings
COLUMNS = (
    # attribute, heading, style of a count above nothing, whether the column is there when all counts are nothing
    ("identical", "identical", "green", True),
    ("client", "client", "", True),
    ("differing", "differ", "red", True),
    ("failing", "fail", "red", True),
    ("unfit", "misfit", "red", False),
    ("restored", "go back", "green", False),
    ("unrestored", "do not", "red", False),
)
WORDS = {
    "failing": "cannot be upgraded",
    "differing": "MongoDB differs from Python",
    "unfit": "does not fit the model",
    "unrestored": "going back does not restore it",
}


def verification(report: VerifyReport) -> RenderableType:
    """A table of the versions, and under it one entry for each thing that is wrong."""
    if not report.versions:
        return Text(f"{report.collection}: no document is outdated, so there is nothing to verify.")
    title = f"{report.collection}: {report.sampled:,} of {report.stored:,} outdated documents tried, up to version {report.head}"
    table = Table(title=Text(printable(title)), title_justify="left", title_style="bold")
    table.add_column("version")
    table.add_column("sampled", justify="right")
    columns = [
        column for column in COLUMNS if column[3] or any(getattr(version, column[0]) for version in report.versions)
    ]
    for _, heading, _, _ in columns:
        table.add_column(heading, justify="right")
    for version in report.versions:
        cells = [counted(getattr(version, name), style) for name, _, style, _ in columns]
        table.add_row(str(version.version), f"{version.sampled:,}", *cells)
    parts: list[RenderableType] = [table]
    for finding in report.findings[:SHOWN]:
        parts += entry(finding)
    if len(report.findings) > SHOWN:
        parts.append(Text(f"and {len(report.findings) - SHOWN} more findings: --json lists them all"))
    parts.append(agreement(report) if report.agrees else summary(report))
    return Group(*parts)


def counted(count: int, style: str) -> Text:
    return Text(f"{count:,}", style=style if count else "bright_black")


def entry(finding: Finding) -> list[RenderableType]:
    """What is wrong, where, and with which documents."""
    head = Text(f"version {finding.version}: ", style="bold")
    head.append(f"{WORDS[finding.kind]} ({finding.count:,})", style="red")
    body = Text(printable(finding.detail))
    named = Text(finding.named, style="bright_black")
    return [head, Padding(Group(body, named), (0, 0, 0, 2))]


def agreement(report: VerifyReport) -> Text:
    """What it means that nothing is wrong: two ways agree only where there are two."""
    client = any(version.client for version in report.versions)
    if any(version.identical for version in report.versions):
        alone = " What only the client upgrades was not compared." if client else ""
        return Text(f"Python and MongoDB agree.{alone}", style="green")
    if client:
        return Text("All can be upgraded. Only the client does it, so that nothing was compared.", style="green")
    return Text("Nothing was compared: others changed these documents meanwhile. Verify again.")


def summary(report: VerifyReport) -> Text:
    count = len(report.findings)
    return Text("1 finding." if count == 1 else f"{count} findings.", style="red")
