"""One predicate and one change: the predicate that holds before the change where the given one holds after it.

It is exact on the documents on which the change succeeds in Python. What that means for each kind of origin, and where it
cannot be said (`NotTurnedError`), is the matter of one function each.

A condition on a path that runs through an array is met by any of its elements, for each operator of the condition by
itself; a value in an array by the array or an element. `Elements` and `Enclosed` rest on that, and so does the care taken that
a constant is not looked for in an array that was never replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

from lazymigrate.certainty import DOCUMENT, MISSING, SCALARS, blind, bracket, certain, decided, only_null, sees_no_array
from lazymigrate.origin import (
    At,
    Computed,
    Constant,
    Either,
    Elements,
    Enclosed,
    Inside,
    Mapped,
    Nothing,
    Origin,
    Parts,
    Remade,
)
from lazymigrate.predicates import (
    Calculated,
    Leaf,
    Node,
    Verbatim,
    conjunction,
    disjunction,
    exchanged,
    exists,
    negation,
    operators,
    parse,
    render,
    separate,
)

__all__ = ["NotTurnedError", "Source", "condition_of", "turned"]

_NO_ARRAY: Final = {"$not": {"$type": "array"}}
_POSITIVES: Final = {"$ne": "$eq", "$nin": "$in"}
_EXISTENTIAL: Final = (
    "$eq", "$in", "$gt", "$gte", "$lt", "$lte", "$regex", "$type", "$exists", "$mod", "$elemMatch", "$size",
    "$bitsAllSet", "$bitsAnySet", "$bitsAllClear", "$bitsAnyClear",
)  # fmt: skip


class Source(Protocol):
    """What changes documents, and knows where the values come from."""

    def origin(self, parts: Parts) -> Origin:
        """Where the value at a path comes from."""
        ...


class NotTurnedError(Exception):
    """A condition cannot be turned round; `path` is that of the value that is computed, () for the whole document."""

    def __init__(self, path: Parts) -> None:
        super().__init__(".".join(path))
        self.path = path


def turned(node: Node, source: Source, *, collation: bool) -> Node:
    """The predicate before the change; the very same one where it sees no difference. `NotTurnedError` where there is none."""

    def leaf(one: Leaf | Calculated | Verbatim) -> Node:
        if isinstance(one, Leaf):
            return through(one, source.origin(one.path), collation=collation)
        if isinstance(one, Calculated):
            from lazymigrate.rewritten_expression import turned_expression

            expression = turned_expression(one.expression, source)
            return one if expression is one.expression else Calculated(expression)
        if one.name == "$jsonSchema":
            raise NotTurnedError(())
        return one

    return exchanged(node, leaf)


def through(leaf: Leaf, origin: Origin, *, collation: bool) -> Node:
    """A condition on a value that has this origin."""
    match origin:
        case At(parts):
            return leaf if parts == leaf.path else replace(leaf, path=parts)
        case Nothing():
            return _certain(leaf, MISSING, collation=collation)
        case Constant(value):
            return _certain(leaf, value, collation=collation)
        case Either():
            return _either(leaf, origin, collation=collation)
        case Inside():
            return _inside(leaf, origin)
        case Mapped():
            return _by_operator(leaf, lambda one: _mapped(one, origin, collation=collation))
        case Remade(parts):
            if not only_null(leaf.condition):
                raise NotTurnedError(leaf.path)
            return through(leaf, At(parts), collation=collation)
        case Enclosed(parts, rest):
            if not sees_no_array(leaf.condition, rest):
                raise NotTurnedError(leaf.path)
            return through(leaf, At(parts + rest), collation=collation)
        case Elements():
            return _by_operator(leaf, lambda one: _elements(one, origin, collation=collation))
        case Computed():
            raise NotTurnedError(leaf.path)


def condition_of(origin: Either, asked: str) -> Node:
    """Which documents have the first of two origins."""
    if origin.document:
        return Leaf(origin.where, {"$type": "object"}, asked)
    return exists(origin.where, asked)


def _certain(leaf: Leaf, value: Any, *, collation: bool) -> Node:
    answer = decided(leaf.condition, value, collation=collation)
    if answer is None:
        raise NotTurnedError(leaf.path)
    return answer


def _by_operator(leaf: Leaf, turn: Any) -> Node:
    """Each operator by itself, since an array meets each with an element of its own."""
    singles = [replace(leaf, condition=condition) for condition in separate(leaf.condition)]
    others = [turn(single) for single in singles]
    if all(one is other for one, other in zip(singles, others, strict=True)):
        return leaf
    return conjunction(others)


def _either(leaf: Leaf, origin: Either, *, collation: bool) -> Node:
    condition = condition_of(origin, leaf.asked)
    first = through(leaf, origin.first, collation=collation)
    second = through(leaf, origin.second, collation=collation)
    if isinstance(first, bool) and first is second:
        return first
    if first is False:
        return conjunction([negation(condition), second])
    if first is True:
        return disjunction([condition, second])
    of_missing = None
    if isinstance(origin.first, At) and not origin.document:
        if origin.first.parts == origin.where and (wanted := _presence(leaf.condition)) is not None:
            return disjunction([condition, second]) if wanted else conjunction([negation(condition), second])
        of_missing = decided(leaf.condition, MISSING, collation=collation)
    if of_missing is not None and of_missing is second:  # without `where`, the first says the same
        return first
    if origin.exclusive and of_missing is False and isinstance(origin.second, At):
        return disjunction(
            [first, second]
        )  # each from its index alone, where `where` would be one more thing to look up
    had = first if of_missing is False else _and_exists(first, condition)
    return disjunction([had, conjunction([negation(condition), second])])


def _presence(condition: Any) -> bool | None:
    """Whether all that is asked is that something is there (True), or that nothing is (False)."""
    match operators(condition):
        case {"$exists": bool(wanted), **others} if not others:
            return wanted
        case _:
            return None


def _and_exists(node: Node, condition: Node) -> Node:
    """Both, as one condition on a path where that can be."""
    if isinstance(node, Leaf) and isinstance(condition, Leaf) and node.path == condition.path:
        asked = operators(node.condition)
        if not asked.keys() & operators(condition.condition).keys():
            return replace(node, condition={**asked, **condition.condition})
    return conjunction([node, condition])


def _inside(leaf: Leaf, origin: Inside) -> Node:
    if not blind(leaf.condition):
        raise NotTurnedError(leaf.path)
    before = leaf if origin.parts == leaf.path else replace(leaf, path=origin.parts)
    of_document = decided(leaf.condition, DOCUMENT)
    if not origin.made or (of_document is not None and of_document is decided(leaf.condition, MISSING)):
        return before
    if of_document is None:
        raise NotTurnedError(leaf.path)
    made = disjunction(exists(path, leaf.asked) for path in origin.made)
    return disjunction([made, before]) if of_document else conjunction([negation(made), before])


def _mapped(leaf: Leaf, origin: Mapped, *, collation: bool) -> Node:
    """A condition on a value of which some constants were replaced. An array is none of them, whatever it holds."""
    before = through(leaf, At(origin.parts), collation=collation)
    if "$exists" in leaf.condition:
        return before
    olds, news = [old for old, _ in origin.pairs], [new for _, new in origin.pairs]
    answers = certain(leaf.condition, news, collation=collation)
    if answers is None or (collation and any(bracket(old) == "string" for old in olds)):
        raise NotTurnedError(leaf.path)

    def among(constants: list[Any]) -> Node:
        listed = [constant for constant in constants if constant is not None]
        found: list[Node] = [Leaf(origin.parts, {"$in": listed, **_NO_ARRAY}, leaf.asked)] if listed else []
        if len(listed) < len(constants):
            found.append(Leaf(origin.parts, {"$type": "null", **_NO_ARRAY}, leaf.asked))
        return disjunction(found)

    meets = dict(zip(range(len(olds)), answers, strict=True))
    if not origin.others:
        differs = [n for n, old in enumerate(olds) if decided(leaf.condition, old, collation=collation) is not meets[n]]
        kept = conjunction([before, negation(among([olds[n] for n in differs if not meets[n]]))])
        return disjunction([kept, among([olds[n] for n in differs if meets[n]])])
    of_others = certain(leaf.condition, [*origin.others, MISSING], collation=collation)
    if of_others is None:
        raise NotTurnedError(leaf.path)
    other, missing = of_others
    if other:
        found = negation(among([old for n, old in enumerate(olds) if not meets[n]]))
        return found if missing else conjunction([exists(origin.parts, leaf.asked), found])
    nothing = negation(exists(origin.parts, leaf.asked)) if missing else False
    return disjunction([among([old for n, old in enumerate(olds) if meets[n]]), nothing])


def _elements(leaf: Leaf, origin: Elements, *, collation: bool) -> Node:
    """One operator on what is in the elements of an array, which are documents."""
    (name, operand), *_ = leaf.condition.items()
    if name in _POSITIVES:
        return _denied(leaf, {_POSITIVES[name]: operand}, origin, collation=collation)
    if name == "$not" and isinstance(operand, Mapping):
        return _denied(leaf, operand, origin, collation=collation)
    if name == "$exists" and not operand:
        return _denied(leaf, {"$exists": True}, origin, collation=collation)
    if name == "$all" and _is_elementwise(operand):
        listed = [item if isinstance(item, Mapping) else {"$eq": item} for item in operand]
        parts = [replace(leaf, condition=condition) for condition in listed]
        others = [_elements(part, origin, collation=collation) for part in parts]
        same = all(one is other for one, other in zip(parts, others, strict=True))
        return leaf if same else conjunction(others)
    if not origin.rest:
        if name == "$elemMatch" and _asks_documents(operand):
            return _one_element(leaf, parse(operand, leaf.asked), origin, collation=collation)
        if blind(leaf.condition) or (name == "$elemMatch" and isinstance(operand, Mapping) and blind(operand)):
            return leaf
        raise NotTurnedError(leaf.path)
    of_missing = decided(leaf.condition, MISSING, collation=collation)
    if name not in _EXISTENTIAL or of_missing is None:
        raise NotTurnedError(leaf.path)
    found = _one_element(leaf, Leaf(origin.rest, leaf.condition, leaf.asked), origin, collation=collation)
    if found is leaf or not of_missing:
        return found
    return disjunction([negation(Leaf(origin.parts, {"$type": "array"}, leaf.asked)), found])


def _denied(leaf: Leaf, condition: Any, origin: Elements, *, collation: bool) -> Node:
    positive = replace(leaf, condition=condition)
    found = _by_operator(positive, lambda one: _elements(one, origin, collation=collation))
    return leaf if found is positive else negation(found)


def _is_elementwise(items: Any) -> bool:
    """Whether each item of an `$all` can be asked for by itself."""
    if not isinstance(items, (list, tuple)) or not items:
        return False
    return all(bracket(item) in SCALARS or (isinstance(item, Mapping) and "$elemMatch" in item) for item in items)


def _asks_documents(operand: Any) -> bool:
    """Whether an `$elemMatch` is a filter, and not operators on the element itself."""
    first = next(iter(operand), "") if isinstance(operand, Mapping) else None
    return isinstance(first, str) and (not first.startswith("$") or first in ("$and", "$or", "$nor"))


def _one_element(leaf: Leaf, inner: Node, origin: Elements, *, collation: bool) -> Node:
    """An element meets the predicate; the very same leaf where the predicate is the same before the change."""
    before = inner
    try:
        for operation in reversed(origin.operation.apart()):
            before = turned(before, operation, collation=collation)
    except NotTurnedError as error:
        raise NotTurnedError(origin.parts) from error
    if before is inner:
        return leaf
    return False if before is False else Leaf(origin.parts, {"$elemMatch": render(before)}, leaf.asked)
