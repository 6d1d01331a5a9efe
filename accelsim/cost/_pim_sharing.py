"""What in-memory work and memory traffic of the same channel cost each other.

With one row buffer traffic waits and its writes come between the work's commands; with two it runs
beside, as far as it finds activates to open its rows with.
"""

from __future__ import annotations

from math import ceil

import numpy as np

from accelsim.cost._component import Work
from accelsim.cost._dram_requests import QUEUE
from accelsim.cost._pim_cycles import REPEAT, REST_MACS, ROWS, TILES, Passes
from accelsim.cost._pim_layout import products, vectors
from accelsim.cost.dram import Dram, DramTimings

__all__ = ["blocked_cycles", "row_visits", "written_rows"]


def written_rows(work: Work, row_bytes: float) -> int:
    """Return the rows that a work's results are written to, each vector's to rows of its own.

    Parameters
    ----------
    work : Work
    row_bytes : float
        Bytes of a row.

    Examples
    --------
    Scores of 8 heads over 600 tokens, 1,200 bytes each:

    >>> written_rows(Work("matmul", "score", batch=8, m=1, n=600, k=128, kv_heads=8), 1024)
    16
    """
    rows = 0
    for product in products(work):
        rows += product.matrices * vectors(work) * ceil(product.n * work.bits_c / 8 / row_bytes)
    return rows


def row_visits(placed: list[Passes]) -> int:
    """Return the rows that passes open on one channel, each as often as it is opened."""
    done = np.concatenate(placed)
    rows = done[:, ROWS] + (done[:, REST_MACS] > 0)
    return int((done[:, REPEAT] * done[:, TILES] * rows).sum())


def blocked_cycles(commands: int, dram: Dram, t: DramTimings) -> int:
    """Return how long a row visit keeps traffic beside it from reading.

    Parameters
    ----------
    commands : int
        Activate commands of the visit on a channel, shared out over its ranks.
    dram : Dram
    t : DramTimings

    Notes
    -----
    A command that opens banks of several rows uses up a rank's activates for tFAW, so that no
    row of the traffic opens from the first of them until tFAW after the last.  Meanwhile traffic
    reads from rows that are open already: at most what the controller looks ahead, `QUEUE`
    requests, a burst each.

    References
    ----------
    casys-kaist/NeuPIMs f299af3, ``extern/NewtonSim/src/timing.cc``: G_ACT to ACTIVATE of the same
    rank tFAW; ``configs/memory_configs/neupims.json``: 32 transactions.

    Examples
    --------
    NeuPIMs: 4 group activates a rank, 30 cycles each, beside 32 bursts of 2 cycles:

    >>> from accelsim.config import library, load_spec
    >>> memory = load_spec(library.find("arch", "components/hbm2_neupims"), Dram)
    >>> blocked_cycles(8, memory, memory.timings)
    56
    """
    window = ceil(commands / dram.ranks) * t.faw
    burst = ceil((dram.burst_length or 1) * dram.clock / dram.data_rate_hz)
    return max(0, window - QUEUE * max(burst, t.ccd_s))
