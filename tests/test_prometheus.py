"""Coverage for Prometheus: text that its own parser reads, and a collector that answers whatever happens."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pymongo import MongoClient
from pymongo.collection import Collection

from lazymigrate import AsyncLazyCollection, LazyCollection, Schema, ops
from lazymigrate.integrations.prometheus import CoverageCollector
from lazymigrate.overview import Overview
from lazymigrate.report import prometheus
from lazymigrate.report.prometheus import GAUGES, exposition
from lazymigrate.testing import MemoryCollection

People = Collection[dict[str, Any]]
Series = dict[tuple[str, ...], float]


def schema_of(name: str = "people") -> Schema:
    schema = Schema(name)
    schema.revision(2, ops.rename("a", "b"))
    schema.revision(3, ops.rename("b", "c"))
    return schema


def parsed(text: str) -> Series:
    """The samples as Prometheus' own parser reads them: name and values of the labels, without the database's name."""
    found: Series = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge", family.name
        assert family.documentation
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name != "database"}
            assert (sample.name, *labels.values()) not in found
            found[sample.name, *labels.values()] = sample.value
    return found


def written(people: LazyCollection[Any], database: str = "shop") -> str:
    return exposition(Overview.of([people.overview()], database=database, release="1"))


def scraped(collector: CoverageCollector) -> Series:
    registry = CollectorRegistry()
    registry.register(collector)
    return parsed(generate_latest(registry).decode())


@pytest.fixture
def collection(people: People) -> LazyCollection[dict[str, Any]]:
    people.insert_many([{"n": 1}, {"n": 2}, {"schema_version": 2}, {"schema_version": 3}])
    people.insert_many([{"schema_version": 70}, {"schema_version": "x"}])
    return LazyCollection(people, schema_of())


def test_the_text_is_what_is_stored(collection: LazyCollection[dict[str, Any]]) -> None:
    found = parsed(written(collection))
    documents = {key[2]: value for key, value in found.items() if key[0] == "lazymigrate_documents"}
    assert documents == {"1": 2, "2": 1, "3": 1, "ahead": 1, "retired": 0, "invalid": 1}
    assert found["lazymigrate_documents_at_head", "people"] == 1
    assert found["lazymigrate_documents_outdated", "people"] == 3
    assert found["lazymigrate_documents_quarantined", "people"] == 0
    assert found["lazymigrate_head_version", "people"] == 3
    assert found["lazymigrate_complete", "people"] == 0
    assert found["lazymigrate_run_state", "people", "none"] == 1
    assert found["lazymigrate_up", "people"] == 1
    assert found["lazymigrate_taken_timestamp_seconds", "people"] > 1.7e9


def test_the_state_of_the_last_sweep_is_one_among_all(collection: LazyCollection[dict[str, Any]]) -> None:
    collection.sweep()
    states = {key[2]: value for key, value in parsed(written(collection)).items() if key[0] == "lazymigrate_run_state"}
    assert states["succeeded"] == 1
    assert sum(states.values()) == 1
    assert len(states) == 10


def test_the_collector_gives_the_same_samples_as_the_text(collection: LazyCollection[dict[str, Any]]) -> None:
    text, collected = parsed(written(collection)), scraped(CoverageCollector(collection))
    taken = ("lazymigrate_taken_timestamp_seconds", "people")
    assert collected.pop(taken) >= text.pop(taken)
    assert collected == text


def test_labels_of_versions_are_only_those_that_are_declared(people: People) -> None:
    people.insert_many([{"schema_version": number} for number in range(100, 3_100)])
    people.insert_many([{"schema_version": f"v{number}"} for number in range(100)])
    found = parsed(written(LazyCollection(people, schema_of())))
    assert {key[2] for key in found if key[0] == "lazymigrate_documents"} == {
        "1",
        "2",
        "3",
        "ahead",
        "retired",
        "invalid",
    }
    assert found["lazymigrate_documents", "people", "ahead"] == 3_000


def test_registering_counts_nothing_and_the_names_are_known(people: People) -> None:
    class Counted(LazyCollection[dict[str, Any]]):
        counts = 0

        def overview(self, **options: Any) -> Any:
            Counted.counts += 1
            return super().overview(**options)

    collector = CoverageCollector(Counted(people, schema_of()))
    registry = CollectorRegistry()
    registry.register(collector)
    assert Counted.counts == 0
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(CoverageCollector(Counted(people, schema_of())))
    generate_latest(registry)
    generate_latest(registry)
    assert Counted.counts == 1, "a count is good for a minute"
    assert {family.name for family in collector.describe()} == {gauge.name for gauge in GAUGES}


def test_a_count_is_taken_again_when_it_is_old(people: People) -> None:
    collector = CoverageCollector(LazyCollection(people, schema_of()), every=0)
    assert scraped(collector)["lazymigrate_documents", "people", "1"] == 0
    people.insert_one({})
    assert scraped(collector)["lazymigrate_documents", "people", "1"] == 1


def test_a_server_that_is_down_is_a_sample_and_not_an_error(collection: LazyCollection[dict[str, Any]]) -> None:
    uri = "mongodb://user:canary@127.0.0.1:1/?serverSelectionTimeoutMS=50"
    with MongoClient[dict[str, Any]](uri) as client:
        down = LazyCollection(client["shop"]["down"], schema_of())
        found = scraped(CoverageCollector(down, collection))
    assert [key for key in found if "down" in key] == [("lazymigrate_up", "down")]
    assert found["lazymigrate_up", "down"] == 0
    assert found["lazymigrate_up", "people"] == 1


def test_a_collector_estimates_where_it_is_asked_to(people: People) -> None:
    people.insert_many([{"schema_version": 3} for _ in range(50)])
    found = scraped(CoverageCollector(LazyCollection(people, schema_of()), sample=10))
    assert found["lazymigrate_documents_at_head", "people"] == 50
    assert found["lazymigrate_complete", "people"] == 0, "a sample proves nothing"


def test_what_a_collector_cannot_count_is_refused_at_once(people: People) -> None:
    collection = LazyCollection(people, schema_of())
    with pytest.raises(ValueError, match="each of them once"):
        CoverageCollector(collection, LazyCollection(people, schema_of()))
    with pytest.raises(TypeError, match="pymongo's MongoClient"):
        CoverageCollector(AsyncLazyCollection(MemoryCollection("people"), schema_of()))  # type: ignore[arg-type]


def test_a_collection_without_a_database_is_counted(people: People) -> None:
    found = scraped(CoverageCollector(LazyCollection(MemoryCollection("memory"), schema_of())))
    assert found["lazymigrate_up", "memory"] == 1


HOSTILE = 'a"b\\c\nd}{ 1\n# HELP x\x1b[31m\u202e<script>'


def test_a_hostile_name_is_one_label(people: People) -> None:
    overview = LazyCollection(MemoryCollection(HOSTILE), schema_of()).overview()
    text = exposition(Overview.of([overview], database=HOSTILE, release="1"))
    assert {key[1] for key in parsed(text)} == {'a"b\\c\\nd}{ 1\\n# HELP x\\x1b[31m\\u202e<script>'}
    assert "\x1b" not in text
    assert "\u202e" not in text
    collector = CoverageCollector(LazyCollection(MemoryCollection(HOSTILE), schema_of()))
    assert {key[1] for key in scraped(collector)} == {key[1] for key in parsed(text)}


def test_without_quoting_the_parser_would_read_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "quoted", lambda value: value)
    overview = LazyCollection(MemoryCollection('a"} 1\nother{x="'), schema_of()).overview()
    text = exposition(Overview.of([overview], database="shop", release="1"))
    assert "other" in {family.name for family in text_string_to_metric_families(text)}
