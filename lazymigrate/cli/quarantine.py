"""`lazymigrate quarantine`: look at the documents that could not be upgraded, try them again, or release them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click
from bson.errors import BSONError
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lazymigrate.cli.app import app_options, confirm_write, open_collections
from lazymigrate.cli.identity import readings, shown
from lazymigrate.collection import LazyCollection
from lazymigrate.quarantine import QuarantineEntry, extended_json
from lazymigrate.verification import printable
from lazymigrate.wording import documents

__all__ = ["quarantine"]

People = LazyCollection[dict[str, Any]]
C = TypeVar("C", bound=Callable[..., Any])
SHOWN = 50  # entries of a collection
LONGEST = 60  # characters of an _id in a table
OTHERS = 56  # characters of a line for all other columns: at 80 an ObjectId stays in one piece
NOT_COMPLETE = 3
HEADING = "_id"


def asked(command: C) -> C:
    """The options of every command here: where the application is, and how to print."""
    return app_options(click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command))


def chosen(command: C) -> C:
    """What a command that writes is to work on."""
    options = (
        click.argument("ids", nargs=-1, metavar="[ID]..."),
        click.option("--all", "everything", is_flag=True, help="All listed documents."),
        click.option("--yes", is_flag=True, help="Do not ask before writing to another machine."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(short_help="Documents that could not be upgraded.")
def quarantine() -> None:
    """Documents that could not be upgraded: list, try again, release.

    Sweeps leave them alone until they are tried again or released.

    An ID is read as Extended JSON ('{"$oid": "…"}', '{"a": 1}', 5, '"5"'), as an ObjectId, a UUID, an integer, or else
    as a text; the first of these that is listed is meant.
    """


@quarantine.command()
@asked
@click.option("--limit", type=click.IntRange(min=1), help=f"Entries of each collection (table: {SHOWN}, JSON: all).")
def ls(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    as_json: bool,
    limit: int | None,
) -> None:
    """List them in the order of their _ids.

    With --json one object a line.
    """
    console = Console(highlight=False)
    with open_collections(app, uri, database, collection) as collections:
        for people in collections:
            if as_json:
                for number, entry in enumerate(people.quarantine):
                    if number == limit:
                        break
                    click.echo(as_line(people, entry))
            else:
                table(console, people, limit or SHOWN)


@quarantine.command()
@asked
@click.argument("document_id", metavar="ID")
def show(
    app: str | None, uri: str | None, database: str | None, collection: str | None, *, as_json: bool, document_id: str
) -> None:
    """Show all that is known of one."""
    console = Console(highlight=False)
    with open_collections(app, uri, database, collection) as collections:
        for people, entry in listed(collections, document_id):
            if as_json:
                click.echo(as_line(people, entry))
            else:
                details(console, people, entry)


@quarantine.command()
@asked
@chosen
@click.option("--batch", type=click.IntRange(min=1), default=500, show_default=True, help="Documents at a time.")
def retry(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    as_json: bool,
    ids: Sequence[str],
    everything: bool,
    yes: bool,
    batch: int,
) -> None:
    """Upgrade listed documents again.

    What is at head then, or was deleted, leaves the quarantine; what fails again stays. Exit status: 0 if none stays, 3 if
    some do, 1 for an error, 2 for wrong usage.
    """
    stayed = 0
    with open_collections(app, uri, database, collection) as collections:
        for people, entries, count in selected(collections, ids, everything=everything):
            confirm_write(people.raw.database, f"{said(people, count)} tried again.", yes=yes or not count)
            some = None if entries is None else [entry.document_id for entry in entries]
            report = people.quarantine.retry(some, batch_size=batch)
            stayed += report.quarantined
            if as_json:
                click.echo(report.to_json())
                continue
            click.echo(printable(str(report)))
            settled = count - report.upgraded - report.quarantined
            if settled > 0:
                click.echo(
                    f"{printable(people.raw.name)}: {documents(settled)} taken off the list, no longer outdated or gone"
                )
    if stayed:
        click.get_current_context().exit(NOT_COMPLETE)


@quarantine.command()
@asked
@chosen
def release(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    as_json: bool,
    ids: Sequence[str],
    everything: bool,
    yes: bool,
) -> None:
    """Take documents off the list.

    The documents stay as they are: the next sweep tries them.
    """
    with open_collections(app, uri, database, collection) as collections:
        for people, entries, count in selected(collections, ids, everything=everything):
            confirm_write(
                people.raw.database, f"{said(people, count)} dropped from the quarantine.", yes=yes or not count
            )
            released = 0
            for page in pages(people) if entries is None else [entries]:
                released += people.quarantine.release([entry.document_id for entry in page])
            if as_json:
                click.echo(json.dumps({"collection": people.raw.name, "released": released}))
            else:
                click.echo(f"{printable(people.raw.name)}: {released:,} released; the next sweep tries them")


def pages(people: People) -> Iterator[list[QuarantineEntry]]:
    """All entries, a page at a time."""
    last: QuarantineEntry | None = None
    while page := people.quarantine.list(limit=500, after=last):
        yield page
        last = page[-1]


def selected(
    collections: Sequence[People], ids: Sequence[str], *, everything: bool
) -> Iterator[tuple[People, list[QuarantineEntry] | None, int]]:
    """The collections to work on, each with the entries that were named (None: all) and their number."""
    if everything == bool(ids):
        raise click.UsageError("Which documents? Name their _ids, or pass --all (and not both).")
    if everything:
        for people in collections:
            yield people, None, people.quarantine.count()
        return
    found: dict[str, tuple[People, list[QuarantineEntry]]] = {}
    for text in ids:
        hits = listed(collections, text)
        if len(hits) > 1:
            names = ", ".join(printable(people.raw.name) for people, _ in hits)
            raise click.UsageError(f"{shown(hits[0][1].document_id)} is listed in {names}. Name one schema in --app.")
        for people, entry in hits:
            found.setdefault(people.raw.name, (people, []))[1].append(entry)
    for people, entries in found.values():
        yield people, entries, len(entries)


def said(people: People, count: int) -> str:
    """How many documents of which collection."""
    return f"{printable(people.raw.name)}: {count:,} listed {'document is' if count == 1 else 'documents are'}"


def listed(collections: Sequence[People], text: str) -> list[tuple[People, QuarantineEntry]]:
    """The entries of the document that a person means, at most one of each collection; an error where there is none."""
    found = [(people, entry) for people in collections if (entry := meant(people, text)) is not None]
    if not found:
        names = ", ".join(printable(people.raw.name) for people in collections)
        raise click.ClickException(
            f"{extended_json(text)} is not listed ({names}). `lazymigrate quarantine ls` shows what is."
        )
    return found


def meant(people: People, text: str) -> QuarantineEntry | None:
    """The entry of the document that a person means by a text."""
    for reading in readings(text, people.raw.codec_options.uuid_representation):
        try:
            entry = people.quarantine.get(reading)
        except (BSONError, OverflowError, TypeError, ValueError):  # BSON cannot hold it, so no _id is that
            continue
        if entry is not None:
            return entry
    return None


def as_line(people: People, entry: QuarantineEntry) -> str:
    """An entry as one JSON object that names its collection."""
    return json.dumps({"collection": people.raw.name, **json.loads(entry.to_json())})


def table(console: Console, people: People, limit: int) -> None:
    """The first entries of a collection, and how many more there are."""
    count = people.quarantine.count()
    name = printable(people.raw.name)
    if not count:
        console.print(Text(f"{name}: no document is listed"))
        return
    console.print(Text(f"{name}: {documents(count)} could not be upgraded", style="bold"))
    entries = people.quarantine.list(limit=limit)
    if not entries:
        return  # the last of them left meanwhile
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black")
    ids = [shortened(shown(entry.document_id)) for entry in entries]
    widest = max(map(len, [HEADING, *ids]))  # the heading stays in one piece, too
    width = min(widest, max(24, console.width - OTHERS))
    rows.add_column(HEADING, overflow="fold", width=width, min_width=len(HEADING))
    for heading in ("version", "revision"):
        rows.add_column(heading, justify="right", no_wrap=True)
    rows.add_column("error", overflow="fold")
    rows.add_column("tried", justify="right", no_wrap=True)
    rows.add_column("last", no_wrap=True)
    for entry, written in zip(entries, ids, strict=True):
        rows.add_row(
            Text(written),
            Text(number(entry.version)),
            Text("" if entry.revision is None else number(entry.revision)),
            Text(error_of(entry), style="red"),
            Text(f"{entry.attempts:,}"),
            Text("" if entry.last_seen is None else f"{entry.last_seen:%Y-%m-%d}"),
        )
    console.print(rows)
    if count > len(entries):
        console.print(Text(f"and {count - len(entries):,} more: --limit shows more of them, --json all"))


def details(console: Console, people: People, entry: QuarantineEntry) -> None:
    """All that is known of one document, and what to do about it."""
    written = shown(entry.document_id)
    console.print(Text(f"{printable(people.raw.name)}: {written}", style="bold"), soft_wrap=True)
    pairs = Table.grid(padding=(0, 2))
    facts = {
        "version": number(entry.version) + ("" if entry.head is None else f", to be brought to {entry.head}"),
        "error": error_of(entry) + ("" if entry.revision is None else f" in revision {entry.revision}"),
        "attempts": f"{entry.attempts:,}",
        "first seen": "" if entry.first_seen is None else f"{entry.first_seen:%Y-%m-%d %H:%M:%S} UTC",
        "last seen": "" if entry.last_seen is None else f"{entry.last_seen:%Y-%m-%d %H:%M:%S} UTC",
    }
    for name, fact in facts.items():
        pairs.add_row(Text(name, style="bright_black"), Text(fact))
    console.print(Padding(pairs, (0, 2)))
    name = argument(printable(people.schema.name))
    how = (
        f"`lazymigrate diff {name} {argument(written)}` says which operation fails, and where. Correct the revision or the "
        f"document, and try it again with `lazymigrate quarantine retry {argument(written)}`."
    )
    console.print(Text(how), soft_wrap=True)


def shortened(written: str) -> str:
    """A text of no more than three lines of a narrow table."""
    return written if len(written) <= LONGEST else f"{written[: LONGEST - 1]}…"


def argument(written: str) -> str:
    """A text as a shell and the command take it for an argument, and not for an option."""
    return f"{'-- ' if written.startswith('-') else ''}{shlex.quote(written)}"


def number(value: Any) -> str:
    return "none" if value is None else printable(str(value))


def error_of(entry: QuarantineEntry) -> str:
    """The class of the error, and the server's code."""
    return printable(str(entry.error)) + ("" if entry.code is None else f" (code {entry.code})")
