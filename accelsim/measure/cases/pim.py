"""Cycle counts of public processing-in-memory simulators, one figure per row.

AttAcc over Ramulator 2 (one HBM3 stack, and whole systems), NeuPIMs over NewtonSim (one decoder
layer), Samsung's PIMSimulator (kernels over 64 pseudo channels) and CENT (blocks on GDDR6-AiM).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from accelsim.cost import Work
from accelsim.measure.cases import _pim_cent, _pim_neupims, _pim_systems
from accelsim.measure.cases._case import Case
from accelsim.measure.cases._pim_parts import Answer, Row, memory, unit, whole

__all__ = ["COLUMNS", "NAME", "predict"]

NAME: Final = "cycles of PIM simulators"
"""What the format is called in reports."""

COLUMNS: Final = frozenset(
    {"tool", "level", "pim", "power_limited", "metric", "value", "sim_wall_s"}
)
"""Columns that identify the format."""

# AttAcc's placements of its units, with the power limit and without.
_ATTACC: Final = {
    ("bank", True): "hbm3_attacc_pim",
    ("bank", False): "hbm3_attacc_pim_unlimited",
    ("bg", True): "hbm3_attacc_pim_bank_group",
    ("bg", False): "hbm3_attacc_pim_bank_group_unlimited",
    ("buffer", True): "hbm3_attacc_pim_buffer",
    ("buffer", False): "hbm3_attacc_pim_buffer",  # the pins' pace is below either limit
}


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
        return _pim_neupims.answer(row, requests)
    if level == "gddr6_aim_decode":
        return _pim_cent.answer(row)
    if level == "e2e_decode":
        return _pim_systems.answer(row)
    return level, None, f"unknown level `{level}`"


def _attacc(row: Row) -> Answer:
    group = f"attacc {row['pim']}"
    name = _ATTACC.get((row["pim"], bool(whole(row["power_limited"]))))
    if name is None:
        return group, None, f"unknown placement `{row['pim']}`"
    heads, bits = whole(row["heads"]), 8 * whole(row["bytes_per_elem"])
    width = whole(row["d_head"])
    work = Work(
        "attention", heads=heads, kv_heads=heads, q_len=1, kv_len=whole(row["seq_len"]),
        head_dim=width, value_dim=width, bits_a=bits, bits_b=bits,
    )  # fmt: skip
    one_stack = memory("hbm3_attacc").model_copy(update={"stacks": 1})
    return group, unit(name).cycles([work], one_stack), ""


def _samsung(row: Row) -> Answer:
    outputs, dram = whole(row["out_dim"]), memory("hbm2_samsung")
    gemv = row["case_id"].startswith("samsung-gemv")
    if row["metric"] == "host_oracle_read_cycles":
        elements = outputs * whole(row["in_dim"]) if gemv else 3 * outputs
        return "samsung host read", dram.stream_cycles(2 * elements), ""
    units = unit("hbm2_samsung_pim")
    if not gemv:
        function = row["case_id"].split("-")[1]
        work = Work("elementwise", function, n=outputs)
        refusal = units.refusal(work)
        cycles = None if refusal else units.cycles([work], dram)
        return "samsung elementwise", cycles, refusal
    work = Work("matmul", m=1, n=outputs, k=whole(row["in_dim"]))
    return "samsung gemv", units.cycles([work], dram), ""
