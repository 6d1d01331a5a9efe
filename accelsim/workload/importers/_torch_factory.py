"""What the user names to be extracted: a function that makes a module and one pass's inputs."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.errors import ConfigError, MissingExtraError

__all__ = ["Run", "prepare", "resolve"]

_FORMS = "(module, kwargs), (module, args) or (module, args, kwargs)"


@dataclass(frozen=True, slots=True)
class Run:
    """One pass to be recorded, all of it on ``meta``."""

    module: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    name: str


def resolve(target: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that ``package.module:function`` or ``file.py:function`` names.

    Raises
    ------
    ConfigError
        If there is no such module or function.

    Examples
    --------
    >>> resolve("math:hypot")(3.0, 4.0)
    5.0
    """
    if not isinstance(target, str):
        return target
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise ConfigError(
            f"`{target}` names no function", hint="package.module:function or file.py:function"
        )
    module = _module(place)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ConfigError(f"`{place}` has no function `{name}`")
    return found  # type: ignore[no-any-return]


def _module(place: str) -> Any:
    path = Path(place)
    if path.suffix == ".py":
        if not path.is_file():
            raise ConfigError(f"{path}: no such file")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise ConfigError(f"{path}: cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # the recorder looks for its functions there
        spec.loader.exec_module(module)
        return module
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and not (place + ".").startswith(error.name + "."):
            raise ConfigError(
                f"`{place}` needs `{error.name}`, which is not installed",
                hint=f"pip install {error.name.partition('.')[0]}",
            ) from error
        raise ConfigError(f"there is no module `{place}`", hint="is it on PYTHONPATH?") from error


def prepare(target: str | Callable[..., Any], arguments: Mapping[str, Any]) -> Run:
    """Call the function under ``torch.device("meta")`` and return its pass.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    ConfigError
        If the function does not take the arguments, or returns something else.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "torch", "extraction from PyTorch") from error
    function = resolve(target)
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise ConfigError(f"`{getattr(function, '__name__', target)}`: {error}") from error
    with torch.device("meta"):
        made = function(**arguments)
    module, args, kwargs = _parts(made, torch.nn.Module)
    from torch.utils._pytree import tree_map

    def to_meta(leaf: Any) -> Any:
        return leaf.to("meta") if isinstance(leaf, torch.Tensor) else leaf

    module = module.to("meta").eval()
    return Run(module, tree_map(to_meta, args), tree_map(to_meta, kwargs), type(module).__name__)


def _parts(made: Any, module: type) -> tuple[Any, tuple[Any, ...], Mapping[str, Any]]:
    """Return module, positional and keyword inputs of what a function returned."""
    legal = isinstance(made, tuple) and 2 <= len(made) <= 3 and isinstance(made[0], module)
    if legal and len(made) == 3 and isinstance(made[2], Mapping):
        args = made[1] if isinstance(made[1], (tuple, list)) else (made[1],)
        return made[0], tuple(args), made[2]
    if legal and len(made) == 2:
        if isinstance(made[1], Mapping):
            return made[0], (), made[1]
        args = made[1] if isinstance(made[1], (tuple, list)) else (made[1],)
        return made[0], tuple(args), {}
    kind = type(made).__name__
    raise ConfigError(f"the function returned a {kind}", hint=f"it returns {_FORMS}")
