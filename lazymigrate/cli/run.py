"""`lazymigrate run`: look at sweeps, and pause, resume, cancel or slow down the one that is at work."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lazymigrate.cli.app import app_options, confirm_write, open_collections
from lazymigrate.cli.completion import schema_names
from lazymigrate.cli.work import People, number, unlimited
from lazymigrate.runs import Run
from lazymigrate.verification import printable

__all__ = ["run"]

C = TypeVar("C", bound=Callable[..., Any])
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")


def wish(command: C) -> C:
    """The arguments and options of a command that wishes something of one collection's run."""
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask before writing to another machine."),
        AS_JSON,
        click.argument("name", required=False, shell_complete=schema_names),
        app_options,
    ):
        command = option(command)
    return command


@click.group(short_help="List, pause, resume, cancel or slow sweeps.")
def run() -> None:
    """Sweeps, at work and past: list, pause, resume, cancel, slow down.

    A wish is written into the journal; the process that sweeps hears of it within a second or so. NAME is a schema's; it
    may be left out where the application has only one.
    """


@run.command()
@app_options
@AS_JSON
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=schema_names)
@click.option("--limit", type=click.IntRange(1), default=10, show_default=True, metavar="N", help="Of each collection.")
def ls(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    as_json: bool,
    names: Sequence[str],
    limit: int,
) -> None:
    """List the last runs, newest first."""
    with open_collections(app, uri, database, collection, names) as collections:
        runs = [each for people in collections for each in people.runs.list(limit)]
    if as_json:
        for each in runs:
            click.echo(each.to_json())
    elif runs:
        Console(highlight=False).print(table(runs))
    else:
        click.echo("There was no run yet. `lazymigrate sweep` starts one.")


@run.command()
@wish
def pause(**given: Any) -> None:
    """Let the process that sweeps finish its batch, and then stand still."""
    wished(lambda people: people.runs.pause(), **given)


@run.command()
@wish
def resume(**given: Any) -> None:
    """Let a paused run go on.

    An interrupted one is only marked as wanted: `lazymigrate sweep` goes on with it.
    """
    wished(lambda people: people.runs.resume(), **given)


@run.command()
@wish
def cancel(**given: Any) -> None:
    """End a run for good, after the batch in hand; what was upgraded stays so."""
    wished(lambda people: people.runs.cancel(), **given)


@run.command("set")
@wish
@click.option(
    "--rate",
    required=True,
    callback=number(above=0, none=True),
    metavar="N",
    help="Documents a second, at most; or none.",
)
def set_rate(rate: float, **given: Any) -> None:
    """Change the rate of a run, for whoever works on it."""
    wished(lambda people: people.runs.set(rate=unlimited(rate)), **given)


def wished(
    wish: Callable[[People], Run],
    *,
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    name: str | None,
    as_json: bool,
    yes: bool,
) -> None:
    """Write a wish, and print the run as it is then."""
    with open_collections(app, uri, database, collection, [name] if name else ()) as collections:
        if len(collections) > 1:
            names = ", ".join(printable(people.schema.name) for people in collections)
            raise click.UsageError(f"Which run? Name a schema: {names}.")
        (people,) = collections
        current = people.runs.current()
        if current is not None:
            confirm_write(people.raw.database, f"It changes the run of {printable(str(current))}.", yes=yes)
        changed = wish(people)
    click.echo(changed.to_json() if as_json else printable(str(changed)))
    if changed.state == "enqueued":
        click.echo(f"No process works on it. Go on with: {that_goes_on(changed, people.schema.name)}", err=as_json)


def that_goes_on(run: Run, schema: str) -> str:
    """The command that goes on with a run of this schema, as a shell takes it."""
    words = ["sweep", schema] if run.kind == "sweep" else ["downgrade", schema, "--to", str(run.target)]
    return printable(shlex.join(["lazymigrate", *words]))


def table(runs: Sequence[Run]) -> Table:
    """Runs as rows."""
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black")
    rows.add_column("collection", overflow="fold")
    for heading in ("to", "upgraded", "of"):
        rows.add_column(heading, justify="right", no_wrap=True)
    rows.add_column("state", no_wrap=True)
    rows.add_column("since (UTC)", no_wrap=True)
    rows.add_column("", overflow="fold")
    for each in runs:
        counts = each.counts
        rows.add_row(
            Text(printable(each.collection)),
            str(each.target),
            f"{counts.upgraded:,}",
            f"{counts.total:,}",
            Text(each.state, style=STYLES.get(each.state, "yellow")),
            f"{each.ended or each.started:%Y-%m-%d %H:%M}",
            Text(remark(each)),
        )
    return rows


STYLES = {"running": "green", "succeeded": "green", "errored": "red", "cancelled": "bright_black"}


MEANINGS: Mapping[str, str] = {
    "SchemaError": "SchemaError: a revision is written wrongly; sweep again to read how",
}
"""What a person does about an error whose text the journal does not keep."""


def remark(run: Run) -> str:
    """What else there is to say of a run."""
    waits = run.waiting_for not in (None, run.state) and run.expires is not None
    parts = [
        f"waiting: {run.waiting_for}" if waits else "",
        f"{run.counts.quarantined:,} quarantined" if run.counts.quarantined else "",
        f"at most {run.rate:,g}/s" if run.rate is not None and not run.over and not waits else "",
        f"{run.stopped_by}" if run.stopped_by not in (None, "finished", run.state) else "",
        MEANINGS.get(run.error, run.error) if run.error else "",
        f"{run.kind}" if run.kind != "sweep" else "",
    ]
    return printable(", ".join(part for part in parts if part))
