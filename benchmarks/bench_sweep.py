"""Cost of a point beyond its evaluation: walking, naming, storing, in 100 to 100,000 points.

``python -m benchmarks.bench_sweep [--json FILE] [--jobs N] [--sizes N ...]``.  Each size runs in a
process of its own, so that peak memory is its own; the evaluator takes a microsecond.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelsim.explore import Point, Store, SweepSpec, keys, run, to_frame

SIZES = (100, 1_000, 10_000, 100_000)
REPOSITORY = Path(__file__).resolve().parent.parent


def trivial(point: Point) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """A closed form instead of a simulation."""
    latency_s = 1e-6 * point.batch * point.seq_len
    return {"latency_s": latency_s, "energy_j": 0.01 + latency_s**2, "bound": "memory"}, {}


def space(count: int) -> SweepSpec:
    """Return a sweep of `count` points; `count` is a multiple of 100."""
    for kind in ("models", "arch", "mapping"):
        Path(kind).mkdir()
        Path(kind, "one.yaml").write_text("name: one\n", encoding="utf-8")
    return SweepSpec.model_validate(
        {
            "name": "bench",
            "description": "Measures the runner.",
            "space": {
                "model": "one", "arch": "one", "mapping": "one",
                "batch": {"from": 1, "to": count // 100, "step": 1},
                "seq_len": {"from": 1, "to": 100, "step": 1},
            },
            "objectives": {"latency_s": "min", "energy_j": "min"},
        }
    )  # fmt: skip


def peak_rss_kib() -> int:
    """Return the peak memory of this process since it began to run this program, in KiB.

    `ru_maxrss` would count what the parent held when it forked.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        text = status.read_text(encoding="ascii")
        return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(count: int, jobs: int) -> dict[str, float]:
    """Run one sweep in this process; return points per second and peak memory."""
    from time import perf_counter, process_time

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        spec = space(count)
        began, cpu = perf_counter(), process_time()
        done = run(spec, jobs=jobs, quiet=True, evaluate_point=trivial)
        sweep_s, main_cpu_s = perf_counter() - began, process_time() - cpu
        peak = peak_rss_kib()
        began = perf_counter()
        run(spec, jobs=jobs, quiet=True, evaluate_point=trivial)
        resume_s = perf_counter() - began
        began = perf_counter()
        with Store(done.store, read_only=True) as store:
            rows = len(to_frame(store, keys(spec)))
        read_s = perf_counter() - began
        size_bytes = done.store.stat().st_size
        os.chdir("/")
    return {
        "points": rows,
        "sweep_s": sweep_s,
        "points_per_s": count / sweep_s,
        "main_cpu_us_per_point": 1e6 * main_cpu_s / count,
        "resume_points_per_s": count / resume_s,
        "frame_points_per_s": count / read_s,
        "peak_rss_mib": peak / 1024,
        "store_bytes_per_point": size_bytes / count,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure(options.one, options.jobs)))
        return
    table = []
    for count in options.sizes:
        command = [sys.executable, "-m", "benchmarks.bench_sweep", "--one", str(count)]
        done = subprocess.run(
            [*command, "--jobs", str(options.jobs)],
            cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        table.append(json.loads(done.stdout))
        row = table[-1]
        print(
            f"{count:>9,} points: {row['points_per_s']:>9,.0f} points/s,"
            f" {row['main_cpu_us_per_point']:.0f} µs CPU/point in the main process,"
            f" resumed {row['resume_points_per_s']:>9,.0f}/s,"
            f" read {row['frame_points_per_s']:>8,.0f}/s,"
            f" peak {row['peak_rss_mib']:.0f} MiB,"
            f" {row['store_bytes_per_point']:.0f} bytes/point"
        )
    if options.json:
        options.json.write_text(json.dumps({"jobs": options.jobs, "sizes": table}, indent=2))


if __name__ == "__main__":
    main()
