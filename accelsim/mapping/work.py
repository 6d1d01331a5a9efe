"""Turns a workload's operator into the `Work` that a unit's cost model understands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.cost import ConvShape, Work
from accelsim.workload import Counts, Operator, Role, Tensor
from accelsim.workload.ops.attention import unmasked_pairs
from accelsim.workload.ops.conv import positions
from accelsim.workload.tensor import compute_dtype, dtype_bits

__all__ = ["work_of"]

# Kind -> the dims that are its rows and columns, for kinds that are no product.
_GRID: Final[Mapping[str, tuple[str, str]]] = {
    "softmax": ("rows", "columns"),
    "norm": ("rows", "columns"),
    "elementwise": ("rows", "columns"),
    "gather": ("rows", "columns"),
    "reduce": ("rows", "columns"),
    "route": ("tokens", "experts"),
}

_ATTENTION: Final = frozenset({"attention", "attention_gradient"})

_MASKS: Final = frozenset({"window", "chunk", "density"})
"""Attributes by which an attention leaves out more than the causal mask does."""


def work_of(
    operator: Operator, tensors: Mapping[str, Tensor], counts: Counts, parent: Operator
) -> Work:
    """Return the operator's work.

    Parameters
    ----------
    operator : Operator
        As placed on one device, so with divided dims.
    tensors : mapping of str to Tensor
        Tensors of its block, for formats.
    counts : Counts
        Its work and compulsory bytes.
    parent : Operator
        What it is a part of, itself where not expanded: knows heads and lengths.
    """
    dims = operator.dims
    whole = {**parent.dims, **dims}
    backward = operator.kind == "attention_gradient"
    first = tensors[operator.inputs[0]].dtype if operator.inputs else "int32"
    other = _second_operand(operator, tensors)
    second = first if other is None else other.dtype
    density_a, pattern_a = _zeros(tensors[operator.inputs[0]] if operator.inputs else None)
    if "spike_density" in operator.attributes:  # spikes are stored whole, and often none
        density_a, pattern_a = float(operator.attributes["spike_density"]), "unstructured"
    density_b, pattern_b = _zeros(other)
    batch, m, n, k = 1, 1, 1, 1
    if operator.kind == "matmul":
        batch, m, n, k = dims["batch"], dims["m"], dims["n"], dims["k"]
        if "active_experts" in dims:
            batch = dims["active_experts"]
            m = -(-dims["m"] // batch)  # rows per expert, the fullest one
    elif operator.kind == "conv":  # as an implicit matrix product, one per group
        batch, m, n = dims["groups"], dims["batch"] * positions(dims, "out"), dims["out_channels"]
        k = dims["in_channels"] * positions(dims, "kernel")
        if operator.attributes.get("gradient") == "weight":  # sums over images and positions
            m, n, k = n, k, m
    elif operator.kind in _ATTENTION:
        batch = dims["batch"]
    elif operator.kind in _GRID:
        rows, columns = _GRID[operator.kind]
        m, n = dims[rows], dims[columns]
    elif operator.kind == "transfer":
        n = dims["size_bytes"]
    height, width = _grid(operator)
    return Work(
        kind="attention" if backward else operator.kind,
        function="backward" if backward else _function(operator),
        dtype=compute_dtype(first if dtype_bits(first) >= dtype_bits(second) else second),
        batch=batch, m=m, n=n, k=k,
        bits_a=int(dtype_bits(first)), bits_b=int(dtype_bits(second)),
        bits_c=int(dtype_bits(tensors[operator.outputs[0]].dtype)),
        weight_bytes=counts.weight_read_bytes,
        kv_bytes=counts.kv_read_bytes + counts.state_read_bytes,
        input_bytes=counts.activation_read_bytes,
        output_bytes=counts.write_bytes,
        macs=counts.macs, vector_ops=counts.vector_ops,
        heads=whole.get("heads", 0), kv_heads=whole.get("kv_heads", 0),
        q_len=whole.get("q_len", 0), kv_len=whole.get("kv_len", 0),
        # The five products of a backward attention: three as wide as a key, two as a value.
        head_dim=whole.get("head_dim", 0) * (3 if backward else 1),
        value_dim=whole.get("value_dim", 0) * (2 if backward else 1),
        causal=bool(operator.attributes.get("causal", False)),
        kv_seen=_seen(operator), height=height, width=width, conv=_conv(operator),
        density_a=density_a, density_b=density_b, pattern_a=pattern_a, pattern_b=pattern_b,
    )  # fmt: skip


def _function(operator: Operator) -> str:
    """Return the variant within the kind: the function, or the algorithm of a scan."""
    name = "algorithm" if operator.kind == "scan" else "function"
    return str(operator.attributes.get(name, ""))


def _conv(operator: Operator) -> ConvShape | None:
    """Return the loops of a plain convolution; of others, which run as products, None."""
    dims, attributes = operator.dims, operator.attributes
    if operator.kind != "conv" or attributes.get("transposed") or "gradient" in attributes:
        return None
    if any(dims.get(f"{which}_depth", 1) > 1 for which in ("in", "out", "kernel")):
        return None
    stride, dilation = (
        tuple(attributes.get(name, (1, 1)))[-2:] for name in ("stride", "dilation")
    )
    return ConvShape(
        (dims["out_height"], dims["out_width"]),
        (dims["kernel_height"], dims["kernel_width"]),
        (dims["in_channels"], dims["out_channels"]),
        dims["batch"], dims["groups"],
        (stride[0], stride[-1]) if len(stride) > 1 else (1, stride[0]),
        (dilation[0], dilation[-1]) if len(dilation) > 1 else (1, dilation[0]),
    )  # fmt: skip


def _grid(operator: Operator) -> tuple[int, int]:
    """Return the output grid of a convolution that has fast algorithms; zeros for any other."""
    dims, attributes = operator.dims, operator.attributes
    if operator.kind != "conv" or dims["groups"] > 1 or "kernel_depth" in dims:
        return 0, 0
    high, wide = dims["out_height"], dims["out_width"]
    strided = high + 2 < dims["in_height"] or wide + 2 < dims["in_width"]
    other = attributes.get("transposed", False) or attributes.get("gradient") == "weight"
    if dims["kernel_height"] != 3 or dims["kernel_width"] != 3 or strided or other:
        return 0, 0
    return high, wide


def _seen(operator: Operator) -> int:
    """Return the mean keys of a query where a window, a chunk or a mask leaves some out."""
    if operator.kind not in _ATTENTION or not operator.attributes.keys() & _MASKS:
        return 0
    return max(1, -(-unmasked_pairs(operator) // operator.dims["q_len"]))


def _zeros(tensor: Tensor | None) -> tuple[float, str]:
    """Return density and pattern of a tensor's zeros; dense where none are known."""
    if tensor is None or tensor.sparsity is None:
        return 1.0, ""
    return tensor.sparsity.density, tensor.sparsity.pattern


def _second_operand(operator: Operator, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """Return the weight or KV operand; the next floating input where there is neither."""
    rest = [tensors[name] for name in operator.inputs[1:]]
    held = [tensor for tensor in rest if tensor.role is not Role.ACTIVATION]
    floating = [tensor for tensor in rest if not tensor.dtype.startswith("int")]
    return next(iter(held or floating), None)
