"""Imports a YAML file of Einsums over named ranks as a workload.

The fields are those of the model family ``einsum``, so that a file grows into a model of the
library by three lines at its top.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from accelsim.config import Resolved, Tree, load_tree, resolve, validate
from accelsim.errors import ConfigError
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families.einsum import EinsumConfig, build
from accelsim.workload.graph import Workload
from accelsim.workload.phase import Phase, forward

__all__ = ["built", "from_einsum"]

_ABOUT = ("name", "source", "dtypes")


def from_einsum(path: str | Path, phase: Phase | None = None) -> Workload:
    """Return the workload that a file of Einsums describes.

    Parameters
    ----------
    path : str or Path
        A YAML file with ``shape`` and ``einsums``, and optionally ``tensors``, ``outputs``,
        ``dtypes``, ``name`` and ``source``; see `EinsumConfig`.
    phase : Phase, optional
        Gives the sizes of the pass where ranks name them (``batch``, ``q_len``); ``forward(1)``
        unless given.

    Raises
    ------
    ConfigError
        If the file is not well formed, or a statement does not fit: with its line.
    """
    file = Path(path)
    tree = load_tree(file)
    resolved = resolve(tree)
    data = dict(resolved.data) if isinstance(resolved.data, dict) else resolved.data
    about: dict[str, Any] = {}
    if isinstance(data, dict):
        about = {name: data.pop(name) for name in _ABOUT if name in data}
    dtypes = validate(Resolved(tree, about.get("dtypes", {})), Dtypes)
    config = validate(Resolved(tree, data, resolved.expressions, resolved.suspects), EinsumConfig)
    return built(config, phase or forward(1), dtypes, str(about.get("name") or file.stem), tree)


def built(config: EinsumConfig, phase: Phase, dtypes: Dtypes, name: str, tree: Tree) -> Workload:
    """Return the workload of a configuration; its errors say where they stand in the file.

    Raises
    ------
    ConfigError
        If a statement does not fit.
    """
    try:
        return build(config, phase, dtypes=dtypes, name=name)
    except ConfigError as error:
        parts = tuple(int(p) if p.isdigit() else p for p in re.findall(r"[^.]+", error.path))
        place = tree.locate(parts)
        raise ConfigError(error.message, place, error.path, error.hint) from None
