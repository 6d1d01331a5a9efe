"""Gives every expression of a tree its value, in dependency order.

A plain scalar is an expression when it is written ``${...}``, or when it is arithmetic whose
names all stand in the same file; names are sought in the enclosing mappings, innermost first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from accelsim.config.expr import Expression, ExpressionError, compile_expression
from accelsim.config.tree import Path_, Quoted, Tree
from accelsim.errors import ConfigError, nearest
from accelsim.quantity import parse_any

__all__ = ["Resolved", "dotted", "resolve"]

_EXPLICIT: Final = re.compile(r"\$\{(.*)\}$", re.DOTALL)
_LOOKS_LIKE_ARITHMETIC: Final = re.compile(r"[A-Za-z_][\w]*(\.[A-Za-z_]\w*)+$|.*[-+*/%<>()=]")


@dataclass(slots=True)
class Resolved:
    """A tree's data with expressions replaced by values.

    `expressions` maps each field that was an expression to its text; `suspects` maps fields
    that look like expressions but name unknown parameters to what is wrong with them.
    """

    tree: Tree
    data: Any
    expressions: dict[Path_, str] = field(default_factory=dict)
    suspects: dict[Path_, str] = field(default_factory=dict)


def dotted(path: Path_) -> str:
    """Return a path as text: ``('a', 0, 'b')`` is ``a.0.b``."""
    return ".".join(str(part) for part in path)


class _Resolver:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.out = Resolved(tree, None)
        self.done: dict[Path_, Any] = {}
        self.open: list[Path_] = []

    def walk(self, value: Any, path: Path_) -> Any:
        if isinstance(value, dict):
            return {key: self.walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.walk(item, (*path, i)) for i, item in enumerate(value)]
        return self.leaf(value, path)

    def leaf(self, value: Any, path: Path_) -> Any:
        if type(value) is not str:
            return str(value) if isinstance(value, Quoted) else value
        if path in self.done:
            return self.done[path]
        expression = self.expression(value, path)
        if expression is None:
            return value
        if path in self.open:
            cycle = [*self.open[self.open.index(path) :], path]
            raise ConfigError(
                "expression cycle: " + " -> ".join(dotted(p) for p in cycle),
                self.tree.locate(path),
                dotted(path),
                "one of these must be a number",
            )
        self.open.append(path)
        try:
            result = expression.evaluate(lambda name: self.parameter(name, path))
        except ExpressionError as error:
            raise ConfigError(str(error), self.tree.locate(path), dotted(path)) from None
        self.open.pop()
        self.out.expressions[path] = value
        self.done[path] = result
        return result

    def expression(self, text: str, path: Path_) -> Expression | None:
        explicit = _EXPLICIT.match(text)
        if not explicit and not _LOOKS_LIKE_ARITHMETIC.match(text):
            return None
        try:
            expression = compile_expression(explicit[1] if explicit else text)
        except ExpressionError as error:
            if explicit:
                raise ConfigError(str(error), self.tree.locate(path), dotted(path)) from None
            self.out.suspects[path] = str(error)
            return None
        missing = sorted(n for n in expression.names if self.find(n, path) is None)
        if not missing and (explicit or expression.names):
            return expression
        if missing:
            known = self.visible(path)
            problem = f"no parameter `{missing[0]}` in this file; {nearest(missing[0], known)}"
            if explicit:
                raise ConfigError(problem, self.tree.locate(path), dotted(path))
            self.out.suspects[path] = problem
        return None

    def find(self, name: str, path: Path_) -> Path_ | None:
        parts = tuple(name.split("."))
        for end in range(len(path) - 1, -1, -1):
            node = self.node((*path[:end], *parts))
            if isinstance(node, (int, float, str)) and (*path[:end], *parts) != path:
                return (*path[:end], *parts)
            if isinstance(node, (int, float, str)) and end == 0:
                return (*path[:end], *parts)
        return None

    def node(self, path: Path_) -> Any:
        node = self.tree.data
        for part in path:
            if isinstance(node, Mapping) and part in node:
                node = node[part]
            else:
                return None
        return node

    def parameter(self, name: str, path: Path_) -> Any:
        target = self.find(name, path)
        if target is None:
            raise ExpressionError(f"no parameter `{name}`")
        value = self.leaf(self.node(target), target)
        if isinstance(value, str):
            quantity = parse_any(value)
            if quantity is None:
                raise ExpressionError(f"`{name}` is text (`{value}`), not a number")
            return quantity
        return value

    def visible(self, path: Path_) -> list[str]:
        """Return the names that an expression at `path` can read, for the hint."""
        names: list[str] = []
        for end in range(len(path)):
            scope = self.node(path[:end])
            if isinstance(scope, Mapping):
                names += [str(k) for k, v in scope.items() if isinstance(v, (int, float))]
        names += [dotted(p) for p in self.tree.values if len(p) <= 4 and p != path and p]
        return names


def resolve(tree: Tree) -> Resolved:
    r"""Return the tree's data with every expression evaluated.

    Raises
    ------
    ConfigError
        On a cycle (named), an unknown name inside ``${...}``, or a failing evaluation.

    Examples
    --------
    >>> from accelsim.config.tree import parse_tree
    >>> resolve(parse_tree("mesh: {rows: 4}\npes: mesh.rows * 8")).data["pes"]
    32
    """
    resolver = _Resolver(tree)
    resolver.out.data = resolver.walk(tree.data, ())
    return resolver.out
