"""Runs every benchmark: ``python -m benchmarks``."""

from __future__ import annotations

from benchmarks import (
    bench_dram,
    bench_engine,
    bench_nest,
    bench_parts,
    bench_pim,
    bench_points,
    bench_scratchpad,
    bench_sweep,
    bench_validation,
    bench_workloads,
)
from benchmarks.timing import report


def main() -> None:
    """Print all figures, benchmark by benchmark."""
    print("engines", flush=True)
    bench_engine.main([])
    print("\npoints, graph to result", flush=True)
    report(bench_points.run())
    print("\nparts", flush=True)
    report(bench_parts.run())
    print("\nmemories", flush=True)
    report(bench_dram.run())
    report(bench_pim.run())
    print("\nloop nests, in CPU seconds", flush=True)
    for row in bench_nest.run():
        print(f"{row.what:60}  {row.text}")
    print("\nscratchpads", flush=True)
    report(bench_scratchpad.run())
    print("\nworkloads", flush=True)
    report(bench_workloads.run())
    print("\nvalidation", flush=True)
    report(bench_validation.run())
    print("\nsweeps", flush=True)
    bench_sweep.main([])


if __name__ == "__main__":
    main()
