"""The command line: `lazymigrate`, and `group` for applications that mount it in their own."""

from __future__ import annotations

import click

from lazymigrate.cli.demo import demo
from lazymigrate.cli.downgrade import downgrade
from lazymigrate.cli.quarantine import quarantine
from lazymigrate.cli.run import run
from lazymigrate.cli.sweep import partitions, sweep
from lazymigrate.cli.verify import verify

__all__ = ["group", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lazymigrate")
def group() -> None:
    """Lazy schema migration for MongoDB."""


for command in (demo, downgrade, partitions, quarantine, run, sweep, verify):
    group.add_command(command)


def main() -> None:
    """The entry point of the command `lazymigrate`."""
    group(prog_name="lazymigrate")
