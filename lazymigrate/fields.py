"""Types of BSON that pydantic does not know, annotated for use in models."""

from __future__ import annotations

from typing import Annotated, Any

import bson
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

__all__ = ["ObjectId"]


class _ObjectIdAnnotation:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from_text = core_schema.chain_schema(
            [
                core_schema.str_schema(pattern="^[0-9a-fA-F]{24}$"),
                core_schema.no_info_plain_validator_function(bson.ObjectId),
            ]
        )
        return core_schema.json_or_python_schema(
            json_schema=from_text,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(bson.ObjectId), from_text]),
            serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": "^[0-9a-fA-F]{24}$"}


ObjectId = Annotated[bson.ObjectId, _ObjectIdAnnotation]
"""`bson.ObjectId` as a pydantic field: kept as it is in Python, 24 hexadecimal digits in JSON; accepts both."""
