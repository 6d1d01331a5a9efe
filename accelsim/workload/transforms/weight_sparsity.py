"""Weight sparsity: N:M, unstructured or in blocks, with the metadata that its storage needs."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import ClassVar, Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Fraction
from accelsim.workload.graph import Operator, Workload
from accelsim.workload.tensor import Role, Sparsity, Tensor
from accelsim.workload.transforms._rewrite import map_tensors, with_note
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "WeightSparsity"]

_N_M: Final = re.compile(r"([1-9]\d*):([1-9]\d*)")


class WeightSparsity(Transform):
    """Leaves zeros out of weight matrices; the MACs that they would take become `zero_macs`.

    Notes
    -----
    Metadata per element of the dense matrix: N:M stores ``ceil(log2 M)`` bits for each of N
    elements kept (2 bits for 2:4, as sparse tensor cores read it); a bitmap 1 bit; CSR an index of
    ``ceil(log2 columns)`` bits per element kept; blocks one bit per block.

    Examples
    --------
    >>> WeightSparsity().metadata_bits((4096, 4096))
    1.0
    >>> WeightSparsity(pattern="unstructured", density=0.3, format="csr").density_of()
    0.3
    """

    paper: ClassVar[str] = "SparseGPT, arXiv 2301.00774: 2:4 and 50 % unstructured"

    kind: Literal["weight_sparsity"] = "weight_sparsity"
    pattern: str = "2:4"
    """``N:M`` (N of M neighbours are kept), ``unstructured``, or ``block``."""
    density: Fraction | None = None
    """Share of elements kept; N / M where the pattern says so."""
    format: Literal["bitmap", "csr"] = "bitmap"
    """Storage of unstructured sparsity."""
    block: tuple[Count, Count] = (64, 64)
    """Rows and columns of a block."""
    labels: tuple[str, ...] = ("linear", "experts", "shared_experts", "conv")
    """Labels of the operators whose weights are sparse."""

    @model_validator(mode="after")
    def _known(self) -> WeightSparsity:
        found = _N_M.fullmatch(self.pattern)
        problem = ""
        if found and int(found[1]) > int(found[2]):
            problem = f"pattern {self.pattern} keeps more than there are"
        elif found and self.density not in (None, int(found[1]) / int(found[2])):
            problem = f"density {self.density} is not that of {self.pattern}"
        elif not found and self.pattern not in ("unstructured", "block"):
            problem = f"pattern `{self.pattern}`; legal: N:M such as 2:4, unstructured, block"
        elif not found and not self.density:
            problem = f"{self.pattern} sparsity needs a density above 0"
        if problem:
            raise PydanticCustomError("sparsity", "{problem}", {"problem": problem})
        return self

    def density_of(self) -> float:
        """Return the share of elements kept."""
        found = _N_M.fullmatch(self.pattern)
        return int(found[1]) / int(found[2]) if found else float(self.density or 1.0)

    def metadata_bits(self, shape: tuple[int, ...]) -> float:
        """Return the bits of metadata per element of the dense matrix."""
        found = _N_M.fullmatch(self.pattern)
        if found:
            return self.density_of() * math.ceil(math.log2(int(found[2])))
        if self.pattern == "block":
            return 1 / math.prod(self.block)
        if self.format == "bitmap":
            return 1.0
        return self.density_of() * math.ceil(math.log2(max(2, shape[-1])))

    def apply(self, workload: Workload) -> Workload:
        """Return the pass with sparse weights."""
        changed = map_tensors(workload, self._tensor)
        text = f"{self.pattern}, density {self.density_of():g}, of {', '.join(self.labels)}"
        return with_note(changed, "weight_sparsity", text)

    def _tensor(self, tensor: Tensor, read_by: list[Operator]) -> Tensor:
        matrix = tensor.role is Role.WEIGHT and len(tensor.shape) > 1
        if not matrix or not any(operator.label in self.labels for operator in read_by):
            return tensor
        bits = self.metadata_bits(tensor.shape)
        name = self.pattern if self.pattern != "block" else "block {}x{}".format(*self.block)
        return replace(tensor, sparsity=Sparsity(self.density_of(), name, bits))


TRANSFORM: Final = WeightSparsity
