"""Reads the axes of a sweep: each is one value, a list of values, or a range.

Problems are collected as pydantic line errors, so that a file with five of them reports all five,
each at its own line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Self

from pydantic import (
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from accelsim.config import Count, Nonnegative, Positive, Spec
from accelsim.errors import nearest

__all__ = [
    "MAIN_AXES", "PREFIXES", "PREFIX_KINDS", "Axes", "Place", "Range", "line_error", "refuse",
    "unknown_key",
]  # fmt: skip

MAIN_AXES: Final = ("model", "arch", "mapping", "phase", "batch", "seq_len")
"""Axes that every point has; every other axis is the dotted path of a parameter."""

PREFIX_KINDS: Final = {"model": "models", "arch": "arch", "mapping": "mapping"}
"""First part of a parameter's path -> library folder of the file that it changes."""

PREFIXES: Final = (*PREFIX_KINDS, "workload")
"""First parts of a parameter's path; `workload` changes a field of the request, not a file."""

MAX_VALUES: Final = 1_000_000
"""Longest range: a typing error in ``step`` must not fill the memory."""

Place = tuple[str | int, ...]
"""Keys and positions from the root of the file."""


def line_error(place: Place, message: str, value: Any = None) -> InitErrorDetails:
    """Return a problem at `place`."""
    problem = PydanticCustomError("sweep", "{message}", {"message": message})
    return InitErrorDetails(type=problem, loc=place, input=value)


def unknown_key(place: Place, kind: str, key: str, hint: str) -> InitErrorDetails:
    """Return a problem with the key `key` of the mapping at `place`."""
    # `Spec` points errors of this type at the key itself, by `key` of the context.
    problem = PydanticCustomError(
        "unknown_key", "unknown {kind} `{key}`; {hint}", {"kind": kind, "key": key, "hint": hint}
    )
    return InitErrorDetails(type=problem, loc=place, input=key)


def refuse(errors: list[InitErrorDetails]) -> None:
    """Raise the collected problems, if there are any."""
    if errors:
        raise ValidationError.from_exception_data("sweep", errors)


def _under(place: Place, error: ValidationError) -> list[InitErrorDetails]:
    """Return the problems of a nested validation, placed under `place`."""
    found: list[InitErrorDetails] = []
    for e in error.errors(include_url=False):
        context = {**e.get("ctx", {}), "message": e["msg"]}
        problem = PydanticCustomError(e["type"], "{message}", context)
        found.append(InitErrorDetails(type=problem, loc=(*place, *e["loc"]), input=e["input"]))
    return found


class Range(Spec):
    """Values from `start` to `to`, both included, by a step or by a factor."""

    start: Nonnegative = Field(alias="from")
    """First value."""
    to: Nonnegative
    """Last value, if a step falls on it."""
    step: Positive | None = None
    """Added from one value to the next."""
    factor: Annotated[float, Field(gt=1)] | None = None
    """Multiplied from one value to the next."""

    @model_validator(mode="after")
    def _not_empty_and_not_endless(self) -> Self:
        problem = ""
        if (self.step is None) == (self.factor is None):
            problem = "a range needs either `step` or `factor`"
        elif self.to < self.start:
            problem = "the range is empty: `to` is below `from`"
        elif self.factor is not None and self.start == 0:
            problem = "a range by `factor` cannot start at 0"
        elif self._steps() >= MAX_VALUES:
            problem = f"the range has more than {MAX_VALUES:,} values"
        if problem:
            raise PydanticCustomError("range", "{problem}", {"problem": problem})
        return self

    def _steps(self) -> int:
        # 1e-9: a last value that rounding puts just above `to` still counts.
        if self.step is not None:
            return math.floor((self.to - self.start) / self.step + 1e-9)
        return math.floor(math.log(self.to / self.start) / math.log(self.factor or 2.0) + 1e-9)

    def values(self) -> tuple[int | float, ...]:
        """Return the values; whole numbers as int.

        Examples
        --------
        >>> Range.model_validate({"from": 1, "to": 20, "factor": 2}).values()
        (1, 2, 4, 8, 16)
        >>> Range.model_validate({"from": 0.1, "to": 0.3, "step": 0.1}).values()
        (0.1, 0.2, 0.3)
        """
        at: Callable[[int], float]
        if self.step is not None:
            step = self.step
            at = lambda i: self.start + i * step  # noqa: E731 - one line says it
        else:
            factor = self.factor or 2.0
            at = lambda i: self.start * factor**i  # noqa: E731
        return tuple(_tidy(at(i)) for i in range(self._steps() + 1))


def _tidy(value: float) -> int | float:
    """Return the value without the noise of rounding (0.30000000000000004), whole ones as int."""
    rounded = value if value.is_integer() else float(f"{value:.12g}")
    return int(rounded) if rounded.is_integer() else rounded


def _read_axes(data: Any) -> dict[str, tuple[Any, ...]]:
    if not isinstance(data, Mapping):
        raise PydanticCustomError("axes", "a mapping from axes to values is needed")
    axes: dict[str, tuple[Any, ...]] = {}
    errors: list[InitErrorDetails] = []
    for name, given in data.items():
        prefix, _, parameter = str(name).partition(".")
        if name not in MAIN_AXES and not (prefix in PREFIXES and parameter):
            after = " ".join(f"{known}." for known in PREFIXES)
            hint = f"{nearest(name, MAIN_AXES)}, or a parameter's path after {after}"
            errors.append(unknown_key((), "axis", name, hint))
            continue
        try:
            axes[name] = _read_axis(name, given)
        except ValidationError as error:
            errors += _under((name,), error)
    refuse(errors)
    return axes


def _read_axis(name: str, given: Any) -> tuple[Any, ...]:
    listed = isinstance(given, (list, tuple))
    if isinstance(given, Mapping):
        return _read_list(name, Range.model_validate(given).values(), listed=False)
    return _read_list(name, given if listed else (given,), listed=listed)


def _read_list(name: str, given: Any, *, listed: bool) -> tuple[Any, ...]:
    errors: list[InitErrorDetails] = []
    values: dict[str, Any] = {}
    if not given:
        errors.append(line_error((), f"the axis `{name}` has no values"))
    for i, item in enumerate(given):
        try:
            value = _read_value(name, item)
        except ValidationError as error:
            errors += _under((i,) if listed else (), error)
            continue
        if repr(value) in values:
            errors.append(line_error((i,), f"`{value}` stands twice in the axis `{name}`"))
        values[repr(value)] = value
    refuse(errors)
    return tuple(values.values())


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise PydanticCustomError("name", "a name is needed")
    return str(value)


def _scalar(value: Any) -> bool | int | float | str:
    if not isinstance(value, (bool, int, float, str)):
        raise PydanticCustomError("value", "a number, a text or true/false is needed")
    return value


_COUNT: Final = TypeAdapter[Any](Count)
_NAME: Final = TypeAdapter[Any](Annotated[Any, BeforeValidator(_name)])
_SCALAR: Final = TypeAdapter[Any](Annotated[Any, BeforeValidator(_scalar)])


def _read_value(name: str, value: Any) -> Any:
    if name in ("batch", "seq_len"):
        return _COUNT.validate_python(value)
    return (_NAME if name in MAIN_AXES else _SCALAR).validate_python(value)


_VALUE: Final = {"type": ["number", "string", "boolean"]}
_RANGE: Final = {
    "type": "object",
    "properties": {key: {"type": "number"} for key in ("from", "to", "step", "factor")},
    "required": ["from", "to"],
    "additionalProperties": False,
}
_LIST: Final = {"type": "array", "items": _VALUE, "minItems": 1}
_SCHEMA: Final = {
    "type": "object",
    "additionalProperties": {"anyOf": [_VALUE, _LIST, _RANGE]},
}

Axes = Annotated[dict[str, tuple[Any, ...]], BeforeValidator(_read_axes), WithJsonSchema(_SCHEMA)]
"""Axis -> its values, in order."""
