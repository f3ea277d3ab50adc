"""What becomes of a collection's indexes when its documents are upgraded.

An index knows paths, and revisions move them. Documents at head are then indexed as if they had no such field: queries
scan, nothing expires any more, and in a unique index all of them have the same key, null, so that the second one is
refused. The index for the new path has to be there before the sweep, and the old one until it is done, since documents of
older versions are found with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lazymigrate import backlog
from lazymigrate.doctor import Facts, Finding, listed
from lazymigrate.operation import Operation
from lazymigrate.ops.flatten import Flatten
from lazymigrate.ops.nest import Nest
from lazymigrate.ops.rename import Rename
from lazymigrate.paths import overlap
from lazymigrate.revision import Revision
from lazymigrate.schema import Schema
from lazymigrate.verification import printable

__all__ = ["Fate", "backlog_findings", "fate", "index_findings", "sweeping_away"]

TOPIC = "indexes"


@dataclass(frozen=True, slots=True)
class Fate:
    """Where a path's values are at head (None: nowhere), the last revision that moved them, and those that change them."""

    path: str | None
    mover: Revision | None = None
    changers: tuple[Revision, ...] = ()


def fate(schema: Schema, path: str) -> Fate:
    """What the revisions do to a path, as far as they declare it; a function does so by `touches`."""
    here: str | None = path
    mover: Revision | None = None
    changers: list[Revision] = []
    for revision in schema.revisions:
        if revision.function is not None:
            if here is not None and here.split(".")[0] in (revision.touches or ()):
                changers.append(revision)
            continue
        for operation in revision.operations:
            effects = operation.effects()
            if here is None:
                if any(overlap(path, name) for name in effects.sets):
                    here, mover = path, None
                    changers.append(revision)
            elif (moved := moved_to(operation, here)) is not None:
                here, mover = moved, revision
            elif any(inside(here, name) for name in effects.removes):
                here, mover = None, revision
            elif any(overlap(here, name) for name in (*effects.sets, *effects.computes)):
                changers.append(revision)
    return Fate(here, mover, tuple(dict.fromkeys(changers)))


def moved_to(operation: Operation, path: str) -> str | None:
    """Where an operation moves the values of a path; None where it leaves or drops them."""
    if isinstance(operation, (Rename, Nest, Flatten)):
        effects = operation.effects()
        for old, new in zip(effects.removes, effects.sets, strict=True):
            if inside(path, old):
                return new + path[len(old) :]
    return None


def inside(path: str, parent: str) -> bool:
    return path == parent or path.startswith(f"{parent}.")


def sweeping_away(schema: Schema, field: str) -> Revision | None:
    """The revision after which no document has a top-level field any more; None where documents at head have it."""
    end = fate(schema, field)
    return end.mover if end.path != field else None


def backlog_findings(schema: Schema, facts: Facts) -> Iterator[Finding]:
    """The backlog index: whether it is there and in use, and whether there are some that nobody needs."""
    if facts.indexes is None:
        return
    wanted = backlog.index(schema)
    found = backlog.exact(schema, facts.indexes)
    deploy = "Make it with `lazymigrate deploy` or create_backlog_index()."
    if facts.kind not in ("collection", None) or schema.settled == schema.oldest:
        return
    unseen = not facts.readable and backlog.serving(schema, facts.indexes, whole=True)
    if unseen and not (found or {}).get("hidden"):
        yield Finding(
            "note",
            TOPIC,
            f"whether the server uses {listed(unseen)} is not known: this user may not read documents.",
            "Let a user with the role readWrite look.",
        )
    elif found is None and facts.in_use is None:
        yield Finding(
            "warning",
            TOPIC,
            "there is no backlog index: to find what is outdated, the server reads the whole collection.",
            deploy,
        )
    elif found is None:
        name = printable(str(facts.in_use))
        yield Finding("note", TOPIC, f"the index '{name}' does the work of '{printable(wanted.name)}'.", deploy)
    elif found.get("hidden"):
        yield Finding(
            "warning",
            TOPIC,
            f"the backlog index '{printable(str(found['name']))}' is hidden, so that the server does not use it.",
            "Unhide it with collMod, or drop it.",
        )
    elif facts.in_use is None:
        yield Finding(
            "warning",
            TOPIC,
            f"the backlog index '{printable(str(found['name']))}' is still being built, and not used yet.",
            "Wait until it is; currentOp shows how far it is.",
        )
    stale = backlog.stale(schema, facts.indexes)
    if stale:
        verb = "is a backlog index" if len(stale) == 1 else "are backlog indexes"
        yield Finding(
            "note",
            TOPIC,
            f"{listed(stale)} {verb} of an older head; every write keeps up what nobody needs.",
            "`lazymigrate deploy` drops such indexes.",
        )


def index_findings(schema: Schema, facts: Facts) -> Iterator[Finding]:
    """What is wrong with the indexes, seen from head: the backlog index first, then the application's own."""
    if facts.indexes is None:
        if facts.kind in ("collection", None):
            yield Finding(
                "warning",
                TOPIC,
                "they are not known: this user may not list them (listIndexes). Its counts then read the whole collection, "
                "and a sweep is refused.",
                "Let a user with the role readWrite look.",
            )
        return
    yield from backlog_findings(schema, facts)
    own = [one for one in facts.indexes if not serves_us(schema, one)]
    for described in own:
        yield from fated(schema, described, own)
    unknown = [revision for revision in schema.revisions if revision.function is not None and revision.touches is None]
    if unknown and own:
        names = listed([str(one["name"]) for one in own])
        which = ", ".join(f"{revision.version} '{printable(revision.name)}'" for revision in unknown)
        noun = "is a function" if len(unknown) == 1 else "are functions"
        yield Finding(
            "note",
            TOPIC,
            f"revision {which} {noun} that may change any field: nobody can tell what becomes of {names}.",
            "Say with touches= what it changes.",
        )


def serves_us(schema: Schema, described: Mapping[str, Any]) -> bool:
    """Whether an index is on `_id`, or on the version."""
    keys = [*described["key"]]
    return keys[:1] in (["_id"], [schema.version_field])


def fated(schema: Schema, described: Mapping[str, Any], all_of_them: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """What becomes of one index."""
    name = f"'{printable(str(described['name']))}'"
    ends = {path: fate(schema, path) for path in paths(described)}
    gone = {path: end for path, end in ends.items() if end.path != path and end.mover is not None}
    changed = {path: end for path, end in ends.items() if path not in gone and end.changers}
    if gone:
        yield orphaned(name, described, ends, gone, all_of_them)
    if changed and described.get("unique"):
        path, end = next(iter(changed.items()))
        yield Finding(
            "warning",
            TOPIC,
            f"{kind(described)} {name} is on '{printable(path)}', which {revisions(end.changers)} sets or changes: of two "
            "documents that become equal there, the second is refused, and listed in the quarantine.",
            "Look with `lazymigrate sweep --dry-run` and a count of equal values, before the sweep.",
        )
    elif changed and "expireAfterSeconds" in described:
        path, end = next(iter(changed.items()))
        yield Finding(
            "warning",
            TOPIC,
            f"the TTL index {name} is on '{printable(path)}', which {revisions(end.changers)} sets or changes: documents "
            "that get an old date there are deleted by the server.",
            "Make sure of the dates, or drop the index until the sweep is done.",
        )
    elif by_function := {path: one for path, end in changed.items() for one in end.changers if one.function}:
        yield Finding(
            "note",
            TOPIC,
            f"{kind(described)} {name} is on {listed([*by_function])}, which {revisions([*by_function.values()][:1])} may "
            "take away.",
            "See with `lazymigrate diff` whether documents at head still have it.",
        )


def orphaned(
    name: str,
    described: Mapping[str, Any],
    ends: Mapping[str, Fate],
    gone: Mapping[str, Fate],
    all_of_them: Sequence[Mapping[str, Any]],
) -> Finding:
    """The finding for an index on paths that documents at head do not have."""
    path, end = next(iter(gone.items()))
    by = revisions((end.mover,)) if end.mover else ""
    what = f"moves to '{printable(end.path)}'" if end.path is not None else "takes away"
    on = f"{kind(described)} {name} is on '{printable(path)}', which {by} {what}"
    keys = new_keys(described, ends)
    others = [[*one["key"].items()] for one in all_of_them if one is not described]
    there = keys is not None and keys in others
    if "weights" in described:
        also = "without it" if end.path is None else f"on '{printable(end.path)}', too"
        remedy = f"Before the sweep, replace it by one {also}: a collection has only one text index."
    elif path not in described["key"]:
        other = "another filter" if end.path is None else f"a filter on '{printable(end.path)}'"
        remedy = f"Before the sweep, make one with {other}; drop this one afterwards."
    elif there:
        remedy = "The index for the new path is there: drop this one when the sweep is done."
    elif keys is None:
        remedy = "Drop it when the sweep is done."
    else:
        remedy = f"Before the sweep: {printable(call(described, keys, ends))}."
    is_whole = not described.get("sparse") and "partialFilterExpression" not in described
    if described.get("unique") and is_whole and len(gone) == len(ends):
        first = "Before the sweep, drop it." if keys is None or there else f"{remedy[:-1]}; and drop {name}."
        return Finding(
            "problem",
            TOPIC,
            f"{on}: at head all documents have null there, so the second one is refused, by the sweep and by inserts.",
            f"{first} If older documents must stay unique until then, make it anew for documents that have the field "
            "(partialFilterExpression with $exists: true).",
        )
    if "expireAfterSeconds" in described:
        return Finding("warning", TOPIC, f"{on}: documents at head never expire.", remedy)
    return Finding("note" if there else "warning", TOPIC, f"{on}: documents at head are not found with it.", remedy)


def call(described: Mapping[str, Any], keys: Sequence[tuple[str, Any]], ends: Mapping[str, Fate]) -> str:
    """The call that makes the same index for documents at head.

    A unique one is only on documents that have the new field: outdated ones have not, and would all be equal.
    """
    options = [f"{name}={described[name]!r}" for name in ("sparse", "expireAfterSeconds") if described.get(name)]
    if described.get("unique"):
        new = [end.path for path, end in ends.items() if end.path not in (None, path)]
        present = ", ".join(f"{path!r}: {{'$exists': True}}" for path in new)
        options = ["unique=True", f"partialFilterExpression={{{present}}}"]
    return f"create_index({', '.join([repr(list(keys)), *options])})"


def new_keys(described: Mapping[str, Any], ends: Mapping[str, Fate]) -> list[tuple[str, Any]] | None:
    """The keys of the same index for documents at head; None where there is none, or it is of a kind of its own."""
    keys: list[tuple[str, Any]] = []
    for path, direction in described["key"].items():
        end = ends.get(path)
        if end is None:
            return None
        if end.path is not None:
            keys.append((end.path, int(direction) if isinstance(direction, (int, float)) else direction))
    return keys or None


def paths(described: Mapping[str, Any]) -> list[str]:
    """The paths that an index is on, those of a text index and of its filter among them; none for a wildcard."""
    keys = [path for path in described["key"] if path not in ("_fts", "_ftsx")]
    found = [*keys, *described.get("weights", {}), *filtered(described.get("partialFilterExpression", {}))]
    return [path for path in dict.fromkeys(map(str, found)) if "$" not in path]


def filtered(condition: Any) -> Iterator[str]:
    """The paths in a filter."""
    for name, value in condition.items() if isinstance(condition, Mapping) else ():
        if not str(name).startswith("$"):
            yield str(name)
        for inner in value if isinstance(value, list) else ():
            yield from filtered(inner)


def kind(described: Mapping[str, Any]) -> str:
    """What an index is called."""
    if described.get("unique"):
        return "the unique index"
    if "expireAfterSeconds" in described:
        return "the TTL index"
    if "weights" in described:
        return "the text index"
    return "the partial index" if "partialFilterExpression" in described else "the index"


def revisions(some: Sequence[Revision]) -> str:
    return " and ".join(f"revision {each.version} '{printable(each.name)}'" for each in some)
