"""What commands say on stderr about a collection that may be another one than was meant, or whose code is not what it was.

Remarks stop nothing and change no exit status: where the server does not let them look, they are silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click
from pymongo import ReadPreference
from pymongo.errors import PyMongoError

from lazymigrate.advice import NO_DOCUMENTS
from lazymigrate.collection import LazyCollection
from lazymigrate.exceptions import LazyMigrateError
from lazymigrate.journal import ChangedRevision, changed
from lazymigrate.verification import printable

__all__ = ["is_empty", "remark_on_changes", "remark_on_emptiness"]

People = LazyCollection[dict[str, Any]]


def is_empty(people: People) -> bool:
    """Whether the primary has no document of the collection; that of a database or a name that is not there is empty."""
    primary = people.raw.with_options(read_preference=ReadPreference.PRIMARY)
    return not primary.count_documents({}, limit=1)  # counted, since not every `_id` can be decoded


def remark_on_emptiness(people: People) -> None:
    """Say it where there are no documents: nothing to do looks like everything done."""
    with suppress(PyMongoError):
        if is_empty(people):
            click.echo(f"{printable(people.raw.name)}: {NO_DOCUMENTS}", err=True)


def remark_on_changes(people: People) -> None:
    """Say it where revisions do something else than what the journal has under their numbers; nothing is written."""
    with suppress(PyMongoError, LazyMigrateError):
        records = people.journal(limit=1).revisions
        # any date will do: when the difference was found is not said
        found = changed(people.schema, records, records[-1].registered) if records else ()
        if found:
            click.echo(f"{printable(people.raw.name)}: {was_changed(found)}", err=True)


def was_changed(revisions: Sequence[ChangedRevision]) -> str:
    """What it means for documents that these revisions are not what was deployed."""
    named = ", ".join(f"revision {each.version} {each.name!r} ({registered(each)})" for each in revisions)
    verb = "does" if len(revisions) == 1 else "do"
    return printable(
        f"{named} {verb} something else than what was registered: documents that are upgraded now will differ from those "
        "before. Compare with `lazymigrate drift`; take the change back, and declare it as a new revision."
    )


def registered(revision: ChangedRevision) -> str:
    by = "" if revision.application is None else f" by {revision.application}"
    return f"registered {revision.registered:%Y-%m-%d %H:%M} UTC{by}"
