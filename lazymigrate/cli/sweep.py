"""`lazymigrate sweep`: upgrade what reads did not reach, and `lazymigrate partitions`, to share that out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lazymigrate.cli.app import app_options, confirm_write, open_collections
from lazymigrate.cli.completion import schema_names
from lazymigrate.cli.remarks import remark_on_changes
from lazymigrate.cli.work import People, carried_out, interruptible, options_of, reach, work_options
from lazymigrate.course import upwards
from lazymigrate.partition import Partition
from lazymigrate.sweeping import SweepKeywords, SweepReport
from lazymigrate.verification import printable

__all__ = ["partitions", "sweep"]


@dataclass(frozen=True, slots=True)
class Share:
    """Which of how many partitions, counted from one."""

    which: int
    count: int

    def __str__(self) -> str:
        return f"{self.which}/{self.count}"


def as_share(_: click.Context, param: click.Parameter, text: str | None) -> Share | None:
    """The share that a text says."""
    if text is None:
        return None
    which, _slash, count = text.partition("/")
    if which.isdecimal() and count.isdecimal() and 1 <= int(which) <= int(count):
        return Share(int(which), int(count))
    raise click.BadParameter(f"{text!r}: write it as 3/8, from 1/8 to 8/8.", param=param)


@click.command(short_help="Upgrade outdated documents to head.")
@app_options
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=schema_names)
@click.option("--dry-run", is_flag=True, help="Write nothing; say what would be done.")
@click.option(
    "--partition", "share", callback=as_share, metavar="I/N", help="Only the I-th of N parts, without a lease."
)
@click.option(
    "--partitions-file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where `lazymigrate partitions` wrote the parts.",
)
@work_options
def sweep(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    names: Sequence[str],
    dry_run: bool,
    share: Share | None,
    file: Path | None,
    as_json: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Upgrade outdated documents of the schemas NAME (or of all) to head.

    Ends when a fresh count of what is left is zero. An interrupted one goes on where it was. Ctrl-C and SIGTERM finish the
    batch and print the command that goes on; a second one ends at once.

    Exit status: 0 done, 1 error, 2 wrong usage, 3 not complete (quarantine, invalid versions, --limit, cancelled), 75 start
    it again to go on (SIGTERM, --max-seconds), 130 Ctrl-C.

    Without a file, --partition draws its bounds from a sample, anew each time: let processes that share a job use one file.
    """
    keywords: SweepKeywords = {**options_of(options), "dry_run": dry_run}
    if file is not None and share is None:
        raise click.UsageError("--partitions-file is for --partition. Say which part: --partition 3/8.")
    if keywords.get("workers") is not None and (share is not None or dry_run):
        raise click.UsageError("--workers divides a whole sweep. Leave --partition or --dry-run away, or --workers.")
    with (
        interruptible(dry_run=dry_run) as interruption,
        open_collections(app, uri, database, collection, names) as collections,
    ):
        if share is not None and len(collections) > 1:
            raise click.UsageError("--partition is for one collection. Name its schema.")
        reach(collections)
        for people in collections:
            remark_on_changes(people)
        if not (yes or dry_run):
            confirm_write(collections[0].raw.database, "\n".join(map(intended, collections)), yes=False)

        def begin(people: People, keywords: SweepKeywords) -> SweepReport:
            if share is None:
                return people.sweep(**keywords)
            part = partition_of(people, share, file)
            if part is None:
                return SweepReport(collection=people.raw.name, complete=True, dry_run=dry_run)
            return people.run_partition(part, **keywords)

        carried_out(collections, begin, keywords, interruption, as_json=as_json)


@click.command(short_help="Divide a collection among machines.")
@app_options
@click.argument("name", shell_complete=schema_names)
@click.argument("count", metavar="N", type=click.IntRange(1))
def partitions(
    app: str | None, uri: str | None, database: str | None, collection: str | None, *, name: str, count: int
) -> None:
    r"""Print about N parts of a collection, of about equal size: one JSON object a line.

    Write them into a file, once, and let each process sweep one of them:

    \b
      lazymigrate partitions users 8 > parts
      lazymigrate sweep users --partition 3/8 --partitions-file parts
    """
    with open_collections(app, uri, database, collection, [name]) as (people,):
        for partition in people.partitions(count):
            click.echo(partition.to_json())


def intended(people: People) -> str:
    """What a sweep will do, with the number of documents."""
    count = people.raw.count_documents(upwards(people.schema).filter)
    noun = "document is" if count == 1 else "documents are"
    return f"{printable(people.raw.name)}: {count:,} outdated {noun} upgraded to version {people.schema.head}."


def partition_of(people: People, share: Share, file: Path | None) -> Partition | None:
    """The partition that a share means; None where there are fewer, since there are few documents."""
    known = people.partitions(share.count) if file is None else read(file)
    if len(known) > share.count:
        raise click.UsageError(f"{file} has {len(known)} parts, and --partition says {share}. Let them agree.")
    return known[share.which - 1] if share.which <= len(known) else None


def read(file: Path) -> list[Partition]:
    """The partitions of a file, which has to have all of them, in order."""
    try:
        found = [Partition.from_json(line) for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (ValueError, OSError) as error:
        said = "it is not text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise click.UsageError(f"{file}: {said} Write it anew with `lazymigrate partitions`.") from None
    whole = [(index, len(found)) for index in range(len(found))]
    if not found or [(each.index, each.count) for each in found] != whole:
        raise click.UsageError(f"{file} does not have each part once. Write it anew with `lazymigrate partitions`.")
    return found
