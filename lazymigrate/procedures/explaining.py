"""Explaining what is done for a filter, and showing the collection at head to programs in other languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lazymigrate.commands import DatabaseCommand, Procedure, StampCounts
from lazymigrate.coverage import Coverage
from lazymigrate.explanation import ExplainedPart, Explanation, Plan, leading_paths, plan_of
from lazymigrate.mixed import upgrade_stages
from lazymigrate.places import Turned
from lazymigrate.procedures.matching import at, combined, possible_versions, way
from lazymigrate.query import Rewriting, sort_keys
from lazymigrate.scope import Scope

__all__ = ["create_view", "explain"]

Filter = Mapping[str, Any]


def explain(scope: Scope, filter: Filter, options: Mapping[str, Any]) -> Procedure[Explanation]:
    """What is run for a filter, version by version, as the server explains it: each part is run once."""
    schema = scope.schema
    versions = yield from possible_versions(scope, options)
    ways = {version: way(scope, filter, version, options) for version in versions}
    known = {v: own for v, own in ways.items() if isinstance(own, Turned) and (own.branches or not own.as_written)}
    hard = [own for own in ways.values() if isinstance(own, Rewriting)]
    meant = combined(scope, filter, known)
    plan = yield from planned(scope, meant.others, options)
    wanted = [path for path in leading_paths(filter) if path != "_id"]
    missing = tuple(wanted[:1]) if plan.scans else ()
    parts = [ExplainedPart(versions=(), kind="same", filter=meant.others, plan=plan, missing=missing)]
    for version, own in known.items():
        filters = own.branches[0] if len(own.branches) == 1 else {"$or": [*own.branches]}
        sent = at(scope, filters, [version])
        plan = yield from planned(scope, sent, options)
        lacking = () if plan.examined <= plan.returned else lacks(scope, wanted, version)
        parts.append(ExplainedPart(versions=(version,), kind="rewritten", filter=sent, plan=plan, missing=lacking))
    if hard:
        counted = Coverage.of(schema, scope.name, (yield StampCounts(schema.version_field)))
        parts += [
            ExplainedPart(
                versions=(rewriting.version,),
                kind=kind_of(scope, rewriting),
                filter=None,
                stored=counted.by_version.get(rewriting.version, 0),
            )
            for rewriting in hard
        ]
    return Explanation(collection=scope.name, head=schema.head, indexed=scope.presence.indexed, parts=tuple(parts))


def planned(scope: Scope, filter: Filter, options: Mapping[str, Any]) -> Procedure[Plan]:
    """The server's plan for a find with a filter."""
    find: dict[str, Any] = {"find": scope.name, "filter": filter}
    find |= {name: options[name] for name in ("collation", "hint", "let") if options.get(name) is not None}
    return plan_of((yield DatabaseCommand({"explain": find, "verbosity": "executionStats"})))


def kind_of(scope: Scope, rewriting: Rewriting) -> str:
    """What becomes of what cannot be rewritten, under the policy."""
    scans = rewriting.kind == "unsafe" and scope.policy.on_unsafe_query == "scan"
    return "scan" if scans else rewriting.kind


def lacks(scope: Scope, wanted: list[str], version: int) -> tuple[str, ...]:
    """The path at which a version has what is asked for, where no index begins with it."""
    for path in wanted:
        for key in sort_keys(scope.schema, path, version) or ():
            if key.path is not None and key.path != path and key.path not in scope.presence.leading:
                return (key.path,)
    return ()


def create_view(scope: Scope, name: str) -> Procedure[None]:
    """A view of that name shows the collection at head, as far as `upgrade_stages` says."""
    stages = upgrade_stages(scope.schema)
    yield DatabaseCommand({"create": name, "viewOn": scope.name, "pipeline": stages})
