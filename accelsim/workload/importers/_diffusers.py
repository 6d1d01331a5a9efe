"""What the configurations of diffusers have in common."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["COMMON", "each"]

COMMON: Final = frozenset(
    [
        "_class_name",
        "_diffusers_version",
        "_use_default_values",
        "act_fn",
        "activation_fn",
        "dropout",
        "eps",
        "norm_elementwise_affine",
        "norm_eps",
        "norm_num_groups",
        "norm_type",
        "num_embeds_ada_norm",
        "upcast_attention",
    ]
)
"""Fields without influence on shapes."""


def each(value: Any, count: int) -> tuple[Any, ...]:
    """Return a value given once, or once per level, as one per level.

    Examples
    --------
    >>> each(2, 3), each([1, 2], 2)
    ((2, 2, 2), (1, 2))
    """
    return tuple(value) if isinstance(value, (list, tuple)) else (value,) * count
