"""Tensors: sizes follow from shape and number format."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import GraphError, UnknownNameError
from accelsim.workload import DTYPE_BITS, Role, Tensor, dtype_bits
from accelsim.workload.tensor import packed_bytes


@given(st.lists(st.integers(1, 50), max_size=4), st.sampled_from(sorted(DTYPE_BITS)))
def test_size_is_the_bits_rounded_up_to_bytes(shape: list[int], dtype: str) -> None:
    """Bytes are the packed bits of all elements, rounded up once."""
    tensor = Tensor("t", tuple(shape), dtype, Role.ACTIVATION)
    bits = tensor.elements * DTYPE_BITS[dtype]
    assert 0 <= 8 * tensor.size_bytes - bits < 8


@pytest.mark.parametrize(("elements", "size"), [(1, 1), (2, 1), (3, 2), (8, 4)])
def test_four_bit_elements_share_bytes(elements: int, size: int) -> None:
    """Two INT4 elements take one byte; a lone one takes a whole byte."""
    assert packed_bytes(elements, "int4") == size


def test_block_scales_are_part_of_the_format() -> None:
    """32 MXFP4 elements take 16 bytes and one of scale."""
    assert packed_bytes(32, "mxfp4") == 17


@pytest.mark.parametrize("size", [0, -1, 1.0, "8", None, True])
def test_a_dimension_that_is_no_size_is_refused(size: Any) -> None:
    """Dimensions are whole numbers of at least 1; the error names the tensor."""
    with pytest.raises(GraphError, match="tensor `weight`"):
        Tensor("weight", (4, size), "bf16", Role.WEIGHT)


def test_an_unknown_format_is_refused_with_the_nearest() -> None:
    """A misspelt number format is answered with the nearest known one."""
    with pytest.raises(UnknownNameError, match="did you mean `bf16`"):
        Tensor("t", (1,), "bf61", Role.WEIGHT)
    with pytest.raises(UnknownNameError, match="Legal"):
        dtype_bits("float")


def test_a_scalar_has_one_element() -> None:
    """The empty shape is a scalar."""
    assert Tensor("t", (), "fp32", Role.STATE).size_bytes == 4
