"""Times of measured collectives by the link that their devices are joined with."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from accelsim import arch as architectures
from accelsim.config import library, load_spec
from accelsim.cost.link import AlphaBetaLink
from accelsim.measure.gpus import architecture_name
from accelsim.measure.rows import library_of
from accelsim.measure.split import COLLECTIVES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["collective_s"]

_HOST_CLOCKS: Final = frozenset({"eager", "wallclock_sync"})
_PAIRS: Final = "pairwise NVLink"  # noted where cards are bridged two by two
_NODES: Final = "crosses nodes"


def collective_s(
    table: pd.DataFrame, gpu_name: str
) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """Return the time of every collective, s, and why one has none.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of one board whose operators are among `COLLECTIVES`.
    gpu_name : str
        The board.

    Returns
    -------
    seconds : ndarray of float64
        NaN where there is none.
    reasons : ndarray of str
        Empty where there is a time.

    Notes
    -----
    The link is that of the board's architecture; the all-reduce kernels of serving libraries have
    one of their own where it was measured.  Where cards are bridged in pairs, two use the bridge
    and more the bus.
    """
    seconds = np.full(len(table), np.nan)
    reasons: NDArray[np.object_] = np.full(len(table), "", dtype=object)
    empty = np.full(len(table), np.nan)
    told = [
        table[name].astype(str) if name in table else empty.astype(str)
        for name in ("op", "impl", "timing", "notes")
    ]
    sizes = (
        table[name].to_numpy(np.float64, na_value=np.nan) if name in table else empty
        for name in ("bytes", "n_devices")
    )
    for i, (op, impl, clock, notes, size, devices) in enumerate(zip(*told, *sizes, strict=True)):
        if clock in _HOST_CLOCKS:
            reasons[i] = "a collective launched eagerly: its clock holds the host"
        elif _NODES in notes:
            reasons[i] = "a collective between nodes: their network is not described"
        elif np.isnan(size) or np.isnan(devices):
            reasons[i] = "the row does not tell its sizes"
        else:
            link = _link(gpu_name, bool(library_of(impl)), _PAIRS in notes, int(devices))
            if link is None:
                reasons[i] = f"no link is described for {gpu_name}"
            else:
                seconds[i] = link.collective_ps(COLLECTIVES[op], int(size), int(devices)) * 1e-12
    return seconds, reasons


@cache
def _link(gpu_name: str, serving: bool, bridged: bool, devices: int) -> AlphaBetaLink | None:
    if bridged and devices == 2:
        return load_spec(library.find("arch", "components/nvlink3_bridge"), AlphaBetaLink)
    name = architecture_name(gpu_name)
    link = architectures.load(name).link if name else None
    if not isinstance(link, AlphaBetaLink):
        return None
    custom = "components/nvlink3_serving"
    if serving and link == load_spec(library.find("arch", "components/nvlink3"), AlphaBetaLink):
        return load_spec(library.find("arch", custom), AlphaBetaLink)
    return link
