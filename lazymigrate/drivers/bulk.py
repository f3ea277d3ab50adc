"""The requests of a bulk write: pymongo's objects understood as commands, and commands spelled as pymongo's objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pymongo

from lazymigrate.commands import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne

__all__ = ["Write", "request", "understood"]

Write = InsertOne | UpdateOne | UpdateMany | ReplaceOne | DeleteOne | DeleteMany


def understood(requests: Iterable[Any]) -> list[tuple[Write, Any]]:
    """Each request as a command, and beside it what it was given to store; `TypeError` for what is none."""
    return [understand(item) for item in requests]


def understand(item: Any) -> tuple[Write, Any]:
    match item:
        case pymongo.InsertOne():
            return InsertOne({}), held(item, "doc")
        case pymongo.ReplaceOne():
            return ReplaceOne(held(item, "filter"), {}, bool(held(item, "upsert")), options(item)), held(item, "doc")
        case pymongo.UpdateOne():
            return UpdateOne(held(item, "filter"), held(item, "doc"), bool(held(item, "upsert")), options(item)), None
        case pymongo.UpdateMany():
            return UpdateMany(held(item, "filter"), held(item, "doc"), bool(held(item, "upsert")), options(item)), None
        case pymongo.DeleteOne():
            return DeleteOne(held(item, "filter"), options(item)), None
        case pymongo.DeleteMany():
            return DeleteMany(held(item, "filter"), options(item)), None
        case _:
            raise TypeError(
                f"bulk_write takes pymongo's InsertOne, UpdateOne, UpdateMany, ReplaceOne, DeleteOne and DeleteMany, not a "
                f"{type(item).__name__}. Use bulk_write of the client for several collections."
            )


def held(item: Any, name: str) -> Any:
    """What a request was made with; pymongo's objects have no public way to be read."""
    return getattr(item, f"_{name}", None)


def options(item: Any) -> dict[str, Any]:
    """The keywords that a request was made with, but for its filter and what it stores."""
    names = ("collation", "array_filters", "hint", "sort")
    return {name: value for name in names if (value := held(item, name)) is not None}


def request(write: Write) -> Any:
    """A command as pymongo's object."""
    match write:
        case InsertOne(document):
            return pymongo.InsertOne(document)
        case ReplaceOne(filter, replacement, upsert, keywords):
            return pymongo.ReplaceOne(filter, replacement, upsert=upsert, **keywords)
        case UpdateOne(filter, update, upsert, keywords):
            return pymongo.UpdateOne(filter, update, upsert=upsert, **keywords)
        case UpdateMany(filter, update, upsert, keywords):
            return pymongo.UpdateMany(filter, update, upsert=upsert, **keywords)
        case DeleteOne(filter, keywords):
            return pymongo.DeleteOne(filter, **keywords)
        case DeleteMany(filter, keywords):
            return pymongo.DeleteMany(filter, **keywords)
