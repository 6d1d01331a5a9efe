"""Passes of language models of transformers: a prompt at once, or one more token after a past.

The traps of running them without data are known and stepped around here.
"""

from __future__ import annotations

from typing import Any, Final

from accelsim.errors import ConfigError

__all__ = ["causal_lm"]

_WARM: Final = 8
"""Tokens of the prompt that fills the caches before they are given the length that is wanted."""


def causal_lm(
    model: Any, *, batch: int = 1, seq_len: int = 1, past_len: int = 0
) -> tuple[Any, dict[str, Any]]:
    """Return model and inputs of one pass of a causal language model of transformers.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Made under ``torch.device("meta")``.
    batch, seq_len : int
        Sequences and new tokens of each.
    past_len : int
        Tokens of each that are in the cache; 0 for a prompt.

    Returns
    -------
    tuple of (model, dict)
        What `from_torch` takes from a function.

    Notes
    -----
    Experts run as one grouped product.  ``use_cache=True`` avoids a check of the data that meta
    tensors do not have.  A past is made by a prompt of 8 tokens, after which the tensors of the
    caches are replaced by ones of the length wanted, so its cost does not depend on the length.

    Raises
    ------
    ConfigError
        If the model has a past of another form than a cache of transformers.
    """
    import torch

    config = model.config
    model.eval()
    if hasattr(model, "set_experts_implementation"):
        try:
            model.set_experts_implementation("grouped_mm")
        except (ValueError, AttributeError, NotImplementedError):
            config._experts_implementation = None

    def words(count: int) -> Any:
        return torch.zeros(batch, count, dtype=torch.long, device="meta")

    if not past_len:
        return model, {"input_ids": words(seq_len), "use_cache": True}
    with torch.device("meta"), torch.inference_mode():
        out = model(input_ids=words(_WARM), use_cache=True)
    named = "past_key_values" if getattr(out, "past_key_values", None) is not None else \
        "cache_params"  # fmt: skip
    cache = getattr(out, named, None)
    if cache is None or not hasattr(cache, "layers"):
        raise ConfigError(
            f"{type(model).__name__} returns no cache of transformers", path="past_len",
            hint="only a prompt (past_len 0) can be extracted",
        )  # fmt: skip
    for layer in cache.layers:
        _stretch(layer, past_len)
    positions = torch.full((batch, seq_len), past_len, dtype=torch.long, device="meta")
    inputs = {"input_ids": words(seq_len), "use_cache": True, named: cache}
    if named == "past_key_values" and _takes(model, "position_ids"):
        inputs["position_ids"] = positions
    return model, inputs


def _takes(model: Any, name: str) -> bool:
    import inspect

    return name in inspect.signature(model.forward).parameters


def _stretch(layer: Any, past_len: int) -> None:
    """Give the keys and values of a cache layer the length of the past, at most its window's."""
    import torch

    window = getattr(layer, "sliding_window", None)
    length = min(past_len, window - 1) if isinstance(window, int) and window else past_len
    for name in ("keys", "values"):
        held = getattr(layer, name, None)
        if isinstance(held, torch.Tensor) and held.dim() == 4:
            shape = (*held.shape[:2], length, held.shape[-1])
            setattr(layer, name, torch.empty(shape, dtype=held.dtype, device="meta"))
    if hasattr(layer, "cumulative_length"):
        layer.cumulative_length = past_len
