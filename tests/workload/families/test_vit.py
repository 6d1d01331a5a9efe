"""Vision transformers: figures of real classes, and the laws of their parts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.errors import ConfigError
from accelsim.workload import (
    Extent,
    Role,
    flop_split,
    forward,
    resident_bytes,
    totals,
    validate,
    weight_elements,
)
from accelsim.workload.families.vit import (
    VitConfig,
    active_parameter_count,
    build,
    parameter_count,
)
from tests.workload.configs import law
from tests.workload.families.images import counted, model_of, wrong_rows

SMALL: dict[str, Any] = {
    "hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 80,
    "image_size": 32, "patch_size": 8, "num_classes": 10,
}  # fmt: skip
EXPERTS: dict[str, Any] = {
    **SMALL, "num_local_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
    "num_tasks": 3, "head": "none",
}  # fmt: skip

LIBRARY = [
    ("vit-ti16", 1, 224, 224, 5717416, 2507366400),
    ("vit-s16", 1, 224, 224, 22050664, 9197764608),
    ("vit-s32", 3, 224, 224, 22878952, 6857459712),
    ("vit-b8", 1, 224, 224, 86576872, 156296675328),
    ("vit-b32", 1, 224, 224, 88224232, 8818372608),
    ("vit-b16-384", 1, 384, 384, 86859496, 110968700928),
    ("vit-l16-384", 1, 384, 384, 304715752, 382132600832),
    ("deit-tiny", 1, 224, 224, 5717416, 2507366400),
    ("deit-base", 1, 224, 224, 86567656, 35127656448),
    ("deit-base-384", 1, 384, 384, 86859496, 110968700928),
    ("deit-tiny-distilled", 1, 224, 224, 5910800, 2522007552),
    ("deit-small-distilled", 1, 224, 224, 22436432, 9248280576),
    ("deit-base-distilled", 1, 224, 224, 87338192, 35313623040),
    ("dinov2-small", 1, 518, 518, 22056576, 93393478656),
    ("dinov2-small", 2, 224, 224, 22056576, 24494247936),
    ("dinov2-base", 1, 518, 518, 86580480, 303147436032),
    ("dinov2-base", 2, 224, 224, 86580480, 92644909056),
    ("dinov2-large", 1, 518, 518, 304368640, 1013607653376),
    ("dinov2-large", 2, 224, 224, 304368640, 324047929344),
    ("dinov2-giant", 1, 518, 518, 1136480768, 3566685917184),
    ("dinov2-small-registers", 1, 518, 518, 22058112, 93765657600),
    ("dinov2-base-registers", 1, 224, 224, 86583552, 47078313984),
    ("dinov2-large-registers", 1, 518, 518, 304372736, 1017102557184),
    ("clip-l-vision", 1, 224, 224, 303179776, 162023964672),
    ("clip-l-vision", 3, 224, 224, 303179776, 486071894016),
]
"""Model, images, height, width, parameters and FLOPs by torch 2.13.0's FlopCounterMode on meta
tensors: ViT and DeiT of timm 1.0.31, the others of transformers 5.23.0."""


@pytest.mark.validate
def test_every_reference_row_is_met_exactly() -> None:
    """Parameters and FLOPs by class equal those of the real models."""
    wrong, seen = wrong_rows("vit")
    assert not wrong, "\n".join(wrong)
    assert seen >= {"vit-b16", "vit-l16", "deit-small"}


@pytest.mark.parametrize(("name", "batch", "height", "width", "parameters", "flops"), LIBRARY)
def test_the_library_equals_the_real_class(
    name: str, batch: int, height: int, width: int, parameters: int, flops: int
) -> None:
    """Parameters and FLOPs of a model of the library are those of the class it is named after."""
    assert counted(model_of(name, batch, height, width)) == (parameters, flops)


HEADS = ("classifier", "class_and_mean", "pooler", "class_token", "projection", "none")
FLAGS = ("patch_bias", "qkv_bias", "first_norm", "layer_scale", "mask_token")


@st.composite
def configs(draw: st.DrawFn) -> VitConfig:
    """Draw a legal vision transformer with every option."""
    small, side, heads = st.integers(1, 9), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    head = draw(st.sampled_from(HEADS))
    fields: dict[str, Any] = {
        "hidden_size": heads * draw(small), "num_hidden_layers": draw(st.integers(1, 5)),
        "num_attention_heads": heads, "intermediate_size": draw(small), "patch_size": side,
        "image_size": (side * draw(small), side * draw(small)), "num_channels": draw(small),
        "extra_tokens": draw(st.integers(0 if head == "none" else 1, 2)),
        "register_tokens": draw(st.integers(0, 3)), "head": head, "num_classes": draw(small),
        "projection_dim": draw(small), "classifiers": draw(st.integers(1, 2)),
    }  # fmt: skip
    fields |= {flag: draw(st.booleans()) for flag in FLAGS}
    if draw(st.booleans()):
        experts = draw(small)
        fields |= {
            "num_local_experts": experts, "num_experts_per_tok": draw(st.integers(1, experts)),
            "moe_intermediate_size": draw(small), "num_tasks": draw(st.integers(1, 3)),
        }  # fmt: skip
    else:
        fields["gated"] = draw(st.booleans())
    return VitConfig(**fields)


grids = st.none() | st.tuples(st.integers(1, 8), st.integers(1, 8))


@law
@given(configs(), st.integers(1, 4), grids)
def test_every_graph_is_legal_and_holds_its_parameters(
    config: VitConfig, batch: int, grid: tuple[int, int] | None
) -> None:
    """Weights touched and idle ones are the configuration's parameters, at every size."""
    side = config.patch_size
    extent = None if grid is None else Extent(grid[0] * side, grid[1] * side)
    graph = validate(build(config, forward(batch, extent=extent)))
    assert weight_elements(graph) + graph.idle_parameters == parameter_count(config)
    assert graph.idle_parameters >= 0
    assert active_parameter_count(config) <= parameter_count(config)


@law
@given(configs(), st.integers(2, 5))
def test_images_do_not_see_each_other(config: VitConfig, batch: int) -> None:
    """The work of a batch is that of so many images."""
    one, many = (totals(build(config, forward(n))) for n in (1, batch))
    assert many.macs == batch * one.macs


def test_tokens_follow_the_image() -> None:
    """Linear work grows with the patches, attention with their square."""
    config = VitConfig(**{**SMALL, "extra_tokens": 0, "head": "none"})
    small, large = (flop_split(build(config, forward(1, extent=Extent(n, n)))) for n in (32, 64))
    assert large["linear"] == 4 * small["linear"]
    assert large["attention"] == 16 * small["attention"]
    assert large["conv"] == 4 * small["conv"]


def test_positions_are_resized_for_another_image() -> None:
    """The weights are the table of the model's own size; the pass resizes it, and says so."""
    config = VitConfig(**SMALL)
    own, other = (build(config, forward(1, extent=e)) for e in (None, Extent(64, 48)))
    assert resident_bytes(own) == resident_bytes(other)
    assert "positions_resized" in [operator.name for _, operator in other.operators()]
    assert "32x32" in other.conventions["positions"]
    assert "positions" not in own.conventions


def test_experts_stand_in_every_second_layer() -> None:
    """From the second layer on; a task has a router of its own in each, and a pass runs one."""
    config = VitConfig(**EXPERTS)
    graph = validate(build(config, forward(1)))
    experts = [b.count for b in graph.blocks for o in b.operators if o.label == "experts"]
    assert experts == [2, 2]  # up and down, in two of four layers
    assert graph.idle_parameters == 2 * 2 * 48 * 8
    assert flop_split(graph)["experts"] == 2 * 2 * (17 * 2) * 2 * 48 * 24
    assert flop_split(graph)["router"] == 2 * 2 * 17 * 48 * 8


def test_a_pass_has_the_experts_it_uses_active() -> None:
    """Of eight experts in two layers, a token leaves six idle."""
    config = VitConfig(**EXPERTS)
    idle = parameter_count(config) - active_parameter_count(config)
    assert idle == 2 * 6 * (2 * 48 * 24 + 48 + 24)


def test_distillation_has_a_second_classifier() -> None:
    """DeiT's token of distillation is read by a classifier of its own."""
    config = VitConfig(**SMALL, extra_tokens=2, classifiers=2)
    graph = build(config, forward(2))
    assert graph.outputs == ("classifier", "classifier.1")
    assert graph.tokens == 2 * 18


def test_weights_have_the_format_that_is_asked_for() -> None:
    """m3vit-edge is published with weights of 16 bits."""
    graph = model_of("m3vit-edge", 1, 128, 256)
    assert resident_bytes(graph)[Role.WEIGHT] == 2 * weight_elements(graph)


@pytest.mark.parametrize(
    ("extent", "text"),
    [
        (Extent(36, 32), "36 is no multiple of the 8 pixels"),
        (Extent(32, 33), "workload.width"),
        (Extent(32, 32, 4), "not videos"),
    ],
)
def test_an_image_of_other_than_whole_patches_is_refused(extent: Extent, text: str) -> None:
    """The error names the side."""
    with pytest.raises(ConfigError, match=text):
        build(VitConfig(**SMALL), forward(1, extent=extent))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_attention_heads": 5}, "does not divide over num_attention_heads 5"),
        ({"extra_tokens": 0}, "reads the class token"),
        ({"head": "projection"}, "needs projection_dim"),
        ({"num_local_experts": 4}, "needs num_experts_per_tok"),
        ({"mlp_ratio": 4}, "unknown key `mlp_ratio`"),
    ],
)
def test_an_impossible_model_is_refused(changes: dict[str, Any], text: str) -> None:
    """Each mistake is refused with a text that names the field."""
    with pytest.raises(ValidationError, match=text):
        VitConfig(**{**SMALL, **changes})
