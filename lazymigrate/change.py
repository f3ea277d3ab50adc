"""What an upgrade changed, and the compare-and-set that stores it.

**The rule.** A stored document is upgraded by a client in one way only: an update whose filter names the `_id` and
whose pipeline applies the changed fields to `$$ROOT` *if what the upgrade relied on is still what it was*, and is
`$$ROOT` otherwise. "What it relied on" is the raw BSON as it was read (a decoded copy, encoded again, is not the same
document for every document), or just the fields that the chain is known to use.

Two spellings of the same test, chosen per document:

- `$cond` in the pipeline, for plain documents: one write, no oplog entry when it loses. On a document with equal keys
  (`{z: 1, z: 2}`, at any depth) it would store the first value twice: measured on MongoDB 6.0.5.
- `$expr` in the filter, for the others (those that decoding and encoding would change, or whose bytes are not known):
  measured to keep every byte of the untouched fields.

Where the change itself meets equal keys, a pipeline is not safe at all (`splicing`): such a document is replaced by its own
bytes with the change made to them, guarded by all of them. (The server refuses that where a top-level name begins with "$".)

Both pass the simple collation: under one that ignores case, "Bob" would equal "BOB".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bson.raw_bson import RawBSONDocument

from lazymigrate.documents import same
from lazymigrate.elements import elements, id_of, only
from lazymigrate.paths import distinct_
from lazymigrate.splicing import meets_equal_keys, spliced

__all__ = [
    "DEEPEST",
    "AtHead",
    "Change",
    "CompareAndSet",
    "Fields",
    "Guard",
    "Statement",
    "Unchanged",
    "edited",
    "fields_guard",
    "statement",
]

Expression = Any

DEEPEST = 10  # subdocuments inside each other that are changed by leaf
_DEPTH = 80  # levels of BSON in one expression; the server refuses more than 200 in a command


@dataclass(frozen=True, slots=True)
class Change:
    """The difference between two documents: fields set, fields taken away, and changes inside subdocuments."""

    sets: Mapping[str, Any] = field(default_factory=dict)
    unsets: tuple[str, ...] = ()
    nested: Mapping[str, Change] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to store."""
        return not (self.sets or self.unsets or self.nested)

    @classmethod
    def between(cls, before: Mapping[str, Any], after: Mapping[str, Any], *, depth: int = 0) -> Change:
        """The change from one decoded document to another.

        A subdocument whose remaining fields keep their order is changed by leaf, any other is set as a whole, and so is
        what lies deeper than expressions can reach.
        """
        sets: dict[str, Any] = {}
        nested: dict[str, Change] = {}
        for name, value in after.items():
            if name not in before:
                sets[name] = value
                continue
            old = before[name]
            if old is value or same(old, value):
                continue
            if isinstance(old, dict) and isinstance(value, dict) and depth < DEEPEST and in_place(old, value):
                nested[name] = cls.between(old, value, depth=depth + 1)
            else:
                sets[name] = value
        return cls(sets, tuple(name for name in before if name not in after), nested)

    def apply(self, document: dict[str, Any]) -> None:
        """Make the change to a decoded document, in place; fields keep their places, new ones are appended."""
        for name in self.unsets:
            document.pop(name, None)
        for name, inner in self.nested.items():
            inner.apply(document[name])
        document.update(self.sets)

    def fits(self, document: Mapping[str, Any]) -> bool:
        """Whether every subdocument that it changes by leaf is there."""
        return all(
            isinstance(document.get(name), dict) and inner.fits(document[name]) for name, inner in self.nested.items()
        )

    def edits(self, *, merge: bool, parents: tuple[str, ...] = ()) -> Iterator[Edit]:
        """The change as edits of single fields, each to be put around an expression of the whole document.

        `merge` sets plain names of one subdocument in one operator; it would drop one of two equal keys.
        """
        for name in self.unsets:
            yield Edit(parents, partial(unset_field, name))
        for name, inner in self.nested.items():
            yield from inner.edits(merge=merge, parents=(*parents, name))
        if self.sets and merge and not any("." in name or name.startswith("$") or not name for name in self.sets):
            yield Edit(parents, partial(merge_fields, dict(self.sets)))
        else:
            for name, value in self.sets.items():
                yield Edit(parents, partial(set_field, name, {"$literal": value}))


Wrap = Callable[[Expression], Expression]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Edit:
    """One operator on the subdocument at `parents`."""

    parents: tuple[str, ...]
    wrap: Wrap

    @property
    def levels(self) -> int:
        """How much deeper it nests an expression."""
        return 2 + (3 + 4 * len(self.parents) if self.parents else 0)

    def around(self, document: Expression) -> Expression:
        """The edited document; an inner edit evaluates the document once."""
        if not self.parents:
            return self.wrap(document)
        return {"$let": {"vars": {"document": document}, "in": self.inside("$$document", self.parents)}}

    def inside(self, document: Expression, parents: tuple[str, ...]) -> Expression:
        """The edit made in the subdocument at the rest of the path."""
        if not parents:
            return self.wrap(document)
        inner = {"$getField": {"field": {"$literal": parents[0]}, "input": document}}
        return set_field(parents[0], self.inside(inner, parents[1:]), document)


def unset_field(name: str, document: Expression) -> Expression:
    return {"$unsetField": {"field": {"$literal": name}, "input": document}}


def set_field(name: str, value: Expression, document: Expression) -> Expression:
    return {"$setField": {"field": {"$literal": name}, "input": document, "value": value}}


def merge_fields(fields: Mapping[str, Any], document: Expression) -> Expression:
    return {"$mergeObjects": [document, {"$literal": fields}]}


def in_place(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether `after` is `before` with fields changed in their places, removed, and new ones appended."""
    kept = [name for name in before if name in after]
    return list(after)[: len(kept)] == kept


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unchanged:
    """Guard: the whole document is what was read. `plain`: decoding and encoding it gives the same bytes."""

    raw: bytes
    plain: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Fields:
    """Guard: these top-level fields are what was read; `raw` is a document of just them, in the order of `names`."""

    names: tuple[str, ...]
    raw: bytes
    plain: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AtHead:
    """Guard: the stored stamp is a version from `lowest` to `highest`; a document without one is at `base`."""

    version_field: str
    base: int
    lowest: int
    highest: int


Guard = Unchanged | Fields | AtHead


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CompareAndSet:
    """Store `change` in the document whose `_id` is that of `raw`, if `guard` holds; nothing otherwise."""

    raw: bytes
    guard: Guard
    change: Change

    @property
    def identity(self) -> bytes:
        """The `_id` as a raw document of one element: exact, and fit for a key."""
        return id_of(self.raw)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Statement:
    """A compare-and-set as MongoDB's update statement; to be run with the simple collation, never as an upsert.

    `update` is a pipeline, or the raw document to replace it with.
    """

    filter: Mapping[str, Any]
    update: list[dict[str, Any]] | RawBSONDocument


def fields_guard(raw: bytes, names: Collection[str], *, plain: bool) -> Fields:
    """The guard on some fields of a document as it was read, absent ones included."""
    ordered = tuple(sorted(names))
    return Fields(ordered, only(raw, ordered), plain)


def condition(guard: Guard, change: Change) -> Expression:
    """The test of a guard as an aggregation expression."""
    if isinstance(guard, Unchanged):
        return {"$eq": ["$$ROOT", {"$literal": RawBSONDocument(guard.raw)}]}
    if isinstance(guard, Fields):
        present = {name for name, _, _ in elements(guard.raw)}
        tests: list[Expression] = []
        for name in guard.names:
            stored = {"$getField": {"field": {"$literal": name}, "input": "$$ROOT"}}
            if name in present:
                literal = {
                    "$getField": {"field": {"$literal": name}, "input": {"$literal": RawBSONDocument(guard.raw)}}
                }
                tests.append({"$eq": [stored, literal]})
            else:
                tests.append({"$eq": [{"$type": stored}, "missing"]})
        return {"$and": [*tests, *documents_at("$$ROOT", change)]}
    stamp = {"$ifNull": [{"$getField": {"field": {"$literal": guard.version_field}, "input": "$$ROOT"}}, guard.base]}
    tests = [
        {"$in": [{"$type": stamp}, ["int", "long", "double", "decimal"]]},
        {"$gte": [stamp, guard.lowest]},
        {"$lte": [stamp, guard.highest]},
        distinct_("$$ROOT"),
        *documents_at("$$ROOT", change, distinct=True),
    ]
    return {"$and": tests}


def documents_at(document: Expression, change: Change, *, distinct: bool = False) -> Iterator[Expression]:
    """True where each subdocument that is changed by leaf is one, and has no equal keys where that is asked."""
    for name, inner in change.nested.items():
        value = {"$getField": {"field": {"$literal": name}, "input": document}}
        yield {"$eq": [{"$type": value}, "object"]}
        if distinct:
            yield distinct_(value)
        yield from documents_at(value, inner, distinct=distinct)


def statement(command: CompareAndSet) -> Statement:
    """The update statement of a compare-and-set, in the spelling that is exact for this document."""
    guard, change = command.guard, command.change
    plain = not isinstance(guard, AtHead) and guard.plain
    if not plain and meets_equal_keys(command.raw, change):
        same_bytes = {"$expr": condition(Unchanged(command.raw, plain=False), change)}
        replacement = RawBSONDocument(spliced(command.raw, change))
        return Statement({"$and": [RawBSONDocument(command.identity), same_bytes]}, replacement)
    documents = edited(change, merge=plain)
    test = condition(guard, change)
    identity = RawBSONDocument(command.identity)
    if plain and len(documents) == 1:
        return Statement(identity, [{"$replaceWith": {"$cond": [test, documents[0], "$$ROOT"]}}])
    return Statement({"$and": [identity, {"$expr": test}]}, [{"$replaceWith": document} for document in documents])


def edited(change: Change, *, merge: bool) -> list[Expression]:
    """The changed document, in as many steps as the server needs: it refuses expressions that are nested too deep."""
    documents: list[Expression] = []
    document: Expression = "$$ROOT"
    depth = 0
    for edit in change.edits(merge=merge):
        if depth and depth + edit.levels > _DEPTH:
            documents.append(document)
            document, depth = "$$ROOT", 0
        document, depth = edit.around(document), depth + edit.levels
    return [*documents, document]
