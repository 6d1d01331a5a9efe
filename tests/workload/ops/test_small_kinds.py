"""The kinds beside products and attention: what their examples do and move, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from accelsim.errors import GraphError
from accelsim.workload import Counts, Role, Tensor, ops
from accelsim.workload.counts import counts

# 4 rows of 16 BF16 elements are 128 bytes.
BY_HAND = {
    "softmax": Counts(vector_ops=5 * 64, activation_read_bytes=128, activation_write_bytes=128),
    "norm": Counts(
        vector_ops=4 * 64, weight_read_bytes=32, activation_read_bytes=128,
        activation_write_bytes=128,
    ),
    "elementwise": Counts(
        vector_ops=64, activation_read_bytes=256, activation_write_bytes=128
    ),
    # 4 rows of the table, 4 INT32 indices
    "gather": Counts(
        weight_read_bytes=128, activation_read_bytes=16, activation_write_bytes=128
    ),
    # softmax over 8 experts and 2 passes of comparison for 4 tokens; 8 weights and 8 indices
    "route": Counts(
        vector_ops=4 * 8 * (5 + 2), activation_read_bytes=64, activation_write_bytes=16 + 32
    ),
    # two multiplies and an add per output; 8 weights
    "reduce": Counts(
        vector_ops=3 * 64, activation_read_bytes=256 + 16, activation_write_bytes=128
    ),
    # 3 adds to the device's quarter of 64 elements
    "collective": Counts(
        vector_ops=3 * 16, activation_read_bytes=128, activation_write_bytes=128
    ),
    "transfer": Counts(activation_read_bytes=64, kv_write_bytes=64),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(BY_HAND))
def test_example_by_hand(kind: str) -> None:
    """The kind's example counts what one counts by hand."""
    operator, tensors = ops.rules(kind).example()
    assert counts(operator, tensors) == BY_HAND[kind]


@pytest.mark.parametrize(
    ("kind", "changes", "text"),
    [
        ("norm", {"attributes": {"function": "weightnorm"}}, "legal: batchnorm, groupnorm"),
        ("norm", {"dims": {"rows": 4, "columns": 15}}, "elements"),
        ("elementwise", {"attributes": {}}, "attribute function is None"),
        ("elementwise", {"dims": {"rows": 4, "columns": 16, "operands": 3}}, "3 operands"),
        ("softmax", {"dims": {"rows": 5, "columns": 16}}, "elements"),
        ("gather", {"dims": {"rows": 3, "columns": 16, "table_rows": 100}}, "elements"),
        ("gather", {"dims": {"rows": 4, "columns": 16, "table_rows": 99}}, "elements"),
        ("route", {"dims": {"tokens": 4, "experts": 8, "top_k": 9}}, "chooses 9 of 8"),
        ("route", {"outputs": ("weights",)}, "1 outputs"),
        ("reduce", {"attributes": {"function": "sum"}}, "needs 1 inputs, has 2"),
        ("reduce", {"dims": {"rows": 4, "columns": 16, "terms": 3}}, "elements"),
        ("collective", {"attributes": {"pattern": "gossip"}}, "legal: all_gather"),
        ("collective", {"dims": {"size_bytes": 64, "devices": 4}}, "elements"),
        ("transfer", {"dims": {"size_bytes": 10_000}}, "writes 10000 bytes"),
        ("transfer", {"inputs": ("qkv", "k")}, "mix formats or roles"),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, changes: dict[str, Any], text: str) -> None:
    """Each shape rule refuses a damaged example and says what it needs."""
    operator, tensors = ops.rules(kind).example()
    with pytest.raises(GraphError, match=text):
        ops.check(replace(operator, **changes), tensors)


def test_a_layer_norm_is_seven_operations_per_element() -> None:
    """Mean, difference, square, variance, scale, weight and bias; both weights are read."""
    operator, tensors = ops.rules("norm").example()
    tensors["b"] = Tensor("b", (16,), "bf16", Role.WEIGHT)
    layer = replace(operator, inputs=("x", "w", "b"), attributes={"function": "layernorm"})
    ops.check(layer, tensors)
    found = counts(layer, tensors)
    assert (found.vector_ops, found.weight_read_bytes) == (7 * 64, 64)


def test_gated_activation_reads_both_halves_of_one_input() -> None:
    """A fused gate and up projection holds two operands per output element."""
    operator, tensors = ops.rules("elementwise").example()
    tensors["x"] = Tensor("x", (4, 32), "bf16", Role.ACTIVATION)
    gated = replace(operator, inputs=("x",), attributes={"function": "silu_mul"})
    ops.check(gated, tensors)
    assert counts(gated, tensors).activation_read_bytes == 256


def test_a_broadcast_operand_is_read_once() -> None:
    """One gate per row is read once per row, not once per element."""
    operator, tensors = ops.rules("elementwise").example()
    tensors["r"] = Tensor("r", (4, 1), "bf16", Role.ACTIVATION)
    ops.check(operator, tensors)
    assert counts(operator, tensors).activation_read_bytes == 128 + 8


def test_a_transfer_changes_formats() -> None:
    """BF16 keys and values become an FP8 cache: twice the bytes are read as are written."""
    operator, tensors = ops.rules("transfer").example()
    for name in ("k", "v"):
        tensors[name] = replace(tensors[name], dtype="fp8")
    moved = counts(operator, tensors)
    assert (moved.activation_read_bytes, moved.kv_write_bytes) == (128, 64)


@pytest.mark.parametrize(
    ("pattern", "read", "written"),
    [
        ("all_reduce", 128, 128), ("all_gather", 32, 128), ("reduce_scatter", 128, 32),
        ("all_to_all", 128, 128), ("broadcast", 128, 128),
    ],
)  # fmt: skip
def test_collectives_touch_the_whole_or_their_part(pattern: str, read: int, written: int) -> None:
    """A device of four holds a quarter before a gather and after a scatter."""
    operator, tensors = ops.rules("collective").example()
    for name, size in (("x", read), ("y", written)):
        tensors[name] = Tensor(name, (size // 2,), "bf16", Role.ACTIVATION)
    operator = replace(operator, attributes={"pattern": pattern})
    ops.check(operator, tensors)
    moved = counts(operator, tensors)
    assert (moved.activation_read_bytes, moved.activation_write_bytes) == (read, written)
