"""A diagnosis, for a terminal: the gravest findings first."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lazymigrate.doctor import SEVERITIES, Diagnosis, Finding, Severity
from lazymigrate.verification import printable

__all__ = ["diagnosis"]

STYLES: Mapping[Severity, str] = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}
SUMMARIES: Mapping[Severity, str] = {
    "ok": "Nothing here will bite.",
    "note": "Nothing here will bite; the notes are good to know.",
    "warning": "This works, and will cost something: see the warnings.",
    "problem": "This will not work as it is: see the problems.",
}


def diagnosis(found: Diagnosis) -> RenderableType:
    """A row for each finding, with what to do about it, and a summary."""
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(no_wrap=True)
    rows.add_column(no_wrap=True)
    rows.add_column(ratio=1, overflow="fold")
    for severity in reversed(SEVERITIES):
        for finding in found.of(severity):
            rows.add_row(Text(severity, style=STYLES[severity]), Text(finding.topic), entry(finding))
    head = Text(printable(found.collection), style="bold")
    return Group(head, rows, Text(SUMMARIES[found.worst], style=STYLES[found.worst]))


def entry(finding: Finding) -> Text:
    """What was found as a sentence, and the remedy."""
    text = Text(finding.said[:1].upper() + finding.said[1:])
    return text.append(f"\n→ {finding.remedy}", style="bright_black") if finding.remedy else text
