"""How long the parts of an evaluation take, warm: estimates, workloads; and starting the command.

``python -m benchmarks.bench_parts [--json FILE]``.  Estimates are timed a thousand at a time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import count

from accelsim import arch, mapping
from accelsim.cost import Setting
from accelsim.workload import decode, load_model, workload
from benchmarks.timing import Timing, alone, measure

TIMES = 1_000
PLACES = (
    ("array", "npu-pim-dual", "npu-only"),
    ("vector", "npu-pim-dual", "npu-only"),
    ("pim", "npu-pim-dual", "npu-pim"),
    ("sm", "a100-80gb", "roofline-best"),
)


def estimates(unit: str, architecture: str, policy: str) -> Callable[[], None]:
    """Return a call that estimates, a thousand times, the work that a decode step gives a unit."""
    loaded = arch.load(architecture)
    plan = mapping.plan(
        workload("llama2-7b", decode(16, 1024)), loaded, mapping.load(policy)
    )  # fmt: skip
    step = next(s for b in plan.blocks if b.count > 1 for s in b.steps if s.unit == unit)
    component, device = loaded.device.units[unit], loaded.device

    buffer = device.memories[component.buffer] if component.buffer else None
    setting = Setting(device.memories[component.memory], buffer, loaded.technology_nm)

    def call() -> None:
        for _ in range(TIMES):
            component.estimate(step.work, setting)

    return call


def build(lengths: count[int]) -> None:
    """Build the decode step of llama3-8b for a length not seen before, a thousand times."""
    model = load_model("llama3-8b")
    for _ in range(TIMES):
        workload(model, decode(16, next(lengths)))


def start(*arguments: str) -> None:
    """Run the command line in a process of its own."""
    subprocess.run([sys.executable, "-m", "accelsim", *arguments], check=True, capture_output=True)


def run(repeats: int = 9) -> dict[str, Timing]:
    """Return the timings by name."""
    timings = {
        f"{TIMES} estimates, {unit} of {architecture}": measure(
            estimates(unit, architecture, policy), repeats
        )
        for unit, architecture, policy in PLACES
    }
    lengths = count(1)
    timings[f"{TIMES} workloads, llama3-8b decode"] = measure(lambda: build(lengths), repeats)
    timings["accelsim --help (bar 300 ms CPU)"] = measure(lambda: start("--help"), repeats)
    timings["accelsim run gpt2 a100-80gb"] = measure(
        lambda: start("run", "gpt2", "a100-80gb"), repeats
    )
    return timings


if __name__ == "__main__":
    alone(run, __doc__)
