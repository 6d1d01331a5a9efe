"""What Depth Anything's configurations in transformers say, as fields of its family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.config import Tree
from accelsim.workload.importers._hf_fields import HARMLESS as EVERYWHERE
from accelsim.workload.importers._hf_fields import Fields
from accelsim.workload.importers._hf_vit import dinov2
from accelsim.workload.importers._vision import COMMON, square

__all__ = ["HARMLESS", "MODEL_TYPES"]

HARMLESS: Final = COMMON | {"head_in_index", "max_depth", "use_pretrained_backbone"}
"""Fields without influence on shapes."""
_FACTORS: Final = [4, 2, 1, 0.5]


def _depth_anything(fields: Fields) -> dict[str, Any]:
    fields.refuse("backbone", "a backbone by name")
    inside = Fields(Tree(dict(fields.need("backbone_config")), "backbone_config"))
    if inside.get("model_type", "dinov2") != "dinov2":
        raise fields.error("backbone_config", "only a backbone of type dinov2 is supported")
    encoder = dinov2(inside)
    if not inside.get("apply_layernorm", True):
        raise fields.error("backbone_config", "outputs without the encoder's norm")
    read = _layers(fields, inside)
    inside.refuse_unread(EVERYWHERE | COMMON | {"num_labels", "model_type"})
    if list(fields.get("reassemble_factors", _FACTORS)) != _FACTORS:
        raise fields.error("reassemble_factors", f"only {_FACTORS} are supported")
    hidden = fields.get("reassemble_hidden_size", 384)
    if hidden != encoder["hidden_size"]:
        raise fields.error("reassemble_hidden_size", "is not the encoder's hidden_size")
    if square(fields, "patch_size", 14) != encoder["patch_size"]:
        raise fields.error("patch_size", "is not the encoder's")
    kind = fields.get("depth_estimation_type", "relative")
    if kind not in ("relative", "metric"):
        raise fields.error("depth_estimation_type", f"`{kind}`; legal: relative, metric")
    return {
        **encoder,
        "out_layers": read,
        "neck_hidden_sizes": tuple(fields.get("neck_hidden_sizes", (48, 96, 192, 384))),
        "fusion_hidden_size": fields.get("fusion_hidden_size", 64),
        "head_hidden_size": fields.get("head_hidden_size", 32),
        "metric": kind == "metric",
    }


def _layers(fields: Fields, inside: Fields) -> tuple[int, ...]:
    """Return the layers, from 1, whose outputs the neck reads."""
    count = inside.get("num_hidden_layers", 12)
    indices, names = inside.get("out_indices"), inside.get("out_features")
    if indices:
        read = tuple(i % (count + 1) for i in indices)
    elif names:
        read = tuple(int(str(name).removeprefix("stage")) for name in names)
    else:
        raise fields.error("backbone_config", "needs out_indices or out_features")
    if len(read) != 4:
        raise fields.error("backbone_config", f"the neck reads 4 layers, not {len(read)}")
    return read


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    "depth_anything": _depth_anything
}
"""Model type -> the function that maps its fields."""
