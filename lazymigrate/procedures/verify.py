"""Verifying: on a sample of what is stored, does MongoDB upgrade to the very bytes that Python does? Nothing is written.

A document and what MongoDB makes of it come out of one `$facet`, which reads each document once: one that another
process changes meanwhile is compared as it was, or is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from lazymigrate.commands import Aggregate, Attempt, Failure, Find, Procedure, StampCounts
from lazymigrate.coverage import Coverage
from lazymigrate.elements import id_of
from lazymigrate.exceptions import DocumentError, ModelError, UpgradeError
from lazymigrate.outcome import Refused, Upgraded, outcome
from lazymigrate.scope import LOGGER, Scope
from lazymigrate.sequence import OperationSequence
from lazymigrate.verification import (
    Difference,
    Finding,
    Kind,
    VerifiedVersion,
    VerifyReport,
    first_difference,
    printable,
)
from lazymigrate.versions import at_version

__all__ = ["Tally", "among", "drawn", "fits_model", "revision_of", "verify"]

OPTIONS = {"collation": {"locale": "simple"}, "allowDiskUse": True}  # as a sweep compares
BATCH = 200  # documents in one command, if they are small
BATCH_BYTES = 4 * 2**20  # a command gives each document twice, and 16 MiB in all
NAMED = 5  # documents by finding
TOO_LARGE = 10334
RAW: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)


def verify(scope: Scope, *, sample: int = 1000) -> Procedure[VerifyReport]:
    """Upgrade a random sample of the outdated documents of each version in Python and inside MongoDB, and compare.

    `sample` is the most documents of one version that are looked at.
    """
    if sample < 1:
        raise ValueError(f"{scope.name}: sample={sample!r}: it is at least 1.")
    schema = scope.schema
    counted = Coverage.of(schema, scope.name, (yield StampCounts(schema.version_field)))
    tallies: list[Tally] = []
    for version, stored in counted.by_version.items():
        if schema.oldest <= version < schema.settled:
            tally = Tally(version, stored)
            tallies.append(tally)
            yield from verify_version(scope, tally, sample)
            LOGGER.info("%s: verified %d documents of version %d", scope.name, tally.sampled, version)
    return VerifyReport(
        collection=scope.name,
        head=schema.head,
        versions=tuple(tally.counts() for tally in tallies),
        findings=tuple(finding for tally in tallies for finding in tally.findings()),
    )


@dataclass(slots=True, eq=False, repr=False)
class Tally:
    """The counts and findings of one version as they come in."""

    version: int
    stored: int
    sampled: int = 0
    identical: int = 0
    client: int = 0
    restored: int = 0
    found: dict[tuple[Kind, str], list[Any]] = field(default_factory=dict)

    def find(self, kind: Kind, detail: str, document_id: Any) -> None:
        """Note that a document has something wrong with it."""
        self.found.setdefault((kind, detail), []).append(document_id)

    def counts(self) -> VerifiedVersion:
        """The counts as the report has them."""
        wrong = {"failing": 0, "differing": 0, "unfit": 0, "unrestored": 0}
        for (kind, _), identities in self.found.items():
            wrong[kind] += len(identities)
        return VerifiedVersion(
            version=self.version,
            stored=self.stored,
            sampled=self.sampled,
            identical=self.identical,
            client=self.client,
            restored=self.restored,
            **wrong,
        )

    def findings(self) -> Iterator[Finding]:
        """What was found, the most frequent first."""
        for (kind, detail), identities in sorted(self.found.items(), key=lambda item: -len(item[1])):
            yield Finding(self.version, kind, detail, len(identities), tuple(identities[:NAMED]))


def verify_version(scope: Scope, tally: Tally, sample: int) -> Procedure[None]:
    """Look at a sample of the documents of one version."""
    stamped = at_version(scope.schema.version_field, tally.version, scope.schema.base)
    way = rendered(scope, tally.version)
    for identities in (yield from drawn(scope, stamped, sample)):
        if way is None:
            for raw in (yield Find(among(identities, stamped))):
                judge(scope, tally, Sight(raw))
        else:
            yield from compare(scope, tally, identities, stamped, way)


def drawn(scope: Scope, stamped: Sequence[dict[str, Any]], sample: int) -> Procedure[list[list[Any]]]:
    """The `_id`s of documents drawn at random, in batches that are small enough for one command."""
    pipeline: list[dict[str, Any]] = [
        {"$match": {"$and": stamped}},
        {"$project": {"bytes": {"$bsonSize": "$$ROOT"}}},
        {"$sample": {"size": sample}},
    ]
    return [*batches([scope.decode(raw) for raw in (yield Aggregate(pipeline, OPTIONS))])]


def among(identities: Sequence[Any], stamped: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Those of the sampled documents that are still at the version."""
    return {"$and": [{"_id": {"$in": [*identities]}}, *stamped]}


def batches(sizes: Sequence[dict[str, Any]]) -> Iterator[list[Any]]:
    """The `_id`s of sampled documents, as many at a time as one command can give."""
    batch: list[Any] = []
    total = 0
    for document in sizes:
        if batch and (len(batch) == BATCH or total + document["bytes"] > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(document["_id"])
        total += document["bytes"]
    if batch:
        yield batch


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Way:
    """A declared chain as sub-pipelines: the upgrade where it is exact, and the documents that it can restore."""

    upgraded: list[dict[str, Any]]
    restorable: list[dict[str, Any]] | None


def rendered(scope: Scope, version: int) -> Way | None:
    """The chain from a version to head inside MongoDB; None when one of its revisions is a plain function."""
    schema = scope.schema
    chain = schema.chain(version, schema.head)
    if not chain.declared:
        return None
    upgraded = [{"$match": schema.safe_filter(version)}, *schema.pipeline(version)]
    if not all(revision.lossless for revision in chain.revisions):
        return Way(upgraded, None)
    whole = OperationSequence(tuple(operation for revision in chain.revisions for operation in revision.operations))
    restores = {"$and": [whole.restores("$$ROOT"), True]}
    return Way(upgraded, [{"$match": {"$expr": restores}}, {"$project": {"_id": 1}}])


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Sight:
    """One document as stored, and what MongoDB says of it.

    `upgraded` is None when it is outside the safe filter; `refused` is the code of an error that MongoDB raised on it.
    """

    raw: bytes
    upgraded: bytes | None = None
    restorable: bool = False
    refused: int | None = None


def compare(
    scope: Scope, tally: Tally, identities: Sequence[Any], stamped: Sequence[dict[str, Any]], way: Way
) -> Procedure[None]:
    """Compare a batch; one that MongoDB refuses is halved, down to the document that it refuses."""
    facets = {"stored": [{"$match": {}}], "upgraded": way.upgraded}
    if way.restorable is not None:
        facets["restorable"] = way.restorable
    answer = yield Attempt(Aggregate([{"$match": among(identities, stamped)}, {"$facet": facets}], OPTIONS))
    if not isinstance(answer, Failure):
        (raw,) = answer
        for sight in sights(raw):
            judge(scope, tally, sight)
    elif answer.code is None:
        raise answer.error
    elif len(identities) > 1:
        half = len(identities) // 2
        yield from compare(scope, tally, identities[:half], stamped, way)
        yield from compare(scope, tally, identities[half:], stamped, way)
    elif way.restorable is not None:
        yield from compare(scope, tally, identities, stamped, Way(way.upgraded, None))
    else:
        for raw in (yield Find(among(identities, stamped))):
            judge(scope, tally, Sight(raw, refused=None if answer.code == TOO_LARGE else answer.code))


def sights(raw: bytes) -> Iterator[Sight]:
    """What one `$facet` shows of each document."""
    answer = bson.decode(raw, RAW)
    stored, upgraded, restorable = (
        [bytes(document.raw) for document in answer.get(name, ())] for name in ("stored", "upgraded", "restorable")
    )
    by_id = {id_of(document): document for document in upgraded}
    for document in stored:
        identity = id_of(document)
        yield Sight(document, upgraded=by_id.get(identity), restorable=identity in restorable)


def judge(scope: Scope, tally: Tally, sight: Sight) -> None:
    """Compare one document with what Python makes of it, and count it."""
    result = outcome(scope, sight.raw)
    if not isinstance(result, (Upgraded, Refused)):
        return  # it matched the version by another rule than the client's: there is nothing to upgrade
    tally.sampled += 1
    identity = scope.decode(id_of(sight.raw))["_id"]
    if isinstance(result, Refused):
        if sight.upgraded is not None:
            tally.find(
                "differing", f"MongoDB upgrades what Python refuses: {revision_of(scope, result.error)}", identity
            )
        else:
            tally.find("failing", revision_of(scope, result.error), identity)
        return
    if sight.refused is not None:
        tally.find("differing", f"MongoDB refuses (code {sight.refused}) what Python upgrades", identity)
    elif sight.upgraded is None:
        tally.client += 1
    else:
        difference = between(scope, result, sight)
        if difference is None:
            tally.identical += 1
        else:
            tally.find("differing", f"{difference.path}: {contrast(difference)}", identity)
    fits_model(scope, tally, result.document, identity)
    if sight.restorable:
        goes_back(scope, tally, result, identity)


def between(scope: Scope, result: Upgraded, sight: Sight) -> Difference | None:
    """The first difference between Python's document and MongoDB's.

    A document that decoding changes (equal keys, deprecated types) is compared as the client can see it: what the client
    does not touch, it does not write.
    """
    found = sight.upgraded or b""
    if bson.encode(result.stored, codec_options=scope.codec) != sight.raw:
        found = bson.encode(scope.decode(found), codec_options=scope.codec)
    return first_difference(bson.encode(result.document, codec_options=scope.codec), found)


def contrast(difference: Difference) -> str:
    """What stands on either side of a difference, by type."""
    if difference.reordered:
        return "the fields come in another order inside MongoDB"
    if difference.expected == difference.found:
        return f"another {difference.found} inside MongoDB"
    return f"{difference.expected} in Python, {difference.found} inside MongoDB"


def fits_model(scope: Scope, tally: Tally, document: dict[str, Any], identity: Any) -> None:
    """Note an upgraded document that the model does not take."""
    adapter = scope.schema.adapter
    if adapter is None:
        return
    try:
        adapter.check(document)
    except ModelError as error:
        path, kind = error.errors[0]
        tally.find("unfit", f"{printable(path)}: {kind}", identity)


def goes_back(scope: Scope, tally: Tally, result: Upgraded, identity: Any) -> None:
    """Note a document that going back does not restore; the order of fields, and the stamp, aside."""
    field = scope.schema.version_field
    try:
        back = scope.schema.downgrade(result.document, to=tally.version)
    except UpgradeError as error:
        tally.find("unrestored", f"{revision_of(scope, error)} fails on the way back", identity)
        return
    expected, found = (
        bson.encode({name: value for name, value in document.items() if name != field}, codec_options=scope.codec)
        for document in (result.stored, back)
    )
    difference = first_difference(expected, found, ordered=False)
    if difference is None:
        tally.restored += 1
    elif difference.expected == difference.found:
        tally.find("unrestored", f"{difference.path}: comes back as another {difference.found}", identity)
    else:
        detail = f"{difference.path}: {difference.expected} comes back as {difference.found}"
        tally.find("unrestored", detail, identity)


def revision_of(scope: Scope, error: DocumentError) -> str:
    """The revision at which a document failed."""
    number = error.revision if isinstance(error, UpgradeError) else None
    for revision in scope.schema.revisions:
        if revision.version == number:
            return f"revision {number} {revision.name!r}"
    return "the result cannot be stored as BSON" if isinstance(error, UpgradeError) else type(error).__name__
