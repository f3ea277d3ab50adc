"""`_id`s on the command line: what a person may mean by a text, and how one is shown so that it can be typed again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from bson import Binary, ObjectId, json_util
from bson.binary import UuidRepresentation
from bson.errors import BSONError
from bson.json_util import JSONOptions

from lazymigrate.quarantine import extended_json

__all__ = ["readings", "shown"]

LONG = 2**63


def readings(text: str, representation: int) -> Iterator[Any]:
    """What a text may mean as an `_id`, likely ones first."""
    try:
        value = json_util.loads(text, json_options=JSONOptions(uuid_representation=representation))
    except (BSONError, RecursionError, TypeError, ValueError):
        pass
    else:
        if not isinstance(value, int) or abs(value) < LONG:
            yield value
    if ObjectId.is_valid(text):
        yield ObjectId(text)
    if re.fullmatch(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text):
        unspecified = representation == UuidRepresentation.UNSPECIFIED
        yield Binary.from_uuid(UUID(text)) if unspecified else UUID(text)
    if re.fullmatch(r"[+-]?[0-9]{1,19}", text):
        yield int(text)
    yield text


def shown(document_id: Any) -> str:
    """An `_id` as it can be typed again, in ASCII: nothing in it that a terminal would obey."""
    if isinstance(document_id, ObjectId):
        return str(document_id)
    written = extended_json(document_id)
    bare = re.fullmatch(r'\{"\$uuid": "([0-9a-f-]{36})"\}', written)
    return bare[1] if bare else written
