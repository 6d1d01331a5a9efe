"""What one pass of a PyTorch module leaves behind: its calls, in plain Python without torch.

The recorder writes it and everything after it reads it, so that canonicalising and folding are
tested without torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Call", "Frame", "Part", "Recording", "Ref", "Value", "View", "part_of"]


@dataclass(frozen=True, slots=True)
class Part:
    """A slice of a contiguous array: `width` elements from `start` on in every `period`."""

    period: int
    start: int
    width: int


@dataclass(frozen=True, slots=True)
class Value:
    """One version of a storage: what one call wrote, or what was there from the beginning.

    Parameters
    ----------
    shape : tuple of int
        Shape that it was made with.
    dtype : str
        Name of the number format, as accelsim writes it.
    origin : str
        ``call``, ``input``, ``parameter``, ``buffer``, ``cache``, ``state`` or ``constant``.
    name : str
        Path of a parameter, buffer or input.
    """

    shape: tuple[int, ...]
    dtype: str
    origin: str = "call"
    name: str = ""

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class View:
    """A value as a call sees it.

    Parameters
    ----------
    value : int
        Which value.
    shape : tuple of int
        As the call sees it.
    dtype : str
        Number format.
    elements : int
        Different elements behind it, fewer than the shape's where a dimension is broadcast.
    part : Part, optional
        Which part of the value; the whole where absent.
    """

    value: int
    shape: tuple[int, ...]
    dtype: str
    elements: int
    part: Part | None = None

    @property
    def size(self) -> int:
        """Elements of the shape."""
        return math.prod(self.shape)


def part_of(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...], whole: int
) -> tuple[int, Part | None]:
    """Return the different elements of a strided view and which part of `whole` they are.

    Examples
    --------
    >>> part_of(0, (4, 6), (6, 1), 24)
    (24, None)
    >>> part_of(2, (4, 2), (6, 1), 24)
    (8, Part(period=6, start=2, width=2))
    """
    if 0 in shape:
        return 0, None
    steps = sorted(
        ((stride, size) for size, stride in zip(shape, strides, strict=True) if size > 1),
        reverse=True,
    )
    elements = math.prod(size for stride, size in steps if stride)
    if elements == whole:
        return elements, None
    width, outer = 1, 0
    for stride, size in reversed([step for step in steps if step[0]]):
        if stride == width and not outer:
            width *= size
        else:
            outer = outer or stride
    period = outer or whole
    return elements, Part(period, offset % period, min(width, period))


class Ref(int):
    """Place of a tensor among the inputs of a call, where its argument stood."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A module call, or a call of a function that is known by name.

    Parameters
    ----------
    path : str
        Path of the module, or of the module that called the function.
    name : str
        Class of the module, or name of the function.
    parent : int
        Frame that called it, -1 for the outermost.
    function : bool
        Whether it is a function.
    layers : bool
        Whether the module holds matrix products or convolutions, itself or below.
    facts : mapping
        Numbers of the module that no call shows: ``is_causal``, ``sliding_window``, ...
    arguments : mapping of str to View
        Tensors that a function was given, by name.
    results : tuple of View
        Tensors that a function returned.
    """

    path: str
    name: str
    parent: int = -1
    function: bool = False
    layers: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, View] = field(default_factory=dict)
    results: tuple[View, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One dispatched operation.

    Parameters
    ----------
    op : str
        Name without overload, for example ``aten.linear``.
    inputs, outputs : tuple of View
        Tensors in the order of the arguments, and results that are no views of an input.
    arguments : mapping
        Argument name -> value; `Ref` where it is a tensor, a tuple of them where it is a list.
    frame : int
        Innermost frame.
    overwrites : bool
        Whether the outputs replace values written in place.
    """

    op: str
    inputs: tuple[View, ...]
    outputs: tuple[View, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    frame: int = 0
    overwrites: bool = False

    def tensor(self, name: str) -> View | None:
        """Return the tensor given as argument `name`, None if it is none."""
        place = self.arguments.get(name)
        return self.inputs[place] if isinstance(place, Ref) else None


@dataclass(frozen=True, slots=True)
class Recording:
    """One pass of a module.

    Parameters
    ----------
    values : tuple of Value
        By number.
    calls : tuple of Call
        In order of execution.
    frames : tuple of Frame
        By number; a frame's parent comes before it.
    results : tuple of View
        Tensors that the module returned.
    parameters : mapping of str to int
        Elements of every parameter, tied ones under their first name.
    lists : frozenset of str
        Paths of the containers whose children follow one another (``ModuleList``, ...).
    whole : bool
        Whether composite operations arrived whole, as they do under inference mode so far.
    """

    values: tuple[Value, ...]
    calls: tuple[Call, ...]
    frames: tuple[Frame, ...]
    results: tuple[View, ...]
    parameters: Mapping[str, int]
    lists: frozenset[str] = frozenset()
    whole: bool = True
