"""Reading measured tables: three formats alike, and errors that name place and cure."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelsim.errors import ConfigError
from accelsim.measure.compare.table import NUMBERS, TEXTS, read_measured, row_groups
from tests.measure.compare.standin import gemm, softmax, table

HEAD = "source,gpu,dtype,op,timing,latency_us\n"
ROWS = [gemm(8, 64, 32, 5.0, flag="cache_resident"), softmax(16, 128, 7.0)]


def test_csv_gzip_and_parquet_are_read_alike(tmp_path: Path) -> None:
    """Sizes that an operator lacks are NaN, texts that are empty stay empty."""
    frame = pd.DataFrame(ROWS)
    text = "# measured by hand\n" + frame.to_csv(index=False)
    plain, packed = tmp_path / "a.csv", tmp_path / "b.csv.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    files = [plain, packed]
    try:
        frame.to_parquet(tmp_path / "c.parquet")
        files.append(tmp_path / "c.parquet")
    except ImportError:
        pass
    for file in files:
        found = read_measured(file)
        assert set(found) == {*TEXTS, *NUMBERS}
        assert found["flag"].tolist() == ["cache_resident", ""]
        assert found["m"].iloc[0] == 8
        assert np.isnan(found["m"].iloc[1])
        assert found["latency_us"].tolist() == [5.0, 7.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,gpu,dtype,op,latency_us\nlab,A40,fp16,gemm,1\n", "no column `timing`"),
        ("source,gpu,dtype,op,timing,latency\nlab,A40,fp16,gemm,k,1\n", "no column `latency_us`"),
        (HEAD + "lab,A40,fp16,gemm,k,1\n", "gemm but no column `m`"),
        (HEAD + "lab,A40,fp16,x,k,1\nlab,A40,fp16,x,k,fast\n",
         "latency_us: row 2: `fast` is not a number"),
        (HEAD + "lab,A40,fp16,x,k,0\n", "row 1: 0 is not a time"),
        (HEAD + "lab,A40,fp16,x,k,\n", "row 1: nan is not a time"),
        (HEAD + "lab,,fp16,x,k,1\n", "gpu: row 1 is empty"),
        (HEAD, "has no rows"),
        ("a,b,a\n1,2,3\n", "`a` stands twice"),
        ("", "no head"),
        (HEAD + "lab,A40,fp16,x,k,1,2,3,4\nlab,A40\n", ""),
    ],
)  # fmt: skip
def test_a_malformed_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """What is wrong, where, with the file's name."""
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message or r"bad\.csv") as caught:
        read_measured(file)
    assert "bad.csv" in str(caught.value)


def test_files_that_are_no_table_are_refused(tmp_path: Path) -> None:
    """A missing file, a truncated archive, bytes that are no text."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_measured(tmp_path / "none.csv")
    packed = tmp_path / "cut.csv.gz"
    packed.write_bytes(gzip.compress(b"source,gpu\n" * 1000)[:40])
    with pytest.raises(ConfigError, match=r"cut\.csv\.gz"):
        read_measured(packed)
    raw = tmp_path / "raw.csv"
    raw.write_bytes(b"\xff\xfe\x00,\x00\n" * 5)
    with pytest.raises(ConfigError, match=r"raw\.csv"):
        read_measured(raw)
    broken = tmp_path / "x.parquet"
    broken.write_bytes(b"PAR1" + b"\0" * 50)
    with pytest.raises(ConfigError, match=r"x\.parquet"):
        read_measured(broken)


def test_groups_are_sorted_and_whole(tmp_path: Path) -> None:
    """Every row is in one group, in order of the texts."""
    found = table([gemm(1, 8, 8, gpu="T4"), gemm(1, 8, 8), gemm(2, 8, 8, gpu="T4")], tmp_path)
    groups = row_groups(found, ("gpu",))
    assert {key: rows.tolist() for key, rows in groups.items()} == {("A40",): [1], ("T4",): [0, 2]}
    assert list(groups) == [("A40",), ("T4",)]


def test_rows_without_a_measurement_are_left_out(tmp_path: Path) -> None:
    """Our own tables have a status: skipped and failed cases have no time to compare."""
    frame = pd.DataFrame([*ROWS, gemm(8, 64, 32, 5.0)]).assign(status=["ok", "skip", "error"])
    frame.loc[1:, "latency_us"] = np.nan
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert read_measured(tmp_path / "a.csv")["latency_us"].tolist() == [5.0]
    frame.iloc[1:].to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(ConfigError, match="no row that was measured"):
        read_measured(tmp_path / "none.csv")
