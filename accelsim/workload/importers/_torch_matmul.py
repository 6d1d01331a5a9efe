"""Matrix products as PyTorch writes them, to one kind: linear layers, batched and grouped ones."""

from __future__ import annotations

import math

from accelsim.errors import GraphError
from accelsim.workload.importers._torch_aten import base_name
from accelsim.workload.importers._torch_nodes import Context, Node
from accelsim.workload.importers._torch_recording import Call, Frame, View

__all__ = ["matmul"]


def matmul(context: Context, call: Call, frame: Frame) -> Node:
    """Return the node of a matrix product; a parameter among its factors makes it a linear one."""
    name = base_name(call.op)
    if name == "einsum":
        return _einsum(context, call, frame)
    if name == "_grouped_mm":
        return _grouped(context, call, frame)
    if name == "linear":
        x, weight, bias = call.inputs[0], call.inputs[1], call.tensor("bias")
        return _linear(context, call, frame, (x, weight, bias), weight.shape[-1])
    if name in ("addmm", "baddbmm", "addbmm"):
        added, x, right = call.inputs
        bias = added if context.is_weight(added) else None
        node = _product(context, call, frame, x, right, bias)
        if bias is None and not context.is_constant(added):
            node.attributes["added"] = True
        return node
    return _product(context, call, frame, call.inputs[0], call.inputs[1], None)


def _linear(
    context: Context, call: Call, frame: Frame,
    operands: tuple[View, View, View | None], k: int,
) -> Node:  # fmt: skip
    x, weight, bias = operands
    out = call.outputs[0]
    m, n = x.size // k, weight.size // k
    if out.size != m * n:
        raise GraphError(f"module `{frame.path}`: `{call.op}` makes {out.size} elements, not m n")
    reads = [context.resolve(x), context.resolve(weight)]
    if bias is not None and context.is_weight(bias):
        reads.append(context.resolve(bias))
    dims = {"batch": 1, "m": m, "n": n, "k": k}
    label = "linear" if context.is_weight(weight) else "matmul"
    return Node("matmul", frame.path, "linear", reads[: 3 if label == "linear" else 2], [out],
                dims, {}, label)  # fmt: skip


def _product(
    context: Context, call: Call, frame: Frame, a: View, b: View, bias: View | None
) -> Node:
    """Return ``a @ b`` with leading dimensions broadcast."""
    weight_a, weight_b = context.is_weight(a), context.is_weight(b)
    if weight_b and len(b.shape) == 2:
        return _linear(context, call, frame, (a, b, bias), b.shape[0])
    if weight_a and len(a.shape) == 2 and not weight_b:
        return _linear(context, call, frame, (b, a, bias), a.shape[-1])
    k = a.shape[-1]
    m = a.shape[-2] if len(a.shape) > 1 else 1
    n = b.shape[-1] if len(b.shape) > 1 else 1
    batch = call.outputs[0].size // (m * n)
    return _batched(context, call, frame, (a, b), (batch, m, n, k))


def _batched(
    context: Context, call: Call, frame: Frame,
    operands: tuple[View, View], sizes: tuple[int, int, int, int],
) -> Node:  # fmt: skip
    """Return independent products; a factor that they share moves their number into m or n."""
    batch, m, n, k = sizes
    a, b = (context.resolve(view) for view in operands)
    held_a, held_b = a.elements, b.elements
    if held_b < batch * k * n and (batch * k * n) % held_b == 0:
        times = batch * k * n // held_b
        batch, m = batch // times, m * times
    elif held_a < batch * m * k and (batch * m * k) % held_a == 0:
        times = batch * m * k // held_a
        batch, n = batch // times, n * times
    reads = [a, b]
    if context.is_weight(a) and not context.is_weight(b):
        reads, m, n = [b, a], n, m
    dims = {"batch": max(1, batch), "m": m, "n": n, "k": k}
    label = "linear" if any(context.is_weight(view) for view in reads) else "matmul"
    return Node("matmul", frame.path, "matmul", reads, list(call.outputs[:1]), dims, {}, label)


def _einsum(context: Context, call: Call, frame: Frame) -> Node:
    equation = str(call.arguments["equation"]).replace(" ", "")
    left, _, out = equation.partition("->")
    terms = left.split(",")
    if len(terms) != 2 or "..." in equation or not out:
        raise GraphError(
            f"module `{frame.path}`: einsum `{equation}` is no product of two explicit terms;"
            " rewrite it, or give the function around it a cost with `map`"
        )
    sizes: dict[str, int] = {}
    for term, view in zip(terms, call.inputs, strict=True):
        sizes |= dict(zip(term, view.shape, strict=True))
    first, second, made = set(terms[0]), set(terms[1]), set(out)

    def size(letters: set[str]) -> int:
        return math.prod(sizes[letter] for letter in letters)

    batch, k = size(first & second & made), size((first & second) - made)
    m, n = size((first - second) & made), size((second - first) & made)
    dims = (batch, m, n, k)
    if context.is_weight(call.inputs[1]) and batch == 1:
        return _linear_of(context, call, frame, call.inputs[0], call.inputs[1], (m, n, k))
    if context.is_weight(call.inputs[0]) and batch == 1:
        return _linear_of(context, call, frame, call.inputs[1], call.inputs[0], (n, m, k))
    return _batched(context, call, frame, (call.inputs[0], call.inputs[1]), dims)


def _linear_of(
    context: Context, call: Call, frame: Frame, x: View, weight: View, sizes: tuple[int, int, int]
) -> Node:
    m, n, k = sizes
    reads = [context.resolve(x), context.resolve(weight)]
    dims = {"batch": 1, "m": m, "n": n, "k": k}
    return Node("matmul", frame.path, "linear", reads, list(call.outputs[:1]), dims, {}, "linear")


def _grouped(context: Context, call: Call, frame: Frame) -> Node:
    """Return a grouped product; how many experts the rows use is filled in from the routing."""
    x, weight = call.inputs[0], call.inputs[1]
    experts, k, n = weight.shape
    dims = {
        "batch": 1, "m": x.shape[0], "n": n, "k": k,
        "experts": experts, "active_experts": min(experts, x.shape[0]),
    }  # fmt: skip
    reads = [context.resolve(x), context.resolve(weight)]
    return Node("matmul", frame.path, "experts", reads, list(call.outputs), dims, {}, "experts")
