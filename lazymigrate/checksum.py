"""The checksum of a revision: of what it does, and of nothing else.

| checksum                    | of                                                                               |
|-----------------------------|----------------------------------------------------------------------------------|
| `ops:<hex>`                 | declared operations: their data in BSON, with what the functions in them do      |
| `code:<hex>`                | a function: what it does (`behaviour`), and its `touches` and `reads`            |
| `bytecode-<Python>:<hex>`   | the same, without a source, or one too deep for it: known to this Python only    |

The way back is part of each. Name, description and number are not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bson

from lazymigrate.behaviour import behaviour, digest
from lazymigrate.declaration import described
from lazymigrate.revision import Revision

__all__ = ["checksum", "same"]


def checksum(revision: Revision) -> str:
    """What the revision does, in a few characters: the same on every supported Python, and after reformatting."""
    kinds: list[str] = []

    def function(function: Callable[..., Any]) -> str:
        found = behaviour(function)
        kinds.append(kind_of(found))
        return found

    content: dict[str, Any] = {}
    if revision.function is None:
        content["operations"] = [described(operation, function) for operation in revision.operations]
    else:
        content["function"] = function(revision.function)
        content["touches"] = None if revision.touches is None else sorted(revision.touches)
        content["reads"] = sorted(revision.reads)
    if revision.back_function is not None:
        content["back"] = function(revision.back_function)
    kind = next((kind for kind in kinds if kind != "code"), "ops" if revision.function is None else "code")
    return f"{kind}:{digest(bson.encode(content))}"


def same(one: str, other: str) -> bool | None:
    """Whether two checksums are of the same; None where they cannot be compared, since one is of another Python's bytecode."""
    if one == other:
        return True
    kinds = {kind_of(one), kind_of(other)}
    return None if len(kinds) > 1 and any(kind.startswith("bytecode-") for kind in kinds) else False


def kind_of(checksum: str) -> str:
    """What stands before the digits."""
    return checksum.partition(":")[0]
