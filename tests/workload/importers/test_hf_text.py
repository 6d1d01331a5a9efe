"""Hugging Face configurations of encoders and encoder-decoders against their real classes.

The figures are of transformers 5.23.0 on torch 2.13.0: parameters by ``numel``, FLOPs by
``FlopCounterMode`` for 2 x 48 tokens (48 source and 16 new ones where there is a decoder).
"""

from __future__ import annotations

from typing import Any

import pytest

from accelsim.errors import ConfigError
from accelsim.workload import Conventions, flop_split, forward, load_model, validate
from accelsim.workload.families import encdec, encoder
from accelsim.workload.importers import _hf_encdec, _hf_encoder
from accelsim.workload.importers.hf import from_hf_config

BERT = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "vocab_size": 30522}  # fmt: skip
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
         "intermediate_size": 4096}  # fmt: skip
ROBERTA = {**BERT, "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
DISTILBERT = {"dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072, "vocab_size": 30522}
XLM = {"vocab_size": 1000, "emb_dim": 64, "n_layers": 3, "n_heads": 4,
       "max_position_embeddings": 64}  # fmt: skip
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
          "num_hidden_layers": 12, "projection_dim": 768}  # fmt: skip
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20,
          "num_hidden_layers": 32, "hidden_act": "gelu", "projection_dim": 1280}  # fmt: skip
PROJECTED = {"architectures": ["CLIPTextModelWithProjection"]}
TRANSFO_XL = {"vocab_size": 500, "cutoffs": [100, 200, 300], "d_model": 64, "d_embed": 64,
              "n_head": 4, "d_head": 16, "d_inner": 96, "n_layer": 3, "mem_len": 0,
              "same_length": False}  # fmt: skip
T5_SMALL = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8,
            "vocab_size": 32128}  # fmt: skip
XXL = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
       "feed_forward_proj": "gated-gelu", "vocab_size": 32128, "tie_word_embeddings": False,
       "is_gated_act": True, "dense_act_fn": "gelu_new"}  # fmt: skip
TINY = {"vocab_size": 1000, "d_model": 96, "d_kv": 32, "d_ff": 200, "num_layers": 3,
        "num_decoder_layers": 2, "num_heads": 4, "is_encoder_decoder": True}  # fmt: skip

ENCODERS: list[tuple[str, dict[str, Any], dict[str, Any], int, int]] = [
    ("bert", BERT, {}, 109_514_298, 21_091_221_504),
    ("bert", BERT, LARGE, 335_174_458, 64_637_239_296),
    (
        "bert", BERT,
        {"hidden_act": "gelu_new", "vocab_size": 1000, "type_vocab_size": 3,
         "num_hidden_layers": 3, "max_position_embeddings": 64},
        22_677_736, 4_380_033_024,
    ),
    (
        "bert", BERT, {"tie_word_embeddings": False, "num_hidden_layers": 3},
        69_194_868 - 30_522, 8_733_229_056,
    ),
    ("bert", BERT, {"architectures": ["BertModel"]}, 109_482_240, 16_479_682_560),
    ("camembert", ROBERTA, {"vocab_size": 32005}, 110_655_493, 21_309_898_752),
    ("clip_text_model", CLIP_L, {}, 123_060_480, 16_477_323_264),
    ("clip_text_model", CLIP_G, {}, 693_021_440, 121_550_929_920),
    ("clip_text_model", CLIP_L, PROJECTED, 123_650_304, 16_479_682_560),
    ("clip_text_model", CLIP_G, PROJECTED, 694_659_840, 121_557_483_520),
    ("distilbert", DISTILBERT, {}, 66_985_530, 12_852_559_872),
    (
        "distilbert", DISTILBERT, {"architectures": ["DistilBertModel"]},
        66_362_880, 8_238_661_632,
    ),
    ("mt5:MT5EncoderModel", T5_SMALL, {"feed_forward_proj": "relu"}, 35_330_816, 3_680_501_760),
    ("roberta", ROBERTA, {}, 124_697_433, 24_002_445_312),
    ("roberta", ROBERTA, LARGE, 355_412_057, 68_518_871_040),
    ("roberta", ROBERTA, {"architectures": ["RobertaModel"]}, 124_645_632, 16_479_682_560),
    ("t5:T5EncoderModel", XXL, {}, 4_762_310_656, 890_870_169_600),
    ("t5:T5EncoderModel", T5_SMALL, {}, 35_330_816, 3_680_501_760),
    ("transfo-xl", TRANSFO_XL, {}, 118_767, 6_750_208 + 910_848),
    ("umt5:UMT5EncoderModel", XXL, {"vocab_size": 256384}, 5_680_910_336, 890_870_169_600),
    ("xlm", XLM, {}, 219_176, 44_138_496),
    ("xlm", XLM, {"n_langs": 5}, 219_496, 44_138_496),
    ("xlm", XLM, {"n_langs": 5, "use_lang_emb": False}, 219_176, 44_138_496),
    ("xlm", XLM, {"gelu_activation": False}, 219_176, 44_138_496),
    ("xlm", XLM, {"causal": True, "sinusoidal_embeddings": True}, 219_176, 44_138_496),
    ("xlm-roberta", ROBERTA, {"vocab_size": 250002}, 278_295_186, 53_454_864_384),
]  # fmt: skip
"""Model type, fields, changes, parameters and FLOPs.  The classes are those with a head where the
changes name none; transfo-xl is of transformers 4.30.2, its last; T5Config's defaults stand for
MT5's encoder, whose graph is the same.  An untied BERT head of transformers 5 holds its bias twice
and uses one, so 30,522 are taken off."""

GATED = {"feed_forward_proj": "gated-gelu"}
ENCDECS: list[tuple[str, dict[str, Any], dict[str, Any], int, int]] = [
    ("t5", TINY, {}, 633_664, 89_538_560),
    ("t5", TINY, {**GATED, "relative_attention_num_buckets": 16}, 729_536, 103_055_360),
    ("t5", T5_SMALL, {}, 60_506_624, 6_771_703_808),
    ("mt5", TINY, {"tie_word_embeddings": True}, 729_664, 103_055_360),
    ("mt5", TINY, {}, 729_664 + 96_000, 103_055_360),
    ("umt5", TINY, {}, 730_048, 103_055_360),
]
"""As above.  Since version 5 transformers ties every head of these types; where the file says that
it is not, or leaves that to mt5's earlier default, the head's table is added (96 x 1000)."""


@pytest.mark.parametrize(("model_type", "fields", "changes", "parameters", "flops"), ENCODERS)
def test_an_encoder_equals_the_real_class(
    model_type: str, fields: dict[str, Any], changes: dict[str, Any], parameters: int, flops: int
) -> None:
    """Parameters and FLOPs are those of the class that transformers makes of the same fields."""
    found = from_hf_config({"model_type": model_type, **fields, **changes})
    assert found.family == "encoder"
    assert isinstance(found.config, encoder.EncoderConfig)
    every = Conventions(logits="all")
    graph = validate(encoder.build(found.config, forward(2, 48), conventions=every))
    got = sum(flop_split(graph).values())
    if model_type == "transfo-xl":  # 16 new tokens, as counted
        graph = encoder.build(found.config, forward(2, 16), conventions=every)
        got = sum(flop_split(graph).values())
    assert (graph.parameters, got) == (parameters, flops)


@pytest.mark.parametrize(("model_type", "fields", "changes", "parameters", "flops"), ENCDECS)
def test_an_encoder_decoder_equals_the_real_class(
    model_type: str, fields: dict[str, Any], changes: dict[str, Any], parameters: int, flops: int
) -> None:
    """Parameters and FLOPs are those of the class that transformers makes of the same fields."""
    found = from_hf_config({"model_type": model_type, **fields, **changes})
    assert isinstance(found.config, encdec.EncDecConfig)
    phase = forward(2, 16, context_len=48)
    graph = encdec.build(found.config, phase, conventions=Conventions(logits="all"))
    validate(graph)
    assert (graph.parameters, sum(flop_split(graph).values())) == (parameters, flops)


def test_every_model_type_is_compared() -> None:
    """No supported type goes without a comparison with its real class."""
    assert {row[0] for row in ENCODERS} == set(_hf_encoder.MODEL_TYPES)
    assert {row[0] for row in ENCDECS} == set(_hf_encdec.MODEL_TYPES)


@pytest.mark.parametrize(
    ("model_type", "fields", "name"),
    [
        ("bert", BERT, "bert-base"),
        ("roberta", ROBERTA, "roberta-base"),
        ("distilbert", DISTILBERT, "distilbert-base"),
        ("clip_text_model", CLIP_L, "clip-l-text"),
        ("clip_text_model", {**CLIP_G, **PROJECTED}, "clip-g-text"),
        ("xlm", {**XLM, "emb_dim": 2048, "n_layers": 12, "n_heads": 16, "vocab_size": 30145,
                 "max_position_embeddings": 512}, "xlm"),
        ("t5:T5EncoderModel", XXL, "t5-xxl-encoder"),
        ("umt5:UMT5EncoderModel", {**XXL, "vocab_size": 256384}, "umt5-xxl-encoder"),
    ],
)  # fmt: skip
def test_import_equals_the_library_model(
    model_type: str, fields: dict[str, Any], name: str
) -> None:
    """A model of the library and its published configuration are the same graph."""
    found = from_hf_config({"model_type": model_type, **fields}).config
    ours = load_model(name).parameters
    assert encoder.build(found, forward(2, 9)) == encoder.build(ours, forward(2, 9))


@pytest.mark.parametrize(
    ("model_type", "fields", "change", "text"),
    [
        ("bert", BERT, {"is_decoder": True}, "decoder with BERT's layers"),
        ("bert", BERT, {"add_cross_attention": True}, "cross-attention"),
        ("bert", BERT, {"position_embedding_type": "relative_key"}, "relative positions"),
        ("bert", BERT, {"architectures": ["BertForPreTraining"]}, "`BertForPreTraining`"),
        ("bert", BERT, {"hidden_act": "mish"}, "activation `mish`"),
        ("bert", BERT, {"hidden_size": None}, "`hidden_size` is missing"),
        ("bert", BERT, {"embedding_size": 128}, "not understood: embedding_size"),
        ("bert", BERT, {"num_attention_heads": 7}, "does not divide over"),
        ("roberta", ROBERTA, {"architectures": ["BertForMaskedLM"]}, "RobertaForMaskedLM"),
        ("xlm", XLM, {"asm": True}, "adaptive softmax"),
        ("xlm", XLM, {"is_encoder": False}, "decoder with XLM's layers"),
        ("transfo-xl", TRANSFO_XL, {"pre_lnorm": True}, "norm before attention"),
        ("transfo-xl", TRANSFO_XL, {"untie_r": False}, "untie_r false"),
        ("transfo-xl", TRANSFO_XL, {"d_embed": 32}, "another width"),
        ("transfo-xl", TRANSFO_XL, {"div_val": 1}, "equal width"),
        ("transfo-xl", TRANSFO_XL, {"tie_projs": [True] * 4}, "tied projections"),
        ("t5", TINY, {"architectures": ["T5ForTokenClassification"]}, "T5ForTokenClassification"),
        ("t5", TINY, {"feed_forward_proj": "gated-relu"}, "`gated-relu`"),
        ("t5:T5EncoderModel", TINY, {"feed_forward_proj": "glu-gelu"}, "`glu gelu`"),
    ],
)
def test_a_field_that_is_not_understood_is_refused(
    model_type: str, fields: dict[str, Any], change: dict[str, Any], text: str
) -> None:
    """What would change the graph and is not supported stops the import, by name."""
    with pytest.raises(ConfigError, match=text):
        from_hf_config({"model_type": model_type, **fields, **change})


@pytest.mark.parametrize(
    ("model_type", "fields", "change"),
    [
        ("bert", BERT, {"layer_norm_eps": 1e-12, "classifier_dropout": 0.1}),
        ("bert", BERT, {"pooler_type": "first_token_transform", "directionality": "bidi"}),
        ("roberta", ROBERTA, {"output_past": True, "bos_token_id": 0, "pad_token_id": 1}),
        ("xlm", XLM, {"mask_index": 5, "summary_type": "first", "start_n_top": 5}),
        ("clip_text_model", CLIP_L, {"initializer_factor": 1.0, "dropout": 0.1}),
        ("t5", TINY, {"dropout_rate": 0.1, "relative_attention_max_distance": 128}),
        ("t5", TINY, {"n_positions": 512, "initializer_factor": 1.0, "is_gated_act": True}),
    ],
)
def test_fields_without_influence_are_passed_over(
    model_type: str, fields: dict[str, Any], change: dict[str, Any]
) -> None:
    """Fields of training, token numbers and derived ones change nothing."""
    plain = {"model_type": model_type, **fields}
    assert from_hf_config({**plain, **change}) == from_hf_config(plain)
