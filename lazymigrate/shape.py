r"""The shape that a model gives to documents, in lines that a person can read and compare.

| line                             | says                                                                         |
|----------------------------------|------------------------------------------------------------------------------|
| `email: str`                     | a field by its stored name, and its type                                     |
| `nick: null \| str (optional)`    | the types in order; the field may be missing                                 |
| `age: int (computed)`            | written, and not read                                                        |
| `address.city: str`              | a field of a document inside; `pet(Cat).name` where there are several kinds  |
| `tags[]: str`, `point[0]: float` | the elements of a list, or those of a fixed number                           |
| `prices{}: int`, `ages{int}: int`| the values of a map, with the type of its keys where these are no texts      |
| `address: document (optional)`   | a document, list or map that may be missing, or may be something else        |
| `children[]: → Node`             | again the shape of a class that it stands in                                 |
| `color: 'blue' \| 'red'`          | an enum or a literal, by its values                                          |
| `*: any`, `*: nothing`           | further fields are kept, or are an error; without such a line they are ignored |

Constraints and the values of defaults are no shape. The text is the same on all versions of Python and pydantic.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import re
import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, Union, cast, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError
from typing_extensions import get_type_hints, is_typeddict  # pydantic knows only these before Python 3.12

from lazymigrate.exceptions import SchemaError
from lazymigrate.sharing import dataclass_fields

__all__ = ["shape"]

_UNIONS: Final = (Union, types.UnionType)
_LISTS: Final = (collections.abc.Sequence, collections.abc.Set, collections.abc.Iterable)
_TEXTS: Final = (str, bytes, bytearray, memoryview)
_QUALIFIERS: Final = frozenset(["Final", "ClassVar", "Required", "NotRequired", "ReadOnly"])
_EXTRA: Final = {"allow": "any", "forbid": "nothing"}
_PLAIN: Final = re.compile(r"[\w$@-]+")


class _StoredField(NamedTuple):  # pydantic may look for what a class means by `Field` in this module
    """A field of a class: its stored name, what it is annotated with, and what is said about it in brackets."""

    name: str
    annotation: Any
    note: str = ""


def shape(model: type) -> tuple[str, ...]:
    """The sorted lines of a pydantic model, a pydantic dataclass or a standard one; `SchemaError` for an unfinished class."""
    try:
        return tuple(sorted(set(_document("", model, ()))))
    except (PydanticUserError, NameError) as error:
        raise SchemaError(
            f"The shape of {model.__qualname__} cannot be told yet: a class that it names is not there "
            f"({type(error).__name__}). Declare the classes that it names at the top of a module."
        ) from error


def _document(prefix: str, cls: Any, around: tuple[type, ...]) -> Iterator[str]:
    for field in _fields(cls):
        yield from _lines(f"{prefix}{_name(field.name)}", field.annotation, (*around, cls), field.note)
    config = getattr(cls, "model_config", None) or getattr(cls, "__pydantic_config__", None) or {}
    if config.get("extra") in _EXTRA:
        yield f"{prefix}*: {_EXTRA[config['extra']]}"


def _lines(path: str, annotation: Any, around: tuple[type, ...], note: str = "") -> Iterator[str]:
    """The line of a path, and those of what is inside of it."""
    members = list(dict.fromkeys(_members(annotation)))
    documents = [member for member in members if _has_fields(member)]
    words: set[str] = set()
    inner: list[str] = []
    for member in members:
        if member in documents:
            place = f"{path}({member.__name__})" if len(documents) > 1 else path
            words.add(f"→ {member.__name__}" if member in around else "document")
            inner += [] if member in around else _document(f"{place}.", member, around)
        else:
            word, parts = _inside(member)
            words.add(word)
            for part, element in parts:
                inner += _lines(f"{path}{part}", element, around)
    if note or not inner or len(words) > 1:
        yield f"{path}: {' | '.join(sorted(words))}{f' ({note})' if note else ''}"
    yield from inner


def _members(annotation: Any) -> Iterator[Any]:
    """The types of which a value has one: a union's, an enum's or a literal's values as `Literal`, or one alone."""
    annotation = _stripped(annotation)
    origin = get_origin(annotation)
    if origin in _UNIONS:
        for inner in get_args(annotation):
            yield from _members(inner)
    elif origin is Literal:
        for value in get_args(annotation):
            given = value.value if isinstance(value, Enum) else value
            yield None if given is None else Literal[given]
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        for member in annotation:
            yield Literal[member.value] if isinstance(member.value, (str, int, bytes, bool)) else type(member.value)
    else:
        yield annotation


def _stripped(annotation: Any) -> Any:
    """The type itself, without constraints, qualifiers, and names that were given to it."""
    while True:
        origin = get_origin(annotation)
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif hasattr(origin or annotation, "__type_params__") and hasattr(origin or annotation, "__value__"):
            alias = origin or annotation
            annotation = alias.__value__[get_args(annotation)] if origin else alias.__value__
        elif isinstance(annotation, typing.TypeVar):
            annotation = annotation.__bound__ or Any
        elif getattr(origin, "_name", None) in _QUALIFIERS:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation.__pydantic_root_model__:
            annotation = annotation.model_fields["root"].annotation
        else:
            return annotation


def _inside(member: Any) -> tuple[str, list[tuple[str, Any]]]:
    """The word for a type, and what its values hold, by what stands after the path."""
    origin, arguments = get_origin(member) or member, get_args(member)
    if origin is Literal:
        return _literal(arguments[0]), []
    if member is None or member is type(None):
        return "null", []
    if member is Any or member is object:
        return "any", []
    if not isinstance(origin, type):
        return _text(member), []
    if issubclass(origin, collections.abc.Mapping):
        key, value = arguments if len(arguments) == 2 else (str, Any)
        keys = " | ".join(sorted(_inside(each)[0] for each in _members(key)))
        return "map", [(f"{{{'' if keys in ('str', 'any') else keys}}}", value)]
    if issubclass(origin, tuple) and arguments and arguments[-1] is not ...:
        return "list", [(f"[{number}]", element) for number, element in enumerate(arguments)]
    if issubclass(origin, _LISTS) and not issubclass(origin, _TEXTS) and (arguments or origin.__module__ != "bson"):
        return "list", [("[]", arguments[0] if arguments else Any)]
    return _text(origin), []


def _fields(cls: Any) -> Iterator[_StoredField]:
    if is_typeddict(cls):
        for name, annotation in get_type_hints(cls, include_extras=True).items():
            said = getattr(get_origin(annotation), "_name", None)  # which Python overlooks where annotations are texts
            required = name in cls.__required_keys__ if said not in ("Required", "NotRequired") else said == "Required"
            yield _StoredField(name, annotation, "" if required else "optional")
    elif issubclass(cls, BaseModel):
        if not cls.__pydantic_complete__:
            cls.model_rebuild()
        for name, info in cls.model_fields.items():
            stored = info.serialization_alias or info.alias or name
            yield _StoredField(stored, info.annotation, "" if info.is_required() else "optional")
        for name, computed in cls.model_computed_fields.items():
            yield _StoredField(computed.alias or name, computed.return_type, "computed")
    else:
        yield from _dataclass_fields(cls)


def _dataclass_fields(cls: Any) -> Iterator[_StoredField]:
    """As pydantic reads them; the types as they are annotated."""
    declared = {item["name"]: item for item in dataclass_fields(TypeAdapter(cls).core_schema) or []}
    known = getattr(cls, "__pydantic_fields__", {})
    hints: dict[str, Any] = {name: info.annotation for name, info in known.items()}
    if not hints:
        hints = get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        item = declared.get(field.name)
        if item is not None:
            stored = item.get("serialization_alias") or field.name
            yield _StoredField(stored, hints[field.name], "optional" if item["schema"]["type"] == "default" else "")


def _has_fields(annotation: Any) -> bool:
    """Whether a type is stored as a document with the fields of a class."""
    if not isinstance(annotation, type) or get_origin(annotation) is not None:
        return is_typeddict(annotation)
    return issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation) or is_typeddict(annotation)


def _name(name: str) -> str:
    """A stored name in a path; in quotes where it could be taken for something else."""
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


def _literal(value: Any) -> str:
    return ascii(value) if isinstance(value, (str, bytes)) else str(value)


def _text(annotation: Any) -> str:
    """The name of a class; pydantic's URLs are classes of their own only in some of its versions."""
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    name = cast("str", getattr(annotation, "__name__", None) or str(annotation))
    own = str(getattr(annotation, "__module__", "")).startswith("pydantic")
    return "url" if own and name.endswith(("Url", "Dsn")) else name
