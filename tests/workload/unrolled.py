"""Writes a workload out: every repetition of every block, as an importer would see it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.tensor import Role, Tensor

__all__ = ["Flat", "unroll"]


class Flat(NamedTuple):
    """A flat graph: each tensor has one name, each operator stands there as often as it runs."""

    operators: list[Operator]
    tensors: dict[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def unroll(workload: Workload) -> Flat:
    """Return a workload as a flat graph with names of repetitions, ``layers.3.qkv_proj``."""
    flat = Flat([], {}, workload.inputs, ())
    streams: dict[str, str] = {name: name for name in workload.inputs}
    for block in workload.blocks:
        for repetition in range(block.count):
            path = f"{block.name}.{repetition}." if block.count > 1 else f"{block.name}."
            streams |= _repetition(flat, block, path, streams)
    outputs = tuple(streams.get(name, name) for name in workload.outputs)
    return flat._replace(outputs=outputs)


def _repetition(flat: Flat, block: Block, path: str, streams: dict[str, str]) -> dict[str, str]:
    names: dict[str, str] = {}
    made = {name for operator in block.operators for name in operator.outputs}
    for name, tensor in block.tensors.items():
        outside = name not in made and name in streams and tensor.role is Role.ACTIVATION
        shared = name in block.shared and (name not in made or tensor.role is not Role.ACTIVATION)
        names[name] = streams[name] if outside else name if shared else path + name
        flat.tensors[names[name]] = replace(tensor, name=names[name])
    for operator in block.operators:
        flat.operators.append(
            replace(
                operator,
                name=path + operator.name,
                inputs=tuple(names[name] for name in operator.inputs),
                outputs=tuple(names[name] for name in operator.outputs),
            )
        )
    kept = {name: names[name] for name in block.shared & made} | {n: names[n] for n in made}
    return kept | {stream: names[name] for stream, name in block.carry.items()}
