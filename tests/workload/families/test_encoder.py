"""Encoders: figures of real classes, and the laws of a pass without a cache."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.workload import (
    Conventions,
    Dtypes,
    Role,
    Workload,
    flop_split,
    forward,
    load_model,
    model_names,
    resident_bytes,
    totals,
    validate,
    weight_elements,
    workload,
)
from accelsim.workload.families.encoder import EncoderConfig, build, parameter_count
from tests.reference import reference_file
from tests.workload.configs import law

EVERY = Conventions(logits="all")
SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "vocab_size": 100, "max_position_embeddings": 64, "activation": "gelu", "norm_first": False,
}  # fmt: skip
RECURRENT: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96,
    "vocab_size": 500, "activation": "relu", "norm_first": False, "attention_bias": False,
    "causal": True, "positions": "recurrent", "head": "adaptive", "cutoffs": (100, 200, 300),
    "div_val": 4,
}  # fmt: skip

LIBRARY = [
    ("bert-base", 109_514_298, 21_091_221_504),
    ("bert-large", 335_174_458, 64_637_239_296),
    ("clip-g-text", 694_659_840, 121_557_483_520),
    ("clip-l-text", 123_060_480, 16_477_323_264),
    ("distilbert-base", 66_985_530, 12_852_559_872),
    ("roberta-base", 124_697_433, 24_002_445_312),
    ("roberta-large", 355_412_057, 68_518_871_040),
    ("t5-xxl-encoder", 4_762_310_656, 890_870_169_600),
    ("umt5-xxl-encoder", 5_680_910_336, 890_870_169_600),
    ("xlm-roberta-base", 278_295_186, 53_454_864_384),
]
"""Model, parameters, and FLOPs of 2 x 48 tokens, of the classes BertForMaskedLM,
CLIPTextModel(WithProjection), DistilBertForMaskedLM, (XLM)RobertaForMaskedLM, T5EncoderModel and
UMT5EncoderModel of transformers 5.23.0: `numel`, and `FlopCounterMode` of torch 2.13.0 on ``meta``
tensors."""

SEGMENTS = [
    ({"memory_len": 24, "same_length": True}, 24, 118_767, 11_763_712, 910_848),
    ({}, 0, 118_767, 6_750_208, 910_848),
    ({"memory_len": 8, "same_length": True, "head_dim": 24, "div_val": 2}, 8, 156_119,
     11_321_344, 1_323_008),
]  # fmt: skip
"""Changes to `RECURRENT`, memory, parameters, FLOPs of the body and of the head for 2 x 16 tokens,
of TransfoXLLMHeadModel of transformers 4.30.2, counted as above on the CPU; words of the first
cluster."""


def linear(graph: Workload) -> int:
    apart = ("lm_head", "experts", "attention", "conv", "scan")
    return sum(flops for label, flops in flop_split(graph).items() if label not in apart)


@pytest.mark.validate
def test_every_reference_row_is_met_exactly() -> None:
    """Parameters and FLOPs by class equal those of the real model at every point."""
    with reference_file("workload_golden.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(line for line in file if not line.startswith("#")))
    names = {name for name in model_names() if load_model(name).family == "encoder"}
    rows = [row for row in table if row["model"] in names]
    wrong = []
    for row in rows:
        phase = forward(int(row["batch"]), int(row["q_len"]))
        graph = validate(workload(row["model"], phase, conventions=EVERY, dtypes=Dtypes()))
        split = flop_split(graph)
        got = {
            "params": graph.parameters,
            "params_active": graph.active_parameters,
            "flops_total": sum(split.values()),
            "flops_linear": linear(graph),
            "flops_lm_head": split.get("lm_head", 0),
            "flops_attn": split["attention"],
        }
        wrong += [
            f"{row['id']} {k}: {v}, not {row[k]}" for k, v in got.items() if v != int(row[k])
        ]
    assert not wrong, "\n".join(wrong)
    assert {row["model"] for row in rows} >= {
        "bert-base", "bert-large", "clip-l-text", "t5-xxl-encoder"
    }  # fmt: skip


@pytest.mark.parametrize(("name", "parameters", "flops"), LIBRARY)
def test_the_library_equals_the_real_class(name: str, parameters: int, flops: int) -> None:
    """Parameters and FLOPs of a model of the library are those of the class it is named after."""
    graph = validate(workload(name, forward(2, 48), conventions=EVERY))
    assert (graph.parameters, sum(flop_split(graph).values())) == (parameters, flops)


def test_xlm_has_the_parameters_of_its_class() -> None:
    """XLMWithLMHeadModel(XLMConfig()) of transformers 5.23.0 has 667,119,041 parameters."""
    assert workload("xlm", forward(1, 512)).parameters == 667_119_041


@pytest.mark.parametrize(("changes", "memory", "parameters", "body", "head"), SEGMENTS)
def test_transformer_xl_equals_the_real_class(
    changes: dict[str, Any], memory: int, parameters: int, body: int, head: int
) -> None:
    """All but the queries of the memory, which transformers makes and drops."""
    config = EncoderConfig(**{**RECURRENT, **changes})
    graph = validate(build(config, forward(2, 16), conventions=EVERY))
    dropped = 2 * 3 * 2 * memory * 64 * config.num_attention_heads * config.head_width
    assert graph.parameters == parameters
    assert sum(flop_split(graph).values()) == body - dropped + head


def test_the_published_transformer_xl() -> None:
    """transfo-xl-wt103 has 285,205,322 parameters, and a memory of 1600 states in 18 layers."""
    graph = validate(workload("trxl-wt103", forward(1, 128)))
    assert graph.parameters == 285_205_322
    assert graph.state_bytes_per_sequence == 18 * 1600 * 1024 * 2


def test_a_pass_may_have_another_memory() -> None:
    """The context of a pass is the memory: its states are read, and those of the segment written.

    Queries of new tokens alone meet every key, so the attention is that of a longer row.
    """
    config = EncoderConfig(**RECURRENT, memory_len=24)
    short, long = (build(config, forward(2, 16, context_len=n)) for n in (8, 40))
    assert totals(long).state_write_bytes == totals(short).state_write_bytes == 3 * 2 * 16 * 64 * 2
    assert totals(long).state_read_bytes == 3 * 2 * (40 + 16) * 64 * 2
    assert resident_bytes(long)[Role.STATE] == totals(long).state_read_bytes
    by_pair = flop_split(long)["attention"] // (40 + 16)
    assert flop_split(short)["attention"] == by_pair * (8 + 16)


@pytest.mark.parametrize(("same", "seen"), [(True, 16 * 24), (False, 16 * 24 + 16 * 17 // 2)])
def test_masked_work_of_a_segment(same: bool, seen: int) -> None:
    """With equal lengths each token sees as many as the memory holds, else all before it."""
    config = EncoderConfig(**RECURRENT, memory_len=24, same_length=same)
    graph = build(config, forward(2, 16))
    # score, distance and context product of 64 columns each, 3 layers, 2 sequences, 2 per MAC
    assert flop_split(graph, unmasked=True)["attention"] == 2 * 3 * 3 * 2 * 64 * seen


@st.composite
def fields(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the fields of a legal encoder with every option."""
    positions = draw(st.sampled_from(["learned", "relative", "recurrent", "none"]))
    recurrent = positions == "recurrent"
    causal, vocabulary = draw(st.booleans()), draw(st.integers(4, 60))
    head = draw(st.sampled_from(["none", "mlm", "lm", "adaptive", "projection", "pooler"]))
    memory = draw(st.integers(0, 9)) if recurrent else 0
    made = {
        "hidden_size": draw(st.integers(8, 24)),
        "num_hidden_layers": draw(st.integers(1, 4)),
        "num_attention_heads": draw(st.integers(1, 4)),
        "head_dim": draw(st.integers(1, 8)),
        "intermediate_size": draw(st.integers(1, 30)),
        "vocab_size": vocabulary,
        "max_position_embeddings": draw(st.integers(1, 40)),
        "position_offset": draw(st.integers(0, 2)),
        "type_vocab_size": draw(st.integers(0, 3)),
        "activation": draw(st.sampled_from(["relu", "gelu", "gelu_tanh", "silu"])),
        "norm": draw(st.sampled_from(["layernorm", "rmsnorm"])),
        "norm_first": not recurrent and draw(st.booleans()),
        "attention_bias": not recurrent and draw(st.booleans()),
        "causal": causal,
        "positions": positions,
        "relative_attention_num_buckets": draw(st.integers(1, 9)),
        "memory_len": memory,
        "same_length": bool(causal and memory and draw(st.booleans())),
        "head": head,
        "tie_word_embeddings": head not in ("mlm", "lm") or draw(st.booleans()),
    }
    if head == "adaptive":
        made |= {"cutoffs": (2, vocabulary - 1), "div_val": draw(st.integers(1, 2))}
    if head == "projection":
        made["projection_dim"] = draw(st.integers(1, 20))
    flags = ("gated", "embedding_norm", "final_norm", "mlp_bias", "head_bias",
             "relative_bias_per_layer")  # fmt: skip
    return made | {flag: draw(st.booleans()) for flag in flags}


@law
@given(
    fields(), st.integers(1, 3), st.integers(1, 20), st.sampled_from(["last", "all"])
)  # fmt: skip
def test_every_graph_is_legal_and_holds_its_parameters(
    values: dict[str, Any], batch: int, length: int, logits: Any
) -> None:
    """The weights of the graph are the parameters of the configuration, nothing more or less."""
    config = EncoderConfig(**values)
    conventions = Conventions(logits=logits)
    graph = validate(build(config, forward(batch, length), conventions=conventions))
    assert weight_elements(graph) == parameter_count(config) == graph.active_parameters


@law
@given(fields(), st.integers(1, 20), st.integers(2, 4))
def test_sequences_do_not_see_each_other(values: dict[str, Any], length: int, batch: int) -> None:
    """Work and state traffic of a batch are those of so many sequences; weights are read once."""
    config = EncoderConfig(
        **values,
    )
    one, many = (totals(build(config, forward(n, length))) for n in (1, batch))
    shared = 0
    if config.positions == "recurrent":  # keys of distances are the same for all sequences
        memory, inner = config.memory_len, config.num_attention_heads * config.head_width
        shared = config.num_hidden_layers * (length + memory) * config.hidden_size * inner
    assert many.macs - shared == batch * (one.macs - shared)
    assert many.masked_macs == batch * one.masked_macs
    assert many.state_read_bytes == batch * one.state_read_bytes


def test_a_head_of_words_follows_the_convention() -> None:
    """Logits of one position per sequence, or of all; the head is then so much smaller."""
    config = EncoderConfig(**SMALL, head="mlm")
    last, every = (
        build(config, forward(3, 8), conventions=Conventions(logits=which))
        for which in ("last", "all")
    )
    head = 2 * (32 * 32 + 32 * 100)
    assert linear(every) - linear(last) == (3 * 8 - 3) * head
    assert "masked_positions" in last.inputs
    assert (last.conventions["logits"], every.conventions["logits"]) == ("last", "all")


@pytest.mark.parametrize("head", ["projection", "pooler"])
def test_a_head_of_one_token_is_independent_of_the_length(head: str) -> None:
    """CLIP projects the end of a text, BERT's pooler its start, whatever the logits."""
    config = EncoderConfig(
        **SMALL, head=head, projection_dim=20 if head == "projection" else None
    )  # fmt: skip
    plain = EncoderConfig(**SMALL)
    for logits in ("last", "all"):
        conventions = Conventions(logits=logits)
        with_head, without = (
            linear(build(c, forward(3, 8), conventions=conventions)) for c in (config, plain)
        )
        assert with_head - without == 2 * 3 * 32 * (20 if head == "projection" else 32)


def test_a_causal_encoder_states_its_masked_work() -> None:
    """CLIP's text encoder is causal: all pairs count, masked ones apart; BERT masks nothing."""
    clip, bert = (workload(name, forward(1, 77)) for name in ("clip-l-text", "bert-base"))
    full, seen = (flop_split(clip, unmasked=u)["attention"] for u in (False, True))
    assert seen * 2 * 77 == full * 78
    assert totals(bert).masked_macs == 0


def test_one_table_of_biases_serves_all_layers_or_one_each() -> None:
    """T5 makes its biases once, umT5 in every layer; each attention reads them."""
    relative = {**SMALL, "positions": "relative"}
    once, each = (
        build(EncoderConfig(**relative, relative_bias_per_layer=per_layer), forward(2, 8))
        for per_layer in (False, True)
    )
    for graph in (once, each):
        [attention] = [op for op in graph.blocks[1].operators if op.kind == "attention"]
        assert attention.attributes["bias"]
        assert graph.blocks[1].tensors[attention.inputs[-1]].elements == 4 * 8 * 8
    assert each.parameters - once.parameters == 2 * 32 * 4
    assert "position_bias" in [op.name for op in each.blocks[1].operators]
    assert "position_bias" not in [op.name for op in once.blocks[1].operators]


def test_a_tied_head_is_stored_once() -> None:
    """The table of words is one tensor of memory, looked up at the start and read at the end."""
    tied, apart = (
        resident_bytes(
            build(EncoderConfig(**SMALL, head="mlm", tie_word_embeddings=t), forward(1, 4))
        )
        for t in (True, False)
    )
    assert apart[Role.WEIGHT] - tied[Role.WEIGHT] == 100 * 32 * 2


def test_a_text_beyond_the_table_is_said() -> None:
    """A longer text than the model was made for is counted, and stated among the conventions."""
    config = EncoderConfig(**SMALL)
    assert "positions" not in build(config, forward(1, 64)).conventions
    stated = validate(build(config, forward(1, 65))).conventions["positions"]
    assert stated == "65 tokens, beyond the model's 64"


BERT_LAYER = """
    qkv_proj              matmul       linear      n
    attention             attention    attention   heads
    o_proj                matmul       linear      k
    attention_residual    elementwise  residual    None
    attention_norm        norm         norm        None
    up_proj               matmul       linear      n
    activation            elementwise  activation  columns
    down_proj             matmul       linear      k
    mlp_residual          elementwise  residual    None
    mlp_norm              norm         norm        None
"""


def test_operators_of_a_bert_layer() -> None:
    """Norms come after the sums; no cache is written."""
    layer = build(EncoderConfig(**SMALL), forward(1, 8)).blocks[1]
    made = [[op.name, op.kind, op.label, str(op.shard)] for op in layer.operators]
    assert made == [line.split() for line in BERT_LAYER.strip().splitlines()]


def test_operators_of_a_clip_layer_begin_with_a_norm() -> None:
    """With the norm first, the residual stream itself is never normalised inside a layer."""
    layer = build(EncoderConfig(**{**SMALL, "norm_first": True}), forward(1, 8)).blocks[1]
    names = [op.name for op in layer.operators]
    assert names[0] == "attention_norm"
    assert names[-1] == "mlp_residual"


@pytest.mark.parametrize(
    ("base", "changes", "text"),
    [
        (SMALL, {"hidden_size": 33}, "hidden_size 33 does not divide over num_attention_heads 4"),
        (SMALL, {"max_position_embeddings": None}, "need max_position_embeddings"),
        (SMALL, {"memory_len": 4}, "need recurrent positions"),
        (SMALL, {"head": "projection"}, "projection_dim go together"),
        (SMALL, {"projection_dim": 8}, "projection_dim go together"),
        (SMALL, {"head": "adaptive"}, "cutoffs go together"),
        (SMALL, {"cutoffs": (10,)}, "cutoffs go together"),
        (SMALL, {"tie_word_embeddings": False}, "needs head"),
        (RECURRENT, {"attention_bias": True}, "attention_bias false"),
        (RECURRENT, {"norm_first": True}, "norm_first false"),
        (RECURRENT, {"same_length": True}, "needs causal and memory_len"),
        (RECURRENT, {"cutoffs": (100, 100)}, "do not rise up to vocab_size"),
        (RECURRENT, {"cutoffs": (100, 500)}, "do not rise up to vocab_size"),
        (RECURRENT, {"div_val": 8}, "leaves the last cluster no width"),
        (SMALL, {"activation": "selu"}, "activation"),
    ],
)
def test_an_impossible_model_is_refused(
    base: dict[str, Any], changes: dict[str, Any], text: str
) -> None:
    """Each inconsistency is refused with a text that names the fields."""
    with pytest.raises(ValidationError, match=text):
        EncoderConfig(**{**base, **changes})
