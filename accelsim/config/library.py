"""Finds library files: models, architectures, mappings and sweeps, by name or by path.

A name is sought in the working folder's own library, in the folders of ``ACCELSIM_LIBRARY``, and
in the library shipped with accelsim, in that order.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

from accelsim.errors import ConfigError, Location, UnknownNameError

__all__ = ["KINDS", "find", "library_root", "names", "paths"]

KINDS: Final = ("models", "arch", "mapping", "sweeps", "mapping/fusion")
"""The library folders; what is in one inside another is of its own kind only."""

_COMPONENTS: Final = "components"  # parts that architectures extend; not designs themselves


@cache
def library_root() -> Path:
    """Return the folder that holds the shipped library, of a wheel or of a checkout.

    Raises
    ------
    ConfigError
        If neither stands where it should; names both places.
    """
    package = Path(__file__).resolve().parent.parent
    shipped, checkout = package / "_data", package.parent
    if (shipped / "arch").is_dir():
        return shipped
    if (checkout / "pyproject.toml").is_file() and (checkout / "arch").is_dir():
        return checkout
    raise ConfigError(f"the library is neither in {shipped} nor in {checkout}; reinstall accelsim")


def _roots() -> tuple[Path, ...]:
    given = os.environ.get("ACCELSIM_LIBRARY", "")
    extra = [Path(part) for part in given.split(os.pathsep) if part]
    return (Path.cwd(), *extra, library_root())


@cache
def _scan(root: Path, kind: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    inner = [root / other for other in KINDS if other.startswith(f"{kind}/")]
    for path in sorted((root / kind).rglob("*.yaml")):
        if _COMPONENTS in path.relative_to(root / kind).parts[:-1]:
            continue
        if any(path.is_relative_to(folder) for folder in inner):
            continue
        if path.stem in found:
            raise ConfigError(
                f"two files are named `{path.stem}`: {found[path.stem]}", Location(str(path))
            )
        found[path.stem] = path
    return found


def paths(kind: str) -> dict[str, Path]:
    """Return name -> file of every design of a kind; nearer folders hide farther ones."""
    merged: dict[str, Path] = {}
    for root in reversed(_roots()):
        merged.update(_scan(root, kind))
    return dict(sorted(merged.items()))


def names(kind: str) -> list[str]:
    """Return the names of every design of a kind, sorted."""
    return list(paths(kind))


def find(kind: str, name: str | Path) -> Path:
    """Return the file of a design, given its name or a path to a YAML or JSON file.

    Raises
    ------
    UnknownNameError
        If no library folder has the name; carries the nearest.
    ConfigError
        If a path is given and there is no such file.
    """
    text = str(name)
    if text.endswith((".yaml", ".yml", ".json")) or os.sep in text:
        return _file(kind, text)
    known = paths(kind)
    if text not in known:
        _scan.cache_clear()  # the file may be new
        known = paths(kind)
    if text not in known:
        raise UnknownNameError(_SINGULAR[kind], text, known)
    return known[text]


def _file(kind: str, text: str) -> Path:
    path = Path(text)
    if path.is_file():
        return path
    for root in _roots():  # a component: arch/components/x.yaml is named components/x
        inside = root / kind / f"{text}.yaml"
        if inside.is_file():
            return inside
    raise ConfigError("no such file", Location(text))


_SINGULAR: Final = {
    "models": "model", "arch": "architecture", "mapping": "mapping", "sweeps": "sweep",
    "mapping/fusion": "fusion policy",
}  # fmt: skip
