"""Number formats in arrays of multipliers: what narrower, wider and outlying operands cost.

One rule covers fixed, fusible and bit-serial elements: an element is a few multipliers of a few
bits each ("bricks"), and a product takes as many brick-cycles as its operands have digits.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Fraction, Nonnegative, Picojoules, Spec
from accelsim.cost._technology import format_bits
from accelsim.jit import kernel

__all__ = [
    "JOINS",
    "Bricks",
    "Outliers",
    "array_shape",
    "brick_cycles",
    "cycles_per_mac",
    "digits",
    "energy_share",
    "holds",
    "is_integer",
    "listed_bits",
    "outlier_macs",
]

JOINS: Final = ("k", "sides")
"""What bricks that one product leaves free do, by number in the kernels."""


@kernel
def digits(bits: int, digit_bits: int, powers_of_two: bool) -> int:
    """Return how many digits an operand has: bricks side by side, or cycles one after another.

    Parameters
    ----------
    bits : int
        Width of the operand.
    digit_bits : int
        Bits that a brick takes of it at once.
    powers_of_two : bool
        Digits join in pairs, so that their number rounds up to a power of two.

    Examples
    --------
    >>> digits(8, 2, True), digits(6, 2, True), digits(6, 2, False), digits(5, 1, False)
    (4, 4, 3, 5)
    """
    found = -(-bits // digit_bits)
    if not powers_of_two:
        return found
    rounded = 1
    while rounded < found:
        rounded *= 2
    return rounded


@kernel
def brick_cycles(bits_a: int, bits_b: int, digit_a: int, digit_b: int, powers_of_two: bool) -> int:
    """Return the brick-cycles of one product: digits of one operand times those of the other."""
    return digits(bits_a, digit_a, powers_of_two) * digits(bits_b, digit_b, powers_of_two)


@kernel
def array_shape(
    bits_a: int, bits_b: int, digit_a: int, digit_b: int, across_a: int, across_b: int,
    joins: int, powers_of_two: bool,
) -> tuple[int, int, float]:  # fmt: skip
    """Return by what an element is more than one: rows, columns, products along k per cycle.

    Parameters
    ----------
    bits_a, bits_b : int
        Widths of the operands.
    digit_a, digit_b : int
        Bits of each that a brick multiplies in a cycle.
    across_a, across_b : int
        Bricks of an element along either operand.
    joins : {0, 1}
        Index into `JOINS`.  0: any arrangement of the element's bricks, the free ones make
        further products of the same sum; 1: they make further rows (A) and columns (B).
    powers_of_two : bool
        As of `digits`.

    Returns
    -------
    rows, columns : int
        Factors on the sides of the array.
    rate : float
        Products along k per element and cycle, below 1 where a product takes several cycles.

    Examples
    --------
    A Fusion Unit of sixteen 2-bit bricks makes four 4 x 4 products a cycle and an 8 x 8 one, and
    needs four cycles for 16 x 16; the same bricks as sides make a 4-bit array of twice the sides.

    >>> [array_shape(b, b, 2, 2, 4, 4, 0, True)[2] for b in (2, 4, 8, 16)]
    [16.0, 4.0, 1.0, 0.25]
    >>> array_shape(4, 4, 4, 4, 2, 2, 1, True), array_shape(8, 8, 4, 4, 2, 2, 1, True)
    ((2, 2, 1.0), (1, 1, 1.0))
    """
    of_a, of_b = digits(bits_a, digit_a, powers_of_two), digits(bits_b, digit_b, powers_of_two)
    if joins == 0:
        needed, there = of_a * of_b, across_a * across_b
        if needed <= there:
            return 1, 1, float(there // needed)
        return 1, 1, 1.0 / -(-needed // there)
    times = -(-of_a // across_a) * -(-of_b // across_b)
    return max(1, across_a // of_a), max(1, across_b // of_b), 1.0 / times


@kernel
def cycles_per_mac(
    bits_a: int, bits_b: int, digit_a: int, digit_b: int, across_a: int, across_b: int,
    joins: int, powers_of_two: bool,
) -> float:  # fmt: skip
    """Return the cycles of one multiply-accumulate on one element, below 1 where it makes several.

    Parameters as of `array_shape`.

    Notes
    -----
    Quadratic in the width for bricks along both operands (Bit Fusion [1]_), linear for elements
    that take one operand bit by bit (Stripes [2]_: ``digit_a`` 1, ``digit_b`` 16), and the
    product of both widths where both are serial (Loom [3]_).

    References
    ----------
    .. [1] H. Sharma et al., "Bit Fusion", ISCA 2018, arXiv:1712.01507.
    .. [2] P. Judd et al., "Stripes: bit-serial deep neural network computing", MICRO 2016.
    .. [3] S. Sharify et al., "Loom", DAC 2018, arXiv:1706.07853.

    Examples
    --------
    >>> [cycles_per_mac(b, 16, 1, 16, 1, 1, 0, False) for b in (4, 9, 16)]
    [4.0, 9.0, 16.0]
    >>> cycles_per_mac(8, 4, 2, 2, 4, 4, 0, True)
    0.5
    """
    rows, columns, rate = array_shape(
        bits_a, bits_b, digit_a, digit_b, across_a, across_b, joins, powers_of_two
    )
    return 1.0 / (rows * columns * rate)


@kernel
def energy_share(
    bits_a: int, bits_b: int, digit_a: int, digit_b: int, across_a: int, across_b: int,
    powers_of_two: bool,
) -> float:  # fmt: skip
    """Return a product's brick-cycles over the bricks of an element: its share of energy.

    Notes
    -----
    Bricks are taken to be equal, and the shifters and adders that join them part of them, so
    that a product of the element's full width costs what the element's format does.
    """
    spent = brick_cycles(bits_a, bits_b, digit_a, digit_b, powers_of_two)
    return spent / (across_a * across_b)


@kernel
def outlier_macs(macs: float, share_a: float, share_b: float) -> float:
    """Return the products of which at least one operand is an outlier; shares are independent.

    Examples
    --------
    >>> round(outlier_macs(1000.0, 0.03, 0.01), 9)
    39.7
    """
    return macs * (1.0 - (1.0 - share_a) * (1.0 - share_b))


@kernel
def listed_bits(share: float, bits: int, index_bits: float) -> float:
    """Return the bits per element that a list of outliers takes beside the dense tensor."""
    return share * (bits + index_bits)


def is_integer(dtype: str) -> bool:
    """Return whether a format is one of integers."""
    return dtype.startswith(("int", "uint")) and dtype[-1].isdigit()


def holds(fmt: str, dtype: str) -> bool:
    """Return whether every value of `dtype` is one of `fmt`, as far as arrays care.

    An integer fits a wider float (int8 in the significand of bf16); bf16 and fp16 stand in for
    each other, as the array's time and energy do not depend on which of them it is given.
    """
    if fmt == dtype or not dtype[-1].isdigit():
        return fmt == dtype
    bits, wanted = format_bits(fmt), format_bits(dtype)
    if "fp" in dtype or "bf" in dtype or "tf" in dtype:
        return bits >= wanted and "int" not in fmt
    return bits > wanted or (bits == wanted and "int" in fmt)


class Bricks(Spec):
    """Of which narrow multipliers an element is made, and what they do for narrow operands.

    Examples
    --------
    Four 4-bit multipliers that make an 8-bit one, as in ANT: int4 doubles either side.

    >>> Bricks(digit_a=4, digit_b=4, across_a=2, across_b=2, joins="sides").shape(4, 4)
    (2, 2, 1.0)
    """

    digit_a: Count
    """Bits of the activation that a brick multiplies in a cycle."""
    digit_b: Count
    """Bits of the weight that a brick multiplies in a cycle."""
    across_a: Count = 1
    """Bricks of an element along the activation's bits."""
    across_b: Count = 1
    """Bricks of an element along the weight's bits."""
    joins: Literal["k", "sides"] = "k"
    """Where bricks that a product leaves free go: to further products of the same sum, or to
    further rows (for activations) and columns (for weights) of the array."""
    powers_of_two: bool = True
    """Digits join in pairs; a width between powers takes the next one."""

    @cached_property
    def _scalars(self) -> tuple[int, int, int, int, int, bool]:
        joins = JOINS.index(self.joins)
        return (
            self.digit_a, self.digit_b, self.across_a, self.across_b, joins, self.powers_of_two
        )  # fmt: skip

    def shape(self, bits_a: int, bits_b: int) -> tuple[int, int, float]:
        """Return factors on rows and columns, and products along k per element and cycle."""
        found: tuple[int, int, float] = array_shape(bits_a, bits_b, *self._scalars)
        return found

    def cycles(self, bits_a: int, bits_b: int) -> float:
        """Return the cycles of one multiply-accumulate on one element."""
        return float(cycles_per_mac(bits_a, bits_b, *self._scalars))

    def energy(self, bits_a: int, bits_b: int) -> float:
        """Return the energy of one product relative to one of the element's full width."""
        digit_a, digit_b, across_a, across_b, _, powers = self._scalars
        return float(energy_share(bits_a, bits_b, digit_a, digit_b, across_a, across_b, powers))


class Outliers(Spec):
    """Values too large for the narrow format: how they are stored and who multiplies them.

    Notes
    -----
    Two designs are known.  A pair (OliVe [1]_) gives the outlier the bits of its pruned
    neighbour: nothing is added to traffic or time, each value passes a decoder on its way into
    the array, and the products of outliers need a shifter, whose energy belongs to the MAC.
    A list (OLAccel [2]_, GOBO [3]_) stores outliers beside the dense tensor with an index each,
    and units of their own multiply them while the array does the rest.

    References
    ----------
    .. [1] C. Guo et al., "OliVe", ISCA 2023, arXiv:2304.07493.
    .. [2] E. Park, D. Kim, S. Yoo, "Energy-efficient neural network accelerator based on
       outlier-aware low-precision computation", ISCA 2018.
    .. [3] A. H. Zadeh et al., "GOBO", MICRO 2020, arXiv:2005.03842.
    """

    stored: Literal["pair", "list"]
    """In the place of a pruned neighbour, or in a list beside the tensor."""
    weight_share: Fraction = 0.0
    """Share of the weights that are outliers."""
    activation_share: Fraction = 0.0
    """Share of the activations that are outliers."""
    bits: Count = 8
    """Bits of an outlier."""
    index_bits: Nonnegative = 0.0
    """Bits that say where an outlier of a list lies."""
    macs_per_cycle: Nonnegative = 0.0
    """Products of outliers that units of their own make per cycle; the array's elements make
    them at no loss of time where 0."""
    decoder_energy_pj: Picojoules = 0.0
    """Energy of decoding one value on its way from the buffer into the array."""
    decoder_area_um2: Nonnegative = 0.0
    """Area of a decoder, of which each row and each column has one."""

    @model_validator(mode="after")
    def _multiplied(self) -> Outliers:
        if self.stored == "list" and not self.macs_per_cycle:
            raise PydanticCustomError(
                "no_outlier_units",
                "a list of outliers needs units that multiply them: `macs_per_cycle` above 0",
            )
        if self.stored == "pair" and self.index_bits:
            raise PydanticCustomError(
                "pair_index", "an outlier in its neighbour's place has no `index_bits`"
            )
        if self.stored == "pair" and max(self.weight_share, self.activation_share) > 0.5:
            raise PydanticCustomError(
                "pair_share",
                "each outlier takes a neighbour: at most half the values are outliers",
            )
        return self

    def extra_bits(self, share: float) -> float:
        """Return the bits per element that outliers add to a tensor of which they are `share`."""
        if self.stored == "pair":
            return 0.0
        return float(listed_bits(share, self.bits, self.index_bits))

    def cycles(self, macs: float) -> float:
        """Return the cycles of the outliers' own units; 0 where the array multiplies them."""
        if not self.macs_per_cycle:
            return 0.0
        return float(outlier_macs(macs, self.activation_share, self.weight_share)) / (
            self.macs_per_cycle
        )
