"""Which fields of a model may share their containers with the document that it was validated from.

Read once from pydantic's core schema; whatever is not known to be copied by validation is taken as shared. So are the
fields of dataclasses, and which of their defaults may be another each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

from bson import Decimal128, ObjectId
from pydantic import BaseModel

__all__ = ["dataclass_fields", "fresh_defaults", "shared_fields", "shared_in_dataclass"]

_CLOSED = frozenset(
    [
        "str",
        "bytes",
        "int",
        "float",
        "bool",
        "complex",
        "none",
        "date",
        "time",
        "datetime",
        "timedelta",
        "decimal",
        "uuid",
        "enum",
        "literal",
        "url",
        "multi-host-url",
    ]
)
_NO_SCHEMAS = frozenset(["default", "default_factory", "metadata", "config", "expected", "members", "serialization"])
_STEADY = frozenset([list, dict, set, frozenset, tuple, str, bytes, int, float, bool])


def shared_fields(model: type[BaseModel], names: Mapping[str, str]) -> frozenset[str] | None:
    """The stored names of fields whose values may share containers with the document; None for all."""
    if not model.__pydantic_complete__:
        model.model_rebuild()
    definitions: dict[str, Any] = {}
    schema: Any = model.__pydantic_core_schema__
    while schema["type"] != "model":
        if schema["type"] == "definitions":
            definitions.update({item["ref"]: item for item in schema["definitions"]})
            schema = schema["schema"]
        elif schema["type"] == "definition-ref":
            schema = definitions[schema["schema_ref"]]
        elif schema["type"] == "function-after":
            schema = schema["schema"]
        else:
            return None
    inner = schema["schema"]
    if schema.get("custom_init") or inner["type"] != "model-fields" or allows_extra(model):
        return None
    return read_as(inner["fields"].items(), names, definitions)


def dataclass_fields(schema: Any) -> list[Any] | None:
    """The fields of a dataclass in its core schema, or None where something else is validated in its place."""
    definitions: dict[str, Any] = {}
    while schema is not None and schema["type"] != "dataclass-args":
        if schema["type"] == "definitions":
            definitions.update({item["ref"]: item for item in schema["definitions"]})
        schema = definitions[schema["schema_ref"]] if schema["type"] == "definition-ref" else schema.get("schema")
    return None if schema is None else schema["fields"]


def shared_in_dataclass(schema: Any, names: Mapping[str, str]) -> frozenset[str] | None:
    """As `shared_fields`, for the core schema of a dataclass."""
    definitions: dict[str, Any] = {}
    while schema["type"] != "dataclass":
        if schema["type"] == "definitions":
            definitions.update({item["ref"]: item for item in schema["definitions"]})
            schema = schema["schema"]
        elif schema["type"] == "definition-ref":
            schema = definitions[schema["schema_ref"]]
        else:
            return None
    inner = schema["schema"]
    if inner["type"] != "dataclass-args" or keeps_extra(schema):
        return None
    return read_as(((item["name"], item) for item in inner["fields"]), names, definitions)


def read_as(
    fields: Iterable[tuple[str, Any]], names: Mapping[str, str], definitions: Mapping[str, Any]
) -> frozenset[str] | None:
    """What the fields that may share containers are read as; None where that is not one name and one alias."""
    found: set[str] = set()
    for field, item in fields:
        if not closed(item["schema"], definitions, frozenset()):
            if field not in names or isinstance(item.get("validation_alias"), list):
                return None
            found |= {field, names[field]}  # it may be read by its name, although it has an alias
    return frozenset(found)


def keeps_extra(schema: Any) -> bool:
    config = getattr(schema["cls"], "__pydantic_config__", None) or {}
    return "allow" in (config.get("extra"), schema.get("config", {}).get("extra_fields_behavior"))


def fresh_defaults(schema: Any, names: Mapping[str, str]) -> frozenset[str] | None:
    """The stored names of a dataclass's fields whose defaults may be another each time; None where more than that may
    differ between two loads of one document.
    """
    rest: list[Any] = []
    while schema["type"] != "dataclass-args":
        if schema.get("post_init"):
            return None
        rest += schema.get("definitions", ())
        if "schema" not in schema:  # it contains itself
            return None if anywhere_unsteady(rest) else frozenset()
        schema = schema["schema"]
    found: set[str] = set()
    for item in schema["fields"]:
        inner = item["schema"]
        if item["name"] in names and unsteady(inner):
            found.add(names[item["name"]])
            inner = inner["schema"]
        rest.append(inner)
    return None if anywhere_unsteady(rest) else frozenset(found)


def unsteady(schema: Any) -> bool:
    """Whether a default is made anew by a function that is not known to make equal ones."""
    factory = schema.get("default_factory") if schema.get("type") == "default" else None
    if factory is None or factory in _STEADY:
        return False
    return not (isinstance(factory, type) and (is_dataclass(factory) or issubclass(factory, BaseModel)))


def anywhere_unsteady(schema: Any) -> bool:
    """Whether there is such a default, or a __post_init__, somewhere in a core schema."""
    if isinstance(schema, (list, tuple)):
        return any(map(anywhere_unsteady, schema))
    if not isinstance(schema, Mapping):
        return False
    if unsteady(schema) or (schema.get("type") == "dataclass" and schema.get("post_init")):
        return True
    return any(anywhere_unsteady(value) for key, value in schema.items() if key not in _NO_SCHEMAS)


def allows_extra(model: type[BaseModel]) -> bool:
    return model.model_config.get("extra") == "allow"


def closed(schema: Any, definitions: Mapping[str, Any], seen: frozenset[str]) -> bool:
    """Whether validation gives values that share no dict or list with the input; False when in doubt."""
    kind = schema["type"]
    if kind in _CLOSED:
        return True
    if kind == "definition-ref":
        ref = schema["schema_ref"]
        return ref in seen or (ref in definitions and closed(definitions[ref], definitions, seen | {ref}))
    if kind == "is-instance":
        return schema["cls"] in (ObjectId, Decimal128)
    if kind == "model":
        inner = schema["schema"]
        return (
            inner["type"] == "model-fields"
            and not allows_extra(schema["cls"])
            and not schema.get("custom_init")
            and all(closed(field["schema"], definitions, seen) for field in inner["fields"].values())
        )
    if kind == "dataclass":
        inner = schema["schema"]
        return (
            inner["type"] == "dataclass-args"
            and not keeps_extra(schema)
            and all(closed(field["schema"], definitions, seen) for field in inner["fields"])
        )
    children = list(parts_of(schema))
    return bool(children) and all(child is not None and closed(child, definitions, seen) for child in children)


def parts_of(schema: Any) -> Iterator[Any]:
    """The schemas of a value's parts; None stands for a part that may be anything."""
    kind = schema["type"]
    if kind in ("nullable", "default", "function-after"):
        yield schema["schema"]
    elif kind == "json-or-python":
        yield schema["python_schema"]
    elif kind in ("list", "set", "frozenset"):
        yield schema.get("items_schema")
    elif kind == "tuple":
        yield from schema["items_schema"]
    elif kind == "dict":
        yield schema.get("values_schema")
    elif kind == "union":
        for choice in schema["choices"]:
            yield choice[0] if isinstance(choice, tuple) else choice
    elif kind == "tagged-union":
        yield from schema["choices"].values()
    elif kind == "chain":
        yield schema["steps"][-1]
    elif kind == "function-plain" and schema["function"].get("function") is ObjectId:
        yield {"type": "str"}
