"""For users' own tests: a collection in memory that `LazyCollection` and `AsyncLazyCollection` accept."""

from lazymigrate.drivers.memory import MemoryCollection

__all__ = ["MemoryCollection"]
