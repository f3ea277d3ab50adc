"""`rename_keys(path, {old: new})`: rename some keys of a subdocument that is used as a map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation, OperationError, Step
from lazymigrate.ops.constants import constant
from lazymigrate.paths import (
    all_of,
    distinct_,
    get_,
    is_document_,
    missing_,
    passable_,
    plain_,
    put_,
    reach,
    split_path,
)
from lazymigrate.sequence import bound, composed

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["RenameKeys", "rename_keys"]


@dataclass(frozen=True, slots=True)
class RenameKeys(Operation):
    """Rename keys, all at the same time; a renamed one is appended, in the order given."""

    path: str
    keys: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.path}{{}} {', '.join(f'{old} → {new}' for old, new in self.keys)}"

    @property
    def _added(self) -> tuple[tuple[str, str], ...]:
        """The pairs whose new key does not itself become another."""
        old_keys = {old for old, _ in self.keys}
        return tuple(pair for pair in self.keys if pair[1] not in old_keys)

    def compile(self) -> Step:
        path, keys = self.path, self.keys
        *parents, name = split_path(path)
        holders = tuple(parents)

        def apply(document: dict[str, Any]) -> None:
            holder = reach(document, holders, path) if holders else document
            if holder is None or (values := holder.get(name)) is None:
                return
            if not isinstance(values, dict):
                raise OperationError(f"{path!r} is not a document")
            moved = [(old, new, values.pop(old)) for old, new in keys if old in values]
            for old, new, value in moved:
                if new in values:
                    raise OperationError(f"the key {new!r} is already present beside {old!r} in {path!r}")
                values[new] = value

        return apply

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)

        def without(old: str) -> Callable[[Expression], Expression]:
            return lambda values: {"$unsetField": {"field": {"$literal": old}, "input": values}}

        def renamed(values: Expression) -> Expression:
            kept = composed(values, [without(old) for old, _ in self.keys])
            return {"$mergeObjects": [kept, *(piece_(values, old, new) for old, new in self.keys)]}

        def changed(document: Expression) -> Expression:
            after = put_(document, parts, bound_(get_(document, parts), renamed))
            return {"$cond": [is_document_(document, parts), after, document]}

        return bound(document, changed)

    def safe(self, document: Expression) -> Expression:
        def free(values: Expression) -> list[Expression]:
            return [{"$or": [missing_(values, (old,)), missing_(values, (new,))]} for old, new in self._added]

        return self._where(document, free)

    def restores(self, document: Expression) -> Expression:
        return self._where(document, lambda values: [missing_(values, (new,)) for _, new in self._added])

    def _where(self, document: Expression, conditions: Callable[[Expression], list[Expression]]) -> Expression:
        parts = split_path(self.path)

        def judged(values: Expression) -> Expression:
            absent = {"$in": [{"$type": values}, ["missing", "null"]]}
            return {"$or": [absent, all_of([plain_(values), *conditions(values), distinct_(values)])]}

        return bound(
            document, lambda document: all_of([passable_(document, parts), bound_(get_(document, parts), judged)])
        )

    def reverse(self) -> RenameKeys:
        return RenameKeys(self.path, tuple((new, old) for old, new in self.keys))

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import At, Computed, Either, Nothing

        path = split_path(self.path)
        if len(parts) <= len(path) or parts[: len(path)] != path:
            return Operation.origin(self, parts)
        key, rest = parts[len(path)], parts[len(path) + 1 :]
        stayed = Nothing() if any(old == key for old, _ in self.keys) else At(parts)
        for old, new in self.keys:
            if new == key:
                if not key or not old or "." in old or old.startswith("$"):  # keys that not every path can name
                    return Computed()
                return Either((*path, old), At((*path, old, *rest)), stayed, exclusive=True)
        return stayed

    def effects(self) -> Effects:
        return Effects(computes=(self.path,))


def bound_(value: Expression, render: Callable[[Expression], Expression]) -> Expression:
    """As `bound`, and always a variable: keys of any spelling are only addressed in one."""
    return {"$let": {"vars": {"document": value}, "in": render("$$document")}}


def piece_(document: Expression, name: str, new: str) -> Expression:
    """A document of one field, the value of another one's under a new name; an empty one where there is no value."""
    empty: Expression = {"$literal": {}}
    value = get_(document, (name,))
    renamed = {"$setField": {"field": {"$literal": new}, "input": empty, "value": value}}
    return {"$cond": [missing_(document, (name,)), empty, renamed]}


def rename_keys(path: str, keys: Mapping[str, str]) -> Operation:
    """Rename keys of the subdocument at `path`, all at the same time; a renamed one is appended, in the order given.

    For a subdocument that is used as a map: its keys are constants and may be anything that BSON allows, also with dots,
    dollars or digits. Where an old key is absent nothing happens to it; a new one that is already there (and is not
    renamed itself) is an `UpgradeError`, and so is anything else than a document at `path`. Where that is missing or null
    nothing happens. Keys may be swapped. Backwards it is the inverse.
    """
    split_path(path)
    label = f"rename_keys({path!r}, ...)"
    if not isinstance(keys, Mapping) or not keys:
        raise SchemaError(f"{label} needs a mapping of old keys to new ones. Write {{'old': 'new'}}.")
    pairs = tuple(keys.items())
    for key in (key for pair in pairs for key in pair):
        if not isinstance(key, str) or "\0" in key:
            raise SchemaError(f"{label}: {key!r} is not a key. Keys are strings without NUL.")
        constant(key, label)
    for old, new in pairs:
        if new == "$ref":
            raise SchemaError(
                f"{label} makes a key '$ref', with which the driver reads a reference. Choose another name."
            )
        if old == new:
            raise SchemaError(f"{label} renames {old!r} to itself. Leave it out.")
    if len({new for _, new in pairs}) < len(pairs):
        raise SchemaError(f"{label} gives two keys the same new name. Give every old key a new one of its own.")
    return RenameKeys(path, pairs)
