"""Between documents and instances of the model: loading, dumping, and what the user changed in between.

A loaded instance remembers its *origin*: the document that it was made from (at head) and the document as it was
stored. Both are held by reference, which costs nothing per document; that is sound because pydantic builds new
containers for every field whose type it knows, and the values of the other fields (`Any`, bare `dict`, custom
validators: found once, in the model's core schema) are copied first.

Dataclasses are models, too: pydantic's, and those of the standard library, which pydantic validates as they are.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar, cast

from pydantic import AliasChoices, AliasPath, BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError

from lazymigrate.change import Change
from lazymigrate.documents import copy_value
from lazymigrate.edits import edits, settle_defaults
from lazymigrate.exceptions import ModelError, SchemaError, describe
from lazymigrate.sharing import dataclass_fields, fresh_defaults, shared_fields, shared_in_dataclass

__all__ = ["DataclassAdapter", "ModelAdapter", "Origin", "adapter_for", "belongs_to", "mark"]

M = TypeVar("M")

_SCHEMA = "__lazymigrate_schema__"
_ORIGIN = "__lazymigrate_origin__"
_UNKNOWN: Any = object()


@cache
def anything() -> TypeAdapter[Any]:
    """Dumps what has no class of its own; made when it is first needed, since that takes milliseconds."""
    return TypeAdapter(Any)


class Origin(NamedTuple):
    """Where an instance came from: the document at head that it shows, and the document as stored."""

    document: dict[str, Any]
    stored: dict[str, Any]
    pending: bool = False
    """It was inserted inside a transaction that may have been aborted since."""
    shown: dict[str, Any] | None = None
    """The instance dumped as it was then, where loading the document again could give another."""


def belongs_to(cls: type) -> Any | None:
    """The schema that a class itself (not its parent) was declared for, or None."""
    return vars(cls).get(_SCHEMA) if isinstance(cls, type) else None


def mark(cls: type, schema: object) -> None:
    """Let a class know its schema."""
    type.__setattr__(cls, _SCHEMA, schema)


def adapter_for(model: type[M], version_field: str, name: str) -> ModelAdapter[M]:
    """The adapter for a model; `SchemaError` for what cannot be one."""
    if isinstance(model, type) and issubclass(model, BaseModel) and not model.__pydantic_root_model__:
        return ModelAdapter(model, version_field, name, stored_names(model, name), model.model_config)
    if isinstance(model, type) and dataclasses.is_dataclass(model):
        return DataclassAdapter(model, version_field, name)
    raise SchemaError(
        f"{name}: the model is {model!r}, which is neither a pydantic model with fields nor a dataclass. Decorate a "
        "subclass of pydantic.BaseModel or a dataclass."
    )


class ModelAdapter(Generic[M]):
    """How documents of one schema become instances of its model, and back."""

    def __init__(
        self, model: type[M], version_field: str, name: str, fields: dict[str, str], config: Mapping[str, Any]
    ) -> None:
        self.model = model
        self._fields = fields
        self._version_field = version_field
        self._name = name
        extra = config.get("extra")
        self._hide_stamp = extra in ("allow", "forbid") and version_field not in self._fields.values()
        self._shared: Any = _UNKNOWN  # found at the first load: the class may not be complete before
        self._prepares = True
        # pydantic takes what it does not know in an instance's __dict__ for an extra field, if it may have such and
        # validates assignments: then origins are kept beside the instances, and do not travel with a copy.
        aside = extra == "allow" and config.get("validate_assignment")
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
            self._shared = self._sharing()
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

    def _sharing(self) -> frozenset[str] | None:
        return shared_fields(cast("type[BaseModel]", self.model), self._fields)

    def _dump(self, instance: M) -> Any:
        return cast("BaseModel", instance).model_dump(by_alias=True, warnings=False)

    def dump(self, instance: M) -> dict[str, Any]:
        """The document of an instance, by stored names and without a stamp; an `_id` of None is left out."""
        if not isinstance(instance, self.model):
            raise TypeError(f"{self._name}: expected a {self.model.__qualname__}, got a {type(instance).__qualname__}.")
        document = plain(self._dump(instance))
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
        before, after = self._compared(instance, origin)
        before, after = normal(before), normal(after)
        for document in (before, after):
            document.pop(self._version_field, None)
        return edits(before, after, origin.document)

    def _compared(self, instance: M, origin: Origin) -> tuple[dict[str, Any], dict[str, Any]]:
        """The instance dumped as it was loaded and as it is, different only where the user changed something."""
        loaded = self.load(copy_value(origin.document))
        before, after = self.dump(loaded), self.dump(instance)
        settle_defaults(cast("BaseModel", loaded), cast("BaseModel", instance), before, after)
        return before, after

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


class DataclassAdapter(ModelAdapter[M]):
    """How documents become instances of a dataclass, and back.

    A dataclass does not know which fields were given. What a default gave when the document was loaded is therefore no
    change while it stays as it is; where the default is another each time, it is remembered with the origin.
    """

    def __init__(self, model: type[M], version_field: str, name: str) -> None:
        if not model.__dictoffset__ and not model.__weakrefoffset__:
            raise SchemaError(
                f"{name}: the instances of {model.__qualname__} have neither a __dict__ nor a slot for weak references,"
                " so nothing can remember what they were loaded from. Declare it with dataclass(slots=True, "
                'weakref_slot=True), or give it a base class with __slots__ = ("__weakref__",).'
            )
        try:
            adapter: TypeAdapter[M] = TypeAdapter(model, _parent_depth=5)  # the caller of Schema.model
            if not getattr(adapter, "pydantic_complete", True):
                adapter.rebuild(_parent_namespace_depth=5)
            schema: Any = adapter.core_schema
            declared = dataclass_fields(schema)
        except (PydanticUndefinedAnnotation, PydanticSchemaGenerationError, PydanticUserError) as error:
            raise SchemaError(
                f"{name}: pydantic cannot validate {model.__qualname__} yet: {error.message} Declare the classes that it "
                "names before it, and give its fields types that pydantic knows."
            ) from error
        config: Mapping[str, Any] = getattr(model, "__pydantic_config__", None) or {}
        fields = {} if declared is None else dataclass_names(declared, config, model, name)
        if not fields:
            raise SchemaError(
                f"{name}: {model.__qualname__} has no fields to store. Give it the newest shape's fields."
            )
        super().__init__(model, version_field, name, fields, config)
        self._schema = schema
        self._own = frozenset(field.name for field in dataclasses.fields(cast("Any", model)))
        self._fresh = fresh_defaults(schema, fields)
        self._adapter = adapter
        self._validate = adapter.validator.validate_python
        # Where it validates assignments, pydantic makes a new __dict__ of the fields alone.
        replaces = bool(config.get("validate_assignment"))
        self._aside = {} if replaces or not model.__dictoffset__ else None
        self._extra = config.get("extra") == "allow" and self._aside is None

    def load(self, document: dict[str, Any], stored: dict[str, Any] | None = None) -> M:
        instance = super().load(document, stored)
        if self._aside is None and (self._fresh is None or not self._fresh <= document.keys()):
            self.remember(instance, Origin(document, document if stored is None else stored))
        return instance

    def remember(self, instance: M, origin: Origin) -> None:
        if self._fresh is None or not self._fresh <= origin.document.keys():
            origin = origin._replace(shown=self.dump(instance))
        super().remember(instance, origin)

    def identify(self, instance: M, document_id: Any) -> None:
        if self.id_field is not None and getattr(instance, self.id_field) is None:
            object.__setattr__(instance, self.id_field, document_id)

    def _sharing(self) -> frozenset[str] | None:
        return shared_in_dataclass(self._schema, self._fields)

    def _dump(self, instance: M) -> Any:
        if type(instance) is not self.model and own_fields(instance) != self._own:
            raise TypeError(
                f"{self._name}: {type(instance).__qualname__} has other fields than {self.model.__qualname__}, which "
                "would not be stored. Give the schema's model all fields."
            )
        document = self._adapter.dump_python(instance, by_alias=True, warnings=False)
        if self._extra:  # pydantic keeps them as attributes and does not dump them
            for name, value in vars(instance).items():
                if name not in self._own and not name.startswith("_") and not hasattr(self.model, name):
                    document.setdefault(name, anything().dump_python(value, by_alias=True, warnings=False))
        return document

    def _compared(self, instance: M, origin: Origin) -> tuple[dict[str, Any], dict[str, Any]]:
        before = origin.shown
        if before is None:
            before = self.dump(self.load(copy_value(origin.document)))
        return before, self.dump(instance)


def own_fields(instance: Any) -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(instance))


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
    by_alias, by_name = alias_rules(model.model_config)
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
        check_names(model, name, field, written, read)
        names[field] = written
    return names


def dataclass_names(declared: list[Any], config: Mapping[str, Any], model: type, name: str) -> dict[str, str]:
    """As `stored_names`, out of what pydantic made of a dataclass."""
    by_alias, by_name = alias_rules(config)
    names: dict[str, str] = {}
    for item in declared:
        field, alias = item["name"], item.get("validation_alias")
        written = item.get("serialization_alias") or field
        if item.get("init_only"):
            if item["schema"]["type"] != "default":
                raise SchemaError(
                    f"{name}: {field!r} of {model.__qualname__} is an InitVar, which is not stored, and loading needs a "
                    "value for it. Give it a default."
                )
            continue
        if item.get("init") is False:
            raise SchemaError(
                f"{name}: the field {field!r} of {model.__qualname__} would be written and, with init=False, not be read "
                "again. Remove init=False, or its default (then it is not stored)."
            )
        read = {field} if alias is None or by_name else set[str]()
        if isinstance(alias, str):
            read |= {alias} if by_alias else set[str]()
        elif alias:
            for path in alias if isinstance(alias[0], list) else [alias]:
                read.add(str(path[0]) if len(path) == 1 else "a path")
        check_names(model, name, field, written, read)
        names[field] = written
    return names


def alias_rules(config: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether fields are read by their alias, and by their name."""
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    return config.get("validate_by_alias", True) is not False, bool(by_name)


def check_names(model: type, name: str, field: str, written: str, read: set[str]) -> None:
    if written not in read:
        raise SchemaError(
            f"{name}: the field {field!r} of {model.__qualname__} is written as {written!r} and read as "
            f"{', '.join(sorted(read))}. Give it one alias for both."
        )
