"""Workloads written as Einsums over named ranks, for those who think in iteration spaces.

Each statement becomes the operator that it is: a matrix product, a convolution, a reduction, a
softmax, a norm or an elementwise function.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Final

from accelsim.errors import ConfigError, GraphError
from accelsim.workload.author import Graph
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._einsum_build import Cascade
from accelsim.workload.families._einsum_config import EinsumConfig, rank_sizes
from accelsim.workload.families._einsum_steps import statements
from accelsim.workload.graph import Workload
from accelsim.workload.phase import Phase

__all__ = [
    "PHASES",
    "Config",
    "EinsumConfig",
    "active_parameter_count",
    "build",
    "parameter_count",
]

Config: Final = EinsumConfig
PHASES: Final = ("forward", "prefill", "decode")

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()


@lru_cache(maxsize=512)
def build(
    config: EinsumConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "einsum",
) -> Workload:
    """Return the workload of a cascade of Einsums.

    Parameters
    ----------
    config : EinsumConfig
        Ranks, tensors and statements.
    phase : Phase
        Gives `batch`, `q_len`, `kv_len`, ... where the ranks' sizes name them.
    dtypes : Dtypes
        Number formats of tensors that state none.
    conventions : Conventions
        Unused: the statements say what is computed.
    name : str
        Name of the workload.

    Raises
    ------
    ConfigError
        Names the statement or the rank that does not fit.

    Examples
    --------
    >>> from accelsim.workload import forward, totals
    >>> config = EinsumConfig(
    ...     shape={"m": "tokens", "k": 1024, "n": 4096},
    ...     tensors={"W": {"role": "weight"}},
    ...     einsums=["H[m, n] = X[m, k] * W[n, k]", "Y[m, n] = relu(H[m, n])"],
    ... )
    >>> mlp = build(config, forward(2, 128))
    >>> [operator.kind for _, operator in mlp.operators()], totals(mlp).macs == 256 * 1024 * 4096
    (['matmul', 'elementwise'], True)
    """
    del conventions
    graph = Graph(name, phase, dtypes)
    cascade = Cascade(config, rank_sizes(config, phase), graph)
    cascade.add(config.einsums, "einsums")
    for tensor in config.outputs or [n for n in cascade.values if n not in cascade.read]:
        if tensor not in cascade.values:
            raise ConfigError(f"no statement makes `{tensor}`", path="outputs")
        graph.output(cascade.values[tensor])
    try:
        built = graph.build()
    except GraphError as error:
        raise ConfigError(str(error), path="einsums") from None
    return replace(built, conventions={"attention": "as the statements say"})


def parameter_count(config: EinsumConfig) -> int:
    """Return the number of parameters: the sizes of all weights, once per repetition.

    Raises
    ------
    ConfigError
        If the size of a weight depends on the pass.
    """
    sizes = rank_sizes(config, None)
    found: dict[str, int] = {}
    for place, times, statement in statements(config.einsums, "einsums"):
        for operand in statement.operands:
            described = config.tensors.get(operand.tensor)
            if described is None or described.role != "weight":
                continue
            if missing := [rank for rank in operand.ranks if rank not in sizes]:
                raise ConfigError(
                    f"rank `{missing[0]}` of the weight `{operand.tensor}` has no fixed size",
                    path=place,
                )
            shape = described.shape or tuple(sizes[rank] for rank in operand.ranks)
            found.setdefault(operand.tensor, math.prod(shape) * times)
    return sum(found.values())


active_parameter_count = parameter_count
