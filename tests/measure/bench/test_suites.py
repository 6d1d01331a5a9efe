"""Suites are what their readers count on: legal, fixed in order, wide in shape, and countable."""

from __future__ import annotations

import pytest

from accelsim.errors import ConfigError, UnknownNameError
from accelsim.measure.bench.case import BITS, case, shuffled
from accelsim.measure.bench.counts import counts
from accelsim.measure.bench.suites import about, names, suite

EXPECTED = {
    "quick", "gemm", "vector", "attention", "moe", "scan", "diffusion", "layers", "models",
}  # fmt: skip


def test_the_suites() -> None:
    """All suites are there and say what they hold."""
    assert set(names()) == EXPECTED == set(about())
    with pytest.raises(UnknownNameError, match="gemms"):
        suite("gemms", "cuda")


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_cases_are_unique_and_countable(name: str) -> None:
    """No case twice, every format known, and operations and bytes of each positive."""
    cases = suite(name, "cuda")
    assert len({(c.op, c.subop, c.dtype, c.impl, c.dims) for c in cases}) == len(cases) > 20
    for one in cases:
        found = counts(one)
        assert found.resident_bytes > 0
        assert one.dtype in BITS
        assert (found.flops or found.bytes_min or 0) > 0


def test_the_order_is_the_same_everywhere() -> None:
    """The order depends on the cases alone, and any beginning holds a bit of everything."""
    cases = suite("gemm", "cuda")
    assert cases == suite("gemm", "cuda") == shuffled(reversed(cases))
    beginning = cases[: len(cases) // 10]
    assert {c.dtype for c in beginning} == {c.dtype for c in cases}
    assert {c.op for c in beginning} == {"gemm", "bmm"}


def test_products_span_tokens_formats_and_odd_sizes() -> None:
    """What a kernel model is calibrated and tested on: 1..8192 rows, each format, odd sizes."""
    cases = [c for c in suite("gemm", "cuda") if c.op == "gemm"]
    rows = {c.size("m") for c in cases}
    assert {1, 8, 64, 512, 4096, 8192} <= rows
    assert {c.dtype for c in cases} == {"fp32", "tf32", "fp16", "bf16", "fp8", "int8"}
    assert any(all(size % 8 for size in c.sizes("m", "n", "k")) for c in cases)
    for one in cases:
        if one.dtype == "fp8":
            assert one.size("n") % 16 == one.size("k") % 16 == 0


def test_vectors_sweep_the_cache() -> None:
    """From well inside any L2 cache to far beyond it."""
    moved = [counts(c).bytes_min or 0 for c in suite("vector", "cuda") if c.op == "softmax"]
    assert min(moved) < 2**17
    assert max(moved) > 2**29


def test_quick_touches_every_operator() -> None:
    """The quick suite has a case of each operator and implementation but the graphs'."""
    quick = {(c.op, c.impl) for c in suite("quick", "cuda")}
    rest = {(c.op, c.impl) for name in EXPECTED - {"quick", "models"} for c in suite(name, "cuda")}
    assert rest - quick <= {("conv", "torch.channels_last"), ("conv", "torch.nchw")}


@pytest.mark.parametrize("sizes", [{"width": 3}, {"m": 1.5}, {"m": -1}])
def test_illegal_sizes_are_refused(sizes: dict[str, float]) -> None:
    """A size that no table has, or that is no whole number, is an error of the suite."""
    with pytest.raises(ConfigError):
        case("gemm", "bf16", "x", **sizes)
