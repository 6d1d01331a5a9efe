"""What the literature does to a model before hardware sees it, one file per technique.

A transform changes a pass (formats, sparsity, caches, tokens) or the schedule of a generation
(fewer, cheaper or reused steps).  A model file lists them under ``transforms:`` and they apply in
that order.  To add one, add a file with a `Transform` class named ``TRANSFORM``.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from accelsim.registry import module, names
from accelsim.workload.transforms._transform import Transform

__all__ = ["AnyTransform", "Transform", "transforms"]


def transforms() -> dict[str, type[Transform]]:
    """Return kind -> class of every transform.

    Examples
    --------
    >>> "number_formats" in transforms()
    True
    """
    return {name: module("transform", name).TRANSFORM for name in names("transform")}


def _union() -> Any:
    classes = list(transforms().values())
    if len(classes) == 1:
        return classes[0]
    return Annotated[reduce(or_, classes), Field(discriminator="kind")]


if TYPE_CHECKING:
    AnyTransform = Transform
else:
    AnyTransform = _union()
