"""Models by name: a YAML file of the library, or a Hugging Face ``config.json``, to a workload.

A model file names its family and gives the family's configuration; the family builds the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from accelsim.config import (
    Count,
    Fingerprint,
    Spec,
    fingerprint,
    library,
    load_resolved,
    validate,
)
from accelsim.errors import ConfigError, UnknownNameError
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families import families, family
from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.phase import Phase
from accelsim.workload.transforms import AnyTransform

__all__ = ["ModelSpec", "load_model", "model_names", "workload"]

Parameters = TypeVar("Parameters", bound=Spec)

_DEFAULT: Final = Conventions()


class ModelSpec(Spec, Generic[Parameters]):
    """A model as its file describes it."""

    name: str
    """Name of the model and of its file."""
    family: str
    """Model family: a file name of `accelsim/workload/families`."""
    source: str
    """Where the dimensions come from."""
    published_parameters: Count | None = None
    """Parameter count as published, perhaps rounded; tests compare it with the real one."""
    dtypes: Dtypes = Dtypes()
    """Number formats as published."""
    parameters: Parameters
    """Configuration of the family."""
    transforms: tuple[AnyTransform, ...] = ()
    """Techniques applied to the model, in this order."""


def model_names() -> list[str]:
    """Return the names of the library's models, sorted.

    Examples
    --------
    >>> "llama3-8b" in model_names()
    True
    """
    return library.names("models")


def load_model(name: str | Path, overrides: Mapping[str, Any] | None = None) -> ModelSpec[Any]:
    """Return a model of the library, of a YAML file, or of a Hugging Face configuration.

    Parameters
    ----------
    name : str or Path
        Name in the library, path to a YAML file or a ``config.json``, or the folder of one.
    overrides : mapping, optional
        Dotted field -> value, for example ``{"parameters.num_hidden_layers": 2}``.

    Raises
    ------
    UnknownNameError
        If the library has no such model, or the file names an unknown family.
    ConfigError
        If the file is not a legal model; with file, line and field.

    Examples
    --------
    >>> load_model("llama3-8b").parameters.num_key_value_heads
    8
    """
    inside = Path(name) / "config.json"
    path = inside if inside.is_file() else library.find("models", name)
    if path.suffix == ".json":
        if overrides:
            raise ConfigError(f"{path}: overrides apply to YAML models only")
        return _imported(path, path.stat().st_mtime_ns)
    changes = tuple(sorted((overrides or {}).items()))
    return _read(path, fingerprint(path, "models"), changes)


@lru_cache(maxsize=1024)
def _read(path: Path, files: Fingerprint, changes: tuple[tuple[str, Any], ...]) -> ModelSpec[Any]:
    resolved = load_resolved(path, "models", dict(changes))
    data = resolved.data if isinstance(resolved.data, dict) else {}
    # Which type describes `parameters` is known only once the family is.
    name = data.get("family")
    if not isinstance(name, str):
        return validate(resolved, ModelSpec)  # says that it is missing, among all that is wrong
    if name not in families():
        raise UnknownNameError("family", name, families(), resolved.tree.locate(("family",)))
    described: type[ModelSpec[Any]] = ModelSpec.__class_getitem__(family(name).Config)  # type: ignore[assignment]
    return validate(resolved, described)


@lru_cache(maxsize=256)
def _imported(path: Path, modified_ns: int) -> ModelSpec[Any]:
    from accelsim.workload.importers.hf import from_hf_config

    found = from_hf_config(path)
    return ModelSpec[Any](
        name=found.name,
        family=found.family,
        source=str(path),
        dtypes=found.dtypes,
        parameters=found.config,
    )


def workload(
    model: str | Path | ModelSpec[Any],
    phase: Phase,
    *,
    conventions: Conventions = _DEFAULT,
    dtypes: Dtypes | None = None,
) -> Workload:
    """Return one forward pass of a model.

    Parameters
    ----------
    model : str, Path or ModelSpec
        A model, or what `load_model` takes.
    phase : Phase
        New and past tokens of the sequences.
    conventions : Conventions
        What is counted where implementations differ.
    dtypes : Dtypes, optional
        Number formats in place of the model's own.

    Raises
    ------
    ConfigError
        If the model's family does not run that kind of pass.

    Examples
    --------
    >>> from accelsim.workload.phase import decode
    >>> workload("llama3-8b", decode(16, 1023)).parameters
    8030261248
    """
    if not isinstance(model, ModelSpec):
        model = load_model(model)
    found = family(model.family)
    if phase.kind not in found.PHASES:
        raise ConfigError(
            f"`{model.name}` is of family {model.family}, which runs {', '.join(found.PHASES)}",
            path="phase",
            hint=f"`{phase.kind}` is none of them",
        )
    built = found.build(
        model.parameters,
        phase,
        dtypes=dtypes or model.dtypes,
        conventions=conventions,
        name=model.name,
    )
    if conventions.kv_update == "copy":
        built = _copying(built)
    for transform in model.transforms:
        built = transform.apply(built)
    return built


def _copying(built: Workload) -> Workload:
    """Return the pass with every append to a KV cache writing the whole cache anew."""

    def operator(block: Block, one: Operator) -> Operator:
        if one.label != "kv_append":
            return one
        size = sum(block.tensors[name].size_bytes for name in one.outputs)
        return replace(one, dims={**one.dims, "size_bytes": size})

    blocks = tuple(
        replace(block, operators=tuple(operator(block, one) for one in block.operators))
        for block in built.blocks
    )
    return replace(built, blocks=blocks, conventions={**built.conventions, "kv_update": "copy"})
