"""Neural graphics: a hash grid of features and small MLPs, for radiance fields and images.

Every sample finds its corners at each level, takes their features, interpolates them and runs
them through MLPs; a radiance field composes the samples of a ray to a pixel.

References
----------
Instant neural graphics primitives, arXiv 2201.05989, sections 3 to 5; sizes of the tables as in
tiny-cuda-nn's grid encoding.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from accelsim.config import Count, Spec, Whole
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Extent, Phase
from accelsim.workload.tensor import Role, packed_bytes

__all__ = [
    "INPUT",
    "PHASES",
    "Config",
    "Level",
    "NeuralGraphicsConfig",
    "active_parameter_count",
    "build",
    "default_extent",
    "parameter_count",
]

PHASES: Final = ("forward",)
INPUT: Final = "image"

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()
_ALIGNED: Final = 8
"""Entries of a level are a multiple of this (tiny-cuda-nn, grid.h)."""


class Level(NamedTuple):
    """One resolution of a grid."""

    side: int
    """Corners along a side."""
    entries: int
    """Entries of its table."""
    hashed: bool
    """Several corners share an entry."""


class NeuralGraphicsConfig(Spec):
    """A multiresolution hash grid and the MLPs that read it."""

    dimensions: Count
    """Dimensions of a sample's position: 2 for an image, 3 for a volume."""
    levels: Count = 16
    """Resolutions of the grid."""
    features: Count = 2
    """Numbers that an entry holds."""
    table_size: Count
    """Largest number of entries of a level."""
    coarsest: Count = 16
    """Corners along a side at the first level."""
    finest: Count
    """Corners along a side at the last level; those between grow by a constant factor."""
    hidden_size: Count = 64
    """Width of the MLPs."""
    density_layers: Whole = 1
    """Hidden layers of the first MLP."""
    density_outputs: Count
    """Outputs of the first MLP."""
    direction_features: Whole = 0
    """Encoded numbers of the view's direction, beside which the second MLP reads the first's
    outputs; 0 for no second MLP."""
    colour_layers: Whole = 2
    """Hidden layers of the second MLP, which has three outputs."""
    output_multiple: Count = 16
    """Outputs of an MLP are padded to a multiple of this (16 in tiny-cuda-nn's fused MLP)."""
    samples: Count = 1
    """Samples per pixel that are not skipped."""
    samples_per_pass: Count = 2**21
    """Samples that are processed together at most (instant-ngp's target_n_queries)."""
    image_size: tuple[Count, Count] = (1080, 1920)
    """Height and width, where a pass does not say."""

    @property
    def grid(self) -> tuple[Level, ...]:
        """Levels from coarse to fine."""
        found = []
        for number in range(self.levels):
            power = number / max(self.levels - 1, 1)
            # Rounded first: the last level would come out a hair above a whole number.
            exact = self.coarsest * (self.finest / self.coarsest) ** power
            side = math.ceil(round(exact, 6))
            corners = -(-(side**self.dimensions) // _ALIGNED) * _ALIGNED
            entries = min(corners, self.table_size)
            found.append(Level(side, entries, side**self.dimensions > entries))
        return tuple(found)

    def widths(self) -> list[list[int]]:
        """Return the widths of the layers of each MLP, from inputs to padded outputs."""
        inner, multiple = self.hidden_size, self.output_multiple
        first = [self.levels * self.features, *[inner] * self.density_layers]
        nets = [[*first, -(-self.density_outputs // multiple) * multiple]]
        if self.direction_features:
            inputs = self.density_outputs + self.direction_features
            nets.append([inputs, *[inner] * self.colour_layers, -(-3 // multiple) * multiple])
        return nets


Config: Final = NeuralGraphicsConfig


def default_extent(config: NeuralGraphicsConfig) -> Extent:
    """Return the size of the picture where a pass does not say."""
    return Extent(*config.image_size)


@lru_cache(maxsize=512)
def build(
    config: NeuralGraphicsConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "neural_graphics",
) -> Workload:
    """Return one pass over the pixels of ``phase.batch`` pictures; parameters as elsewhere.

    Notes
    -----
    Whole rays are processed together, so many that their samples do not exceed
    ``samples_per_pass``: a block that repeats with the weights in common, and one of the rest.
    """
    del conventions
    extent = phase.extent or default_extent(config)
    pixels = phase.batch * extent.frames * extent.height * extent.width
    rays = min(pixels, max(1, config.samples_per_pass // config.samples))
    full, rest = divmod(pixels, rays)
    blocks = [_field(config, dtypes, "", (rays, pixels), full)]
    if rest:
        blocks.append(_field(config, dtypes, "rest_", (rest, pixels), 1))
    total = parameter_count(config)
    given = ("positions", "directions") if config.direction_features else ("positions",)
    inputs = (
        "picture",
        *(before + one for before in ("", "rest_")[: len(blocks)] for one in given),
    )
    return Workload(
        name=name, blocks=tuple(blocks), parameters=total, active_parameters=total,
        kv_bytes_per_token=0, phase=str(phase), batch=phase.batch, tokens=pixels * config.samples,
        inputs=inputs, outputs=("picture",),
        conventions={
            "picture": f"{extent}, {config.samples} samples per pixel",
            "marching": "positions of the samples come from the host; empty space is skipped",
        },
    )  # fmt: skip


def _field(
    config: NeuralGraphicsConfig, dtypes: Dtypes, prefix: str, sizes: tuple[int, int], count: int
) -> Block:
    """Return the block that makes the pixels of some rays, of all, and puts them in place.

    What comes from the host is named after the prefix, since the rest has another size.
    """
    rays, pixels = sizes
    body, rows = BlockBuilder(f"{prefix}field", dtypes), rays * config.samples
    x = _encoded(
        body, config, body.activation(f"{prefix}positions", rows, config.dimensions), rows
    )
    nets = config.widths()
    density = colour = _mlp(body, "density", x, rows, nets[0])
    outputs = config.density_outputs
    if config.direction_features:
        seen = body.activation(f"{prefix}directions", rows, 3)
        x = _with_direction(body, config, density, seen, rows)
        colour, outputs = _mlp(body, "colour", x, rows, nets[1]), 3
    if config.samples > 1:
        colour = _composed(body, config, density, colour, rays, outputs)
    before = body.activation("picture", pixels, outputs)
    after = body.activation("placed", pixels, outputs)
    size = packed_bytes(rays * outputs, dtypes.activation)
    body.operator("placed", "transfer", {"size_bytes": size}, (colour, before), (after,), "copy")
    weights = [f"{part}.weight" for part in _parts(config)]
    for net, widths in zip(("density", "colour"), nets, strict=False):
        weights += [f"{net}_{layer}.weight" for layer in range(len(widths) - 1)]
    return body.block(count, {"picture": after}, frozenset(weights))


def _parts(config: NeuralGraphicsConfig) -> dict[str, list[Level]]:
    """Return the levels whose corners have entries of their own, and the hashed ones."""
    parts: dict[str, list[Level]] = {"dense": [], "hashed": []}
    for level in config.grid:
        parts["hashed" if level.hashed else "dense"].append(level)
    return {name: levels for name, levels in parts.items() if levels}


def _encoded(body: BlockBuilder, config: NeuralGraphicsConfig, positions: str, rows: int) -> str:
    """Add the grid encoding: corners, their features, and the sums weighted by distance."""
    corners, made = 2**config.dimensions, []
    for name, levels in _parts(config).items():
        found, entries = rows * len(levels), sum(level.entries for level in levels)
        taken, width = found * corners, config.features
        ids = _derived(body, f"{name}_corners", "corner_index", positions, taken, "int32")
        weights = _derived(body, f"{name}_weights", "corner_weight", positions, taken)
        table = body.tensor(f"{name}.weight", (entries, width), body.dtypes.weight, Role.WEIGHT)
        y = body.gather(name, table, ids, (taken, width, entries), label="embedding")
        mixed = body.activation(f"{name}_mixed", found, width)
        dims = {"rows": found, "columns": width, "terms": corners}
        body.operator(mixed, "reduce", dims, (y, weights), (mixed,), "interpolate", None,
                      {"function": "weighted_sum"})  # fmt: skip
        made.append(mixed)
    if len(made) == 1:
        return made[0]
    inputs = config.levels * config.features
    x = body.activation("features", rows, inputs)
    size = packed_bytes(rows * inputs, body.dtypes.activation)
    body.operator("features", "transfer", {"size_bytes": size}, tuple(made), (x,), "copy")
    return x


def _derived(
    body: BlockBuilder, name: str, function: str, source: str, rows: int, dtype: str = "",
    columns: int = 1,
) -> str:  # fmt: skip
    """Add a function of few numbers that makes many."""
    y = body.activation(name, rows, columns, dtype=dtype)
    dims = {"rows": rows, "columns": columns, "operands": 1}
    attributes = {"function": function, "part": True}
    body.operator(name, "elementwise", dims, (source,), (y,), "encoding", None, attributes)
    return y


def _with_direction(
    body: BlockBuilder, config: NeuralGraphicsConfig, x: str, seen: str, rows: int
) -> str:
    """Add the encoding of the direction and join it to the outputs of the first MLP."""
    seen = _derived(body, "harmonics", "spherical_harmonics", seen, rows,
                    columns=config.direction_features)  # fmt: skip
    width = config.density_outputs + config.direction_features
    y = body.activation("colour_inputs", rows, width)
    size = packed_bytes(rows * width, body.dtypes.activation)
    body.operator("colour_inputs", "transfer", {"size_bytes": size}, (x, seen), (y,), "copy")
    return y


def _mlp(body: BlockBuilder, name: str, x: str, rows: int, widths: list[int]) -> str:
    """Add an MLP without biases, with ReLU between its layers."""
    last = len(widths) - 2
    for layer, (k, n) in enumerate(pairwise(widths)):
        x = body.linear(f"{name}_{layer}", x, rows, n, k)
        if layer < last:
            x = body.elementwise(f"{name}_{layer}_relu", "relu", (x,), rows, n, label="activation")
    return x


def _composed(
    body: BlockBuilder, config: NeuralGraphicsConfig, density: str, colour: str, rays: int,
    outputs: int,
) -> str:  # fmt: skip
    """Add the sum of a ray's colours, weighted by opacity and by what lies before them."""
    rows = rays * config.samples
    x = body.elementwise("shade", "sigmoid", (colour,), rows, outputs, operands=1,
                         label="compose")  # fmt: skip
    alpha = body.elementwise("opacity", "exp", (density,), rows, 1, operands=1, label="compose")
    weights = body.elementwise("transmittance", "mul", (alpha,), rows, 1, label="compose")
    made = body.activation("pixels", rays, outputs)
    dims = {"rows": rays, "columns": outputs, "terms": config.samples}
    how = {"function": "weighted_sum"}
    body.operator("pixels", "reduce", dims, (x, weights), (made,), "compose", None, how)
    return made


@lru_cache(maxsize=256)
def parameter_count(config: NeuralGraphicsConfig) -> int:
    """Return the number of parameters by a closed form, padded outputs included."""
    layers = sum(k * n for widths in config.widths() for k, n in pairwise(widths))
    return config.features * sum(level.entries for level in config.grid) + layers


active_parameter_count = parameter_count
