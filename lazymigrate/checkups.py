"""What is decided from the facts of a server and a collection: one function for each topic, in the table `CHECKUPS`.

A checkup gives what it finds; one that finds nothing wrong says so with an "ok" of its own, so that a reader sees what was
looked at. None of them asks the server for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lazymigrate.doctor import Diagnosis, Facts, Finding, Severity, listed
from lazymigrate.indexes import index_findings, sweeping_away
from lazymigrate.quarantine import QUARANTINE
from lazymigrate.schema import Schema
from lazymigrate.topology import members, server
from lazymigrate.verification import printable

__all__ = ["CHECKUPS", "allowed", "diagnose"]

Checkup = Callable[[Schema, Facts], Iterator[Finding]]
Rights = tuple[tuple[str, tuple[str, ...], str], ...]

JOURNAL = "lazymigrate.journal"
SKEW = 5.0  # seconds; a lease lasts 15
BIG, GIANT = 8 * 2**20, 15 * 2**20  # bytes; a document ends at 16 MiB
ANOTHER = "Let a user with the role readWrite look."  # the remedy for what this one may not know
WHOLE = frozenset({"int", "long", "double", "decimal", "number"})


def client(_: Schema, facts: Facts) -> Iterator[Finding]:
    """What the application's own writes and reads ask for; a sweep asks for a majority, whatever is set."""
    w = facts.write_concern.get("w")
    if w == 0:
        yield Finding(
            "warning",
            "client",
            "the write concern is w=0: no write of the application hears whether it was carried out.",
            "Remove w=0 from the URI; lazymigrate's own compare-and-sets use at least w=1.",
        )
    elif w == 1 and facts.hello.get("setName"):
        said = "the write concern is w=1: after a failover, writes of the application can be gone."
        yield Finding("note", "client", said, "Remove w=1 from the URI; a sweep uses a majority in any case.")
    if facts.read_concern == "available":
        said = "the read concern is 'available': on a sharded cluster, reads can give documents twice."
        yield Finding("note", "client", said, "Remove readConcernLevel from the URI.")
    if not facts.on_primary:
        said = "reads may go to secondaries: what is read there is upgraded, but never written back."
        yield Finding("note", "client", said, "Let a sweep upgrade what is stored, or read from the primary.")


def clock(_: Schema, facts: Facts) -> Iterator[Finding]:
    """Whether this machine and the server have the same time."""
    if abs(facts.skew) > SKEW:
        way = "ahead of" if facts.skew > 0 else "behind"
        yield Finding(
            "warning",
            "clock",
            f"the server's clock is {abs(facts.skew):,.0f} s {way} this machine's: leases go by the server's, times in "
            "the quarantine and --window by this one's.",
            "Let both follow a time server (NTP).",
        )


NEEDED: Rights = (
    # where, what a user must be allowed to do there, what for
    ("", ("find", "update"), "read and upgrade documents"),
    ("", ("listIndexes",), "sweep: it asks which index holds what is left"),
    (QUARANTINE, ("find", "insert", "update", "remove"), "list the documents that cannot be upgraded"),
    (JOURNAL, ("find", "insert", "update"), "hold the lease of a sweep, and record revisions"),
)
WANTED: Rights = (("", ("createIndex", "dropIndex"), "make the backlog index, and drop those of older heads"),)
MONITORING = ("replSetGetStatus", "serverStatus")


def rights(_: Schema, facts: Facts) -> Iterator[Finding]:
    """Whether the user may do what the library does."""
    if facts.privileges is None:
        yield Finding("ok", "rights", "nobody has logged in: the server says nothing of what may be done.")
        return
    tables: tuple[tuple[Severity, Rights], ...] = (("problem", NEEDED), ("warning", WANTED))
    for severity, table in tables:
        for place, actions, purpose in table:
            where = place or facts.collection
            missing = [one for one in actions if not allowed(facts.privileges, one, facts.database, where)]
            if missing:
                namespace = printable(f"{facts.database}.{where}")
                yield Finding(
                    severity,
                    "rights",
                    f"this user may not {listed(missing)} on '{namespace}', which is needed to {purpose}.",
                    f"Give it the role readWrite on '{printable(facts.database)}'.",
                )
    if facts.hello.get("setName"):
        missing = [one for one in MONITORING if not allowed(facts.privileges, one)]
        if missing:
            yield Finding(
                "warning",
                "rights",
                f"this user may not {listed(missing)}: a sweep cannot see lag and load, and does not wait for them.",
                "Give it the role clusterMonitor on 'admin'.",
            )


def allowed(privileges: Any, action: str, database: str | None = None, collection: str | None = None) -> bool:
    """Whether privileges, as `connectionStatus` lists them, hold an action on a collection, or on the cluster."""
    for privilege in privileges:
        resource = privilege.get("resource", {})
        if action not in privilege.get("actions", ()):
            continue
        if resource.get("anyResource"):
            return True
        if database is None or collection is None:
            if resource.get("cluster"):
                return True
        elif resource.get("db") in ("", database) and resource.get("collection") in ("", collection):
            return True
    return False


def collection(_: Schema, facts: Facts) -> Iterator[Finding]:
    """Whether it is a collection whose documents can be upgraded in place."""
    if facts.options is None and facts.kind in ("collection", None):
        yield Finding(
            "note",
            "collection",
            "what it is, and with which collation, is not known: this user may not ask for its options (listCollections).",
            ANOTHER,
        )
    elif facts.kind is None:
        yield Finding(
            "note",
            "collection",
            "whether it exists is not known: this user sees no document of it, and may not list its indexes.",
            ANOTHER,
        )
    options = facts.options or {}
    if facts.kind == "missing":
        yield Finding(
            "warning",
            "collection",
            f"it does not exist in the database '{printable(facts.database)}'.",
            "Correct --database or --collection, unless the application is yet to make it.",
        )
    elif facts.kind == "view":
        base = f", '{printable(str(options['viewOn']))}'," if "viewOn" in options else ""
        yield Finding(
            "problem",
            "collection",
            "it is a view: documents are upgraded when they are read, and can never be stored.",
            f"Sweep the collection under it{base} with a schema of its own.",
        )
    elif facts.kind == "time-series":
        yield Finding(
            "problem",
            "collection",
            "it is a time-series collection: documents are upgraded when they are read, and can never be stored.",
            "Keep the revisions, and write new measurements at head.",
        )
    if options.get("capped"):
        yield Finding(
            "note",
            "collection",
            "it is capped: documents that an upgrade makes larger leave less room, and the oldest are dropped sooner.",
            "Give it more room with collMod (cappedSize) before the sweep, if the oldest matter.",
        )
    collation = options.get("collation")
    if collation:
        locale = printable(str(collation.get("locale", "")))
        yield Finding(
            "warning",
            "collection",
            f"its default collation is '{locale}', not the simple one: a sweep goes through the client, document by "
            "document, instead of running inside MongoDB.",
            "Give the sweep more time; or copy the documents into a collection without a collation.",
        )
        if facts.sample is not None and facts.sample.text_ids:
            yield Finding(
                "problem",
                "collection",
                "it has string _ids under that collation: no index serves a compare-and-set, each reads the whole "
                "collection, and a sweep takes time by the square of its size.",
                "Copy the documents into a collection without a collation before the sweep.",
            )


def validator(schema: Schema, facts: Facts) -> Iterator[Finding]:
    """Whether the collection's validator takes documents at head."""
    options = facts.options
    if options is None and facts.kind in ("collection", None):
        said = (
            "whether there is one is not known: this user may not ask for the collection's options (listCollections)."
        )
        yield Finding("note", "validator", said, ANOTHER)
        return
    rules = (options or {}).get("validator")
    if not options or not rules or options.get("validationLevel") == "off":
        return
    enforced = options.get("validationAction", "error") == "error"
    remedy = "Change it with collMod before the sweep, so that it takes both shapes; afterwards only head's."
    outcome = "they are refused" if enforced else "the server logs each of them"
    wrong = [f"at head, documents {said}" for said in contradictions(schema, rules)]
    if facts.refused:
        wrong.append(
            f"of {facts.upgraded:,} outdated documents that were upgraded in memory, {facts.refused:,} do not fit it"
        )
    for said in wrong:
        yield Finding("problem" if enforced else "note", "validator", f"{said}: {outcome}.", remedy)


def contradictions(schema: Schema, rules: Mapping[str, Any]) -> Iterator[str]:
    """What a `$jsonSchema` says against documents at head."""
    rule = rules.get("$jsonSchema")
    if not isinstance(rule, Mapping):
        return
    properties = rule.get("properties", {})
    fields = dict.fromkeys(
        path.split(".")[0]
        for revision in schema.revisions
        for operation in revision.operations
        for path in (*operation.effects().sets, *operation.effects().removes)
    )
    gone = {name for name in fields if sweeping_away(schema, name) is not None}
    if rule.get("additionalProperties") is False and not rule.get("patternProperties"):
        extra = [name for name in (schema.version_field, *fields) if name not in gone and name not in properties]
        if extra:
            yield f"have {listed(extra)}, which its validator does not allow (additionalProperties: false)"
    required = [str(name) for name in rule.get("required", ()) if name in gone]
    if required:
        yield f"do not have {listed(required)}, which its validator requires"
    stamp = properties.get(schema.version_field, {})
    types = stamp.get("bsonType", stamp.get("type", [])) if isinstance(stamp, Mapping) else []
    names = {types} if isinstance(types, str) else set(types)
    if names and not names & WHOLE:
        yield f"have an integer in '{printable(schema.version_field)}', which its validator wants to be another type"


def documents(schema: Schema, facts: Facts) -> Iterator[Finding]:
    """Which documents are not as they should be."""
    if not facts.listed:
        namespace = printable(f"{facts.database}.{QUARANTINE}")
        said = f"how many are in the quarantine is not known: this user may not read '{namespace}'."
        yield Finding("note", "documents", said, ANOTHER)
    found = facts.coverage
    if found is None:
        said = "this user may not read them: nothing is known of them."
        yield Finding("problem", "documents", said, "Give the user the role readWrite on the database.")
        return
    if found.retired:
        said = f"{counted(found.retired)} below version {schema.oldest}: this code cannot read them."
        yield Finding("problem", "documents", said, "Upgrade them with the last release that has their revisions.")
    if found.invalid:
        said = (
            f"{counted(found.invalid)} without a version: what '{printable(schema.version_field)}' holds is no version."
        )
        yield Finding("warning", "documents", said, "Correct the stamps, or choose another version_field.")
    if found.ahead:
        said = f"{counted(found.ahead)} ahead of version {found.head}: newer code writes here, and this code must not."
        yield Finding("warning", "documents", said, "Deploy the newer release, or read with Policy(on_ahead='keep').")
    if found.quarantined:
        said = f"{counted(found.quarantined)} in the quarantine: no sweep tries them again by itself."
        yield Finding("warning", "documents", said, "`lazymigrate quarantine ls` lists them.")
    if found.outdated:
        said = f"{counted(found.outdated)} outdated, of {found.total:,}."
        yield Finding("note", "documents", said, "`lazymigrate sweep` upgrades them.")
    if facts.failed:
        said = f"of {facts.tried:,} outdated ones that were looked at, {facts.failed:,} cannot be upgraded."
        yield Finding("warning", "documents", said, "`lazymigrate verify` says in which revision they fail.")
    if facts.doubled:
        said = f"a field occurs twice in {facts.doubled:,} of {facts.tried:,} outdated documents: drivers see the last value, servers the first."
        yield Finding(
            "note", "documents", said, "An upgrade keeps both where it does not touch the field; rewrite them."
        )
    yield from sizes(facts)


def sizes(facts: Facts) -> Iterator[Finding]:
    """Whether documents are near the size at which they can no longer be stored."""
    sample = facts.sample
    if sample is None or sample.largest < BIG:
        return
    said = f"of {sample.documents:,} sampled documents the largest has {sample.largest / 2**20:.1f} MiB"
    if sample.largest >= GIANT:
        yield Finding(
            "warning",
            "documents",
            f"{said}: one that an upgrade makes larger than 16 MiB is refused, and listed in the quarantine.",
            "Move what is large out of these documents.",
        )
    else:
        yield Finding(
            "note",
            "documents",
            f"{said}: a function that may touch anything sends it with every compare-and-set.",
            "Declare the revisions with operations, or give touches=.",
        )


def counted(count: int) -> str:
    return "1 document is" if count == 1 else f"{count:,} documents are"


def indexes(schema: Schema, facts: Facts) -> Iterator[Finding]:
    """Whether indexes serve documents at head."""
    return index_findings(schema, facts)


CHECKUPS: tuple[tuple[str, Checkup, str], ...] = (
    # topic, what is asked, what is said where nothing is found
    ("server", server, ""),
    ("members", members, ""),
    ("client", client, "reads and writes of the client are as they should be."),
    ("clock", clock, "this machine and the server agree on the time."),
    ("rights", rights, "this user may do all that is needed."),
    ("collection", collection, "a plain collection."),
    ("validator", validator, "no validator is in the way."),
    ("documents", documents, "all documents are at head."),
    ("indexes", indexes, "every index serves documents at head, too."),
)


def diagnose(schema: Schema, facts: Facts) -> Diagnosis:
    """All checkups, in their order."""
    findings: list[Finding] = []
    for topic, checkup, well in CHECKUPS:
        findings += [*checkup(schema, facts)] or [Finding("ok", topic, well)]
    return Diagnosis(facts.collection, tuple(findings))
