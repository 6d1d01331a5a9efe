"""Matrix products: work, traffic and shape rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import GraphError
from accelsim.workload import Operator, Role, Tensor, ops
from accelsim.workload.counts import counts

sizes = st.integers(1, 64)


def tensor(name: str, shape: tuple[int, ...], role: Role = Role.ACTIVATION) -> Tensor:
    return Tensor(name, shape, "bf16", role)


@given(sizes, sizes, sizes)
def test_a_linear_layer_reads_and_writes_each_operand_once(m: int, n: int, k: int) -> None:
    """MACs are m n k; weight, input and output move once, in their own formats."""
    tensors = {
        "x": tensor("x", (m, k)),
        "w": Tensor("w", (n, k), "fp8", Role.WEIGHT),
        "y": tensor("y", (m, n)),
    }
    dims = {"batch": 1, "m": m, "n": n, "k": k}
    operator = Operator("up", "matmul", dims, ("x", "w"), ("y",))
    ops.check(operator, tensors)
    found = counts(operator, tensors)
    assert (found.macs, found.vector_ops) == (m * n * k, 0)
    assert found.weight_read_bytes == n * k
    assert (found.activation_read_bytes, found.activation_write_bytes) == (2 * m * k, 2 * m * n)


def test_a_bias_is_one_add_per_output() -> None:
    """The example has a bias of 8 for 4 rows: 32 adds, 8 more weights read."""
    operator, tensors = ops.rules("matmul").example()
    found = counts(operator, tensors)
    assert (found.vector_ops, found.weight_read_bytes) == (32, 2 * (8 * 16 + 8))


def test_rows_may_come_from_several_tensors() -> None:
    """Contexts of several groups of sequences are the rows of one product."""
    tensors = {
        "a": tensor("a", (3, 16)), "b": tensor("b", (1, 16)),
        "w": tensor("w", (8, 16), Role.WEIGHT), "y": tensor("y", (4, 8)),
    }  # fmt: skip
    dims = {"batch": 1, "m": 4, "n": 8, "k": 16}
    operator = Operator("o", "matmul", dims, ("a", "b", "w"), ("y",))
    ops.check(operator, tensors)
    assert counts(operator, tensors).activation_read_bytes == 2 * 4 * 16


def test_a_product_with_a_cache_reads_the_cache() -> None:
    """The second operand's role decides where its bytes are counted."""
    tensors = {
        "q": tensor("q", (2, 3, 8)),
        "k": tensor("k", (2, 5, 8), Role.KV_CACHE),
        "s": tensor("s", (2, 3, 5)),
    }
    operator = Operator(
        "score", "matmul", {"batch": 2, "m": 3, "n": 5, "k": 8}, ("q", "k"), ("s",)
    )
    ops.check(operator, tensors)
    found = counts(operator, tensors)
    assert (found.kv_read_bytes, found.weight_read_bytes) == (2 * 2 * 5 * 8, 0)


def experts(**changes: Any) -> tuple[Operator, dict[str, Tensor]]:
    dims = {"batch": 1, "m": 6, "n": 4, "k": 8, "experts": 10, "active_experts": 5, **changes}
    tensors = {
        "x": tensor("x", (6, 8)), "w": tensor("w", (10, 4, 8), Role.WEIGHT),
        "b": tensor("b", (10, 4), Role.WEIGHT), "y": tensor("y", (6, 4)),
    }  # fmt: skip
    return Operator("experts", "matmul", dims, ("x", "w", "b"), ("y",), "experts"), tensors


def test_experts_do_the_work_of_their_rows_and_read_the_weights_hit() -> None:
    """MACs are rows x n x k; 5 of 10 weight matrices and biases are read."""
    operator, tensors = experts()
    ops.check(operator, tensors)
    found = counts(operator, tensors)
    assert found.macs == 6 * 4 * 8
    assert found.weight_read_bytes == 2 * 5 * (4 * 8 + 4)


@pytest.mark.parametrize("changes", [{"active_experts": 11}, {"active_experts": 7}, {"batch": 2}])
def test_impossible_experts_are_refused(changes: dict[str, int]) -> None:
    """No more experts are hit than there are, or than there are rows; groups are no batch."""
    operator, tensors = experts(**changes)
    with pytest.raises(GraphError, match="active experts of 10"):
        ops.check(operator, tensors)


def test_experts_and_active_experts_go_together() -> None:
    """One without the other is refused."""
    operator, tensors = experts()
    dims = {name: size for name, size in operator.dims.items() if name != "active_experts"}
    with pytest.raises(GraphError, match="go together"):
        ops.check(replace(operator, dims=dims), tensors)


def test_without_a_weight_there_are_two_operands() -> None:
    """Three activations make no product."""
    tensors = {name: tensor(name, (4, 4)) for name in "abcd"}
    dims = {"batch": 1, "m": 4, "n": 4, "k": 4}
    with pytest.raises(GraphError, match="two inputs"):
        ops.check(Operator("p", "matmul", dims, ("a", "b", "c"), ("d",)), tensors)
