"""What every known operation of PyTorch is to a simulator: one table by canonical class.

An operation in none of the sets is an error, never a silent one of no cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["CONSTANT", "CONV", "COPIES", "ELEMENTWISE", "FREE", "MATMUL", "MOVES", "NORM",
           "REDUCE", "SCATTER", "base_name"]  # fmt: skip


def base_name(op: str) -> str:
    """Return the name without ``aten.`` and without the mark of an in-place form.

    Examples
    --------
    >>> base_name("aten.div_"), base_name("aten.__and__")
    ('div', '__and__')
    """
    name = op.removeprefix("aten.")
    return name if name.endswith("__") else name.rstrip("_")


MATMUL: Final = frozenset(
    {"linear", "addmm", "mm", "bmm", "baddbmm", "matmul", "einsum", "_grouped_mm", "addbmm"}
)
CONV: Final = frozenset(
    {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
     "convolution", "_convolution"}
)  # fmt: skip
NORM: Final[Mapping[str, str]] = {
    "layer_norm": "layernorm", "native_layer_norm": "layernorm",
    "rms_norm": "rmsnorm", "_fused_rms_norm": "rmsnorm",
    "group_norm": "groupnorm", "native_group_norm": "groupnorm",
    "instance_norm": "instancenorm",
    "batch_norm": "batchnorm", "_native_batch_norm_legit_no_training": "batchnorm",
}  # fmt: skip
"""Operation -> function of a norm."""

_ONE_ADD = ("add", "sub", "rsub", "cumsum", "bitwise_xor")
_ONE_MUL = (
    "mul",
    "div",
    "floor_divide",
    "remainder",
    "fmod",
    "true_divide",
    "outer",
    "cumprod",
    "ger",
)
_ONE_COMPARE = (
    "where", "masked_fill", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or",
    "logical_not", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_not", "__and__", "__or__",
    "isnan", "isinf", "isfinite", "maximum", "minimum", "clamp_min", "clamp_max", "leaky_relu",
    "abs", "sign", "floor", "ceil", "round", "trunc", "threshold", "nan_to_num", "prelu",
    "_prelu_kernel", "masked_scatter",
)  # fmt: skip
_ONE_TABLE = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "pow", "square",
    "reciprocal", "sin", "cos", "tan", "atan", "atan2", "erf", "elu", "selu", "celu", "neg",
)  # fmt: skip
ELEMENTWISE: Final[Mapping[str, str]] = {
    **dict.fromkeys(_ONE_ADD, "add"),
    **dict.fromkeys(_ONE_MUL, "mul"),
    **dict.fromkeys(_ONE_COMPARE, "threshold"),
    **dict.fromkeys(_ONE_TABLE, "exp"),
    "addcmul": "gated_add", "lerp": "gated_add", "addcdiv": "gated_add",
    "clamp": "relu6", "clip": "relu6", "hardtanh": "relu6", "relu6": "relu6",
    "relu": "relu", "sigmoid": "sigmoid", "silu": "silu", "gelu": "gelu", "tanh": "tanh",
    "softplus": "softplus", "log_sigmoid": "softplus", "mish": "softplus",
    "hardswish": "hard_swish", "hardsigmoid": "hard_swish", "logit": "sigmoid",
}  # fmt: skip
"""Operation -> function of `ops/elementwise` with the same cost per element."""

REDUCE: Final[Mapping[str, str]] = {
    "mean": "mean", "sum": "sum", "amax": "max", "amin": "max", "max": "max", "min": "max",
    "argmax": "max", "argmin": "max", "any": "max", "all": "max", "prod": "sum",
    "logsumexp": "sum", "std": "mean", "var": "mean", "var_mean": "mean", "norm": "sum",
    "linalg_vector_norm": "sum", "count_nonzero": "sum",
    "adaptive_avg_pool1d": "mean", "adaptive_avg_pool2d": "mean", "adaptive_avg_pool3d": "mean",
    "avg_pool1d": "mean", "avg_pool2d": "mean", "avg_pool3d": "mean",
    "max_pool1d": "max", "max_pool2d": "max", "max_pool3d": "max",
    "max_pool2d_with_indices": "max", "adaptive_max_pool2d": "max",
}  # fmt: skip
"""Operation -> function of `ops/reduce`."""

FREE: Final = frozenset(
    {"detach", "lift_fresh", "lift_fresh_copy", "alias", "dropout", "native_dropout",
     "feature_dropout", "alpha_dropout", "positive", "resolve_conj", "_assert_async",
     "requires_grad", "set_data", "squeeze", "unsqueeze", "t", "transpose", "as_strided"}
)  # fmt: skip
"""Operations that compute nothing at inference."""

COPIES: Final = frozenset(
    {"contiguous", "clone", "reshape", "flatten", "to", "_to_copy", "type_as", "copy", "float",
     "permute", "expand", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "movedim",
     "_reshape_copy", "expand_copy", "view_copy", "unflatten", "broadcast_to", "expand_as",
     "ravel", "_cast_Float", "native_channel_shuffle", "_unsafe_view", "meshgrid"}
)  # fmt: skip
"""Same elements in another layout or number format: fused with a neighbour unless kept."""

MOVES: Final = frozenset(
    {"cat", "stack", "concat", "concatenate", "hstack", "vstack", "pad", "constant_pad_nd",
     "repeat", "tile", "repeat_interleave", "roll", "flip", "tril", "triu", "im2col", "unfold",
     "unfold_copy",
     "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact2d",
     "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d",
     "replication_pad3d", "diag_embed", "col2im", "slice_copy", "select_copy"}
)  # fmt: skip
"""Movement of every element of the result."""

SCATTER: Final = frozenset(
    {"index_add", "index_copy", "index_put", "scatter", "scatter_add", "slice_scatter",
     "select_scatter", "index_fill", "copy"}
)  # fmt: skip
"""Movement of a source into a part of a result."""

CONSTANT: Final = frozenset(
    {"arange", "linspace", "logspace", "eye", "zeros", "ones", "full", "empty", "scalar_tensor",
     "tensor", "rand", "randn", "randint", "randperm", "zeros_like", "ones_like", "full_like",
     "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones", "new_full", "new_empty",
     "empty_strided", "new_empty_strided", "fill", "zero", "normal", "uniform", "tril_indices",
     "triu_indices", "bernoulli", "hann_window", "_efficientzerotensor"}
)  # fmt: skip
"""Tensors that no data decides."""
