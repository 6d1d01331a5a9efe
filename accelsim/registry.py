"""Finds extensions by file name: a folder of the package is a kind, each file in it one name.

Listing costs no import; a module is imported only when its name is used.  Names that no file
has are sought among the entry points ``accelsim.<kind>`` of installed packages, last.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType

from accelsim.errors import UnknownNameError

__all__ = ["FOLDERS", "module", "names"]

_PACKAGE = Path(__file__).parent

FOLDERS = {
    "cost": "cost",
    "operator": "workload/ops",
    "family": "workload/families",
    "importer": "workload/importers",
    "transform": "workload/transforms",
    "searcher": "explore/searchers",
    "executor": "explore/executors",
    "study": "explore/studies",
    "cases": "measure/cases",
    "dataset": "measure/imports",
}
"""Kind of extension -> folder of the package that holds one file per name."""


@cache
def names(kind: str) -> tuple[str, ...]:
    """Return the built-in names of a kind, sorted.

    Examples
    --------
    >>> "systolic" in names("cost")
    True
    """
    folder = _PACKAGE / FOLDERS[kind]
    return tuple(sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")))


@cache
def module(kind: str, name: str) -> ModuleType:
    """Import and return the module that registers `name`.

    Raises
    ------
    UnknownNameError
        If neither a file nor an installed entry point has that name; names the nearest.
    """
    if name in names(kind):
        return importlib.import_module(f"accelsim.{FOLDERS[kind].replace('/', '.')}.{name}")
    from importlib.metadata import entry_points

    found = [e for e in entry_points(group=f"accelsim.{kind}") if e.name == name]
    if not found:
        raise UnknownNameError(kind, name, names(kind))
    loaded: ModuleType = found[0].load()
    return loaded
