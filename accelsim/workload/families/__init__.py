"""The model families, one file each, found by file name: a configuration and the graph it means.

To add a family, add a file with ``Config`` (a `Spec`), ``PHASES``, ``build``, ``parameter_count``
and ``active_parameter_count``.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

from accelsim.config import Spec
from accelsim.registry import module, names
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.graph import Workload
from accelsim.workload.phase import Phase

__all__ = ["Family", "families", "family"]


class Family(Protocol):
    """What the file of a model family provides."""

    Config: type[Spec]
    """Type of the family's configuration."""
    PHASES: tuple[str, ...]
    """Kinds of pass that its models run, the usual one first."""

    def build(
        self, config: Any, phase: Phase, *, dtypes: Dtypes, conventions: Conventions, name: str
    ) -> Workload:
        """Return one forward pass as a workload."""

    def parameter_count(self, config: Any) -> int:
        """Return the number of parameters, by a closed form."""

    def active_parameter_count(self, config: Any) -> int:
        """Return the parameters that one token uses, by a closed form."""


def families() -> tuple[str, ...]:
    """Return the built-in families, sorted.

    Examples
    --------
    >>> "decoder" in families()
    True
    """
    return names("family")


def family(name: str) -> Family:
    """Return a model family.

    Raises
    ------
    UnknownNameError
        If neither a file nor an installed entry point has that name.
    """
    return cast(Family, module("family", name))
