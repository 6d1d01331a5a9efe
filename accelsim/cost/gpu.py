"""A GPU: tensor cores, caches and launch, with seven scalars fitted on measured matrix products.

The equations stand in `_gpu_kernels`; this file holds the parameters with their sources and turns
an operator into one kernel's time, traffic and energy.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Final, Literal

from pydantic import Field

from accelsim.config import (
    Bytes,
    BytesPerSecond,
    Count,
    FlopsPerSecond,
    Fraction,
    Hertz,
    Nonnegative,
    Picojoules,
    PicojoulesPerBit,
    Positive,
    Seconds,
    Spec,
)
from accelsim.cost._component import (
    PICOSECONDS_PER_SECOND,
    Estimate,
    Setting,
    Unit,
    Work,
    to_ps,
)
from accelsim.cost._gpu_kernels import (
    FRAGMENT,
    SCORE_INSTRUCTIONS,
    attention,
    matmul,
    vector,
)

__all__ = ["COMPONENT", "Board", "Calibration", "Generation", "Gpu", "GpuEnergy"]

_MATMUL_KINDS: Final = frozenset({"matmul", "conv"})
_REFUSED_KINDS: Final = frozenset({"collective", "transfer"})

# Format -> the one that operands are converted to on loading where the GPU has no rate for them:
# the next that holds every value.  Block-scaled formats multiply as their element format does.
_WIDER: Final[Mapping[str, str]] = {
    "int2": "int4", "int4": "int8", "uint8": "int8", "bool": "int8", "int8": "fp16",
    "mxfp4": "fp4", "nvfp4": "fp4", "fp4": "fp6", "mxfp6": "fp6", "fp6": "fp8", "mxfp8": "fp8",
    "fp8": "fp16", "fp16": "fp32", "bf16": "fp32", "int16": "fp32", "tf32": "fp32",
    "fp32": "fp64", "int32": "fp64",
}  # fmt: skip


Generation = Literal[
    "maxwell", "pascal", "volta", "turing", "ampere", "ada", "hopper", "blackwell",
    "gcn5", "cdna1", "cdna2", "cdna3", "xe_hpc",
]  # fmt: skip
"""Architectures by their vendor's names."""


class Calibration(Spec):
    """Seven scalars of the kernel model for one (GPU, measurement source) pair.

    Notes
    -----
    ``accelsim.measure.calibrate`` fits them; equations in `accelsim.cost._gpu_kernels.matmul`.
    Two campaigns on one GPU model differ by 16 % on the same product, so a calibration belongs to
    its source.
    """

    compute_efficiency: Fraction
    """e_c: share of the datasheet FLOP/s that an endlessly large tile would reach."""
    memory_efficiency: Fraction
    """e_m: share of the datasheet memory bandwidth that a kernel reaches."""
    start_s: Seconds
    """t0: fixed time inside a tensor-core kernel: block scheduling, first loads, last stores."""
    smoothness: Annotated[Positive, Field(ge=1)]
    """p: exponent of the smooth maximum of compute and memory time; 1 adds them."""
    edge_elements: Nonnegative
    """c: cost of feeding a tile from shared memory, as rows (columns) of extra arithmetic.

    Like `fill_elements` it is a time, counted in elements of the first format of `peak_flops`: a
    format with half the rate spends half as many of its own.
    """
    wave_rounding: Annotated[Nonnegative, Field(le=1)]
    """a: share of a partly filled last wave of thread blocks that costs a whole one."""
    fill_elements: Nonnegative
    """k0: steps along the reduction spent filling a thread block's pipeline."""
    fitted_on: str
    """GPU, source, clock and operators of the measured rows."""
    split: str
    """Which rows were fitted and which kept for the error."""
    error: str
    """Error on both, and that of the datasheet roofline on the same rows."""


class GpuEnergy(Spec):
    """Dynamic energy of a GPU's parts."""

    mac_pj: Picojoules
    """One fp16 multiply-accumulate; an elementwise operation counts half."""
    l2_pj_per_bit: PicojoulesPerBit
    """Reading the L2 cache."""
    shared_pj_per_bit: PicojoulesPerBit
    """Reading L1 cache or shared memory."""
    register_pj_per_bit: PicojoulesPerBit
    """Accessing the register file; three operands per multiply-accumulate."""


class Board(Spec):
    """A board that carries a GPU."""

    bandwidth_bytes_per_s: BytesPerSecond
    """Datasheet memory bandwidth."""
    power_w: Positive | None = None
    """Datasheet power limit of the board, W."""


class Gpu(Unit):
    """A GPU of streaming multiprocessors with tensor cores, a shared L2 cache and one DRAM.

    Notes
    -----
    A format that has no rate of its own runs at that of the next wider one, to which the kernel
    converts operands on loading (weight-only quantisation, fp8 on Ampere); bytes stay narrow.

    References
    ----------
    J. Park et al., AttAcc, ASPLOS 2024 (energy per byte and MAC, traffic between the levels).
    """

    kind: Literal["gpu"] = "gpu"
    sms: Count
    """Streaming multiprocessors."""
    frequency_hz: Hertz
    """Boost clock, at which the datasheet peaks hold."""
    peak_flops: dict[str, FlopsPerSecond]
    """Dense peak by number format, fp32 accumulation; fp32 is the rate without tensor cores."""
    vector_flops: FlopsPerSecond
    """fp32 peak outside the tensor cores, two operations per fused multiply-add."""
    special_per_clock: Count
    """Exponentials per clock and multiprocessor."""
    l2_bytes: Bytes
    """L2 cache."""
    shared_memory_bytes: Bytes
    """Shared memory per multiprocessor."""
    smallest_kernel_s: Seconds
    """Measured time inside the shortest vector kernel: the floor of norms and elementwise."""
    launch: Literal["graph", "eager"] = "graph"
    """Whether kernels are replayed from a captured graph or launched one by one into a stream."""
    launch_s: dict[Literal["graph", "eager"], Seconds]
    """Gap between consecutive kernels, for each way of launching."""
    calibration: Calibration
    energy: GpuEnergy
    generation: Generation
    """Family of the GPU: what it shares with others in kernels and, unmeasured, in calibration."""
    boards: dict[str, Board] = Field(default_factory=dict)
    """Boards with this GPU by their name in tables of measurements."""

    def multiplied(self, dtype: str) -> str:
        """Return the listed format that products of `dtype` run in; empty where none holds it.

        Parameters
        ----------
        dtype : str
            Number format of the wider operand.
        """
        name: str | None = dtype
        while name is not None and name not in self.peak_flops:
            name = _WIDER.get(name)
        return name or ""

    def peak(self, dtype: str) -> float:
        """Return the FLOP/s of products of a number format that `multiplied` knows."""
        return self.peak_flops[self.multiplied(dtype)]

    def _rate(self, dtype: str) -> tuple[float, ...]:
        """Return peak FLOP/s, then e_c, t0 (s), p, c, a and k0 for products of a number format.

        Feeding a tile and filling the pipeline take a time that the fit counts in elements of the
        first listed format; at another rate the same time is other numbers of elements, and a
        wider element takes longer to feed.
        """
        c, first, name = self.calibration, next(iter(self.peak_flops)), self.multiplied(dtype)
        slower = self.peak_flops[name] / self.peak_flops[first]
        wider = _width(name) / _width(first)
        return (
            self.peak_flops[name], c.compute_efficiency, c.start_s, c.smoothness,
            c.edge_elements * slower * wider, c.wave_rounding, c.fill_elements * slower,
        )  # fmt: skip

    def refusal(self, work: Work) -> str:
        """Return why the GPU cannot run `work`; empty where it can."""
        if work.kind in _REFUSED_KINDS:
            return f"{work.kind} runs on a link, not on a gpu"
        multiplies = work.kind in _MATMUL_KINDS or work.kind == "attention"
        if multiplies and not self.multiplied(work.dtype):
            return f"no rate for {work.dtype}; peaks are known for {', '.join(self.peak_flops)}"
        return ""

    def estimate(self, work: Work, setting: Setting) -> Estimate:
        """Return time, traffic and energy of the kernel that runs `work`."""
        memory = setting.memory
        return self.run(work, memory.peak_bandwidth(), memory.bandwidth())

    def run(self, work: Work, peak_bandwidth: float, sustained: float | None = None) -> Estimate:
        """Return what `work` needs with a memory of a given datasheet bandwidth.

        Parameters
        ----------
        work : Work
            One operator.
        peak_bandwidth : float
            Datasheet bandwidth in byte/s, of which kernels reach `memory_efficiency`.
        sustained : float, optional
            What the memory itself sustains, an upper bound.
        """
        attainable = peak_bandwidth * self.calibration.memory_efficiency
        bandwidth = attainable if sustained is None else min(attainable, sustained)
        if work.kind in _MATMUL_KINDS:
            return self._matmul(work, bandwidth)
        if work.kind == "attention":
            return self._attention(work, bandwidth)
        return self._vector(work, bandwidth)

    def _matmul(self, work: Work, bandwidth: float) -> Estimate:
        peak, *scalars = self._rate(work.dtype)
        bytes_b, held = work.bits_b / 8, work.weight_bytes + work.kv_bytes
        seconds, tm, tn, split, again_a, again_b, l2, shared = matmul(
            work.batch, work.m, work.n, work.k, work.bits_a / 8, bytes_b, work.bits_c / 8,
            work.input_bytes, held, work.output_bytes,
            self.sms, peak, self.shared_memory_bytes, self.l2_bytes, bandwidth, *scalars,
        )  # fmt: skip
        return self._estimate(
            work, seconds, 2 * work.macs / peak,
            self._energy(work.macs, work.vector_ops, l2, shared, 3 * work.macs * bytes_b),
            f"{tm}x{tn}" + (f" split {split}" if split > 1 else ""),
            work.batch * split * -(-work.m // tm) * -(-work.n // tn), again_a, again_b,
        )  # fmt: skip

    def _attention(self, work: Work, bandwidth: float) -> Estimate:
        peak, *scalars = self._rate(work.dtype)
        value_dim = work.value_dim or work.head_dim
        moved = work.weight_bytes + work.kv_bytes + work.input_bytes + work.output_bytes
        # Blocks that a mask leaves out are not computed: the rest is dense.
        attended, causal = (work.kv_seen, False) if work.kv_seen else (work.kv_len, work.causal)
        seconds, tile, split, computed, blocks = attention(
            work.batch, work.heads, work.kv_heads, work.q_len, attended,
            work.head_dim, value_dim, causal, moved,
            self.sms, peak, self.vector_flops,
            self.sms * self.special_per_clock * self.frequency_hz, bandwidth, *scalars,
        )  # fmt: skip
        scores, width = _unmasked(work), (work.head_dim + value_dim) * work.bits_b / 8
        macs = scores * (work.head_dim + value_dim)
        l2 = computed / tile * width + work.input_bytes + work.output_bytes
        operations = scores * (SCORE_INSTRUCTIONS + 1)
        register = 3 * macs * work.bits_b / 8
        return self._estimate(
            work, seconds, 2 * macs / peak,
            self._energy(macs, operations, l2, computed / FRAGMENT * width, register),
            f"{tile} queries" + (f" split {split}" if split > 1 else ""), blocks,
        )  # fmt: skip

    def _vector(self, work: Work, bandwidth: float) -> Estimate:
        size = work.weight_bytes + work.kv_bytes + work.input_bytes + work.output_bytes
        operations = work.vector_ops + 2 * work.macs
        seconds = vector(
            operations, size, self.vector_flops, bandwidth,
            self.smallest_kernel_s, self.calibration.smoothness,
        )  # fmt: skip
        energy = self._energy(work.macs, work.vector_ops, size, size, size)
        return self._estimate(work, seconds, operations / self.vector_flops, energy, work.kind)

    def _estimate(
        self, work: Work, seconds: float, ideal_s: float, energy_pj: dict[str, float], choice: str,
        tiles: int = 1, again_a: float = 1.0, again_b: float = 1.0,
    ) -> Estimate:  # fmt: skip
        """Return the estimate; `again_a` and `again_b` are how often each operand is read."""
        return Estimate(
            to_ps(seconds),
            to_ps(self.launch_s[self.launch]),
            int((work.weight_bytes + work.kv_bytes) * again_b),
            int(work.input_bytes * again_a),
            work.output_bytes,
            tiles,
            True,
            energy_pj,
            ideal_s * PICOSECONDS_PER_SECOND,
            choice,
        )

    def _energy(
        self, macs: float, operations: float, l2: float, shared: float, register: float
    ) -> dict[str, float]:
        """Return dynamic energy by part; `l2`, `shared`, `register` are bytes moved."""
        table = self.energy
        return {
            "mac": (macs + operations / 2) * table.mac_pj,
            "l2": 8 * l2 * table.l2_pj_per_bit,
            "shared": 8 * shared * table.shared_pj_per_bit,
            "register": 8 * register * table.register_pj_per_bit,
        }


@cache
def _width(dtype: str) -> int:
    """Return the bits of a format's element, from its name."""
    return int("".join(c for c in dtype if c.isdigit()) or 8)


def _unmasked(work: Work) -> int:
    """Return the query-key pairs of an attention that its causal mask leaves."""
    pairs = work.q_len * (work.kv_seen or work.kv_len)
    if work.causal and not work.kv_seen:
        pairs -= work.q_len * (work.q_len - 1) // 2
    return work.batch * work.heads * pairs


COMPONENT = Gpu
