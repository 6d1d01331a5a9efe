"""Mixture-of-experts layers: choice, dispatch, grouped or looped products, combination.

The router's logits are operands, so that loads are as the case says: ``balanced`` spreads tokens
evenly, ``random`` draws the experts of each token independently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch.nn import functional

from accelsim.measure.bench.case import Case
from accelsim.measure.bench.timing import Unsupported
from accelsim.measure.bench.torch_backend.operation import Operation
from accelsim.measure.bench.torch_backend.tensors import Tensors

__all__ = ["OPERATIONS", "grouped_product"]


def _operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    """Return tokens, logits, both weights as linear layers store them, and tokens per expert."""
    rows, hidden, inter, experts, topk = of.sizes("rows", "hidden", "inter", "experts", "topk")
    tokens = make.normal(rows, hidden)
    logits = make.ranks(rows, experts)
    if of.subop == "balanced":
        turns = torch.arange(rows * topk, device=make.device).view(rows, topk) % experts
        far = torch.full(turns.shape, 2.0 * experts / 32, dtype=logits.dtype, device=make.device)
        logits = logits.scatter_add(1, turns, far)
    gate_up = make.normal(experts, 2 * inter, hidden, scale=hidden**-0.5)
    down = make.normal(experts, hidden, inter, scale=inter**-0.5)
    chosen = torch.topk(logits.float(), topk, dim=-1).indices
    loads = torch.bincount(chosen.flatten(), minlength=experts).tolist()
    return tokens, logits, gate_up, down, loads


def grouped_product(rows: Any, weights: Any, ends: Any) -> Any:
    """Return each group of rows times its own matrix, in one kernel where torch has it.

    Parameters
    ----------
    rows : Tensor
        (all rows, k), groups one behind the other.
    weights : Tensor
        (groups, n, k).
    ends : Tensor
        int32, the row at which each group ends.

    Raises
    ------
    Unsupported
        If torch has no grouped product.
    """
    product = getattr(functional, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)
    if product is None:
        raise Unsupported(f"torch {torch.__version__} has no grouped_mm")
    return product(rows, weights.transpose(-2, -1), offs=ends)


def _chosen(of: Case, logits: Any) -> tuple[Any, Any, Any]:
    """Return weights in the order of dispatch, that order, and tokens in that order."""
    topk = of.size("topk")
    highest, indices = torch.topk(logits, topk, dim=-1)
    weights = functional.softmax(highest, dim=-1).flatten()
    order = torch.argsort(indices.flatten(), stable=True)
    return weights[order], indices.flatten(), order


def _combined(tokens: Any, made: Any, weights: Any, order: Any, topk: int) -> Any:
    out = torch.zeros_like(tokens)
    return out.index_add_(0, order // topk, (made * weights[:, None]).to(tokens.dtype))


def _activated(both: Any) -> Any:
    gate, up = both.chunk(2, dim=-1)
    return functional.silu(gate) * up


def _grouped(of: Case, tokens: Any, logits: Any, gate_up: Any, down: Any, loads: Any) -> Any:
    weights, indices, order = _chosen(of, logits)
    experts, topk = of.sizes("experts", "topk")
    # Counted on the device: the host never waits, so the layer can be captured in a graph.
    counted = torch.zeros(experts, dtype=torch.int32, device=tokens.device)
    counted.scatter_add_(0, indices, torch.ones_like(indices, dtype=torch.int32))
    ends = counted.cumsum(0, dtype=torch.int32)
    rows = tokens[order // topk]
    made = grouped_product(_activated(grouped_product(rows, gate_up, ends)), down, ends)
    return _combined(tokens, made, weights, order, topk)


def _looped(of: Case, tokens: Any, logits: Any, gate_up: Any, down: Any, loads: Any) -> Any:
    """One pair of products per expert that has tokens; loads are known to the host beforehand."""
    weights, _, order = _chosen(of, logits)
    topk = of.size("topk")
    rows = tokens[order // topk]
    made = torch.cat([
        functional.linear(_activated(functional.linear(part, gate_up[expert])), down[expert])
        for expert, part in enumerate(rows.split(loads)) if part.shape[0]
    ])  # fmt: skip
    return _combined(tokens, made, weights, order, topk)


def _small(of: Case) -> Case:
    rows, experts = of.sizes("rows", "experts")
    few = min(experts, 8)
    return of.changed(
        rows=min(rows, 24), hidden=64, inter=96, experts=few, topk=min(of.size("topk"), few),
        active_experts=few,
    )  # fmt: skip


_RUNS: Final[Mapping[str, Callable[..., Any]]] = {"grouped_mm": _grouped, "loop": _looped}

OPERATIONS: Final[Mapping[str, Operation]] = {"moe": Operation(_operands, _RUNS, "loop", _small)}
