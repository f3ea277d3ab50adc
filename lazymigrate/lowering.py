"""Deciding about one document on its way back to an older version."""

from __future__ import annotations

from bson.errors import BSONError

from lazymigrate.change import Change, CompareAndSet, Unchanged
from lazymigrate.course import Course
from lazymigrate.documents import copy_value, same
from lazymigrate.exceptions import DocumentError
from lazymigrate.outcome import Refused, Upgraded, is_plain, undecodable
from lazymigrate.scope import Scope

__all__ = ["loses", "lowered"]


def lowered(scope: Scope, raw: bytes, course: Course) -> Upgraded | Refused:
    """The document at the target of a downgrade and the compare-and-set that stores it, guarded by the whole document."""
    try:
        document, stored = scope.decode(raw), scope.decode(raw)
    except BSONError as error:
        return Refused(undecodable(scope, raw, error))
    try:
        version = scope.schema.version_of(document)
        wanted = scope.normal(course.chain(version).run(document), version)
    except DocumentError as error:
        return Refused(scope.named(error))
    plain = is_plain(scope, raw, stored)
    return Upgraded(wanted, stored, CompareAndSet(raw, Unchanged(raw, plain), Change.between(stored, wanted)))


def loses(scope: Scope, result: Upgraded, course: Course) -> bool:
    """Whether the way back loses something: upgrading again would not give the document that is stored now.

    The order of fields is not counted, since a field that goes and comes back stands at the end.
    """
    version = scope.schema.version_of(result.stored)
    try:
        again = scope.schema.chain(course.target, version).run(copy_value(result.document))
        again = scope.normal(again, course.target)
    except DocumentError:
        return True
    return not same(again, result.stored, ordered=False)
