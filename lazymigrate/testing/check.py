"""`check_revision`: one revision held to everything that this library promises of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bson
from bson import Binary
from bson.codec_options import CodecOptions
from bson.errors import BSONError

from lazymigrate.documents import same
from lazymigrate.drivers.memory import CODEC
from lazymigrate.exceptions import UpgradeError
from lazymigrate.schema import Schema
from lazymigrate.scope import tolerant
from lazymigrate.sequence import OperationSequence
from lazymigrate.testing.seeds import under_two_seeds
from lazymigrate.testing.server import on_server
from lazymigrate.testing.subject import Case, Subject, cases
from lazymigrate.verification import first_difference

if TYPE_CHECKING:
    from pymongo.database import Database

__all__ = ["RevisionCheck", "check_revision"]


@dataclass(frozen=True, slots=True)
class RevisionCheck:
    """What was checked: how many documents there were, and how many of them the revision refused (`UpgradeError`).

    `admitted`: MongoDB gave the same bytes as Python. `restored`: going back gave the document that was there.
    """

    documents: int
    refused: int = 0
    admitted: int = 0
    restored: int = 0


def check_revision(
    schema: Schema,
    version: int,
    documents: Iterable[Mapping[str, Any]],
    *,
    database: Database[Any] | None = None,
    lossless: bool | None = None,
    allow_refusals: bool = False,
    hash_seeds: bool = True,
    codec_options: CodecOptions[Any] | None = None,
) -> RevisionCheck:
    """Hold the revision to `version` to its contract on documents of the version before; `RevisionCheckError` where it breaks.

    On every document: the input is not changed; the result is stamped, can be stored, and comes back from BSON as it
    was; upgrading it again changes nothing; a stamp on the input makes no difference; the same document gives the same
    result again, whatever was upgraded in between, and shares no dict or list with another.

    - `documents`: of version `version - 1`, stamped or not (`ValueError` for another stamp).
    - `database`: a pymongo `Database`; each document is then upgraded inside MongoDB, too, in a collection of its own
      that is dropped at the end. Where `schema.safe_filter` admits it, the result is byte for byte Python's; elsewhere it
      is left alone. A revision that is a plain function has no such form.
    - `lossless`: going back gives the document that was there, the order of fields aside. None: wherever it is declared
      (a downgrade that is a function: on every document; operations: on the documents that they state, which a server
      must be asked for, so that nothing is checked without `database` unless they state all). True: on every document.
      False: on none; the downgrade is not run.
    - `allow_refusals`: an `UpgradeError` is counted and not a failure; MongoDB must then leave the document alone.
    - `hash_seeds`: two fresh interpreters with `PYTHONHASHSEED` 0 and 1 must give the same results. They import the module
      that holds the schema, so it must stand at the top level of one. This takes about half a second.
    - `codec_options`: how documents are decoded; those of the database by default.
    """
    revision = next((known for known in schema.revisions if known.version == version), None)
    if revision is None:
        raise ValueError(
            f"{schema.name}: there is no revision {version!r}; it has {schema.oldest + 1} to {schema.head}. Name one."
        )
    if lossless and not revision.reversible:
        raise ValueError(
            f"{schema.name}: revision {version} has no way back, so lossless=True cannot hold. Leave it out, or give it one."
        )
    codec = codec_options or (CODEC if database is None else database.codec_options)
    subject = Subject(schema, revision, tolerant(codec))
    found = cases(subject, documents)
    results = [upgraded(subject, case, allow_refusals=allow_refusals) for case in found]
    once_more(subject, found, results)
    if hash_seeds:
        under_two_seeds(subject, found, [None if result is None else subject.encode(result) for result in results])
    done = [(case, subject.encode(result)) for case, result in zip(found, results, strict=True) if result is not None]
    admitted, restorable = (0, set[int]()) if database is None else on_server(subject, found, dict(done), database)
    way = way_back(subject, lossless=lossless)
    back = [(case, after) for case, after in done if (case.index in restorable if way is None else way)]
    for case, after in back:
        goes_back(subject, case, after)
    return RevisionCheck(len(found), len(found) - len(done), admitted, len(back))


def upgraded(subject: Subject, case: Case, *, allow_refusals: bool) -> dict[str, Any] | None:
    """The upgraded document, after what can be seen on it alone was checked; None when the revision refuses it."""
    schema, version = subject.schema, subject.revision.version
    document = subject.decode(case.raw)
    try:
        result = subject.upgrade(document)
    except UpgradeError as error:
        unchanged_input(subject, case, document)
        if allow_refusals:
            return None
        cause = error.__cause__
        said = f"{error}" if cause is None else f"it failed with {type(cause).__name__}: {cause}"
        subject.fail(
            "upgrade",
            case,
            said,
            "Mend the revision, or pass allow_refusals=True if it is right to refuse.",
            None,
            error,
        )
    unchanged_input(subject, case, document)
    try:
        raw = subject.encode(result)
    except (BSONError, OverflowError, TypeError, ValueError) as error:
        remedy = "Let the revision set values that MongoDB has types for."
        subject.fail("BSON", case, f"the result cannot be stored: {error}", remedy, None, error)
    path = altered(result, bson.decode(raw, subject.codec))
    if path is not None:
        subject.fail(
            "BSON",
            case,
            f"{'.'.join(path[0])}: {path[1]} comes back from BSON as {path[2]}",
            "Let the revision set values as BSON holds them: lists, naive UTC datetimes of whole milliseconds.",
            ".".join(path[0]),
        )
    if result.get(schema.version_field) != version:
        said = f"{schema.version_field} is {result.get(schema.version_field)!r} instead of {version}"
        subject.fail("stamp", case, said, "Leave the stamp to the library.", schema.version_field)
    again = subject.encode(subject.upgrade(subject.decode(raw)))
    difference = first_difference(raw, again)
    if difference is not None:
        words = "{0} became {1} when the upgraded document was upgraded again"
        subject.differs("stamp", case, difference, (raw, again), words, "Leave the stamp to the library.")
    bare = schema.chain(version - 1, version).run(subject.unstamped(subject.decode(case.raw)))
    sides = subject.encode(subject.unstamped(result)), subject.encode(subject.unstamped(bare))
    difference = first_difference(*sides)
    if difference is not None:
        words = "{0} as it is, {1} when the stamp of the input is taken away"
        subject.differs("determinism", case, difference, sides, words, REPEATABLE)
    return result


REPEATABLE = (
    "Let the revision depend on nothing but its document: no clock, random number, order of a set or shared state."
)


def unchanged_input(subject: Subject, case: Case, document: dict[str, Any]) -> None:
    """The document that was handed over is still what it was."""
    now = subject.encode(document)
    difference = first_difference(case.raw, now)
    if difference is not None:
        remedy = "Let the revision build a new value instead of changing one that it was given in place."
        subject.differs("input", case, difference, (case.raw, now), "{0} in the input became {1}", remedy)


def once_more(subject: Subject, found: list[Case], results: list[dict[str, Any] | None]) -> None:
    """Upgrade all again, in the opposite order: the same results, which share nothing and leave the first ones alone."""
    first = [None if result is None else subject.encode(result) for result in results]
    holders: dict[int, int] = {}
    kept: list[dict[str, Any]] = []  # an id is of use only while what it names is there
    for case, result in zip(found, results, strict=True):
        if result is not None:
            apart(subject, case, result, holders, run=case.index)
    for case, before in reversed(list(zip(found, first, strict=True))):
        if before is None:
            continue
        try:
            result = subject.upgrade(subject.decode(case.raw))
        except UpgradeError as error:
            subject.fail(
                "determinism", case, "it was upgraded once, and failed the second time", REPEATABLE, None, error
            )
        kept.append(result)
        apart(subject, case, result, holders, run=len(found) + case.index)
        again = subject.encode(result)
        difference = first_difference(before, again)
        if difference is not None:
            words = "{0} the first time, {1} the second"
            subject.differs("determinism", case, difference, (before, again), words, REPEATABLE)


def apart(subject: Subject, case: Case, result: Any, holders: dict[int, int], *, run: int) -> None:
    """No dict or list of a result is part of another result."""
    waiting: list[tuple[str, Any]] = [("", result)]
    while waiting:
        path, value = waiting.pop()
        if not isinstance(value, (dict, list)):
            continue
        if holders.setdefault(id(value), run) != run:
            said = f"{path}: {type(value).__name__} {value!r:.60} is part of another upgraded document, too"
            remedy = "Copy a dict or list before it becomes part of a document, or make it in the revision."
            subject.fail("sharing", case, said, remedy, path)
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        waiting += [(f"{path}.{name}" if path else str(name), part) for name, part in inner]


def way_back(subject: Subject, *, lossless: bool | None) -> bool | None:
    """Whether the way back is to restore every document (True), none (False), or those that the server names (None)."""
    revision = subject.revision
    if lossless is not None or not revision.reversible:
        return bool(lossless)
    if not revision.back_of_operations:
        return True
    restores = OperationSequence(revision.operations).restores("$$ROOT")
    return restores if isinstance(restores, bool) else None


def goes_back(subject: Subject, case: Case, after: bytes) -> None:
    """Going back gives the document that was there."""
    remedy = "Mend the downgrade, or pass lossless=False if it is not meant to restore every document."
    try:
        back = subject.schema.downgrade(subject.decode(after), to=subject.revision.version - 1)
        found = subject.encode(subject.unstamped(back))
    except (UpgradeError, BSONError, OverflowError, TypeError, ValueError) as error:
        cause = error.__cause__ or error
        subject.fail("way back", case, f"it failed with {type(cause).__name__}: {cause}", remedy, None, error)
    expected = subject.encode(subject.unstamped(subject.decode(case.raw)))
    difference = first_difference(expected, found, ordered=False)
    if difference is not None:
        subject.differs("way back", case, difference, (expected, found), "{0} came back as {1}", remedy)


def altered(value: Any, stored: Any, path: tuple[str, ...] = ()) -> tuple[tuple[str, ...], str, str] | None:
    """Where a value is not what BSON gives back for it: the path, and the two; None when it is.

    Numbers that BSON has one type for, and bytes, are equal however Python spells them.
    """
    if isinstance(value, dict) and isinstance(stored, dict):
        inner = [(str(name), value[name], stored.get(str(name))) for name in value]
    elif isinstance(value, list) and isinstance(stored, list):
        inner = [(str(index), *pair) for index, pair in enumerate(zip(value, stored, strict=True))]
    elif same(value, stored) or equal_in_bson(value, stored):
        return None
    else:
        return path, f"{value!r:.60}", f"{stored!r:.60}"
    parts = (altered(one, other, (*path, name)) for name, one, other in inner)
    return next((part for part in parts if part is not None), None)


def equal_in_bson(value: Any, stored: Any) -> bool:
    """Whether values of different Python types are the same BSON: subclasses of numbers and texts, and plain bytes."""
    if isinstance(value, Binary):
        return value.subtype == 0 and type(stored) is bytes and bytes(value) == stored
    return isinstance(value, (int, float, str)) and isinstance(stored, (int, float, str)) and value == stored
