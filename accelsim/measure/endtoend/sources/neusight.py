"""NeuSight's labels: models of Hugging Face in FP32, run operator by operator (arXiv 2407.13853).

Logits of all tokens, no KV cache; training is forward and backward pass without an optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from accelsim.measure.endtoend.recipe import Pass, Recipe
from accelsim.measure.endtoend.rows import Row
from accelsim.workload.transforms.eager import Eager
from accelsim.workload.transforms.training import Training

__all__ = ["SOURCES"]

_MODELS: Final[Mapping[str, str]] = {
    "bert": "bert-base", "bert_large": "bert-large", "gpt2_large": "gpt2-large",
    "gpt2_med": "gpt2-medium", "gpt2_xl": "gpt2-xl", "gpt3_xl": "gpt3-xl-neusight",
    "gpt3_27": "gpt3-2.7b", "opt_13": "opt-1.3b",
}  # fmt: skip


def _recipe(row: Row) -> Recipe | str:
    if row.model not in _MODELS:
        return f"the library has no model `{row.model}` of NeuSight"
    if row.impl == "megatron-dp4":
        return "data parallel over several GPUs: the exchange of gradients is not mapped"
    training = row.phase == "training"
    encoder = row.model.startswith("bert")
    if row.impl == "hf-torch.compile":
        # Inductor without flash attention in FP32: products apart, the rest fused around them.
        eager = Eager(scale=False, mask=False, copies="none", compose_activations=False,
                      separate_projections=encoder)  # fmt: skip
    else:  # matmul copies the permuted heads, since batches of them cannot be viewed as one
        eager = Eager(separate_projections=encoder, dropout=training, copies="all")
    # In inference BERT classifies sequences, in training it predicts masked and next words.
    changes = (("parameters.head", "pooler"),) if encoder and not training else ()
    one = Pass(
        _MODELS[row.model], "forward" if encoder else "prefill", row.batch, row.seq_in,
        dtype=row.dtype, transforms=(eager,), changes=changes,
        request=(("conventions.logits", "all"),),
    )  # fmt: skip
    both = replace(one, transforms=(eager, Training(loss="none")))
    # One micro-batch in a pipeline (pp4_1) runs from stage to stage as on one GPU.
    return Recipe(
        row.gpu,
        (both,) if training and row.metric != "fw_latency_ms" else (one,),
        "native" if row.impl == "hf-torch.compile" else "python",
        row.n_devices if row.impl == "megatron-tp4" else 1,
        before=(one,) if row.metric == "bw_latency_ms" else (),
        campaign=row.source,
    )


SOURCES: Final[Mapping[str, Callable[[Row], Recipe | str]]] = {"neusight": _recipe}
