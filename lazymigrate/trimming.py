"""Trimming: a document projected in Python as the server's `find` would project it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import DBRef

from lazymigrate.exceptions import PartialDocumentError, describe

__all__ = [
    "ARRAYS",
    "ElementMatch",
    "Leaf",
    "Matched",
    "PartialDocument",
    "Slice",
    "Trim",
    "compile_trim",
    "refuse_partial",
]

Document = dict[str, Any]
Matched = Mapping[str, int | None]
Values = Callable[[Any], Any]

ABSENT: Any = object()
ARRAYS = (list, tuple)  # a revision may leave a tuple where BSON will hold an array


class PartialDocument(dict[str, Any]):
    """What a projection left of a document at head: a dict that no write accepts (`PartialDocumentError`).

    Storing it would lose the fields that were not asked for. `dict(partial)` is a plain copy, for those who mean it.
    """

    __slots__ = ()

    def copy(self) -> PartialDocument:
        """A shallow copy, as partial as this one."""
        return PartialDocument(self)


def refuse_partial(name: str, document: object) -> None:
    """`PartialDocumentError` when a document to be written to the collection `name` came out of a projection."""
    if isinstance(document, PartialDocument):
        raise PartialDocumentError(
            f"{name}: {describe(document.get('_id'))} was read with a projection: storing it would lose the fields "
            "that were not asked for. Read it without a projection, or update the fields that are to change.",
            collection=name,
            document_id=document.get("_id"),
        )


@dataclass(frozen=True, slots=True)
class Slice:
    """`$slice`: of an array, what is left after `skip` elements (below 0: the last ones), and of that `limit`."""

    skip: int
    limit: int | None
    asked: int | tuple[int, int]

    def __call__(self, value: Any) -> Any:
        """The part of an array; anything else as it is."""
        return value[self.skip :][: self.limit] if isinstance(value, ARRAYS) else value


@dataclass(frozen=True, slots=True, eq=False)
class ElementMatch:
    """`$elemMatch`: of the array in a top-level field, the first element that the condition matches."""

    path: str
    condition: Mapping[str, Any]


Leaf = bool | Slice | ElementMatch
Tree = dict[str, Any]  # of trees and leaves
Trim = Callable[[Document, Matched], PartialDocument]


def compile_trim(leaves: Sequence[tuple[str, Leaf]], done: frozenset[str], *, includes: bool, identity: bool) -> Trim:
    """The function that trims a document to these leaves, given the index of the element for each `$elemMatch`; but for
    those in `done`, where the server left only the one element. `ValueError` for paths inside one another.
    """
    tree: Tree = {}
    for path, leaf in leaves:
        plant(tree, path, leaf)
    elements = [(path, path in done) for path, leaf in leaves if isinstance(leaf, ElementMatch)]
    for path, _ in elements:
        del tree[path]
    if identity == includes:
        tree.setdefault("_id", identity)
    members = members_of(tree, includes=includes)
    if not elements:
        return lambda document, _: PartialDocument(members(document))

    def trim(document: Document, matched: Matched) -> PartialDocument:
        trimmed = PartialDocument(members(document))
        for path, is_done in elements:
            value = document.get(path)
            index = None if is_done else matched[path]
            if isinstance(value, ARRAYS) and (is_done or index is not None):
                trimmed[path] = value if index is None else [value[index]]  # stands last among what is included
            else:
                trimmed.pop(path, None)
        return trimmed

    return trim


def plant(tree: Tree, path: str, leaf: Leaf) -> None:
    """Put a leaf into the tree."""
    *parents, name = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            break
    if not isinstance(tree, dict) or name in tree:
        raise ValueError(
            f"The projection names {path!r} and a path that is the same, or inside it or around it, which MongoDB "
            "refuses. Name one of the two."
        )
    tree[name] = leaf


def members_of(tree: Tree, *, includes: bool, slices: bool = True) -> Callable[[Document], Document]:
    """The function that projects a document."""
    plan: dict[str, Values | bool] = {}
    for name, node in tree.items():
        if isinstance(node, dict):
            plan[name] = branch(node, includes=includes, slices=slices)
        elif isinstance(node, bool):
            plan[name] = node
        else:
            plan[name] = node if slices else True
    changes = {name: step for name, step in plan.items() if not isinstance(step, bool)}
    if not changes and includes:
        return lambda document: {name: value for name, value in document.items() if name in plan}
    dropped = frozenset(name for name, step in plan.items() if step is False)
    if not changes:
        return lambda document: {name: value for name, value in document.items() if name not in dropped}

    def project(document: Document) -> Document:
        projected: Document = {}
        for name, value in document.items():
            change = changes.get(name)
            if change is not None:
                changed = change(value)
                if changed is not ABSENT:
                    projected[name] = changed
            elif (name in plan) if includes else (name not in dropped):
                projected[name] = value
        return projected

    return project


def branch(tree: Tree, *, includes: bool, slices: bool) -> Values:
    """The function that projects the value of a field whose inner paths are named.

    Paths run through arrays, and arrays in arrays, except that `$slice` does not run through arrays in arrays: as the
    server has it. A scalar has no inner paths: it is not included and not excluded.
    """
    members = members_of(tree, includes=includes, slices=slices)
    nested = members_of(tree, includes=includes, slices=False) if slices else members
    other: Values = (lambda _: ABSENT) if includes else (lambda value: value)

    def project(value: Any, members: Callable[[Document], Document], element: Values) -> Any:
        if isinstance(value, dict):
            return members(value) if type(value) is dict else type(value)(members(value))
        if isinstance(value, ARRAYS):
            return [kept for inner in value if (kept := element(inner)) is not ABSENT]
        if isinstance(value, DBRef):
            return as_reference(members(dict(value.as_doc())))
        return other(value)

    def in_arrays(value: Any) -> Any:
        return project(value, nested, in_arrays)

    def element(value: Any) -> Any:
        return in_arrays(value) if isinstance(value, ARRAYS) else project(value, members, in_arrays)

    return lambda value: project(value, members, element)


def as_reference(document: Document) -> Any:
    """A projected reference as the driver decodes it: a document, unless it still says what it refers to."""
    if "$ref" not in document or "$id" not in document:
        return document
    return DBRef(document.pop("$ref"), document.pop("$id"), document.pop("$db", None), document)
