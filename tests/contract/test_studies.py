"""Every shipped study is sound: rows have the axes and metrics that it announces, and results."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from accelsim.config import library
from accelsim.explore.papers import load_paper, paper_files
from accelsim.explore.published import reproduce
from accelsim.explore.studies import StudySpec, kind, kinds, load_study, study_axes, study_metrics

NAMES = sorted({study for name in paper_files() for study in load_paper(name).studies})
NETWORKS = ("/nvdla", "/simba")  # each row is a whole network, searched
MAIN = {"sweep", "model", "arch", "mapping", "phase", "batch", "seq_len"}


@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_announces_axes_and_metrics(name: str) -> None:
    """Without evaluating anything; its name is the file's."""
    study = load_study(name)
    assert study.name == Path(name).name
    axes = study_axes(study)
    assert set(axes) >= MAIN
    assert all(values and len(values) == len(set(values)) for values in axes.values())
    assert study_metrics(study)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_rows_have_what_is_announced(name: str) -> None:
    """No axis, value or metric that a paper's file could not name; no number out of range."""
    study = load_study(name)
    axes, metrics = study_axes(study), set(study_metrics(study))
    count = 1 if name.endswith(NETWORKS) else 3
    found = list(islice(kind(study.kind).rows(study), count))
    assert len(found) == count
    for row in found:
        assert row["status"] == "done", row["error"]
        assert all(row[axis] in values for axis, values in axes.items() if axis != "sweep")
        numbers = {k: v for k, v in row.items() if k not in (*axes, "status", "error")}
        assert numbers
        families = tuple(metric for metric in metrics if metric.endswith("."))
        assert {k for k in numbers if not k.startswith(families)} <= metrics
        assert all(value >= 0 for value in numbers.values())


def test_every_kind_has_a_study_and_says_what_it_provides() -> None:
    """No kind is shipped untried."""
    assert {load_study(name).kind for name in NAMES} == set(kinds())
    assert all(issubclass(kind(name).Study, StudySpec) for name in kinds())


def test_no_study_lies_in_the_library_unused() -> None:
    """Each is a paper's."""
    folder = library.library_root() / "sweeps" / "papers" / "components" / "studies"
    assert {path.stem for path in folder.glob("*.yaml")} == {Path(name).name for name in NAMES}


@pytest.mark.parametrize("name", [n for n in paper_files() if not load_paper(n).sweeps])
def test_papers_of_studies_alone_answer_every_figure(name: str, tmp_path: Path) -> None:
    """Exact ones within half a percent; of ranges both ends are compared."""
    done = reproduce(load_paper(name), tmp_path, jobs=1, quiet=True)
    for found in done.answers:
        assert found.ours is not None, (found.figure.name, found.reason)
        if found.figure.tier == "exact":
            for mine, theirs in zip(found.ours, found.figure.published, strict=True):
                assert mine == pytest.approx(theirs, rel=0.005), found.figure.name
