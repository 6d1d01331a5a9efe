"""A statement of a fused group as the mapper sees it: numbered, on levels with the group's prices.

Residents stand for a free outermost level at the fusing memory's own price; all else comes from
the outermost memory and may pass through what room the fusing memory has left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from accelsim.nest.fuse._types import FusedDevice, Statement
from accelsim.nest.hierarchy import Fanout, Hierarchy, Node, Storage
from accelsim.nest.problem import Problem, TensorAccess

__all__ = ["down_to", "for_traffic", "inside", "kept_pj", "numbered", "numbers", "price"]

_ASIDE: Final = 1e-6
"""What a pJ counts beside a bit that crosses outside, where traffic is made small."""


def numbered(problem: Problem, extents: Mapping[str, int]) -> Problem:
    """Return a problem of other sizes, its dims and tensors by number: equals share answers.

    One of a single point has a dim of size 1 all the same, since the mapper needs one.
    """
    place = {dim: f"d{i}" for i, dim in enumerate(problem.dims)}
    tensors = tuple(
        TensorAccess(
            f"t{t}",
            tuple(tuple((factor, place[dim]) for factor, dim in axis) for axis in tensor.axes),
            tensor.bits,
        )
        for t, tensor in enumerate(problem.tensors)
    )
    if not place:
        return Problem(("d0",), (1,), tensors)
    return Problem(tuple(place.values()), tuple(extents[dim] for dim in problem.dims), tensors)


def inside(
    device: FusedDevice, one: Statement, roles: tuple[str, ...], places: frozenset[int],
    room: float, relaxed: bool,
) -> Hierarchy:  # fmt: skip
    """Return an array as a statement of a group sees it.

    Its outermost level is the fusing memory for residents, the outermost memory for all else;
    its bandwidth is the fusing memory's, the outermost one's being charged for all statements
    together.  Relaxed, the fusing memory is there twice, each with all room: for what stays while
    loops between them run, as shared loops let it, and for what passes through.
    """
    array = device.array(one.array)
    at, fusing = array.index(device.memory), device.fusing
    own = device.outermost
    read, write = {}, {}
    for t, role in enumerate(roles):
        level = fusing if t in places else own
        read[f"t{t}"] = price(level.read_pj_per_bit, role)
        write[f"t{t}"] = price(level.write_pj_per_bit, role)
    first = Storage(
        own.name, keep=frozenset(read), read_pj_per_bit=read, write_pj_per_bit=write,
        read_bits_per_cycle=fusing.read_bits_per_cycle,
        write_bits_per_cycle=fusing.write_bits_per_cycle,
    )  # fmt: skip
    nodes: list[Node] = [first]
    for i, node in enumerate(array.nodes[1:], 1):
        passing = places if i <= at else frozenset[int]()
        inner = _renamed(node, one, roles, passing)
        if isinstance(inner, Fanout) and node.name in device.unrolls_for:
            inner = replace(inner, dims=_unrolled(one, device.unrolls_for[node.name]))
        if i == at and isinstance(inner, Storage):
            inner = replace(inner, capacity_bits=room)
            if relaxed:
                may = inner.keep | inner.may_keep
                inner = replace(inner, keep=frozenset(), may_keep=may)
                nodes.append(replace(inner, name=" kept", buffers=1))
        nodes.append(inner)
    point_pj = array.mac_pj if one.point_pj is None else one.point_pj
    return Hierarchy(
        tuple(nodes), point_pj, array.mac_rate / one.point_cycles, array.frequency_hz
    )  # fmt: skip


def numbers(one: Statement, dims: frozenset[str]) -> frozenset[str]:
    return frozenset(f"d{i}" for i, dim in enumerate(one.problem.dims) if dim in dims)


def _unrolled(one: Statement, roles: frozenset[str]) -> frozenset[str]:
    """Return the dims, by number, on which one of the tensors of some roles does not depend."""
    shared = [
        dim
        for access, tensor in zip(one.accesses, one.problem.tensors, strict=True)
        if access.role in roles
        for dim in one.problem.dims
        if dim not in tensor.dims
    ]
    return numbers(one, frozenset(shared))


def _renamed(node: Node, one: Statement, roles: tuple[str, ...], passing: frozenset[int]) -> Node:
    """Return a level that speaks of numbered tensors, without those that pass it by."""

    def those(named: frozenset[str]) -> frozenset[str]:
        return frozenset(f"t{t}" for t, r in enumerate(roles) if r in named and t not in passing)

    dims = None if node.dims is None else numbers(one, node.dims)
    if isinstance(node, Fanout):
        return replace(node, shares=those(node.shares), dims=dims)
    by_tensor = {f"t{t}": price(node.read_pj_per_bit, r) for t, r in enumerate(roles)}
    written = {f"t{t}": price(node.write_pj_per_bit, r) for t, r in enumerate(roles)}
    parts = {
        f"t{t}": node.partition_bits[r] for t, r in enumerate(roles) if r in node.partition_bits
    }
    return replace(
        node, keep=those(node.keep), may_keep=those(node.may_keep), read_pj_per_bit=by_tensor,
        write_pj_per_bit=written, partition_bits=parts, dims=dims,
    )  # fmt: skip


def price(stated: float | Mapping[str, float], role: str) -> float:
    return float(stated.get(role, 0.0)) if isinstance(stated, Mapping) else float(stated)


def for_traffic(hierarchy: Hierarchy, places: frozenset[int], tensors: int) -> Hierarchy:
    """Return a hierarchy in which a bit from or to the outermost memory costs by far the most.

    All else costs `_ASIDE` of its energy, so that of nests that move equally much outside one that
    is good inside is found, and found soon.
    """

    def aside(stated: float | Mapping[str, float]) -> dict[str, float]:
        return {f"t{t}": _ASIDE * price(stated, f"t{t}") for t in range(tensors)}

    nodes: list[Node] = []
    for i, node in enumerate(hierarchy.nodes):
        if isinstance(node, Fanout):
            nodes.append(replace(node, hop_pj_per_bit=_ASIDE * node.hop_pj_per_bit))
            continue
        read, write = aside(node.read_pj_per_bit), aside(node.write_pj_per_bit)
        if i == 0:
            outside = {f"t{t}": 1.0 for t in range(tensors) if t not in places}
            read, write = read | outside, write | outside
        nodes.append(replace(node, read_pj_per_bit=read, write_pj_per_bit=write))
    return Hierarchy(
        tuple(nodes), _ASIDE * hierarchy.mac_pj, hierarchy.mac_rate, hierarchy.frequency_hz
    )


def down_to(hierarchy: Hierarchy, memory: str) -> Hierarchy:
    """Return the levels down to a memory over one unit, of which only what crosses outside costs.

    Levels inside never lessen what crosses: for a bound they need not be searched.
    """
    nodes = [replace(node) for node in hierarchy.nodes[: hierarchy.index(memory) + 1]]
    for i, node in enumerate(nodes):
        if i > 0 and isinstance(node, Storage):
            nodes[i] = replace(node, read_pj_per_bit=0.0, write_pj_per_bit=0.0)
    return Hierarchy(tuple(nodes), 0.0, hierarchy.mac_rate, hierarchy.frequency_hz)


def kept_pj(
    device: FusedDevice, one: Statement, held: Collection[str], drain_reads: bool
) -> float:
    """Return the least energy of a statement in its array and in the fusing memory.

    Every word of a tensor that a level must keep is written there and read there once; residents
    are read, or written, in the fusing memory.
    """
    array = device.array(one.array)
    fusing = array.index(device.memory)
    point_pj = array.mac_pj if one.point_pj is None else one.point_pj
    total = one.problem.macs * point_pj
    for t, access in enumerate(one.accesses):
        bits = one.problem.words(t) * one.problem.tensors[t].bits
        result = t == len(one.accesses) - 1
        for i, node in enumerate(array.nodes):
            if i == 0 or not isinstance(node, Storage):
                continue
            read, write = (
                price(node.read_pj_per_bit, access.role),
                price(node.write_pj_per_bit, access.role),
            )
            if i == fusing and access.tensor in held:
                total += bits * (write if result else read)
            elif i > fusing and access.role in node.keep:
                total += bits * (write + (0.0 if result and not drain_reads else read))
    return total
