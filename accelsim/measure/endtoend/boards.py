"""Finds the architecture file of a board by the name that tables of measurements give it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from accelsim import arch as architectures
from accelsim.arch import ArchitectureSpec
from accelsim.measure.endtoend.launch import ATTENTION, LAUNCH
from accelsim.measure.gpus import architecture_name, gpu_unit
from accelsim.measure.predict import campaigns
from accelsim.measure.shipped import file_of

__all__ = ["SESSIONS", "architecture_of"]

SESSIONS: Final[Mapping[tuple[str, str], float]] = {("T4", "neusight"): 1.23}
"""(Board, campaign) -> speed of products in the run of the whole models, over the run in which the
campaign's scalars were measured, where power and not the boost clock decides.

NeuSight measured products on T4 (70 W) in two runs: 4,095 rows noted ``train``, on which the
scalars are fitted, reach 38 % of the peak, 997 rows noted ``test`` 48 %, at equal alignment, and
the models' own products as much.  The figure is the median of predicted over measured of the
``test`` products above 4 GFLOP (batched ones give 1.22); no whole model entered it."""


@cache
def architecture_of(
    board: str, devices: int, launch: str, campaign: str = "", attention: str = "flash-2",
    inside: float = 0.0,
) -> ArchitectureSpec:  # fmt: skip
    """Return the architecture of a board with so many devices and a way of launching.

    Parameters
    ----------
    board : str
        One for which `architecture_name` has an answer.
    devices : int
        Devices that take part; at least as many as the file has are kept.
    launch : str
        A key of `LAUNCH`.
    campaign : str, optional
        Who measured: the GPU takes that campaign's scalars where it measured the board.
    attention : str, optional
        A key of `ATTENTION`.
    inside : float, optional
        Share of the kernels that library calls start beside their main one: the host spends the
        architecture's own gap on such a one.
    """
    name, how = architecture_name(board), LAUNCH[launch]
    base = architectures.load(name)
    unit = gpu_unit(base)
    changes: dict[str, object] = {"devices": max(devices, base.devices)}
    if unit is not None:
        at = f"device.units.{unit[0]}"
        changes[f"{at}.launch"] = how.mode
        if how.host_s is not None:
            own = unit[1].launch_s[how.mode]
            changes[f"{at}.launch_s.{how.mode}"] = how.host_s * (1 - inside) + own * inside
        if (board, campaign) in campaigns():
            file = file_of(board, campaign).removesuffix(".yaml")
            changes[f"{at}.calibration.extends"] = f"components/{file}"
        known = campaigns().get((board, campaign), unit[1].calibration)
        if (board, campaign) in SESSIONS:
            faster, share = SESSIONS[board, campaign], known.simt.compute_efficiency
            reached = min(1.0, faster * share)
            clock = min(1.0, known.simt.sustained_clock * faster * share / reached)
            changes[f"{at}.calibration.simt.compute_efficiency"] = reached
            changes[f"{at}.calibration.simt.sustained_clock"] = clock
        if ATTENTION[attention] != 1:
            first, scalars = next(iter(known.libraries.items()))
            reached = scalars.prefill.compute_efficiency * ATTENTION[attention]
            name_of = f"{at}.calibration.libraries.{first}.prefill.compute_efficiency"
            changes[name_of] = reached
    return architectures.load(name, changes)
