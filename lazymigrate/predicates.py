"""Filters as values: what is asked of which path, and how the answers are combined.

A filter is parsed once, its parts are exchanged, and it is rendered again. `True` and `False` are predicates too: they
are simplified away wherever they stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from bson import Regex

from lazymigrate.origin import Parts

__all__ = [
    "All",
    "Calculated",
    "Leaf",
    "MalformedError",
    "Node",
    "Not",
    "Some",
    "Verbatim",
    "conjunction",
    "disjunction",
    "exchanged",
    "exists",
    "leaves",
    "negation",
    "operators",
    "parse",
    "render",
    "separate",
]

Filter: TypeAlias = Mapping[str, Any]
NEVER: Filter = {"_id": {"$in": []}}  # the server sees that nothing can match


class MalformedError(Exception):
    """It is no filter; what is wrong with it is the server's to say."""


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A condition on the value at one path, as it stands in a filter. `asked` is the path that the caller wrote."""

    path: Parts
    condition: Any
    asked: str


@dataclass(frozen=True, slots=True, eq=False)
class Calculated:
    """An `$expr`."""

    expression: Any


@dataclass(frozen=True, slots=True, eq=False)
class Verbatim:
    """What asks the whole document, or nothing of it: `$where`, `$text`, `$jsonSchema`, `$comment` and what is not known here."""

    name: str
    operand: Any


@dataclass(frozen=True, slots=True, eq=False)
class All:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Some:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Not:
    part: Node


Node: TypeAlias = Leaf | Calculated | Verbatim | All | Some | Not | bool


def conjunction(nodes: Iterable[Node]) -> Node:
    """What holds where all of them hold."""
    listed = [part for node in nodes for part in (node.parts if isinstance(node, All) else (node,)) if part is not True]
    if any(part is False for part in listed):
        return False
    return listed[0] if len(listed) == 1 else All(tuple(listed)) if listed else True


def disjunction(nodes: Iterable[Node]) -> Node:
    """What holds where one of them holds."""
    listed = [
        part for node in nodes for part in (node.parts if isinstance(node, Some) else (node,)) if part is not False
    ]
    if any(part is True for part in listed):
        return True
    return listed[0] if len(listed) == 1 else Some(tuple(listed)) if listed else False


def negation(node: Node) -> Node:
    """What holds where it does not."""
    match node:
        case bool():
            return not node
        case Not(part):
            return part
        case Leaf(path, {"$exists": bool(wanted), **others}, asked) if not others:
            return Leaf(path, {"$exists": not wanted}, asked)
        case _:
            return Not(node)


def exists(path: Parts, asked: str) -> Node:
    """Something is at the path; the path () is that of the whole document."""
    return Leaf(path, {"$exists": True}, asked) if path else True


def exchanged(node: Node, leaf: Callable[[Leaf | Calculated | Verbatim], Node]) -> Node:
    """The predicate with each of its leaves exchanged; the very same one where no leaf has changed."""
    match node:
        case Leaf() | Calculated() | Verbatim():
            return leaf(node)
        case All(parts) | Some(parts):
            others = [exchanged(part, leaf) for part in parts]
            if all(one is other for one, other in zip(parts, others, strict=True)):
                return node
            return conjunction(others) if isinstance(node, All) else disjunction(others)
        case Not(part):
            other = exchanged(part, leaf)
            return node if other is part else negation(other)
        case _:
            return node


def leaves(node: Node) -> Iterator[Leaf | Calculated | Verbatim]:
    """Its leaves, in the order of the filter."""
    match node:
        case Leaf() | Calculated() | Verbatim():
            yield node
        case All(parts) | Some(parts):
            for part in parts:
                yield from leaves(part)
        case Not(part):
            yield from leaves(part)
        case _:
            return


def is_regex(value: Any) -> bool:
    return isinstance(value, (re.Pattern, Regex))


def operators(condition: Any) -> Mapping[str, Any]:
    """A condition as operators: a plain value is one to be equal to, or a pattern."""
    if isinstance(condition, Mapping):
        first = next(iter(condition), None)
        if isinstance(first, str) and first.startswith("$") and first != "$ref":  # that is a reference, a value
            return condition
    return {"$regex" if is_regex(condition) else "$eq": condition}


def separate(condition: Any) -> list[dict[str, Any]]:
    """The conditions that are one operator each, which together are this one; a pattern keeps its options."""
    listed = operators(condition)
    found = [{name: operand} for name, operand in listed.items() if name != "$options" or "$regex" not in listed]
    if "$options" not in listed:
        return found
    return [{**one, "$options": listed["$options"]} if "$regex" in one else one for one in found]


def parse(filter: Any, asked: str | None = None) -> Node:
    """A filter as a predicate; `MalformedError` when it is none. `asked` is the path that the caller wrote it for."""
    if not isinstance(filter, Mapping):
        raise MalformedError
    return conjunction([part for name, operand in filter.items() for part in _parsed(name, operand, asked)])


def _parsed(name: Any, operand: Any, asked: str | None) -> list[Node]:
    if not isinstance(name, str):
        raise MalformedError
    if name in ("$and", "$or", "$nor"):
        if not isinstance(operand, Sequence) or isinstance(operand, (str, bytes)) or not operand:
            raise MalformedError
        parts = [parse(part, asked) for part in operand]
        if name == "$and":
            return parts
        either = disjunction(parts)
        return [either if name == "$or" else negation(either)]
    if name == "$expr":
        return [Calculated(operand)]
    if name.startswith("$"):
        return [Verbatim(name, operand)]
    return [Leaf(tuple(name.split(".")), operand, asked or name)]


def render(node: Node) -> dict[str, Any]:
    """The predicate as a filter."""
    match node:
        case True:
            return {}
        case False:
            return dict(NEVER)
        case Leaf(path, condition):
            return {".".join(path): condition}
        case Calculated(expression):
            return {"$expr": expression}
        case Verbatim(name, operand):
            return {name: operand}
        case All(parts):
            rendered = [render(part) for part in parts]
            names = [name for one in rendered for name in one]
            if len(names) == len(set(names)):
                return {name: condition for one in rendered for name, condition in one.items()}
            return {"$and": rendered}
        case Some(parts):
            return {"$or": [render(part) for part in parts]}
        case Not(Some(parts)):
            return {"$nor": [render(part) for part in parts]}
        case Not(part):
            return {"$nor": [render(part)]}
