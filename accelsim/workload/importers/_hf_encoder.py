"""What each Hugging Face ``model_type`` of an encoder says, as fields of the encoder family.

Defaults are those of the type's configuration class in transformers.  The first entry of
``architectures`` decides the head; the usual one where a file has no such entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.errors import nearest
from accelsim.workload.importers._hf_fields import Fields

__all__ = ["HARMLESS", "MODEL_TYPES"]

_HARMLESS: Final = """
    asm_cutoffs bos_index classifier_dropout clamp_len decoder_start_token_id dense_act_fn
    directionality dropatt dropout_rate embed_init_std end_n_top eos_index factor group_by_size
    id2lang init init_range initializer_factor is_gated_act lang2id lang_id layer_norm_eps
    logit_scale_init_value mask_index mask_token_id n_positions output_past pad_index
    pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head
    pooler_type proj_init_std proj_share_all_but_first qa_dropout relative_attention_max_distance
    sample_softmax scalable_attention seq_classif_dropout sinusoidal_embeddings
    sinusoidal_pos_embds start_n_top summary_proj_to_labels tie_weights_ unk_index
    use_bfloat16
"""
HARMLESS: Final = frozenset(_HARMLESS.split())
"""Fields without influence on shapes; a table of sines is stored as a learned one is."""

_ACTIVATIONS: Final[Mapping[str, str]] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "silu": "silu",
}


def _activation(fields: Fields, key: str, default: str) -> str:
    name = fields.get(key, default)
    if name not in _ACTIVATIONS:
        raise fields.error(
            key, f"activation `{name}` is not supported", nearest(name, _ACTIVATIONS)
        )
    return _ACTIVATIONS[name]


def _head(fields: Fields, heads: Mapping[str, str]) -> str:
    """Return the head of the first architecture named; that of the first known without any."""
    named = fields.get("architectures")
    architecture = named[0] if named else next(iter(heads))
    if architecture not in heads:
        raise fields.error(
            "architectures",
            f"the head of `{architecture}` is not supported",
            f"legal: {', '.join(heads)}",
        )
    return heads[architecture]


def _after_norm(fields: Fields, head: str) -> dict[str, Any]:
    """Map what BERT and its descendants share: norms after each part and after the embedding."""
    tied = fields.get("tie_word_embeddings", True)
    return {
        "vocab_size": fields.need("vocab_size"),
        "norm_first": False,
        "embedding_norm": True,
        "head": head,
        "tie_word_embeddings": tied or head not in ("mlm", "lm"),
    }


def _bert(fields: Fields, prefix: str = "Bert") -> dict[str, Any]:
    fields.refuse("is_decoder", "a decoder with BERT's layers")
    fields.refuse("add_cross_attention", "cross-attention")
    if fields.get("position_embedding_type", "absolute") != "absolute":
        raise fields.error("position_embedding_type", "relative positions are not supported")
    head = _head(fields, {f"{prefix}ForMaskedLM": "mlm", f"{prefix}Model": "pooler"})
    return {
        **_after_norm(fields, head),
        "hidden_size": fields.need("hidden_size"),
        "num_hidden_layers": fields.need("num_hidden_layers"),
        "num_attention_heads": fields.need("num_attention_heads"),
        "intermediate_size": fields.need("intermediate_size"),
        "max_position_embeddings": fields.get("max_position_embeddings", 512),
        "type_vocab_size": fields.get("type_vocab_size", 2),
        "activation": _activation(fields, "hidden_act", "gelu"),
    }


def _roberta_like(prefix: str) -> Callable[[Fields], dict[str, Any]]:
    def read(fields: Fields) -> dict[str, Any]:
        dims = _bert(fields, prefix)
        # Positions are numbered from the padding token's number + 1 (modeling_roberta.py).
        padding = fields.get("pad_token_id", 1)
        return {
            **dims,
            "max_position_embeddings": dims["max_position_embeddings"] - padding - 1,
            "position_offset": padding + 1,
        }

    return read


def _distilbert(fields: Fields) -> dict[str, Any]:
    head = _head(fields, {"DistilBertForMaskedLM": "mlm", "DistilBertModel": "none"})
    return {
        **_after_norm(fields, head),
        "hidden_size": fields.need("dim"),
        "num_hidden_layers": fields.need("n_layers"),
        "num_attention_heads": fields.need("n_heads"),
        "intermediate_size": fields.need("hidden_dim"),
        "max_position_embeddings": fields.get("max_position_embeddings", 512),
        "activation": _activation(fields, "activation", "gelu"),
    }


def _xlm(fields: Fields) -> dict[str, Any]:
    fields.refuse("asm", "an adaptive softmax")
    if not fields.get("is_encoder", True):
        raise fields.error("is_encoder", "a decoder with XLM's layers is not supported")
    head = _head(fields, {"XLMWithLMHeadModel": "lm", "XLMModel": "none"})
    width, languages = fields.need("emb_dim"), fields.get("n_langs", 1)
    told_apart = fields.get("use_lang_emb", True) and languages > 1
    fields.get("n_words")  # older name of vocab_size, written besides it
    return {
        **_after_norm(fields, head),
        "hidden_size": width,
        "num_hidden_layers": fields.need("n_layers"),
        "num_attention_heads": fields.need("n_heads"),
        "intermediate_size": 4 * width,
        "max_position_embeddings": fields.get("max_position_embeddings", 512),
        "type_vocab_size": languages if told_apart else 0,
        "activation": "gelu" if fields.get("gelu_activation", True) else "relu",
        "causal": fields.get("causal", False),
    }


def _clip_text(fields: Fields) -> dict[str, Any]:
    heads = {"CLIPTextModel": "none", "CLIPTextModelWithProjection": "projection"}
    head, width = _head(fields, heads), fields.get("projection_dim", 512)
    return {
        "hidden_size": fields.need("hidden_size"),
        "num_hidden_layers": fields.need("num_hidden_layers"),
        "num_attention_heads": fields.need("num_attention_heads"),
        "intermediate_size": fields.need("intermediate_size"),
        "vocab_size": fields.get("vocab_size", 49408),
        "max_position_embeddings": fields.get("max_position_embeddings", 77),
        "activation": _activation(fields, "hidden_act", "quick_gelu"),
        "norm_first": True,
        "final_norm": True,
        "causal": True,
        "head": head,
        "projection_dim": width if head == "projection" else None,
    }


def _transfo_xl(fields: Fields) -> dict[str, Any]:
    fields.refuse("pre_lnorm", "a norm before attention over a memory")
    fields.refuse("attn_type", "another attention than the relative one of type 0")
    for name in ("untie_r", "adaptive", "tie_weight"):
        if not fields.get(name, True):
            raise fields.error(name, f"{name} false is not supported")
    _head(fields, {"TransfoXLLMHeadModel": "adaptive"})
    width, cutoffs = fields.need("d_model"), tuple(fields.need("cutoffs"))
    if fields.get("d_embed", 1024) != width:
        raise fields.error("d_embed", "embeddings of another width than d_model")
    if fields.get("div_val", 4) < 2:
        raise fields.error("div_val", "clusters of equal width")
    wanted = [False] + [True] * len(cutoffs)
    if list(fields.get("tie_projs", wanted)) != wanted:
        raise fields.error("tie_projs", "other tied projections than all but the first")
    memory = fields.get("mem_len", 1600)
    return {
        "hidden_size": width,
        "num_hidden_layers": fields.need("n_layer"),
        "num_attention_heads": fields.need("n_head"),
        "head_dim": fields.need("d_head"),
        "intermediate_size": fields.need("d_inner"),
        "vocab_size": fields.need("vocab_size"),
        "activation": "relu",
        "norm_first": False,
        "attention_bias": False,
        "causal": True,
        "positions": "recurrent",
        "memory_len": memory,
        "same_length": bool(fields.get("same_length", True) and memory),
        "cutoffs": cutoffs,
        "div_val": fields.get("div_val", 4),
        "head": "adaptive",
    }


def _t5_encoder(function: str, *, per_layer: bool) -> Callable[[Fields], dict[str, Any]]:
    """Return the reader of an encoder alone; `function` is the default of feed_forward_proj."""

    def read(fields: Fields) -> dict[str, Any]:
        gated, _, name = str(fields.get("feed_forward_proj", function)).rpartition("-")
        if name not in _ACTIVATIONS or gated not in ("", "gated"):
            raise fields.error("feed_forward_proj", f"`{gated} {name}` is not supported")
        for ignored in ("is_encoder_decoder", "num_decoder_layers", "tie_word_embeddings"):
            fields.get(ignored)  # of the decoder, which is not there
        return {
            "hidden_size": fields.need("d_model"),
            "num_hidden_layers": fields.need("num_layers"),
            "num_attention_heads": fields.need("num_heads"),
            "head_dim": fields.need("d_kv"),
            "intermediate_size": fields.need("d_ff"),
            "vocab_size": fields.need("vocab_size"),
            # gated-gelu is the tanh form (configuration_t5.py).
            "activation": "gelu_tanh" if gated and name == "gelu" else _ACTIVATIONS[name],
            "gated": bool(gated),
            "norm": "rmsnorm",
            "norm_first": True,
            "final_norm": True,
            "attention_bias": False,
            "mlp_bias": False,
            "positions": "relative",
            "relative_attention_num_buckets": fields.get("relative_attention_num_buckets", 32),
            "relative_bias_per_layer": per_layer,
        }

    return read


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    "bert": _bert,
    "camembert": _roberta_like("Camembert"),
    "clip_text_model": _clip_text,
    "distilbert": _distilbert,
    "mt5:MT5EncoderModel": _t5_encoder("gated-gelu", per_layer=False),
    "roberta": _roberta_like("Roberta"),
    "t5:T5EncoderModel": _t5_encoder("relu", per_layer=False),
    "transfo-xl": _transfo_xl,
    "umt5:UMT5EncoderModel": _t5_encoder("gated-gelu", per_layer=True),
    "xlm": _xlm,
    "xlm-roberta": _roberta_like("XLMRoberta"),
}
"""Model type -> the function that maps its fields; with an architecture where one type is of two
families."""
