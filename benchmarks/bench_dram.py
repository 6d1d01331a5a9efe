"""How fast a DRAM channel is simulated command by command, and answered in closed form, warm.

``python -m benchmarks.bench_dram [--json FILE]``.  Bar: 10 million commands a second.
"""

from __future__ import annotations

import numpy as np

from accelsim.config import library, load_spec
from accelsim.cost._dram_access import requests, share
from accelsim.cost._dram_commands import ACT, MAC, ONE, PRE, RANK, RD, commands, issue
from accelsim.cost._dram_requests import serve
from accelsim.cost._dram_state import packed
from accelsim.cost.dram import Access, Dram
from benchmarks.timing import Timing, alone, measure

TIMES = 1_000
ROWS = 10_000
BURSTS = 200_000


def programs() -> dict[str, tuple[int, int]]:
    """Return operation and scope of the column commands of each benchmarked program."""
    return {"reads of one bank": (RD, ONE), "MACs of all banks": (MAC, RANK)}


def run(repeats: int = 9) -> dict[str, Timing]:
    """Return the timings by name, which ends with the rate."""
    spec = load_spec(library.find("arch", "components/dram_hbm3"), Dram)
    channel = spec.channel(mac=4)
    timings: dict[str, Timing] = {}
    for name, (op, scope) in programs().items():
        visit = commands((ACT, scope, 0), *[(op, scope, 0)] * 32, (PRE, scope, 0))
        program = np.tile(visit, (ROWS, 1))

        timing = measure(lambda p=program: issue(channel, p), repeats)  # type: ignore[misc]
        timings[_rated(f"program, {name}", timing, len(program))] = timing
    size = BURSTS * spec.burst_bytes * spec.total_channels * spec.pseudo_channels
    for access in (Access(size), Access(size // 4, "random")):
        buses = spec.total_channels * spec.pseudo_channels
        part = share(access, buses, spec.burst_bytes, int(spec.row))
        found = requests(packed(channel), access, part, 2**19, 0)
        count = sum(serve(channel, found).commands.values())
        timing = measure(lambda f=found: serve(channel, f), repeats)  # type: ignore[misc]
        timings[_rated(f"controller, {access.pattern}", timing, count)] = timing
        timings[f"{TIMES} closed forms, {access.pattern}"] = measure(
            lambda a=access: [spec.access_cycles(a) for _ in range(TIMES)],  # type: ignore[misc]
            repeats,
        )
    return timings


def _rated(name: str, timing: Timing, count: int) -> str:
    rate = timing.rate(count)
    return f"{name} ({rate['median'] / 1e6:.1f} M commands/s, best {rate['max'] / 1e6:.1f})"


if __name__ == "__main__":
    alone(run, __doc__)
