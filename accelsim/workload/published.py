"""Figures per token that publications print, from a workload alone.

What one decoded token costs (Step-3, tables 2 and 3), and what one token of training costs
(DeepSeek-V3, table 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from accelsim.workload.conventions import Conventions
from accelsim.workload.counts import counts, flop_split
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.graph import Workload, resident_bytes
from accelsim.workload.model import ModelSpec, workload
from accelsim.workload.phase import decode, prefill
from accelsim.workload.tensor import Role

__all__ = ["TokenCost", "decoding_cost", "training_flops"]

FFN: Final = frozenset({"experts", "shared_experts"})
"""Labels of the mixtures' products; dense MLPs are recognised by their operators' names."""

_MLP: Final = ("gate_up_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class TokenCost:
    """What one decoded token costs at a cached length.

    Attributes
    ----------
    kv_bytes : int
        Bytes of the KV cache that are read, at one byte per element.
    attention_flops, linear_flops, ffn_flops : int
        Scores and contexts; the projections around them; MLPs and experts without the router.
    """

    kv_bytes: int
    attention_flops: int
    linear_flops: int
    ffn_flops: int


_EIGHT_BITS: Final = Dtypes(kv_cache="fp8")


def decoding_cost(model: str | ModelSpec[Any], attended: int) -> TokenCost:
    """Return the cost of one decoded token that attends to `attended` tokens, itself included.

    Router and output head are left out, as in Step-3's tables.

    References
    ----------
    Step-3 system report, arXiv 2507.19427, tables 2 and 3.
    """
    built = workload(model, decode(1, attended - 1), dtypes=_EIGHT_BITS)
    attention = linear = ffn = 0
    for block, operator in built.operators():
        flops = counts(operator, block.tensors).flops * block.count
        if operator.label == "attention":
            attention += flops
        elif operator.label in FFN or operator.name.rpartition(".")[2].endswith(_MLP):
            ffn += flops
        elif operator.label == "linear":
            linear += flops
    return TokenCost(resident_bytes(built)[Role.KV_CACHE], attention, linear, ffn)


def training_flops(model: str | ModelSpec[Any], seq_len: int) -> float:
    """Return the FLOPs of one token of training: three times its forward pass, causal.

    References
    ----------
    Insights into DeepSeek-V3, arXiv 2505.09343, table 2 (sequences of 4096).
    """
    built: Workload = workload(
        model, prefill(1, seq_len), conventions=Conventions(logits="all", mla="expanded")
    )
    return 3 * sum(flop_split(built, unmasked=True).values()) / seq_len
