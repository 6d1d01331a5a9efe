"""The operator kinds of the workload library, each as the torch calls that compute it.

An operator reads and leaves tensors by name; a kind or attribute that has no counterpart here
raises `Unsupported`, which becomes a recorded skip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch.nn import functional

from accelsim.measure.bench.graphs import Operator
from accelsim.measure.bench.timing import Unsupported
from accelsim.measure.bench.torch_backend.attention import attend
from accelsim.measure.bench.torch_backend.experts import grouped_product
from accelsim.measure.bench.torch_backend.scans import selective_scan, ssd
from accelsim.measure.bench.torch_backend.values import Values
from accelsim.measure.bench.torch_backend.vectors import rms_norm, rotate

__all__ = ["KINDS"]


def _matmul(of: Operator, values: Values) -> None:
    batch, m, n, k = (of.dims[name] for name in ("batch", "m", "n", "k"))
    weights = values.weights(of.inputs)
    rows = [name for name in of.inputs if name not in weights]
    if not weights:
        left, right = (values.flat(rows[0], batch, m, k), values.flat(rows[1], batch, n, k))
        values.leave(of, torch.bmm(left, right.transpose(1, 2)))
        return
    weight = values.held[weights[0]]
    bias = values.held[weights[1]].reshape(-1) if len(weights) > 1 else None
    if "experts" in of.dims:
        left = values.flat(rows[0], m, k)
        values.leave(of, _expert_products(left, weight, of.dims["active_experts"], values.grouped))
    elif batch > 1:
        left = values.flat(rows[0], m, batch, k).transpose(0, 1)
        product = torch.bmm(left, weight.reshape(-1)[: batch * n * k].view(batch, k, n))
        values.leave(of, product if bias is None else product + bias.view(batch, 1, -1))
    else:
        if len(rows) > 1:
            left = torch.cat([values.held[name].reshape(-1, k) for name in rows])[:m]
        else:
            left = values.flat(rows[0], m, k)
        values.leave(of, functional.linear(left, weight.reshape(n, k), bias))


def _expert_products(rows: Any, weight: Any, active: int, grouped: bool) -> Any:
    """Return rows, spread evenly over the first `active` experts, times each expert's matrix."""
    used = weight[:active]
    ends = [(expert + 1) * rows.shape[0] // active for expert in range(active)]
    if grouped:
        key = (rows.device, rows.shape[0], active)
        if key not in _ENDS:  # made once: a copy from the host cannot be captured
            _ENDS[key] = torch.tensor(ends, dtype=torch.int32, device=rows.device)
        return grouped_product(rows.contiguous(), used, _ENDS[key])
    sizes = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    parts = zip(rows.split(sizes), used, strict=True)
    return torch.cat([functional.linear(part, matrix) for part, matrix in parts])


_ENDS: Final[dict[Any, Any]] = {}


def _conv(of: Operator, values: Values) -> None:
    if of.attributes.get("transposed"):
        raise Unsupported("transposed convolution")
    axes = [a for a in ("depth", "height", "width") if f"in_{a}" in of.dims]
    given, made, kernel = (
        [of.dims[f"{which}_{axis}"] for axis in axes] for which in ("in", "out", "kernel")
    )
    stride, dilation = (
        _each(of.attributes.get(name), len(axes)) for name in ("stride", "dilation")
    )
    # A graph states sizes, not padding: as much as the output needs, the same on both sides.
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    pads = [
        max(0, -(-((o - 1) * s + r - i) // 2))
        for o, s, r, i in zip(made, stride, reach, given, strict=True)
    ]
    groups = of.dims["groups"]
    image = values.flat(of.inputs[0], of.dims["batch"], groups * of.dims["in_channels"], *given)
    weight = values.held[of.inputs[1]].reshape(
        groups * of.dims["out_channels"], of.dims["in_channels"], *kernel
    )
    bias = values.held[of.inputs[2]].reshape(-1) if len(of.inputs) > 2 else None
    run = functional.conv3d if len(axes) == 3 else functional.conv2d
    found = run(image, weight, bias, stride, pads, dilation, groups)
    values.leave(of, found[(..., *(slice(size) for size in made))])


def _each(value: Any, rank: int) -> tuple[int, ...]:
    found = (1,) if value is None else tuple(value)
    return (1,) * (rank - len(found)) + found[-rank:]


def _attention(of: Operator, values: Values) -> None:
    refused = [a for a in ("chunk", "density", "bias") if of.attributes.get(a)]
    batch, heads, kv_heads, q_len, kv_len, width, value_width = (
        of.dims[name] for name in (
            "batch", "heads", "kv_heads", "q_len", "kv_len", "head_dim", "value_dim")
    )  # fmt: skip
    if of.attributes.get("window", kv_len) < kv_len:
        refused.append("window")
    if refused or len(of.inputs) > 3:
        raise Unsupported(f"attention with {', '.join(refused) or 'sinks'}")
    query = values.flat(of.inputs[0], batch * q_len, heads, width).unflatten(0, (batch, q_len))
    key, value = (
        values.flat(name, batch * kv_len, kv_heads, size).unflatten(0, (batch, kv_len))
        for name, size in zip(of.inputs[1:], (width, value_width), strict=True)
    )
    if of.attributes.get("shared_kv"):
        value = key[..., :value_width]
    found = attend(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2),
        bool(of.attributes.get("causal")),
    )  # fmt: skip
    values.leave(of, found.transpose(1, 2).reshape(batch * q_len, -1))


def _softmax(of: Operator, values: Values) -> None:
    values.leave(of, functional.softmax(values.flat(of.inputs[0], *_size(of)), -1))


def _size(of: Operator) -> tuple[int, int]:
    return of.dims["rows"], of.dims["columns"]


def _norm(of: Operator, values: Values) -> None:
    rows, columns = _size(of)
    function = of.attributes["function"]
    scale = [values.held[name].reshape(-1) for name in of.inputs[1:]]
    weight, bias = (*scale, None, None)[:2]
    x = values.flat(of.inputs[0], rows, columns)
    if function == "layernorm":
        found = functional.layer_norm(x, (columns,), weight, bias)
    elif function == "rmsnorm":
        found = rms_norm(x, torch.ones_like(x[0]) if weight is None else weight)
    elif function == "l2norm":
        found = functional.normalize(x, dim=-1)
    else:
        image = x.reshape(values.batch, columns, -1)
        if function == "groupnorm":
            groups = 32 if columns % 32 == 0 else math.gcd(columns, 32)
            found = functional.group_norm(image, groups, weight, bias, 1e-5)
        elif function == "batchnorm":
            zero, one = torch.zeros_like(image[0, :, 0]), torch.ones_like(image[0, :, 0])
            found = functional.batch_norm(image, zero, one, weight, bias, False)
        else:
            found = functional.instance_norm(image, weight=weight, bias=bias)
    values.leave(of, found)


_UNARY: Final[Mapping[str, Callable[..., Any]]] = {
    "relu": torch.relu, "sigmoid": torch.sigmoid, "silu": functional.silu,
    "gelu": functional.gelu, "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "tanh": torch.tanh, "exp": torch.exp,
    "softplus": functional.softplus, "relu6": functional.relu6,
    "hard_swish": functional.hardswish, "scale": lambda x: x * 0.125,
}  # fmt: skip


def _elementwise(of: Operator, values: Values) -> None:
    rows, columns = _size(of)
    function = of.attributes["function"]
    gated = function.removesuffix("_mul")
    if function in _UNARY:
        found = _UNARY[function](values.flat(of.inputs[0], rows, columns))
    elif function == "rope":
        found = _rotated(values.flat(of.inputs[0], rows, columns))
    elif function in {"modulate", "gated_add"}:
        found = _modulated(of, values)
    elif function not in {"add", "mul"} and gated not in _UNARY:
        raise Unsupported(f"elementwise {function}")
    elif len(of.inputs) == 1 and function == "add":
        parts = values.flat(of.inputs[0], of.dims["operands"], rows * columns)
        found = parts.sum(0)
    else:
        found = _combined(of, values, function, gated)
    values.leave(of, found)


def _combined(of: Operator, values: Values, function: str, gated: str) -> Any:
    """Return the sum or product of the operands, one of them through an activation if gated."""
    rows, columns = _size(of)
    if len(of.inputs) == 1:
        parts = values.flat(of.inputs[0], rows, of.dims["operands"] * columns)
        operands = list(parts.chunk(of.dims["operands"], dim=-1))
    else:
        operands = [_operand(values, name, rows, columns) for name in of.inputs]
    first, *others = operands
    if function not in {"add", "mul"}:
        first = _UNARY[gated](first)
    for other in others:
        shaped = first.view(*other.shape[:-2], -1, columns) if other.dim() > 2 else first
        first = shaped + other if function == "add" else shaped * other
    return first


def _operand(values: Values, name: str, rows: int, columns: int) -> Any:
    """Return an operand, a smaller one in a shape that broadcasts over the larger."""
    held = values.held[name]
    if held.numel() >= rows * columns:
        return values.flat(name, rows, columns)
    if held.numel() % columns:
        raise Unsupported(f"operand `{name}` of {held.numel()} elements for rows of {columns}")
    return held.reshape(1, -1, columns).expand(rows * columns // held.numel(), -1, -1)


def _rotated(x: Any) -> Any:
    """Return rotary embedding over pairs of columns; the angles depend on the row alone."""
    half = x.shape[1] // 2
    angle = torch.arange(x.shape[0], device=x.device, dtype=torch.float32)[:, None] * 0.01
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    return rotate(x[:, : 2 * half], cos, sin)


def _modulated(of: Operator, values: Values) -> Any:
    rows, columns = _size(of)
    function = of.attributes["function"]
    x = values.flat(of.inputs[0], rows, columns)
    part = values.held[of.inputs[-1]].reshape(-1)
    samples = max(1, min(values.batch, part.numel() // (2 * columns)))
    parts = part[: part.numel() // samples * samples].view(samples, 1, -1)
    x = x.reshape(samples, -1, columns)
    if function == "gated_add":
        y = values.flat(of.inputs[1], rows, columns).reshape(samples, -1, columns)
        return x + parts[..., :columns] * y
    return x * (1 + parts[..., :columns]) + parts[..., columns : 2 * columns]


def _gather(of: Operator, values: Values) -> None:
    rows, columns, table_rows = (of.dims[name] for name in ("rows", "columns", "table_rows"))
    table = values.held[of.inputs[0]].reshape(table_rows, columns)
    if len(of.inputs) == 1 or values.tensors[of.inputs[1]].shape[0] == table_rows < rows:
        # Positions one after the other, or tokens to experts: in turns, so that loads are even.
        key = (table.device, rows, table_rows)
        if key not in _TURNS:
            turns = torch.arange(rows, device=table.device)
            _TURNS[key] = turns * table_rows // rows if rows > table_rows else turns
        values.leave(of, table[_TURNS[key]])
        return
    values.leave(of, functional.embedding(values.held[of.inputs[1]].reshape(-1)[:rows], table))


_TURNS: Final[dict[Any, Any]] = {}


def _route(of: Operator, values: Values) -> None:
    tokens, experts, top_k = (of.dims[name] for name in ("tokens", "experts", "top_k"))
    logits = values.flat(of.inputs[0], tokens, experts)
    weights, indices = torch.topk(functional.softmax(logits, -1), top_k, -1)
    values.leave(of, weights, indices)


def _reduce(of: Operator, values: Values) -> None:
    rows, columns, terms = (of.dims[name] for name in ("rows", "columns", "terms"))
    function = of.attributes["function"]
    if of.attributes.get("window"):
        values.leave(of, _pooled(of, values))
        return
    x = values.flat(of.inputs[0], rows * terms, columns).reshape(rows, terms, columns)
    if function == "weighted_sum":
        weights = values.flat(of.inputs[1], rows, terms)
        found = torch.einsum("rtc,rt->rc", x, weights.to(x.dtype))
    elif function == "max":
        found = x.amax(1)
    else:
        found = x.sum(1) if function == "sum" else x.mean(1)
    values.leave(of, found)


def _pooled(of: Operator, values: Values) -> Any:
    """Return pooling of square images with a square window, its stride read off the sizes."""
    rows, columns, terms = (of.dims[name] for name in ("rows", "columns", "terms"))
    source = values.held[of.inputs[0]]
    side, kernel = math.isqrt(source.numel() // (values.batch * columns)), math.isqrt(terms)
    made = math.isqrt(rows // values.batch)
    if side * side * values.batch * columns != source.numel() or kernel * kernel != terms:
        raise Unsupported("pooling of images that are not square")
    image = source.reshape(values.batch, columns, side, side)
    stride = max(1, round(side / made))
    pool = functional.max_pool2d if of.attributes["function"] == "max" else functional.avg_pool2d
    return pool(image, kernel, stride, kernel // 2)[..., :made, :made]


def _transfer(of: Operator, values: Values) -> None:
    """Append to caches in place; join, split or copy activations."""
    room = sum(values.tensors[name].elements for name in of.outputs)
    sources = [values.held[name].reshape(-1) for name in of.inputs]
    kept = [n for n in of.outputs if values.tensors[n].role in {"kv_cache", "state"}]
    if kept:
        bits = values.tensors[kept[0]].bits
        new = min(of.dims["size_bytes"] * 8 // bits, room)
        each = new // len(kept)
        joined = sources[0] if len(sources) == 1 else torch.cat(sources)
        for number, name in enumerate(kept):
            part = joined[number * each : (number + 1) * each]
            values.held[name].view(-1)[: part.numel()].copy_(part)
        return
    joined = torch.cat(sources)[:room] if len(sources) > 1 else sources[0][:room].clone()
    if room % joined.numel() == 0:
        joined = joined.repeat(room // joined.numel())  # an image enlarged by repeating
    if joined.numel() < room:
        raise Unsupported(f"transfer `{of.name}` of {joined.numel()} elements into {room}")
    ends = 0
    results = []
    for name in of.outputs:
        count = values.tensors[name].elements
        results.append(joined[ends : ends + count].view(values.tensors[name].shape))
        ends += count
    values.leave(of, *results)


def _scan(of: Operator, values: Values) -> None:
    batch, length, heads, width, state, groups = (
        of.dims[name] for name in ("batch", "q_len", "heads", "head_dim", "state_dim", "groups")
    )
    algorithm = of.attributes["algorithm"]
    if algorithm == "selective":
        values.leave(of, _selective(of, values, batch, length, heads * width, state))
        return
    if algorithm != "ssd" or length % of.dims.get("chunk", length):
        raise Unsupported(f"scan {algorithm} of {length} tokens")
    mixed = values.flat(of.inputs[0], batch * length, heads * width + 2 * groups * state)
    x, b, c = mixed.split((heads * width, groups * state, groups * state), dim=-1)
    a = -values.held[values.weights(of.inputs)[0]].reshape(heads)
    dt = functional.softplus(x[:, ::width]).reshape(batch, length, heads) * 0.01
    shape = (batch, length, groups, state)
    found = ssd(
        x.reshape(batch, length, heads, width), dt, a, b.reshape(shape), c.reshape(shape),
        of.dims.get("chunk", 1),
    )  # fmt: skip
    values.leave(of, found)


def _selective(
    of: Operator, values: Values, batch: int, length: int, channels: int, state: int
) -> Any:
    weights = values.weights(of.inputs)
    x, dt = (values.flat(name, batch * length, channels) for name in of.inputs[:2])
    mixed = values.flat(of.inputs[2], batch * length, 2 * state)
    shape = (batch, length, channels)
    a = -values.held[weights[0]].reshape(channels, state).abs()
    b, c = mixed.reshape(batch, length, 2 * state).chunk(2, dim=-1)
    skip = values.held[weights[1]].reshape(channels)
    found = selective_scan(x.reshape(shape), 0.01 * dt.reshape(shape), a, b, c)
    return found + skip * x.reshape(shape)


KINDS: Final[Mapping[str, Callable[[Operator, Values], None]]] = {
    "matmul": _matmul, "conv": _conv, "attention": _attention, "softmax": _softmax,
    "norm": _norm, "elementwise": _elementwise, "gather": _gather, "route": _route,
    "reduce": _reduce, "transfer": _transfer, "scan": _scan,
}  # fmt: skip
"""Operator kind -> what runs it; others are recorded skips."""
