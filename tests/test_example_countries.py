"""The example of the countries: every document of every release arrives in the newest shape, with its own values.

It runs on the excerpt, and on the full data where they are found beside the project.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import bson
import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database

from lazymigrate import IrreversibleError, LazyCollection, ModelError, SchemaError

Document = dict[str, Any]

SCRIPT = Path(__file__).parents[1] / "examples" / "01_countries.py"
FULL = Path(__file__).parents[2] / "shared/data/world-countries"
FULL_IS_THERE = FULL.is_dir()

COUNTS = {None: [15, 12, 14, 14, 14, 14], FULL: [251, 248, 250, 250, 250, 250]}
SOURCES = [None, FULL] if FULL_IS_THERE else [None]
STEPS = {2: (8, 12), 3: (3, 6), 4: (3, 5), 5: (3, 6), 6: (4, 4)}  # by version: declared, of all
CARRIED = ("cca2", "ccn3", "cca3", "region", "subregion", "area")


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_countries", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Case:
    """The example as a module, with the releases of one source loaded; numbered as the versions are."""

    def __init__(self, source: Path | None) -> None:
        self.source = source
        self.counts = COUNTS[source]
        self.example = load_script()
        self.schema = self.example.countries
        self.list = self.example.load(source)
        self.releases = dict(enumerate(self.list, start=1))
        self.newest = {country["cca3"]: country for country in self.list[-1]}

    def documents(self, *versions: int) -> Iterator[tuple[int, Document]]:
        """The documents of some versions (all, when none is named), stamped as the example stores them."""
        for version in versions or self.releases:
            for country in self.releases[version]:
                yield version, country if version == 1 else {**country, "schema_version": version}

    def one(self, version: int, cca3: str) -> Document:
        return next(document for _, document in self.documents(version) if document["cca3"] == cca3)


@pytest.fixture(scope="module", params=SOURCES, ids=lambda source: "full" if source else "excerpt")
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.fixture(scope="module")
def database(case: Case, mongo_uri: str) -> Iterator[Database[Document]]:
    with MongoClient[Document](mongo_uri) as client:
        database = client[f"test_countries_{uuid4().hex[:12]}"]
        case.example.store(database, case.list)
        yield database
        client.drop_database(database)


def facts(country: Document) -> Document:
    """What a document of any version says, apart from how it says it."""
    name, capital = country["name"], country["capital"]
    idd = country.get("idd", {"root": "+", "suffixes": country.get("callingCode")})
    languages = country["languages"].values() if "languages" in country else country["language"]
    demonym = country["demonym"] if "demonym" in country else country["demonyms"]["eng"]["m"]
    translations = [value for key, value in country["translations"].items() if key != "common"]
    neighbours = {"Burma": "MMR", "The Gambia": "GMB"}
    return {
        **{field: country[field] for field in CARRIED},
        "name": name if isinstance(name, str) else name["common"],
        "capital": [value for value in ([capital] if isinstance(capital, str) else capital) if value],
        "currencies": [code for code in country["currencies" if "currencies" in country else "currency"] if code],
        "calls": [call for call in (idd["root"] + suffix.rstrip("X") for suffix in idd["suffixes"]) if call.strip("+")],
        "languages": [language for language in languages if language],
        "demonym": demonym,
        "latlng": country["latlng"],
        "translations": sorted(value if isinstance(value, str) else value["common"] for value in translations),
        "borders": [neighbours.get(border, border) for border in country["borders"]],
        **{field: [value for value in country[field] if value] for field in ("tld", "altSpellings")},
    }


def test_the_script_runs_and_prints_its_numbers(case: Case, mongo_uri: str):
    result = subprocess.run(
        [sys.executable, str(SCRIPT), *([str(case.source)] if case.source else [])],
        env={**os.environ, "LAZYMIGRATE_MONGODB_URI": mongo_uri, "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    total, at_head = sum(case.counts), case.counts[-1]
    said = re.sub(r"(?<=\d),(?=\d)", "", result.stdout)  # reports may group their digits
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert any(line.startswith("Before:") and f"{at_head} of {total} " in line for line in lines)
    for version, count in enumerate(case.counts, start=1):
        release = case.example.RELEASES[version - 1]
        assert f"version {version} (release {release}): {count} documents" in lines
    assert "Steps: 21 of 33 are declared, the others call a function" in lines
    for version, (declared, steps) in STEPS.items():
        assert any(line.startswith(f"version {version} (") and f": {declared} of {steps}, " in line for line in lines)
    assert f"Read: {total} of {total} arrived with exactly the fields of release 5.1.0" in lines
    assert f"{total} of {total} are a valid Country" in lines
    assert any(line.startswith("Sweep:") and f"{total - at_head} upgraded" in line for line in lines)
    assert lines[-1].startswith("After:")
    assert f"{total} of {total} " in lines[-1]
    with MongoClient[Document](mongo_uri) as client:
        assert not [name for name in client.list_database_names() if name.startswith("lazymigrate_countries_")]


def test_every_document_arrives_with_exactly_the_fields_of_the_newest_release(case: Case, database: Database[Document]):
    expected = {*case.list[-1][0], "_id", "schema_version"}
    arrived = LazyCollection(database["countries"], case.schema).find().to_list()
    assert len(arrived) == sum(case.counts)
    assert [document["cca3"] for document in arrived if document.keys() != expected] == []
    assert {document["schema_version"] for document in arrived} == {6}


def test_every_document_arrives_as_a_model_that_dumps_to_what_arrived(case: Case, database: Database[Document]):
    arrived = {
        document["_id"]: document for document in LazyCollection(database["countries"], case.schema).find().to_list()
    }
    models: list[Any] = LazyCollection(database["countries"], case.example.Country).find().to_list()
    assert len(models) == sum(case.counts)
    for model in models:
        assert case.schema.dump(model) == arrived[model.id]


def test_reading_and_sweeping_agree_and_coverage_counts_what_is_stored(case: Case, mongo_uri: str):
    with MongoClient[Document](mongo_uri) as client:
        database = client[f"test_countries_{uuid4().hex[:12]}"]
        try:
            case.example.store(database, case.list)
            world = LazyCollection(database["countries"], case.schema)
            before = world.coverage()
            assert before.by_version == dict(enumerate(case.counts, start=1))
            assert before.outdated == sum(case.counts[:-1])
            read = {document["_id"]: document for document in world.find()}
            report = world.sweep()
            assert (report.upgraded, report.quarantined, report.remaining) == (before.outdated, 0, 0)
            assert report.complete
            assert world.coverage().by_version == {6: sum(case.counts)}
            assert world.coverage().complete
            assert {document["_id"]: document for document in database["countries"].find()} == read
        finally:
            client.drop_database(database)


def test_the_values_are_those_of_the_old_document(case: Case):
    for version, country in case.documents():
        before, after = facts(country), facts(case.schema.upgrade(country))
        for field in ("demonym", "latlng"):
            before[field] = before[field] or after[field]  # not known then
        assert after == before, f"{country['cca3']} of version {version}"


def test_what_is_carried_is_old_even_where_the_newest_release_says_otherwise(case: Case):
    carried = [*CARRIED, "name", "capital"]
    changed = set()
    for version, country in case.documents(1, 2, 3, 4, 5):
        newest = case.newest.get(country["cca3"])
        if newest is None:
            continue
        old, arrived, new = facts(country), facts(case.schema.upgrade(country)), facts(newest)
        assert [arrived[field] for field in carried] == [old[field] for field in carried], (version, country["cca3"])
        changed |= {field for field in carried if old[field] != new[field]}
    assert {"name", "capital", "region", "area"} <= changed  # or the test shows nothing


def test_a_native_name_of_the_first_release_is_kept(case: Case):
    for _, country in case.documents(1):
        native = case.schema.upgrade(country)["name"]["native"]
        own = country["nativeName"]
        assert not own or any(own in name.values() for name in native.values()), country["cca3"]


def test_a_document_of_the_newest_release_stays_as_it_is(case: Case):
    for _, country in case.documents(6):
        assert case.schema.upgrade(country) == country


def test_what_the_newest_release_knows_is_looked_up(case: Case):
    for version, country in case.documents(1, 2, 3, 4, 5):
        newest = case.newest.get(country["cca3"])
        if newest is None:
            continue
        arrived = case.schema.upgrade(country)
        for field in ("independent", "status", "landlocked", "cioc", "unMember", "unRegionalGroup"):
            assert arrived[field] == country.get(field, newest[field]), (version, country["cca3"], field)


def test_only_kosovo_is_not_known_to_the_newest_release(case: Case):
    unknown = [(version, country) for version, country in case.documents() if country["cca3"] not in case.newest]
    assert [(version, country["cca3"]) for version, country in unknown] == [(1, "KOS")]
    arrived = case.schema.upgrade(unknown[0][1])
    assert (arrived["independent"], arrived["unMember"], arrived["landlocked"]) == (None, None, None)
    assert (arrived["status"], arrived["cioc"], arrived["unRegionalGroup"]) == ("", "", "")
    assert arrived["name"] == {
        "common": "Republic of Kosovo",
        "official": "Republic of Kosovo",
        "native": {"sqi": {"common": "Republika e Kosovës", "official": "Republika e Kosovës"}},
    }
    assert arrived["demonyms"] == {"eng": {"f": "Kosovar", "m": "Kosovar"}, "fra": {"f": "", "m": ""}}
    assert arrived["idd"] == {"root": "+3", "suffixes": ["77", "81", "86"]}
    assert list(arrived["currencies"]) == ["EUR"]


def test_a_country_that_nobody_knows_is_still_a_country(case: Case):
    atlantis = {**case.one(1, "KOS"), "_id": ObjectId(), "cca2": "XA", "cca3": "XAT", "name": "Atlantis"}
    atlantis |= {"currency": ["XAC"], "language": ["Atlantean"], "callingCode": ["1999", "7999"], "demonym": ""}
    arrived = case.schema.load(atlantis)
    assert arrived.currencies["XAC"].name == "XAC"
    assert arrived.languages == {"und": "Atlantean"}
    assert (arrived.idd.root, arrived.idd.suffixes) == ("", ["1999", "7999"])
    assert arrived.demonyms["eng"].f == ""


def test_every_language_of_the_data_has_a_code(case: Case):
    for version, country in case.documents():
        assert "und" not in case.schema.upgrade(country)["languages"], (version, country["cca3"])


def test_the_model_is_strict(case: Case):
    country = {**case.one(6, "ZAF"), "_id": ObjectId()}
    assert case.schema.load(country).capital == ["Pretoria", "Bloemfontein", "Cape Town"]
    with pytest.raises(ModelError):
        case.schema.load({**country, "relevance": "0"})
    with pytest.raises(ModelError):
        case.schema.load({name: value for name, value in country.items() if name != "unMember"})
    with pytest.raises(ModelError):
        case.schema.load({**country, "capital": "Pretoria"})


def test_an_upgraded_document_shares_nothing_with_what_was_looked_up(case: Case):
    def spoil(value: Any) -> None:
        inner = list(value.values() if isinstance(value, dict) else value)
        for item in inner:
            if isinstance(item, (dict, list)):
                spoil(item)
        value.clear()

    for version, country in case.documents():
        stored = deepcopy(country)
        arrived = case.schema.upgrade(stored)
        again = deepcopy(arrived)
        spoil(arrived)
        assert case.schema.upgrade(stored) == again, (version, country["cca3"])


def test_the_declared_steps_are_as_many_as_the_example_says(case: Case):
    found = {
        revision.version: (sum(step.renders for step in revision.operations), len(revision.operations))
        for revision in case.schema.revisions
    }
    assert found == STEPS
    assert [sum(column) for column in zip(*found.values(), strict=True)] == [21, 33]
    assert "21 of the 33 steps" in (case.example.__doc__ or "")
    readme = SCRIPT.with_name("README.md").read_text("utf-8")
    for version, (declared, steps) in STEPS.items():
        release = case.example.RELEASES[version - 1]
        assert re.search(rf"^\| {version} \| {release} \|.*\| {declared} of {steps} \|", readme, re.MULTILINE)


def test_what_is_no_call_is_declared(case: Case):
    steps = [step for revision in case.schema.revisions for step in revision.operations]
    assert [str(step).startswith("call ") for step in steps] == [not step.renders for step in steps]
    assert all(revision.function is None for revision in case.schema.revisions)


def test_only_the_last_revision_runs_inside_mongodb(case: Case):
    assert [revision.version for revision in case.schema.revisions if revision.declared] == [6]
    for version in (1, 2, 3, 4):
        with pytest.raises(SchemaError):
            case.schema.pipeline(version)


def test_the_last_revision_gives_the_same_bytes_inside_mongodb(case: Case, database: Database[Document]):
    countries = database["countries"]
    older = list(countries.find({"schema_version": 5}))
    assert len(older) == case.counts[4]
    pipeline = [{"$match": {"$and": [{"schema_version": 5}, case.schema.safe_filter(5)]}}, *case.schema.pipeline(5)]
    upgraded = {country["_id"]: country for country in countries.aggregate(pipeline)}
    assert len(upgraded) == len(older)  # no document is left to Python
    for country in older:
        assert bson.encode(upgraded[country["_id"]]) == bson.encode(case.schema.upgrade(country)), country["cca3"]
    changed = {country["cca3"] for country in older if country["capital"] == [""]}
    assert {"ATA", "HMD", "UMI"} <= changed
    assert [upgraded[country["_id"]]["capital"] for country in older if country["cca3"] in changed] == [[]] * len(
        changed
    )


def test_the_table_of_regional_groups_is_that_of_the_newest_release(case: Case):
    groups = {cca3: country["unRegionalGroup"] for cca3, country in case.newest.items()}
    table = case.example.REGIONAL_GROUPS
    assert {cca3: table.get(cca3, "") for cca3 in groups} == groups
    if case.source:
        assert table.keys() <= groups.keys()


def mended(target: int, country: Document) -> Document:
    """A document of version `target - 1` without the slips of its release that revision `target` mends for good."""
    country = deepcopy(country)
    if target == 3:
        country.pop("latlng")  # not known to all documents of 1.8.1
    elif target == 4:
        country["translations"].pop("common", None)
    elif target == 5:
        country["idd"]["suffixes"] = [suffix.rstrip("X") for suffix in country["idd"]["suffixes"]]
    elif not country["idd"]["root"]:
        country["idd"]["suffixes"] = []
    return country


@pytest.mark.parametrize("target", [3, 4, 5, 6])
def test_up_and_down_again_restores_the_document(case: Case, target: int):
    for _, country in case.documents(target - 1):
        there = case.schema.upgrade(country, to=target)
        back = case.schema.downgrade(there, to=target - 1)
        assert mended(target, back) == mended(target, country), country["cca3"]


@pytest.mark.parametrize("target", [4, 5])
def test_down_from_the_newest_and_up_again_loses_nothing_that_is_not_looked_up(case: Case, target: int):
    for _, country in case.documents(6):
        assert case.schema.upgrade(case.schema.downgrade(country, to=target)) == country


@pytest.mark.parametrize("target", [2, 3])
def test_down_to_a_poorer_shape_and_up_again_gives_a_document_that_fits(case: Case, target: int):
    for _, country in case.documents(6):
        older = case.schema.downgrade(country, to=target)
        assert older.keys() == {*case.releases[target][0], "schema_version"}
        again = case.schema.load({**older, "_id": ObjectId()})
        assert list(again.currencies) == list(country["currencies"])
        assert again.capital == (country["capital"] if target == 3 else country["capital"][:1])


def test_where_every_step_has_a_way_back_the_revision_needs_no_function_for_it(case: Case):
    by_steps = [revision.version for revision in case.schema.revisions if revision.back_of_operations]
    reversible = [revision.version for revision in case.schema.revisions if revision.reversible]
    assert (reversible, by_steps) == ([3, 4, 5, 6], [2, 3, 5])
    for revision in case.schema.revisions:
        assert all(step.reverse() for step in revision.operations) == (revision.version in (3, 5))


def test_the_declared_ways_back_restore_what_the_release_says(case: Case):
    nothing = case.one(2, "HMD")
    assert nothing["capital"] == ""
    assert case.schema.upgrade(nothing, to=3)["capital"] == []
    assert case.schema.downgrade(case.schema.upgrade(nothing), to=2)["capital"] == ""
    back = case.schema.downgrade(case.one(6, "ZAF"), to=2)
    assert back["capital"] == "Pretoria"
    assert back["demonym"] == "South African"
    assert "svk" in case.schema.downgrade(case.one(3, "ZAF"), to=2)["translations"]
    older = case.one(4, "HMD")
    assert older["currencies"] == []
    assert case.schema.upgrade(older, to=5)["currencies"] == {}
    assert case.schema.downgrade(case.schema.upgrade(older), to=4)["currencies"] == []


def test_the_first_revision_has_no_way_back(case: Case):
    assert [revision.version for revision in case.schema.revisions if not revision.reversible] == [2]
    with pytest.raises(IrreversibleError):
        case.schema.downgrade(case.one(6, "ZAF"), to=1)


def test_the_excerpt_names_its_source_and_licence():
    excerpt = json.loads(SCRIPT.with_name("countries.json").read_text("utf-8"))
    readme = SCRIPT.with_name("README.md").read_text("utf-8")
    for text in (excerpt["source"], readme):
        assert "github.com/mledoze/countries" in text
        assert "Open Database License (ODbL) 1.0" in text


if FULL_IS_THERE:

    def test_the_excerpt_is_a_part_of_the_full_data_but_for_translations():
        excerpt = json.loads(SCRIPT.with_name("countries.json").read_text("utf-8"))
        for release, countries in excerpt["releases"].items():
            full = json.loads((FULL / f"countries-{release}.json").read_text("utf-8"))
            names = {country["cca3"] for country in countries}
            of_full = [country for country in full if country["cca3"] in names]
            assert len(of_full) == len(countries)
            for cut, whole in zip(countries, of_full, strict=True):
                assert cut["translations"].items() <= whole["translations"].items()
                assert {**cut, "translations": {}} == {**whole, "translations": {}}
