"""Imports Hugging Face ``config.json`` files of transformers and diffusers models, without torch.

Each supported ``model_type`` (``_class_name`` in diffusers) maps the fields that decide shapes; a
field that would change the graph and is not mapped is refused, never skipped in silence.  The
mappings of a family stand in ``_hf_<family>.py``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from accelsim.config import Resolved, Spec, Tree, load_tree, validate
from accelsim.errors import ConfigError, UnknownNameError, nearest
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families import families, family
from accelsim.workload.importers._hf_fields import HARMLESS, Fields

__all__ = ["ImportedModel", "from_hf_config", "model_types"]


class ImportedModel(NamedTuple):
    """What a foreign file describes, in accelsim's terms."""

    family: str
    config: Spec
    name: str
    dtypes: Dtypes


_DTYPES: Final[Mapping[str, str]] = {
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
}

_KEYS: Final = ("model_type", "_class_name")
"""Fields that name the kind of model: in transformers, and in diffusers."""
_FOLDER: Final = Path(__file__).parent
Reader = Callable[[Fields], dict[str, Any]]
"""Reads a foreign configuration into the fields of a family's own."""


class _Known(NamedTuple):
    """How one model type is read."""

    family: str
    read: Reader
    harmless: frozenset[str]


@cache
def _known() -> dict[str, _Known]:
    """Return the supported model types of all families."""
    found: dict[str, _Known] = {}
    for name in families():
        if (_FOLDER / f"_hf_{name}.py").is_file():
            module = importlib.import_module(f"accelsim.workload.importers._hf_{name}")
            harmless = HARMLESS | getattr(module, "HARMLESS", frozenset())
            found |= {
                key: _Known(name, read, harmless) for key, read in module.MODEL_TYPES.items()
            }
    return found


def model_types() -> tuple[str, ...]:
    """Return the supported values of ``model_type``, sorted.

    Examples
    --------
    >>> "llama" in model_types()
    True
    """
    return tuple(sorted({key.partition(":")[0] for key in _known()}))


def _dtypes(fields: Fields, model_type: str) -> Dtypes:
    """Map the published format; of quantised checkpoints only gpt-oss's MXFP4 experts."""
    text = str(fields.get("dtype") or fields.get("torch_dtype") or "bfloat16")
    text = text.removeprefix("torch.")
    if text not in _DTYPES:
        raise fields.error("dtype", f"format `{text}` is not supported", nearest(text, _DTYPES))
    base, quantised = _DTYPES[text], fields.get("quantization_config")
    if not quantised:
        return Dtypes(weight=base, activation=base, kv_cache=base)
    method = quantised.get("quant_method") if isinstance(quantised, Mapping) else quantised
    if (model_type, method) == ("deepseek_v3", "fp8"):
        return Dtypes(weight="fp8", activation=base, kv_cache=base, embedding=base)
    if (model_type, method) != ("gpt_oss", "mxfp4"):
        raise fields.error(
            "quantization_config", f"quantised weights (`{method}`) are not read from this field",
            "delete it and state the formats in `dtypes`",
        )  # fmt: skip
    return Dtypes(weight=base, activation=base, kv_cache=base, experts="mxfp4")


def _name(data: Mapping[str, Any], file: Path | None, model_type: str) -> str:
    given = Path(str(data.get("_name_or_path") or "")).name
    folder = file.resolve().parent.name if file and file.name == "config.json" else ""
    stem = file.stem if file and file.name != "config.json" else ""
    return given or folder or stem or model_type


def from_hf_config(source: str | Path | Mapping[str, Any], name: str = "") -> ImportedModel:
    """Return the model that a Hugging Face configuration describes.

    Parameters
    ----------
    source : path or mapping
        A ``config.json``, or its content.
    name : str, optional
        Name of the model; by default the published one, the folder's, or the model type.

    Raises
    ------
    UnknownNameError
        If the ``model_type`` is not supported; names those that are.
    ConfigError
        If a field is missing, or changes the graph in a way that is not supported.

    Examples
    --------
    >>> tiny = {
    ...     "model_type": "llama",
    ...     "hidden_size": 64,
    ...     "num_hidden_layers": 2,
    ...     "num_attention_heads": 4,
    ...     "intermediate_size": 128,
    ...     "vocab_size": 100,
    ... }
    >>> from_hf_config(tiny).config.kv_heads
    4
    """
    if isinstance(source, Mapping):
        file, tree = None, Tree(dict(source), name or "<config>")
    else:
        file = Path(source)
        tree = load_tree(file)
    key = next((k for k in _KEYS if isinstance(tree.data, dict) and tree.data.get(k)), None)
    if key is None:
        raise ConfigError(
            "no `model_type` and no `_class_name`: this is not the configuration of a Hugging Face"
            " model",
            tree.locate(()),
        )
    fields = Fields(tree)
    model_type = str(fields.get(key))
    # One type may be two families: T5 with its decoder and without.
    named = fields.get("architectures") or [""]
    known = _known().get(f"{model_type}:{named[0]}") or _known().get(model_type)
    if known is None:
        raise UnknownNameError(key, model_type, model_types(), tree.locate((key,)))
    values, dtypes = known.read(fields), _dtypes(fields, model_type)
    if known.family == "decoder":
        fields.refuse("is_encoder_decoder", "an encoder")
    fields.refuse("pruned_heads", "pruned heads")
    fields.refuse_unread(known.harmless)
    config = validate(Resolved(Tree(values, tree.file), values), family(known.family).Config)
    return ImportedModel(known.family, config, name or _name(tree.data, file, model_type), dtypes)
