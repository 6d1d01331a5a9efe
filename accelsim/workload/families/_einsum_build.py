"""Turns Einsum statements into operators: matrix products, convolutions, reductions, functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from accelsim.errors import ConfigError, GraphError
from accelsim.workload._author_value import Value, rows_columns
from accelsim.workload.author import Graph
from accelsim.workload.families._einsum_config import EinsumConfig, StepConfig, TensorConfig
from accelsim.workload.families._einsum_conv import conv_dims
from accelsim.workload.families._einsum_functions import POINTWISE, graph_function
from accelsim.workload.families._einsum_steps import statements
from accelsim.workload.families._einsum_text import Call, Index, Reference, Statement, parse
from accelsim.workload.importers._contraction import chain
from accelsim.workload.ops.norm import OPS_PER_ELEMENT as NORMS
from accelsim.workload.tensor import Role, Sparsity

__all__ = ["Cascade"]

_PLAIN: Final = TensorConfig()
_REDUCTIONS: Final = ("sum", "max", "mean")


class _Made(NamedTuple):
    """A tensor, and the function of tensors that it is."""

    made: Reference
    function: str
    operands: tuple[Reference, ...]


class Cascade:
    """Builds the graph of a cascade of Einsums.

    Parameters
    ----------
    config : EinsumConfig
        The cascade.
    sizes : mapping of str to int
        Size of each rank in this pass.
    graph : Graph
        What the operators are added to.
    """

    def __init__(self, config: EinsumConfig, sizes: Mapping[str, int], graph: Graph) -> None:
        self.config, self.sizes, self.graph = config, sizes, graph
        self.values: dict[str, Value] = {}
        self.read: set[str] = set()
        self.owned: dict[str, str] = {}  # weight -> the steps that it was first read in
        self.depth = ""
        self.running: dict[str, Reference] = {}  # made along a rank -> with which indices
        self.later = {
            one.made.tensor for _, _, one in statements(config.einsums, "einsums")
            if one.made.running
        }  # fmt: skip

    def add(self, steps: Sequence[StepConfig], path: str) -> None:
        """Add the operators of some steps.

        Raises
        ------
        ConfigError
            Names the step, and the rank or tensor that does not fit.
        """
        for i, step in enumerate(steps):
            place = f"{path}.{i}"
            try:
                if step.repeat is not None:
                    self._repeat(step, place)
                else:
                    self._statement(step, parse(step.einsum or ""))
            except GraphError as error:
                raise ConfigError(str(error), path=place) from None

    def _repeat(self, step: StepConfig, place: str) -> None:
        for name in step.carry:
            if name not in self.values:
                raise GraphError(f"carry: nothing before the steps makes or reads `{name}`")
        outer = dict(self.values)

        def body(*given: Value) -> tuple[Value, ...]:
            self.values = {**outer, **dict(zip(step.carry, given, strict=True))}
            self.depth = place
            self.add(step.steps, f"{place}.steps")
            self.depth = ""
            for name in step.carry.values():
                if name not in self.values:
                    raise GraphError(f"carry: the steps do not make `{name}`")
            return tuple(self.values[name] for name in step.carry.values())

        streams = [self.values[name] for name in step.carry]
        results = self.graph.repeat(step.repeat or 1, body, *streams, name=step.name or "layers")
        self.values = {**outer, **dict(zip(step.carry.values(), results, strict=True))}
        self.read |= step.carry.keys()

    def _statement(self, step: StepConfig, found: Statement) -> None:
        made = found.made.tensor
        if made in self.values and self.values[made].role is Role.ACTIVATION:
            raise GraphError(f"`{made}` is made or read before this statement")
        for rank in {*found.made.ranks, *(r for o in found.operands for r in o.ranks)}:
            if rank not in self.sizes:
                raise GraphError(f"rank `{rank}` has no size in `shape`")
        if found.made.running:
            self.running[made] = found.made
        name = step.name or made
        self.graph.result_dtype = self._described(made).dtype or ""
        self.values[made] = self._made(step, found.made, found.body, name)
        self.graph.result_dtype = ""

    def _carried(self, one: Reference | Call, made: Reference) -> bool:
        """Whether an operand is what an earlier step made, which never left the unit."""
        if isinstance(one, Call) or one.tensor in self.values:
            return False
        return one.tensor == made.tensor or one.tensor in self.later

    def _arguments(
        self, step: StepConfig, made: Reference, body: Call, name: str
    ) -> tuple[list[Reference], list[Value]]:
        """Return the operands of a function, with an operator for each that is one itself."""
        references, values = [], []
        for place, one in enumerate(body.arguments):
            if self._carried(one, made):
                continue
            if isinstance(one, Reference):
                if one not in references:
                    values.append(self._operand(one))
                    references.append(one)
                elif body.function in ("*", "+"):
                    values.append(values[references.index(one)])
                    references.append(one)
                continue
            inside = {rank for leaf in one.leaves for rank in leaf.ranks}
            called = f"{name}.{one.function.strip('*+') or 'inner'}{place or ''}"
            # Ranks of the result stay in its order; those to be reduced follow.
            order = [rank for rank in made.ranks if rank in inside]
            order += sorted(inside - set(order))
            whole = Reference(called, tuple(Index(((1, rank),)) for rank in order))
            values.append(self._made(step, whole, one, called))
            references.append(whole)
        if not references:
            raise GraphError(
                f"`{made}` follows from earlier steps alone; what does it start from?"
            )
        return references, values

    def _made(self, step: StepConfig, made: Reference, body: Call, name: str) -> Value:
        inner = body.arguments[0]
        if body.function == "sum" and isinstance(inner, Call) and inner.function == "*":
            body = inner  # a product sums over the ranks that the result lacks
        function, out = body.function, self._shape(made)
        references, operands = self._arguments(step, made, body, name)
        found = _Made(made, function, tuple(references))
        if function == "*" and len(operands) > 1:
            return self._product(step, found, operands, name)
        if function == "+" and len(operands) > 1:
            aligned = self._all_aligned(found, operands)
            return self.graph.add(*aligned, name=name, label=step.label or "residual")
        if function in _REDUCTIONS and len(body.arguments) == 1:
            return self._reduced(found, operands[0], name)
        if function == "append":
            return self._appended(found, operands[0], name)
        if self._described(made.tensor).role != "activation":
            raise GraphError(f"`{made.tensor}` is no activation; write it by `append`")
        if function == "gather":
            y = self.graph.gather(*operands, name=name, label=step.label or "gather")
            return self.graph.reshape(y, out)
        if function == "softmax" or function in NORMS:
            return self._by_rows(step, found, operands, name)
        if (known := graph_function(function)) is not None:
            aligned = self._all_aligned(found, operands)
            return self._pointwise(known, aligned, out, name, step.label)
        legal = ", ".join(
            sorted({*_REDUCTIONS, "append", "gather", "softmax", *NORMS, *POINTWISE})
        )
        raise GraphError(f"unknown function `{function}`; legal: {legal}")

    def _pointwise(
        self, function: str, operands: list[Value], out: tuple[int, ...], name: str, label: str
    ) -> Value:
        """Add an elementwise function; ranks of a carried operand alone are those of no other."""
        reached = tuple(max(sizes) for sizes in zip(*(x.shape for x in operands), strict=True))
        if reached == out or not out:
            y = self.graph.elementwise(function, *operands, name=name, label=label)
            return self.graph.reshape(y, out)
        graph, name = self.graph, self.graph.called(name)
        y = graph.made(name, out, operands[0].dtype)
        rows, columns = rows_columns(out)
        graph.operator(
            name, "elementwise", {"rows": rows, "columns": columns, "operands": len(operands)},
            [graph.whole(x) for x in operands], (y,),
            label=label or "elementwise", attributes={"function": function, "part": True},
        )  # fmt: skip
        return y

    def _all_aligned(self, found: _Made, operands: list[Value]) -> list[Value]:
        pairs = zip(operands, found.operands, strict=True)
        return [self._aligned(x, one, found.made) for x, one in pairs]

    # ------------------------------------------------------------ tensors

    def _described(self, tensor: str) -> TensorConfig:
        return self.config.tensors.get(tensor, _PLAIN)

    def _shape(self, reference: Reference) -> tuple[int, ...]:
        """Return the shape of a tensor: what was declared, else what its indices reach."""
        declared = self._described(reference.tensor).shape
        if declared is not None:
            return declared
        return tuple(self._reach(index) for index in reference.indices)

    def _reach(self, index: Index) -> int:
        return 1 + sum(factor * (self.sizes[rank] - 1) for factor, rank in index.terms)

    def _operand(self, reference: Reference) -> Value:
        self.read.add(reference.tensor)
        value = self.values.get(reference.tensor)
        if value is None:
            value = self.values[reference.tensor] = self._given(reference)
        if len(value.shape) != len(reference.indices):
            raise GraphError(f"`{reference}` has not the {len(value.shape)} ranks of {value}")
        for place, index in enumerate(reference.indices):
            if index.last and not self._runs(reference.tensor, place):
                raise GraphError(f"`{reference}`: `end` is of the rank along which a tensor runs")
        for index, size in zip(reference.indices, value.shape, strict=True):
            if index.rank is not None and self.sizes[index.rank] != size:
                raise GraphError(
                    f"`{reference}`: rank `{index.rank}` is {self.sizes[index.rank]}, but"
                    f" `{reference.tensor}` has {size} there"
                )
        return value

    def _runs(self, tensor: str, place: int) -> bool:
        made = self.running.get(tensor)
        return made is not None and made.indices[place].offset > 0

    def _given(self, reference: Reference) -> Value:
        """Return a tensor that no statement makes."""
        name, described = reference.tensor, self._described(reference.tensor)
        shape, dtype = self._shape(reference), described.dtype or ""
        if described.role == "weight":
            if name in self.owned and self.owned[name] != self.depth:
                raise GraphError(
                    f"weight `{name}` is each repetition's own in steps that repeat, and is read"
                    " elsewhere; read it before them to share it"
                )
            self.owned[name] = self.depth
            return self.graph.weight(name, shape, dtype, _sparsity(described))
        if described.role == "kv_cache":
            return self.graph.kv_cache(name, shape, dtype)
        if described.role == "state":
            return self.graph.state(name, shape, dtype)
        return self.graph.input(name, shape, dtype)

    def _aligned(self, x: Value, reference: Reference, made: Reference) -> Value:
        """Return an operand with its ranks in the order of the result, 1 for those it lacks."""
        for place, index in enumerate(reference.indices):
            if index.fixed:
                x = self.graph.part(x, 1, place)
        order = [rank for rank in made.ranks if rank in reference.ranks]
        if len(order) != len(reference.ranks) or reference.affine:
            raise GraphError(f"`{reference}` has a rank that `{made}` has not, or is affine")
        kept = [place for place, index in enumerate(reference.indices) if not index.fixed]
        shape = tuple(x.shape[place] for place in kept)
        x = self.graph.reshape(x, shape) if len(shape) < len(x.shape) else x
        places = [reference.ranks.index(rank) for rank in order]
        turned = self.graph.transpose(x, *places) if places else x
        sizes = dict(zip(order, turned.shape, strict=True))
        return self.graph.reshape(turned, tuple(sizes.get(rank, 1) for rank in made.ranks))

    # ------------------------------------------------------------ statements

    def _appended(self, found: _Made, x: Value, name: str) -> Value:
        """Write new keys, values or a state into what stays in memory."""
        tensor = found.made.tensor
        if self._described(tensor).role not in ("kv_cache", "state"):
            raise GraphError(f"`{tensor}` must have `role: kv_cache` or `role: state`")
        return self.graph.append(self._given(found.made), x, name=name)

    def _product(self, step: StepConfig, found: _Made, operands: list[Value], name: str) -> Value:
        references = list(found.operands)
        if any(reference.affine for reference in references):
            return self._conv(step, found, operands, name)
        ranks = [reference.ranks for reference in references]
        return chain(self.graph, ranks, operands, found.made.ranks, self.sizes, name, step.label)

    def _reduced(self, found: _Made, x: Value, name: str) -> Value:
        source, made = found.operands[0], found.made
        if len(found.operands) != 1 or source.affine:
            raise GraphError(f"`{found.function}` takes one tensor whose indices are ranks")
        gone = [i for i, rank in enumerate(source.ranks) if rank not in made.ranks]
        kept = [rank for rank in source.ranks if rank in made.ranks]
        if set(kept) != set(made.ranks):
            raise GraphError(f"`{made}` has a rank that `{source}` has not")
        if not gone:
            return self.graph.copied(self._aligned(x, source, made), name=name)
        y = self.graph.reduce(x, found.function, gone, name=name)
        return self.graph.transpose(y, *(kept.index(rank) for rank in made.ranks)) if kept else y

    def _by_rows(self, step: StepConfig, found: _Made, operands: list[Value], name: str) -> Value:
        source = found.operands[0]
        over = step.over or source.ranks[-1]
        if over not in source.ranks or set(source.ranks) != set(found.made.ranks):
            raise GraphError(
                f"`{found.made}` must have the ranks of `{source}`, `{over}` included"
            )
        order = [rank for rank in source.ranks if rank != over] + [over]
        turned = self.graph.transpose(operands[0], *(source.ranks.index(rank) for rank in order))
        if found.function == "softmax":
            y = self.graph.softmax(turned, name=name)
        else:
            y = self.graph.norm(turned, found.function, weights=operands[1:], name=name)
        return self.graph.transpose(y, *(order.index(rank) for rank in found.made.ranks))

    def _conv(self, step: StepConfig, found: _Made, operands: list[Value], name: str) -> Value:
        """Add the product of an image, read by affine indices, and a weight."""
        if len(operands) != 2 or sum(one.affine for one in found.operands) != 1:
            raise GraphError("a product with affine indices is one of an image and a weight")
        image, kernel = (0, 1) if found.operands[0].affine else (1, 0)
        if operands[kernel].role is not Role.WEIGHT:
            tensor = found.operands[kernel].tensor
            raise GraphError(f"`{tensor}` must have `role: weight`: it is a convolution's kernel")
        dims, attributes = conv_dims(
            found.operands[image],
            found.operands[kernel],
            found.made,
            operands[image].shape,
            self.sizes,
        )
        graph, name = self.graph, self.graph.called(name)
        y = graph.made(name, self._shape(found.made), operands[image].dtype)
        graph.operator(
            name, "conv", dims, (graph.whole(operands[image]), operands[kernel]), (y,),
            label=step.label or "conv", attributes=attributes,
        )  # fmt: skip
        return y


def _sparsity(described: TensorConfig) -> Sparsity | None:
    if described.density == 1 and not described.metadata_bits:
        return None
    return Sparsity(described.density, described.pattern, described.metadata_bits)
