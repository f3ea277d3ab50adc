"""What an operator does next for one collection: the first thing that stands in the way of being done.

In this order: what is at work ends by itself, or when it is resumed; then what a command does; then what only a person can
mend.
"""

from __future__ import annotations

import shlex

from lazymigrate.coverage import Coverage
from lazymigrate.runs import Run
from lazymigrate.verification import printable
from lazymigrate.wording import documents

__all__ = ["NO_DOCUMENTS", "next_step"]

NO_DOCUMENTS = "There are no documents. If there should be, correct --database or --collection."
AT_WORK = frozenset({"running", "pausing", "cancelling"})
WAITING = frozenset({"interrupted", "enqueued"})


def next_step(schema: str, counts: Coverage, run: Run | None) -> str:
    """The next step for the collection of this schema: fit for a terminal, and its commands, in backticks, for a shell."""
    name = shlex.quote(printable(schema).replace("`", "'"))
    state = None if run is None else run.state
    if run is not None and state in AT_WORK:
        return f"A {run.kind} is at work: wait, or `lazymigrate run pause {name}`."
    if run is not None and state == "paused":
        return f"A {run.kind} is paused: `lazymigrate run resume {name}`."
    if run is not None and state == "errored" and run.error == "SchemaError" and counts.outdated:
        return (
            f"The last run ended since a revision is written wrongly: `lazymigrate sweep {name}` says which; mend it."
        )
    if state == "errored" and counts.outdated:
        return "The last run ended as errored: see `lazymigrate quarantine ls`, mend what fails, and sweep again."
    if counts.to_sweep:
        again = run is not None and run.kind == "sweep" and state in WAITING
        about = "about " if counts.sampled else ""
        which = "1 outdated document" if counts.to_sweep == 1 else f"{about}{counts.to_sweep:,} outdated documents"
        return f"{'Go on with' if again else 'Sweep'} {which}: `lazymigrate sweep {name}`."
    if counts.quarantined:
        return (
            "Mend what fails (`lazymigrate quarantine ls` lists it), deploy that, and try again: "
            "`lazymigrate quarantine retry --all`, which also takes off the list what was mended already."
        )
    if counts.retired:
        return (
            f"{that(counts.retired, 'is', 'are')} below version {counts.oldest}, the oldest that this code can "
            "upgrade: sweep with a release that still can."
        )
    if counts.invalid:
        types = ", ".join(printable(kind) for kind in counts.invalid_types)
        stamped = that(counts.invalid, "has a stamp that is", "have stamps that are")
        return f"{stamped} no version ({types}): correct the field by hand."
    if counts.ahead:
        above = f"{that(counts.ahead, 'is', 'are')} above version {counts.head}"
        return f"{above}: deploy the release that writes them here, too."
    if not counts.total:
        return NO_DOCUMENTS
    if not counts.complete:
        return f"A sample proves nothing: count them all with `lazymigrate coverage {name}`."
    if counts.retirable > counts.oldest:
        one = counts.retirable == counts.oldest + 1
        which = f"revision {counts.retirable}" if one else f"revisions up to {counts.retirable}"
        return (
            f"Complete; {which} can be retired when no older release writes any more: "
            f"`lazymigrate retire {name} {counts.retirable}`."
        )
    return "Nothing to do: complete."


def that(count: int, one: str, many: str) -> str:
    """So many documents, and what is said of one or of many."""
    return f"{documents(count)} {one if count == 1 else many}"
