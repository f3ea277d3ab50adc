"""Not giving up at once: what passes (an election, a lost connection, a lock) is waited out."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeVar

from lazymigrate.commands import Attempt, Clock, Command, Failure, Procedure, Wait
from lazymigrate.failures import Backoff, of_error

__all__ = ["PATIENCE", "Waiting", "insist", "must", "patiently"]

R = TypeVar("R")
Waiting = Callable[[str, float], bool]  # hears what is waited for, and when; True gives up
PATIENCE = 300.0  # seconds without one answer


def insist(command: Command, waiting: Waiting | None = None) -> Procedure[Any]:
    """What a command gives, or the `Failure` of one that would fail again; it must be harmless to carry out twice."""
    return (yield from patiently(lambda: attempted(command), waiting))


def must(command: Command, waiting: Waiting | None = None, *, patience: float = PATIENCE) -> Procedure[Any]:
    """What a command gives; an error that does not pass is raised."""
    result = yield from patiently(lambda: attempted(command), waiting, patience=patience)
    if isinstance(result, Failure):
        raise result.error
    return result


def attempted(command: Command) -> Procedure[Any]:
    """A command's result or its `Failure`; an error that passes is raised."""
    result = yield Attempt(command)
    if isinstance(result, Failure) and of_error(result.error) == "transient":
        raise result.error
    return result


def patiently(
    procedure: Callable[[], Procedure[R]], waiting: Waiting | None = None, *, patience: float = PATIENCE
) -> Procedure[R]:
    """What a procedure gives, begun afresh after an error that passes; it must be harmless to carry out twice.

    The error itself is raised when the server has not answered for long, or `waiting` gives up.
    """
    backoff = Backoff(random.Random(), patience=patience)  # noqa: S311 (it only keeps clients from coming back all at once)
    while True:
        try:
            return (yield from procedure())
        except Exception as error:
            if of_error(error) != "transient":
                raise
            now = yield Clock()
            seconds = backoff.wait(now)
            if seconds is None or (waiting is not None and waiting(f"the server ({type(error).__name__})", now)):
                raise
        yield Wait(seconds)
