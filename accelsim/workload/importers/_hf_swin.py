"""What Swin's configurations in transformers say, as fields of the `swin` family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.workload.importers._hf_fields import Fields
from accelsim.workload.importers._vision import COMMON, classes, function, head_of, square

__all__ = ["HARMLESS", "MODEL_TYPES"]

HARMLESS: Final = COMMON | {"hidden_size", "num_layers", "path_norm"}
"""Fields without influence on shapes; the width of the last stage follows from the first."""


def _swin(fields: Fields) -> dict[str, Any]:
    heads = {"SwinForImageClassification": "classifier", "SwinModel": ""}
    if function(fields, "gelu") != "gelu":
        raise fields.error("hidden_act", "only gelu is supported")
    return {
        "image_size": square(fields, "image_size", 224),
        "patch_size": square(fields, "patch_size", 4),
        "num_channels": fields.get("num_channels", 3),
        "embed_dim": fields.get("embed_dim", 96),
        "depths": tuple(fields.get("depths", (2, 2, 6, 2))),
        "num_heads": tuple(fields.get("num_heads", (3, 6, 12, 24))),
        "window_size": fields.get("window_size", 7),
        "mlp_ratio": fields.get("mlp_ratio", 4.0),
        "qkv_bias": fields.get("qkv_bias", True),
        "absolute_positions": fields.get("use_absolute_embeddings", False),
        "num_classes": classes(fields) if head_of(fields, heads) else 0,
    }


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {"swin": _swin}
"""Model type -> the function that maps its fields."""
