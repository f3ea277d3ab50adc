"""Where to divide a collection, so that its parts hold about the same number of documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazymigrate.commands import Aggregate, At, Attempt, Chunks, EstimatedCount, Failure, Procedure
from lazymigrate.partition import Partition, between, bound_of
from lazymigrate.scope import Scope

__all__ = ["partitions"]

SAMPLED = 200  # _ids for each partition: a share is then within a fifth of the average, nearly always
SHARE = 0.045  # of the collection: from 5 % on, $sample reads it all
FEW = 40  # sampled _ids for each partition that are too few: all are read instead, from the index
IDENTITIES: dict[str, Any] = {"$project": {"_id": 1}}
IN_ORDER: dict[str, Any] = {"$sort": {"_id": 1}}


def partitions(scope: Scope, n: int) -> Procedure[list[Partition]]:
    """At most `n` partitions, fewer only where there are fewer documents: every document is in exactly one.

    Bounds are where chunks end, where the collection is sharded by its `_id` and has that many; else they come from a
    sample of `_id`s. `ValueError` unless `n` is at least 1.
    """
    if type(n) is not int or n < 1:
        raise ValueError(f"{scope.name}: n={n!r}: the number of partitions is an integer of at least 1.")
    if n == 1:
        return between(())
    ends = yield from chunk_ends(scope)
    if len(ends) >= n:
        return between(spread(ends, n))
    total: int = yield At("sweep", EstimatedCount())
    size = min(SAMPLED * n, int(total * SHARE))
    sampled = size >= FEW * n
    # Sorted by the server: only it knows in what order the collection's collation has texts.
    pipeline = [{"$sample": {"size": size}}, IDENTITIES, IN_ORDER] if sampled else [IN_ORDER, IDENTITIES]
    identities: list[bytes] = yield At("sweep", Aggregate(pipeline, {"allowDiskUse": True}))
    return between(spread(identities, n))


def chunk_ends(scope: Scope) -> Procedure[list[bytes]]:
    """Where the chunks of the collection end; nothing where it has none by `_id`, or this user may not know.

    A document on the very bound of a chunk is swept with the chunk before. Nothing relies on the difference.
    """
    described = yield Attempt(At("sweep", Aggregate([{"$collStats": {"count": {}}}])))
    if isinstance(described, Failure) or not described:
        return []
    ends = yield Attempt(Chunks(str(scope.decode(described[0])["ns"])))
    return [] if isinstance(ends, Failure) else ends


def spread(ends: Sequence[bytes], n: int) -> list[Any]:
    """Of the `_id`s at which documents (or chunks) end, those at which each n-th part of them does, but the last.

    In a sample an `_id` may be twice. An `_id` that cannot be a bound is left out: there are fewer partitions then.
    """
    chosen = dict.fromkeys(ends[index - 1] for part in range(1, n) if (index := len(ends) * part // n))
    return [bound for raw in chosen if (bound := bound_of(raw)) is not None]
