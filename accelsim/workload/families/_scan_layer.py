"""The mixers of state-space layers: Mamba, Mamba-2 and gated linear attention.

Projections see the tokens of all sequences together; convolutions and scans are one operator per
group of sequences, since each group has its own length.
"""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.phase import Phase, SequenceGroup
from accelsim.workload.tensor import Role, packed_bytes

__all__ = ["Gla", "Mamba", "Mamba2", "add_gla", "add_mamba", "add_mamba2"]


@dataclass(frozen=True, slots=True)
class Mamba:
    """Sizes of a Mamba mixer.

    Attributes
    ----------
    hidden, inner, state, kernel, rank : int
        Width of the stream, of the mixer, states per channel, taps of the convolution, and rank
        of the step size.
    bias, conv_bias : bool
        Biases on the projections, and on the convolution.
    norms : str
        Norms of step size, B and C: ``weighted`` (Jamba), ``plain`` (Falcon Mamba) or none.
    """

    hidden: int
    inner: int
    state: int
    kernel: int
    rank: int
    bias: bool = False
    conv_bias: bool = True
    norms: str = ""

    @property
    def parameters(self) -> int:
        """Parameters of the mixer."""
        inner, wide = self.inner, self.rank + 2 * self.state
        total = 3 * self.hidden * inner + inner * wide + (self.rank + 1) * inner
        total += inner * (self.kernel + self.conv_bias + self.state + 1)
        total += (2 * inner + self.hidden) * self.bias
        return total + wide * (self.norms == "weighted")

    def state_bytes(self, state_dtype: str, conv_dtype: str) -> int:
        """Return the bytes of a sequence's recurrent state and convolution window."""
        scan = packed_bytes(self.inner * self.state, state_dtype)
        return scan + packed_bytes(self.inner * self.kernel, conv_dtype)


@dataclass(frozen=True, slots=True)
class Mamba2:
    """Sizes of a Mamba-2 mixer.

    Attributes
    ----------
    hidden, heads, head_dim, state, groups, kernel, chunk : int
        Width of the stream, heads and the width of one, states, groups of heads that share B and
        C, taps of the convolution, tokens of a chunk.
    bias, conv_bias : bool
        Biases on the projections, and on the convolution.
    """

    hidden: int
    heads: int
    head_dim: int
    state: int
    groups: int
    kernel: int
    chunk: int
    bias: bool = False
    conv_bias: bool = True

    @property
    def inner(self) -> int:
        """Width of the mixer."""
        return self.heads * self.head_dim

    @property
    def convolved(self) -> int:
        """Channels of the convolution: x, B and C."""
        return self.inner + 2 * self.groups * self.state

    @property
    def projected(self) -> int:
        """Columns of the input projection: gate, x, B, C and a step size per head."""
        return self.inner + self.convolved + self.heads

    @property
    def parameters(self) -> int:
        """Parameters of the mixer."""
        total = self.hidden * (self.projected + self.inner) + 3 * self.heads + self.inner
        total += self.convolved * (self.kernel + self.conv_bias)
        return total + (self.projected + self.hidden) * self.bias

    def state_bytes(self, state_dtype: str, conv_dtype: str) -> int:
        """Return the bytes of a sequence's recurrent state and convolution window."""
        scan = packed_bytes(self.inner * self.state, state_dtype)
        return scan + packed_bytes(self.convolved * self.kernel, conv_dtype)


@dataclass(frozen=True, slots=True)
class Gla:
    """Sizes of gated linear attention.

    Attributes
    ----------
    hidden, heads, key, value, gate_rank, chunk : int
        Width of the stream, heads, widths of all keys and of all values together, rank of the
        forget gate, tokens of a chunk.
    """

    hidden: int
    heads: int
    key: int
    value: int
    gate_rank: int
    chunk: int

    @property
    def parameters(self) -> int:
        """Parameters of the mixer: q, k, v, gate, output, forget gate of two matrices, norm."""
        h = self.hidden
        total = h * (2 * self.key + 2 * self.value) + self.value * h
        return total + self.gate_rank * (h + self.key) + self.key + self.value // self.heads

    def state_bytes(self, state_dtype: str, conv_dtype: str) -> int:
        """Return the bytes of a sequence's state."""
        del conv_dtype
        return packed_bytes(self.key * (self.value // self.heads), state_dtype)


def _suffixes(phase: Phase) -> tuple[str, ...]:
    several = len(phase.groups) > 1
    return tuple(f".{number}" if several else "" for number in range(len(phase.groups)))


def _convolution(
    body: BlockBuilder, x: str, group: SequenceGroup, suffix: str, channels: int, kernel: int,
    bias: bool, conventions: Conventions,
) -> str:  # fmt: skip
    """Add the causal convolution of one group of sequences, and the update of its window."""
    length, name = group.q_len, f"conv1d{suffix}"
    window = body.tensor(
        f"conv_state{suffix}", (group.count, channels, kernel), body.dtypes.activation, Role.STATE
    )
    new = min(length, kernel)
    size = packed_bytes(group.count * channels * new, body.dtypes.activation)
    body.operator(
        f"conv_update{suffix}", "transfer", {"size_bytes": size}, (x,), (window,), "state"
    )
    padded = conventions.causal_conv == "padded"
    stepping = length == 1 and group.past_len > 0
    made = (2 if stepping else length + kernel - 1) if padded else length
    dims = {
        "batch": group.count, "groups": channels, "in_channels": 1, "out_channels": 1,
        "in_height": 1, "in_width": kernel if stepping else length,
        "out_height": 1, "out_width": made, "kernel_height": 1, "kernel_width": kernel,
    }  # fmt: skip
    weight = body.tensor("conv1d.weight", (channels, 1, kernel), body.dtypes.weight, Role.WEIGHT)
    inputs: tuple[str, ...] = (window if stepping else x, weight)
    if bias:
        inputs += (body.vector("conv1d.bias", channels),)
    y = body.activation(name, group.count, channels, made)
    body.operator(name, "conv", dims, inputs, (y,), "conv", "groups", {"stride": (1,)})
    rows = group.tokens
    return body.elementwise(
        f"conv_activation{suffix}", "silu", (y,), rows, channels, operands=1,
        label="activation", shard="columns",
    )  # fmt: skip


def _scan(
    body: BlockBuilder, name: str, inputs: tuple[str, ...], group: SequenceGroup, suffix: str,
    sizes: tuple[int, int, int, int], attributes: dict[str, object], chunk: int = 0,
) -> str:  # fmt: skip
    """Add the scan of one group of sequences; `sizes` are heads, head_dim, state_dim, groups."""
    heads, head_dim, state_dim, groups = sizes
    state = body.tensor(
        f"{name}_state{suffix}", (group.count, heads, head_dim, state_dim), body.dtypes.state,
        Role.STATE,
    )  # fmt: skip
    y = body.activation(f"{name}{suffix}", group.tokens, heads * head_dim)
    dims = {
        "batch": group.count, "q_len": group.q_len, "heads": heads, "head_dim": head_dim,
        "state_dim": state_dim, "groups": groups,
    }  # fmt: skip
    if chunk and group.q_len > 1:
        dims["chunk"] = chunk
    resumes = {"resumes": group.past_len > 0}
    body.operator(
        f"{name}{suffix}", "scan", dims, (*inputs, state), (y,), "scan", "heads",
        attributes | resumes,
    )  # fmt: skip
    return y


def add_mamba(
    body: BlockBuilder, x: str, phase: Phase, shape: Mamba, conventions: Conventions
) -> str:
    """Add a Mamba mixer; return its output."""
    tokens, inner, n = phase.tokens, shape.inner, shape.state
    xz = body.linear("in_proj", x, tokens, 2 * inner, shape.hidden, bias=shape.bias, shard="n")
    a = body.tensor("a_log", (inner, n), body.dtypes.activation, Role.WEIGHT)
    d = body.vector("d", inner)
    parts = []
    for group, suffix in zip(phase.groups, _suffixes(phase), strict=True):
        u = _convolution(
            body, xz, group, suffix, inner, shape.kernel, shape.conv_bias, conventions
        )
        dt, bc = _selection(body, u, group, suffix, shape)
        sizes = (inner, 1, n, 1)
        y = _scan(
            body, "scan", (u, dt, bc, a, d), group, suffix, sizes, {"algorithm": "selective"}
        )
        parts.append(y)
    gated = _gate_groups(body, parts, xz, phase, inner)
    return body.linear("out_proj", gated, tokens, shape.hidden, inner, bias=shape.bias, shard="k")


def _gate_groups(
    body: BlockBuilder, parts: list[str], z: str, phase: Phase, inner: int
) -> tuple[str, ...]:
    """Add the gate of each group of sequences."""
    return tuple(
        body.elementwise(
            f"gate{suffix}", "silu_mul", (y, z), group.tokens, inner, operands=2,
            label="activation", shard="columns",
        )
        for y, group, suffix in zip(parts, phase.groups, _suffixes(phase), strict=True)
    )  # fmt: skip


def _selection(
    body: BlockBuilder, u: str, group: SequenceGroup, suffix: str, shape: Mamba
) -> tuple[str, str]:
    """Add step size, B and C of one group; return the step size and the tensor of B and C."""
    rows, wide = group.tokens, shape.rank + 2 * shape.state
    weights = {
        "x_proj": body.tensor(
            "x_proj.weight", (wide, shape.inner), body.dtypes.weight, Role.WEIGHT
        ),
        "dt_proj": body.tensor(
            "dt_proj.weight", (shape.inner, shape.rank), body.dtypes.weight, Role.WEIGHT
        ),
    }  # fmt: skip
    made = body.activation(f"x_proj{suffix}", rows, wide)
    dims = {"batch": 1, "m": rows, "n": wide, "k": shape.inner}
    body.operator(
        f"x_proj{suffix}", "matmul", dims, (u, weights["x_proj"]), (made,), "linear", "k"
    )
    if shape.norms:
        named = (body.vector("dt_bc_norm.weight", wide),) if shape.norms == "weighted" else ()
        made = body.norm(f"dt_bc_norm{suffix}", made, rows, wide, "rmsnorm", named)
    dt = body.activation(f"dt_proj{suffix}", rows, shape.inner)
    dims = {"batch": 1, "m": rows, "n": shape.inner, "k": shape.rank}
    inputs = (made, weights["dt_proj"], body.vector("dt_proj.bias", shape.inner))
    body.operator(f"dt_proj{suffix}", "matmul", dims, inputs, (dt,), "linear", "n", {"part": True})
    step = body.elementwise(
        f"softplus{suffix}", "softplus", (dt,), rows, shape.inner, label="activation",
        shard="columns",
    )  # fmt: skip
    return step, made


def add_mamba2(
    body: BlockBuilder, x: str, phase: Phase, shape: Mamba2, conventions: Conventions
) -> str:
    """Add a Mamba-2 mixer; return its output."""
    tokens, inner = phase.tokens, shape.inner
    wide = body.linear(
        "in_proj", x, tokens, shape.projected, shape.hidden, bias=shape.bias, shard="n"
    )
    per_head = tuple(body.vector(name, shape.heads) for name in ("a_log", "d", "dt_bias"))
    attributes: dict[str, object] = {"algorithm": "ssd"}
    if conventions.ssd == "per_head":
        attributes["per_head"] = True
    parts = []
    for group, suffix in zip(phase.groups, _suffixes(phase), strict=True):
        u = _convolution(
            body, wide, group, suffix, shape.convolved, shape.kernel, shape.conv_bias, conventions
        )
        sizes = (shape.heads, shape.head_dim, shape.state, shape.groups)
        parts.append(_scan(body, "ssd", (u, *per_head), group, suffix, sizes, attributes,
                           shape.chunk))  # fmt: skip
    gated = _gate_groups(body, parts, wide, phase, inner)
    weight = (body.vector("norm.weight", inner),)
    normed = tuple(
        body.norm(f"norm{suffix}", y, group.tokens, inner, "rmsnorm", weight)
        for y, group, suffix in zip(gated, phase.groups, _suffixes(phase), strict=True)
    )
    return body.linear("out_proj", normed, tokens, shape.hidden, inner, bias=shape.bias, shard="k")


def add_gla(body: BlockBuilder, x: str, phase: Phase, shape: Gla, conventions: Conventions) -> str:
    """Add gated linear attention; return its output."""
    del conventions
    tokens, h, value = phase.tokens, shape.hidden, shape.value // shape.heads
    qkvg = body.linear("qkvg_proj", x, tokens, 2 * shape.key + 2 * shape.value, h, shard="n")
    low = body.linear("forget_a_proj", x, tokens, shape.gate_rank, h)
    decay = body.linear("forget_b_proj", low, tokens, shape.key, shape.gate_rank, bias=True)
    decay = body.elementwise(
        "forget_gate", "sigmoid", (decay,), tokens, shape.key, label="activation"
    )
    sizes = (shape.heads, value, shape.key // shape.heads, shape.heads)
    parts = [
        _scan(body, "scan", (qkvg, decay), group, suffix, sizes, {"algorithm": "linear"},
              shape.chunk)
        for group, suffix in zip(phase.groups, _suffixes(phase), strict=True)
    ]  # fmt: skip
    weight = (body.vector("norm.weight", value),)
    normed = [
        body.norm(f"norm{suffix}", y, group.tokens * shape.heads, value, "rmsnorm", weight)
        for y, group, suffix in zip(parts, phase.groups, _suffixes(phase), strict=True)
    ]
    gated = _gate_groups(body, normed, qkvg, phase, shape.value)
    return body.linear("o_proj", gated, tokens, h, shape.value, shard="k")
