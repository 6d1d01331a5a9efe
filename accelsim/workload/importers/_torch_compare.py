"""Compares a built graph with an extracted one, at one granularity and by stated rules.

A builder fuses what serving kernels fuse, a module runs its layers one by one; both are brought
to the same form before their operators are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from accelsim.workload.counts import flop_split
from accelsim.workload.graph import Block, Operator, Workload, resident_bytes
from accelsim.workload.tensor import Role

__all__ = ["Comparison", "Profile", "compare", "profile"]

_CLASSES = ("lm_head", "experts", "attention", "conv", "scan")


@dataclass(frozen=True, slots=True)
class Profile:
    """What two graphs of one model must have in common.

    Parameters
    ----------
    flops : mapping of str to int
        Matmul-class FLOPs of ``linear``, ``lm_head``, ``experts``, ``attention``, ``conv``,
        ``scan``.
    weight_bytes : int
        Bytes of all weights.
    operators : mapping of str to int
        Operators by kind after normalisation.
    columns : mapping of (int, int) to int
        Rows and depth of a product with weights -> columns of all such products together.
    """

    flops: Mapping[str, int]
    weight_bytes: int
    operators: Mapping[str, int]
    columns: Mapping[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A built graph beside an extracted one."""

    built: Profile
    extracted: Profile

    def differences(self) -> dict[str, tuple[object, object]]:
        """Return what differs -> built and extracted value; empty if the graphs agree."""
        found: dict[str, tuple[object, object]] = {}
        if self.built.weight_bytes != self.extracted.weight_bytes:
            found["weight_bytes"] = (self.built.weight_bytes, self.extracted.weight_bytes)
        for field in ("flops", "operators", "columns"):
            ours, theirs = getattr(self.built, field), getattr(self.extracted, field)
            for key in sorted({*ours, *theirs}, key=str):
                if ours.get(key, 0) != theirs.get(key, 0):
                    found[f"{field}.{key}"] = (ours.get(key, 0), theirs.get(key, 0))
        return found


def compare(built: Workload, extracted: Workload) -> Comparison:
    """Return both graphs at one granularity.

    Notes
    -----
    Matrix products with weights that follow one another and read the same rows count as one
    operator, since query, key and value (or gate and up) are one product in a builder and three
    in a module; their columns, summed by rows and depth, must agree as they are.
    """
    return Comparison(profile(built), profile(extracted))


def profile(workload: Workload) -> Profile:
    """Return the figures of one graph."""
    flops: Counter[str] = Counter()
    for label, count in flop_split(workload).items():
        flops[label if label in _CLASSES else "linear"] += count
    operators: Counter[str] = Counter()
    columns: Counter[tuple[int, int]] = Counter()
    for block in workload.blocks:
        operators.update({kind: n * block.count for kind, n in Counter(_kinds(block)).items()})
        for operator in block.operators:
            if operator.kind == "matmul" and _rows(block, operator):
                dims = operator.dims
                columns[dims["m"], dims["k"]] += dims["n"] * block.count
    return Profile(flops, resident_bytes(workload)[Role.WEIGHT], operators, columns)


def _rows(block: Block, operator: Operator) -> tuple[str, ...]:
    """Return the rows that a product with a weight reads; empty without a weight."""
    roles = {name: block.tensors[name].role for name in operator.inputs}
    if Role.WEIGHT not in roles.values():
        return ()
    return tuple(name for name, role in roles.items() if role is not Role.WEIGHT)


def _kinds(block: Block) -> Iterator[str]:
    """Yield the kind of each operator after normalisation."""
    before: tuple[object, ...] = ()
    for operator in block.operators:
        if operator.kind == "matmul":
            rows = (_rows(block, operator), operator.dims["m"], operator.dims["k"])
            if rows[0] and rows == before:
                continue
            before = rows
        elif operator.kind in ("conv", "attention"):
            before = ()
        yield operator.kind
