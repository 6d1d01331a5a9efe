"""Rooflines: no operator above its roof, none left out unsaid, and a picture that can be read."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import numpy as np
import pytest

from accelsim.errors import ConfigError
from accelsim.evaluation import evaluate, evaluate_generation
from accelsim.report import _roofline_figure, _roofline_points
from accelsim.report._measured_figures import house_style
from accelsim.report._roofline_figure import roofline_figure
from accelsim.report._roofline_places import POINTS, extent, free_place, overlap
from accelsim.report.roofline import draw_roofline, roofline
from accelsim.result import Result
from tests.cli.conftest import Command, accelsim
from tests.report.test_nest import check_texts

__all__ = ["accelsim"]  # a fixture

POINTS_OF_RESULTS = {
    "gpu": ("gpt2", "a100-80gb", "roofline-best", "decode"),
    "array": ("gpt2", "npu-tpuv4i", "npu-only", "prefill"),
    "pim": ("gpt2-xl", "npu-pim-dual", "npu-pim", "decode"),
    "convolution": ("resnet18", "npu-tpuv4i", "npu-only", "forward"),
}


@pytest.fixture(scope="module", params=list(POINTS_OF_RESULTS))
def result(request: pytest.FixtureRequest) -> Result:
    """Return one evaluated pass."""
    model, arch, mapping, phase = POINTS_OF_RESULTS[request.param]
    return evaluate(model, arch, mapping, phase=phase, batch=4, seq_len=256)


def test_no_operator_is_above_its_roof(result: Result) -> None:
    """Neither above its unit's peak nor above its memory's bandwidth times its intensity."""
    found = roofline(result)
    multiply = {(record.block, record.name): record.macs > 0 for record in result.operators}
    for point in found.points:
        peaks = [
            peak.ops_per_s
            for peak in found.peaks
            if peak.unit == point.unit and point.memory == peak.memory
            and peak.elementwise is not multiply[point.block, point.name]
        ]  # fmt: skip
        slope = found.bandwidths_bytes_per_s[point.memory] * point.intensity
        # Times are whole picoseconds.
        assert point.attained_ops_per_s <= min(max(peaks), slope) * (1 + 2e-12 / point.time_s)


def test_points_are_the_records(result: Result) -> None:
    """Operations, bytes and times of the operators, all of which are drawn or counted as idle."""
    found = roofline(result)
    records = {(record.block, record.name): record for record in result.operators}
    assert len(found.points) + found.idle == len(records)
    for point in found.points:
        record = records.pop((point.block, point.name))
        assert point.traffic_bytes == record.traffic_bytes
        assert point.operations == 2 * record.macs if record.macs else point.operations > 0
        assert point.time_s == max(record.compute_s, record.memory_s)
        assert point.share == record.critical_s / result.latency_s
    idle_s = sum(record.critical_s for record in records.values())
    assert found.idle_share == pytest.approx(idle_s / result.latency_s)
    assert not any(record.macs for record in records.values())


def test_the_peak_of_an_array_is_that_of_its_cells() -> None:
    """Rows times columns times arrays times clock, two operations each."""
    model, arch, mapping, phase = POINTS_OF_RESULTS["array"]
    result = evaluate(model, arch, mapping, phase=phase, batch=4, seq_len=256)
    array = result.simulated.lowered.plan.architecture.device.units["array"]
    (peak,) = (peak for peak in roofline(result).peaks if peak.unit == "array")
    assert peak.ops_per_s == pytest.approx(2 * array.peak_macs_per_s(peak.dtype))  # type: ignore[attr-defined]


def test_a_mark_s_area_is_its_part_of_the_time(result: Result) -> None:
    """One mark for each operator, at its place; those above the least size by their time."""
    from matplotlib.collections import PathCollection

    found = roofline(result)
    with house_style():
        figure = roofline_figure(found, "A title")
    axes = figure.axes[0]
    marks = [
        mark for mark in axes.findobj(PathCollection) if len(np.asarray(mark.get_offsets())) == 1
    ]
    assert len(marks) == len(found.points)
    unit = 1e-12 if "TOP/s" in axes.get_ylabel() else 1e-9
    for mark, point in zip(marks, found.points, strict=True):
        x, y = (float(at) for at in np.asarray(mark.get_offsets())[0])
        assert y == pytest.approx(point.attained_ops_per_s * unit)
        if point.traffic_bytes:
            assert x == pytest.approx(point.intensity)
        else:  # apart, right of all others
            finite = [p.intensity for p in found.points if p.traffic_bytes]
            assert x > max(finite, default=0.0)
    large = [(float(m.get_sizes()[0]), p) for m, p in zip(marks, found.points, strict=True)
             if p.share > 0.02]  # fmt: skip
    factors: dict[str, list[float]] = {}
    for area, point in large:
        factors.setdefault(point.kind, []).append(area / point.share)
    for ratios in factors.values():
        assert max(ratios) == pytest.approx(min(ratios))


def test_no_text_covers_another(result: Result) -> None:
    """Names of operators, peaks and memories, and the axes' own."""
    with house_style():
        check_texts(roofline_figure(roofline(result), "A title"))
        check_texts(roofline_figure(roofline(result), "A title that goes on " * 9))


def test_the_operators_with_most_time_are_named(result: Result) -> None:
    """By their names, with their part of the time."""
    from matplotlib.text import Annotation

    found = roofline(result)
    with house_style():
        figure = roofline_figure(found, "")
    shown = "\n".join(text.get_text() for text in figure.findobj(Annotation))
    largest = max(found.points, key=lambda point: point.share)
    assert largest.name in shown


def test_a_text_finds_a_place_or_says_that_there_is_none() -> None:
    """Inside the window, off all obstacles."""
    mark, window = (100.0, 100.0, 110.0, 110.0), (0.0, 0.0, 600.0, 300.0)
    place = free_place(mark, ["a name"], window, [mark])
    assert place is not None
    assert not overlap(place, mark)
    assert place[0] >= mark[2]  # right of it where there is room
    assert place[2] - place[0] == pytest.approx(extent("a name")[0])
    other = free_place(mark, ["a name"], window, [mark, place])
    assert other is not None
    assert not overlap(other, place)
    assert free_place(mark, ["a name"], window, [window]) is None
    assert extent("x")[1] > POINTS * 200 / 72


def test_operators_without_traffic_have_no_intensity() -> None:
    """They are drawn apart."""
    model, arch, mapping, phase = POINTS_OF_RESULTS["array"]
    found = roofline(evaluate(model, arch, mapping, phase=phase, batch=1, seq_len=64))
    apart = [point for point in found.points if not point.traffic_bytes]
    assert apart
    assert all(math.isinf(point.intensity) for point in apart)


def test_the_file_is_the_same_every_time(tmp_path: Path) -> None:
    """And its ending is checked."""
    result = evaluate("gpt2", "a100-80gb", "roofline-best", seq_len=64)
    one, two = (draw_roofline(result, tmp_path / f"{name}.png") for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    with pytest.raises(ConfigError, match=r"one of \.png"):
        draw_roofline(result, tmp_path / "c.jpg")


def test_the_command_draws_it(accelsim: Command, tmp_path: Path) -> None:
    """Beside its tables or its JSON; a whole generation is refused."""
    file = tmp_path / "roofline.png"
    done = accelsim("run", "gpt2", "a100-80gb", "--seq-len", 64, "--roofline", file)
    assert done.status == 0
    assert "roofline.png" in done.out
    assert file.read_bytes().startswith(b"\x89PNG")
    file.unlink()
    assert "summary" in accelsim("run", "gpt2", "a100-80gb", "--roofline", file, "--json").data
    assert file.exists()
    refused = accelsim("run", "gpt2", "a100-80gb", "--phase", "generate", "--roofline", file)
    assert refused.status == 2
    assert "not of a whole generation" in refused.err
    assert "`--phase`: prefill, decode, mixed or forward" in refused.err


@pytest.mark.parametrize("phase", ["prefill", "decode", "mixed"])
def test_each_kind_of_pass_is_drawn(tmp_path: Path, phase: str) -> None:
    """On stages that overlap too; all operators are shown or counted."""
    result = evaluate(
        "gpt2", "a100-80gb", "roofline-best", phase=phase, batch=4, seq_len=64,
        overrides={"mapping.partition.pipeline": 2, "mapping.partition.microbatches": 2},
    )  # fmt: skip
    found = roofline(result)
    assert phase in found.title
    assert len(found.points) + found.idle == len(result.operators)
    file = draw_roofline(result, tmp_path / "roofline.svg")
    assert file.read_text(encoding="utf-8").startswith("<?xml")


def test_a_whole_generation_is_refused_and_its_passes_are_named(tmp_path: Path) -> None:
    """Each of them has a roofline."""
    whole = evaluate_generation("gpt2", "a100-80gb", "roofline-best", seq_len=64)
    with pytest.raises(ConfigError, match=r"pass, this is a generation of \d+ stages") as caught:
        draw_roofline(whole, tmp_path / "roofline.png")
    for stage in whole.stages:
        assert stage.name in caught.value.hint
        assert roofline(stage.result).points
    assert not list(tmp_path.iterdir())


def test_what_is_drawn_knows_nothing_of_what_reads_results() -> None:
    """Values beneath, drawing and reading above them: no import in a circle, of types neither."""
    for module in (_roofline_figure, _roofline_points):
        assert "accelsim.report.roofline" not in inspect.getsource(module)
    assert "_roofline_figure" not in inspect.getsource(_roofline_points)
