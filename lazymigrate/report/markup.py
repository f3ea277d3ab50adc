"""HTML that is made of elements: what is not one itself is text, and is escaped.

So nothing that comes from a database can become markup, wherever it is put in.
"""

from __future__ import annotations

from html import escape

from lazymigrate.verification import printable

__all__ = ["Markup", "element", "joined"]

VOID = frozenset({"meta"})


class Markup(str):
    """A text that is HTML; only this module and constants of this package make one."""

    __slots__ = ()


def element(tag: str, *content: str, **attributes: str | float | None) -> Markup:
    """An element. Content that is no `Markup` is escaped, attributes always are; one that is None is left out.

    An attribute's name has `_` for `-`, and may end in one where it is a word of Python.
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in VOID:
        return Markup(f"<{tag}{given}>")
    return Markup(f"<{tag}{given}>{joined(*content)}</{tag}>")


def joined(*content: str) -> Markup:
    """These one after the other, escaped where they are text."""
    return Markup("".join(part if isinstance(part, Markup) else text(part) for part in content))


def text(value: str) -> str:
    """A text as HTML shows it; characters that cannot be seen, and those that turn a line round, are written out."""
    return escape(printable(value))
