"""A document before and after, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from lazymigrate.comparison import Comparison
from lazymigrate.revision import Revision
from lazymigrate.verification import printable

__all__ = ["comparison"]

STYLES: Mapping[str, str] = {"-": "red", "+": "green", " ": "", "…": "bright_black"}


def comparison(found: Comparison, *, title: str) -> RenderableType:
    """What is compared, the revisions on the way, and the differing lines; each stays a line, whatever the width."""
    way = f"version {found.version} → {found.target}"
    head = Text(f"{printable(title)}: {way}", style="bold", no_wrap=True, overflow="ignore")
    back = found.target < found.version
    steps = [step(revision, back=back) for revision in found.revisions]
    lines = found.lines()
    if not lines:
        return Group(
            head,
            *steps,
            Text("Nothing changes." if found.version == found.target else "The version moves; no field does."),
        )
    body = Text("\n", no_wrap=True, overflow="ignore").join(
        Text(f"{line.mark} {line.text}".rstrip(), style=STYLES[line.mark]) for line in lines
    )
    body.no_wrap, body.overflow = True, "ignore"
    return Group(head, *steps, Text(), body)


def step(revision: Revision, *, back: bool) -> Text:
    """A revision on the way; an arrow says which way."""
    what = "function" if revision.function is not None else printable(str(revision))
    way = "undone: " if back else ""
    return Text(f"  {revision.version} {printable(revision.name)}: {way}{what}", style="bright_black")
