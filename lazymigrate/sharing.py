"""Which fields of a model may share their containers with the document that it was validated from.

Read once from pydantic's core schema; whatever is not known to be copied by validation is taken as shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bson import Decimal128, ObjectId
from pydantic import BaseModel

__all__ = ["shared_fields"]

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
    return frozenset(
        names[field] for field, item in inner["fields"].items() if not closed(item["schema"], definitions, frozenset())
    )


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
