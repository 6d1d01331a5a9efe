"""LoRA adapters that stay apart from the weights, as multi-adapter serving runs them."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final, Literal

from accelsim.config import Count
from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.tensor import Role, Tensor
from accelsim.workload.transforms._rewrite import map_blocks, with_note
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "Lora"]


class Lora(Transform):
    """Adds ``y += (x A) B`` of rank r beside linear layers.

    Notes
    -----
    With several adapters the batch's rows are spread over them, as grouped kernels compute it:
    FLOPs do not change, each adapter's weights are read.
    """

    paper: ClassVar[str] = "LoRA, arXiv 2106.09685: rank 8; several adapters as S-LoRA, 2311.03285"

    kind: Literal["lora"] = "lora"
    rank: Count = 8
    """Rank of an adapter."""
    adapters: Count = 1
    """Adapters in the batch, no more than rows."""
    operators: tuple[str, ...] = ("qkv_proj", "o_proj")
    """Names of the layers adapted."""

    def apply(self, workload: Workload) -> Workload:
        """Return the pass with adapters."""
        changed = map_blocks(workload, self._block)
        text = f"rank {self.rank} on {', '.join(self.operators)}, {self.adapters} adapters"
        return with_note(changed, "lora", text)

    def _block(self, block: Block) -> Block:
        tensors, operators = dict(block.tensors), list[Operator]()
        for operator in block.operators:
            plain = operator.kind == "matmul" and operator.label == "linear"
            if not plain or operator.name.rpartition(".")[2] not in self.operators:
                operators.append(operator)
                continue
            operators += self._adapted(operator, tensors)
        return replace(block, operators=tuple(operators), tensors=tensors)

    def _adapted(self, operator: Operator, tensors: dict[str, Tensor]) -> list[Operator]:
        """Return the layer, the two products of its adapter, and their sum."""
        dims, name, out = operator.dims, operator.name, tensors[operator.outputs[0]]
        weight = next(t for n in operator.inputs if (t := tensors[n]).role is Role.WEIGHT)
        rows, n, k = dims["m"], dims["n"], dims["k"]
        several = {"experts": self.adapters, "active_experts": min(self.adapters, rows)}
        grouped = several if self.adapters > 1 else {}

        def add(suffix: str, shape: tuple[int, ...], role: Role) -> str:
            full = f"{name}.{suffix}"
            dtype = weight.dtype if role is Role.WEIGHT else out.dtype
            tensors[full] = Tensor(full, shape, dtype, role)
            return full

        lead = (self.adapters,) if grouped else ()
        a = add("lora_a.weight", (*lead, self.rank, k), Role.WEIGHT)
        b = add("lora_b.weight", (*lead, n, self.rank), Role.WEIGHT)
        base, down, up = (
            add("base", out.shape, Role.ACTIVATION),
            add("lora_a", (rows, self.rank), Role.ACTIVATION),
            add("lora_b", (rows, n), Role.ACTIVATION),
        )
        given = tuple(i for i in operator.inputs if tensors[i].role is not Role.WEIGHT)
        split = operator.shard == "k"
        size = {"batch": 1, "m": rows, **grouped}
        return [
            replace(operator, name=base, outputs=(base,)),
            Operator(down, "matmul", {**size, "n": self.rank, "k": k}, (*given, a), (down,),
                     "lora", "k" if split else None),
            Operator(up, "matmul", {**size, "n": n, "k": self.rank}, (down, b), (up,), "lora",
                     None if split else operator.shard),
            Operator(name, "elementwise", {"rows": rows, "columns": n, "operands": 2},
                     (base, up), operator.outputs, "lora", None if split else "columns",
                     {"function": "add"}),
        ]  # fmt: skip


TRANSFORM: Final = Lora
