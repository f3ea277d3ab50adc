"""`lazymigrate demo`: the library at work on a server of its own."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import click
from pydantic import BaseModel, Field
from pymongo import MongoClient
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from lazymigrate import LazyCollection, Schema, ops
from lazymigrate.embedded import ServerError, server
from lazymigrate.fields import ObjectId
from lazymigrate.report.table import coverage_table
from lazymigrate.sweeping import SweepReport

__all__ = ["demo"]

FIRST_NAMES = ["Ada", "Grace", "Edsger", "Barbara", "Alan", "Emmy", "Kurt", "Hedy", "Donald", "Katherine"]
LAST_NAMES = ["Lovelace", "Hopper", "Dijkstra", "Liskov", "Turing", "Noether", "Lamarr", "Knuth", "Johnson"]

users = Schema("users")


@users.revision(2)
def split_name(user: dict[str, Any]) -> None:
    """A name becomes a first and a last name."""
    user["first_name"], _, user["last_name"] = user.pop("name").partition(" ")


@split_name.downgrade
def join_name(user: dict[str, Any]) -> None:
    user["name"] = f"{user.pop('first_name')} {user.pop('last_name')}".strip()


users.revision(3, ops.rename("mail", "email"), ops.add("active", value=True), name="email_and_active")


@users.model
class User(BaseModel):
    id: ObjectId = Field(alias="_id")
    first_name: str
    last_name: str
    email: str
    active: bool = True


@click.command()
@click.option("--documents", type=click.IntRange(10, 1_000_000), default=20_000, show_default=True, help="How many.")
def demo(documents: int) -> None:
    """Show the whole idea on a MongoDB that is started for it.

    Fills a collection with documents of three ages, reads and saves some, sweeps the rest, and prints how many are
    at which version before, between and after. Uses a database of its own and drops it.
    """
    console = Console(highlight=False)
    try:
        with server() as running, MongoClient[dict[str, Any]](running.uri) as client, own_database(client) as name:
            console.print(Text(f"MongoDB {client.server_info()['version']} from {running.origin}\n"))
            show(console, LazyCollection(client[name]["users"], User), documents)
    except ServerError as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def own_database(client: MongoClient[dict[str, Any]]) -> Generator[str]:
    """The name of a database that nobody else uses, dropped in the end."""
    name = f"lazymigrate_demo_{uuid4().hex[:8]}"
    try:
        yield name
    finally:
        client.drop_database(name)


def show(console: Console, people: LazyCollection[User], documents: int) -> None:
    """The story that the demonstration tells."""
    for start in range(0, documents, 5_000):
        people.raw.insert_many([aged(number) for number in range(start, min(start + 5_000, documents))])
    console.print(coverage_table(people.coverage(), title="Three releases have written to this collection:"))

    console.print("\nEvery read arrives at head, whatever is stored:")
    for stamp in (None, 2, 3):
        stored = people.raw.find_one({"schema_version": stamp}) or {}
        user = people.find_one(stored.pop("_id", None))
        pairs = Table.grid(padding=(0, 2))
        pairs.add_row("", Text("stored", style="bright_black"), Text(str(stored), style="bright_black"))
        pairs.add_row("", "read", Text(repr(user)))
        console.print(pairs)

    saved = min(documents // 10, 500)
    for user in people.find({"schema_version": {"$ne": 3}}).limit(saved):
        user.active = False
        people.save(user)
    console.print(f"\n{saved:,} outdated documents were read, changed and saved.")
    console.print(coverage_table(people.coverage(), title="Saved documents are stored at head:"))

    console.print("\nThe sweep upgrades what nobody touched:")
    report = sweep_with_progress(console, people)
    console.print(Padding(Text(str(report)), (0, 2)))
    console.print(coverage_table(people.coverage(), title="Afterwards:"))


def sweep_with_progress(console: Console, people: LazyCollection[User]) -> SweepReport:
    """Sweep with a progress bar where there is a terminal to draw it on."""
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("sweeping", total=None)
        return people.sweep(progress=lambda done: bar.update(task, completed=done.done, total=done.total))


def aged(number: int) -> dict[str, Any]:
    """A document as one of three releases would have written it."""
    chance = random.Random(number)  # noqa: S311
    first, last = chance.choice(FIRST_NAMES), chance.choice(LAST_NAMES)
    address = f"{first}.{last}.{number}@example.org".lower()
    age = chance.random()
    if age < 0.5:
        return {"name": f"{first} {last}", "mail": address}
    if age < 0.8:
        return {"first_name": first, "last_name": last, "mail": address, "schema_version": 2}
    return {"first_name": first, "last_name": last, "email": address, "active": True, "schema_version": 3}
