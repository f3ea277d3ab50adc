"""`join`: what it means, that MongoDB does the same where it is used, and which way back restores."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Int64
from bson.code import Code
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle import (
    DIFFERS,
    LOST,
    UNSAFE,
    Case,
    Count,
    applied,
    caught,
    check,
    check_in_variable,
    check_way_back,
    lifecycle,
    way_back,
)
from pymongo.collection import Collection
from strategies import documents, values

from lazymigrate.documents import same
from lazymigrate.exceptions import SchemaError
from lazymigrate.operation import Effects, Expression, Operation
from lazymigrate.ops.join import Join, has_type_, join
from lazymigrate.ops.split import Split
from lazymigrate.paths import all_of, missing_, passable_, split_path

TWO = join(["a", "b"], "c")
THREE = join(["a", "b", "d"], into="c", with_=", ")
IN_PLACE = join(["a", "b"], "a")
LAST_IN_PLACE = join(["a", "b"], "b")
NESTED = join(["n.a", "m.b"], "o.x.c")
BESIDE = join(["n.a", "n.b"], "n.c")
WIDE = join(["a", "b"], "c", with_="aa")
CLOSE = join(["a", "b"], "c", with_="")

CASES: list[Case] = [
    (TWO, {"a": "Ada", "b": "Lovelace", "z": 1}, {"z": 1, "c": "Ada Lovelace"}),
    (TWO, {"b": "Lovelace", "a": "Ada"}, {"c": "Ada Lovelace"}),
    (TWO, {"a": "Ada"}, {"c": "Ada"}),
    (TWO, {"a": "Ada", "b": None}, {"c": "Ada"}),
    (TWO, {"a": "", "b": "Lovelace"}, {"c": "Lovelace"}),
    (TWO, {"a": " ", "b": "Lovelace"}, {"c": "  Lovelace"}),
    (TWO, {"z": 1}, {"z": 1}),
    (TWO, {"z": 1, "c": 2}, {"z": 1, "c": 2}),
    (TWO, {"a": None, "b": "", "z": 1}, {"z": 1}),
    (TWO, {"a": "$a", "b": "$$ROOT"}, {"c": "$a $$ROOT"}),
    (TWO, {"a": "äö\0", "b": "😀"}, {"c": "äö\0 😀"}),
    (TWO, {"a": "Ada", "b": 5}, "'b' is neither a string nor null"),
    (TWO, {"a": ["Ada"]}, "'a' is neither a string nor null"),
    (TWO, {"a": Code("Ada")}, "'a' is neither a string nor null"),
    (TWO, {"a": "Ada", "c": None}, "'c' of a join is already present"),
    (THREE, {"a": "x", "b": "y", "d": "z"}, {"c": "x, y, z"}),
    (THREE, {"a": "x", "b": None, "d": "z"}, {"c": "x, z"}),
    (CLOSE, {"a": "x", "b": "y"}, {"c": "xy"}),
    (join(["a", "b"], "c", with_="$$ROOT"), {"a": "x", "b": "y"}, {"c": "x$$ROOTy"}),
    (IN_PLACE, {"y": 0, "a": "Ada", "z": 1, "b": "Lovelace"}, {"y": 0, "a": "Ada Lovelace", "z": 1}),
    (LAST_IN_PLACE, {"a": "Ada", "z": 1, "b": "Lovelace", "y": 0}, {"z": 1, "b": "Ada Lovelace", "y": 0}),
    (IN_PLACE, {"b": "Lovelace", "z": 1}, {"z": 1, "a": "Lovelace"}),
    (IN_PLACE, {"a": None, "z": 1}, {"z": 1}),
    (IN_PLACE, {"a": 5, "b": "x"}, "'a' is neither a string nor null"),
    (NESTED, {"n": {"a": "x"}, "m": {"b": "y"}}, {"n": {}, "m": {}, "o": {"x": {"c": "x y"}}}),
    (NESTED, {"n": {"a": "x"}, "o": {"w": 1}}, {"n": {}, "o": {"w": 1, "x": {"c": "x"}}}),
    (NESTED, {"n": {}, "o": 5}, {"n": {}, "o": 5}),
    (NESTED, {"n": {"a": "x"}, "m": None}, "runs through 'm'"),
    (NESTED, {"n": 5}, "runs through 'n'"),
    (NESTED, {"n": [{"a": "x"}]}, "runs through 'n'"),
    (NESTED, {"n": {"a": "x"}, "o": [1]}, "runs through 'o'"),
    (BESIDE, {"n": {"a": "x", "b": "y", "z": 1}}, {"n": {"z": 1, "c": "x y"}}),
    (BESIDE, {"n": {"a": None}}, {"n": {}}),
]
# Where there is nothing to put at a target that is present, Python leaves it, and MongoDB leaves it to Python.
LEFT_TO_PYTHON: list[Case] = [
    (TWO, {"a": None, "b": "", "c": 1}, {"c": 1}),
    (NESTED, {"n": {"a": None}, "o": 5}, {"n": {}, "o": 5}),
]


@pytest.mark.parametrize("case", CASES)
def test_what_it_means_and_that_mongodb_does_it(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case)


@pytest.mark.parametrize("case", LEFT_TO_PYTHON)
def test_a_target_is_in_the_way_only_of_a_text(people: Collection[dict[str, Any]], case: Case) -> None:
    check(people, *case, only_python=True)


RESTORED = [
    (TWO, {"a": "Ada", "b": "Lovelace"}, True),
    (TWO, {"a": "Ada", "b": "King Lovelace"}, True),
    (TWO, {"a": "Ada King", "b": "Lovelace"}, False),
    (TWO, {"a": "Ada", "b": ""}, True),
    (TWO, {"a": "Ada King", "b": ""}, False),
    (TWO, {"a": "", "b": "Lovelace"}, False),
    (TWO, {"a": "Ada"}, False),
    (TWO, {"a": "Ada", "b": None}, False),
    (TWO, {"a": "", "b": ""}, False),
    (TWO, {"z": 1}, True),
    (TWO, {"c": "x y"}, False),  # the way back would split what was there before
    (THREE, {"a": "x", "b": "y", "d": "z, w"}, True),
    (THREE, {"a": "x", "b": "y, w", "d": "z"}, False),
    (WIDE, {"a": "x", "b": "ay"}, True),
    (WIDE, {"a": "xa", "b": "ay"}, False),  # the separator is found one place too early
    (WIDE, {"a": "xa", "b": ""}, True),
    (CLOSE, {"a": "x", "b": "y"}, False),
    (IN_PLACE, {"a": "Ada", "b": "Lovelace"}, True),
    (IN_PLACE, {"z": 1}, True),
    (NESTED, {"n": {"a": "x"}, "m": {"b": "y"}}, True),
    (NESTED, {"n": {"a": "x"}, "m": {"b": "y"}, "o": {"w": 1}}, True),
    (NESTED, {"n": {"a": "x"}, "m": {"b": "y"}, "o": {}}, False),
    (NESTED, {"o": 5}, False),
    (BESIDE, {"n": {"a": "x", "b": "y"}}, True),
]


@pytest.mark.parametrize(("operation", "document", "restored"), RESTORED)
def test_which_documents_the_way_back_restores(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any], restored: bool
) -> None:
    check_way_back(people, operation, document, restored)


def test_without_a_separator_there_is_no_way_back() -> None:
    assert CLOSE.reverse() is None
    assert not CLOSE.lossless
    assert TWO.lossless


def test_the_way_back_prunes_what_it_made_inside_mongodb_too(people: Collection[dict[str, Any]]) -> None:
    count = Count()
    reverse = way_back(NESTED)
    pruning = way_back(way_back(join(["n.m.a", "n.m.b", "n.d"], "c")))
    cases: list[tuple[Operation, dict[str, Any], dict[str, Any]]] = [
        (reverse, {"o": {"x": {"c": "x y"}}, "z": 1}, {"z": 1, "n": {"a": "x"}, "m": {"b": "y"}}),
        (reverse, {"o": {"x": {"c": "x y", "w": 1}}}, {"o": {"x": {"w": 1}}, "n": {"a": "x"}, "m": {"b": "y"}}),
        (reverse, {"o": {"x": {}}}, {"o": {"x": {}}}),
        (pruning, {"n": {"m": {"a": "x", "b": "y"}, "d": "z"}}, {"c": "x y z"}),
        (pruning, {"n": {"m": {"a": "x"}, "w": 1}}, {"n": {"w": 1}, "c": "x"}),
        (pruning, {"n": {"m": {}, "d": "z"}}, {"n": {"m": {}}, "c": "z"}),
        (pruning, {"n": {"m": {"a": None}, "d": ""}, "z": 1}, {"z": 1}),
        (pruning, {"n": {"m": {}}}, {"n": {"m": {}}}),
    ]
    for operation, document, expected in cases:
        lifecycle(people, operation, document, count)
        assert same(applied(operation, document), expected)
    assert count.safe == count.documents


def test_texts_are_told_apart_byte_by_byte_whatever_the_collation(people: Collection[dict[str, Any]]) -> None:
    collated = people.database.create_collection("collated", collation={"locale": "en", "strength": 1})
    for first, second in (("\0", "x"), ("x", "\0"), ("\0", ""), ("x", "X"), ("\u0301", "a")):
        for operation in (TWO, join(["a", "b"], "c", with_="x")):
            count = Count()
            document = {"a": first, "b": second}
            lifecycle(collated, operation, document, count)
            assert count.safe == 1
            back = applied(way_back(operation), applied(operation, document))
            assert count.restored == (back == document)


@pytest.mark.parametrize("variable", ["item", "document", "before", "parts", "part", "text", "found", "at"])
def test_it_renders_for_a_document_in_any_variable(people: Collection[dict[str, Any]], variable: str) -> None:
    check_in_variable(people, CASES, variable)


@pytest.mark.parametrize(
    ("declare", "reason"),
    [
        (lambda: join(["a", ""], "c"), "non-empty string of dotted names"),
        (lambda: join(["a"], "c"), "two paths or more, and has 1.*rename"),
        (lambda: join([], "c"), "two paths or more, and has 0"),
        (lambda: join("ab", "c"), "str is not a list of paths"),
        (lambda: join(["a", 5], "c"), "non-empty string of dotted names"),  # type: ignore[list-item]
        (lambda: join(["a", "b"], "c.0"), "array index"),
        (lambda: join(["a", "a"], "c"), "'a' and 'a' are the same"),
        (lambda: join(["a", "a.b"], "c"), "one is inside the other"),
        (lambda: join(["a.x", "a.y"], "a"), "one is inside the other"),
        (lambda: join(["a", "b"], "a.c"), "one is inside the other"),
        (lambda: join(["a", "b"], "c", with_=None), "with_ is a NoneType"),  # type: ignore[arg-type]
        (lambda: join(["a", "b"], "c", with_="\ud800"), "cannot be stored as BSON"),
    ],
)
def test_wrong_declarations(declare: Any, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        declare()


def test_what_it_says_of_itself() -> None:
    assert str(TWO) == "a, b → c"
    assert TWO.effects() == Effects(reads=("a", "b"), sets=("c",), removes=("a", "b"))
    assert IN_PLACE.effects() == Effects(reads=("a", "b"), sets=("a",), removes=("b",))
    assert join(("a", "b"), "c") == TWO
    assert hash(TWO)


def test_ordinary_documents_are_left_to_mongodb(people: Collection[dict[str, Any]]) -> None:
    names = [("Ada", "Lovelace"), ("Żółć", "Ąę"), ("Ada", ""), ("Ada", None), (None, None), ("", "Lovelace")]
    people.insert_many(
        [{"a": a, "b": b, "n": {"a": a, "b": b}, "m": {"b": b}, "z": Int64(1)} for a, b in names]
        + [{"z": 1}, {"a": "Ada", "n": {"a": "Ada"}}]
    )
    for operation in (TWO, THREE, IN_PLACE, NESTED, BESIDE, CLOSE):
        assert people.count_documents({"$expr": operation.safe("$$ROOT")}) == 8
    assert people.count_documents({"$expr": TWO.restores("$$ROOT")}) == 4


operations = st.sampled_from(
    [
        join(sources, into, with_)
        for sources, into in [
            (["a", "b"], "c"),
            (["b", "a"], "a"),
            (["a", "b", "d"], "c"),
            (["n.a", "b"], "n.c"),
            (["n.a", "n.b", "b"], "m.x.c"),
            (["n.m.a", "n.b", "a"], "c"),
            (["a", "n.m.a", "n.m.b"], "n.m.b"),
        ]
        for with_ in (" ", "aa", "ä", "a", "$", "")
    ]
)
texts = st.lists(st.sampled_from(["", " ", "a", "aa", "b", "ä", "Ã", "😀", "$", "$a", "\0", "A"]), max_size=4).map(
    "".join
)
fields = st.one_of(texts, texts, texts, texts, st.none(), values)
innermost = st.fixed_dictionaries({}, optional={"a": fields, "b": fields, "w": values})
inner = st.fixed_dictionaries({}, optional={"z": values, "a": fields, "m": innermost, "b": fields})
targeted = st.fixed_dictionaries(
    {},
    optional={
        "y": values, "b": fields, "a": fields, "d": fields, "n": inner | inner | values, "z": values, "m": innermost,
    },
)  # fmt: skip
plain = st.fixed_dictionaries({"a": texts, "b": texts, "n": st.fixed_dictionaries({"a": texts, "b": texts})})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=operations, document=targeted | targeted | plain | documents, backwards=st.booleans())
def test_mongodb_does_the_same_where_it_is_used_and_the_way_back_restores_where_it_says(
    people: Collection[dict[str, Any]], operation: Operation, document: dict[str, Any], backwards: bool
) -> None:
    reverse = operation.reverse()
    lifecycle(people, way_back(reverse) if backwards and reverse is not None else operation, document)


class LeavesNulls(Join):
    """A mutant: where no part is left it does nothing, and the sources stay."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        texts = {"$concat": [{"$ifNull": [f"${path}", ""]} for path in self.paths]}
        return {"$cond": [{"$eq": [texts, ""]}, document, super().expression(document)]}


class JoinsTheOtherWayRound(Join):
    """A mutant: the parts stand in the wrong order."""

    __slots__ = ()

    def expression(self, document: Expression) -> Expression:
        return Join(self.paths[::-1], self.into, self.with_).expression(document)


class OverwritesTheTarget(Join):
    """A mutant: it is used where the target is present."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        places = [passable_(document, split_path(path)) for path in (*self.paths, self.into)]
        return all_of([*places, *(has_type_(f"${path}", "string", "null", "missing") for path in self.paths)])


class OneStepShort(Join):
    """A mutant: it looks at no parent of the sources."""

    __slots__ = ()

    def safe(self, document: Expression) -> Expression:
        none = all_of(missing_(document, split_path(path)) for path in self.paths)
        return {"$or": [super().safe(document), none]}


class RestoresEveryText(Join):
    """A mutant: it says that all strings come back."""

    __slots__ = ()

    def restores(self, document: Expression) -> Expression:
        strings = [has_type_(f"${path}", "string") for path in self.paths]
        return {"$or": [super().restores(document), all_of([self.safe(document), *strings])]} if self.with_ else False


class LeavesEmptyParents(Join):
    """A mutant: the way back leaves the parents that were made."""

    __slots__ = ()

    def reverse(self) -> Operation | None:
        return Split(self.into, self.paths, self.with_) if self.with_ else None


MUTANTS = {
    LeavesNulls: DIFFERS,
    JoinsTheOtherWayRound: DIFFERS,
    OverwritesTheTarget: UNSAFE,
    OneStepShort: UNSAFE,
    RestoresEveryText: LOST,
    LeavesEmptyParents: LOST,
}


@pytest.mark.parametrize(("mutant", "failure"), MUTANTS.items())
def test_a_mutant_is_caught(people: Collection[dict[str, Any]], mutant: type[Join], failure: str) -> None:
    assert failure in caught(people, mutant, CASES, LEFT_TO_PYTHON)
