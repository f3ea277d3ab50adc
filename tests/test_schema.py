"""Declaring: what is wrong is said at import, with both sides and a remedy, and leaves the schema as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from bson import ObjectId
from pydantic import BaseModel, Field, RootModel
from schemas import declared, users

from lazymigrate import (
    AheadError,
    InvalidVersionError,
    IrreversibleError,
    ModelError,
    RetiredVersionError,
    Schema,
    SchemaError,
    UpgradeError,
    ops,
)

OLD = {"_id": 1, "name": "Ada Lovelace", "mail": "a@example.org", "kept": {"deep": [1, {"x": 2}]}}


def test_the_example_of_the_contract() -> None:
    schema = users("users")
    assert (schema.name, schema.version_field, schema.base, schema.oldest, schema.head) == (
        "users", "schema_version", 1, 1, 3,
    )  # fmt: skip
    first, second = schema.revisions
    assert (first.version, first.name, first.description) == (
        2,
        "split_name",
        "A name becomes a first and a last name.",
    )
    assert (first.declared, first.reversible, first.lossless) == (False, True, False)
    assert (second.version, second.name, second.declared, second.reversible, second.lossless) == (
        3, "email_and_active", True, True, True,
    )  # fmt: skip
    assert str(second) == "mail → email; + active"
    document = {"name": "Ada Lovelace", "schema_version": 1}
    assert first(document) is None
    assert document == {"schema_version": 1, "first_name": "Ada", "last_name": "Lovelace"}
    document = {"mail": "m"}
    assert second(document) is None
    assert document == {"email": "m", "active": True}


def test_upgrade_and_downgrade_are_pure_and_stamp() -> None:
    schema = users()
    before = copy.deepcopy(OLD)
    upgraded = schema.upgrade(OLD)
    assert upgraded == {
        "_id": 1,
        "kept": {"deep": [1, {"x": 2}]},
        "first_name": "Ada",
        "last_name": "Lovelace",
        "email": "a@example.org",
        "active": True,
        "schema_version": 3,
    }
    upgraded["kept"]["deep"].append("changed")
    assert before == OLD
    assert schema.upgrade(OLD, to=1) == {**OLD, "schema_version": 1}
    assert schema.upgrade(OLD, to=2)["schema_version"] == 2
    again = schema.upgrade(OLD)
    assert schema.downgrade(again, to=1) == {**OLD, "schema_version": 1}
    assert schema.upgrade(again) == again
    assert again["schema_version"] == 3


def test_a_downgrade_runs_from_the_documents_own_version() -> None:
    schema = users()
    middle = schema.upgrade(OLD, to=2)
    assert schema.downgrade(middle, to=1) == {**OLD, "schema_version": 1}
    assert schema.downgrade(middle, to=2) == middle


@pytest.mark.parametrize("to", [0, 4, True, "2", 2.0])
def test_a_target_outside_the_schema_is_a_value_error(to: Any) -> None:
    with pytest.raises(ValueError, match="to="):
        users().upgrade(OLD, to=to)
    with pytest.raises(ValueError, match="to="):
        users().downgrade(OLD, to=to)


def test_a_target_on_the_wrong_side_is_a_value_error() -> None:
    schema = users()
    with pytest.raises(ValueError, match="downgrade"):
        schema.upgrade(schema.upgrade(OLD), to=2)
    with pytest.raises(ValueError, match="upgrade"):
        schema.downgrade(OLD, to=2)


def test_what_newer_code_wrote_is_not_touched() -> None:
    ahead = {"_id": 1, "schema_version": 9}
    for call in (lambda: users().upgrade(ahead), lambda: users().downgrade(ahead, to=1), lambda: users().load(ahead)):
        with pytest.raises((AheadError, SchemaError)):
            call()
    with pytest.raises(AheadError, match="version 9"):
        users().upgrade(ahead)
    assert users().version_of(ahead) == 9


def test_irreversible_revisions_say_so() -> None:
    schema = declared()
    schema.revision(4, ops.remove("mail"), name="drop_mail")
    with pytest.raises(IrreversibleError, match="drop_mail") as caught:
        schema.downgrade({"schema_version": 4}, to=1)
    assert caught.value.revision == 4
    schema = declared()
    drop = schema.revision(4, ops.remove("x"))
    assert not drop.reversible

    @drop.downgrade
    def back(document: dict[str, Any]) -> None:
        document["x"] = "restored"

    assert back.__name__ == "back"
    assert drop.reversible
    assert not drop.lossless
    assert schema.downgrade({"schema_version": 4}, to=3) == {"schema_version": 3, "x": "restored"}
    with pytest.raises(SchemaError, match="already has a way back"):
        drop.downgrade(back)


def test_functions_never_see_the_version_field_and_cannot_change_the_identity() -> None:
    schema = Schema("people")
    seen: list[Any] = []

    @schema.revision(2)
    def look(document: dict[str, Any]) -> None:
        seen.append("schema_version" in document)
        document["schema_version"] = "mine"
        document.pop("_id", None)

    assert schema.upgrade({"_id": 5, "schema_version": 1, "x": 1}) == {"_id": 5, "schema_version": 2, "x": 1}
    assert seen == [False]
    for value in (6, {"a": 1}):
        schema = Schema("people")

        @schema.revision(2)
        def change(document: dict[str, Any], value: Any = value) -> None:
            document["_id"] = value

        with pytest.raises(UpgradeError, match="_id"):
            schema.upgrade({"_id": 5})
    schema = Schema("people")

    @schema.revision(2)
    def mutate(document: dict[str, Any]) -> None:
        document["_id"]["a"] = 2

    with pytest.raises(UpgradeError, match="_id"):
        schema.upgrade({"_id": {"a": 1}})


def test_fields_keep_their_place_as_on_the_server() -> None:
    schema = Schema("people")

    @schema.revision(2)
    def change(document: dict[str, Any]) -> None:
        document["new"] = document.pop("a")
        document["b"] += 1

    assert list(schema.upgrade({"_id": 1, "a": 1, "schema_version": 1, "b": 2})) == [
        "_id",
        "schema_version",
        "b",
        "new",
    ]


def test_a_function_that_returns_something_is_a_schema_error_at_the_first_call() -> None:
    schema = Schema("people")

    @schema.revision(2)
    def returns(document: dict[str, Any]) -> None:
        return {**document}  # type: ignore[return-value]

    with pytest.raises(SchemaError, match="returns"):
        schema.upgrade({"a": 1})
    with pytest.raises(SchemaError, match="returned a dict"):
        returns({})


def test_touches_is_enforced() -> None:
    schema = Schema("people")
    seen: list[Any] = []

    @schema.revision(2, touches={"a", "new"}, reads={"b"})
    def polite(document: dict[str, Any]) -> None:
        seen.append(sorted(document))
        document["new"] = document.pop("a") + document["b"]

    assert schema.upgrade({"_id": 1, "a": 1, "b": 2, "c": 3}) == {
        "_id": 1,
        "b": 2,
        "c": 3,
        "new": 3,
        "schema_version": 2,
    }
    assert seen == [["_id", "a", "b"]]

    for rude in (
        lambda document: document.update(b=9),
        lambda document: document.update(c=9),
        lambda document: document.pop("b"),
        lambda document: document["b"].append(1) if isinstance(document["b"], list) else document.update(b=0),
    ):
        schema = Schema("people")

        def run(document: dict[str, Any], rude: Any = rude) -> None:
            rude(document)

        schema.revision(2, touches={"a"}, reads={"b"})(run)
        with pytest.raises(UpgradeError, match="touches"):
            schema.upgrade({"_id": 1, "a": 1, "b": [2], "c": 3})


def test_an_upgrade_that_fails_names_all_and_shows_nothing() -> None:
    schema = users()
    with pytest.raises(UpgradeError) as caught:
        schema.upgrade({"_id": "canary@example.org", "mail": "canary"})
    error = caught.value
    assert (error.collection, error.document_id, error.version, error.revision) == (
        "people",
        "canary@example.org",
        1,
        2,
    )
    assert isinstance(error.__cause__, KeyError)
    assert "canary" not in str(error)
    assert "'split_name'" in str(error)
    with pytest.raises(UpgradeError, match="507f1f77bcf86cd799439011"):
        schema.upgrade({"_id": ObjectId("507f1f77bcf86cd799439011")})
    with pytest.raises(UpgradeError) as caught:
        schema.downgrade({"_id": 1, "schema_version": 3}, to=1)
    assert caught.value.revision == 2
    assert caught.value.version == 3


def test_a_key_that_the_function_names_is_named_and_a_forgotten_read_is_said() -> None:
    with pytest.raises(UpgradeError, match="raised KeyError for 'name'"):
        users().upgrade({"_id": 1})
    schema = Schema("people")

    @schema.revision(2, touches={"a"})
    def forgetful(document: dict[str, Any]) -> None:
        document["a"] = document["b"]

    with pytest.raises(UpgradeError, match=r"'b', which it is not given.*reads="):
        schema.upgrade({"_id": 1, "b": 1})
    schema = Schema("people")

    @schema.revision(2)
    def by_value(document: dict[str, Any]) -> None:
        document["a"] = {}[document["b"]]

    with pytest.raises(UpgradeError, match="raised KeyError") as caught:
        schema.upgrade({"_id": 1, "b": "canary"})
    assert "canary" not in str(caught.value)


def test_retired_versions() -> None:
    schema = Schema("people", oldest=3)
    with pytest.raises(SchemaError, match="starts at 3"):
        schema.revision(2, ops.add("x", 1))
    schema.revision(4, ops.add("x", 1))
    assert (schema.oldest, schema.head) == (3, 4)
    assert schema.upgrade({"schema_version": 3}) == {"schema_version": 4, "x": 1}
    with pytest.raises(RetiredVersionError, match="last release"):
        schema.upgrade({"_id": 1})
    with pytest.raises(ValueError, match="to=2"):
        schema.downgrade({"schema_version": 4}, to=2)


def two(document: dict[str, Any], other: dict[str, Any]) -> None: ...
def none() -> None: ...
def keyword(document: dict[str, Any], *, needed: int) -> None: ...
async def coroutine(document: dict[str, Any]) -> None: ...
def generator(document: dict[str, Any]) -> Any:
    yield document


async def asynchronous_generator(document: dict[str, Any]) -> Any:
    yield document


class AsyncCallable:
    async def __call__(self, document: dict[str, Any]) -> None: ...


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda s: s.revision(2, ops.add("x", 1)), "declared twice"),
        (lambda s: s.revision(5, ops.add("x", 1)), "does not follow on"),
        (lambda s: s.revision(1, ops.add("x", 1)), "does not follow on"),
        (lambda s: s.revision("4", ops.add("x", 1)), "an integer"),
        (lambda s: s.revision(True, ops.add("x", 1)), "an integer"),
        (lambda s: s.revision(4.0, ops.add("x", 1)), "an integer"),
        (lambda s: s.revision(4, ops.add("x", 1), name="split_name"), "both named"),
        (lambda s: s.revision(4, ops.add("x", 1), name=""), "non-empty"),
        (lambda s: s.revision(4, ops.add("x", 1), touches={"x"}), "for functions"),
        (lambda s: s.revision(4, "rename"), "not an operation"),
        (lambda s: s.revision(4)(two), "one positional parameter"),
        (lambda s: s.revision(4)(none), "one positional parameter"),
        (lambda s: s.revision(4)(keyword), "one positional parameter"),
        (lambda s: s.revision(4)(coroutine), "coroutine"),
        (lambda s: s.revision(4)(generator), "generator"),
        (lambda s: s.revision(4)(asynchronous_generator), "generator"),
        (lambda s: s.revision(4, name="x")(AsyncCallable()), "coroutine"),
        (lambda s: s.revision(4)(7), "Decorate a function"),
        (lambda s: s.revision(4)(s.revisions[0]), "already"),
        (lambda s: s.revision(4, touches="name")(lambda document: None), "set of field names"),
        (lambda s: s.revision(4, touches={"a.b"}, name="x")(lambda document: None), "outermost"),
        (lambda s: s.revision(4, touches={"schema_version"}, name="x")(lambda document: None), "version field"),
        (lambda s: s.revision(4, reads={"a"}, name="x")(lambda document: None), "touches"),
        (lambda s: s.revision(4, ops.rename("_id", "x")), "the _id"),
        (lambda s: s.revision(4, ops.add("schema_version", 1)), "version field"),
        (lambda s: s.revision(4, ops.add("schema_version.x", 1)), "version field"),
        (lambda s: s.revision(4, ops.add("x", 1), ops.add("x", 2)), "has just set"),
        (lambda s: s.revision(4, ops.add("x", 1), ops.remove("x")), "just set"),
        (lambda s: s.revision(4, ops.rename("a", "b"), ops.rename("a", "c")), "taken away"),
        (lambda s: s.revision(4, ops.remove("a"), ops.rename("a.b", "c")), "taken away"),
        (lambda s: s.revision(4, ops.rename("a", "b"), ops.rename("c", "b")), "has just set"),
        (lambda s: s.revision(4, ops.add("a", {}), ops.add("a.b", 1)), "has just set"),
        (lambda s: s.revision(4, ops.remove("a"), ops.convert("a", "int")), "taken away"),
        (lambda s: s.revision(4, ops.rename("a", "a.b")), "inside the other"),
        (lambda s: s.revision(4, ops.rename("a", "b", on_conflict="ignore")), "keep_new"),
        (lambda s: s.revision(4, ops.add("a", object())), "BSON"),
        (lambda s: s.revision(4, ops.add("a", 2**70)), "BSON"),
        (lambda s: s.revision(4, ops.add("a.", 1)), "cannot be addressed"),
        (lambda s: s.revision(4, ops.add("", 1)), "non-empty"),
        (lambda s: s.revision(4, ops.add("$a", 1)), "cannot be addressed"),
        (lambda s: s.revision(4, ops.add("a.0", 1)), "array index"),
        (lambda s: s.revisions[0].downgrade(lambda document: None), "already has a way back"),
        (lambda s: s.model(dict), "pydantic"),
        (lambda s: s.model(RootModel[int]), "pydantic"),
        (lambda s: s.model(users), "pydantic"),
    ],
)
def test_a_wrong_declaration_is_said_and_leaves_the_schema_as_it_was(declare: Any, said: str) -> None:
    schema = users()
    revisions, chain = schema.revisions, schema.chain(1, 3)
    with pytest.raises(SchemaError, match=said) as caught:
        declare(schema)
    assert str(caught.value).rstrip().endswith((".", "'"))
    assert schema.revisions == revisions
    assert schema.head == 3
    assert schema.chain(1, 3) is chain
    assert schema.adapter is None


def test_two_branches_that_add_the_same_version_are_both_named_with_their_places() -> None:
    schema = users()

    @schema.revision(4)
    def add_phone(user: dict[str, Any]) -> None: ...

    with pytest.raises(SchemaError) as caught:

        @schema.revision(4)
        def add_fax(user: dict[str, Any]) -> None: ...

    message = str(caught.value)
    assert "add_phone" in message
    assert "add_fax" in message
    assert message.count("test_schema.py:") == 2
    assert "to 5" in message


@pytest.mark.parametrize(
    "make",
    [
        lambda: Schema(""),
        lambda: Schema(None),  # type: ignore[arg-type]
        lambda: Schema("x", version_field="_id"),
        lambda: Schema("x", version_field="a.b"),
        lambda: Schema("x", version_field="$v"),
        lambda: Schema("x", base=True),
        lambda: Schema("x", base=-1),
        lambda: Schema("x", base=3, oldest=2),
        lambda: Schema("x", oldest="3"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_schema_is_said(make: Any) -> None:
    with pytest.raises(SchemaError):
        make()


def test_a_model_belongs_to_one_schema_and_a_subclass_does_not_inherit_it() -> None:
    schema = users()

    @schema.model
    class User(BaseModel):
        first_name: str

    with pytest.raises(SchemaError, match="a model already"):

        @schema.model
        class Second(BaseModel):
            first_name: str

    with pytest.raises(SchemaError, match="belongs to"):
        Schema("other").model(User)

    class Admin(User):
        pass

    assert Schema("admins").model(Admin) is Admin


def test_an_alias_that_would_not_be_read_again_is_said() -> None:
    with pytest.raises(SchemaError, match="mail"):

        @Schema("x").model
        class User(BaseModel):
            mail: str = Field(validation_alias="email", serialization_alias="mail")


def test_load_and_dump() -> None:
    schema = users()
    with pytest.raises(SchemaError, match="no model"):
        schema.load({})

    @schema.model
    class User(BaseModel):
        id: int = Field(alias="_id")
        first_name: str
        last_name: str
        schema_version: int = 0

    user = schema.load(OLD)
    assert (user.id, user.first_name, user.schema_version) == (1, "Ada", 3)
    assert schema.dump(User(_id=2, first_name="G", last_name="H")) == {
        "_id": 2,
        "first_name": "G",
        "last_name": "H",
        "schema_version": 3,
    }
    with pytest.raises(ModelError) as caught:
        schema.load({"_id": "canary", "name": "A B"})
    assert caught.value.errors == (("_id", "int_parsing"),)
    assert "canary" not in str(caught.value)
    with pytest.raises(TypeError):
        schema.dump({"first_name": "x"})


def test_an_invalid_version_is_refused_by_the_pure_functions() -> None:
    for call in (users().upgrade, users().version_of):
        with pytest.raises(InvalidVersionError):
            call({"_id": 1, "schema_version": "2"})


def test_a_chain_depends_on_the_fields_that_its_revisions_name() -> None:
    schema = Schema("people")

    @schema.revision(2, touches={"a"}, reads={"b"})
    def touch(document: dict[str, Any]) -> None:
        document["a"] = document.get("b")

    @touch.downgrade
    def untouch(document: dict[str, Any]) -> None:
        document.pop("a", None)

    renamed = schema.revision(3, ops.rename("c.d", "e"))
    schema.revision(4, ops.add("f", 1))
    assert renamed.reversible
    assert [schema.chain(*way).fields for way in ((1, 2), (2, 3), (1, 4), (2, 1), (3, 2), (4, 1))] == [
        {"a", "b"},
        {"c", "e"},
        {"a", "b", "c", "e", "f"},
        {"a", "b"},
        {"c", "e"},
        {"a", "b", "c", "e", "f"},
    ]


def test_a_way_back_that_is_a_function_may_use_any_field_and_so_may_a_function_without_touches() -> None:
    schema = Schema("people")

    @schema.revision(2)
    def anything(document: dict[str, Any]) -> None:
        document["x"] = 1

    removed = schema.revision(3, ops.remove("a"))

    @removed.downgrade
    def guess(document: dict[str, Any]) -> None:
        document["a"] = document.get("b")

    assert [schema.chain(*way).fields for way in ((2, 3), (3, 2), (1, 2), (1, 3))] == [{"a"}, None, None, None]
