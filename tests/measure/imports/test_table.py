"""Columns, merging, derived rates and flags that all importers share; figures are invented."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelsim import registry
from accelsim.cost.gpu import Gpu
from accelsim.errors import ConfigError
from accelsim.measure.gpus import board
from accelsim.measure.imports._derived import above_peak, with_rates
from accelsim.measure.imports._files import integers, numbers, read_csv
from accelsim.measure.imports._table import COLUMNS, E2E_COLUMNS, combine, end_to_end, part
from tests.reference import reference_file

A100 = {"gpu": "A100-PCIe-80GB", "dtype": "fp16", "impl": "x", "stat": "mean", "timing": "kernel"}


def _one(**columns):
    return part(pd.RangeIndex(1), **{**A100, **columns})


def _peaks() -> tuple[Gpu, float]:
    return board("A100-PCIe-80GB")


@pytest.mark.parametrize("name", registry.names("dataset"))
def test_every_format_reads_and_refuses_an_unrelated_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing")
    read = registry.module("dataset", name).read
    with pytest.raises(ConfigError, match="is no checkout of") as caught:
        read(tmp_path)
    assert "hint" in str(caught.value)
    with pytest.raises(ConfigError, match="is no folder"):
        read(tmp_path / "absent")


def test_the_six_data_sets_are_found_by_file_name() -> None:
    assert registry.names("dataset") == (
        "aiconfigurator", "deepbench", "llmcompass", "llmservingsim", "neusight", "vidur",
    )  # fmt: skip


def test_a_table_has_exactly_the_columns_and_types() -> None:
    table = combine([_one(op="gemm", m=8, n=16, k=32, latency_us=5.0)], source="s", files=1).table
    assert list(table.columns) == list(COLUMNS)
    assert {name: str(kind) for name, kind in table.dtypes.items()} == dict(COLUMNS)
    assert table.loc[0, "n_devices"] == 1
    assert table["rows"].isna().all()


@pytest.mark.validate
def test_columns_are_those_of_the_reference_tables() -> None:
    reference = pd.read_parquet(reference_file("measured/ops.parquet"))
    models = pd.read_csv(reference_file("measured/e2e.csv.gz"), nrows=1)
    assert {name: str(kind) for name, kind in reference.dtypes.items()} == dict(COLUMNS)
    assert list(reference.columns) == list(COLUMNS)
    assert list(models.columns) == list(E2E_COLUMNS)


@pytest.mark.validate
def test_operations_and_bytes_agree_with_the_reference_on_every_row() -> None:
    reference = pd.read_parquet(reference_file("measured/ops.parquet"))
    ours = with_rates(reference)
    for name in ("flops", "bytes_min", "tflops", "gbps"):
        np.testing.assert_allclose(ours[name], reference[name].astype(float), rtol=1e-4)


def test_an_empty_import_still_has_the_columns() -> None:
    found = combine([], source="s", files=0)
    assert list(found.table.columns) == list(COLUMNS)
    assert list(found.end_to_end.columns) == list(E2E_COLUMNS)


def test_equal_rows_become_their_median() -> None:
    rows = [
        _one(op="gemm", m=8, n=16, k=32, latency_us=t, lat_min_us=low, lat_std_us=std, notes=note)
        for t, low, std, note in ((10, 9, 1, "a"), (14, 8, 3, "b"), (11, 10, 2, "c"))
    ]
    other = _one(op="gemm", m=8, n=16, k=64, latency_us=20)
    table = combine([*rows, other], source="s", files=1).table
    assert len(table) == 2
    merged = table[table["k"] == 32].iloc[0]
    assert merged["latency_us"] == 11
    assert merged["n_merged"] == 3
    assert merged["spread"] == pytest.approx(4 / 11)
    assert merged["lat_min_us"] == 8
    assert merged["lat_std_us"] == 2
    assert merged["notes"] == "a"
    assert np.isnan(table[table["k"] == 64]["spread"].iloc[0])


def test_rows_that_differ_in_implementation_are_kept_apart() -> None:
    rows = [_one(op="gemm", m=8, n=16, k=32, latency_us=9, impl=name) for name in "ab"]
    table = combine(rows, source="s", files=1).table
    assert list(table["n_merged"]) == [1, 1]


@pytest.mark.parametrize(
    ("row", "flops", "moved"),
    [
        ({"op": "gemm", "m": 3, "n": 5, "k": 7}, 210, 2 * (21 + 35 + 15)),
        ({"op": "bmm", "b": 4, "m": 3, "n": 5, "k": 7}, 840, 8 * (21 + 35 + 15)),
        ({"op": "softmax", "rows": 3, "cols": 5}, 75, 60),
        ({"op": "elementwise", "subop": "add3", "rows": 3, "cols": 5}, 15, 120),
        ({"op": "elementwise", "subop": "add_scalar", "rows": 3, "cols": 5}, 15, 60),
        ({"op": "elementwise", "subop": "add", "rows": 3, "cols": 5}, 15, 90),
        ({"op": "silu_mul", "rows": 3, "cols": 5}, 90, 90),
        ({"op": "attention_prefill", "batch": 1, "heads": 2, "kv_heads": 1, "head_dim": 4,
          "q_len": 3, "kv_len": 5, "causal": 1}, 4 * 2 * 4 * (15 - 3), 2 * 4 * (12 + 10)),
        ({"op": "attention_decode", "batch": 2, "heads": 2, "kv_heads": 1, "head_dim": 4,
          "q_len": 1, "kv_len": 5, "causal": 1}, 4 * 2 * 2 * 4 * 5, 2 * 2 * 4 * (4 + 10)),
        ({"op": "moe", "rows": 3, "topk": 2, "hidden": 4, "inter": 6, "tp": 2, "ep": 1},
         432, None),
        ({"op": "allreduce", "bytes": 800, "n_devices": 4}, None, 1200),
        ({"op": "allgather", "bytes": 800, "n_devices": 4}, None, 600),
        ({"op": "send_recv", "bytes": 800, "n_devices": 2}, None, 800),
        ({"op": "conv", "batch": 1, "c_in": 2, "c_out": 3, "kh": 3, "kw": 1, "h_in": 5, "w_in": 4,
          "stride_h": 1, "stride_w": 2, "pad_h": 1, "pad_w": 0},
         2 * 3 * 10 * 2 * 3, 2 * (2 * 5 * 2 + 18 + 30)),
    ],
)  # fmt: skip
def test_operations_and_least_bytes(row: dict, flops: float | None, moved: float | None) -> None:
    table = combine([_one(**row, latency_us=1e6)], source="s", files=1).table
    found = [table.loc[0, name] for name in ("flops", "bytes_min")]
    for value, expected in zip(found, (flops, moved), strict=True):
        assert np.isnan(value) if expected is None else value == expected


@pytest.mark.parametrize(
    ("dtype", "moved"), [("int8_wo", 2 * 21 + 35 + 30), ("sq_int8", 21 + 35 + 30),
                         ("fp8", 21 + 35 + 30), ("nvfp4", 0.5625 * 56 + 30)],
)  # fmt: skip
def test_quantised_products_move_narrow_weights(dtype: str, moved: float) -> None:
    row = _one(op="gemm", m=3, n=5, k=7, latency_us=1.0).assign(dtype=dtype)
    assert combine([row], source="s", files=1).table.loc[0, "bytes_min"] == moved


def _vector(gbps: float, elements: int) -> pd.DataFrame:
    """Return a softmax that moves its bytes at a rate."""
    moved = 2 * 2 * elements
    return _one(op="softmax", rows=1, cols=elements, latency_us=moved / gbps * 1e-3)


def test_above_dram_speed_with_little_data_is_cache_resident() -> None:
    gpu, bandwidth = _peaks()
    small, large = int(gpu.l2_bytes * 1.9 / 4), int(gpu.l2_bytes * 2.1 / 4)
    gbps = bandwidth * 1e-9
    rows = [
        _vector(gbps * 1.5, small),
        _vector(gbps * 1.04, large),
        _vector(gbps * 0.9, large + 1),
    ]
    found = combine([*rows, _vector(gbps * 1.06, large + 2)], source="s", files=1)
    assert list(found.table["flag"]) == ["cache_resident", "over_peak_bw_5pct", ""]
    assert found.dropped == {"faster than the board's peak": 1}


def _product(share: float, op: str = "gemm") -> pd.DataFrame:
    gpu, _ = _peaks()
    peak = gpu.peak("fp16")
    if op == "gemm":
        shape = {"m": 4096, "n": 4096, "k": 4096}
        flops = 2 * 4096**3
    else:
        shape = {"batch": 64, "c_in": 512, "c_out": 512, "kh": 3, "kw": 3, "h_in": 64, "w_in": 64,
                 "stride_h": 1, "stride_w": 1, "pad_h": 1, "pad_w": 1}  # fmt: skip
        flops = 2 * 64 * 512 * 512 * 9 * 64 * 64
    return _one(op=op, **shape, latency_us=flops / peak / share * 1e6)


def test_above_the_peak_is_boost_winograd_or_wrong() -> None:
    found = combine([_product(1.08), _product(2.5, "conv")], source="s", files=1)
    assert list(found.table["flag"]) == ["over_rated_boost", "winograd_fft"]
    assert combine([_product(1.12)], source="s", files=1).dropped
    assert not combine([_product(0.9)], source="s", files=1).dropped


def test_a_board_without_a_component_has_no_flag_and_no_share() -> None:
    row = _product(50.0).assign(gpu="NOT-A-BOARD")
    found = combine([row], source="s", files=1)
    assert found.table.loc[0, "flag"] == ""
    assert np.isnan(found.table.loc[0, "frac_flops"])
    assert found.table.loc[0, "tflops"] > 0


def test_times_not_above_zero_are_left_out_and_counted() -> None:
    rows = [_one(op="gemm", m=1, n=1, k=k, latency_us=t) for k, t in ((1, 0), (2, -1), (3, 1))]
    found = combine(rows, source="s", files=1)
    assert len(found.table) == 1
    assert found.dropped == {"latency not above 0": 2}


def test_flags_need_no_division_warning() -> None:
    table = with_rates(combine([_vector(10, 5)], source="s", files=1).table)
    flag, impossible = above_peak(table)
    assert list(flag) == [""]
    assert not impossible.any()


def test_part_refuses_a_column_of_no_name() -> None:
    with pytest.raises(KeyError, match="latency_ms"):
        part(pd.RangeIndex(1), latency_ms=3)


def test_end_to_end_merges_to_the_median() -> None:
    row = {
        "gpu": "T4", "n_devices": 1, "model": "m", "phase": "p", "batch": 1, "seq_in": 2,
        "seq_out": 0, "dtype": "fp32", "impl": "i", "metric": "latency_ms", "notes": "",
    }  # fmt: skip
    found = end_to_end([{**row, "value": v} for v in (1.0, 3.0)], "s")
    assert list(found.columns) == list(E2E_COLUMNS)
    assert found.loc[0, ["value", "n_merged", "spread"]].tolist() == [2.0, 2, 1.0]


def test_bad_cells_are_named_by_file_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a, b\n1,2\n\n3,x\n")
    frame = read_csv(path, ("a", "b"))
    assert integers(frame, path, "a").tolist() == [1, 3]
    with pytest.raises(ConfigError, match=r"t\.csv:4: b: found `x`"):
        numbers(frame, path, "b")
    path.write_text("a,b\n1.5,\n")
    frame = read_csv(path, ("a", "b"))
    with pytest.raises(ConfigError, match=r"t\.csv:2: a: found `1.5`"):
        integers(frame, path, "a")
    with pytest.raises(ConfigError, match="found an empty cell"):
        numbers(frame, path, "b")
    assert numbers(frame, path, "b", missing=True).isna().all()


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "empty"), ("a,c\n1,2\n", "no column `b`"), ("a,b\n1,2\n1,2,3\n", r":3: rows differ"),
     ("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer")],
)  # fmt: skip
def test_files_that_are_no_table_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_csv(path, ("a", "b"))
