"""Every shipped sweep is sound: its points exist, three of them run, resuming equals running."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from accelsim.config import library
from accelsim.explore import Store, load_sweep, run
from accelsim.explore.space import exclusion, points, size

NAMES = library.names("sweeps")


@pytest.mark.parametrize("name", NAMES)
def test_the_file_loads_and_its_name_is_its_own(name: str) -> None:
    """Models, architectures, mappings and parameters that it names exist."""
    spec = load_sweep(name)
    assert spec.name == name
    assert size(spec) > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_names_every_point_once(name: str) -> None:
    """As many as announced, no two alike, not all of them excluded."""
    spec = load_sweep(name)
    listed = list(points(spec))
    assert len(listed) == len(set(map(str, listed)))
    assert any(not exclusion(spec, point) for point in listed)


@pytest.mark.parametrize("name", NAMES)
def test_three_points_run_and_resume_adds_nothing(name: str, tmp_path: Path) -> None:
    """The same rows whether run once or twice."""
    spec = load_sweep(name)
    chosen = list(islice((p for p in points(spec) if not exclusion(spec, p)), 3))
    cases = tuple({name: (value,) for name, value in p.axes().items()} for p in chosen)
    small = spec.model_copy(update={"space": {}, "where": (), "cases": cases})
    store = tmp_path / "points.sqlite"
    first = run(small, store=store, jobs=1, quiet=True)
    again = run(small, store=store, jobs=1, quiet=True)
    assert first.counts.total() == again.counts.total() == 3
    assert first.evaluated == 3
    assert again.evaluated == 0
    with Store(store) as opened:
        assert len(opened) == 3
