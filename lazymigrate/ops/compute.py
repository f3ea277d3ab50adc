"""`compute(path, python=..., mongo=...)`: a value that is said twice, for Python and for MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lazymigrate.documents import copy_value
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation, Step
from lazymigrate.ops.constants import constant
from lazymigrate.paths import passable_, put, put_, split_path
from lazymigrate.restricted import Function, check_function, held

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = ["Compute", "ComputeBack", "compute"]

_ELSEWHERE: Final = {
    "$$ROOT": "write $$CURRENT for the document, which is right in a subdocument too",
    "$$NOW": "the two forms could never agree on the time: give a constant",
    "$$CLUSTER_TIME": "the two forms could never agree on the time: give a constant",
    "$rand": "the two forms could never agree on it: use call()",
    "$sampleRate": "the two forms could never agree on it: use call()",
}


@dataclass(frozen=True, slots=True)
class Compute(Operation):
    """Set the path to what `python` returns for the document; `mongo` says the same."""

    path: str
    python: Callable[[dict[str, Any]], Any]
    mongo: Expression
    back: Function | None = None

    def __str__(self) -> str:
        return f"{self.path} = {_name(self.python)}"

    def compile(self) -> Step:
        path, python = self.path, self.python
        *parents, name = split_path(path)
        holders = tuple(parents)

        def set_value(document: dict[str, Any]) -> None:
            value = copy_value(python(document))
            put(document, holders, path)[name] = value

        return set_value

    def expression(self, document: Expression) -> Expression:
        value = {"$let": {"vars": {"CURRENT": document}, "in": {"$ifNull": [self.mongo, None]}}}
        return put_(document, split_path(self.path), value)

    def safe(self, document: Expression) -> Expression:
        return passable_(document, split_path(self.path))

    def reverse(self) -> Operation | None:
        return None if self.back is None else ComputeBack(self.path, self.back)

    @property
    def changes(self) -> frozenset[str]:
        return frozenset({split_path(self.path)[0]})

    def origin(self, parts: Parts) -> Origin:
        from lazymigrate.origin import At, Computed, Inside

        path = split_path(self.path)
        if parts[: len(path)] == path:
            return Computed()
        return Inside(parts, ((),)) if path[: len(parts)] == parts else At(parts)

    def effects(self) -> Effects:
        return Effects(reads=tuple(dict.fromkeys(_fields(self.mongo))), sets=(self.path,))

    @property
    def unbounded(self) -> bool:
        """Its callables are given the whole document: what they use of it is not known."""
        return True


@dataclass(frozen=True, slots=True)
class ComputeBack(Operation):
    """The way back of `compute`: a plain function on the whole document."""

    path: str
    function: Function

    def __str__(self) -> str:
        return f"{self.path}: back by {_name(self.function)}"

    def compile(self) -> Step:
        return held(self.function, f"compute({self.path!r}, back={_name(self.function)})")

    def expression(self, document: Expression) -> Expression:  # noqa: ARG002
        raise SchemaError(
            f"The way back of compute({self.path!r}) is a plain function and has no form inside MongoDB. Declare it with "
            "other operations."
        )

    def safe(self, document: Expression) -> Expression:  # noqa: ARG002
        return False

    def reverse(self) -> Operation | None:
        return None

    def effects(self) -> Effects:
        return Effects(computes=(self.path,))

    @property
    def renders(self) -> bool:
        return False

    @property
    def unbounded(self) -> bool:
        """The function is given the whole document: what it uses and changes is not known."""
        return True


def _name(function: object) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _words(expression: Expression) -> Iterator[tuple[str, bool]]:
    """The strings that MongoDB would evaluate, and the names of operators and fields (True), of an expression."""
    if isinstance(expression, str):
        yield expression, False
    elif isinstance(expression, dict):
        for name, inner in expression.items():
            yield name, True
            if name != "$literal":
                yield from _words(inner)
    elif isinstance(expression, list):
        for inner in expression:
            yield from _words(inner)


def _fields(expression: Expression) -> Iterator[str]:
    """The paths that an expression names, but the _id, which nothing can change."""
    for text, is_name in _words(expression):
        path = text.removeprefix("$$CURRENT.") if text.startswith("$$CURRENT.") else text.removeprefix("$")
        if not is_name and text.startswith("$") and not path.startswith("$") and path.split(".")[0] not in ("", "_id"):
            yield path


def compute(
    path: str, *, python: Callable[[dict[str, Any]], Any], mongo: Expression, back: Function | None = None
) -> Operation:
    """Set `path` to what `python(document)` returns, in Python; inside MongoDB, to the value of the expression `mongo`.

    That the two agree, types included (`int` or `long`, `double` or `decimal`), is yours to say and the library's to
    check with `lazymigrate verify`; `mongo` must not fail on any document. `python` must not change the document; what it
    raises is an `UpgradeError`, and None sets null, as a missing value of `mongo` does. A field that is there is replaced
    in place. `mongo` names fields as "$field" and the document as "$$CURRENT". `back(document)` is a plain function that
    changes the document and returns None; without it there is no way back.
    """
    split_path(path)
    where = f"compute({path!r})"
    check_function(python, f"{where}: python")
    if back is not None:
        check_function(back, f"{where}: back")
    expression = constant(mongo, f"{where}: mongo")
    for text, _ in _words(expression):
        found = next((name for name in _ELSEWHERE if text == name or text.startswith(name + ".")), None)
        if found is not None:
            raise SchemaError(f"{where}: mongo uses {found}, which cannot be exact; {_ELSEWHERE[found]}.")
    return Compute(path, python, expression, back)
