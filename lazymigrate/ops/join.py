"""`join([...], into, with_=" ")`: several strings become one.

Also what `split`, its way back, shares with it: which values are texts, the check of several paths, and three
expressions: `bound`, `joined_` and `prune_`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from bson.code import Code

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation, OperationError, Step
from lazymigrate.ops.constants import constant
from lazymigrate.paths import (
    Parts,
    all_of,
    drop_,
    get_,
    in_sequence,
    missing_,
    overlap,
    passable_,
    prune,
    put,
    put_,
    reach,
    split_path,
    unpruned_,
)

__all__ = ["Join", "bound", "has_type_", "is_text", "join", "joined_", "prune_", "separate"]


def is_text(value: Any) -> TypeGuard[str]:
    """Whether a value is a BSON string; stored code decodes to a `str` too, and is none."""
    return isinstance(value, str) and not isinstance(value, Code)


def separate(paths: Any, other: str, where: str) -> tuple[str, ...]:
    """Two or more paths as a tuple, `SchemaError` unless each is a place of its own; `other` may be one of them."""
    if not isinstance(paths, (list, tuple)):
        raise SchemaError(f"{where}: {type(paths).__name__} is not a list of paths. Write them as ['a', 'b'].")
    if len(paths) < 2:
        raise SchemaError(f"{where}: it takes two paths or more, and has {len(paths)}. For a single one use rename.")
    for path in paths:
        split_path(path)
    listed = tuple(paths)
    pairs = [(one, two) for index, one in enumerate(listed) for two in listed[:index]]
    for one, two in [*pairs, *((path, other) for path in listed if path != other)]:
        if overlap(one, two):
            raise SchemaError(
                f"{where}: {one!r} and {two!r} are the same, or one is inside the other. Name places that are apart, "
                "and use nest or flatten for the rest."
            )
    return listed


def bound(document: Expression, build: Callable[[Expression], Expression]) -> Expression:
    """What is built on a document, which is evaluated once and hidden by no variable inside."""
    if document == "$$ROOT":
        return build(document)
    return {"$let": {"vars": {"before": document}, "in": build("$$before")}}


def has_type_(value: Expression, *types: str) -> Expression:
    """True where a value is of one of these BSON types."""
    return {"$in": [{"$type": value}, list(types)]}


def joined_(values: Expression, separator: str) -> Expression:
    """The non-empty strings of an array, joined; null when there are none."""
    filled = {"$gt": [{"$strLenBytes": "$$part"}, 0]}  # compared by length: a collation holds odd texts for equal to ""
    both = {"$concat": ["$$value", {"$literal": separator}, "$$this"]}
    return {
        "$reduce": {
            "input": {
                "$filter": {
                    "input": values,
                    "as": "part",
                    "cond": {"$cond": [has_type_("$$part", "string"), filled, False]},
                }
            },
            "initialValue": None,
            "in": {"$cond": [has_type_("$$value", "string"), both, "$$this"]},
        }
    }


def prune_(document: Expression, parents: Parts) -> Expression:
    """The document without those parents of a path that are empty, from the innermost outwards."""

    def without_empty(place: Parts) -> Callable[[Expression], Expression]:
        return lambda document: {
            "$cond": [{"$eq": [get_(document, place), {"$literal": {}}]}, drop_(document, place), document]
        }

    return in_sequence(document, [without_empty(parents[:depth]) for depth in range(len(parents), 0, -1)])


@dataclass(frozen=True, slots=True)
class Join(Operation):
    """The non-empty strings among the sources become one at `into`; the sources go.

    `prunes` (the way back of an operation that made parents) also removes parents of the sources that are then empty.
    """

    paths: tuple[str, ...]
    into: str
    with_: str = " "
    prunes: bool = False

    def __str__(self) -> str:
        return f"{', '.join(self.paths)} → {self.into}"

    def compile(self) -> Step:
        into_path, with_, prunes = self.into, self.with_, self.prunes
        *into_parents, into = split_path(into_path)
        holders = tuple(into_parents)
        sources = [(path, parts[:-1], parts[-1]) for path in self.paths for parts in [split_path(path)]]
        in_place = into_path in self.paths

        def join_present(document: dict[str, Any]) -> None:
            texts: list[str] = []
            present: list[tuple[dict[str, Any], str, Parts, str]] = []
            for path, parents, name in sources:
                holder = reach(document, parents, path) if parents else document
                if holder is None or name not in holder:
                    continue
                value = holder[name]
                if type(value) is str or is_text(value):
                    if value:
                        texts.append(value)
                elif value is not None:
                    raise OperationError(f"the value at {path!r} is neither a string nor null, and cannot be joined")
                present.append((holder, name, parents, path))
            if texts:
                target = put(document, holders, into_path) if holders else document
                if into in target and not in_place:
                    raise OperationError(f"the target {into_path!r} of a join is already present")
                target[into] = with_.join(texts)
            for holder, name, _, path in present:
                if not texts or path != into_path:
                    del holder[name]
            if prunes:
                for _, _, parents, _ in present:
                    prune(document, parents)

        return join_present

    def _values(self, document: Expression) -> list[Expression]:
        return [get_(document, split_path(path)) for path in self.paths]

    def expression(self, document: Expression) -> Expression:
        into = split_path(self.into)
        sources = [split_path(path) for path in self.paths]
        others = [source for source in sources if source != into]

        def changed(before: Expression) -> Expression:
            def without(source: Parts) -> Callable[[Expression], Expression]:
                return lambda document: drop_(document, source)

            def pruned(parents: Parts) -> Callable[[Expression], Expression]:
                taken = [source for source in sources if source[:-1] == parents]
                return lambda document: {"$cond": [_none_(before, taken), document, prune_(document, parents)]}

            def with_text(document: Expression) -> Expression:
                bare = drop_(document, into) if self.into in self.paths else document
                return {"$cond": [has_type_("$$text", "string"), put_(document, into, "$$text"), bare]}

            steps = [*map(without, others), with_text]
            if self.prunes:
                steps += [pruned(parents) for parents in dict.fromkeys(source[:-1] for source in sources) if parents]
            text = joined_(self._values(before), self.with_)
            return {"$let": {"vars": {"text": text}, "in": in_sequence(before, steps)}}

        return bound(document, changed)

    def safe(self, document: Expression) -> Expression:
        return bound(document, self._safe)

    def _safe(self, document: Expression) -> Expression:
        into = split_path(self.into)
        sources = [split_path(path) for path in self.paths]
        conditions = [passable_(document, source) for source in sources]
        conditions += [has_type_(value, "string", "null", "missing") for value in self._values(document)]
        if self.into not in self.paths:
            free = all_of([passable_(document, into), missing_(document, into)])
            conditions.append({"$or": [_none_(document, sources), free]})
        return all_of(conditions)

    def reverse(self) -> Operation | None:
        from lazymigrate.ops.split import Split

        return Split(self.into, self.paths, self.with_, prunes=True) if self.with_ else None

    def effects(self) -> Effects:
        removes = tuple(path for path in self.paths if path != self.into)
        return Effects(reads=self.paths, sets=(self.into,), removes=removes)

    def restores(self, document: Expression) -> Expression:
        return bound(document, self._restores) if self.with_ else False

    def _restores(self, document: Expression) -> Expression:
        from lazymigrate.ops.split import parts_

        into = split_path(self.into)
        values = self._values(document)
        free = all_of([passable_(document, into), missing_(document, into)])
        strings = all_of([has_type_(value, "string") for value in values])
        if self.into not in self.paths:
            strings = all_of([strings, unpruned_(document, into), free])
        # The parts of the joined text are the sources where their lengths are.
        part = {"$map": {"input": parts_("$$text", self.with_, len(values)), "as": "part", "in": _SIZE}}
        same = {"$eq": [[{"$strLenBytes": value} for value in values], part]}
        back = {
            "$let": {
                "vars": {"text": joined_(values, self.with_)},
                "in": {"$cond": [has_type_("$$text", "string"), same, False]},
            }
        }
        untouched = all_of([_none_(document, [split_path(path) for path in self.paths]), free])
        return all_of([self._safe(document), {"$or": [untouched, {"$cond": [strings, back, False]}]}])


_SIZE = {"$strLenBytes": "$$part"}


def _none_(document: Expression, places: Iterable[Parts]) -> Expression:
    return all_of([missing_(document, place) for place in places])


def join(paths: Sequence[str], into: str, with_: str = " ") -> Operation:
    """Join the strings at `paths`, in this order, into one at `into`: those that are absent, null or empty are left out.

    The sources go, and `into`, whose parents are made, may be one of them. Where no part is left `into` is not set. A
    source that is neither a string nor null is an `UpgradeError`, and so is an `into` that is present without being a
    source where there is a text to put there. Backwards it is `split`, which has no way to find where texts met that
    were joined with `""`: then there is no way back.
    """
    where = f"join({paths!r}, {into!r})"
    split_path(into)
    listed = separate(paths, into, where)
    if not isinstance(with_, str):
        raise SchemaError(f"{where}: with_ is a {type(with_).__name__}. Use a string.")
    return Join(listed, into, constant(with_, where))
