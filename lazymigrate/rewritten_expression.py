"""`$expr` before a change: the expression whose fields are found where they stood.

Field paths are turned round. Literals and variables are what they are; an expression that takes the document whole, or a
field by a name that it computes, is not turned round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lazymigrate.operation import Expression
from lazymigrate.origin import At, Constant, Either, Inside, Nothing, Origin, Parts
from lazymigrate.turning import NotTurnedError, Source

__all__ = ["fields_of", "turned_expression"]

_WHOLE: Final = ("$$ROOT", "$$CURRENT")
_OPAQUE: Final = frozenset({"$getField", "$setField", "$unsetField", "$function", "$accumulator", "$meta"})
LIMIT: Final = 500  # parts of one expression: a condition doubles with every move of one value


def turned_expression(expression: Expression, source: Source) -> Expression:
    """The expression before the change; the very same one where it sees no difference. `NotTurnedError` where there is none."""
    other = _turned(expression, source)
    if other is not expression and sum(1 for _ in _parts(other)) > LIMIT:
        raise NotTurnedError(())
    return other


def fields_of(expression: Expression) -> list[str]:
    """The field paths that an expression names, each once."""
    named = [part[1:] for part in _parts(expression) if isinstance(part, str) and _is_field(part)]
    return list(dict.fromkeys(named))


def _is_field(text: str) -> bool:
    return text.startswith("$") and not text.startswith("$$") and len(text) > 1


def _parts(expression: Expression) -> Iterator[Any]:
    """All that the server evaluates: a literal is not looked into."""
    yield expression
    if isinstance(expression, Mapping):
        for name, inner in expression.items():
            if name != "$literal":
                yield from _parts(inner)
    elif isinstance(expression, (list, tuple)):
        for inner in expression:
            yield from _parts(inner)


def _turned(expression: Expression, source: Source) -> Expression:
    match expression:
        case str():
            if expression.startswith("$$"):
                if expression.partition(".")[0] in _WHOLE:
                    raise NotTurnedError(())
                return expression
            return _field(expression, source) if _is_field(expression) else expression
        case {"$type": str(path), **others} if not others and _is_field(path):
            origin = source.origin(tuple(path[1:].split(".")))
            if isinstance(origin, Inside) and not origin.made:  # it is of the type that it was
                return expression
            field = _field(path, source)
            return expression if field is path else {"$type": field}
        case Mapping():
            return _mapping(expression, source)
        case list() | tuple():
            items = [_turned(inner, source) for inner in expression]
            return expression if all(map(_same, expression, items)) else items
        case _:
            return expression


def _same(one: Any, other: Any) -> bool:
    return one is other


def _mapping(expression: Mapping[str, Any], source: Source) -> Expression:
    if "$literal" in expression:
        return expression
    if not _OPAQUE.isdisjoint(expression):
        raise NotTurnedError(())
    match expression.get("$let"):
        case {"vars": Mapping() as bound} if "CURRENT" in bound:
            raise NotTurnedError(())
        case _:
            pass
    inner = {name: _turned(value, source) for name, value in expression.items()}
    return expression if all(map(_same, expression.values(), inner.values())) else inner


def _field(text: str, source: Source) -> Expression:
    parts = tuple(text[1:].split("."))
    origin = source.origin(parts)
    return text if origin == At(parts) else _found(origin, parts)


def _found(origin: Origin, parts: Parts) -> Expression:
    match origin:
        case At(place):
            return _path(place)
        case Constant(value):
            return {"$literal": value}
        case Nothing():
            return "$$REMOVE"
        case Either(where, first, second, document):
            kind = {"$type": _path(where)}
            if document:
                return {"$cond": [{"$eq": [kind, "object"]}, _found(first, parts), _found(second, parts)]}
            return {"$cond": [{"$eq": [kind, "missing"]}, _found(second, parts), _found(first, parts)]}
        case _:
            raise NotTurnedError(parts)


def _path(parts: Parts) -> str:
    if any(not name or name.startswith("$") for name in parts):
        raise NotTurnedError(parts)
    return "$" + ".".join(parts)
