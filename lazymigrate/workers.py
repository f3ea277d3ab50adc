"""The commands about workers: processes of this machine that share a sweep. (The others are in `commands`.)"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Peek", "StartWorker", "Tell", "WorkerState"]


class StartWorker(NamedTuple):
    """→ a worker: a process of this machine that sweeps a partition of the collection; it ends when this procedure does."""

    task: Mapping[str, Any]


class Peek(NamedTuple):
    """→ `WorkerState`: how a worker is."""

    worker: Any


class WorkerState(NamedTuple):
    """Whether a worker has ended, what it said last (`{"progress": …}`, `{"report": …}` or `{"error": …}`)."""

    ended: bool
    said: Mapping[str, Any]


class Tell(NamedTuple):
    """→ None: a worker is told to `"pause"`, `"resume"` or `"stop"`."""

    worker: Any
    message: str
