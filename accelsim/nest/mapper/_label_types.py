"""What a partial nest is to the mapper: the extents that remain, and a row of sums so far.

What it will cost inside depends on nothing else, so that of two such labels with equal extents
the one that is nowhere worse makes the other superfluous.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.nest._overlap import widths

__all__ = [
    "ENERGY", "EQUAL", "FIXED", "HERE", "LEAST", "OUTSIDE", "SPREAD", "SUMMED", "TIMED", "USED",
    "WAITS", "Bools", "Bounds", "Floats", "Ints", "Labels", "Limits", "Space", "chosen",
    "first_label",
]  # fmt: skip

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ENERGY, HERE, USED, SPREAD, SUMMED, FIXED = 0, 1, 2, 3, 4, 5
"""Columns of a label: pJ so far; instances of the present fan-out in use, and of all; those over
which partial sums are spread so far, and those outside the memory that adds them up. From `FIXED`
on, for each tensor: the repetitions for which its present tile stays, and the instances that
share one word of it since the memory that sends it. Then, where time counts, those below, and for
each node its instances in use and the cycles of its read and of its write port; and how often the
levels inside begin anew, and for each memory inside the outermost the waits outside it and its
row, as of `accelsim.nest._overlap`."""

WAITS, OUTSIDE, LEAST, TIMED = 0, 1, 2, 3
"""After those of the tensors: cycles of filling and draining that no work hides; iterations of
all loops over time so far; cycles of all levels so far if what is inside took no longer than it
must."""

EQUAL = 1.0 + 1e-12
"""Energies that differ by less are equal."""


class Space(NamedTuple):
    """What remains to be looped over: a state is one extent for each dim, of those allowed.

    Attributes
    ----------
    extents : (D, X) int64
        Allowed extents of each dim, ascending.
    number, stride : (D,) int64
        How many, and what one step in a dim's list adds to the number of a state.
    padded : (D,) int64
        Sizes that the factors multiply to, at least the problem's.
    """

    extents: Ints
    number: Ints
    stride: Ints
    padded: Ints


class Labels(NamedTuple):
    """Labels of one stage, in no order.

    Attributes
    ----------
    state : (L,) int64
    value : (L, C) float64
    trail : (L,) int64
        Where its last loop stands among the trail's.
    """

    state: Ints
    value: Floats
    trail: Ints


class Limits(NamedTuple):
    """Loops over one dim that one node may have.

    Attributes
    ----------
    least, most : int
        Factor.
    left : int
        Largest extent that all nodes inside can still loop over.
    instances : int
        Of a fan-out.
    """

    least: int
    most: int
    left: int
    instances: int


class Bounds(NamedTuple):
    """What a label may cost, and what it will cost at least from here on.

    Attributes
    ----------
    rest_pj : float
    most_pj, most_cycles, most_product : float
        A label that must exceed one of them dies.
    steps : float
        Cycles of the array times the instances in use so far, if all inside worked.
    timed : bool
        Whether time counts when labels are compared.
    pipelined : bool
        Whether filling and draining take time.
    """

    rest_pj: float
    most_pj: float
    most_cycles: float
    most_product: float
    steps: float
    timed: bool
    pipelined: bool


def first_label(state: int, tensors: int, storage: Bools, timed: bool) -> Labels:
    """Return the label of a nest with no loops yet, on nodes of which some are memories."""
    nodes, untimed = len(storage), FIXED + 2 * tensors
    width, common = widths(tensors)
    levels = common + int(storage[1:].sum()) * (1 + width)
    value = np.zeros((1, untimed + (TIMED + 3 * nodes + levels if timed else 0)))
    value[0, HERE:untimed] = 1.0
    if timed:
        value[0, untimed + OUTSIDE : untimed + TIMED + nodes] = 1.0
        value[0, untimed + TIMED + 3 * nodes :][:common] = 1.0
    return Labels(np.array([state], np.int64), value, np.array([-1], np.int64))


def chosen(labels: Labels, which: Bools | Ints) -> Labels:
    """Return some of the labels."""
    return Labels(labels.state[which], labels.value[which], labels.trail[which])
