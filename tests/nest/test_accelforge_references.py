"""The mapping that AccelForge finds best for a product on its TPU-v4i costs what it reports."""

from __future__ import annotations

import pytest

from accelsim.nest import (
    ACCOUNTINGS,
    Fanout,
    Figures,
    Hierarchy,
    Storage,
    evaluate,
    matmul,
    parse,
)

CLOCK_HZ = 1.05e9
ALL = frozenset({"input", "weight", "output"})


def _bits_per_cycle(bytes_per_s: float) -> float:
    return bytes_per_s * 8.0 / CLOCK_HZ


def _tpu_v4i() -> Hierarchy:
    """Return Accelergy-Project/accelforge 3e605cd, examples/arches/tpu_v4i.yaml."""
    main, down, up = (_bits_per_cycle(rate) for rate in (614e9, 2048e9, 1024e9))
    return Hierarchy(
        (
            Storage(
                "MainMemory", keep=ALL, read_pj_per_bit=7.03, write_pj_per_bit=7.03,
                read_bits_per_cycle=main, write_bits_per_cycle=main, shared_port=True,
            ),
            Storage(
                "GlobalBuffer", 128 * 2**20 * 8, may_keep=ALL, read_pj_per_bit=1.88,
                write_pj_per_bit=2.36, read_bits_per_cycle=down, write_bits_per_cycle=up,
            ),
            Fanout("Z", 4),
            Storage(
                "LocalBuffer", 4 * 2**20 * 8, keep=frozenset({"input", "output"}),
                read_pj_per_bit=0.249, write_pj_per_bit=0.293,
            ),
            Fanout("reuse_input", 128, frozenset({"input"})),
            Fanout("reuse_output", 128, frozenset({"output"})),
            Storage("Register", 8, keep=frozenset({"weight"})),
        ),
        mac_pj=0.084,
        frequency_hz=CLOCK_HZ,
    )  # fmt: skip


def _figures() -> Figures:
    hierarchy = _tpu_v4i()
    nest = parse(
        {
            "GlobalBuffer": {"n": 2, "k": 32},
            "Z": {"m": 4},
            "LocalBuffer": {"n": 16},
            "reuse_input": {"n": 128},
            "reuse_output": {"k": 128},
            "Register": {"m": 1024},
        },
        hierarchy,
        {"GlobalBuffer": ["input", "weight"]},
    )
    return evaluate(matmul(4096, 4096, 4096), hierarchy, nest, ACCOUNTINGS["accelforge"])


def test_energy_is_that_of_its_optimum() -> None:
    """0.01422654 J as AccelForge 1.0.467 prints it for 4096^3 in 8 bits."""
    assert _figures().energy_pj * 1e-12 == pytest.approx(0.01422654, rel=5e-7)


def test_latency_is_that_of_a_full_array() -> None:
    """9.986438e-4 s: 4 x 128 x 128 units at 1.05 GHz, nothing waited for."""
    assert _figures().latency_s == pytest.approx(9.986438e-4, rel=1e-6)


def test_energy_is_the_sum_of_its_accesses() -> None:
    """Each part by hand: passes of 2^27 bits over each memory, at its energy per bit."""
    parts, passes = _figures().energy_by, 2.0**27
    assert parts["GlobalBuffer", "weight"] == pytest.approx(passes * (2.36 + 4 * 1.88))
    assert parts["GlobalBuffer", "input"] == pytest.approx(passes * (2.36 + 2 * 1.88))
    assert parts["LocalBuffer", "input"] == pytest.approx(passes * (2 * 0.293 + 32 * 0.249))
    assert parts["LocalBuffer", "output"] == pytest.approx(passes * (32 * 0.293 + 32 * 0.249))
    assert ("GlobalBuffer", "output") not in parts
