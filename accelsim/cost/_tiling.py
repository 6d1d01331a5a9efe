"""Memory traffic of a matrix product behind a buffer: the tiles that move the fewest bytes.

One compiled search, for any unit that computes products tile by tile from an on-chip memory.
"""

from __future__ import annotations

from accelsim.jit import kernel

__all__ = ["ACCUMULATOR_BITS", "ceil_div", "search_tiles"]

ACCUMULATOR_BITS = 32
"""Least bits of a partial sum: int32 for integer, fp32 for floating-point operands."""

Three = tuple[int, int, int]
Widths = tuple[float, float, float]

# Loop orders are numbered by the tile that stays while the innermost loop streams the other two:
# 0 C stays and k streams, 1 A stays and n streams, 2 B stays and m streams.


@kernel
def ceil_div(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


@kernel
def _cut(dim: int, parts: int, unit: int) -> int:
    """Return the least multiple of `unit` that cuts `dim` into at most `parts`, at most `dim`."""
    return min(dim, ceil_div(ceil_div(dim, parts), unit) * unit)


@kernel
def _next_parts(parts: int, most: int) -> int:
    """Return the next number of parts to try: each up to 16, then in steps of a quarter."""
    if parts >= most:
        return most + 1
    return min(most, parts + 1 if parts < 16 else parts + parts // 4)


@kernel
def _counts(sizes: Three, tile: Three) -> Three:
    """Return the number of tiles of each dimension."""
    return (
        ceil_div(sizes[0], tile[0]),
        ceil_div(sizes[1], tile[1]),
        ceil_div(sizes[2], tile[2]),
    )


@kernel
def _footprint(tile: Three, sizes: Three, batch: int, widths: Widths, copies: int) -> float:
    """Return the bytes of a tile of each operand, `copies` of those that change."""
    tm, tn, tk = tile
    mt, nt, kt = _counts(sizes, tile)
    of_a = copies if batch * mt * kt > 1 else 1
    of_b = copies if batch * kt * nt > 1 else 1
    of_c = copies if batch * mt * nt > 1 else 1
    return of_a * tm * tk * widths[0] + of_b * tk * tn * widths[1] + of_c * tm * tn * widths[2]


@kernel
def _tile(order: int, outer: int, free: int, units: Three) -> Three:
    """Return (tm, tn, tk) of an order: the streamed dimension gets one unit."""
    if order == 0:  # m is cut, n takes what fits
        return outer, free, units[2]
    if order == 1:  # k is cut, m takes what fits
        return free, units[1], outer
    return units[0], free, outer  # k is cut, n takes what fits


@kernel
def _fit(
    order: int, outer: int, sizes: Three, units: Three, batch: int, widths: Widths,
    capacity: float, copies: int,
) -> Three:  # fmt: skip
    """Return the tile with the largest free dimension that fits, at least one unit of it."""
    axis = 0 if order == 1 else 1
    whole = _tile(order, outer, sizes[axis], units)
    if _footprint(whole, sizes, batch, widths, copies) <= capacity:
        return whole
    unit = units[axis]
    tm, tn, tk = _tile(order, outer, unit, units)
    of_a, of_b, of_c = tm * tk * widths[0], tk * tn * widths[1], tm * tn * widths[2]
    fixed = of_b if axis == 0 else of_a  # the operand that the free dimension does not touch
    growing = of_a + of_b + of_c - fixed
    items = int(max(1.0, (capacity / copies - fixed) / growing))
    fitting = min(sizes[axis], items * unit)
    return _tile(order, outer, _cut(sizes[axis], ceil_div(sizes[axis], fitting), unit), units)


@kernel
def _factors(order: int, counts: Three, spill: int) -> Three:
    """Return how often A, B and C cross the memory interface.

    Each pass over k but the last writes partial sums that the next reads back, both `spill`
    times as wide as the output.
    """
    mt, nt, kt = counts
    if order == 0:
        return nt, mt, 1
    partial = 1 + 2 * (kt - 1) * spill
    return (1, mt, partial) if order == 1 else (nt, 1, partial)


@kernel
def _least_bytes(order: int, parts: int, moved: Three, spill: int) -> float:
    """Return a lower bound of the traffic of an order once its outer dimension is in `parts`."""
    counts = (parts, 1, 1) if order == 0 else (1, 1, parts)
    fa, fb, fc = _factors(order, counts, spill)
    return float(moved[0] * fa + moved[1] * fb + moved[2] * fc)


@kernel
def _ends(counts: Three, moved: Three) -> float:
    """Return the bytes of one of so many tiles of each operand: a first load and a last store."""
    mt, nt, kt = counts
    return moved[0] / (mt * kt) + moved[1] / (kt * nt) + moved[2] / (mt * nt)


@kernel
def search_tiles(
    sizes: Three, batch: int, units: Three, bits: Widths, moved: Three, capacity: float,
    copies: int,
) -> tuple[int, int, int, int, int, int, int]:  # fmt: skip
    """Find the tiles and loop order that move the fewest bytes.

    Parameters
    ----------
    sizes : (m, n, k)
        ``batch`` products C[m,n] = A[m,k] B[k,n].
    batch : int
        Independent products.
    units : (m, n, k)
        Granularity of a tile: what the array works on at once.
    bits : (a, b, c)
        Bits per element of A, B and C.
    moved : (a, b, c)
        Compulsory bytes of A, B and C over the whole batch.
    capacity : float
        Bytes of the buffer, possibly infinite.
    copies : int
        Tiles of each stream that must fit: with 2 the next loads while the present one is used.
        A tile that never changes needs one.

    Returns
    -------
    factor_a, factor_b, factor_c : int
        How often each operand's bytes cross the memory interface, at least 1.
    tm, tn, tk : int
        The tile.
    tiles : int
        Equal parts in which loads, compute and stores overlap.  A tile arrives, is used and
        leaves unit by unit, so a pipeline of that many parts exposes the first unit loaded and
        the last one stored.

    Notes
    -----
    With T the number of tiles of a dimension, and the stationary tile kept over the innermost
    loop: C stationary moves A Tn + B Tm + C, A stationary A + B Tm + C (2 Tk - 1), B stationary
    A Tn + B + C (2 Tk - 1), where C's partial sums count at their own width.  Per order the cut
    of one outer dimension is enumerated (1 to 16 parts, then in steps of a quarter), the other
    takes all that fits, the streamed one a unit.  Where not even one unit of each fits, that
    tile is used all the same: operands then stream through the unit's edge.  Of equal traffic
    the smallest tiles win.  On 1,500 random problems of up to 19 units a side no enumeration of
    all tiles found less traffic (tests/cost/test_tiling.py repeats a part of it).
    """
    units = (min(units[0], sizes[0]), min(units[1], sizes[1]), min(units[2], sizes[2]))
    wide = max(bits[2], float(ACCUMULATOR_BITS))
    widths = (bits[0] / 8.0, bits[1] / 8.0, wide / 8.0)
    spill = int(-(-wide // bits[2]))
    least = _counts(sizes, units)
    grid, exposed = float(batch * least[0] * least[1] * least[2]), _ends(least, moved) / batch
    best = (1, 1, 1, sizes[0], sizes[1], sizes[2], 1)
    best_traffic, best_ends = -1.0, 0.0
    for order in range(3):
        axis = 0 if order == 0 else 2
        parts = 1
        while parts <= least[axis]:
            outer = _cut(sizes[axis], parts, units[axis])
            in_parts = ceil_div(sizes[axis], outer)
            if 0.0 <= best_traffic < _least_bytes(order, in_parts, moved, spill):
                break  # finer cuts of this dimension only move more
            parts = _next_parts(parts, least[axis])
            tile = _fit(order, outer, sizes, units, batch, widths, capacity, copies)
            fits = _footprint(tile, sizes, batch, widths, copies) <= capacity
            if not fits and (tile[0] > units[0] or tile[1] > units[1] or tile[2] > units[2]):
                continue
            counts = _counts(sizes, tile)
            fa, fb, fc = _factors(order, counts, spill)
            traffic = float(moved[0] * fa + moved[1] * fb + moved[2] * fc)
            ends = _ends(counts, moved)
            tied = traffic == best_traffic and ends < best_ends
            if best_traffic < 0.0 or traffic < best_traffic or tied:
                best_traffic, best_ends = traffic, ends
                tiles = int(min(traffic / exposed, grid)) if exposed > 0.0 else 1
                best = (fa, fb, fc, tile[0], tile[1], tile[2], max(1, tiles))
    return best
