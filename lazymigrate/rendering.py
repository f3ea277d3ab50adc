"""A chain of declared revisions inside MongoDB: the stages that upgrade a document, and the documents they are exact on.

Fragments whose fields do not meet become one `$set`, in which a removed field is set to `$$REMOVE` (measured: faster than
an `$unset` of its own); everything else is a `$replaceWith` of its own. The stamp is set with the last of them, so that
it is appended where Python appends it.

Documents with equal keys (`{z: 1, z: 2}`) are kept away from pipelines: MongoDB 6.0.5 takes the first value where Python
takes the last, and ends with a failed invariant where its difference would name a field twice.

**Narrow.** Nearly all documents have none of the fields that a rename or an add makes. On these a plain `"$mail"` says
what otherwise takes a condition, and a chain of nothing else can be an update by operators (`$rename`), which is faster
than any pipeline. The server gives new fields the order of their names then, so it is only used where this is the order
that Python gives them. It does not look for equal keys, which costs as much as a fifth of the update: of a renamed or
removed field that occurs twice, the server takes the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lazymigrate.operation import Fragment, Narrow, Operation
from lazymigrate.paths import distinct_
from lazymigrate.sequence import changed_before, safe_in_sequence

__all__ = ["Update", "safe_conditions", "stages", "updates"]

Stages = list[dict[str, Any]]


class Update(NamedTuple):
    """The arguments of an `update_many`."""

    filter: dict[str, Any]
    update: Stages | dict[str, Any]


def updates(
    operations: Sequence[Operation], stamped: Stages, version_field: str, version: int, *, exact: bool = False
) -> list[Update]:
    """Updates of documents that are `stamped` so: the cheapest first, and the last for all that it left.

    `exact`: the cheapest looks for equal keys, too.
    """
    general = Update({"$and": [*stamped, *safe_conditions(operations)]}, stages(operations, version_field, version))
    narrowed = narrow(operations)
    update = by_operators(operations, narrowed, version_field, version)
    if not narrowed:
        return [Update(general.filter, update or general.update)]
    distinct = [{"$expr": distinct_("$$ROOT")}] if exact else []
    cheapest = {"$and": [*stamped, *safe_conditions(operations, narrowed), *distinct]}
    return [Update(cheapest, update or stages(operations, version_field, version, narrowed)), general]


def stages(
    operations: Sequence[Operation], version_field: str, version: int, narrowed: Mapping[int, Narrow] | None = None
) -> Stages:
    """The aggregation stages, fit for an update too, that apply the operations and stamp the document."""
    rendered: Stages = []
    group: list[Fragment] = []
    for index, operation in enumerate(operations):
        fragment = operation.fragment()
        if fragment is None or any(fragment.names & other.names for other in group):
            rendered += fused(group)
            group = []
        if fragment is None:
            rendered.append({"$replaceWith": operation.expression("$$ROOT")})
        elif narrowed and index in narrowed:
            group.append(Fragment(sets={narrowed[index].absent: narrowed[index].value}, unsets=fragment.unsets))
        else:
            group.append(fragment)
    stamp = Fragment(sets={version_field: {"$literal": version}})
    return rendered + fused([*group, stamp])


def fused(group: Sequence[Fragment]) -> Stages:
    """One `$set` for several fragments."""
    sets = {name: value for fragment in group for name, value in fragment.sets.items()}
    sets |= {name: "$$REMOVE" for fragment in group for name in fragment.unsets}
    return [{"$set": sets}] if sets else []


def narrow(operations: Sequence[Operation]) -> dict[int, Narrow]:
    """By index, the operations whose new field can be asked for on the document as stored."""
    found: dict[int, Narrow] = {}
    for index, operation in enumerate(operations):
        fragment = operation.fragment()
        if fragment is not None and fragment.narrow is not None and not changed_before(operations, index):
            found[index] = fragment.narrow
    return found


def by_operators(
    operations: Sequence[Operation], narrowed: Mapping[int, Narrow], version_field: str, version: int
) -> dict[str, Any] | None:
    """The same as an update by operators; None where there is none, or new fields would stand in another order."""
    update: dict[str, dict[str, Any]] = {"$set": {version_field: version}}
    made: list[str] = []
    for index, operation in enumerate(operations):
        if operation.empty:
            continue
        fragment = operation.fragment()
        if fragment is None or changed_before(operations, index):
            return None
        if index in narrowed:
            form = narrowed[index]
            made.append(form.absent)
            update.setdefault(form.operator, {})[form.name] = form.argument
        elif fragment.sets:
            return None
        else:
            update.setdefault("$unset", {}).update(dict.fromkeys(fragment.unsets, ""))
    return update if made == sorted(made) and all(name < version_field for name in made) else None


def safe_conditions(operations: Sequence[Operation], narrowed: Mapping[int, Narrow] | None = None) -> Stages:
    """Filters that together admit the documents on which `stages` is exact.

    An operation whose fields no earlier one has changed is judged on the document as stored, in the language of filters
    where it can be; the others on what the earlier ones gave, by one expression.
    """
    conditions: Stages = []
    judged = []
    for index, operation in enumerate(operations):
        fragment = operation.fragment()
        if narrowed and index in narrowed:
            conditions.append({narrowed[index].absent: {"$exists": False}})
        elif fragment is not None and not changed_before(operations, index):
            if fragment.condition:
                conditions.append(dict(fragment.condition))
        else:
            judged.append(index)
    if judged or not narrowed:
        conditions.append({"$expr": safe_in_sequence(operations, "$$ROOT", judged)})
    return conditions
