"""`replace_values(path, {old: new})`: map constants to constants."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation, Step
from lazymigrate.ops.constants import constant, copier
from lazymigrate.ops.conversions import same_bytes_
from lazymigrate.ops.exact import kind_of
from lazymigrate.paths import all_of, get_, passable_, put_, reach, split_path

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["ReplaceValues", "compared", "replace_values"]

_NOTHING: Final[Any] = ...
_NUMBERS: Final = ("int", "long", "double", "decimal")
_COMPARABLE: Final = (*_NUMBERS, "null", "bool", "string", "date", "objectId")
_OTHER: Final = ("object", "array", "binData", "regex", "javascript", "timestamp", "minKey", "maxKey")
_CODEC: Final[CodecOptions[Any]] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)


def compared(value: Any) -> Hashable:
    """Equal for two decoded values where MongoDB compares them as equal: 1 and 1.0 are, 1 and True are not."""
    kind = kind_of(value)
    if kind == "string":
        return kind, str(value)
    if kind in _NUMBERS:
        number = value.to_decimal() if kind == "decimal" else value
        nan = number.is_nan() if kind == "decimal" else math.isnan(number)
        return "number", "NaN" if nan else number
    if kind == "date":
        return kind, int(DatetimeMS(value)) if not isinstance(value, DatetimeMS) else int(value)
    if kind == "object" and isinstance(value, Mapping):
        return kind, tuple((name, compared(inner)) for name, inner in value.items())
    if kind == "array":
        return kind, tuple(map(compared, value))
    if kind in ("null", "bool", "objectId"):
        return kind, value
    try:
        return "bson", bson.encode({"": value}, codec_options=_CODEC)
    except Exception:
        return "nothing", id(value)


@dataclass(frozen=True, slots=True)
class ReplaceValues(Operation):
    """Replace the value at the path where it is one of the constants; a missing field stays missing."""

    path: str
    pairs: tuple[tuple[Any, Any], ...]
    otherwise: Any = _NOTHING

    def __str__(self) -> str:
        return f"{self.path}: {len(self.pairs)} {'value' if len(self.pairs) == 1 else 'values'} replaced"

    def compile(self) -> Step:
        path = self.path
        *parents, name = split_path(path)
        holders = tuple(parents)
        makers = {compared(old): copier(new) for old, new in self.pairs}
        other = None if self.otherwise is _NOTHING else copier(self.otherwise)

        texts = {old: makers[compared(old)] for old, _ in self.pairs if type(old) is str}

        def replace(document: dict[str, Any]) -> None:
            if name in document:
                value = document[name]
                make = texts.get(value, other) if type(value) is str else makers.get(compared(value), other)
                if make is not None:
                    document[name] = make()

        def replace_nested(document: dict[str, Any]) -> None:
            holder = reach(document, holders, path)
            if holder is not None:
                replace(holder)

        return replace_nested if holders else replace

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        value = get_(document, parts)
        branches = [{"case": _matches_("$$value", old), "then": {"$literal": new}} for old, new in self.pairs]
        default = "$$value" if self.otherwise is _NOTHING else {"$literal": self.otherwise}
        replaced = {"$let": {"vars": {"value": value}, "in": {"$switch": {"branches": branches, "default": default}}}}
        return {"$cond": [{"$eq": [{"$type": value}, "missing"]}, document, put_(document, parts, replaced)]}

    def safe(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        undecided = {kind_of(old) for old, _ in self.pairs}
        kinds = ["missing", *_COMPARABLE, *(kind for kind in _OTHER if kind not in undecided)]
        return all_of([passable_(document, parts), {"$in": [{"$type": get_(document, parts)}, kinds]}])

    def reverse(self) -> Operation | None:
        if self.otherwise is not _NOTHING or len({compared(new) for _, new in self.pairs}) < len(self.pairs):
            return None
        return ReplaceValues(self.path, tuple((new, old) for old, new in self.pairs))

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import At, Computed, Mapped, Nothing

        path = split_path(self.path)
        others = () if self.otherwise is _NOTHING else (self.otherwise,)
        if parts[: len(path)] != path:
            return Operation.origin(self, parts)
        if not all(
            kind_of(value) in _COMPARABLE for value in (*(value for pair in self.pairs for value in pair), *others)
        ):
            return Computed()
        if parts == path:
            return Mapped(parts, self.pairs, others)
        return Nothing() if others else At(parts)  # there is nothing in a scalar

    def effects(self) -> Effects:
        return Effects(computes=(self.path,))

    def restores(self, document: Expression) -> Expression:
        if self.reverse() is None:
            return False
        keys, values = [old for old, _ in self.pairs], [new for _, new in self.pairs]
        undecided = [kind for kind in (kind_of(new) for new in values) if kind not in _COMPARABLE]
        named = [_matches_("$$value", constant) for constant in (*keys, *values)]
        neither = [{"$not": [{"$or": named}]}, {"$not": [{"$in": [{"$type": "$$value"}, undecided]}]}]
        restored = {"$or": [*(_is_("$$value", key) for key in keys), {"$and": neither}]}
        value = get_(document, split_path(self.path))
        return all_of([self.safe(document), {"$let": {"vars": {"value": value}, "in": restored}}])


def _matches_(value: Expression, old: Any) -> Expression:
    """True where the value compares as equal to a constant of a type that MongoDB is asked about."""
    kind = kind_of(old)
    if kind == "string":
        return {"$cond": [{"$eq": [{"$type": value}, kind]}, same_bytes_(value, {"$literal": old}), False]}
    if kind == "null":
        return {"$eq": [{"$type": value}, kind]}
    return {"$eq": [value, {"$literal": old}]} if kind in _COMPARABLE else False


def _is_(value: Expression, old: Any) -> Expression:
    """True where the value is the constant in type and bytes; False for those of which it is hard to say."""
    kind = kind_of(old)
    if kind == "decimal" or (kind == "double" and (old == 0 or math.isnan(old))):
        return False
    return {"$and": [{"$eq": [{"$type": value}, kind]}, _matches_(value, old)]}


def replace_values(
    path: str, mapping: Mapping[Any, Any] | Iterable[tuple[Any, Any]], *, otherwise: Any = ...
) -> Operation:
    """Replace the value at `path` where it is one of the keys of `mapping`; other values are kept, or become
    `otherwise`, null too. Where the field is missing nothing happens.

    `mapping` is a dict or a list of pairs (old, new): for constants that are not hashable, and for 1 beside True,
    which are one key of a dict. They are compared as MongoDB compares them: 1 is 1.0, True is not 1, null is only
    null, and documents are equal with their fields in the same order. Backwards it is the inverse map, if no two old
    constants become the same new one and there is no `otherwise`. `SchemaError` for an old constant that is given
    twice, or one that BSON cannot hold.
    """
    split_path(path)
    where = f"replace_values({path!r}, ...)"
    pairs: list[tuple[Any, Any]] = []
    listed: Any = mapping.items() if isinstance(mapping, Mapping) else mapping
    if isinstance(listed, (str, bytes)) or not isinstance(listed, Iterable):
        raise SchemaError(f"{where}: the map is a {type(mapping).__name__}. Give a dict or a list of pairs (old, new).")
    for pair in listed:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise SchemaError(f"{where}: the list holds something that is no pair. Give a list of pairs (old, new).")
        pairs.append((constant(pair[0], where), constant(pair[1], where)))
    if not pairs:
        raise SchemaError(f"{where}: there is nothing to replace. Give at least one pair of constants.")
    seen: dict[Hashable, Any] = {}
    for old, _ in pairs:
        if compared(old) in seen:
            raise SchemaError(
                f"{where}: {old!r} and {seen[compared(old)]!r} are the same to MongoDB, and both are replaced. Keep one."
            )
        seen[compared(old)] = old
    return ReplaceValues(path, tuple(pairs), otherwise if otherwise is _NOTHING else constant(otherwise, where))
