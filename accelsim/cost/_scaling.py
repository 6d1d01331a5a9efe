"""Interpolation of technology figures: along a scaling curve between nodes, by powers of capacity.

Published energies improve far less than device equations say (2 to 4 times from 45 nm to 7 nm
where the equations give 18), so a figure known at two nodes follows the equations' shape between
them but meets both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["Anchors", "bent", "power_law"]

Anchors = Sequence[tuple[float, float]]
"""Known points (x, y): a node in nm or a capacity in bytes, and the figure there."""


def bent(anchors: Anchors, curve: Anchors, x: float) -> float:
    """Return a figure at `x`: along the curve, bent to meet the anchors on either side.

    Parameters
    ----------
    anchors : sequence of (x, y)
        Where the figure is known.
    curve : sequence of (x, y)
        How figures of its sort scale, sorted by x.
    x : float
        Where it is wanted.

    Notes
    -----
    Between anchors 1 and 2: y = y1 (y2 / y1) ** t with t = log(S / S1) / log(S2 / S1), S the
    curve.  Outside them y = y1 S / S1 with the nearest.

    Examples
    --------
    A curve that falls fourfold from 45 to 7, and a figure known to fall only twofold:

    >>> curve = [(7, 1.0), (45, 4.0)]
    >>> bent([(45, 10.0), (7, 5.0)], curve, 7), bent([(45, 10.0)], curve, 7)
    (5.0, 2.5)
    """
    here = power_law(curve, x)
    known = sorted(anchors)
    above = next((a for a in known if a[0] >= x), None)
    below = next((a for a in reversed(known) if a[0] <= x), None)
    if above is None or below is None:
        node, value = known[-1] if above is None else known[0]
        return value * here / power_law(curve, node)
    if above == below:
        return above[1]
    at_above, at_below = power_law(curve, above[0]), power_law(curve, below[0])
    share = math.log(here / at_above) / math.log(at_below / at_above)
    return float(above[1] * (below[1] / above[1]) ** share)


def power_law(points: Anchors, x: float) -> float:
    """Return y(x) by straight lines through the points' logarithms, the end ones extended.

    Examples
    --------
    >>> power_law([(1.0, 1.0), (4.0, 2.0)], 16.0)
    4.0
    """
    for (x0, y0), (x1, y1) in pairwise(points):
        if x <= x1 or (x1, y1) == points[-1]:
            slope = math.log(y1 / y0) / math.log(x1 / x0)
            return float(y0 * (x / x0) ** slope)
    return points[0][1]
