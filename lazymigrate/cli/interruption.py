"""Ctrl-C and SIGTERM, as wishes that a sweep can follow in good order."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interruption"]

CTRL_C = 130  # as a shell has it: 128 and the number of the signal
TERMINATED = 75  # EX_TEMPFAIL of sysexits.h: run it again, and it goes on


class Interruption:
    """While its `with` block lasts, the first Ctrl-C or SIGTERM is a wish, and a second one a `KeyboardInterrupt`.

    `stop` is for the sweep, which asks it before each batch. A signal that comes while nobody asks (before the first
    batch, while another's lease is waited for) is a `KeyboardInterrupt` at once: there is no batch to finish. After the
    second, a third ends the process as the system does. `signal` is the first one, None until then.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._heeded = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def begin(self) -> None:
        """Another sweep begins, which has not asked yet; the wish of before ends it first."""
        self._heeded = False
        if self.signal is not None:
            raise KeyboardInterrupt

    def stop(self) -> bool:
        """Whether to finish what is on its way, and end."""
        self._heeded = True
        return self.signal is not None

    @property
    def status(self) -> int:
        """The exit status of a command that ended because of it."""
        return TERMINATED if self.signal is signal.SIGTERM else CTRL_C

    def notice(self) -> str | None:
        """What a person is to know who sees that it goes on for a moment."""
        if self.signal is None:
            return None
        again = "Ctrl-C again" if self.signal is signal.SIGINT else "the signal again"
        return f"finishing the batch; {again} ends at once"

    def _hear(self, number: int, _: FrameType | None) -> None:
        first = self.signal is None
        if first:
            self.signal = signal.Signals(number)
        if not (first and self._heeded):
            for each in self._before:
                signal.signal(each, signal.SIG_DFL)
            raise KeyboardInterrupt
