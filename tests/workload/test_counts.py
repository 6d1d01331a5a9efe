"""Counts add up, and a workload's are those of its operators times their repetitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from accelsim.workload import Counts, Phase, decode, flop_split, totals, workload
from accelsim.workload.counts import counts
from accelsim.workload.families.decoder import DecoderConfig, build
from tests.workload.configs import SMALL, decoders, law, phases

FIELDS = tuple(Counts.__dataclass_fields__)
some_counts = st.builds(Counts, **dict.fromkeys(FIELDS, st.integers(0, 10**15)))


@given(some_counts, some_counts, st.integers(0, 200))
def test_counts_are_a_linear_space(one: Counts, other: Counts, times: int) -> None:
    """Every field adds and multiplies by itself."""
    for field in FIELDS:
        assert getattr(one + other, field) == getattr(one, field) + getattr(other, field)
        assert getattr(one * times, field) == getattr(times * one, field)
        assert getattr(one * times, field) == getattr(one, field) * times


@given(some_counts)
def test_sums_of_fields(one: Counts) -> None:
    """FLOPs are two per MAC; bytes read and written are the sums over the roles."""
    assert one.flops == 2 * one.macs
    assert one.read_bytes + one.write_bytes == sum(
        getattr(one, field) for field in FIELDS if field.endswith("_bytes")
    )


@law
@given(decoders(), phases())
def test_totals_repeat_the_body(config: DecoderConfig, phase: Phase) -> None:
    """A workload's counts are those of each operator, as often as its block repeats."""
    graph = build(config, phase)
    total = Counts()
    for block, operator in graph.operators():
        total += counts(operator, block.tensors) * block.count
    assert totals(graph) == total
    assert sum(flop_split(graph).values()) == total.flops
    assert sum(flop_split(graph, unmasked=True).values()) == 2 * (total.macs - total.masked_macs)


def test_decode_reads_every_weight_but_the_embedding_once() -> None:
    """A decode step of a dense model reads all weights, of the token table one row a sequence."""
    graph = workload("llama3-8b", decode(4, 1023))
    table = 128_256 * 4096
    assert totals(graph).weight_read_bytes == 2 * (graph.parameters - table + 4 * 4096)


def test_decode_reads_the_whole_cache_once() -> None:
    """Grouped-query attention reads each cached key and value once, whatever the query heads."""
    graph = workload("llama3-8b", decode(4, 1023))
    assert totals(graph).kv_read_bytes == 4 * 1024 * graph.kv_bytes_per_token


def test_elementwise_work_of_a_small_layer_by_hand() -> None:
    """The vector operations of one token through one layer, function by function."""
    graph = build(DecoderConfig(**{**SMALL, "num_hidden_layers": 1}), decode(1, 4))
    found = sum(counts(op, graph.blocks[1].tensors).vector_ops for op in graph.blocks[1].operators)
    norms, residuals, rope = 2 * 4 * 32, 2 * 32, 3 * (4 + 2) * 8
    softmax, silu_mul = 5 * 4 * 5, 5 * 48
    assert found == norms + residuals + rope + softmax + silu_mul
