"""Sparsity in arrays: what zeros save of time and energy, and what saying where they are costs.

Everything follows from densities by counting or probability; nothing here is fitted.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Picojoules, Positive, Spec
from accelsim.errors import ConfigError
from accelsim.jit import kernel

__all__ = [
    "FORMATS",
    "Skipping",
    "compressed_bits",
    "effective_macs",
    "expected_maximum",
    "imbalance",
    "metadata_bits",
    "pattern_holds",
    "structured_speedup",
]

FORMATS: Final = ("uncompressed", "bitmask", "run_length", "coordinate", "csr", "n_m")
"""Ways to store a sparse tensor, after Sparseloop (Wu et al., MICRO 2022)."""

_N_M: Final = re.compile(r"([1-9]\d*):([1-9]\d*)")


@kernel
def expected_maximum(window: int, density: float, lanes: int) -> float:
    """Return the expected largest of `lanes` counts, each of `window` values kept at `density`.

    Parameters
    ----------
    window : int
        Values of a lane between two points at which all lanes wait for each other.
    density : float
        Probability that a value is not zero, independent of the others.
    lanes : int
        Lanes that wait for each other.

    Notes
    -----
    With F the distribution function of the binomial (window, density), E[max] is the sum over
    x = 0 .. window - 1 of 1 - F(x)^lanes.

    Examples
    --------
    >>> round(expected_maximum(16, 0.5, 1), 9), round(expected_maximum(1, 0.5, 2), 9)
    (8.0, 0.75)
    """
    if density <= 0.0:
        return 0.0
    if density >= 1.0:
        return float(window)
    ratio = math.log(density) - math.log1p(-density)
    log_mass = window * math.log1p(-density)  # logarithms: (1 - d)^window underflows
    below, total = 0.0, 0.0
    for x in range(window):
        below = min(1.0, below + math.exp(log_mass))
        total += 1.0 - below**lanes
        log_mass += math.log((window - x) / (x + 1.0)) + ratio
    return total


@kernel
def imbalance(window: int, density: float, lanes: int) -> float:
    """Return by what lanes that wait for the fullest take longer than evenly filled ones.

    Examples
    --------
    >>> imbalance(64, 0.25, 1), round(imbalance(64, 0.25, 16), 3)
    (1.0, 1.393)
    """
    mean = window * density
    if mean <= 0.0 or lanes <= 1:
        return 1.0
    return expected_maximum(window, density, lanes) / mean


@kernel
def structured_speedup(kept: int, of: int, selectable: float) -> float:
    """Return the speed-up of N:M skipping: M / N, unless operands come too slowly.

    Parameters
    ----------
    kept, of : int
        N of M neighbours are multiplied.
    selectable : float
        Values of the dense operand that reach a lane per cycle, where a dense product needs one:
        N products take their partners out of M values, so a speed-up of s needs s a cycle.
    """
    return min(of / kept, max(1.0, selectable))


@kernel
def effective_macs(macs: float, density_a: float, density_b: float) -> float:
    """Return the products both operands of which are not zero; zeros are independent."""
    return macs * density_a * density_b


def metadata_bits(
    style: str,
    density: float,
    columns: int,
    rows: int = 1,
    *,
    run_bits: int = 4,
    group: int = 4,
) -> float:
    """Return the bits per element of the dense tensor that say where the non-zero ones are.

    Parameters
    ----------
    style : str
        One of `FORMATS`.
    density : float
        Share of elements that are not zero.
    columns, rows : int
        Elements of a row, and rows.
    run_bits : int
        ``run_length``: bits of the number of zeros before a value.
    group : int
        ``n_m``: M, the neighbours among which the kept ones lie.

    Returns
    -------
    float
        - bitmask: 1;
        - run_length: `run_bits` for each stored entry (see `compressed_bits`);
        - coordinate: ceil(log2(columns)) for each kept one;
        - csr: the same, and an offset of ceil(log2(kept + 1)) bits for each row and the end;
        - n_m: ceil(log2(M)) for each kept one.

    Raises
    ------
    ConfigError
        If there is no such format, or the density is not above 0 and at most 1.

    Examples
    --------
    >>> metadata_bits("n_m", 0.5, 4096, group=4), metadata_bits("coordinate", 0.1, 1024)
    (1.0, 1.0)
    >>> round(metadata_bits("csr", 0.1, 1024, 1024), 4)
    1.0166
    """
    if style not in FORMATS:
        raise ConfigError(f"no sparse format `{style}`", hint=f"legal: {', '.join(FORMATS)}")
    if not 0.0 < density <= 1.0:
        raise ConfigError(f"a density of {density} is not above 0 and at most 1")
    if style == "uncompressed":
        return 0.0
    if style == "bitmask":
        return 1.0
    if style == "run_length":
        return run_bits * _entries(density, run_bits)
    if style == "n_m":
        return density * math.ceil(math.log2(group))
    index = density * math.ceil(math.log2(max(2, columns)))
    if style == "coordinate":
        return index
    kept = rows * columns * density
    return index + (rows + 1) * math.ceil(math.log2(kept + 1.0)) / (rows * columns)


def compressed_bits(
    style: str,
    density: float,
    bits: float,
    columns: int,
    rows: int = 1,
    *,
    run_bits: int = 4,
    group: int = 4,
) -> float:
    """Return the stored bits per element of the dense tensor: values and metadata.

    Parameters
    ----------
    bits : float
        Bits of a value; the others as of `metadata_bits`.

    Notes
    -----
    A run of zeros longer than `run_bits` can say needs entries that hold a zero.  Zeros being
    independent, a kept value follows a run of at least j zeros with probability q^j,
    q = 1 - density, so that with R = 2^run_bits it needs q^R / (1 - q^R) such entries on average.

    Examples
    --------
    >>> compressed_bits("bitmask", 0.25, 8, 64), compressed_bits("uncompressed", 0.25, 8, 64)
    (3.0, 8)
    """
    about = metadata_bits(style, density, columns, rows, run_bits=run_bits, group=group)
    if style == "uncompressed":
        return bits
    stored = _entries(density, run_bits) if style == "run_length" else density
    return stored * bits + about


def _entries(density: float, run_bits: int) -> float:
    """Return the stored entries per element of a run-length code, filling zeros included."""
    filled = (1.0 - density) ** (1 << run_bits)
    return density / (1.0 - filled)


def _n_m(text: str) -> str:
    found = _N_M.fullmatch(text)
    if found is None or int(found[1]) > int(found[2]):
        raise PydanticCustomError(
            "n_m", "`{text}` is no N:M with N at most M, such as 2:4", {"text": text}
        )
    return text


def pattern_holds(pattern: str, supported: str) -> bool:
    """Return whether every tensor of an N:M pattern is also one of the supported pattern.

    Notes
    -----
    A group of M' among groups of M holds at most min(N, M') kept ones where M' divides M, and
    exactly N M' / M where M divides M'.

    Examples
    --------
    >>> [pattern_holds(p, "2:4") for p in ("2:4", "1:4", "2:8", "1:2", "4:8", "unstructured")]
    [True, True, True, True, False, False]
    """
    found, wanted = _N_M.fullmatch(pattern), _N_M.fullmatch(supported)
    if found is None or wanted is None:
        return False
    kept, of = int(found[1]), int(found[2])
    most, among = int(wanted[1]), int(wanted[2])
    if of % among == 0:
        return min(kept, among) <= most
    return among % of == 0 and kept * (among // of) <= most


class Skipping(Spec):
    """Which zeros an array makes use of, and how; those of any other kind are multiplied.

    Examples
    --------
    A sparse tensor core takes 2:4 weights at twice the rate, and 2:8 ones at no more than that.

    >>> core = Skipping(structured=["2:4"], selectable=2)
    >>> core.speedup(density_b=0.5, pattern_b="2:4"), core.speedup(density_b=0.25, pattern_b="2:8")
    (2.0, 2.0)
    >>> core.speedup(density_b=0.5, pattern_b="unstructured")
    1.0
    """

    structured: tuple[Annotated[str, AfterValidator(_n_m)], ...] = ()
    """N:M patterns of weights that are skipped; a sparser one runs as one that holds it."""
    selectable: Positive = 1.0
    """Activations that reach a lane per cycle, for its multiplexer to choose from; what is
    skipped needs more than one."""
    skips: Literal["none", "weight", "activation", "both"] = "none"
    """Operands whose unstructured zeros take no time."""
    gates: Literal["none", "weight", "activation", "both"] = "none"
    """Operands whose zeros save the energy of the product, not its time."""
    lanes: Count = 1
    """Lanes that wait for each other at the end of a window."""
    window: Count = 256
    """Values of a lane between two such points."""
    select_energy_pj: Picojoules = 0.0
    """Energy of choosing the activation of one product by the metadata."""

    @model_validator(mode="after")
    def _fed(self) -> Skipping:
        if self.selectable <= 1.0 and (self.structured or self.skips != "none"):
            raise PydanticCustomError(
                "selectable",
                "skipping is as fast as values reach a lane: give `selectable` above 1",
            )
        return self

    def structured_by(self, pattern: str) -> tuple[int, int] | None:
        """Return N and M of the sparsest supported pattern that holds `pattern`, None of none."""
        fitting = [
            (int(found[1]), int(found[2]))
            for text in self.structured
            if pattern_holds(pattern, text) and (found := _N_M.fullmatch(text))
        ]
        return min(fitting, key=lambda pair: pair[0] / pair[1]) if fitting else None

    def speedup(
        self,
        density_a: float = 1.0,
        density_b: float = 1.0,
        pattern_b: str = "unstructured",
        k: int | None = None,
    ) -> float:
        """Return by what the array is faster than on dense operands, at least 1.

        Parameters
        ----------
        density_a, density_b : float
            Share of the activations and weights that are not zero.
        pattern_b : str
            How the weights' zeros lie: ``2:4``, ..., ``unstructured``.
        k : int, optional
            Products of a sum: windows are no longer than that.
        """
        best = 1.0
        if (found := self.structured_by(pattern_b)) is not None:
            best = float(structured_speedup(*found, self.selectable))
        density = _exploited(self.skips, density_a, density_b)
        if density < 1.0:
            window = self.window if k is None else min(self.window, k)
            slowest = float(expected_maximum(window, density, self.lanes))
            empty = (1.0 - density) ** (window * self.lanes)
            slowest += empty  # a window of zeros alone takes the cycle in which it is found
            best = max(best, min(window / slowest, self.selectable))
        return best

    def energised(
        self, density_a: float = 1.0, density_b: float = 1.0, pattern_b: str = "unstructured"
    ) -> float:
        """Return the share of the dense products that take a product's energy.

        Products that are skipped take none; gating saves what skipping leaves.
        """
        at_a = density_a if _touches("a", self.skips, self.gates) else 1.0
        at_b = density_b if _touches("b", self.skips, self.gates) else 1.0
        share = at_a * at_b
        if at_b == 1.0 and (found := self.structured_by(pattern_b)) is not None:
            share *= found[0] / found[1]
        return share


_OF: Final = {"none": "", "weight": "b", "activation": "a", "both": "ab"}


def _touches(operand: str, *kinds: str) -> bool:
    return any(operand in _OF[kind] for kind in kinds)


def _exploited(kind: str, density_a: float, density_b: float) -> float:
    """Return the share of products that are left where the operands of `kind` are skipped."""
    return (density_a if "a" in _OF[kind] else 1.0) * (density_b if "b" in _OF[kind] else 1.0)
