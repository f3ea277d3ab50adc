"""The lock file: what was declared when it was written, for a person to review and for git to merge.

It is TOML with one line for each revision and for each line of the shape, so that a review shows what became of each.
Two branches that add the same version write different lines in the same place: git calls that a conflict, and the markers
that it leaves are understood (`LockConflictError`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lazymigrate.checksum import checksum
from lazymigrate.exceptions import LazyMigrateError
from lazymigrate.schema import Schema
from lazymigrate.shape import shape
from lazymigrate.verification import printable

__all__ = ["Collision", "Lock", "LockConflictError", "LockError", "LockedRevision", "LockedSchema"]

FORMAT: Final = 1
HEADER: Final = """\
# What each version of the application's schemas does: `lazymigrate check` compares the code with it.
# Commit this file. It is written by `lazymigrate check --write`, and not meant to be edited.
"""
REWRITE: Final = "Take it from the last commit, or write it anew: delete it and run `lazymigrate check --write`."
MARKER: Final = re.compile(r"(<{7}|={7}|>{7}|\|{7})(?: .*)?")
CONFLICTS: Final = re.compile(r"(<\|?=>)+")  # the order of markers, by their first characters
BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
# What would end a line, steer a terminal or turn the direction of the text; TOML itself forbids the first row.
ESCAPED: Final = re.compile(r'[\x00-\x1f\x7f"\\]|[\x80-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]')


class LockError(LazyMigrateError):
    """The lock file cannot be used as it is; nothing was written."""


class LockConflictError(LockError):
    """The lock file has the conflict markers of git: two branches changed the same lines.

    `sides` are the file as each of the two has it, and `collisions` the revisions that have got the same number.
    """

    def __init__(self, message: str, *, sides: tuple[Lock, Lock], collisions: tuple[Collision, ...]) -> None:
        super().__init__(message)
        self.sides = sides
        self.collisions = collisions


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedRevision:
    """A revision as it was declared: its number, its name, and the checksum of what it does."""

    version: int
    name: str
    checksum: str

    def __str__(self) -> str:
        return f"{self.version} {self.name} {self.checksum}"

    @classmethod
    def parse(cls, line: Any) -> LockedRevision:
        """The revision of a line; `ValueError` when it is none."""
        match = re.fullmatch(r"(\d{1,18}) (.+) (\S+:[0-9a-f]+)", line, re.DOTALL) if isinstance(line, str) else None
        if match is None:
            raise ValueError("a line of revisions is not 'version name checksum'")
        return cls(version=int(match[1]), name=match[2], checksum=match[3])


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedSchema:
    """A schema as it was declared; `shape` is None where it has no model."""

    name: str
    version_field: str
    base: int
    oldest: int
    revisions: tuple[LockedRevision, ...] = ()
    shape: tuple[str, ...] | None = None

    @property
    def head(self) -> int:
        """The newest version."""
        return max((revision.version for revision in self.revisions), default=self.oldest)

    @classmethod
    def of(cls, schema: Schema) -> LockedSchema:
        """The schema as it is declared now."""
        return cls(
            name=schema.name,
            version_field=schema.version_field,
            base=schema.base,
            oldest=schema.oldest,
            revisions=tuple(
                LockedRevision(version=revision.version, name=revision.name, checksum=checksum(revision))
                for revision in schema.revisions
            ),
            shape=None if schema.adapter is None else shape(schema.adapter.model),
        )

    @classmethod
    def parse(cls, name: str, table: Any) -> LockedSchema:
        """The schema of a table; `ValueError` says what is wrong with it."""
        kinds: dict[str, type] = {"version_field": str, "base": int, "oldest": int, "revisions": list}
        for key, kind in kinds.items():
            if not isinstance(table, dict) or type(table.get(key)) is not kind:
                raise ValueError(f"{key!r} is missing or of another type")
        lines = table.get("shape")
        if lines is not None and not (isinstance(lines, list) and all(isinstance(line, str) for line in lines)):
            raise ValueError("'shape' is no list of lines")
        return cls(
            name=name,
            version_field=table["version_field"],
            base=table["base"],
            oldest=table["oldest"],
            revisions=tuple(LockedRevision.parse(line) for line in table["revisions"]),
            shape=None if lines is None else tuple(lines),
        )

    def lines(self) -> Iterator[str]:
        """Its lines in the file."""
        yield f"[schemas.{self.name if BARE.fullmatch(self.name) else quoted(self.name)}]"
        yield f"version_field = {quoted(self.version_field)}"
        yield f"base = {self.base}"
        yield f"oldest = {self.oldest}"
        yield from listed("revisions", map(str, self.revisions))
        if self.shape is not None:
            yield from listed("shape", self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collision:
    """Two revisions of one schema that two branches gave the same number.

    `after_ours` is the first number that is free after ours, and so is `after_theirs`.
    """

    schema: str
    ours: LockedRevision
    theirs: LockedRevision
    after_ours: int
    after_theirs: int

    def __str__(self) -> str:
        ours, theirs = printable(repr(self.ours.name)), printable(repr(self.theirs.name))
        return f"both branches added version {self.ours.version}: {ours} (ours) and {theirs} (theirs)"

    @property
    def remedy(self) -> str:
        """How to renumber."""
        number = str(self.after_ours)
        if self.after_ours != self.after_theirs:
            number = f"{self.after_ours} if that is theirs, to {self.after_theirs} if that is ours"
        return (
            f"Keep the one that was merged first, renumber the one that is merged later to {number}, and run "
            "`lazymigrate check --write`."
        )


@dataclass(frozen=True, slots=True)
class Lock:
    """The schemas of an application as they were declared, by name."""

    schemas: Mapping[str, LockedSchema]

    @classmethod
    def of(cls, schemas: Iterable[Schema]) -> Lock:
        """The schemas as they are declared now; `LockError` when two have one name."""
        found: dict[str, LockedSchema] = {}
        for schema in schemas:
            if schema.name in found:
                raise LockError(f"Two schemas are named {schema.name!r}. Give each a name of its own.")
            found[schema.name] = LockedSchema.of(schema)
        return cls(found)

    @classmethod
    def parse(cls, text: str) -> Lock:
        """The lock of a file's text; `LockError` says what is wrong with it, `LockConflictError` which branches meet."""
        markers = [(n, line[0]) for n, line in enumerate(text.splitlines(), start=1) if MARKER.fullmatch(line)]
        if markers:
            if not CONFLICTS.fullmatch("".join(symbol for _, symbol in markers)):
                raise LockError(
                    f"The lock file has conflict markers of git that do not belong together (the first in line {markers[0][0]}): a "
                    f"merge was half settled. {REWRITE}"
                )
            raise conflict(*map(cls.parse, sides(text)))
        try:
            document = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # also of a number with thousands of digits
            raise LockError(f"The lock file is not TOML ({printable(str(error))}). {REWRITE}") from None
        version = document.get("format")
        if type(version) is int and version > FORMAT:
            raise LockError(
                f"The lock file has the format {version}, and this lazymigrate knows {FORMAT}. Install the version of "
                "lazymigrate that wrote it, or a newer one."
            )
        tables = document.get("schemas", {})
        if version != FORMAT or not isinstance(tables, dict):
            raise LockError(f"The lock file does not say 'format = {FORMAT}' and has no tables of schemas. {REWRITE}")
        schemas: dict[str, LockedSchema] = {}
        for name, table in tables.items():
            try:
                schemas[name] = LockedSchema.parse(name, table)
            except ValueError as error:
                raise LockError(f"The lock file: in the table of {printable(repr(name))}, {error}. {REWRITE}") from None
        return cls(schemas)

    def text(self) -> str:
        """The file's text: the same for the same schemas, in whatever order they were declared."""
        tables = ["\n".join(self.schemas[name].lines()) for name in sorted(self.schemas)]
        return "\n\n".join([f"{HEADER}format = {FORMAT}", *tables]) + "\n"


def quoted(text: str) -> str:
    """A text as TOML has it, on one line; `LockError` where UTF-8 cannot hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise LockError(
            f"The name {text!r} is no valid Unicode. Rename it, since MongoDB cannot hold it either."
        ) from None
    return (
        '"'
        + ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}" if found[0] not in '"\\' else f"\\{found[0]}", text)
        + '"'
    )


def listed(key: str, lines: Iterable[str]) -> Iterator[str]:
    """A list with a line for each element."""
    yield f"{key} = ["
    for line in lines:
        yield f"  {quoted(line)},"
    yield "]"


def sides(text: str) -> tuple[str, str]:
    """What each of the two branches has where git could not merge them: ours, and theirs."""
    ours: list[str] = []
    theirs: list[str] = []
    everywhere = (ours, theirs)
    into: tuple[list[str], ...] = everywhere
    after = {"<<<<<<<": (ours,), "|||||||": (), "=======": (theirs,), ">>>>>>>": everywhere}
    for line in text.splitlines():
        marker = MARKER.fullmatch(line)
        if marker:
            into = after[marker[1]]
        else:
            for side in into:
                side.append(line)
    return "\n".join(ours), "\n".join(theirs)


def conflict(ours: Lock, theirs: Lock) -> LockConflictError:
    """The error that says which revisions meet."""
    collisions: list[Collision] = []
    for name, schema in ours.schemas.items():
        other = theirs.schemas.get(name)
        numbers = {} if other is None else {revision.version: revision for revision in other.revisions}
        for revision in schema.revisions:
            twin = numbers.get(revision.version, revision)
            if other is not None and twin != revision:
                free = {"after_ours": schema.head + 1, "after_theirs": other.head + 1}
                collisions.append(Collision(schema=name, ours=revision, theirs=twin, **free))
                break  # those above it move along
    said = [f"{printable(collision.schema)}: {collision}. {collision.remedy}" for collision in collisions]
    return LockConflictError(
        " ".join(said)
        or "The lock file has conflict markers of git. Settle the code, and run `lazymigrate check --write`.",
        sides=(ours, theirs),
        collisions=tuple(collisions),
    )
