"""Change streams whose documents arrive at head.

An event is the server's own; only `fullDocument` and `fullDocumentBeforeChange` are upgraded in it, in memory. The
other parts speak of what is stored: `updateDescription` names the fields that a write changed, at the version that the
document had.

A pipeline given to `watch` may reshape events. A part of a document must not be taken for a document with fields
missing, so what a stage may have changed or cut is handed over as the server gives it (`whole_fields`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from lazymigrate.documents import copy_value
from lazymigrate.exceptions import DocumentError
from lazymigrate.scope import LOGGER, Scope

__all__ = ["AsyncLazyChangeStream", "LazyChangeStream", "whole_fields"]

FIELDS = ("fullDocument", "fullDocumentBeforeChange")
Event = dict[str, Any]


class _Events:
    """A driver's change stream, and what becomes of each of its events."""

    def __init__(self, scope: Scope, stream: Any, pipeline: Sequence[Mapping[str, Any]] | None = None) -> None:
        self._scope = scope
        self._stream = stream
        self._fields = whole_fields(pipeline or ())

    @property
    def alive(self) -> bool:
        """Whether more events may come; when False, the stream was closed or its collection is gone."""
        return bool(self._stream.alive)

    @property
    def resume_token(self) -> Mapping[str, Any] | None:
        """The position after the last event that was given, for `watch(resume_after=...)`."""
        token: Mapping[str, Any] | None = self._stream.resume_token
        return token

    def _arrive(self, event: Event) -> Event:
        """The event with its documents at head; one that cannot be upgraded stays as stored, and is logged."""
        said = False
        for name in self._fields:
            document = event.get(name)
            if isinstance(document, dict):
                try:
                    event[name] = upgraded(self._scope, document)
                except DocumentError as error:
                    if not said:  # both documents of an event are most often the same trouble
                        LOGGER.warning("%s: a change event has a document as stored: %s", self._scope.name, error)
                    said = True
        return event


class LazyChangeStream(_Events):
    """A change stream whose documents arrive at head; one that cannot be upgraded does not end it.

    Iterate it, or call `try_next` for an event that is there already. Events are dicts, also of a typed collection.
    `fullDocument` and `fullDocumentBeforeChange` are upgraded where they are whole documents; one that cannot be, or
    is ahead, is left as stored, with its stamp, and a warning is logged (none when `Policy.on_ahead` is "keep").
    """

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        return self._arrive(self._stream.next())

    def next(self) -> Event:
        """The next event, waited for; `StopIteration` when the stream was closed."""
        return self.__next__()

    def try_next(self) -> Event | None:
        """The next event, or None when the server has none at the moment."""
        event = self._stream.try_next()
        return None if event is None else self._arrive(event)

    def close(self) -> None:
        """End the stream, on the server too."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class AsyncLazyChangeStream(_Events):
    """A change stream whose documents arrive at head; see `LazyChangeStream`. Iterate it with `async for`."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return self._arrive(await self._stream.next())

    async def next(self) -> Event:
        """The next event, waited for; `StopAsyncIteration` when the stream was closed."""
        return await self.__anext__()

    async def try_next(self) -> Event | None:
        """The next event, or None when the server has none at the moment."""
        event = await self._stream.try_next()
        return None if event is None else self._arrive(event)

    async def close(self) -> None:
        """End the stream, on the server too."""
        await self._stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def upgraded(scope: Scope, document: dict[str, Any]) -> dict[str, Any]:
    """A whole document at head; the given one is left as it is. Raises the `DocumentError` that it is refused with."""
    schema = scope.schema
    try:
        version = schema.version_of(document)
        if version > schema.head:
            if scope.policy.on_ahead == "raise":
                raise schema.ahead(document)
            return document
        at_head = schema.chain(version, schema.head).run(copy_value(document))
        return scope.normal(at_head, version) if version < schema.settled else at_head
    except DocumentError as error:
        scope.named(error)
        raise


def whole_fields(pipeline: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The fields of an event that hold whole documents after a pipeline: those that no stage may have changed or cut.

    `$match` changes nothing; `$project`, `$unset`, `$set` and `$addFields` change the paths that they name, unless a
    projection just keeps or drops the field. After any other stage an event may be anything.
    """
    return tuple(name for name in FIELDS if all(keeps(stage, name) for stage in pipeline))


def keeps(stage: Mapping[str, Any], field: str) -> bool:
    """Whether a stage leaves a field of an event as it is, or drops it altogether."""
    for operator, argument in stage.items():
        match operator:
            case "$match" | "$changeStreamSplitLargeEvent":
                continue
            case "$unset":
                names = [argument] if isinstance(argument, str) else argument
                if any(name.startswith(field + ".") for name in names):
                    return False
            case "$project" | "$set" | "$addFields":
                for name, value in argument.items():
                    kept = operator == "$project" and isinstance(value, (bool, int, float))
                    if name.startswith(field + ".") or (name == field and not kept):
                        return False
            case _:
                return False
    return True
