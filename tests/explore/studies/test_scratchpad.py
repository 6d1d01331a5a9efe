"""Studies of scratchpads: sizes of a problem, and that no method is below ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.errors import InfeasibleError
from accelsim.explore.studies.scratchpad import sizes_bytes
from accelsim.mapping.scratchpad import Problem, Storage, Task, allocate
from tests.explore.studies.studying import rows_of_text

STUDY = """\
kind: scratchpad
name: small
source: none
networks: {net: {model: mobilenetv2, dtype: int8}}
weights: [streamed, resident]
sizes: [largest_operator, middle, no_spill]
methods: [auto, lru, belady]
"""


def test_ours_is_never_above_a_baseline(tmp_path: Path) -> None:
    """At each size; all methods move what is compulsory, and plans are proven."""
    rows = rows_of_text(tmp_path, STUDY)
    best = {(r["arch"], r["mapping.weights"]): r for r in rows if r["mapping"] == "auto"}
    assert {"streamed", "resident"} == {weights for _, weights in best}
    assert len(rows) == 3 * len(best)
    for row in rows:
        mine = best[row["arch"], row["mapping.weights"]]
        assert mine["proven"] == 1.0
        assert mine["noncompulsory_bytes"] <= row["noncompulsory_bytes"]
        assert mine["bound_bytes"] == mine["dram_bytes"] <= row["dram_bytes"]


def test_the_three_sizes_are_of_the_largest_operator_and_of_no_spill() -> None:
    """Two results of one input are added up: 8 bytes at first, 12 in the end."""
    s = [Storage("x", 4, in_dram=True), Storage("a", 4), Storage("b", 4),
         Storage("y", 4, kept=True)]  # fmt: skip
    f, g, h = (Task("f", reads=(0,), makes=(1,)), Task("g", reads=(0,), makes=(2,)),
               Task("h", reads=(1, 2), makes=(3,)))  # fmt: skip
    problem = Problem("diamond", tuple(s), (f, g, h))
    sizes = sizes_bytes(problem)
    assert sizes["largest_operator"] == 12
    assert sizes["largest_operator"] <= sizes["middle"] <= sizes["no_spill"]
    assert allocate(problem, sizes["no_spill"]).noncompulsory_bytes == 0
    with pytest.raises(InfeasibleError):
        allocate(problem, sizes["largest_operator"] - 1)


def test_a_size_that_is_no_larger_than_the_least_has_no_row(tmp_path: Path) -> None:
    """MobileNetV2 streams its weights in the room of its largest operator."""
    rows = rows_of_text(tmp_path, STUDY.replace(", resident]", "]"))
    assert {row["arch"] for row in rows} == {"largest_operator"}
