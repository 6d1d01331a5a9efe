"""Neural graphics: a hash grid of features and small MLPs, for radiance fields and images.

Every sample takes the features of its corners at each level, interpolates them, and runs them
through MLPs; a radiance field composes the samples of a ray to a pixel.

References
----------
Instant neural graphics primitives, arXiv 2201.05989, sections 3 to 5.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Final

from accelsim.config import Count, Positive, Spec, Whole
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.graph import Workload
from accelsim.workload.phase import Extent, Phase
from accelsim.workload.tensor import Role, packed_bytes

__all__ = [
    "INPUT",
    "PHASES",
    "Config",
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
    """Cells along a side at the first level."""
    growth: Positive
    """Cells along a side from one level to the next."""
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
    """Hidden layers of the second MLP."""
    samples: Count = 1
    """Samples per pixel that are not skipped."""
    image_size: tuple[Count, Count] = (1080, 1920)
    """Height and width, where a pass does not say."""

    @property
    def entries(self) -> int:
        """Entries of all levels; a coarse level has one per corner."""
        sides = (int(self.coarsest * self.growth**level) for level in range(self.levels))
        return sum(min(self.table_size, (side + 1) ** self.dimensions) for side in sides)

    def widths(self) -> list[list[int]]:
        """Return the widths of the layers of each MLP, from inputs to outputs."""
        inner = self.hidden_size
        first = [self.levels * self.features, *[inner] * self.density_layers]
        nets = [[*first, self.density_outputs]]
        if self.direction_features:
            inputs = self.density_outputs + self.direction_features
            nets.append([inputs, *[inner] * self.colour_layers, 3])
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
    """Return one pass over the pixels of ``phase.batch`` pictures; parameters as elsewhere."""
    del conventions
    extent = phase.extent or default_extent(config)
    pixels = phase.batch * extent.frames * extent.height * extent.width
    rows = pixels * config.samples
    body = BlockBuilder("field", dtypes)
    corners = rows * config.levels * 2**config.dimensions
    ids = body.activation("corners", corners, dtype="int32")
    shape = (config.entries, config.features)
    table = body.tensor("grid.weight", shape, dtypes.weight, Role.WEIGHT)
    size = (corners, config.features, config.entries)
    x = body.gather("look_up", table, ids, size, label="embedding")
    inputs = config.levels * config.features
    weights = body.activation("corner_weights", corners)
    mixed = body.activation("interpolate", rows, inputs)
    # All features of a corner have one weight: rows of features, as many terms as corners.
    dims = {"rows": rows * config.levels, "columns": config.features,
            "terms": 2**config.dimensions}  # fmt: skip
    how = {"function": "weighted_sum"}
    body.operator("interpolate", "reduce", dims, (x, weights), (mixed,), "interpolate", None, how)
    x = mixed
    for number, widths in enumerate(config.widths()):
        if number:
            x = _with_direction(body, x, rows, config)
        x = _mlp(body, "density" if number == 0 else "colour", x, rows, widths)
    if config.samples > 1:
        alphas = body.elementwise("alpha", "exp", (x,), rows, 1, label="compose")
        made = body.activation("picture", pixels, config.widths()[-1][-1])
        dims = {"rows": pixels, "columns": config.widths()[-1][-1], "terms": config.samples}
        body.operator("picture", "reduce", dims, (x, alphas), (made,), "compose", None, how)
        x = made
    total = parameter_count(config)
    return Workload(
        name=name, blocks=(body.block(1),), parameters=total, active_parameters=total,
        kv_bytes_per_token=0, phase=str(phase), batch=phase.batch, tokens=pixels,
        inputs=("corners", "corner_weights",
                *(["directions"] if config.direction_features else [])),
        outputs=(x,),
        conventions={"picture": f"{extent}, {config.samples} samples per pixel",
                     "marching": "samples, hashes and weights come from the host"},
    )  # fmt: skip


def _with_direction(body: BlockBuilder, x: str, rows: int, config: NeuralGraphicsConfig) -> str:
    """Add the join of the first MLP's outputs and the encoded direction."""
    seen = body.activation("directions", rows, config.direction_features)
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


@lru_cache(maxsize=256)
def parameter_count(config: NeuralGraphicsConfig) -> int:
    """Return the number of parameters by a closed form."""
    layers = sum(k * n for widths in config.widths() for k, n in pairwise(widths))
    return config.entries * config.features + layers


active_parameter_count = parameter_count
