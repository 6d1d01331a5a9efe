"""Reads a foreign configuration field by field and remembers which fields were read."""

from __future__ import annotations

from collections.abc import Set
from typing import Any, Final

from accelsim.config import Tree
from accelsim.errors import ConfigError

__all__ = ["HARMLESS", "Fields"]

_HARMLESS: Final = """
    _attn_implementation _attn_implementation_autoset _commit_hash _name_or_path architectures
    attention_dropout attention_probs_dropout_prob attention_softmax_in_fp32 attn_implementation
    attn_pdrop auto_map bos_token_id cache_implementation chunk_size_feed_forward dropout
    embd_pdrop embedding_dropout eos_token_id experts_per_token finetuning_task
    gradient_checkpointing hidden_dropout id2label inference_runner init_std
    initial_context_length initializer_range label2id layer_norm_epsilon layerdrop max_length
    max_sequence_length n_ctx norm_epsilon norm_topk_prob original_max_position_embeddings
    output_attentions output_hidden_states output_router_logits pad_token_id pretraining_tp
    problem_type reorder_and_upcast_attn resid_pdrop residual_dropout return_dict rms_norm_eps
    rope_parameters rope_scaling rope_theta rope_type router_aux_loss_coef router_jitter_noise
    runner_version scale_attention_softmax_in_fp32 scale_attn_by_inverse_layer_idx
    scale_attn_weights sep_token_id summary_activation summary_first_dropout
    summary_proj_to_labels summary_type summary_use_proj swiglu_alpha swiglu_limit
    task_specific_params tokenizer_class transformers_version unk_token_id use_cache
    validate_runner_input
"""
HARMLESS: Final = frozenset(_HARMLESS.split())
"""Fields without influence on shapes: training, generation, rotation angles, token numbers."""


class Fields:
    """A mapping whose reads are remembered, so that what was not read can be refused.

    Parameters
    ----------
    tree : Tree
        The file, whose data is a mapping.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._read: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field, or the default where it is absent or null."""
        self._read.add(name)
        value = self._tree.data.get(name)
        return default if value is None else value

    def need(self, name: str) -> Any:
        """Return a field that must be there."""
        value = self.get(name)
        if value is None:
            raise ConfigError(f"`{name}` is missing", self._tree.locate(()))
        return value

    def error(self, name: str, message: str, hint: str = "") -> ConfigError:
        """Return the error to raise about a field."""
        return ConfigError(message, self._tree.locate((name,)), name, hint)

    def refuse(self, name: str, what: str) -> None:
        """Raise if a field that means something unsupported is set."""
        if self.get(name):
            raise self.error(name, f"{what} is not supported")

    def refuse_unread(self, harmless: Set[str]) -> None:
        """Raise if a field is set that was neither read nor is known to be harmless."""
        left = sorted(
            name
            for name, value in self._tree.data.items()
            if value and name not in self._read and name not in harmless
        )
        if left:
            raise self.error(
                left[0],
                f"not understood: {', '.join(left)}; the counts could be wrong",
                "if it changes no shape, delete it from a copy of the file",
            )
