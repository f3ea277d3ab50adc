"""Projections: which fields are asked of the server, and what is trimmed off once the document is at head.

A projection names fields of the newest shape, and the stored document may be of an older one. So the top-level fields
that the pending revisions use are fetched whole, the document is upgraded, and then it is trimmed to what was asked:
`Projection.to_fetch` gives a `Fetch`, which knows both. What no pending revision uses is left to the server.

**Order.** The server gives included fields in the order of the document, then those of `$elemMatch` in the order of
the projection. A chain only looks at its own fields, keeps those that are there in their place and appends new ones:
upgrading a part of a document gives that part of the upgraded document, in its order. (Where a function takes a field
away and another one sets it again, it may stand in either place, as everywhere.)

**`$elemMatch`** on a field that the revisions use is decided by the server's own matcher, after the upgrade:
`Fetch.matches` says which, the module `elemmatch` how to ask, and `trim` is given the answer.

What cannot be done with an upgraded document, and what every server refuses, is a `TypeError` or `ValueError` of
`parse`: at once, whatever is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, NoReturn

from bson import Decimal128

from lazymigrate.trimming import ARRAYS, ElementMatch, Leaf, Matched, PartialDocument, Slice, Trim, compile_trim

__all__ = ["Fetch", "PartialDocument", "Projection", "parse"]

Document = dict[str, Any]

REFERENCE = ("$ref", "$id", "$db")  # the only names with a dollar that MongoDB lets a projection use
NONE_MATCHED: Matched = {}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Fetch:
    """What to ask of the server, and the way from the document at head to what the caller gets.

    `projection` is for `find`, None for whole documents. `matches` are the `$elemMatch` that `trim` has to be told of;
    the server decided the others already.
    """

    projection: dict[str, Any] | None
    matches: tuple[ElementMatch, ...]
    run: Trim

    def trim(self, document: Document, matched: Matched = NONE_MATCHED) -> PartialDocument:
        """What the server would give for the caller's projection of a document at head that was fetched like this.

        `matched` has the index of the first matching element, or None, for the path of each of `matches`. Values are
        shared with the document, which is not changed.
        """
        return self.run(document, matched)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Projection:
    """A projection as it was understood; made by `parse`.

    `includes`: it names what is given, else what is left out. `identity`: whether `_id` is given. `leaves` are the
    dotted paths, `_id` as a whole excepted, with True, False, a `Slice` or an `ElementMatch` each. `whole` is the
    `Fetch` of whole documents.
    """

    includes: bool
    identity: bool
    leaves: tuple[tuple[str, Leaf], ...]
    whole: Fetch

    @property
    def element_matches(self) -> tuple[ElementMatch, ...]:
        """The `$elemMatch` in it, in its order."""
        return self.whole.matches

    def trim(self, document: Document, matched: Matched = NONE_MATCHED) -> PartialDocument:
        """What the server would give for this projection of a whole document; `matched` as for `Fetch.trim`."""
        return self.whole.run(document, matched)

    def to_fetch(self, fields: frozenset[str] | None, version_field: str) -> Fetch:
        """What to ask for when the pending revisions use these top-level fields; None: they may use any.

        `fields` and the version field are fetched whole, and so is `_id`. What is asked besides is asked as it is.
        """
        if fields is None or not all(addressable(name) for name in fields):
            return self.whole
        ours = fields | {version_field, "_id"}
        served = [(path, leaf) for path, leaf in self.leaves if top(path) not in ours]
        asked = {path: as_asked(leaf) for path, leaf in served}
        if self.includes:
            asked = {**dict.fromkeys(sorted(ours), 1), **asked}
        elif all(isinstance(leaf, ElementMatch) for _, leaf in served):  # alone, these would make it an inclusion
            return self.whole
        left = [(path, leaf) for path, leaf in self.leaves if top(path) in ours or isinstance(leaf, ElementMatch)]
        if self.includes:
            left += [
                (name, True) for name in {top(path) for path, leaf in served if not isinstance(leaf, ElementMatch)}
            ]
        done = frozenset(path for path, leaf in served if isinstance(leaf, ElementMatch))
        trim = compile_trim(left, done, includes=self.includes, identity=self.identity)
        return Fetch(asked, tuple(match for match in self.element_matches if match.path not in done), trim)


def parse(projection: Mapping[str, Any] | Iterable[str] | None) -> Projection | None:
    """A projection of pymongo's `find`, understood; None only for None: an empty one leaves nothing out.

    `ValueError` for the positional `$`, for `$meta` and for fields that the server would compute (since MongoDB 4.4
    a string, a list or null is a constant, and `{"$add": ...}` an expression): none of them is defined for a document
    that is upgraded after it was read. `ValueError`, too, for what the server refuses: inclusion beside exclusion,
    paths inside one another, names that are not paths. `TypeError` when it is no mapping or list of names.
    """
    if projection is None:
        return None
    identity: bool | None = None
    leaves: list[tuple[str, Leaf]] = []
    for path, leaf in leaves_of(as_mapping(projection), ""):
        if path == "_id" and isinstance(leaf, bool):
            identity = leaf
        else:
            leaves.append((path, leaf))
    if identity is not None and any(top(path) == "_id" for path, _ in leaves):
        raise ValueError("The projection names '_id' and a path inside it. Name one of the two.")
    includes = is_inclusion(leaves, identity)
    shown = identity is not False
    trim = compile_trim(leaves, frozenset(), includes=includes, identity=shown)
    matches = tuple(leaf for _, leaf in leaves if isinstance(leaf, ElementMatch))
    return Projection(includes, shown, tuple(leaves), Fetch(None, matches, trim))


def is_inclusion(leaves: Sequence[tuple[str, Leaf]], identity: bool | None) -> bool:  # noqa: FBT001 (None: not said)
    """Whether a projection names what is given; `$slice` and `$elemMatch` go with either, and decide when alone."""
    named = {leaf: path for path, leaf in reversed(leaves) if isinstance(leaf, bool)}
    if len(named) == 2:
        raise ValueError(
            f"The projection includes {named[True]!r} and excludes {named[False]!r}, which MongoDB refuses. Do one of "
            "the two; only '_id' can be excluded beside fields that are included."
        )
    if named:
        return True in named
    if not leaves and identity is None:
        return False  # an empty projection leaves nothing out
    if identity:
        return True
    return bool(leaves) and not any(isinstance(leaf, Slice) for _, leaf in leaves)


def as_mapping(projection: Any) -> Mapping[str, Any]:
    """A projection as a mapping; a list or set of names includes them."""
    if isinstance(projection, Mapping):
        return projection
    if isinstance(projection, (Sequence, AbstractSet)) and not isinstance(projection, (str, bytes)):
        return dict.fromkeys(projection, 1)
    raise TypeError(
        f"A projection is a mapping or a list of field names, not a {type(projection).__name__}. Write ['a', 'b.c']."
    )


def leaves_of(asked: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Leaf]]:
    """The dotted paths of a projection, those of nested mappings included, and what each asks for."""
    for name, value in asked.items():
        if not isinstance(name, str):
            raise TypeError(f"A projection names fields by strings, and {name!r} is none. Write a dotted path.")
        path = prefix + name
        for part in name.split("."):
            if part == "$":
                refuse(path, "the positional operator depends on the filter, which saw the stored document")
            if not part or "\0" in part or (part.startswith("$") and part not in REFERENCE):
                raise ValueError(
                    f"The projection names {path!r}, which is not a path: its parts are not empty, hold no NUL and do "
                    "not begin with '$'. Correct it."
                )
        if isinstance(value, (int, float)):
            yield path, bool(value)
        elif isinstance(value, Decimal128):
            yield path, bool(value.to_decimal())
        elif not isinstance(value, Mapping):
            refuse(path, f"a {type(value).__name__} there is a constant that the server sets")
        elif not value:
            raise ValueError(f"The projection of {path!r} is empty, which MongoDB refuses. Write 1 for all of it.")
        elif all(str(key).partition(".")[0] in REFERENCE or not str(key).startswith("$") for key in value):
            yield from leaves_of(value, path + ".")
        else:
            yield path, operator(path, value)


def operator(path: str, value: Mapping[str, Any]) -> Leaf:
    """The operator in a projection of one path."""
    name = next(str(key) for key in value if str(key).startswith("$"))
    if len(value) > 1:
        raise ValueError(f"The projection of {path!r} has {name!r} beside other keys, which MongoDB refuses. Name one.")
    if name not in ("$slice", "$elemMatch"):
        refuse(path, f"{name} there is computed by the server")
    argument = value[name]
    if name == "$slice":
        return as_slice(path, argument)
    if "." in path or not isinstance(argument, Mapping):
        raise ValueError(
            f"$elemMatch in the projection of {path!r}: it takes a condition, and stands at a top-level field. Project "
            "the top-level field."
        )
    return ElementMatch(path, argument)


def as_slice(path: str, argument: Any) -> Slice:
    """The argument of `$slice`."""
    given = list(argument) if isinstance(argument, ARRAYS) else [argument]
    if not all(isinstance(n, (int, float)) and not isinstance(n, bool) and n % 1 == 0 for n in given):
        given = []
    match [int(n) for n in given]:
        case [count] if not isinstance(argument, ARRAYS):
            return Slice(0, count, count) if count >= 0 else Slice(count, None, count)
        case [skip, limit] if limit > 0:
            return Slice(skip, limit, (skip, limit))
        case _:
            raise ValueError(
                f"The $slice of {path!r} is not n, -n or [skip, limit] in whole numbers with a limit above 0. Correct "
                "it, or leave it out and slice in Python."
            )


def refuse(path: str, reason: str) -> NoReturn:
    """The error for what cannot be said of a document that is upgraded after it was read."""
    raise ValueError(
        f"The projection of {path!r} cannot be done on an upgraded document: {reason}. Ask for the field itself and do "
        "it in Python, or use .raw for documents as they are stored."
    )


def as_asked(leaf: Leaf) -> Any:
    """A leaf in the language of the server."""
    match leaf:
        case bool():
            return int(leaf)
        case Slice():
            return {"$slice": list(leaf.asked) if isinstance(leaf.asked, tuple) else leaf.asked}
        case ElementMatch():
            return {"$elemMatch": leaf.condition}


def top(path: str) -> str:
    """The top-level field of a dotted path."""
    return path.partition(".")[0]


def addressable(name: str) -> bool:
    """Whether a projection can name a top-level field."""
    return "." not in name and (not name.startswith("$") or name in REFERENCE)
