"""Encoder-decoders: figures of real classes, and the laws that tie their passes together."""

from __future__ import annotations

import csv
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.errors import ConfigError
from accelsim.workload import (
    Conventions,
    Dtypes,
    Phase,
    Role,
    SequenceGroup,
    Workload,
    decode,
    flop_split,
    forward,
    load_model,
    mixed,
    model_names,
    prefill,
    resident_bytes,
    totals,
    validate,
    weight_elements,
    workload,
)
from accelsim.workload.families.encdec import EncDecConfig, build, parameter_count
from tests.reference import reference_file
from tests.workload.configs import law

EVERY = Conventions(logits="all")
SMALL: dict[str, Any] = {
    "vocab_size": 1000, "d_model": 96, "d_kv": 32, "d_ff": 200, "num_layers": 3,
    "num_decoder_layers": 2, "num_heads": 4,
}  # fmt: skip
GATED: dict[str, Any] = {**SMALL, "gated": True, "activation": "gelu_tanh"}

LIBRARY = [
    ("flan-t5-xl", 2_849_757_184, 353_412_055_040),
    ("flan-t5-xxl", 11_135_332_352, 1_402_608_812_032),
    ("t5-11b", 11_307_321_344, 1_455_683_534_848),
    ("t5-3b", 2_851_598_336, 365_500_039_168),
    ("t5-base", 222_903_552, 27_191_672_832),
    ("t5-large", 737_668_096, 92_954_165_248),
    ("t5-small", 60_506_624, 6_771_703_808),
]
"""Model, parameters, and FLOPs of 2 x (48 source + 16 new) tokens, of the class
T5ForConditionalGeneration of transformers 5.23.0 by `numel` and `FlopCounterMode` of torch 2.13.0
on ``meta`` tensors.  That version ties every head; to the two Flan models, whose files say that
theirs is not, the table of the head is added (2048 and 4096 x 32128), which gives the published
counts."""

REAL = [
    (SMALL, forward(2, 16, context_len=48), 633_664, 89_538_560),
    (SMALL, decode(2, 16, context_len=48), 633_664, 1_414_144),
    ({**GATED, "relative_attention_num_buckets": 16}, forward(2, 16, context_len=48),
     729_536, 103_055_360),
    ({**GATED, "relative_attention_num_buckets": 16}, decode(2, 16, context_len=48),
     729_536, 1_567_744),
    ({**GATED, "activation": "silu"}, decode(2, 16, context_len=48), 729_664, 1_567_744),
    ({**GATED, "relative_bias_per_layer": True}, forward(2, 16, context_len=48),
     730_048, 103_055_360),
    ({**GATED, "relative_bias_per_layer": True}, decode(2, 16, context_len=48),
     730_048, 1_567_744),
]  # fmt: skip
"""Fields, pass, parameters and FLOPs of T5ForConditionalGeneration and (a bias per layer)
UMT5ForConditionalGeneration, counted as above; decoding with their own caches on the CPU."""


def phase_of(row: dict[str, str]) -> Phase:
    batch, new, past = (int(row[name]) for name in ("batch", "q_len", "past_len"))
    found = re.match(r"enc(\d+)_", row["shape"])
    assert found
    source = int(found[1])
    if row["phase"] == "decode":
        return decode(batch, past, context_len=source)
    return forward(batch, new, context_len=source)


@pytest.mark.validate
def test_every_reference_row_is_met_exactly() -> None:
    """Parameters, FLOPs by class, KV and state bytes equal those of the real model."""
    with reference_file("workload_golden.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(line for line in file if not line.startswith("#")))
    names = {name for name in model_names() if load_model(name).family == "encdec"}
    rows = [row for row in table if row["model"] in names]
    wrong = []
    for row in rows:
        graph = validate(workload(row["model"], phase_of(row), conventions=EVERY, dtypes=Dtypes()))
        split = flop_split(graph)
        got = {
            "params": graph.parameters,
            "params_active": graph.active_parameters,
            "flops_total": sum(split.values()),
            "flops_linear": split["linear"],
            "flops_lm_head": split["lm_head"],
            "flops_attn": split["attention"],
            "kv_bytes_per_token": graph.kv_bytes_per_token,
            "state_bytes_per_seq": graph.state_bytes_per_sequence,
        }
        wrong += [
            f"{row['id']} {k}: {v}, not {row[k]}"
            for k, v in got.items()
            if row[k] and v != int(row[k])
        ]
    assert not wrong, "\n".join(wrong)
    assert {row["phase"] for row in rows} >= {"encdec", "decode"}


@pytest.mark.parametrize(("name", "parameters", "flops"), LIBRARY)
def test_the_library_equals_the_real_class(name: str, parameters: int, flops: int) -> None:
    """Parameters and FLOPs of a model of the library are those of the class it is named after."""
    graph = validate(workload(name, forward(2, 16, context_len=48), conventions=EVERY))
    assert (graph.parameters, sum(flop_split(graph).values())) == (parameters, flops)


@pytest.mark.parametrize(("fields", "phase", "parameters", "flops"), REAL)
def test_a_pass_equals_that_of_the_real_class(
    fields: dict[str, Any], phase: Phase, parameters: int, flops: int
) -> None:
    """Parameters and FLOPs with every option, of a whole pass and of a step over the caches."""
    graph = validate(build(EncDecConfig(**fields), phase, conventions=EVERY))
    assert (graph.parameters, sum(flop_split(graph).values())) == (parameters, flops)


@st.composite
def configs(draw: st.DrawFn) -> EncDecConfig:
    """Draw a legal encoder-decoder with every option."""
    sizes = {
        name: draw(st.integers(1, 12))
        for name in ("d_model", "num_heads", "d_kv", "d_ff", "vocab_size", "context_len",
                     "relative_attention_num_buckets")
    }  # fmt: skip
    layers = {name: draw(st.integers(1, 4)) for name in ("num_layers", "num_decoder_layers")}
    flags = ("gated", "tie_word_embeddings", "relative_bias_per_layer")
    return EncDecConfig(**sizes, **layers, **{flag: draw(st.booleans()) for flag in flags})


def passes() -> st.SearchStrategy[Phase]:
    size, source = st.integers(1, 4), st.none() | st.integers(1, 9)
    return st.one_of(
        st.builds(lambda b, n, c: forward(b, n, context_len=c), size, size, source),
        st.builds(lambda b, n, p, c: prefill(b, n, p, context_len=c), size, size,
                  st.integers(0, 3), source),
        st.builds(lambda b, p, c: decode(b, p, context_len=c), size, st.integers(0, 9), source),
    )  # fmt: skip


@law
@given(configs(), passes(), st.sampled_from(["last", "all"]))
def test_every_graph_is_legal_and_holds_its_parameters(
    config: EncDecConfig, phase: Phase, logits: Any
) -> None:
    """Weights touched and idle ones are the parameters of the configuration together."""
    graph = validate(build(config, phase, conventions=Conventions(logits=logits)))
    assert weight_elements(graph) + graph.idle_parameters == parameter_count(config)
    assert graph.parameters == parameter_count(config)


@law
@given(configs(), st.integers(1, 4), st.integers(1, 6), st.integers(1, 9))
def test_a_prefill_is_a_forward_pass_that_keeps_its_caches(
    config: EncDecConfig, batch: int, new: int, source: int
) -> None:
    """The work is the same; the prefill writes keys and values of text and source, once."""
    kept = build(config, prefill(batch, new, context_len=source))
    plain = build(config, forward(batch, new, context_len=source))
    assert flop_split(kept) == flop_split(plain)
    assert totals(plain).kv_write_bytes == totals(plain).state_write_bytes == 0
    assert totals(kept).kv_write_bytes == batch * new * kept.kv_bytes_per_token
    assert totals(kept).state_write_bytes == batch * kept.state_bytes_per_sequence
    assert kept.state_bytes_per_sequence == source * kept.kv_bytes_per_token


@law
@given(configs(), st.integers(1, 5), st.integers(1, 5), st.integers(1, 9))
def test_chunks_do_the_unmasked_work_of_the_whole(
    config: EncDecConfig, first: int, second: int, source: int
) -> None:
    """A text in two chunks costs as much as in one: the source is encoded by the first alone."""

    def unmasked(new: int, past: int = 0) -> int:
        phase = prefill(2, new, past, context_len=source)
        return sum(flop_split(build(config, phase, conventions=EVERY), unmasked=True).values())

    assert unmasked(first) + unmasked(second, first) == unmasked(first + second)


@law
@given(configs(), st.integers(1, 9), st.integers(1, 9))
def test_decoding_is_the_last_row_of_a_prefill(
    config: EncDecConfig, length: int, source: int
) -> None:
    """Unmasked work of a prefill grows by one decoding step with each token."""

    def unmasked(phase: Phase) -> int:
        return sum(flop_split(build(config, phase, conventions=EVERY), unmasked=True).values())

    grown = unmasked(prefill(1, length + 1, context_len=source))
    step = unmasked(decode(1, length, context_len=source))
    assert grown - unmasked(prefill(1, length, context_len=source)) == step


@law
@given(configs(), passes(), st.integers(2, 4))
def test_sequences_do_not_see_each_other(config: EncDecConfig, phase: Phase, batch: int) -> None:
    """Work and cache traffic of a batch are those of so many sequences."""
    group = phase.groups[0]

    def of(count: int) -> Workload:
        groups = (SequenceGroup(count, group.q_len, group.past_len),)
        return build(config, Phase(phase.kind, groups, None, phase.context_len))

    one, many = totals(of(1)), totals(of(batch))
    for name in ("macs", "masked_macs", "kv_read_bytes", "kv_write_bytes", "state_read_bytes"):
        assert getattr(many, name) == batch * getattr(one, name)


def test_decoding_reads_the_source_and_leaves_the_encoder_idle() -> None:
    """A step touches no weight of the encoder, and reads keys and values of every source token."""
    config = EncDecConfig(**SMALL)
    near, far = (build(config, decode(2, 5, context_len=n)) for n in (10, 30))
    assert [block.name for block in near.blocks] == ["embedding", "layers", "head"]
    assert totals(near).weight_read_bytes == totals(far).weight_read_bytes
    assert totals(far).state_read_bytes == 2 * 30 * 2 * 2 * 128 * 2
    assert resident_bytes(far)[Role.STATE] == totals(far).state_read_bytes
    encoder = 3 * (4 * 96 * 128 + 2 * 96 * 200 + 2 * 96) + 96 + 32 * 4
    assert near.idle_parameters == encoder + 2 * 2 * 96 * 128


def test_the_source_is_as_long_as_the_model_says_where_a_pass_does_not() -> None:
    """Without a context the model's own length counts, and it is stated."""
    config = EncDecConfig(**SMALL, context_len=40)
    ours, given_ = (build(config, forward(1, 3, context_len=n)) for n in (None, 40))
    assert flop_split(ours) == flop_split(given_)
    assert ours.conventions["source"] == "40 tokens"
    assert build(config, decode(1, 3)).conventions["source"] == (
        "40 tokens, encoded by an earlier pass"
    )


def test_last_logits_are_of_one_token_per_sequence() -> None:
    """Serving computes logits of each sequence's last token; the golden figures those of all."""
    config = EncDecConfig(**SMALL)
    last, every = (
        build(config, prefill(3, 5), conventions=Conventions(logits=which))
        for which in ("last", "all")
    )
    assert flop_split(every)["lm_head"] == 5 * flop_split(last)["lm_head"]


def test_the_caches_have_their_own_format() -> None:
    """Keys and values of text and source are kept in the cache's format."""
    config = EncDecConfig(**SMALL)
    wide, narrow = (
        build(config, decode(2, 9), dtypes=Dtypes(kv_cache=name)) for name in ("bf16", "fp8")
    )
    assert wide.kv_bytes_per_token == 2 * narrow.kv_bytes_per_token
    assert wide.state_bytes_per_sequence == 2 * narrow.state_bytes_per_sequence
    assert totals(wide).state_read_bytes == 2 * totals(narrow).state_read_bytes


DECODER_LAYER = """
    attention_norm        norm         norm        None
    qkv_proj              matmul       linear      n
    kv_append             transfer     kv_append   size_bytes
    attention             attention    attention   heads
    o_proj                matmul       linear      k
    attention_residual    elementwise  residual    None
    cross_norm            norm         norm        None
    cross_q_proj          matmul       linear      n
    cross_attention       attention    attention   heads
    cross_o_proj          matmul       linear      k
    cross_residual        elementwise  residual    None
    mlp_norm              norm         norm        None
    up_proj               matmul       linear      n
    activation            elementwise  activation  columns
    down_proj             matmul       linear      k
    mlp_residual          elementwise  residual    None
"""


def test_operators_of_a_decoder_layer() -> None:
    """A step attends to its own cache, then to that of the source, which it does not make."""
    layer = build(EncDecConfig(**SMALL), decode(1, 8)).blocks[1]
    made = [[op.name, op.kind, op.label, str(op.shard)] for op in layer.operators]
    assert made == [line.split() for line in DECODER_LAYER.strip().splitlines()]


def test_sequences_of_several_lengths_are_refused() -> None:
    """One length per pass: a mixed one is refused by name."""
    phase = mixed([SequenceGroup(1, 4), SequenceGroup(2, 1, 9)])
    with pytest.raises(ConfigError, match="equal length"):
        build(EncDecConfig(**SMALL), phase)
    with pytest.raises(ConfigError, match="decode, prefill, forward"):
        workload("t5-small", phase)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"activation": "selu"}, "activation"),
        ({"num_decoder_layers": 0}, "num_decoder_layers"),
        ({"num_kv_heads": 2}, "unknown key `num_kv_heads`"),
    ],
)
def test_an_impossible_model_is_refused(changes: dict[str, Any], text: str) -> None:
    """Each mistake is refused with a text that names the field."""
    with pytest.raises(ValidationError, match=text):
        EncDecConfig(**{**SMALL, **changes})
