"""Depth Anything: figures of the real class, and what no pass uses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from accelsim.workload import Extent, flop_split, forward, validate
from accelsim.workload.families.depth_anything import DepthConfig, build, parameter_count
from tests.workload.families.images import counted, model_of, wrong_rows

SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 5, "num_attention_heads": 4, "intermediate_size": 64,
    "image_size": 28, "patch_size": 14, "layer_scale": True, "mask_token": True, "head": "none",
    "out_layers": (2, 3, 4, 5), "neck_hidden_sizes": (8, 12, 16, 20), "fusion_hidden_size": 8,
}  # fmt: skip

LIBRARY = [
    ("depth-anything-small", 1, 518, 518, 24785089, 115267534080),
    ("depth-anything-small", 1, 1036, 1036, 24785089, 875233803264),
    ("depth-anything-small", 2, 252, 518, 24785089, 94906192896),
    ("depth-anything-base", 1, 518, 518, 97470785, 380700643584),
    ("depth-anything-base", 1, 1036, 1036, 97470785, 2350388499456),
    ("depth-anything-base", 1, 518, 686, 97470785, 533750525184),
    ("depth-anything-large", 1, 518, 518, 335315649, 1304217118976),
    ("depth-anything-large", 1, 1036, 1036, 335315649, 7423960097792),
    ("depth-anything-large", 2, 252, 518, 335315649, 1177297056768),
]
"""Model, images, height, width, parameters and FLOPs of DepthAnythingForDepthEstimation in
transformers 5.23.0, by torch 2.13.0's FlopCounterMode on meta tensors."""


@pytest.mark.validate
def test_every_reference_row_is_met_exactly() -> None:
    """Parameters and FLOPs by class equal those of the real models."""
    wrong, seen = wrong_rows("depth_anything")
    assert not wrong, "\n".join(wrong)
    assert seen >= {"depth-anything-small", "depth-anything-base"}


@pytest.mark.parametrize(("name", "batch", "height", "width", "parameters", "flops"), LIBRARY)
def test_the_library_equals_the_real_class(
    name: str, batch: int, height: int, width: int, parameters: int, flops: int
) -> None:
    """Parameters and FLOPs of a model of the library are those of the class it is named after."""
    assert counted(model_of(name, batch, height, width)) == (parameters, flops)


@pytest.mark.parametrize("extent", [None, Extent(56, 70), Extent(14, 14)])
def test_the_closed_form_equals_the_graph(extent: Extent | None) -> None:
    """At every size, also where maps have odd sides."""
    config = DepthConfig(**SMALL)
    graph = validate(build(config, forward(2, extent=extent)))
    assert graph.parameters == parameter_count(config)


def test_a_unit_of_the_first_fusion_is_idle() -> None:
    """The coarsest map has none to be summed with; the token for masked patches rests too."""
    graph = build(DepthConfig(**SMALL), forward(1))
    assert graph.idle_parameters == 2 * 8 * (9 * 8 + 1) + 32


def test_layers_behind_the_last_that_is_read_are_not_run() -> None:
    """They are parameters all the same."""
    config = DepthConfig(**{**SMALL, "num_hidden_layers": 7})
    base, more = build(DepthConfig(**SMALL), forward(1)), validate(build(config, forward(1)))
    assert flop_split(base) == flop_split(more)
    assert more.parameters - base.parameters == more.idle_parameters - base.idle_parameters


def test_metric_depths_end_in_a_scaled_sigmoid() -> None:
    """Relative ones end in a ReLU."""
    metric, relative = (
        build(DepthConfig(**SMALL, metric=given), forward(1)).blocks[-1].operators
        for given in (True, False)
    )
    assert [one.attributes["function"] for one in metric[-2:]] == ["sigmoid", "scale"]
    assert relative[-1].attributes["function"] == "relu"


@pytest.mark.parametrize("read", [(2, 2, 4, 5), (5, 4, 3, 2), (2, 3, 4, 6)])
def test_layers_that_are_not_there_are_refused(read: tuple[int, ...]) -> None:
    """The neck reads layers in order, of those that there are."""
    with pytest.raises(ValidationError, match="out_layers"):
        DepthConfig(**{**SMALL, "out_layers": read})
