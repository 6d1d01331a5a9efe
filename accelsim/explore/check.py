"""Finds what is wrong with a sweep beyond the form of its fields: names, paths and conditions.

Each problem carries its place in the file, so that the user reads all of them at once, by line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from pydantic_core import InitErrorDetails

from accelsim.config import ExpressionError, compile_expression
from accelsim.errors import AccelsimError, ConfigError, nearest
from accelsim.explore.axes import MAIN_AXES, PREFIX_KINDS, Place, line_error, unknown_key
from accelsim.explore.identity import file_of
from accelsim.explore.metrics import METRICS
from accelsim.explore.space import Box, boxes, corner, exclusion
from accelsim.explore.sweep import SweepSpec
from accelsim.workload import read_request
from accelsim.workload.phase import PHASES as PASSES

__all__ = ["problems"]

PHASES: Final = (*PASSES, "generate")
"""Legal values of the axis `phase`: a pass, or the whole generation."""


def problems(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    """Yield everything wrong with a sweep; nothing if it can be run."""
    for metric in spec.objectives:
        if metric not in METRICS:
            yield unknown_key(("objectives",), "metric", metric, nearest(metric, METRICS))
    found = list(_unknown_names(spec)) + list(_missing_axes(spec))
    yield from found
    yield from _wrong_groups(spec)
    rules = list(_wrong_rules(spec))
    yield from rules
    yield from _wrong_requests(spec)
    if not found and not rules:  # which points are loaded depends on both
        yield from _wrong_paths(spec)


def _layers(spec: SweepSpec) -> Iterator[tuple[Place, Box]]:
    yield ("space",), spec.space
    for i, case in enumerate(spec.cases):
        yield ("cases", i), case


def _unknown_names(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    for place, layer in _layers(spec):
        for axis, kind in PREFIX_KINDS.items():
            for i, name in enumerate(layer.get(axis, ())):
                try:
                    file_of(kind, name)
                except ConfigError as error:
                    text = f"{error.message}; {error.hint}" if error.hint else str(error)
                    yield line_error((*place, axis, i), text, name)
        for i, phase in enumerate(layer.get("phase", ())):
            if phase not in PHASES:
                hint = nearest(phase, PHASES)
                yield line_error((*place, "phase", i), f"unknown phase `{phase}`; {hint}", phase)


def _wrong_requests(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    """Read each value of the axes under ``workload.``."""
    for place, layer in _layers(spec):
        for axis, values in layer.items():
            prefix, _, path = axis.partition(".")
            for i, value in enumerate(values if prefix == "workload" else ()):
                try:
                    read_request({path: value})
                except ConfigError as error:
                    yield line_error((*place, axis, i), error.message, value)


def _missing_axes(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    for i, box in enumerate(boxes(spec)):
        place: Place = ("cases", i) if spec.cases else ("space",)
        missing = [name for name in MAIN_AXES if name not in box]
        if missing:
            where = "in `space` or in the case" if spec.cases else "in `space`"
            yield line_error(place, f"no axis `{'`, `'.join(missing)}`: give it {where}")


def _known_axes(spec: SweepSpec) -> set[str]:
    return set(MAIN_AXES).union(*(box for box in boxes(spec)))


def _wrong_groups(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    known = _known_axes(spec)
    for i, name in enumerate(spec.front_per):
        if name not in known:
            yield line_error(("front_per", i), f"unknown axis `{name}`; {nearest(name, known)}")


def _wrong_rules(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    known = _known_axes(spec)
    for i, rule in enumerate(spec.where):
        place: Place = ("where", i, "require")
        try:
            condition = compile_expression(rule.require)
        except ExpressionError as error:
            yield line_error(place, str(error))
            continue
        unknown = sorted(condition.names - known)
        for name in unknown:
            yield line_error(place, f"unknown axis `{name}`; {nearest(name, known)}")
        for box in boxes(spec):
            if not unknown and condition.names <= box.keys():
                yield from _without_value(place, rule.require, box)


def _without_value(place: Place, condition: str, box: Box) -> Iterator[InitErrorDetails]:
    first = {name: values[0] for name, values in box.items()}
    try:
        compile_expression(condition).evaluate(first.__getitem__)
    except ExpressionError as error:
        yield line_error(place, str(error))


def _wrong_paths(spec: SweepSpec) -> Iterator[InitErrorDetails]:
    """Load each file with the first values of the parameters that are changed in it."""
    told: set[Place] = set()
    for i, box in enumerate(boxes(spec)):
        for axis, problem in _wrong_in(spec, box):
            in_case = bool(spec.cases) and axis in spec.cases[i]
            place: Place = ("cases", i, axis) if in_case else ("space", axis)
            if place not in told:
                told.add(place)
                yield line_error(place, problem)


def _wrong_in(spec: SweepSpec, box: Box) -> Iterator[tuple[str, str]]:
    """Yield parameters' axes of a box, and why a file cannot be loaded with them."""
    first = corner(box)
    for prefix in PREFIX_KINDS:
        changes = {path: v for path, v in first.overrides.items() if path.startswith(prefix)}
        for name in box[prefix] if changes else ():
            if exclusion(spec, replace(first, **{prefix: name})):
                continue
            problem = _refusal(prefix, name, changes)
            named = [axis for axis in changes if axis.partition(".")[2] in problem]
            if problem:
                yield (named or list(changes))[0], problem


def _refusal(prefix: str, name: str, changes: dict[str, Any]) -> str:
    """Return why a file cannot be loaded with these changes, nothing if it can."""
    from accelsim import arch, mapping, workload  # they import Numba: only where it is needed

    load: dict[str, Callable[[str, dict[str, Any]], object]] = {
        "model": workload.load_model, "arch": arch.load, "mapping": mapping.load
    }  # fmt: skip
    try:
        load[prefix](name, {path.partition(".")[2]: value for path, value in changes.items()})
    except AccelsimError as error:
        return f"{name}: {error}"
    return ""
