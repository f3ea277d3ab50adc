"""One step of a schema's history, from version n-1 to n."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from traceback import walk_tb
from typing import Any, NoReturn, TypeVar

from lazymigrate.exceptions import IrreversibleError, SchemaError
from lazymigrate.operation import Operation, Step
from lazymigrate.restricted import (
    ABSENT,
    Function,
    check_function,
    field_names,
    held,
    keep_identity,
    refuse,
    restricted,
)
from lazymigrate.sequence import OperationSequence, checked

__all__ = ["ABSENT", "Function", "Revision", "check_function", "field_names", "keep_identity"]

F = TypeVar("F", bound=Function)


class Revision:
    """A step that upgrades a document, and downgrades it where there is a way back.

    Call it with a dict to test it: the dict is changed in place and nothing is returned. A revision made of
    operations is `declared`: it also runs inside MongoDB. It is made by `Schema.revision`, never directly.
    """

    __slots__ = (
        "_apart",
        "_back",
        "_changed",
        "_schema_name",
        "_step",
        "back_function",
        "description",
        "function",
        "name",
        "operations",
        "reads",
        "touches",
        "version",
        "version_field",
        "where",
    )

    def __init__(
        self,
        *,
        schema_name: str,
        version: int,
        version_field: str,
        name: str,
        where: str,
        changed: Callable[[], None],
        operations: tuple[Operation, ...] = (),
        function: Function | None = None,
        touches: frozenset[str] | None = None,
        reads: frozenset[str] = frozenset(),
    ) -> None:
        self.version = version
        self.version_field = version_field
        self.name = name
        self.where = where
        self.operations = operations
        self._apart: tuple[tuple[Operation, frozenset[str] | None], ...] | None = None
        self.function = function
        self.touches = touches
        self.reads = reads
        self.description = inspect.getdoc(function) or "" if function else ""
        self._schema_name = schema_name
        self._changed = changed
        self.back_function: Function | None = None
        if function is not None:
            self._step = self._guarded(function)
            self._back: Step | None = None
        else:
            never = {"_id": "the _id", version_field: "the version field"}
            self._step = checked(operations, self._label, never).compile()
            reverses = self.reverses
            self._back = None if reverses is None else OperationSequence(reverses).compile()

    @property
    def _label(self) -> str:
        return f"{self._schema_name}: revision {self.version} {self.name!r}"

    @property
    def declared(self) -> bool:
        """Whether it is made of operations that all run inside MongoDB, too."""
        return self.function is None and all(operation.renders for operation in self.operations)

    @property
    def obstacle(self) -> str:
        """What keeps it from running inside MongoDB."""
        calls = [str(operation) for operation in self.operations if not operation.renders]
        return f"has '{calls[0]}' among its operations" if calls else "is a plain function"

    @property
    def reversible(self) -> bool:
        """Whether it has a way back."""
        return self._back is not None

    @property
    def lossless(self) -> bool:
        """Whether the way back restores a document exactly (on the documents that its operations state)."""
        return self.back_of_operations and self.reversible and all(operation.lossless for operation in self.operations)

    @property
    def empty(self) -> bool:
        """Whether it changes no document: then the version moves and nothing needs rewriting."""
        return self.function is None and all(operation.empty for operation in self.operations)

    @property
    def fields(self) -> frozenset[str] | None:
        """The top-level fields it uses or changes; None when it may be any."""
        if self.function is not None:
            return None if self.touches is None else self.touches | self.reads
        if any(operation.unbounded for operation in self.operations):
            return None
        return frozenset(path.split(".")[0] for operation in self.operations for path in operation.effects().paths)

    @property
    def apart(self) -> tuple[tuple[Operation, frozenset[str] | None], ...]:
        """Its operations as simple ones, each with the top-level fields that it may change; found out once."""
        if self._apart is None:
            simple = (part for operation in self.operations for part in operation.apart() if not part.empty)
            self._apart = tuple((part, part.changes) for part in simple)
        return self._apart

    @property
    def changes(self) -> frozenset[str] | None:
        """The top-level fields that it may change; None when it may be any."""
        changes = [self.touches] if self.function is not None else [changes for _, changes in self.apart]
        known = [names for names in changes if names is not None]
        return frozenset[str]().union(*known) if len(known) == len(changes) else None

    @property
    def step(self) -> Step:
        """The closure that upgrades a document which has no version field, in place."""
        return self._step

    @property
    def unrestricted(self) -> Callable[[dict[str, Any]], object] | None:
        """The user's function where it may touch anything, for a caller that checks what it did; else None."""
        return self.function if self.touches is None else None

    @property
    def back_of_operations(self) -> bool:
        """Whether the way back is made of operations."""
        return self.function is None and self.back_function is None

    @property
    def declared_back(self) -> bool:
        """Whether the way back is made of operations that all run inside MongoDB, too."""
        reverses = self.reverses
        return self.back_of_operations and reverses is not None and all(reverse.renders for reverse in reverses)

    @property
    def reverses(self) -> tuple[Operation, ...] | None:
        """The operations of the way back: each reversed, the last first; None where one has none."""
        reverses = [operation.reverse() for operation in reversed(self.operations)]
        known = tuple(reverse for reverse in reverses if reverse is not None)
        return known if len(known) == len(reverses) else None

    @property
    def back(self) -> Step:
        """The closure that downgrades; `IrreversibleError` when there is none."""
        if self._back is None:
            raise IrreversibleError(
                f"{self._label} has no way back. Downgrade no further than to version {self.version}, or give it one "
                "with its .downgrade decorator.",
                revision=self.version,
            )
        return self._back

    def __call__(self, document: dict[str, Any]) -> None:
        """Upgrade a dict in place, as a unit test would; the version field is left as it is."""
        self._alone(self._step, document)

    def _alone(self, step: Step, document: dict[str, Any]) -> None:
        stamp = document.pop(self.version_field, ABSENT)
        try:
            step(document)
        finally:
            if stamp is not ABSENT:
                document[self.version_field] = stamp

    def downgrade(self, function: F) -> F:
        """Register the way back, a function like the revision's own; returns it unchanged."""
        if self._back is not None:
            raise SchemaError(
                f"{self._label} already has a way back. Remove one of the two: a revision has a single downgrade."
            )
        check_function(function, f"the downgrade of {self._label}")
        self._back = self._guarded(function)
        self.back_function = function
        self._changed()
        return function

    def __str__(self) -> str:
        if self.function is not None:
            return self.name
        return "; ".join(str(operation) for operation in self.operations)

    def __repr__(self) -> str:
        return f"<Revision {self.version} {self.name!r} of {self._schema_name!r}>"

    def _guarded(self, function: Function) -> Step:
        """The function held to its contract: mutates, returns None, leaves `_id` and undeclared fields alone."""
        run = held(function, self._label)
        return run if self.touches is None else restricted(run, self.touches, self.reads)

    def reason(self, cause: Exception) -> str:
        """What a function's exception says without a document's values: a key that stands in its code is none."""
        said = f"it raised {type(cause).__name__}"
        running = {frame.f_code for frame, _ in walk_tb(cause.__traceback__)}
        function, touches, reads = self.function, self.touches, self.reads
        for operation in self.operations:
            called = getattr(operation, "function", None)
            if getattr(called, "__code__", None) in running:
                said = f"'{operation}' raised {type(cause).__name__}"
                function, effects = called, operation.effects()
                touches, reads = frozenset(effects.computes), frozenset(effects.reads)
        key = cause.args[0] if isinstance(cause, KeyError) and len(cause.args) == 1 else None
        code = getattr(function, "__code__", None)
        if not isinstance(key, str) or code is None or key not in code.co_consts:
            return said
        if touches is not None and key not in touches | reads | {"_id"}:
            return f"{said} for {key!r}, which it is not given: it is in neither touches= nor reads="
        return f"{said} for {key!r}"

    def refuse(self, function: object, returned: object) -> NoReturn:
        """The error for a function that returned something."""
        refuse(function, returned, self._label)
