"""What `lazymigrate check` decides: whether the declared schemas are those of the lock file.

| finding       | level | means                                                                                      |
|---------------|-------|--------------------------------------------------------------------------------------------|
| changed       | drift | a revision does something else than when it was locked                                     |
| missing       | drift | a locked revision is not declared any more, and is not retired                             |
| version_field | drift | the stamp is looked for in another field                                                   |
| base          | drift | documents without a stamp are taken for another version                                    |
| oldest        | drift | `oldest` is lower than it was: revisions that were retired are back                        |
| shape         | drift | the model gives documents another shape, and no revision leads there                       |
| gone          | drift | a locked schema is not in the application                                                  |
| conflict      | drift | two branches added the same version; `write` once the code has both under two numbers      |
| declaration   | drift | the application cannot be imported, since a declaration is wrong                           |
| recorded      | drift | a revision does something else than the journal has recorded of it                         |
| needed        | drift | there are documents that only retired revisions can upgrade                                |
| new           | write | a revision or a schema is not locked yet                                                   |
| renamed       | write | a revision has another name, and does the same                                             |
| retired       | write | `oldest` is higher than it was                                                             |
| model         | write | the schema has a model where it had none, or none where it had one                         |
| incomparable  | note  | checksums of bytecode of another Python: nobody can say                                    |
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Final, Literal

from lazymigrate.checksum import same
from lazymigrate.drift import Drift
from lazymigrate.exceptions import SchemaError
from lazymigrate.lock import Lock, LockConflictError, LockedRevision, LockedSchema
from lazymigrate.schema import Schema
from lazymigrate.verification import printable

__all__ = [
    "CheckFinding",
    "CheckReport",
    "Level",
    "check",
    "check_conflict",
    "check_declaration",
    "check_stored",
    "meetings",
]

Level = Literal["drift", "write", "note"]

WRITE: Final = "Run `lazymigrate check --write`, and commit the lock file."
ACCEPT: Final = "If it was never deployed, run `lazymigrate check --write --accept`."
FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinding:
    """One thing that is not as it was locked, and what to do about it.

    `schema` is its name ("" for all), `lines` those of the shape that came ("+ ") and went ("- "). `accepted`: whether
    `--accept` may write over it.
    """

    schema: str
    kind: str
    level: Level
    text: str
    remedy: str
    lines: tuple[str, ...] = ()
    accepted: bool = False

    def __str__(self) -> str:
        where = f"{printable(self.schema)}: " if self.schema else ""
        lines = "".join(f"\n    {printable(line)}" for line in self.lines)
        return f"{self.level}: {where}{printable(self.text)}.{lines}\n  {printable(self.remedy)}"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `check` found, the worst first; nothing is sound that drifted or has to be written."""

    findings: tuple[CheckFinding, ...] = ()
    schemas: tuple[str, ...] = ()

    @property
    def drift(self) -> bool:
        """Whether something is not as it was locked or recorded."""
        return any(finding.level == "drift" for finding in self.findings)

    @property
    def unwritten(self) -> bool:
        """Whether the lock file lacks something."""
        return any(finding.level == "write" for finding in self.findings)

    @property
    def sound(self) -> bool:
        """Whether there is neither drift nor anything to write."""
        return not (self.drift or self.unwritten)

    def writable(self, *, accept: bool = False) -> bool:
        """Whether the lock file may be written: nothing drifted, or (`accept`) nothing that may not be written over."""
        return all(finding.level != "drift" or (accept and finding.accepted) for finding in self.findings)

    def with_findings(self, findings: Iterable[CheckFinding]) -> CheckReport:
        """The same, with more findings."""
        order = ("drift", "write", "note")
        every = sorted((*self.findings, *findings), key=lambda finding: order.index(finding.level))
        return CheckReport(tuple(every), self.schemas)

    def __str__(self) -> str:
        if not self.findings:
            return f"sound: {', '.join(map(printable, self.schemas)) or 'no schema'}"
        return "\n".join(map(str, self.findings))

    def to_json(self) -> str:
        """The findings and what follows from them as a JSON object of format 1."""
        document = {"format": FORMAT, "sound": self.sound, "drift": self.drift, "unwritten": self.unwritten}
        return json.dumps({**document, "schemas": self.schemas, "findings": [asdict(each) for each in self.findings]})


def check(schemas: Iterable[Schema], lock: Lock | None) -> CheckReport:
    """The declared schemas compared with the locked ones; None is no lock file."""
    return compare(Lock.of(schemas), lock or Lock({}))


def check_conflict(schemas: Iterable[Schema], conflict: LockConflictError) -> CheckReport:
    """The same where git could not merge the lock file: which revisions meet, until the code has both under two numbers."""
    now = Lock.of(schemas)
    declared = {(name, revision.checksum) for name, schema in now.schemas.items() for revision in schema.revisions}
    lost = [
        collision
        for collision in conflict.collisions
        if {(collision.schema, one.checksum) for one in (collision.ours, collision.theirs)} - declared
    ]
    against = [compare(now, side) for side in conflict.sides]
    settled = next((report for report in against if not report.drift), None)
    missed = [*unmerged(now, conflict)]
    if settled is not None and not lost and not missed:
        text = "the lock file has conflict markers of git, and the code has what both branches added"
        found = CheckFinding(schema="", kind="conflict", level="write", text=text, remedy=WRITE)
        return CheckReport((), settled.schemas).with_findings([found])
    findings = meetings(conflict) if lost else missed or against[0].findings
    return CheckReport((), against[0].schemas).with_findings(findings)


def unmerged(now: Lock, conflict: LockConflictError) -> Iterator[CheckFinding]:
    """A finding for each revision of either branch that is not in the code under any number; retired ones apart."""
    told = {(name, revision.checksum) for name, schema in now.schemas.items() for revision in schema.revisions}
    for side in conflict.sides:
        for name, schema in side.schemas.items():
            oldest = now.schemas.get(name, schema).oldest
            for revision in schema.revisions:
                if (name, revision.checksum) not in told and revision.version > oldest:
                    told.add((name, revision.checksum))
                    remedy = f"Declare it at the end, under a number that is free. {ACCEPT}"
                    yield finding(name, revision, "conflict", "drift", "of a merged branch is not declared", remedy)


def meetings(conflict: LockConflictError) -> Iterator[CheckFinding]:
    """A finding for each pair of revisions that have got the same number."""
    for collision in conflict.collisions:
        yield CheckFinding(
            schema=collision.schema, kind="conflict", level="drift", text=str(collision), remedy=collision.remedy
        )


def check_declaration(error: SchemaError) -> CheckReport:
    """An application that cannot be imported, since one of its declarations is wrong."""
    text = f"the application cannot be imported: {error}".removesuffix(".")
    remedy = "Mend the declaration, and check again."
    return CheckReport((CheckFinding(schema="", kind="declaration", level="drift", text=text, remedy=remedy),))


def check_stored(schema: Schema, drift: Drift) -> Iterator[CheckFinding]:
    """What the stored documents and the journal have against it."""
    retired = sum(count for version, count in drift.unknown.items() if version < schema.oldest)
    if retired:
        documents = "1 document is" if retired == 1 else f"{retired:,} documents are"
        yield CheckFinding(
            schema=schema.name,
            kind="needed",
            level="drift",
            text=f"{documents} older than oldest={schema.oldest}: revisions that were retired are still needed",
            remedy="Bring them back and lower oldest, or sweep with the last release that has them.",
        )
    for revision in drift.revisions:
        yield CheckFinding(
            schema=schema.name,
            kind="recorded",
            level="drift",
            text=str(revision),
            remedy="Restore it as it was deployed, and declare the change as a revision of its own at the end.",
        )


def compare(now: Lock, before: Lock) -> CheckReport:
    """What is declared now with what was locked before."""
    findings: list[CheckFinding] = []
    for name, schema in now.schemas.items():
        locked = before.schemas.get(name)
        if locked is None:
            text = "the schema is not in the lock file"
            findings.append(CheckFinding(schema=name, kind="new", level="write", text=text, remedy=WRITE))
        else:
            findings += declaration(schema, locked)
            findings += revisions(schema, locked)
            findings += shapes(schema, locked)
    for name in before.schemas.keys() - now.schemas.keys():
        findings.append(
            CheckFinding(
                schema=name,
                kind="gone",
                level="drift",
                text="the schema is in the lock file and not in the application",
                remedy="Name the whole application in --app; if the schema was removed, run `lazymigrate check --write --accept`.",
                accepted=True,
            )
        )
    return CheckReport((), tuple(now.schemas)).with_findings(findings)


def declaration(now: LockedSchema, before: LockedSchema) -> Iterator[CheckFinding]:
    """What is said of the schema as a whole."""
    told = (
        (
            "version_field",
            "Documents are stamped in the old one: restore it, or rename the field in all of them first.",
        ),
        ("base", "Documents without a stamp would be taken for another version: restore it."),
    )
    for key, remedy in told:
        old, new = getattr(before, key), getattr(now, key)
        if old != new:
            yield CheckFinding(
                schema=now.name,
                kind=key,
                level="drift",
                text=f"{key} was {old!r} and is {new!r}",
                remedy=f"{remedy} {ACCEPT}",
                accepted=True,
            )
    if now.oldest > before.oldest:
        text = f"oldest was {before.oldest} and is {now.oldest}: the revisions up to {now.oldest} are retired"
        yield CheckFinding(schema=now.name, kind="retired", level="write", text=text, remedy=WRITE)
    if now.oldest < before.oldest:
        yield CheckFinding(
            schema=now.name,
            kind="oldest",
            level="drift",
            text=f"oldest was {before.oldest} and is {now.oldest}: the revisions in between were retired, and nothing tells "
            "whether these are the same",
            remedy=f"Set oldest={before.oldest} again. If they are the same, run `lazymigrate check --write --accept`.",
            accepted=True,
        )


def revisions(now: LockedSchema, before: LockedSchema) -> Iterator[CheckFinding]:
    """What became of each revision."""
    declared = {revision.version: revision for revision in now.revisions}
    locked = {revision.version: revision for revision in before.revisions}
    for version in sorted(declared.keys() | locked.keys()):
        new, old = declared.get(version), locked.get(version)
        if old is None:
            if new is not None and version > before.oldest:  # others were retired, and are back: `oldest` says so
                yield finding(now.name, new, "new", "write", "is not in the lock file", WRITE)
        elif new is not None:
            yield from changes(now.name, new, old)
        elif version > now.oldest:
            remedy = f"Restore it: documents may be at version {version}. {ACCEPT}"
            yield finding(now.name, old, "missing", "drift", "is not declared any more", remedy)


def changes(schema: str, new: LockedRevision, old: LockedRevision) -> Iterator[CheckFinding]:
    """What became of one that is declared and locked."""
    equal = same(new.checksum, old.checksum)
    was = "" if new.name == old.name else f", which was {old.name!r}"
    if equal is None:
        remedy = "Run the check where the source is there, or with the Python that wrote the lock file."
        text = "cannot be compared: it was locked without its source, or has none now"
        yield finding(schema, new, "incomparable", "note", text, remedy)
    elif not equal:
        remedy = f"Restore it, and declare the change as a revision of its own at the end. {ACCEPT}"
        yield finding(schema, new, "changed", "drift", f"does something else than when it was locked{was}", remedy)
    elif was:
        yield finding(schema, new, "renamed", "write", f"has another name and does the same{was}", WRITE)


def shapes(now: LockedSchema, before: LockedSchema) -> Iterator[CheckFinding]:
    """What became of the model's shape, if no revision was added."""
    if now.head > before.head or now.shape == before.shape:
        return
    if now.shape is None or before.shape is None:
        text = "it has a model now" if before.shape is None else "it has no model any more"
        yield CheckFinding(schema=now.name, kind="model", level="write", text=text, remedy=WRITE)
        return
    come, gone = set(now.shape) - set(before.shape), set(before.shape) - set(now.shape)
    lines = sorted([(line, "+") for line in come] + [(line, "-") for line in gone])
    yield CheckFinding(
        schema=now.name,
        kind="shape",
        level="drift",
        text=f"the model has another shape than version {before.head} had, and no revision leads to it",
        remedy=f"Declare revision {now.head + 1}, with ops.nothing() where documents need no change. {ACCEPT}",
        lines=tuple(f"{sign} {line}" for line, sign in lines),
        accepted=True,
    )


def finding(schema: str, revision: LockedRevision, kind: str, level: Level, text: str, remedy: str) -> CheckFinding:
    """A finding about a revision."""
    said = f"revision {revision.version} {revision.name!r} {text}"
    return CheckFinding(schema=schema, kind=kind, level=level, text=said, remedy=remedy, accepted=level == "drift")
