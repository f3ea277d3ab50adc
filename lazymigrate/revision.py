"""One step of a schema's history, from version n-1 to n."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, NoReturn, TypeVar, cast

from lazymigrate.documents import copy_value, same
from lazymigrate.exceptions import IrreversibleError, SchemaError
from lazymigrate.ops.operation import Operation, OperationError, Step
from lazymigrate.ops.paths import overlap

__all__ = ["ABSENT", "Function", "Revision", "check_function", "field_names", "keep_identity"]

Function = Callable[[dict[str, Any]], None]
F = TypeVar("F", bound=Function)

ABSENT: Any = object()


class Revision:
    """A step that upgrades a document, and downgrades it where there is a way back.

    Call it with a dict to test it: the dict is changed in place and nothing is returned. A revision made of
    operations is `declared`: it also runs inside MongoDB. It is made by `Schema.revision`, never directly.
    """

    __slots__ = (
        "_back",
        "_back_is_function",
        "_changed",
        "_schema_name",
        "_step",
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
        self.function = function
        self.touches = touches
        self.reads = reads
        self.description = inspect.getdoc(function) or "" if function else ""
        self._schema_name = schema_name
        self._changed = changed
        self._back_is_function = False
        if function is not None:
            self._step = self._guarded(function)
            self._back: Step | None = None
        else:
            check_operations(operations, version_field, self._label)
            self._step = in_order([operation.compile() for operation in operations])
            self._back = reversed_step(operations)

    @property
    def _label(self) -> str:
        return f"{self._schema_name}: revision {self.version} {self.name!r}"

    @property
    def declared(self) -> bool:
        """Whether it is made of operations that all run inside MongoDB, too."""
        return self.function is None and all(operation.renders for operation in self.operations)

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
        return frozenset(path.split(".")[0] for operation in self.operations for path in operation.effects().paths)

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
        return self.function is None and not self._back_is_function

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
        self._back_is_function = True
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
        call = cast("Callable[[dict[str, Any]], object]", function)

        def run(document: dict[str, Any]) -> None:
            identity = document.get("_id", ABSENT)
            before = copy_value(identity) if isinstance(identity, dict) else identity
            returned = call(document)
            if returned is not None:
                self.refuse(function, returned)
            if document.get("_id", ABSENT) is not before:
                keep_identity(document, before)

        if self.touches is None:
            return run
        writable, visible = self.touches, self.touches | self.reads | {"_id"}

        def run_on_part(document: dict[str, Any]) -> None:
            part = {key: value for key, value in document.items() if key in visible}
            watched = {key: copy_value(value) for key, value in part.items() if key not in writable}
            run(part)
            for key in part.keys() | watched.keys():
                if key not in writable and not same(part.get(key, ABSENT), watched.get(key, ABSENT)):
                    raise OperationError(
                        f"it changed the field {key!r}, which is not in its touches={sorted(writable)}"
                    )
            for key in writable:
                if key in document and key not in part:
                    del document[key]
            document.update((key, value) for key, value in part.items() if key in writable)

        return run_on_part

    def reason(self, cause: Exception) -> str:
        """What a function's exception says without a document's values: a key that stands in its code is none."""
        said = f"it raised {type(cause).__name__}"
        key = cause.args[0] if isinstance(cause, KeyError) and len(cause.args) == 1 else None
        code = getattr(self.function, "__code__", None)
        if not isinstance(key, str) or code is None or key not in code.co_consts:
            return said
        if self.touches is not None and key not in self.touches | self.reads | {"_id"}:
            return f"{said} for {key!r}, which it is not given: it is in neither touches= nor reads="
        return f"{said} for {key!r}"

    def refuse(self, function: object, returned: object) -> NoReturn:
        """The error for a function that returned something."""
        name = getattr(function, "__name__", type(function).__name__)
        if inspect.iscoroutine(returned):
            returned.close()
        raise SchemaError(
            f"{self._label}: the function {name!r} returned a {type(returned).__name__}. A revision changes the "
            "document that it is given and returns None; remove the return value."
        )


def keep_identity(document: dict[str, Any], identity: Any) -> None:
    """Put `_id` back where a function dropped it, and refuse a changed one."""
    if identity is ABSENT:
        if "_id" in document:
            raise OperationError("it gave the document an _id; an _id cannot be changed")
    elif "_id" not in document:
        document["_id"] = identity
    elif not same(document["_id"], identity):
        raise OperationError("it changed the _id; an _id cannot be changed")


def in_order(steps: list[Step]) -> Step:
    """One closure that runs several."""
    if len(steps) == 1:
        return steps[0]

    def run(document: dict[str, Any]) -> None:
        for step in steps:
            step(document)

    return run


def reversed_step(operations: tuple[Operation, ...]) -> Step | None:
    """The way back of operations: each reversed, the last first; None where one has none."""
    reverses = [operation.reverse() for operation in reversed(operations)]
    steps = [reverse.compile() for reverse in reverses if reverse is not None]
    return in_order(steps) if len(steps) == len(operations) else None


def check_function(function: object, label: str) -> None:
    """`SchemaError` unless it is a plain function of one positional parameter."""
    if not callable(function):
        raise SchemaError(f"{label} is a {type(function).__name__}. Decorate a function that takes the document.")
    target = getattr(function, "__call__", function) if not inspect.isroutine(function) else function  # noqa: B004
    for is_wrong, kind in (
        (inspect.iscoroutinefunction, "a coroutine function"),
        (inspect.isasyncgenfunction, "an asynchronous generator"),
        (inspect.isgeneratorfunction, "a generator function"),
    ):
        if is_wrong(function) or is_wrong(target):
            raise SchemaError(f"{label} is {kind}. A revision is a plain function: it changes a dict and does no I/O.")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    demanded = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if len(required) > 1 or not positional or demanded:
        raise SchemaError(
            f"{label} takes ({', '.join(str(p) for p in parameters)}). A revision takes one positional parameter, the "
            "document; give the others defaults, or remove them."
        )


def check_operations(operations: tuple[Operation, ...], version_field: str, label: str) -> None:
    """`SchemaError` where an operation targets what it must not, or contradicts one before it."""
    gone: dict[str, Operation] = {}
    made: dict[str, Operation] = {}
    for operation in operations:
        if not isinstance(operation, Operation):
            raise SchemaError(
                f"{label}: {type(operation).__name__} is not an operation. Use those of lazymigrate.ops, or decorate "
                "a function."
            )
        effects = operation.effects()
        for path in effects.paths:
            for forbidden, what in (("_id", "the _id"), (version_field, "the version field")):
                if overlap(path, forbidden):
                    raise SchemaError(f"{label}: '{operation}' targets {what}, which is not a revision's to change.")
        for path in (*effects.reads, *effects.removes):
            for earlier_path, earlier in gone.items():
                if path == earlier_path or path.startswith(earlier_path + "."):
                    raise SchemaError(
                        f"{label}: '{operation}' needs {path!r}, which '{earlier}' has just taken away. Remove one of "
                        "the two."
                    )
        for path in effects.removes:
            for earlier_path, earlier in made.items():
                if earlier_path == path or earlier_path.startswith(path + "."):
                    raise SchemaError(
                        f"{label}: '{operation}' takes away {earlier_path!r}, which '{earlier}' has just set. Say what "
                        "is meant in one operation, or in two revisions."
                    )
        for path in effects.sets:
            for earlier_path, earlier in made.items():
                if path == earlier_path:
                    raise SchemaError(
                        f"{label}: both '{earlier}' and '{operation}' set {path!r}. Remove one of the two."
                    )
                if path.startswith(earlier_path + ".") or earlier_path.startswith(path + "."):
                    raise SchemaError(
                        f"{label}: '{earlier}' sets {earlier_path!r} and '{operation}' sets {path!r}, one inside the "
                        "other. Set the whole in one operation."
                    )
        for path in effects.removes:
            gone[path] = operation
        for path in effects.sets:
            made[path] = operation
            gone.pop(path, None)


def field_names(value: Collection[str] | None, what: str, label: str) -> frozenset[str] | None:
    """A set of top-level field names out of `touches=` or `reads=`."""
    if value is None:
        return None
    if isinstance(value, str) or not all(isinstance(name, str) and name for name in value):
        raise SchemaError(f"{label}: {what} is a set of field names. Write {what}={{'name', ...}}.")
    for name in value:
        if "." in name or name == "_id":
            raise SchemaError(
                f"{label}: {what} names top-level fields, and {name!r} is not one that a revision may name. "
                "Name the outermost field."
            )
    return frozenset(value)
