"""The part of `check_revision` that runs the revision in fresh interpreters under different hash seeds.

The order of a set of strings changes with the seed, and so from one process of an application to the next. The
interpreters import the module in which the schema stands, get the documents on standard input as BSON and give the
upgraded ones on standard output.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import bson
from bson.codec_options import CodecOptions

from lazymigrate.elements import split
from lazymigrate.exceptions import UpgradeError
from lazymigrate.model import belongs_to
from lazymigrate.schema import Schema
from lazymigrate.scope import tolerant
from lazymigrate.testing.subject import Case, Subject
from lazymigrate.verification import first_difference

__all__ = ["Place", "answer", "place_of", "under_two_seeds"]

CHECK = "hash seeds"
INSIDE = "LAZYMIGRATE_UNDER_A_SEED"
SEEDS = ("0", "1")
SECONDS = 120.0
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lazymigrate.testing.seeds import answer; answer()"
)
_REMEDY = "Let the revision depend on nothing but its document: sort what comes out of a set."
_AT_TOP_LEVEL = "Declare it at the top level of a module that can be imported, or pass hash_seeds=False."


class Place(NamedTuple):
    """Where another process finds a schema: in a module, as an attribute or as the schema of a model there."""

    module: str
    file: str
    attribute: str


def place_of(schema: Schema) -> Place | None:
    """The place of a schema; None when no importable module holds it at its top level."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or not isinstance(file, str):
            continue
        for attribute, value in list(vars(module).items()):
            if value is schema or (isinstance(value, type) and belongs_to(value) is schema):
                return Place(name, file, attribute)
    return None


def under_two_seeds(subject: Subject, found: Sequence[Case], results: Sequence[bytes | None]) -> None:
    """The revision gives the same results under two hash seeds as it gave here."""
    if os.environ.get(INSIDE):
        raise RuntimeError("check_revision() is called while its module is imported. Call it in a test function.")
    place = place_of(subject.schema)
    if place is None:
        said = f"no importable module holds the schema {subject.schema.name!r} at its top level"
        subject.fail(CHECK, None, said, _AT_TOP_LEVEL)
    task = {
        "module": place.module,
        "file": place.file,
        "attribute": place.attribute,
        "version": subject.revision.version,
        "name": subject.revision.name,
        "tz_aware": subject.codec.tz_aware,
        "uuid": subject.codec.uuid_representation,
    }
    question = bson.encode(task) + b"".join(case.raw for case in found)
    answers = ask(subject, question, len(found))
    for case, here, *there in zip(found, results, *answers, strict=True):
        for seed, other in zip(SEEDS[1:], there[1:], strict=True):
            compare(subject, case, there[0], other, f"{{0}} under PYTHONHASHSEED={SEEDS[0]}, {{1}} under {seed}")
        compare(subject, case, here, there[0], "{0} in this process, {1} in a fresh one")


def compare(subject: Subject, case: Case, one: bytes | None, other: bytes | None, words: str) -> None:
    """Two results of one document are the same."""
    if one is None or other is None:
        if one is not other:
            refused = ("refused" if raw is None else "upgraded" for raw in (one, other))
            subject.fail(CHECK, case, words.format(*refused), _REMEDY)
        return
    difference = first_difference(one, other)
    if difference is not None:
        subject.differs(CHECK, case, difference, (one, other), words, _REMEDY)


def ask(subject: Subject, question: bytes, expected: int) -> list[list[bytes | None]]:
    """What an interpreter per seed answers; they run side by side."""
    command = [sys.executable, "-c", _CHILD, json.dumps(sys.path)]
    pipe = subprocess.PIPE
    children = [
        subprocess.Popen(  # noqa: S603 (this interpreter, on the user's own module)
            command, stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, "PYTHONHASHSEED": seed, INSIDE: "1"}
        )
        for seed in SEEDS
    ]
    answers: list[list[bytes | None]] = []
    try:
        for child in children:
            output, errors = child.communicate(question, timeout=SECONDS)
            if child.returncode:
                said = (errors.decode(errors="replace").strip().splitlines() or ["it ended"])[-1]
                subject.fail(CHECK, None, f"a fresh interpreter could not run the revision: {said}", _AT_TOP_LEVEL)
            given = [raw if len(raw) > len(REFUSED) else None for raw in split(output)]
            if len(given) != expected:
                raise RuntimeError(f"{expected} documents were asked for, and {len(given)} came back.")
            answers.append(given)
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.communicate()
    return answers


REFUSED = bson.encode({})


def answer() -> None:
    """What the fresh interpreter does: upgrade the documents on standard input."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the module prints is no answer
    task, *raws = split(sys.stdin.buffer.read())
    asked: dict[str, Any] = bson.decode(task)
    schema = loaded(Place(asked["module"], asked["file"], asked["attribute"]))
    codec = tolerant(CodecOptions(tz_aware=asked["tz_aware"], uuid_representation=asked["uuid"]))
    names = {revision.version: revision.name for revision in schema.revisions}
    if names.get(asked["version"]) != asked["name"]:
        raise LookupError(f"the schema in {asked['module']} has no revision {asked['version']} {asked['name']!r}")
    with output:
        for raw in raws:
            try:
                upgraded = schema.upgrade(bson.decode(raw, codec), to=asked["version"])
            except UpgradeError:
                output.write(REFUSED)
            else:
                output.write(bson.encode(upgraded, codec_options=codec))


def loaded(place: Place) -> Schema:
    """The schema at a place; its module is imported by name or, where that names another file or none, from its file."""
    try:
        module = importlib.import_module(place.module)
    except ModuleNotFoundError as error:
        if error.name is None or not place.module.startswith(error.name):
            raise
        module = None
    if module is None or getattr(module, "__file__", None) != place.file:
        spec = importlib.util.spec_from_file_location(place.module, place.file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{place.file} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[place.module] = module
        spec.loader.exec_module(module)
    value = getattr(module, place.attribute)
    schema = value if isinstance(value, Schema) else belongs_to(value)
    if not isinstance(schema, Schema):
        raise TypeError(f"{place.attribute} in {place.module} is no schema in a fresh interpreter")
    return schema
