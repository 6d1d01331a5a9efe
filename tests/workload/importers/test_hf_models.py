"""Configurations of transformers and diffusers against the classes that they configure.

Parameters and FLOPs were counted once by torch's FlopCounterMode on meta tensors: transformers
5.23.0, diffusers 0.42.1, torch 2.13.0; logits of every position, attention over all pairs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accelsim.errors import ConfigError
from accelsim.workload import (
    Conventions,
    Extent,
    Phase,
    flop_split,
    forward,
    prefill,
    validate,
)
from accelsim.workload.families import family
from accelsim.workload.importers.hf import from_hf_config

AS_RUN = Conventions(logits="all", mla="expanded", ssd="per_head", causal_conv="padded")

REAL: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("hf_models.json").read_text(encoding="utf-8")
)
"""Configuration; the pass, a prefill of batch x tokens or a forward of batch, height, width,
frames and text; parameters; FLOPs."""


def pass_of(given: list[Any]) -> Phase:
    """Return the pass that a row describes."""
    kind, batch, *sizes = given
    if kind == "prefill":
        return prefill(batch, *sizes)
    return forward(batch, extent=Extent(*sizes[:3]), context_len=sizes[3])


def name_of(row: dict[str, Any]) -> str:
    """Return the kind of model of a row."""
    return str(row["config"].get("model_type") or row["config"]["_class_name"])


@pytest.mark.parametrize("row", REAL, ids=name_of)
def test_a_configuration_means_what_its_class_does(row: dict[str, Any]) -> None:
    """Parameters and FLOPs are those of the class that is made of the same fields."""
    found = from_hf_config(row["config"])
    graph = validate(
        family(found.family).build(
            found.config, pass_of(row["pass"]), dtypes=found.dtypes, conventions=AS_RUN, name="x"
        )
    )
    assert (graph.parameters, sum(flop_split(graph).values())) == (
        row["parameters"],
        row["flops"],
    )


def test_llama4_counts_the_experts_that_are_chosen() -> None:
    """The class in transformers runs every expert on every token; serving runs the chosen ones."""
    fields = {
        "model_type": "llama4_text", "hidden_size": 64, "num_hidden_layers": 4, "vocab_size": 100,
        "num_attention_heads": 4, "intermediate_size": 48, "intermediate_size_mlp": 96,
        "num_key_value_heads": 2, "head_dim": 16, "num_local_experts": 4,
        "interleave_moe_layer_step": 2, "attention_chunk_size": 32,
    }  # fmt: skip
    found = from_hf_config(fields)
    graph = validate(
        family("decoder").build(found.config, prefill(2, 48), dtypes=found.dtypes,
                                conventions=AS_RUN, name="x")
    )  # fmt: skip
    chosen = 2 * 2 * 96 * 3 * 64 * 48  # two layers, 96 tokens, one expert each
    assert graph.parameters == 192064
    assert sum(flop_split(graph).values()) == 40255488 - 3 * chosen


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"model_type": "jamba", "mamba_proj_bias": True}, "is missing|not supported"),
        ({"_class_name": "WanTransformer3DModel", "image_dim": 1280}, "conditioning on an image"),
        ({"_class_name": "FluxTransformer2DModel", "patch_size": 2}, "only 1 is supported"),
        ({"_class_name": "UNet2DConditionModel", "mid_block_type": "x"}, "only `UNetMid"),
        ({"_class_name": "PixArtTransformer2DModel"}, "`caption_channels` is missing"),
        ({"_class_name": "AutoencoderKL", "surprise": 3}, "not understood: surprise"),
    ],
)
def test_what_a_family_lacks_is_refused_by_field(config: dict[str, Any], text: str) -> None:
    """A field that would change the graph is never skipped in silence."""
    with pytest.raises(ConfigError, match=text):
        from_hf_config(config)
