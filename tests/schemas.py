"""Schemas that several test modules declare afresh, since a schema belongs to its test."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from lazymigrate import Schema, ops
from lazymigrate.fields import ObjectId


def users(name: str = "people") -> Schema:
    """Three versions: a function with a way back, then operations."""
    schema = Schema(name)

    @schema.revision(2)
    def split_name(user: dict[str, Any]) -> None:
        """A name becomes a first and a last name."""
        user["first_name"], _, user["last_name"] = user.pop("name").partition(" ")

    @split_name.downgrade
    def join_name(user: dict[str, Any]) -> None:
        user["name"] = f"{user.pop('first_name')} {user.pop('last_name')}".strip()

    schema.revision(3, ops.rename("mail", "email"), ops.add("active", True), name="email_and_active")
    return schema


def declared(name: str = "people") -> Schema:
    """Three versions, all of operations."""
    schema = Schema(name)
    schema.revision(2, ops.rename("name", "full_name"))
    schema.revision(3, ops.rename("mail", "email"), ops.add("active", True))
    return schema


def counter(name: str = "people") -> Schema:
    """Two versions, by a function that may touch anything: the whole document is guarded."""
    schema = Schema(name)

    @schema.revision(2)
    def double(document: dict[str, Any]) -> None:
        document["doubled"] = document["n"] * 2

    return schema


def user_model(schema: Schema) -> type[Any]:
    """A model for `users()`."""

    class User(BaseModel):
        id: ObjectId | int | None = Field(default=None, alias="_id")
        first_name: str
        last_name: str
        email: str = ""
        active: bool = True
        tags: list[str] = []
        address: dict[str, Any] = {}

    return schema.model(User)
