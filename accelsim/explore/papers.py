"""Describes what a paper publishes, and how each figure follows from rows of sweeps and studies.

A paper is a YAML file in a folder ``components`` beside the sweeps that it uses; everything wrong
in it is found, with file and line, before a point is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from accelsim.config import Spec, library, load_spec
from accelsim.errors import AccelsimError, UnknownNameError, nearest
from accelsim.explore.axes import line_error, refuse, unknown_key
from accelsim.explore.metrics import METRICS
from accelsim.explore.space import boxes
from accelsim.explore.studies import StudySpec, load_study, study_axes, study_metrics
from accelsim.explore.sweep import SweepSpec, load_sweep

__all__ = [
    "BUSY", "EXTRAS", "LARGEST", "LINES", "Figure", "PaperSpec", "Selection", "load_paper",
    "paper_files",
]  # fmt: skip

BUSY: Final = "busy."
"""Prefix of metrics that are the part of the time that a resource is busy: ``busy.array``."""

EXTRAS: Final = (
    "ttft_s", "tpot_s", "memory_bytes", "batch", "decode_tokens_per_s",
)  # fmt: skip
"""Results beside the metrics of every sweep that a figure may use; decoded tokens per second are
the batch over the mean time per output token of whole generations.  Studies have further ones."""

LARGEST: Final = "largest"
"""In place of a batch: the largest that the memory holds, of those that the sweep tries."""

LINES: Final = ("slope", "intercept")
"""Summaries that are of a straight line through rows."""

_FOLDER: Final = "components"  # which the library does not take for sweeps


def _read_selections(data: Any) -> tuple[dict[str, tuple[Any, ...]], ...]:
    found = []
    for part in data if isinstance(data, (list, tuple)) and data else [data]:
        if not isinstance(part, Mapping) or not part:
            raise PydanticCustomError("selection", "a mapping from axes to values is needed")
        found.append(
            {
                str(name): tuple(value) if isinstance(value, (list, tuple)) else (value,)
                for name, value in part.items()
            }
        )
    return tuple(found)


def _read_published(data: Any) -> tuple[float, float]:
    values = list(data) if isinstance(data, (list, tuple)) else [data]
    legal = all(type(v) in (int, float) and v > 0 for v in values)
    if not legal or len(values) not in (1, 2) or values[0] > values[-1]:
        raise PydanticCustomError(
            "published", "a number above 0, or a range [lowest, highest], is needed"
        )
    return float(values[0]), float(values[-1])


_AXES: Final = {"type": "object", "additionalProperties": True}
_ANY: Final = {"anyOf": [_AXES, {"type": "array", "items": _AXES}]}
_RANGE: Final = {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]}

Selection = Annotated[
    tuple[dict[str, tuple[Any, ...]], ...],
    BeforeValidator(_read_selections),
    WithJsonSchema(_ANY),
]
"""Axis -> values of the rows that are meant; several are taken together."""


class Figure(Spec):
    """One published figure, and how it is computed from rows.

    Examples
    --------
    .. code-block:: yaml

        name: throughput over the GPU, mean
        published: 3.0
        source: abstract; section 8.2, Fig. 12
        metric: throughput_tokens_per_s
        of: {arch: neupims, mapping: npu-pim}
        over: {arch: a100-sxm4-40gb}
        summary: mean
        tier: calibrated
        why: The paper's GPU is a measured PyTorch; ours runs the vendor's kernels.
    """

    name: str
    """What the figure says, in a few words."""
    published: Annotated[
        tuple[float, float], BeforeValidator(_read_published), WithJsonSchema(_RANGE)
    ]
    """The paper's number, or ``[lowest, highest]`` where it gives a range."""
    source: str
    """Where in the paper: section, figure, table, page."""
    metric: str
    """Metric of a row, of a sweep or of a study of some kind; ``batch``; or ``busy.RESOURCE``, the
    part of the time that it is busy."""
    of: Selection
    """Axes -> values of the rows that are meant; ``batch: largest`` takes the largest feasible.
    A list of such mappings takes the rows of all, as where a policy is used from some batch on."""
    over: Selection | None = None
    """The rows to compare them with; the figure is the value itself where absent."""
    summary: Literal[
        "mean", "geomean", "max", "min", "range", "ratio_of_means", "crossing", "slope",
        "intercept",
    ] = "mean"  # fmt: skip
    """How pairs of equal axes become one figure; ``range`` gives lowest and highest, ``crossing``
    the smallest value of `along` from which the mean ratio stays at 1 or above, ``slope`` and
    ``intercept`` those of the straight line of least squares through rows along `along`."""
    along: str = "batch"
    """Axis of a ``crossing``, ``slope`` or ``intercept``."""
    saving: bool = False
    """The figure is one minus the ratio: what is saved."""
    tier: Literal["exact", "calibrated", "shape", "beyond"]
    """What to expect: the paper's own model, a model calibrated elsewhere, the order only, or a
    difference, since ours counts or tries what the paper leaves out."""
    why: str
    """Why ours differs, or might."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problem = ""
        if self.over is None and self.summary in ("ratio_of_means", "crossing"):
            problem = f"`{self.summary}` needs `over`"
        elif self.over is not None and self.summary in LINES:
            problem = f"`{self.summary}` is of rows, without `over`"
        elif self.over is None and self.saving:
            problem = "`saving` needs `over`"
        elif self.published[0] != self.published[1] and self.summary != "range":
            problem = f"a published range needs `summary: range`, not {self.summary}"
        if problem:
            raise PydanticCustomError("figure", "{problem}", {"problem": problem})
        return self


class PaperSpec(Spec):
    """The published figures of a paper, and the sweeps and studies that answer them."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Short name, equal to the file's."""
    title: str
    """Title of the paper."""
    source: str
    """Authors, venue, year, and where it can be read."""
    about: str
    """What is modelled and what is not, in a few sentences."""
    sweeps: tuple[str, ...] = ()
    """Names of the sweeps that are run."""
    studies: tuple[str, ...] = ()
    """Studies that are evaluated, by their paths in the folder of sweeps."""
    figures: Annotated[tuple[Figure, ...], Field(min_length=1)]
    """The published figures, in the order in which they are shown."""
    not_reproduced: dict[str, str] = Field(default_factory=dict)
    """Further published figures -> why they are left out."""

    @model_validator(mode="after")
    def _rows_exist(self) -> Self:
        refuse(list(_problems(self)))
        return self


def _problems(paper: PaperSpec) -> Iterator[InitErrorDetails]:
    """Yield names of sweeps, studies, metrics, axes, and values of axes, that do not exist."""
    found: list[SweepSpec] = []
    studies: list[StudySpec] = []
    for i, name in enumerate(paper.sweeps):
        try:
            found.append(load_sweep(name))
        except AccelsimError as error:
            yield line_error(("sweeps", i), str(error), name)
    for i, name in enumerate(paper.studies):
        try:
            studies.append(load_study(name))
        except AccelsimError as error:
            yield line_error(("studies", i), str(error), name)
    if len(found) + len(studies) < len(paper.sweeps) + len(paper.studies):
        return
    if not found and not studies:
        yield line_error(("sweeps",), "at least 1 of `sweeps` and `studies` is needed", [])
        return
    known = _values(found, studies)
    metrics = dict.fromkeys([*METRICS, *EXTRAS] if found else ())
    metrics |= dict.fromkeys(metric for study in studies for metric in study_metrics(study))
    for i, figure in enumerate(paper.figures):
        families = tuple(metric for metric in (*metrics, BUSY) if metric.endswith("."))
        if figure.metric not in metrics and not figure.metric.startswith(families):
            hint = f"{nearest(figure.metric, metrics)}; or busy.RESOURCE"
            text = f"unknown metric `{figure.metric}`; {hint}"
            yield line_error(("figures", i, "metric"), text, figure.metric)
        if figure.summary in ("crossing", *LINES) and figure.along not in known:
            yield line_error(("figures", i, "along"), f"no sweep has the axis `{figure.along}`")
        for side in ("of", "over"):
            for part in getattr(figure, side) or ():
                yield from _unknown(("figures", i, side), part, known)


def _values(sweeps: list[SweepSpec], studies: list[StudySpec]) -> dict[str, set[Any]]:
    """Return every axis of the sweeps and studies, and all values that it takes."""
    known: dict[str, set[Any]] = {"sweep": {one.name for one in sweeps}}
    for study in studies:
        for axis, names in study_axes(study).items():
            known.setdefault(axis, set()).update(names)
    for sweep in sweeps:
        for box in boxes(sweep):
            for axis, values in box.items():
                known.setdefault(axis, set()).update(values)
    return known


def _unknown(
    place: tuple[str | int, ...], selection: Mapping[str, tuple[Any, ...]],
    known: Mapping[str, set[Any]],
) -> Iterator[InitErrorDetails]:  # fmt: skip
    for axis, values in selection.items():
        if axis not in known:
            yield unknown_key(place, "axis", axis, nearest(axis, known))
            continue
        for value in values:
            if value not in known[axis] and (axis, value) != ("batch", LARGEST):
                legal = nearest(str(value), map(str, known[axis]))
                text = f"no point of the sweeps has {axis} `{value}`; {legal}"
                yield line_error((*place, axis), text, value)


def paper_files() -> dict[str, Path]:
    """Return name -> file of every paper: in ``components`` beside the library's sweeps."""
    folders = {path.parent / _FOLDER for path in library.paths("sweeps").values()}
    found = (file for folder in folders for file in folder.glob("*.yaml"))
    return {file.stem: file for file in sorted(found)}


def load_paper(name: str | Path) -> PaperSpec:
    """Return a paper by name or by path of its file.

    Raises
    ------
    UnknownNameError
        If there is no paper of that name; carries the nearest.
    ConfigError
        Lists everything wrong in the file, with line and legal values.
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")):
        return load_spec(library.find("sweeps", name), PaperSpec, kind="sweeps")
    files = paper_files()
    if text not in files:
        raise UnknownNameError("paper", text, files)
    return load_spec(files[text], PaperSpec, kind="sweeps")
