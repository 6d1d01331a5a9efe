"""The clocks on CUDA and CPU: graph replay, events, loops, the profiler's kernel times, the host.

What each covers stands in docs/measuring.md; none changes a clock or setting of the device.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import torch

from accelsim.measure.bench.timing import Limits, Timing, Unsupported, repeat, summarise

__all__ = ["Call", "CudaClock", "HostClock", "last_level_cache_bytes"]

Call = Callable[[], Any]

_GRAPH_S: Final = 2e-3
"""One replay should take about this long, so that its start is below a percent of it."""
_MOST_CALLS: Final = 200
_SLEEP_CYCLES: Final = 400_000
"""The device idles so long (0.2 ms at 2 GHz) while the host enqueues what is timed."""
_PROFILED: Final = 10


def last_level_cache_bytes() -> int:
    """Return the size of the CPU's last cache; 32 MiB where the system does not say."""
    found = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        with suppress(OSError, ValueError):
            text = path.read_text(encoding="utf-8").strip()
            found.append(int(text[:-1]) * {"K": 2**10, "M": 2**20}[text[-1]])
    return max(found, default=32 * 2**20)


class _Flush:
    """Empties a cache: writes three times its size, then reads it, so that no line left is dirty.

    A cache full of written lines would have to write them back while the next operator runs.
    """

    def __init__(self, cache_bytes: int, device: str) -> None:
        self._buffer = torch.empty(3 * cache_bytes // 4, dtype=torch.float32, device=device)
        self._sum = torch.empty((), dtype=torch.float32, device=device)

    def __call__(self) -> None:
        self._buffer.zero_()
        torch.sum(self._buffer, dim=0, out=self._sum)


class HostClock:
    """Wall clock of the host round a call and, on a GPU, its synchronisation.

    Parameters
    ----------
    device : str
        ``cuda`` or ``cpu``.
    cache_bytes : int
        Last-level cache of the device.
    """

    def __init__(self, device: str, cache_bytes: int) -> None:
        self._flush = _Flush(cache_bytes, device)
        self._wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def time(self, call: Call, l2: str, limits: Limits) -> Timing:
        """Return the latency of a call, the cache ``cold`` or ``warm``."""

        def sample() -> float:
            if l2 == "cold":
                self._flush()
            self._wait()
            begun = time.perf_counter_ns()
            kept = call()
            self._wait()
            spent = time.perf_counter_ns() - begun
            del kept
            return spent / 1e3

        for _ in range(2):
            sample()
        return summarise(repeat(sample, limits))


class CudaClock:
    """Clocks of a CUDA device.

    Parameters
    ----------
    cache_bytes : int
        Its L2 cache.
    """

    def __init__(self, cache_bytes: int) -> None:
        self.cache_bytes = cache_bytes
        self._flush = _Flush(cache_bytes, "cuda")
        self._flush_kernels = 0

    def copies(self, moved_bytes: float, resident_bytes: float, free_bytes: float) -> int:
        """Return how many operand sets the calls must go round so that none is found in the cache.

        Parameters
        ----------
        moved_bytes : float
            Bytes that one call reads and writes; together the sets move three times the cache.
        resident_bytes : float
            Memory of one set, of which a call may use a part (a table); together the sets take
            twelve times the cache, or two sets where that is more, and half of what is free.
        free_bytes : float
            Free memory.

        Returns
        -------
        int
            1 where a call alone moves eight times the cache; else 2 to 1024 as far as they fit.
        """
        if moved_bytes >= 8 * self.cache_bytes:
            return 1
        wanted = min(1024, max(2, int(3 * self.cache_bytes / max(moved_bytes, 1.0)) + 1))
        one = max(resident_bytes, moved_bytes, 1.0)
        room = min(max(2 * one, 12 * self.cache_bytes), 0.5 * free_bytes)
        return max(1, min(wanted, int(room / one)))

    def events(self, call: Call, l2: str, limits: Limits) -> Timing:
        """Return the latency of one eager call between two events, its launch inside."""
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

        def sample() -> float:
            if l2 == "cold":
                self._flush()
            torch.cuda.synchronize()  # an idle device: what the host takes to launch counts
            begin.record()
            kept = call()
            end.record()
            end.synchronize()
            del kept
            return float(begin.elapsed_time(end)) * 1e3

        for _ in range(3):
            sample()
        return summarise(repeat(sample, limits))

    def loop(self, calls: Sequence[Call], limits: Limits) -> Timing:
        """Return the latency of eager calls one behind the other, over their number."""
        number = self._number(calls)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

        def sample() -> float:
            torch.cuda.synchronize()
            begin.record()
            for index in range(number):
                calls[index % len(calls)]()
            end.record()
            end.synchronize()
            return float(begin.elapsed_time(end)) * 1e3 / number

        sample()
        return summarise(repeat(sample, limits), number, len(calls))

    def graph(self, calls: Sequence[Call], limits: Limits) -> Timing:
        """Return the latency of calls replayed from one graph, over their number.

        Every operand set keeps its own result while the graph lives, so that results leave the
        cache as operands do.
        """
        number = self._number(calls)
        graph, kept = self._captured(calls, number)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

        def sample() -> float:
            self._idle()
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            return float(begin.elapsed_time(end)) * 1e3 / number

        for _ in range(2):
            sample()
        timing = summarise(repeat(sample, limits), number, len(calls))
        del kept
        graph.reset()
        return timing

    def kernels(self, call: Call, l2: str) -> Timing:
        """Return the time inside kernels by the profiler (CUPTI), and the kernels' names.

        Raises
        ------
        Unsupported
            If the profiler sees no kernels here, or their number changes from call to call.
        """
        if l2 == "cold" and not self._flush_kernels:
            self._flush_kernels = len(_profiled(self._flush, 1))
        skipped = self._flush_kernels if l2 == "cold" else 0

        def flushed() -> None:
            if l2 == "cold":
                self._flush()
            call()

        call()
        events = _profiled(flushed, _PROFILED)
        each = len(events) // _PROFILED
        if len(events) % _PROFILED or each <= skipped:
            raise Unsupported(f"the profiler saw {len(events)} kernels in {_PROFILED} calls")
        rounds = [events[i + skipped : i + each] for i in range(0, len(events), each)]
        samples = [sum(duration for _, _, duration in one) for one in rounds]
        return summarise(samples, kernels=_names(rounds[0]))

    def _number(self, calls: Sequence[Call]) -> int:
        """Return how many calls one sample makes: whole rounds of the sets, about 2 ms."""
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(2):
            calls[0]()
        self._idle()
        begin.record()
        for _ in range(3):
            calls[0]()
        end.record()
        end.synchronize()
        one_s = max(float(begin.elapsed_time(end)) / 3e3, 1e-6)
        wanted = min(_MOST_CALLS, max(1, round(_GRAPH_S / one_s)))
        return -(-wanted // len(calls)) * len(calls)

    def _captured(self, calls: Sequence[Call], number: int) -> tuple[Any, list[Any]]:
        """Return a graph of the calls and their results; warmed up on a stream of its own."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for call in calls[:3]:
                call()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        kept: list[Any] = [None] * len(calls)
        try:
            with torch.cuda.graph(graph):
                for index in range(number):
                    kept[index % len(calls)] = calls[index % len(calls)]()
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise Unsupported(f"cannot be captured in a graph: {error}") from None
        return graph, kept

    def _idle(self) -> None:
        """Keep the device waiting while the host enqueues, so that no launch is timed."""
        if hasattr(torch.cuda, "_sleep"):
            torch.cuda._sleep(_SLEEP_CYCLES)


def _profiled(call: Call, times: int) -> list[tuple[float, str, float]]:
    """Return (start, name, microseconds) of what the device ran, in order."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        for _ in range(times):
            call()
        torch.cuda.synchronize()
    events = [
        (float(e.time_range.start), str(e.name), float(e.time_range.elapsed_us()))
        for e in profiler.events()
        if e.device_type == DeviceType.CUDA and not getattr(e, "is_user_annotation", False)
    ]
    if not events:
        raise Unsupported("the profiler sees no kernels on this machine")
    return sorted(events)


def _names(events: Sequence[tuple[float, str, float]]) -> str:
    """Return the names of kernels without their template arguments, repeats counted."""
    names: dict[str, int] = {}
    for _, name, _ in events:
        short = re.sub(r"^(void|std::\w+)\s+", "", name).split("<")[0].split("(")[0].strip()
        names[short or name[:60]] = names.get(short or name[:60], 0) + 1
    return "; ".join(f"{name} x{count}" if count > 1 else name for name, count in names.items())
