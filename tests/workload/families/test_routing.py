"""How tokens spread over experts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.workload import decode, flop_split, load_model, totals, workload
from accelsim.workload.families._routing import (
    Routing,
    expected_experts,
    fullest_rows,
    inclusion,
)

EXPERTS = st.integers(2, 64)


@given(EXPERTS, st.data(), st.floats(0, 3))
def test_chances_add_up_to_the_choices(experts: int, data: st.DataObject, exponent: float) -> None:
    """Each token chooses k different experts: chances are at most 1 and sum to k."""
    top_k = data.draw(st.integers(1, experts))
    chances = inclusion(Routing(kind="zipf", exponent=exponent), experts, top_k)
    assert max(chances) <= 1 + 1e-9
    assert sum(chances) == pytest.approx(top_k)


@given(EXPERTS, st.data(), st.integers(1, 500))
def test_a_zipf_of_exponent_zero_is_uniform(
    experts: int, data: st.DataObject, tokens: int
) -> None:
    """And uniform is the closed form ``E (1 - (1 - k / E) ** tokens)``."""
    top_k = data.draw(st.integers(1, experts))
    flat = Routing(kind="zipf", exponent=0.0)
    assert expected_experts(experts, top_k, tokens, flat) == pytest.approx(
        max(top_k, experts * (1 - (1 - top_k / experts) ** tokens)), abs=0.51
    )


def test_skew_uses_fewer_experts_and_fills_the_first() -> None:
    """More popular experts are chosen more often, so that others stay idle."""
    used = [
        expected_experts(64, 6, 32, Routing(kind="zipf", exponent=e)) for e in (0.0, 0.5, 1.0, 2.0)
    ]
    assert used == sorted(used, reverse=True)
    assert len(set(used)) == 4
    flat, steep = (Routing(kind="zipf", exponent=e) for e in (0.0, 1.0))
    assert fullest_rows(64, 6, 320, flat) == 30
    assert fullest_rows(64, 6, 320, steep) > 100


def test_a_trace_decides_the_weights_that_are_read() -> None:
    """Two of eight experts get every token: a batch reads their weights alone."""
    counts = (7.0, 7.0) + (0.0,) * 6
    model = load_model("mixtral-8x7b")
    traced = model.parameters.model_copy(update={"routing": Routing(kind="trace", counts=counts)})
    base, skewed = (
        workload(model.model_copy(update={"parameters": p}), decode(64, 99))
        for p in (model.parameters, traced)
    )
    assert flop_split(skewed) == flop_split(base)
    assert totals(skewed).weight_read_bytes < totals(base).weight_read_bytes / 3


def test_a_capacity_pads_what_every_expert_computes() -> None:
    """Rows are experts x ceil(factor x tokens x k / experts), whatever was routed."""
    model = load_model("mixtral-8x7b")
    padded = model.parameters.model_copy(update={"expert_capacity_factor": 1.25})
    built = workload(model.model_copy(update={"parameters": padded}), decode(64, 99))
    rows = 8 * 20  # 64 tokens x 2 / 8 experts x 1.25
    assert flop_split(built)["experts"] == 32 * rows * 3 * 2 * 4096 * 14336


@pytest.mark.parametrize(
    "given", [{"kind": "trace"}, {"counts": (1.0,)}, {"kind": "trace", "counts": (0.0, 0.0)}]
)
def test_an_impossible_routing_is_refused(given: dict[str, object]) -> None:
    """A trace needs counts, counts a trace, and some of them tokens."""
    with pytest.raises(ValidationError, match="trace"):
        Routing(**given)  # type: ignore[arg-type]
