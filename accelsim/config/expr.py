"""Evaluates arithmetic expressions over the parameters of a file, and nothing else.

A small whitelist of syntax is walked by hand, with bounded powers and sizes; Python's ``eval``
is never called.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

__all__ = ["Expression", "ExpressionError", "compile_expression"]

Number = float | int | bool
Lookup = Callable[[str], Any]

MAX_LENGTH: Final = 1000
MAX_EXPONENT: Final = 64
MAX_MAGNITUDE: Final = 2**200

_BINARY: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_COMPARE: Final[Mapping[type, Callable[[Any, Any], bool]]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "min": min, "max": max, "ceil": math.ceil, "floor": math.floor, "log2": math.log2,
    "sqrt": math.sqrt, "round": round, "abs": abs,
}  # fmt: skip


class ExpressionError(ValueError):
    """An expression is not well formed, not allowed, or has no value."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression; `names` are the dotted names it reads."""

    text: str
    body: ast.expr
    names: frozenset[str]
    operations: int

    def evaluate(self, lookup: Lookup) -> Any:
        """Return the value, reading names through `lookup`.

        Raises
        ------
        ExpressionError
            On a division by zero, an oversized number, or operands that do not fit.
        """
        try:
            return _evaluate(self.body, lookup)
        except ExpressionError:
            raise
        except (ArithmeticError, TypeError, ValueError) as error:
            raise ExpressionError(f"`{self.text}`: {error}") from None


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Expression:
    """Check an expression against the whitelist.

    Raises
    ------
    ExpressionError
        If the text is too long, not an expression, or uses anything not allowed.

    Examples
    --------
    >>> compile_expression("mesh.rows * 4").evaluate({"mesh.rows": 8}.__getitem__)
    32
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters")
    try:
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"`{text}` is not an expression") from None
    names: set[str] = set()
    operations = _check(body, names)
    return Expression(text, body, frozenset(names), operations)


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value)
        return f"{base}.{node.attr}" if base else None
    return None


def _check(node: ast.expr, names: set[str]) -> int:
    """Collect names into `names`, refuse what is not allowed, return the number of operations."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, bool, str)):
        return 0
    if isinstance(node, (ast.Name, ast.Attribute)):
        name = _dotted(node)
        if name is None or "__" in name:
            raise ExpressionError(f"`{ast.unparse(node)}` is not a parameter name")
        names.add(name)
        return 0
    return 1 + sum(_check(child, names) for child in _children(node))


def _children(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and type(node.op) in {*_BINARY, ast.Pow}:
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd, ast.Not)):
        return [node.operand]
    if isinstance(node, ast.BoolOp):
        return list(node.values)
    if isinstance(node, ast.Compare) and all(type(op) in {*_COMPARE, ast.In} for op in node.ops):
        return [node.left, *node.comparators]
    if isinstance(node, (ast.List, ast.Tuple)):
        return list(node.elts)
    if isinstance(node, ast.IfExp):
        return [node.test, node.body, node.orelse]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id not in _FUNCTIONS:
            legal = ", ".join(sorted(_FUNCTIONS))
            raise ExpressionError(f"function `{node.func.id}` is not allowed; legal: {legal}")
        return list(node.args)
    raise ExpressionError(f"`{ast.unparse(node)}` is not allowed in an expression")


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > MAX_EXPONENT:
        raise ExpressionError(f"exponent {exponent} is beyond {MAX_EXPONENT}")
    return _bounded(base**exponent)


def _bounded(value: Any) -> Any:
    if isinstance(value, complex) or (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_MAGNITUDE
    ):
        raise ExpressionError("the value is too large or not real")
    return value


def _evaluate(node: ast.expr, lookup: Lookup) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.Name, ast.Attribute)):
        return lookup(_dotted(node) or "")
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left, lookup), _evaluate(node.right, lookup)
        if isinstance(left, str) or isinstance(right, str):
            raise ExpressionError("text cannot be calculated with")
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        return _bounded(_BINARY[type(node.op)](left, right))
    if isinstance(node, ast.UnaryOp):
        value = _evaluate(node.operand, lookup)
        if isinstance(node.op, ast.Not):
            return not value
        return -value if isinstance(node.op, ast.USub) else +value
    return _evaluate_compound(node, lookup)


def _evaluate_compound(node: ast.expr, lookup: Lookup) -> Any:
    if isinstance(node, ast.BoolOp):
        every = isinstance(node.op, ast.And)
        results = (bool(_evaluate(v, lookup)) for v in node.values)
        return all(results) if every else any(results)
    if isinstance(node, ast.Compare):
        left = _evaluate(node.left, lookup)
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = _evaluate(comparator, lookup)
            if not (left in right if isinstance(op, ast.In) else _COMPARE[type(op)](left, right)):
                return False
            left = right
        return True
    if isinstance(node, ast.IfExp):
        return _evaluate(node.body if _evaluate(node.test, lookup) else node.orelse, lookup)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_evaluate(e, lookup) for e in node.elts]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _FUNCTIONS[node.func.id](*(_evaluate(a, lookup) for a in node.args))
    raise ExpressionError(f"`{ast.unparse(node)}` is not allowed in an expression")
