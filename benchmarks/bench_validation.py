"""How long 100,000 measured rows take from file to report: prediction, scores and figures.

``python -m benchmarks.bench_validation [--json FILE] [--rows N] [--repeats N] [--data FILE]``.
Without ``--data`` the rows are made up: products, batched products, softmax and attention of
random sizes on five GPUs, three quarters of the datasheet's speed with a floor and noise, as
vidur's clock would see them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from accelsim.measure.compare.classes import roofline_us
from accelsim.measure.compare.comparison import compare, compare_file
from accelsim.measure.compare.summary import summary
from accelsim.measure.compare.table import read_measured
from accelsim.measure.predict import predict
from accelsim.report.measured import write_measured
from benchmarks.timing import Timing, measure, report

ROWS = 100_000
SHARES = {"gemm": 0.6, "bmm": 0.2, "softmax": 0.1, "attention_prefill": 0.1}
GPUS = ("A100-PCIe-80GB", "A40", "A6000", "RTX3090", "RTXPRO6000")


def made_up(count: int, file: Path) -> None:
    """Write a table of `count` rows as CSV; times are the datasheet's, with a floor and noise."""
    random = np.random.default_rng(0)
    op = random.choice(
        ["gemm", "bmm", "softmax", "attention_prefill"], count, p=[0.6, 0.2, 0.1, 0.1]
    )
    product, vector, attention = (
        np.isin(op, ["gemm", "bmm"]),
        op == "softmax",
        op == "attention_prefill",
    )

    def sizes(low: int, high: int, where: np.ndarray) -> np.ndarray:
        return np.where(where, 8 * 2 ** random.integers(low, high, count), np.nan)

    def where(size: int) -> np.ndarray:
        return np.where(attention, size, np.nan)

    m, n, k = (sizes(low, 12, product) for low in (0, 4, 4))
    b = np.where(op == "bmm", 4.0, np.where(product, 1.0, np.nan))
    rows, cols = sizes(0, 12, vector), sizes(3, 10, vector)
    batch, heads, q = (sizes(low, high, attention) for low, high in ((0, 3), (0, 4), (3, 8)))
    table = pd.DataFrame({
        "source": "vidur", "gpu": random.choice(GPUS, count), "dtype": "fp16", "op": op,
        "timing": "kernel", "flag": "", "m": m, "n": n, "k": k, "b": b, "rows": rows, "cols": cols,
        "batch": batch, "heads": heads, "kv_heads": heads, "head_dim": where(128),
        "q_len": q, "kv_len": q, "causal": where(1), "latency_us": 1.0,
    })  # fmt: skip
    with np.errstate(invalid="ignore"):
        elements = np.select([product, vector], [b * (m * k + k * n + m * n), 2 * rows * cols])
        flops = np.select([product, vector], [2 * b * m * n * k, 5 * rows * cols])
        pairs = 2 * batch * heads * q * q * 128
    table["flops"] = np.where(attention, pairs, flops)
    table["bytes_min"] = 2 * np.where(attention, 4 * batch * heads * q * 128, elements)
    table.to_csv(file, index=False)
    ideal = np.maximum(*roofline_us(read_measured(file)))
    table["latency_us"] = np.maximum(ideal / 0.75, 4.0) * random.lognormal(0, 0.1, count)
    table.to_csv(file, index=False)


def sampled(data: Path, count: int, file: Path) -> None:
    """Write `count` rows of a table, drawn with a fixed seed."""
    table = read_measured(data)
    table.sample(min(count, len(table)), random_state=0).to_csv(file, index=False)


def run(repeats: int = 5, rows: int = ROWS, data: Path | None = None) -> dict[str, Timing]:
    """Return the timings by name."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.csv"
        if data is None:
            made_up(rows, file)
        else:
            sampled(data, rows, file)
        table = read_measured(file)
        found = compare(table, predict(table))
        told = summary(found, file)

        def whole() -> None:
            comparison = compare_file(file)
            write_measured(comparison, summary(comparison, file), Path(folder) / "out", "bench")

        count = f"{len(table):,} rows"
        return {
            f"{count}: read": measure(lambda: read_measured(file), repeats),
            f"{count}: predict": measure(lambda: predict(table), repeats),
            f"{count}: compare, beside prediction": measure(
                lambda: compare(table, predict(table)), repeats
            ),
            f"{count}: sum up": measure(lambda: summary(found, file), repeats),
            f"{count}: write and draw": measure(
                lambda: write_measured(found, told, Path(folder) / "out", "bench"), repeats
            ),
            f"{count}: file to report (bar 30 s)": measure(whole, repeats),
        }


def main(arguments: list[str] | None = None) -> None:
    """Print the timings, and write them to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data", type=Path, help="table of measured operators to draw rows from")
    parser.add_argument("--json", help="also write the timings to this file")
    options = parser.parse_args(arguments)
    report(run(options.repeats, options.rows, options.data), options.json)


if __name__ == "__main__":
    main()
