"""What is done for a filter: a value, readable as text and as a dict."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import json_util

from lazymigrate.wording import documents

__all__ = ["ExplainedPart", "Explanation", "Plan", "leading_paths", "plan_of"]

WAYS = {
    "same": "as written",
    "rewritten": "rewritten",
    "inside": "upgraded and matched inside MongoDB",
    "unsafe": "asked as written, which may miss some: a plain function may touch what is asked for",
    "scan": "read, upgraded here, and matched by the server",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the server says that it does: the indexes, keys and documents it looks at, and the documents it gives."""

    indexes: tuple[str, ...] = ()
    scans: bool = False
    keys_examined: int = 0
    examined: int = 0
    returned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedPart:
    """The documents of some versions: what is asked of them, and what that costs.

    - `versions`: which; none for all that are not outdated, and those whose filter is the same as theirs.
    - `kind`: how; `filter`: what the server is sent, None where documents are found by their `_id`s.
    - `plan`: the server's; None where all documents of the versions are read, which are `stored`.
    - `missing`: the paths of an index that would serve it.
    """

    versions: tuple[int, ...]
    kind: str
    filter: Mapping[str, Any] | None
    plan: Plan | None = None
    stored: int = 0
    missing: tuple[str, ...] = ()

    def create_index(self) -> str | None:
        """The call that makes the missing index."""
        if not self.missing:
            return None
        keys = ", ".join(f'("{path}", 1)' for path in self.missing)
        return f"create_index([{keys}])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is done for a filter on one collection, version by version; it holds the filter's values.

    `indexed`: there is a backlog index, so outdated documents of every version are always asked for; else those whose
    versions were there at the last look are.
    """

    collection: str
    head: int
    indexed: bool
    parts: tuple[ExplainedPart, ...]

    def __str__(self) -> str:
        lines = [f"{self.collection}: " + ("one query" if len(self.parts) == 1 else f"{len(self.parts)} branches")]
        for part in self.parts:
            lines.append(f"  {name_of(part, self.head)}: {WAYS[part.kind]}")
            if part.filter is not None:
                lines.append(f"    filter    {shown(part.filter)}")
            lines += [f"    {line}" for line in told(part)]
        if not self.indexed:
            lines.append("  There is no backlog index: which versions are stored is looked up by a scan now and then.")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data; filters in relaxed Extended JSON."""
        return {
            "collection": self.collection,
            "head": self.head,
            "indexed": self.indexed,
            "parts": [
                {
                    "versions": list(part.versions),
                    "kind": part.kind,
                    "filter": None if part.filter is None else json.loads(shown(part.filter)),
                    "indexes": [] if part.plan is None else list(part.plan.indexes),
                    "collection_scan": part.plan is None or part.plan.scans,
                    "keys_examined": 0 if part.plan is None else part.plan.keys_examined,
                    "documents_examined": part.stored if part.plan is None else part.plan.examined,
                    "documents_returned": None if part.plan is None else part.plan.returned,
                    "create_index": part.create_index(),
                }
                for part in self.parts
            ],
        }


def name_of(part: ExplainedPart, head: int) -> str:
    if not part.versions:
        return f"version {head} and all others"
    return f"{'version' if len(part.versions) == 1 else 'versions'} {', '.join(map(str, part.versions))}"


def told(part: ExplainedPart) -> Iterator[str]:
    """What it costs, and what would help."""
    if part.plan is None:
        yield f"reads      {documents(part.stored)}, all at this version"
        return
    plan = part.plan
    used = ", ".join(map(repr, plan.indexes)) or "no index"
    yield f"uses       {used}{', and scans the collection' if plan.scans else ''}"
    yield f"examines   {documents(plan.examined)} ({plan.keys_examined:,} index keys) for {plan.returned:,}"
    if part.missing:
        yield f"would need {part.create_index()}"


def shown(filter: Mapping[str, Any]) -> str:
    return json_util.dumps(filter, json_options=json_util.RELAXED_JSON_OPTIONS, default=str)


def plan_of(answer: Mapping[str, Any]) -> Plan:
    """The server's explanation of a find, in short; of all shards together."""
    indexes: dict[str, None] = {}
    scans = False
    for stage in stages(answer.get("queryPlanner", {}).get("winningPlan", {})):
        if "indexName" in stage:
            indexes[str(stage["indexName"])] = None
        elif stage.get("stage") == "IDHACK":
            indexes["_id_"] = None
        scans = scans or stage.get("stage") == "COLLSCAN"
    found = answer.get("executionStats", {})
    return Plan(
        indexes=tuple(indexes),
        scans=scans,
        keys_examined=int(found.get("totalKeysExamined", 0)),
        examined=int(found.get("totalDocsExamined", 0)),
        returned=int(found.get("nReturned", 0)),
    )


def stages(plan: Any) -> Iterator[Mapping[str, Any]]:
    """All stages of a plan, whatever they are nested in."""
    if isinstance(plan, Mapping):
        yield plan
        for inner in plan.values():
            yield from stages(inner)
    elif isinstance(plan, (list, tuple)):
        for inner in plan:
            yield from stages(inner)


def leading_paths(filter: Any) -> Sequence[str]:
    """The paths that a filter asks for with a condition that an index can serve, as written."""
    if not isinstance(filter, Mapping):
        return ()
    found: list[str] = []
    for name, condition in filter.items():
        if name == "$and":
            found += [path for part in condition for path in leading_paths(part)]
        elif not name.startswith("$"):
            found.append(name)
    return list(dict.fromkeys(found))
