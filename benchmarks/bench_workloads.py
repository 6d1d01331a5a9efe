"""How long building each graph of the library takes, and recording two real models with torch.

``python -m benchmarks.bench_workloads [--json FILE]``.  The slowest builds of each family are
shown; recording needs torch, transformers and diffusers, and is left out without them.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import subprocess
import sys

from accelsim.workload import Request, load_model, model_names, phase_of
from accelsim.workload.families import family
from benchmarks.timing import Timing, measure, report

RECORDED = {
    "record llama2-7b": "tests/workload/importers/torch_models.py:llama2_7b",
    "record sd15-unet": "tests/workload/importers/torch_models.py:sd15_unet",
}
"""Name -> function that `accelsim import torch` takes."""


def builds(repeats: int = 5) -> dict[str, Timing]:
    """Return the slowest build of each family, its configuration read already."""
    slowest: dict[str, tuple[str, Timing]] = {}
    for name in model_names():
        model = load_model(name)
        found = family(model.family)
        if not found.PHASES:
            continue
        phase = phase_of(model, found.PHASES[0], 1, 64, Request())
        build = getattr(found.build, "__wrapped__", found.build)  # past the cache
        timing = measure(lambda b=build, m=model, p=phase: b(m.parameters, p), repeats)  # type: ignore[misc]
        if model.family not in slowest or timing.median_s > slowest[model.family][1].median_s:
            slowest[model.family] = name, timing
    return {f"build {name}": timing for name, timing in slowest.values()}


def recordings(repeats: int = 3) -> dict[str, Timing]:
    """Return the time of `accelsim import torch` in a process of its own, imports included."""
    if any(importlib.util.find_spec(n) is None for n in ("torch", "transformers", "diffusers")):
        return {}
    found = {}
    for name, target in RECORDED.items():
        command = [sys.executable, "-m", "accelsim", "import", "torch", target, "-o", "/dev/null"]
        found[name] = measure(
            lambda c=command: subprocess.run(c, check=True, capture_output=True),  # type: ignore[misc]
            repeats,
        )
    return found


def peak_megabytes() -> float:
    """Return the largest resident memory that a child process has had."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def run(repeats: int = 5) -> dict[str, Timing]:
    """Return the timings by name."""
    return builds(repeats) | recordings()


def main(arguments: list[str] | None = None) -> None:
    """Print the timings, and write them to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    report(run(), options.json)
    if peak_megabytes():
        print(f"largest child process: {peak_megabytes():.0f} MB")


if __name__ == "__main__":
    main()
