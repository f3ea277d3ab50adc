"""Where the value at a path of a changed document comes from, in the document as it was before the change.

`Operation.origin(parts)` answers with one of these values. It speaks of the documents on which the operation succeeds
in Python, and of no others. "Missing" is a value here as any other: what is said of a path holds where nothing is at it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from lazymigrate.operation import Operation

__all__ = [
    "At",
    "Computed",
    "Constant",
    "Either",
    "Elements",
    "Enclosed",
    "Inside",
    "Mapped",
    "Nothing",
    "Origin",
    "Parts",
    "Remade",
    "beneath",
    "found_in",
]

Parts: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class At:
    """It stood at this path; at the same one, if nothing has changed."""

    parts: Parts


@dataclass(frozen=True, slots=True)
class Constant:
    """It is this constant in every document."""

    value: Any


@dataclass(frozen=True, slots=True)
class Nothing:
    """It is missing in every document."""


@dataclass(frozen=True, slots=True)
class Computed:
    """It can be anything."""


@dataclass(frozen=True, slots=True)
class Either:
    """`first` in the documents that have something at `where`, and `second` in the others.

    With `document`, it is a document that they have there, where the others have null or nothing. With `exclusive`, the
    two are places of which no document has both.
    """

    where: Parts
    first: Origin
    second: Origin
    document: bool = False
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Inside:
    """Its type, and the length of an array, are those of the value at this path; only what is in its documents changes.

    Where there is something at one of the paths `made`, a document stands here now, and a document or nothing did before;
    the path () is that of the whole document, which is always there.
    """

    parts: Parts
    made: tuple[Parts, ...] = ()


@dataclass(frozen=True, slots=True)
class Mapped:
    """The value at this path, but one of the constants for another: of two that are compared as MongoDB compares them.

    With `others`, anything else but what is missing becomes the one constant in it.
    """

    parts: Parts
    pairs: tuple[tuple[Any, Any], ...]
    others: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Remade:
    """A scalar made out of the scalar at this path: null and nothing stay what they are, and nothing else becomes either."""

    parts: Parts


@dataclass(frozen=True, slots=True)
class Enclosed:
    """What is found in the value at `parts` once it is in an array of its own, if it is none; null is an empty array.

    `rest` is the way on from there.
    """

    parts: Parts
    rest: Parts


@dataclass(frozen=True, slots=True)
class Elements:
    """What is found at `rest` in the elements of the array at `parts`, which are documents that `operation` changed.

    The array is null or missing where it was.
    """

    parts: Parts
    rest: Parts
    operation: Operation


Origin: TypeAlias = At | Constant | Nothing | Computed | Either | Inside | Mapped | Remade | Enclosed | Elements


def beneath(path: Parts, origin: Origin) -> Origin:
    """The same, said of a subdocument at a path, which is changed where it is a document and may be null or missing."""
    match origin:
        case At(parts):
            return At(path + parts)
        case Constant():
            return Either(path, origin, Nothing(), document=True)
        case Either(where, first, second, document, exclusive):
            return Either(path + where, beneath(path, first), beneath(path, second), document, exclusive)
        case Inside(parts, made):
            return Computed() if () in made else Inside(path + parts, tuple(path + place for place in made))
        case Mapped(parts, pairs, others):
            return Mapped(path + parts, pairs, others)
        case Remade(parts):
            return Remade(path + parts)
        case Enclosed(parts, rest):
            return Enclosed(path + parts, rest)
        case Elements(parts, rest, operation):
            return Elements(path + parts, rest, operation)
        case Nothing() | Computed():
            return origin


def found_in(value: Any, rest: Parts) -> Origin:
    """What is at a path inside a constant."""
    for name in rest:
        if isinstance(value, list):
            return Computed()
        if not isinstance(value, Mapping) or name not in value:
            return Nothing()
        value = value[name]
    return Constant(value)
