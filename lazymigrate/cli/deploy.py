"""`lazymigrate deploy`: register new revisions and make the backlog index; `lazymigrate drift`: what is not as recorded."""

from __future__ import annotations

from collections.abc import Sequence

import click

from lazymigrate.backlog import index
from lazymigrate.cli.app import app_options, confirm_write, open_collections
from lazymigrate.cli.completion import schema_names
from lazymigrate.cli.remarks import remark_on_emptiness
from lazymigrate.cli.work import reach
from lazymigrate.verification import printable

__all__ = ["deploy", "drift"]

DRIFT = 1


@click.command(short_help="Register new revisions, make the backlog index.")
@app_options
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=schema_names)
@click.option("--application", metavar="TEXT", help="The application's version, to be recorded.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per collection.")
@click.option("--yes", is_flag=True, help="Do not ask before writing to another machine.")
def deploy(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    names: Sequence[str],
    application: str | None,
    as_json: bool,
    yes: bool,
) -> None:
    """Register new revisions in the journal, and make the backlog index.

    May be repeated, and run by several at once. Upgrades nothing. Refuses, and registers nothing, when a revision does
    something else than what was recorded under its number. Exit status: 0 done, 1 drift or an error, 2 wrong usage.
    """
    with open_collections(app, uri, database, collection, names) as collections:
        reach(collections)
        for people in collections:
            remark_on_emptiness(people)  # before a person is asked
            name, schema = printable(people.raw.name), people.schema
            what = f"{name}: up to {len(schema.revisions)} revisions are registered, and the index {index(schema).name!r} is made."
            confirm_write(people.raw.database, what, yes=yes)
            deployed = people.deploy(application=application)
            click.echo(deployed.to_json() if as_json else printable(str(deployed)))


@click.command()
@app_options
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=schema_names)
@click.option("--sample", type=click.IntRange(0), default=1000, show_default=True, help="Documents of each version.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per collection.")
def drift(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    names: Sequence[str],
    sample: int,
    as_json: bool,
) -> None:
    """Say what is not as it was recorded; nothing is written.

    Revisions that were changed after they were deployed, stored versions that this code does not know, and documents
    whose shape does not fit their stamp, of a sample. Exit status: 0 none, 1 drift or an error, 2 wrong usage.
    """
    found = False
    with open_collections(app, uri, database, collection, names) as collections:
        for people in collections:
            report = people.drift(sample=sample)
            found = found or report.found
            click.echo(report.to_json() if as_json else "\n".join(map(printable, str(report).splitlines())))
            remark_on_emptiness(people)
    if found:
        click.get_current_context().exit(DRIFT)
