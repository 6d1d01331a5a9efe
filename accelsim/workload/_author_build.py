"""What the Python builder sets in a finished workload: names of blocks, bytes of caches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from accelsim.workload._segments import Segment
from accelsim.workload.graph import Block
from accelsim.workload.tensor import Role, Tensor, packed_bytes

__all__ = ["kv_bytes", "named_apart", "state_bytes"]


def named_apart(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments under names that differ: what stands between repetitions has none."""
    last = len(segments) - 1
    names = [
        segment.name
        or ("body" if not last else "stem" if not i else "head" if i == last else "mid")
        for i, segment in enumerate(segments)
    ]
    return [
        replace(s, name=f"{name}.{names[:i].count(name)}" if names.count(name) > 1 else name)
        for i, (s, name) in enumerate(zip(segments, names, strict=True))
    ]


def _caches(blocks: Sequence[Block], role: Role) -> Iterator[tuple[Tensor, int]]:
    seen: set[str] = set()
    for block in blocks:
        for name, tensor in block.tensors.items():
            if tensor.role is role and name not in seen:
                seen |= {name} if name in block.shared else set()
                yield tensor, 1 if name in block.shared else block.count


def kv_bytes(blocks: Sequence[Block]) -> int:
    """Return the KV bytes of one token of one sequence."""
    return sum(
        packed_bytes(tensor.elements // (tensor.shape[0] * tensor.shape[2]), tensor.dtype) * count
        for tensor, count in _caches(blocks, Role.KV_CACHE)
    )


def state_bytes(blocks: Sequence[Block]) -> int:
    """Return the bytes of all recurrent states."""
    return sum(tensor.size_bytes * count for tensor, count in _caches(blocks, Role.STATE))
