"""The command line: `lazymigrate`, and `group` for applications that mount it in their own."""

from __future__ import annotations

import click

from lazymigrate.cli.demo import demo
from lazymigrate.cli.verify import verify

__all__ = ["group", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lazymigrate")
def group() -> None:
    """Lazy schema migration for MongoDB."""


group.add_command(demo)
group.add_command(verify)


def main() -> None:
    """The entry point of the command `lazymigrate`."""
    group(prog_name="lazymigrate")
