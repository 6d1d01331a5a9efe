"""Reference rows of networks for images, for the tests of their families."""

from __future__ import annotations

import csv

from accelsim.workload import (
    Dtypes,
    Extent,
    Workload,
    flop_split,
    forward,
    load_model,
    model_names,
    validate,
    workload,
)
from tests.reference import reference_file


def model_of(name: str, batch: int, height: int, width: int) -> Workload:
    """Return a library model's pass over images."""
    phase = forward(batch, extent=Extent(height, width))
    return validate(workload(name, phase, dtypes=Dtypes()))


def counted(graph: Workload) -> tuple[int, int]:
    """Return parameters and FLOPs."""
    return graph.parameters, sum(flop_split(graph).values())


def wrong_rows(family: str) -> tuple[list[str], set[str]]:
    """Return figures of the reference that a family misses, and the models compared."""
    with reference_file("workload_golden.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(line for line in file if not line.startswith("#")))
    names = {name for name in model_names() if load_model(name).family == family}
    wrong, seen = [], set[str]()
    for row in table:
        if row["model"] not in names:
            continue
        height, width = (int(part) for part in row["shape"].split("x"))
        graph = model_of(row["model"], int(row["batch"]), height, width)
        split = flop_split(graph)
        got = {
            "params": graph.parameters,
            "params_active": graph.active_parameters,
            "flops_total": sum(split.values()),
            "flops_linear": split.get("linear", 0),
            "flops_attn": split.get("attention", 0),
            "flops_conv": split.get("conv", 0),
        }
        wrong += [
            f"{row['id']} {k}: {v}, not {row[k]}" for k, v in got.items() if v != int(row[k])
        ]
        seen.add(row["model"])
    return wrong, seen
