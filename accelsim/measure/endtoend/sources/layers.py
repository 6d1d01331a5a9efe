"""LLMCompass: one layer of GPT-3 on four A100, each operator timed apart with the host's clock.

The layer's figure is the sum of its operators, each with the constant of its clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from accelsim.measure.endtoend.recipe import Pass, Recipe
from accelsim.measure.endtoend.rows import Row
from accelsim.measure.predict import campaigns
from accelsim.workload.transforms.eager import Eager

__all__ = ["SOURCES"]

# Operator in the table -> what its clock's constants are listed under, and its operators in the
# library.  Batched products are timed like the others; query, key and value are three products,
# each timed alone: together they take three times the output projection, which is of their size.
# The all-reduce was measured by a collective benchmark, whose clock adds nothing.
_OPERATORS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "LayerNorm_MHA": ("layernorm", ("input_norm",)),
    "Q_K_V": ("gemm", ("qkv_proj.query", "qkv_proj.key", "qkv_proj.value")),
    "Q_mul_K": ("gemm", ("attention.score",)),
    "Softmax": ("softmax", ("attention.softmax",)),
    "A_mul_V": ("gemm", ("attention.context",)),
    "Wo_proj": ("gemm", ("o_proj",)),
    "AllReduce_MHA": ("", ("o_proj.all_reduce",)),
    "LayerNorm_FFN": ("layernorm", ("post_attention_norm",)),
    "W1_proj": ("gemm", ("up_proj",)),
    "GeLU": ("gelu", ("activation",)),
    "W2_proj": ("gemm", ("down_proj",)),
    "AllReduce_FFN": ("", ("down_proj.all_reduce",)),
}


def _clocks(
    row: Row, asked: Mapping[str, tuple[str, tuple[str, ...]]]
) -> tuple[tuple[str, float, float], ...]:
    """Return what the campaign's clock shows of each operator besides its kernel."""
    known = campaigns().get((row.gpu, row.source))
    if known is None:
        return ()
    found = {of: known.clock_of(like) for like, those in asked.values() if like for of in those}
    return tuple((of, clock.launch_s, clock.least_s) for of, clock in found.items() if clock)


def _recipe(row: Row) -> Recipe | str:
    if row.model != "gpt3-175b":
        return f"no layer of `{row.model}` is mapped"
    decoding = row.phase == "layer_decode"
    one = Pass(
        row.model, "decode" if decoding else "prefill", row.batch,
        row.seq_in + row.seq_out - 1 if decoding else row.seq_in,
        dtype=row.dtype, keep=(("layers", 1),),
        transforms=(Eager(scale=False, mask=False, copies="none", compose_activations=False,
                          cache=decoding, separate_projections=True),),
    )  # fmt: skip
    name = row.metric.removeprefix("op_ms:")
    asked = {
        one: of for one, of in _OPERATORS.items() if row.metric == "latency_ms" or one == name
    }
    if not asked:
        return f"the operator {name} is not one of the layer's"
    operators = tuple(operator for _, those in asked.values() for operator in those)
    return Recipe(row.gpu, (one,), "graph", row.n_devices, operators, _clocks(row, asked),
                  campaign=row.source)  # fmt: skip


SOURCES: Final[Mapping[str, Callable[[Row], Recipe | str]]] = {"llmcompass": _recipe}
