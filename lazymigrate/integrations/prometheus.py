"""Coverage for `prometheus_client`: a collector to be registered. Needs the extra `prometheus`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from lazymigrate.collection import LazyCollection
from lazymigrate.report.prometheus import GAUGES, UP, Sample, samples
from lazymigrate.verification import printable

__all__ = ["CoverageCollector"]

LOGGER = logging.getLogger("lazymigrate")


class CoverageCollector(Collector):
    """The gauges of `lazymigrate coverage --format prometheus`, counted when Prometheus asks for them.

    Prometheus gets an answer whatever happens: a collection that cannot be counted has the gauge `lazymigrate_up` at 0,
    and no other. Registering it counts nothing.

        REGISTRY.register(CoverageCollector(people, orders))

    - `collections`: `LazyCollection`s, each of another name or database. (An asynchronous one cannot be counted here, since
      a scrape does not wait for a loop; open it a second time with pymongo's `MongoClient`.)
    - `every`: seconds that a count is good for; whoever asks within them gets the same one. Without a backlog index each
      count is a scan of the collection: create the index, or let it `sample` so many documents.
    """

    def __init__(self, *collections: LazyCollection[Any], every: float = 60.0, sample: int | None = None) -> None:
        self._collections = {identity(people): people for people in collections}
        if len(self._collections) < len(collections):
            raise ValueError("Two of these collections are the same one. Give each of them once.")
        self._every = every
        self._sample = sample
        self._lock = threading.Lock()
        self._found: list[Sample] = []
        self._due = 0.0

    def describe(self) -> list[GaugeMetricFamily]:
        """The gauges without values: what a registry asks for to find names that are given twice."""
        return families(())

    def collect(self) -> list[GaugeMetricFamily]:
        """The gauges with their values, counted now or less than `every` seconds ago."""
        with self._lock:
            if not self._found or time.monotonic() >= self._due:
                self._found = [
                    sample
                    for (database, name), people in self._collections.items()
                    for sample in self._counted(people, database, name)
                ]
                self._due = time.monotonic() + self._every
            return families(self._found)

    def _counted(self, people: LazyCollection[Any], database: str, name: str) -> list[Sample]:
        try:
            return list(samples(people.overview(sample=self._sample), database))
        except Exception as error:
            LOGGER.warning("%s: could not be counted for Prometheus (%s)", name, type(error).__name__)
            return [Sample(UP, (database, name), 0)]


def identity(people: LazyCollection[Any]) -> tuple[str, str]:
    """The names of a collection's database, where it has one, and of itself."""
    if not isinstance(people, LazyCollection):
        raise TypeError(
            f"A collector counts LazyCollections, and this is of the type {type(people).__name__}. Open the collection "
            "with pymongo's MongoClient for it."
        )
    database = getattr(people.raw, "database", None)
    return getattr(database, "name", ""), people.raw.name


def families(found: Iterable[Sample]) -> list[GaugeMetricFamily]:
    """The samples by gauge, every gauge there."""
    kept = {gauge.name: GaugeMetricFamily(gauge.name, gauge.meaning, labels=gauge.all_labels) for gauge in GAUGES}
    for sample in found:
        kept[sample.gauge.name].add_metric([printable(label) for label in sample.labels], sample.value)
    return list(kept.values())
