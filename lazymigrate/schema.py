"""The declared history of one collection's shape."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection
from typing import Any, TypeVar, overload

from lazymigrate.chain import Chain, Run, compile_chain
from lazymigrate.documents import copy_value
from lazymigrate.exceptions import (
    AheadError,
    InvalidVersionError,
    RetiredVersionError,
    SchemaError,
    describe,
)
from lazymigrate.model import ModelAdapter, adapter_for, belongs_to, mark
from lazymigrate.operation import Operation
from lazymigrate.rendering import Update, safe_conditions, stages, updates
from lazymigrate.revision import Function, Revision, check_function, field_names
from lazymigrate.versions import at_version, parse_stamp
from lazymigrate.wording import with_article

__all__ = ["Schema"]

M = TypeVar("M")


class Schema:
    """The history of a collection: its base version, its revisions in order, and the model at head.

    What can be checked is checked when it is declared: a wrong declaration is a `SchemaError` at import, and leaves
    the schema as it was. The functions `upgrade`, `downgrade`, `version_of`, `load` and `dump` need no database.

    - `name`: by convention the collection's.
    - `version_field`: the key of the stamp in each document.
    - `base`: the version of a document without a stamp.
    - `oldest`: the lowest version that this code can still upgrade; `base` until revisions are retired. The first
      revision is then `oldest + 1`, and a document below it is a `RetiredVersionError`.
    """

    def __init__(
        self, name: str, *, version_field: str = "schema_version", base: int = 1, oldest: int | None = None
    ) -> None:
        if not isinstance(name, str) or not name:
            raise SchemaError(f"A schema's name is a non-empty string, not {name!r}. Use the collection's name.")
        if (
            not isinstance(version_field, str)
            or not version_field
            or version_field == "_id"
            or version_field.startswith("$")
            or "." in version_field
            or "\0" in version_field
        ):
            raise SchemaError(
                f"{name}: the version field {version_field!r} is not a plain top-level field name. Use one without "
                "'.', a leading '$' or NUL, and not '_id'."
            )
        if type(base) is not int or base < 0:
            raise SchemaError(f"{name}: base={base!r} is not a version. Use an integer from 0 upwards.")
        if oldest is not None and (type(oldest) is not int or oldest < base):
            raise SchemaError(f"{name}: oldest={oldest!r} is not a version from base ({base}) upwards. Correct it.")
        self.name = name
        self.version_field = version_field
        self.base = base
        self.oldest = base if oldest is None else oldest
        self._revisions: tuple[Revision, ...] = ()
        self._settled = self.oldest
        self._adapter: ModelAdapter[Any] | None = None
        self._chains: dict[tuple[int, int], Chain] = {}
        self._upgrades: dict[int | None, Run] = {}

    def __repr__(self) -> str:
        return f"<Schema {self.name!r}, versions {self.oldest} to {self.head}>"

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """The revisions, the oldest first."""
        return self._revisions

    @property
    def head(self) -> int:
        """The newest version that this code knows."""
        return self._revisions[-1].version if self._revisions else self.oldest

    @property
    def settled(self) -> int:
        """The lowest version that counts as at head: from here on, only empty revisions lead there."""
        return self._settled

    @overload
    def revision(
        self,
        version: int,
        *,
        name: str | None = None,
        touches: Collection[str] | None = None,
        reads: Collection[str] | None = None,
    ) -> Callable[[Function], Revision]: ...

    @overload
    def revision(self, version: int, *operations: Operation, name: str | None = None) -> Revision: ...

    def revision(
        self,
        version: int,
        *operations: Operation,
        name: str | None = None,
        touches: Collection[str] | None = None,
        reads: Collection[str] | None = None,
    ) -> Revision | Callable[[Function], Revision]:
        """Declare the step to `version`, which must be head + 1.

        With operations it returns the `Revision`. Without, it decorates a function that changes the document that it
        is given and returns None; the decorated name is then the `Revision`. `touches` (and `reads`, for what it only
        looks at) are the top-level fields that a function is given, besides `_id`; without them it may touch anything.
        A dict or list that it takes from a table outside must be copied: documents would share it.
        `SchemaError` when something is wrong with it.
        """
        where = _caller()
        if operations:
            if touches is not None or reads is not None:
                raise SchemaError(
                    f"{self.name}: revision {version}: operations say themselves what they touch. Remove touches= and "
                    "reads=; they are for functions."
                )
            label = f"revision_{version}" if name is None else name
            return self._declare(version, label, where, operations=operations)

        def decorate(function: Function) -> Revision:
            label = getattr(function, "__name__", None) if name is None else name
            title = f"{self.name}: revision {version} {label!r}"
            if isinstance(function, Revision):
                raise SchemaError(f"{title} is a revision already. Decorate each function once.")
            check_function(function, title)
            if label is None:
                raise SchemaError(f"{title}: the function has no name. Give the revision one with name='...'.")
            touched = field_names(touches, "touches", title)
            read = field_names(reads, "reads", title) or frozenset()
            if self.version_field in (touched or frozenset()) | read:
                raise SchemaError(
                    f"{title}: a function never sees the version field. Remove it from touches and reads."
                )
            if touched is None and read:
                raise SchemaError(f"{title}: reads= says what it only looks at, beside touches=. Add touches={{...}}.")
            code = getattr(inspect.unwrap(function), "__code__", None)
            place = f"{code.co_filename}:{code.co_firstlineno}" if code else where
            return self._declare(version, label, place, function=function, touches=touched, reads=read)

        return decorate

    def _declare(
        self,
        version: int,
        name: str,
        where: str,
        *,
        operations: tuple[Operation, ...] = (),
        function: Function | None = None,
        touches: frozenset[str] | None = None,
        reads: frozenset[str] = frozenset(),
    ) -> Revision:
        if type(version) is not int:
            raise SchemaError(f"{self.name}: a revision's version is an integer, not {version!r}. Use {self.head + 1}.")
        if not isinstance(name, str) or not name:
            raise SchemaError(f"{self.name}: revision {version}: its name is {name!r}. Use a non-empty string.")
        for other in self._revisions:
            if other.version == version:
                raise SchemaError(
                    f"{self.name}: version {version} is declared twice: {other.name!r} ({other.where}) and {name!r} "
                    f"({where}). Renumber the one that is not deployed yet to {self.head + 1}."
                )
            if other.name == name:
                raise SchemaError(
                    f"{self.name}: revisions {other.version} ({other.where}) and {version} ({where}) are both named "
                    f"{name!r}. Rename one, or give it a name of its own with name='...'."
                )
        if version != self.head + 1:
            known = f"the newest is {self.head}" if self._revisions else f"it starts at {self.oldest}"
            raise SchemaError(
                f"{self.name}: revision {version} {name!r} ({where}) does not follow on: {known}. Number it "
                f"{self.head + 1}, or declare what is between."
            )
        revision = Revision(
            schema_name=self.name,
            version=version,
            version_field=self.version_field,
            name=name,
            where=where,
            changed=self._forget,
            operations=operations,
            function=function,
            touches=touches,
            reads=reads,
        )
        self._revisions = (*self._revisions, revision)
        self._forget()
        if not revision.empty:
            self._settled = version
        return revision

    def model(self, cls: type[M]) -> type[M]:
        """Declare the class of the newest shape: a pydantic model, or a dataclass (pydantic's or the standard library's).

        The class comes back as it was, knowing its schema. `SchemaError` when documents cannot become instances of it
        and back.
        """
        if self._adapter is not None:
            raise SchemaError(
                f"{self.name}: it has a model already, {self._adapter.model.__qualname__}; {cls!r} is the second. A "
                "schema has one model; remove one of the two."
            )
        owner = belongs_to(cls)
        if owner is not None:
            raise SchemaError(
                f"{cls.__qualname__} belongs to the schema {owner.name!r} and cannot be the model of {self.name!r} "
                "too. Declare a class of its own (a subclass will do)."
            )
        self._adapter = adapter_for(cls, self.version_field, self.name)
        mark(cls, self)
        return cls

    @property
    def adapter(self) -> ModelAdapter[Any] | None:
        """How documents become models and back; None for a schema without a model."""
        return self._adapter

    def chain(self, source: int, target: int) -> Chain:
        """The compiled way between two versions, from the cache where it is there."""
        chain = self._chains.get((source, target))
        if chain is None:
            low, high = min(source, target), max(source, target)
            revisions = [revision for revision in self._revisions if low < revision.version <= high]
            chain = compile_chain(self.name, self.version_field, source, target, revisions)
            self._chains[source, target] = chain
        return chain

    def upgrades(self) -> dict[int | None, Run]:
        """How to upgrade a document in place, by its stamp, for the stamps that need no second look."""
        if not self._upgrades:
            ways: dict[int | None, Run] = {
                version: self.chain(version, self.head).run for version in range(self.oldest, self.head)
            }
            if self.base in ways:
                ways[None] = ways[self.base]
            self._upgrades = ways
        return self._upgrades

    def _forget(self) -> None:
        """Compile afresh after a declaration."""
        self._chains.clear()
        self._upgrades = {}

    def version_of(self, document: dict[str, Any]) -> int:
        """The version of a document: its stamp, or base where there is none.

        `InvalidVersionError` when the stamp is not a version, `RetiredVersionError` when it is below `oldest`. A
        version above head is returned as it is.
        """
        stamp = document.get(self.version_field)
        version = parse_stamp(stamp, self.base)
        if version is None:
            raise InvalidVersionError(
                f"{self.name}: {describe(document.get('_id'))} has {with_article(type(stamp).__name__)} in "
                f"{self.version_field!r} that is not a version (an integer from {self.base} upwards). Correct the stored stamp, or choose "
                "another version_field if the application uses this one for something else.",
                collection=self.name,
                document_id=document.get("_id"),
                version=stamp,
            )
        if version < self.oldest:
            raise RetiredVersionError(
                f"{self.name}: {describe(document.get('_id'))} is at version {version}, and this code upgrades from "
                f"{self.oldest} on: the revisions up to {self.oldest} are retired. Upgrade it with the last release "
                f"that declares revision {version + 1} (one whose oldest is {version} or less).",
                collection=self.name,
                document_id=document.get("_id"),
                version=stamp,
            )
        return version

    def upgrade(self, document: dict[str, Any], *, to: int | None = None) -> dict[str, Any]:
        """A new document at version `to` (head by default), stamped; the input is never mutated.

        `UpgradeError` when a revision fails on it, `AheadError` when it is newer than head, `ValueError` when `to`
        is below it or outside oldest…head.
        """
        version = self.version_of(document)
        target = self._target(to)
        if version > self.head:
            raise self.ahead(document)
        if version > target:
            raise ValueError(f"{self.name}: the document is at version {version}, above {target}. Use downgrade().")
        return self.chain(version, target).run(copy_value(document))

    def downgrade(self, document: dict[str, Any], *, to: int) -> dict[str, Any]:
        """A new document at version `to`, stamped; the input is never mutated.

        It runs from the document's own version. `IrreversibleError` when a revision on the way has no way back,
        `UpgradeError` when one fails, `AheadError` when the document is newer than head, `ValueError` when `to` is
        above it or outside oldest…head.
        """
        version = self.version_of(document)
        target = self._target(to)
        if version > self.head:
            raise self.ahead(document)
        if version < target:
            raise ValueError(f"{self.name}: the document is at version {version}, below {target}. Use upgrade().")
        return self.chain(version, target).run(copy_value(document))

    def pipeline(self, from_version: int, *, to: int | None = None) -> list[dict[str, Any]]:
        """The aggregation stages that do inside MongoDB what `upgrade` does in Python, the stamp included.

        They are exact, byte for byte, on the documents that `safe_filter` matches, and are fit for an update as well as
        for `aggregate`. `SchemaError` names the first revision on the way that is a plain function; `ValueError` when a
        version is outside oldest…head or `to` is below `from_version`.
        """
        return stages(self._operations(from_version, to), self.version_field, self._target(to))

    def safe_filter(self, from_version: int, *, to: int | None = None) -> dict[str, Any]:
        """The stored documents of `from_version` on which `pipeline` is exact; the others are upgraded in Python.

        Errors as `pipeline`.
        """
        conditions = safe_conditions(self._operations(from_version, to))
        stamped = at_version(self.version_field, from_version, self.base)
        return {"$and": [*stamped, *conditions]}

    def updates(self, from_version: int, *, to: int | None = None, exact: bool = False) -> list[Update]:
        """The filters and updates that upgrade stored documents of `from_version` inside MongoDB, for `update_many`.

        Run in this order they upgrade the documents that `safe_filter` matches, and as `pipeline` does; nearly all of
        them by the first, in the cheapest form that is exact. (The first does not look for equal keys, which a document
        may have in BSON: where a renamed or removed field occurs twice, the server takes the first. With `exact` it does,
        at about a fifth of the update's time.) Errors as `pipeline`.
        """
        operations = self._operations(from_version, to)
        stamped = at_version(self.version_field, from_version, self.base)
        return updates(operations, stamped, self.version_field, self._target(to), exact=exact)

    def _operations(self, from_version: int, to: int | None) -> list[Operation]:
        """The operations between two versions; what cannot be rendered is a `SchemaError`."""
        target, source = self._target(to), self._target(from_version)
        if source > target:
            raise ValueError(f"{self.name}: from version {source} up to {target}: the target is below. Swap the two.")
        operations: list[Operation] = []
        for revision in self._revisions:
            if source < revision.version <= target and not revision.empty:
                if not revision.declared:
                    raise SchemaError(
                        f"{self.name}: revision {revision.version} {revision.name!r} {revision.obstacle}, which cannot "
                        "run inside MongoDB. Declare it with operations, or upgrade through the client."
                    )
                operations += revision.operations
        return operations

    def load(self, document: dict[str, Any]) -> Any:
        """The document as an instance of the model: upgraded, then validated.

        `ModelError` when it is at head and does not fit the model; otherwise as `upgrade`.
        """
        return self._model().load(self.upgrade(document))

    def dump(self, model: Any) -> dict[str, Any]:
        """The document of a model instance, stamped at head."""
        document = self._model().dump(model)
        document[self.version_field] = self.head
        return document

    def ahead(self, document: dict[str, Any]) -> AheadError:
        """The error for a document that newer code wrote."""
        return AheadError(
            f"{self.name}: {describe(document.get('_id'))} is at version {parse_stamp(document.get(self.version_field), self.base)}"
            f", and this code knows versions up to {self.head}. Deploy the release that declares it, or read with "
            "Policy(on_ahead='keep').",
            collection=self.name,
            document_id=document.get("_id"),
            version=document.get(self.version_field),
        )

    def _target(self, to: int | None) -> int:
        if to is None:
            return self.head
        if type(to) is not int or not self.oldest <= to <= self.head:
            raise ValueError(f"{self.name}: to={to!r} is not a version from {self.oldest} to {self.head}.")
        return to

    def _model(self) -> ModelAdapter[Any]:
        if self._adapter is None:
            raise SchemaError(f"{self.name}: it has no model. Declare one with @{self.name}.model.")
        return self._adapter


def _caller() -> str:
    frame = sys._getframe(2)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
