"""Operations: changes that are data, so that they run in Python, inside MongoDB and backwards.

Paths are dotted names without array indexes. The operations of a revision run in order. Where a path is absent
nothing happens; a path that runs through something that is not a document is an `UpgradeError` that names it.
"""

from lazymigrate.operation import Operation
from lazymigrate.ops.add import add
from lazymigrate.ops.call import call
from lazymigrate.ops.compute import compute
from lazymigrate.ops.convert import convert
from lazymigrate.ops.copy import copy
from lazymigrate.ops.each import each
from lazymigrate.ops.each_value import each_value
from lazymigrate.ops.flatten import flatten
from lazymigrate.ops.join import join
from lazymigrate.ops.nest import nest
from lazymigrate.ops.nothing import nothing
from lazymigrate.ops.remove import remove
from lazymigrate.ops.rename import rename
from lazymigrate.ops.rename_keys import rename_keys
from lazymigrate.ops.replace_values import replace_values
from lazymigrate.ops.split import split
from lazymigrate.ops.unwrap import unwrap
from lazymigrate.ops.within import within
from lazymigrate.ops.wrap import wrap

__all__ = [
    "Operation",
    "add",
    "call",
    "compute",
    "convert",
    "copy",
    "each",
    "each_value",
    "flatten",
    "join",
    "nest",
    "nothing",
    "remove",
    "rename",
    "rename_keys",
    "replace_values",
    "split",
    "unwrap",
    "within",
    "wrap",
]
