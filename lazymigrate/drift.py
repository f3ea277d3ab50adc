"""Drift: what is stored, or what is declared, is not what was recorded. A value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from lazymigrate.journal import ChangedRevision
from lazymigrate.verification import Finding
from lazymigrate.wording import documents

__all__ = ["Drift"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What `drift` found in one collection; nothing was written, and it holds no document's values.

    - `revisions`: those that do something else than what the journal has recorded of them.
    - `unknown`: stored versions that this code does not know, ahead of it or retired, and their documents; `invalid`: stamps
      that are no version, by BSON type.
    - `misfits`: documents whose shape does not fit their stamp, of the `sampled` ones: `failing` to upgrade, or `unfit` for
      the model, with the path and the type of the error.
    """

    collection: str
    revisions: tuple[ChangedRevision, ...] = ()
    unknown: Mapping[int, int] = field(default_factory=dict)
    invalid: Mapping[str, int] = field(default_factory=dict)
    misfits: tuple[Finding, ...] = ()
    sampled: int = 0

    @property
    def found(self) -> bool:
        """Whether there is any."""
        return bool(self.revisions or self.unknown or self.invalid or self.misfits)

    def __str__(self) -> str:
        lines = [str(revision) for revision in self.revisions]
        unknown = sum(self.unknown.values())
        if unknown:
            some = sorted(self.unknown, key=lambda version: -self.unknown[version])[:5]
            more = f" and {len(self.unknown) - len(some):,} others" if len(self.unknown) > len(some) else ""
            lines.append(
                f"{documents(unknown)} at versions that this code does not know: {', '.join(map(str, some))}{more}"
            )
        lines += [
            f"{documents(count)} with a stamp that is no version ({kind})" for kind, count in self.invalid.items()
        ]
        lines += [str(finding) for finding in self.misfits]
        looked = f"{documents(self.sampled)} looked at"
        if not lines:
            return f"{self.collection}: no drift ({looked})"
        return "\n".join([f"{self.collection}: drift ({looked})", *(f"  {line}" for line in [*lines, *self.remedies])])

    @property
    def remedies(self) -> list[str]:
        """What to do about each kind that was found."""
        found = {
            "Take the change of a revision back, and declare it as a new revision.": self.revisions,
            "Read documents ahead with the release that stored them, or a newer one; retired ones, with the last release that "
            "has their revisions.": self.unknown,
            "Set a stamp that is no version to the version whose shape its document has; nothing here guesses it.": self.invalid,
            "Mend the documents that do not fit their stamp, or the revision that fails for them, and look again.": self.misfits,
        }
        return [remedy for remedy, kind in found.items() if kind]

    def to_json(self) -> str:
        """All of it and `found` as a JSON object: dates in ISO 8601, documents named as texts name them."""
        revisions = [
            {
                **asdict(revision),
                "registered": revision.registered.isoformat(),
                "found": revision.found.isoformat(),
            }
            for revision in self.revisions
        ]
        return json.dumps(
            {
                "collection": self.collection,
                "found": self.found,
                "revisions": revisions,
                "unknown": {str(version): count for version, count in self.unknown.items()},
                "invalid": dict(self.invalid),
                "misfits": [finding.to_dict() for finding in self.misfits],
                "sampled": self.sampled,
            }
        )
