"""The commands that this process carries out by itself, without the server and without waiting: the same on every driver."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from lazymigrate.commands import Clock, Now, Peek, Tell

__all__ = ["HERE"]

HERE: Mapping[type[Any], Callable[[Any], Any]] = MappingProxyType(
    {
        Clock: lambda _: time.monotonic(),
        Now: lambda _: datetime.now(UTC),
        Peek: lambda command: command.worker.peek(),
        Tell: lambda command: command.worker.tell(command.message),
    }
)
