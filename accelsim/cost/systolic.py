"""Systolic arrays: a grid of multiply-accumulate units through which operands are pumped.

Cycles are SCALE-Sim's closed forms, or those of an array whose stationary operand is double
buffered; memory traffic follows from the buffer behind the array.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Hertz, Picojoules, Positive, Watts
from accelsim.cost._component import PICOSECONDS_PER_SECOND, Estimate, Setting, Unit, Work, to_ps
from accelsim.cost._systolic import DATAFLOWS, plan
from accelsim.cost._technology import (
    format_bits,
    mac_area_mm2,
    mac_energy_pj,
    mac_formats,
    register_area_mm2,
    register_energy_pj_per_byte,
)
from accelsim.cost._tiling import ACCUMULATOR_BITS
from accelsim.errors import ConfigError, nearest

__all__ = ["COMPONENT", "SystolicArray"]

_CODE: Final = {"auto": -1, **{name: code for code, name in enumerate(DATAFLOWS)}}


class SystolicArray(Unit):
    """A gang of equal systolic arrays that work on one matrix product at a time.

    Notes
    -----
    An operand format of rate r makes r products along k per element and cycle (or needs 1/r
    elements for one), so that the array behaves as one for ceil(k / r).  An operator of a format
    that the array lacks runs in the narrowest one that holds it (int4 in int8 or bf16, mxfp4 in
    fp8, bf16 in fp16); a floating-point operator never runs in an integer format.

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
    frequency_hz: Hertz
    """Clock of the arrays."""
    formats: dict[str, Positive]
    """Operand format -> multiply-accumulates per element and cycle, for example ``{bf16: 1}``."""
    given_mac_energy_pj: dict[str, Picojoules] = Field(default_factory=dict)
    """Format -> published energy of a MAC; where absent the technology table answers."""
    given_leakage_w: Watts = 0.0
    """Published standing power; logic leakage has no model here."""

    @model_validator(mode="after")
    def _formats_have_energy(self) -> SystolicArray:
        known = {*mac_formats(), *self.given_mac_energy_pj}
        for name in self.formats:
            if name not in known or not name[-1].isdigit():
                raise PydanticCustomError(
                    "unsourced_format",
                    "no source gives the MAC energy of `{name}`; add it to given_mac_energy_pj,"
                    " or {hint}",
                    {"name": name, "hint": nearest(name, known)},
                )
        if not self.formats:
            raise PydanticCustomError("no_formats", "an array needs at least one format")
        return self

    @cached_property
    def _memo(self) -> dict[str, tuple[str, float] | None]:
        return {}

    def format_of(self, dtype: str) -> tuple[str, float] | None:
        """Return the format in which `dtype` runs and its rate, None where there is none.

        Examples
        --------
        >>> array = SystolicArray(
        ...     source="-",
        ...     memory="hbm",
        ...     rows=8,
        ...     columns=8,
        ...     frequency_hz=1e9,
        ...     formats={"int8": 2, "bf16": 1},
        ... )
        >>> array.format_of("int4"), array.format_of("fp8"), array.format_of("fp32")
        (('int8', 2.0), ('bf16', 1.0), None)
        """
        if dtype not in self._memo:
            rates = self.formats
            holding = [
                (name != dtype, format_bits(name), -rate, name)
                for name, rate in rates.items()
                if _holds(name, dtype)
            ]
            best = min(holding)[-1] if holding else None
            self._memo[dtype] = None if best is None else (best, rates[best])
        return self._memo[dtype]

    def peak_macs_per_s(self, fmt: str) -> float:
        """Return the multiply-accumulates per second of the whole gang."""
        elements = self.rows * self.columns * self.arrays
        return elements * self.formats[fmt] * self.frequency_hz

    def refusal(self, work: Work) -> str:
        """Return why the array cannot run `work`; empty where it can."""
        # A convolution is lowered to columns on its way into the array.
        if work.kind not in ("matmul", "conv"):
            return f"systolic arrays run matmul and conv only, not {work.kind}"
        if self.format_of(work.dtype) is None:
            return f"no format holds {work.dtype}; the array has {', '.join(self.formats)}"
        return ""

    def estimate(self, work: Work, setting: Setting) -> Estimate:
        """Return cycles, memory traffic and energy of a matrix product."""
        found = self.format_of(work.dtype)
        if found is None:
            raise ConfigError(self.refusal(work))
        fmt, rate = found
        buffer = setting.buffer
        weights = work.weight_bytes + work.kv_bytes
        dataflow, cycles, accessed, fa, fb, fc, tm, tn, tk, tiles = plan(
            _CODE[setting.dataflow], work.batch, work.m, work.n, work.k,
            self.rows, self.columns, self.arrays, rate, setting.double_buffer_stationary,
            float(work.bits_a), float(work.bits_b), float(work.bits_c),
            work.input_bytes, weights, work.output_bytes,
            float(buffer.capacity()) if buffer is not None else 0.0, setting.tile_buffers,
            self.shadow_registers, self.gang == "vectors",
        )  # fmt: skip
        name = DATAFLOWS[dataflow]
        macs = work.macs or work.batch * work.m * work.n * work.k
        traffic = (fb * weights, fa * work.input_bytes, fc * work.output_bytes)
        node = self.technology_nm or setting.technology_nm
        first = self.loads == "first_pass" and name == "is" and work.weight_bytes > 0
        energy = {
            "mac": macs * self.mac_energy_pj(fmt, node),
            "register": macs * _register_bytes(name, work) * register_energy_pj_per_byte(node),
        }
        if buffer is not None:
            energy["buffer"] = buffer.energy_pj(int(accessed) + sum(traffic))
        return Estimate(
            compute_ps=to_ps(cycles / self.frequency_hz),
            weight_traffic_bytes=traffic[0],
            input_traffic_bytes=traffic[1],
            output_traffic_bytes=traffic[2],
            tiles=tiles,
            energy_pj=energy,
            ideal_ps=macs / self.peak_macs_per_s(fmt) * PICOSECONDS_PER_SECOND,
            choice=f"{name} {tm}x{tn}x{tk}",
            loads_within=1.0 / -(-work.m // self.columns) if first else 1.0,
        )

    def mac_energy_pj(self, fmt: str, technology_nm: float) -> float:
        """Return the energy of one MAC: published where given, else of the technology table."""
        given = self.given_mac_energy_pj.get(fmt)
        return mac_energy_pj(fmt, technology_nm) if given is None else given

    def model_area_mm2(self, technology_nm: float) -> float:
        """Return the area of the elements: the largest format's MACs, and their registers.

        Notes
        -----
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
        return self.rows * self.columns * self.arrays * element

    def leakage_w(self, technology_nm: float) -> float:
        """Return the published standing power."""
        return self.given_leakage_w


def _holds(fmt: str, dtype: str) -> bool:
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
