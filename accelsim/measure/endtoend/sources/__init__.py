"""What each source of end-to-end figures ran, one file per group of sources.

A file has ``SOURCES``: source name -> function from a row to a `Recipe`, or to the reason why the
library has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from accelsim.measure.endtoend.recipe import Recipe
from accelsim.measure.endtoend.rows import Row
from accelsim.measure.endtoend.sources import (
    diffusion,
    encoders,
    generate,
    layers,
    neusight,
    training,
)

__all__ = ["SOURCES"]

SOURCES: Mapping[str, Callable[[Row], Recipe | str]] = {
    **neusight.SOURCES,
    **layers.SOURCES,
    **diffusion.SOURCES,
    **training.SOURCES,
    **generate.SOURCES,
    **encoders.SOURCES,
}
"""Source -> its rows' recipes."""
