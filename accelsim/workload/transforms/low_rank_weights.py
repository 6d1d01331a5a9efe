"""Low-rank layers: each weight matrix becomes a product of two thin ones."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final, Literal

from accelsim.config import Count, Fraction
from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.tensor import Role, Tensor
from accelsim.workload.transforms._rewrite import map_blocks, with_note
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "LowRankWeights"]


class LowRankWeights(Transform):
    """Replaces ``y = x W`` of k x n by ``y = (x U) V`` of rank r, where that saves parameters.

    Notes
    -----
    A rank of ``kept k n / (k + n)`` keeps that share of the parameters and of the FLOPs.
    """

    paper: ClassVar[str] = "SVD-LLM, arXiv 2403.07378: 20 % compression of every linear layer"

    kind: Literal["low_rank_weights"] = "low_rank_weights"
    kept: Fraction = 0.8
    """Share of a matrix's parameters that is kept; decides the rank unless `rank` is given."""
    rank: Count | None = None
    """Rank of every matrix."""
    labels: tuple[str, ...] = ("linear",)
    """Labels of the operators that are decomposed."""

    def rank_of(self, n: int, k: int) -> int:
        """Return the rank of a matrix, at least 1.

        Examples
        --------
        >>> LowRankWeights(kept=0.5).rank_of(4096, 4096)
        1024
        """
        return self.rank or max(1, int(self.kept * n * k / (n + k)))

    def apply(self, workload: Workload) -> Workload:
        """Return the pass with decomposed layers."""
        changed = map_blocks(workload, self._block)
        stated = f"rank {self.rank}" if self.rank else f"{self.kept:g} of the parameters"
        return with_note(changed, "low_rank_weights", stated)

    def _block(self, block: Block) -> Block:
        tensors, operators = dict(block.tensors), list[Operator]()
        for operator in block.operators:
            dims = operator.dims
            weights = [n for n in operator.inputs if tensors[n].role is Role.WEIGHT]
            if not self._decomposes(operator, block):
                operators.append(operator)
                continue
            rank = self.rank_of(dims["n"], dims["k"])
            old = tensors.pop(weights[0])
            down, middle = f"{operator.name}.down.weight", f"{operator.name}.down"
            out = tensors[operator.outputs[0]]
            tensors[down] = Tensor(down, (rank, dims["k"]), old.dtype, Role.WEIGHT)
            tensors[middle] = Tensor(middle, (dims["m"], rank), out.dtype, Role.ACTIVATION)
            tensors[old.name] = replace(old, shape=(dims["n"], rank))
            first = tuple(n for n in operator.inputs if n not in weights)
            # Column parallel: the thin matrix is repeated; row parallel: it holds the shards.
            split = operator.shard == "k"
            operators.append(
                replace(operator, name=middle, dims={**dims, "n": rank}, inputs=(*first, down),
                        outputs=(middle,), shard="k" if split else None)
            )  # fmt: skip
            operators.append(
                replace(operator, dims={**dims, "k": rank}, inputs=(middle, *weights),
                        shard=None if split else operator.shard)
            )  # fmt: skip
        return replace(block, operators=tuple(operators), tensors=tensors)

    def _decomposes(self, operator: Operator, block: Block) -> bool:
        dims = operator.dims
        if operator.kind != "matmul" or operator.label not in self.labels or "experts" in dims:
            return False
        weights = [n for n in operator.inputs if block.tensors[n].role is Role.WEIGHT]
        if not weights or weights[0] in block.shared or dims["batch"] != 1:
            return False
        return self.rank_of(dims["n"], dims["k"]) * (dims["n"] + dims["k"]) < dims["n"] * dims["k"]


TRANSFORM: Final = LowRankWeights
