"""Operations and least bytes of a case, by the conventions of the measured tables.

One multiply-accumulate is two operations, each operand is counted once; a test holds the formulas
to the figures that the measured tables print.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from accelsim.measure.bench import graphs
from accelsim.measure.bench.case import BITS, Case

__all__ = ["TEXT_LEN", "TEXT_WIDTH", "Counts", "attended_pairs", "counts", "latent_sizes"]

TEXT_LEN: Final = 77
"""Tokens of the text that conditions a UNet block: CLIP's context."""

TEXT_WIDTH: Final = 768
"""Width of that text: CLIP ViT-L's."""

# Vector operations per element, as the measured tables count them.
_PER_ELEMENT: Final[Mapping[str, int]] = {
    "softmax": 5, "layernorm": 7, "rmsnorm": 4, "gelu": 8, "silu_mul": 6, "elementwise": 1,
}  # fmt: skip

_BINARY: Final = frozenset({"add", "mul", "div", "pow"})
"""Elementwise functions of two tensors; all others read one."""


@dataclass(frozen=True)
class Counts:
    """What a case does at least.

    Parameters
    ----------
    flops : float or None
        Operations; None where the tables count none (copies).
    bytes_min : float or None
        Bytes of every operand and result once; None where the tables give none.
    resident_bytes : float
        Bytes that must fit in memory at once, workspaces of the implementation included.
    """

    flops: float | None
    bytes_min: float | None
    resident_bytes: float


def counts(of: Case) -> Counts:
    """Return the operations and bytes of a case.

    Raises
    ------
    KeyError
        If the operator has no formula.
    """
    flops, bytes_min, workspace = _FORMULAS[of.op](of)
    return Counts(flops, bytes_min, (bytes_min or 0.0) + workspace)


_Figures = tuple["float | None", "float | None", float]


def _element(of: Case) -> float:
    return BITS[of.dtype] / 8


def _product(of: Case) -> _Figures:
    m, n, k = of.sizes("m", "n", "k")
    batch, size = of.size("b", 1), _element(of)
    # The tables count results of narrow formats at 16 bits; torch leaves int8 products in int32.
    moved = batch * ((m * k + k * n) * size + m * n * max(size, 2.0))
    return 2.0 * batch * m * n * k, moved, batch * m * n * 2.0 if of.dtype == "int8" else 0.0


def _rows(of: Case) -> _Figures:
    rows, cols = of.sizes("rows", "cols")
    operands = {"silu_mul": 3, "elementwise": 3 if of.subop in _BINARY else 2}.get(of.op, 2)
    moved = rows * cols * operands * _element(of)
    # Eager chains hold an intermediate or two of fp32.
    return float(_PER_ELEMENT[of.op] * rows * cols), moved, rows * cols * 8.0


def _rope(of: Case) -> _Figures:
    rows, heads, kv_heads, width = of.sizes("rows", "heads", "kv_heads", "head_dim")
    moved = rows * (heads + kv_heads) * width * 2 * _element(of)
    return None, moved, 2 * moved


def _embedding(of: Case) -> _Figures:
    rows, cols = of.sizes("rows", "cols")
    table = of.size("table_rows", 0) * cols * _element(of)
    return None, rows * cols * 2 * _element(of), table


def attended_pairs(q_len: int, kv_len: int, causal: bool) -> int:
    """Return the query-key pairs of one head that no causal mask discards.

    Examples
    --------
    >>> attended_pairs(2, 5, True), attended_pairs(2, 5, False)
    (9, 10)
    """
    past = kv_len - q_len
    return q_len * past + q_len * (q_len + 1) // 2 if causal else q_len * kv_len


def _attention(of: Case) -> _Figures:
    batch, heads, kv_heads, width, q_len, kv_len = of.sizes(
        "batch", "heads", "kv_heads", "head_dim", "q_len", "kv_len"
    )
    size = _element(of)
    pairs = batch * heads * attended_pairs(q_len, kv_len, bool(of.size("causal", 0)))
    moved = batch * width * (2 * heads * q_len + 2 * kv_heads * kv_len) * size
    scores = batch * heads * q_len * kv_len
    # Scores, their softmax (fp32 in the math backend) and a mask; none where they stay on chip.
    unfused = of.impl in {"sdpa.math", "unfused"}
    return 4.0 * pairs * width, moved, scores * (2 * size + 8) if unfused else moved


def _conv(of: Case) -> _Figures:
    batch, c_in, c_out, kh, kw, h_in, w_in = of.sizes(
        "batch", "c_in", "c_out", "kh", "kw", "h_in", "w_in"
    )
    groups, size = of.size("groups", 1), _element(of)
    h_out = (h_in + 2 * of.size("pad_h") - kh) // of.size("stride_h") + 1
    w_out = (w_in + 2 * of.size("pad_w") - kw) // of.size("stride_w") + 1
    weights = c_out * c_in // groups * kh * kw
    # A stride beyond the kernel leaves rows of the input unread.
    h_in = h_out * kh if of.size("stride_h") > kh else h_in
    w_in = w_out * kw if of.size("stride_w") > kw else w_in
    given, made = batch * c_in * h_in * w_in, batch * c_out * h_out * w_out
    # The library may unfold the input for an implicit product: kernel times the input, at most.
    return 2.0 * made * weights / c_out, (given + weights + made) * size, given * kh * kw * size


def _experts(of: Case) -> _Figures:
    rows, hidden, inter, experts, topk = of.sizes("rows", "hidden", "inter", "experts", "topk")
    size, routed = _element(of), rows * topk
    weights = 3.0 * experts * hidden * inter * size
    flowing = routed * (3 * hidden + 4 * inter) * size
    # The tables give no least bytes for experts: which weights are read depends on the routing.
    return 6.0 * routed * hidden * inter, None, weights + flowing


def _scan(of: Case) -> _Figures:
    batch, q_len, heads, width, state = of.sizes("batch", "q_len", "heads", "head_dim", "state")
    groups, size = of.size("groups", 1), _element(of)
    channels = heads * width
    # x, dt and y per channel (dt per head for SSD), B and C per group.
    steps = channels if of.subop == "selective" else heads
    moved = batch * q_len * (2 * channels + steps + 2 * groups * state) * size
    flops = 9.0 * batch * q_len * channels * state
    if of.subop == "ssd" and q_len > 1:
        chunk = of.size("chunk")
        # Scores within a chunk, their product with x, and chunk states in and out.
        flops = 2.0 * batch * q_len * heads * (chunk * (state + width) + 2 * width * state)
        return flops, moved, batch * q_len * heads * chunk * 12.0 + 4 * moved
    expanded = batch * q_len * channels * state * 4.0
    return flops, moved, (4 * expanded if of.impl == "associative" else 0.0) + 4 * moved


def _graph(of: Case) -> _Figures:
    """Figures of an exported graph, ``graph`` or ``graph#block``, as the library counts them."""
    name, _, block = of.subop.partition("#")
    graph = graphs.named(name)
    chosen = (
        [(b, 1) for b in graph.blocks if b.name == block]
        if block
        else [(b, b.count) for b in graph.blocks]
    )
    flops = sum(b.flops * times for b, times in chosen)
    moved = sum(b.bytes_min * times for b, times in chosen)
    # Activations of one block at a time; what each repetition keeps is in bytes_min.
    return flops, moved, max(b.held_bytes for b, _ in chosen)


def latent_sizes(of: Case) -> tuple[int, int]:
    """Return width of the latent and of the rotary part of multi-head latent attention.

    The latent stands in the size ``state``; the rotary part is half a head (arXiv 2405.04434: 512
    and 64 with heads of 128).
    """
    return of.size("state"), of.size("head_dim") // 2


def _layer(of: Case) -> _Figures:
    """Products and convolutions of one layer; vector operations are neglected."""
    weights, pairs_width, spread = _LAYERS[of.subop](of)
    batch, size = of.size("batch"), _element(of)
    tokens = batch * (
        of.size("q_len") if of.subop != "unet" else of.size("h_in") * of.size("w_in")
    )
    cached = 0.0
    if of.subop in {"gqa", "gpt", "mla"}:
        row = 2 * of.size("kv_heads") * of.size("head_dim")
        row = sum(latent_sizes(of)) if of.subop == "mla" else row
        cached = batch * of.size("kv_len") * row * size
    width = of.size("hidden") if of.subop != "unet" else of.size("c_out")
    flowing = tokens * width * size
    stored = (sum(weights) + sum(n for n, _ in spread)) * size
    flops = 2.0 * tokens * sum(weights) + 4.0 * pairs_width
    flops += sum(2.0 * batch * n * per_sample for n, per_sample in spread)
    held = tokens * (8 * width + 4 * max((n // width for n in weights), default=1)) * size
    if of.subop == "mamba":
        held += 6.0 * tokens * of.size("inter") * of.size("state") * 4
    return flops, stored + 2 * flowing + cached, held


# Weights used per token; query-key pairs times mean width; (weights, uses per sample).
_Parts = tuple["list[int]", float, "list[tuple[int, int]]"]


def _llama(of: Case) -> _Parts:
    hidden, inter, heads, kv_heads, width = of.sizes(
        "hidden", "inter", "heads", "kv_heads", "head_dim"
    )
    pairs = of.size("batch") * heads * attended_pairs(of.size("q_len"), of.size("kv_len"), True)
    return [hidden * (2 * heads + 2 * kv_heads) * width, 3 * hidden * inter], pairs * width, []


def _classic(of: Case) -> _Parts:
    hidden, inter, heads, width = of.sizes("hidden", "inter", "heads", "head_dim")
    causal = of.subop == "gpt"
    pairs = of.size("batch") * heads * attended_pairs(of.size("q_len"), of.size("kv_len"), causal)
    return [4 * hidden * hidden, 2 * hidden * inter], pairs * width, []


def _latent(of: Case) -> _Parts:
    hidden, inter, heads, width = of.sizes("hidden", "inter", "heads", "head_dim")
    latent, rope = latent_sizes(of)
    q_len, kv_len = of.sizes("q_len", "kv_len")
    pairs = of.size("batch") * heads * attended_pairs(q_len, kv_len, True)
    weights = [
        hidden * heads * (width + rope), hidden * (latent + rope), 2 * latent * heads * width,
        heads * width * hidden, 3 * hidden * inter,
    ]  # fmt: skip
    mean = (2 * width + rope) / 2 if q_len == kv_len else (2 * latent + rope) / 2
    return weights, pairs * mean, []


def _mamba(of: Case) -> _Parts:
    hidden, inter, state = of.sizes("hidden", "inter", "state")
    rank = -(-hidden // 16)
    # Projections in, of dt, B and C, of dt again, and out; convolution of 4; 9 operations a state.
    weights = [
        2 * hidden * inter,
        inter * (rank + 2 * state),
        rank * inter,
        inter * hidden,
        4 * inter,
    ]
    scan = 9.0 * of.size("batch") * of.size("q_len") * inter * state / 4
    return weights, scan, []


def _unet(of: Case) -> _Parts:
    c_in, width, height, breadth = of.sizes("c_in", "c_out", "h_in", "w_in")
    places = height * breadth
    pairs = of.size("batch") * places * (places + TEXT_LEN)
    weights = [9 * c_in * width, 9 * width * width, (c_in != width) * c_in * width]
    weights += [(2 + 3 + 1 + 1 + 1 + 8 + 4) * width * width]
    return weights, pairs * width, [(1280 * width, 1), (2 * TEXT_WIDTH * width, TEXT_LEN)]


def _dit(of: Case) -> _Parts:
    hidden, inter, heads, width = of.sizes("hidden", "inter", "heads", "head_dim")
    length = of.size("q_len")
    pairs = of.size("batch") * heads * length * length
    return [4 * hidden * hidden, 2 * hidden * inter], pairs * width, [(6 * hidden * hidden, 1)]


_LAYERS: Final[Mapping[str, Callable[[Case], _Parts]]] = {
    "gqa": _llama, "mla": _latent, "encoder": _classic, "gpt": _classic, "mamba": _mamba,
    "unet": _unet, "dit": _dit,
}  # fmt: skip


_FORMULAS: Final[Mapping[str, Callable[[Case], _Figures]]] = {
    "gemm": _product, "bmm": _product,
    "softmax": _rows, "layernorm": _rows, "rmsnorm": _rows, "gelu": _rows, "silu_mul": _rows,
    "elementwise": _rows, "rope": _rope, "embedding": _embedding,
    "attention_prefill": _attention, "attention_decode": _attention,
    "conv": _conv, "moe": _experts, "scan": _scan,
    "layer": _layer, "block": _graph, "model": _graph,
}  # fmt: skip
