"""Mapped operators at random, and systolic arrays: what the event view of nests is held to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Literal

import numpy as np

from accelsim.lower.nest_tasks import NestTasks, lower_nest
from accelsim.nest import Fanout, Hierarchy, Nest, Problem, Storage, convolution, matmul, parse

__all__ = ["NAMES", "OUTSIDE", "Case", "quiet_cases", "random_case", "systolic"]

Case = tuple[Problem, Hierarchy, Nest]

NAMES: Final = ("input", "weight", "output")
OUTSIDE: Final = frozenset(NAMES)


def random_case(seed: int, levels: int, *, busy: bool) -> Case:
    """Return a small operator, mapped at random.

    Parameters
    ----------
    seed : int
    levels : int
        Memories inside the outermost.
    busy : bool
        All ports are limited and some shared; else most are not limited at all.
    """
    random = np.random.default_rng(seed)
    problem = _operator(random)
    fanned = [bool(random.random() < 0.6) for _ in range(levels)]
    names = ["M0"]
    for i, fan in enumerate(fanned):
        names += [*([f"F{i + 1}"] if fan else []), f"M{i + 1}"]
    loops = _loops(random, problem, names)
    nodes: list[Storage | Fanout] = [_memory(random, "M0", OUTSIDE, busy, 1)]
    for name in names[1:]:
        some = frozenset(random.choice(NAMES, int(random.integers(1, 4)), replace=False).tolist())
        if name.startswith("M"):
            nodes.append(_memory(random, name, some, busy, int(random.choice([1, 2]))))
        else:
            used = math.prod(loops[name].values())
            hop = int(random.choice([0, 0, 1]))
            shared = some if random.random() < 0.75 else frozenset[str]()
            nodes.append(Fanout(name, used, shared, hop_cycles=hop))
    hierarchy = Hierarchy(tuple(nodes))
    return problem, hierarchy, parse(loops, hierarchy)


def _operator(random: np.random.Generator) -> Problem:
    m, n, k = (
        int(np.prod(random.choice([2, 2, 3, 4, 5], int(random.integers(1, 4))))) for _ in range(3)
    )
    if random.random() < 0.5:
        return matmul(m, n, k, bits=(8, 8, 16))
    return convolution((m, 1), (int(random.choice([1, 3])), 1), (n, k))


def _loops(
    random: np.random.Generator, problem: Problem, names: list[str]
) -> dict[str, dict[str, int]]:
    """Return every prime factor of every dim at some level, in some order."""
    loops: dict[str, dict[str, int]] = {name: {} for name in names}
    for i in random.permutation(len(problem.dims)):
        dim, size, divisor = problem.dims[i], problem.sizes[i], 2
        while size > 1:
            if size % divisor:
                divisor += 1
                continue
            level = loops[names[int(random.integers(len(names)))]]
            level[dim] = level.get(dim, 1) * divisor
            size //= divisor
    return loops


def _memory(
    random: np.random.Generator, name: str, keep: frozenset[str], busy: bool, buffers: int
) -> Storage:
    def rate() -> float:
        free = not busy and random.random() < 0.65
        return math.inf if free else float(random.choice([4, 8, 16, 32, 64, 256, 1024]))

    return Storage(
        name, keep=keep, buffers=buffers, read_bits_per_cycle=rate(),
        write_bits_per_cycle=rate(), shared_port=bool(busy and random.random() < 0.3),
    )  # fmt: skip


def quiet_cases(levels: int, count: int) -> Iterator[tuple[Case, NestTasks]]:
    """Yield cases of which every port serves one stream, with their tasks."""
    seed = found = 0
    while found < count:
        case = random_case(seed, levels, busy=False)
        tasks = lower_nest(*case)
        seed += 1
        if tasks.users and all(len(streams) == 1 for streams in tasks.users.values()):
            found += 1
            yield case, tasks


def systolic(
    dataflow: Literal["os", "ws", "is"], sizes: tuple[int, int, int], rows: int, columns: int,
    buffers: int,
) -> Case:  # fmt: skip
    """Return C[m,n] = A[m,k] B[k,n] on a systolic array that keeps one operand in its elements."""
    m, n, k = sizes
    along, across, stays = {
        "os": (("m", "weight"), ("n", "input"), "output"),
        "ws": (("k", "output"), ("n", "input"), "weight"),
        "is": (("k", "output"), ("m", "weight"), "input"),
    }[dataflow]
    fill = "" if dataflow == "os" else "rows"
    hierarchy = Hierarchy((
        Storage("Memory", keep=OUTSIDE),
        Fanout("rows", rows, frozenset({along[1]}), frozenset({along[0]}), hop_cycles=1),
        Fanout("columns", columns, frozenset({across[1]}), frozenset({across[0]}), hop_cycles=1),
        Storage("Register", keep=frozenset({stays}), buffers=buffers, fill_through=fill),
    ))  # fmt: skip
    extent = {"m": m, "n": n, "k": k}
    streamed = ({"m", "n", "k"} - {along[0], across[0]}).pop()
    loops = {
        "Memory": {
            across[0]: -(-extent[across[0]] // columns), along[0]: -(-extent[along[0]] // rows),
        },
        "rows": {along[0]: rows}, "columns": {across[0]: columns},
        "Register": {streamed: extent[streamed]},
    }  # fmt: skip
    return matmul(m, n, k), hierarchy, parse(loops, hierarchy)
