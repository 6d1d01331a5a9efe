"""SRAM figures from hwcomponents' CACTI, in place of the built-in model, where it is installed.

The package needs Python 3.12 or later and runs a CACTI binary of its own; it is imported only
when `sram_macro` is called, and whatever fails in it becomes one clear error.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from types import ModuleType
from typing import Final

from accelsim.cost._sram_model import SramFigures
from accelsim.errors import ConfigError

__all__ = ["sram_macro"]

_PACKAGE: Final = "hwcomponents_cacti"
_METRES_PER_NM: Final = 1e-9
_MM2_PER_M2: Final = 1e6
_PJ_PER_J: Final = 1e12


@lru_cache(maxsize=4096)
def sram_macro(
    capacity_bytes: float, access_bits: int, technology_nm: float, ports: int = 1
) -> SramFigures:
    """Return energy, area and leakage of an SRAM macro as hwcomponents-cacti has them.

    Parameters
    ----------
    capacity_bytes : float
        Capacity.
    access_bits : int
        Bits of a word.
    technology_nm : float
        Process node.
    ports : int
        Ports that read or write.

    Raises
    ------
    ConfigError
        If the package is not installed, or fails (its CACTI binary asks for a recent glibc).
    """
    package = _package()
    try:
        macro = package.SRAM(
            tech_node=technology_nm * _METRES_PER_NM,
            size=round(8 * capacity_bytes),
            width=access_bits,
            n_rw_ports=ports,
        )
        return SramFigures(
            read_pj=_PJ_PER_J * _energy_j(macro.read()),
            write_pj=_PJ_PER_J * _energy_j(macro.write()),
            area_mm2=_MM2_PER_M2 * float(macro.area),
            leakage_w=float(macro.leak_power),
        )
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"{_PACKAGE} gives no figures for {capacity_bytes:g} bytes in words of"
            f" {access_bits} bits at {technology_nm:g} nm: {first}",
            hint="use the built-in model (leave the adapter out), or give the published figures",
        ) from error


def _package() -> ModuleType:
    try:
        return importlib.import_module(_PACKAGE)
    except ImportError as error:
        raise ConfigError(
            f"{_PACKAGE} cannot be imported: {error}",
            hint="pip install hwcomponents-cacti (Python 3.12 on), or use the built-in model",
        ) from error


def _energy_j(cost: object) -> float:
    """Return an action's energy: a named field in new versions, the first of a pair in old."""
    energy = getattr(cost, "energy", None)
    return float(cost[0] if energy is None else energy)  # type: ignore[index]
