"""Divides one product between several units that work on it side by side.

Each takes columns of the weights, or rows of the reduction whose partial results are added, or
experts, in proportion to its speed, so that all end together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from accelsim.workload import Operator

__all__ = ["divisible", "part_of", "shares"]

STEP = 64
"""Columns or rows that a unit takes at least, and in steps of which it takes more."""

AGAIN = 3
"""Times that shares are taken in proportion to the speeds last seen."""

LEANINGS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""What the speeds of all but the fastest unit are multiplied by, to try other shares."""


def divisible(operator: Operator, by: Literal["columns", "reduction"] = "columns") -> str:
    """Return the dim along which an operator can be divided between units; empty where none.

    Experts are whole; without experts, columns of the weights or rows of the reduction.
    """
    if operator.kind != "matmul" or operator.attributes.get("function"):
        return ""
    if "active_experts" in operator.dims:
        return "active_experts"
    return "n" if by == "columns" else "k"


def shares(
    operator: Operator, dim: str, units: int, time_ps: Callable[[int, int], int]
) -> list[int]:
    """Return what each unit takes of the divided dim; adds up to the dim.

    Parameters
    ----------
    operator : Operator
        With a dim to divide.
    dim : str
        That dim, by `divisible`.
    units : int
        Units that share it.
    time_ps : callable
        From a unit's number and what it takes, at least 1, to its time.

    Notes
    -----
    In proportion to speed, and somewhat more or less of that: a unit's time is no straight line
    but has launches, whole tiles, whole rows of banks.  The try of least time is taken, units that
    work alone included.

    Examples
    --------
    >>> whole = Operator("up", "matmul", {"batch": 1, "m": 1, "n": 1024, "k": 64}, (), ())
    >>> shares(whole, "n", 2, lambda unit, size: size * (1, 3)[unit])
    [768, 256]
    >>> shares(whole, "n", 2, lambda unit, size: size + (0, 5000)[unit])
    [1024, 0]
    """
    size = operator.dims[dim]
    step = 1 if dim == "active_experts" else STEP
    seen: dict[tuple[int, int], int] = {}

    def needs_ps(unit: int, part: int) -> int:
        if (unit, part) not in seen:
            seen[unit, part] = time_ps(unit, part) if part else 0
        return seen[unit, part]

    tries = [[size if i == unit else 0 for i in range(units)] for unit in range(units)]
    alone = [size / max(1, needs_ps(unit, size)) for unit in range(units)]
    first = max(range(units), key=alone.__getitem__)
    for leaning in LEANINGS:
        speed = [one if i == first else one * leaning for i, one in enumerate(alone)]
        tries.append(_in_proportion(size, step, speed))
    taken = _in_proportion(size, step, alone)
    for _ in range(AGAIN):
        speed = [n / max(1, needs_ps(i, n)) if n else alone[i] for i, n in enumerate(taken)]
        taken = _in_proportion(size, step, speed)
        tries.append(taken)
    return min(tries, key=lambda taken: max(needs_ps(i, n) for i, n in enumerate(taken)))


def _in_proportion(size: int, step: int, speed: Sequence[float]) -> list[int]:
    """Return parts of `size` in proportion to speeds, whole steps but for the fastest's."""
    fastest = max(range(len(speed)), key=speed.__getitem__)
    taken = [round(size * one / sum(speed) / step) * step for one in speed]
    taken[fastest] = 0
    left = size
    for i, wanted in enumerate(taken):
        taken[i] = min(wanted, left)
        left -= taken[i]
    taken[fastest] = left
    return taken


def part_of(operator: Operator, dim: str, size: int, done: int, number: int) -> Operator:
    """Return a part of an operator.

    Parameters
    ----------
    operator : Operator
        The whole.
    dim : str
        The divided dim.
    size, done : int
        Of the divided dim: what the part takes, and what the parts before it took.
    number : int
        Number of the part, for its name.
    """
    dims = {**operator.dims, dim: size}
    if dim == "active_experts":  # tokens go with their experts; the parts add up to all
        whole, rows = operator.dims[dim], operator.dims["m"]
        dims["m"] = rows * (done + size) // whole - rows * done // whole
    return replace(operator, name=f"{operator.name}.part{number}", dims=dims)
