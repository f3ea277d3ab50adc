"""Explaining what is done for a filter, and showing the collection at head to programs in other languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lazymigrate.commands import DatabaseCommand, ListIndexes, Procedure, StampCounts
from lazymigrate.coverage import Coverage
from lazymigrate.explanation import ExplainedPart, Explanation, Plan, leading_paths, plan_of
from lazymigrate.mixed import upgrade_stages
from lazymigrate.procedures.matching import combined, possible_versions, rewritings
from lazymigrate.query import Rewriting, sort_keys
from lazymigrate.scope import Scope

__all__ = ["create_view", "explain"]

Filter = Mapping[str, Any]


def explain(scope: Scope, filter: Filter, options: Mapping[str, Any]) -> Procedure[Explanation]:
    """What is run for a filter, version by version, as the server explains it: each part is run once."""
    schema = scope.schema
    versions = yield from possible_versions(scope)
    own = [rewriting for rewriting in rewritings(scope, filter, versions, options) if rewriting.kind != "same"]
    known = {rewriting.version: rewriting.filter for rewriting in own if rewriting.filter is not None}
    meant = combined(scope, filter, known) if known else None
    others = filter if meant is None else meant.others
    plan = yield from planned(scope, others, options)
    indexed = first_keys((yield ListIndexes())) if known else set[str]()
    wanted = [path for path in leading_paths(filter) if path != "_id"]
    missing = tuple(wanted[:1]) if plan.scans else ()
    parts = [ExplainedPart(versions=(), kind="same", filter=others, plan=plan, missing=missing)]
    stored: dict[int, int] = {}
    if len(known) < len(own):
        counted = Coverage.of(schema, scope.name, (yield StampCounts(schema.version_field)))
        stored = {**counted.by_version}
    for rewriting in own:
        version = rewriting.version
        if meant is None or version not in known:
            count = stored.get(version, 0)
            parts.append(ExplainedPart(versions=(version,), kind=kind_of(scope, rewriting), filter=None, stored=count))
            continue
        own_plan = yield from planned(scope, meant.parts[version], options)
        lacking = () if own_plan.examined <= own_plan.returned else lacks(scope, wanted, version, indexed)
        parts.append(
            ExplainedPart(versions=(version,), kind="rewritten", filter=known[version], plan=own_plan, missing=lacking)
        )
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


def lacks(scope: Scope, wanted: list[str], version: int, indexed: set[str]) -> tuple[str, ...]:
    """The path at which a version has what is asked for, where no index begins with it."""
    for path in wanted:
        for key in sort_keys(scope.schema, path, version) or ():
            if key.path is not None and key.path != path and key.path not in indexed:
                return (key.path,)
    return ()


def first_keys(indexes: list[Mapping[str, Any]]) -> set[str]:
    """The paths that indexes begin with."""
    return {next(iter(index["key"]), "") for index in indexes}


def create_view(scope: Scope, name: str) -> Procedure[None]:
    """A view of that name shows the collection at head, as far as `upgrade_stages` says."""
    stages = upgrade_stages(scope.schema)
    yield DatabaseCommand({"create": name, "viewOn": scope.name, "pipeline": stages})
