"""Where a command finds the application's schemas and its database.

- The application: `--app`, `LAZYMIGRATE_APP`, or `app` in `[tool.lazymigrate]` of `pyproject.toml`, in this order:
  `"module"` or `"module:name"`, a module (all its schemas), a schema, a model, a list of these, or a function that
  returns one of these.
- The server: `--uri`, `LAZYMIGRATE_MONGODB_URI`, or `MONGODB_URI`. It is never read from a file, and never shown.
- The database: `--database`, or the one that the URI names.
"""

from __future__ import annotations

import importlib
import ipaddress
import os
import re
import shlex
import sys
import tomllib
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, TypeVar

import click
from pymongo import MongoClient
from pymongo.errors import ConfigurationError, InvalidName, InvalidURI, PyMongoError

from lazymigrate.cli.refusal import named, refusal, unresolved
from lazymigrate.collection import LazyCollection
from lazymigrate.exceptions import LazyMigrateError
from lazymigrate.model import belongs_to
from lazymigrate.schema import Schema
from lazymigrate.verification import printable

__all__ = ["app_options", "ask", "confirm_write", "connected", "find_schemas", "open_collections"]

C = TypeVar("C", bound=Callable[..., Any])
SERVER_SECONDS = 5
NOT_ITS_OWN = (f"{Path(__file__).parent.parent}{os.sep}", str(importlib.__file__), "<frozen importlib")
"""How the places begin where an application is imported, or its declarations are checked."""
WAYS = "Name it with --app module:name, LAZYMIGRATE_APP, or [tool.lazymigrate] app = 'module:name' in pyproject.toml."


def app_options(command: C) -> C:
    """The options of a command that works on the application's collections, in the order in which help lists them."""
    options = (
        click.option("--app", envvar="LAZYMIGRATE_APP", metavar="MODULE[:NAME]", help="Where the schemas are."),
        click.option(
            "--uri",
            envvar=["LAZYMIGRATE_MONGODB_URI", "MONGODB_URI"],
            metavar="URI",
            help="The server; rather set MONGODB_URI: others can see a command line.",
        ),
        click.option("--database", metavar="NAME", help="The database; by default the one that the URI names."),
        click.option("--collection", metavar="NAME", help="The collection, if it is not named like its one schema."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def open_collections(
    app: str | None, uri: str | None, database: str | None, collection: str | None, names: Sequence[str] = ()
) -> Generator[list[LazyCollection[dict[str, Any]]]]:
    """The application's collections, as dicts; what goes wrong meanwhile is an error that a person can act on.

    `names` are those of the schemas that are meant, in this order; none are all.
    """
    schemas = chosen(find_schemas(app), names)
    if collection is not None and len(schemas) > 1:
        listed = ", ".join(printable(schema.name) for schema in schemas)
        raise click.UsageError(
            f"--collection is for one schema, and there are {len(schemas)}: {listed}. {how_to_name(schemas[0])}"
        )
    with connected(uri, database) as opened:
        yield [LazyCollection(named_collection(opened, collection or schema.name), schema) for schema in schemas]


def how_to_name(schema: Schema) -> str:
    """How the running command is told which schema is meant: as its argument, where it has one for that."""
    context = click.get_current_context(silent=True)
    if context is None or not any(
        isinstance(one, click.Argument) and one.name == "names" for one in context.command.params
    ):
        return "Name one in --app."
    example = f"{context.info_name} {shlex.quote(printable(schema.name))}"
    return f"Name one as the argument (`{example} --collection NAME`), or in --app."


def named_collection(database: Any, name: str) -> Any:
    """The driver's collection; a `UsageError` for a name that none can have, or that somebody took for the server's."""
    if "://" in name:
        raise click.UsageError("The name of the collection is a URI. Pass it as --uri, or rather set MONGODB_URI.")
    try:
        return database[name]
    except InvalidName:
        raise click.UsageError(f"{name!r} cannot be the name of a collection. Correct --collection.") from None


def find_schemas(app: str | None) -> list[Schema]:
    """The schemas of the application; a `UsageError` says how to name it when there are none.

    What the application prints meanwhile goes to stderr, so that `--json` stays what it is.
    """
    with redirect_stdout(sys.stderr):
        return declared(app)


def declared(app: str | None) -> list[Schema]:
    reference = app or configured()
    if not reference:
        raise click.UsageError(f"Which application? {WAYS}")
    module_name, _, path = reference.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109 (sys.path holds strings)
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    module = imported(module_name, reference)
    value: Any = module
    for name in path.split(".") if path else ():
        value = getattr(value, name, None)
        if value is None:
            raise click.UsageError(f"{module_name} has no {path!r} (from {reference!r}). {WAYS}")
    found = list(dict.fromkeys(schemas_in(value, reference)))
    if not found:
        raise click.UsageError(f"{reference!r} holds no schema. {WAYS}")
    return found


def chosen(schemas: Sequence[Schema], names: Sequence[str]) -> list[Schema]:
    """The schemas of these names; a `UsageError` for a name that none has."""
    known = {schema.name: schema for schema in schemas}
    for name in names:
        if name not in known:
            raise click.UsageError(f"There is no schema {name!r}. Choose from: {', '.join(map(repr, known))}.")
    return [known[name] for name in dict.fromkeys(names)] if names else list(schemas)


def configured() -> str | None:
    """What `pyproject.toml` of the current directory says."""
    file = Path("pyproject.toml")
    if not file.is_file():
        return None
    try:
        read = tomllib.loads(file.read_text("utf-8"))
    except (OSError, RecursionError, ValueError) as error:  # also of a number with thousands of digits
        raise click.UsageError(f"pyproject.toml cannot be read: {error}. Correct it, or pass --app.") from None
    tool = read.get("tool")
    table = tool.get("lazymigrate") if isinstance(tool, dict) else None
    app = table.get("app") if isinstance(table, dict) else None
    if app is not None and not isinstance(app, str):
        raise click.UsageError(f"pyproject.toml: [tool.lazymigrate] app is {app!r}. Use a text, 'module:name'.")
    return app


def imported(name: str, reference: str) -> ModuleType:
    """The module, or a `UsageError` that says whether it is missing or broken."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise click.UsageError(f"{reference!r} does not name a module. {WAYS}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise click.UsageError(
                f"There is no module {name!r} here (from {reference!r}). Run the command in the directory that holds it, "
                "or install it."
            ) from None
        broken(f"importing {name!r}", error)
    except Exception as error:
        broken(f"importing {name!r}", error)


def schemas_in(value: Any, reference: str) -> Iterator[Schema]:
    """The schemas that a value stands for."""
    if isinstance(value, Schema):
        yield value
    elif isinstance(value, ModuleType):
        for inner in vars(value).values():
            schema = inner if isinstance(inner, Schema) else belongs_to(inner)
            if isinstance(schema, Schema):
                yield schema
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from schemas_in(inner, reference)
    elif isinstance(value, type):
        schema = belongs_to(value)
        if not isinstance(schema, Schema):
            raise click.UsageError(
                f"{value.__qualname__} (from {reference!r}) is not the model of a schema. Decorate it with @schema.model, "
                "or name the schema."
            )
        yield schema
    elif callable(value):
        try:
            made = value()
        except Exception as error:
            broken(f"calling {reference!r}", error)
        if callable(made) and not isinstance(made, type):
            raise click.UsageError(f"{reference!r} returned another function. Let it return schemas.")
        yield from schemas_in(made, reference)
    else:
        raise click.UsageError(
            f"{reference!r} is of the type {type(value).__name__}. Name a module, a Schema, a model, a list of these, or a function "
            "that returns one."
        )


def broken(what: str, error: Exception) -> NoReturn:
    """The error for an application that raises; where it does is what its author needs."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)  # whose text has the line a second time
    place = own_line(error)
    said = redacted(f"{what} raised {type(error).__name__}: {text}{f' at {place}' if place else ''}")
    raise click.UsageError(f"{said[:1].upper()}{said[1:]}. Mend the application, and try again.") from None


def own_line(error: Exception) -> str | None:
    """Where the application went wrong: its last line, not those that it called here or that imported it."""
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return f"{error.filename}:{error.lineno}"
    frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    return next((frame for frame in reversed(frames) if not frame.startswith(NOT_ITS_OWN)), None)


class RedactingGroup(click.Group):
    """Commands whose errors hold no password, also where the URI was given in the place of something else."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click's own errors quote what they were given."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            vars(error).update(message=redacted(error.message))  # `message` is declared final
            raise


def redacted(text: str) -> str:
    """A text without what stands before the @ of a URI: user names and passwords."""
    return re.sub(r"(\w:/{1,2})\S*@", r"\1…@", text)  # a path has one slash left


@contextmanager
def connected(uri: str | None, database: str | None) -> Generator[Any]:
    """The database; a server that does not answer, or refuses, is a readable error without the URI."""
    if not uri:
        raise click.UsageError("Which server? Set MONGODB_URI (or LAZYMIGRATE_MONGODB_URI), or pass --uri.")
    own: Mapping[str, Any] = {}
    if "serverselectiontimeoutms=" not in uri.lower():
        own = {"serverSelectionTimeoutMS": SERVER_SECONDS * 1000}
    try:
        client: MongoClient[dict[str, Any]] = MongoClient(uri, **own)
    except (InvalidURI, ConfigurationError, ValueError, TypeError) as error:
        reason = unresolved(error)
        if reason is not None:
            raise click.ClickException(reason) from None
        raise click.UsageError(
            f"The MongoDB URI is not valid ({type(error).__name__}). It looks like mongodb://host:27017/database; user "
            "names and passwords in it must be percent-escaped."
        ) from None
    with client:
        try:
            opened = client[database] if database else client.get_default_database()
        except ConfigurationError:
            raise click.UsageError(
                "Which database? Pass --database, or name it in the URI: mongodb://host/name."
            ) from None
        except InvalidName:
            raise click.UsageError(f"{database!r} cannot be the name of a database. Correct --database.") from None
        try:
            yield opened
        except LazyMigrateError as error:
            raise click.ClickException(str(error)) from None
        except PyMongoError as error:
            raise click.ClickException(refusal(client, error)) from None


def confirm_write(database: Any, what: str, *, yes: bool) -> None:
    """Nothing is written to another machine unless a person agreed: it comes back when the writing may begin.

    Nobody is asked after `--yes` (`yes`), or where all servers are this machine. `what` as for `ask`.
    """
    hosts = [host for host, _ in database.client.topology_description.server_descriptions()]
    if not (yes or (hosts and all(map(is_this_machine, hosts)))):
        ask(database, what)


def ask(database: Any, what: str = "") -> None:
    """A person agrees to a write; a no, or no answer, is a `ClickException`.

    `what` says how many documents of which collection, and what becomes of them; the question names the servers and the
    database beside it. It goes to stderr, so that `--json` stays what it is.
    """
    click.echo(f"This writes to the database {database.name} of MongoDB at {named(database.client)}.", err=True)
    if what:
        click.echo(what, err=True)
    try:
        agreed = click.confirm("Go on?", err=True)
    except click.Abort:
        click.echo(err=True)
        agreed = False
    if not agreed:
        raise click.ClickException("Nothing was written. Answer y, or pass --yes.")


def is_this_machine(host: str) -> bool:
    """Whether a server's address leads to the machine that the command runs on."""
    if host == "localhost" or host.startswith("/"):  # a socket in the file system
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
