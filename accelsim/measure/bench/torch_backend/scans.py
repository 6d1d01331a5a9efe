"""Scans of state-space models in plain torch: token by token, in parallel, and in chunks.

No fused kernel is assumed; the column ``impl`` says which of these ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch.nn import functional

from accelsim.measure.bench.case import Case
from accelsim.measure.bench.torch_backend.operation import Operation
from accelsim.measure.bench.torch_backend.tensors import Tensors

__all__ = ["OPERATIONS", "selective_scan", "ssd"]


def _selective_operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    """Return x, dt (batch, length, channels), A (channels, state), B, C (batch, length, state)."""
    batch, length, channels, state = of.sizes("batch", "q_len", "heads", "state")
    channels *= of.size("head_dim")
    x = make.normal(batch, length, channels)
    dt = make.uniform(batch, length, channels, low=0.001, high=0.1)
    a = -make.uniform(channels, state, low=1.0, high=16.0)
    return x, dt, a, make.normal(batch, length, state), make.normal(batch, length, state)


def selective_scan(
    x: Any, dt: Any, a: Any, b: Any, c: Any, *, parallel: bool = False, state: Any = None
) -> Any:
    """Return y of Mamba's selective scan (arXiv 2312.00752, algorithm 2), states in fp32 or wider.

    Parameters
    ----------
    x, dt : Tensor
        (batch, length, channels).
    a : Tensor
        (channels, state), negative.
    b, c : Tensor
        (batch, length, state).
    parallel : bool
        Over all tokens in log2(length) steps (Hillis and Steele) in place of one by one.
    state : Tensor, optional
        (batch, channels, state) of earlier tokens; changed in place.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    x_, dt_, a_, b_, c_ = (t.to(wide) for t in (x, dt, a, b, c))
    if parallel:
        decay = torch.exp(dt_[..., None] * a_)
        states = (dt_ * x_)[..., None] * b_[:, :, None]
        step = 1
        while step < x.shape[1]:
            # h[t] = decay[t] h[t - step] + states[t], with what lies before the start zero.
            states = states + decay * functional.pad(states, (0, 0, 0, 0, step, 0))[:, :-step]
            decay = decay * functional.pad(decay, (0, 0, 0, 0, step, 0), value=1.0)[:, :-step]
            step *= 2
        return torch.einsum("blcn,bln->blc", states, c_).to(x.dtype)
    held = (
        torch.zeros(x.shape[0], *a.shape, dtype=wide, device=x.device) if state is None else state
    )
    made = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt_[:, t, :, None] * a_)
        held = decay * held + (dt_[:, t] * x_[:, t])[..., None] * b_[:, t, None]
        made.append((held * c_[:, t, None]).sum(-1))
    if state is not None:
        state.copy_(held)
    return torch.stack(made, 1).to(x.dtype)


def _ssd_operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    """Return x (batch, length, heads, width), dt, A per head, and B, C per group of heads."""
    batch, length, heads, width, state = of.sizes("batch", "q_len", "heads", "head_dim", "state")
    groups = of.size("groups", 1)
    x = make.normal(batch, length, heads, width)
    dt = make.uniform(batch, length, heads, low=0.001, high=0.1)
    a = -make.uniform(heads, low=1.0, high=16.0)
    shape = (batch, length, groups, state)
    return x, dt, a, make.normal(*shape), make.normal(*shape)


def _segment_sums(log_decay: Any) -> Any:
    """Return the sums over j < s <= i of the last dimension; minus infinity above the diagonal."""
    total = log_decay.cumsum(-1)
    length = log_decay.shape[-1]
    sums = total[..., :, None] - total[..., None, :]
    above = torch.ones(length, length, dtype=torch.bool, device=log_decay.device).triu(1)
    return sums.masked_fill(above, float("-inf"))


def ssd(x: Any, dt: Any, a: Any, b: Any, c: Any, chunk: int) -> Any:
    """Return y of Mamba-2's duality in chunks, as batched products (arXiv 2405.21060, listing 1).

    Parameters
    ----------
    x : Tensor
        (batch, length, heads, width); the length is a multiple of the chunk.
    dt : Tensor
        (batch, length, heads).
    a : Tensor
        (heads), negative.
    b, c : Tensor
        (batch, length, groups, state).
    chunk : int
        Tokens of a chunk.
    """
    batch, length, heads, _ = x.shape
    wide = torch.promote_types(x.dtype, torch.float32)
    times = heads // b.shape[2]

    def chunked(t: Any) -> Any:
        return t.reshape(batch, length // chunk, chunk, *t.shape[2:])

    log_decay = chunked(dt.to(wide) * a.to(wide)).permute(0, 3, 1, 2)  # batch, head, chunk, token
    fed = chunked(x * dt[..., None])
    b, c = (chunked(t).repeat_interleave(times, dim=3) for t in (b, c))
    total = log_decay.cumsum(-1)
    within = torch.exp(_segment_sums(log_decay)).to(x.dtype)
    scores = torch.einsum("bclhn,bcshn->bhcls", c, b) * within
    diagonal = torch.einsum("bhcls,bcshp->bclhp", scores, fed)
    to_end = torch.exp(total[..., -1:] - total).to(x.dtype)
    states = torch.einsum("bclhn,bhcl,bclhp->bchpn", b, to_end, fed)
    between = torch.exp(_segment_sums(functional.pad(total[..., -1], (1, 0)))).to(x.dtype)
    first = torch.cat((torch.zeros_like(states[:, :1]), states), dim=1)
    states = torch.einsum("bhzc,bchpn->bzhpn", between, first)[:, :-1]
    from_start = torch.exp(total).to(x.dtype)
    off_diagonal = torch.einsum("bclhn,bchpn,bhcl->bclhp", c, states, from_start)
    return (diagonal + off_diagonal).reshape(x.shape)


def _operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    return _ssd_operands(of, make) if of.subop == "ssd" else _selective_operands(of, make)


def _sequential(of: Case, x: Any, dt: Any, a: Any, b: Any, c: Any) -> Any:
    if of.subop == "selective":
        return selective_scan(x, dt, a, b, c)
    return _ssd_by_token(x, dt, a, b, c)


def _ssd_by_token(x: Any, dt: Any, a: Any, b: Any, c: Any) -> Any:
    """Return y of the same recurrence one token after the other."""
    wide = torch.promote_types(x.dtype, torch.float32)
    times = x.shape[2] // b.shape[2]
    x_, dt_, a_ = (t.to(wide) for t in (x, dt, a))
    b_, c_ = (t.to(wide).repeat_interleave(times, dim=2) for t in (b, c))
    held = torch.zeros(x.shape[0], *x.shape[2:], b.shape[-1], dtype=wide, device=x.device)
    made = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt_[:, t] * a_)[..., None, None]
        fed = (dt_[:, t, :, None] * x_[:, t])[..., None] * b_[:, t, :, None]
        held = decay * held + fed
        made.append((held * c_[:, t, :, None]).sum(-1))
    return torch.stack(made, 1).to(x.dtype)


def _associative(of: Case, x: Any, dt: Any, a: Any, b: Any, c: Any) -> Any:
    return selective_scan(x, dt, a, b, c, parallel=True)


def _chunked(of: Case, x: Any, dt: Any, a: Any, b: Any, c: Any) -> Any:
    return ssd(x, dt, a, b, c, of.size("chunk"))


def _small(of: Case) -> Case:
    few = {"heads": 96 if of.subop == "selective" else 4, "batch": 2}
    chunk = min(of.size("chunk", 1), 16)
    return of.changed(
        batch=min(of.size("batch"), few["batch"]), heads=min(of.size("heads"), few["heads"]),
        head_dim=min(of.size("head_dim"), 16), state=min(of.size("state"), 16), chunk=chunk,
        q_len=min(of.size("q_len"), 64), groups=1,
    )  # fmt: skip


OPERATIONS: Final[Mapping[str, Operation]] = {
    "scan": Operation(
        _operands,
        {"sequential": _sequential, "associative": _associative, "chunked": _chunked},
        "sequential", _small,
    ),
}  # fmt: skip
