"""What of a server and a collection will bite: values. What is decided from which facts, `checkups` and `indexes` say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lazymigrate.coverage import Coverage
from lazymigrate.verification import printable

__all__ = ["SEVERITIES", "Diagnosis", "Facts", "Finding", "Kind", "Sample", "Severity", "gravest", "listed"]

Severity = Literal["ok", "note", "warning", "problem"]
Kind = Literal["missing", "collection", "view", "time-series"]

SEVERITIES: tuple[Severity, ...] = ("ok", "note", "warning", "problem")
"""The mildest first. A problem fails or loses something, a warning will cost something, a note is good to know."""

NAMED = 6  # names in one sentence


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, in one sentence, and what to do about it (nothing, where all is well).

    Its texts are fit for a terminal, and hold names and counts, never a document's values nor a URI.
    """

    severity: Severity
    topic: str
    said: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.severity}: {self.topic}: {self.said}{' ' if self.remedy else ''}{self.remedy}"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What `doctor` found about one collection and its server, in the order in which it looked; nothing was written."""

    collection: str
    findings: tuple[Finding, ...] = ()

    @property
    def worst(self) -> Severity:
        """The gravest severity of all findings."""
        return gravest(finding.severity for finding in self.findings)

    def of(self, severity: Severity) -> list[Finding]:
        """The findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    def __str__(self) -> str:
        ordered = sorted(self.findings, key=lambda finding: -SEVERITIES.index(finding.severity))
        return "\n".join([f"{printable(self.collection)}: {self.worst}", *(f"  {finding}" for finding in ordered)])

    def to_json(self) -> str:
        """The diagnosis as a JSON object: `format`, `collection`, `worst`, and `findings` as they were made."""
        findings = [asdict(finding) for finding in self.findings]
        return json.dumps({"format": 1, "collection": self.collection, "worst": self.worst, "findings": findings})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A random sample of stored documents: how many, the size of the largest in bytes, how many have a string `_id`."""

    documents: int = 0
    largest: int = 0
    text_ids: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Facts:
    """What the client, the server and the collection say of themselves, as they say it; None for what nobody may know.

    - `write_concern`, `read_concern`, `on_primary`: what the application's client asks for.
    - `hello`, `build`, `compatibility`, `replication`, `status`: the answers of `hello`, `buildInfo`, the parameter
      `featureCompatibilityVersion`, `replSetGetStatus` and `serverStatus`.
    - `privileges`: those of the user, None where nobody has logged in.
    - `skew`: by how many seconds at least the server's clock differs from this machine's.
    - `kind`, `options` and `indexes`: as the server describes them. `readable`: documents may be read; only then it is known
      whether a backlog index answers questions, and `in_use` is that one, None where none does.
    - `shard_key`: empty for a collection that is not sharded.
    - `coverage`: the counts; `listed`: those of the quarantine are among them.
    - `tried`: how many outdated documents were looked at; `upgraded`: how many of these were upgraded in memory, `failed`:
      how many could not be; `refused`: how many of the upgraded the validator would refuse; `doubled`: how many of all
      have a field twice, which BSON allows.
    """

    database: str
    collection: str
    write_concern: Mapping[str, Any]
    read_concern: str | None
    on_primary: bool
    hello: Mapping[str, Any]
    build: Mapping[str, Any] | None = None
    compatibility: str | None = None
    replication: Mapping[str, Any] | None = None
    status: Mapping[str, Any] | None = None
    privileges: Sequence[Mapping[str, Any]] | None = None
    skew: float = 0.0
    kind: Kind | None = "collection"
    options: Mapping[str, Any] | None
    indexes: Sequence[Mapping[str, Any]] | None = ()
    readable: bool = True
    in_use: str | None = None
    shard_key: Mapping[str, Any] | None = field(default_factory=dict)
    coverage: Coverage | None = None
    listed: bool = True
    sample: Sample | None = None
    tried: int = 0
    upgraded: int = 0
    failed: int = 0
    refused: int = 0
    doubled: int = 0


def gravest(severities: Iterable[Severity]) -> Severity:
    """The gravest of some severities; "ok" where there are none."""
    return SEVERITIES[max(map(SEVERITIES.index, severities), default=0)]


def listed(names: Sequence[str]) -> str:
    """Names for a sentence, the first few of many."""
    parts = [f"'{printable(name)}'" for name in names[:NAMED]]
    if len(names) > NAMED:
        parts.append(f"{len(names) - NAMED} more")
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
