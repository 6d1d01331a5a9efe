"""Training: forward pass, loss, backward pass, and optionally recomputation and the optimizer.

Products cost twice their forward work in the backward pass, less that of inputs which need no
gradient; FLOPs of a step are three times the forward ones, four times where all is recomputed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Final, Literal

from accelsim.errors import GraphError
from accelsim.workload.dtypes import Dtype
from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.tensor import Role, Tensor
from accelsim.workload.transforms._backward import (
    backward_block,
    gradient_name,
    with_gradient,
)
from accelsim.workload.transforms._rewrite import with_note, without_cache
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "Training", "update_pass"]

_STATES: Final = {"adam": ("first_moment", "second_moment"), "momentum": ("momentum",)}


class Training(Transform):
    """Adds the backward pass to a forward one.

    Notes
    -----
    The forward pass is taken as it is: ask for logits of all tokens
    (``workload.conventions.logits: all``) where every token has a loss.  A KV cache is not kept.
    Activations that the backward pass reads stay in memory, and count as such.

    Examples
    --------
    >>> from accelsim.workload import flop_split, prefill, workload
    >>> forward = workload("gpt2", prefill(1, 1024))
    >>> step = Training().apply(forward)
    >>> flop_split(step)["linear"] == 3 * flop_split(forward)["linear"]
    True
    """

    paper: ClassVar[str] = (
        "V. Korthikanti et al., arXiv 2205.05198: selective and full recomputation, section 5"
    )

    kind: Literal["training"] = "training"
    loss: Literal["cross_entropy", "squared", "none"] = "cross_entropy"
    """Loss of the pass's outputs; with `none` their gradients are inputs of the pass."""
    loss_format: Dtype | None = None
    """Format of the loss; outputs of another are cast to it, and their gradients back, by kernels
    of their own, as PyTorch's autocast and Megatron-LM do to FP32.  That of the output if null."""
    recompute: Literal["none", "selective", "full"] = "none"
    """What is computed again rather than kept: nothing; of attentions all but their last product
    (fused ones do so by themselves); or whole layers, of blocks that repeat."""
    optimizer: Literal["none", "adam", "momentum"] = "none"
    """Update of the weights after the backward pass."""
    gradient: Dtype | None = None
    """Format of weights' gradients; that of the weight where null."""
    moments: Dtype = "fp32"
    """Format of the optimizer's moments."""
    master_weights: bool = False
    """The optimizer also keeps the weights in FP32."""

    def apply(self, workload: Workload) -> Workload:
        """Return one training step.

        Raises
        ------
        GraphError
            If the pass reads earlier tokens from a cache, or has an operator without a rule.
        """
        forward = tuple(without_cache(block) for block in workload.blocks)
        made = [*self._loss(workload, forward), *self._backward(workload, forward)]
        if self.optimizer != "none":
            made += list(_updates(forward, self, made))
        inputs = workload.inputs
        if self.loss == "none":
            inputs += tuple(gradient_name(name) for name in _trained(forward, workload.outputs))
        step = replace(
            workload, blocks=(*forward, *made), kv_bytes_per_token=0, inputs=inputs,
            state_bytes_per_sequence=0, phase=f"train {workload.phase.partition(' ')[2]}",
        )  # fmt: skip
        return with_note(
            step, "training",
            f"loss {self.loss}, recompute {self.recompute}, optimizer {self.optimizer}",
        )  # fmt: skip

    def _loss(self, workload: Workload, forward: Sequence[Block]) -> Iterator[Block]:
        """Yield the block that makes the gradients of the outputs."""
        trained = _trained(forward, workload.outputs)
        if self.loss == "none" or not trained:
            return
        operators: list[Operator] = []
        tensors: dict[str, Tensor] = {}
        for name, tensor in trained.items():
            columns = tensor.shape[-1]
            rows = tensor.elements // columns
            dtype = self.loss_format or tensor.dtype
            cast = dtype != tensor.dtype
            source, middle, end = name, f"loss.{name}", gradient_name(name)
            made = f"loss.{end}" if cast else end
            tensors |= {n: replace(tensor, name=n) for n in (name, end)}
            dims = {"rows": rows, "columns": columns}
            if cast:
                source = f"loss.{name}.cast"
                tensors[source] = replace(tensor, name=source, dtype=dtype)
                operators.append(_map(source, "copy", dims, name, source))
            tensors |= {n: replace(tensor, name=n, dtype=dtype) for n in (middle, made)}
            if self.loss == "cross_entropy":
                operators.append(Operator(middle, "softmax", dims, (source,), (middle,), "loss"))
                last = "softmax_backward"
            else:
                operators.append(_map(middle, "add", dims, source, middle))
                last = "scale"
            operators.append(_map(made, last, dims, middle, made))
            if cast:
                operators.append(_map(end, "copy", dims, made, end))
        carry = {gradient_name(name): gradient_name(name) for name in trained}
        yield Block("loss", 1, tuple(operators), tensors, carry)

    def _backward(self, workload: Workload, forward: Sequence[Block]) -> Iterator[Block]:
        wanted: list[frozenset[str]] = []
        flows: frozenset[str] = frozenset()
        for block in forward:
            local = with_gradient(block, flows)
            wanted.append(local)
            streams = {s for s, name in block.carry.items() if name in local}
            flows = (flows - block.carry.keys()) | streams | (local & block.shared)
        arriving = {n: gradient_name(n) for n in _trained(forward, workload.outputs)}
        for block, local in zip(reversed(forward), reversed(wanted), strict=True):
            again = self._again(block)
            made = backward_block(block, local, arriving, again, self.gradient or "")
            if made is not None:
                arriving = dict(made.arriving)
                yield made.block

    def _again(self, block: Block) -> tuple[Operator, ...]:
        """Return the operators of a block that run again in the backward pass."""
        if self.recompute == "full" and block.count > 1:
            return block.operators
        if self.recompute == "selective":
            return tuple(
                o for o in block.operators
                if o.label == "attention" and o.kind != "attention"
                and o.attributes.get("function") != "context"
            )  # fmt: skip
        return ()


def _map(name: str, function: str, dims: dict[str, int], source: str, made: str) -> Operator:
    return Operator(name, "elementwise", {**dims, "operands": 1}, (source,), (made,), "loss",
                    attributes={"function": function})  # fmt: skip


def _trained(forward: Sequence[Block], outputs: Sequence[str]) -> dict[str, Tensor]:
    """Return the outputs of the pass that are no indices."""
    found = {n: b.tensors[n] for b in forward for n in outputs if n in b.tensors}
    return {n: t for n, t in found.items() if not t.dtype.startswith(("int", "bool"))}


def _updates(
    forward: Sequence[Block], training: Training, made: Sequence[Block] = ()
) -> Iterator[Block]:
    """Yield a block per forward block that updates its weights; `made` holds their gradients."""
    names = (*_STATES[training.optimizer], *(("master",) if training.master_weights else ()))
    done: set[str] = set()
    for block in forward:
        weights = [
            name for name, t in block.tensors.items() if t.role is Role.WEIGHT and name not in done
        ]
        done |= block.shared & set(weights)
        if not weights:
            continue
        elements = sum(block.tensors[name].elements for name in weights)
        tensors = {name: block.tensors[name] for name in weights}
        for name in weights:
            dtype = training.gradient or block.tensors[name].dtype
            grown = gradient_name(name)
            tensors[grown] = Tensor(grown, tensors[name].shape, dtype, Role.STATE)
        states = tuple(f"{block.name}.{state}" for state in names)
        for state in states:
            dtype = "fp32" if state.endswith(".master") else training.moments
            tensors[state] = Tensor(state, (elements,), dtype, Role.STATE)
        inputs = (*weights, *(gradient_name(name) for name in weights))
        operator = Operator(
            "update", "update", {"elements": elements}, inputs, states, "update",
            attributes={"function": training.optimizer},
        )  # fmt: skip
        backward = f"{block.name}.backward"
        recalls = (block.name, *(b.name for b in made if b.name == backward)) if made else ()
        shared = block.shared & set(weights)
        shared |= {gradient_name(name) for name in shared}
        yield Block(f"{block.name}.update", block.count, (operator,), tensors, {}, shared, recalls)


def update_pass(forward: Workload, training: Training) -> Workload:
    """Return the optimizer's step alone, for steps of several micro-batches.

    Parameters
    ----------
    forward : Workload
        A forward pass of the model.
    training : Training
        With an optimizer.

    Raises
    ------
    GraphError
        If the training has no optimizer.
    """
    if training.optimizer == "none":
        raise GraphError("the training has no optimizer, so nothing updates the weights")
    step = replace(
        forward, blocks=tuple(_updates(forward.blocks, training)), kv_bytes_per_token=0,
        state_bytes_per_sequence=0, inputs=(), outputs=(), phase="update",
    )  # fmt: skip
    return with_note(step, "training", f"optimizer {training.optimizer} alone")


TRANSFORM: Final = Training
