"""Operations: changes that are data, so that they run in Python, inside MongoDB and backwards.

Paths are dotted names without array indexes. The operations of a revision run in order. Where a path is absent
nothing happens; a path that runs through something that is not a document is an `UpgradeError` that names it.
"""

from lazymigrate.ops.add import add
from lazymigrate.ops.nothing import nothing
from lazymigrate.ops.operation import Operation
from lazymigrate.ops.remove import remove
from lazymigrate.ops.rename import rename

__all__ = ["Operation", "add", "nothing", "remove", "rename"]
