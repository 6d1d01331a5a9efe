"""What a mapping says of loop nests: given loops, limits at levels, and what the search is for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec
from accelsim.errors import nearest
from accelsim.nest import ACCOUNTINGS

__all__ = ["AccountingName", "LevelPolicy", "NestPolicy"]

TensorName = Literal["input", "weight", "output"]


def _known(name: str) -> str:
    if name not in ACCOUNTINGS:
        raise PydanticCustomError(
            "accounting",
            "no accounting `{name}`; {hint}",
            {"name": name, "hint": nearest(name, ACCOUNTINGS)},
        )
    return name


AccountingName = Annotated[str, AfterValidator(_known)]
"""Name of one of `accelsim.nest.accounting.ACCOUNTINGS`."""


class LevelPolicy(Spec):
    """What a mapping fixes at one level of an array's hierarchy; the search chooses the rest."""

    loops: dict[str, Count] = Field(default_factory=dict)
    """Dim -> factor there; other dims are left to the search.  Dims of a product are
    ``batch m n k``; of a convolution ``n g m c p q r s``: images, groups, channels made and
    read, rows and columns of the output, rows and columns of the kernel."""
    dims: list[str] | None = None
    """Dims that may be looped over, or unrolled, there; all where absent."""
    keep: list[TensorName] | None = None
    """Exactly the tensors that a memory holds."""
    used: Count = 1
    """Fewest instances of a fan-out in use."""


class NestPolicy(Spec):
    """How arrays that run loop nests map their operators."""

    objective: Literal["latency", "energy", "edp", "traffic"] = "latency"
    """What the search makes small; of equal mappings the one of less energy (or latency)."""
    accounting: AccountingName = "accelsim"
    """Rules of counting: accelsim's own, or those of another tool, to compare with it."""
    pad: bool = True
    """The search also rounds dims up to the array's sizes, so that factors need not divide."""
    given: dict[str, dict[str, Count]] | None = None
    """The whole mapping: level -> dim -> factor, outermost loop first; nothing is searched."""
    levels: dict[str, LevelPolicy] = Field(default_factory=dict)
    """Level -> what is fixed there."""
