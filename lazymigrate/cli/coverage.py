"""`lazymigrate coverage`: how many documents are at which version, for people, programs and monitoring."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path

import click
from rich.console import Console

from lazymigrate.cli.app import app_options, confirm_write, open_collections
from lazymigrate.cli.completion import schema_names
from lazymigrate.cli.status import gathered
from lazymigrate.cli.work import DONE, NOT_COMPLETE
from lazymigrate.overview import Overview
from lazymigrate.report.table import coverage_report
from lazymigrate.verification import printable

__all__ = ["coverage"]

PLAIN_WIDTH = 100  # columns of a text that goes to a file


@click.command()
@app_options
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=schema_names)
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Estimate, from N documents drawn at random.")
@click.option("--record", is_flag=True, help="Keep the count in the journal, for the trend.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "html", "prometheus"]),
    metavar="FORMAT",
    help="text, json, html or prometheus.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write there, in one piece."
)
@click.option("--yes", is_flag=True, help="Do not ask before writing to another machine.")
def coverage(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    names: Sequence[str],
    sample: int | None,
    record: bool,
    form: str | None,
    as_json: bool,
    output: Path | None,
    yes: bool,
) -> None:
    """Count how many documents are at which version.

    Only --record writes to the database. Exit status: 0 if all are complete, 3 if not, 1 for an error, 2 for wrong usage.
    """
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json is --format json, and --format says {form}. Give one of the two.")
    form = "json" if as_json else form or "text"
    if output is not None and not output.absolute().parent.is_dir():
        raise click.UsageError(
            f"There is no directory {printable(str(output.parent))} for --output. Make it, or correct the name."
        )
    with open_collections(app, uri, database, collection, names) as collections:
        if record:
            listed = ", ".join(printable(people.raw.name) for people in collections)
            confirm_write(collections[0].raw.database, f"The journal gets the coverage of {listed}.", yes=yes)
        overview = gathered(collections, sample=sample, record=record)
    if form == "text" and output is None:
        Console(highlight=False).print(coverage_report(overview))
    elif output is None:
        click.echo(FORMATS[form](overview), nl=False)
    else:
        store(output, FORMATS[form](overview))
    click.get_current_context().exit(DONE if overview.complete else NOT_COMPLETE)


def as_text(overview: Overview) -> str:
    """The report of a terminal, without its colours."""
    console = Console(file=StringIO(), width=PLAIN_WIDTH, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(coverage_report(overview))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def as_html(overview: Overview) -> str:
    from lazymigrate.report.html import page

    return page(overview)


def as_prometheus(overview: Overview) -> str:
    from lazymigrate.report.prometheus import exposition

    return exposition(overview)


FORMATS: Mapping[str, Callable[[Overview], str]] = {
    "text": as_text,
    "json": lambda overview: overview.to_json() + "\n",
    "html": as_html,
    "prometheus": as_prometheus,
}


def store(file: Path, text: str) -> None:
    """The file has the whole text or is what it was: who reads it meanwhile, as a collector does, sees no part of it.

    It keeps its rights, and a link stays one. What is no regular file, a device or a pipe, is written to as it is.
    """
    target = file.resolve()
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, "utf-8")
            return
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as opened:
                opened.write(text)
            Path(name).chmod(rights(target))
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise click.ClickException(
            f"{printable(str(file))} cannot be written ({error.strerror}). Choose another file for --output."
        ) from None


def rights(file: Path) -> int:
    """Those of the file, or of a new one: a temporary file is its owner's alone."""
    if file.exists():
        return stat.S_IMODE(file.stat().st_mode)
    current = os.umask(0)
    os.umask(current)
    return 0o666 & ~current
