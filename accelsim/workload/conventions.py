"""The choices that change a model's counts: which of several equivalent computations is counted.

Defaults are what optimised implementations do; a workload states those that apply to it.
"""

from __future__ import annotations

from typing import Literal

from accelsim.config import Spec

__all__ = ["Conventions"]


class Conventions(Spec):
    """How a pass is computed where implementations differ.

    Examples
    --------
    >>> Conventions(logits="all").mla
    'auto'
    """

    logits: Literal["last", "all"] = "last"
    """Logits of each sequence's last token, as serving computes, or of every new token."""
    mla: Literal["auto", "absorbed", "expanded"] = "auto"
    """Latent attention over the cached latent itself (`absorbed`), over keys and values expanded
    from it for every cached token (`expanded`), or the first in decoding and the second in
    prefill."""
    ssd: Literal["fused", "per_head"] = "fused"
    """State-space duality: the product C B^T once per group of heads, as the fused kernel
    computes it, or once per head, as the fallback in torch does."""
    causal_conv: Literal["useful", "padded"] = "useful"
    """Causal convolution of a state-space layer: only the outputs that are used, or also those
    that padding adds in transformers (S + k - 1 in prefill, 2 in decoding)."""
    kv_update: Literal["append", "copy"] = "append"
    """New keys and values are written behind the cached ones, or the whole cache is copied, as
    a concatenation does."""
