"""Low-rank KV cache: what is cached are latents, from which keys and values are rebuilt."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final, Literal

from accelsim.config import Fraction
from accelsim.errors import GraphError
from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.tensor import Role, Tensor
from accelsim.workload.transforms._caches import cached_attention
from accelsim.workload.transforms._rewrite import map_blocks, scale_caches, with_note
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "KvLowRank"]


class KvLowRank(Transform):
    """Caches ``rank`` latents per token for all keys and as many for all values of a layer.

    Notes
    -----
    The projection makes latents in place of keys and values (the factor A of W = A B is merged
    into it); before the attention K and V are rebuilt for every cached token by the factor B,
    ``2 T rank d_kv`` MACs per sequence and layer, and keys are rotated.
    """

    paper: ClassVar[str] = "Palu, arXiv 2407.21118: latents of half the width"

    kind: Literal["kv_low_rank"] = "kv_low_rank"
    kept: Fraction = 0.5
    """Width of the latents over the width of the keys of all KV heads together."""

    def apply(self, workload: Workload) -> Workload:
        """Return the pass over cached latents.

        Raises
        ------
        GraphError
            If a layer's keys do not come from a fused projection of query, key and value.
        """
        changed = scale_caches(workload, map_blocks(workload, self._block))
        return with_note(changed, "kv_low_rank", f"latents of {self.kept:g} the width")

    def _block(self, block: Block) -> Block:
        attentions = [o for o in block.operators if cached_attention(o, block)]
        if not attentions:
            return block
        tensors, operators = dict(block.tensors), {o.name: [o] for o in block.operators}
        for attention in attentions:
            self._layer(attention, block, tensors, operators)
        flat = tuple(o for parts in operators.values() for o in parts)
        return replace(block, operators=flat, tensors=tensors)

    def _layer(
        self, attention: Operator, block: Block, tensors: dict[str, Tensor],
        operators: dict[str, list[Operator]],
    ) -> None:  # fmt: skip
        makers = {name: o for o in block.operators for name in o.outputs}
        dims = attention.dims
        width = dims["kv_heads"] * dims["head_dim"]
        rank = max(1, int(self.kept * width))
        append = makers.get(attention.inputs[1])
        project = next((makers[n] for n in append.inputs if n in makers
                        and makers[n].kind == "matmul"), None) if append else None  # fmt: skip
        if append is None or project is None or dims["head_dim"] != dims["value_dim"]:
            raise GraphError(
                f"attention `{attention.name}` of block `{block.name}`: its keys and values come"
                " from no fused projection, so they have no low-rank form here"
            )
        if operators[project.name][0] is project:  # once per layer, not per group of sequences
            self._thin(project, append, block, rank, width, tensors, operators)
        inputs, rebuilds = [attention.inputs[0]], []
        for cache in attention.inputs[1:3]:
            rebuilds += _rebuild(cache, attention, rank, width, tensors)
            inputs.append(rebuilds[-1].outputs[0])
        again = replace(attention, inputs=(*inputs, *attention.inputs[3:]))
        operators[attention.name] = [*rebuilds, again]

    def _thin(
        self, project: Operator, append: Operator, block: Block, rank: int, width: int,
        tensors: dict[str, Tensor], operators: dict[str, list[Operator]],
    ) -> None:  # fmt: skip
        """Make the projection give latents, rotate queries alone, and append fewer bytes."""
        n = project.dims["n"] - 2 * width + 2 * rank
        for name in project.inputs:
            tensor = tensors[name]
            if tensor.role is Role.WEIGHT:
                shape = (n, *tensor.shape[1:])
                tensors[name] = replace(tensor, shape=shape)
        out = project.outputs[0]
        tensors[out] = replace(tensors[out], shape=(project.dims["m"], n))
        operators[project.name] = [replace(project, dims={**project.dims, "n": n})]
        size = append.dims["size_bytes"] * rank // width
        operators[append.name] = [
            replace(append, dims={**append.dims, "size_bytes": size}, inputs=(out,))
        ]
        queries = project.dims["n"] - 2 * width
        for other in block.operators:
            if other.kind == "elementwise" and out in other.inputs:
                made = other.outputs[0]
                tensors[made] = replace(tensors[made], shape=(project.dims["m"], queries))
                operators[other.name] = [replace(other, dims={**other.dims, "columns": queries})]


def _rebuild(
    cache: str, attention: Operator, rank: int, width: int, tensors: dict[str, Tensor]
) -> list[Operator]:
    """Return the product that rebuilds keys or values, and the keys' rotation."""
    dims = attention.dims
    rows, old = dims["batch"] * dims["kv_len"], tensors[cache]
    tensors[cache] = replace(old, shape=(dims["batch"], dims["kv_len"], rank))
    dtype = tensors[attention.outputs[0]].dtype
    weight = f"{cache.rpartition('.')[0] + '.' if '.' in cache else ''}{old.name}.factor"
    made = f"{cache}.rebuilt"
    tensors[weight] = Tensor(weight, (width, rank), dtype, Role.WEIGHT)
    tensors[made] = Tensor(made, (rows, width), dtype, Role.ACTIVATION)
    size = {"batch": 1, "m": rows, "n": width, "k": rank}
    product = Operator(made, "matmul", size, (cache, weight), (made,), "linear", "n")
    if cache != attention.inputs[1]:
        return [product]
    turned = f"{cache}.rotated"
    tensors[turned] = Tensor(turned, (rows, width), dtype, Role.ACTIVATION)
    rotation = Operator(
        turned, "elementwise", {"rows": rows, "columns": width, "operands": 1}, (made,),
        (turned,), "rope", "columns", {"function": "rope"},
    )  # fmt: skip
    return [product, rotation]


TRANSFORM: Final = KvLowRank
