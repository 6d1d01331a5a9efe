"""``accelsim import measured``: what it writes, says and refuses; every figure is invented."""

import pandas as pd
import pytest

from accelsim.cli import main
from accelsim.measure.imports._table import COLUMNS, E2E_COLUMNS


@pytest.fixture
def run(capsys):
    """Run the command, returning status and both streams."""

    def call(*arguments: object):
        with pytest.raises(SystemExit) as done:
            main(["import", "measured", *map(str, arguments)])
        return done.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def checkout(csv, tmp_path):
    """A checkout with one product and one layer."""
    folder = "repo/ae/figure5"
    csv(f"{folder}/ab/real_hardware/matmul_A100.csv", [(64, 256, 128, "2.5ms", "1.0Tflops")])
    csv(f"{folder}/ijkl/real_hardware/transformer_A100.csv", [(1e-2,)] * 12)
    return tmp_path / "repo"


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_writes_the_common_table(ending, checkout, run, tmp_path) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"new/ops{ending}"
    status, text, _ = run("llmcompass", checkout, "--out", out)
    assert status == 0
    read = pd.read_parquet if ending == ".parquet" else pd.read_csv
    table = read(out)
    assert list(table.columns) == list(COLUMNS)
    assert table[table["m"] == 64]["latency_us"].tolist() == [2500]
    assert "operators" in text
    assert "--end-to-end" in text
    assert not list(out.parent.glob("*.partial"))


def test_writes_whole_models_where_asked(checkout, run, tmp_path) -> None:
    out = tmp_path / "models.csv"
    status, _, _ = run("llmcompass", checkout, "--out", tmp_path / "o.csv", "--end-to-end", out)
    assert status == 0
    table = pd.read_csv(out)
    assert list(table.columns) == list(E2E_COLUMNS)
    assert len(table) == 13


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("llmcompas", ".", "--out", "o.csv"), "did you mean `llmcompass`?"),
        (("llmcompass", "nowhere", "--out", "o.csv"), "nowhere is no folder"),
        (("llmcompass", ".", "--out", "o.txt"), "--out: found `o.txt`"),
    ],
)
def test_refuses_with_status_2(arguments, message, run, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, error = run(*arguments)
    assert status == 2
    assert message in error
    assert not list(tmp_path.iterdir())
