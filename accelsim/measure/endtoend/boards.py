"""Finds the architecture file of a board by the name that tables of measurements give it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from accelsim import arch as architectures
from accelsim.arch import ArchitectureSpec, main_memory
from accelsim.config import library
from accelsim.cost.gpu import Gpu
from accelsim.measure.endtoend.launch import ATTENTION, LAUNCH
from accelsim.measure.predict import campaigns
from accelsim.measure.shipped import file_of

__all__ = ["SESSIONS", "architecture_name", "architecture_of", "gpu_unit"]

SESSIONS: Final[Mapping[tuple[str, str], float]] = {("T4", "neusight"): 1.23}
"""(Board, campaign) -> speed of products in the run of the whole models, over the run in which the
campaign's scalars were measured, where power and not the boost clock decides.

NeuSight measured products on T4 (70 W) in two runs: 4,095 rows noted ``train``, on which the
scalars are fitted, reach 38 % of the peak, 997 rows noted ``test`` 48 %, at equal alignment, and
the models' own products as much.  The figure is the median of predicted over measured of the
``test`` products above 4 GFLOP (batched ones give 1.22); no whole model entered it."""


def gpu_unit(architecture: ArchitectureSpec) -> tuple[str, Gpu] | None:
    """Return name and description of an architecture's GPU; None where it has none."""
    for name, unit in architecture.device.units.items():
        if isinstance(unit, Gpu):
            return name, unit
    return None


@cache
def _known() -> Mapping[str, tuple[Gpu, float]]:
    """Return architecture name -> its GPU and memory bandwidth, of the shipped GPU files."""
    found: dict[str, tuple[Gpu, float]] = {}
    for path in sorted((library.library_root() / "arch" / "gpu").glob("*.yaml")):
        loaded = architectures.load(path.stem)
        unit = gpu_unit(loaded)
        if unit is not None:
            found[path.stem] = (unit[1], main_memory(loaded).peak_bandwidth())
    return found


@cache
def architecture_name(board: str) -> str:
    """Return the architecture of a board; empty where none is shipped.

    Of several architectures with the board's GPU the one of its name is taken, else the one with
    the memory bandwidth of the board.

    Examples
    --------
    >>> architecture_name("A100-SXM4-80GB"), architecture_name("abacus")
    ('a100-80gb', '')
    """
    plain = _plain(board)
    alike = {
        name: abs(bandwidth / gpu.boards[board].bandwidth_bytes_per_s - 1)
        for name, (gpu, bandwidth) in _known().items()
        if board in gpu.boards
    }
    same = [name for name in alike if _plain(name) == plain]
    if same:
        return same[0]
    close = {name: off for name, off in alike.items() if off < 0.01}
    return min(close, key=lambda name: (close[name], name)) if close else ""


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


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
            reached = known.simt.compute_efficiency * SESSIONS[board, campaign]
            changes[f"{at}.calibration.simt.compute_efficiency"] = reached
        if ATTENTION[attention] != 1:
            first, scalars = next(iter(known.libraries.items()))
            reached = scalars.prefill.compute_efficiency * ATTENTION[attention]
            name_of = f"{at}.calibration.libraries.{first}.prefill.compute_efficiency"
            changes[name_of] = reached
    return architectures.load(name, changes)
