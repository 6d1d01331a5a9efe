"""The memories and units of the PIM cases, loaded once, and how their rows read numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from accelsim.config import library, load_spec
from accelsim.cost.dram import Dram
from accelsim.cost.pim_bank import PimBank

__all__ = ["Answer", "Row", "memory", "unit", "whole"]

Answer = tuple[str, float | None, str]
"""Group, prediction, and why there is none."""
Row = Mapping[str, str]


def whole(text: str) -> int:
    """Return a whole number that may be written as a decimal."""
    return int(text) if text.isdecimal() else int(float(text))


@cache
def memory(name: str) -> Dram:
    """Return a shipped memory by the name of its fragment."""
    return load_spec(library.find("arch", f"components/{name}"), Dram)


@cache
def unit(name: str) -> PimBank:
    """Return shipped units by the name of their fragment."""
    return load_spec(library.find("arch", f"components/{name}"), PimBank)
