"""The tensors of a block by name while it runs, and how operators read and leave them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from accelsim.measure.bench.graphs import Operator, Tensor
from accelsim.measure.bench.timing import Unsupported

__all__ = ["Values"]


class Values:
    """Tensors of a block by name while it runs.

    Parameters
    ----------
    held : dict of str to Tensor
        What is there: weights, caches, inputs, and results as they come.
    tensors : mapping of str to Tensor
        What the graph says of each.
    batch : int
        Sequences or images of the pass.
    grouped : bool
        Whether expert products run as one grouped kernel.
    """

    def __init__(
        self, held: dict[str, Any], tensors: Mapping[str, Tensor], batch: int, grouped: bool
    ) -> None:
        self.held, self.tensors = held, tensors
        self.batch, self.grouped = batch, grouped

    def weights(self, names: tuple[str, ...]) -> list[str]:
        """Return the names of weights among `names`."""
        return [name for name in names if self.tensors[name].role == "weight"]

    def flat(self, name: str, *shape: int) -> Any:
        """Return the first elements of a tensor in a shape; all of fewer rows where it is 2-D."""
        held, needed = self.held[name], math.prod(shape)
        columns = needed // shape[0]
        if held.dim() == 2 and held.shape[0] == shape[0] and held.shape[1] > columns:
            return (
                held[:, :columns].unflatten(1, shape[1:]) if len(shape) > 2 else held[:, :columns]
            )
        if held.numel() < needed:
            raise Unsupported(f"tensor `{name}` of {held.numel()} elements read as {shape}")
        return held.reshape(-1)[:needed].view(shape)

    def leave(self, operator: Operator, *results: Any) -> None:
        """Name an operator's results; fewer elements than the graph says is a fault."""
        for name, result in zip(operator.outputs, results, strict=True):
            expected = self.tensors[name].elements
            if result.numel() != expected:
                raise ValueError(f"{operator.name}: {result.numel()} elements, not {expected}")
            self.held[name] = result
