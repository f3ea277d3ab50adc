"""`lazymigrate downgrade`: bring documents back to an older version."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from lazymigrate.cli.app import app_options, ask, open_collections
from lazymigrate.cli.completion import schema_names
from lazymigrate.cli.interruption import Interruption
from lazymigrate.cli.work import People, carried_out, interruptible, options_of, reach, work_options
from lazymigrate.report.progress import progress_on
from lazymigrate.sweeping import SweepKeywords, SweepReport
from lazymigrate.verification import printable
from lazymigrate.wording import documents

__all__ = ["downgrade"]


@click.command(short_help="Bring documents back to an older version.")
@app_options
@click.argument("name", shell_complete=schema_names)
@click.option("--to", required=True, type=int, metavar="N", help="The version to go back to.")
@click.option("--dry-run", is_flag=True, help="Write nothing; say what would be done.")
@click.option("--accept-losses", is_flag=True, help="Go on although data is lost.")
@work_options
def downgrade(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    name: str,
    to: int,
    dry_run: bool,
    accept_losses: bool,
    as_json: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Bring documents of the schema NAME that are above version N back to it.

    First counts, without writing, how many can be brought back and how many would lose data by it; then it asks, on every
    server, unless --yes. What cannot be brought back stays as it is: `lazymigrate quarantine ls` lists it. Stop code that
    knows the newer versions before: it upgrades what it reads.

    Exit status: 0 done, 1 error, 2 wrong usage, 3 not complete (quarantine, invalid versions, --limit, cancelled), 75 start
    it again to go on (SIGTERM, --max-seconds), 130 Ctrl-C.
    """
    keywords: SweepKeywords = {**options_of(options), "dry_run": dry_run}
    if keywords.get("workers") is not None:
        raise click.UsageError("--workers is for sweeps. Leave it away: a downgrade runs in this process.")
    with (
        interruptible(dry_run=dry_run) as interruption,
        open_collections(app, uri, database, collection, [name]) as (people,),
    ):
        schema = people.schema
        if not schema.oldest <= to <= schema.head:
            raise click.UsageError(f"--to {to}: choose a version from {schema.oldest} to {schema.head}.")
        reach([people])
        if not dry_run:
            foretold = rehearsed(people, to, interruption)
            click.echo(foreseen(foretold, to), err=True)
            agree(people, foretold, yes=yes, accept_losses=accept_losses)

        def begin(people: People, keywords: SweepKeywords) -> SweepReport:
            keywords = {**keywords, "accept_losses": True}  # agreed to, or there were none
            return people.downgrade(to, **keywords)

        carried_out([people], begin, keywords, interruption, as_json=as_json)


def rehearsed(people: People, to: int, interruption: Interruption) -> SweepReport:
    """What would become of the documents, all of them."""
    interruption.begin()
    title = f"{people.raw.name}, counting"
    with progress_on(Console(stderr=True, highlight=False), title, interruption.notice) as progress:
        report = people.downgrade(to, dry_run=True, stop=interruption.stop, progress=progress)
    if report.stopped_by == "interrupted":
        raise KeyboardInterrupt
    return report


def foreseen(report: SweepReport, to: int) -> str:
    """How many documents would be brought back, how many cannot be, and how many would lose data."""
    return (
        f"{printable(report.collection)}: {documents(report.upgraded)} can be brought back to version {to}, "
        f"{report.losses:,} of them with a loss of data that upgrading again does not restore; {report.quarantined:,} cannot."
    )


def agree(people: People, report: SweepReport, *, yes: bool, accept_losses: bool) -> None:
    """A person agrees, wherever the server is: what is lost is lost on this machine, too."""
    if not (report.upgraded or report.quarantined):
        return
    if yes:
        if report.losses and not accept_losses:
            raise click.ClickException(
                "Nothing was written. Pass --accept-losses beside --yes, or change the way back."
            )
        return
    ask(people.raw.database)
