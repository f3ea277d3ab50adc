"""A sweep at work, as people see it: a live bar on a terminal, elsewhere a line now and then.

Both are context managers that are called with each `Progress`; use `progress_on` to get the one that fits. What they
print goes to the console that they are given, which is standard error where standard output is for results.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lazymigrate.sweeping import Progress
from lazymigrate.verification import printable

__all__ = ["LiveProgress", "ProgressLines", "progress_on"]

EVERY = 10.0  # seconds between two lines
A_SECOND = 4  # drawings
Notice = Callable[[], str | None]


def silent() -> str | None:
    """No notice."""
    return None


def progress_on(console: Console, title: str, notice: Notice = silent) -> LiveProgress | ProgressLines:
    """The one that fits a console. `notice` says what is more important than the state, if there is something."""
    return LiveProgress(console, title, notice) if console.is_terminal else ProgressLines(console, title, notice)


class LiveProgress:
    """A bar and a line of facts, drawn again a few times a second, also while the sweep waits for the server."""

    def __init__(self, console: Console, title: str, notice: Notice = silent) -> None:
        self._console = console
        self._title = title
        self._notice = notice
        self._last: Progress | None = None
        self._ended = False
        self._started = console.get_time()
        self._live = Live(
            console=console,
            get_renderable=self.drawn,
            refresh_per_second=A_SECOND,
            redirect_stdout=sys.stdout.isatty(),  # what an application prints into a pipe stays there
        )

    def __call__(self, progress: Progress) -> None:
        """Show this from now on."""
        self._last = progress

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended = True
        self._live.transient = error is not None and not (self._last and self._last.done)  # an error stands alone
        self._live.stop()

    def drawn(self) -> RenderableType:
        """What the terminal shows just now."""
        last = self._last
        row = Table.grid(expand=True, padding=(0, 2, 0, 0), pad_edge=False)
        row.add_column(no_wrap=True, max_width=24, overflow="ellipsis")
        row.add_column(ratio=1)
        title = Text(printable(self._title), style="bold")
        elapsed = clock(self._console.get_time() - self._started)
        if last is None:
            row.add_column(no_wrap=True)
            row.add_row(title, bar(None), "" if self._ended else f"counting, {elapsed}")
            return row
        for _ in range(4):
            row.add_column(justify="right", no_wrap=True)
        time = elapsed if self._ended else remaining_time(last)
        row.add_row(title, bar(last), done_of_total(last), percent(last), f"{last.rate:,.0f}/s", time)
        if self._ended:
            return row
        return Group(row, facts(last, self._notice()))


class ProgressLines:
    """A line every ten seconds, and one at the end."""

    def __init__(self, console: Console, title: str, notice: Notice = silent, *, every: float = EVERY) -> None:
        self._console = console
        self._title = title
        self._notice = notice
        self._every = every
        self._due = console.get_time() + every
        self._last: Progress | None = None
        self._noticed: str | None = None

    def __call__(self, progress: Progress) -> None:
        """Print it, if it is time for a line or there is something new to notice."""
        self._last = progress
        now, notice = self._console.get_time(), self._notice()
        if now >= self._due or notice != self._noticed:
            self._due, self._noticed = now + self._every, notice
            self._print(progress, notice)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._last is not None:
            self._print(self._last, None)

    def _print(self, progress: Progress, notice: str | None) -> None:
        parts = [
            f"{done_of_total(progress)} ({percent(progress)})",
            f"{progress.rate:,.0f}/s",
            *(part for part, _ in counts(progress)),
            state(progress, notice)[0],
        ]
        time = remaining_time(progress)
        parts += [time] if time else []
        text = Text(f"{printable(self._title)}: {', '.join(parts)}")
        self._console.print(text, soft_wrap=True)


def bar(progress: Progress | None) -> ProgressBar:
    """How much is done; one that moves while the total is not known."""
    if progress is None:
        return ProgressBar(total=None, pulse=True)
    if not progress.total:
        return ProgressBar(total=1, completed=1)  # nothing to do is all done
    return ProgressBar(total=max(progress.total, progress.done), completed=progress.done)


def facts(progress: Progress, notice: str | None) -> Text:
    """The state, and the counts; at 80 columns all on one line unless the reason to wait is long."""
    said, style = state(progress, notice)
    line = Text(said, style=style)
    for count, color in counts(progress):
        line.append(" · ", style="bright_black")
        line.append(count.replace(" ", "\N{NO-BREAK SPACE}"), style=color)  # breaks between counts, never inside
    return line


def state(progress: Progress, notice: str | None) -> tuple[str, str]:
    """What it does, why it does nothing, and a style for that."""
    if notice is not None:
        return notice, "bold yellow"
    if progress.waiting_for is None or progress.waiting_for == progress.state:
        return progress.state, "green" if progress.state == "running" else "yellow"
    return f"waiting: {printable(progress.waiting_for)}", "yellow"


def counts(progress: Progress) -> list[tuple[str, str]]:
    """What is left and what went wrong, each with a style."""
    lag = [] if progress.lag is None else [(f"lag {progress.lag:,.0f} s", "")]
    return [
        (f"{left(progress):,} left", ""),
        (f"{progress.conflicts:,} conflicts", ""),
        (f"{progress.quarantined:,} quarantined", "red" if progress.quarantined else ""),
        *lag,
    ]


def done_of_total(progress: Progress) -> str:
    return f"{progress.done:,}/{progress.total:,}"


def percent(progress: Progress) -> str:
    """Rounded down: nothing is complete before it is."""
    share = 1.0 if not progress.total else min(1.0, progress.done / progress.total)
    return f"{int(share * 100)}%"


def left(progress: Progress) -> int:
    """What is neither done nor listed."""
    return max(0, progress.total - progress.done - progress.quarantined)


def remaining_time(progress: Progress) -> str:
    """How long it will take at the rate of the last seconds, waits included; nothing where nobody knows."""
    rest = left(progress)
    if not rest or progress.rate < 1e-3 or progress.state != "running":
        return ""
    return f"{clock(rest / progress.rate)} to go"


def clock(seconds: float) -> str:
    """A duration as a clock shows it; days where there are some."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    shown = f"{hours}:{minutes:02}:{rest:02}"
    return f"{days:,} d {shown}" if days else shown
