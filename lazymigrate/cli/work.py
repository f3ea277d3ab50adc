"""A sweep or a downgrade at work on the command line: its options, its progress, and its end as an exit status.

What an exit status asks of whoever started the command: 0 nothing; 75 to start it again, it goes on where it was; 3 that a
person looks what is left, since starting it again may change nothing; 1 and 2 that a person mends something first; 130 is
the person's own Ctrl-C.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from math import inf, isfinite
from typing import Any, TypeVar, cast

import click
from click.core import ParameterSource
from pymongo import ReadPreference
from rich.console import Console

from lazymigrate.cli.interruption import Interruption
from lazymigrate.cli.remarks import remark_on_emptiness
from lazymigrate.collection import LazyCollection
from lazymigrate.report.progress import progress_on
from lazymigrate.sweeping import StoppedBy, SweepKeywords, SweepReport
from lazymigrate.throttling import Window
from lazymigrate.verification import printable

__all__ = ["People", "carried_out", "interruptible", "number", "options_of", "reach", "unlimited", "work_options"]

People = LazyCollection[dict[str, Any]]
C = TypeVar("C", bound=Callable[..., Any])

DONE, ERROR, NOT_COMPLETE, GO_ON = 0, 1, 3, 75
STATUSES: Mapping[StoppedBy, int] = {
    "finished": NOT_COMPLETE,  # what is left is in the quarantine, or has an invalid stamp
    "limit": NOT_COMPLETE,  # as many as were asked for
    "cancelled": NOT_COMPLETE,  # somebody did not want it to go on
    "max_seconds": GO_ON,
    "interrupted": GO_ON,
    "errored": ERROR,
}
"""The exit status for a sweep that is not complete, by what stopped it."""

GRAVITY = (DONE, NOT_COMPLETE, GO_ON, ERROR)  # of several collections the worst counts
AFTERWARDS: Mapping[StoppedBy, str] = {
    "interrupted": "Interrupted: what was on its way is finished. Go on with:",
    "max_seconds": "The time of --max-seconds is over: what was on its way is finished. Go on with:",
}


def number(*, least: float = 0.0, above: float | None = None, none: bool = False) -> Callable[..., float | None]:
    """What understands an option as a finite number of at least `least`, or above `above`; with `none`, "none" is infinite."""

    def understood(_: click.Context, param: click.Parameter, value: Any) -> float | None:
        if value is None:
            return None
        if none and value == "none":
            return inf
        try:
            found = float(value)
        except ValueError:
            found = inf
        if not isfinite(found) or found < least or (above is not None and found <= above):
            bound = f"at least {least:g}" if above is None else f"above {above:g}"
            raise click.BadParameter(f"{value!r}: choose a number {bound}{', or none' if none else ''}.", param=param)
        return found

    return understood


def unlimited(number: float | None) -> float | None:
    """What `number` understood; None for "none"."""
    return None if number == inf else number


def as_window(_: click.Context, param: click.Parameter, text: str | None) -> str | None:
    """The hours of a day, if they are some."""
    try:
        return None if text is None else Window.parse(text).text
    except ValueError as error:
        raise click.BadParameter(str(error), param=param) from None


def as_failures(context: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """A number of documents, or a share of them."""
    found = number()(context, param, text)
    if found is not None and found >= 1 and found != int(found):
        raise click.BadParameter(f"{found:g}: choose a share below 1, or a whole number.", param=param)
    return found


def work_options(command: C) -> C:
    """The options of a command that sweeps, named like the keywords of `sweep`, in the order in which help lists them."""
    options = (
        click.option("--rate", callback=number(above=0), metavar="N", help="At most N documents a second."),
        click.option("--batch", "batch_size", type=click.IntRange(1), metavar="N", help="On their way at a time."),
        click.option("--nice", callback=number(), default="0", metavar="X", help="Rest X times as long as it worked."),
        click.option("--pause", callback=number(), default="0", metavar="S", help="Seconds to rest after each part."),
        click.option("--window", callback=as_window, metavar="TEXT", help="Hours (UTC), as 22:00-06:00 Europe/Berlin."),
        click.option(
            "--max-lag",
            callback=number(none=True),
            default="10",
            metavar="S",
            help="Wait while a secondary lags more seconds [10]; none.",
        ),
        click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N documents."),
        click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes that share the work."),
        click.option(
            "--max-seconds", callback=number(above=0), metavar="S", help="Stop then; started again, it goes on."
        ),
        click.option(
            "--max-failures",
            callback=as_failures,
            metavar="X",
            help="How many, or which share, may fail [0.01].",
        ),
        click.option(
            "--wait-for-lease", callback=number(), default="0", metavar="S", help="If another sweep is at work."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object per collection."),
        click.option("--yes", is_flag=True, help="Do not ask before writing to another machine."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def options_of(given: Mapping[str, Any]) -> SweepKeywords:
    """The keywords of a sweep, from the options of `work_options`."""
    return cast("SweepKeywords", {**given, "max_lag": unlimited(given["max_lag"])})


def reach(collections: Sequence[People]) -> None:
    """Fail soon where no server answers at all: a sweep is patient, since there may be an election."""
    for people in collections[:1]:
        people.raw.database.command("ping", read_preference=ReadPreference.NEAREST)


@contextmanager
def interruptible(*, dry_run: bool) -> Generator[Interruption]:
    """While it lasts, Ctrl-C and SIGTERM end the command in good order, and say how to go on."""
    with Interruption() as interruption:
        try:
            yield interruption
        except KeyboardInterrupt:
            say_how_to_go_on("Interrupted at once: nothing is lost. Go on with:", dry_run=dry_run)
            click.get_current_context().exit(interruption.status)


def carried_out(
    collections: Sequence[People],
    begin: Callable[[People, SweepKeywords], SweepReport],
    options: SweepKeywords,
    interruption: Interruption,
    *,
    as_json: bool,
) -> None:
    """Let one collection after the other be swept, show it, and end the command with the status that this deserves.

    `limit` and `max_seconds` are for all of them together.
    """
    console = Console(stderr=True, highlight=False)
    dry_run = options.get("dry_run", False)
    limit, seconds = options.get("limit"), options.get("max_seconds")
    status = DONE
    for people in collections:
        interruption.begin()
        with progress_on(console, people.raw.name, interruption.notice) as progress:
            keywords: SweepKeywords = {
                **options,
                "limit": limit,
                "max_seconds": seconds,
                "stop": interruption.stop,
                "progress": progress,
            }
            report = begin(people, keywords)
        click.echo(report.to_json() if as_json else printable(str(report)))
        if report.stopped_by == "interrupted":
            say_how_to_go_on(AFTERWARDS["interrupted"], dry_run=dry_run)
            click.get_current_context().exit(interruption.status)
        status = max(status, status_of(report), key=GRAVITY.index)
        explain(report)
        if not (report.upgraded or report.remaining):
            remark_on_emptiness(people)
        limit = None if limit is None else max(0, limit - report.upgraded)
        seconds = None if seconds is None else max(0.0, seconds - report.seconds)
    if status == GO_ON:
        say_how_to_go_on(AFTERWARDS["max_seconds"], dry_run=dry_run)
    click.get_current_context().exit(status)


def status_of(report: SweepReport) -> int:
    """The exit status that a report deserves; of a dry run, that of what it foretells."""
    if report.dry_run and report.stopped_by == "finished":
        return NOT_COMPLETE if report.quarantined or report.losses else DONE
    if report.complete and report.stopped_by != "errored":
        return DONE
    return STATUSES[report.stopped_by]


def explain(report: SweepReport) -> None:
    """Say what a person can do about documents that are left."""
    if report.dry_run:
        return
    if report.stopped_by == "errored":
        said = "ended as errored: too many documents failed, or none could be stored."
        click.echo(f"{printable(report.collection)}: {said} `lazymigrate quarantine ls` lists them.", err=True)
    elif report.stopped_by == "finished" and report.remaining:
        said = "what is left could not be moved; `lazymigrate quarantine ls` lists it."
        click.echo(f"{printable(report.collection)}: {said}", err=True)


def say_how_to_go_on(how: str, *, dry_run: bool) -> None:
    """Print the command that goes on, as a shell takes it, without the URI: where it belongs is said instead."""
    if dry_run:
        click.echo("Interrupted; nothing was written.", err=True)
        return
    source = click.get_current_context().get_parameter_source("uri")
    where = "The URI is not repeated here: put it into LAZYMIGRATE_MONGODB_URI. "
    click.echo(f"{where if source is ParameterSource.COMMANDLINE else ''}{how}\n\n  {command_again()}\n", err=True)


def command_again() -> str:
    """The command line of this command, as it was given but for the URI."""
    context = click.get_current_context()
    words = context.command_path.split()
    last: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        if name == "uri" or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        if isinstance(parameter, click.Argument):
            last += value if isinstance(value, tuple) else (value,)
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0])
        else:
            words += [parameter.opts[0], written(value)]
    dashes = ["--"] if any(word.startswith("-") for word in last) else []
    return shlex.join([*words, *dashes, *last])


def written(value: Any) -> str:
    """A value of an option as it can be typed again."""
    if isinstance(value, float):
        return "none" if value == inf else f"{value:.15g}"
    return str(value)
