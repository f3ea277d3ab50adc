"""Lazy schema migration for MongoDB: documents are upgraded when they are read, and stored at head when written."""

import importlib
import logging
from typing import TYPE_CHECKING

from lazymigrate.async_collection import AsyncLazyCollection
from lazymigrate.collection import LazyCollection
from lazymigrate.coverage import Coverage
from lazymigrate.exceptions import (
    AheadError,
    ConflictError,
    CoverageError,
    DriftError,
    InvalidVersionError,
    IrreversibleError,
    LazyMigrateError,
    LeaseHeldError,
    ModelError,
    PartialDocumentError,
    RetiredVersionError,
    RunError,
    SchemaError,
    UnsafeQueryError,
    UnsafeQueryWarning,
    UpgradeError,
)
from lazymigrate.partition import Partition
from lazymigrate.policy import Policy
from lazymigrate.projection import PartialDocument
from lazymigrate.schema import Schema

__all__ = [
    "AheadError",
    "AsyncLazyCollection",
    "ConflictError",
    "Coverage",
    "CoverageError",
    "DriftError",
    "InvalidVersionError",
    "IrreversibleError",
    "LazyCollection",
    "LazyMigrateError",
    "LeaseHeldError",
    "ModelError",
    "PartialDocument",
    "PartialDocumentError",
    "Partition",
    "Policy",
    "RetiredVersionError",
    "RunError",
    "Schema",
    "SchemaError",
    "UnsafeQueryError",
    "UnsafeQueryWarning",
    "UpgradeError",
    "ops",
]

if TYPE_CHECKING:
    from lazymigrate import ops

logging.getLogger("lazymigrate").addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    """The operations, loaded when they are first used: `lazymigrate.ops` after a plain `import lazymigrate`."""
    if name == "ops":
        return importlib.import_module("lazymigrate.ops")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
