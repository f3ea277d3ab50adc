"""Numbers and articles in sentences."""

from __future__ import annotations

import re

__all__ = ["documents", "with_article"]


def documents(count: int) -> str:
    """So many documents, in words that fit one and many."""
    return f"{count:,} {'document' if count == 1 else 'documents'}"


def with_article(name: str) -> str:
    """The name of a type after the "a" or "an" that it is spoken with: an int, a UUID."""
    return f"{'an' if re.match('(?i)[aeio]|u(?!ni|s|u|t)', name) else 'a'} {name}"
