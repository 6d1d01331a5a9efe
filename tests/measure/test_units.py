"""Measured rows on architectures that are no GPUs: the fastest unit, operands streamed once."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from accelsim import arch
from accelsim.arch import main_memory
from accelsim.cost import Work
from accelsim.measure.predict import predict
from accelsim.measure.units import unit_s, work_of_row

CPU = arch.load("epyc-9355p")
EMPTY = dict.fromkeys(("m", "n", "k", "b", "rows", "cols"), np.nan)
GEMM = EMPTY | {"op": "gemm", "dtype": "fp32", "subop": "", "m": 512, "n": 1024, "k": 2048}
NORM = EMPTY | {"op": "rmsnorm", "dtype": "fp32", "subop": "", "rows": 64, "cols": 4096}


def work(**changes: object) -> Work | str:
    return work_of_row(SimpleNamespace(**(GEMM | changes)))


def test_a_product_has_its_sizes_and_compulsory_bytes() -> None:
    """Weights of one product, a second operand of a batch."""
    one, many = work(), work(op="bmm", b=8)
    assert isinstance(one, Work)
    assert isinstance(many, Work)
    assert (one.m, one.n, one.k, one.macs) == (512, 1024, 2048, 512 * 1024 * 2048)
    assert (one.weight_bytes, one.kv_bytes) == (4 * 1024 * 2048, 0)
    assert (one.input_bytes, one.output_bytes) == (4 * 512 * 2048, 4 * 512 * 1024)
    assert (many.batch, many.macs) == (8, 8 * one.macs)
    assert (many.weight_bytes, many.kv_bytes) == (0, 8 * one.weight_bytes)


def test_a_function_reads_what_it_reads() -> None:
    """An addition two inputs, a norm one; each counts its operations."""
    added, normed = work(**(NORM | {"op": "elementwise", "subop": "add"})), work(**NORM)
    assert isinstance(added, Work)
    assert isinstance(normed, Work)
    assert (added.kind, normed.kind) == ("elementwise", "norm")
    assert added.input_bytes == 2 * normed.input_bytes == 2 * 4 * 64 * 4096
    assert (added.vector_ops, normed.vector_ops) == (64 * 4096, 4 * 64 * 4096)


def test_no_row_beats_the_roofline() -> None:
    """Arithmetic of all cores, or the bytes at the memory's bandwidth, whichever is longer."""
    rows = [GEMM | {"m": m} for m in (1, 64, 4096)] + [NORM]
    found, reasons = unit_s(pd.DataFrame(rows), CPU)
    assert (reasons == "").all()
    bandwidth = main_memory(CPU).peak_bandwidth()
    for row, time in zip(rows, found, strict=True):
        one = work_of_row(SimpleNamespace(**row))
        assert isinstance(one, Work)
        moved = one.weight_bytes + one.input_bytes + one.output_bytes
        assert time >= moved / bandwidth
        assert time >= one.macs / (32 * 2 * 16 * 4.4e9) * 0.999
    assert found[2] < 64 * found[1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"m": np.nan}, "does not tell its sizes"),
        ({"dtype": "posit8"}, "number format posit8"),
        ({"op": "conv"}, "conv is not compared on units"),
    ],
)
def test_what_is_not_compared_is_said(changes: dict[str, object], reason: str) -> None:
    """The other row has its time."""
    found, reasons = unit_s(pd.DataFrame([GEMM | changes, GEMM]), CPU)
    assert np.isnan(found).tolist() == [True, False]
    assert reason in reasons[0]


def test_boards_that_are_no_gpus_run_on_the_named_architecture() -> None:
    """Without one they have no prediction."""
    table = pd.DataFrame([GEMM]).assign(gpu="Some CPU", source="lab", impl="", timing="wall")
    assert np.isnan(predict(table).kernel_us[0])
    found, _ = unit_s(table, CPU)
    assert predict(table, architecture=CPU).kernel_us[0] == found[0] * 1e6
