"""A back-end without a device: latencies, refusals and failures as a test asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from accelsim.measure.bench import counts as figures
from accelsim.measure.bench.case import Case, case
from accelsim.measure.bench.counts import Counts
from accelsim.measure.bench.session import Check
from accelsim.measure.bench.timing import DeviceLost, Timing


@dataclass
class Clock:
    """Time that passes only when someone says so."""

    at_s: float = 0.0

    def __call__(self) -> float:
        return self.at_s


@dataclass
class FakeBackend:
    """Answers every clock with the latency that `latency_us` gives for a case."""

    latency_us: Callable[[Case], float] = lambda of: 10.0
    clock: Clock = field(default_factory=Clock)
    case_s: float = 1.0
    error: float = 1e-4
    free: float = 1e9
    library: str = "fake-1.0"
    board: str = "FakeBoard"
    measured: list[tuple[str, str]] = field(default_factory=list)
    lost: bool = False
    recovered: int = 0

    def counts(self, of: Case) -> Counts:
        return figures.counts(of)

    def free_bytes(self) -> float:
        return self.free

    def expected_s(self, of: Case, flops: float) -> float:
        return flops / 1e12

    def check(self, of: Case) -> Check:
        return Check(self.error, 1e-3)

    @contextmanager
    def prepare(self, of: Case) -> Iterator[_Prepared]:
        self.clock.at_s += self.case_s
        yield _Prepared(self, of)

    def recover(self) -> None:
        self.recovered += 1
        if self.lost:
            raise DeviceLost("gone")


@dataclass
class _Prepared:
    backend: FakeBackend
    of: Case

    def time(self, clock: str, l2: str) -> Timing:
        self.backend.measured.append((self.of.label, clock))
        latency = self.backend.latency_us(self.of)
        return Timing(latency, latency * 0.9, 0.1, 9, calls=3, copies=2, kernels="a; b")


def products(*sizes: int, dtype: str = "bf16") -> list[Case]:
    """Return one square product per size."""
    return [case("gemm", dtype, "torch.linear", m=size, n=size, k=size) for size in sizes]
