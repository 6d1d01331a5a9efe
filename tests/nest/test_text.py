"""Nests as text: what is written, read back, is the nest that was counted."""

from __future__ import annotations

import re

import numpy as np
import pytest

from accelsim.nest import Fanout, Hierarchy, Nest, Storage, evaluate, matmul, parse
from accelsim.nest.nest import tile_bits
from accelsim.nest.text import instances, nest_line, nest_text, tiles
from tests.nest.pictured import ALL, Mapped, any_mapped, row_stationary, systolic

SEEDS = range(10)
LOOP = re.compile(r" *(?:parallel-)?for (\w+) in 0\.\.(\d+)(?: \(([\w ]+))?")


def read_text(text: str, mapped: Mapped) -> Nest:
    """Return the nest that a text states, by the names of its levels and tensors."""
    names = [node.name for node in mapped.hierarchy.nodes]
    tensors = {tensor.name for tensor in mapped.problem.tensors}
    loops: dict[str, dict[str, int]] = {}
    keep: dict[str, list[str]] = {}
    level = ""
    for line in text.splitlines()[1:-1]:
        found = LOOP.match(line)
        first = line.split()[0].rstrip(":")
        if found:
            loops.setdefault(found[3] or level, {})[found[1]] = int(found[2])
        elif first in tensors:
            keep[level].append(first)
        elif first in names:
            level = first
            keep[level] = []
    storages = {n.name for n in mapped.hierarchy.nodes if isinstance(n, Storage)}
    return parse(loops, mapped.hierarchy, {k: v for k, v in keep.items() if k in storages})


def read_line(line: str, mapped: Mapped) -> Nest:
    """Return the nest that a line states."""
    short = {tensor.name[0]: tensor.name for tensor in mapped.problem.tensors}
    loops: dict[str, dict[str, int]] = {}
    keep: dict[str, list[str]] = {}
    for part in line.split(" | "):
        found = re.match(r"([\w ]+)(?:\[(\w*)\]|\((.*)\))(.*)", part)
        assert found is not None
        name, held, spread, rest = found.groups()
        stated = re.findall(r"([a-z]+)(\d+)", spread if spread is not None else rest)
        loops[name] = {dim: int(factor) for dim, factor in stated}
        if held is not None:
            keep[name] = [short[letter] for letter in held]
    return parse(loops, mapped.hierarchy, keep)


def costs(mapped: Mapped, nest: Nest) -> tuple[float, float, list[float]]:
    """Return what a nest costs."""
    found = evaluate(mapped.problem, mapped.hierarchy, nest)
    return found.cycles, found.energy_pj, found.accesses.ravel().tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_written_is_what_is_counted(seed: int) -> None:
    """Text and line, read back, cost the same to the last word."""
    mapped = any_mapped(seed)
    expected = costs(mapped, mapped.nest)
    assert costs(mapped, read_text(nest_text(*mapped), mapped)) == expected
    assert costs(mapped, read_line(nest_line(*mapped), mapped)) == expected


@pytest.mark.parametrize("mapped", [systolic(), row_stationary()], ids=["systolic", "rows"])
def test_large_nests_are_written_as_they_are_counted(mapped: Mapped) -> None:
    """Names with spaces, divided memories, fan-outs of several dims."""
    expected = costs(mapped, mapped.nest)
    assert costs(mapped, read_text(nest_text(*mapped), mapped)) == expected
    assert costs(mapped, read_line(nest_line(*mapped), mapped)) == expected


@pytest.mark.parametrize("mapped", [systolic(), row_stationary()], ids=["systolic", "rows"])
def test_tiles_are_those_that_the_capacity_is_checked_with(mapped: Mapped) -> None:
    """Extents multiply to elements, elements times bits are the bits of the check."""
    for level in range(len(mapped.hierarchy.nodes)):
        held = tiles(*mapped, level)
        assert all(np.prod([n for _, n in tile.extents]) == tile.words for tile in held)
        if held:
            found = {tile.tensor: tile.bits for tile in held}
            assert found == tile_bits(mapped.nest, mapped.problem, mapped.hierarchy, level)


def test_shares_count_all_tiles_in_flight_and_partitions() -> None:
    """Of two tiles in flight each takes its part; a divided memory is full by tensor."""
    product, convolved = systolic(), row_stationary()
    (weight,) = tiles(*product, 6)
    assert (weight.words, weight.bits, weight.share) == (1, 8.0, 1.0)
    shares = {tile.tensor: tile.share for tile in tiles(*convolved, 4)}
    assert shares == {"input": 12 / 12, "weight": 80 / 224, "output": 16 / 24}


def test_instances_multiply_what_is_unrolled() -> None:
    """An idle fan-out counts once; units are the product of all."""
    assert instances(*systolic()) == (1, 1, 1, 1, 1, 128, 128 * 128, 128 * 128)
    assert instances(*row_stationary())[-1] == 14 * 5 * 2


def test_idle_and_padded_parts_are_said() -> None:
    """What does not work, and what loops cover beyond the operator, can be read."""
    assert "gang: 1 of 4 instances" in nest_text(*systolic())
    text = nest_text(*row_stationary())
    assert text.startswith("m 128, c 48, p 27, q 27 (padded to 28), r 5, s 5 ")
    assert "parallel-for r in 0..5 (PE rows, 10 of 12)" in text
    assert "111,974,400 multiply-accumulates in 140 of 168 units" in text


def test_a_loop_is_written_as_long_as_it_runs() -> None:
    """A mapping may ask for more passes than a dim has; what runs is what is written."""
    device = Hierarchy((Storage("DRAM", keep=ALL), Fanout("lanes", 4)))
    mapped = Mapped(matmul(5, 4, 1), device, parse({"DRAM": {"m": 8}, "lanes": {"n": 4}}, device))
    assert "for m in 0..5" in nest_text(*mapped)
    assert nest_line(*mapped) == "DRAM[iwo] m5 | lanes(n4)"


def test_tensors_that_begin_alike_are_told_apart() -> None:
    """Letters of the line are as many as it takes."""
    problem = matmul(2, 2, 2)
    renamed = [t if t.name != "weight" else type(t)("inverse", t.axes, t.bits)
               for t in problem.tensors]  # fmt: skip
    problem = type(problem)(problem.dims, problem.sizes, tuple(renamed))
    held = frozenset({"input", "inverse", "output"})
    device = Hierarchy((Storage("DRAM", keep=held),))
    nest = parse({"DRAM": {"m": 2, "n": 2, "k": 2}}, device)
    assert nest_line(problem, device, nest) == "DRAM[inp inv out] m2 n2 k2"
