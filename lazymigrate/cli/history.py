"""`lazymigrate history`: what the journal says: revisions, sweeps, stamps set by hand, and coverage over time."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.console import Console

from lazymigrate.cli.app import app_options, open_collections
from lazymigrate.cli.completion import schema_names
from lazymigrate.report.history import history_of

__all__ = ["history"]


@click.command(short_help="Show the journal: revisions, sweeps, coverage.")
@app_options
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=schema_names)
@click.option("--limit", type=click.IntRange(1), default=10, show_default=True, metavar="N", help="Of each kind.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per collection.")
def history(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    names: Sequence[str],
    limit: int,
    as_json: bool,
) -> None:
    """Show the journal: revisions, sweeps, stamps set by hand, and coverage.

    `lazymigrate deploy` registers revisions, and `lazymigrate coverage --record` keeps a coverage.
    """
    console = Console(highlight=False)
    with open_collections(app, uri, database, collection, names) as collections:
        for number, people in enumerate(collections):
            journal = people.journal(limit=limit)
            if as_json:
                click.echo(journal.to_json())
            else:
                if number:
                    console.print()
                console.print(history_of(journal))
