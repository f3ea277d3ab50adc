"""The way of a schema from one version to head, as what changes documents one after the other.

Each link is one operation as simple as can be, or a plain function, with the number of its revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lazymigrate.operation import Operation
from lazymigrate.origin import At, Computed, Origin, Parts
from lazymigrate.predicates import Leaf, Node
from lazymigrate.turning import NotTurnedError, turned

if TYPE_CHECKING:
    from lazymigrate.schema import Schema

__all__ = [
    "BlockedError",
    "Link",
    "Touching",
    "before_all",
    "depended_on",
    "functions_among",
    "in_the_way",
    "links_to_head",
]


@dataclass(frozen=True, slots=True)
class Touching:
    """A plain function as a source of values: what it may touch is computed."""

    touches: frozenset[str] | None
    reads: frozenset[str]
    version_field: str

    def origin(self, parts: Parts) -> Origin:
        """Where the value at a path comes from."""
        kept = parts[0] in ("_id", self.version_field)
        return At(parts) if kept or (self.touches is not None and parts[0] not in self.touches) else Computed()


@dataclass(frozen=True, slots=True)
class Link:
    """One operation of the chain, or one function, with the number of its revision."""

    number: int
    source: Operation | Touching
    changes: frozenset[str] | None

    @property
    def uses(self) -> frozenset[str]:
        """The top-level fields that it makes something of."""
        if isinstance(self.source, Touching):
            return self.source.reads
        return frozenset(path.partition(".")[0] for path in self.source.effects().paths)

    @property
    def renders(self) -> bool:
        """Whether it can run inside MongoDB."""
        return not isinstance(self.source, Touching) and self.source.renders


def links_to_head(schema: Schema, version: int) -> list[Link]:
    """What changes documents on the way from a version to head, in order."""
    links: list[Link] = []
    for revision in schema.chain(version, schema.head).revisions:
        if revision.empty:
            continue
        if revision.function is not None:
            touching = Touching(revision.touches, revision.reads, schema.version_field)
            links.append(Link(revision.version, touching, revision.touches))
        links += [Link(revision.version, operation, changes) for operation, changes in revision.apart]
    return links


class BlockedError(Exception):
    """A condition cannot be turned round; `index` is the link where that is so."""

    def __init__(self, path: Parts, index: int) -> None:
        super().__init__(".".join(path))
        self.path, self.index = path, index


def before_all(node: Node, links: Sequence[Link], *, collation: bool) -> Node:
    """The predicate on documents before the first link."""
    for index in range(len(links) - 1, -1, -1):
        link = links[index]
        if isinstance(node, Leaf) and link.changes is not None and node.path[0] not in link.changes:
            continue
        try:
            node = turned(node, link.source, collation=collation)
        except NotTurnedError as error:
            raise BlockedError(error.path, index) from error
    return node


def depended_on(links: Sequence[Link], names: frozenset[str] | None) -> list[Link]:
    """The links, in order, that what stands in these top-level fields after all of them depends on; None is all fields."""
    found: list[Link] = []
    wanted = names
    for link in reversed(links):
        if wanted is None or link.changes is None or not wanted.isdisjoint(link.changes):
            found.append(link)
            wanted = None if wanted is None or link.changes is None else wanted | link.changes | link.uses
    return found[::-1]


def in_the_way(links: Sequence[Link], error: BlockedError) -> list[int]:
    """The revisions with functions that the value at a path may depend on."""
    return functions_among(depended_on(links[: error.index + 1], frozenset(error.path[:1]) or None))


def functions_among(links: Sequence[Link]) -> list[int]:
    """The revisions of those that cannot run inside MongoDB."""
    return sorted({link.number for link in links if not link.renders})
