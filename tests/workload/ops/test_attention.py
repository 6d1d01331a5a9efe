"""Attention: pairs under masks, traffic by heads, and the same work as separate operators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import GraphError
from accelsim.workload import Counts, Operator, Role, Tensor, ops
from accelsim.workload.counts import counts
from accelsim.workload.ops import attention
from tests.workload.closed_form import seen


@st.composite
def attentions(draw: st.DrawFn) -> tuple[Operator, dict[str, Tensor]]:
    """Draw an attention of any shape: grouped heads, unequal widths, masks, sinks."""
    batch, kv_heads, group, new, past, d_qk, d_v = (draw(st.integers(1, 6)) for _ in range(7))
    heads, past = kv_heads * group, past - 1
    values = (batch, heads, kv_heads, new, past + new, d_qk, d_v)
    shapes = {
        "q": (batch * new, heads * d_qk),
        "k": (batch, kv_heads, past + new, d_qk),
        "v": (batch, kv_heads, past + new, d_v),
        "context": (batch * new, heads * d_v),
    }
    roles = {"k": Role.KV_CACHE, "v": Role.KV_CACHE}
    tensors = {
        name: Tensor(name, shape, "bf16", roles.get(name, Role.ACTIVATION))
        for name, shape in shapes.items()
    }
    inputs = ("q", "k", "v")
    if draw(st.booleans()):
        tensors["sinks"] = Tensor("sinks", (heads,), "bf16", Role.WEIGHT)
        inputs += ("sinks",)
    attributes: dict[str, Any] = {"causal": draw(st.booleans())}
    if attributes["causal"] and draw(st.booleans()):
        attributes["window"] = draw(st.integers(1, 8))
    dims = dict(zip(attention.DIMS, values, strict=True))
    operator = Operator(
        "attention", "attention", dims, inputs, ("context",), "attention", "heads", attributes
    )
    return operator, tensors


@given(st.integers(1, 12), st.integers(0, 12), st.none() | st.integers(1, 15))
def test_unmasked_pairs_are_those_counted_one_by_one(
    new: int, past: int, window: int | None
) -> None:
    """The closed form equals a count of every query and key under the mask."""
    operator, _ = attention.example()
    dims = {**operator.dims, "q_len": new, "kv_len": past + new}
    masked = replace(operator, dims=dims, attributes={"causal": True, "window": window})
    assert attention.unmasked_pairs(masked) == seen(past, new, window)


@given(attentions())
def test_full_work_and_compulsory_traffic(made: tuple[Operator, dict[str, Tensor]]) -> None:
    """MACs are B H q kv (d_qk + d_v); keys and values move once per KV head."""
    operator, tensors = made
    ops.check(operator, tensors)
    found, d = counts(operator, tensors), operator.dims
    width = d["head_dim"] + d["value_dim"]
    assert found.macs == d["batch"] * d["heads"] * d["q_len"] * d["kv_len"] * width
    assert found.kv_read_bytes == 2 * d["batch"] * d["kv_heads"] * d["kv_len"] * width
    assert 0 <= found.masked_macs < found.macs
    assert found.activation_write_bytes == tensors["context"].size_bytes


@given(attentions())
def test_expansion_does_the_same_work(made: tuple[Operator, dict[str, Tensor]]) -> None:
    """Score, softmax and context do the same MACs and softmax, and read the same cache."""
    operator, tensors = made
    parts, between = attention.expand(operator, tensors)
    known = {**tensors, **between}
    for part in parts:
        ops.check(part, known)
    total = sum((counts(part, known) for part in parts), Counts())
    whole = counts(operator, tensors)
    same = ("macs", "masked_macs", "vector_ops", "kv_read_bytes", "weight_read_bytes")
    assert [getattr(total, f) for f in same] == [getattr(whole, f) for f in same]
    scores = 2 * sum(t.size_bytes for t in between.values())
    assert (
        total.activation_read_bytes + total.activation_write_bytes
        == whole.activation_read_bytes + whole.activation_write_bytes + scores
    )


@given(attentions())
def test_expansion_keeps_its_place_in_the_graph(made: tuple[Operator, dict[str, Tensor]]) -> None:
    """It reads what the attention read, writes what it wrote, and in between only its own."""
    operator, tensors = made
    parts, between = attention.expand(operator, tensors)
    read = {name for part in parts for name in part.inputs}
    written = [name for part in parts for name in part.outputs]
    assert read - set(between) == set(operator.inputs)
    assert written == [*between, *operator.outputs]
    assert {part.label for part in parts} == {"attention"}
    assert [part.attributes.get("causal") for part in parts] == [operator.attributes["causal"]] * 3


@pytest.mark.parametrize(
    ("dims", "attributes", "text"),
    [
        ({"heads": 3}, {}, "3 heads do not divide over 2 KV heads"),
        ({"q_len": 6}, {"causal": True}, "q_len 6 above kv_len 5"),
        ({}, {"window": 4}, "a window or chunk needs causal=True"),
        ({"kv_len": 6}, {}, r"k\[2, 2, 5, 8\] holds 160 elements, 192 are needed"),
    ],
)
def test_impossible_attention_is_refused(
    dims: dict[str, int], attributes: dict[str, Any], text: str
) -> None:
    """Heads that do not divide, masks that cannot be, and short caches are refused."""
    operator, tensors = attention.example()
    changed = replace(operator, dims={**operator.dims, **dims}, attributes=attributes)
    with pytest.raises(GraphError, match=text):
        ops.check(changed, tensors)
