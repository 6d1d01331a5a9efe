"""Figures of Pareto fronts: complete, the same for the same rows, and readable in grey."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from accelsim.explore import METRICS
from accelsim.report.figures import PANELS, pareto_figures, series_axis
from accelsim.report.style import series_styles, unit_scale, wants_log
from tests.report.designs import designs, sweep_of


def names(files: list[Path]) -> list[str]:
    return [file.name for file in files]


def svg_texts(file: Path) -> str:
    """Return the texts of an SVG: matplotlib writes each as a comment before its outline."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", file.read_text(encoding="utf-8")))


def test_there_is_a_png_and_an_svg(tmp_path: Path) -> None:
    """Two objectives give one figure in two formats."""
    files = pareto_figures(designs(), sweep_of(), tmp_path)
    assert names(files) == ["pareto.png", "pareto.svg"]
    assert files[0].read_bytes().startswith(b"\x89PNG")
    assert files[1].read_text().startswith("<?xml")


def test_axes_groups_and_series_are_labelled(tmp_path: Path) -> None:
    """Units stand on the axes, groups over their panels, architectures in the legend."""
    texts = svg_texts(pareto_figures(designs(), sweep_of(), tmp_path)[1])
    assert {"Latency (ms)", "Energy (J)", "Pareto front", "dominated"} <= set(texts.splitlines())
    assert "test, decode, sequence length 1024" in texts
    assert {"model-0", "model-1", "arch-0", "arch-1", "arch-2"} <= set(texts.splitlines())


def test_equal_rows_give_equal_files(tmp_path: Path) -> None:
    """Drawn twice, PNG and SVG are the same bytes."""
    first, second = (
        [file.read_bytes() for file in pareto_figures(designs(), sweep_of(), tmp_path / name)]
        for name in ("a", "b")
    )
    assert first == second


def test_three_objectives_give_a_figure_for_each_pair(tmp_path: Path) -> None:
    """The front is that of all three; each pair of axes shows it."""
    objectives = {"latency_s": "min", "energy_j": "min", "throughput_tokens_per_s": "max"}
    files = pareto_figures(designs(), sweep_of(objectives=objectives), tmp_path)
    assert [name for name in names(files) if name.endswith(".png")] == [
        "pareto-latency-energy.png",
        "pareto-latency-throughput.png",
        "pareto-energy-throughput.png",
    ]


def test_many_groups_go_on_further_figures(tmp_path: Path) -> None:
    """One group more than a figure has panels gives a second figure."""
    files = pareto_figures(designs(models=PANELS + 1, archs=1, each=2), sweep_of(), tmp_path)
    assert names(files) == ["pareto-1.png", "pareto-1.svg", "pareto-2.png", "pareto-2.svg"]
    assert f"model-{PANELS}" in svg_texts(files[3])


def test_without_results_there_is_no_figure(tmp_path: Path) -> None:
    """A sweep of which every point failed draws nothing."""
    assert pareto_figures(designs().tail(1), sweep_of(), tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("rows", [1, 2])
def test_one_design_is_drawn(tmp_path: Path, rows: int) -> None:
    """Axes of no extent are no error."""
    assert pareto_figures(designs().head(rows), sweep_of(front_per=()), tmp_path)


def test_a_single_architecture_is_told_apart_by_what_varies() -> None:
    """With one architecture, colours show the parameter that was swept."""
    frame = designs(archs=1)
    assert series_axis(frame, sweep_of()) == "batch"
    frame["arch.device.banks"] = [2, 4] * (len(frame) // 2) + [2] * (len(frame) % 2)
    assert series_axis(frame, sweep_of()) == "arch.device.banks"
    assert series_axis(designs(archs=2), sweep_of()) == "arch"


def test_no_two_series_look_alike() -> None:
    """70 series have 70 pairs of colour and marker; neighbours differ in both."""
    looks = [(s["color"], s["marker"]) for s in series_styles(map(str, range(70))).values()]
    assert len(set(looks)) == 70
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in pairwise(looks))


def test_the_first_series_differ_in_marker_alone() -> None:
    """In greyscale ten architectures are told apart by their markers."""
    assert len({s["marker"] for s in series_styles(map(str, range(10))).values()}) == 10


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        ("latency_s", [2e-3, 5e-3], (1e3, "ms")),
        ("latency_s", [2e-6], (1e6, "µs")),
        ("energy_j", [5000.0], (1e-3, "kJ")),
        ("area_mm2", [5000.0], (1.0, "mm²")),
        ("latency_s", [0.0], (1.0, "s")),
    ],
)
def test_units_fit_the_values(metric: str, values: list[float], expected: object) -> None:
    """Axes get the SI prefix that their values call for."""
    scale, unit = unit_scale(METRICS[metric], values)
    assert (pytest.approx(scale), unit) == expected


def test_wide_ranges_are_logarithmic() -> None:
    """More than a factor of ten, all above zero, calls for a logarithmic axis."""
    assert wants_log([1.0, 11.0])
    assert not wants_log([1.0, 9.0])
    assert not wants_log([0.0, 100.0])


def test_importing_figures_does_not_import_matplotlib() -> None:
    """Commands that draw nothing do not wait for matplotlib."""
    code = "import accelsim.report.figures, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
