"""Constants in a declaration: checked once, and never shared between documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bson
from bson.errors import BSONError

from lazymigrate.documents import copy_value
from lazymigrate.exceptions import SchemaError
from lazymigrate.wording import with_article

__all__ = ["constant", "copier"]


def constant(value: Any, where: str) -> Any:
    """The value as it will be read back from MongoDB; `SchemaError` when BSON cannot hold it."""
    try:
        return bson.decode(bson.encode({"value": value}))["value"]
    except (BSONError, OverflowError, TypeError, ValueError) as error:
        raise SchemaError(
            f"{where}: {with_article(type(value).__name__)} cannot be stored as BSON ({type(error).__name__}). Use a "
            "value that BSON has a type for."
        ) from error


def copier(value: Any) -> Callable[[], Any]:
    """A function that gives the constant, a fresh copy each time where it can be changed."""
    if isinstance(value, (dict, list)):
        return lambda: copy_value(value)
    return lambda: value
