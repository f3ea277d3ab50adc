"""What a function does, as a checksum: its syntax tree, and what that refers to.

- Values from outside (constants of its module, cells of its closure, defaults of its parameters) count by value where
  they are plain: None, numbers, texts, bytes, dates, what BSON holds, and tuples, lists, dicts and sets of these.
- Plain functions of the same top-level package count by what they do, in turn; also through modules of that package.
- Everything else counts by the name of its package and its own: another library's release is none of our changes.

A function whose source is not there, or is nested more than a hundred deep, is described by its bytecode, which only
the same minor version of the same Python gives again: such checksums have a kind of their own.
"""

from __future__ import annotations

import builtins
import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from re import Pattern
from types import CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, Final

import bson
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

from lazymigrate.syntax import definition, references, tree

__all__ = ["behaviour", "digest", "qualified_name"]

_SCALARS: Final = frozenset([type(None), bool, int, float, complex, str, bytes])
_WRITTEN: Final = frozenset(["datetime", "decimal", "fractions", "uuid"])  # modules whose values repr() tells in full
_STORED: Final = (Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp)
_CONTAINERS: Final = (tuple, list, dict, set, frozenset, MappingProxyType)
_ABSENT: Final[Any] = object()


def behaviour(function: Callable[..., Any]) -> str:
    """A checksum of what a function does: `"code:<hex>"`, or `"bytecode-<Python>:<hex>"` where there is no source."""
    reading = _Reading(package_of(inspect.unwrap(function)))
    form = reading.called(function)
    kind = f"bytecode-{sys.implementation.name}-{sys.version_info[0]}.{sys.version_info[1]}"
    return f"{kind if reading.blind else 'code'}:{digest(json.dumps(form).encode())}"


def digest(content: bytes) -> str:
    """The hex digits of a checksum; 128 bits, since nobody gains by a collision."""
    return hashlib.sha256(content).hexdigest()[:32]


def qualified_name(value: Any) -> str:
    """The module and the name of a function, a class or a module; of any other value, those of its class."""
    if isinstance(value, ModuleType):
        return value.__name__
    return f"{getattr(named(value), '__module__', None)}.{name_of(value)}"


def named(value: Any) -> Any:
    """The value itself where it has a name, or its class: other values may do anything when an attribute is asked for."""
    return value if isinstance(value, type) or inspect.isroutine(value) else type(value)


def name_of(value: Any) -> str:
    """The name inside of the module."""
    return getattr(named(value), "__qualname__", None) or type(value).__qualname__


def package_of(value: Any) -> str:
    """The top-level package that a callable was written in; a decorator may have given it the `__module__` of another."""
    if isinstance(value, partial):
        return package_of(value.func)
    if isinstance(value, MethodType):
        return package_of(value.__func__)
    module = value.__globals__.get("__name__") if isinstance(value, FunctionType) else getattr(value, "__module__", "")
    return str(module).partition(".")[0]


class _Reading:
    """One walk through a function and what it refers to; `blind` once something was without a source."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.blind = False
        self._seen: dict[int, int] = {}
        self._inside: set[int] = set()

    def called(self, function: Any) -> Any:
        """What is given to a declaration to be called: an object of a class of the application, too."""
        call = getattr(type(function), "__call__", None)  # noqa: B004
        if isinstance(call, FunctionType) and package_of(call) == self.package:
            return [
                "object",
                self._named(function),
                self._function(call),
                self.value(getattr(function, "__dict__", None)),
            ]
        return self.value(function)

    def value(self, value: Any) -> Any:
        """What a function refers to."""
        kind = type(value)
        if kind in _SCALARS or kind.__module__ in _WRITTEN:
            return [kind.__name__, ascii(value)]
        if isinstance(value, _STORED):
            return [kind.__name__, bson.encode({"": value}).hex()]
        if isinstance(value, Enum):
            return ["enum", self._named(value), value.name, self.value(value.value)]
        if isinstance(value, _CONTAINERS):
            return self._container(kind.__name__, value)
        if isinstance(value, FunctionType) and package_of(value) == self.package:
            return self._function(value)
        wrapped = inspect.getattr_static(value, "__wrapped__", None)
        if isinstance(wrapped, FunctionType):  # by a decorator of another package; it goes by the name of what it wraps
            decorator = (
                f"{package_of(value)}.{value.__code__.co_qualname}" if kind is FunctionType else self._named(kind)
            )
            return ["wrapped", decorator, self.value(wrapped)]
        if isinstance(value, MethodType):
            return ["method", self.value(value.__func__), self._named(value.__self__)]
        if isinstance(value, partial):
            return ["partial", *map(self.value, (value.func, value.args, value.keywords))]
        if isinstance(value, Pattern):
            return ["pattern", self.value(value.pattern), value.flags]
        return ["named", self._named(value)]

    def _named(self, value: Any) -> str:
        """The package and the name: modules inside of other packages, and their twins in C, are others in each version."""
        package = qualified_name(value).partition(".")[0].lstrip("_")
        own = package == self.package.lstrip("_")  # a script is __main__, and under its name when it is imported
        name = "" if isinstance(value, ModuleType) else name_of(value)
        return f"{'' if own else package}.{name}"

    def _container(self, kind: str, value: Any) -> Any:
        if id(value) in self._inside:
            return ["again"]
        self._inside.add(id(value))
        try:
            if isinstance(value, (set, frozenset)):  # in no order, so nothing in it may count in one
                return [kind, sorted((_Reading("").value(item) for item in value), key=json.dumps)]
            if isinstance(value, Mapping):
                return [kind, [[self.value(key), self.value(inner)] for key, inner in value.items()]]
            return [kind, [self.value(item) for item in value]]
        finally:
            self._inside.discard(id(value))

    def _function(self, function: FunctionType) -> Any:
        if id(function) in self._seen:
            return ["again", self._seen[id(function)]]
        self._seen[id(function)] = len(self._seen)
        code, node = function.__code__, definition(function)
        if node is None:
            self.blind = True
            body: Any = self._bytecode(code, function.__doc__)
            names: list[tuple[str, ...]] = [(name,) for name in sorted(_names(code).union(code.co_freevars))]
        else:
            body, names = tree(node), references(node)
        defaults = [function.__defaults__ or (), function.__kwdefaults__ or {}]
        return ["function", body, [self.value(each) for each in defaults], self._referred(function, names)]

    def _referred(self, function: FunctionType, names: list[tuple[str, ...]]) -> list[Any]:
        """What the names stand for, each once; those of Python itself are known."""
        around = dict(function.__globals__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                around[name] = cell.cell_contents
            except ValueError:  # nothing is in it yet
                around[name] = _ABSENT
        found: dict[tuple[str, ...], Any] = {}
        for first, *rest in names:
            if first.startswith("__"):  # where a module is, and what it is called
                continue
            path: tuple[str, ...] = (first,)
            value = around.get(first, _ABSENT)
            for name in rest:
                if not isinstance(value, ModuleType) or value.__name__.partition(".")[0] != self.package:
                    break
                value, path = getattr(value, name, _ABSENT), (*path, name)
            if value is not _ABSENT or not hasattr(builtins, first):
                found[path] = value
        return [[".".join(path), "unknown" if value is _ABSENT else self.value(value)] for path, value in found.items()]

    def _bytecode(self, code: CodeType, doc: str | None = None) -> Any:
        constants = [
            self._bytecode(constant) if isinstance(constant, CodeType) else self.value(constant)
            for number, constant in enumerate(code.co_consts)
            if number or doc is None or constant != doc
        ]
        return [code.co_code.hex(), constants, list(code.co_names)]


def _names(code: CodeType) -> set[str]:
    """The names in a code and the codes in it."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)
