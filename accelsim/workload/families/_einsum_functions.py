"""The elementwise functions of statements, and what they are in the workload graph.

The graph costs a function by its work, so one that it lacks stands as another of equal work.
"""

from __future__ import annotations

from typing import Final

from accelsim.workload.ops.elementwise import OPS_PER_ELEMENT

__all__ = ["POINTWISE", "graph_function"]

_SAME_WORK: Final = {
    "*": "mul", "+": "add", "sub": "add", "div": "mul", "max": "threshold",
    "square": "pow", "sqrt": "pow",
    "rsqrt": "pow", "reciprocal": "pow", "pow2": "exp", "exp_mantissa": "exp",
    "exp_exponent": "scale",
}  # fmt: skip
"""Function of a statement -> the elementwise function of the graph that does as much work.

``exp_mantissa`` and ``exp_exponent`` are the two parts of e^x = m 2^n, ``pow2`` is 2^x.
"""

POINTWISE: Final = frozenset({*OPS_PER_ELEMENT, *_SAME_WORK} - {"*", "+"})
"""Functions of statements that work element by element."""


def graph_function(function: str) -> str | None:
    """Return the graph's elementwise function for one of a statement; None if there is none.

    Examples
    --------
    >>> graph_function("*"), graph_function("gelu"), graph_function("sub"), graph_function("sum")
    ('mul', 'gelu', 'add', None)
    """
    if function in OPS_PER_ELEMENT:
        return function
    return _SAME_WORK.get(function)
