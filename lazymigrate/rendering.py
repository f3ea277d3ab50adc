"""A chain of declared revisions inside MongoDB: the stages that upgrade a document, and the documents they are exact on.

Fragments whose fields do not meet become one `$set` and one `$unset`; everything else is a `$replaceWith` of its own. The
stamp is set with the last of them, so that it is appended where Python appends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazymigrate.operation import Fragment, Operation
from lazymigrate.sequence import changed_before, safe_in_sequence

__all__ = ["safe_conditions", "stages"]


def stages(operations: Sequence[Operation], version_field: str, version: int) -> list[dict[str, Any]]:
    """The aggregation stages, fit for an update too, that apply the operations and stamp the document."""
    rendered: list[dict[str, Any]] = []
    group: list[Fragment] = []
    for operation in operations:
        fragment = operation.fragment()
        if fragment is None or any(fragment.names & other.names for other in group):
            rendered += fused(group)
            group = []
        if fragment is None:
            rendered.append({"$replaceWith": operation.expression("$$ROOT")})
        else:
            group.append(fragment)
    stamp = Fragment(sets={version_field: {"$literal": version}})
    return rendered + fused([*group, stamp])


def fused(group: Sequence[Fragment]) -> list[dict[str, Any]]:
    """One `$set` and one `$unset` for several fragments."""
    sets = {name: value for fragment in group for name, value in fragment.sets.items()}
    unsets = [name for fragment in group for name in fragment.unsets]
    rendered: list[dict[str, Any]] = []
    if sets:
        rendered.append({"$set": sets})
    if unsets:
        rendered.append({"$unset": unsets})
    return rendered


def safe_conditions(operations: Sequence[Operation]) -> list[dict[str, Any]]:
    """Filters that together admit the documents on which `stages` is exact.

    An operation whose fields no earlier one has changed is judged on the document as stored, in the language of filters
    where it can be; the others on what the earlier ones gave, by one expression.
    """
    conditions: list[dict[str, Any]] = []
    judged = []
    for index, operation in enumerate(operations):
        fragment = operation.fragment()
        if fragment is not None and not changed_before(operations, index):
            if fragment.condition:
                conditions.append(dict(fragment.condition))
        else:
            judged.append(index)
    if judged:
        expression = safe_in_sequence(operations, "$$ROOT", judged)
        if expression is not True:
            conditions.append({"$expr": expression})
    return conditions
