"""KV-cache eviction: a decoding step attends to a bounded number of the cached tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final, Literal

from accelsim.config import Fraction, Whole
from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.tensor import Tensor
from accelsim.workload.transforms._caches import (
    caches,
    decoding,
    map_attentions,
    per_token_bytes,
    shorten,
)
from accelsim.workload.transforms._rewrite import with_note
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "KvEviction"]


class KvEviction(Transform):
    """Keeps the first tokens (sinks), the most recent ones, and a share of the others.

    Notes
    -----
    ``sinks + recent`` is StreamingLLM; a `heavy` share of the sequence beside them is H2O
    (arXiv 2306.14048, 0.2); prompts are read in full, so prefill does not change.  The choice of
    the heavy tokens is made by scores that the attention computes anyway; its few operations per
    cached token are left out.

    Examples
    --------
    >>> KvEviction().kept(100_000), KvEviction(heavy=0.2, sinks=0, recent=0).kept(1000)
    (1024, 200)
    """

    paper: ClassVar[str] = "StreamingLLM, arXiv 2309.17453: 4 sinks and 1020 recent tokens"

    kind: Literal["kv_eviction"] = "kv_eviction"
    sinks: Whole = 4
    """First tokens that stay."""
    recent: Whole = 1020
    """Most recent tokens that stay."""
    heavy: Fraction = 0.0
    """Share of the sequence that stays besides, chosen by attention scores."""

    def kept(self, length: int) -> int:
        """Return the tokens attended to of so many, at least 1."""
        return max(1, min(length, self.sinks + self.recent + int(self.heavy * length)))

    def apply(self, workload: Workload) -> Workload:
        """Return the pass over the shortened caches."""
        shorter = map_attentions(workload, self._evicts, self._attention)
        text = f"{self.sinks} sinks, {self.recent} recent, {self.heavy:g} of the others"
        return with_note(self._growth(workload, shorter), "kv_eviction", text)

    def _evicts(self, operator: Operator, block: Block) -> bool:
        return (
            decoding(operator, block)
            and self.kept(operator.dims["kv_len"]) < (operator.dims["kv_len"])
        )

    def _attention(self, operator: Operator, tensors: dict[str, Tensor]) -> tuple[Operator, ...]:
        length = operator.dims["kv_len"]
        kept = max(self.kept(length), operator.dims["q_len"])
        for name in caches(operator):
            tensors[name] = shorten(tensors[name], length, kept)
        return (replace(operator, dims={**operator.dims, "kv_len": kept}),)

    def _growth(self, before: Workload, after: Workload) -> Workload:
        """Return the pass with the growth of its cache bounded: bytes move to the state."""
        bounded = sum(
            per_token_bytes(operator, block) * block.count
            for block in before.blocks
            for operator in block.operators
            if self._evicts(operator, block)
        )
        if not bounded:
            return after
        bounded = min(bounded, before.kv_bytes_per_token)
        return replace(
            after,
            kv_bytes_per_token=before.kv_bytes_per_token - round(bounded * (1 - self.heavy)),
            state_bytes_per_sequence=before.state_bytes_per_sequence
            + bounded * (self.sinks + self.recent),
        )


TRANSFORM: Final = KvEviction
