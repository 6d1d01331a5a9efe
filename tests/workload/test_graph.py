"""The graph's values: immutable, comparable, picklable; what stays in memory; the drawing."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from typing import Any

import pytest

from accelsim.errors import GraphError
from accelsim.workload import (
    Block,
    Operator,
    Role,
    Tensor,
    Workload,
    decode,
    resident_bytes,
    to_networkx,
    weight_elements,
    workload,
)
from accelsim.workload.families.decoder import DecoderConfig, build
from tests.workload.configs import SMALL


def small() -> Workload:
    return build(DecoderConfig(**SMALL), decode(2, 7))


def test_an_operator_cannot_change() -> None:
    """Neither fields nor dims of an operator can be set."""
    operator = small().blocks[1].operators[1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        operator.kind = "conv"  # type: ignore[misc]
    changed: Any = operator.dims
    with pytest.raises(TypeError, match="cannot change"):
        changed["m"] = 1


def test_callers_keep_their_own_mappings() -> None:
    """Changing the dict that an operator was made from does not change the operator."""
    dims = {"rows": 4, "columns": 8}
    operator = Operator("norm", "norm", dims, ("x",), ("y",))
    dims["rows"] = 5
    assert operator.dims["rows"] == 4


def test_workloads_compare_hash_and_pickle_by_value() -> None:
    """A workload that came back from a worker is equal to the one sent, and hashes alike."""
    graph = small()
    back = pickle.loads(pickle.dumps(graph))
    assert back == graph
    assert hash(back) == hash(graph)
    assert graph != build(DecoderConfig(**SMALL), decode(2, 8))


def test_a_block_repeats_at_least_once() -> None:
    """A count below 1 is refused."""
    with pytest.raises(GraphError, match="count 0"):
        Block("layers", 0, (), {})


def test_resident_bytes_count_every_repetition() -> None:
    """Three layers hold three weights and three caches; shared tensors count once."""
    tensors = {
        "w": Tensor("w", (10,), "bf16", Role.WEIGHT),
        "tied": Tensor("tied", (100,), "bf16", Role.WEIGHT),
        "k": Tensor("k", (5,), "fp8", Role.KV_CACHE),
        "x": Tensor("x", (7,), "bf16", Role.ACTIVATION),
    }
    shared = frozenset({"tied"})
    blocks = (Block("a", 3, (), tensors, shared=shared), Block("b", 1, (), tensors, shared=shared))
    graph = Workload("two", blocks, 0, 0, 0, "", 1, 1)
    assert resident_bytes(graph) == {Role.WEIGHT: 80 + 200, Role.KV_CACHE: 20, Role.STATE: 0}
    assert weight_elements(graph) == 40 + 100


def test_resident_weights_are_the_parameters() -> None:
    """Llama-3-8B in BF16 holds twice its parameters in bytes, and 2 x 1024 tokens of cache."""
    graph = workload("llama3-8b", decode(2, 1023))
    assert resident_bytes(graph)[Role.WEIGHT] == 2 * 8_030_261_248
    assert resident_bytes(graph)[Role.KV_CACHE] == 2 * 1024 * 131_072


def test_drawing_links_operators_blocks_and_repetitions() -> None:
    """Edges follow tensors within a block, carried streams between blocks, and repetitions."""
    graph = to_networkx(small())
    assert graph.has_edge("embedding/hidden", "layers/input_norm")
    assert graph.has_edge("layers/kv_append", "layers/attention")
    assert graph.has_edge("layers/mlp_residual", "head/final_norm")
    assert graph.has_edge("layers/attention_residual", "layers/mlp_residual")
    back = graph.get_edge_data("layers/mlp_residual", "layers/input_norm")
    assert [edge["repeats"] for edge in back.values()] == [True]
    assert graph.nodes["layers/qkv_proj"]["count"] == 3


def test_building_needs_no_graph_library() -> None:
    """Only drawing imports networkx: sweeps build thousands of workloads without it."""
    code = (
        "import sys; from accelsim.workload import decode, totals, workload;"
        "totals(workload('gpt2', decode(1, 7)));"
        "sys.exit(any(name in sys.modules for name in ('networkx', 'pandas', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
