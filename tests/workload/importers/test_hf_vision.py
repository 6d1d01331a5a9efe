"""Configurations of vision networks against the classes that they configure.

Parameters and FLOPs were counted once by torch's FlopCounterMode on meta tensors: transformers
5.23.0, torch 2.13.0.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accelsim.errors import ConfigError
from accelsim.workload import Extent, flop_split, forward, validate
from accelsim.workload.families import family
from accelsim.workload.importers.hf import from_hf_config

REAL: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("hf_vision.json").read_text(encoding="utf-8")
)
"""Configuration; batch, height and width; parameters; FLOPs."""


def name_of(row: dict[str, Any]) -> str:
    return f"{row['config']['architectures'][0]}-{'x'.join(map(str, row['pass']))}"


@pytest.mark.parametrize("row", REAL, ids=name_of)
def test_a_configuration_means_what_its_class_does(row: dict[str, Any]) -> None:
    """Parameters and FLOPs are those of the class that is made of the same fields."""
    found = from_hf_config(row["config"])
    batch, height, width = row["pass"]
    phase = forward(batch, extent=Extent(height, width))
    graph = validate(
        family(found.family).build(found.config, phase, dtypes=found.dtypes, name="x")
    )
    assert (graph.parameters, sum(flop_split(graph).values())) == (
        row["parameters"],
        row["flops"],
    )


def test_labels_are_counted_by_their_names() -> None:
    """A published file names its labels and does not count them; without names there are two."""
    named = {"model_type": "vit", "id2label": {str(n): f"LABEL_{n}" for n in range(37)}}
    assert from_hf_config(named).config.num_classes == 37
    assert from_hf_config({"model_type": "vit"}).config.num_classes == 2


def test_an_image_may_have_two_sides() -> None:
    """``image_size`` is one number, or height and width."""
    found = from_hf_config({"model_type": "vit", "image_size": [224, 448]})
    assert found.config.size == Extent(224, 448)


BACKBONE = {"model_type": "dinov2", "hidden_size": 384, "num_attention_heads": 6}
NAMED = {**BACKBONE, "out_features": ["stage9", "stage10", "stage11", "stage12"]}


def test_layers_that_the_neck_reads_may_be_named() -> None:
    """Older files name stages where newer ones number them, also from the end."""
    numbered = {**BACKBONE, "out_indices": [-4, -3, -2, -1]}
    read = [
        from_hf_config(
            {"model_type": "depth_anything", "backbone_config": given}
        ).config.out_layers
        for given in (NAMED, numbered)
    ]
    assert read == [(9, 10, 11, 12)] * 2


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"model_type": "vit", "architectures": ["ViTForMaskedImageModeling"]}, "is not supp"),
        ({"model_type": "vit", "patch_size": [16, 8]}, "16x8 is no square"),
        ({"model_type": "vit", "hidden_act": "mish"}, "function `mish`"),
        ({"model_type": "vit", "surprise": 3}, "not understood: surprise"),
        ({"model_type": "vit", "architectures": ["ViTModel"], "pooler_output_size": 9}, "pooler"),
        ({"model_type": "swin", "hidden_act": "relu"}, "only gelu"),
        ({"model_type": "resnet", "layer_type": "wide"}, "legal: basic, bottleneck"),
        ({"model_type": "resnet", "depths": [2, 2]}, "as many entries"),
        ({"model_type": "mobilenet_v2", "output_stride": 16}, "dilated"),
        ({"model_type": "mobilenet_v2", "expand_ratio": 2.5}, "no whole number"),
        ({"model_type": "mobilenet_v2", "first_layer_is_expansion": False}, "in the stem"),
        ({"model_type": "depth_anything"}, "`backbone_config` is missing"),
        ({"model_type": "depth_anything", "backbone": "dinov2"}, "a backbone by name"),
        ({"model_type": "depth_anything", "backbone_config": BACKBONE}, "out_indices or"),
        (
            {"model_type": "depth_anything", "backbone_config": {**NAMED, "depth": 3}},
            "not understood: depth",
        ),
        (
            {"model_type": "depth_anything", "backbone_config": NAMED,
             "reassemble_hidden_size": 768},
            "is not the encoder's hidden_size",
        ),
    ],
)  # fmt: skip
def test_what_a_family_lacks_is_refused_by_field(config: dict[str, Any], text: str) -> None:
    """A field that would change the graph is never skipped in silence."""
    with pytest.raises(ConfigError, match=text):
        from_hf_config(config)
