"""How long one point takes from graph to result, warm: workload, plan, lowering, simulation.

Every repeat is of another sequence length, so that nothing but compiled code and lowered
structures is reused; ``exact`` simulates every layer instead of extending a steady state.
"""

from __future__ import annotations

from itertools import count

from accelsim.evaluation import evaluate
from benchmarks.timing import Timing, alone, measure

LENGTHS = count(1000)


def decode_step(*, exact: bool = False) -> None:
    """Evaluate one decode step of llama3-8b on an A100."""
    evaluate("llama3-8b", "a100-80gb", "roofline-best", seq_len=next(LENGTHS), exact=exact)


def decode_step_npu(*, exact: bool = False) -> None:
    """Evaluate one decode step of llama2-7b on an NPU with HBM-PIM: tiles, banks, contention."""
    evaluate("llama2-7b", "npu-pim-dual", "npu-pim", seq_len=next(LENGTHS), exact=exact)


def prefill_and_decode() -> None:
    """Evaluate prefill and one decode step of llama2-70b on eight H100s."""
    overrides = {"mapping.partition.tensor": 8}
    for phase in ("prefill", "decode"):
        evaluate(
            "llama2-70b", "h100-sxm", "roofline-best", phase=phase, seq_len=next(LENGTHS),
            overrides=overrides,
        )  # fmt: skip


def run(repeats: int = 30) -> dict[str, Timing]:
    """Return the timings by name."""
    return {
        "llama3-8b decode, a100-80gb (bar 10 ms)": measure(decode_step, repeats),
        "llama3-8b decode, every layer": measure(lambda: decode_step(exact=True), repeats),
        "llama2-7b decode, npu-pim-dual": measure(decode_step_npu, repeats),
        "llama2-7b decode, npu-pim-dual, every layer": measure(
            lambda: decode_step_npu(exact=True), repeats
        ),
        "llama2-70b prefill + decode, 8 x h100-sxm (bar 20 ms)": measure(
            prefill_and_decode, repeats
        ),
    }


if __name__ == "__main__":
    alone(run, __doc__, 30)
