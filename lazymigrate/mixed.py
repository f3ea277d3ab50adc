"""Documents of mixed versions brought to head inside MongoDB, in one pass, as the first stages of an aggregation.

One stage serves every version: each operation knows the version that its revision leads to, and passes the documents
that are there already. So the stage grows with the number of operations, not with its square, as a branch for every
version would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lazymigrate.operation import Effects, Expression, Operation, Step
from lazymigrate.schema import Schema
from lazymigrate.sequence import OperationSequence

__all__ = ["prepend", "upgrade_stages"]

Stage = Mapping[str, Any]

MUST_BE_FIRST = frozenset({"$geoNear", "$search", "$vectorSearch"})
NO_DOCUMENTS = frozenset(
    {
        "$changeStream",
        "$changeStreamSplitLargeEvent",
        "$collStats",
        "$currentOp",
        "$documents",
        "$indexStats",
        "$listClusterCatalog",
        "$listLocalSessions",
        "$listSampledQueries",
        "$listSearchIndexes",
        "$listSessions",
        "$planCacheStats",
        "$queryStats",
        "$querySettings",
        "$searchMeta",
        "$shardedDataDistribution",
    }
)


def upgrade_stages(schema: Schema) -> list[dict[str, Any]]:
    """Aggregation stages that bring documents of every version to head: byte for byte as `Schema.upgrade` does.

    Documents at head, ahead, retired or without a valid version pass as stored, and so does a document on which the
    operations are not exact inside MongoDB (`Schema.safe_filter`): its stamp tells. No stages when no version is
    outdated. `SchemaError` names the first revision that cannot run inside MongoDB.
    """
    schema.pipeline(schema.oldest)  # the one place that says why a chain has no form inside MongoDB
    versions = list(range(schema.oldest, schema.settled))
    if not versions:
        return []
    pending = OperationSequence(
        tuple(
            Pending(operation, revision.version) for revision in schema.revisions for operation in revision.operations
        )
    )
    # Compared as the server compares numbers of any type; unlike a filter, the operator does not look into arrays.
    conditions = [{"$in": ["$$version", {"$literal": versions}]}, pending.safe("$$ROOT")]
    upgraded = {
        "$setField": {
            "field": {"$literal": schema.version_field},
            "input": pending.expression("$$ROOT"),
            "value": {"$literal": schema.head},
        }
    }
    version = {"$ifNull": [f"${schema.version_field}", schema.base]}
    choice = {"$cond": [{"$and": conditions}, upgraded, "$$ROOT"]}
    return [{"$replaceWith": {"$let": {"vars": {"version": version}, "in": choice}}}]


@dataclass(frozen=True, slots=True)
class Pending(Operation):
    """An operation for the documents below a version, by the variable `$$version`; the others it leaves as they are."""

    operation: Operation
    below: int

    def compile(self) -> Step:
        return self.operation.compile()

    def expression(self, document: Expression) -> Expression:
        return {"$cond": [self._passed, document, self.operation.expression(document)]}

    def safe(self, document: Expression) -> Expression:
        condition = self.operation.safe(document)
        return True if condition is True else {"$or": [self._passed, condition]}

    def reverse(self) -> Operation | None:
        return None

    def effects(self) -> Effects:
        return self.operation.effects()

    @property
    def _passed(self) -> Expression:
        return {"$gte": ["$$version", self.below]}

    @property
    def renders(self) -> bool:
        return self.operation.renders

    @property
    def unbounded(self) -> bool:
        return self.operation.unbounded

    @property
    def empty(self) -> bool:
        return self.operation.empty


def prepend(schema: Schema, pipeline: Sequence[Stage]) -> list[Stage]:
    """The pipeline, on documents of which those that are outdated are upgraded first (`upgrade_stages`).

    What the server wants to have first stays first and sees the documents as they are stored: `$geoNear`, `$search`,
    `$vectorSearch`, and a `$match` with `$text`. So does what gives the same either way and can use an index before
    the upgrade, but not after it: conditions on `_id` in a `$match`, a `$sort` by `_id`, `$limit`, `$skip`, `$sample`.
    `ValueError` for a pipeline whose first stage does not give documents of the collection; `SchemaError` as
    `upgrade_stages`.
    """
    if isinstance(pipeline, (Mapping, str, bytes)):
        raise TypeError(f"{schema.name}: a pipeline is a list of stages, not a {type(pipeline).__name__}.")
    upgrade = upgrade_stages(schema)
    stages = list(pipeline)
    first: list[Stage] = []
    while stages:
        name, argument = operator_of(stages[0])
        if not first and name in NO_DOCUMENTS:
            raise ValueError(
                f"{schema.name}: {name} does not give documents of the collection, so there is nothing to upgrade. "
                "Aggregate without upgrade=True."
            )
        if name == "$match" and isinstance(argument, Mapping):
            before, after = divided(argument, text=not first)
            first += [{"$match": before}] if before else []
            if after or not before:
                stages[0] = {"$match": after}
                break
        elif stays_first(name, argument, beginning=not first):
            first.append(stages[0])
        else:
            break
        del stages[0]
    return [*first, *upgrade, *stages] if upgrade else list(pipeline)


def operator_of(stage: Any) -> tuple[str, Any]:
    """The name and the argument of a stage; a malformed one is the server's to refuse."""
    return next(iter(stage.items())) if isinstance(stage, Mapping) and len(stage) == 1 else ("", None)


def stays_first(name: str, argument: Any, *, beginning: bool) -> bool:
    """Whether a stage is to see documents as stored: it must be the first of all, or gives the same either way."""
    if name == "$sort":
        return isinstance(argument, Mapping) and all(of_identity(key) for key in argument)
    return name in {"$limit", "$skip", "$sample"} or (beginning and name in MUST_BE_FIRST)


def divided(filter: Mapping[str, Any], *, text: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """A filter as two that together say the same: for documents as stored, and for upgraded ones.

    `text`: whether the server would take a text search here.
    """
    if text and "$text" not in filter and asks_text(filter):
        return dict(filter), {}
    before = {key: value for key, value in filter.items() if of_identity(key) or (text and key == "$text")}
    return before, {key: value for key, value in filter.items() if key not in before}


def of_identity(key: str) -> bool:
    """Whether a path is in the `_id`, which no upgrade changes."""
    return key == "_id" or key.startswith("_id.")


def asks_text(condition: Any) -> bool:
    """Whether a text search is nested in a filter."""
    if isinstance(condition, Mapping):
        return "$text" in condition or any(
            asks_text(inner) for key, inner in condition.items() if key in {"$and", "$or", "$nor"}
        )
    return isinstance(condition, (list, tuple)) and any(map(asks_text, condition))
