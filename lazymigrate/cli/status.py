"""`lazymigrate status`: where all collections stand, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import click
from rich.console import Console

from lazymigrate.cli.app import app_options, open_collections
from lazymigrate.cli.completion import schema_names
from lazymigrate.cli.work import People
from lazymigrate.overview import Overview
from lazymigrate.report.status import StatusTable

__all__ = ["gathered", "status"]


@click.command()
@app_options
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=schema_names)
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Estimate, from N documents drawn at random.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, as `coverage --json` does.")
def status(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    names: Sequence[str],
    sample: int | None,
    as_json: bool,
) -> None:
    """Show where all collections stand, and what to do next.

    Nothing is written. Exit status: 0, also where there is something to do; 1 for an error, 2 for wrong usage.
    """
    with open_collections(app, uri, database, collection, names) as collections:
        overview = gathered(collections, sample=sample)
    if as_json:
        click.echo(overview.to_json())
    else:
        Console(highlight=False).print(StatusTable(overview))


def gathered(collections: Sequence[People], *, sample: int | None = None, record: bool = False) -> Overview:
    """The overview of these collections, which are of one database."""
    found = [people.overview(sample=sample, record=record) for people in collections]
    return Overview.of(found, database=collections[0].raw.database.name, release=release())


def release() -> str:
    """The release of this library, as it was installed."""
    try:
        return version("lazymigrate")
    except PackageNotFoundError:
        return "unknown"
