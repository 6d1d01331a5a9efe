"""Random operands of a case, on the device or, with the same values in float64, for a reference.

Both sides draw the same numbers in the same order on the CPU, rounded once to the case's format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch

from accelsim.measure.bench.timing import Unsupported

__all__ = ["TORCH_DTYPES", "Tensors", "torch_dtype"]

TORCH_DTYPES: Final[Mapping[str, str]] = {
    "fp64": "float64", "fp32": "float32", "tf32": "float32", "fp16": "float16",
    "bf16": "bfloat16", "fp8": "float8_e4m3fn", "int8": "int8",
}  # fmt: skip
"""Number format -> torch's name."""


_DRAWN: Final = frozenset({"bf16", "fp16"})


def torch_dtype(name: str) -> Any:
    """Return torch's dtype of a number format.

    Raises
    ------
    Unsupported
        If this version of torch has none.
    """
    found = getattr(torch, TORCH_DTYPES[name], None)
    if found is None:
        raise Unsupported(f"torch {torch.__version__} has no {TORCH_DTYPES[name]}")
    return found


class Tensors:
    """Makes the operands of one case, always the same for the same seed.

    Parameters
    ----------
    device : str
        ``cuda`` or ``cpu``.
    dtype : str
        Number format that values are rounded to.
    seed : int
        Of the random numbers.
    host_values : bool
        Draw on the CPU, so that another device gets the same values; slower.
    exact : bool
        Hold the rounded values in float64, for a reference.
    """

    def __init__(
        self, device: str, dtype: str, seed: int = 0, *, host_values: bool = False,
        exact: bool = False,
    ) -> None:  # fmt: skip
        self.device, self.name = device, dtype
        self.rounded = torch_dtype(dtype)
        self.dtype = torch.float64 if exact else self.rounded
        self._exact = exact
        self._source = "cpu" if host_values or exact else device
        self._random = torch.Generator(device=self._source)
        self._random.manual_seed(seed)

    def normal(self, *shape: int, scale: float = 1.0) -> Any:
        """Return normal numbers times `scale`; int8 gets whole numbers from -127 to 127."""
        if self.name == "int8":
            values = self._integers(-127, 128, shape).to(torch.int8)
        else:
            # On a device half precision is drawn as such: fp32 first would take thrice the memory.
            drawn = (
                self.rounded if self._source != "cpu" and self.name in _DRAWN else torch.float32
            )
            values = torch.randn(shape, generator=self._random, device=self._source, dtype=drawn)
            values = (values if scale == 1.0 else values * scale).to(self.rounded)
        return values.to(device=self.device, dtype=self.dtype)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Any:
        """Return numbers spread evenly from `low` to `high`."""
        values = torch.rand(shape, generator=self._random, device=self._source)
        values = (low + (high - low) * values).to(self.rounded)
        return values.to(device=self.device, dtype=self.dtype)

    def indices(self, below: int, *shape: int) -> Any:
        """Return whole numbers from 0 up to `below`, excluded."""
        return self._integers(0, below, shape).to(self.device)

    def ranks(self, rows: int, columns: int) -> Any:
        """Return rows of the numbers 0, 1/32, 2/32, ... in random order: no two are equal.

        Exact in bf16 up to 256 columns, so that every device chooses the same largest ones.
        """
        drawn = torch.rand((rows, columns), generator=self._random, device=self._source)
        return (drawn.argsort(-1) / 32).to(self.rounded).to(device=self.device, dtype=self.dtype)

    def _integers(self, low: int, high: int, shape: tuple[int, ...]) -> Any:
        return torch.randint(low, high, shape, generator=self._random, device=self._source)

    def wide(self, tensor: Any) -> Any:
        """Return a tensor in the format that states and statistics are kept in: fp32 at least."""
        return tensor.to(torch.float64 if self._exact else torch.float32)
