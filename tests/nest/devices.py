"""Hierarchies that several tests use."""

from __future__ import annotations

import math

from accelsim.nest import Fanout, Hierarchy, Storage

__all__ = ["ALL", "output_stationary", "tpuv4i", "weight_stationary"]

ALL = frozenset({"input", "weight", "output"})


def weight_stationary(rows: int, columns: int, arrays: int = 1, buffers: int = 1) -> Hierarchy:
    """Return systolic arrays whose weights stay, behind a memory without limits."""
    return Hierarchy(
        (
            Storage("Memory"),
            Fanout("arrays", arrays),
            Fanout("columns", columns, frozenset({"input"}), frozenset({"n"}), hop_cycles=1),
            Fanout("rows", rows, frozenset({"output"}), frozenset({"k"}), hop_cycles=1),
            Storage("Register", capacity_bits=8.0 * buffers, keep=frozenset({"weight"}),
                    fill_through="rows", buffers=buffers),
        )
    )  # fmt: skip


def output_stationary(rows: int, columns: int) -> Hierarchy:
    """Return a systolic array whose sums stay, behind a memory without limits."""
    return Hierarchy(
        (
            Storage("Memory"),
            Fanout("rows", rows, frozenset({"weight"}), frozenset({"m"}), hop_cycles=1),
            Fanout("columns", columns, frozenset({"input"}), frozenset({"n"}), hop_cycles=1),
            Storage("Sum", capacity_bits=8.0, keep=frozenset({"output"})),
        )
    )


def tpuv4i() -> Hierarchy:
    """Return TPUv4i with AccelForge's figures (its repository, ``examples/arches/tpu_v4i.yaml``).

    Energies in pJ per bit and bandwidths in bytes per second are that file's; registers and all
    but memories cost nothing there.
    """
    clock = 1.05e9
    rate = 8.0 / clock
    return Hierarchy(
        (
            Storage("MainMemory", read_pj_per_bit=7.03, write_pj_per_bit=7.03,
                    read_bits_per_cycle=614e9 * rate, write_bits_per_cycle=614e9 * rate,
                    shared_port=True),
            Storage("GlobalBuffer", capacity_bits=8.0 * 128 * 2**20, may_keep=ALL,
                    read_pj_per_bit=1.88, write_pj_per_bit=2.36,
                    read_bits_per_cycle=2048e9 * rate, write_bits_per_cycle=1024e9 * rate),
            Fanout("arrays", 4),
            Storage("LocalBuffer", capacity_bits=8.0 * 4 * 2**20,
                    keep=frozenset({"input", "output"}), read_pj_per_bit=0.249,
                    write_pj_per_bit=0.293),
            Fanout("columns", 128, frozenset({"input"}), frozenset({"n"}), hop_cycles=1),
            Fanout("rows", 128, frozenset({"output"}), frozenset({"k"}), hop_cycles=1),
            Storage("Register", capacity_bits=8.0, keep=frozenset({"weight"}),
                    fill_through="rows", read_bits_per_cycle=math.inf),
        ),
        mac_pj=0.084,
        frequency_hz=clock,
    )  # fmt: skip
