"""What systolic and spatial arrays share: formats, their rates, and the energy of a MAC."""

from __future__ import annotations

from functools import cached_property
from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Hertz, Picojoules, Positive
from accelsim.cost._array_formats import Bricks, holds, is_integer
from accelsim.cost._array_sparsity import Skipping
from accelsim.cost._component import Unit, Work
from accelsim.cost._technology import format_bits, mac_energy_pj, mac_formats
from accelsim.errors import nearest

__all__ = ["ArrayUnit"]


class ArrayUnit(Unit):
    """An array of multiply-accumulate units, whatever feeds them.

    Notes
    -----
    An operator of a format that the array lacks runs in the narrowest one that holds it (int4 in
    int8 or bf16, mxfp4 in fp8, bf16 in fp16); a floating-point operator never runs in an integer
    format.  Units made of `bricks` run an integer operator of any widths: the one integer format
    says what a whole unit is and costs, the bricks what it is for the widths of the operands.
    """

    kind: str
    """Which sort of array; a literal in each."""
    frequency_hz: Hertz
    """Clock of the array."""
    formats: dict[str, Positive]
    """Operand format -> multiply-accumulates per unit and cycle, for example ``{bf16: 1}``."""
    bricks: Bricks | None = None
    """Narrow multipliers of which a unit is made; it is of one piece where absent."""
    skipping: Skipping | None = None
    """Zeros of which the array makes use; all are multiplied where absent."""
    given_mac_energy_pj: dict[str, Picojoules] = Field(default_factory=dict)
    """Format -> published energy of a MAC; where absent the technology table answers."""

    @model_validator(mode="after")
    def _formats_have_energy(self) -> Self:
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
        whole = [name for name in self.formats if name.startswith("int")]
        if self.bricks is not None and len(whole) != 1:
            raise PydanticCustomError(
                "bricks_format",
                "an array of bricks needs one integer format, that of a whole element; found {n}",
                {"n": ", ".join(whole) or "none"},
            )
        return self

    @cached_property
    def _memo(self) -> dict[str, tuple[str, float] | None]:
        return {}

    def format_of(self, dtype: str) -> tuple[str, float] | None:
        """Return the format in which `dtype` runs and its rate, None where there is none.

        Examples
        --------
        >>> from accelsim.cost.systolic import SystolicArray
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
                if holds(name, dtype)
                or (self.bricks is not None and name.startswith("int") and is_integer(dtype))
            ]
            best = min(holding)[-1] if holding else None
            self._memo[dtype] = None if best is None else (best, rates[best])
        return self._memo[dtype]

    def refusal(self, work: Work) -> str:
        """Return why the array cannot run `work`; empty where it can."""
        if work.kind not in ("matmul", "conv"):
            return f"{self.kind} arrays run matmul and conv only, not {work.kind}"
        if self.format_of(work.dtype) is None:
            return f"no format holds {work.dtype}; the array has {', '.join(self.formats)}"
        return ""

    def use_of_zeros(self, work: Work) -> tuple[float, float]:
        """Return by how much the zeros of operands raise the rate, and the part that takes energy.

        Both 1 where the array skips none.
        """
        if self.skipping is None:
            return 1.0, 1.0
        zeros = (work.density_a, work.density_b, work.pattern_b)
        return self.skipping.speedup(*zeros, k=work.k), self.skipping.energised(*zeros)

    def mac_energy_pj(self, fmt: str, technology_nm: float) -> float:
        """Return the energy of one MAC: published where given, else of the technology table."""
        given = self.given_mac_energy_pj.get(fmt)
        return mac_energy_pj(fmt, technology_nm) if given is None else given
