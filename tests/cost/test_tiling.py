"""The tile search: no better than what fits, no worse than trying everything."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.cost._tiling import _counts, _factors, _footprint, search_tiles

UNITS = (16, 16, 16)

problems = st.fixed_dictionaries(
    {
        "sizes": st.tuples(*[st.sampled_from([1, 7, 16, 33, 64, 100, 130])] * 3),
        "batch": st.sampled_from([1, 3]),
        "bits": st.sampled_from([(16.0, 16.0, 16.0), (16.0, 4.0, 16.0), (16.0, 16.0, 32.0)]),
        "capacity": st.sampled_from([0.0, 2e3, 8e3, 2e4, 6e4, 1e6, math.inf]),
        "copies": st.sampled_from([1, 2]),
    }
)


def moved(sizes: tuple[int, int, int], batch: int, bits: tuple[float, float, float]) -> tuple:
    m, n, k = sizes
    a, b, c = bits
    return int(batch * m * k * a / 8), int(batch * k * n * b / 8), int(batch * m * n * c / 8)


def least_by_trying_all(
    sizes: tuple[int, int, int],
    batch: int,
    bits: tuple[float, float, float],
    capacity: float,
    copies: int,
) -> float:
    units = tuple(min(u, s) for u, s in zip(UNITS, sizes, strict=True))
    wide = max(bits[2], 32.0)
    widths, spill = (bits[0] / 8, bits[1] / 8, wide / 8), int(-(-wide // bits[2]))
    ranges = [
        sorted({min(size, unit * i) for i in range(1, -(-size // unit) + 1)})
        for size, unit in zip(sizes, units, strict=True)
    ]
    operands, best = moved(sizes, batch, bits), math.inf
    for tile in ((m, n, k) for m in ranges[0] for n in ranges[1] for k in ranges[2]):
        fits = _footprint(tile, sizes, batch, widths, copies) <= capacity
        if fits or tile == units:
            for order in range(3):
                factors = _factors(order, _counts(sizes, tile), spill)
                best = min(best, sum(b * f for b, f in zip(operands, factors, strict=True)))
    return best


@settings(deadline=None, max_examples=150)
@given(problems)
def test_finds_the_least_traffic_of_all_tiles(problem: dict) -> None:
    """The search, which tries a few dozen tiles, loses nothing against trying every one."""
    sizes, batch, bits = problem["sizes"], problem["batch"], problem["bits"]
    operands = moved(sizes, batch, bits)
    capacity, copies = problem["capacity"], problem["copies"]
    found = search_tiles(sizes, batch, UNITS, bits, operands, capacity, copies)
    traffic = sum(b * f for b, f in zip(operands, found[:3], strict=True))
    assert traffic == least_by_trying_all(sizes, batch, bits, capacity, copies)


@settings(deadline=None)
@given(problems)
def test_the_tile_fits_or_is_the_least_one(problem: dict) -> None:
    """Only a tile of one unit a side may exceed the buffer."""
    sizes, bits = problem["sizes"], problem["bits"]
    operands = moved(sizes, problem["batch"], bits)
    found = search_tiles(
        sizes, problem["batch"], UNITS, bits, operands, problem["capacity"], problem["copies"]
    )
    tile = found[3:6]
    widths = (bits[0] / 8, bits[1] / 8, max(bits[2], 32.0) / 8)
    fits = (
        _footprint(tile, sizes, problem["batch"], widths, problem["copies"]) <= problem["capacity"]
    )
    assert fits or all(t <= min(u, s) for t, u, s in zip(tile, UNITS, sizes, strict=True))


@settings(deadline=None)
@given(problems)
def test_factors_and_tiles_are_at_least_one(problem: dict) -> None:
    """Nothing moves less than once, and there is at least one tile."""
    operands = moved(problem["sizes"], problem["batch"], problem["bits"])
    found = search_tiles(
        problem["sizes"], problem["batch"], UNITS, problem["bits"], operands,
        problem["capacity"], problem["copies"],
    )  # fmt: skip
    assert min(found) >= 1


@settings(deadline=None)
@given(problems)
def test_compiled_equals_interpreted(problem: dict) -> None:
    """The compiled search takes the same decisions as its Python source."""
    operands = moved(problem["sizes"], problem["batch"], problem["bits"])
    call = (
        problem["sizes"], problem["batch"], UNITS, problem["bits"], operands,
        problem["capacity"], problem["copies"],
    )  # fmt: skip
    assert search_tiles(*call) == search_tiles.py_func(*call)


def test_a_larger_buffer_never_moves_more() -> None:
    """Traffic falls, or stays, as capacity grows."""
    sizes, bits = (2048, 2048, 2048), (16.0, 16.0, 16.0)
    operands = moved(sizes, 1, bits)
    before = math.inf
    for exponent in range(10, 28):
        found = search_tiles(sizes, 1, (128, 128, 128), bits, operands, 2.0**exponent, 2)
        traffic = sum(b * f for b, f in zip(operands, found[:3], strict=True))
        assert traffic <= before
        before = traffic
    assert before == sum(operands)


def test_passes_over_each_operand_by_loop_order() -> None:
    """C stationary: A Tn, B Tm; A or B stationary: it once, and C written Tk, read Tk - 1 times.

    Partial sums of twice the output's width count double.
    """
    counts = (3, 5, 4)
    assert _factors(0, counts, 2) == (5, 3, 1)
    assert _factors(1, counts, 2) == (1, 3, 1 + 2 * 3 * 2)
    assert _factors(2, counts, 1) == (5, 1, 1 + 2 * 3)


def test_partial_sums_are_spilled_only_when_cheaper() -> None:
    """With a tiny output and operands far too large, k is never split outermost."""
    sizes, bits = (16, 16, 1 << 16), (16.0, 16.0, 16.0)
    found = search_tiles(sizes, 1, UNITS, bits, moved(sizes, 1, bits), 4096.0, 2)
    assert found[:3] == (1, 1, 1)
