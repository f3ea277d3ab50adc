"""A document before and after its upgrade: which paths differ, and how, and both as lines that a person can read.

Values are compared as BSON has them: 1, 1.0 and True are three values, and so are an int and a long. Where two values
that differ would look the same, both are written with their types (canonical Extended JSON).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple

import bson
from bson import json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.json_util import JSONMode, JSONOptions

from lazymigrate.revision import Revision
from lazymigrate.schema import Schema
from lazymigrate.verification import printable

__all__ = ["Comparison", "DocumentChange", "Found", "Line", "changes", "compared"]

RELAXED = JSONOptions(json_mode=JSONMode.RELAXED, uuid_representation=UuidRepresentation.STANDARD)
CANONICAL = JSONOptions(json_mode=JSONMode.CANONICAL, uuid_representation=UuidRepresentation.STANDARD)
CODEC: CodecOptions[dict[str, Any]] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
AROUND = 3  # unchanged lines around a changed one

ChangeKind = Literal["added", "removed", "changed", "reordered"]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """A path at which two documents differ; in a list, names are positions. `reordered`: the same fields in another order."""

    path: str
    kind: ChangeKind


class Found(NamedTuple):
    """A change with what stood and stands there; None where nothing does."""

    path: Path
    kind: ChangeKind
    before: Any = None
    after: Any = None


class Line(NamedTuple):
    """A line of a diff: `"-"` was there before, `"+"` is there after, `" "` is in both, `"…"` stands for some of those."""

    mark: Literal["-", "+", " ", "…"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What becomes of one document on the way from one version to another; it holds the document's values."""

    version: int
    target: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    revisions: tuple[Revision, ...] = ()

    @property
    def changes(self) -> list[DocumentChange]:
        """Where the two differ, in the order of the document before; what is new comes last."""
        return [DocumentChange(".".join(found.path), found.kind) for found in changes(self.before, self.after)]

    def lines(self) -> list[Line]:
        """The two documents as one diff."""
        alike = {
            found.path
            for found in changes(self.before, self.after)
            if found.kind == "changed" and jsonable(found.before) == jsonable(found.after)
        }
        before, after = (written(document, alike) for document in (self.before, self.after))
        end = 0
        lines: list[Line] = []
        for group in SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(AROUND):
            if group[0][1]:
                lines.append(Line("…", ""))
            for tag, first, last, start, stop in group:
                if tag == "equal":
                    lines += [Line(" ", text) for text in before[first:last]]
                    continue
                lines += [Line("-", text) for text in before[first:last]]
                lines += [Line("+", text) for text in after[start:stop]]
            end = group[-1][2]
        return [*lines, Line("…", "")] if lines and end < len(before) else lines

    def to_json(self, **beside: Any) -> str:
        """A JSON object in ASCII: both documents in relaxed Extended JSON, the changes, and what is to stand beside them."""
        return json.dumps(
            {
                **beside,
                "version": self.version,
                "to": self.target,
                "revisions": [revision.version for revision in self.revisions],
                "before": jsonable(self.before),
                "after": jsonable(self.after),
                "changes": [{"path": change.path, "kind": change.kind} for change in self.changes],
            }
        )


def compared(
    schema: Schema, document: dict[str, Any], *, to: int | None, codec: CodecOptions[Any] = CODEC
) -> Comparison:
    """A document upgraded, or downgraded where `to` is below its version; errors as `Schema.upgrade` and `downgrade`."""
    version = schema.version_of(document)
    target = schema.head if to is None else to
    moved = schema.downgrade(document, to=target) if target < version else schema.upgrade(document, to=target)
    low, high = min(version, target), max(version, target)
    between = [revision for revision in schema.revisions if low < revision.version <= high]
    stored = bson.decode(bson.encode(moved, codec_options=codec), codec_options=codec)
    return Comparison(
        version=version,
        target=target,
        before=document,
        after=stored,
        revisions=tuple(between if target >= version else reversed(between)),
    )


def changes(before: Any, after: Any, path: Path = ()) -> Iterator[Found]:
    """The innermost paths at which two values differ."""
    one, other = members(before), members(after)
    if one is None or other is None or type(before) is not type(after):
        if encoded(before) != encoded(after):
            yield Found(path, "changed", before, after)
        return
    for name, value in one.items():
        if name in other:
            yield from changes(value, other[name], (*path, name))
        else:
            yield Found((*path, name), "removed", before=value)
    for name, value in other.items():
        if name not in one:
            yield Found((*path, name), "added", after=value)
    if [name for name in one if name in other] != [name for name in other if name in one]:
        yield Found(path, "reordered", before, after)


def members(value: Any) -> dict[str, Any] | None:
    """The parts of a document or a list by name; None for any other value."""
    if isinstance(value, Mapping):
        return {str(name): inner for name, inner in value.items()}
    return {str(index): inner for index, inner in enumerate(value)} if isinstance(value, list) else None


def encoded(value: Any) -> bytes:
    return bson.encode({"": value}, codec_options=CODEC)


def written(document: Any, exactly: set[Path]) -> list[str]:
    """A document as indented lines, one for each field and each element of a list, without control characters.

    It is Extended JSON without the commas at the ends of lines, which would make a difference where there is none.
    """
    return [printable(line) for line in indented(jsonable(document, exactly))]


def indented(value: Any, before: str = "", margin: str = "") -> Iterator[str]:
    """The lines of a value as JSON has it, `before` which stands its name; what means one BSON value is on one line."""
    is_value = isinstance(value, dict) and any(name.startswith("$") for name in value)
    if not isinstance(value, (dict, list)) or not value or is_value:
        yield f"{margin}{before}{json.dumps(value, ensure_ascii=False)}"
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield f"{margin}{before}{opening}"
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from indented(inner, f"{json.dumps(name, ensure_ascii=False)}: ", f"{margin}  ")
    else:
        for inner in value:
            yield from indented(inner, "", f"{margin}  ")
    yield f"{margin}{closing}"


def jsonable(value: Any, exactly: set[Path] | frozenset[Path] = frozenset(), path: Path = ()) -> Any:
    """A value as JSON has it; at the paths `exactly`, in canonical Extended JSON where relaxed would hide its type."""
    if isinstance(value, Mapping):
        return {str(name): jsonable(inner, exactly, (*path, str(name))) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(inner, exactly, (*path, str(index))) for index, inner in enumerate(value)]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    options = CANONICAL if path in exactly and is_number else RELAXED
    return json.loads(json_util.dumps(value, json_options=options))
