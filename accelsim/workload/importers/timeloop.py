"""Imports problems of Timeloop: data spaces over dimensions, as one Einsum.

The data space that is written is the result, the others are multiplied; one whose name begins with
``Weight`` or ``Filter`` is a weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelsim.config import Tree, load_tree
from accelsim.errors import ConfigError
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families.einsum import EinsumConfig
from accelsim.workload.graph import Workload
from accelsim.workload.importers.einsum import built
from accelsim.workload.phase import forward

__all__ = ["from_timeloop"]

_BF16 = Dtypes()


def from_timeloop(path: str | Path, *, dtypes: Dtypes = _BF16) -> Workload:
    """Return the workload of a Timeloop problem.

    Parameters
    ----------
    path : str or Path
        A YAML file with ``problem``: its ``shape`` with ``dimensions`` and ``data_spaces``, and
        the ``instance`` with their sizes, strides and densities.
    dtypes : Dtypes
        Number formats, of which the file says nothing.

    Raises
    ------
    ConfigError
        If a field is missing or a projection is more than a sum of dimensions times coefficients.
    """
    file = Path(path)
    tree = load_tree(file)
    problem = _field(tree, tree.data, (), "problem")
    shape = _field(tree, problem, ("problem",), "shape")
    instance = _field(tree, problem, ("problem",), "instance")
    spaces = shape.get("data_spaces") or shape.get("data-spaces") if isinstance(shape, dict) else 0
    if not isinstance(spaces, list):
        raise ConfigError("`data_spaces` is missing", tree.locate(("problem", "shape")))
    sizes = dict(instance) if isinstance(instance, dict) else {}
    for one in shape.get("coefficients") or []:
        sizes.setdefault(one.get("name"), one.get("default", 1))
    texts = [_reference(tree, space, sizes, i) for i, space in enumerate(spaces)]
    written = [text for text, space in zip(texts, spaces, strict=True) if _written(space)]
    if len(written) != 1:
        raise ConfigError(
            f"{len(written)} data spaces are written, one is needed",
            tree.locate(("problem", "shape")), hint="mark the result by `read_write: True`",
        )  # fmt: skip
    operands = [text for text, space in zip(texts, spaces, strict=True) if not _written(space)]
    config = EinsumConfig(
        shape={name: sizes[name] for name in shape["dimensions"] if name in sizes},
        tensors=_tensors(spaces, instance),
        einsums=(f"{written[0]} = {' * '.join(operands)}",),
    )
    name = str(shape.get("name") or file.stem)
    return built(config, forward(1), dtypes, name, tree)


def _field(tree: Tree, data: Any, path: tuple[str, ...], name: str) -> Any:
    if not isinstance(data, dict) or name not in data:
        raise ConfigError(f"`{name}` is missing", tree.locate(path))
    return data[name]


def _written(space: Mapping[str, Any]) -> bool:
    return bool(space.get("read_write") or space.get("read-write"))


def _reference(tree: Tree, space: Any, sizes: Mapping[str, Any], number: int) -> str:
    place = ("problem", "shape", "data_spaces", number)
    if not isinstance(space, dict) or "name" not in space or "projection" not in space:
        raise ConfigError("a data space has a `name` and a `projection`", tree.locate(place))
    indices = []
    for index in space["projection"]:
        terms = []
        for term in index:
            rank, *factors = term if isinstance(term, list) else [term]
            values = [sizes.get(factor, factor) for factor in factors]
            if any(type(value) is not int for value in values):
                raise ConfigError(
                    f"coefficient `{factors[0]}` has no value", tree.locate(place), str(rank)
                )
            terms.append(" * ".join([*(str(v) for v in values if v != 1), str(rank)]))
        indices.append(" + ".join(terms))
    return f"{space['name']}[{', '.join(indices)}]"


def _tensors(spaces: list[Any], instance: Any) -> dict[str, Any]:
    densities = instance.get("densities") or {} if isinstance(instance, dict) else {}
    found: dict[str, Any] = {}
    for space in spaces:
        name = str(space["name"])
        if name.lower().startswith(("weight", "filter")) and not _written(space):
            density = densities.get(name, 1.0)
            value = density.get("density", 1.0) if isinstance(density, dict) else density
            found[name] = {"role": "weight", "density": value}
    return found
