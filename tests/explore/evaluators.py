"""Evaluators that stand in for the simulator: worker processes import them by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

from accelsim.errors import AccelsimError, InfeasibleError
from accelsim.explore import Point

Outcome = tuple[Mapping[str, Any], Mapping[str, Any]]


def trivial(point: Point) -> Outcome:
    """Closed forms of the axes, in microseconds: tests of everything around the evaluation."""
    banks = float(str(point.overrides.get("arch.technology_nm", 4)).removesuffix(" nm"))
    work = point.batch * point.seq_len * (3.0 if point.phase == "prefill" else 1.0)
    latency_s = 1e-6 * work / banks + 1e-4 * len(point.arch)
    return {
        "latency_s": latency_s,
        "energy_j": 1e-5 * work + 0.01 * banks,
        "power_w": (1e-5 * work + 0.01 * banks) / latency_s,
        "area_mm2": 100.0 + 5.0 * banks,
        "throughput_tokens_per_s": point.batch / latency_s,
        "utilisation": 0.5,
        "bound": "memory" if point.phase == "decode" else "compute",
    }, {"parts": {"banks": banks, "work": work}}


def slow(point: Point) -> Outcome:
    time.sleep(0.004)
    return trivial(point)


def troubled(point: Point) -> Outcome:
    """Fails in each way that an evaluation can fail without dying."""
    if point.batch == 2:
        raise InfeasibleError("memory hbm", 2**31, 2**30, "bytes")
    if point.batch == 3:
        raise AccelsimError("no unit runs `scan`")
    if point.batch == 4:
        return {"latency_s": 1 / 0}, {}
    if point.batch == 5:
        sys.exit("left")
    if point.batch == 6:
        return {"latency_s": "fast"}, {}
    if point.batch == 7:
        return {"latency_s": float("nan"), "ratio": float("inf")}, {"x": float("nan")}
    return trivial(point)


def deadly(point: Point) -> Outcome:
    """Dies without a word on some points, as a crash or the out-of-memory killer would."""
    if point.batch == 13:
        os._exit(3)
    if point.batch == 57:
        os.kill(os.getpid(), signal.SIGKILL)
    return trivial(point)


def forbidden(point: Point) -> Outcome:
    raise SystemError("no point may be evaluated here")


def threads(point: Point) -> Outcome:
    """Reports how many threads a kernel may use where the point is evaluated."""
    return {"threads": os.environ.get("NUMBA_NUM_THREADS", "all")}, {}


def interrupted(point: Point) -> Outcome:
    """Stands for Ctrl-C in the middle of a sweep that runs in this process."""
    if point.batch == 8:
        raise KeyboardInterrupt
    return trivial(point)


def interrupted_in_a_kernel(point: Point) -> Outcome:
    """Ctrl-C while compiled code runs: the interpreter turns it into a SystemError."""
    if point.batch == 8:
        raise SystemError("returned a result with an exception set") from KeyboardInterrupt()
    return trivial(point)
