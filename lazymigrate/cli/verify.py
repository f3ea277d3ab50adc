"""`lazymigrate verify`: do Python and MongoDB upgrade stored documents to the same bytes?"""

from __future__ import annotations

import click
from rich.console import Console

from lazymigrate.cli.app import app_options, open_collections
from lazymigrate.cli.remarks import remark_on_emptiness
from lazymigrate.report.verification import verification

__all__ = ["verify"]


@click.command(short_help="Compare both ways to upgrade, on a sample.")
@app_options
@click.option(
    "--sample", type=click.IntRange(min=1), default=1000, show_default=True, help="Documents of each version."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per collection.")
def verify(
    app: str | None, uri: str | None, database: str | None, collection: str | None, *, sample: int, as_json: bool
) -> None:
    """Upgrade a sample of outdated documents in Python and inside MongoDB, and compare; nothing is written.

    Exit status: 0 if all agree, 1 if something differs or fails, 2 for wrong usage.
    """
    console = Console(highlight=False)
    agrees = True
    with open_collections(app, uri, database, collection) as collections:
        for number, people in enumerate(collections):
            report = people.verify(sample=sample)
            agrees = agrees and report.agrees
            if as_json:
                click.echo(report.to_json())
            else:
                if number:
                    console.print()
                console.print(verification(report))
            remark_on_emptiness(people)
    if not agrees:
        click.get_current_context().exit(1)
