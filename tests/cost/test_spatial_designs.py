"""NVDLA, Simba and TPUv4i as arrays of loop nests: what their documents say follows from files.

Figures of NVDLA are those of nvdla/doc 0595452, doc/hw/v1/ias/unit_description.rst, for the sizes
of nvdla/hw 33aaf82, spec/defs/nv_large.spec.
"""

from __future__ import annotations

import math

import pytest

from accelsim import arch, mapping
from accelsim.cost import ConvShape, NestPolicy, Setting, Work
from accelsim.cost.spatial import SpatialArray
from accelsim.nest import Figures, Nest, evaluate

ATOM_CHANNELS, ATOM_KERNELS, LEAVING = 64, 32, 16


def run(name: str, work: Work, policy: NestPolicy) -> tuple[Nest, Figures, SpatialArray]:
    """Return how the array of an architecture runs an operator."""
    loaded = arch.load(name)
    array = loaded.device.units["array"]
    assert isinstance(array, SpatialArray)
    memories = loaded.device.memories
    buffer = memories[array.buffer or ""]
    setting = Setting(memories[array.memory], buffer, loaded.technology_nm, nests=policy)
    run = array.nest(work, setting)
    inside = evaluate(run.problem, run.hierarchy.with_free_memory(), run.nest, run.rules)
    return run.nest, inside, array


def conv(out: int, kernel: int, channels: tuple[int, int], stride: int = 1) -> Work:
    """Return a convolution of int8 tensors."""
    shape = ConvShape((out, out), (kernel, kernel), channels, stride=(stride, stride))
    return Work("conv", dtype="int8", bits_a=8, bits_b=8, bits_c=8, conv=shape)


def rule(name: str, condition: str = "") -> NestPolicy:
    """Return what the first rule of a mapping whose condition ends so says of nests."""
    found = next(one for one in mapping.load(name).place if one.when.endswith(condition))
    assert found.nest is not None
    return found.nest


def used(nest: Nest, array: SpatialArray, level: str) -> dict[str, int]:
    """Return the dims that a level unrolls, or loops over, by factor."""
    place = [one.name for one in array.levels].index(level)
    return {loop.dim: loop.factor for loop in nest.loops[place] if loop.factor > 1}


def striped(positions: int) -> NestPolicy:
    """Return NVDLA's nest of one kernel group with stripes of so many positions, 64 in all."""
    return NestPolicy(
        given={
            "CACC": {"p": 64 // positions, "c": 4, "r": 3, "s": 3},
            "atomic_k": {"m": ATOM_KERNELS},
            "atomic_c": {"c": ATOM_CHANNELS},
            "weight_register": {"p": positions // 8, "q": 8},
        }
    )


def test_nvdla_weights_load_within_a_stripe_of_as_many_positions_as_kernels() -> None:
    """Shorter stripes wait for their weights, one kernel per cycle; longer ones never do."""
    work = conv(8, 3, (4 * ATOM_CHANNELS, ATOM_KERNELS))
    products = 64 * 4 * 9  # cycles of all atoms
    cycles = {n: run("nvdla-large", work, striped(n))[1].cycles for n in (8, 16, 32, 64)}
    for positions in (32, 64):
        assert products <= cycles[positions] < 1.1 * products
    for positions in (8, 16):
        waits = products * ATOM_KERNELS / positions
        assert waits <= cycles[positions] < 1.1 * waits


def test_nvdla_one_vector_uses_a_32nd_of_the_units() -> None:
    """A stripe has one position, so that weights take as many cycles as there are kernels."""
    work = Work("matmul", dtype="int8", bits_a=8, bits_b=8, bits_c=8, m=1, n=128, k=1024)
    given = {
        "CBUF": {"n": 128 // ATOM_KERNELS},
        "CACC": {"k": 1024 // ATOM_CHANNELS},
        "atomic_k": {"n": ATOM_KERNELS},
        "atomic_c": {"k": ATOM_CHANNELS},
    }
    _, figures, array = run("nvdla-large", work, NestPolicy(given=given))
    loads = 128 * 1024 / array.units * ATOM_KERNELS
    first = 4 * ATOM_KERNELS  # of each of four kernel groups, which nothing hides
    assert loads <= figures.cycles < 1.01 * (loads + first)


@pytest.mark.parametrize(
    ("kernel", "condition", "rows"),
    [
        (7, "kernel_width <= 32 and kernel_height >= 4", 2),
        (5, "kernel_width <= 16 and kernel_height >= 4", 4),
        (3, "in_channels <= 4", 1),
    ],
)
def test_nvdla_images_unroll_columns_and_few_rows(kernel: int, condition: str, rows: int) -> None:
    """Channels by kernel columns, and two or four rows where these are at most 32 or 16."""
    policy = rule("nests-nvdla", condition)
    nest, _, array = run("nvdla-large", conv(56, kernel, (3, 64), stride=2), policy)
    unrolled = used(nest, array, "atomic_c")
    assert unrolled.get("r", 1) == rows
    assert set(unrolled) <= {"c", "s", "r"}
    assert math.prod(unrolled.values()) <= ATOM_CHANNELS


def test_nvdla_features_never_unroll_the_kernel() -> None:
    """Only images do; lanes beyond the channels idle."""
    policy = rule("nests-nvdla", "kind == 'conv'")
    nest, figures, array = run("nvdla-large", conv(28, 3, (32, 64)), policy)
    assert used(nest, array, "atomic_c") == {"c": 32}
    assert figures.cycles >= 28 * 28 * 9 * 2


def test_nvdla_results_leave_sixteen_per_cycle() -> None:
    """A convolution of one atom of channels is bound by what follows, not by products."""
    loaded = arch.load("nvdla-large")
    array = loaded.device.units["array"]
    assert isinstance(array, SpatialArray)
    memories = loaded.device.memories
    policy = rule("nests-nvdla", "kind == 'conv'")
    work = conv(56, 1, (64, 256))
    setting = Setting(memories["dram"], memories["cbuf"], 16.0, nests=policy)
    leaving = 56 * 56 * 256 / LEAVING
    products = 56 * 56 * 256 * 64 / array.units
    assert products < leaving <= array.figures(work, setting).cycles


def test_simba_peak_and_order_of_work() -> None:
    """4.01 TOPS of a chip; lanes add up channels, vector units make results, weights stay."""
    policy = rule("nests-simba", "kind == 'conv'")
    nest, figures, array = run("simba-chiplet", conv(16, 3, (128, 128)), policy)
    assert 2e-12 * array.peak_macs_per_s("int8") == pytest.approx(4.01)
    assert used(nest, array, "lanes") == {"c": 8}
    assert used(nest, array, "vectors") == {"m": 8}
    assert set(used(nest, array, "Registers")) <= {"p", "q"}
    assert figures.cycles >= 16 * 16 * 9 * 128 * 128 / array.units


def test_tpuv4i_shifts_weights_in_behind_the_streams() -> None:
    """A fold takes its rows or the shift, not both: less than with one set of weights."""
    policy = mapping.load("nests-tpu").place[-1].nest
    assert policy is not None
    folds = 16 / 4  # of 128 x 128 weights, on four arrays
    for rows in (2048, 8):
        work = Work("matmul", dtype="int8", bits_a=8, bits_b=8, bits_c=8, m=rows, n=512, k=512)
        _, figures, array = run("tpuv4i", work, policy)
        one_set = 2 * 128 + 128 + rows - 2  # SCALE-Sim's closed form of a fold
        assert folds * max(rows, 128) <= figures.cycles < folds * one_set
        assert 2 * array.peak_macs_per_s("int8") == pytest.approx(137.6e12, rel=1e-3)
