"""The definition of a function, without what does not change what it does.

Comments and formatting are not in a syntax tree; docstrings, annotations, type comments, the function's own name, its
decorators and statements that do nothing are taken out of it. What is left has the same form on every Python from 3.11
on: `ast.dump` has not.
"""

from __future__ import annotations

import ast
import copy
import linecache
import symtable
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, Final

__all__ = ["definition", "free_names", "references", "tree"]

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Position = tuple[int, int, int, int]

_DEEPEST: Final = 100  # nodes inside of each other, as in an `elif` after an `elif`: Python walks no deeper at will
_OMITTED: Final = frozenset(["ctx", "kind", "type_comment", "type_params", "type_ignores", "annotation", "returns"])


def definition(function: FunctionType) -> Definition | None:
    """The bare definition of a function; None where its source is not there, is of something else by now, or is too deep."""
    code = function.__code__
    linecache.checkcache(code.co_filename)
    module = _parsed("".join(linecache.getlines(code.co_filename, function.__globals__)))
    found = _lambda(module, code) if code.co_name == "<lambda>" else _function(module, code)
    return None if found is None or _depth(found) > _DEEPEST else _bare(copy.deepcopy(found))


def tree(node: Any) -> Any:
    """A node as nested lists and strings: the same on all versions of Python."""
    if isinstance(node, list):
        return [tree(item) for item in node]
    if isinstance(node, ast.Constant):
        return ["Constant", type(node.value).__name__, ascii(node.value)]
    if isinstance(node, ast.AST):
        fields = [(name, getattr(node, name, None)) for name in node._fields if name not in _OMITTED]
        return [
            type(node).__name__,
            *([name, tree(value)] for name, value in fields if value is not None and value != []),
        ]
    return None if node is None else [type(node).__name__, ascii(node)]  # repr() knows more letters with each version


def free_names(node: Definition) -> frozenset[str]:
    """The names that a definition takes from around it: from enclosing functions, its module, or Python itself."""
    outer = sorted({name for each in ast.walk(node) if isinstance(each, ast.Nonlocal) for name in each.names})
    around = ast.parse(f"def _({', '.join(outer)}): pass").body[0]  # `nonlocal` needs a function around it
    around.body = [node]  # type: ignore[attr-defined]
    table = symtable.symtable(ast.unparse(around), "<definition>", "exec").get_children()[0].get_children()[0]
    return frozenset([symbol.get_name() for symbol in table.get_symbols() if symbol.is_free()]).union(_globals(table))


def references(node: Definition) -> list[tuple[str, ...]]:
    """What a definition refers to around it, sorted: names, with the attributes that are taken of them at once."""
    free = free_names(node)
    found: set[tuple[str, ...]] = set()
    inside: set[ast.AST] = set()
    for each in ast.walk(node):  # a chain of attributes comes before the parts of it
        parts: list[str] = []
        inner: ast.AST = each
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
            inside.add(inner)
        if isinstance(inner, ast.Name) and inner.id in free and each not in inside:
            found.add((inner.id, *reversed(parts)))
    return sorted(found)


@lru_cache(maxsize=4)
def _parsed(source: str) -> ast.Module:
    """The tree of a module, which most of its functions are looked for in one after the other; empty where it is none."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module([], [])


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    yield from (symbol.get_name() for symbol in table.get_symbols() if symbol.is_global())
    for inner in table.get_children():
        yield from _globals(inner)


def _depth(node: ast.AST) -> int:
    level: list[ast.AST] = [node]
    depth = 0
    while level:
        level = [inner for each in level for inner in ast.iter_child_nodes(each)]
        depth += 1
    return depth


def _function(module: ast.Module, code: CodeType) -> Definition | None:
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


def _lambda(module: ast.Module, code: CodeType) -> ast.Lambda | None:
    """The smallest lambda whose body has all the places that the instructions come from."""
    places: list[Position] = []
    for line, last_line, column, last_column in code.co_positions():
        if line is None or last_line is None or column is None or last_column is None:
            continue
        if (line, column) < (last_line, last_column):  # what has no width is no part of the text
            places.append((line, column, last_line, last_column))
    candidates = [node for node in ast.walk(module) if isinstance(node, ast.Lambda)]
    if not places:  # Python was told to keep no columns
        candidates = [node for node in candidates if node.lineno == code.co_firstlineno]
        return candidates[0] if len(candidates) == 1 else None
    first, last = min(place[:2] for place in places), max(place[2:] for place in places)
    around: list[tuple[tuple[int, int], ast.Lambda]] = []
    for node in candidates:
        start = (node.body.lineno, node.body.col_offset)
        end = (node.body.end_lineno or 0, node.body.end_col_offset or 0)
        if start <= first and last <= end:
            around.append((start, node))
    return max(around, key=lambda found: found[0])[1] if around else None


def _bare(node: Definition) -> Definition:
    """The definition without its name and decorators, and without the defaults, whose values count instead."""
    bare: Definition = _Bare().visit(node)
    bare.args.defaults, bare.args.kw_defaults = [], [None for _ in bare.args.kwonlyargs]
    if not isinstance(bare, ast.Lambda):
        bare.name, bare.decorator_list = "_", []
    return bare


class _Bare(ast.NodeTransformer):
    """Takes out what does not change what a definition does."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list) and not body:
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        for name in ("annotation", "returns", "type_comment"):
            if getattr(node, name, None) is not None:
                setattr(node, name, None)
        if getattr(node, "type_params", None):
            node.type_params = []  # type: ignore[attr-defined]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Constants that stand alone: docstrings, and `...`."""
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Pass(self, node: ast.Pass) -> None:
        """Nothing; it comes back where nothing else is left."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """An annotated assignment is an assignment."""
        if node.value is None:
            return None
        return self.generic_visit(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """An f-string, whose texts Python 3.12 divides in another way."""
        self.generic_visit(node)
        values: list[ast.expr] = []
        for value in node.values:
            text = value.value if isinstance(value, ast.Constant) else None
            before = values[-1].value if values and isinstance(values[-1], ast.Constant) else None
            if isinstance(before, str) and isinstance(text, str):
                values[-1] = ast.copy_location(ast.Constant(before + text), values[-1])
            elif text != "":
                values.append(value)
        node.values = values
        return node
