"""What a GPU is: its parameters with their sources, its number formats, the energy of its parts.

`gpu.Gpu` adds which kernel runs an operator and how long that takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, Literal

import numpy as np
from pydantic import Field, model_validator

from accelsim.config import (
    Bytes,
    BytesPerSecond,
    Count,
    FlopsPerSecond,
    Hertz,
    Picojoules,
    PicojoulesPerBit,
    Positive,
    Seconds,
    Spec,
)
from accelsim.cost._component import Unit
from accelsim.cost._gpu_calibration import Calibration, LibraryScalars, ProductScalars
from accelsim.cost._gpu_product import BATCHED_TILES, TILES, Tiles

__all__ = ["Board", "Generation", "GpuChip", "GpuEnergy", "Products"]

Products = tuple[float, float, tuple[float, ...]]
"""Peak FLOP/s, share of the datasheet bandwidth, and the scalars that `matmul` takes last."""

_LANE_FORMATS: Final = frozenset({"fp64", "fp32", "int32"})
_WITHOUT_TENSOR_CORES: Final = frozenset({"maxwell", "pascal", "gcn5"})
_BATCHED_AS: Final[Mapping[str, str]] = {"maxwell": "volta", "pascal": "volta", "gcn5": "volta"}

# Format -> the one that operands are converted to on loading where the GPU has no rate for them:
# the next that holds every value.  Block-scaled formats multiply as their element format does.
_WIDER: Final[Mapping[str, str]] = {
    "int2": "int4", "int4": "int8", "uint8": "int8", "bool": "int8", "int8": "fp16",
    "mxfp4": "fp4", "nvfp4": "fp4", "fp4": "fp6", "mxfp6": "fp6", "fp6": "fp8", "mxfp8": "fp8",
    "fp8": "fp16", "fp16": "fp32", "bf16": "fp32", "int16": "fp32", "tf32": "fp32",
    "fp32": "fp64", "int32": "fp64",
}  # fmt: skip


Generation = Literal[
    "maxwell", "pascal", "volta", "turing", "ampere", "ada", "hopper", "blackwell",
    "gcn5", "cdna1", "cdna2", "cdna3", "xe_hpc",
]  # fmt: skip
"""Architectures by their vendor's names."""


class GpuEnergy(Spec):
    """Dynamic energy of a GPU's parts."""

    mac_pj: Picojoules
    """One fp16 multiply-accumulate; an elementwise operation counts half."""
    l2_pj_per_bit: PicojoulesPerBit
    """Reading the L2 cache."""
    shared_pj_per_bit: PicojoulesPerBit
    """Reading L1 cache or shared memory."""
    register_pj_per_bit: PicojoulesPerBit
    """Accessing the register file; three operands per multiply-accumulate."""


class Board(Spec):
    """A board that carries a GPU."""

    bandwidth_bytes_per_s: BytesPerSecond
    """Datasheet memory bandwidth."""
    power_w: Positive | None = None
    """Datasheet power limit of the board, W."""


class GpuChip(Unit):
    """The parameters of a GPU and what follows from them alone."""

    sms: Count
    """Streaming multiprocessors."""
    frequency_hz: Hertz
    """Boost clock, at which the datasheet peaks hold."""
    peak_flops: dict[str, FlopsPerSecond]
    """Dense peak by number format, fp32 accumulation; fp32 is the rate without tensor cores."""
    vector_flops: FlopsPerSecond
    """fp32 peak outside the tensor cores, two operations per fused multiply-add."""
    special_per_clock: Count
    """Exponentials per clock and multiprocessor."""
    l2_bytes: Bytes
    """L2 cache."""
    shared_memory_bytes: Bytes
    """Shared memory per multiprocessor."""
    threads_per_sm: Count = 2048
    """Threads that a multiprocessor runs at once (CUDA C++ Programming Guide, technical
    specifications per compute capability)."""
    launch: Literal["graph", "eager"] = "graph"
    """Whether kernels are replayed from a captured graph or launched one by one into a stream."""
    launch_s: dict[Literal["graph", "eager"], Seconds]
    """Gap between consecutive kernels, for each way of launching."""
    calibration: Calibration
    library: str = ""
    """Library of `calibration` whose attention and experts run; its first unless given."""
    energy: GpuEnergy
    power_w: Positive | None = None
    """Power limit of the board, W; sets the clock that boards without measurements sustain."""
    generation: Generation
    """Family of the GPU: what it shares with others in kernels and, unmeasured, in calibration."""
    boards: dict[str, Board] = Field(default_factory=dict)
    """Boards with this GPU by their name in tables of measurements."""

    def multiplied(self, dtype: str) -> str:
        """Return the listed format that products of `dtype` run in; empty where none holds it.

        Parameters
        ----------
        dtype : str
            Number format of the wider operand.
        """
        name: str | None = dtype
        while name is not None and name not in self.peak_flops:
            name = _WIDER.get(name)
        return name or ""

    def peak(self, dtype: str) -> float:
        """Return the FLOP/s of products of a number format that `multiplied` knows."""
        return self.peak_flops[self.multiplied(dtype)]

    def l2_bandwidth(self) -> float:
        """Return the byte/s that kernels without products reach when the L2 cache serves them."""
        return self.calibration.vector.l2_bytes_per_clock * self.sms * self.frequency_hz

    def kernels(self, library: str = "") -> LibraryScalars:
        """Return the scalars of a library's attention and experts.

        Parameters
        ----------
        library : str, optional
            Its name; one that the calibration does not have stands for the GPU's own.
        """
        known = self.calibration.libraries
        return known.get(library) or known[self.library or next(iter(known))]

    @model_validator(mode="after")
    def _library_is_known(self) -> GpuChip:
        known = self.calibration.libraries
        if self.library and self.library not in known:
            raise ValueError(f"library `{self.library}` is not calibrated: {', '.join(known)}")
        return self

    def arithmetic(self, dtype: str) -> Literal["tensor", "simt"]:
        """Return which units multiply a number format: tensor (matrix) cores or scalar lanes."""
        name = self.multiplied(dtype)
        lanes = name in _LANE_FORMATS or self.generation in _WITHOUT_TENSOR_CORES
        return "simt" if lanes else "tensor"

    def tiles(self, dtype: str, *, batched: bool = False) -> Tiles:
        """Return the output tiles that the vendor's library has for products of a format.

        Parameters
        ----------
        dtype : str
            Number format of the wider operand.
        batched : bool, optional
            A strided batch of products, for which the library has fewer kernels.
        """
        if self.generation.startswith("cdna"):
            return TILES["matrix"]
        arithmetic = self.arithmetic(dtype)
        if batched and arithmetic == "simt":
            older = _BATCHED_AS.get(self.generation, self.generation)
            return BATCHED_TILES.get(older, BATCHED_TILES["ampere"])
        return TILES[arithmetic]

    def products(self, dtype: str) -> ProductScalars:
        """Return the section of the calibration that products of a number format run in."""
        c = self.calibration
        return c.simt if self.arithmetic(dtype) == "simt" else c.tensor

    def product_scalars(self, dtype: str, quantised: str = "") -> Products:
        """Return peak, scalars and bandwidth share of `matmul` for products of a number format.

        Feeding a tile and filling the pipeline take a time that the fit counts in elements of the
        reference format (fp16, or fp32 outside tensor cores); at another rate the same time is
        other numbers of elements, and a wider element takes longer to feed.

        Parameters
        ----------
        dtype : str
            Number format multiplied in.
        quantised : str, optional
            Entry of `Calibration.formats` that applies, if it is there.
        """
        name, arithmetic = self.multiplied(dtype), self.arithmetic(dtype)
        c = self.products(dtype)
        extra = self.calibration.formats.get(quantised)
        share, start = (extra.efficiency, extra.start_s) if extra else (1.0, 0.0)
        slower, wider = self.against_reference(name, arithmetic)
        return (
            self.peak_flops[name], c.memory_efficiency,
            (
                c.compute_efficiency * share, c.start_s + start, c.smoothness,
                c.edge_elements * slower * wider, c.fill_elements * slower,
                self.sustained_clock(c, name), c.combine_s, c.camping,
            ),
        )  # fmt: skip

    def sustained_clock(self, c: ProductScalars, dtype: str) -> float:
        """Return the clock that the board's power sustains under products, over the boost clock.

        Parameters
        ----------
        c : ProductScalars
            Of the section that the products run in.
        dtype : str
            Listed format of the products.
        """
        if not c.watts_per_tflops or self.power_w is None:
            return c.sustained_clock
        needed = c.watts_per_tflops * self.peak_flops[dtype] / 1e12
        return float(min(1.0, np.cbrt(self.power_w / needed)))

    def against_reference(self, name: str, arithmetic: str) -> tuple[float, float]:
        """Return the rate and the width of a listed format over those of the reference format."""
        known = self.peak_flops
        wanted = ("fp32",) if arithmetic == "simt" else ("fp16", "bf16")
        reference = next((f for f in wanted if f in known), name)
        return known[name] / known[reference], _width(name) / _width(reference)

    def special_per_s(self) -> float:
        """Return the exponentials per second of the whole GPU."""
        return self.sms * self.special_per_clock * self.frequency_hz

    def energy_pj(
        self, macs: float, operations: float, l2: float, shared: float, register: float
    ) -> dict[str, float]:
        """Return dynamic energy by part; `l2`, `shared`, `register` are bytes moved."""
        table = self.energy
        return {
            "mac": (macs + operations / 2) * table.mac_pj,
            "l2": 8 * l2 * table.l2_pj_per_bit,
            "shared": 8 * shared * table.shared_pj_per_bit,
            "register": 8 * register * table.register_pj_per_bit,
        }


@cache
def _width(dtype: str) -> int:
    """Return the bits of a format's element, from its name."""
    return int("".join(c for c in dtype if c.isdigit()) or 8)
