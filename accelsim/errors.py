"""Every error that accelsim raises on purpose, with a text that a user can act on.

All derive from `AccelsimError`, so one ``except`` (and the command line's exit status 2)
covers bad input, infeasible designs and damaged stores alike.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = [
    "AccelsimError",
    "ConfigError",
    "ConservationError",
    "GraphError",
    "InfeasibleError",
    "Location",
    "MappingError",
    "MissingExtraError",
    "StoreError",
    "UnknownNameError",
    "bytes_text",
    "nearest",
]

_BINARY: Final = ("KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a text file; line and column count from 1, 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return a hint naming the nearest legal spelling, and the legal ones if they are few.

    Examples
    --------
    >>> nearest("rowz", ["rows", "columns"])
    'did you mean `rows`? Legal: columns, rows'
    >>> nearest("a100", ["a10", "a100-80gb"])
    'did you mean `a100-80gb`? Legal: a10, a100-80gb'
    """
    legal = sorted(candidates)
    begun = sorted((one for one in legal if name and one.startswith(name)), key=len)
    close = begun or difflib.get_close_matches(name, legal, n=1, cutoff=0.6)
    guess = f"did you mean `{close[0]}`? " if close else ""
    if not legal:
        return guess.strip()
    few = len(legal) <= 60  # all kinds of configuration are listed, not all models
    shown = ", ".join(legal if few else [*legal[:24], f"... ({len(legal)} in all)"])
    return f"{guess}Legal: {shown}"


def bytes_text(size_bytes: float, decimals: int | None = None, *, zeros: bool = True) -> str:
    """Return a size with a binary prefix; below 1 KiB in bytes.

    Stands here because messages need it, and every room may import it from here.

    Parameters
    ----------
    size_bytes : float
        Parts of a byte are shown where there are any.
    decimals : int, optional
        Digits after the point; as many as make three in all where absent.
    zeros : bool
        Whether zeros that end the digits after the point are written.

    Examples
    --------
    >>> bytes_text(12), bytes_text(1536), bytes_text(1536, 1), bytes_text(100 * 1024)
    ('12 B', '1.50 KiB', '1.5 KiB', '100 KiB')
    >>> bytes_text(48 * 2**20), bytes_text(48 * 2**20, zeros=False), bytes_text(2**20 - 1)
    ('48.0 MiB', '48 MiB', '1.00 MiB')
    """
    if abs(size_bytes) < 1023.5:
        return f"{size_bytes:.4g} B"
    amount = size_bytes
    for unit in _BINARY:
        amount /= 1024.0
        digits = _decimals_of_three(amount) if decimals is None else decimals
        text = f"{amount:.{digits}f}"
        # as it is written, or 1024 KiB would be shown
        if abs(float(text)) < 1024.0 or unit == _BINARY[-1]:
            break
    if not zeros and "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text} {unit}"


def _decimals_of_three(amount: float) -> int:
    return 2 if abs(amount) < 9.995 else 1 if abs(amount) < 99.95 else 0


class AccelsimError(Exception):
    """Root of all errors that accelsim raises on purpose."""


class ConfigError(AccelsimError):
    """A file, command line or argument says something that accelsim cannot use.

    Parameters
    ----------
    message : str
        What was wrong.
    location : Location, optional
        Where: file, line and column.
    path : str, optional
        Dotted path of the field, for example ``device.units.array.rows``.
    hint : str, optional
        What would be right.
    """

    def __init__(
        self, message: str, location: Location | None = None, path: str = "", hint: str = ""
    ) -> None:
        self.message, self.location, self.path, self.hint = message, location, path, hint
        where = f"{location}: " if location else ""
        field = f"{path}: " if path else ""
        super().__init__(f"{where}{field}{message}" + (f"\n  hint: {hint}" if hint else ""))

    # Worker processes send errors back by pickle; the default would call with the text alone.
    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.message, self.location, self.path, self.hint)


class UnknownNameError(ConfigError):
    """A name that no library folder or registry knows; carries the nearest spelling."""

    def __init__(
        self, kind: str, name: str, known: Iterable[str], location: Location | None = None
    ) -> None:
        self.kind, self.name, self.known = kind, name, tuple(known)
        super().__init__(f"unknown {kind} `{name}`", location, hint=nearest(name, self.known))

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.kind, self.name, self.known, self.location)


class InfeasibleError(AccelsimError):
    """A design that is well formed but cannot hold or run the workload.

    Parameters
    ----------
    resource : str
        What runs out, for example ``memory hbm of a100-80gb``.
    needed, available : float
        Demand and supply in `unit`.
    unit : str
        Unit of both, for example ``bytes``.
    detail : str, optional
        What makes up the demand, or which lever would help.
    """

    def __init__(
        self, resource: str, needed: float, available: float, unit: str, detail: str = ""
    ) -> None:
        self.resource, self.needed, self.available = resource, needed, available
        self.unit, self.detail = unit, detail
        short = needed - available
        super().__init__(
            f"{resource}: needs {_readable(needed, unit)}, has {_readable(available, unit)}"
            f" (short by {_readable(short, unit)})" + (f"; {detail}" if detail else "")
        )

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.resource, self.needed, self.available, self.unit, self.detail)


class MappingError(AccelsimError):
    """A mapping policy leaves an operator without a legal place, or asks for an illegal one."""


class GraphError(AccelsimError):
    """A workload or task graph is cyclic, dangling or inconsistent."""


class ConservationError(AccelsimError):
    """A result breaks a conservation law: bytes, MACs, energy or resource time."""


class StoreError(AccelsimError):
    """A results store cannot be opened, read or written."""


class MissingExtraError(AccelsimError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.package, self.extra, self.purpose = package, extra, purpose
        super().__init__(
            f"{purpose} needs the package `{package}`: pip install 'accelsim[{extra}]'"
        )

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.package, self.extra, self.purpose)


def _readable(value: float, unit: str) -> str:
    return bytes_text(value, 2) if unit == "bytes" else f"{value:g} {unit}"
