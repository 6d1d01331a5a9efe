"""Head classes: a share of the KV heads keeps everything, the others a sink and a window."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final, Literal

from accelsim.config import Fraction, Whole
from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.tensor import Tensor
from accelsim.workload.transforms._caches import cached_attention, map_attentions, per_token_bytes
from accelsim.workload.transforms._rewrite import with_note
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "KvHeadClasses"]


class KvHeadClasses(Transform):
    """Splits each attention into one of retrieval heads and one of streaming heads.

    Notes
    -----
    Streaming heads see ``sinks + recent`` tokens, in prefill as in decoding; in prefill the sinks
    are counted as a part of the window.
    """

    paper: ClassVar[str] = "DuoAttention, arXiv 2410.10819: half of the KV heads of Llama-3-8B"

    kind: Literal["kv_head_classes"] = "kv_head_classes"
    retrieval: Fraction = 0.5
    """Share of the KV heads that keep the whole cache."""
    sinks: Whole = 64
    """First tokens that streaming heads keep."""
    recent: Whole = 256
    """Most recent tokens that streaming heads keep."""

    def apply(self, workload: Workload) -> Workload:
        """Return the pass with split attentions and caches."""
        split = map_attentions(workload, self._splits, self._attention, ("retrieval", "streaming"))
        freed = min(self._freed(workload), workload.kv_bytes_per_token)
        grown = replace(
            split,
            kv_bytes_per_token=workload.kv_bytes_per_token - freed,
            state_bytes_per_sequence=workload.state_bytes_per_sequence
            + freed * (self.sinks + self.recent),
        )
        text = f"{self.retrieval:g} retrieval, others {self.sinks} sinks and {self.recent} recent"
        return with_note(grown, "kv_head_classes", text)

    def _freed(self, workload: Workload) -> int:
        """Return the KV bytes per token that no longer grow, of one group of sequences."""
        freed = 0
        for block in workload.blocks:
            seen: set[tuple[str, ...]] = set()
            for operator in block.operators:
                weights = operator.name.partition(".")[:1]
                if self._splits(operator, block) and weights not in seen:
                    seen.add(weights)
                    streaming = operator.dims["kv_heads"] - self._full(operator)
                    share = per_token_bytes(operator, block) * streaming
                    freed += share // operator.dims["kv_heads"] * block.count
        return freed

    def _full(self, operator: Operator) -> int:
        return round(self.retrieval * operator.dims["kv_heads"])

    def _splits(self, operator: Operator, block: Block) -> bool:
        if not cached_attention(operator, block) or len(operator.inputs) > 3:
            return False
        dims = operator.dims
        long = dims["kv_len"] > self.sinks + self.recent
        return long and 0 < self._full(operator) < dims["kv_heads"]

    def _attention(self, operator: Operator, tensors: dict[str, Tensor]) -> tuple[Operator, ...]:
        dims, full = operator.dims, self._full(operator)
        new, past = dims["q_len"], dims["kv_len"] - dims["q_len"]
        window = self.sinks + self.recent
        kept = self._part(operator, tensors, "retrieval", full, dims["kv_len"])
        few = self._part(
            operator, tensors, "streaming", dims["kv_heads"] - full, min(past, window - 1) + new
        )
        if operator.attributes.get("causal"):
            few = replace(few, attributes={**few.attributes, "window": window})
        return kept, few

    def _part(
        self, operator: Operator, tensors: dict[str, Tensor], name: str, kv_heads: int, length: int
    ) -> Operator:
        """Return the attention of one class of heads; its caches and output are added."""
        dims = operator.dims
        heads = dims["heads"] // dims["kv_heads"] * kv_heads
        query, *cached = operator.inputs
        for cache, width in zip(cached, (dims["head_dim"], dims["value_dim"]), strict=True):
            shape = (dims["batch"], kv_heads, length, width)
            part = f"{cache}.{name}"
            tensors[part] = replace(tensors[cache], name=part, shape=shape)
        whole = operator.outputs[0]
        made = f"{whole}.{name}"
        rows = (dims["batch"] * dims["q_len"], heads * dims["value_dim"])
        tensors[made] = replace(tensors[whole], name=made, shape=rows)
        return replace(
            operator,
            name=f"{operator.name}.{name}",
            dims={**dims, "heads": heads, "kv_heads": kv_heads, "kv_len": length},
            inputs=(query, *(f"{cache}.{name}" for cache in cached)),
            outputs=(made,),
        )


TRANSFORM: Final = KvHeadClasses
