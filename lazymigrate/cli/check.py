"""`lazymigrate check`: is what is declared what was locked? For a pipeline, before anything is merged or deployed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from lazymigrate.checking import (
    CheckFinding,
    CheckReport,
    Level,
    check_conflict,
    check_declaration,
    check_stored,
    meetings,
)
from lazymigrate.checking import (
    check as checked,
)
from lazymigrate.cli.app import app_options, find_schemas, open_collections
from lazymigrate.exceptions import LazyMigrateError, SchemaError
from lazymigrate.lock import Lock, LockConflictError
from lazymigrate.verification import printable

__all__ = ["check"]

DRIFT, UNWRITTEN = 1, 3
COLORS: dict[Level, str] = {"drift": "red", "write": "yellow", "note": "bright_black"}


@click.command(short_help="Hold the declarations against the lock file.")
@app_options
@click.option("--write", is_flag=True, help="Write the lock file, unless something drifted.")
@click.option("--accept", is_flag=True, help="With --write: over what drifted and was never deployed, too.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("lazymigrate.lock"),
    show_default=True,
    metavar="PATH",
    help="The lock file.",
)
@click.option("--offline", is_flag=True, help="Ask no server, even where one is configured.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(
    app: str | None,
    uri: str | None,
    database: str | None,
    collection: str | None,
    *,
    write: bool,
    accept: bool,
    file: Path,
    offline: bool,
    as_json: bool,
) -> None:
    """Compare the declared schemas with the lock file; with a server, also with its journal and documents.

    Exit status: 0 sound, 1 drift or an error, 2 wrong usage, 3 the lock file has to be written.
    """
    if accept and not write:
        raise click.UsageError("--accept is for --write. Give both.")
    try:
        report, text = compared(app, file)
        if uri and not offline and text is not None:
            report = report.with_findings(stored(app, uri, database, collection))
    except LazyMigrateError as error:
        raise click.ClickException(printable(str(error))) from None
    written = write and text is not None and report.writable(accept=accept)
    if written and text is not None:
        save(file, text)
        report = CheckReport(tuple(finding for finding in report.findings if finding.level == "note"), report.schemas)
    if as_json:
        click.echo(report.to_json())
    else:
        for finding in report.findings:
            click.echo(shown(finding))
        click.echo(summary(report, file, written=written))
    if report.drift or report.unwritten:
        click.get_current_context().exit(DRIFT if report.drift else UNWRITTEN)


def compared(app: str | None, file: Path) -> tuple[CheckReport, str | None]:
    """What the lock file has against the schemas, and its text as it should be; None where nothing can be imported."""
    lock, conflict = read(file)
    try:
        schemas = find_schemas(app)
    except click.UsageError as error:
        wrong = error.__context__  # what the application raised
        if not isinstance(wrong, SchemaError):
            raise
        return check_declaration(wrong).with_findings(() if conflict is None else meetings(conflict)), None
    text = Lock.of(schemas).text()
    return (checked(schemas, lock) if conflict is None else check_conflict(schemas, conflict)), text


def stored(app: str | None, uri: str, database: str | None, collection: str | None) -> Iterator[CheckFinding]:
    """What the server has against the schemas."""
    with open_collections(app, uri, database, collection) as collections:
        for people in collections:
            yield from check_stored(people.schema, people.drift(sample=0))


def read(file: Path) -> tuple[Lock | None, LockConflictError | None]:
    """The lock file (None where there is none), or the conflict that it is in."""
    try:
        return Lock.parse(file.read_text("utf-8")), None
    except FileNotFoundError:
        return None, None
    except LockConflictError as conflict:
        return None, conflict
    except (OSError, UnicodeDecodeError) as error:
        said = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise click.UsageError(f"{file} cannot be read: {said}. Correct --file, or the file.") from None


def save(file: Path, text: str) -> None:
    """Write the lock file: all of it, or nothing."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        try:
            beside.write_text(text, "utf-8", newline="\n")
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise click.UsageError(f"{file} cannot be written: {error.strerror}. Correct --file.") from None


def shown(finding: CheckFinding) -> str:
    """A finding for a terminal, its level in colour."""
    _, _, rest = str(finding).partition(":")
    return f"{click.style(finding.level, fg=COLORS[finding.level], bold=True)}:{rest}"


def summary(report: CheckReport, file: Path, *, written: bool) -> str:
    """The last line."""
    names = ", ".join(map(printable, report.schemas)) or "no schema"
    if written:
        return f"{file} is written: {names}. Commit it."
    if report.sound:
        return click.style(f"sound: {names}", fg="green")
    said = []
    for level, one, many in (
        ("drift", "finding of drift", "findings of drift"),
        ("write", f"change to write to {file}", f"changes to write to {file}"),
        ("note", "note", "notes"),
    ):
        count = sum(finding.level == level for finding in report.findings)
        said += [f"{count} {one if count == 1 else many}"] if count else []
    return ", ".join(said)
