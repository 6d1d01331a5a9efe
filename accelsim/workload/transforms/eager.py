"""Operator by operator, as a framework without compiler runs a network: every step is a kernel.

Attention becomes two batched products with scaling, mask and softmax between them; activations
fall into the functions they are written in; training adds dropout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, Final, Literal

from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.ops import attention
from accelsim.workload.ops.matmul import operands
from accelsim.workload.tensor import Role, Tensor
from accelsim.workload.transforms._eager_images import Layout, image_kernels
from accelsim.workload.transforms._rewrite import map_blocks, with_note, without_cache
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "Eager"]

# Function -> its kernels in order; "x" is the input, other names are results of earlier kernels.
# GELU with tanh as transformers' NewGELUActivation writes it, a gated function as two kernels.
_COMPOSED: Final[Mapping[str, tuple[tuple[str, str, tuple[str, ...]], ...]]] = {
    "gelu_tanh": (
        ("half", "scale", ("x",)),
        ("cube", "pow", ("x",)),
        ("cubic", "scale", ("cube",)),
        ("inner", "add", ("x", "cubic")),
        ("scaled", "scale", ("inner",)),
        ("tanh", "tanh", ("scaled",)),
        ("one_more", "add", ("tanh",)),
        ("", "mul", ("half", "one_more")),
    ),
}
_SIDES: Final = ("query", "key", "value")
_GATED: Final = ("silu", "gelu", "gelu_tanh", "relu", "sigmoid", "quick_gelu")


class Eager(Transform):
    """Splits fused operators into the kernels of an eager framework.

    Notes
    -----
    Transformers 4.x, GPT-2, one layer in inference: norm, addmm, matmul, division, mask, softmax,
    matmul, copy, addmm, add, norm, addmm, eight kernels of GELU, addmm, add.

    Examples
    --------
    >>> from accelsim.workload import prefill, totals, workload
    >>> fused = workload("gpt2", prefill(1, 512))
    >>> eager = Eager().apply(fused)
    >>> totals(eager).flops == totals(fused).flops, len(list(eager.operators()))
    (True, 28)
    """

    paper: ClassVar[str] = (
        "S. Lee et al., NeuSight, arXiv 2407.13853, section 6: models of Hugging Face run"
        " operator by operator in PyTorch"
    )

    kind: Literal["eager"] = "eager"
    attention: Literal["unfused", "fused"] = "unfused"
    """Products of score and context apart with a softmax between, or one kernel."""
    scale: bool = True
    """Scores are scaled by a kernel of their own rather than in the product."""
    mask: bool = True
    """Scores are masked by a kernel of their own: selected where causal, else a mask added."""
    copies: Literal["none", "output", "all"] = "output"
    """Copies that bring heads into order: of the context, or also of query, key and value."""
    separate_projections: bool = False
    """Query, key and value are three products rather than one (BERT)."""
    compose_activations: bool = True
    """A GELU with tanh is eight kernels, as code without fusion writes it."""
    cache: bool = False
    """New keys and values are written to a cache."""
    dropout: bool = False
    """Dropout after the embedding, the softmax, and before each residual sum: training mode."""
    layout: Layout = "any"
    """Order in which the framework holds images; ``first`` and ``last`` cost copies between
    convolutions on tensor cores and group norms (`accelsim.workload.transforms._eager_images`)."""
    image_kernels: bool = False
    """A convolution's bias is added by a kernel of its own, a group norm reads its input twice."""
    rescaled: tuple[str, ...] = ()
    """Ends of the names of sums that a kernel divides by a constant, as diffusers does by 1."""

    def apply(self, workload: Workload) -> Workload:
        """Return the pass operator by operator.

        Raises
        ------
        GraphError
            If `cache` is false, but the pass reads earlier tokens from it.
        """
        first = workload.blocks[0].name
        changed = map_blocks(workload, lambda block: self._block(block, block.name == first))
        if not self.cache:
            changed = replace(changed, kv_bytes_per_token=0)
        return with_note(changed, "execution", f"eager, attention {self.attention}")

    def _block(self, block: Block, first: bool) -> Block:
        block = block if self.cache else without_cache(block)
        block = image_kernels(
            block, self.layout, bias=self.image_kernels, statistics=self.image_kernels
        )
        tensors, operators = dict(block.tensors), list[Operator]()
        for operator in block.operators:
            if self.separate_projections and _is_fused_projection(operator, block):
                operators += _projections(operator, block, tensors)
            elif operator.kind == "attention":
                operators += self._attention(operator, operators, tensors)
            elif operator.kind == "elementwise":
                operators += self._elementwise(operator, tensors)
            elif operator.kind == "transfer" and f"{operator.inputs[0]}.key" in tensors:
                sides = tuple(f"{operator.inputs[0]}.{side}" for side in _SIDES[1:])
                operators.append(replace(operator, inputs=sides))  # into the cache
            else:
                operators.append(operator)
        embedded = block.carry.get("hidden") if first else None
        if self.rescaled:
            operators = list(self._rescaled(operators, tensors))
        if self.dropout and embedded:
            made = next(o for o in operators if embedded in o.outputs)
            operators.append(_then(made, "dropout", "dropout", tensors))
            dropped = operators[-1].outputs[0]
            carry = {s: dropped if t == embedded else t for s, t in block.carry.items()}
            block = replace(block, carry=carry)
        named = {n for o in operators for n in (*o.inputs, *o.outputs)}
        held = {n: t for n, t in tensors.items() if n in named}
        return replace(block, operators=tuple(operators), tensors=held)

    def _attention(
        self, operator: Operator, before: list[Operator], tensors: dict[str, Tensor]
    ) -> Iterator[Operator]:
        """Yield the kernels of an attention."""
        fused = operator.inputs[0]
        names = tuple(f"{fused}.{side}" for side in _SIDES)
        if {*names} <= {n for o in before for n in o.outputs}:  # projected apart
            given = zip(operator.inputs[:3], names, strict=True)
            read = (own if old == fused else old for old, own in given)  # else from a cache
            operator = replace(operator, inputs=(*read, *operator.inputs[3:]))
        if self.attention == "fused":
            yield operator
            return
        if self.copies == "all":
            copied = [_copy(operator, number, tensors) for number in range(3)]
            yield from copied
            inputs = tuple(o.outputs[0] for o in copied)
            operator = replace(operator, inputs=(*inputs, *operator.inputs[3:]))
        (score, softmax, context), between = attention.expand(operator, tensors)
        tensors.update(between)
        yield score
        last = score
        causal = bool(operator.attributes.get("causal"))
        steps = [("scaled", "scale")] * self.scale
        steps += [("masked", "where" if causal else "add")] * self.mask
        for name, function in steps:
            last = _then(last, name, function, tensors, softmax.dims)
            yield last
        softmax = replace(softmax, inputs=(*last.outputs, *softmax.inputs[1:]))
        yield softmax
        if self.dropout:
            softmax = _then(softmax, "dropped", "dropout", tensors)
            yield softmax
        context = replace(context, inputs=(*softmax.outputs, context.inputs[1]))
        if self.copies == "none":
            yield context
            return
        apart = f"{operator.name}.heads"
        tensors[apart] = replace(tensors[operator.outputs[0]], name=apart)
        yield replace(context, outputs=(apart,))
        rows, columns = _grid(tensors[apart])
        yield Operator(
            f"{operator.name}.copy", "elementwise",
            {"rows": rows, "columns": columns, "operands": 1}, (apart,), operator.outputs,
            operator.label, "columns" if operator.shard else None, {"function": "copy"},
        )  # fmt: skip

    def _rescaled(
        self, operators: list[Operator], tensors: dict[str, Tensor]
    ) -> Iterator[Operator]:
        """Yield operators, with a division after the sums that are divided."""
        for operator in operators:
            if not operator.name.endswith(self.rescaled):
                yield operator
                continue
            (out,) = operator.outputs
            undivided = f"{out}.undivided"
            tensors[undivided] = replace(tensors[out], name=undivided)
            yield replace(operator, outputs=(undivided,))
            rows, columns = _grid(tensors[out])
            yield Operator(
                f"{operator.name}.divide", "elementwise",
                {"rows": rows, "columns": columns, "operands": 1}, (undivided,), (out,),
                operator.label, None, {"function": "scale"},
            )  # fmt: skip

    def _elementwise(self, operator: Operator, tensors: dict[str, Tensor]) -> Iterator[Operator]:
        """Yield the kernels of an elementwise function."""
        function = str(operator.attributes["function"])
        gate = function.removesuffix("_mul")
        if function.endswith("_mul") and gate in _GATED:
            inside = f"{operator.name}.{gate}"
            tensors[inside] = replace(tensors[operator.outputs[0]], name=inside)
            one = {**operator.dims, "operands": 1}
            made = replace(
                operator, name=inside, dims=one, inputs=operator.inputs[:1], outputs=(inside,),
                attributes={**operator.attributes, "function": gate},
            )  # fmt: skip
            yield from self._elementwise(made, tensors)
            rest = operator.inputs[1:] or operator.inputs
            dims = {**operator.dims, "operands": 2}
            attributes = {**operator.attributes, "function": "mul"}
            yield replace(operator, dims=dims, inputs=(inside, *rest), attributes=attributes)
        elif function in _COMPOSED and self.compose_activations:
            yield from _composed(operator, function, tensors)
        elif self.dropout and operator.label == "residual" and len(operator.inputs) == 2:
            branch = operator.inputs[1]
            made = Operator(branch, "elementwise", {**operator.dims, "operands": 1}, (), (branch,),
                            operator.label)  # fmt: skip
            dropped = _then(made, "dropped", "dropout", tensors)
            yield dropped
            yield replace(operator, inputs=(operator.inputs[0], *dropped.outputs))
        else:
            yield operator


def _grid(tensor: Tensor) -> tuple[int, int]:
    """Return the rows and columns of a tensor."""
    columns = tensor.shape[-1]
    return tensor.elements // columns, columns


def _then(
    before: Operator, name: str, function: str, tensors: dict[str, Tensor],
    dims: Mapping[str, int] | None = None,
) -> Operator:  # fmt: skip
    """Return an elementwise kernel over another's output."""
    source = before.outputs[0]
    made = f"{source}.{name}"
    tensors[made] = replace(tensors[source], name=made)
    rows, columns = (dims["rows"], dims["columns"]) if dims else _grid(tensors[source])
    shard = None
    if before.shard is not None:
        shard = "rows" if before.shard in ("batch", "rows") else None
    return Operator(
        made, "elementwise", {"rows": rows, "columns": columns, "operands": 1}, (source,), (made,),
        before.label, shard, {"function": function},
    )  # fmt: skip


def _copy(operator: Operator, number: int, tensors: dict[str, Tensor]) -> Operator:
    """Return the copy of an attention's query, key or value out of what it is read from."""
    dims, source = operator.dims, operator.inputs[number]
    rows = dims["batch"] * (dims["q_len"] if number == 0 else dims["kv_len"])
    heads = dims["heads"] if number == 0 else dims["kv_heads"]
    columns = heads * (dims["value_dim"] if number == 2 else dims["head_dim"])
    made = f"{operator.name}.{_SIDES[number]}"
    tensors[made] = Tensor(made, (rows, columns), tensors[source].dtype, Role.ACTIVATION)
    return Operator(
        made, "elementwise", {"rows": rows, "columns": columns, "operands": 1}, (source,), (made,),
        operator.label, "columns" if operator.shard else None, {"function": "copy"},
    )  # fmt: skip


def _composed(operator: Operator, function: str, tensors: dict[str, Tensor]) -> Iterator[Operator]:
    source, (out,) = operator.inputs[0], operator.outputs
    for name, step, inputs in _COMPOSED[function]:
        made = f"{operator.name}.{name}" if name else out
        tensors[made] = replace(tensors[out], name=made)
        read = tuple(source if one == "x" else f"{operator.name}.{one}" for one in inputs)
        yield replace(
            operator, name=made if name else operator.name, inputs=read, outputs=(made,),
            dims={**operator.dims, "operands": len(read)},
            attributes={**operator.attributes, "function": step},
        )  # fmt: skip


def _is_fused_projection(operator: Operator, block: Block) -> bool:
    """Return whether an operator makes query, key and value of one attention and nothing else."""
    if operator.kind != "matmul" or len(operands(operator, block.tensors)[0]) != 1:
        return False
    readers = [o for o in block.operators if operator.outputs[0] in o.inputs]
    read = [o for o in readers if o.kind == "attention"]
    appended = {n for o in readers if o.kind == "transfer" for n in o.outputs}  # to a cache
    return (
        bool(read)
        and all(o.kind in ("attention", "transfer") for o in readers)
        and all(set(o.inputs[:3]) <= {*operator.outputs, *appended} for o in read)
    )


def _projections(
    operator: Operator, block: Block, tensors: dict[str, Tensor]
) -> Iterator[Operator]:
    """Yield the products of query, key and value apart, each with its part of the weight."""
    reader = next(
        o for o in block.operators if o.kind == "attention" and operator.outputs[0] in o.inputs
    )
    (x,), weight, biases = operands(operator, block.tensors)
    dims = reader.dims
    widths = (
        dims["heads"] * dims["head_dim"], dims["kv_heads"] * dims["head_dim"],
        dims["kv_heads"] * dims["value_dim"],
    )  # fmt: skip
    for side, columns in zip(_SIDES, widths, strict=True):
        names = []
        for held in (weight, *biases):
            old = tensors[held]
            shape = (columns, *old.shape[1:])
            names.append(f"{side}.{held}")
            tensors[names[-1]] = replace(old, name=names[-1], shape=shape)
        out = tensors[operator.outputs[0]]
        made = f"{out.name}.{side}"
        tensors[made] = replace(out, name=made, shape=(operator.dims["m"], columns))
        yield replace(
            operator, name=made, dims={**operator.dims, "n": columns}, inputs=(x, *names),
            outputs=(made,),
        )  # fmt: skip


TRANSFORM: Final = Eager
