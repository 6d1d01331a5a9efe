"""NeuPIMs' runs of one decoder layer: a row becomes requests on channels and stages of two sides.

Without sub-batches arrays and banks take turns; with them one sub-batch is on the arrays while the
other is in memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from accelsim.cost import Work
from accelsim.cost.dram import Dram
from accelsim.cost.pim_bank import Cycles, PimBank
from accelsim.measure.cases._pim_layer import OPERATORS, Phase, Timing, operators, run
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
_SIDES: Final = {"attn.NeuPIMSLogitSoftmax": "keys", "attn.NeuPIMSAttend": "values"}
_PRODUCTS: Final = ("attn.QKVgen", "attn.proj", "ffn.fc1", "ffn.fc2")
_INTERLEAVED: Final = "neupims sub-batch-on"
_BLOCKED: Final = "npupim"
_SUFFIX: Final = {"neupims": "", _INTERLEAVED: ", sub-batches", _BLOCKED: ", one row buffer"}
_FIGURE: Final = re.compile(r"(?:stage:|op:(?:SA|PIM)_stage_)([A-F])(?:/(.+))?")

Queues = Sequence[Sequence[int]]
"""Lengths of the requests on each channel."""
Stages = Mapping[str, tuple[int | None, int | None]]
"""Stage -> which sub-batch is on the arrays, and which in memory; ``src/StageProgram.cc``."""
_IN_TURN: Final[Stages] = {"A": (0, None), "B": (None, 0), "E": (0, None)}
_SIDE_BY_SIDE: Final[Stages] = {
    "A": (0, None), "B": (1, 0), "C": (0, 1), "D": (1, 0), "E": (0, 1), "F": (1, None),
}  # fmt: skip


def answer(row: Row, requests: Sequence[Row]) -> Answer:
    """Return the cycles of one side of attention, of an operator, a stage or the layer.

    Parameters
    ----------
    row : mapping
    requests : sequence of mapping
        ``case_id``, ``seq_len``, ``channel`` of each request.
    """
    system = row["system"]
    if system not in _SUFFIX:
        return "neupims", None, f"unknown system `{system}`"
    table = _SIDE_BY_SIDE if system == _INTERLEAVED else _IN_TURN
    kind, stages, name = _figure(row["metric"], table)
    if not kind:
        return "neupims", None, f"unknown figure `{row['metric']}`"
    group = f"neupims {kind}{_SUFFIX[system]}"
    if row["model"].split(" tp")[0] not in _MODELS:
        return group, None, f"unknown model `{row['model']}`"
    queues = _queues(row, requests)
    if not queues:
        return group, None, "request lengths stand in another file"
    batches = _sub_batches(queues) if system == _INTERLEAVED else (queues,)
    if name in _SIDES:
        held = batches[table[stages][1] or 0]
        return group, float(_cycles(row, name, held, stages).max()), ""
    timings = [_stage(row, batches, table, stage) for stage in stages]
    if name:
        return group, timings[0].operators[name], ""
    return group, sum(timing.stage for timing in timings), ""


def _figure(metric: str, table: Stages) -> tuple[str, str, str]:
    """Return a figure's kind, its stages, and its operator; no kind where it is unknown."""
    if metric == "layer_time":
        return "layer", "CD" if "C" in table else "ABE", ""
    if metric == "all_stages_sum":
        return "layer", "".join(table), ""
    found = _FIGURE.fullmatch(metric)
    if found is None or found[1] not in table:
        return "", "", ""
    stage, name = found[1], found[2] or ""
    arrays, banks = table[stage]
    if not name:
        return f"stage {stage}", stage, ""
    if name in _SIDES and banks is not None:
        return _SIDES[name], stage, name
    if arrays is not None and name in OPERATORS[stage]:
        return "products" if name in _PRODUCTS else "vectors", stage, name
    return "", "", ""


def _stage(row: Row, batches: Sequence[Queues], table: Stages, stage: str) -> Timing:
    """Return the cycles of a stage: its operators one by one, its attention beside them."""
    arrays, banks = table[stage]
    beside = arrays is not None
    phases = []
    if banks is not None:
        phases = [_phase(row, side, batches[banks], stage, beside) for side in _SIDES]
    tokens = sum(len(queue) for queue in batches[arrays]) if arrays is not None else 0
    model, parallel = row["model"].split(" tp")
    every = operators(_MODELS[model][1], whole(parallel))
    names = OPERATORS[stage] if beside else ()
    return run(names, every, tokens, phases, memory("hbm2_neupims"))


def _phase(row: Row, side: str, queues: Queues, stage: str, beside: bool) -> Phase:
    """Return the busiest channel's cycles for one side of its requests, and what it takes.

    Traffic `beside` finds fewer activates while it lasts; streams go over all channels, so the
    busiest tells.
    """
    dram, units = _banks(row)
    cycles = _cycles(row, side, queues, stage)
    longest = float(cycles.max())
    if not beside:
        return Phase(longest, 0.0)
    works = [_work(row, side, length) for length in queues[int(cycles.argmax())]]
    return Phase(longest, units.traffic_share(works, dram, longest))


def _cycles(row: Row, side: str, queues: Queues, stage: str) -> Cycles:
    """Return each channel's cycles for one side of its requests.

    In stages C, D and E of sub-batches weights stream beside.  With one row buffer the results of
    all channels are written between the commands.
    """
    dram, units = _banks(row)
    drains = 0
    if dram.row_buffers == 1:
        lengths = [length for queue in queues for length in queue]
        drains = units.drains([_work(row, side, length) for length in lengths], dram)
    beside = stage > "B"
    work = _work(row, side, 1)
    return units.queues_cycles(work, queues, dram, beside_traffic=beside, drains=drains)


def _banks(row: Row) -> tuple[Dram, PimBank]:
    """Return the memory and the units of a row's system."""
    if row["system"] == _BLOCKED:
        return _blocked_memory(), unit("hbm2_neupims_pim_single")
    return memory("hbm2_neupims"), unit("hbm2_neupims_pim")


@cache
def _blocked_memory() -> Dram:
    return memory("hbm2_neupims").model_copy(update={"row_buffers": 1})


def _sub_batches(queues: Queues) -> tuple[Queues, Queues]:
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
    keys = _SIDES[side] == "keys"
    function, n, k = ("score", length, head) if keys else ("context", head, length)
    return Work("matmul", function, batch=heads, m=1, n=n, k=k, kv_heads=heads)


def _queues(row: Row, requests: Sequence[Row]) -> Queues:
    """Return the lengths that wait on each channel; none where they are not known."""
    queues: dict[int, list[int]] = {}
    for request in requests:
        if request["case_id"] == row["case_id"]:
            queues.setdefault(whole(request["channel"]), []).append(whole(request["seq_len"]))
    if queues or not row["seq_len"] or not row["batch"]:
        return [queues[channel] for channel in sorted(queues)]
    batch, channels = whole(row["batch"]), memory("hbm2_neupims").total_channels
    share = [len(range(first, batch, channels)) for first in range(min(batch, channels))]
    return [[whole(row["seq_len"])] * count for count in share]
