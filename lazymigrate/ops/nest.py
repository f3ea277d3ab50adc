"""`nest([paths], under)`: gather fields into a subdocument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation, OperationError, Step
from lazymigrate.paths import (
    all_of,
    drop_,
    get_,
    missing_,
    overlap,
    passable_,
    plain_,
    put,
    put_,
    reach,
    split_path,
    unpruned_,
)
from lazymigrate.sequence import bound, composed

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["Nest", "field_names", "nest"]


@dataclass(frozen=True, slots=True)
class Nest(Operation):
    """Move the values at the paths into the subdocument `under`, each under the last name of its path."""

    paths: tuple[str, ...]
    under: str

    def __str__(self) -> str:
        return f"{', '.join(self.paths)} → {self.under} {{}}"

    @property
    def _sources(self) -> list[tuple[tuple[str, ...], str]]:
        return [(parts, parts[-1]) for parts in map(split_path, self.paths)]

    def compile(self) -> Step:
        under = self.under
        *parents, home = split_path(under)
        holders = tuple(parents)
        sources = [(parts[:-1], name, path) for path, (parts, name) in zip(self.paths, self._sources, strict=True)]

        def gather(document: dict[str, Any]) -> None:
            found: list[tuple[dict[str, Any], str, str]] = []
            for above, name, path in sources:
                source = reach(document, above, path) if above else document
                if source is not None and name in source:
                    found.append((source, name, path))
            if not found:
                return
            holder = put(document, holders, under) if holders else document
            target = holder.get(home, {})
            if not isinstance(target, dict):
                raise OperationError(f"the target {under!r} is already present, and is not a document")
            for _, name, path in found:
                if name in target:
                    raise OperationError(f"the target '{under}.{name}' is already present beside {path!r}")
            for source, name, _ in found:
                target[name] = source.pop(name)
            holder[home] = target

        return gather

    def expression(self, document: Expression) -> Expression:
        under = split_path(self.under)

        def drop(parts: tuple[str, ...]) -> Callable[[Expression], Expression]:
            return lambda document: drop_(document, parts)

        def gathered(document: Expression) -> Expression:
            kept = composed(document, [drop(parts) for parts, _ in self._sources])
            target = {"$mergeObjects": [get_(document, under), *(_piece(document, *pair) for pair in self._sources)]}
            moved = {"$let": {"vars": {"kept": kept, "target": target}, "in": put_("$$kept", under, "$$target")}}
            return {"$cond": [self._none(document), document, moved]}

        return bound(document, gathered)

    def safe(self, document: Expression) -> Expression:
        under = split_path(self.under)

        def conditions(document: Expression) -> Expression:
            free = [
                {"$or": [missing_(document, parts), missing_(document, (*under, name))]}
                for parts, name in self._sources
            ]
            target = {"$or": [missing_(document, under), all_of([plain_(get_(document, under)), *free])]}
            fits = {"$or": [self._none(document), all_of([passable_(document, under), target])]}
            return all_of([*(passable_(document, parts) for parts, _ in self._sources), fits])

        return bound(document, conditions)

    def _none(self, document: Expression) -> Expression:
        return all_of(missing_(document, parts) for parts, _ in self._sources)

    def reverse(self) -> Operation:
        from lazymigrate.ops.flatten import Flatten

        return Flatten(self.under, self.paths, prunes=True)

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import At, Either, Inside, Nothing

        under, sources = split_path(self.under), [source for source, _ in self._sources]
        for source in sources:
            target = (*under, source[-1])
            if parts[: len(target)] == target:
                return Either(source, At(source + parts[len(target) :]), At(parts), exclusive=True)
            if parts[: len(source)] == source:
                return Nothing()
        if under[: len(parts)] == parts:
            return Inside(parts, tuple(sources))
        return Inside(parts) if any(source[: len(parts)] == parts for source in sources) else At(parts)

    def effects(self) -> Effects:
        targets = tuple(f"{self.under}.{name}" for _, name in self._sources)
        return Effects(reads=self.paths, sets=targets, removes=self.paths)

    def restores(self, document: Expression) -> Expression:
        under = split_path(self.under)

        def conditions(document: Expression) -> Expression:
            value = get_(document, under)
            made = all_of([missing_(document, under), {"$or": [self._none(document), unpruned_(document, under)]}])
            apart = [missing_(document, (*under, name)) for _, name in self._sources]
            joined = all_of([plain_(value), {"$ne": [value, {"$literal": {}}]}, *apart])
            sources = [passable_(document, parts) for parts, _ in self._sources]
            return all_of([*sources, passable_(document, under), {"$or": [made, joined]}])

        return bound(document, conditions)


def _piece(document: Expression, parts: tuple[str, ...], name: str) -> Expression:
    """A document of one field, the value at a path; an empty one where nothing is there."""
    empty: Expression = {"$literal": {}}
    field = {"$setField": {"field": {"$literal": name}, "input": empty, "value": get_(document, parts)}}
    return {"$cond": [missing_(document, parts), empty, field]}


def field_names(paths: Any, label: str) -> tuple[str, ...]:
    """The paths of a declaration as a tuple; `SchemaError` unless they are several of different last names."""
    if isinstance(paths, (str, bytes)) or not isinstance(paths, Iterable):
        raise SchemaError(f"{label}: the fields are a list of paths. Write ['a', 'b'].")
    listed = tuple(paths)
    if not listed:
        raise SchemaError(f"{label} names no fields. Name those that are to be moved.")
    seen: dict[str, str] = {}
    for path in listed:
        name = split_path(path)[-1]
        if name in seen:
            raise SchemaError(
                f"{label}: {seen[name]!r} and {path!r} have the same last name. Rename one of them before."
            )
        for other in seen.values():
            if overlap(path, other):
                raise SchemaError(f"{label}: {path!r} and {other!r} are inside one another. Name the outer one only.")
        seen[name] = path
    return listed


def nest(paths: Iterable[str], under: str) -> Operation:
    """Move the fields at `paths` into the subdocument `under`, in the order given; absent ones are left out.

    Each keeps its last name. Where none of them is there nothing is made; a subdocument that is there already gets them
    appended. It is an `UpgradeError` when one of the names is already in it, or when `under` is anything else than a
    document. Backwards they are flattened to the places where they were.
    """
    split_path(under)
    label = f"nest(..., {under!r})"
    names = field_names(paths, label)
    for path in names:
        if overlap(path, under):
            raise SchemaError(
                f"{label}: {path!r} and {under!r} are the same, or inside one another. Rename one of them before."
            )
    return Nest(names, under)
