"""The cascade of a block of a workload: each operator as Einsums over ranks of its own.

Ranks of a maker and a reader become one where the tensor between them is indexed alike; where it
is not (a reshape, a part of a fused tensor) a `view` stands between, which computes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from accelsim.errors import GraphError
from accelsim.workload._cascade_build import Described, assemble
from accelsim.workload._cascade_core import Cascade, Einsum, Index, Reference, einsum_of
from accelsim.workload._cascade_rows import norm_statements, reference, softmax_statements
from accelsim.workload.families._einsum_text import parse
from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.ops.matmul import operands as matmul_operands
from accelsim.workload.tensor import Role, Tensor

__all__ = ["of_graph"]

_BINARY: Final = {"add": "+", "mul": "*"}


def of_graph(workload: Workload, block: str = "") -> Cascade:
    """Return the cascade of one block of a workload.

    Parameters
    ----------
    workload : Workload
        One pass of a model.
    block : str
        Which of its blocks; the first where empty.

    Raises
    ------
    GraphError
        If there is no such block; names those there are.
    """
    chosen = next((b for b in workload.blocks if b.name == (block or b.name)), None)
    if chosen is None:
        known = ", ".join(b.name for b in workload.blocks)
        raise GraphError(f"`{workload.name}` has no block `{block}`; it has {known}")
    written = _Written(chosen)
    for operator in chosen.operators:
        written.add(operator)
    einsums, sizes = _joined(written.einsums, written.sizes)
    made = {one.made.tensor for one in einsums}
    leave = {_plain(name) for name in (*workload.outputs, *chosen.carry.values(), *chosen.shared)}
    described = {name: Described(dtype=dtype) for name, dtype in written.dtypes.items()}
    described |= {
        _plain(name): Described(tensor.role, tensor.dtype, _shape(name, tensor, made))
        for name, tensor in chosen.tensors.items()
    }
    views = {
        one.made.tensor: one.operands[0].tensor for one in einsums if one.operations == ("view",)
    }
    described |= {
        view: described.get(name, Described())
        for view, name in views.items()
        if view not in described
    }
    read = {o.tensor for one in einsums for o in one.operands}
    return assemble(
        f"{workload.name}/{chosen.name}", einsums, sizes, described=described,
        dtypes=dict.fromkeys(Role, "bf16"), outputs=(leave & made) | (made - read),
    )  # fmt: skip


def _shape(name: str, tensor: Tensor, made: set[str]) -> tuple[int, ...] | None:
    """Return the whole shape of what comes from outside; what is made has that of its ranks."""
    return None if _plain(name) in made else tensor.shape or (1,)


def _plain(name: str) -> str:
    """Return a name that the language of statements takes."""
    return re.sub(r"[^\w.]", "_", name if name[:1].isalpha() or name[:1] == "_" else f"_{name}")


@dataclass(slots=True)
class _Ranks:
    """Ranks of one operator."""

    prefix: str
    sizes: dict[str, int]

    def __call__(self, **given: int) -> tuple[str, ...]:
        """Return named ranks with their sizes; those of size 1 are left out."""
        found = {f"{self.prefix}.{name}": size for name, size in given.items() if size > 1}
        self.sizes |= found
        return tuple(found)


class _Written:
    """Einsums of the operators so far."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.einsums: list[Einsum] = []
        self.sizes: dict[str, int] = {}
        self.places: dict[str, tuple[str, ...]] = {}  # made tensor -> the ranks it was made with
        self.dtypes = {_plain(name): one.dtype for name, one in block.tensors.items()}

    def add(self, operator: Operator) -> None:
        """Write an operator as statements."""
        writer = _WRITERS.get(operator.kind, _opaque)
        ranks = _Ranks(_plain(operator.name), self.sizes)
        for text in writer(self, operator, ranks):
            found = einsum_of(parse(text), label=operator.label)
            self.einsums.append(found)
            self.places[found.made.tensor] = found.made.ranks
            dtype = self.block.tensors[operator.outputs[0]].dtype
            self.dtypes.setdefault(found.made.tensor, dtype)

    def read(self, operator: Operator, tensor: str, ranks: tuple[str, ...], part: str) -> str:
        """Return the text of an operand; where it was made with other sizes, of a view of it."""
        name = _plain(tensor)
        made = self.places.get(name)
        sizes = [self.sizes[rank] for rank in ranks]
        if made is None or [self.sizes[rank] for rank in made] == sizes:
            return reference(name, ranks)
        view = f"{name}.as.{_plain(operator.name)}.{part}"
        if view not in self.places:
            indices = [tuple(Index(((1, rank),)) for rank in some) for some in (made, ranks)]
            source, seen = Reference(name, indices[0]), Reference(view, indices[1])
            self.einsums.append(Einsum(view, seen, (source,), ("view",), label=operator.label))
            self.places[view], self.dtypes[view] = ranks, self.dtypes[name]
        return reference(view, ranks)


# ---------------------------------------------------------------- one kind of operator each


def _matmul(to: _Written, one: Operator, ranks: _Ranks) -> Iterator[str]:
    dims = one.dims
    batch, m, n, k = (ranks(**{name: dims[name]}) for name in ("batch", "m", "n", "k"))
    left, right, biases = matmul_operands(one, to.block.tensors)
    made = _plain(one.outputs[0])
    a = to.read(one, left[0], (*batch, *m, *k), "a")
    b = to.read(one, right, (*batch, *n, *k), "b")
    product = f"{made}.product" if biases else made
    yield f"{reference(product, (*batch, *m, *n))} = {a} * {b}"
    for place, bias in enumerate(biases):
        last = place == len(biases) - 1
        total = made if last else f"{made}.biased{place}"
        yield (
            f"{reference(total, (*batch, *m, *n))} = {reference(product, (*batch, *m, *n))}"
            f" + {reference(_plain(bias), n)}"
        )
        product = total


def _attention(to: _Written, one: Operator, ranks: _Ranks) -> Iterator[str]:
    dims, made = one.dims, _plain(one.outputs[0])
    outer = ranks(b=dims["batch"], g=dims["kv_heads"])
    heads = ranks(h=dims["heads"] // dims["kv_heads"])
    p, m = ranks(p=dims["q_len"]), ranks(m=dims["kv_len"])
    e, f = ranks(e=dims["head_dim"]), ranks(f=dims["value_dim"])
    query, key, value, *extra = one.inputs
    rows = (*outer, *heads, *p)
    scores, weights = (reference(f"{made}.{name}", (*rows, *m)) for name in ("qk", "a"))
    q = to.read(one, query, (*rows, *e), "q")
    k = to.read(one, key, (*outer, *m, *e), "k")
    v = to.read(one, value, (*outer, *m, *f), "v")
    yield f"{scores} = {q} * {k}"
    if one.attributes.get("bias"):
        biased = reference(f"{made}.biased", (*rows, *m))
        yield f"{biased} = {scores} + {to.read(one, extra[-1], (*heads, *p, *m), 'bias')}"
        scores = biased
    over = m[0] if m else ""
    if over:
        yield from softmax_statements(scores, weights, f"{made}.a", (*rows, *m), over)
    else:  # one key: its weight is 1
        yield f"{weights} = copy({scores})"
    yield f"{reference(made, (*rows, *f))} = {weights} * {v}"


def _softmax(to: _Written, one: Operator, ranks: _Ranks) -> Iterator[str]:
    r, c = ranks(r=one.dims["rows"]), ranks(c=one.dims["columns"])
    made = _plain(one.outputs[0])
    source = to.read(one, one.inputs[0], (*r, *c), "x")
    result = reference(made, (*r, *c))
    if not c:
        yield f"{result} = copy({source})"
        return
    yield from softmax_statements(source, result, made, (*r, *c), c[0])


def _norm(to: _Written, one: Operator, ranks: _Ranks) -> Iterator[str]:
    r, c = ranks(r=one.dims["rows"]), ranks(c=one.dims["columns"])
    made, function = _plain(one.outputs[0]), one.attributes["function"]
    source = to.read(one, one.inputs[0], (*r, *c), "x")
    weights = [reference(_plain(name), c) for name in one.inputs[1:]]
    result = reference(made, (*r, *c))
    if not c:
        yield f"{result} = copy({source})"
        return
    yield from norm_statements(function, source, result, made, (*r, *c), c[0], weights)


def _elementwise(to: _Written, one: Operator, ranks: _Ranks) -> Iterator[str]:
    rows, columns = one.dims["rows"], one.dims["columns"]
    r, c = ranks(r=rows), ranks(c=columns)
    operands = []
    for place, name in enumerate(one.inputs):
        elements = to.block.tensors[name].elements
        held = (*r, *c)
        if elements < rows * columns:  # broadcast along the rows, along the columns, or neither
            held = c if elements == columns else r if elements == rows else ()
        operands.append(to.read(one, name, held, f"x{place}"))
    made, function = reference(_plain(one.outputs[0]), (*r, *c)), one.attributes["function"]
    mark = _BINARY.get(function)
    if mark and len(operands) > 1:
        yield f"{made} = {f' {mark} '.join(operands)}"
    else:
        yield f"{made} = {function}({', '.join(operands)})"


def _reduce(to: _Written, one: Operator, ranks: _Ranks) -> Iterator[str]:
    dims, function = one.dims, one.attributes["function"]
    r, t, c = ranks(r=dims["rows"]), ranks(t=dims["terms"]), ranks(c=dims["columns"])
    made = reference(_plain(one.outputs[0]), (*r, *c))
    source = to.read(one, one.inputs[0], (*r, *t, *c), "x")
    if function == "weighted_sum":
        yield f"{made} = {source} * {to.read(one, one.inputs[1], (*r, *t), 'weights')}"
    else:
        yield f"{made} = {function}({source})"


def _opaque(to: _Written, one: Operator, ranks: _Ranks) -> Iterator[str]:
    """Yield one statement per output that reads all of every input, as a kind unknown here does.

    A whole input is one that nothing can start before: the analysis stays on the safe side.
    """
    for place, output in enumerate(one.outputs):
        made = ranks(**{f"y{place}": to.block.tensors[output].elements})
        seen = []
        for number, name in enumerate(dict.fromkeys(one.inputs)):
            x = ranks(**{f"x{number}": to.block.tensors[name].elements})
            whole = f"{_plain(name)}.whole.{_plain(one.name)}"
            if whole not in to.places:
                yield f"{whole}[] = gather({to.read(one, name, x, f'x{number}')})"
            seen.append(f"{whole}[]")
        if _plain(output) in to.places:  # written in place, as a cache is
            continue
        arguments = ", ".join(seen) or f"{_plain(one.name)}.nothing[]"
        yield f"{reference(_plain(output), made)} = {one.kind}({arguments})"


_WRITERS: Final[Mapping[str, Callable[[_Written, Operator, _Ranks], Iterator[str]]]] = {
    "matmul": _matmul, "attention": _attention, "softmax": _softmax, "norm": _norm,
    "elementwise": _elementwise, "reduce": _reduce,
}  # fmt: skip


# ---------------------------------------------------------------- ranks that are one


def _joined(
    einsums: list[Einsum], sizes: Mapping[str, int]
) -> tuple[list[Einsum], dict[str, int]]:
    """Return the Einsums with one name for the ranks by which a tensor is made and read.

    Two ranks that stand in one iteration space stay two: a view is put between instead.
    """
    named: dict[str, str] = {}
    order = {rank: place for place, rank in enumerate(sizes)}  # the first name of several stays

    def root(rank: str) -> str:
        while rank in named:
            rank = named[rank]
        return rank

    makers: dict[str, Reference] = {}
    spaces: list[Einsum] = []
    for one in einsums:
        swaps = {}
        for operand in one.operands if one.operations != ("view",) else ():
            made = makers.get(operand.tensor)
            pairs = [] if made is None else list(zip(made.ranks, operand.ranks, strict=True))
            if any(_meet(root(a), root(b), [*spaces, one], root) for a, b in pairs):
                swaps[operand] = _viewed(spaces, operand, makers, one)
                continue
            for a, b in pairs:
                one_of = sorted({root(a), root(b)}, key=order.__getitem__)
                named |= dict.fromkeys(one_of[1:], one_of[0])
        one = replace(one, operands=tuple(swaps.get(o, o) for o in one.operands))
        spaces.append(one)
        makers[one.made.tensor] = one.made
    final = [_renamed(one, root) for one in spaces]
    return final, {root(rank): size for rank, size in sizes.items()}


def _meet(a: str, b: str, einsums: list[Einsum], root: Callable[[str], str]) -> bool:
    """Whether two ranks stand in one iteration space."""
    if a == b:
        return False
    return any({a, b} <= {root(rank) for rank in one.ranks} for one in einsums)


def _viewed(
    spaces: list[Einsum], operand: Reference, makers: Mapping[str, Reference], one: Einsum
) -> Reference:
    """Put a view of a tensor before an Einsum that reads it by other ranks; return the view."""
    seen = replace(operand, tensor=f"{operand.tensor}.as.{one.name}.{len(spaces)}")
    spaces.append(Einsum(seen.tensor, seen, (makers[operand.tensor],), ("view",), label=one.label))
    return seen


def _renamed(one: Einsum, root: Callable[[str], str]) -> Einsum:
    def of(read: Reference) -> Reference:
        return Reference(
            read.tensor,
            tuple(
                replace(index, terms=tuple((n, root(rank)) for n, rank in index.terms))
                for index in read.indices
            ),
        )

    return replace(one, made=of(one.made), operands=tuple(of(o) for o in one.operands))
