"""`convert(path, to)`: give a value another BSON type, where it is exactly a value of that type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation, OperationError, Step
from lazymigrate.ops.conversions import CONVERSIONS
from lazymigrate.ops.exact import TYPES, InexactError, kind_of
from lazymigrate.paths import all_of, get_, passable_, put_, reach, split_path

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["BsonType", "Convert", "convert"]

BsonType = Literal["int", "long", "double", "decimal", "string", "bool", "date", "objectId"]


@dataclass(frozen=True, slots=True)
class Convert(Operation):
    """Convert the value at the path; null, and what has the type already, stays."""

    path: str
    to: str
    back: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.to}"

    def compile(self) -> Step:
        path, to = self.path, self.to
        *parents, name = split_path(path)
        holders = tuple(parents)
        ways = {source: way.python for (source, target), way in CONVERSIONS.items() if target == to}

        def change(document: dict[str, Any]) -> None:
            value = document.get(name)
            if value is None:
                return
            kind = "string" if type(value) is str else kind_of(value)
            if kind == to:
                return
            if kind not in ways:
                raise OperationError(f"the {kind or type(value).__name__} at {path!r} cannot be converted to {to!r}")
            try:
                document[name] = ways[kind](value)
            except InexactError:
                raise OperationError(f"the {kind} at {path!r} is not exactly a value of type {to!r}") from None

        def change_nested(document: dict[str, Any]) -> None:
            holder = reach(document, holders, path)
            if holder is not None:
                change(holder)

        return change_nested if holders else change

    def expression(self, document: Expression) -> Expression:
        parts = split_path(self.path)
        value = get_(document, parts)
        branches = [_case(source, way.mongo("$$value")) for source, way in self._ways()]
        converted = {
            "$let": {"vars": {"value": value}, "in": {"$switch": {"branches": branches, "default": "$$value"}}}
        }
        stays = {"$in": [{"$type": value}, ["missing", "null", self.to]]}
        return {"$cond": [stays, document, put_(document, parts, converted)]}

    def safe(self, document: Expression) -> Expression:
        branches = [_case(source, way.safe("$$value")) for source, way in self._ways()]
        stays = {"case": {"$in": [{"$type": "$$value"}, ["missing", "null", self.to]]}, "then": True}
        return self._judged(document, [stays, *branches])

    def _ways(self) -> list[tuple[str, Any]]:
        return [(source, way) for (source, target), way in CONVERSIONS.items() if target == self.to]

    def _judged(self, document: Expression, branches: list[Expression]) -> Expression:
        parts = split_path(self.path)
        judged = {"$switch": {"branches": branches, "default": False}}
        return all_of([passable_(document, parts), {"$let": {"vars": {"value": get_(document, parts)}, "in": judged}}])

    def reverse(self) -> Operation | None:
        return None if self.back is None else Convert(self.path, self.back, self.to)

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import Nothing, Remade

        path = split_path(self.path)
        if parts[: len(path)] != path:
            return Operation.origin(self, parts)
        return Remade(parts) if parts == path else Nothing()  # there is nothing in a scalar

    def effects(self) -> Effects:
        return Effects(computes=(self.path,))

    def restores(self, document: Expression) -> Expression:
        if self.back is None:
            return False
        way = CONVERSIONS[self.back, self.to]
        returns = {"$cond": [way.safe("$$value"), way.returns("$$value"), False]}
        stays = {"case": {"$in": [{"$type": "$$value"}, ["missing", "null"]]}, "then": True}
        return self._judged(document, [stays, _case(self.back, returns)])


def _case(kind: str, then: Expression) -> Expression:
    return {"case": {"$eq": [{"$type": "$$value"}, kind]}, "then": then}


def convert(path: str, to: BsonType, *, back: BsonType | None = None) -> Operation:
    """Give the value at `path` the BSON type `to`, and never a value that differs: "12" becomes the int 12, while
    " 12", "1e3" and 2.5 are an `UpgradeError`.

    Null, a missing field and a value that has the type already stay as they are. Numbers, booleans (`true` is 1 and
    "true"), ISO dates ("2020-01-31T12:00:00.000Z") and ObjectIds convert as far as they are exact. `back` is the type
    to convert to on the way back; without it there is none. `SchemaError` where no value of one type is one of the
    other.
    """
    split_path(path)
    for kind, what in ((to, "to"), (back, "back")):
        if kind not in TYPES and not (kind is None and what == "back"):
            raise SchemaError(f"convert({path!r}): {what}={kind!r} is not a type. Use one of {', '.join(TYPES)}.")
    if back is not None and (back, to) not in CONVERSIONS:
        reason = "are the same type" if back == to else "have no values in common"
        raise SchemaError(
            f"convert({path!r}, {to!r}, back={back!r}): the two {reason}. Name the type that the values had before, or "
            "leave back= out."
        )
    return Convert(path, to, back)
