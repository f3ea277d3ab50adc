"""A filter for the newest shape, and the filter that finds the same documents at an older version.

For every document of that version that can be upgraded: the one matches it just when the other matches what it is upgraded
to. Each condition is turned round revision by revision, the last first; `turning` says how. What cannot be turned
round is left to the server, which upgrades and then matches ("inside"), or to nobody where a function is in the way ("unsafe").

The `_id` never changes, and the version field is asked for as it is stored.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from lazymigrate.links import (
    BlockedError,
    Link,
    before_all,
    depended_on,
    functions_among,
    in_the_way,
    links_to_head,
)
from lazymigrate.operation import Operation
from lazymigrate.origin import At, Constant, Either, Nothing, Origin
from lazymigrate.predicates import (
    Calculated,
    Leaf,
    MalformedError,
    Node,
    Verbatim,
    conjunction,
    exchanged,
    leaves,
    negation,
    operators,
    parse,
    render,
)
from lazymigrate.rewritten_expression import fields_of
from lazymigrate.turning import NotTurnedError, Source, condition_of, turned

if TYPE_CHECKING:
    from lazymigrate.schema import Schema

__all__ = [
    "AS_STORED",
    "NEAREST",
    "Kind",
    "Rewriting",
    "SortKey",
    "names_in",
    "rewrite",
    "sort_keys",
    "touched",
    "touched_path",
    "upgrade_of",
]

Kind = Literal["same", "rewritten", "inside", "unsafe"]
Unsafe: TypeAlias = tuple[str, int]

_LOGICAL: Final = frozenset({"$and", "$or", "$nor"})
_FIRST_STAGE: Final = ("$text", "$where")  # of a query, and of nothing else
NEAREST: Final = frozenset({"$near", "$nearSphere", "$geoNear"})
AS_STORED: Final = NEAREST | frozenset(_FIRST_STAGE)  # what the server only answers of documents as they are stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """What finds, at one version, the documents that a filter for the newest shape asks for.

    - "same": `filter` is the very filter that was given.
    - "rewritten": `filter` is for documents at that version, which it does not name.
    - "inside": upgrade stages, then the filter that was given.
    - "unsafe": a function is in the way; `unsafe` has the paths that are asked for and the revisions that may touch them.
    """

    version: int
    kind: Kind
    filter: Mapping[str, Any] | None
    unsafe: tuple[Unsafe, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SortKey:
    """Where a path to sort by is found in some of the documents of a version.

    `condition` is which of them, {} for all; `path` where it is there, or None where it is the same `constant` in all of
    them (None for null or missing).
    """

    condition: Mapping[str, Any]
    path: str | None
    constant: Any = None


def rewrite(schema: Schema, filter: Mapping[str, Any], version: int, *, collation: bool = False) -> Rewriting:
    """The filter for documents at `version` that finds those which `filter` finds once they are upgraded to head.

    With `collation` the query compares strings by one, and nothing is said of strings without the server.
    """
    links = links_to_head(schema, version)
    unchanged = Rewriting(version=version, kind="same", filter=filter)
    try:
        asked = parse(filter)
    except MalformedError:
        return unchanged
    if not links:
        return unchanged
    unsafe = dict.fromkeys((name, links[-1].number) for name in _unanswerable(asked))
    blocked = False

    def before(leaf: Leaf | Calculated | Verbatim) -> Node:
        nonlocal blocked
        if isinstance(leaf, Leaf) and leaf.path[0] in ("_id", schema.version_field):
            return leaf
        try:
            return before_all(leaf, links, collation=collation)
        except BlockedError as error:
            blocked = True
            unsafe.update(dict.fromkeys(_culprits(leaf, links, error, collation=collation)))
            return leaf

    found = exchanged(asked, before)
    if unsafe:
        return Rewriting(version=version, kind="unsafe", filter=None, unsafe=tuple(unsafe))
    if blocked:
        return Rewriting(version=version, kind="inside", filter=None)
    return unchanged if found is asked else Rewriting(version=version, kind="rewritten", filter=render(found))


def sort_keys(schema: Schema, path: str, version: int) -> list[SortKey] | None:
    """Where the documents of `version` have what stands at `path` once they are upgraded.

    None where it is computed, or a function may touch it. Each document of the version matches exactly one of the conditions.
    """
    found: list[tuple[Node, Origin]] = [(True, At(tuple(path.split("."))))]
    try:
        for link in reversed(links_to_head(schema, version)):
            found = [
                (_both(turned(condition, link.source, collation=False), also), before)
                for condition, origin in found
                for also, before in _places(link.source, origin, path)
            ]
    except NotTurnedError:
        return None
    keys: list[SortKey] = []
    for condition, origin in found:
        match origin:
            case _ if condition is False:
                continue
            case At(parts):
                keys.append(SortKey(condition=render(condition), path=".".join(parts)))
            case Constant(value) if not isinstance(value, (dict, list)):
                keys.append(SortKey(condition=render(condition), path=None, constant=value))
            case Nothing():
                keys.append(SortKey(condition=render(condition), path=None))
            case _:
                return None
    return keys


def _places(source: Source, origin: Origin, asked: str) -> Iterator[tuple[list[Node], Origin]]:
    """Where a value was before a change, with the conditions that tell the documents apart."""
    if not isinstance(origin, At):
        yield [], origin
        return
    yield from _branches(source.origin(origin.parts), asked)


def _both(node: Node, facts: Sequence[Node]) -> Node:
    """The facts, and of a predicate what they leave to be asked."""
    known = {fact.path: render(fact) for fact in facts if isinstance(fact, Leaf)}
    denied = {fact.path: render(negation(fact)) for fact in facts if isinstance(fact, Leaf)}

    def leaf(one: Leaf | Calculated | Verbatim) -> Node:
        if isinstance(one, Leaf) and one.path in known:
            asked = render(one)
            return True if asked == known[one.path] else False if asked == denied[one.path] else one
        return one

    return conjunction([exchanged(node, leaf), *facts])


def _branches(origin: Origin, asked: str) -> Iterator[tuple[list[Node], Origin]]:
    if isinstance(origin, Either):
        condition = condition_of(origin, asked)
        for tested, part in ((condition, origin.first), (negation(condition), origin.second)):
            for conditions, place in _branches(part, asked):
                yield [tested, *conditions], place
    elif isinstance(origin, (At, Constant, Nothing)):
        yield [], origin
    else:
        raise NotTurnedError(())


@dataclass(frozen=True, slots=True)
class Everything:
    """All fields but those that no function can change."""

    version_field: str

    def __contains__(self, name: object) -> bool:
        return str(name).partition(".")[0] not in ("_id", self.version_field)


def _changes(schema: Schema) -> Container[str]:
    """The top-level fields that any revision may change."""
    changes = schema.chain(schema.oldest, schema.head).changes
    return Everything(schema.version_field) if changes is None else changes


def touched(schema: Schema, filter: Mapping[str, Any]) -> bool:
    """Whether any revision may touch what a filter asks for; where none does, the filter is "same" at every version.

    It looks at top-level fields only, and builds nothing: it is for every query.
    """
    changes = _changes(schema)
    try:
        return bool(changes) and _touched(filter, changes)
    except (AttributeError, TypeError):  # it is no filter, and `rewrite` says what becomes of it
        return True


def _touched(filter: Mapping[str, Any], changes: Container[str]) -> bool:
    for name, condition in filter.items():
        if name[:1] == "$":
            if name in _LOGICAL:
                if any(_touched(part, changes) for part in condition):
                    return True
            elif name != "$comment":
                return True
        elif (
            name in changes
            or ("." in name and name.partition(".")[0] in changes)
            or (isinstance(condition, dict) and not NEAREST.isdisjoint(condition))
        ):
            return True
    return False


def touched_path(schema: Schema, path: str) -> bool:
    """Whether any revision may touch what stands at a path."""
    return path.partition(".")[0] in _changes(schema)


def upgrade_of(schema: Schema, version: int, names: frozenset[str] | None) -> list[Operation] | None:
    """The operations that bring these top-level fields of a document of a version to head; all fields for None.

    None where a function may touch one of them. What else the chain does, functions included, is left out.
    """
    links = depended_on(links_to_head(schema, version), names)
    operations = [link.source for link in links if isinstance(link.source, Operation)]
    return None if functions_among(links) else operations


def names_in(filter: Mapping[str, Any]) -> frozenset[str] | None:
    """The top-level fields that a filter asks for; None where that cannot be told."""
    found: set[str] = set()
    for name, condition in filter.items():
        if name in _LOGICAL:
            parts = [names_in(part) for part in condition]
            if None in parts:
                return None
            found.update(*(part for part in parts if part is not None))
        elif name[:1] == "$":
            if name != "$comment":
                return None
        else:
            found.add(name.partition(".")[0])
    return frozenset(found)


def _unanswerable(asked: Node) -> Iterator[str]:
    """The operators that the server only answers on documents as they are stored."""
    for leaf in leaves(asked):
        if isinstance(leaf, Verbatim) and leaf.name in _FIRST_STAGE:
            yield leaf.name
        elif isinstance(leaf, Leaf):
            yield from (name for name in NEAREST if name in operators(leaf.condition))


def _culprits(
    leaf: Leaf | Calculated | Verbatim, links: Sequence[Link], error: BlockedError, *, collation: bool
) -> Iterator[Unsafe]:
    """The paths of a condition that is not turned round, each with the revisions that have functions which may touch it."""
    if isinstance(leaf, Leaf):
        yield from ((leaf.asked, number) for number in in_the_way(links, error))
        return
    known = False
    for path in fields_of(leaf.expression) if isinstance(leaf, Calculated) else ():
        try:
            before_all(Calculated(f"${path}"), links, collation=collation)
        except BlockedError as of_path:
            known = True
            yield from ((path, number) for number in in_the_way(links, of_path))
    if not known:
        name = leaf.name if isinstance(leaf, Verbatim) else "$expr"
        yield from ((name, number) for number in in_the_way(links, error))
