"""What is counted, and what is left out: one set of rules each for accelsim and other tools.

Tools differ less in their equations than in what they leave out; a rule set names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from accelsim.errors import ConfigError, nearest

__all__ = ["ACCOUNTINGS", "Accounting", "accounting"]


@dataclass(frozen=True, slots=True)
class Accounting:
    """Rules of counting.

    Attributes
    ----------
    timing : {"pipelined", "overlapped"}
        ``pipelined``: each level fills, computes and drains tile by tile, overlapped only where it
        is double buffered; waves cross systolic fan-outs.  ``overlapped``: the busiest port or
        the array decides, and nothing is ever waited for.
    drain_reads : bool
        A memory reads a result to send it outwards, at its energy and bandwidth.
    windows : bool
        Where a tile slides by less than its side at each step of the innermost loop outside a
        memory, only the new part is brought; instances of one fan-out whose tiles are equal
        because the windows of neighbours meet are served by one read.  The mapper ranks the
        nests that remain by it, but prunes without.
    partials_to_all : bool
        Partial sums that come back are written into every instance that adds to them, rather
        than into one of them.
    """

    timing: Literal["pipelined", "overlapped"] = "pipelined"
    drain_reads: bool = True
    windows: bool = False
    partials_to_all: bool = False


ACCOUNTINGS: Final = {
    "accelsim": Accounting(),
    "timeloop": Accounting("overlapped", drain_reads=False, windows=True, partials_to_all=True),
    "accelforge": Accounting("overlapped", drain_reads=True),
}
"""Rule sets by name: accelsim's own, and those of tools whose figures we compare with."""


def accounting(name: str) -> Accounting:
    """Return a rule set by name.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in ACCOUNTINGS:
        raise ConfigError(f"no accounting `{name}`; {nearest(name, ACCOUNTINGS)}")
    return ACCOUNTINGS[name]
