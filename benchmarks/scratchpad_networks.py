"""Networks of irregular wiring for scratchpad allocation: DenseNet-121, cells found by search.

The cells are those of github.com/quark0/darts, cnn/genotypes.py at commit 8876e793, and wired as
its cnn/model.py at commit 28419acc wires them; functions before a convolution are part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from accelsim.workload import Dtypes, Workload, forward
from accelsim.workload.author import Graph, Value

__all__ = ["CELLS", "Cells", "cell_network", "densenet121"]

Edge = tuple[str, int]
"""An operator and the number of the state that it reads."""

INT8: Final = Dtypes(weight="int8", activation="int8")


@dataclass(frozen=True, slots=True)
class Cells:
    """The two cells of a network: pairs of edges are added to a new state each."""

    normal: tuple[Edge, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Edge, ...]
    reduce_concat: tuple[int, ...]


CELLS: Final[dict[str, Cells]] = {
    "nasnet-a": Cells(
        (("sep_5", 1), ("sep_3", 0), ("sep_5", 0), ("sep_3", 0), ("avg_pool", 1), ("skip", 0),
         ("avg_pool", 0), ("avg_pool", 0), ("sep_3", 1), ("skip", 1)),
        (2, 3, 4, 5, 6),
        (("sep_5", 1), ("sep_7", 0), ("max_pool", 1), ("sep_7", 0), ("avg_pool", 1),
         ("sep_5", 0), ("skip", 3), ("avg_pool", 2), ("sep_3", 2), ("max_pool", 1)),
        (4, 5, 6),
    ),
    "amoebanet": Cells(
        (("avg_pool", 0), ("max_pool", 1), ("sep_3", 0), ("sep_5", 2), ("sep_3", 0),
         ("avg_pool", 3), ("sep_3", 1), ("skip", 1), ("skip", 0), ("avg_pool", 1)),
        (4, 5, 6),
        (("avg_pool", 0), ("sep_3", 1), ("max_pool", 0), ("sep_7", 2), ("sep_7", 0),
         ("avg_pool", 1), ("max_pool", 0), ("max_pool", 1), ("conv_7x1_1x7", 0), ("sep_3", 5)),
        (3, 4, 6),
    ),
    "darts": Cells(
        (("sep_3", 1), ("sep_3", 0), ("skip", 0), ("sep_3", 1), ("skip", 0), ("sep_3", 1),
         ("sep_3", 0), ("skip", 2)),
        (2, 3, 4, 5),
        (("max_pool", 0), ("max_pool", 1), ("skip", 2), ("max_pool", 0), ("max_pool", 0),
         ("skip", 2), ("skip", 2), ("avg_pool", 0)),
        (2, 3, 4, 5),
    ),
}  # fmt: skip


def densenet121(image: int = 224) -> Workload:
    """Return DenseNet-121 as torchvision wires it: each layer joins all before it anew.

    Reference: Huang et al., arXiv 1608.06993; growth 32, blocks of 6, 12, 24 and 16 layers.
    """
    g = Graph("densenet121", forward(1), INT8)
    x = g.conv(g.input("image", (1, 3, image, image)), 64, 7, stride=2, bias=False)
    x = g.pool(x, 3, function="max", stride=2, padding=1)
    for number, layers in enumerate((6, 12, 24, 16)):
        features = [x]
        for _ in range(layers):
            joined = g.concat(features, 1) if len(features) > 1 else x
            features.append(g.conv(g.conv(joined, 128, 1, bias=False), 32, 3, bias=False))
        x = g.concat(features, 1)
        if number < 3:
            x = g.pool(g.conv(x, x.shape[1] // 2, 1, bias=False), 2, function="mean")
    return _classified(g, x)


def cell_network(
    name: str, *, channels: int = 48, layers: int = 14, image: int = 224, deep_stem: bool = True
) -> Workload:
    """Return a network of cells.

    Parameters
    ----------
    name : str
        One of `CELLS`.
    channels, layers, image : int
        Those of the repository's ImageNet networks unless given; its CIFAR-10 networks have 36
        channels and 20 layers on images of 32 pixels.
    deep_stem : bool
        Three convolutions that divide the image by 8, as for ImageNet; else one, as for CIFAR-10.
    """
    cells = CELLS[name]
    g = Graph(name, forward(1), INT8)
    x = g.input("image", (1, 3, image, image))
    if deep_stem:
        x = g.conv(x, channels // 2, 3, stride=2, bias=False)
        before = g.conv(x, channels, 3, stride=2, bias=False)
        x = g.conv(before, channels, 3, stride=2, bias=False)
    else:
        before = x = g.conv(x, 3 * channels, 3, bias=False)
    halved = deep_stem
    for layer in range(layers):
        reduces = layer in (layers // 3, 2 * layers // 3)
        channels *= 2 if reduces else 1
        first = _halved(g, before, channels) if halved else g.conv(before, channels, 1, bias=False)
        states = [first, g.conv(x, channels, 1, bias=False)]
        before, x = x, _cell(g, cells, states, reduces)
        halved = reduces
    return _classified(g, x)


def _cell(g: Graph, cells: Cells, states: list[Value], reduces: bool) -> Value:
    edges = cells.reduce if reduces else cells.normal
    joined = cells.reduce_concat if reduces else cells.normal_concat
    for one, other in zip(edges[::2], edges[1::2], strict=True):
        made = [
            _OPERATORS[kind](g, states[source], 2 if reduces and source < 2 else 1)
            for kind, source in (one, other)
        ]
        states.append(g.add(*made))
    return g.concat([states[i] for i in joined], 1)


def _separable(size: int) -> Callable[[Graph, Value, int], Value]:
    def apply(g: Graph, x: Value, stride: int) -> Value:
        channels = x.shape[1]
        for step in (stride, 1):
            x = g.conv(x, channels, size, stride=step, padding=size // 2, groups=channels,
                       bias=False)  # fmt: skip
            x = g.conv(x, channels, 1, bias=False)
        return x

    return apply


def _pool(function: str) -> Callable[[Graph, Value, int], Value]:
    return lambda g, x, stride: g.pool(x, 3, function=function, stride=stride, padding=1)


def _skip(g: Graph, x: Value, stride: int) -> Value:
    return x if stride == 1 else _halved(g, x, x.shape[1])


def _halved(g: Graph, x: Value, channels: int) -> Value:
    """Halve the image by two shifted convolutions, each for half of the channels."""
    return g.concat(
        [g.conv(x, channels // 2, 1, stride=2, padding=0, bias=False) for _ in range(2)], 1
    )


def _two_lines(g: Graph, x: Value, stride: int) -> Value:
    channels = x.shape[1]
    for kernel, padding, strides in (
        ((1, 7), (0, 3), (1, stride)),
        ((7, 1), (3, 0), (stride, 1)),
    ):
        x = g.conv(x, channels, kernel, stride=strides, padding=padding, bias=False)
    return x


_OPERATORS: Final[dict[str, Callable[[Graph, Value, int], Value]]] = {
    "sep_3": _separable(3), "sep_5": _separable(5), "sep_7": _separable(7),
    "avg_pool": _pool("mean"), "max_pool": _pool("max"), "skip": _skip,
    "conv_7x1_1x7": _two_lines,
}  # fmt: skip


def _classified(g: Graph, x: Value) -> Workload:
    pooled = g.pool(x, x.shape[2:], function="mean")
    g.output(g.linear(g.reshape(pooled, (1, x.shape[1])), 1000, bias=True))
    return g.build(fold=False)
