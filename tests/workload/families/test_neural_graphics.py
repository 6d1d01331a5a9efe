"""Neural graphics: published weights, and the laws of grids and rays."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.workload import (
    Extent,
    Role,
    flop_split,
    forward,
    load_model,
    resident_bytes,
    totals,
    validate,
    weight_elements,
    workload,
)
from accelsim.workload.families.neural_graphics import (
    NeuralGraphicsConfig,
    build,
    parameter_count,
)
from tests.workload.configs import law


def nerf(**changes: Any) -> NeuralGraphicsConfig:
    return NeuralGraphicsConfig(
        **(load_model("instant-ngp-nerf").parameters.model_dump() | changes)
    )


def test_a_snapshot_of_instant_ngp_holds_as_many_weights() -> None:
    """13,084,640 in NVlabs/instant-ngp issue 845, whose MLPs pad their outputs to 8."""
    assert parameter_count(nerf(output_multiple=8)) == 13_084_640
    assert parameter_count(nerf()) == 13_085_152


def test_coarse_levels_have_an_entry_per_corner() -> None:
    """Entries are a multiple of 8; from the table's size on, corners share them."""
    grid = nerf().grid
    assert [level.side for level in grid][:4] == [16, 25, 37, 56]
    assert grid[0].entries == 16**3
    assert grid[1].entries == 25**3 + 7
    assert [level.hashed for level in grid] == [False] * 4 + [True] * 12
    assert grid[-1].side == 8192
    assert {level.entries for level in grid if level.hashed} == {2**19}


@st.composite
def configs(draw: st.DrawFn) -> NeuralGraphicsConfig:
    """Draw a field of any shape."""
    coarsest = draw(st.integers(1, 5))
    return NeuralGraphicsConfig(
        dimensions=draw(st.integers(1, 3)), levels=draw(st.integers(1, 5)),
        features=draw(st.integers(1, 3)), table_size=8 * draw(st.integers(1, 30)),
        coarsest=coarsest, finest=coarsest + draw(st.integers(0, 20)),
        hidden_size=draw(st.integers(1, 6)), density_layers=draw(st.integers(0, 2)),
        density_outputs=draw(st.integers(1, 5)), direction_features=draw(st.integers(0, 4)),
        colour_layers=draw(st.integers(0, 2)), output_multiple=draw(st.integers(1, 4)),
        samples=draw(st.integers(1, 4)), samples_per_pass=draw(st.integers(1, 40)),
        image_size=(draw(st.integers(1, 6)), draw(st.integers(1, 6))),
    )  # fmt: skip


@law
@given(configs(), st.integers(1, 3))
def test_every_graph_is_legal_and_holds_its_parameters(
    config: NeuralGraphicsConfig, batch: int
) -> None:
    """The weights are the configuration's parameters, once for all rays."""
    graph = validate(build(config, forward(batch)))
    assert weight_elements(graph) == graph.parameters == parameter_count(config)


@law
@given(configs(), st.integers(1, 40))
def test_work_does_not_depend_on_how_rays_are_put_together(
    config: NeuralGraphicsConfig, together: int
) -> None:
    """Passes of other sizes do the same products."""
    other = config.model_copy(update={"samples_per_pass": together})
    one, two = (build(c, forward(1)) for c in (config, other))
    assert flop_split(one) == flop_split(two)
    assert totals(one).vector_ops == totals(two).vector_ops


def test_work_is_that_of_the_samples() -> None:
    """Products of a sample: 32x64 + 64x16, and 32x64 + 64x64 + 64x16."""
    graph = build(nerf(samples=3), forward(2, extent=Extent(10, 20)))
    macs = 32 * 64 + 64 * 16 + 32 * 64 + 64 * 64 + 64 * 16
    assert flop_split(graph) == {"linear": 2 * (2 * 200 * 3) * macs}


def test_every_sample_takes_its_corners_from_every_level() -> None:
    """Eight corners of sixteen levels, of four bytes each and their number of four."""
    graph = build(nerf(samples=1), forward(1, extent=Extent(4, 4)))
    gathers = [o for _, o in graph.operators() if o.kind == "gather"]
    assert sum(o.dims["rows"] for o in gathers) == 16 * 16 * 8
    assert sum(o.dims["table_rows"] for o in gathers) * 2 == 13_074_912


def test_a_picture_is_rendered_in_passes() -> None:
    """2^21 samples together at most: a pass repeats, with the weights in common."""
    graph = workload("instant-ngp-nerf", forward(1))
    assert [(block.name, block.count) for block in graph.blocks] == [
        ("field", 63),
        ("rest_field", 1),
    ]
    assert resident_bytes(graph)[Role.WEIGHT] == 2 * graph.parameters


@pytest.mark.parametrize("name", ["instant-ngp-image", "instant-ngp-sdf"])
def test_other_primitives_have_one_mlp(name: str) -> None:
    """Images and distances are read off a sample, without a direction."""
    graph = validate(workload(name, forward(1)))
    assert graph.inputs == ("picture", "positions")
    assert flop_split(graph)["linear"] == 2 * 1080 * 1920 * (32 * 64 + 64 * 64 + 64 * 16)
