"""How much of the avoidable DRAM traffic planning removes, and how long it takes, by network.

``python -m benchmarks.bench_scratchpad --figures`` prints the table of docs/scratchpad.md: sizes
of the scratchpad as in COSMA (arXiv 2311.18246), reductions against its kind of baselines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import mean

from accelsim.mapping.scratchpad import (
    Allocation,
    Problem,
    allocate,
    largest_footprint_bytes,
    lowest_peak,
    scratchpad_problem,
)
from accelsim.workload import Workload, forward, load_model, workload
from benchmarks.scratchpad_networks import CELLS, cell_network, densenet121
from benchmarks.timing import Timing, alone, measure

BASELINES = ("belady-online", "belady-online-low-peak", "belady", "belady-low-peak")
"""In the given order, and in that of lowest peak; addresses given as tensors come, and planned."""

TIME_LIMIT_S = 15.0


def model(name: str) -> Workload:
    """Return one pass of a library's network with a byte for each number."""
    changes = {"dtypes.activation": "int8", "dtypes.weight": "int8"}
    return workload(load_model(name, changes), forward(1, 128))


def searched(name: str) -> Workload:
    """Return a network of searched cells in the size of its repository's CIFAR-10 runs."""
    return cell_network(name, channels=36, layers=20, image=32, deep_stem=False)


DESIGNED: dict[str, Callable[[], Workload]] = {
    "resnet50": lambda: model("resnet50"),
    "resnext50": lambda: model("resnext50-32x4d"),
    "densenet121": densenet121,
    "vit-b16": lambda: model("vit-b16"),
    "bert-base": lambda: model("bert-base"),
    "mobilenetv2": lambda: model("mobilenetv2"),
    "efficientnet-b0": lambda: model("efficientnet-b0"),
}
SEARCHED: dict[str, Callable[[], Workload]] = {
    f"{name}, cifar": (lambda name=name: searched(name))
    for name in CELLS  # type: ignore[misc]
} | {f"{name}, imagenet": (lambda name=name: cell_network(name)) for name in CELLS}  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Row:
    """One network in one scratchpad: our plan, and the baselines'."""

    network: str
    weights: str
    size: str
    plan: Allocation
    baselines: dict[str, Allocation]

    def saved(self, baseline: str) -> float | None:
        """Share of the baseline's avoidable traffic that the plan does without."""
        before = self.baselines[baseline].noncompulsory_bytes
        return 1 - self.plan.noncompulsory_bytes / before if before else None


def sizes(problem: Problem) -> dict[str, int]:
    """Return COSMA's three sizes: of the largest operator, of no spill at all, their middle."""
    least, peak = largest_footprint_bytes(problem), lowest_peak(problem).peak_bytes
    found = {"M_R": least, "M_H": (least + peak) // 2, "M_P": peak}
    return {name: size for name, size in found.items() if name == "M_R" or size > least}


def rows(networks: dict[str, Callable[[], Workload]]) -> Iterator[Row]:
    """Plan every network with weights streamed past, and resident, at every size."""
    for name, build in networks.items():
        for weights in ("streamed", "resident"):
            problem = scratchpad_problem(build(), weights=weights)
            for size, capacity in sizes(problem).items():
                plan = allocate(problem, capacity, time_limit_s=TIME_LIMIT_S)
                others = {b: allocate(problem, capacity, method=b) for b in BASELINES}
                yield Row(name, weights, size, plan, others)


def print_figures() -> None:
    """Print a line per network and size, and the means over those with traffic to avoid."""
    for title, networks in (("designed by people", DESIGNED), ("searched", SEARCHED)):
        found = []
        print(f"\n{title}\nnetwork, weights, size, KiB | avoidable KiB: ours, {BASELINES} | proof")
        for row in rows(networks):
            found.append(row)
            plan, kib = row.plan, 1024
            others = " ".join(
                f"{row.baselines[b].noncompulsory_bytes / kib:9.1f}" for b in BASELINES
            )
            print(
                f"{row.network:22} {row.weights:8} {row.size} {plan.capacity_bytes / kib:9.1f} |"
                f" {plan.noncompulsory_bytes / kib:8.1f} {others} | {plan.status},"
                f" {plan.wall_s:.2f} s",
                flush=True,
            )
        _print_means(found)


def _print_means(found: list[Row]) -> None:
    """Print mean reductions by size and baseline, where the baseline has traffic to avoid."""
    for size in ("M_R", "M_H", "M_P"):
        for baseline in BASELINES:
            saved = [
                s for row in found if row.size == size and (s := row.saved(baseline)) is not None
            ]
            if saved:
                print(f"{size}, against {baseline}: {mean(saved):.1%} less in {len(saved)} cases")


def run(repeats: int = 9) -> dict[str, Timing]:
    """Return the timings by name."""
    dense = scratchpad_problem(densenet121())
    small = scratchpad_problem(model("resnet18"), weights="resident")
    cells = scratchpad_problem(searched("darts"))
    middle = sizes(dense)["M_H"]
    tight, least = largest_footprint_bytes(small), largest_footprint_bytes(cells)
    return {
        "scratchpad: densenet121, 184 operators, optimal": measure(
            lambda: allocate(dense, middle, method="exact"), repeats
        ),
        "scratchpad: resnet18 with weights, optimal": measure(
            lambda: allocate(small, tight, method="exact"), repeats
        ),
        "scratchpad: darts, 517 operators, belady": measure(
            lambda: allocate(cells, least, method="belady"), repeats
        ),
    }


if __name__ == "__main__":
    if "--figures" in sys.argv:
        print_figures()
    else:
        alone(run, __doc__)
