"""The shape of a model, in lines that are the same whatever way it is written."""

# ruff: noqa: UP006, UP007, UP035, UP045, PYI030, PYI061 (the old way to write a type is what is tested)
from __future__ import annotations

import dataclasses
import enum
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Dict, Generic, List, Literal, NewType, Optional, Set, Tuple, TypeVar, Union

import pytest
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, RootModel, computed_field, create_model
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import NotRequired, Required, TypeAliasType, TypedDict

from lazymigrate import SchemaError
from lazymigrate.fields import ObjectId
from lazymigrate.shape import shape

T = TypeVar("T")
Cents = NewType("Cents", int)
Names = TypeAliasType("Names", list[str])


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class City(BaseModel):
    name: str
    zip: int | None = None


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["closed"]


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    kind: Literal["open"]


class Node(BaseModel):
    children: list[Node] = []
    parent: Node | None = None


class Box(BaseModel, Generic[T]):
    content: T


class Numbers(RootModel[list[int]]):
    pass


class Options(TypedDict, total=False):
    a: Required[int]
    b: str


class Choices(TypedDict):
    c: NotRequired[int]


@dataclasses.dataclass
class Point:
    x: float
    y: Annotated[float, Field(alias="why")] = 0.0
    tags: list[str] = dataclasses.field(default_factory=list)
    seen: dataclasses.InitVar[int] = 0


@pydantic_dataclass
class Place:
    x: float
    y: float = Field(default=0.0, alias="why")
    tags: list[str] = Field(default_factory=list)


def of(annotation: Any, **field: Any) -> tuple[str, ...]:
    return shape(create_model("Model", f=(annotation, Field(**field))))


LINES = {
    "text": (str, ["f: str"]),
    "object id": (ObjectId, ["f: ObjectId"]),
    "date": (datetime, ["f: datetime"]),
    "uuid": (uuid.UUID, ["f: UUID"]),
    "url": (HttpUrl, ["f: url"]),
    "anything": (Any, ["f: any"]),
    "null": (None, ["f: null"]),
    "constraints": (Annotated[int, Field(gt=3)], ["f: int"]),
    "inner constraints": (list[Annotated[int, Field(gt=3)]], ["f[]: int"]),
    "new type": (Cents, ["f: int"]),
    "alias": (Names, ["f[]: str"]),
    "union": (str | int | None, ["f: int | null | str"]),
    "bytes": (bytes, ["f: bytes"]),
    "enum": (Color, ["f: 'blue' | 'red'"]),
    "integer enum": (Level, ["f: 1"]),
    "literals": (Literal["b", "a", 1, None], ["f: 'a' | 'b' | 1 | null"]),
    "list": (list, ["f[]: any"]),
    "lists": (list[list[int]], ["f[][]: int"]),
    "set": (set[int], ["f[]: int"]),
    "fixed": (tuple[int, str], ["f[0]: int", "f[1]: str"]),
    "tuple": (tuple[int, ...], ["f[]: int"]),
    "map": (dict, ["f{}: any"]),
    "map of texts": (dict[str, list[int]], ["f{}[]: int"]),
    "map of numbers": (dict[int, str], ["f{int}: str"]),
    "list or number": (list[str] | int, ["f: int | list", "f[]: str"]),
    "document": (City, ["f.name: str", "f.zip: int | null (optional)"]),
    "document or null": (City | None, ["f.name: str", "f.zip: int | null (optional)", "f: document | null"]),
    "documents": (list[City], ["f[].name: str", "f[].zip: int | null (optional)"]),
    "one of several": (
        Closed | Open,
        ["f(Closed).*: nothing", "f(Closed).kind: 'closed'", "f(Open).*: any", "f(Open).kind: 'open'"],
    ),
    "generic": (Box[int], ["f.content: int"]),
    "root": (Numbers, ["f[]: int"]),
    "typed dict": (Options, ["f.a: int", "f.b: str (optional)"]),
    "typed dict with one that may be missing": (Choices, ["f.c: int (optional)"]),
    "dataclass": (Point, ["f.tags: list (optional)", "f.tags[]: str", "f.why: float (optional)", "f.x: float"]),
}


@pytest.mark.parametrize(("annotation", "lines"), LINES.values(), ids=LINES)
def test_every_kind_of_type_has_its_line(annotation: Any, lines: list[str]) -> None:
    assert list(of(annotation)) == lines


ALIKE = [
    (Optional[str], str | None),
    (Union[int, str], str | int),
    (List[int], list[int]),
    (Dict[str, int], dict[str, int]),
    (Dict[str, int], Mapping[str, int]),
    (Set[int], frozenset[int]),
    (Tuple[int, ...], tuple[int, ...]),
    (Sequence[int], list[int]),
    (list, list[Any]),
    (List, list),
    (dict, dict[str, Any]),
    (Union[None, Literal["a"], Literal["b"]], Literal["b", "a", None]),
    (Color, Literal["red", "blue"]),
    (City | None, Optional[City]),
]


@pytest.mark.parametrize(("one", "other"), ALIKE, ids=str)
def test_what_means_the_same_is_the_same_line(one: Any, other: Any) -> None:
    assert of(one) == of(other)


def test_whether_a_field_may_be_missing_counts_and_its_default_does_not() -> None:
    assert of(int) == ("f: int",)
    assert of(int, default=1) == of(int, default=2) == of(int, default_factory=int) == ("f: int (optional)",)
    assert of(City, default=None) != of(City)
    assert of(list[int], default=[]) == ("f: list (optional)", "f[]: int")


def test_fields_have_their_stored_names_and_odd_ones_are_quoted() -> None:
    assert of(int, alias="_id") == ("_id: int",)
    assert of(int, alias="a.b: c\n\x1b") == ('"a.b: c\\n\\u001b": int',)
    assert of(int, alias="größe") == ("größe: int",)


def test_recursive_classes_end_where_they_come_again() -> None:
    assert shape(Node) == ("children: list (optional)", "children[]: → Node", "parent: null | → Node (optional)")


def test_what_becomes_of_further_fields_is_said() -> None:
    assert "*: nothing" in shape(Closed)
    assert "*: any" in shape(Open)
    assert not [line for line in shape(City) if line.startswith("*")]


def test_computed_fields_are_stored_too() -> None:
    class User(BaseModel):
        first: str

        @computed_field(alias="label")
        @property
        def name(self) -> str:
            return self.first

    assert shape(User) == ("first: str", "label: str (computed)")


def test_dataclasses_of_both_kinds_have_the_same_shape() -> None:
    assert shape(Point) == shape(Place) == ("tags: list (optional)", "tags[]: str", "why: float (optional)", "x: float")


def test_a_class_that_is_not_finished_is_an_error_with_a_remedy() -> None:
    class Unfinished(BaseModel):
        other: Missing  # noqa: F821  # pyright: ignore[reportUndefinedVariable]

    with pytest.raises(SchemaError, match=r"Unfinished cannot be told yet.* Declare the classes"):
        shape(Unfinished)
