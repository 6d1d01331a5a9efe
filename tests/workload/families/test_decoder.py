"""Laws of the decoder family over random configurations and phases."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.workload import (
    Conventions,
    Dtypes,
    Phase,
    Role,
    SequenceGroup,
    decode,
    flop_split,
    mixed,
    prefill,
    resident_bytes,
    totals,
    validate,
    weight_elements,
)
from accelsim.workload.families.decoder import (
    DecoderConfig,
    active_parameter_count,
    build,
    expected_experts,
    parameter_count,
)
from tests.workload import closed_form
from tests.workload.configs import (
    SMALL,
    SMALL_MOE,
    decoder_fields,
    decoders,
    groups,
    law,
    phases,
)

EVERY = Conventions(logits="all")
BUILD = build.__wrapped__


def linear(split: dict[str, int]) -> int:
    return sum(split.get(label, 0) for label in ("linear", "router", "shared_experts"))


@law
@given(decoder_fields(), phases())
def test_counts_equal_the_second_closed_form(fields: dict[str, Any], phase: Phase) -> None:
    """Parameters and FLOPs by class equal a closed form that shares no code with the builder."""
    config = DecoderConfig(**fields)
    graph = validate(build(config, phase, conventions=EVERY))
    wanted = closed_form.parameters(fields)
    assert (graph.parameters, graph.active_parameters) == tuple(wanted.values())
    want = closed_form.flops(fields, [(g.count, g.q_len, g.past_len) for g in phase.groups])
    split, unmasked = flop_split(graph), flop_split(graph, unmasked=True)
    got = {
        "linear": linear(split),
        "experts": split.get("experts", 0),
        "attn": split["attention"],
        "attn_causal": unmasked["attention"],
        "lm_head": split["lm_head"],
        "total": sum(split.values()),
    }
    assert got == want


@law
@given(decoders(), phases(), st.sampled_from(["last", "all"]))
def test_every_graph_is_legal_and_holds_its_parameters(
    config: DecoderConfig, phase: Phase, logits: Any
) -> None:
    """The weights of the graph are the parameters of the configuration, nothing more or less."""
    graph = validate(build(config, phase, conventions=Conventions(logits=logits)))
    assert weight_elements(graph) == parameter_count(config)
    assert active_parameter_count(config) <= parameter_count(config)


@law
@given(decoders(), st.integers(1, 12), st.integers(0, 30), st.integers(2, 5))
def test_work_is_linear_in_the_batch(
    config: DecoderConfig, new: int, past: int, batch: int
) -> None:
    """A batch of n does n times the MACs of a batch of one, and moves n times the KV bytes."""
    one, many = (totals(build(config, prefill(n, new, past))) for n in (1, batch))
    assert many.macs == batch * one.macs
    assert many.masked_macs == batch * one.masked_macs
    assert many.kv_read_bytes == batch * one.kv_read_bytes
    assert many.kv_write_bytes == batch * one.kv_write_bytes


@law
@given(decoders(), st.integers(2, 24))
def test_decode_is_the_last_row_of_prefill(config: DecoderConfig, length: int) -> None:
    """Unmasked work of a prefill grows by one decode step with each token."""

    def unmasked(phase: Phase) -> int:
        return sum(flop_split(build(config, phase, conventions=EVERY), unmasked=True).values())

    step = unmasked(decode(1, length - 1))
    assert unmasked(prefill(1, length)) - unmasked(prefill(1, length - 1)) == step


@law
@given(decoders(), st.integers(1, 10), st.integers(1, 10))
def test_chunks_do_the_unmasked_work_of_the_whole(
    config: DecoderConfig, first: int, second: int
) -> None:
    """A prefill in two chunks does the same unmasked work as in one."""

    def unmasked(phase: Phase) -> int:
        return sum(flop_split(build(config, phase, conventions=EVERY), unmasked=True).values())

    chunks = unmasked(prefill(3, first)) + unmasked(prefill(3, second, first))
    assert chunks == unmasked(prefill(3, first + second))


@law
@given(decoders(), groups(), groups())
def test_a_mixed_pass_does_the_work_of_its_groups(
    config: DecoderConfig, one: SequenceGroup, other: SequenceGroup
) -> None:
    """Batching different sequences together shares weights, not MACs or KV traffic."""
    apart = [totals(build(config, mixed([group]))) for group in (one, other)]
    together = totals(build(config, mixed([one, other])))
    assert together.macs == sum(c.macs for c in apart)
    assert together.kv_read_bytes == sum(c.kv_read_bytes for c in apart)
    assert together.weight_read_bytes <= sum(c.weight_read_bytes for c in apart)


@law
@given(decoders(), st.integers(1, 4), st.integers(0, 30))
def test_the_cache_grows_by_what_is_written(config: DecoderConfig, batch: int, past: int) -> None:
    """The KV bytes of a step are those of its tokens in every layer, and stay resident."""
    graph = build(config, decode(batch, past))
    layer = 2 * config.kv_heads * config.head_width * 2
    assert totals(graph).kv_write_bytes == batch * config.num_hidden_layers * layer
    assert resident_bytes(graph)[Role.KV_CACHE] == totals(graph).kv_read_bytes
    if not config.sliding_window:
        assert graph.kv_bytes_per_token == config.num_hidden_layers * layer
        assert resident_bytes(graph)[Role.KV_CACHE] == (
            batch * (past + 1) * graph.kv_bytes_per_token
        )


@law
@given(st.integers(1, 300), st.data(), st.integers(1, 600))
def test_expected_experts(experts: int, data: st.DataObject, tokens: int) -> None:
    """One token uses its top k; more tokens never use fewer experts, nor more than there are."""
    top_k = data.draw(st.integers(1, experts))
    used = expected_experts(experts, top_k, tokens)
    assert expected_experts(experts, top_k, 1) == top_k
    assert top_k <= used <= min(experts, tokens * top_k)
    assert used <= expected_experts(experts, top_k, tokens + 1)


def test_expected_experts_by_simulation() -> None:
    """Uniform random routing hits, on average, the number that the closed form says."""
    import random

    draw = random.Random(1)
    hit = [len({e for _ in range(16) for e in draw.sample(range(64), 6)}) for _ in range(2000)]
    assert expected_experts(64, 6, 16) == pytest.approx(sum(hit) / len(hit), abs=0.6)


def test_flops_do_not_depend_on_the_experts_hit() -> None:
    """Expert FLOPs are 2 x tokens x top_k x weights whichever experts are hit; bytes are not."""
    config = DecoderConfig(**SMALL_MOE)
    for tokens in (1, 2, 7, 64):
        graph = build(config, prefill(1, tokens), conventions=EVERY)
        assert flop_split(graph)["experts"] == 2 * tokens * 2 * 3 * (3 * 32 * 24)
    one, many = (totals(build(config, decode(n, 1))).weight_read_bytes for n in (1, 64))
    assert many > one


def test_last_logits_are_of_one_token_per_sequence() -> None:
    """Serving computes logits of each sequence's last token; decode has no other."""
    config = DecoderConfig(**SMALL)
    last, every = (
        build(config, prefill(3, 5), conventions=Conventions(logits=which))
        for which in ("last", "all")
    )
    assert flop_split(every)["lm_head"] == 5 * flop_split(last)["lm_head"]
    assert "select" in [op.name for op in last.blocks[-1].operators]
    assert "select" not in [op.name for op in build(config, decode(3, 5)).blocks[-1].operators]


def test_a_tied_head_is_stored_once() -> None:
    """Tied embeddings are one tensor of memory, read by the head in full in every pass."""
    config = DecoderConfig(**SMALL, tie_word_embeddings=True)
    untied = DecoderConfig(**SMALL)
    apart, tied = (resident_bytes(build(c, decode(1, 3)))[Role.WEIGHT] for c in (untied, config))
    assert apart - tied == 100 * 32 * 2
    reads = [totals(build(c, decode(1, 3))).weight_read_bytes for c in (untied, config)]
    assert reads[0] == reads[1]


def test_number_formats_go_to_their_tensors() -> None:
    """Linear weights, experts, embeddings, cache and activations each take their own format."""
    dtypes = Dtypes(
        weight="int4", activation="fp16", kv_cache="fp8", embedding="bf16", experts="mxfp4"
    )
    body = build(DecoderConfig(**SMALL_MOE), decode(1, 3), dtypes=dtypes).blocks
    layer = body[1].tensors
    found = {
        layer["qkv_proj.weight"].dtype, layer["k_cache"].dtype, layer["qkv_proj"].dtype,
        layer["input_norm.weight"].dtype, layer["experts_down_proj.weight"].dtype,
        body[0].tensors["embed_tokens.weight"].dtype, layer["router.weight"].dtype,
    }  # fmt: skip
    assert found == {"int4", "fp8", "fp16", "mxfp4", "bf16"}
    assert layer["qkv_proj.weight"].dtype == layer["router.weight"].dtype == "int4"


def test_halving_the_cache_format_halves_its_traffic() -> None:
    """KV bytes follow the cache's format, activations stay."""
    config = DecoderConfig(**SMALL)
    wide, narrow = (
        totals(build(config, decode(2, 9), dtypes=Dtypes(kv_cache=f))) for f in ("bf16", "fp8")
    )
    assert (wide.kv_read_bytes, wide.kv_write_bytes) == (
        2 * narrow.kv_read_bytes,
        2 * narrow.kv_write_bytes,
    )
    assert wide.activation_read_bytes == narrow.activation_read_bytes


DENSE_LAYER = """
    input_norm            norm         norm        None
    qkv_proj              matmul       linear      n
    rope                  elementwise  rope        columns
    kv_append             transfer     kv_append   size_bytes
    attention             attention    attention   heads
    o_proj                matmul       linear      k
    attention_residual    elementwise  residual    None
    post_attention_norm   norm         norm        None
    gate_up_proj          matmul       linear      n
    activation            elementwise  activation  columns
    down_proj             matmul       linear      k
    mlp_residual          elementwise  residual    None
"""
EXPERTS = """
    router                matmul       router      None
    route                 route        routing     None
    dispatch              gather       dispatch    None
    experts_gate_up_proj  matmul       experts     n
    experts_activation    elementwise  activation  columns
    experts_down_proj     matmul       experts     k
    combine               reduce       combine     None
"""


@pytest.mark.parametrize(("fields", "text"), [(SMALL, DENSE_LAYER), (SMALL_MOE, EXPERTS)])
def test_operators_of_a_layer(fields: dict[str, Any], text: str) -> None:
    """Operators come in order, each with its kind, its label, and the dim that devices divide."""
    layer = build(DecoderConfig(**fields), decode(1, 3)).blocks[1]
    made = [[op.name, op.kind, op.label, str(op.shard)] for op in layer.operators]
    wanted = [line.split() for line in text.strip().splitlines()]
    assert [row for row in made if row in wanted] == wanted
    if fields is SMALL:
        assert made == wanted


def test_alternating_layers_are_one_body() -> None:
    """Sliding and full layers in turn make a body of two layers with half the count."""
    pattern = ("sliding_attention", "full_attention")
    config = DecoderConfig(
        **{**SMALL, "num_hidden_layers": 8}, sliding_window=4, layer_types=pattern
    )
    layers = build(config, decode(1, 20)).blocks[1]
    assert (layers.count, layers.name) == (4, "layers")
    assert [op.dims["kv_len"] for op in layers.operators if op.kind == "attention"] == [4, 21]


def test_dense_layers_before_experts_are_a_block_of_their_own() -> None:
    """Layers of two kinds in a row become two blocks that the residual stream links."""
    config = DecoderConfig(**SMALL_MOE, first_k_dense_replace=1)
    graph = validate(build(config, decode(1, 3)))
    assert [(block.name, block.count) for block in graph.blocks] == [
        ("embedding", 1),
        ("layers.0", 1),
        ("layers.1", 2),
        ("head", 1),
    ]


def test_context_beyond_the_model_is_said() -> None:
    """A context longer than the model's is simulated, and stated among the conventions."""
    config = DecoderConfig(**SMALL, max_position_embeddings=16)
    assert "positions" not in build(config, decode(1, 15)).conventions
    assert build(config, decode(1, 16)).conventions["positions"] == (
        "17 tokens, beyond the model's 16"
    )


def test_an_equal_request_is_answered_from_the_cache() -> None:
    """The same configuration, phase and formats give the same object."""
    arguments = DecoderConfig(**SMALL), decode(2, 7)
    assert build(*arguments) is build(DecoderConfig(**SMALL), decode(2, 7))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"hidden_size": 33}, "hidden_size 33 does not divide over num_attention_heads 4"),
        ({"num_key_value_heads": 3}, "does not divide over num_key_value_heads 3"),
        ({"positions": "learned"}, "need max_position_embeddings"),
        ({"layer_types": ("sliding_attention",)}, "sliding_window is missing"),
        ({"sliding_window": 4, "layer_types": ("full_attention",)}, "has no sliding_attention"),
        ({"sliding_window": 4, "layer_types": ("sliding_attention",) * 2}, "2 entries"),
        ({"num_local_experts": 4, "moe_intermediate_size": 8}, "num_experts_per_tok 0"),
        ({"num_local_experts": 4, "num_experts_per_tok": 5}, "num_experts_per_tok 5"),
        ({"num_local_experts": 4, "num_experts_per_tok": 2}, "needs moe_intermediate_size"),
        ({"num_shared_experts": 1}, "num_shared_experts without num_local_experts"),
        ({"intermediate_size": None}, "need intermediate_size"),
        ({"rope_theta": 1e4}, "unknown key `rope_theta`"),
        ({"activation": "selu"}, "activation"),
    ],
)
def test_an_impossible_model_is_refused(changes: dict[str, Any], text: str) -> None:
    """Each inconsistency is refused with a text that names the fields."""
    with pytest.raises(ValidationError, match=text):
        DecoderConfig(**{**SMALL, **changes})


def test_unknown_logits_are_refused() -> None:
    """Only `last` and `all` are choices of logits."""
    with pytest.raises(ValidationError, match="'last' or 'all'"):
        Conventions(logits="first")  # type: ignore[arg-type]
