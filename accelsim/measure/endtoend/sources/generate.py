"""Generation of text: a prefill and one decoding step per token, all sequences alike.

Servers are taken as a static batch: rows whose figure holds queueing are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from accelsim.measure.endtoend.recipe import Pairs, Pass, Recipe, decoding
from accelsim.measure.endtoend.rows import Row

__all__ = ["SOURCES"]

_GPT: Final[Mapping[str, tuple[int, int, int]]] = {
    "gpt-350m": (1024, 24, 16), "gpt-1.3b": (2048, 24, 32), "gpt-6.7b": (4096, 32, 32),
    "gpt-20b": (6144, 44, 48), "gpt-175b": (12288, 96, 96), "megatron-530b": (20480, 105, 128),
}  # fmt: skip
"""Width, layers and heads of FasterTransformer's GPT models; vocabulary 51200."""

_LIBRARY: Final[Mapping[str, str]] = {
    "llama-2-7b": "llama2-7b", "llama-2-7b-hf": "llama2-7b", "llama2-7b": "llama2-7b",
    "llama2-13b": "llama2-13b", "llama-2-70b": "llama2-70b", "llama-2-70b-hf": "llama2-70b",
    "llama2-70b": "llama2-70b", "llama-3.1-8b": "llama3.1-8b", "meta-llama-3-8b": "llama3-8b",
    "meta-llama-3-70b": "llama3-70b", "llama-3.1-70b": "llama3-70b",
    "llama-3.1-405b": "llama3.1-405b", "mistral-7b-v0.1": "mistral-7b",
    "mixtral-8x7b-v0.1": "mixtral-8x7b", "bloom-176b": "bloom-176b",
    # Qwen2 and Qwen2.5 of a size have the same dimensions.
    "qwen2-7b": "qwen2.5-7b", "qwen2-72b": "qwen2.5-72b",
}  # fmt: skip

_WEIGHTS: Final[Mapping[str, str]] = {"int8_wo": "int8", "int4_wo": "int4_g32"}
"""Weight-only formats of gpt-fast; its 4-bit weights have groups of 32."""


def _model(row: Row) -> tuple[str, Pairs] | str:
    if row.model in _GPT:
        width, layers, heads = _GPT[row.model]
        changes = (
            ("parameters.hidden_size", width), ("parameters.num_hidden_layers", layers),
            ("parameters.num_attention_heads", heads), ("parameters.intermediate_size", 4 * width),
            ("parameters.vocab_size", 51200),
        )  # fmt: skip
        return "gpt3-175b", changes
    name = _LIBRARY.get(row.model)
    return (name, ()) if name else f"the library has no model `{row.model}`"


def _passes(row: Row, model: tuple[str, Pairs], *, first: bool, rest: bool) -> tuple[Pass, ...]:
    """Return the prefill where `first`, and the decoding steps where `rest`."""
    name, changes = model
    made = []
    if first:
        made.append(Pass(name, "prefill", row.batch, row.seq_in, dtype=row.dtype, changes=changes))
    if rest:
        for middle, times in decoding(row.seq_in, row.seq_out - 1):
            made.append(
                Pass(name, "decode", row.batch, middle, times=float(times), dtype=row.dtype,
                     changes=changes)
            )  # fmt: skip
    return tuple(made)


def _generation(row: Row, launch: str) -> Recipe | str:
    model = _model(row)
    if isinstance(model, str):
        return model
    if int(row.note("pp") or 1) > 1:
        return "one batch through a pipeline of several nodes is not mapped"
    if row.n_devices > 8:
        return "tensor parallel over several nodes: their network is not described"
    if row.metric == "ttft_ms" and row.batch > 4:
        return "time to first token of prompts that are read one after the other: queueing"
    return Recipe(
        row.gpu,
        _passes(row, model, first=row.metric != "tpot_ms", rest=row.metric != "ttft_ms"),
        launch, row.ways, resident=True,
    )  # fmt: skip


def _per_token(row: Row) -> Recipe | str:
    """Return the mean step of decoding at batch 1 (gpt-fast) or of a batch (time per token)."""
    model = _model(row)
    if isinstance(model, str):
        return model
    weight = _WEIGHTS.get(row.dtype, "")
    one = Pass(
        model[0], "decode", row.batch, row.seq_in + row.seq_out // 2, changes=model[1],
        dtype="bf16" if weight else row.dtype, weight=weight,
    )  # fmt: skip
    return Recipe(row.gpu, (one,), "graph", row.n_devices, resident=True)


def _faster_transformer(row: Row) -> Recipe | str:
    return _generation(row, "native")


def _bench(row: Row) -> Recipe | str:
    launch = {"tensorrt-llm": "native", "vllm": "graph"}.get(row.impl, "server")
    return _generation(row, launch)


def _vllm_2023(row: Row) -> Recipe | str:
    if "power" in row.metric:
        return "the metric is a power"
    made = _generation(row, "server")
    if isinstance(made, str) or row.metric != "tpot_ms":
        return made
    steps = sum(one.times for one in made.passes)
    shares = tuple(replace(one, times=one.times / steps) for one in made.passes)
    return replace(made, passes=shares)


def _turbomind(row: Row) -> Recipe | str:
    if row.metric != "tpot_p50_ms":
        return f"the metric {row.metric} of a server holds queueing"
    return _per_token(row)


SOURCES: Final[Mapping[str, Callable[[Row], Recipe | str]]] = {
    "gpt-fast": _per_token,
    "llm-inference-bench": _bench,
    "splitwise": _vllm_2023,
    "lmdeploy": _turbomind,
}
GENERATION: Final = _faster_transformer
"""FasterTransformer's rows of text generation."""
