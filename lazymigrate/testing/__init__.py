"""For users' own tests: a revision held to its contract, and a collection in memory.

The Hypothesis strategies are in `lazymigrate.testing.strategies`, which is not loaded from here: it needs Hypothesis.
"""

from lazymigrate.drivers.memory import MemoryCollection
from lazymigrate.testing.check import RevisionCheck, check_revision
from lazymigrate.testing.subject import RevisionCheckError

__all__ = ["MemoryCollection", "RevisionCheck", "RevisionCheckError", "check_revision"]
