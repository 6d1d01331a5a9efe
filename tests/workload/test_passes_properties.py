"""Passes of drawn cascades: element by element, and unmoved by what changes nothing."""

from __future__ import annotations

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from accelsim.workload.cascade import Cascade, Reference, cascade_of
from accelsim.workload.families._einsum_config import EinsumConfig
from accelsim.workload.passes import analyse

SIZE = 3
Moment = tuple[int, int]
"""Traversal and coordinate; (0, 0) is before all."""


@st.composite
def programs(draw: st.DrawFn) -> list[str]:
    """Draw statements over rows `r` and a rank `n`: pointwise, sums, running maxima, cycles."""
    along, beside, lines = ["X[r, n]", "V[r, n]"], ["A[r]"], ["F[r, n] = relu(X[r, n])"]
    for i in range(draw(st.integers(1, 9))):
        kind = draw(st.sampled_from(["point", "mixed", "sum", "rows", "run", "last", "cycle"]))
        x, y = (draw(st.sampled_from(along)) for _ in range(2))
        a, b = (draw(st.sampled_from(beside)) for _ in range(2))
        if kind == "point":
            lines.append(f"P{i}[r, n] = exp({x} - {y})")
            along.append(f"P{i}[r, n]")
        elif kind == "mixed":
            lines.append(f"M{i}[r, n] = exp({x} - {a})")
            along.append(f"M{i}[r, n]")
        elif kind == "sum":
            lines.append(f"S{i}[r] = {draw(st.sampled_from(['sum', 'max']))}({x})")
            beside.append(f"S{i}[r]")
        elif kind == "rows":
            lines.append(f"B{i}[r] = {a} / {b}")
            beside.append(f"B{i}[r]")
        elif kind == "cycle":
            lines.append(f"C{i}[r, n] = D{i}[r, n] * {x}")
            lines.append(f"D{i}[r, n + 1] = C{i}[r, n] + {y}")
            along.append(f"D{i}[r, n + 1]")
            beside.append(f"D{i}[r, end]")
        else:
            lines.append(f"R{i}[r, n + 1] = max(R{i}[r, n], {x})")
            along += [f"R{i}[r, n + 1]", f"R{i}[r, n]"]
            if kind == "last":
                beside.append(f"R{i}[r, end]")
    return lines


def cascade(lines: list[str], **ranks: str) -> Cascade:
    shape = {ranks.get(rank, rank): size for rank, size in (("r", 2), ("n", SIZE))}
    return cascade_of(EinsumConfig.model_validate({"shape": shape, "einsums": lines}))


def passes_by_elements(found: Cascade) -> int:
    """Return the passes over `n` when every element is made at the first moment that it can be.

    An element of coordinate k is made when the traversal is at k, after all that it needs; inputs
    are there in every traversal.
    """
    known: dict[tuple[str, int], Moment] = {}

    def needed(read: Reference, k: int) -> Moment:
        maker = found.maker(read.tensor)
        if maker is None:
            return (0, 0)
        if "n" not in maker.made.ranks:
            return made(read.tensor, 0)
        index, own = read.indices[1], maker.made.indices[1].offset
        step = SIZE - 1 if index.last else k + index.offset - own
        return made(read.tensor, step) if step >= 0 else (0, 0)

    def at(one: object, k: int) -> Moment:
        moments = [needed(read, k) for read in one.operands]  # type: ignore[attr-defined]
        return max((traversal + (place > k), k) for traversal, place in [(1, k), *moments])

    def made(tensor: str, k: int) -> Moment:
        if (tensor, k) not in known:
            one = found.maker(tensor)
            assert one is not None
            if "n" not in one.ranks:
                moment = max((needed(read, 0) for read in one.operands), default=(0, 0))
            elif "n" in one.made.ranks:
                moment = at(one, k)
            else:
                moment = max(at(one, every) for every in range(SIZE))
            known[tensor, k] = moment
        return known[tensor, k]

    ends = [
        made(one.made.tensor, k) for one in found.einsums if "n" in one.ranks for k in range(SIZE)
    ]
    return max((traversal for traversal, _ in ends), default=0)


@given(programs())
def test_passes_are_those_of_elements_made_as_early_as_they_can_be(lines: list[str]) -> None:
    """A second computation of the same: one moment per element in place of levels."""
    found = cascade(lines)
    assert analyse(found, "n").count == passes_by_elements(found)


@given(programs(), st.randoms(use_true_random=False))
def test_names_do_not_matter(lines: list[str], draw: random.Random) -> None:
    """Neither those of tensors nor those of ranks."""
    names = sorted({name for line in lines for name in re.findall(r"([A-Z]\d*)\[", line)})
    other = dict(zip(names, draw.sample([f"T{i}" for i in range(99)], len(names)), strict=True))
    renamed = [
        re.sub(r"\bn\b", "long", re.sub(r"([A-Z]\d*)\[", lambda m: other[m[1]] + "[", line))
        for line in lines
    ]
    one, two = analyse(cascade(lines), "n"), analyse(cascade(renamed, n="long"), "long")
    assert _figures(one) == _figures(two)


@given(programs(), st.randoms(use_true_random=False))
def test_the_order_of_independent_statements_does_not_matter(
    lines: list[str], draw: random.Random
) -> None:
    """Neighbours of which neither reads the other change places."""
    moved = list(lines)
    for _ in range(3 * len(lines)):
        i = draw.randrange(len(moved))
        pair = moved[i : i + 2]
        if len(pair) == 2 and not _reads(pair[0], pair[1]) and not _reads(pair[1], pair[0]):
            moved[i : i + 2] = reversed(pair)
    assert _figures(analyse(cascade(lines), "n")) == _figures(analyse(cascade(moved), "n"))


@given(programs())
def test_splitting_an_elementwise_statement_does_not_matter(lines: list[str]) -> None:
    """The difference under an exponential as a statement of its own."""
    split = []
    for line in lines:
        found = re.fullmatch(r"(\w+)(\[.*?\]) = exp\((.*)\)", line)
        if found is None:
            split.append(line)
        else:
            split += [f"{found[1]}x{found[2]} = {found[3]}",
                      f"{found[1]}{found[2]} = exp({found[1]}x{found[2]})"]  # fmt: skip
    one, two = analyse(cascade(lines), "n"), analyse(cascade(split), "n")
    assert _figures(one) == _figures(two)


@given(programs(), st.data())
def test_keeping_more_never_reads_more_inputs_nor_takes_more_passes(
    lines: list[str], data: st.DataObject
) -> None:
    """What is kept is read in place of what it follows from."""
    found = cascade(lines)
    bare = analyse(found, "n")
    made = [e.made.tensor for e in found.einsums if "n" in e.made.ranks]
    kept = data.draw(st.lists(st.sampled_from(made), unique=True)) if made else []
    more = analyse(found, "n", kept)
    assert more.count == bare.count

    def inputs(one: object) -> int:
        return sum(t.reads for t in one.tensors if t.name in found.inputs)  # type: ignore[attr-defined]

    assert inputs(more) <= inputs(bare)
    assert more.held_words == bare.held_words


def _reads(line: str, other: str) -> bool:
    """Whether a statement names what another makes."""
    made = other.split("[")[0]
    return re.search(rf"\b{made}\[", line) is not None


def _figures(found: object) -> tuple[object, ...]:
    names = ("count", "words", "held_words", "state_words", "fibres")
    return tuple(getattr(found, name) for name in names)
