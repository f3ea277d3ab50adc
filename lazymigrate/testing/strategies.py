"""Hypothesis strategies for documents: every BSON type that Python can write, and the names that go wrong.

What they draw can always be encoded to BSON, and decodes to itself under `DatetimeConversion.DATETIME_AUTO`, which is
how this library reads (`datetimes` beyond the year 9999 are `DatetimeMS`).

Numbers, texts and bytes are mapped to their own type: the shrinker of Hypothesis (6.170) turns values back into
choices, takes an `Int64` for an int, a `Code` for a text and a `Binary` for bytes, and fails on them; it leaves what is
mapped alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ImportError as error:
    raise ImportError(
        "lazymigrate.testing.strategies needs Hypothesis, which is not installed. Run: pip install hypothesis"
    ) from error

__all__ = ["datetimes", "documents", "ids", "integers", "names", "paths", "scalars", "texts", "values"]

PLAIN = ("a", "b", "c", "d")
ODD = ("a.b", "$a", "$", "", " ", "ä", "日本", "0", "__proto__")
_SPECIAL = ("", "$a", "$$ROOT", "$$REMOVE", "1", "NaN", "a\0b", "é", "\U0001f600")
_INT, _LONG = 2**31, 2**63
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999  # milliseconds: the years 1 to 9999


def texts() -> SearchStrategy[str]:
    """Strings that BSON can hold, and often those that MongoDB would evaluate."""
    return st.sampled_from(_SPECIAL) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(str)


def names(*, odd: bool = True) -> SearchStrategy[str]:
    """Field names, from so few that they often meet; with `odd`, dotted, dollar-prefixed, empty and foreign ones, too."""
    if not odd:
        return st.sampled_from(PLAIN)
    drawn = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
    return st.sampled_from(PLAIN) | st.sampled_from(ODD) | drawn.filter(_may_be_a_name)


def _may_be_a_name(name: str) -> bool:
    return name not in ("_id", "$ref")  # a document with the second is read as a DBRef


def paths(*, max_depth: int = 3) -> SearchStrategy[str]:
    """Dotted paths of up to `max_depth` plain names, as operations take them."""
    return st.lists(names(odd=False), min_size=1, max_size=max_depth).map(".".join)


def integers() -> SearchStrategy[int]:
    """An int (32 bits), or an `Int64`: BSON has a type for each."""
    longs = st.integers(-_LONG, _LONG - 1).map(Int64)
    return (
        st.integers(-_INT, _INT - 1).map(int)
        | longs
        | st.sampled_from([Int64(0), Int64(1), Int64(_INT), Int64(-_LONG)])
    )


def datetimes() -> SearchStrategy[datetime | DatetimeMS]:
    """Naive UTC datetimes of whole milliseconds, and `DatetimeMS` beyond what a datetime can be."""
    dates = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(_whole)  # noqa: DTZ001 (as pymongo gives them)
    beyond = st.integers(_LAST + 1, _LONG - 1) | st.integers(-_LONG, _FIRST - 1)
    return st.one_of(dates, beyond.map(DatetimeMS))


def _whole(date: datetime) -> datetime:
    return date.replace(microsecond=date.microsecond // 1000 * 1000)


def object_ids() -> SearchStrategy[ObjectId]:
    return st.binary(min_size=12, max_size=12).map(ObjectId)


def binaries() -> SearchStrategy[bytes]:
    data = st.binary(max_size=16).map(bytes)
    subtypes = st.sampled_from([1, 2, 5, 6, 128, 255])
    return st.one_of(data, st.builds(Binary, data, subtypes), st.binary(min_size=16, max_size=16).map(_uuid))


def _uuid(data: bytes) -> Binary:
    return Binary(data, 4)


def decimals() -> SearchStrategy[Decimal128]:
    odd = ("-0", "NaN", "-NaN", "sNaN", "Infinity", "-Infinity", "1.0", "1.00", "0E-6176", "9.99E+6144")
    return st.sampled_from(odd).map(Decimal128) | st.integers(-(10**30), 10**30).map(
        lambda number: Decimal128(str(number))
    )


def scalars() -> SearchStrategy[Any]:
    """Values that are neither documents nor arrays, of every BSON type that Python can write."""
    unsigned = st.integers(0, 2**32 - 1)
    plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
    return st.one_of(
        st.none(),
        st.booleans(),
        integers(),
        st.floats(),
        texts(),
        datetimes(),
        object_ids(),
        decimals(),
        binaries(),
        st.builds(Timestamp, unsigned, unsigned),
        st.builds(Regex, plain, st.sampled_from(["", "i", "imsx"])),
        st.builds(Code, texts()),
        st.builds(Code, texts(), st.dictionaries(names(odd=False), st.integers(-9, 9), max_size=2)),
        st.sampled_from([MinKey(), MaxKey()]),
    )


def values(
    scalars: SearchStrategy[Any] | None = None, names: SearchStrategy[str] | None = None, *, max_leaves: int = 6
) -> SearchStrategy[Any]:
    """Any value: a scalar, an array or a subdocument, nested. What is drawn in them can be given."""
    leaves = _scalars() if scalars is None else scalars
    keys = _names() if names is None else names
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=max_leaves,
    )


_scalars, _names = scalars, names  # the parameters of `values` have the same names


def ids() -> SearchStrategy[Any]:
    """Values that an `_id` may have: ObjectIds, numbers, strings, dates, binary data and subdocuments; no arrays."""
    simple = st.one_of(object_ids(), integers(), texts(), datetimes(), binaries())
    return simple | st.dictionaries(_names(odd=False), simple, min_size=1, max_size=2)


def documents(
    fields: Mapping[str, SearchStrategy[Any]] | None = None,
    *,
    optional: Mapping[str, SearchStrategy[Any]] | None = None,
    others: SearchStrategy[Any] | None = None,
    _id: SearchStrategy[Any] | None = None,
) -> SearchStrategy[dict[str, Any]]:
    """Documents with these fields, those of `optional` that the draw decides for, and up to three others.

    Without `fields` and `optional`: any document. The fields come in any order. `others` draws the values of fields that
    are not named (`values()` by default; `st.nothing()` for none); `_id` (as `ids()`) puts an `_id` first.
    """
    known = dict(fields or {})
    perhaps = dict(optional or {})
    other = values() if others is None else others
    limit = 0 if other.is_empty else 3 if known or perhaps else 5
    more = st.dictionaries(
        _names().filter(lambda name: name not in known and name not in perhaps), other, max_size=limit
    )
    body = st.builds(_merged, st.fixed_dictionaries(known, optional=perhaps), more)
    shuffled = body.flatmap(lambda document: st.permutations(list(document.items())).map(dict))
    if _id is None:
        return shuffled
    return st.builds(lambda identity, document: {"_id": identity, **document}, _id, shuffled)


def _merged(document: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {**document, **more}
