"""`lazymigrate diff`: one document before and after its upgrade."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from bson import json_util
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from rich.console import Console

from lazymigrate.cli.app import app_options, chosen, find_schemas, open_collections
from lazymigrate.cli.completion import schema_names
from lazymigrate.cli.identity import readings, shown
from lazymigrate.collection import LazyCollection
from lazymigrate.comparison import CODEC, Comparison, compared
from lazymigrate.exceptions import DocumentError, LazyMigrateError, ModelError, describe
from lazymigrate.quarantine import EXTENDED, extended_json
from lazymigrate.report.comparison import comparison
from lazymigrate.schema import Schema
from lazymigrate.scope import tolerant
from lazymigrate.verification import printable

__all__ = ["diff"]

People = LazyCollection[dict[str, Any]]
LARGEST = 64 * 2**20  # characters of a file: a document has 16 MiB


@click.command()
@app_options
@click.argument("name", shell_complete=schema_names)
@click.argument("document_id", metavar="[ID]", required=False)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="One document in Extended JSON (- for stdin).",
)
@click.option("--to", type=int, metavar="N", help="The version to go to [head]; lower than its own: back.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diff(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    name: str,
    document_id: str | None,
    file: str | None,
    to: int | None,
    as_json: bool,
) -> None:
    """Show one document before and after its upgrade.

    Nothing is written.

    The document with this ID of the schema NAME, or one from a file, for which no server is needed. An ID is read as
    Extended JSON, as an ObjectId, a UUID, an integer, or else as a text; the first of these that is there is meant.

    What is printed holds the document's values.
    """
    if (document_id is None) == (file is None):
        raise click.UsageError("Which document? Give its _id, or --file (and not both).")
    if file is not None:
        (schema,) = chosen(find_schemas(app), [name])
        show(schema, schema.name, read(file), CODEC, to=to, as_json=as_json)
        return
    with open_collections(app, uri, database, collection, [name]) as (people,):
        codec = tolerant(people.raw.codec_options)
        document = found(people, str(document_id), codec)
        show(people.schema, people.raw.name, document, codec, to=to, as_json=as_json)


def found(people: People, text: str, codec: CodecOptions[Any]) -> dict[str, Any]:
    """The stored document that a person means by a text; an error where there is none."""
    stored = people.raw.with_options(codec_options=codec)
    for reading in readings(text, codec.uuid_representation):
        try:
            document: dict[str, Any] | None = stored.find_one({"_id": {"$eq": reading}})
        except (BSONError, OverflowError, TypeError, ValueError):  # BSON cannot hold it, so no _id is that
            continue
        if document is not None:
            return document
    raise click.ClickException(
        f"{printable(people.raw.name)} has no document {extended_json(text)}. Check the _id, --database and --collection."
    )


def read(file: str) -> dict[str, Any]:
    """The document in a file; a `UsageError` unless there is exactly one."""
    try:
        text = sys.stdin.read(LARGEST) if file == "-" else Path(file).read_text("utf-8")
        document = json_util.loads(text, json_options=EXTENDED)
    except (BSONError, RecursionError, OSError, TypeError, ValueError) as error:
        raise click.UsageError(
            f"--file: it cannot be read as Extended JSON ({type(error).__name__}). Write one document, as mongosh's "
            "EJSON.stringify does."
        ) from None
    if not isinstance(document, dict):
        raise click.UsageError("--file: it holds no document. Write one, between { and }.")
    return document


def show(
    schema: Schema, name: str, document: dict[str, Any], codec: CodecOptions[Any], *, to: int | None, as_json: bool
) -> None:
    """Print what becomes of a document, or why nothing does."""
    try:
        result = compared(schema, document, to=to, codec=codec)
    except LazyMigrateError as error:
        raise click.ClickException(printable(failure(error))) from None
    except ValueError as error:
        raise click.UsageError(printable(str(error))) from None
    unfit = misfit(schema, result)
    if as_json:
        click.echo(result.to_json(collection=name, unfit=unfit))
        return
    title = f"{name} {shown(document['_id'])}" if "_id" in document else name
    Console(highlight=False).print(comparison(result, title=title), soft_wrap=True)
    if unfit is not None:
        click.echo(f"It does not fit the model: {printable(unfit)}.", err=True)


def failure(error: LazyMigrateError) -> str:
    """Why nothing becomes of a document, which the person who asked may see named, whatever its `_id`."""
    if not isinstance(error, DocumentError) or error.document_id is None:
        return str(error)
    return str(error).replace(describe(error.document_id), f"document {shown(error.document_id)}", 1)


def misfit(schema: Schema, result: Comparison) -> str | None:
    """What keeps a document at head from being an instance of the model: a path and an error's type."""
    if schema.adapter is None or result.target != schema.head:
        return None
    try:
        schema.adapter.check(dict(result.after))
    except ModelError as error:
        return ", ".join(f"{path}: {kind}" for path, kind in error.errors)
    return None
