"""Studies: kinds of experiments other than sweeps, one file each, whose rows look like a sweep's.

To add a kind, add a file with ``Study`` (a `StudySpec`), ``METRICS``, ``axes`` and ``rows``; a
YAML file names it as its ``kind``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast

from pydantic import AfterValidator
from pydantic_core import InitErrorDetails, PydanticCustomError

from accelsim.config import Spec, library, load_resolved, validate
from accelsim.errors import (
    ConfigError,
    InfeasibleError,
    MappingError,
    UnknownNameError,
    nearest,
)
from accelsim.explore.axes import Place, line_error
from accelsim.registry import module, names

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ArchFile", "Axes", "Kind", "MappingName", "ModelName", "Row", "StudySpec", "attempt", "kind",
    "kinds", "load_study", "study_axes", "study_metrics", "study_rows", "unknown",
]  # fmt: skip

Row = dict[str, Any]
"""Axes, ``status``, ``error`` and metrics of one point, by name."""

Axes = dict[str, tuple[Any, ...]]
"""Axis -> its values."""


def _in_library(folder: str) -> AfterValidator:
    def check(name: str) -> str:
        try:
            library.find(folder, name)
        except ConfigError as error:
            text = "; ".join(filter(None, (error.message, error.hint)))
            raise PydanticCustomError("name", "{text}", {"text": text}) from error
        return name

    return AfterValidator(check)


ArchFile = Annotated[str, _in_library("arch")]
"""A file of the library of architectures, by name, or by path where it is a component."""

MappingName = Annotated[str, _in_library("mapping")]
"""A mapping of the library."""

ModelName = Annotated[str, _in_library("models")]
"""A model of the library."""


class StudySpec(Spec):
    """What every study says of itself."""

    kind: str
    """Kind of study: a file name of ``accelsim/explore/studies``."""
    name: str
    """Short name; what a figure calls ``sweep``."""
    source: str
    """Where sizes, parameters and exceptions come from."""


class Kind(Protocol):
    """What the file of a kind of study provides."""

    Study: type[StudySpec]
    """Type of its YAML file."""
    METRICS: tuple[str, ...]
    """Metrics of its rows, those that sweeps have too included; one that ends in a dot stands for
    all that begin so."""

    def axes(self, study: Any) -> Axes:
        """Return the axes of the rows beside ``sweep``, and all values that each takes."""

    def rows(self, study: Any) -> Iterator[Row]:
        """Yield the rows without their ``sweep``; a point without a result says why."""


def kinds() -> tuple[str, ...]:
    """Return the built-in kinds of studies, sorted.

    Examples
    --------
    >>> "cascades" in kinds()
    True
    """
    return names("study")


def kind(name: str) -> Kind:
    """Return a kind of study.

    Raises
    ------
    UnknownNameError
        If neither a file nor an installed entry point has that name.
    """
    return cast(Kind, module("study", name))


def load_study(name: str | Path) -> StudySpec:
    """Return a study by its path in the folder of sweeps, without its ending, or by its file.

    Raises
    ------
    UnknownNameError
        If its kind is unknown; names the nearest.
    ConfigError
        If there is no such file, or something in it is wrong; with file, line and field.
    """
    resolved = load_resolved(library.find("sweeps", name), "sweeps", {})
    data = resolved.data if isinstance(resolved.data, Mapping) else {}
    # Which type describes the file is known only once its kind is.
    given = data.get("kind")
    if not isinstance(given, str):
        place, legal = resolved.tree.locate(()), nearest("", kinds())
        raise ConfigError("a study needs a `kind`", place, "kind", legal)
    try:
        described = kind(given).Study
    except UnknownNameError as error:
        raise UnknownNameError(
            "kind of study", given, kinds(), resolved.tree.locate(("kind",))
        ) from error
    return validate(resolved, described)


def study_axes(study: StudySpec) -> Axes:
    """Return axis -> its values, as the rows of a study have them."""
    return {"sweep": (study.name,), **kind(study.kind).axes(study)}


def study_metrics(study: StudySpec) -> tuple[str, ...]:
    """Return the metrics that rows of a study may have."""
    return kind(study.kind).METRICS


def study_rows(study: StudySpec) -> pd.DataFrame:
    """Return the rows of a study: axes, status, error, metrics, busy parts.

    Raises
    ------
    ConfigError
        If a file that it names is wrong.
    """
    import pandas as pd

    found = [{"sweep": study.name, **row} for row in kind(study.kind).rows(study)]
    return pd.DataFrame(found)


def unknown(
    place: Place, what: str, given: Collection[str], known: Collection[str]
) -> Iterator[InitErrorDetails]:
    """Yield a problem, for `accelsim.explore.axes.refuse`, for each name that is not known.

    Parameters
    ----------
    place : tuple of str and int
        Where the list of names stands in the file.
    what : str
        What they name.
    given, known : collection of str
    """
    for i, name in enumerate(given):
        if name not in known:
            text = f"no {what} `{name}`; {nearest(name, known)}"
            yield line_error((*place, i), text, name)


def attempt(axes: Mapping[str, Any], evaluate: Callable[[], Mapping[str, Any]]) -> Row:
    """Return the row of one point: what it evaluates to, or why that is nothing.

    Examples
    --------
    >>> attempt({"arch": "a"}, lambda: {"latency_s": 2.0})["status"]
    'done'
    """
    try:
        return {**axes, "status": "done", "error": "", **evaluate()}
    except InfeasibleError as infeasible:
        return {**axes, "status": "infeasible", "error": str(infeasible)}
    except MappingError as failed:
        return {**axes, "status": "failed", "error": str(failed)}
