"""Grouped number formats and sparse tensors."""

from __future__ import annotations

import pytest

from accelsim.errors import GraphError, UnknownNameError
from accelsim.workload import Role, Sparsity, Tensor, compute_dtype, dtype_bits


@pytest.mark.parametrize(
    ("name", "bits", "element"),
    [
        ("int4_g128", 4 + 16 / 128, "int4"),
        ("int4_g64z", 4 + 20 / 64, "int4"),
        ("int3_g32_fp8", 3 + 8 / 32, "int3"),
        ("fp6", 6, "fp6"),
        ("mxfp4", 4.25, "mxfp4"),
    ],
)
def test_a_group_shares_scale_and_zero_point(name: str, bits: float, element: str) -> None:
    """Element bits and the group's shared ones over its size; units see the element."""
    assert dtype_bits(name) == bits
    assert compute_dtype(name) == element


@pytest.mark.parametrize("name", ["int4_g0", "int9_g128", "int4_g128_x", "int4_128", "bf"])
def test_what_is_no_format_is_refused(name: str) -> None:
    """Neither a listed format nor a grouped one of listed formats."""
    with pytest.raises(UnknownNameError, match="dtype"):
        dtype_bits(name)


def test_a_sparse_tensor_stores_what_is_kept_and_its_metadata() -> None:
    """Half of 16 bits and one bit of metadata per element, rounded up to bytes."""
    sparse = Tensor("w", (3, 5), "bf16", Role.WEIGHT, Sparsity(0.5, "2:4", 1.0))
    assert sparse.size_bytes == -(-15 * 9 // 8)
    assert sparse.elements == 15


@pytest.mark.parametrize(("density", "metadata"), [(0.0, 0.0), (1.5, 0.0), (0.5, -1.0)])
def test_an_impossible_sparsity_is_refused(density: float, metadata: float) -> None:
    """Densities are above 0 and at most 1."""
    with pytest.raises(GraphError, match="density"):
        Sparsity(density, metadata_bits=metadata)
