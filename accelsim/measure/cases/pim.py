"""Cycle counts of public processing-in-memory simulators, one figure per row.

AttAcc over Ramulator 2 (one HBM3 stack), NeuPIMs over NewtonSim (one decoder layer) and Samsung's
PIMSimulator (kernels over 64 pseudo channels); rows of CENT and of whole systems come along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from accelsim.config import library, load_spec
from accelsim.cost import Work
from accelsim.cost.dram import Dram
from accelsim.cost.pim_bank import PimBank
from accelsim.measure.cases._case import Case

__all__ = ["COLUMNS", "NAME", "predict"]

NAME: Final = "cycles of PIM simulators"
"""What the format is called in reports."""

COLUMNS: Final = frozenset(
    {"tool", "level", "pim", "power_limited", "metric", "value", "sim_wall_s"}
)
"""Columns that identify the format."""

Answer = tuple[str, float | None, str]
"""Group, prediction, and why there is none."""
Row = Mapping[str, str]

# Models of NeuPIMs' configs/model_configs/*.json: heads and width, each divided by tensor
# parallelism.
_NEUPIMS_MODELS: Final = {
    "gpt3-7B": (32, 4096),
    "gpt3-13B": (40, 5120),
    "gpt3-30B": (56, 7168),
    "gpt3-175B": (96, 12288),
}
_KEYS, _VALUES = "NeuPIMSLogitSoftmax", "NeuPIMSAttend"


def companion(path: Path) -> Path:
    """Return the file beside `path` that lists the requests of each case."""
    return path.with_name(path.name.replace(".csv", "_requests.csv", 1))


def predict(rows: Sequence[dict[str, str]], requests: Sequence[dict[str, str]] = ()) -> list[Case]:
    """Return one case per row.

    Parameters
    ----------
    rows : sequence of dict
        Column -> text, at least `COLUMNS`.
    requests : sequence of dict, optional
        The companion list of NeuPIMs requests: ``case_id``, ``seq_len``, ``channel``.  Without it
        cases of mixed lengths have no prediction.
    """
    found = []
    for row in rows:
        group, predicted, reason = _answer(row, requests)
        name = f"{row['case_id']} {row['metric']}"
        metric = f"{row['metric']} [{row.get('unit', '')}]"
        found.append(Case(name, group, metric, float(row["value"]), predicted, reason))
    return found


def _answer(row: Row, requests: Sequence[Row]) -> Answer:
    level = row["level"]
    if level == "attention_gemv_one_hbm":
        return _attacc(row)
    if level == "kernel_64ch":
        return _samsung(row)
    if level == "one_decoder_layer_generation":
        return _neupims(row, requests)
    reasons = {
        "e2e_decode": ("attacc system", "a whole system: needs a mapping, not one unit"),
        "gddr6_aim_decode": ("cent", "GDDR6-AiM banks are not described yet"),
    }
    group, reason = reasons.get(level, (level, f"unknown level `{level}`"))
    return group, None, reason


def _attacc(row: Row) -> Answer:
    group = f"attacc {row['pim']}"
    if row["pim"] != "bank":
        return group, None, f"units at the {row['pim']} level are not modelled yet"
    heads, bits = _whole(row["heads"]), 8 * _whole(row["bytes_per_elem"])
    width = _whole(row["d_head"])
    work = Work(
        "attention", heads=heads, kv_heads=heads, q_len=1, kv_len=_whole(row["seq_len"]),
        head_dim=width, value_dim=width, bits_a=bits, bits_b=bits,
    )  # fmt: skip
    name = "hbm3_attacc_pim" if _whole(row["power_limited"]) else "hbm3_attacc_pim_unlimited"
    one_stack = _dram("hbm3_attacc").model_copy(update={"stacks": 1})
    return group, _unit(name).cycles([work], one_stack), ""


def _samsung(row: Row) -> Answer:
    outputs, memory = _whole(row["out_dim"]), _dram("hbm2_samsung")
    gemv = row["case_id"].startswith("samsung-gemv")
    if row["metric"] == "host_oracle_read_cycles":
        elements = outputs * _whole(row["in_dim"]) if gemv else 3 * outputs
        return "samsung host read", memory.stream_cycles(2 * elements), ""
    if not gemv:
        return "samsung elementwise", None, "elementwise kernels in the banks are not modelled"
    work = Work("matmul", m=1, n=outputs, k=_whole(row["in_dim"]))
    return "samsung gemv", _unit("hbm2_samsung_pim").cycles([work], memory), ""


def _neupims(row: Row, requests: Sequence[Row]) -> Answer:
    metric = row["metric"]
    side = next((name for name in (_KEYS, _VALUES) if metric.endswith(name)), "")
    if not side:
        return "neupims layer", None, "matrix units and stages: needs a mapping, not one unit"
    group = f"neupims {'keys' if side == _KEYS else 'values'}"
    if row["system"] != "neupims":
        reasons = {
            "npupim": "single commands between memory traffic (one row buffer) are not modelled",
            "neupims sub-batch-on": "which requests a sub-batch holds is not in the data",
        }
        return group, None, reasons.get(row["system"], f"unknown system `{row['system']}`")
    lengths = _lengths(row, requests)
    if not lengths:
        return group, None, "request lengths stand in another file"
    memory, unit = _dram("hbm2_neupims").model_copy(update={"channels": 1}), "hbm2_neupims_pim"
    works = {length: _neupims_work(row, side, length) for queue in lengths for length in queue}
    busiest = max(_unit(unit).cycles([works[n] for n in queue], memory) for queue in lengths)
    return group, busiest, ""


def _neupims_work(row: Row, side: str, length: int) -> Work:
    """Return one request's product of a layer: all its heads on one channel."""
    model, parallel = row["model"].split(" tp")
    heads, width = (size // int(parallel) for size in _NEUPIMS_MODELS[model])
    head = width // heads
    function, n, k = ("score", length, head) if side == _KEYS else ("context", head, length)
    return Work("matmul", function, batch=heads, m=1, n=n, k=k, kv_heads=heads)


def _lengths(row: Row, requests: Sequence[Row]) -> list[list[int]]:
    """Return the lengths that wait on each channel; none where they are not known."""
    queues: dict[str, list[int]] = {}
    for request in requests:
        if request["case_id"] == row["case_id"]:
            queues.setdefault(request["channel"], []).append(_whole(request["seq_len"]))
    if queues or not row["seq_len"]:
        return list(queues.values())
    per_channel = -(-_whole(row["batch"]) // _dram("hbm2_neupims").total_channels)
    return [[_whole(row["seq_len"])] * per_channel]


def _whole(text: str) -> int:
    return int(float(text))


@cache
def _dram(name: str) -> Dram:
    return load_spec(library.find("arch", f"components/{name}"), Dram)


@cache
def _unit(name: str) -> PimBank:
    return load_spec(library.find("arch", f"components/{name}"), PimBank)
