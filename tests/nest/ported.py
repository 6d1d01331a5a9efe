"""Tasks on ZigZag's example arrays: products, and the layers of its ResNet-18."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from accelsim.arch.ported import PortedArraySpec, load_ported
from accelsim.nest import Problem, convolution, matmul
from accelsim.nest.ports import Hiding, Link, Port, PortedTask

OUTPUT_LINKS: tuple[tuple[str, Link], ...] = (
    ("output", "write_down"), ("output", "read_down"), ("output", "write_up"),
    ("output", "read_up"),
)  # fmt: skip


TPU = load_ported("spatial/components/zigzag-tpu-like")
EDGE = load_ported("spatial/components/zigzag-edge-tpu-like")
BROADCAST = TPU.model_copy(update={"systolic": ()})
"""As zigzag-dse 3.8.5 has it: no drain."""


def separate(tensor: str, rate: int, least: int) -> tuple[Port, ...]:
    """A read and a write port of an operand's memory."""
    return (
        Port(rate, least, ((tensor, "read_down"),)),
        Port(rate, least, ((tensor, "write_down"),)),
    )


class Layer(NamedTuple):
    """Square convolution, and how many times the network has it.

    Channels made and read; sides of the output, the kernel, and the image without padding.
    """

    made: int
    read: int
    out: int
    kernel: int
    stride: int
    image: int
    times: int


RESNET18 = (
    Layer(64, 3, 112, 7, 2, 224, 1),
    Layer(64, 64, 56, 3, 1, 56, 4),
    Layer(128, 64, 28, 3, 2, 56, 1),
    Layer(128, 64, 28, 1, 2, 56, 1),
    Layer(128, 128, 28, 3, 1, 28, 3),
    Layer(256, 128, 14, 3, 2, 28, 1),
    Layer(256, 128, 14, 1, 2, 28, 1),
    Layer(256, 256, 14, 3, 1, 14, 3),
    Layer(512, 256, 7, 3, 2, 14, 1),
    Layer(512, 256, 7, 1, 2, 14, 1),
    Layer(512, 512, 7, 3, 1, 7, 3),
)
"""K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1."""


def gemm(spec: PortedArraySpec, m: int, n: int, k: int) -> PortedTask:
    """A product of 8-bit operands, summed up in 16 bits."""
    unrolling = spec.unrolled("matmul")
    return PortedTask(matmul(m, n, k), spec.array(), unrolling, 16, hiding=spec.hiding)


def conv(spec: PortedArraySpec, layer: Layer) -> PortedTask:
    """A convolution of 8-bit operands, summed up in 16 bits."""
    made = convolution(
        (layer.out, layer.out), (layer.kernel, layer.kernel), (layer.read, layer.made),
        stride=(layer.stride, layer.stride),
    )  # fmt: skip
    image, weight, output = made.tensors
    problem = Problem(made.dims, made.sizes, (weight, image, output))  # their order of operands
    stored = {("input", 3): layer.image, ("input", 4): layer.image}
    unrolling = spec.unrolled("convolution")
    return PortedTask(problem, spec.array(), unrolling, 16, stored, spec.hiding)


def resnet18(spec: PortedArraySpec, hiding: Hiding) -> list[tuple[PortedTask, int]]:
    """The convolutions and the classifier, each with its count."""
    found = [(conv(spec, layer), layer.times) for layer in RESNET18]
    found.append((gemm(spec, 1, 1000, 512), 1))
    return [(replace(task, hiding=hiding), count) for task, count in found]
