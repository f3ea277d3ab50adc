"""What the page of a report shows in pictures: a stacked bar, and the share at head over time. Each says in words what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lazymigrate.coverage import percent
from lazymigrate.overview import CollectionOverview
from lazymigrate.report.markup import Markup, element, joined

__all__ = ["Segment", "segments", "stacked_bar", "trend_chart"]

if TYPE_CHECKING:
    from datetime import datetime

WIDTH = 1000.0  # of a drawing, in its own units: it is stretched to whatever there is room for
SLIT = 2.0  # between two segments
LEAST = 4.0  # for anything above nothing
SHADES = 4


class Segment(NamedTuple):
    """A part of the bar: which documents, how many, and the class of its colour."""

    name: str
    documents: int
    color: str


def segments(overview: CollectionOverview) -> list[Segment]:
    """The parts of the bar, the newest first: at head, each outdated version, and what this code has no version for."""
    counts = overview.coverage
    found = [Segment("at head", counts.at_head, "head")]
    found += [
        Segment(f"version {line.version}", line.documents, shade(overview, line.version))
        for line in overview.versions
        if line.label == "outdated"
    ]
    found += [
        Segment("ahead", counts.ahead, "ahead"),
        Segment("retired", counts.retired, "retired"),
        Segment("invalid", counts.invalid, "invalid"),
    ]
    return [segment for segment in found if segment.documents]


def shade(overview: CollectionOverview, version: int) -> str:
    """The class of an outdated version's colour: the older, the darker."""
    outdated = [line.version for line in overview.versions if line.label == "outdated"]
    rank = outdated.index(version)
    spread = rank if len(outdated) <= SHADES else rank * SHADES // len(outdated)
    return f"old{spread + 1}"


def stacked_bar(overview: CollectionOverview, *, small: bool = False) -> Markup:
    """The segments side by side; each is seen, however few documents it stands for."""
    shown = segments(overview)
    total = overview.coverage.total
    wide = [max(LEAST, segment.documents / total * WIDTH) for segment in shown]
    scale = (WIDTH - SLIT * (len(shown) - 1)) / sum(wide) if wide else 1.0
    rectangles: list[Markup] = []
    left = 0.0
    for segment, width in zip(shown, wide, strict=True):
        said = f"{segment.name}: {segment.documents:,} ({percent(segment.documents / total)})"
        title = element("title", said)
        rectangles.append(
            element("rect", title, class_=segment.color, x=f"{left:.2f}", width=f"{width * scale:.2f}", height=10)
        )
        left += width * scale + SLIT
    said = ", ".join(f"{segment.name} {percent(segment.documents / total)}" for segment in shown) or "no documents"
    return element(
        "svg",
        *rectangles,
        class_="bar small" if small else "bar",
        viewBox=f"0 0 {WIDTH:g} 10",
        preserveAspectRatio="none",
        role="img",
        aria_label=said,
    )


def trend_chart(overview: CollectionOverview) -> Markup:
    """The share at head at each recorded count, and a dashed line to the day when sweeps would be done, at the pace of the last."""
    points = overview.trend
    end = overview.forecast
    first, last = points[0].taken, points[-1].taken
    span = (max(end or last, last) - first).total_seconds() or 1.0
    spots = [((point.taken - first).total_seconds() / span * WIDTH, 100 - point.ratio * 100) for point in points]
    line = " ".join(f"{x:.1f},{y:.2f}" for x, y in spots)
    (left, _), (right, height) = spots[0], spots[-1]
    fixed = "non-scaling-stroke"  # lines stay as thin as they are while the drawing is stretched
    shapes = [
        *(element("line", class_="grid", x1=0, x2=f"{WIDTH:g}", y1=y, y2=y, vector_effect=fixed) for y in (0, 50, 100)),
        element("polygon", class_="area", points=f"{left:.1f},100 {line} {right:.1f},100"),
        element("polyline", class_="curve", points=line, vector_effect=fixed),
        *(element("path", class_="point", d=f"M{x:.1f} {y:.2f}h0", vector_effect=fixed) for x, y in spots),
    ]
    if end is not None:
        stuck = 100 * points[-1].stuck / points[-1].total
        pace = f"{right:.1f},{height:.2f} {WIDTH:g},{stuck:.2f}"
        shapes.append(element("polyline", class_="pace", points=pace, vector_effect=fixed))
    said = f"{percent(points[0].ratio)} at head on {day(first)}, {percent(points[-1].ratio)} on {day(last)}"
    if end is not None:
        said += f", swept about {day(end)}"
    drawing = element(
        "svg",
        *shapes,
        class_="plot",
        viewBox=f"0 0 {WIDTH:g} 100",
        preserveAspectRatio="none",
        role="img",
        aria_label=said,
    )
    scale = element(
        "div", *(element("span", text) for text in ("100%", "50%", "0%")), class_="scale", aria_hidden="true"
    )
    dates = [day(first)] + ([f"swept about {day(end)}"] if end is not None else [day(last)] if last > first else [])
    below = element("div", *(element("span", text) for text in dates), class_="dates")
    return element("div", joined(scale, drawing, below), class_="chart")


def day(date: datetime) -> str:
    return f"{date:%Y-%m-%d}"
