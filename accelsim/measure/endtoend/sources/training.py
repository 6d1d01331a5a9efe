"""Steps of large training: llm-foundry on sharded GPUs, and Megatron's iterations on Selene.

llm-foundry shards weights over all GPUs and gathers them beside computing; Megatron divides
layers over a pipeline, of which the fullest stage sets the pace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from accelsim.measure.endtoend.recipe import Pass, Recipe
from accelsim.measure.endtoend.rows import Row
from accelsim.workload import load_model
from accelsim.workload.transforms.eager import Eager
from accelsim.workload.transforms.training import Training

__all__ = ["SOURCES"]

_LOGITS: Final = (("conventions.logits", "all"),)
_NODE: Final = 8
"""GPUs of a node; beyond it weights are gathered over a network that the library does not have."""

# Dimensions that differ from GPT-3 175B: width, layers, heads, vocabulary.
_MEGATRON: Final[Mapping[str, tuple[int, int, int, int]]] = {
    "megatron-22b": (6144, 48, 64, 51200),
    "gpt3-175b": (12288, 96, 96, 51200),
    "turing-530b": (20480, 105, 128, 51200),
    "megatron-1t": (25600, 128, 160, 51200),
}


def _foundry(row: Row) -> Recipe | str:
    if row.metric == "mfu_pct":
        return "the metric mfu_pct follows from tokens_per_s_per_gpu of the same run"
    if row.n_devices > _NODE:
        return "weights sharded over several nodes: their network is not described"
    if row.note("sharding") != "FULL_SHARD":
        return f"sharding {row.note('sharding')} is not mapped"
    micro = int(row.note("micro_batch"))
    again = row.note("act_ckpt") == "True"
    training = Training(
        recompute="full" if again else "none", optimizer="adam", gradient="fp32",
        moments="fp32", master_weights=True, loss_format="fp32",
    )  # fmt: skip
    step = training.model_copy(update={"optimizer": "none"})
    changes = (("parameters.max_position_embeddings", row.seq_in),)
    eager = Eager(attention="fused", compose_activations=False)
    one = Pass(
        row.model, "prefill", micro, row.seq_in, times=row.batch / (row.n_devices * micro),
        dtype=row.dtype, changes=changes, request=_LOGITS, transforms=(eager, step),
    )  # fmt: skip
    update = replace(one, times=1 / row.n_devices, transforms=(eager, training), update=True)
    passes = (one, update)
    return Recipe(row.gpu, passes, "python", gathered=row.n_devices, attention="flash-1")


def _megatron(row: Row) -> Recipe | str:
    """Return a pipeline's iteration: n micro-batches and the fill of p - 1 stages.

    Notes
    -----
    Interleaved 1F1B takes ``n + (p - 1) / v`` times a stage's pass (arXiv 2104.04473, section
    2.2).  Sequence parallelism moves the bytes of all-reduces in two halves, as here; norms and
    dropout, which it divides, are not divided here.
    """
    if row.model not in _MEGATRON:
        return f"the library has no model `{row.model}`"
    tensor, stages, micro = (int(row.note(name)) for name in ("tp", "pp", "micro"))
    loops = int(row.note("interleave"))
    width, layers, heads, vocabulary = _MEGATRON[row.model]
    changes = (
        ("parameters.hidden_size", width), ("parameters.num_hidden_layers", layers // stages),
        ("parameters.num_attention_heads", heads), ("parameters.intermediate_size", 4 * width),
        ("parameters.vocab_size", vocabulary),
    )  # fmt: skip
    load_model("gpt3-175b", dict(changes))  # a wrong field is an error here, not a missing row
    eager = Eager(scale=False, mask=False, compose_activations=False, dropout=True)
    training = Training(
        recompute="full" if row.note("recompute") == "full" else "selective", optimizer="adam",
        gradient="fp32", moments="fp32", master_weights=True, loss_format="fp32",
    )  # fmt: skip
    step = training.model_copy(update={"optimizer": "none"})
    one = Pass(
        "gpt3-175b", "prefill", micro, row.seq_in, times=row.batch / micro + (stages - 1) / loops,
        dtype=row.dtype, changes=changes, request=_LOGITS, transforms=(eager, step),
    )  # fmt: skip
    update = replace(one, times=1 / tensor, transforms=(eager, training), update=True)
    return Recipe(row.gpu, (one, update), "python", tensor)


SOURCES: Final[Mapping[str, Callable[[Row], Recipe | str]]] = {
    "llm-foundry": _foundry,
    "calculon": _megatron,
}
