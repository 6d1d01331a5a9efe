"""How long one PIM case takes, warm, beside the seconds that the cycle-level simulator took.

``python -m benchmarks.bench_pim [--json FILE] [--page FILE]``.  The bar is 1 ms a case; a case is
one figure of ``accelsim validate cases``, from a row of the format to its prediction.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from accelsim.measure.cases import pim
from benchmarks.timing import Timing, measure, report

__all__ = ["run"]

TIMES = 50
EMPTY = dict.fromkeys(
    (
        "case_id", "tool", "level", "system", "pim", "power_limited", "model", "seq_len", "heads",
        "d_head", "bytes_per_elem", "batch", "out_dim", "in_dim", "unit", "sim_wall_s",
    ),
    "",
)  # fmt: skip
ATTACC = {
    "level": "attention_gemv_one_hbm", "power_limited": "1", "seq_len": "2048", "heads": "130",
    "d_head": "128", "bytes_per_elem": "2", "metric": "memory_system_cycles", "value": "1",
}  # fmt: skip
NEUPIMS = {
    "level": "one_decoder_layer_generation", "system": "neupims", "model": "gpt3-7B tp4",
    "seq_len": "1024", "batch": "1", "value": "1",
}  # fmt: skip
KEYS = "op:PIM_stage_B/attn.NeuPIMSLogitSoftmax"
VALUES = "op:PIM_stage_B/attn.NeuPIMSAttend"
MIXED = {"case_id": "mixed", "seq_len": ""}
SAMSUNG = {"level": "kernel_64ch", "metric": "pim_cycles", "value": "1"}
CENT = {
    "level": "gddr6_aim_decode", "system": "8 CXL devices TP1 PP8", "model": "Llama2-7B",
    "seq_len": "4096", "metric": "block_pim_latency", "value": "1",
}  # fmt: skip
# 256 requests of made-up lengths, eight to a channel, as large as the largest reference case.
REQUESTS = [
    {"case_id": "mixed", "seq_len": str(40 + 37 * i % 2000), "channel": str(i % 32)}
    for i in range(256)
]
# Seconds of the simulators on a shared 2-core machine (research notes of the reference runs);
# none where they were not recorded.
CASES = {
    "AttAcc banks, 130 heads": (ATTACC | {"pim": "bank"}, 23.9),
    "AttAcc bank groups, 130 heads": (ATTACC | {"pim": "bg"}, 112.3),
    "AttAcc buffer die, 130 heads": (ATTACC | {"pim": "buffer"}, None),
    "NeuPIMs keys, one request of 1024": (NEUPIMS | {"metric": KEYS}, 41.0),
    "NeuPIMs values, one request of 1024": (NEUPIMS | {"metric": VALUES}, 41.0),
    "NeuPIMs keys, 256 requests": (NEUPIMS | MIXED | {"metric": KEYS}, 228.0),
    "NeuPIMs values, 256 requests": (NEUPIMS | MIXED | {"metric": VALUES}, 228.0),
    "NeuPIMs layer, 256 requests": (NEUPIMS | MIXED | {"metric": "layer_time"}, 228.0),
    "NeuPIMs layer, 256 in sub-batches": (
        NEUPIMS | MIXED | {"system": "neupims sub-batch-on", "metric": "layer_time"}, 915.0,
    ),
    "Samsung GEMV 12288 x 4096": (
        SAMSUNG | {"case_id": "samsung-gemv", "out_dim": "12288", "in_dim": "4096"}, 76.1,
    ),
    "Samsung ADD 4 M": (SAMSUNG | {"case_id": "samsung-add", "out_dim": "4194304"}, 29.8),
    "CENT block, 4096 tokens": (CENT, None),
    "CENT token, latency": (CENT | {"metric": "token_latency"}, None),
    "CENT token, energy": (CENT | {"metric": "token_energy"}, None),
}  # fmt: skip


def predictions(row: dict[str, str]) -> Callable[[], object]:
    """Return a call that predicts a row `TIMES` over; request lists only concern its own case."""
    rows = [EMPTY | row] * TIMES
    return lambda: pim.predict(rows, REQUESTS)


def run(repeats: int = 9) -> dict[str, Timing]:
    """Return the time of `TIMES` predictions by case."""
    return {
        f"{TIMES} x {name}": measure(predictions(row), repeats) for name, (row, _) in CASES.items()
    }


PAGE = """# Speed of in-memory predictions

Made by `python -m benchmarks.bench_pim --page FILE`, warm, one process: a case from its row to
its figure.  Simulators: seconds of the reference runs on a shared 2-core machine; empty where they
were not recorded.

| case | ms | simulator, s | ratio |
| --- | ---: | ---: | ---: |
{rows}
"""


def page(timings: Mapping[str, Timing]) -> str:
    """Return a page with every case's time and its ratio to the simulator's."""
    rows = []
    for (name, (_, seconds)), timing in zip(CASES.items(), timings.values(), strict=True):
        each = timing.median_s / TIMES
        slower = f"{seconds:,.0f} | {seconds / each:,.0f}" if seconds else " | "
        rows.append(f"| {name} | {1e3 * each:.3f} | {slower} |")
    return PAGE.format(rows="\n".join(rows))


def main() -> None:
    """Print the timings, and how many times faster than the simulator each case is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", help="also write the timings to this file")
    parser.add_argument("--page", type=Path, help="also write a page with the ratios to this file")
    options = parser.parse_args()
    timings = run(options.repeats)
    report(timings, options.json)
    if options.page:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(page(timings), encoding="utf-8")
    for (name, (_, seconds)), timing in zip(CASES.items(), timings.values(), strict=True):
        each = timing.median_s / TIMES
        faster = f"{seconds / each:,.0f} times faster than its simulator" if seconds else ""
        print(f"{name}: {1e3 * each:.3f} ms  {'ok' if each <= 1e-3 else 'OVER'}  {faster}")


if __name__ == "__main__":
    main()
