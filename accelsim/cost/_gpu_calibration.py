"""The scalars of the GPU kernel model that measurements set, each with its meaning.

One `Calibration` belongs to one GPU and one measurement campaign: two campaigns on the same GPU
model differ by 16 % on the same product.  ``accelsim calibrate`` writes them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from accelsim.config import Fraction, Nonnegative, Positive, Seconds, Spec

__all__ = [
    "Calibration",
    "ClockScalars",
    "ConvolutionScalars",
    "DecodeScalars",
    "FormatScalars",
    "GroupedScalars",
    "LibraryScalars",
    "PrefillScalars",
    "ProductScalars",
    "VectorRules",
    "VectorScalars",
]

Smoothness = Annotated[Positive, Field(ge=1)]


class ProductScalars(Spec):
    """Matrix products; equations in `accelsim.cost._gpu_product.matmul` or `_gpu_blocked`."""

    tiles: Literal["library", "cached", "even"] = "library"
    """Output tiles of a thread block: those of the vendor's library, whole; or of any size that
    shared memory holds, cut to the product, as in analytical rooflines (`_gpu_blocked.blocked`),
    which know no cost of feeding, filling, splitting or camping and no slower clock; with ``even``
    ones besides, all multiprocessors work to the end."""
    compute_efficiency: Fraction
    """Share of the datasheet FLOP/s that one multiprocessor reaches at the boost clock on an
    endlessly large tile."""
    memory_efficiency: Fraction
    """Share of the datasheet memory bandwidth that a kernel reaches."""
    start_s: Seconds
    """Fixed time inside a kernel: block scheduling, first loads, last stores."""
    smoothness: Smoothness
    """Exponent of the smooth maximum of compute and memory time; 1 adds them."""
    edge_elements: Nonnegative
    """Cost of feeding a tile from shared memory, as rows (columns) of extra arithmetic.

    Like `fill_elements` it is a time, counted in elements of the first format of `peak_flops`: a
    format with half the rate spends half as many of its own.
    """
    fill_elements: Nonnegative
    """Steps along the reduction spent filling a thread block's pipeline."""
    sustained_clock: Fraction
    """Clock that the board's power sustains under many waves of products, over the boost clock."""
    watts_per_tflops: Nonnegative = 0.0
    """Power that products at the boost clock would draw, per TFLOP/s of peak, for boards that
    nobody measured: where it is given the sustained clock is the cube root of the board's power
    limit over it, since power goes with frequency and the square of voltage."""
    combine_s: Seconds
    """Fixed time of the kernel that adds the parts of a split reduction."""
    camping: Nonnegative
    """Extra compute time when the rows of one operand start in the same memory channels, a
    multiple of 1 KiB apart; none at an odd multiple of 128 bytes."""

    @model_validator(mode="after")
    def _a_roofline_has_no_other_costs(self) -> ProductScalars:
        parts = ("edge_elements", "fill_elements", "watts_per_tflops", "combine_s", "camping")
        unused = [part for part in parts if getattr(self, part)]
        unused += ["sustained_clock"] if self.sustained_clock < 1 else []
        if self.tiles != "library" and unused:
            raise ValueError(f"`{self.tiles}` tiles know no {', '.join(unused)}: set to nothing")
        return self


class ConvolutionScalars(Spec):
    """Convolutions: the rate of their products over that of plain ones in the same units."""

    implicit: Positive
    """One product, its patches gathered while tiles are loaded."""
    implicit_tensor: Positive | None = None
    """The same on tensor cores, where a campaign has such rows; else as `implicit`."""
    winograd: Positive
    """F(2x2, 3x3) in one kernel."""
    winograd_4x4: Positive
    """F(4x4, 3x3), the products between the kernels that transform."""
    fill_elements: Nonnegative
    """As `ProductScalars.fill_elements`: convolutions come from another library."""

    def gathered(self, arithmetic: str) -> float:
        """Return the share of the implicit product on ``tensor`` cores or ``simt`` lanes."""
        return self.implicit_tensor or self.implicit if arithmetic == "tensor" else self.implicit


class FormatScalars(Spec):
    """What products of a quantised format cost beside those of the section they run in."""

    efficiency: Fraction
    """Share of the section's `compute_efficiency` that kernels of the format reach: operands are
    converted on the way, or kernels are less tuned."""
    start_s: Seconds
    """Further fixed time: the kernel that quantises activations or scales results."""
    tiles: Literal["library", "rows", "fixed"] = "library"
    """Output tiles: the vendor library's; of 16 to 128 rows by the tokens; or of 128 x 128 alone.
    Only the first splits the reduction."""


class GroupedScalars(Spec):
    """Mixture-of-experts layers in one fused kernel per product; `_gpu_product.grouped`."""

    compute_efficiency: Fraction
    memory_efficiency: Fraction
    start_s: Seconds
    """Fixed time of the layer: routing, sorting tokens by expert, two products, activation."""
    smoothness: Smoothness
    edge_elements: Nonnegative
    fill_elements: Nonnegative
    sustained_clock: Fraction
    permute_passes: Nonnegative
    """Times that the routed tokens cross the memory besides the products' own operands: gathered
    before, scattered and summed after."""


class PrefillScalars(Spec):
    """Fused attention over tiles of queries; `accelsim.cost._gpu_attention.prefill`."""

    compute_efficiency: Positive
    """Rate over that of products and softmax one after the other; above 1 where they overlap."""
    start_s: Seconds
    smoothness: Smoothness
    edge_elements: Nonnegative
    """Cost of feeding keys and values to a tile of queries, as extra rows of arithmetic."""
    block_s: Seconds
    """Fixed time of a thread block: its queries loaded, its outputs scaled and stored."""
    tail: Annotated[Nonnegative, Field(le=1)]
    """Share of the longest block that is left, on average, when the other blocks have ended."""
    packed: bool
    """Whether the query heads that share a KV head are packed into one tile (FlashInfer does,
    FlashAttention-2 does not)."""


class DecodeScalars(Spec):
    """Attention of few new tokens, keys split; `accelsim.cost._gpu_attention.decode`."""

    memory_efficiency: Fraction
    start_s: Seconds
    block_s: Seconds
    """Fixed time of a thread block."""
    combine_s: Seconds
    """Fixed time of the kernel that adds the splits."""
    resident: Annotated[float, Field(ge=1, le=4)]
    """Thread blocks that a multiprocessor runs side by side."""
    lone: Annotated[Positive, Field(le=1)]
    """Time of a block alone on its multiprocessor, over that at its share of the bandwidth."""
    most_splits: Annotated[float, Field(ge=1)]
    """Splits beyond which the library does not go."""
    shortest_split: Positive
    """Keys below which the library does not split further."""
    split_alone: bool
    """Whether keys are split also where each query head has its own KV head (vLLM's does not)."""
    overlapped: bool = False
    """Whether products hide behind the stream of keys and values, as in a roofline, or follow."""


class VectorScalars(Spec):
    """Kernels without products; `accelsim.cost._gpu_vector.vector`."""

    memory_efficiency: Fraction
    start_s: Seconds
    """Time of the smallest kernel."""
    smoothness: Smoothness
    l2_bytes_per_clock: Positive
    """What each multiprocessor could stream per clock when the L2 cache holds the operands;
    kernels reach the same share of it as of the memory's bandwidth."""
    row_s: dict[str, Seconds] = Field(default_factory=dict)
    """Function of rows -> least time of the thread block that works on a row: loads, reductions
    and stores that wait for each other; nothing for the rest."""
    efficiency: dict[str, Fraction] = Field(default_factory=dict)
    """Function (``rmsnorm``, ``rope``, ``gelu``, ...) -> share of `memory_efficiency` that its
    kernel reaches, where a campaign measured it; 1 for the rest."""


class VectorRules(Spec):
    """What an analytical model of kernels without products has otherwise than measured GPUs."""

    starts_s: dict[str, Seconds] = Field(default_factory=dict)
    """Function -> time of its smallest kernel, where that is not `VectorScalars.start_s`."""
    rereads: bool = True
    """Whether rows that outgrow the caches are read again; a roofline reads all once."""
    softmax_by_head: bool = False
    """Whether the softmax of an attention in three kernels has one thread block for each head of
    a sequence; what these lack to whole waves, it lacks of bandwidth and arithmetic."""


class ClockScalars(Spec):
    """What a clock shows besides the kernel: max(`least_s`, `launch_s` + kernel)."""

    launch_s: Seconds
    """Time from the first event until the kernel starts."""
    least_s: Seconds = 0.0
    """Time between the events where the kernel ends before the host records the second one."""


class LibraryScalars(Spec):
    """Kernels that differ from one serving library to the next: attention and experts."""

    prefill: PrefillScalars
    decode: DecodeScalars
    grouped: GroupedScalars
    clock: dict[str, ClockScalars] = Field(default_factory=dict)
    """As `Calibration.clock`, for these operators."""


class Calibration(Spec):
    """All scalars of a GPU, as one campaign shows them.

    Sections that the campaign did not measure hold the typical scalars of the generation, as
    `fitted_on` says.
    """

    gpu: str = ""
    """Board that was measured; empty where several are averaged."""
    campaign: str = ""
    """Who measured it, as in the tables' column ``source``."""
    tensor: ProductScalars
    """Products on tensor or matrix cores."""
    simt: ProductScalars
    """Products in the formats that run outside them."""
    convolution: ConvolutionScalars
    formats: dict[str, FormatScalars] = Field(default_factory=dict)
    """Quantised format (``fp8``, ``int8``, ``nvfp4``, and ``int8_wo`` for weights alone) -> what
    its products cost beside those of `tensor`."""
    vector: VectorScalars
    vector_rules: VectorRules = Field(default_factory=VectorRules)
    libraries: Annotated[dict[str, LibraryScalars], Field(min_length=1)]
    """Library (``sglang``, ``vllm``, ``trtllm``) -> scalars of its attention and its experts; the
    first holds where none is named."""
    clock: dict[str, ClockScalars] = Field(default_factory=dict)
    """Operator (or function) of the tables -> what the campaign's clock adds to its kernels;
    nothing where it sees kernels only."""
    fitted_on: dict[str, str]
    """Section (``tensor``, ``sglang.decode``, ...) -> the measured rows, or the boards whose
    median it is."""
    split: str
    """Which rows were fitted and which kept for the error."""
    error: str
    """Error on rows that were not fitted."""

    def clock_of(self, op: str, variant: str = "") -> ClockScalars | None:
        """Return what the clock adds to an operator; None where nothing is known.

        Parameters
        ----------
        op : str
            Operator of the tables.
        variant : str, optional
            Library of an attention or of experts, function of an elementwise operator.
        """
        library = self.libraries.get(variant)
        if library is not None:
            return library.clock.get(op)
        return self.clock.get(variant or op, self.clock.get(op))
