"""A schema that another process can import."""

from __future__ import annotations

from typing import Any

from lazymigrate import Schema

schema = Schema("people")


@schema.revision(2)
def count(person: dict[str, Any]) -> None:
    person["n"] = person.get("n", 0) + 1
