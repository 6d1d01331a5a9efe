"""Keys and values of NeuPIMs' request sets: each request's heads on its channel, banks in step."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Final

from accelsim.cost import Work
from accelsim.cost.dram import Dram
from accelsim.measure.cases._pim_parts import Answer, Row, memory, unit, whole

__all__ = ["answer"]

# Models of NeuPIMs' configs/model_configs/*.json: heads and width, each divided by tensor
# parallelism.
_MODELS: Final = {
    "gpt3-7B": (32, 4096),
    "gpt3-13B": (40, 5120),
    "gpt3-30B": (56, 7168),
    "gpt3-175B": (96, 12288),
}
_KEYS, _VALUES = _SIDES = ("NeuPIMSLogitSoftmax", "NeuPIMSAttend")
_GROUPS: Final = {
    "neupims": "",
    "neupims sub-batch-on": ", sub-batches",
    "npupim": ", one row buffer",
}


def answer(row: Row, requests: Sequence[Row]) -> Answer:
    """Return the busiest channel's cycles for the keys or the values of all requests.

    Parameters
    ----------
    row : mapping
    requests : sequence of mapping
        ``case_id``, ``seq_len``, ``channel`` of each request.
    """
    metric, subs = row["metric"], row["system"] == "neupims sub-batch-on"
    sides = tuple(name for name in _SIDES if metric.endswith(name))
    if metric == "stage:B" and not subs:
        sides = _SIDES
    if not sides:
        return "neupims layer", None, "matrix units and stages: needs a mapping, not one unit"
    group = {_SIDES: "stage B", _SIDES[:1]: "keys", _SIDES[1:]: "values"}[sides]
    group = f"neupims {group}{_GROUPS.get(row['system'], '')}"
    queues = _queues(row, requests)
    if not queues:
        return group, None, "request lengths stand in another file"
    if row["system"] not in _GROUPS:
        return group, None, f"unknown system `{row['system']}`"
    stage = ""
    if subs:
        stage = metric.split("_stage_")[1][0]
        queues = _sub_batches(queues)[stage in "CE"]
    return group, sum(_cycles(row, side, queues, stage) for side in sides), ""


def _cycles(row: Row, side: str, queues: Sequence[Sequence[int]], stage: str) -> float:
    """Return the busiest channel's cycles for one side of its requests.

    In stages C, D and E of sub-batches weights stream beside.  With one row buffer each head's
    results are written between the commands, row after row, to one channel after the other.
    """
    dram, units = memory("hbm2_neupims"), unit("hbm2_neupims_pim")
    channels, drains = dram.total_channels, 0
    works = {length: _work(row, side, length) for queue in queues for length in queue}
    if row["system"] == "npupim":
        dram, units = dram.model_copy(update={"row_buffers": 1}), unit("hbm2_neupims_pim_single")
        written = sum(_result_rows(works[n], dram) for queue in queues for n in queue)
        drains = written // channels
    one = dram.model_copy(update={"channels": 1})
    return max(
        units.cycles([works[n] for n in queue], one, beside_traffic=stage > "B", drains=drains)
        for queue in queues
        if queue
    )


def _result_rows(work: Work, dram: Dram) -> int:
    """Return the rows that the results of a product are written to, head by head."""
    return work.batch * ceil(work.n * work.bits_c / 8 / dram.row)


def _sub_batches(queues: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Return both halves of every channel's list; of odd lists the larger half takes turns."""
    first: list[list[int]] = []
    second: list[list[int]] = []
    larger_first = True
    for queue in queues:
        cut = len(queue) // 2
        if len(queue) % 2:
            cut += larger_first
            larger_first = not larger_first
        first.append(list(queue[:cut]))
        second.append(list(queue[cut:]))
    return first, second


def _work(row: Row, side: str, length: int) -> Work:
    """Return one request's product of a layer: all its heads on one channel."""
    model, parallel = row["model"].split(" tp")
    heads, width = (size // int(parallel) for size in _MODELS[model])
    head = width // heads
    function, n, k = ("score", length, head) if side == _KEYS else ("context", head, length)
    return Work("matmul", function, batch=heads, m=1, n=n, k=k, kv_heads=heads)


def _queues(row: Row, requests: Sequence[Row]) -> list[list[int]]:
    """Return the lengths that wait on each channel; none where they are not known."""
    queues: dict[int, list[int]] = {}
    for request in requests:
        if request["case_id"] == row["case_id"]:
            queues.setdefault(whole(request["channel"]), []).append(whole(request["seq_len"]))
    if queues or not row["seq_len"]:
        return [queues[channel] for channel in sorted(queues)]
    per_channel = -(-whole(row["batch"]) // memory("hbm2_neupims").total_channels)
    return [[whole(row["seq_len"])] * per_channel]
