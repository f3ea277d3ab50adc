"""The part of `check_revision` that asks MongoDB: a declared revision gives there what it gives in Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from lazymigrate.sequence import OperationSequence
from lazymigrate.testing.subject import Case, Subject
from lazymigrate.verification import first_difference

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from pymongo.database import Database

__all__ = ["on_server"]

CHECK = "MongoDB"
Way = Sequence[tuple[dict[str, Any], Any]]


def on_server(
    subject: Subject, found: list[Case], results: Mapping[Case, bytes], database: Database[Any]
) -> tuple[int, set[int]]:
    """How many documents MongoDB upgraded as Python did, and the indexes of those that the way back restores.

    Each document is stored alone, in a collection that is dropped at the end.
    """
    revision = subject.revision
    if not revision.operations:
        return 0, set()
    restores = OperationSequence(revision.operations).restores("$$ROOT")
    codec = database.codec_options.with_options(document_class=RawBSONDocument)
    name = f"lazymigrate_check_{uuid4().hex}"
    collection: Collection[Any] = database.get_collection(name, codec_options=codec)
    admitted = 0
    restorable: set[int] = set()
    try:
        for case in found:
            put(collection, case.raw)
            if restores is not False and holds(collection, restores):
                restorable.add(case.index)
            if revision.declared:
                tries = [(raw, way) for raw in both_forms(subject, case) for way in ways(subject)]
                afters = [(raw, update(subject, case, raw, way, collection)) for raw, way in tries]
                for raw, after in afters:
                    agree(subject, case, raw, after, results.get(case))
                admitted += all(after is not None for _, after in afters)
    finally:
        collection.drop()
    return admitted, restorable


def both_forms(subject: Subject, case: Case) -> Iterator[bytes]:
    """The document as it was given and, where unstamped means the version before, with or without the stamp."""
    yield case.raw
    field, before = subject.schema.version_field, subject.revision.version - 1
    if before == subject.schema.base:
        document = subject.decode(case.raw)
        bare = subject.unstamped(document)
        yield subject.encode(bare if document.get(field) is not None else {**bare, field: before})


def put(collection: Collection[Any], raw: bytes) -> None:
    """Make this the only document of the collection."""
    collection.delete_many({})
    collection.insert_one(RawBSONDocument(raw))


def holds(collection: Collection[Any], expression: Any) -> bool:
    """Whether an expression is true of the one document."""
    return bool(list(collection.aggregate([{"$match": {"$expr": {"$and": [expression, True]}}}])))


def ways(subject: Subject) -> Iterator[Way]:
    """The updates that upgrade documents inside MongoDB: the pipeline, and the cheaper forms that a sweep runs."""
    schema, version = subject.schema, subject.revision.version
    yield [(schema.safe_filter(version - 1, to=version), schema.pipeline(version - 1, to=version))]
    yield schema.updates(version - 1, to=version)


def update(subject: Subject, case: Case, raw: bytes, way: Way, collection: Collection[Any]) -> bytes | None:
    """What MongoDB makes of a document; None when it is outside the safe filter, and then left alone."""
    put(collection, raw)
    try:
        matched = sum(collection.update_one(admits, change).matched_count for admits, change in way)
    except OperationFailure as error:
        remedy = "Write the expression so that it fails on no document."
        subject.fail(CHECK, case, f"the update failed: {error.details or error}", remedy, None, error)
    stored: Any = collection.find_one()
    if matched:
        return bytes(stored.raw)
    difference = first_difference(raw, bytes(stored.raw))
    if difference is not None:
        words = "{0} became {1}, outside the safe filter"
        remedy = "This is a mistake of the library: please report it."
        subject.differs(CHECK, case, difference, (raw, bytes(stored.raw)), words, remedy)
    return None


def agree(subject: Subject, case: Case, raw: bytes, after: bytes | None, result: bytes | None) -> None:
    """What MongoDB stored is what Python gives for the same form of the document."""
    if after is None:
        return
    if result is None:
        remedy = "Let the Python form accept what the MongoDB form accepts, or say on the field what both refuse."
        subject.fail(CHECK, case, "MongoDB upgrades it, and Python refuses it", remedy)
    expected = result if raw == case.raw else subject.encode(subject.upgrade(subject.decode(raw)))
    difference = first_difference(expected, after)
    if difference is not None:
        remedy = "Let the two forms of the revision say the same, types and order included."
        words = "{0} in Python, {1} inside MongoDB"
        subject.differs(CHECK, case, difference, (expected, after), words, remedy)
