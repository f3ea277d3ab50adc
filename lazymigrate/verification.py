"""Whether two renderings of an upgrade agree: the first difference of two documents, and what a verification found.

Documents are compared as raw BSON: types, the order of fields and every byte count.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal
from uuid import UUID

from bson import ObjectId

from lazymigrate.elements import elements
from lazymigrate.wording import documents, with_article

__all__ = ["Difference", "Finding", "Kind", "VerifiedVersion", "VerifyReport", "first_difference", "printable"]

NOTHING = "nothing"
_DOCUMENT, _ARRAY = 0x03, 0x04
_TYPES = {
    0x01: "double",
    0x02: "string",
    _DOCUMENT: "object",
    _ARRAY: "array",
    0x05: "binData",
    0x06: "undefined",
    0x07: "objectId",
    0x08: "bool",
    0x09: "date",
    0x0A: "null",
    0x0B: "regex",
    0x0C: "dbPointer",
    0x0D: "javascript",
    0x0E: "symbol",
    0x0F: "javascriptWithScope",
    0x10: "int",
    0x11: "timestamp",
    0x12: "long",
    0x13: "decimal",
    0x7F: "maxKey",
    0xFF: "minKey",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two documents first differ, and the BSON types that stand there; never a value.

    `parts` are the names on the way, array indexes among them; none is the whole document. `reordered`: the document
    there has the same fields with the same values in another order.
    """

    parts: tuple[str, ...]
    expected: str
    found: str
    reordered: bool = False

    @property
    def path(self) -> str:
        """The dotted path, fit for a terminal."""
        return printable(".".join(self.parts)) or "(the document)"


def first_difference(
    expected: bytes, found: bytes, *, ordered: bool = True, parents: tuple[str, ...] = ()
) -> Difference | None:
    """The first path at which two raw documents differ, in the order of the expected one; None when they are the same.

    With `ordered=False` the order of fields does not count.
    """
    if expected == found:
        return None
    wanted, given = fields(expected), fields(found)
    for name, (kind, value) in wanted.items():
        here = (*parents, name)
        if name not in given:
            return Difference(here, _TYPES[kind], NOTHING)
        other_kind, other = given[name]
        if kind != other_kind:
            return Difference(here, _TYPES[kind], _TYPES[other_kind])
        if kind not in (_DOCUMENT, _ARRAY):
            if value != other:
                return Difference(here, _TYPES[kind], _TYPES[kind])
            continue
        inner = first_difference(value, other, ordered=ordered, parents=here)
        if inner is not None:
            return inner
    for name, (kind, _) in given.items():
        if name not in wanted:
            return Difference((*parents, name), NOTHING, _TYPES[kind])
    return Difference(parents, "object", "object", reordered=True) if ordered else None


def fields(raw: bytes) -> dict[str, tuple[int, bytes]]:
    """The top-level elements of a raw document by name: BSON type and the bytes of the value."""
    found: dict[str, tuple[int, bytes]] = {}
    for name, start, end in elements(raw):
        value = start + 2 + len(name.encode("utf-8", "surrogateescape"))
        found[name] = (raw[start], raw[value:end])
    return found


def printable(text: str) -> str:
    """A text out of a document without control characters, which a terminal would obey."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def showable(identity: Any) -> bool:
    """Whether an `_id` is of a type that says nothing about a person."""
    return isinstance(identity, (ObjectId, UUID, int))


Kind = Literal["failing", "differing", "unfit", "unrestored"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Documents of one version that have the same thing wrong with them.

    - `failing`: Python cannot upgrade them; `detail` names the revision.
    - `differing`: MongoDB gives another document than Python; `detail` names the first differing path and the types.
    - `unfit`: at head they do not fit the model; `detail` names the first field and what is wrong with it.
    - `unrestored`: going back does not restore them, although every revision declares that it does; `detail` as for
      `differing`.

    `document_ids` are those of the first few; texts show only ObjectIds, UUIDs and integers, since others can be personal.
    """

    version: int
    kind: Kind
    detail: str
    count: int
    document_ids: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"version {self.version}: {documents(self.count)} {self.kind}: {self.detail} ({self.named})"

    def to_dict(self) -> dict[str, Any]:
        """What was found as plain data; documents are named as texts name them."""
        return {
            "version": self.version,
            "kind": self.kind,
            "detail": self.detail,
            "count": self.count,
            "documents": self.shown_ids,
        }

    @property
    def shown_ids(self) -> list[str]:
        """The first documents one by one: an `_id` that may be shown, or of which type it is."""
        return [
            str(identity) if showable(identity) else f"a {type(identity).__name__}" for identity in self.document_ids
        ]

    @property
    def named(self) -> str:
        """The first documents in words: the `_id`s that may be shown, and how many there are of each other type."""
        shown = [str(identity) for identity in self.document_ids if showable(identity)]
        hidden = Counter(type(identity).__name__ for identity in self.document_ids if not showable(identity))
        others = ", ".join(f"{documents(count)} whose _id is {with_article(kind)}" for kind, count in hidden.items())
        if others and self.count > len(self.document_ids):
            others = f"among them {others}"
        return "; ".join(filter(None, [f"_id {', '.join(shown)}" if shown else "", others]))


@dataclass(frozen=True, slots=True)
class VerifiedVersion:
    """What became of the sampled documents of one version, on their way to head.

    - `stored`: how many documents there are; `sampled`: how many of them were looked at. `identical`, `client`,
      `failing` and `differing` add up to it.
    - `identical`: MongoDB gives, byte for byte, what Python gives. `client`: upgraded by the client only, since a
      revision is a plain function or the document is outside the safe filter (or too large to be compared).
    - `failing`, `differing`, `unfit`, `unrestored`: as in `Finding`. `restored`: going back gave what was stored.
    """

    version: int
    stored: int
    sampled: int = 0
    identical: int = 0
    client: int = 0
    failing: int = 0
    differing: int = 0
    unfit: int = 0
    restored: int = 0
    unrestored: int = 0


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found in one collection; nothing was written. It holds no document's values."""

    collection: str
    head: int
    versions: tuple[VerifiedVersion, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether nothing was found: no document fails, differs, misfits the model or cannot go back."""
        return not self.findings

    @property
    def sampled(self) -> int:
        """How many documents were looked at, of all versions."""
        return sum(version.sampled for version in self.versions)

    @property
    def stored(self) -> int:
        """How many outdated documents there are."""
        return sum(version.stored for version in self.versions)

    def __str__(self) -> str:
        if not self.versions:
            return f"{self.collection}: no document is outdated"
        parts = [f"{self.collection}: {self.sampled:,} of {self.stored:,} outdated documents verified to {self.head}"]
        for name in ("identical", "client", "failing", "differing", "unfit", "restored", "unrestored"):
            count = sum(getattr(version, name) for version in self.versions)
            if count:
                parts.append(f"{count:,} {name}")
        return "\n".join([", ".join(parts), *(f"  {finding}" for finding in self.findings)])

    def to_json(self) -> str:
        """The report and `agrees` as a JSON object; documents are named as its texts name them."""
        return json.dumps(
            {
                "collection": self.collection,
                "head": self.head,
                "agrees": self.agrees,
                "versions": [asdict(version) for version in self.versions],
                "findings": [finding.to_dict() for finding in self.findings],
            }
        )
