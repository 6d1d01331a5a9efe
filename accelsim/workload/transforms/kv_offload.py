"""KV-cache offloading: the cache lives on the host, and each step fetches what it attends to."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final, Literal

from accelsim.config import Fraction
from accelsim.workload.graph import Operator, Workload
from accelsim.workload.tensor import Role, Tensor
from accelsim.workload.transforms._caches import caches, decoding, map_attentions
from accelsim.workload.transforms._rewrite import with_note
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "KvOffload"]


class KvOffload(Transform):
    """Adds a transfer of the fetched keys and values before each attention of a decoding step.

    Notes
    -----
    Nothing of the cache stays resident; what is fetched is an activation of the step, and only
    that is attended to.  The bytes are explicit; the transfer runs at the speed of main memory, a
    lower bound.  A mapping that keeps the cache in another memory (`keep`) moves it over the
    path to that.
    """

    paper: ClassVar[str] = "FlexGen, arXiv 2303.06865: the whole cache on the host"

    kind: Literal["kv_offload"] = "kv_offload"
    fetched: Fraction = 1.0
    """Share of the cached tokens that a step fetches."""

    def apply(self, workload: Workload) -> Workload:
        """Return the pass with fetches."""
        changed = map_attentions(workload, decoding, self._attention)
        text = f"on the host; {self.fetched:g} fetched per step at main-memory speed"
        return with_note(replace(changed, kv_bytes_per_token=0), "kv_offload", text)

    def _attention(self, operator: Operator, tensors: dict[str, Tensor]) -> tuple[Operator, ...]:
        length = operator.dims["kv_len"]
        kept = max(operator.dims["q_len"], round(length * self.fetched))
        fetches, here = [], {}
        for cache in caches(operator):
            # The cache itself becomes something that passes through: it occupies no device.
            old, name = replace(tensors[cache], role=Role.ACTIVATION), f"{cache}.fetched"
            tensors[cache] = old
            size = -(-old.size_bytes * kept // length)
            shape = (operator.dims["batch"], kept, old.elements // length // old.shape[0])
            tensors[name] = Tensor(name, shape, old.dtype, Role.ACTIVATION)
            fetches.append(
                Operator(name, "transfer", {"size_bytes": size}, (cache,), (name,), "kv_fetch")
            )
            here[cache] = name
        inputs = tuple(here.get(name, name) for name in operator.inputs)
        dims = {**operator.dims, "kv_len": kept}
        return (*fetches, replace(operator, dims=dims, inputs=inputs))


TRANSFORM: Final = KvOffload
