"""The command line: `lazymigrate`, and `group` for applications that mount it in their own."""

from __future__ import annotations

import click

from lazymigrate.cli.app import RedactingGroup
from lazymigrate.cli.check import check
from lazymigrate.cli.coverage import coverage
from lazymigrate.cli.demo import demo
from lazymigrate.cli.deploy import deploy, drift
from lazymigrate.cli.diff import diff
from lazymigrate.cli.doctor import doctor
from lazymigrate.cli.downgrade import downgrade
from lazymigrate.cli.history import history
from lazymigrate.cli.quarantine import quarantine
from lazymigrate.cli.run import run
from lazymigrate.cli.stamping import retire, stamp
from lazymigrate.cli.status import status
from lazymigrate.cli.sweep import partitions, sweep
from lazymigrate.cli.verify import verify

__all__ = ["group", "main"]


@click.group(cls=RedactingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.help_option("-h", "--help", hidden=True)  # with so many commands, help fits a screen only without its own line
@click.version_option(package_name="lazymigrate", hidden=True)
def group() -> None:
    """Lazy schema migration for MongoDB. -h after a command explains it; --version."""


for command in (
    check,
    coverage,
    demo,
    deploy,
    diff,
    doctor,
    downgrade,
    drift,
    history,
    partitions,
    quarantine,
    retire,
    run,
    stamp,
    status,
    sweep,
    verify,
):
    group.add_command(command)


def main() -> None:
    """The entry point of the command `lazymigrate`."""
    group(prog_name="lazymigrate")
