"""The device and torch together as `accelsim.measure.bench.session.Backend`."""

from __future__ import annotations

import gc
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch

from accelsim.errors import ConfigError
from accelsim.measure.bench import counts as figures
from accelsim.measure.bench.boards import board_name
from accelsim.measure.bench.case import Case
from accelsim.measure.bench.counts import Counts
from accelsim.measure.bench.environment import cpu_name, free_memory_bytes
from accelsim.measure.bench.session import Check
from accelsim.measure.bench.timing import (
    DeviceLost,
    Limits,
    OutOfMemory,
    Timing,
    Unsupported,
)  # fmt: skip
from accelsim.measure.bench.torch_backend import (
    attention,
    blocks,
    experts,
    images,
    layers,
    products,
    scans,
    vectors,
)  # fmt: skip
from accelsim.measure.bench.torch_backend.clocks import (
    Call,
    CudaClock,
    HostClock,
    last_level_cache_bytes,
)  # fmt: skip
from accelsim.measure.bench.torch_backend.operation import Operation
from accelsim.measure.bench.torch_backend.outcomes import torch_outcomes
from accelsim.measure.bench.torch_backend.tensors import Tensors, torch_dtype

__all__ = ["OPERATIONS", "TOLERANCE", "TorchBackend", "max_relative_error"]

OPERATIONS: Final[Mapping[str, Operation]] = {
    **products.OPERATIONS, **vectors.OPERATIONS, **attention.OPERATIONS, **experts.OPERATIONS,
    **scans.OPERATIONS, **images.OPERATIONS, **layers.OPERATIONS, **blocks.OPERATIONS,
}  # fmt: skip

TOLERANCE: Final[Mapping[str, float]] = {
    # About eight units in the last place of the format, which a chain of a dozen operators reaches
    # half of (seen: bf16 1.5e-2, fp16 1e-3, fp32 6e-7); fp8 leaves bf16, int8 is exact.
    "fp64": 1e-12, "fp32": 1e-5, "tf32": 4e-3, "fp16": 4e-3, "bf16": 3e-2, "fp8": 2e-2,
    "int8": 0.0,
}  # fmt: skip
"""Number format -> largest error allowed, as a share of the reference's largest value."""

_HOST_BYTES: Final = 2 * 2**30
"""Largest operands on a CPU: one core draws about 0.2 GB of normal bf16 numbers per second."""


def max_relative_error(found: Any, expected: Any) -> float:
    """Return the largest difference as a share of the largest expected value.

    Parameters
    ----------
    found, expected : Tensor or tuple of Tensor
        Of the same shapes; not a number counts as infinite.
    """
    if isinstance(found, (tuple, list)):
        return max(max_relative_error(f, e) for f, e in zip(found, expected, strict=True))
    wide = expected.detach().to("cpu", torch.float64)
    error = (found.detach().to("cpu", torch.float64) - wide).abs().max()
    share = float(error / wide.abs().max().clamp_min(1e-30))
    return share if share == share else float("inf")


class TorchBackend:
    """PyTorch on one GPU or on the CPU.

    Parameters
    ----------
    device : str
        ``cuda`` or ``cpu``.
    limits : Limits
        When a clock has enough samples.
    max_call_s : float
        A case whose first two calls take longer is refused.
    threads : int
        Of the CPU; 0 leaves torch its own number.

    Raises
    ------
    ConfigError
        If there is no such device.
    """

    def __init__(
        self, device: str, limits: Limits, max_call_s: float = float("inf"), threads: int = 0
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._max_call_s = max_call_s
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("torch sees no CUDA device", hint="--device cpu measures the CPU")
        self.device, self._limits = device, limits
        self._checks: dict[Case, Check] = {}
        self._rates: dict[str, float] = {}
        self.library = f"torch-{torch.__version__}"
        if device == "cuda":
            self._properties = torch.cuda.get_device_properties(0)
            self.board = board_name(self._properties.name)
            cache = int(getattr(self._properties, "L2_cache_size", 0)) or 64 * 2**20
            self._cuda = CudaClock(cache)
        else:
            self.board, cache = cpu_name(), last_level_cache_bytes()
        self.cache_bytes = cache
        self._host = HostClock(device, cache)
        gc.collect()
        gc.freeze()  # torch collects garbage before each capture, which would take longer than it

    @property
    def device_id(self) -> str:
        """The device for `nvidia-smi`: its UUID where torch knows it, else the first."""
        if self.device == "cpu":
            return ""
        uuid = str(getattr(self._properties, "uuid", "") or "")
        return f"GPU-{uuid}" if uuid and not uuid.startswith("GPU-") else uuid or "0"

    def describe(self) -> dict[str, Any]:
        """Return device and library as facts of the session."""
        facts: dict[str, Any] = {
            "board": self.board, "last_level_cache_bytes": self.cache_bytes,
            "torch": str(torch.__version__), "cuda": torch.version.cuda,
            "threads": torch.get_num_threads(), "limits": repr(self._limits),
        }  # fmt: skip
        if self.device == "cuda":
            one = self._properties
            facts |= {
                "name": one.name,
                "capability": f"{one.major}.{one.minor}",
                "multiprocessors": one.multi_processor_count,
                "memory_bytes": one.total_memory,
                "cudnn": torch.backends.cudnn.version(),
                "fp16_reduced_precision_reduction": bool(
                    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction
                ),
                "cudnn_benchmark": bool(torch.backends.cudnn.benchmark),
            }
        return facts

    def counts(self, of: Case) -> Counts:
        """Return operations and bytes of a case."""
        return figures.counts(of)

    def free_bytes(self) -> float:
        """Return free memory of the device, torch's own reserve included."""
        if self.device == "cpu":
            return free_memory_bytes()
        free, _ = torch.cuda.mem_get_info()
        reserve = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return float(free + reserve)

    def expected_s(self, of: Case, flops: float) -> float:
        """Return about how long a call takes on the CPU, from a small product in the format."""
        if self.device == "cuda":
            return 0.0
        if of.dtype not in self._rates:
            self._rates[of.dtype] = self._rate(of.dtype)
        return flops / self._rates[of.dtype]

    def _rate(self, dtype: str) -> float:
        size = 256
        make = Tensors(self.device, dtype)
        name = "torch._int_mm" if dtype == "int8" else "torch.linear"
        sizes = (("m", size), ("n", size), ("k", size))
        one = Case("gemm", dtype, "torch._scaled_mm" if dtype == "fp8" else name, sizes)
        call = self._call(one, make)
        timing = self._host.time(call, "warm", Limits(5, 20, 0.3))
        return 2.0 * size**3 / timing.min_us * 1e6

    def check(self, of: Case) -> Check:
        """Compare the case's small twin with the reference in float64; once per session."""
        small = OPERATIONS[of.op].small(of)
        if small not in self._checks:
            with torch_outcomes(), torch.inference_mode():
                self._admit(of)
                self._checks[small] = self._compare(small)
        return self._checks[small]

    def _compare(self, small: Case) -> Check:
        operation = OPERATIONS[small.op]
        _set_fp32_products(small.dtype == "tf32")
        with operation.around(small):
            found = self._call(small, Tensors(self.device, small.dtype, host_values=True))()
        exact = small.computed(impl=operation.reference, dtype="fp64")
        expected = self._call(exact, Tensors("cpu", small.dtype, exact=True))()
        return Check(max_relative_error(found, expected), TOLERANCE[small.dtype])

    def _admit(self, of: Case) -> None:
        """Raise `Unsupported` for formats that the device has no products of."""
        torch_dtype(of.dtype)
        if self.device == "cpu":
            if of.dtype == "tf32":
                raise Unsupported("tf32 is a format of GPUs")
            return
        capability = (self._properties.major, self._properties.minor)
        least = {"fp8": (8, 9), "bf16": (8, 0), "tf32": (8, 0)}.get(of.dtype, (0, 0))
        if capability < least:
            raise Unsupported(f"{of.dtype} needs compute capability {least[0]}.{least[1]}")

    def _call(self, of: Case, make: Tensors) -> Call:
        operation = OPERATIONS[of.op]
        run = operation.runs.get(of.impl)
        if run is None:
            raise Unsupported(f"{of.op} has no implementation {of.impl}")
        operands = operation.operands(of, make)
        return lambda: run(of, *operands)

    @contextmanager
    def prepare(self, of: Case) -> Iterator[_Prepared]:
        """Make the operands of a case; they go, with torch's cache, when the context ends."""
        with torch_outcomes(), torch.inference_mode(), OPERATIONS[of.op].around(of):
            self._admit(of)
            size = figures.counts(of).resident_bytes
            if self.device == "cpu" and size > _HOST_BYTES:
                text = f"drawing {size / 2**30:.0f} GiB of operands takes a CPU too long"
                raise Unsupported(text)
            _set_fp32_products(of.dtype == "tf32")
            made = _Prepared(self, of)
            try:
                yield made
            finally:
                made.calls.clear()
                self._tidy()

    def _tidy(self) -> None:
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def recover(self) -> None:
        """Free memory after a failure; raise `DeviceLost` if the device answers no more."""
        gc.collect()
        if self.device == "cpu":
            return
        try:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        except RuntimeError as error:
            raise DeviceLost(str(error).splitlines()[0]) from None


class _Prepared:
    """A case with its operand sets on the device."""

    def __init__(self, backend: TorchBackend, of: Case) -> None:
        self._backend, self._of = backend, of
        self._seed = zlib.crc32(of.label.encode())
        self.calls: list[Call] = [self._made(0)]
        self._try()

    def _try(self) -> None:
        """Run the case before any clock does: what cannot run, or takes too long, ends here."""
        backend = self._backend
        for _ in range(2):  # the first call may load libraries
            begun = time.perf_counter()
            self.calls[0]()
            if backend.device == "cuda":
                torch.cuda.synchronize()
            spent = time.perf_counter() - begun
            if spent <= backend._max_call_s:
                return
        raise Unsupported(
            f"one call takes about {spent:.1f} s, more than {backend._max_call_s:g} s"
        )

    def _made(self, number: int) -> Call:
        backend = self._backend
        make = Tensors(backend.device, self._of.dtype, self._seed + number)
        return backend._call(self._of, make)

    def _sets(self, l2: str) -> Sequence[Call]:
        """Return one call, or as many with operands of their own as outlast the cache."""
        if l2 == "warm":
            return self.calls[:1]
        work = self._backend.counts(self._of)
        moved = work.bytes_min or work.resident_bytes
        free = self._backend.free_bytes()
        number = self._backend._cuda.copies(moved, work.resident_bytes, free)
        self.calls.extend(self._made(n) for n in range(len(self.calls), number))
        return self.calls[:number]

    def time(self, clock: str, l2: str) -> Timing:
        """Return the latency by one clock."""
        try:
            with torch_outcomes():
                return self._timed(clock, l2)
        except OutOfMemory:
            del self.calls[1:]  # the next clock may need but one set
            self._backend.recover()
            raise

    def _timed(self, clock: str, l2: str) -> Timing:
        backend, limits = self._backend, self._backend._limits
        first = self.calls[0]
        if clock == "wall":
            return backend._host.time(first, l2, limits)
        if backend.device == "cpu":
            raise Unsupported(f"the clock `{clock}` needs CUDA")
        cuda = backend._cuda
        if clock == "events":
            return cuda.events(first, l2, limits)
        if clock == "kernel":
            return cuda.kernels(first, l2)
        timed = cuda.graph if clock == "graph" else cuda.loop
        return timed(self._sets(l2), limits)


def _set_fp32_products(tf32: bool) -> None:
    """Let fp32 products and convolutions use tf32 or not; torch 2.9 renamed the switches."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(matmul, "fp32_precision") and hasattr(cudnn, "conv"):
        matmul.fp32_precision = "tf32" if tf32 else "ieee"
        cudnn.conv.fp32_precision = "tf32" if tf32 else "ieee"
    else:
        matmul.allow_tf32 = tf32
        cudnn.allow_tf32 = tf32
