"""Numbers in sentences."""

from __future__ import annotations

__all__ = ["documents"]


def documents(count: int) -> str:
    """So many documents, in words that fit one and many."""
    return f"{count:,} {'document' if count == 1 else 'documents'}"
