"""Writes the graphs that the suite `models` runs from the workload library.

Runs where accelsim is installed whole; the file that it writes is all a measuring machine needs.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelsim.errors import GraphError
from accelsim.measure.bench.graphs import FILE, SCHEMA

if TYPE_CHECKING:
    from accelsim.workload import Block, Phase, Workload

__all__ = ["WANTED", "Wanted", "graph_data", "to_text", "write_graphs"]

# Sizes of a small twin of each family: the same operators and blocks with few elements.
_TEXT: Final = {"hidden_size": 128, "num_attention_heads": 4, "vocab_size": 512}
_DENSE: Final = {**_TEXT, "intermediate_size": 256}
_LLAMA: Final = {**_DENSE, "num_key_value_heads": 2, "head_dim": 32}
_MIXTRAL: Final = {
    **_TEXT, "num_key_value_heads": 2, "head_dim": 32, "moe_intermediate_size": 256,
}  # fmt: skip
_LATENT: Final = {
    **_DENSE, "num_local_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
    "kv_lora_rank": 64, "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32,
}  # fmt: skip
_MAMBA: Final = {"hidden_size": 128, "vocab_size": 512}
_MAMBA2: Final = {"hidden_size": 128, "num_heads": 4, "state_size": 16, "vocab_size": 512}
_UNET: Final = {"block_out_channels": (32, 64, 96, 96), "num_attention_heads": (2,)}
_DIT: Final = {"num_attention_heads": 4, "attention_head_dim": 32, "ffn_dim": 256}


@dataclass(frozen=True)
class Wanted:
    """A pass to export: model, kind and sizes; sizes and parameters of its small twin."""

    model: str
    kind: str
    sizes: tuple[int, ...]
    twin_sizes: tuple[int, ...]
    twin: Mapping[str, Any] = field(default_factory=dict)


WANTED: Final = (
    Wanted("llama3-8b", "prefill", (1, 2048), (1, 16), _LLAMA),
    Wanted("llama3-8b", "decode", (8, 2047), (2, 31), _LLAMA),
    Wanted("llama3-8b", "decode", (64, 1023), (2, 31), _LLAMA),
    Wanted("qwen2.5-7b", "decode", (1, 4095), (2, 31), _LLAMA),
    Wanted("mixtral-8x7b", "prefill", (1, 1024), (1, 16), _MIXTRAL),
    Wanted("mixtral-8x7b", "decode", (8, 1023), (2, 31), _MIXTRAL),
    Wanted("deepseek-v2-lite", "decode", (16, 2047), (2, 31), _LATENT),
    Wanted("gpt2", "prefill", (8, 1024), (1, 16), _DENSE),
    Wanted("gpt2", "decode", (1, 1023), (2, 31), _DENSE),
    Wanted("bert-base", "forward", (8, 128), (2, 16), _DENSE),
    Wanted("bert-base", "forward", (32, 512), (2, 16), _DENSE),
    Wanted("vit-b16", "forward", (8,), (1,), {"hidden_size": 128, "num_attention_heads": 4,
                                             "intermediate_size": 256}),
    Wanted("resnet50", "forward", (8,), (1, 1, 64, 64)),
    Wanted("sd15-unet", "forward", (2,), (1, 1, 64, 64), _UNET),
    Wanted("dit-xl-2", "forward", (8,), (1, 1, 64, 64), _DIT),
    Wanted("mamba-130m", "prefill", (1, 1024), (1, 16), _MAMBA),
    Wanted("mamba-130m", "decode", (8, 1024), (2, 16), _MAMBA),
    Wanted("mamba2-130m", "prefill", (4, 2048), (1, 256), _MAMBA2),
)  # fmt: skip
"""Sizes: batch and tokens (of decode: cached ones), then height and width of images."""


def graph_data() -> Iterator[dict[str, Any]]:
    """Yield each exported graph as JSON has it.

    Raises
    ------
    GraphError
        If a twin has other blocks than its model, so that it would check something else.
    """
    from accelsim.workload import load_model, workload

    for one in WANTED:
        full = workload(one.model, _phase(one.kind, one.sizes))
        changes = {f"parameters.{name}": value for name, value in one.twin.items()}
        twin = workload(load_model(one.model, changes), _phase(one.kind, one.twin_sizes))
        if [b.name for b in full.blocks] != [b.name for b in twin.blocks]:
            raise GraphError(f"the twin of {one.model} has other blocks")
        yield {
            "name": f"{one.model}/{full.phase}", "dtype": _dtype(full), "batch": full.batch,
            "blocks": [_block(block) for block in full.blocks],
            "check_batch": twin.batch, "check": [_block(block) for block in twin.blocks],
        }  # fmt: skip


def _phase(kind: str, sizes: tuple[int, ...]) -> Phase:
    from accelsim.workload import Extent, decode, forward, prefill

    if kind == "forward":
        extent = Extent(*sizes[2:]) if sizes[2:] else None
        return forward(*sizes[:2], extent=extent)
    return (prefill if kind == "prefill" else decode)(*sizes)


def _dtype(built: Workload) -> str:
    """Return the format of most of the weights' elements."""
    elements: dict[str, int] = {}
    for block in built.blocks:
        for tensor in block.tensors.values():
            if tensor.role.value == "weight":
                elements[tensor.dtype] = elements.get(tensor.dtype, 0) + tensor.elements
    return max(elements, key=lambda name: elements[name])


def _block(block: Block) -> dict[str, Any]:
    from accelsim.workload.counts import counts

    found = [counts(operator, block.tensors) for operator in block.operators]
    moved = sum(
        c.weight_read_bytes + c.kv_read_bytes + c.kv_write_bytes
        + c.state_read_bytes + c.state_write_bytes
        for c in found
    )  # fmt: skip
    return {
        "name": block.name, "count": block.count, "carry": dict(block.carry),
        "shared": sorted(block.shared), "flops": sum(2 * c.macs + c.vector_ops for c in found),
        "bytes_min": moved,
        "tensors": {n: [list(t.shape), t.dtype, t.role.value] for n, t in block.tensors.items()},
        "operators": [
            [o.name, o.kind, dict(o.dims), list(o.inputs), list(o.outputs), _plain(o.attributes)]
            for o in block.operators
        ],
    }  # fmt: skip


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in attributes.items()}


def write_graphs(path: Path = FILE) -> Path:
    """Write the exported graphs, compressed without a date: equal graphs make equal files."""
    path.write_bytes(gzip.compress(to_text().encode(), mtime=0))
    return path


def to_text() -> str:
    """Return the graphs as JSON."""
    data = {"schema": SCHEMA, "graphs": list(graph_data())}
    return json.dumps(data, ensure_ascii=True, separators=(",", ":"))
