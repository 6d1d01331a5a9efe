"""Compute inside a flash drive: attention of decode tokens, and products, on pages as they come.

The engine reads whole pages at the drive's internal rate, multiplies them by vectors that it has
been sent, and passes scores through a softmax; the slowest of the three sets its pace.
"""

from __future__ import annotations

from typing import Final, Literal

from accelsim.config import Count, FlopsPerSecond, Picojoules, Seconds
from accelsim.cost._component import (
    PICOSECONDS_PER_SECOND,
    Estimate,
    Memory,
    Setting,
    Unit,
    Work,
    to_ps,
)
from accelsim.cost.flash import Flash
from accelsim.errors import ConfigError

__all__ = ["COMPONENT", "StorageEngine"]


class StorageEngine(Unit):
    """Product and softmax units in every drive of a flash memory, fed by its channels.

    Notes
    -----
    Heads of an attention, or columns of a matrix, are shared out over the drives, whole ones, so
    that the busiest drive has ``ceil(kv_heads / drives)``.  It reads the pages of its keys and
    values in r, multiplies in p and normalises in s; heads follow each other through the three,
    so that it takes ``max(r, p, s)`` and, once, the start of each.  Every product and every
    softmax has a start of its own on one of the `units`.  A masked attention reads the pages
    that hold the tokens it keeps, which are taken to lie together.

    What is sent to the drives and back crosses the architecture's path to the flash.

    References
    ----------
    Pan et al., InstInfer, arXiv 2409.04992, sections IV and V.

    Examples
    --------
    >>> engine = StorageEngine(
    ...     source="InstInfer",
    ...     memory="flash",
    ...     units=1,
    ...     product_flops="12.7 GFLOPS",
    ...     softmax_flops="14.2 MFLOPS",
    ... )
    >>> engine.refusal(Work("norm"))
    'drives multiply and normalise scores, they run no norm'
    >>> page = Work("matmul", batch=1, m=1, n=16, k=128, macs=2048, weight_bytes=4096)
    >>> round(engine.product_s(page, drives=1) * 1e6, 2)
    0.32
    """

    kind: Literal["storage_engine"] = "storage_engine"
    units: Count
    """Product and softmax units of a drive, which work side by side."""
    product_flops: FlopsPerSecond
    """Rate of one unit in products of a matrix and a vector."""
    product_start_s: Seconds = 0.0
    """What a product of a head takes before its first page."""
    softmax_flops: FlopsPerSecond
    """Rate of one unit in softmax, in elementwise operations."""
    softmax_start_s: Seconds = 0.0
    """What the softmax of a head takes whatever its length."""
    max_vectors: Count = 1
    """Most vectors that a matrix is multiplied by."""
    operand_bits: tuple[Count, ...] = (16,)
    """Widths of operands."""
    mac_pj: Picojoules = 0.0
    """Energy of a multiply-accumulate; 0 counts none."""

    def refusal(self, work: Work) -> str:
        """Return why the engine cannot run `work`: its kind, its vectors, or a width."""
        if work.kind not in ("attention", "matmul") or work.function == "backward":
            return f"drives multiply and normalise scores, they run no {work.kind}"
        vectors = work.q_len if work.kind == "attention" else work.m
        if vectors > self.max_vectors:
            return f"{vectors} vectors per matrix, at most {self.max_vectors}"
        for bits in (work.bits_a, work.bits_b):
            if bits not in self.operand_bits:
                return f"operands of {bits} bits, the engine takes {self.operand_bits}"
        return ""

    def estimate(self, work: Work, setting: Setting) -> Estimate:
        """Return the time and energy of `work`, its matrices resting in the drives.

        Raises
        ------
        ConfigError
            If the unit's memory is no flash.
        """
        flash = setting.memory
        if not isinstance(flash, Flash):
            raise ConfigError(
                f"storage_engine: its memory is a {type(flash).__name__}, a flash is needed"
            )
        pieces, size = self._runs(work)
        share = self._busiest(work, flash.drives)
        read = flash.pages_bytes(size, pieces)
        # Each drive reads its share; `read_ps` is that of all drives at work alike.
        reading_s = flash.read_s + read * share * flash.drives / flash.bandwidth()
        product_s = self.product_s(work, flash.drives)
        softmax_s = self.softmax_s(work, flash.drives)
        return Estimate(
            compute_ps=to_ps(max(reading_s, product_s, softmax_s)),
            includes_memory=True,
            energy_pj={
                "read": flash.energy_pj(read),
                "mac": self._kept(work) * work.macs * self.mac_pj,
            },
            ideal_ps=read / flash.peak_bandwidth() * PICOSECONDS_PER_SECOND,
            choice=f"{read // int(flash.page_bytes)} pages over {flash.drives} drives",
        )

    def product_s(self, work: Work, drives: int) -> float:
        """Return the time of the products on the busiest drive, in s."""
        flops = 2 * work.macs * self._kept(work) * self._busiest(work, drives)
        products = 2 if work.kind == "attention" else 1
        starts = products * self._matrices(work) * self._busiest(work, drives)
        return (flops / self.product_flops + starts * self.product_start_s) / self.units

    def softmax_s(self, work: Work, drives: int) -> float:
        """Return the time of the softmaxes on the busiest drive, in s; 0 for a plain product."""
        if work.kind != "attention":
            return 0.0
        share = self._busiest(work, drives)
        operations = work.vector_ops * self._kept(work) * share
        starts = work.batch * max(1, work.heads) * work.q_len * share
        return (operations / self.softmax_flops + starts * self.softmax_start_s) / self.units

    def occupies_memory(self, memory: Memory) -> bool:
        """Return True: the channels feed the engine meanwhile."""
        return True

    def _matrices(self, work: Work) -> int:
        """Return the pairs of keys and values, or the matrices, that the work reads."""
        return work.batch * (max(1, work.kv_heads) if work.kind == "attention" else 1)

    def _kept(self, work: Work) -> float:
        """Return the share of the cached tokens that a mask leaves."""
        return work.kv_seen / work.kv_len if work.kv_seen and work.kv_len else 1.0

    def _runs(self, work: Work) -> tuple[int, int]:
        """Return how many runs of bytes that lie together are read, and how long each is."""
        whole = work.kv_bytes + work.weight_bytes
        runs = self._matrices(work) * (2 if work.kind == "attention" else 1)
        return runs, -(-int(whole * self._kept(work)) // runs)

    def _busiest(self, work: Work, drives: int) -> float:
        """Return the share of the work that falls to the busiest drive."""
        parts = max(1, work.kv_heads) if work.kind == "attention" else max(work.batch, work.n)
        return -(-parts // drives) / parts


COMPONENT: Final = StorageEngine
