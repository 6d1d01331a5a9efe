"""The walk through a space: order, cases, exclusions and shards."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import pytest

from accelsim.errors import ConfigError
from accelsim.explore import Point, exclusion, points, size
from tests.explore.conftest import MakeSweep


def test_the_first_axis_varies_slowest(make_sweep: MakeSweep) -> None:
    """Points come as nested loops over the axes in the order of the file would give them."""
    walked = [(p.model, p.phase, p.batch, p.seq_len) for p in points(make_sweep())]
    models, phases = ("tiny-gpt", "tiny-mamba"), ("prefill", "decode")
    assert walked == list(itertools.product(models, phases, (1, 2, 4), (128, 256)))


def test_every_walk_is_the_same(make_sweep: MakeSweep) -> None:
    """Two walks give equal points in equal order."""
    spec = make_sweep()
    assert list(points(spec)) == list(points(spec))


def test_axes_left_out_have_their_defaults(make_sweep: MakeSweep) -> None:
    """Without phase, batch and seq_len a point is one decode step of one sequence of 1024."""
    spec = make_sweep().model_copy(
        update={"space": {"model": ("tiny-gpt",), "arch": ("small-gpu",), "mapping": ("on-gpu",)}}
    )
    assert list(points(spec)) == [Point("tiny-gpt", "small-gpu", "on-gpu", "decode", 1, 1024, {})]


CASES: list[dict[str, Any]] = [
    {"arch": "small-gpu", "mapping": "on-gpu"},
    {"arch": "small-pim", "mapping": "on-pim", "arch.technology_nm": [2, 4], "batch": 8},
]


def test_a_case_is_laid_over_the_space(make_sweep: MakeSweep) -> None:
    """Each architecture brings its mapping and parameters; its axes replace the common ones."""
    found = list(points(make_sweep(cases=CASES)))
    assert {(p.arch, p.mapping) for p in found} == {
        ("small-gpu", "on-gpu"),
        ("small-pim", "on-pim"),
    }
    pim = [p for p in found if p.arch == "small-pim"]
    assert {p.batch for p in pim} == {8}
    assert {p.overrides["arch.technology_nm"] for p in pim} == {2, 4}
    assert all(not p.overrides for p in found if p.arch == "small-gpu")


@pytest.mark.parametrize(
    "cases",
    [
        (),
        CASES,
        [{"batch": [1, 2]}, {"batch": [2, 8]}, {"batch": [1, 8], "seq_len": [256, 512]}],
    ],
)
def test_size_is_the_number_of_points_and_no_point_comes_twice(
    make_sweep: MakeSweep, cases: list[dict[str, Any]]
) -> None:
    """Cases that overlap give their common points once, and `size` counts them once."""
    spec = make_sweep(cases=cases)
    walked = [repr(point) for point in points(spec)]
    assert size(spec) == len(walked) == len(set(walked))


def test_overlapping_cases_are_their_union(make_sweep: MakeSweep) -> None:
    """No point of any case is lost where cases overlap."""
    spec = make_sweep(cases=[{"batch": [1, 2]}, {"batch": [2, 8]}])
    assert {p.batch for p in points(spec)} == {1, 2, 8}
    assert size(spec) == 2 * 2 * 3 * 2


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 50])
def test_shards_are_a_partition(make_sweep: MakeSweep, shards: int) -> None:
    """Every point is in exactly one shard, and each shard's size is right."""
    spec = make_sweep(cases=CASES)
    parts = [list(points(spec, (i, shards))) for i in range(1, shards + 1)]
    assert [len(part) for part in parts] == [size(spec, (i, shards)) for i in range(1, shards + 1)]
    assert sorted(map(repr, itertools.chain(*parts))) == sorted(map(repr, points(spec)))


def test_a_point_that_fails_a_condition_has_its_reason(make_sweep: MakeSweep) -> None:
    """Exactly the points beyond the limit are excluded, with the rule's reason."""
    spec = make_sweep(where=[{"require": "batch * seq_len < 1024", "reason": "too much"}])
    for point in points(spec):
        beyond = point.batch * point.seq_len >= 1024
        assert exclusion(spec, point) == ("too much" if beyond else "")


def test_conditions_compare_text(make_sweep: MakeSweep) -> None:
    """A condition may name a phase or a model."""
    rule = {"require": "phase == 'decode' or batch == 1", "reason": "prefill one by one"}
    spec = make_sweep(where=[rule])
    kept = {(p.phase, p.batch) for p in points(spec) if not exclusion(spec, p)}
    assert kept == {("prefill", 1), ("decode", 1), ("decode", 2), ("decode", 4)}


def test_a_condition_concerns_only_points_with_its_axes(make_sweep: MakeSweep) -> None:
    """A rule about a parameter leaves alone the architectures that do not vary it."""
    rule = {"require": "arch.technology_nm < 4", "reason": "power"}
    spec = make_sweep(cases=CASES, where=[rule])
    excluded = [p for p in points(spec) if exclusion(spec, p)]
    assert excluded
    assert all(p.overrides["arch.technology_nm"] == 4 for p in excluded)


def test_a_condition_without_value_is_an_error(make_sweep: MakeSweep) -> None:
    """A comparison that fails at some point names the rule and the point."""
    spec = make_sweep(
        space={"arch.technology_nm": [2, "two"]},
        where=[{"require": "arch.technology_nm < 3", "reason": "few"}],
    )
    with pytest.raises(ConfigError, match=r"where\.0\.require.*arch\.technology_nm=two"):
        [exclusion(spec, point) for point in points(spec)]


def test_walking_takes_flat_memory(make_sweep: MakeSweep) -> None:
    """100,000 points are walked in less memory than 1,000 of them would fill."""
    spec = make_sweep(
        space={"batch": {"from": 1, "to": 250, "step": 1}, "seq_len": list(range(1, 101))}
    )
    assert size(spec) == 100_000
    walk = points(spec)
    next(walk)
    tracemalloc.start()
    try:
        for _ in walk:
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000
