"""One layer of each kind of network as a torch module with random weights.

The kind stands in the column ``subop``: gqa (Llama), mla (DeepSeek-V2), encoder (BERT), gpt
(GPT-3), mamba, unet (Stable Diffusion's residual and transformer pair), dit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

from accelsim.measure.bench.case import Case
from accelsim.measure.bench.counts import TEXT_LEN, TEXT_WIDTH, latent_sizes
from accelsim.measure.bench.torch_backend.attention import attend
from accelsim.measure.bench.torch_backend.operation import Operation
from accelsim.measure.bench.torch_backend.scans import selective_scan
from accelsim.measure.bench.torch_backend.tensors import Tensors
from accelsim.measure.bench.torch_backend.vectors import rms_norm, rotate

__all__ = ["OPERATIONS"]


def _split(x: Any, heads: int) -> Any:
    """Return (batch, heads, length, width) of (batch, length, heads * width)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _join(x: Any) -> Any:
    return x.transpose(1, 2).flatten(2)


class _RmsNorm(nn.Module):  # type: ignore[misc]
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))

    def forward(self, x: Any) -> Any:
        return rms_norm(x, self.weight)


class _Llama(nn.Module):  # type: ignore[misc]
    """RMS norm, grouped-query attention with rotary embedding and cache, gated MLP."""

    def __init__(self, of: Case) -> None:
        super().__init__()
        hidden, inter, heads, kv_heads, width = of.sizes(
            "hidden", "inter", "heads", "kv_heads", "head_dim"
        )
        self.heads, self.kv_heads, self.width = heads, kv_heads, width
        self.norm, self.mlp_norm = _RmsNorm(hidden), _RmsNorm(hidden)
        self.qkv = nn.Linear(hidden, (heads + 2 * kv_heads) * width, bias=False)
        self.out = nn.Linear(heads * width, hidden, bias=False)
        self.gate_up = nn.Linear(hidden, 2 * inter, bias=False)
        self.down = nn.Linear(inter, hidden, bias=False)

    def forward(self, x: Any, keys: Any, values: Any, cos: Any, sin: Any) -> Any:
        qkv = self.qkv(self.norm(x))
        sizes = [n * self.width for n in (self.heads, self.kv_heads, self.kv_heads)]
        q, k, v = (_split(t, t.shape[-1] // self.width) for t in qkv.split(sizes, dim=-1))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        new = x.shape[1]
        keys[:, :, -new:].copy_(k)
        values[:, :, -new:].copy_(v)
        x = x + self.out(_join(attend(q, keys, values, True)))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * up)


def _llama_inputs(of: Case, make: Tensors) -> tuple[Any, ...]:
    batch, q_len, kv_len, kv_heads, width, hidden = of.sizes(
        "batch", "q_len", "kv_len", "kv_heads", "head_dim", "hidden"
    )
    caches = (make.normal(batch, kv_heads, kv_len, width) for _ in range(2))
    return make.normal(batch, q_len, hidden), *caches, *_angles(make, q_len, width)


def _angles(make: Tensors, length: int, width: int) -> tuple[Any, Any]:
    angles = make.normal(length, width // 2).float()
    doubled = torch.cat((angles, angles), dim=-1)
    return doubled.cos().to(make.dtype), doubled.sin().to(make.dtype)


class _Latent(nn.Module):  # type: ignore[misc]
    """Multi-head latent attention: expanded keys in prefill, absorbed products in decoding."""

    def __init__(self, of: Case) -> None:
        super().__init__()
        hidden, inter, heads, width = of.sizes("hidden", "inter", "heads", "head_dim")
        self.latent, self.rope = latent_sizes(of)
        self.heads, self.width = heads, width
        self.norm, self.mlp_norm = _RmsNorm(hidden), _RmsNorm(hidden)
        self.kv_norm = _RmsNorm(self.latent)
        self.q = nn.Linear(hidden, heads * (width + self.rope), bias=False)
        self.kv_a = nn.Linear(hidden, self.latent + self.rope, bias=False)
        self.kv_b = nn.Linear(self.latent, 2 * heads * width, bias=False)
        self.out = nn.Linear(heads * width, hidden, bias=False)
        self.gate_up = nn.Linear(hidden, 2 * inter, bias=False)
        self.down = nn.Linear(inter, hidden, bias=False)

    def forward(self, x: Any, cache: Any, cos: Any, sin: Any) -> Any:
        new, normed = x.shape[1], self.norm(x)
        q = _split(self.q(normed), self.heads)
        q_nope, q_rope = q.split((self.width, self.rope), dim=-1)
        q_rope = rotate(q_rope, cos, sin)
        compressed, k_rope = self.kv_a(normed).split((self.latent, self.rope), dim=-1)
        row = torch.cat((self.kv_norm(compressed), rotate(k_rope, cos, sin)), dim=-1)
        cache[:, -new:].copy_(row)
        if new == cache.shape[1]:
            found = self._expanded(q_nope, q_rope, cache)
        else:
            found = self._absorbed(q_nope, q_rope, cache)
        x = x + self.out(_join(found))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * up)

    def _expanded(self, q_nope: Any, q_rope: Any, cache: Any) -> Any:
        latent, k_rope = cache.split((self.latent, self.rope), dim=-1)
        k, v = _split(self.kv_b(latent), self.heads).chunk(2, dim=-1)
        shared = k_rope[:, None].expand(-1, self.heads, -1, -1)
        query, key = torch.cat((q_nope, q_rope), -1), torch.cat((k, shared), -1)
        return attend(query, key, v, True)

    def _absorbed(self, q_nope: Any, q_rope: Any, cache: Any) -> Any:
        up = self.kv_b.weight.view(self.heads, 2 * self.width, self.latent)
        k_up, v_up = up.chunk(2, dim=1)
        query = torch.cat((torch.einsum("bhqd,hdl->bhql", q_nope, k_up), q_rope), -1)
        # attend() scales by the latent's width; the model by that of an expanded key.
        query = query * (query.shape[-1] / (self.width + self.rope)) ** 0.5
        key = cache[:, None]
        found = attend(query, key, key[..., : self.latent], True)
        return torch.einsum("bhql,hdl->bhqd", found, v_up)


def _latent_inputs(of: Case, make: Tensors) -> tuple[Any, ...]:
    batch, q_len, kv_len, hidden = of.sizes("batch", "q_len", "kv_len", "hidden")
    latent, rope = latent_sizes(of)
    cache = make.normal(batch, kv_len, latent + rope)
    return make.normal(batch, q_len, hidden), cache, *_angles(make, q_len, rope)


class _Classic(nn.Module):  # type: ignore[misc]
    """Layer norm, multi-head attention, GELU MLP, all with biases; BERT's norms come after."""

    def __init__(self, of: Case) -> None:
        super().__init__()
        hidden, inter, self.heads = of.sizes("hidden", "inter", "heads")
        self.after = of.subop == "encoder"
        self.norm, self.mlp_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, inter), nn.Linear(inter, hidden)

    def forward(self, x: Any, keys: Any, values: Any) -> Any:
        x = self._around(x, self.norm, lambda y: self._attention(y, keys, values))
        return self._around(x, self.mlp_norm, lambda y: self.down(functional.gelu(self.up(y))))

    def _around(self, x: Any, norm: Any, inner: Callable[[Any], Any]) -> Any:
        return norm(x + inner(x)) if self.after else x + inner(norm(x))

    def _attention(self, x: Any, keys: Any, values: Any) -> Any:
        q, k, v = (_split(t, self.heads) for t in self.qkv(x).chunk(3, dim=-1))
        if keys.shape[2] > x.shape[1]:  # decoding: the new token behind a cache
            keys[:, :, -x.shape[1] :].copy_(k)
            values[:, :, -x.shape[1] :].copy_(v)
            k, v = keys, values
        return self.out(_join(attend(q, k, v, not self.after)))


def _classic_inputs(of: Case, make: Tensors) -> tuple[Any, ...]:
    batch, q_len, kv_len, heads, width, hidden = of.sizes(
        "batch", "q_len", "kv_len", "heads", "head_dim", "hidden"
    )
    shape = (batch, heads, kv_len, width)
    return make.normal(batch, q_len, hidden), make.normal(*shape), make.normal(*shape)


class _Mamba(nn.Module):  # type: ignore[misc]
    """RMS norm, projections, causal convolution, selective scan (parallel), gate."""

    def __init__(self, of: Case) -> None:
        super().__init__()
        hidden, inter, self.state = of.sizes("hidden", "inter", "state")
        self.rank = -(-hidden // 16)
        self.norm = _RmsNorm(hidden)
        self.into = nn.Linear(hidden, 2 * inter, bias=False)
        self.conv = nn.Conv1d(inter, inter, 4, groups=inter, padding=3)
        self.x_proj = nn.Linear(inter, self.rank + 2 * self.state, bias=False)
        self.dt_proj = nn.Linear(self.rank, inter)
        self.a_log = nn.Parameter(torch.empty(inter))
        self.skip = nn.Parameter(torch.empty(inter))
        self.out = nn.Linear(inter, hidden, bias=False)

    def forward(self, x: Any) -> Any:
        main, gate = self.into(self.norm(x)).chunk(2, dim=-1)
        mixed = self.conv(main.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)
        main = functional.silu(mixed)
        sizes = (self.rank, self.state, self.state)
        rank, b, c = self.x_proj(main).split(sizes, dim=-1)
        dt = 0.01 * functional.softplus(self.dt_proj(rank))
        a = -self.a_log.exp()[:, None].expand(-1, self.state)
        found = selective_scan(main, dt, a, b, c, parallel=True) + self.skip * main
        return x + self.out(found * functional.silu(gate))


def _mamba_inputs(of: Case, make: Tensors) -> tuple[Any, ...]:
    return (make.normal(*of.sizes("batch", "q_len", "hidden")),)


class _Unet(nn.Module):  # type: ignore[misc]
    """Residual pair of convolutions with time embedding, then self- and cross-attention, GEGLU."""

    def __init__(self, of: Case) -> None:
        super().__init__()
        c_in, width, self.heads, time = *of.sizes("c_in", "c_out", "heads"), 1280
        self.norms = nn.ModuleList([nn.GroupNorm(32, c) for c in (c_in, width, width)])
        self.first = nn.Conv2d(c_in, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.time = nn.Linear(time, width)
        self.skip = nn.Conv2d(c_in, width, 1) if c_in != width else nn.Identity()
        self.into, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.layer_norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])
        self.qkv, self.self_out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.query = nn.Linear(width, width, bias=False)
        self.text = nn.Linear(TEXT_WIDTH, 2 * width, bias=False)
        self.cross_out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)

    def forward(self, image: Any, time: Any, text: Any) -> Any:
        act = functional.silu
        x = self.first(act(self.norms[0](image))) + self.time(act(time))[:, :, None, None]
        x = self.second(act(self.norms[1](x))) + self.skip(image)
        y = self.into(self.norms[2](x).flatten(2).transpose(1, 2))
        q, k, v = (_split(t, self.heads) for t in self.qkv(self.layer_norms[0](y)).chunk(3, -1))
        y = y + self.self_out(_join(attend(q, k, v, False)))
        q = _split(self.query(self.layer_norms[1](y)), self.heads)
        k, v = (_split(t, self.heads) for t in self.text(text).chunk(2, -1))
        y = y + self.cross_out(_join(attend(q, k, v, False)))
        up, gate = self.up(self.layer_norms[2](y)).chunk(2, -1)
        y = y + self.down(up * functional.gelu(gate))
        return x + self.out(y).transpose(1, 2).unflatten(2, x.shape[2:])


def _unet_inputs(of: Case, make: Tensors) -> tuple[Any, ...]:
    batch, c_in, height, width = of.sizes("batch", "c_in", "h_in", "w_in")
    image, time = make.normal(batch, c_in, height, width), make.normal(batch, 1280)
    return image, time, make.normal(batch, TEXT_LEN, TEXT_WIDTH)


class _Dit(nn.Module):  # type: ignore[misc]
    """Adaptive layer norm (six parts of one projection), attention, GELU MLP."""

    def __init__(self, of: Case) -> None:
        super().__init__()
        hidden, inter, self.heads = of.sizes("hidden", "inter", "heads")
        self.adapt = nn.Linear(hidden, 6 * hidden)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, inter), nn.Linear(inter, hidden)

    def forward(self, x: Any, condition: Any) -> Any:
        parts = self.adapt(functional.silu(condition))[:, None].chunk(6, dim=-1)
        shape = x.shape[-1:]
        y = functional.layer_norm(x, shape, eps=1e-6) * (1 + parts[1]) + parts[0]
        q, k, v = (_split(t, self.heads) for t in self.qkv(y).chunk(3, dim=-1))
        x = x + parts[2] * self.out(_join(attend(q, k, v, False)))
        y = functional.layer_norm(x, shape, eps=1e-6) * (1 + parts[4]) + parts[3]
        return x + parts[5] * self.down(functional.gelu(self.up(y), approximate="tanh"))


def _dit_inputs(of: Case, make: Tensors) -> tuple[Any, ...]:
    batch, length, hidden = of.sizes("batch", "q_len", "hidden")
    return make.normal(batch, length, hidden), make.normal(batch, hidden)


_MODULES: Final[Mapping[str, tuple[Callable[[Case], Any], Callable[..., tuple[Any, ...]]]]] = {
    "gqa": (_Llama, _llama_inputs), "mla": (_Latent, _latent_inputs),
    "encoder": (_Classic, _classic_inputs), "gpt": (_Classic, _classic_inputs),
    "mamba": (_Mamba, _mamba_inputs), "unet": (_Unet, _unet_inputs), "dit": (_Dit, _dit_inputs),
}  # fmt: skip


def _operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    build, inputs = _MODULES[of.subop]
    with torch.device("meta"):
        module = build(of)
    for owner in module.modules():
        for name, parameter in list(owner.named_parameters(recurse=False)):
            owner._parameters[name] = nn.Parameter(_drawn(parameter, make), requires_grad=False)
    return module.eval(), *inputs(of, make)


def _drawn(parameter: Any, make: Tensors) -> Any:
    shape = tuple(parameter.shape)
    if len(shape) == 1:
        return make.uniform(*shape, low=0.5, high=1.5)
    return make.normal(*shape, scale=(parameter.numel() // shape[0]) ** -0.5)


def _run(of: Case, module: Any, *inputs: Any) -> Any:
    return module(*inputs)


def _small(of: Case) -> Case:
    q_len, width = min(of.size("q_len", 1), 16), 32
    heads = 4
    kept = {"q_len": q_len, "kv_len": q_len if of.size("kv_len", 0) == of.size("q_len", 0) else 24}
    return of.changed(
        batch=1, heads=heads, kv_heads=2 if of.subop == "gqa" else heads, head_dim=width,
        hidden=heads * width, inter=2 * heads * width, state=min(of.size("state", 16), 64),
        c_in=64, c_out=128, h_in=8, w_in=8, **kept,
    )  # fmt: skip


OPERATIONS: Final[Mapping[str, Operation]] = {
    "layer": Operation(_operands, {"torch.module": _run}, "torch.module", _small),
}
