"""Systolic arrays: a grid of multiply-accumulate units through which operands are pumped.

Cycles are SCALE-Sim's closed forms, or those of an array whose stationary operand is double
buffered; memory traffic follows from the buffer behind the array.
"""

from __future__ import annotations

import math
from typing import Final, Literal

from accelsim.config import Count, Watts
from accelsim.cost._array_formats import Outliers, is_integer
from accelsim.cost._array_unit import ArrayUnit
from accelsim.cost._component import PICOSECONDS_PER_SECOND, Estimate, Setting, Work, to_ps
from accelsim.cost._systolic import DATAFLOWS, accesses, plan, products_along
from accelsim.cost._technology import (
    format_bits,
    mac_area_mm2,
    mac_formats,
    register_area_mm2,
    register_energy_pj_per_byte,
)
from accelsim.cost._tiling import ACCUMULATOR_BITS
from accelsim.errors import ConfigError, UnknownNameError

__all__ = ["COMPONENT", "SystolicArray"]

_UM2_PER_MM2: Final = 1e6
_CODE: Final = {"auto": -1, **{name: code for code, name in enumerate(DATAFLOWS)}}


class SystolicArray(ArrayUnit):
    """A gang of equal systolic arrays that work on one matrix product at a time.

    Notes
    -----
    An operand format of rate r makes r products along k per element and cycle (or needs 1/r
    elements for one), so that the array behaves as one for ceil(k / r).

    Not modelled: bank conflicts of the buffer, bubbles between operators, and the reload of the
    stationary operand where the streamed one is cut into tiles for the buffer (none in SCALE-Sim
    either).

    Examples
    --------
    >>> array = SystolicArray(
    ...     source="TPUv4i, Jouppi et al., ISCA 2021",
    ...     memory="hbm",
    ...     rows=128,
    ...     columns=128,
    ...     arrays=4,
    ...     frequency_hz="1.05 GHz",
    ...     formats={"bf16": 1},
    ... )
    >>> array.peak_macs_per_s("bf16") / 1e12
    68.8128
    """

    kind: Literal["systolic"] = "systolic"
    rows: Count
    """Rows of one array: the dimension along which partial sums travel (ws, is)."""
    columns: Count
    """Columns of one array."""
    arrays: Count = 1
    """Arrays that work on one operator together."""
    gang: Literal["folds", "vectors"] = "folds"
    """What they share out: folds, each array its own, or the vectors of a fold that all hold."""
    shadow_registers: bool = True
    """An element has room for the next stationary operand beside the present one, so that loading
    hides behind computing where the mapping double buffers; without, it loads between them."""
    loads: Literal["spread", "first_pass"] = "spread"
    """When weights that stream past a stationary operand are read: over the whole product, as each
    meets all blocks of the other before the next is read, or all in the pass of the first block,
    so that the others find them in the buffer."""
    drain: Literal["exposed", "hidden"] = "exposed"
    """Of an output-stationary fold: the next one starts when all results have left, or follows
    behind it while they leave through registers of their own."""
    outliers: Outliers | None = None
    """How values too large for a narrow integer format are stored and multiplied."""
    mac_has_registers: bool = False
    """The energy of a MAC is that of a whole element, its registers included."""
    given_leakage_w: Watts = 0.0
    """Published standing power; logic leakage has no model here."""

    def peak_macs_per_s(self, fmt: str) -> float:
        """Return the multiply-accumulates per second of the whole gang.

        Parameters
        ----------
        fmt : str
            One of `formats`; of an array of bricks any integer format.
        """
        found = self.format_of(fmt)
        if found is None:
            raise UnknownNameError("format of the array", fmt, self.formats)
        bits = format_bits(fmt)
        rows, columns, rate = self._shape(fmt, found[1], bits, bits)
        return rows * columns * self.arrays * rate * self.frequency_hz

    def _shape(
        self, dtype: str, rate: float, bits_a: int, bits_b: int
    ) -> tuple[int, int, float]:  # fmt: skip
        """Return rows, columns and rate of the array that operands of these widths see."""
        if self.bricks is None or not is_integer(dtype):
            return self.rows, self.columns, rate
        rows, columns, products = self.bricks.shape(bits_a, bits_b)
        return self.rows * rows, self.columns * columns, rate * products

    def estimate(self, work: Work, setting: Setting) -> Estimate:
        """Return cycles, memory traffic and energy of a matrix product."""
        found = self.format_of(work.dtype)
        if found is None:
            raise ConfigError(self.refusal(work))
        fmt, rate = found
        rows, columns, rate = self._shape(work.dtype, rate, work.bits_a, work.bits_b)
        faster, energised = self.use_of_zeros(work)
        rate *= faster
        buffer = setting.buffer
        inputs, weights = self._stored(work)
        dataflow, cycles, accessed, fa, fb, fc, tm, tn, tk, tiles = plan(
            _CODE[setting.dataflow], work.batch, work.m, work.n, work.k,
            rows, columns, self.arrays, rate, setting.double_buffer_stationary,
            float(work.bits_a), float(work.bits_b), float(work.bits_c),
            inputs, weights, work.output_bytes,
            float(buffer.capacity()) if buffer is not None else 0.0, setting.tile_buffers,
            self.shadow_registers, self.gang == "vectors", self.drain == "hidden",
        )  # fmt: skip
        spent, name = float(cycles), DATAFLOWS[dataflow]
        macs = work.macs or work.batch * work.m * work.n * work.k
        traffic = (fb * weights, fa * inputs, fc * work.output_bytes)
        node = self.technology_nm or setting.technology_nm
        first = self.loads == "first_pass" and name == "is" and work.weight_bytes > 0
        made = macs * energised
        energy = {"mac": made * self._product_energy_pj(work, fmt, node)}
        if not self.mac_has_registers:
            moved = _register_bytes(name, work)
            energy["register"] = macs * moved * register_energy_pj_per_byte(node)
        if self.skipping is not None and self.skipping.select_energy_pj:
            energy["select"] = made * self.skipping.select_energy_pj
        if buffer is not None:
            energy["buffer"] = buffer.energy_pj(int(accessed) + sum(traffic))
        if self.outliers is not None and is_integer(work.dtype):
            spent = max(spent, self.outliers.cycles(macs))
            seen = products_along(work.k, rate)
            sizes = (work.batch, work.m, work.n, work.k, -(-seen // rows), rows, columns)
            decoded = sum(accesses(dataflow, *sizes)[:2])
            energy["decoder"] = decoded * self.outliers.decoder_energy_pj
        peak = rows * columns * self.arrays * rate * self.frequency_hz
        return Estimate(
            compute_ps=to_ps(spent / self.frequency_hz),
            weight_traffic_bytes=traffic[0],
            input_traffic_bytes=traffic[1],
            output_traffic_bytes=traffic[2],
            tiles=tiles,
            energy_pj=energy,
            ideal_ps=macs / peak * PICOSECONDS_PER_SECOND,
            choice=f"{name} {tm}x{tn}x{tk}",
            loads_within=1.0 / -(-work.m // columns) if first else 1.0,
        )

    def _stored(self, work: Work) -> tuple[int, int]:
        """Return the bytes of activations and weights with the lists of their outliers."""
        inputs, weights = work.input_bytes, work.weight_bytes + work.kv_bytes
        if self.outliers is None or not is_integer(work.dtype):
            return inputs, weights
        of_a = self.outliers.extra_bits(self.outliers.activation_share) / work.bits_a
        of_b = self.outliers.extra_bits(self.outliers.weight_share) / work.bits_b
        return math.ceil(inputs * (1 + of_a)), math.ceil(weights * (1 + of_b))

    def _product_energy_pj(self, work: Work, fmt: str, technology_nm: float) -> float:
        """Return the energy of one product: of a whole element, or the part its bricks take."""
        if self.bricks is None or not is_integer(work.dtype):
            return self.mac_energy_pj(fmt, technology_nm)
        if work.bits_a == work.bits_b and work.dtype in self.given_mac_energy_pj:
            return self.given_mac_energy_pj[work.dtype]
        share = self.bricks.energy(work.bits_a, work.bits_b)
        return self.mac_energy_pj(fmt, technology_nm) * share

    def model_area_mm2(self, technology_nm: float) -> float:
        """Return the area of the elements: the largest format's MACs, and their registers.

        Notes
        -----
        Each row and column has a decoder where outliers need one, of the area given.
        An element holds two operands, a shadow of the stationary one, and a partial sum.  Wiring
        and the skewing buffers at the edges are left out.  For TPUv4i (bf16, 7 nm) this gives
        25 mm2 where 11 % of its die of under 400 mm2 is published.
        """
        wide = max(format_bits(name) for name in self.formats)
        # A format of given energy alone has no synthesised area.
        macs = [
            rate * mac_area_mm2(name, technology_nm)
            for name, rate in self.formats.items()
            if name in mac_formats()
        ]
        registers = register_area_mm2(3 * wide + ACCUMULATOR_BITS, technology_nm)
        element = max(macs, default=0.0) + registers
        decoder = 0.0 if self.outliers is None else self.outliers.decoder_area_um2
        edges = (self.rows + self.columns) * decoder / _UM2_PER_MM2
        return self.rows * self.columns * self.arrays * element + self.arrays * edges

    def leakage_w(self, technology_nm: float) -> float:
        """Return the published standing power."""
        return self.given_leakage_w


def _register_bytes(dataflow: str, work: Work) -> float:
    """Return the bytes of registers read and written per MAC.

    Each MAC reads and passes on the operands that move, reads the one that stays, and reads and
    writes the partial sum.
    """
    a, b = work.bits_a, work.bits_b
    if dataflow == "os":
        moving, staying = a + b, 0
    else:
        moving, staying = (a, b) if dataflow == "ws" else (b, a)
    return (2 * moving + staying + 2 * ACCUMULATOR_BITS) / 8


COMPONENT: Final = SystolicArray
