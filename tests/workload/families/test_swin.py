"""Swin: figures of real classes, padded windows, and impossible images."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from accelsim.errors import ConfigError
from accelsim.workload import Extent, flop_split, forward, totals, validate
from accelsim.workload.families.swin import SwinConfig, build, parameter_count
from tests.workload.families.images import counted, model_of, wrong_rows

SMALL: dict[str, Any] = {
    "image_size": 32, "patch_size": 2, "embed_dim": 12, "depths": (2, 3), "num_heads": (2, 3),
    "window_size": 4, "num_classes": 10,
}  # fmt: skip

LIBRARY = [
    ("swin-tiny", 3, 224, 224, 28288354, 26943399936),
    ("swin-small", 1, 224, 224, 49606258, 17481750528),
    ("swin-base", 1, 224, 224, 87768224, 30861893632),
    ("swin-base-384", 1, 384, 384, 87903584, 94166269952),
    ("swin-large", 1, 224, 224, 196532476, 68951519232),
]
"""Model, images, height, width, parameters and FLOPs of timm 1.0.31, by torch 2.13.0's
FlopCounterMode on meta tensors."""


@pytest.mark.validate
def test_every_reference_row_is_met_exactly() -> None:
    """Parameters and FLOPs by class equal those of the real model."""
    wrong, seen = wrong_rows("swin")
    assert not wrong, "\n".join(wrong)
    assert seen >= {"swin-tiny"}


@pytest.mark.parametrize(("name", "batch", "height", "width", "parameters", "flops"), LIBRARY)
def test_the_library_equals_the_real_class(
    name: str, batch: int, height: int, width: int, parameters: int, flops: int
) -> None:
    """Parameters and FLOPs of a model of the library are those of the class it is named after."""
    assert counted(model_of(name, batch, height, width)) == (parameters, flops)


def test_attention_grows_with_the_image_and_not_with_its_square() -> None:
    """Windows have one size at every resolution."""
    small, large = (
        flop_split(build(SwinConfig(**SMALL), forward(1, extent=Extent(n, n)))) for n in (32, 64)
    )
    assert large["attention"] == 4 * small["attention"]


def test_tokens_are_padded_to_whole_windows() -> None:
    """Seventeen tokens take five windows of four; the MLP sees none of the padding."""
    graph = validate(build(SwinConfig(**SMALL), forward(1, extent=Extent(34, 32))))
    dims = {o.name: o.dims for o in next(b for b in graph.blocks if b.name == "stage.0").operators}
    assert dims["attention"]["batch"] == 5 * 4
    assert dims["mlp_1"]["m"] == 17 * 16
    merged = next(b for b in graph.blocks if b.name == "stage.1.merge").operators
    assert merged[-1].dims["m"] == 9 * 8


@pytest.mark.parametrize("flags", [(a, b) for a in (True, False) for b in (True, False)])
def test_the_closed_form_equals_the_graph(flags: tuple[bool, bool]) -> None:
    """With biases and absolute positions and without."""
    config = SwinConfig(**SMALL, qkv_bias=flags[0], absolute_positions=flags[1], mlp_ratio=2.5)
    for extent in (None, Extent(40, 36)):
        graph = validate(build(config, forward(2, extent=extent)))
        assert graph.parameters == parameter_count(config)
        assert totals(graph).macs > 0


def test_without_classes_the_mean_is_the_output() -> None:
    """The bare model ends with its pooling."""
    graph = validate(build(SwinConfig(**{**SMALL, "num_classes": 0}), forward(1)))
    assert graph.outputs == ("pool",)


def test_an_image_below_a_window_is_refused() -> None:
    """The error names the stage that has too few tokens."""
    with pytest.raises(ConfigError, match=r"stage 1 2x2 tokens, less than a window of 4"):
        build(SwinConfig(**SMALL), forward(1, extent=Extent(8, 8)))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_heads": (2,)}, "as many entries"),
        ({"num_heads": (2, 5)}, "stage 1 is 24 wide, which 5 heads do not divide"),
    ],
)
def test_an_impossible_model_is_refused(changes: dict[str, Any], text: str) -> None:
    """Each mistake is refused with a text that names it."""
    with pytest.raises(ValidationError, match=text):
        SwinConfig(**{**SMALL, **changes})
