"""Writes a loop nest for people: loops indented under the memories that hold their tiles.

What is written is what is counted: loops as long as the kernels run them, tiles as they fill.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from accelsim.errors import bytes_text
from accelsim.nest.hierarchy import Fanout, Hierarchy, Storage
from accelsim.nest.nest import Loop, Nest
from accelsim.nest.problem import Axis, Problem

__all__ = [
    "Tile", "count_text", "held_bits", "instances", "loops", "nest_line", "nest_text",
    "share_text", "size_text", "sizes_text", "tiles",
]  # fmt: skip

_DECIMAL = ("", " k", " M", " G", " T", " P", " E")
_GAP = "  "


@dataclass(frozen=True, slots=True)
class Tile:
    """What one instance of a memory holds of a tensor.

    Attributes
    ----------
    tensor : str
    extents : tuple of (str, int)
        Axis, written as a sum of dims, and elements along it.
    words : int
        Elements.
    bits : float
        Of one tile.
    share : float
        Part of the memory's capacity, or of its partition for the tensor, that all tiles in
        flight take; 0 where the memory has no bound.
    """

    tensor: str
    extents: tuple[tuple[str, int], ...]
    words: int
    bits: float
    share: float

    @property
    def shape(self) -> str:
        """Axes longer than one element, as ``m 512, k 64``."""
        return ", ".join(f"{axis} {extent:,}" for axis, extent in self.extents if extent > 1)


def tiles(problem: Problem, hierarchy: Hierarchy, nest: Nest, level: int) -> tuple[Tile, ...]:
    """Return the tiles that one instance of a memory holds, in the order of the tensors.

    Parameters
    ----------
    problem, hierarchy, nest
        What is mapped where, how.
    level : int
        Place of the memory in the hierarchy; a fan-out holds nothing.
    """
    node = hierarchy.nodes[level]
    if not isinstance(node, Storage):
        return ()
    factor = nest.arrays(problem).factor
    inside = np.minimum(factor[level:].prod(axis=0), problem.arrays.sizes)
    extents = dict(zip(problem.dims, inside.tolist(), strict=True))
    found = []
    for tensor in problem.tensors:
        if tensor.name not in nest.keeps[level]:
            continue
        along = [1 + sum(times * (extents[d] - 1) for times, d in axis) for axis in tensor.axes]
        words = math.prod(along)
        room = node.partition_bits.get(tensor.name, node.capacity_bits)
        share = words * tensor.bits * node.buffers / room if 0 < room < math.inf else 0.0
        axes = tuple(
            (_axis(axis), extent) for axis, extent in zip(tensor.axes, along, strict=True)
        )
        found.append(Tile(tensor.name, axes, words, words * tensor.bits, share))
    return tuple(found)


def _axis(axis: Axis) -> str:
    return "+".join(dim if factor == 1 else f"{factor}{dim}" for factor, dim in axis)


def held_bits(node: Storage, held: tuple[Tile, ...]) -> tuple[float, float]:
    """Return the bits that tiles in flight take in a memory, and the bits that it has.

    Partitions count as far as their tensors are held; infinite where there is no bound.

    Examples
    --------
    >>> held_bits(Storage("Register", 32.0, buffers=2), (Tile("weight", (), 1, 8.0, 0.5),))
    (16.0, 32.0)
    """
    apart = [tile.tensor for tile in held if tile.tensor in node.partition_bits]
    room = sum(node.partition_bits[name] for name in apart)
    if len(apart) < len(held) or not apart:
        room += node.capacity_bits
    return sum(tile.bits for tile in held) * node.buffers, room


def loops(problem: Problem, hierarchy: Hierarchy, nest: Nest) -> tuple[tuple[Loop, ...], ...]:
    """Return the loops of each level that run more than once, outermost first.

    The outermost loop of a dim is cut to what is left of the dim, as it is where it is counted.
    """
    arrays = nest.arrays(problem)
    return tuple(
        tuple(Loop(problem.dims[d], int(factor[d])) for d in order if factor[d] > 1)
        for factor, order in zip(arrays.factor, arrays.order, strict=True)
    )


def instances(problem: Problem, hierarchy: Hierarchy, nest: Nest) -> tuple[int, ...]:
    """Return how many instances of each level work, and last how many units."""
    working = [1]
    for node, found in zip(hierarchy.nodes, loops(problem, hierarchy, nest), strict=True):
        spread = math.prod(loop.factor for loop in found) if isinstance(node, Fanout) else 1
        working.append(working[-1] * spread)
    return tuple(working)


def nest_line(problem: Problem, hierarchy: Hierarchy, nest: Nest) -> str:
    """Return a nest in one line.

    Memories with what they hold (as many letters as tell tensors apart) and their loops,
    fan-outs with what is unrolled over them, outermost first.

    Examples
    --------
    >>> from accelsim.nest import Fanout, Hierarchy, Storage, matmul, parse
    >>> device = Hierarchy((Storage("DRAM"), Fanout("lanes", 4), Storage("Register")))
    >>> loops = {"DRAM": {"m": 2, "k": 8}, "lanes": {"n": 4}}
    >>> keep = {"DRAM": ("input", "weight", "output")}
    >>> nest_line(matmul(2, 4, 8), device, parse(loops, device, keep))
    'DRAM[iwo] m2 k8 | lanes(n4) | Register[]'
    """
    short = _short_names([tensor.name for tensor in problem.tensors])
    between = "" if max(map(len, short.values())) == 1 else " "
    parts = []
    for i, found in enumerate(loops(problem, hierarchy, nest)):
        node = hierarchy.nodes[i]
        stated = " ".join(f"{dim}{factor}" for dim, factor in found)
        if isinstance(node, Fanout):
            parts.append(f"{node.name}({stated})")
            continue
        held = between.join(text for name, text in short.items() if name in nest.keeps[i])
        parts.append(f"{node.name}[{held}] {stated}".rstrip())
    return " | ".join(parts)


def _short_names(names: list[str]) -> dict[str, str]:
    """Return for each name its shortest beginning that tells it apart, all equally long."""
    for length in range(1, max(map(len, names)) + 1):
        if len({name[:length] for name in names}) == len(names):
            break
    return {name: name[:length] for name in names}


@dataclass(frozen=True, slots=True)
class _Line:
    left: str
    words: str = ""
    size: str = ""
    share: str = ""


def nest_text(problem: Problem, hierarchy: Hierarchy, nest: Nest) -> str:
    """Return a nest as a program: one line for each loop, and for each tile that a memory holds.

    Parameters
    ----------
    problem, hierarchy, nest
        What is mapped where, how.

    Returns
    -------
    str
        Elements and size are of one tile in one instance; the part of capacity counts all tiles
        in flight.  ``Register x 64``: 64 instances work.

    Examples
    --------
    >>> from accelsim.nest import Fanout, Hierarchy, Storage, matmul, parse
    >>> device = Hierarchy((Storage("DRAM"), Fanout("lanes", 4), Storage("Register", 32)))
    >>> loops = {"DRAM": {"m": 2}, "lanes": {"n": 4}, "Register": {"k": 8}}
    >>> keep = {"DRAM": ("input", "weight", "output"), "Register": ["output"]}
    >>> print(nest_text(matmul(2, 4, 8), device, parse(loops, device, keep)))
    m 2, n 4, k 8                          elements     size  of capacity
    DRAM                                                56 B
      input   m 2, k 8                           16     16 B
      weight  k 8, n 4                           32     32 B
      output  m 2, n 4                            8      8 B
      for m in 0..2
        parallel-for n in 0..4 (lanes)
          Register x 4                                   1 B   25 % of 4 B
            output                                1      1 B   25 %
            for k in 0..8
              64 multiply-accumulates in 4 of 4 units
    """
    lines = [_Line(sizes_text(problem, hierarchy, nest), "elements", "size", "of capacity")]
    lines.extend(_lines(problem, hierarchy, nest))
    wide = [max(len(getattr(line, name)) for line in lines) for name in ("words", "size")]
    # A line that says nothing on its right may be as long as it likes.
    left = max(len(line.left) for line in lines if line.words or line.size)
    return "\n".join(
        _GAP.join(
            (
                line.left.ljust(left),
                line.words.rjust(wide[0]),
                line.size.rjust(wide[1]),
                line.share,
            )
        ).rstrip()
        for line in lines
    )


def _lines(problem: Problem, hierarchy: Hierarchy, nest: Nest) -> Iterator[_Line]:
    deep = 0
    working = instances(problem, hierarchy, nest)
    for i, found in enumerate(loops(problem, hierarchy, nest)):
        node = hierarchy.nodes[i]
        if isinstance(node, Fanout):
            used = math.prod(loop.factor for loop in found)
            if not found:
                yield _Line(f"{_GAP * deep}{node.name}: 1 of {node.size:,} instances")
            for k, loop in enumerate(found):
                partly = f", {used:,} of {node.size:,}" if k == 0 and used < node.size else ""
                where = f"({node.name}{partly})"
                yield _Line(f"{_GAP * deep}parallel-for {loop.dim} in 0..{loop.factor} {where}")
                deep += 1
            continue
        held = tiles(problem, hierarchy, nest, i)
        yield from _memory(node, held, deep, working[i])
        deep += 1
        for loop in found:
            yield _Line(f"{_GAP * deep}for {loop.dim} in 0..{loop.factor}")
            deep += 1
    units = f"{working[-1]:,} of {hierarchy.units:,} units"
    yield _Line(f"{_GAP * deep}{problem.macs:,} multiply-accumulates in {units}")


def _memory(node: Storage, held: tuple[Tile, ...], deep: int, working: int) -> Iterator[_Line]:
    """Yield the line of a memory and those of its tiles."""
    taken, room = held_bits(node, held)
    name = node.name if working == 1 else f"{node.name} x {working:,}"
    share = f"{share_text(taken / room):>5} of {size_text(room)}" if 0 < room < math.inf else ""
    if node.buffers > 1:
        share += f"{', ' if share else ''}{node.buffers} tiles in flight"
    bits = sum(tile.bits for tile in held)
    yield _Line(_GAP * deep + name, size=size_text(bits) if held else "", share=share)
    widest = max((len(tile.tensor) for tile in held), default=0)
    for tile in held:
        yield _Line(
            f"{_GAP * (deep + 1)}{tile.tensor:<{widest}}  {tile.shape}".rstrip(),
            f"{tile.words:,}", size_text(tile.bits),
            f"{share_text(tile.share):>5}" if tile.share else "",
        )  # fmt: skip


def sizes_text(problem: Problem, hierarchy: Hierarchy, nest: Nest) -> str:
    """Return the dims longer than 1, and where loops cover more than there is, how much."""
    covered = nest.arrays(problem).factor.prod(axis=0)
    parts = [
        f"{dim} {size:,}" + (f" (padded to {cover:,})" if cover > size else "")
        for dim, size, cover in zip(problem.dims, problem.sizes, covered, strict=True)
        if size > 1
    ]
    return ", ".join(parts) or "all dims 1"


def size_text(bits: float) -> str:
    """Return a size in bytes, in three digits with a binary prefix.

    Examples
    --------
    >>> size_text(8 * 512), size_text(8 * 1536 * 1024), size_text(4)
    ('512 B', '1.50 MiB', '4 bits')
    """
    if not math.isfinite(bits):
        return "unbounded"
    if bits % 8 and bits < 8192:
        return f"{bits:.4g} bits"
    return bytes_text(bits / 8.0)


def count_text(number: float) -> str:
    """Return a number in full up to four digits, in three with a decimal prefix beyond.

    Examples
    --------
    >>> count_text(9999), count_text(134217728), count_text(0)
    ('9,999', '134 M', '0')
    """
    if number < 10_000:
        return f"{number:,.4g}"
    scaled = float(f"{number:.2e}")
    power = min(int(math.log10(scaled) + 1e-9) // 3, len(_DECIMAL) - 1)
    return f"{_three(scaled / 1000.0**power)}{_DECIMAL[power]}"


def share_text(share: float) -> str:
    """Return a part as percent in two or three digits.

    Examples
    --------
    >>> share_text(0.25), share_text(0.0312), share_text(0.00001), share_text(1.0)
    ('25 %', '3.1 %', '<0.1 %', '100 %')
    """
    if 0 < share < 0.0005:
        return "<0.1 %"
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.0995 else f"{100 * share:.1f} %"


def _three(amount: float) -> str:
    """Return three digits of a number below 1024, without an exponent."""
    digits = 2 if amount < 9.995 else 1 if amount < 99.95 else 0
    return f"{amount:.{digits}f}"
