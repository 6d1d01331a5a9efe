"""Suites: lists of cases, one file each; the file name is the suite's name.

A suite's file has ``cases(device)`` that yields cases for ``cuda`` or ``cpu``, and ``ABOUT``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from accelsim.errors import UnknownNameError
from accelsim.measure.bench.case import Case, shuffled

__all__ = ["about", "names", "suite"]


def names() -> list[str]:
    """Return the names of all suites.

    Examples
    --------
    >>> "quick" in names()
    True
    """
    return sorted(m.name for m in iter_modules(__path__) if not m.name.startswith("_"))


def suite(name: str, device: str) -> list[Case]:
    """Return the cases of a suite in the order to measure, without repeats.

    Parameters
    ----------
    name : str
        One of `names`.
    device : str
        ``cuda`` or ``cpu``.

    Raises
    ------
    UnknownNameError
        If there is no such suite.
    """
    if name not in names():
        raise UnknownNameError("suite", name, names())
    found: list[Case] = list(import_module(f"{__name__}.{name}").cases(device))
    return shuffled(found)


def about() -> Mapping[str, str]:
    """Return what each suite holds, in a line."""
    return {name: str(import_module(f"{__name__}.{name}").ABOUT) for name in names()}
