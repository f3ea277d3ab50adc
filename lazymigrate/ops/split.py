"""`split(path, into=[...], on=" ")`: one string becomes several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation, OperationError, Step
from lazymigrate.ops.constants import constant
from lazymigrate.ops.join import Join, bound, has_type_, is_text, joined_, prune_, separate
from lazymigrate.paths import (
    Parts,
    all_of,
    drop_,
    get_,
    in_sequence,
    missing_,
    passable_,
    prune,
    put,
    put_,
    reach,
    split_path,
    unpruned_,
)

__all__ = ["Split", "parts_", "split"]


def parts_(text: Expression, separator: str, count: int) -> Expression:
    """The parts of a string as an array of `count`: the last holds the rest, and missing ones are empty.

    Made with `$indexOfBytes`, since `$split` has no limit; a match in UTF-8 never begins or ends inside a character.
    """
    rest = "$$value.rest"
    head = {"$substrBytes": [rest, 0, "$$at"]}
    tail = {"$substrBytes": [rest, {"$add": ["$$at", len(separator.encode())]}, -1]}
    step = {
        "$let": {
            "vars": {"at": {"$indexOfBytes": [rest, {"$literal": separator}]}},
            "in": {
                "$cond": [
                    {"$lt": ["$$at", 0]},
                    {"parts": {"$concatArrays": ["$$value.parts", [rest]]}, "rest": ""},
                    {"parts": {"$concatArrays": ["$$value.parts", [head]]}, "rest": tail},
                ]
            },
        }
    }
    found = {"input": {"$range": [0, count - 1]}, "initialValue": {"parts": [], "rest": text}, "in": step}
    return {
        "$let": {
            "vars": {"found": {"$reduce": found}},
            "in": {"$concatArrays": ["$$found.parts", ["$$found.rest"]]},
        }
    }


@dataclass(frozen=True, slots=True)
class Split(Operation):
    """The string at `path` becomes its parts at the paths of `into`; where it is absent nothing happens.

    `prunes` (the way back of an operation that made parents) also removes parents of `path` that are then empty.
    """

    path: str
    into: tuple[str, ...]
    on: str = " "
    prunes: bool = False

    def __str__(self) -> str:
        return f"{self.path} → {', '.join(self.into)}"

    def compile(self) -> Step:
        path, on, count, prunes = self.path, self.on, len(self.into), self.prunes
        most = count - 1
        *parents, name = split_path(path)
        holders = tuple(parents)
        targets = [(target, parts[:-1], parts[-1]) for target in self.into for parts in [split_path(target)]]
        in_place = path in self.into

        def spread(document: dict[str, Any]) -> None:
            source = reach(document, holders, path) if holders else document
            if source is None or name not in source:
                return
            value = source[name]
            parts: list[str] | list[None]
            if type(value) is str or is_text(value):
                parts = value.split(on, most)
                if len(parts) < count:
                    parts += [""] * (count - len(parts))
            elif value is None:
                parts = [None] * count
            else:
                raise OperationError(f"the value at {path!r} is neither a string nor null, and cannot be split")
            if not in_place:
                del source[name]
            for (target_path, target_parents, target), part in zip(targets, parts, strict=True):
                holder = put(document, target_parents, target_path) if target_parents else document
                if target in holder and target_path != path:
                    raise OperationError(f"the target {target_path!r} is already present beside {path!r}")
                holder[target] = part
            if prunes:
                prune(document, holders)

        return spread

    def expression(self, document: Expression) -> Expression:
        source = split_path(self.path)

        def changed(before: Expression) -> Expression:
            def with_part(index: int, target: Parts) -> Callable[[Expression], Expression]:
                return lambda document: put_(document, target, {"$arrayElemAt": ["$$parts", index]})

            steps = [with_part(index, split_path(target)) for index, target in enumerate(self.into)]
            if self.path not in self.into:
                steps.insert(0, lambda document: drop_(document, source))
            if self.prunes:
                steps.append(lambda document: prune_(document, source[:-1]))
            value = get_(before, source)
            # An element of null is null, so that null becomes null everywhere.
            parts = {"$cond": [has_type_(value, "string"), parts_(value, self.on, len(self.into)), None]}
            spread = {"$let": {"vars": {"parts": parts}, "in": in_sequence(before, steps)}}
            return {"$cond": [missing_(before, source), before, spread]}

        return bound(document, changed)

    def _free_(self, document: Expression) -> Expression:
        """True where every target can be set."""
        others = [split_path(target) for target in self.into if target != self.path]
        return all_of(
            [passable_(document, target) for target in others] + [missing_(document, target) for target in others]
        )

    def safe(self, document: Expression) -> Expression:
        return bound(document, self._safe)

    def _safe(self, document: Expression) -> Expression:
        source = split_path(self.path)
        fit = all_of([has_type_(get_(document, source), "string", "null"), self._free_(document)])
        return all_of([passable_(document, source), {"$or": [missing_(document, source), fit]}])

    def reverse(self) -> Operation:
        return Join(self.into, self.path, self.on, prunes=True)

    def effects(self) -> Effects:
        sets = tuple(target for target in self.into if target != self.path)
        if self.path in self.into:
            return Effects(sets=sets, computes=(self.path,))
        return Effects(reads=(self.path,), sets=sets, removes=(self.path,))

    def restores(self, document: Expression) -> Expression:
        return bound(document, self._restores)

    def _restores(self, document: Expression) -> Expression:
        source = split_path(self.path)
        value = get_(document, source)
        # Each part that the way back leaves out, since it is empty, takes a separator with it: the length tells.
        same = {"$eq": [{"$strLenBytes": "$$text"}, {"$strLenBytes": value}]}
        back = {
            "$let": {
                "vars": {"text": joined_(parts_(value, self.on, len(self.into)), self.on)},
                "in": {"$cond": [has_type_("$$text", "string"), same, False]},
            }
        }
        string = all_of([has_type_(value, "string"), *(unpruned_(document, split_path(path)) for path in self.into)])
        restored = {"$or": [missing_(document, source), {"$cond": [string, back, False]}]}
        return {"$cond": [all_of([passable_(document, source), self._free_(document)]), restored, False]}


def split(path: str, into: Sequence[str], on: str = " ") -> Operation:
    """Split the string at `path` into at most `len(into)` parts: the last keeps the rest, and missing ones are `""`.

    Null becomes null at every target, and where `path` is absent nothing happens. The source goes, unless it is itself
    one of `into`; parents of targets are made. A value that is neither a string nor null is an `UpgradeError`, and so
    is a target that is already present. Backwards it is `join`, which restores a text in which no part is empty.
    """
    where = f"split({path!r}, into={into!r})"
    split_path(path)
    listed = separate(into, path, where)
    if not isinstance(on, str) or not on:
        raise SchemaError(f"{where}: on is {on!r}, and must be a non-empty string. Name the text between the parts.")
    return Split(path, listed, constant(on, where))
