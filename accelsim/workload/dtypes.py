"""Number formats of a model by role, as a model file states them or a sweep overrides them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from accelsim.config import Spec
from accelsim.errors import UnknownNameError, nearest
from accelsim.workload.tensor import DTYPE_BITS, dtype_bits

__all__ = ["Dtype", "Dtypes"]


def _known(name: str) -> str:
    try:
        dtype_bits(name)
    except UnknownNameError:
        raise PydanticCustomError(
            "dtype",
            "unknown number format `{name}`; {hint}",
            {"name": name, "hint": nearest(name, DTYPE_BITS)},
        ) from None
    return name


Dtype = Annotated[str, AfterValidator(_known)]
"""A name of `DTYPE_BITS`, or a grouped format such as ``int4_g128``; see `dtype_bits`."""


class Dtypes(Spec):
    """Number format of each kind of tensor.

    Examples
    --------
    >>> Dtypes(weight="int4").embedding_dtype
    'int4'
    """

    weight: Dtype = "bf16"
    """Weights of linear layers and experts."""
    activation: Dtype = "bf16"
    """Activations, norm weights and biases."""
    kv_cache: Dtype = "bf16"
    """Keys and values in the cache."""
    state: Dtype = "fp32"
    """Recurrent state."""
    embedding: Dtype | None = None
    """Embedding table and output head; the format of `weight` where absent."""
    experts: Dtype | None = None
    """Routed experts; the format of `weight` where absent."""

    @property
    def embedding_dtype(self) -> str:
        """Format of the embedding table and the output head."""
        return self.embedding or self.weight
