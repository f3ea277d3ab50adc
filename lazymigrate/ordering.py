"""One order for documents of several versions: the pipeline that gives them as a sort of the newest shape would.

A field that revisions move stands at another path in older documents, so there is no one sort for all of them. Each group
of documents that have it at the same path is a *branch*: matched, sorted and limited by itself, with whatever index there
is on that path; the few that are left of each are then sorted together by the server, which knows how it compares. Without
a limit the server sorts all matches once, on disk if need be; none of it is in the client's memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from lazymigrate.query import SortKey

__all__ = ["Branch", "at_hand", "branches_of", "expression_of", "key_fields", "on_hand", "ordered", "sort_of"]

Filter = Mapping[str, Any]
Keys = Sequence[tuple[str, int]]
DOCUMENT = "document"


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Documents that have what is sorted by at the same paths.

    `filter` is which; `keys` are the paths in the order of the sort, each with its direction: None where all of them have the
    same value there, `constants` by the number of the key. `before` are stages that come between the match and the sort;
    then paths are those of what they give, and `kept` is the path of the stored document in it.
    """

    filter: Filter
    keys: Sequence[tuple[str | None, Any]]
    constants: Mapping[int, Any]
    before: Sequence[Mapping[str, Any]] = ()
    kept: str | None = None


def branches_of(filter: Filter, sort: Keys, keys: Sequence[Sequence[SortKey]]) -> list[Branch]:
    """The branches of a version: one for each way in which its documents have what is sorted by."""
    found: list[Branch] = []
    for combination in product(*keys):
        conditions = [dict(key.condition) for key in combination if key.condition]
        found.append(
            Branch(
                filter={"$and": [filter, *conditions]} if conditions else filter,
                keys=[(key.path, direction) for key, (_, direction) in zip(combination, sort, strict=True)],
                constants={n: key.constant for n, key in enumerate(combination) if key.path is None},
            )
        )
    return found


def ordered(
    collection: str, ways: Sequence[Branch | list[dict[str, Any]]], sort: Keys, *, skip: int, limit: int
) -> list[Mapping[str, Any]]:
    """The pipeline that gives the documents of all branches (or what whole pipelines of keys give) in one order, as stored."""
    most = skip + limit if limit else 0
    first, *others = [stages(way, most) if isinstance(way, Branch) else way for way in ways]
    joined = [{"$unionWith": {"coll": collection, "pipeline": other}} for other in others]
    together: dict[str, Any] = {f"k{n}": direction for n, (_, direction) in enumerate(sort)}
    pages = ([{"$skip": skip}] if skip else []) + ([{"$limit": limit}] if limit else [])
    return [*first, *joined, {"$sort": together}, *pages, {"$replaceWith": f"${DOCUMENT}"}]


def stages(branch: Branch, limit: int) -> list[Mapping[str, Any]]:
    """One branch: its documents, at most as many as may be needed, each beside what it is sorted by."""
    own: dict[str, Any] = {path: direction for path, direction in branch.keys if path is not None}
    top = ([{"$sort": own}] if own else []) + [{"$limit": limit}] if limit else []
    document = "$$ROOT" if branch.kept is None else f"${branch.kept}"
    keys = {
        f"k{n}": {"$literal": branch.constants.get(n)} if path is None else expression_of(path)
        for n, (path, _) in enumerate(branch.keys)
    }
    return [{"$match": branch.filter}, *branch.before, *top, {"$replaceWith": {DOCUMENT: document, **keys}}]


def on_hand(documents: Sequence[Any]) -> list[dict[str, Any]]:
    """The stages that give documents at hand, for any MongoDB, on any collection, even an empty one."""
    return [
        {"$match": {"_id": {"$in": []}}},
        {"$facet": {"nothing": [{"$limit": 1}]}},  # one document out of none, whatever the collection holds
        {"$replaceWith": {"documents": {"$literal": [*documents]}}},
        {"$unwind": "$documents"},
        {"$replaceWith": "$documents"},
    ]


def key_fields(paths: Sequence[str]) -> dict[str, Any]:
    """What documents are sorted by, as the fields of a stage."""
    return {f"k{n}": expression_of(path) for n, path in enumerate(paths)}


def at_hand(collection: str, found: Sequence[Any]) -> list[dict[str, Any]]:
    """A branch of documents of which each `_id` and what it is sorted by are known, and that are fetched by it."""
    by_id = {"from": collection, "localField": "_id", "foreignField": "_id", "as": DOCUMENT}
    return [*on_hand(found), {"$lookup": by_id}, {"$unwind": f"${DOCUMENT}"}, {"$unset": "_id"}]


def expression_of(path: str) -> Any:
    """The value at a path, as a sort looks for it: numbers are positions in arrays, too."""
    names = path.split(".")
    if not any(name.isdecimal() for name in names):
        return f"${path}"
    value: Any = "$$ROOT"
    for name in names:
        inner: Any = {"$getField": {"field": {"$literal": name}, "input": value}}
        if name.isdecimal():
            inner = {"$cond": [{"$isArray": [value]}, {"$arrayElemAt": [value, int(name)]}, inner]}
        value = inner
    return value


def sort_of(sort: Any) -> list[tuple[str, Any]]:
    """A sort in any of the forms that pymongo takes, as pairs; empty for none."""
    if not sort:
        return []
    if isinstance(sort, str):
        return [(sort, 1)]
    if isinstance(sort, Mapping):
        return [*sort.items()]
    return [(key, 1) if isinstance(key, str) else (key[0], key[1]) for key in sort]
