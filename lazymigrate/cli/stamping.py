"""`lazymigrate stamp`: set versions without transforming; `lazymigrate retire`: say that revisions are needed no more."""

from __future__ import annotations

import json

import click

from lazymigrate.advice import NO_DOCUMENTS
from lazymigrate.cli.app import app_options, ask, open_collections
from lazymigrate.cli.completion import schema_names
from lazymigrate.cli.remarks import is_empty
from lazymigrate.exceptions import CoverageError
from lazymigrate.verification import printable
from lazymigrate.wording import documents

__all__ = ["retire", "stamp"]

NOT_COMPLETE = 3


@click.command(short_help="Set versions without transforming documents.")
@app_options
@click.argument("name", shell_complete=schema_names)
@click.option("--from", "source", required=True, type=int, metavar="N", help="The version that documents have now.")
@click.option("--to", "target", required=True, type=int, metavar="N", help="The version that they are given.")
@click.option("--dry-run", is_flag=True, help="Write nothing; say how many.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def stamp(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    name: str,
    source: int,
    target: int,
    dry_run: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Set the version of documents of the schema NAME, and change nothing else.

    For documents that have the shape of another version than their stamp says; unstamped ones are at base. It asks, on
    every server, unless --yes, and the journal keeps it. Documents ahead of this code are never relabelled.
    """
    with open_collections(app, uri, database, collection, [name]) as (people,):
        try:
            record = people.stamp(target, from_version=source, dry_run=True)
        except ValueError as error:
            raise click.UsageError(printable(str(error))) from None
        if not dry_run and record.documents:
            if not yes:
                said = f"the version of {documents(record.documents)} becomes {target} instead of {source}, whatever the shape is."
                ask(people.raw.database, f"{printable(people.raw.name)}: {said}")
            record = people.stamp(target, from_version=source)
    if as_json:
        click.echo(json.dumps({**json.loads(record.to_json()), "dry_run": dry_run}))
    elif dry_run or not record.documents:
        click.echo(
            f"{printable(record.collection)}: {documents(record.documents)} at version {source}; nothing was written"
        )
    else:
        click.echo(printable(str(record)))


@click.command(short_help="Say that revisions are needed no more.")
@app_options
@click.argument("name", shell_complete=schema_names)
@click.argument("version", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def retire(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    name: str,
    version: int,
    as_json: bool,
    yes: bool,
) -> None:
    """Say in the journal that the revisions up to VERSION of the schema NAME are retired.

    Only when no document needs them, by a fresh count; then it says what to delete from the code. Documents that come
    later are not counted: retire when no older release writes any more, and no queue or backup brings older documents.

    Exit status: 0 retired, 1 error (also: there are no documents), 2 wrong usage, 3 they are needed still.
    """
    with open_collections(app, uri, database, collection, [name]) as (people,):
        collection_name = printable(people.raw.name)
        if is_empty(people):
            raise click.ClickException(
                f"{collection_name}: {NO_DOCUMENTS} Nothing was written. Where the collection is empty on purpose, retire "
                f"in Python: people.retire({version})."
            )
        try:
            if not yes:
                people.require(version)
                ask(people.raw.database, f"{collection_name}: {condition(version)}")
            records = people.retire(version)
        except ValueError as error:
            raise click.UsageError(printable(str(error))) from None
        except CoverageError as error:
            click.echo(printable(str(error)), err=True)
            click.get_current_context().exit(NOT_COMPLETE)
        places = [r for r in people.schema.revisions if r.version <= version]
    if as_json:
        told = {"collection": people.raw.name, "retired": version, "recorded": [record.version for record in records]}
        click.echo(json.dumps(told))
        return
    click.echo(f"{collection_name}: no document needs revision {version} or one before. Now change the code:")
    click.echo(f"  Schema({people.schema.name!r}, …, oldest={version})")
    for revision in places:
        click.echo(f"  delete revision {revision.version} {revision.name!r}, {printable(revision.where)}")


def condition(version: int) -> str:
    """What retiring writes, and what a person has to know that no count can say."""
    return (
        f"the journal says that revisions up to {version} are retired. No document needs them now. Is there anything that "
        f"brings documents below version {version} later: an older release, a queue, a backup? Readers get a "
        "RetiredVersionError for these, once the revisions are deleted. Go on only when there is none."
    )
