"""Lazy schema migration for MongoDB: documents are upgraded when they are read, and stored at head when written."""

import logging

from lazymigrate import ops
from lazymigrate.collection import AsyncLazyCollection, LazyCollection
from lazymigrate.coverage import Coverage
from lazymigrate.exceptions import (
    AheadError,
    ConflictError,
    InvalidVersionError,
    IrreversibleError,
    LazyMigrateError,
    ModelError,
    RetiredVersionError,
    SchemaError,
    UpgradeError,
)
from lazymigrate.policy import Policy
from lazymigrate.schema import Schema

__all__ = [
    "AheadError",
    "AsyncLazyCollection",
    "ConflictError",
    "Coverage",
    "InvalidVersionError",
    "IrreversibleError",
    "LazyCollection",
    "LazyMigrateError",
    "ModelError",
    "Policy",
    "RetiredVersionError",
    "Schema",
    "SchemaError",
    "UpgradeError",
    "ops",
]

logging.getLogger("lazymigrate").addHandler(logging.NullHandler())
