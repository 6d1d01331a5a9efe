"""Finds the GPU component file of a board by the name that tables of measurements give it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from accelsim.config import Resolved, library, load_resolved, validate
from accelsim.cost.gpu import Gpu
from accelsim.errors import UnknownNameError

__all__ = ["board", "boards"]

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
