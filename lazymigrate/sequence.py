"""Several operations, one after the other, as one operation on a document.

Each is judged (`safe`, `restores`) on what the ones before it gave, and only where these are safe: `$and` stops at the
first that is false, so that nothing is evaluated on a document that it is not defined on. Operations whose top-level
fields do not meet cannot see each other: they fall into *strands*, each judged on the original document. Within a
strand the composition is a balanced tree of `$let`, because BSON may be nested 180 levels deep at most and a plain
chain of operations is soon deeper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation, Step
from lazymigrate.paths import all_of, distinct_, get_, is_document_, overlap, put_

if TYPE_CHECKING:
    from lazymigrate.origin import Origin, Parts

__all__ = [
    "OperationSequence",
    "bound",
    "changed_before",
    "checked",
    "composed",
    "safe_in_sequence",
]

Rendering = Callable[[Expression], Expression]


@dataclass(frozen=True, slots=True)
class OperationSequence(Operation):
    """Operations applied in order; what the first gives is what the second gets."""

    operations: tuple[Operation, ...]

    def __str__(self) -> str:
        return "; ".join(str(operation) for operation in self.operations)

    def compile(self) -> Step:
        steps = [operation.compile() for operation in self.operations if not operation.empty]
        if len(steps) == 1:
            return steps[0]

        def run(document: dict[str, Any]) -> None:
            for step in steps:
                step(document)

        return run

    def expression(self, document: Expression) -> Expression:
        return composed(document, _renderings(self.operations))

    def safe(self, document: Expression) -> Expression:
        return safe_in_sequence(self.operations, document)

    def reverse(self) -> OperationSequence | None:
        reverses = [operation.reverse() for operation in reversed(self.operations)]
        known = tuple(reverse for reverse in reverses if reverse is not None)
        return OperationSequence(known) if len(known) == len(reverses) else None

    def effects(self) -> Effects:
        every = [operation.effects() for operation in self.operations]
        return Effects(
            reads=_joined(effects.reads for effects in every),
            sets=_joined(effects.sets for effects in every),
            removes=_joined(effects.removes for effects in every),
            computes=_joined(effects.computes for effects in every),
        )

    def apart(self) -> tuple[Operation, ...]:
        return tuple(part for operation in self.operations for part in operation.apart())

    def origin(self, parts: Parts) -> Origin:
        alone = len(self.operations) == 1
        return self.operations[0].origin(parts) if alone else Operation.origin(self, parts)

    def restores(self, document: Expression) -> Expression:
        strands = [[self.operations[index] for index in strand] for strand in _strands(self.operations)]

        def conjunction(document: Expression) -> Expression:
            conditions = [_restores(strand, document) for strand in strands]
            return False if False in conditions else all_of(conditions)

        return bound(document, conjunction)

    @property
    def renders(self) -> bool:
        return all(operation.renders for operation in self.operations)

    @property
    def empty(self) -> bool:
        return all(operation.empty for operation in self.operations)

    @property
    def unbounded(self) -> bool:
        """Whether one of them may use or change more of the document than its effects name."""
        return any(operation.unbounded for operation in self.operations)


def checked(
    operations: Sequence[Operation], label: str, forbidden: Mapping[str, str] | None = None
) -> OperationSequence:
    """The operations of a declaration as one; `SchemaError` when there is none, or they cannot follow each other.

    `forbidden` are paths that none may touch, with what they are called.
    """
    if not operations:
        raise SchemaError(f"{label} is given no operations. Name those that are to be applied, or leave it out.")
    gone: dict[str, Operation] = {}
    made: dict[str, Operation] = {}
    for operation in operations:
        if not isinstance(operation, Operation):
            raise SchemaError(
                f"{label}: {type(operation).__name__} is not an operation. Use those of lazymigrate.ops; a function "
                "becomes one with ops.call."
            )
        effects = operation.effects()
        for path in effects.paths:
            for other, what in (forbidden or {}).items():
                if overlap(path, other):
                    raise SchemaError(
                        f"{label}: '{operation}' targets {what}, which is not a revision's to change. Name another path."
                    )
        for path in (*effects.reads, *effects.removes, *effects.computes):
            for earlier, culprit in gone.items():
                if path == earlier or path.startswith(earlier + "."):
                    raise SchemaError(
                        f"{label}: '{operation}' needs {path!r}, which '{culprit}' has just taken away. Remove one of "
                        "the two."
                    )
        for earlier, culprit in made.items():
            taken = [path for path in effects.removes if earlier == path or earlier.startswith(path + ".")]
            for path in (*taken, *(path for path in effects.sets if overlap(path, earlier))):
                raise SchemaError(
                    f"{label}: '{operation}' changes {path!r}, and '{culprit}' has just set {earlier!r}. Say what is "
                    "meant in one operation, or in two revisions."
                )
        for path in effects.removes:
            gone[path] = operation
        for path in effects.sets:
            made[path] = operation
            gone.pop(path, None)
    return OperationSequence(tuple(operations))


def bound(value: Expression, render: Rendering) -> Expression:
    """What is rendered for a value, evaluated once; a variable is used as it is."""
    if isinstance(value, str) and "." not in value:
        return render(value)
    rendered = render("$$document")
    return rendered if isinstance(rendered, bool) else {"$let": {"vars": {"document": value}, "in": rendered}}


def composed(document: Expression, renderings: Sequence[Rendering]) -> Expression:
    """Renderings applied one after the other, each to what the one before it gave, as a balanced tree of `$let`."""
    if len(renderings) > 1:
        half = len(renderings) // 2
        first, second = composed(document, renderings[:half]), composed("$$document", renderings[half:])
        return {"$let": {"vars": {"document": first}, "in": second}}
    return bound(document, renderings[0]) if renderings else document


def changed_before(operations: Sequence[Operation], index: int) -> bool:
    """Whether an operation uses a top-level field that an earlier one changes."""
    later = operations[index]
    return any(_depends(later, earlier) for earlier in operations[:index])


def safe_in_sequence(
    operations: Sequence[Operation], document: Expression, judged: Sequence[int] | None = None
) -> Expression:
    """Where each operation is safe on what the ones before it gave; never raises, and False where one cannot render.

    A document with equal keys is never safe. With `judged`, only these (by index) are asked about, and the earlier ones that their judgement rests on.
    """
    asked = range(len(operations)) if judged is None else judged
    strands: list[list[Operation]] = []
    for strand in _strands(operations):
        last = max((index for index in strand if index in asked), default=-1)
        strands.append([operations[index] for index in strand if index <= last])
    if not all(operation.renders for strand in strands for operation in strand):
        return False

    def conjunction(document: Expression) -> Expression:
        return all_of([distinct_(document), *(_safe(strand, document) for strand in strands if strand)])

    return bound(document, conjunction)


def _safe(strand: Sequence[Operation], document: Expression) -> Expression:
    if len(strand) == 1:
        return strand[0].safe(document)
    half = len(strand) // 2
    first, later = _safe(strand[:half], document), _safe(strand[half:], "$$document")
    return first if later is True else all_of([first, _after(strand[:half], document, later)])


def _restores(strand: Sequence[Operation], document: Expression) -> Expression:
    if len(strand) == 1:
        return strand[0].restores(document)
    half = len(strand) // 2
    head = strand[:half]
    first, later = _restores(head, document), _restores(strand[half:], "$$document")
    if first is False or later is False:
        return False
    if later is True:
        return first
    if not all(operation.renders for operation in head):
        return False
    return all_of([first, _safe(head, document), _after(head, document, later)])


def _renderings(operations: Sequence[Operation]) -> list[Rendering]:
    """One for each operation, and one more wherever a field may be set that an earlier one has taken away.

    MongoDB puts such a field back in its old place, and Python appends it: the document is made anew in between.
    """
    renderings: list[Rendering] = []
    gone: set[str] = set()
    for operation in operations:
        if operation.empty:
            continue
        effects = operation.effects()
        given = _tops((*effects.sets, *effects.computes))
        again = {path for path in gone if path.split(".")[0] in given}
        levels = {tuple(path.split(".")[:depth]) for path in again for depth in range(path.count(".") + 1)}
        renderings += [_anew(level) for level in sorted(levels, key=len)]
        renderings.append(operation.expression)
        gone = (gone - again) | set(effects.removes)
    return renderings


def _anew(parts: tuple[str, ...]) -> Rendering:
    """The document, with the one at the path made anew: `$mergeObjects` forgets where removed fields stood."""
    if not parts:
        return lambda document: {"$mergeObjects": [document]}

    def render(document: Expression) -> Expression:
        anew = put_(document, parts, {"$mergeObjects": [get_(document, parts)]})
        return {"$cond": [is_document_(document, parts), anew, document]}

    return render


def _after(strand: Sequence[Operation], document: Expression, then: Expression) -> Expression:
    """An expression on `$$document`, what the operations make of a document."""
    given = composed(document, _renderings(strand))
    return {"$let": {"vars": {"document": given}, "in": then}}


def _strands(operations: Sequence[Operation]) -> list[list[int]]:
    """The operations by index, in order, put together where one uses a top-level field that another changes."""
    strands: list[list[int]] = []
    for index, operation in enumerate(operations):
        if operation.empty:
            continue
        met: list[int] = []
        apart: list[list[int]] = []
        for strand in strands:
            others = [operations[other] for other in strand]
            meets = any(_depends(operation, other) or _depends(other, operation) for other in others)
            if meets:
                met += strand
            else:
                apart.append(strand)
        strands = [*apart, [*sorted(met), index]]
    return strands


def _depends(one: Operation, other: Operation) -> bool:
    """Whether the one uses a top-level field that the other changes."""
    if one.empty or other.empty:
        return False
    if one.unbounded or other.unbounded:
        return True
    return not _tops(one.effects().paths).isdisjoint(_changes(other))


def _changes(operation: Operation) -> frozenset[str]:
    effects = operation.effects()
    return _tops((*effects.sets, *effects.removes, *effects.computes))


def _tops(paths: Sequence[str]) -> frozenset[str]:
    return frozenset(path.split(".")[0] for path in paths)


def _joined(groups: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path for group in groups for path in group))
