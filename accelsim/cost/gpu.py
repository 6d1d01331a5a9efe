"""A GPU: which kernel runs an operator, and its time, traffic and energy.

The equations stand in `_gpu_product`, `_gpu_blocked`, `_gpu_attention` and `_gpu_vector`, the
parameters in `_gpu_chip`, the measured scalars in `_gpu_calibration`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import numpy as np

from accelsim.cost._component import PICOSECONDS_PER_SECOND, Estimate, Setting, Work, to_ps
from accelsim.cost._gpu_attention import (
    BACKWARD_EFFICIENCY,
    DECODE_QUERIES,
    SCORE_INSTRUCTIONS,
    decode,
    decode_tile,
    prefill,
)
from accelsim.cost._gpu_blocked import blocked, occupied
from accelsim.cost._gpu_calibration import Calibration
from accelsim.cost._gpu_chip import Board, Generation, GpuChip, GpuEnergy
from accelsim.cost._gpu_convolution import convolution
from accelsim.cost._gpu_product import FRAGMENT, MOST_SPLITS, TILES, grouped, matmul
from accelsim.cost._gpu_vector import row_kernel, softmax_instructions, vector

__all__ = ["COMPONENT", "Board", "Calibration", "Generation", "Gpu", "GpuEnergy"]

Attained = Callable[[float], float]
"""From the share of the datasheet bandwidth that a kernel reaches to byte/s."""

SCAN_OPERATIONS: Final = 7  # vector operations per state element; `workload.ops.scan`
GROUPED_COLUMNS: Final = 128  # of a grouped product's tile

# A convolution with fewer multiplies per output of a group runs as a direct kernel, not as tiles.
_DIRECT_CONVOLUTION: Final = 128
_MATMUL_KINDS: Final = frozenset({"matmul", "conv"})
_REFUSED_KINDS: Final = frozenset({"collective", "transfer"})


class Gpu(GpuChip):
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

        def attained(efficiency: float) -> float:
            attainable = peak_bandwidth * efficiency
            return attainable if sustained is None else min(attainable, sustained)

        if work.kind in _MATMUL_KINDS:
            return self._products(work, attained)
        if work.kind == "attention":
            return self._attention(work, attained)
        return self._vector(work, attained)

    def _products(self, work: Work, attained: Attained) -> Estimate:
        """Choose among the kernels of products: direct convolution, grouped, tiled."""
        if work.kind == "conv" and work.n * work.k < _DIRECT_CONVOLUTION and work.batch > 1:
            return self._vector(work, attained)
        if work.kind == "matmul" and work.batch > 1 and work.weight_bytes:
            return self._grouped(work, attained)
        if work.kind == "conv":
            return self._convolution(work, attained)
        return self._matmul(work, attained)

    def _matmul(self, work: Work, attained: Attained) -> Estimate:
        name = quantised(work)
        peak, share, scalars = self.product_scalars(work.dtype, name)
        extra = self.calibration.formats.get(name)
        bytes_b, held = work.bits_b / 8, work.weight_bytes + work.kv_bytes
        product = (
            work.batch, work.m, work.n, work.k, work.bits_a / 8, bytes_b, work.bits_c / 8,
            work.input_bytes, held, work.output_bytes,
        )  # fmt: skip
        rule = self.products(work.dtype).tiles
        if rule != "library":
            sms = self.sms if rule == "cached" else 1  # of one, none waits for another
            found = blocked(
                *product, sms, peak, self.shared_memory_bytes, self.l2_bytes, attained(share),
                *scalars[:3],
            )  # fmt: skip
        else:
            tiles, most = self.tiles(work.dtype, batched=work.batch > 1), MOST_SPLITS
            if extra is not None and extra.tiles != "library" and work.batch == 1:
                tiles, most = TILES[extra.tiles], 1
            found = matmul(
                *product, tiles, most, self.sms, peak, self.l2_bytes, attained(share), *scalars
            )
        seconds, tm, tn, split, again_a, again_b, l2, shared = found
        return self._estimate(
            work, seconds, 2 * work.macs / peak,
            self.energy_pj(work.macs, work.vector_ops, l2, shared, 3 * work.macs * bytes_b),
            f"{tm}x{tn}" + (f" split {split}" if split > 1 else ""),
            work.batch * split * -(-work.m // tm) * -(-work.n // tn), again_a, again_b,
        )  # fmt: skip

    def _convolution(self, work: Work, attained: Attained) -> Estimate:
        peak, share, scalars = self.product_scalars(work.dtype, quantised(work))
        c, bytes_b = self.calibration.convolution, work.bits_b / 8
        arithmetic = self.arithmetic(work.dtype)
        fill = c.fill_elements * self.against_reference(self.multiplied(work.dtype), arithmetic)[0]
        fast = work.height > 0 and arithmetic == "simt"
        paced = (*scalars[:4], *scalars[5:7])  # its own filling, and no camping
        high, wide = (work.height, work.width) if fast else (1, 1)
        images = work.m // (high * wide)
        seconds, side, tm, tn, split, again_a, again_b, l2, shared = convolution(
            work.batch, images, high, wide, work.n, work.k,
            work.bits_a / 8, bytes_b, work.bits_c / 8,
            work.input_bytes, work.weight_bytes + work.kv_bytes, work.output_bytes, fast,
            self.tiles(work.dtype), self.tiles(work.dtype, batched=True),
            self.sms, peak, self.l2_bytes, c.gathered(arithmetic), c.winograd, c.winograd_4x4,
            fill, attained(share), *paced,
        )  # fmt: skip
        macs, rows, products = work.macs, work.m, work.batch
        if side > 1:  # 4/9 or 1/4 of the multiplies, of whole tiles of outputs
            rows, products = images * -(-high // side) * -(-wide // side), (side + 2) ** 2
            macs = products * rows * work.n * (work.k // 9)
        return self._estimate(
            work, seconds, 2 * work.macs / peak,
            self.energy_pj(macs, work.vector_ops, l2, shared, 3 * macs * bytes_b),
            ("" if side == 1 else f"winograd {side}x{side} ") + f"{tm}x{tn}"
            + (f" split {split}" if split > 1 else ""),
            products * split * -(-rows // tm) * -(-work.n // tn), again_a, again_b,
        )  # fmt: skip

    def _grouped(self, work: Work, attained: Attained) -> Estimate:
        c = self.kernels().grouped
        slower, wider = self.against_reference(
            self.multiplied(work.dtype), self.arithmetic(work.dtype)
        )
        peak, widths = self.peak(work.dtype), (work.bits_a / 8, work.bits_b / 8, work.bits_c / 8)
        bandwidth = attained(c.memory_efficiency)
        seconds, tile, blocks = grouped(
            np.full(work.batch, work.m), work.n, work.k, *widths, self.sms, peak, bandwidth,
            c.compute_efficiency, c.smoothness, c.edge_elements * slower * wider,
            c.fill_elements * slower, c.sustained_clock,
        )  # fmt: skip
        # Tokens are gathered for the first product and scattered after the second.
        seconds += c.permute_passes / 2 * work.input_bytes / bandwidth
        once = work.weight_bytes + work.input_bytes + work.output_bytes
        fed = max(once, blocks * work.k * (tile + GROUPED_COLUMNS) * widths[0])
        return self._estimate(
            work, c.start_s + seconds, 2 * work.macs / peak,
            self.energy_pj(work.macs, 0, fed, fed, 3 * work.macs * widths[1]),
            f"{tile} rows grouped", int(blocks),
        )  # fmt: skip

    def _attention(self, work: Work, attained: Attained) -> Estimate:
        peak, value_dim = self.peak(work.dtype), work.value_dim or work.head_dim
        moved = work.weight_bytes + work.kv_bytes + work.input_bytes + work.output_bytes
        # Blocks that a mask leaves out are not computed: the rest is dense.
        attended, causal = (work.kv_seen, False) if work.kv_seen else (work.kv_len, work.causal)
        sizes = (
            work.batch, work.heads, work.kv_heads, work.q_len, attended, work.head_dim, value_dim,
        )  # fmt: skip
        library = self.kernels()
        bandwidth = attained(library.decode.memory_efficiency)
        backward = work.function == "backward"
        share = BACKWARD_EFFICIENCY if backward else 1.0
        if work.q_len <= DECODE_QUERIES and not backward:
            d = library.decode
            seconds, split, computed, blocks = decode(
                *sizes, work.bits_b / 8, moved, self.sms, peak, bandwidth, d.start_s, d.block_s,
                d.combine_s, d.resident, d.lone, d.most_splits, d.shortest_split, d.split_alone,
                d.overlapped,
            )  # fmt: skip
            tile = decode_tile(work.heads, work.kv_heads, work.q_len)
            choice = "decode" + (f" split {split}" if split > 1 else "")
        else:
            c = library.prefill
            seconds, tile, computed, blocks = prefill(
                *sizes, causal, moved, self.sms, peak, self.vector_flops, self.special_per_s(),
                bandwidth, c.compute_efficiency * share, c.start_s, c.smoothness, c.edge_elements,
                c.block_s, c.tail, c.packed,
            )  # fmt: skip
            choice = f"{tile} queries"
        scores, width = _unmasked(work), (work.head_dim + value_dim) * work.bits_b / 8
        macs = scores * (work.head_dim + value_dim)
        fed = computed / FRAGMENT * width
        l2 = max(work.kv_bytes, computed / tile * width) + work.input_bytes  # keys once a tile
        operations, register = scores * (SCORE_INSTRUCTIONS + 1), 3 * macs * work.bits_b / 8
        return self._estimate(
            work, seconds, 2 * macs / peak,
            self.energy_pj(macs, operations, l2 + work.output_bytes, fed, register),
            choice, blocks,
        )  # fmt: skip

    def _vector(self, work: Work, attained: Attained) -> Estimate:
        c, rules = self.calibration.vector, self.calibration.vector_rules
        function = work.function or work.kind
        rows, row_bytes = work.batch * work.m, work.n * work.bits_a / 8
        efficiency = c.memory_efficiency * c.efficiency.get(function, 1.0)
        share = 1.0
        if rules.softmax_by_head and work.kind == "softmax" and work.q_len:
            share = occupied(int(rows) // work.q_len, self.sms)
        efficiency *= share
        busy = self._busy(work) / share
        again, in_flight = row_kernel(function, work.n, self.threads_per_sm)
        seconds, size = vector(
            busy,
            work.weight_bytes + work.kv_bytes + work.input_bytes + work.output_bytes,
            rows, row_bytes, again if rules.rereads else 0.0, in_flight, self.sms,
            self.shared_memory_bytes, self.l2_bytes, attained(efficiency),
            self.l2_bandwidth() * efficiency, rules.starts_s.get(function, c.start_s),
            c.smoothness, c.row_s.get(function, 0.0),
        )  # fmt: skip
        energy = self.energy_pj(work.macs, work.vector_ops, size, size, size)
        return self._estimate(work, seconds, busy, energy, work.kind)

    def _busy(self, work: Work) -> float:
        """Return the seconds of arithmetic of a kernel without tiled products."""
        if work.kind == "softmax":
            elements = work.batch * work.m * work.n
            return 2 * softmax_instructions(work.n) * elements / self.vector_flops
        if work.kind != "scan":
            return (work.vector_ops + 2 * work.macs) / self.vector_flops
        if work.function == "selective":  # one operation in seven is the decay's exponential
            exponentials = work.vector_ops / SCAN_OPERATIONS / self.special_per_s()
            return max(exponentials, (work.vector_ops + 2 * work.macs) / self.vector_flops)
        chunked = bool(self.multiplied(work.dtype))  # products inside chunks, on tensor cores
        rate = self.peak(work.dtype) if chunked else self.vector_flops
        return 2 * work.macs / rate + work.vector_ops / self.vector_flops

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


def quantised(work: Work) -> str:
    """Return the entry of `Calibration.formats` that an operator's products come under.

    Examples
    --------
    >>> quantised(Work("matmul", dtype="bf16", bits_a=16, bits_b=4))
    'int4_wo'
    """
    if work.bits_b < work.bits_a:
        return f"int{work.bits_b}_wo"
    return work.dtype


def _unmasked(work: Work) -> int:
    """Return the query-key pairs of an attention that its causal mask leaves."""
    pairs = work.q_len * (work.kv_seen or work.kv_len)
    if work.causal and not work.kv_seen:
        pairs -= work.q_len * (work.q_len - 1) // 2
    return work.batch * work.heads * pairs


COMPONENT = Gpu
