"""The clocks of a GPU, on a CPU that plays one: order of calls, what is divided by what, captures.

No latency is checked here, only that each clock times what it says it times.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from accelsim.measure.bench.timing import Limits, Unsupported  # noqa: E402
from accelsim.measure.bench.torch_backend import clocks  # noqa: E402
from accelsim.measure.bench.torch_backend.clocks import CudaClock  # noqa: E402

LIMITS = Limits(least=3, most=3)
CALL_MS = 1.0


@dataclass
class Device:
    """A device on which every call takes a millisecond and nothing else takes time."""

    at_ms: float = 0.0
    log: list[str] = field(default_factory=list)
    capturing: bool = False
    captured: int = 0

    def call(self, number: int) -> Any:
        def run() -> str:
            if self.capturing:
                self.captured += 1
            else:
                self.at_ms += CALL_MS
            self.log.append(f"call {number}")
            return f"result {number}"

        return run


class _Graph:
    def __init__(self, device: Device) -> None:
        self._device, self.calls = device, 0

    def replay(self) -> None:
        self._device.log.append("replay")
        self._device.at_ms += CALL_MS * self.calls

    def reset(self) -> None:
        self._device.log.append("reset")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """Replace what the clocks use of torch.cuda."""
    one = Device()

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing
            self.at_ms = -1.0

        def record(self) -> None:
            self.at_ms = one.at_ms

        def synchronize(self) -> None:
            assert self.at_ms >= 0

        def elapsed_time(self, end: Event) -> float:
            return end.at_ms - self.at_ms

    class Stream:
        def wait_stream(self, other: object) -> None: ...

    @contextmanager
    def stream(given: Stream) -> Iterator[None]:
        one.log.append("side stream")
        yield

    @contextmanager
    def graph(given: _Graph) -> Iterator[None]:
        one.log.append("capture")
        one.capturing = True
        yield
        one.capturing = False
        given.calls = one.captured

    cuda = torch.cuda
    for name, value in {
        "Event": Event, "Stream": Stream, "stream": stream, "current_stream": Stream,
        "graph": graph, "CUDAGraph": lambda: _Graph(one),
        "synchronize": lambda: one.log.append("wait"),
        "_sleep": lambda cycles: one.log.append("idle"),
    }.items():  # fmt: skip
        monkeypatch.setattr(cuda, name, value, raising=False)
    monkeypatch.setattr(clocks, "_Flush", lambda size, where: lambda: one.log.append("flush"))
    return one


def test_events_wait_after_the_flush(device: Device) -> None:
    """Warm up on a side stream, capture whole rounds, idle before a replay, divide by calls."""
    found = CudaClock(1000).events(device.call(0), "cold", LIMITS)
    assert found.median_us == CALL_MS * 1e3
    assert device.log[:3] == ["flush", "wait", "call 0"]
    device.log.clear()
    CudaClock(1000).events(device.call(0), "warm", LIMITS)
    assert "flush" not in device.log


def test_a_graph_goes_round_its_operand_sets(device: Device) -> None:
    """Warm up on a side stream, capture whole rounds, idle before each replay, divide by calls."""
    sets = [device.call(number) for number in range(3)]
    found = CudaClock(1000).graph(sets, LIMITS)
    assert (found.median_us, found.copies) == (CALL_MS * 1e3, 3)
    assert found.calls == 3  # two fill 2 ms; a whole round has three
    begin = device.log.index("capture")
    assert device.log[begin + 1 : begin + 4] == ["call 0", "call 1", "call 2"]
    assert device.log.index("side stream") < begin
    after = device.log[begin + 4 :]
    assert after[:2] == ["idle", "replay"]
    assert after[-1] == "reset"


def test_a_loop_divides_by_its_calls(device: Device) -> None:
    """Eager calls one behind the other."""
    found = CudaClock(1000).loop([device.call(0)], LIMITS)
    assert (found.median_us, found.calls, found.copies) == (CALL_MS * 1e3, 2, 1)


def test_what_cannot_be_captured_is_refused(device: Device) -> None:
    """A synchronisation inside a capture is the library's limit, no error of the run."""

    def call() -> None:
        if device.capturing:
            raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(Unsupported, match="cannot be captured"):
        CudaClock(1000).graph([call], LIMITS)


@pytest.mark.parametrize(
    ("moved", "resident", "free", "expected"),
    [
        (1e3, 1e3, 1e12, 1024),  # as many as are allowed
        (60e6, 60e6, 1e12, 4),  # three times the cache and one more
        (300e6, 300e6, 1e12, 2),  # never one, or a part would be found warm
        (480e6, 480e6, 1e12, 1),  # unless a call alone moves eight times the cache
        (300e6, 300e6, 1e9, 1),  # or two do not fit
        (16e3, 1e9, 1e12, 2),  # an embedding's table: few of its rows are read
    ],
)
def test_operand_sets_outlast_the_cache(
    device: Device, moved: float, resident: float, free: float, expected: int
) -> None:
    """Three times a cache of 60 MB, within the memory."""
    assert CudaClock(60_000_000).copies(moved, resident, free) == expected


def _events(*rounds: list[tuple[str, float]]) -> list[tuple[float, str, float]]:
    flat = [event for one in rounds for event in one]
    return [(float(at), name, spent) for at, (name, spent) in enumerate(flat)]


def test_kernel_times_leave_the_flush_out(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each round the flush's kernels come first; the rest is summed and named."""
    flush = [("Memset (Device)", 40.0), ("void reduce_kernel<float>(int)", 50.0)]
    work = [("void cutlass::gemm<a, b>(T)", 7.0), ("splitKreduce_kernel", 2.0)]
    answers = iter([_events(flush), _events(*[flush + work] * 10)])
    monkeypatch.setattr(clocks, "_profiled", lambda call, times: next(answers))
    found = CudaClock(1000).kernels(device.call(0), "cold")
    assert (found.median_us, found.repeats) == (9.0, 10)
    assert found.kernels == "cutlass::gemm; splitKreduce_kernel"


def test_kernels_that_change_are_refused(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the number of kernels varies, rounds cannot be told apart."""
    odd = _events([("a", 1.0)] * 13)
    monkeypatch.setattr(clocks, "_profiled", lambda call, times: odd)
    with pytest.raises(Unsupported, match="13 kernels in 10 calls"):
        CudaClock(1000).kernels(device.call(0), "warm")
