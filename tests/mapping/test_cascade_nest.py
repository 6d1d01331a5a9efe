"""How often a tensor is fetched: by ranks here, by the loop-nest model's arrays there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.mapping._cascade_nest import Loop, fetches
from accelsim.nest import Hierarchy, Nest, Storage, evaluate, matmul
from accelsim.nest import Loop as NestLoop

READS, UPDATES = 0, 2  # columns of `Figures.accesses`
ALL = frozenset({"input", "weight", "output"})
# A memory that holds nothing stands between, so that a rank may be looped over twice.
DEVICE = Hierarchy((Storage("DRAM"), Storage("between"), Storage("buffer", may_keep=ALL)))


@st.composite
def orders(draw: st.DrawFn) -> list[Loop]:
    """Draw loops over each of three ranks in any order."""
    ranks = draw(st.permutations("mnk"))
    return [Loop(rank, draw(st.integers(1, 4))) for rank in ranks]


@given(outer=orders(), inner=orders())
def test_a_tensor_comes_as_often_as_in_the_loop_nest_model(
    outer: list[Loop], inner: list[Loop]
) -> None:
    """One rule, stated for named ranks and for arrays: whatever the order and the trips."""
    sizes = dict.fromkeys("mnk", 1)
    for loop in (*outer, *inner):
        sizes[loop.rank] *= loop.trips
    problem = matmul(sizes["m"], sizes["n"], sizes["k"])
    loops = tuple(
        tuple(NestLoop(loop.rank, loop.trips) for loop in level) for level in (outer, inner, ())
    )
    figures = evaluate(problem, DEVICE, Nest(loops, (ALL, frozenset(), ALL)))
    for t, ranks, column in ((0, "mk", READS), (1, "kn", READS), (2, "mn", UPDATES)):
        times = fetches([*outer, *inner], ranks)
        assert figures.accesses[0, t, column] == pytest.approx(problem.words(t) * times)
