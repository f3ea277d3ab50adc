"""Coverage as Prometheus reads it: gauges, and their text for the textfile collector of the node exporter.

How many series there are follows from what is declared, never from what is stored: a version is a label only where this
code declares it, and all others are counted under the names of their groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, get_args

from lazymigrate.overview import CollectionOverview, Overview
from lazymigrate.runs import RunState
from lazymigrate.verification import printable

__all__ = ["GAUGES", "Gauge", "Sample", "exposition", "samples"]

STATES: tuple[str, ...] = ("none", *get_args(RunState))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A metric: its name, what it means, and its labels beside `database` and `collection`."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The names of the labels of each sample, in order."""
        return ("database", "collection", *self.labels)


class Sample(NamedTuple):
    """One value of a gauge, and the values of its labels in their order."""

    gauge: Gauge
    labels: tuple[str, ...]
    value: float


DOCUMENTS = Gauge(
    name="lazymigrate_documents",
    meaning="Documents by the version they are stored at; those at no declared version are ahead, retired or invalid.",
    labels=("version",),
)
AT_HEAD = Gauge(name="lazymigrate_documents_at_head", meaning="Documents that need no upgrade.")
OUTDATED = Gauge(name="lazymigrate_documents_outdated", meaning="Documents below head that this code can upgrade.")
QUARANTINED = Gauge(name="lazymigrate_documents_quarantined", meaning="Documents listed as not to be upgraded.")
HEAD = Gauge(name="lazymigrate_head_version", meaning="The newest version that this code declares.")
COMPLETE = Gauge(name="lazymigrate_complete", meaning="1 where no document is outdated, invalid or retired, else 0.")
STATE = Gauge(
    name="lazymigrate_run_state",
    meaning="1 for the state that the last sweep is in, 0 for the others.",
    labels=("state",),
)
TAKEN = Gauge(name="lazymigrate_taken_timestamp_seconds", meaning="When the documents were counted, in Unix time.")
UP = Gauge(name="lazymigrate_up", meaning="1 where the documents could be counted, else 0.")

GAUGES = (DOCUMENTS, AT_HEAD, OUTDATED, QUARANTINED, HEAD, COMPLETE, STATE, TAKEN, UP)


def samples(overview: CollectionOverview, database: str) -> Iterable[Sample]:
    """The values of all gauges for one collection."""
    own = (database, overview.collection)
    counts = overview.coverage
    by_version = {str(line.version): line.documents for line in reversed(overview.versions)}
    groups = {"ahead": counts.ahead, "retired": counts.retired, "invalid": counts.invalid}
    for version, documents in {**by_version, **groups}.items():
        yield Sample(DOCUMENTS, (*own, version), documents)
    yield Sample(AT_HEAD, own, counts.at_head)
    yield Sample(OUTDATED, own, counts.outdated)
    yield Sample(QUARANTINED, own, counts.quarantined)
    yield Sample(HEAD, own, counts.head)
    yield Sample(COMPLETE, own, int(counts.complete))
    current = "none" if overview.run is None else overview.run.state
    for state in STATES:
        yield Sample(STATE, (*own, state), int(state == current))
    yield Sample(TAKEN, own, overview.taken.timestamp())
    yield Sample(UP, own, 1)


def exposition(overview: Overview) -> str:
    """All gauges in the text format 0.0.4, which is in UTF-8 and ends with a line feed."""
    found = [sample for each in overview.collections for sample in samples(each, overview.database)]
    lines: list[str] = []
    for gauge in GAUGES:
        lines += [f"# HELP {gauge.name} {gauge.meaning}", f"# TYPE {gauge.name} gauge"]
        lines += [line(sample) for sample in found if sample.gauge is gauge]
    return "\n".join([*lines, ""])


def line(sample: Sample) -> str:
    pairs = zip(sample.gauge.all_labels, sample.labels, strict=True)
    labels = ",".join(f'{name}="{quoted(value)}"' for name, value in pairs)
    return f"{sample.gauge.name}{{{labels}}} {sample.value!r}"


def quoted(value: str) -> str:
    """The value of a label: without control characters, and escaped as the format asks for."""
    return printable(value).replace("\\", "\\\\").replace('"', '\\"')
