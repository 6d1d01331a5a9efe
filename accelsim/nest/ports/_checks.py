"""Whether an order of loops covers a task and fits its memories; says what is short.

The kernels only answer yes or no.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from accelsim.errors import MappingError, nearest
from accelsim.nest.nest import Loop
from accelsim.nest.ports._arrays import Ints
from accelsim.nest.ports._links import fill_sizes, last_sum
from accelsim.nest.ports._pack import PortedTask
from accelsim.nest.ports._types import PortedMemory

__all__ = ["check_cover", "check_room", "cut_table", "misfit"]


def check_cover(task: PortedTask, order: Sequence[Loop]) -> None:
    covered = dict.fromkeys(task.problem.dims, 1)
    for loop in order:
        if loop.dim not in covered:
            raise MappingError(f"no dim `{loop.dim}`; {nearest(loop.dim, covered)}")
        covered[loop.dim] *= loop.factor
    for dim, passes in task.passes.items():
        if covered[dim] != passes:
            raise MappingError(f"loops over `{dim}` run {covered[dim]} times, it needs {passes}")


def cut_table(task: PortedTask, loops: int, cuts: Mapping[str, Sequence[int]] | None) -> Ints:
    """Return cuts for the kernels, checked; the first is -1 if they are to be chosen."""
    table = np.full(task.arrays.memory.shape, -1, np.int64)
    if cuts is None:
        return table
    for t, tensor in enumerate(task.problem.tensors):
        given, levels = list(cuts.get(tensor.name, ())), int(task.arrays.levels[t])
        if len(given) != levels or given != sorted(given) or given[-1] != loops or given[0] < 0:
            raise MappingError(
                f"`{tensor.name}`: cuts {given} are not {levels} rising numbers up to {loops}"
            )
        table[t, :levels] = given
    return table


def check_room(task: PortedTask, dims: Ints, loops: Ints, cuts: Ints) -> None:
    """Raise where given cuts need more than a memory has."""
    a, n = task.arrays, len(dims)
    done = np.ones((n + 1, len(task.problem.dims)))
    for i in range(n):
        done[i + 1] = done[i]
        done[i + 1, dims[i]] *= loops[i]
    last, result = last_sum(a, dims), len(task.problem.tensors) - 1
    sizes = np.zeros((2, *a.memory.shape, n + 1))
    for i in range(n + 1):
        fill_sizes(a, done, i, sizes)
    for node, memory in enumerate(task.array.memories):
        needed = 0.0
        for t, level in np.argwhere(a.memory == node):
            inside = int(cuts[t, level - 1]) if level > 0 else 0
            partial = t == result and (last > inside or bool(a.sums[level + 1]))
            needed += sizes[0, t, level, cuts[t, level]] * a.bits[t, 0 if partial else 1]
        if needed > memory.capacity_bits:
            raise MappingError(_short(memory, needed))


def _short(memory: PortedMemory, needed_bits: float) -> str:
    needed, present = needed_bits / 8192, memory.capacity_bits / 8192
    return (
        f"needs {needed:.4g} KiB in `{memory.name}`, has {present:.4g} KiB; "
        f"short by {needed - present:.4g} KiB"
    )


def misfit(task: PortedTask) -> str:
    """Return what is short even before any temporal loop runs, or that every order is."""
    a = task.arrays
    none = np.zeros(0, np.int64)
    try:
        check_room(task, none, none, np.zeros(a.memory.shape, np.int64))
    except MappingError as short:
        return f"no order of the loops fits: {short}"
    return "no order of the loops fits its memories"
