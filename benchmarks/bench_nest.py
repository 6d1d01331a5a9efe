"""How fast loop nests are evaluated and searched, on one core, beside what other tools take.

``python -m benchmarks.bench_nest [--json FILE] [--page FILE]``.  CPU seconds of this process, warm
kernels, nothing remembered between searches; the others' figures were measured on a shared machine
of 2 cores as CPU seconds too (AccelForge 1.0.467, ZigZag 3.9.1; Timeloop's is published).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import process_time

from accelsim import arch, mapping
from accelsim.cost import Work
from accelsim.mapping.nests import MappedNest, map_product
from accelsim.nest import Hierarchy, Problem, accounting, evaluate_many
from accelsim.nest.evaluate import Batch, pack
from accelsim.nest.mapper.search import Found, Objective, search
from benchmarks.timing import Timing

__all__ = ["Row", "product", "run"]

DEVICE = "tpuv4i-accelforge"
NESTS = 50_000
RULES = accounting("accelforge")


@dataclass(frozen=True)
class Row:
    """One figure: what, ours as median and range, the bar, and what others take."""

    what: str
    ours: Timing
    unit: str
    scale: float
    bar: str
    others: str
    note: str = ""

    @property
    def text(self) -> str:
        """Ours in its unit: median (lowest to highest)."""
        low, high = sorted((self.scaled(self.ours.min_s), self.scaled(self.ours.max_s)))
        return f"{self.scaled(self.ours.median_s):.3g} ({low:.3g} to {high:.3g}) {self.unit}"

    def scaled(self, seconds: float) -> float:
        """Return a time, or for a negative scale a rate, in the row's unit."""
        return seconds * self.scale if self.scale > 0 else -self.scale / seconds


def cpu(function: Callable[[], object], repeats: int) -> Timing:
    """Return the CPU seconds of a call; the first, which compiles, does not count."""
    function()
    spent = []
    for _ in range(repeats):
        began = process_time()
        function()
        spent.append(process_time() - began)
    return Timing(median(spent), min(spent), max(spent), repeats)


def product(design: str, size: tuple[int, int, int]) -> MappedNest:
    """Return a product of int8 on a design of the library, with its fastest nest."""
    m, n, k = size
    work = Work("matmul", dtype="int8", m=m, n=n, k=k, bits_a=8, bits_b=8, bits_c=8)
    return map_product(work, arch.load(design), mapping.load("nests-fastest"))


def run(repeats: int = 7) -> list[Row]:
    """Return all figures."""
    mapped = product(DEVICE, (4096, 4096, 4096))
    problem, hierarchy = mapped.problem, mapped.hierarchy
    found = search(problem, hierarchy, "energy", rules=RULES)
    one = pack(problem, [found.nest])
    many = Batch(*(column.repeat(NESTS, axis=0) for column in (one.factor, one.order, one.keep)))
    rows = [
        Row("the same, from loops as objects into the arrays of a batch",
            cpu(lambda: pack(problem, [found.nest] * 1000), repeats),
            "us", 1e3, "-", "-")
    ]  # fmt: skip
    for rules in ("accelforge", "accelsim"):
        timing = cpu(
            lambda r=rules: evaluate_many(problem, hierarchy, many, accounting(r)), repeats
        )
        rows.append(
            Row(f"evaluate a given mapping, in a batch, rules of {rules}", timing, "us",
                1e6 / NESTS, "<= 20 us", "AccelForge 51,000 to 71,000; ZigZag 3,500")
        )  # fmt: skip
    for objective in ("energy", "edp", "latency"):
        rows += searched(problem, hierarchy, objective, repeats)
    return rows


def searched(
    problem: Problem, hierarchy: Hierarchy, objective: Objective, repeats: int
) -> list[Row]:
    """Return time and rate of a search, anew each time."""
    last: list[Found] = []

    def call() -> None:
        last[:] = [search(problem, hierarchy, objective, rules=RULES)]

    timing = cpu(call, repeats)
    found = last[0]
    energy = objective == "energy"
    return [
        Row(
            f"search GEMM 4096^3, least {objective}", timing, "CPU s", 1.0,
            "<= 0.3 CPU s" if energy else "-", "AccelForge 2.8 to 7.4" if energy else "-",
            f"{found.figures.energy_pj * 1e-12:.8f} J, {found.figures.latency_s:.6e} s,"
            f" gap {found.gap:.1g}",
        ),
        Row(
            f"partial mappings priced per second, least {objective}", timing, "M/s",
            -found.tried / 1e6, ">= 2 M/s",
            "AccelForge 0.005 to 0.067; Timeloop 0.0015; ZigZag 0.0003",
            f"{found.tried:,} priced",
        ),
    ]  # fmt: skip


def page(rows: list[Row]) -> str:
    """Return the figures as a page."""
    lines = [
        "# Speed of loop nests", "",
        "`python -m benchmarks.bench_nest --page reports/accuracy/nest_speed.md`: CPU",
        "seconds of all threads, median (lowest to highest); kernels warm, nothing remembered",
        "between searches. Two shared cores; the others' figures are of the same kind of machine.",
        "",
        "| what | ours | bar | others | |", "| --- | --- | --- | --- | --- |",
        *(f"| {r.what} | {r.text} | {r.bar} | {r.others} | {r.note} |" for r in rows), "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", help="also write the timings to this file")
    parser.add_argument("--page", help="also write a page to this file")
    options = parser.parse_args()
    rows = run(options.repeats)
    for row in rows:
        print(f"{row.what:60}  {row.text}   {row.note}")
    if options.json:
        plain = {row.what: asdict(row.ours) for row in rows}
        Path(options.json).write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    if options.page:
        Path(options.page).write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
