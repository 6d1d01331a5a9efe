"""The backward rule of every operator kind: from the output's gradient to those of its inputs.

A product has two of its own size, one per operand; a sum of branches has none, as gradients pass
through it; everything else has an elementwise operator that reads the forward tensors it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from accelsim.errors import GraphError
from accelsim.workload.graph import Operator
from accelsim.workload.ops.conv import positions
from accelsim.workload.ops.matmul import operands
from accelsim.workload.tensor import Role, Tensor

__all__ = ["RULES", "Writer"]


class Writer(Protocol):
    """What a rule writes with."""

    forward: Mapping[str, Tensor]
    """Tensors of the forward block."""

    def needs(self, name: str) -> bool:
        """Return whether the gradient of a tensor is wanted."""

    def add(
        self, name: str, like: Operator, inputs: tuple[str, ...], outputs: tuple[str, ...], *,
        kind: str = "", dims: Mapping[str, int] | None = None, shard: str | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> None:  # fmt: skip
        """Add an operator; forward tensors among its inputs are recalled."""

    def gradient(self, of: str, shape: tuple[int, ...] | None = None) -> str:
        """Return a new tensor for a gradient of `of`, in its shape unless another is given."""

    def give(self, of: str, gradient: str) -> None:
        """Count a tensor as a part of the gradient of `of`."""


Rule = Callable[[Writer, Operator, str], None]
"""Writer, forward operator and the name of its output's gradient."""


def _swapped(shard: str | None, names: Mapping[str, str]) -> str | None:
    return None if shard is None else names.get(shard)


def _matmul(write: Writer, operator: Operator, given: str) -> None:
    left, right, biases = operands(operator, write.forward)
    if write.forward[right].role is not Role.WEIGHT:
        return _batched(write, operator, given)
    dims = dict(operator.dims)
    m, n, k = dims["m"], dims["n"], dims["k"]
    if any(write.needs(name) for name in left):
        made = write.gradient(left[0], (m, k))
        write.add(
            "input_gradient", operator, (given, right), (made,), dims={**dims, "n": k, "k": n},
            shard=_swapped(operator.shard, {"n": "k", "k": "n", "m": "m"}),
        )  # fmt: skip
        _split(write, operator, left, made)
    rows = left[0] if len(left) == 1 else _joined(write, operator, left, (m, k))
    products = dims.get("experts", 1)  # rows of an expert that was not hit are zeros
    sizes = {"batch": products, "m": n, "n": k, "k": max(1, m // products)}
    write.add(
        "weight_gradient", operator, (given, rows), (write.gradient(right),), dims=sizes,
        shard=_swapped(operator.shard, {"n": "m", "k": "n", "m": "k"}),
    )  # fmt: skip
    shard = "columns" if operator.shard == "n" else None
    for bias in biases:
        _sum_to(write, operator, bias, given, shard)


def _batched(write: Writer, operator: Operator, given: str) -> None:
    """Add both products of a batched product of activations."""
    dims, (a, b) = operator.dims, operator.inputs
    batch, m, n, k = (dims[name] for name in ("batch", "m", "n", "k"))
    kept = {key: v for key, v in operator.attributes.items() if key == "masked_macs"}
    for name, of, inputs, size in (
        ("left_gradient", a, (given, b), (m, k, n)),
        ("right_gradient", b, (a, given), (k, n, m)),
    ):
        if not write.needs(of):
            continue
        made = write.gradient(of, (batch, size[0], size[1]))
        sizes = {"batch": batch, "m": size[0], "n": size[1], "k": size[2]}
        shard = operator.shard if operator.shard == "batch" else None
        write.add(name, operator, inputs, (made,), dims=sizes, shard=shard, attributes=kept)
        write.give(of, made)


def _split(write: Writer, operator: Operator, names: tuple[str, ...], made: str) -> None:
    """Give each of several concatenated operands its part of a gradient."""
    if len(names) == 1:
        return write.give(names[0], made)
    for name in names:
        if write.needs(name):
            part = write.gradient(name)
            size = write.forward[name].size_bytes
            write.add(f"split.{name}", operator, (made,), (part,), kind="transfer",
                      dims={"size_bytes": size})  # fmt: skip
            write.give(name, part)


def _joined(
    write: Writer, operator: Operator, names: tuple[str, ...], shape: tuple[int, ...]
) -> str:
    """Return several operands in one tensor, copied."""
    made = write.gradient(f"{operator.name}.rows_of_{names[0]}", shape)
    size = sum(write.forward[name].size_bytes for name in names)
    write.add("join", operator, names, (made,), kind="transfer", dims={"size_bytes": size})
    return made


def _sum_to(
    write: Writer, operator: Operator, of: str, gradient: str, shard: str | None = None,
    size: int | None = None,
) -> None:  # fmt: skip
    """Give an operand that was broadcast the sum of a gradient of `size` elements."""
    elements = write.forward[of].elements
    size = size or write.forward[operator.outputs[0]].elements
    if size == elements:
        return write.give(of, gradient)
    if size % elements:
        raise GraphError(
            f"{operator.kind} `{operator.name}`: {size} elements of a gradient do not add up to"
            f" the {elements} of `{of}`"
        )
    made = write.gradient(of)
    dims = {"rows": 1, "columns": elements, "terms": size // elements}
    write.add(f"sum.{of}", operator, (gradient,), (made,), kind="reduce", dims=dims, shard=shard,
              attributes={"function": "sum"})  # fmt: skip
    write.give(of, made)


def _conv(write: Writer, operator: Operator, given: str) -> None:
    dims, attributes = dict(operator.dims), dict(operator.attributes)
    image, weight, *biases = operator.inputs
    if write.needs(image):
        turned = dict(dims)
        for name, value in dims.items():
            side, _, rest = name.partition("_")
            if side in ("in", "out"):
                turned[("out_" if side == "in" else "in_") + rest] = value
        inside = dims["batch"] * dims["groups"] * dims["in_channels"] * positions(dims, "in")
        made = write.gradient(image, (inside,))
        flipped = {**attributes, "transposed": not attributes.get("transposed", False)}
        swapped = {"out_channels": "in_channels", "in_channels": "out_channels", "batch": "batch"}
        write.add("input_gradient", operator, (given, weight), (made,), dims=turned,
                  shard=_swapped(operator.shard, swapped), attributes=flipped)  # fmt: skip
        write.give(image, made)
    divided = {"out_channels": "out_channels", "in_channels": "out_channels"}
    write.add("weight_gradient", operator, (image, given), (write.gradient(weight),), dims=dims,
              shard=_swapped(operator.shard, divided),
              attributes={**attributes, "gradient": "weight"})  # fmt: skip
    for bias in biases:
        _sum_to(write, operator, bias, given)


def _attention(write: Writer, operator: Operator, given: str) -> None:
    if len(operator.inputs) > 3:
        raise GraphError(f"attention `{operator.name}`: no backward rule for sinks or a bias")
    dims = operator.dims
    query = dims["batch"] * dims["heads"] * dims["q_len"] * dims["head_dim"]
    keys = dims["batch"] * dims["kv_heads"] * dims["kv_len"]
    sizes = (query, keys * dims["head_dim"], keys * dims["value_dim"])
    parts: dict[str, int] = {}  # a fused tensor gets its gradients in one piece
    for name, size in zip(operator.inputs, sizes, strict=True):
        parts[name] = parts.get(name, 0) + size
    made = {name: write.gradient(name, (size,)) for name, size in parts.items()}
    write.add(
        "gradient", operator, (*operator.inputs, given, operator.outputs[0]),
        tuple(made.values()), kind="attention_gradient", shard=operator.shard,
        attributes=operator.attributes,
    )  # fmt: skip
    for name, gradient in made.items():
        write.give(name, gradient)


def _pointwise(
    write: Writer, operator: Operator, of: str, function: str, inputs: tuple[str, ...],
    size: tuple[int, int], *, operands: int = 0, part: bool = False,
) -> str:  # fmt: skip
    """Add the elementwise operator of `size` rows and columns that makes a gradient of `of`."""
    elements = size[0] * size[1]
    whole = elements == write.forward[of].elements
    made = write.gradient(of, None if whole else size)
    dims = {"rows": size[0], "columns": size[1], "operands": operands or len(inputs)}
    attributes: dict[str, object] = {"function": function, **({"part": True} if part else {})}
    shard = operator.shard if operator.shard in ("rows", "columns") else None
    write.add(f"gradient.{of}", operator, inputs, (made,), kind="elementwise", dims=dims,
              shard=shard, attributes=attributes)  # fmt: skip
    return made


def _elementwise(write: Writer, operator: Operator, given: str) -> None:
    function, inputs = str(operator.attributes["function"]), operator.inputs
    rows, columns = operator.dims["rows"], operator.dims["columns"]
    part = bool(operator.attributes.get("part"))
    if len(inputs) == 1:
        (of,) = inputs
        linear = {"scale": "scale", "rope": "rope", "where": "where", "copy": "copy",
                  "dropout": "dropout_backward"}.get(function)  # fmt: skip
        if not write.needs(of):
            return
        if function == "add" and operator.dims["operands"] == 1:  # of a constant
            return write.give(of, given)
        read = (given,) if linear else (of, given)
        wide = 1 if linear else operator.dims["operands"]
        made = _pointwise(write, operator, of, linear or f"{function}_backward", read,
                          (rows, columns * wide), part=part)  # fmt: skip
        return write.give(of, made)
    for number, of in enumerate(inputs):
        if not write.needs(of):
            continue
        made = given
        if function == "mul":
            others = inputs[:number] + inputs[number + 1 :]
            made = _pointwise(write, operator, of, "mul", (given, *others), (rows, columns),
                              part=part)  # fmt: skip
        elif function == "where":
            made = _pointwise(write, operator, of, "where", (given, *inputs[1:]), (rows, columns))
        elif function != "add":
            made = _pointwise(write, operator, of, f"{function}_backward", (given, *inputs),
                              (rows, columns), part=part)  # fmt: skip
        if write.forward[of].elements >= rows * columns:
            write.give(of, made)
        else:
            _sum_to(write, operator, of, made)


def _norm(write: Writer, operator: Operator, given: str) -> None:
    rows, columns = operator.dims["rows"], operator.dims["columns"]
    x, *weights = operator.inputs
    if write.needs(x):
        function = f"{operator.attributes['function']}_backward"
        made = _pointwise(write, operator, x, function, (x, given), (rows, columns))
        write.give(x, made)
    # Gradient of scale and shift: x and the gradient are each read once more, summed over rows.
    whole = write.forward[x].elements == rows * columns
    for number, name in enumerate(weights):
        _sum_to(write, operator, name, x if whole and not number else given)


def _softmax(write: Writer, operator: Operator, given: str) -> None:
    x, *added = operator.inputs
    rows, columns = operator.dims["rows"], operator.dims["columns"]
    made = _pointwise(write, operator, x, "softmax_backward", (operator.outputs[0], given),
                      (rows, columns))  # fmt: skip
    write.give(x, made)
    for name in added:
        if write.needs(name):
            _sum_to(write, operator, name, made)


def _gather(write: Writer, operator: Operator, given: str) -> None:
    table, dims = operator.inputs[0], operator.dims
    if not write.needs(table):
        return
    hits = -(-dims["rows"] // dims["table_rows"])
    made = _pointwise(write, operator, table, "scatter_add", (given,),
                      (dims["table_rows"], dims["columns"]), operands=hits, part=True)  # fmt: skip
    write.give(table, made)


def _reduce(write: Writer, operator: Operator, given: str) -> None:
    x, *weights = operator.inputs
    rows, columns, terms = (operator.dims[name] for name in ("rows", "columns", "terms"))
    if write.needs(x):
        held = write.forward[x].elements
        function, size = ("mul" if weights else "scale"), (held // columns, columns)
        made = _pointwise(write, operator, x, function, (given, *weights), size, part=True)
        write.give(x, made)
    for name in weights:
        if write.needs(name):
            made = write.gradient(name)
            dims = {"rows": rows * terms, "columns": 1, "terms": columns}
            write.add(f"gradient.{name}", operator, (x,), (made,), kind="reduce", dims=dims,
                      attributes={"function": "sum"})  # fmt: skip
            write.give(name, made)


def _route(write: Writer, operator: Operator, given: str) -> None:
    (logits,) = operator.inputs
    size = (operator.dims["tokens"], operator.dims["experts"])
    made = _pointwise(write, operator, logits, "softmax_backward", (logits, given), size,
                      part=True)  # fmt: skip
    write.give(logits, made)


def _transfer(write: Writer, operator: Operator, given: str) -> None:
    moved = write.forward[operator.outputs[0]]
    for of in operator.inputs:
        if not write.needs(of):
            continue
        whole = write.forward[of]
        made = write.gradient(of, None if whole.elements <= moved.elements else moved.shape)
        size = min(whole.size_bytes, moved.size_bytes)
        write.add(f"gradient.{of}", operator, (given,), (made,), dims={"size_bytes": size},
                  shard=operator.shard)  # fmt: skip
        write.give(of, made)


RULES: Final[Mapping[str, Rule]] = {
    "matmul": _matmul,
    "conv": _conv,
    "attention": _attention,
    "elementwise": _elementwise,
    "norm": _norm,
    "softmax": _softmax,
    "gather": _gather,
    "reduce": _reduce,
    "route": _route,
    "transfer": _transfer,
}
"""Operator kind -> its rule; kinds without one cannot be trained."""
