"""Convolutions and scans against closed forms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accelsim.errors import GraphError
from accelsim.workload import Role, Tensor, ops
from accelsim.workload.build import BlockBuilder
from accelsim.workload.counts import counts
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.ops import conv, scan


def built(**given: object) -> tuple[int, tuple[int, ...]]:
    """Return the MACs of a convolution of 2 images of 6 channels and 10x12, and its output."""
    body = BlockBuilder("b", Dtypes())
    x = body.activation("x", 2, 6, 10, 12)
    y = body.conv("y", x, 2, (6, 8), (10, 12), (3, 3), **given)  # type: ignore[arg-type]
    block = body.block(1)
    ops.check(block.operators[0], block.tensors)
    return counts(block.operators[0], block.tensors).macs, body.shape(y)


def test_padding_keeps_and_strides_shrink_the_sizes() -> None:
    """(size + 2 p - k) / s + 1, rounded down."""
    assert built() == (2 * 8 * 6 * 9 * 120, (2, 8, 10, 12))
    assert built(stride=2, padding=1) == (2 * 8 * 6 * 9 * 30, (2, 8, 5, 6))
    assert built(padding=0) == (2 * 8 * 6 * 9 * 80, (2, 8, 8, 10))
    assert built(dilation=2)[1] == (2, 8, 10, 12)


def test_groups_divide_the_channels_of_a_kernel() -> None:
    """Each output channel sees the inputs of its group only."""
    assert built(groups=2)[0] * 2 == built()[0]


def test_a_transposed_convolution_counts_input_positions() -> None:
    """Each input position spreads over a kernel's outputs."""
    macs, shape = built(transposed=True, stride=2, padding=1)
    assert macs == 2 * 8 * 6 * 9 * 120
    assert shape == (2, 8, 19, 23)


def test_a_convolution_needs_its_tensors() -> None:
    """A weight of another size, or none, is refused."""
    operator, tensors = conv.example()
    wide = {**tensors, "w": Tensor("w", (6, 4, 3, 4), "bf16", Role.WEIGHT)}
    with pytest.raises(GraphError, match="elements"):
        ops.check(operator, wide)
    moving = {**tensors, "w": replace(tensors["w"], role=Role.ACTIVATION)}
    with pytest.raises(GraphError, match="is no weight"):
        ops.check(operator, moving)


def test_a_selective_scan_multiplies_once_per_state() -> None:
    """S H P N MACs, and 7 N + 2 vector operations per element."""
    found = counts(*scan.example())
    assert found.macs == 4 * 8 * 16
    assert found.vector_ops == 4 * 8 * (7 * 16 + 2)
    assert found.state_read_bytes == found.state_write_bytes == 8 * 16 * 4


def test_duality_in_chunks_is_the_published_sum() -> None:
    """C G Q^2 N + c H Q^2 P + 2 c H Q N P + H (c + 1)^2 N P; H in place of G per head."""
    operator, tensors = scan.example()
    dims = {"batch": 1, "q_len": 40, "heads": 8, "head_dim": 1, "state_dim": 16, "groups": 2,
            "chunk": 16}  # fmt: skip
    many = {**tensors, "y": replace(tensors["y"], shape=(40, 8))}
    fused = replace(operator, dims=dims, attributes={"algorithm": "ssd"})
    c, q, n, h, g = 3, 16, 16, 8, 2
    rest = c * h * q * q + 2 * c * h * q * n + h * (c + 1) ** 2 * n
    assert counts(fused, many).macs == c * g * q * q * n + rest
    each = replace(fused, attributes={"algorithm": "ssd", "per_head": True})
    assert counts(each, many).macs == c * h * q * q * n + rest


def test_a_scan_of_many_tokens_needs_a_chunk() -> None:
    """Only the selective scan runs token by token."""
    operator, tensors = scan.example()
    with pytest.raises(GraphError, match="needs a chunk"):
        ops.check(replace(operator, attributes={"algorithm": "ssd"}), tensors)
    with pytest.raises(GraphError, match="do not divide over"):
        ops.check(replace(operator, dims={**operator.dims, "groups": 3}), tensors)
