"""Convolutions kernel by kernel, as PyTorch runs them eagerly: bias, layout, statistics.

cuDNN's products on tensor cores want channels last, PyTorch's group norm wants channels first:
between the two somebody copies the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

from accelsim.workload.graph import Block, Operator
from accelsim.workload.ops.conv import positions
from accelsim.workload.tensor import Role, Tensor

__all__ = ["INSIDE", "Layout", "image_kernels"]

Layout = Literal["any", "first", "last"]
"""Where an image's channels are: of no matter, first (NCHW) or last (NHWC)."""

INSIDE: Final = "inside"
"""Attribute of a kernel that a library call starts beside its main one: what the framework spends
on a call, in Python above all, is not paid again for it."""


def image_kernels(block: Block, layout: Layout, *, bias: bool, statistics: bool) -> Block:
    """Return a block with the kernels beside its convolutions and group norms.

    Parameters
    ----------
    block : Block
        Of a network on images; others come back as they are.
    layout : {"any", "first", "last"}
        How the framework holds images.  ``first``: every convolution copies its image to channels
        last, and its output back.  ``last``: a group norm copies its input to channels first, and
        the next convolution back.  Where tokens begin or end the copy is the framework's.
    bias : bool
        A convolution's bias is added by a kernel of its own.
    statistics : bool
        A group norm reads its input twice: for mean and variance, and to normalise.

    References
    ----------
    PyTorch, aten/src/ATen/native/cudnn/ConvShared.cpp ("cuDNN convolutions does not handle bias.
    Bias is handled outside") and cuda/group_norm_kernel.cu (moments by rows, then an elementwise
    kernel, of an input made contiguous).
    """
    if not any(o.kind == "conv" or _grouped(o) for o in block.operators):
        return block
    tensors = dict(block.tensors)
    makers = {name: o for o in block.operators for name in o.outputs}
    readers: dict[str, list[Operator]] = {}
    for operator in block.operators:
        for name in operator.inputs:
            readers.setdefault(name, []).append(operator)
    made: list[Operator] = []
    for operator in block.operators:
        if operator.kind == "conv":
            made += _convolution(operator, tensors, makers, readers, layout, bias=bias)
        elif _grouped(operator):
            made += _group_norm(operator, tensors, layout, statistics=statistics)
        else:
            made.append(operator)
    return replace(block, operators=tuple(made), tensors=tensors)


def _grouped(operator: Operator) -> bool:
    return operator.kind == "norm" and operator.attributes.get("function") == "groupnorm"


def _convolution(
    operator: Operator, tensors: dict[str, Tensor], makers: dict[str, Operator],
    readers: dict[str, list[Operator]], layout: Layout, *, bias: bool,
) -> Iterator[Operator]:  # fmt: skip
    image, (out,) = operator.inputs[0], operator.outputs
    from_tokens = _is_of_tokens(makers.get(image), tensors, makers)
    copies = {"any": 0, "first": 1 + from_tokens, "last": _after_norm(makers.get(image), makers)}
    copies["last"] += 2 * from_tokens
    for _ in range(copies[layout]):
        copy = _copied(image, operator, tensors)
        yield copy
        (image,) = copy.outputs
    weight, *biases = operator.inputs[1:]
    steps: list[tuple[str, tuple[str, ...]]] = [("copy", ())] * (layout == "first")
    steps += [("add", (name,)) for name in biases if bias]
    # From channels first the copy to tokens is the framework's own; channels last are tokens.
    to_tokens = any(o.kind == "matmul" or _is_layer_norm(o) for o in readers.get(out, ()))
    steps += [("copy", ())] * (layout == "first" and to_tokens)
    kept = () if bias else tuple(biases)
    last = f"{out}.product" if steps else out
    tensors[last] = replace(tensors[out], name=last)
    yield replace(operator, inputs=(image, weight, *kept), outputs=(last,))
    columns = operator.dims["groups"] * operator.dims["out_channels"]
    rows = operator.dims["batch"] * positions(operator.dims, "out")
    for number, (function, beside) in enumerate(steps):
        target = out if number == len(steps) - 1 else f"{out}.{function}{number}"
        tensors[target] = replace(tensors[out], name=target)
        yield Operator(
            f"{operator.name}.{function}{number}", "elementwise",
            {"rows": rows, "columns": columns, "operands": 1 + len(beside)}, (last, *beside),
            (target,), operator.label, _shard(operator), {"function": function, INSIDE: True},
        )  # fmt: skip
        last = target


def _group_norm(
    operator: Operator, tensors: dict[str, Tensor], layout: Layout, *, statistics: bool
) -> Iterator[Operator]:
    source, *rest = operator.inputs
    if layout == "last":
        copy = _copied(source, operator, tensors)
        yield copy
        (source,) = copy.outputs
    if statistics:
        mean = f"{operator.name}.moments"
        columns = operator.dims["columns"]
        tensors[mean] = Tensor(mean, (1, columns), tensors[source].dtype, Role.ACTIVATION)
        yield Operator(
            mean, "reduce", {"rows": 1, "columns": columns, "terms": operator.dims["rows"]},
            (source,), (mean,), operator.label, None, {"function": "mean", INSIDE: True},
        )  # fmt: skip
        rest.append(mean)
    yield replace(operator, inputs=(source, *rest))


def _copied(source: str, by: Operator, tensors: dict[str, Tensor]) -> Operator:
    """Return the kernel that copies an image into another order for `by`."""
    made = f"{by.name}.of.{source}"
    while made in tensors:
        made += "'"
    image = tensors[source]
    tensors[made] = replace(image, name=made, role=Role.ACTIVATION)
    columns = image.shape[-1]
    return Operator(
        made, "elementwise",
        {"rows": image.elements // columns, "columns": columns, "operands": 1}, (source,),
        (made,), by.label, None, {"function": "copy", INSIDE: True},
    )  # fmt: skip


def _shard(operator: Operator) -> str | None:
    return {"out_channels": "columns", "batch": "rows"}.get(operator.shard or "")


def _is_layer_norm(operator: Operator) -> bool:
    return operator.kind == "norm" and not _grouped(operator)


def _after_norm(maker: Operator | None, makers: dict[str, Operator]) -> int:
    """Return 1 where an image comes from a group norm, at most through an activation."""
    while maker is not None and maker.kind == "elementwise" and len(maker.inputs) == 1:
        maker = makers.get(maker.inputs[0])
    return int(maker is not None and _grouped(maker))


def _is_of_tokens(
    maker: Operator | None, tensors: dict[str, Tensor], makers: dict[str, Operator]
) -> int:
    """Return 1 where an image is a product of tokens, or a sum with one."""
    if maker is None:
        return 0
    if maker.kind == "matmul":
        return 1
    whole = tensors[maker.outputs[0]].elements
    return int(
        maker.kind == "elementwise"
        and any(
            name in makers and makers[name].kind == "matmul" and tensors[name].elements == whole
            for name in maker.inputs
        )
    )
