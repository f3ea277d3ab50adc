"""`lazymigrate doctor`: what of this server and these collections will bite?"""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.console import Console

from lazymigrate.cli.app import app_options, open_collections
from lazymigrate.cli.completion import schema_names
from lazymigrate.doctor import Severity, gravest
from lazymigrate.report.doctor import diagnosis

__all__ = ["doctor"]

STATUSES: dict[Severity, int] = {"ok": 0, "note": 0, "warning": 3, "problem": 1}


@click.command()
@app_options
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=schema_names)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per collection.")
def doctor(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    names: Sequence[str],
    as_json: bool,
) -> None:
    """Look for what will bite, and say what to do about it.

    Server, rights, collections, validators and indexes of the schemas NAME, or of all. Nothing is written.

    Exit status: 0 if there is nothing to do, 3 for warnings, 1 for a problem (or an error), 2 for wrong usage.
    """
    console = Console(highlight=False)
    worst: Severity = "ok"
    with open_collections(app, uri, database, collection, names) as collections:
        for number, people in enumerate(collections):
            found = people.doctor()
            worst = gravest([worst, found.worst])
            if as_json:
                click.echo(found.to_json())
            else:
                if number:
                    console.print()
                console.print(diagnosis(found))
    click.get_current_context().exit(STATUSES[worst])
