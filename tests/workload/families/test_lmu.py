"""Legendre memory units: the published network, and what a step costs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.workload import forward, totals, validate, weight_elements
from accelsim.workload.families.lmu import LmuConfig, build, parameter_count
from tests.workload.configs import law

PSMNIST: dict[str, Any] = {
    "input_size": 1, "memory_size": 256, "hidden_size": 212, "num_classes": 10,
}  # fmt: skip


def test_the_published_network_trains_102_thousand_parameters() -> None:
    """102 k in Voelker et al. 2019 for permuted sequential MNIST; A and B are fixed."""
    assert parameter_count(LmuConfig(**PSMNIST)) - 256 * 256 - 256 == 102_027


@law
@given(st.tuples(*[st.integers(1, 9)] * 4), st.integers(1, 4), st.integers(1, 9))
def test_a_sequence_is_so_many_steps_with_the_same_weights(
    sizes: tuple[int, int, int, int], batch: int, steps: int
) -> None:
    """MACs of a step: encoder, A, B, and the recurrent layer; the classifier comes once."""
    config = LmuConfig(**dict(zip(PSMNIST, sizes, strict=True)))
    graph = validate(build(config, forward(batch, steps)))
    assert weight_elements(graph) == parameter_count(config)
    inside, d, n, classes = sizes
    step = (inside + n + d) * (1 + n) + d * d + d
    assert totals(graph).macs == batch * (steps * step + n * classes)


def test_steps_stand_in_order() -> None:
    """One block repeats, and carries memory and hidden state."""
    cell = build(LmuConfig(**PSMNIST), forward(1, 784)).blocks[0]
    assert cell.count == 784
    assert set(cell.carry) == {"hidden", "memory"}


@pytest.mark.parametrize("name", PSMNIST)
def test_every_size_is_needed(name: str) -> None:
    """There are no defaults to hide a missing size."""
    with pytest.raises(ValueError, match=name):
        LmuConfig(**{key: value for key, value in PSMNIST.items() if key != name})
