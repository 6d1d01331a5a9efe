"""Blocks and whole graphs of the workload library, operator by operator in torch.

Tensors have the sizes and formats of the exported graph; layouts that a graph leaves open
(channels first or last, how heads lie in a fused projection) are read as they lie in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from accelsim.measure.bench import graphs
from accelsim.measure.bench.case import Case
from accelsim.measure.bench.graphs import Block, Graph
from accelsim.measure.bench.timing import Unsupported
from accelsim.measure.bench.torch_backend.kinds import KINDS
from accelsim.measure.bench.torch_backend.operation import Operation
from accelsim.measure.bench.torch_backend.tensors import Tensors
from accelsim.measure.bench.torch_backend.values import Values

__all__ = ["OPERATIONS", "BlockRun"]

_KEPT: Final = frozenset({"weight", "kv_cache", "state"})
_CHECKED: Final = "check:"
"""Prefix of the name of a graph's small twin, which the check runs in place of it."""


class BlockRun:
    """One repetition of a block with its own weights, caches and states.

    Parameters
    ----------
    block : Block
        Of an exported graph.
    batch : int
        Sequences or images of the pass.
    make : Tensors
        What makes weights and inputs.
    """

    def __init__(self, block: Block, batch: int, make: Tensors) -> None:
        self._block, self._batch = block, batch
        unknown = sorted({o.kind for o in block.operators} - set(KINDS))
        if unknown:
            raise Unsupported(f"operators of kind {', '.join(unknown)}")
        made = {name for operator in block.operators for name in operator.outputs}
        outside = {name for o in block.operators for name in o.inputs} - made
        kept = {name for name, tensor in block.tensors.items() if tensor.role in _KEPT}
        self._held = {name: _filled(block, name, make) for name in sorted(outside | kept)}
        read = {name for operator in block.operators for name in operator.inputs}
        self._ends = (made - read - kept) | (made & set(block.shared))

    def run(self, streams: Mapping[str, Any], grouped: bool) -> dict[str, Any]:
        """Run the operators; return what flows on: streams, shared tensors and unread results.

        Parameters
        ----------
        streams : mapping of str to Tensor
            What earlier blocks left, by the name of the stream.
        grouped : bool
            Whether expert products run as one grouped kernel.
        """
        usable = {n: t for n, t in streams.items() if self._fits(n, t)}
        values = Values(self._held | usable, self._block.tensors, self._batch, grouped)
        for operator in self._block.operators:
            KINDS[operator.kind](operator, values)
        ends = {name: values.held[name] for name in sorted(self._ends)}
        return ends | {stream: values.held[name] for stream, name in self._block.carry.items()}

    def _fits(self, name: str, tensor: Any) -> bool:
        known = self._block.tensors.get(name)
        return known is not None and name in self._held and tensor.numel() == known.elements


def _filled(block: Block, name: str, make: Tensors) -> Any:
    """Return random contents of a tensor: indices below the table's rows, small weights."""
    tensor = block.tensors[name]
    if tensor.dtype.startswith(("int", "uint")) and tensor.dtype not in {"int8", "uint8"}:
        return make.indices(_rows_of_table(block, name), *tensor.shape)
    if tensor.role != "weight":
        return make.normal(*tensor.shape)
    if len(tensor.shape) == 1:
        return make.uniform(*tensor.shape, low=0.5, high=1.5)
    inner = tensor.elements // tensor.shape[0]
    return make.normal(*tensor.shape, scale=min(1.0, inner**-0.5))


def _rows_of_table(block: Block, name: str) -> int:
    rows = [
        o.dims["table_rows"] for o in block.operators if o.kind == "gather" and name in o.inputs
    ]
    return min(rows, default=2)


def _parts(of: Case) -> tuple[Graph, list[Block]]:
    """Return the graph and the blocks that a case runs."""
    name, _, block = of.subop.removeprefix(_CHECKED).partition("#")
    graph = graphs.named(name)
    blocks = graph.check if of.subop.startswith(_CHECKED) else graph.blocks
    return graph, [b for b in blocks if not block or b.name == block]


def _operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    graph, blocks = _parts(of)
    checking = of.subop.startswith(_CHECKED)
    batch = graph.check_batch if checking else graph.batch
    runs: list[BlockRun] = []
    for block in blocks:
        repeats = block.count if of.op == "model" and not checking else 1
        runs.extend(BlockRun(block, batch, make) for _ in range(repeats))
    return (runs,)


def _run(of: Case, runs: list[BlockRun]) -> Any:
    streams: dict[str, Any] = {}
    for one in runs:
        streams |= one.run(streams, grouped=of.impl.endswith("grouped_mm"))
    return tuple(streams.values())


def _small(of: Case) -> Case:
    sizes: dict[str, Any] = dict(of.dims)
    return Case(of.op, of.dtype, of.impl, tuple(sizes.items()), _CHECKED + of.subop)


_RUNS: Final = dict.fromkeys(("torch.eager", "torch.eager+loop", "torch.eager+grouped_mm"), _run)

OPERATIONS: Final[Mapping[str, Operation]] = {
    name: Operation(_operands, _RUNS, "torch.eager", _small) for name in ("block", "model")
}
