"""Writes the backward block of a forward block: its operators in reverse, by the rule of each.

The block recalls weights and kept activations of the forward one, takes the gradients of the
streams that the forward block carried on, and carries on the gradients of those it read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from accelsim.errors import GraphError
from accelsim.workload.graph import Block, Operator
from accelsim.workload.tensor import Role, Tensor
from accelsim.workload.transforms._gradients import RULES

__all__ = ["BackwardBlock", "backward_block", "gradient_name", "with_gradient"]

_WHOLE = ("int", "uint", "bool")


def gradient_name(tensor: str) -> str:
    """Return the stream on which the gradient of a tensor flows between blocks."""
    return f"{tensor}.gradient"


def with_gradient(block: Block, given: frozenset[str]) -> frozenset[str]:
    """Return the tensors of a block whose gradients are wanted.

    Parameters
    ----------
    block : Block
        Forward block.
    given : frozenset of str
        Streams that come from weights of earlier blocks.
    """
    wanted = {name for name, t in block.tensors.items() if t.role is Role.WEIGHT} | set(given)
    for _ in range(2 if block.count > 1 else 1):  # what one repetition carries, the next reads
        for operator in block.operators:
            if wanted.intersection(operator.inputs):
                wanted.update(operator.outputs)
        wanted |= {stream for stream, name in block.carry.items() if name in wanted}
    return frozenset(
        name for name in wanted
        if name in block.tensors and not block.tensors[name].dtype.startswith(_WHOLE)
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class BackwardBlock:
    """A backward block, and forward tensor -> stream or shared tensor with its gradient."""

    block: Block
    arriving: Mapping[str, str]


def backward_block(
    forward: Block,
    wanted: frozenset[str],
    arriving: Mapping[str, str],
    again: Sequence[Operator],
    gradient_dtype: str,
) -> BackwardBlock | None:
    """Return the backward block; None where nothing arrives.

    Parameters
    ----------
    forward : Block
        Without a cache.
    wanted : frozenset of str
        Its tensors whose gradients are wanted.
    arriving : mapping of str to str
        Forward stream or shared tensor -> name of its gradient, as later blocks left it.
    again : sequence of Operator
        Forward operators that run once more, as their outputs were not kept.
    gradient_dtype : str
        Format of weights' gradients; that of the weight where empty.

    Raises
    ------
    GraphError
        If an operator's kind has no backward rule.
    """
    writer = _BlockWriter(forward, wanted, again, gradient_dtype)
    made = {name for operator in forward.operators for name in operator.outputs}
    for stream, name in arriving.items():
        for tensor in {forward.carry.get(stream, ""), stream} & made:
            writer.arrive(tensor, name)
    for operator in reversed(forward.operators):
        for output in operator.outputs:
            given = writer.collect(output)
            if given is None:
                continue
            if operator.kind not in RULES:
                raise GraphError(
                    f"{operator.kind} `{operator.name}` of block `{forward.name}` has no backward"
                    f" rule; kinds that have one: {', '.join(sorted(RULES))}"
                )
            RULES[operator.kind](writer, operator, given)
    if not writer.operators:
        return None
    return writer.finished(arriving, made)


@dataclass(slots=True)
class _BlockWriter:
    """Collects the operators of a backward block; see `Writer` for what rules ask of it."""

    block: Block
    wanted: frozenset[str]
    again: Sequence[Operator]
    gradient_dtype: str
    forward: Mapping[str, Tensor] = field(init=False)
    operators: list[Operator] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    parts: dict[str, list[str]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.forward = self.block.tensors
        self.renamed = {n: f"again.{n}" for operator in self.again for n in operator.outputs}
        for operator in self.again:
            inputs = tuple(self._use(name) for name in operator.inputs)
            outputs = tuple(self._use(name) for name in operator.outputs)
            self.operators.append(
                replace(operator, name=f"again.{operator.name}", inputs=inputs, outputs=outputs)
            )

    def _use(self, name: str) -> str:
        """Return the name under which a forward tensor is read here."""
        if name not in self.forward or name in self.tensors:
            return name
        here = self.renamed.get(name, name)
        self.tensors.setdefault(here, replace(self.forward[name], name=here))
        return here

    def needs(self, name: str) -> bool:
        return name in self.wanted

    def arrive(self, of: str, name: str) -> None:
        """Count what an earlier backward block left as a part of the gradient of `of`."""
        if of in self.wanted:
            self.tensors[name] = replace(self.forward[of], name=name)
            self.give(of, name)

    def give(self, of: str, gradient: str) -> None:
        self.parts.setdefault(of, []).append(gradient)

    def gradient(self, of: str, shape: tuple[int, ...] | None = None) -> str:
        like = self.forward.get(of)
        weight = like is not None and like.role is Role.WEIGHT
        name, number = gradient_name(of), 1
        while name in self.tensors:
            number += 1
            name = f"{gradient_name(of)}.{number}"
        if like is None:  # operands that were joined
            like = Tensor(of, shape or (1,), self._dtype(), Role.ACTIVATION)
        dtype = (self.gradient_dtype or like.dtype) if weight else like.dtype
        role = Role.STATE if weight else Role.ACTIVATION
        self.tensors[name] = Tensor(name, shape or like.shape, dtype, role)
        if weight and of in self.block.shared:
            self.shared.add(name)
        return name

    def _dtype(self) -> str:
        first = self.block.operators[0].outputs[0]
        return self.forward[first].dtype

    def add(
        self, name: str, like: Operator, inputs: tuple[str, ...], outputs: tuple[str, ...], *,
        kind: str = "", dims: Mapping[str, int] | None = None, shard: str | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> None:  # fmt: skip
        read = tuple(self._use(one) for one in inputs)
        self.operators.append(
            Operator(f"{like.name}.{name}", kind or like.kind, dims or like.dims, read, outputs,
                     like.label, shard, attributes or {})
        )  # fmt: skip

    def collect(self, of: str) -> str | None:
        """Return the gradient of a tensor, its parts joined and its sums added; None if none."""
        found = self.parts.get(of)
        if not found or of not in self.wanted:
            return None
        elements = self.forward[of].elements
        pieces = [name for name in found if self.tensors[name].elements < elements]
        whole = [name for name in found if name not in pieces]
        if pieces:
            whole.append(self._combine(of, "transfer", tuple(pieces)))
        while len(whole) > 1:
            whole = [self._combine(of, "elementwise", (whole[0], whole[1])), *whole[2:]]
        self.parts[of] = whole
        return whole[0]

    def _combine(self, of: str, kind: str, inputs: tuple[str, ...]) -> str:
        made = self.gradient(of)
        maker = next(o for o in self.block.operators if of in o.outputs or of in o.inputs)
        if kind == "transfer":
            dims = {"size_bytes": min(sum(self.tensors[n].size_bytes for n in inputs),
                                      self.tensors[made].size_bytes)}  # fmt: skip
            shard = "size_bytes" if maker.shard else None
            self.operators.append(
                Operator(f"join.{made}", kind, dims, inputs, (made,), "gradient", shard)
            )
            return made
        columns = self.forward[of].shape[-1] if self.forward[of].shape else 1
        dims = {"rows": self.forward[of].elements // columns, "columns": columns, "operands": 2}
        self.operators.append(
            Operator(f"add.{made}", kind, dims, inputs, (made,), "gradient", None,
                     {"function": "add"})
        )  # fmt: skip
        return made

    def finished(self, arriving: Mapping[str, str], made: set[str]) -> BackwardBlock:
        """Return the block, and which gradients later ones find."""
        block = self.block
        left = {s: n for s, n in arriving.items() if s not in block.carry}
        for name in made:
            left.pop(name, None)
        carry: dict[str, str] = {}
        read = {n for o in block.operators for n in o.inputs if n not in made}
        for stream in sorted(read & self.wanted):
            if block.tensors[stream].role is not Role.ACTIVATION:
                continue
            if stream not in block.carry and stream in arriving:
                self.arrive(stream, arriving[stream])
            gradient = self.collect(stream)
            if gradient is None or gradient == arriving.get(stream):
                continue
            name = gradient_name(stream)
            if block.count > 1 and name not in self.tensors:
                name = gradient  # each repetition leaves its own; the last is found by name
                self.shared.add(name)
            else:
                carry[name] = gradient
            left[stream] = name
        ends = {n for o in self.operators for n in o.outputs}
        ends -= {n for o in self.operators for n in o.inputs} | set(carry.values())
        # Recomputed or summed, and then read by nothing: it still takes its time.
        unread = {n for n in ends if self.tensors[n].role is Role.ACTIVATION}
        tensors = {n: t for n, t in self.tensors.items() if self._named(n)}
        written = Block(
            f"{block.name}.backward", block.count, tuple(self.operators), tensors, carry,
            frozenset(self.shared | unread | (block.shared & tensors.keys())), (block.name,),
        )  # fmt: skip
        return BackwardBlock(written, left)

    def _named(self, name: str) -> bool:
        return any(name in o.inputs or name in o.outputs for o in self.operators)
