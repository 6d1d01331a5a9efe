"""Legendre memory units: a linear memory of fixed matrices beside a small recurrent layer.

Every token is a step of one cell, so that a sequence is one block with as many repetitions.

References
----------
Voelker et al., Legendre Memory Units, NeurIPS 2019, equations 4, 6 and 7.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from accelsim.config import Count, Spec
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Phase

__all__ = [
    "PHASES",
    "Config",
    "LmuConfig",
    "active_parameter_count",
    "build",
    "parameter_count",
]

PHASES: Final = ("forward",)

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()


class LmuConfig(Spec):
    """One layer of Legendre memory units and a classifier of its last state."""

    input_size: Count
    """Numbers that a step reads."""
    memory_size: Count
    """Order of the memory: numbers that it holds."""
    hidden_size: Count
    """Units of the recurrent layer."""
    num_classes: Count
    """Outputs of the classifier."""


Config: Final = LmuConfig


@lru_cache(maxsize=512)
def build(
    config: LmuConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "lmu",
) -> Workload:
    """Return one pass over ``phase.groups[0]``, a step per token; parameters as elsewhere."""
    del conventions
    group = phase.groups[0]
    cells = _cells(config, dtypes, group.count, group.q_len)
    body = BlockBuilder("head", dtypes)
    x = body.activation("hidden", group.count, config.hidden_size)
    body.linear("classifier", x, group.count, config.num_classes, config.hidden_size, bias=True)
    total = parameter_count(config)
    return Workload(
        name=name, blocks=(cells, body.block(1)), parameters=total, active_parameters=total,
        kv_bytes_per_token=0, phase=str(phase), batch=phase.batch, tokens=phase.tokens,
        inputs=("hidden", "memory", "token"), outputs=("classifier",),
        conventions={"parameters": "the memory's fixed matrices A and B included",
                     "steps": "one cell per token, in order"},
    )  # fmt: skip


def _cells(config: LmuConfig, dtypes: Dtypes, batch: int, steps: int) -> Block:
    """Return the cell, repeated for every token, with weights in common."""
    body = BlockBuilder("cell", dtypes)
    d, n, inside = config.memory_size, config.hidden_size, config.input_size
    token = body.activation("token", batch, inside)
    memory = body.activation("memory", batch, d)
    hidden = body.activation("hidden", batch, n)
    joined = inside + n + d
    u = body.linear("encode", (token, hidden, memory), batch, 1, joined)
    moved = body.linear("memory_a", memory, batch, d, d)
    written = body.linear("memory_b", u, batch, d, 1)
    memory = body.elementwise("remember", "add", (moved, written), batch, d, label="residual")
    x = body.linear("recur", (token, hidden, memory), batch, n, joined)
    x = body.elementwise("activate", "tanh", (x,), batch, n, label="activation")
    names = ("encode", "memory_a", "memory_b", "recur")
    return body.block(
        steps,
        {"hidden": x, "memory": memory},
        frozenset(f"{name}.weight" for name in names),
    )


@lru_cache(maxsize=256)
def parameter_count(config: LmuConfig) -> int:
    """Return the number of parameters by a closed form, fixed matrices included."""
    d, n, inside = config.memory_size, config.hidden_size, config.input_size
    return (inside + n + d) * (1 + n) + d * d + d + config.num_classes * (n + 1)


active_parameter_count = parameter_count
