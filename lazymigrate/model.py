"""Between documents and instances of the model: loading, dumping, and what the user changed in between.

A loaded instance remembers its *origin*: the document that it was made from (at head) and the document as it was
stored. Both are held by reference, which costs nothing per document; that is sound because pydantic builds new
containers for every field whose type it knows, and the values of the other fields (`Any`, bare `dict`, custom
validators: found once, in the model's core schema) are copied first.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar, cast

from pydantic import AliasChoices, AliasPath, BaseModel, ValidationError

from lazymigrate.change import Change
from lazymigrate.documents import copy_value
from lazymigrate.edits import edits, settle_defaults
from lazymigrate.exceptions import ModelError, SchemaError, describe
from lazymigrate.sharing import shared_fields

__all__ = ["ModelAdapter", "Origin", "belongs_to", "mark"]

M = TypeVar("M")

_SCHEMA = "__lazymigrate_schema__"
_ORIGIN = "__lazymigrate_origin__"
_UNKNOWN: Any = object()


class Origin(NamedTuple):
    """Where an instance came from: the document at head that it shows, and the document as stored."""

    document: dict[str, Any]
    stored: dict[str, Any]
    pending: bool = False
    """It was inserted inside a transaction that may have been aborted since."""


def belongs_to(cls: type) -> Any | None:
    """The schema that a class itself (not its parent) was declared for, or None."""
    return vars(cls).get(_SCHEMA) if isinstance(cls, type) else None


def mark(cls: type, schema: object) -> None:
    """Let a class know its schema."""
    type.__setattr__(cls, _SCHEMA, schema)


class ModelAdapter(Generic[M]):
    """How documents of one schema become instances of its model, and back."""

    def __init__(self, model: type[M], version_field: str, name: str) -> None:
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or model.__pydantic_root_model__:
            raise SchemaError(
                f"{name}: the model is {model!r}, which is not a pydantic model with fields. Decorate a subclass of "
                "pydantic.BaseModel."
            )
        self.model = model
        self._fields = stored_names(model, name)
        self._version_field = version_field
        self._name = name
        extra = model.model_config.get("extra")
        self._hide_stamp = extra in ("allow", "forbid") and version_field not in self._fields.values()
        self._shared: Any = _UNKNOWN  # found at the first load: the class may not be complete before
        self._prepares = True
        # pydantic takes what it does not know in an instance's __dict__ for an extra field, if it may have such and
        # validates assignments: then origins are kept beside the instances, and do not travel with a copy.
        aside = extra == "allow" and model.model_config.get("validate_assignment")
        self._aside: dict[int, tuple[Any, Origin]] | None = {} if aside else None
        self._validate: Callable[[dict[str, Any]], Any] = self._bind

    @property
    def id_field(self) -> str | None:
        """The model's field that holds the `_id`, or None."""
        return next((field for field, stored in self._fields.items() if stored == "_id"), None)

    def load(self, document: dict[str, Any], stored: dict[str, Any] | None = None) -> M:
        """The instance for a document at head; `ModelError` (paths and error types) when it does not fit.

        `stored` is the document as MongoDB has it where that is another. Both are kept, and must not change.
        """
        given = document
        if self._prepares:
            given = self._prepared(document)
        try:
            instance = self._validate(given)
        except ValidationError as error:
            raise self._unfit(document, document if stored is None else stored, error) from None
        except Exception as error:
            raise self._broken(document, document if stored is None else stored, error) from error
        if self._aside is None:
            instance.__dict__[_ORIGIN] = document if stored is None else Origin(document, stored)
        else:
            self.remember(instance, Origin(document, document if stored is None else stored))
        return cast("M", instance)

    def _bind(self, document: dict[str, Any]) -> Any:
        """Validate a first document, and from then on without the detour through `model_validate`."""
        instance = cast("Any", self.model).model_validate(document)
        self._validate = cast("Any", self.model).__pydantic_validator__.validate_python
        return instance

    def _prepared(self, document: dict[str, Any]) -> dict[str, Any]:
        """The document as the model is to see it: without a stamp it does not know, nothing shared."""
        if self._shared is _UNKNOWN:
            self._shared = shared_fields(cast("type[BaseModel]", self.model), self._fields)
            self._prepares = self._hide_stamp or self._shared != frozenset()
        if self._shared is None:
            given = copy_value(document)
        else:
            given = document.copy()
            for name in self._shared & given.keys():
                given[name] = copy_value(given[name])
        if self._hide_stamp:
            given.pop(self._version_field, None)
        return cast("dict[str, Any]", given)

    def dump(self, instance: M) -> dict[str, Any]:
        """The document of an instance, by stored names and without a stamp; an `_id` of None is left out."""
        if not isinstance(instance, self.model):
            raise TypeError(f"{self._name}: expected a {self.model.__qualname__}, got a {type(instance).__qualname__}.")
        document = plain(cast("BaseModel", instance).model_dump(by_alias=True, warnings=False))
        if document.get("_id", ...) is None:
            del document["_id"]
        return cast("dict[str, Any]", document)

    def origin(self, instance: M) -> Origin | None:
        """Where the instance came from; None for one that was neither loaded nor saved."""
        held = instance.__dict__.get(_ORIGIN) if self._aside is None else self._aside.get(id(instance), (None, None))[1]
        if held is None or isinstance(held, Origin):
            return held
        return Origin(held, held)

    def remember(self, instance: M, origin: Origin) -> None:
        """Let the instance be one that was loaded from `origin`, which it owns from now on."""
        if self._aside is None:
            instance.__dict__[_ORIGIN] = origin
        else:
            aside, key = self._aside, id(instance)
            aside[key] = (weakref.ref(instance, lambda _: aside.pop(key, None) and None), origin)

    def identify(self, instance: M, document_id: Any) -> None:
        """Give a new instance the `_id` that it was stored under, also where it is frozen."""
        if self.id_field is not None and getattr(instance, self.id_field) is None:
            instance.__dict__[self.id_field] = document_id
            cast("BaseModel", instance).model_fields_set.add(self.id_field)

    def changes(self, instance: M, origin: Origin, normal: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
        """What the user changed since the instance was loaded or saved.

        Subdocuments by leaf, arrays whole (with their unknown fields, where an element can be told). A field that the
        stored document lacks and that the user did not set stays away, and so does every field that the model does not
        know. `normal` gives a document as BSON holds it.
        """
        loaded = self.load(copy_value(origin.document))
        before, after = self.dump(loaded), self.dump(instance)
        settle_defaults(cast("BaseModel", loaded), cast("BaseModel", instance), before, after)
        before, after = normal(before), normal(after)
        for document in (before, after):
            document.pop(self._version_field, None)
        return edits(before, after, origin.document)

    def check(self, document: dict[str, Any]) -> None:
        """`ModelError` when a document that is to be stored could not be loaded again."""
        self.load(copy_value(document))

    def _broken(self, document: dict[str, Any], stored: dict[str, Any], error: Exception) -> ModelError:
        return ModelError(
            f"{self._name}: {describe(document.get('_id'))} made a validator of {self.model.__qualname__} raise "
            f"{type(error).__name__}. Let validators raise ValueError, or mend the document.",
            collection=self._name,
            document_id=document.get("_id"),
            version=stored.get(self._version_field),
            errors=(("(the document)", type(error).__name__),),
        )

    def _unfit(self, document: dict[str, Any], stored: dict[str, Any], error: ValidationError) -> ModelError:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        errors = tuple((".".join(map(str, item["loc"])) or "(the document)", item["type"]) for item in details)
        listed = ", ".join(f"{path} ({kind})" for path, kind in errors[:5])
        written = "" if stored is document else f", stored at {stamp_of(stored, self._version_field)},"
        more = f" and {len(errors) - 5} more" if len(errors) > 5 else ""
        return ModelError(
            f"{self._name}: {describe(document.get('_id'))}{written} does not fit {self.model.__qualname__}: {listed}{more}. "
            "Add a revision that brings such documents into shape, or let the model accept them.",
            collection=self._name,
            document_id=document.get("_id"),
            version=stored.get(self._version_field),
            errors=errors,
        )


def stamp_of(stored: Mapping[str, Any], version_field: str) -> str:
    stamp = stored.get(version_field)
    return "the base version" if stamp is None else f"version {stamp}"


def plain(value: Any) -> Any:
    """A dumped value with enum members as their values, and tuples and sets as lists."""
    if isinstance(value, dict):
        return {plain(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(inner) for inner in value), key=lambda item: (type(item).__name__, repr(item)))
    if isinstance(value, Enum):
        return plain(value.value)
    return value


def stored_names(model: type[BaseModel], name: str) -> dict[str, str]:
    """Field → the key that it is stored under; `SchemaError` where what is written would not be read again."""
    by_alias = model.model_config.get("validate_by_alias", True) is not False
    by_name = bool(model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name"))
    names: dict[str, str] = {}
    for field, info in model.model_fields.items():
        written = info.serialization_alias or info.alias or field
        alias = info.validation_alias or info.alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias] if by_alias else []
        read = {field} if alias is None or by_name else set[str]()
        for choice in choices:
            if isinstance(choice, AliasPath):
                read.add(str(choice.path[0]) if len(choice.path) == 1 else "a path")
            elif choice is not None:
                read.add(choice)
        if written not in read:
            raise SchemaError(
                f"{name}: the field {field!r} of {model.__qualname__} is written as {written!r} and read as "
                f"{', '.join(sorted(read))}. Give it one alias for both."
            )
        names[field] = written
    return names
