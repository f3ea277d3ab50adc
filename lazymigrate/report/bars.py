"""Bars for a terminal, in one colour or several, and a line of little bars for what changes over time."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style

from lazymigrate.coverage import Coverage

__all__ = ["PARTS", "Bar", "Sparkline", "coverage_bar", "parts"]

PARTS = (
    # attribute of a coverage, its name, its colour on a terminal
    ("at_head", "at head", "green"),
    ("outdated", "outdated", "yellow"),
    ("retired", "retired", "red"),
    ("invalid", "invalid", "bright_red"),
    ("ahead", "ahead", "magenta"),
)
"""What a collection's documents are divided into: together these are all of them."""

NARROWEST, WIDEST = 8, 30
LEVELS = "▁▂▃▄▅▆▇█"
PLAIN_LEVELS = "_.-=#"  # where there is nothing but ASCII
EMPTY = "bright_black"


class Bar:
    """Shares of a whole, one after the other, as wide as the cell allows; the first is told from the others without colours.

    At least one mark for anything above nothing, and not all of them for anything below all.
    """

    def __init__(self, *parts: tuple[float, str]) -> None:
        self.parts = parts

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(NARROWEST, options.max_width), min(WIDEST, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        full, other, rest = ("#", "=", ".") if options.ascii_only else ("█", "▒", "░")
        width = min(WIDEST, options.max_width)
        marks = divided([share for share, _ in self.parts], width)
        for place, (count, (_, color)) in enumerate(zip(marks, self.parts, strict=True)):
            yield Segment((other if place else full) * count, Style.parse(color))
        yield Segment(rest * (width - sum(marks)), Style.parse(EMPTY))


class Sparkline:
    """Shares over time, the last of them where there is no room for all."""

    def __init__(self, shares: Sequence[float]) -> None:
        self.shares = shares

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = min(len(self.shares), WIDEST, options.max_width)
        return Measurement(width, width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        levels = PLAIN_LEVELS if options.ascii_only else LEVELS
        shown = list(self.shares)[-min(WIDEST, options.max_width) :]
        yield Segment("".join(levels[min(len(levels) - 1, int(share * len(levels)))] for share in shown))


def parts(coverage: Coverage) -> list[tuple[str, int, str]]:
    """The name, the documents and the colour of each part of a collection that has some."""
    return [(name, count, color) for attribute, name, color in PARTS if (count := getattr(coverage, attribute))]


def coverage_bar(coverage: Coverage) -> Bar:
    """The parts of a collection, what is at head first."""
    total = coverage.total or 1
    return Bar(*((getattr(coverage, attribute) / total, color) for attribute, _, color in PARTS))


def divided(shares: Sequence[float], width: int) -> list[int]:
    """How many of `width` marks each share has: something where it is something, and all only for all."""
    marks = [max(1, round(share * width)) if share > 0 else 0 for share in shares]
    most = width if sum(shares) > 1 - 1e-12 else width - 1
    while sum(marks) > max(most, 0) and max(marks) > 1:
        marks[marks.index(max(marks))] -= 1
    while marks and most == width and sum(marks) < width:
        marks[marks.index(max(marks))] += 1
    return marks
