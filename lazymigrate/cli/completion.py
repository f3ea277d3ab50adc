"""What a shell may complete: the names of the application's schemas."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from lazymigrate.cli.app import find_schemas
from lazymigrate.verification import printable

__all__ = ["schema_names"]


def schema_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The schemas that begin like this and are not named yet; none where the application cannot be imported."""
    try:
        schemas = find_schemas(context.params.get("app"))
    except Exception:
        return []
    given = context.params.get("names") or ()
    names = [schema.name for schema in schemas if schema.name not in given]
    return [CompletionItem(name) for name in names if name.startswith(incomplete) and printable(name) == name]
