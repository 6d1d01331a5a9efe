"""Cascades of Einsums: what an algorithm computes, over named ranks, whoever wrote it down.

One view for mapping, fusion and pass analysis, of a workload written as Einsums and of a block of
any other.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from accelsim.errors import ConfigError
from accelsim.workload._cascade_core import (
    MOVES,
    REDUCTIONS,
    Cascade,
    CascadeTensor,
    Einsum,
    Index,
    Reference,
)
from accelsim.workload._cascade_einsum import of_einsums
from accelsim.workload._cascade_graph import of_graph
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._einsum_config import EinsumConfig
from accelsim.workload.graph import Workload
from accelsim.workload.model import ModelSpec, load_model, workload
from accelsim.workload.phase import Phase, forward

__all__ = [
    "MOVES",
    "REDUCTIONS",
    "Cascade",
    "CascadeTensor",
    "Einsum",
    "Index",
    "Reference",
    "cascade_of",
]


def cascade_of(
    source: str | Path | ModelSpec[Any] | EinsumConfig | Workload,
    phase: Phase | None = None,
    *,
    block: str = "",
    dtypes: Dtypes | None = None,
) -> Cascade:
    """Return the cascade of a model, of a configuration of Einsums, or of a block of a workload.

    Parameters
    ----------
    source : str, Path, ModelSpec, EinsumConfig or Workload
        A model by name or file, or what was read or built already.
    phase : Phase, optional
        What gives the sizes of the pass; ``forward(1, 1024)`` unless given.  A workload has its.
    block : str
        Which block of a workload that is not written as Einsums; the first where empty.
    dtypes : Dtypes, optional
        Number formats in place of the model's own.

    Raises
    ------
    ConfigError
        If a statement does not fit; names it.
    GraphError
        If there is no such block.

    Examples
    --------
    >>> from accelsim.workload import forward
    >>> attention = cascade_of("attention-1-pass", forward(64, 4096))
    >>> [one.name for one in attention.einsums][:4]
    ['QK', 'LM', 'RM', 'SLN']
    >>> attention.einsum("SLN").operations, attention.einsum("LM").reduced
    (('sub', 'exp'), ('m0',))
    >>> attention.points("QK") == 64 * 12 * 4096 * 4096 * 64
    True
    """
    if isinstance(source, Workload):
        return of_graph(source, block)
    phase = phase or forward(1, 1024)
    if isinstance(source, EinsumConfig):
        return of_einsums(source, phase, dtypes=dtypes or Dtypes())
    spec = source if isinstance(source, ModelSpec) else load_model(source)
    if not isinstance(spec.parameters, EinsumConfig) or spec.transforms:
        return of_graph(workload(spec, phase, dtypes=dtypes), block)
    if block:
        raise ConfigError(f"`{spec.name}` is written as Einsums and has no blocks", path="block")
    found = of_einsums(spec.parameters, phase, dtypes=dtypes or spec.dtypes, name=spec.name)
    return replace(found, name=spec.name)
