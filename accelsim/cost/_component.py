"""What every hardware component has in common, and what passes between mapping and cost models.

A cost model knows numbers and its own component class only: a `Work` says what one operator asks
of a unit, an `Estimate` what the unit needs for it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from accelsim.config import Nanometres, Spec, SquareMillimetres
from accelsim.cost._nest_policy import NestPolicy

__all__ = [
    "PICOSECONDS_PER_SECOND",
    "Component",
    "ConvShape",
    "Dataflow",
    "Estimate",
    "Link",
    "Memory",
    "Setting",
    "Unit",
    "Work",
    "to_ps",
]

PICOSECONDS_PER_SECOND = 10**12

Dataflow = Literal["auto", "os", "ws", "is"]


def to_ps(seconds: float) -> int:
    """Return a time as whole picoseconds, rounded up so that nothing takes no time by rounding.

    Examples
    --------
    >>> to_ps(1e-9), to_ps(0.0)
    (1000, 0)
    """
    exact = seconds * PICOSECONDS_PER_SECOND
    whole = round(exact)
    return whole if abs(exact - whole) < 1e-6 * max(1.0, exact) else int(exact) + 1


_SEARCHED: Final = NestPolicy()


@dataclass(frozen=True, slots=True)
class ConvShape:
    """A convolution of images as a loop nest sees it; sizes of one group.

    Attributes
    ----------
    out, kernel : (rows, columns)
    channels : (read, made)
    batch, groups : int
    stride, dilation : (rows, columns)
    """

    out: tuple[int, int]
    kernel: tuple[int, int]
    channels: tuple[int, int]
    batch: int = 1
    groups: int = 1
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True)
class Work:
    """One operator as a unit sees it: an iteration space, operand widths and compulsory bytes.

    Matmul-like work is ``batch`` independent products C[m,n] = A[m,k] B[k,n], where A is the
    activation and B the weight or KV operand.  Vector-like work has ``m`` rows of ``n`` columns.
    Attention also fills the attention fields.

    Attributes
    ----------
    kind : str
        Canonical operator kind (matmul, attention, softmax, norm, elementwise, gather, ...).
    function : str
        Variant within the kind (``rmsnorm``, ``silu_mul``, ``score``, ...).
    dtype : str
        Format that the unit computes in: the wider of the two operands' formats.
    bits_a, bits_b, bits_c : int
        Bits per element of activation operand, weight/KV operand and output.
    weight_bytes, kv_bytes : int
        Compulsory bytes of weights and of KV cache or state read; they do not depend on the
        operators before, so they may be prefetched.
    input_bytes, output_bytes : int
        Activations read and written.
    macs, vector_ops : int
        Multiply-accumulates and elementwise operations.
    heads, kv_heads, q_len, kv_len, head_dim, value_dim, causal
        Attention only: ``batch`` sequences, query and KV heads, new and attended tokens.
    height, width
        3 x 3 convolution of one group at stride 1 only: rows and columns of an output image.
    kv_seen
        Mean tokens that a query attends to where a window or a block mask leaves fewer than the
        causal mask does; 0 where none does.
    conv : ConvShape or None
        Of a plain convolution in at most two dimensions.
    density_a, density_b
        Share of the activations and of the weights or KV values that are not zero.
    pattern_a, pattern_b
        How their zeros lie (``2:4``, ``unstructured``, ...); empty where none are known.
    """

    kind: str
    function: str = ""
    dtype: str = "bf16"
    batch: int = 1
    m: int = 1
    n: int = 1
    k: int = 1
    bits_a: int = 16
    bits_b: int = 16
    bits_c: int = 16
    weight_bytes: int = 0
    kv_bytes: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    macs: int = 0
    vector_ops: int = 0
    heads: int = 0
    kv_heads: int = 0
    q_len: int = 0
    kv_len: int = 0
    head_dim: int = 0
    value_dim: int = 0
    causal: bool = False
    kv_seen: int = 0
    height: int = 0
    width: int = 0
    conv: ConvShape | None = None
    density_a: float = 1.0
    density_b: float = 1.0
    pattern_a: str = ""
    pattern_b: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a unit needs for one `Work`.

    Attributes
    ----------
    compute_ps : int
        Time on the unit with all operands at hand; with `includes_memory`, the whole kernel.
    launch_ps : int
        Fixed time before the unit starts (kernel launch, command set-up), part of no overlap.
    weight_traffic_bytes, input_traffic_bytes, output_traffic_bytes : int
        Bytes that cross the unit's memory interface, re-reads included (weight: weights and KV).
    tiles : int
        Natural number of equal tiles, at least 1: how finely loads and compute can overlap.
    includes_memory : bool
        The time already contains the memory side (a GPU kernel, in-memory compute).
    energy_pj : dict
        Dynamic energy by component name (``mac``, ``buffer``, ``register``, ...), without the
        energy of memory traffic, which the memory itself accounts for.
    ideal_ps : float
        Time at the unit's peak rate, for utilisation.
    loads_within : float
        Part of the work, from its start, within which all weights load: below 1 where they are
        read in a first pass over them and found in the buffer in the others.
    choice : str
        What the unit chose (dataflow and tile, kernel), for the operator table.
    held_ps : int
        With `includes_memory`, time of the memory that the work takes from other units' streams
        while it runs beside them.
    """

    compute_ps: int
    launch_ps: int = 0
    weight_traffic_bytes: int = 0
    input_traffic_bytes: int = 0
    output_traffic_bytes: int = 0
    tiles: int = 1
    includes_memory: bool = False
    energy_pj: dict[str, float] = field(default_factory=dict)
    ideal_ps: float = 0.0
    choice: str = ""
    held_ps: int = 0
    loads_within: float = 1.0


class Component(Spec):
    """A part of a device that takes time, energy and area."""

    role: ClassVar[str]

    source: str | dict[str, str] = ""
    """Where the parameters come from: one text, or one per field with `default` for the rest;
    that of the enclosing mapping where absent."""
    technology_nm: Nanometres | None = None
    """Process node; the device's own where absent."""
    given_area_mm2: SquareMillimetres | None = None
    """Published area of the component; where absent the area model answers."""

    def area_mm2(self, technology_nm: float) -> float:
        """Return the component's area at the device's process node.

        Parameters
        ----------
        technology_nm : float
            The device's node, used unless the component names its own.
        """
        if self.given_area_mm2 is not None:
            return self.given_area_mm2
        return self.model_area_mm2(self.technology_nm or technology_nm)

    def model_area_mm2(self, technology_nm: float) -> float:
        """Return the area by the component's model; 0 where the kind has none."""
        return 0.0


class Memory(Component):
    """A memory: capacity, the time of a stream, the energy of its bits."""

    role: ClassVar[str] = "memory"

    @abstractmethod
    def capacity(self) -> float:
        """Return the capacity in bytes."""

    @abstractmethod
    def bandwidth(self) -> float:
        """Return the sustained streaming bandwidth in bytes per second."""

    @abstractmethod
    def peak_bandwidth(self) -> float:
        """Return the pin (or port) bandwidth in bytes per second."""

    def stream_ps(self, size_bytes: int) -> int:
        """Return the time of a sequential stream of `size_bytes`, in ps."""
        return to_ps(size_bytes / self.bandwidth()) if size_bytes else 0

    def write_ps(self, size_bytes: int) -> int:
        """Return the time of writing `size_bytes` in order, in ps: that of reading by default."""
        return self.stream_ps(size_bytes)

    @abstractmethod
    def energy_pj(self, size_bytes: int) -> float:
        """Return the energy of moving `size_bytes` across the interface."""

    def background_w(self) -> float:
        """Return the standing power (refresh, standby, leakage)."""
        return 0.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What surrounds a unit when it estimates: its memories and the policy's options.

    Attributes
    ----------
    memory : Memory
        Where weights, KV cache and spilled activations come from.
    buffer : Memory or None
        On-chip memory that holds tiles; None for units with none of their own.
    technology_nm : float
        The device's process node.
    dataflow : {"auto", "os", "ws", "is"}
        Dataflow of arrays; ``auto`` lets the unit take the fastest.
    double_buffer_stationary : bool
        The array's stationary operand is loaded while the previous fold computes.
    tile_buffers : int
        Tiles in the on-chip buffer per stream: 1 serialises load and compute, 2 overlaps them.
    beside_traffic : bool
        Other units may stream from the memory while this one computes in it.
    nests : NestPolicy
        How units that run loop nests choose them.
    """

    memory: Memory
    buffer: Memory | None
    technology_nm: float
    dataflow: Dataflow = "auto"
    double_buffer_stationary: bool = True
    tile_buffers: int = 2
    beside_traffic: bool = False
    nests: NestPolicy = _SEARCHED


class Unit(Component):
    """A unit that computes: says what it can run, and what that needs."""

    role: ClassVar[str] = "unit"

    memory: str
    """Name of the device memory that the unit streams from."""
    buffer: str | None = None
    """Name of the on-chip memory that holds its tiles."""

    @abstractmethod
    def refusal(self, work: Work) -> str:
        """Return why the unit cannot run `work`; empty where it can."""

    @abstractmethod
    def estimate(self, work: Work, setting: Setting) -> Estimate:
        """Return what the unit needs for `work`; only called where `refusal` is empty."""

    def occupies_memory(self, memory: Memory) -> bool:
        """Return whether computing keeps the unit's memory from serving others meanwhile."""
        return False

    def leakage_w(self, technology_nm: float) -> float:
        """Return the standing power of the unit."""
        return 0.0


class Link(Component):
    """A connection between devices."""

    role: ClassVar[str] = "link"

    @abstractmethod
    def collective_ps(self, pattern: str, size_bytes: int, devices: int) -> int:
        """Return the time of a collective (``all_reduce``, ``all_gather``, ``transfer``)."""

    @abstractmethod
    def collective_bytes(self, pattern: str, size_bytes: int, devices: int) -> int:
        """Return the bytes that one device sends during the collective."""

    @abstractmethod
    def energy_pj(self, size_bytes: int) -> float:
        """Return the energy of sending `size_bytes` over one link."""
