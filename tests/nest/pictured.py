"""Mapped operators to draw: made up at random, and three that show every feature."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accelsim.nest import (
    Fanout,
    Hierarchy,
    Nest,
    Problem,
    Storage,
    convolution,
    matmul,
    parse,
)
from accelsim.nest.mapper.search import search

ALL = frozenset({"input", "weight", "output"})


class Mapped(NamedTuple):
    """A problem, a hierarchy, and a nest that fits both."""

    problem: Problem
    hierarchy: Hierarchy
    nest: Nest


def any_mapped(seed: int) -> Mapped:
    """Return the fastest nest of a small problem on a made-up hierarchy, tensors bypassing."""
    random = np.random.default_rng(seed)
    m, n, k = (int(x) for x in random.choice([3, 4, 6, 8], 3))
    problem = matmul(m, n, k, bits=(8, 4, 16))
    must = frozenset(random.choice(sorted(ALL), 1).tolist())
    hierarchy = Hierarchy(
        (
            Storage("DRAM", keep=ALL, read_pj_per_bit=9.0, write_pj_per_bit=11.0,
                    read_bits_per_cycle=16.0, write_bits_per_cycle=16.0),
            Storage("Buffer", capacity_bits=512.0, keep=must, may_keep=ALL - must,
                    read_pj_per_bit=0.5, write_pj_per_bit=0.6, buffers=2),
            Fanout("PEs", int(random.choice([2, 4])), frozenset({"input", "output"}),
                   hop_pj_per_bit=0.05),
            Storage("Register", capacity_bits=64.0, may_keep=ALL, read_pj_per_bit=0.02,
                    write_pj_per_bit=0.03),
        ),
        mac_pj=0.5,
    )  # fmt: skip
    return Mapped(problem, hierarchy, search(problem, hierarchy, pad=False).nest)


def systolic() -> Mapped:
    """Return a product on four arrays, of which one works, with weights past two buffers."""
    hierarchy = Hierarchy(
        (
            Storage("DRAM", keep=ALL, read_pj_per_bit=7.0, write_pj_per_bit=7.0),
            Storage("GlobalBuffer", 2.0**30, keep=ALL - {"weight"}, read_pj_per_bit=1.9,
                    write_pj_per_bit=2.4, buffers=2),
            Fanout("gang", 4),
            Storage("LocalBuffer", 2.0**25, keep=frozenset({"input"}), read_pj_per_bit=0.7,
                    write_pj_per_bit=0.8),
            Fanout("rows", 128, frozenset({"output"}), frozenset({"k"}), hop_cycles=1),
            Fanout("columns", 128, frozenset({"input"}), frozenset({"n"}), hop_pj_per_bit=0.01),
            Storage("Register", 16.0, keep=frozenset({"weight"}), write_pj_per_bit=0.01, buffers=2,
                    dims=frozenset({"m"})),
        ),
        mac_pj=0.084,
    )  # fmt: skip
    loops = {
        "DRAM": {"m": 32, "n": 32}, "LocalBuffer": {"k": 32}, "rows": {"k": 128},
        "columns": {"n": 128}, "Register": {"m": 128},
    }  # fmt: skip
    return Mapped(matmul(4096, 4096, 4096, bits=(8, 8, 16)), hierarchy, parse(loops, hierarchy))


def row_stationary() -> Mapped:
    """Return a convolution on divided memories, of sizes that factors do not meet."""
    hierarchy = Hierarchy(
        (
            Storage("DRAM", keep=ALL, read_pj_per_bit=12.5, write_pj_per_bit=12.5),
            Storage("GLB", 2.0**20, keep=frozenset({"input", "output"}), read_pj_per_bit=1.2,
                    write_pj_per_bit=1.2),
            Fanout("PE columns", 14, frozenset({"weight", "input"}), hop_pj_per_bit=0.05),
            Fanout("PE rows", 12, ALL, hop_pj_per_bit=0.05),
            Storage("Spad", partition_bits={"input": 192.0, "weight": 3584.0, "output": 384.0},
                    keep=ALL, read_pj_per_bit=0.06, write_pj_per_bit=0.06),
        ),
        mac_pj=2.2,
    )  # fmt: skip
    loops = {
        "DRAM": {"m": 8}, "GLB": {"p": 27, "c": 24}, "PE columns": {"q": 14},
        "PE rows": {"r": 5, "m": 2}, "Spad": {"q": 2, "m": 8, "c": 2, "s": 5},
    }  # fmt: skip
    problem = convolution((27, 27), (5, 5), (48, 128), bits=(16, 16, 16))
    return Mapped(problem, hierarchy, parse(loops, hierarchy))
