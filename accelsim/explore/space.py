"""Walks the space of a sweep, point by point, in a fixed order and with flat memory.

The space is a union of boxes (Cartesian products of axes), one for each case; the first axis
varies slowest, as nested loops in the order of the file would.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, Final

from accelsim.config import ExpressionError, compile_expression
from accelsim.errors import ConfigError
from accelsim.explore.axes import MAIN_AXES
from accelsim.explore.sweep import SweepSpec

__all__ = ["DEFAULTS", "Box", "Point", "boxes", "corner", "exclusion", "points", "size"]

DEFAULTS: Final[Mapping[str, tuple[Any, ...]]] = {
    "phase": ("decode",), "batch": (1,), "seq_len": (1024,),
}  # fmt: skip
"""Axes that a sweep may leave out; the defaults of ``accelsim.evaluate``."""

Box = Mapping[str, tuple[Any, ...]]
"""Axis -> values: stands for all their combinations."""


@dataclass(frozen=True, slots=True)
class Point:
    """One design point: what ``accelsim.evaluate`` takes.

    Parameters
    ----------
    model, arch, mapping : str
        Library names or paths of files.
    phase : str
        ``prefill``, ``decode`` or ``mixed``.
    batch, seq_len : int
        Sequences, and tokens of each.
    overrides : mapping
        Parameters' dotted paths -> values, for example ``{"arch.devices": 4}``.
    """

    model: str
    arch: str
    mapping: str
    phase: str
    batch: int
    seq_len: int
    overrides: Mapping[str, Any]

    def axes(self) -> dict[str, Any]:
        """Return axis -> value, main axes first."""
        return {
            "model": self.model, "arch": self.arch, "mapping": self.mapping, "phase": self.phase,
            "batch": self.batch, "seq_len": self.seq_len, **self.overrides,
        }  # fmt: skip

    def __str__(self) -> str:
        changed = "".join(f", {path}={value}" for path, value in self.overrides.items())
        return (
            f"{self.model} on {self.arch} by {self.mapping}, {self.phase} {self.batch} x "
            f"{self.seq_len}{changed}"
        )


def boxes(spec: SweepSpec) -> list[Box]:
    """Return the space's boxes: `space` itself, or each case laid over it."""
    given = [{**spec.space, **case} for case in spec.cases or ({},)]
    return [box | {name: DEFAULTS[name] for name in DEFAULTS if name not in box} for box in given]


def corner(box: Box) -> Point:
    """Return the point of a box that has the first value of every axis."""
    first = {name: values[0] for name, values in box.items()}
    main = {name: first.pop(name) for name in MAIN_AXES}
    return Point(**main, overrides=first)


def points(spec: SweepSpec, shard: tuple[int, int] = (1, 1)) -> Iterator[Point]:
    """Yield the points of a sweep, excluded ones too, each once, always in the same order.

    Parameters
    ----------
    spec : SweepSpec
        The sweep.
    shard : (int, int)
        ``(i, n)``, i from 1 to n: of every n points yield the i-th.
    """
    number, shards = shard
    for values, names in islice(_combinations(spec), number - 1, None, shards):
        model, arch, mapping, phase, batch, seq_len, *changed = values
        overrides = dict(zip(names[len(MAIN_AXES) :], changed, strict=True))
        yield Point(model, arch, mapping, phase, batch, seq_len, overrides)


def _combinations(spec: SweepSpec) -> Iterator[tuple[tuple[Any, ...], tuple[str, ...]]]:
    """Yield each point as values and names, main axes first."""
    earlier: list[Box] = []
    for box in boxes(spec):
        overlapping = [other for other in earlier if _overlap(other, box)]
        names = (*MAIN_AXES, *(name for name in box if name not in MAIN_AXES))
        order = [tuple(box).index(name) for name in names]
        for combination in product(*box.values()):
            values = tuple([combination[i] for i in order])
            if overlapping and any(_contains(o, names, values) for o in overlapping):
                continue
            yield values, names
        earlier.append(box)


def _overlap(a: Box, b: Box) -> bool:
    """Say whether two boxes have a point in common."""
    return a.keys() == b.keys() and all(
        any(_same(x, y) for x in a[name] for y in b[name]) for name in a
    )


def _contains(box: Box, names: tuple[str, ...], values: tuple[Any, ...]) -> bool:
    return all(
        any(_same(value, v) for v in box[name]) for name, value in zip(names, values, strict=True)
    )


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)  # 1, 1.0 and true are three values in a file


def size(spec: SweepSpec, shard: tuple[int, int] = (1, 1)) -> int:
    """Return the number of points, excluded ones included.

    Without cases that overlap this is a product; with them the points are counted.
    """
    all_boxes = boxes(spec)
    overlaps = any(_overlap(a, b) for i, a in enumerate(all_boxes) for b in all_boxes[:i])
    if overlaps:
        total = sum(1 for _ in _combinations(spec))
    else:
        total = sum(math.prod(map(len, box.values())) for box in all_boxes)
    number, shards = shard
    return len(range(number - 1, total, shards))


def exclusion(spec: SweepSpec, point: Point) -> str:
    """Return why a point is left out, or nothing if it meets every condition that concerns it.

    Raises
    ------
    ConfigError
        If a condition has no value, for example where it compares a number with a text.
    """
    if not spec.where:
        return ""
    axes = point.axes()
    for i, rule in enumerate(spec.where):
        try:
            condition = compile_expression(rule.require)
            if condition.names <= axes.keys() and not condition.evaluate(axes.__getitem__):
                return rule.reason
        except ExpressionError as error:
            raise ConfigError(f"{error} at {point}", path=f"where.{i}.require") from None
    return ""
