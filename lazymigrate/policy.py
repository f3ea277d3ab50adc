"""What a collection does with documents that are outdated, unreadable or ahead."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite
from typing import Literal, get_args, get_type_hints

__all__ = ["Policy"]

OnError = Literal["raise", "skip", "quarantine"]
OnAhead = Literal["raise", "keep"]
OnUnsafeQuery = Literal["warn", "raise", "scan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The choices that a collection makes while reading; under none of them is anything lost or relabelled.

    - `write_back`: store the upgraded document after a read, by compare-and-set. It never fails the read. Unless the
      collection asks for a write concern of its own, it waits for one server only: what a failover undoes is outdated
      again, and upgraded again.
    - `write_back_rate`: at most so many documents a second are written back by this collection object (a second's worth
      at once); the others are upgraded in memory only. None is no limit.
    - `on_error`: what a document that cannot be read does: `"raise"` its error, `"skip"` it, or skip it and list it
      in the `"quarantine"`. A skipped document can make a page shorter than its limit.
    - `on_ahead`: a document of a newer version: `"raise"` `AheadError`, or `"keep"`: hand it over as stored, and
      refuse every write of it.
    - `on_unsafe_query`: what happens to a filter or sort on a field that a plain function may touch, while documents are
      stored that the function has yet to upgrade: `"warn"` once (`UnsafeQueryWarning`) and ask as it is written, which may
      miss some of them; `"raise"` `UnsafeQueryError` before it is sent; or `"scan"`: read them all, upgrade them in memory and
      let the server match them, whatever that costs.
    - `recheck`: without a backlog index, seconds for which a collection object relies on what it knows of which versions are
      stored; 0 is looking at every query. With the index, outdated documents are always asked for.
    """

    write_back: bool = False
    write_back_rate: float | None = None
    on_error: OnError = "raise"
    on_ahead: OnAhead = "raise"
    on_unsafe_query: OnUnsafeQuery = "warn"
    recheck: float = 60.0

    def __post_init__(self) -> None:
        rate = self.write_back_rate
        if rate is not None and (
            isinstance(rate, bool) or not isinstance(rate, (int, float)) or not rate > 0 or not isfinite(rate)
        ):
            raise ValueError(
                f"Policy(write_back_rate={rate!r}): choose a number of documents per second above 0, or None."
            )
        if isinstance(self.recheck, bool) or not isinstance(self.recheck, (int, float)) or not self.recheck >= 0:
            raise ValueError(f"Policy(recheck={self.recheck!r}): choose a number of seconds from 0.")
        hints = get_type_hints(type(self))
        for field in fields(self):
            if field.name in ("write_back_rate", "recheck"):
                continue
            value, hint = getattr(self, field.name), hints[field.name]
            allowed = (True, False) if hint is bool else get_args(hint)
            if not any(value is choice or (isinstance(value, str) and value == choice) for choice in allowed):
                choices = ", ".join(map(repr, allowed))
                raise ValueError(f"Policy({field.name}={value!r}): choose one of {choices}.")
