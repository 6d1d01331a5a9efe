"""Finds component and architecture of a board by the name that tables of measurements give it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from accelsim import arch as architectures
from accelsim.arch import ArchitectureSpec, main_memory
from accelsim.config import Resolved, library, load_resolved, validate
from accelsim.cost.gpu import Gpu
from accelsim.errors import UnknownNameError

__all__ = ["architecture_name", "board", "boards", "gpu_unit"]

_ABSENT: Final[Mapping[str, Any]] = {"memory": "main"}  # which the architecture names


@cache
def boards() -> Mapping[str, Path]:
    """Return board name -> file of the shipped component that lists it.

    Examples
    --------
    >>> boards()["A40"].name
    'gpu_a40.yaml'
    """
    found: dict[str, Path] = {}
    for path in sorted((library.library_root() / "arch" / "components").glob("gpu_*.yaml")):
        for name in load_resolved(path).data.get("boards", {}):
            found[name] = path
    return found


@cache
def board(name: str) -> tuple[Gpu, float]:
    """Return a board's GPU and its datasheet memory bandwidth in byte/s.

    Raises
    ------
    UnknownNameError
        If no component file lists the board.

    Examples
    --------
    >>> gpu, bandwidth = board("A100-PCIe-80GB")
    >>> gpu.sms, bandwidth
    (108, 1935000000000.0)
    """
    known = boards()
    if name not in known:
        raise UnknownNameError("board", name, known)
    resolved = load_resolved(known[name])
    whole = Resolved(resolved.tree, {**_ABSENT, **resolved.data})
    gpu = validate(whole, Gpu)
    one = gpu.boards[name]
    return gpu.model_copy(update={"power_w": one.power_w}), one.bandwidth_bytes_per_s


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
