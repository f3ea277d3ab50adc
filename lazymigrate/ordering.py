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
from typing import Any, Final, NamedTuple

from lazymigrate.query import SortKey

__all__ = ["Branch", "Pages", "at_hand", "branches_of", "expression_of", "key_fields", "on_hand", "ordered", "sort_of"]

Filter = Mapping[str, Any]
Keys = Sequence[tuple[str, int]]
DOCUMENT = "document"
ONE_OF_EACH: Final[Sequence[Mapping[str, Any]]] = (
    {"$group": {"_id": {"$ifNull": [f"${DOCUMENT}._id", {"$rand": {}}]}, "one": {"$first": "$$ROOT"}}},
    {"$replaceWith": "$one"},
)  # a view may have no `_id`


class Pages(NamedTuple):
    """Which documents of an order are given: how many are skipped, how many are given at most (0 is all), and how many of each
    branch that takes (0 is all).
    """

    skip: Any
    limit: Any
    most: Any

    @classmethod
    def of(cls, skip: int, limit: int) -> Pages:
        """Those of a query; a limit below zero is as many in one answer."""
        return cls(skip, abs(limit), skip + abs(limit) if limit else 0)


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
    collection: str,
    ways: Sequence[Branch | list[dict[str, Any]]],
    sort: Keys,
    pages: Pages,
    *,
    once: bool = True,
    in_transaction: bool = False,
) -> list[Mapping[str, Any]]:
    """The pipeline that gives the documents of all branches (or what whole pipelines of keys give) in one order, as stored.

    The server reads one after the other, so what is upgraded meanwhile is met twice where its old version comes before head, and
    would be missed the other way round. `once`: of what was met twice one is given, by the `_id`, which no collation may
    compare then. `in_transaction`: a transaction knows no `$unionWith`; then each branch is an array in one document (100 MB).
    """
    first, *others = pipelines = [stages(way, pages.most) if isinstance(way, Branch) else way for way in ways]
    joined: list[Mapping[str, Any]] = [{"$unionWith": {"coll": collection, "pipeline": other}} for other in others]
    if in_transaction and others:
        looks = {f"w{n}": {"from": collection, "pipeline": own} for n, own in enumerate(pipelines)}
        every = {"$concatArrays": [f"${name}" for name in looks]}
        first = [*on_hand([{}]), *({"$lookup": {**look, "as": name}} for name, look in looks.items())]
        joined = [{"$project": {"all": every}}, {"$unwind": "$all"}, {"$replaceWith": "$all"}]
    together: dict[str, Any] = {f"k{n}": direction for n, (_, direction) in enumerate(sort)}
    return [
        *first,
        *joined,
        *(ONE_OF_EACH if once else ()),
        {"$sort": together},
        *([{"$skip": pages.skip}] if pages.skip else ()),
        *([{"$limit": pages.limit}] if pages.limit else ()),
        {"$replaceWith": f"${DOCUMENT}"},
    ]


def stages(branch: Branch, limit: Any) -> list[Mapping[str, Any]]:
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
    """The value at a path, as a sort looks for it: in each element of an array, or in one of them where a name is a number."""
    first, *rest = path.split(".")
    return reached(f"${first}", rest) if rest else f"${first}"


def reached(value: Any, names: Sequence[str]) -> Any:
    """What stands at a path inside a value."""
    if not names:
        return value
    name, *rest = names
    own = reached(field_of(value, name), rest)
    if name.isdecimal():
        return {"$cond": [{"$isArray": [value]}, reached({"$arrayElemAt": [value, int(name)]}, rest), own]}
    element = {"$cond": [{"$isArray": ["$$element"]}, None, reached(field_of("$$element", name), rest)]}
    each = {"$map": {"input": value, "as": "element", "in": element}}
    listed = {"$cond": [{"$isArray": ["$$this"]}, "$$this", ["$$this"]]}
    flat = {"$reduce": {"input": each, "initialValue": [], "in": {"$concatArrays": ["$$value", listed]}}}
    return {"$cond": [{"$isArray": [value]}, {"$cond": [{"$eq": [value, []]}, None, flat]}, own]}


def field_of(value: Any, name: str) -> Any:
    """The field of a document, whatever its name is."""
    return {"$getField": {"field": {"$literal": name}, "input": value}}


def sort_of(sort: Any) -> list[tuple[str, Any]]:
    """A sort in any of the forms that pymongo takes, as pairs; empty for none. Of a path that it has twice the last counts."""
    if not sort:
        return []
    if isinstance(sort, str):
        return [(sort, 1)]
    if isinstance(sort, Mapping):
        return [*sort.items()]
    return [*dict((key, 1) if isinstance(key, str) else (key[0], key[1]) for key in sort).items()]
