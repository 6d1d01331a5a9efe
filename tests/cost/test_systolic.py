"""The systolic array: SCALE-Sim's cycles exactly, double buffering in closed form, energy."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.cost import Dataflow, Setting, Work
from accelsim.cost._systolic import (
    DATAFLOWS,
    IS,
    OS,
    WS,
    accesses,
    best_dataflow,
    cycles,
    folds,
    plan,
    products_along,
)
from accelsim.cost.infinite import InfiniteMemory
from accelsim.cost.sram import Sram
from accelsim.cost.systolic import SystolicArray
from accelsim.testing.components import KernelCall, UnitContract
from tests.reference import reference_file

MEMORY = InfiniteMemory(source="test")
BUFFER = Sram(
    source="test", capacity_bytes="16 MiB", bandwidth_bytes_per_s="1 TB/s", technology_nm=7
)
SETTING = Setting(memory=MEMORY, buffer=BUFFER, technology_nm=7.0)

sizes = st.integers(1, 3000)
sides = st.sampled_from([1, 2, 8, 16, 128])


def array(**changes: object) -> SystolicArray:
    fields = {
        "source": "test", "memory": "hbm", "rows": 128, "columns": 128, "arrays": 4,
        "frequency_hz": 1.05e9, "formats": {"bf16": 1, "int8": 2},
    }  # fmt: skip
    return SystolicArray.model_validate(fields | changes)


def product(m: int, n: int, k: int, batch: int = 1, bits: int = 16, dtype: str = "bf16") -> Work:
    size = bits // 8
    return Work(
        "matmul", dtype=dtype, batch=batch, m=m, n=n, k=k, bits_a=bits, bits_b=bits, bits_c=bits,
        weight_bytes=batch * k * n * size, input_bytes=batch * m * k * size,
        output_bytes=batch * m * n * size, macs=batch * m * n * k,
    )  # fmt: skip


def golden() -> list[dict[str, str]]:
    path = reference_file("systolic_scalesim_golden.csv")
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


@pytest.mark.validate
def test_cycles_equal_scalesim_on_every_golden_row() -> None:
    """Single-buffered cycles are SCALE-Sim's last cycle index plus one, without exception."""
    rows = golden()
    assert len(rows) == 168
    for row in rows:
        m, n, k, r, c = (int(row[x]) for x in ("M", "N", "K", "array_rows", "array_cols"))
        dataflow = DATAFLOWS.index(row["dataflow"])
        found = cycles(dataflow, 1, m, n, k, r, c, 1, False)
        assert found == int(row["total_cycles"]) + 1, row


@pytest.mark.validate
def test_buffer_accesses_equal_scalesim_on_every_golden_row() -> None:
    """Reads and writes are SCALE-Sim's, less the R + C by which it over-counts each os fold."""
    for row in golden():
        m, n, k, r, c = (int(row[x]) for x in ("M", "N", "K", "array_rows", "array_cols"))
        dataflow = DATAFLOWS.index(row["dataflow"])
        a, b, writes, _ = accesses(dataflow, 1, m, n, k, -(-k // r), r, c)
        extra = folds(dataflow, m, n, k, r, c) * (r + c) if dataflow == OS else 0
        assert a == int(row["ifmap_sram_reads"])
        assert b == int(row["filter_sram_reads"])
        assert writes == int(row["ofmap_sram_writes"]) - extra


@given(m=sizes, n=sizes, k=sizes, rows=sides, columns=sides)
def test_single_buffered_cycles_are_the_closed_forms(
    m: int, n: int, k: int, rows: int, columns: int
) -> None:
    """Each dataflow is folds times the cycles of one fold, whatever the shape."""
    up = lambda a, b: -(-a // b)  # noqa: E731
    forms = {
        OS: up(m, rows) * up(n, columns) * (k + rows + columns - 2),
        WS: up(k, rows) * up(n, columns) * (m + 2 * rows + columns - 2),
        IS: up(k, rows) * up(m, columns) * (n + 2 * rows + columns - 2),
    }
    for dataflow, expected in forms.items():
        assert cycles(dataflow, 1, m, n, k, rows, columns, 1, False) == expected


@given(m=sizes, n=sizes, k=sizes, rows=sides, columns=sides, arrays=st.integers(1, 5))
def test_double_buffering_saves_its_closed_form(
    m: int, n: int, k: int, rows: int, columns: int, arrays: int
) -> None:
    """Double-buffered ws and is save (F - 1)(min(S, R) + R + C - 2) cycles, os none."""
    for dataflow, stream in ((WS, m), (IS, n)):
        off = cycles(dataflow, 1, m, n, k, rows, columns, arrays, False)
        on = cycles(dataflow, 1, m, n, k, rows, columns, arrays, True)
        mine = -(-folds(dataflow, m, n, k, rows, columns) // arrays)
        assert off - on == (mine - 1) * (min(stream, rows) + rows + columns - 2)
    off = cycles(OS, 1, m, n, k, rows, columns, arrays, False)
    assert off == cycles(OS, 1, m, n, k, rows, columns, arrays, True)


def _pipelined(fold_count: int, stream: int, rows: int, columns: int) -> int:
    """Simulate folds: a load port, an array that streams, shadow registers in between."""
    loaded, free = 0, 0
    for _ in range(fold_count):
        start = max(loaded + rows, free)  # its load ended, and the stream before it
        loaded = start  # its registers are taken over, the next load may begin
        free = start + stream
    return free + rows + columns - 2


@given(st.integers(1, 40), st.integers(1, 60), st.integers(1, 20), st.integers(1, 20))
def test_double_buffered_cycles_equal_a_simulation_of_folds(
    fold_count: int, stream: int, rows: int, columns: int
) -> None:
    """The closed form is what loading fold i + 1 while fold i streams comes to."""
    found = cycles(WS, 1, stream, columns, fold_count * rows, rows, columns, 1, True)
    assert found == _pipelined(fold_count, stream, rows, columns)


@pytest.mark.parametrize(
    ("m", "dataflow", "ratio"),
    [
        (4096, "ws", 1.093), (4096, "os", 1.062),
        (128, "ws", 3.98), (128, "os", 1.062),
        (1, "ws", 383), (1, "os", 136),
    ],
)  # fmt: skip
def test_tpu_ratios_to_ideal(m: int, dataflow: Dataflow, ratio: float) -> None:
    """Four 128 x 128 arrays on N = K = 4096 lose what SCALE-Sim's forms say they lose."""
    setting = replace(SETTING, dataflow=dataflow, double_buffer_stationary=False)
    found = array().estimate(product(m, 4096, 4096), setting)
    assert found.compute_ps / found.ideal_ps == pytest.approx(ratio, rel=2e-3)


def test_partial_folds_cost_as_much_as_full_ones() -> None:
    """One row of a fold takes the time of all its rows."""
    one = cycles(WS, 1, 64, 1, 1, 128, 128, 1, False)
    assert one == cycles(WS, 1, 64, 128, 128, 128, 128, 1, False)


@given(batch=st.integers(1, 30), arrays=st.integers(1, 8))
def test_arrays_share_folds_of_all_products(batch: int, arrays: int) -> None:
    """A gang takes as long as its fullest array: ceil(batch folds / arrays) folds."""
    alone = cycles(OS, 1, 200, 200, 64, 128, 128, 1, False) // 4
    found = cycles(OS, batch, 200, 200, 64, 128, 128, arrays, False)
    assert found == -(-batch * 4 // arrays) * alone


@given(m=sizes, n=sizes, k=sizes, double=st.booleans())
def test_auto_takes_the_fastest_dataflow(m: int, n: int, k: int, double: bool) -> None:
    """No dataflow beats the chosen one."""
    best = best_dataflow(1, m, n, k, 32, 16, 2, double)
    every = [cycles(d, 1, m, n, k, 32, 16, 2, double) for d in (OS, WS, IS)]
    assert every[best] == min(every)


@given(m=sizes, n=sizes, k=sizes, rate=st.sampled_from([0.25, 0.5, 2.0, 4.0]))
def test_a_format_of_rate_r_acts_as_k_over_r(m: int, n: int, k: int, rate: float) -> None:
    """Twice the MACs per element and cycle halve the k that the array sees."""
    seen = max(1, int(-(-k // rate)))
    expected = cycles(WS, 1, m, n, seen, 16, 16, 1, True)
    found = plan(WS, 1, m, n, k, 16, 16, 1, rate, True, 16.0, 16.0, 16.0, 1, 1, 1, 1e9, 2)
    assert found[1] == expected


@settings(deadline=None)
@given(m=sizes, n=sizes, k=sizes, batch=st.integers(1, 3), kib=st.sampled_from([1, 64, 4096]))
def test_bytes_are_whole_multiples_of_the_compulsory_ones(
    m: int, n: int, k: int, batch: int, kib: int
) -> None:
    """Re-reads are whole passes over an operand, so bytes are conserved exactly."""
    buffer = BUFFER.model_copy(update={"capacity_bytes": kib * 1024.0})
    work = replace(product(m, n, k, batch), kv_bytes=6, weight_bytes=14)
    found = array().estimate(work, replace(SETTING, buffer=buffer))
    assert found.weight_traffic_bytes % 20 == 0
    assert found.input_traffic_bytes % work.input_bytes == 0
    assert found.output_traffic_bytes % work.output_bytes == 0


def test_without_a_buffer_operands_stream_through() -> None:
    """No buffer is legal: every fold fetches its operands anew."""
    work = product(512, 512, 512)
    found = array().estimate(work, replace(SETTING, buffer=None))
    assert found.weight_traffic_bytes == 4 * work.weight_bytes
    assert found.input_traffic_bytes == 4 * work.input_bytes
    assert found.output_traffic_bytes == work.output_bytes
    assert "buffer" not in found.energy_pj


def test_a_large_buffer_leaves_compulsory_traffic() -> None:
    """With room for everything each operand is read once."""
    work = product(1024, 1024, 1024)
    found = array().estimate(work, replace(SETTING, buffer=MEMORY))
    assert found.weight_traffic_bytes == work.weight_bytes
    assert found.input_traffic_bytes == work.input_bytes
    assert found.output_traffic_bytes == work.output_bytes


def test_one_token_reads_weights_once_and_overlaps_finely() -> None:
    """A matrix-vector product has no reuse to lose and many tiles to overlap."""
    work = product(1, 4096, 4096)
    found = array().estimate(work, SETTING)
    assert found.weight_traffic_bytes == work.weight_bytes
    assert found.tiles > 100


def test_energy_parts_follow_the_table() -> None:
    """MAC energy is the MACs at the node's figure; a published figure replaces it."""
    work = product(256, 256, 256)
    found = array().estimate(work, SETTING).energy_pj
    assert set(found) == {"mac", "register", "buffer"}
    assert found["mac"] == pytest.approx(work.macs * 0.59)
    given = array(given_mac_energy_pj={"bf16": 17.16}).estimate(work, SETTING).energy_pj
    assert given["mac"] == pytest.approx(work.macs * 17.16)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("bf16", "bf16"), ("fp16", "bf16"), ("int4", "int8"), ("fp8", "bf16"), ("mxfp4", "bf16")],
)
def test_an_absent_format_runs_in_the_narrowest_that_holds_it(dtype: str, expected: str) -> None:
    """Integers may run as integers or floats, floats never as integers."""
    found = array().format_of(dtype)
    assert found is not None
    assert found[0] == expected


def test_refuses_what_no_format_holds() -> None:
    """The refusal names the format and those there are."""
    reason = array().refusal(product(8, 8, 8, dtype="fp32"))
    assert "fp32" in reason
    assert "bf16" in reason


def test_a_format_without_a_source_is_refused_at_load() -> None:
    """Energy is never guessed: an unsourced format needs its published figure."""
    with pytest.raises(ValidationError, match="no source gives the MAC energy of `fp4`"):
        array(formats={"fp4": 4})
    assert array(formats={"fp4": 4}, given_mac_energy_pj={"fp4": 0.05}).format_of("fp4")


def test_published_area_of_tpuv4i_is_not_exceeded() -> None:
    """The MACs and registers of TPUv4i fit the 11 % of 400 mm2 that its arrays take."""
    area = array(formats={"bf16": 1}).area_mm2(7)
    assert 0.5 * 44 < area < 44


def _instructions(batch: int, n: int, k: int, size: int) -> int:
    """Return the last finish of NeuPIMs' array, instruction by instruction.

    An instruction is 128 weights' columns against 128 x 128 activations; the first of each fold
    preloads.  casys-kaist/NeuPIMs f299af3, ``src/NeuPIMSystolicWS.cc``.
    """
    start = finish = 0
    for _ in range(-(-batch // 128) * -(-k // 128)):
        for column in range(-(-n // 128)):
            start += 128 if column == 0 else size
            finish = start + 128 + 128 - 2 + size
    return finish


@pytest.mark.parametrize(("k", "n"), [(4096, 3072), (1024, 4096), (4096, 4096)])
@pytest.mark.parametrize("batch", [1, 128, 256, 512])
def test_a_gang_that_shares_vectors_is_neupims_array(batch: int, n: int, k: int) -> None:
    """Within the 16 cycles of each fold's last vectors, beside which theirs preloads already."""
    found = cycles(IS, 1, batch, n, k, 128, 128, 8, True, False, True)
    theirs = _instructions(batch, n, k, 128 // 8)
    assert found - theirs == (folds(IS, batch, n, k, 128, 128) - 1) * 16
    assert found == pytest.approx(theirs, rel=0.05)


@given(sizes, sizes, sizes, sides, sides, st.sampled_from([1, 2, 8]), st.booleans())
def test_shadow_registers_hide_loads_and_no_more(
    m: int, n: int, k: int, rows: int, columns: int, arrays: int, split: bool
) -> None:
    """Loading in place costs at least as much as beside computing, at most as after the drain."""
    for dataflow in (OS, WS, IS):
        at = (dataflow, 1, m, n, k, rows, columns, arrays)
        hidden = cycles(*at, True, True, split)
        in_place = cycles(*at, True, False, split)
        drained = cycles(*at, False, False, split)
        assert hidden <= in_place <= drained
        assert drained == cycles(*at, False, True, split)


@given(sizes, sizes, sizes, sides)
def test_one_array_has_nothing_to_share(m: int, n: int, k: int, side: int) -> None:
    for dataflow in (OS, WS, IS):
        at = (dataflow, 1, m, n, k, side, side, 1, True, True)
        assert cycles(*at, True) == cycles(*at, False)


@given(sizes, sizes, sizes, sides, sides, st.integers(1, 4))
def test_a_hidden_drain_leaves_one_fill_and_one_drain(
    m: int, n: int, k: int, rows: int, columns: int, arrays: int
) -> None:
    """Output-stationary folds follow each other: all fills but the first are saved; ws keeps."""
    at = (1, m, n, k, rows, columns, arrays, True, True, False)
    exposed, hidden = cycles(OS, *at, False), cycles(OS, *at, True)
    mine = -(-folds(OS, m, n, k, rows, columns) // arrays)
    assert exposed - hidden == (mine - 1) * (rows + columns - 2)
    assert hidden >= mine * k
    assert cycles(WS, *at, True) == cycles(WS, *at, False)
    assert cycles(IS, *at, True) == cycles(IS, *at, False)


def test_an_array_takes_its_gang_from_the_file() -> None:
    """Heads of one token fill a gang that shares folds, not one that shares vectors."""
    work = product(1, 1024, 128, batch=64)
    setting = replace(SETTING, dataflow="is")
    alone = array(arrays=8, gang="folds").estimate(work, setting).compute_ps
    together = array(arrays=8, gang="vectors").estimate(work, setting).compute_ps
    in_place = array(arrays=8, gang="vectors", shadow_registers=False)
    assert alone <= together < in_place.estimate(work, setting).compute_ps


class TestContract(UnitContract):
    """The array obeys the contract of every unit."""

    def unit(self) -> SystolicArray:
        return array()

    def setting(self) -> Setting:
        return SETTING

    def works(self) -> Sequence[Work]:
        return [
            product(1, 4096, 4096),
            product(128, 4096, 4096),
            product(77, 130, 259, batch=3),
            product(1, 1, 1),
            product(300, 300, 300, bits=8, dtype="int8"),
        ]

    def refused(self) -> Sequence[Work]:
        return [Work("softmax"), Work("attention"), Work("matmul", dtype="fp64")]

    def peak_macs_per_s(self, work: Work) -> float:
        found = array().format_of(work.dtype)
        assert found is not None
        return array().peak_macs_per_s(found[0])

    def kernels(self) -> Sequence[KernelCall]:
        moved = (3 * 77 * 259 * 2, 3 * 259 * 130 * 2, 3 * 77 * 130 * 2)
        call = (3, 77, 130, 259, 16, 8, 2)
        bits = (16.0, 4.25, 16.0)
        return [
            *((cycles, (d, *call, double)) for d in (OS, WS, IS) for double in (False, True)),
            *((cycles, (d, *call, True, False, True)) for d in (OS, WS, IS)),
            (cycles, (OS, *call, True, True, False, True)),
            (products_along, (259, 0.5)),
            *((accesses, (d, 3, 77, 130, 259, 17, 16, 8)) for d in (OS, WS, IS)),
            (best_dataflow, (*call, True)),
            (best_dataflow, (*call, True, False, True)),
            (plan, (-1, *call, 1.0, True, *bits, *moved, 1e4, 2)),
            (plan, (OS, *call, 0.5, False, *bits, *moved, float("inf"), 1)),
        ]
