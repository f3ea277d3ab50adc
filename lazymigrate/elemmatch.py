"""`$elemMatch` on documents at hand: the server's own matcher says which element is the first that matches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from lazymigrate.trimming import ARRAYS, ElementMatch

__all__ = ["match_pipelines", "read_matches"]

CHUNK = 8 * 1024 * 1024


def match_pipelines(
    documents: Sequence[dict[str, Any]],
    matches: Sequence[ElementMatch],
    codec: CodecOptions[Any],
    *,
    chunk: int = CHUNK,
) -> list[list[dict[str, Any]]]:
    """The aggregations by which the server finds the first matching elements in documents at hand.

    For any collection, and for any MongoDB since 4.2; run them with the collation of the query, and give their results
    to `read_matches`. There is none to run when there are no arrays, and more than one when these have more than
    `chunk` bytes together. Raises what `bson.encode` raises for an array that BSON cannot hold.
    """
    pipelines: list[list[dict[str, Any]]] = []
    arrays: list[RawBSONDocument] = []
    size = 0
    for number, document in enumerate(documents):
        for which, match in enumerate(matches):
            elements = document.get(match.path)
            if isinstance(elements, ARRAYS) and elements:
                raw = bson.encode({"document": number, "match": which, "elements": elements}, codec_options=codec)
                if arrays and size + len(raw) > chunk:
                    pipelines.append(match_pipeline(arrays, matches))
                    arrays, size = [], 0
                arrays.append(RawBSONDocument(raw))
                size += len(raw)
    if arrays:
        pipelines.append(match_pipeline(arrays, matches))
    return pipelines


def match_pipeline(arrays: list[RawBSONDocument], matches: Sequence[ElementMatch]) -> list[dict[str, Any]]:
    """One of these aggregations. Each element is put in an array of its own for `$elemMatch` to look at: conditions on
    scalars, on documents and on arrays then mean what they mean in a projection.
    """
    conditions = [{"match": n, "elements": {"$elemMatch": match.condition}} for n, match in enumerate(matches)]
    return [
        {"$match": {"_id": {"$in": []}}},
        {"$facet": {"nothing": [{"$limit": 1}]}},  # one document out of none, whatever the collection holds
        {"$replaceWith": {"$literal": {"arrays": arrays}}},
        {"$unwind": "$arrays"},
        {"$replaceWith": "$arrays"},
        {"$unwind": {"path": "$elements", "includeArrayIndex": "index"}},
        {"$set": {"elements": ["$elements"]}},
        {"$match": {"$or": conditions}},
        {"$group": {"_id": {"document": "$document", "match": "$match"}, "index": {"$min": "$index"}}},
    ]


def read_matches(raws: Iterable[bytes], matches: Sequence[ElementMatch], count: int) -> list[dict[str, int | None]]:
    """What `trim` is given as `matched`, for each of the `count` documents, from the results of `match_pipelines`."""
    found: list[dict[str, int | None]] = [dict.fromkeys(match.path for match in matches) for _ in range(count)]
    for raw in raws:
        result = bson.decode(raw)
        found[result["_id"]["document"]][matches[result["_id"]["match"]].path] = int(result["index"])
    return found
