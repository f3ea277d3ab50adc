"""Looking for drift, of all three kinds: changed revisions, unknown versions, documents that do not fit their stamp."""

from __future__ import annotations

from lazymigrate.commands import Find, Procedure
from lazymigrate.drift import Drift
from lazymigrate.elements import id_of
from lazymigrate.journal import changed
from lazymigrate.outcome import Refused, Settled, Upgraded, outcome
from lazymigrate.procedures.coverage import coverage
from lazymigrate.procedures.journal import records
from lazymigrate.procedures.runs import clock
from lazymigrate.procedures.verify import Tally, among, drawn, fits_model, revision_of
from lazymigrate.scope import LOGGER, Scope
from lazymigrate.versions import at_version

__all__ = ["drift"]


def drift(scope: Scope, *, sample: int = 1000) -> Procedure[Drift]:
    """What is not as it was recorded; nothing is written.

    Of each stored version that this code knows up to `sample` documents, drawn at random, are upgraded in memory and
    validated by the model; 0 looks at none.
    """
    if type(sample) is not int or sample < 0:
        raise ValueError(f"{scope.name}: sample={sample!r}: it is a number of documents, at least 0.")
    schema = scope.schema
    now = yield from clock()
    revisions = changed(schema, (yield from records(scope)), now)
    counted = yield from coverage(scope)
    known = {version: count for version, count in counted.by_version.items() if schema.oldest <= version <= schema.head}
    tallies: list[Tally] = []
    for version, stored in known.items() if sample else ():
        tallies.append(Tally(version, stored))
        yield from look(scope, tallies[-1], sample)
        LOGGER.info("%s: looked at %d documents of version %d", scope.name, tallies[-1].sampled, version)
    return Drift(
        collection=scope.name,
        revisions=revisions,
        unknown={version: count for version, count in counted.by_version.items() if version not in known},
        invalid=counted.invalid_types,
        misfits=tuple(finding for tally in tallies for finding in tally.findings()),
        sampled=sum(tally.sampled for tally in tallies),
    )


def look(scope: Scope, tally: Tally, sample: int) -> Procedure[None]:
    """Hold a sample of the documents of one version against the model."""
    stamped = at_version(scope.schema.version_field, tally.version, scope.schema.base)
    for identities in (yield from drawn(scope, stamped, sample)):
        for raw in (yield Find(among(identities, stamped))):
            judge(scope, tally, raw)


def judge(scope: Scope, tally: Tally, raw: bytes) -> None:
    """Upgrade a document in memory, and note what is wrong with it."""
    result = outcome(scope, raw)
    tally.sampled += 1
    identity = scope.decode(id_of(raw))["_id"]
    if isinstance(result, Refused):
        tally.find("failing", revision_of(scope, result.error), identity)
    elif isinstance(result, (Upgraded, Settled)):
        fits_model(scope, tally, result.document, identity)
