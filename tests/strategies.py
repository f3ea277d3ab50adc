"""Hypothesis strategies for documents under test: shallow names that collide, and the values that BSON makes hard."""

from __future__ import annotations

from datetime import datetime

from bson import Decimal128, Int64, ObjectId
from hypothesis import strategies as st

from lazymigrate.testing import strategies as public

__all__ = ["documents", "paths", "values"]

names = st.sampled_from(["a", "b", "c", "d"])
odd_names = st.sampled_from(["a.b", "$a", "", "ä"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.sampled_from(["", "$a", "$$ROOT", "text", "1"]),
    st.sampled_from([Int64(1), Decimal128("1.0"), datetime(2020, 1, 1), b"x", ObjectId("0" * 24)]),
)
values = public.values(scalars, names | odd_names)
subdocuments = st.dictionaries(names, st.dictionaries(names, scalars, max_size=3) | scalars, max_size=4)
documents = st.dictionaries(names | odd_names, subdocuments | subdocuments | values, max_size=5)
paths = public.paths()
