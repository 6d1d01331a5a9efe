"""Pictures of nests: every number in them is one of the figures, and no text covers another."""

from __future__ import annotations

import doctest
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.errors import ConfigError
from accelsim.nest import (
    ACCOUNTINGS,
    Fanout,
    Figures,
    Hierarchy,
    Storage,
    evaluate,
    matmul,
    parse,
)
from accelsim.nest.text import count_text, size_text, tiles
from accelsim.report._measured_figures import house_style
from accelsim.report._nest_boxes import nest_figure
from accelsim.report._nest_energy import energy_figure, energy_levels
from accelsim.report._nest_traffic import traffic_figure
from accelsim.report.nest import (
    UNITS,
    draw_energy,
    draw_nest,
    draw_traffic,
    edges,
    traffic_text,
)
from tests.nest.pictured import ALL, Mapped, any_mapped, row_stationary, systolic

SEEDS = range(10)
LARGE = pytest.mark.parametrize("mapped", [systolic(), row_stationary()], ids=["systolic", "rows"])


def figures_of(mapped: Mapped, rules: str = "accelsim") -> Figures:
    return evaluate(*mapped, ACCOUNTINGS[rules])


def texts_of(figure: Any) -> list[str]:
    """Return all texts of a figure, as a reader sees them."""
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def check_texts(figure: Any) -> None:
    """Fail where a text of a figure covers another, or leaves the page."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    hidden = set()  # labels of ticks beyond the axes, which are not drawn
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                hidden |= {tick.label1, tick.label2}
    places = []
    for text in figure.findobj(Text):
        box = text.get_window_extent()
        if text not in hidden and text.get_text() and text.get_visible() and box.width > 1:
            places.append((text.get_text(), box.padded(-1.0)))
    assert places
    page = figure.bbox.padded(1.0)
    for text, box in places:
        assert page.x0 <= box.x0 < box.x1 <= page.x1, text
        assert page.y0 <= box.y0 < box.y1 <= page.y1, text
    for (one, a), (two, b) in itertools.combinations(places, 2):
        slanted = one.endswith("B/s") or two.endswith("B/s")  # its box is far larger than it is
        assert slanted or not a.overlaps(b), (one, two)


@pytest.mark.parametrize("rules", sorted(ACCOUNTINGS))
@pytest.mark.parametrize("seed", SEEDS)
def test_edges_have_all_accesses_and_no_others(seed: int, rules: str) -> None:
    """Added up by level and tensor they are the figures', to the last word."""
    mapped = any_mapped(seed)
    found = figures_of(mapped, rules)
    place = {tensor.name: t for t, tensor in enumerate(mapped.problem.tensors)}
    added = np.zeros_like(found.accesses)
    for edge in edges(*mapped, found):
        t = place[edge.tensor]
        added[edge.outer_level, t, 0] += edge.reads
        added[edge.outer_level, t, 2] += edge.updates
        if edge.inner != UNITS:
            added[edge.inner_level, t, 1] += edge.fills
            added[edge.inner_level, t, 3] += edge.drains
    np.testing.assert_array_equal(added, found.accesses)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_word_serves_as_many_instances_as_the_edge_says(seed: int) -> None:
    """Operands arrive as often as they are sent to; results leave as often as they are summed."""
    mapped = any_mapped(seed)
    result = mapped.problem.tensors[-1].name
    for edge in edges(*mapped, figures_of(mapped)):
        units = edge.inner == UNITS
        if edge.tensor == result:
            assert edge.updates * edge.shared == (mapped.problem.macs if units else edge.drains)
        else:
            assert edge.reads * edge.shared == (mapped.problem.macs if units else edge.fills)


@LARGE
def test_the_table_s_numbers_are_the_accesses(mapped: Mapped) -> None:
    """Cell by cell; bytes are words times their bits."""
    found = figures_of(mapped)
    lines = traffic_text(*mapped, found).splitlines()[1:]
    known = edges(*mapped, found)
    assert len(lines) == len(known)
    for line, edge in zip(lines, known, strict=True):
        t = [tensor.name for tensor in mapped.problem.tensors].index(edge.tensor)
        inner = np.zeros(4) if edge.inner == UNITS else found.accesses[edge.inner_level, t]
        outer = found.accesses[edge.outer_level, t]
        expected = [edge.tensor, edge.outer, edge.inner]
        for words in (outer[0], inner[1], inner[3], outer[2]):
            expected += [count_text(words), size_text(words * edge.bits)] if words else ["-"]
        assert [cell.strip() for cell in line.split("  ") if cell.strip()] == expected


@LARGE
def test_every_edge_with_traffic_is_an_arrow_with_its_numbers(mapped: Mapped) -> None:
    """A tensor that a memory does not hold passes it by: no cell, and no label."""
    from matplotlib.text import Annotation

    found = figures_of(mapped)
    with house_style():
        figure = traffic_figure(*mapped, found, "A title")
    known = edges(*mapped, found)
    arrows = [a for a in figure.findobj(Annotation) if a.arrow_patch is not None]
    directions = [bool(e.reads or e.fills) + bool(e.updates or e.drains) for e in known]
    assert len(arrows) == sum(directions)
    expected: Counter[str] = Counter()
    for edge in known:
        for name in ("reads", "fills", "drains", "updates"):
            if words := getattr(edge, name):
                text = f"{name} {count_text(words)}, {size_text(words * edge.bits)}"
                expected[text] += 1
    shown = Counter(t for t in texts_of(figure) if t.split()[0] in ("reads", "fills", "drains",
                                                                    "updates"))  # fmt: skip
    assert shown == expected
    held = [tile for level in range(len(mapped.hierarchy.nodes)) for tile in tiles(*mapped, level)]
    cells = Counter(f"{tile.tensor}  {size_text(tile.bits)}" for tile in held)
    assert cells <= Counter(texts_of(figure))


@LARGE
def test_arrows_end_at_the_memories_that_they_join(mapped: Mapped) -> None:
    """Long ones pass levels by; thicker ones carry more bytes."""
    from matplotlib.patches import Rectangle
    from matplotlib.text import Annotation

    found = figures_of(mapped)
    with house_style():
        figure = traffic_figure(*mapped, found, "")
    bands = [p for p in figure.findobj(Rectangle) if p.get_zorder() == 1 and p.get_width() > 1]
    tops = sorted(band.get_y() for band in bands)
    assert len(tops) == len(mapped.hierarchy.nodes) + 1
    thickness: dict[float, float] = {}
    joined: Counter[tuple[int, int]] = Counter()
    for arrow in figure.findobj(Annotation):
        if arrow.arrow_patch is None:
            continue
        levels = [int(np.searchsorted(tops, y + 1e-6)) - 1 for y in (arrow.xyann[1], arrow.xy[1])]
        joined[min(levels), max(levels)] += 1
    expected: Counter[tuple[int, int]] = Counter()
    for edge in edges(*mapped, found):
        for outer, inner in ((edge.reads, edge.fills), (edge.updates, edge.drains)):
            if outer or inner:
                expected[edge.outer_level, edge.inner_level] += 1
                thickness[outer * edge.bits] = 0.0
    assert joined == expected
    widths = {a.arrow_patch.get_linewidth() for a in figure.findobj(Annotation) if a.arrow_patch}
    assert len(widths) == len(thickness)


@LARGE
def test_boxes_show_each_level_with_its_loops_and_tiles(mapped: Mapped) -> None:
    """As many loops and tiles as the nest has, under the names of their levels."""
    with house_style():
        figure = nest_figure(*mapped, "A title")
    shown = texts_of(figure)
    loops = [text for text in shown if " in 0.." in text]
    stated = [loop for level in mapped.nest.loops for loop in level if loop.factor > 1]
    assert Counter(text.split("..")[1] for text in loops) == Counter(
        str(one.factor) for one in stated
    )
    for level, node in enumerate(mapped.hierarchy.nodes):
        assert any(text == node.name or text.startswith(f"{node.name} ×") for text in shown)
        for tile in tiles(*mapped, level):
            assert any(text.startswith(size_text(tile.bits)) for text in shown)
        if isinstance(node, Fanout):
            assert any(text.endswith(f"of {node.size:,} instances") for text in shown)


@LARGE
def test_a_memory_s_bar_is_filled_as_far_as_its_tiles_take_it(mapped: Mapped) -> None:
    """Widths of the bar's parts are to the whole as tiles in flight to the capacity."""
    from matplotlib.colors import to_hex
    from matplotlib.patches import Rectangle

    from accelsim.report._nest_page import tensor_colours

    with house_style():
        figure = nest_figure(*mapped, "")
    bars = [p for p in figure.findobj(Rectangle) if round(p.get_height(), 4) == 0.12]
    colours = tensor_colours([tensor.name for tensor in mapped.problem.tensors])
    for tensor, (tint, _) in colours.items():
        parts = [p for p in bars if to_hex(p.get_facecolor()).upper() == tint]
        wholes = {round(p.get_y(), 6): 0.0 for p in parts}
        for p in bars:
            if round(p.get_y(), 6) in wholes and to_hex(p.get_facecolor()).upper() == "#FFFFFF":
                wholes[round(p.get_y(), 6)] += p.get_width()
        expected = []
        for level, node in enumerate(mapped.hierarchy.nodes):
            for tile in tiles(*mapped, level):
                room = getattr(node, "capacity_bits", 0.0)
                room = sum(node.partition_bits.values()) if node.partition_bits else room  # type: ignore[union-attr]
                if tile.tensor == tensor and np.isfinite(room):
                    expected.append(tile.bits * node.buffers / room)  # type: ignore[union-attr]
        found = [p.get_width() / wholes[round(p.get_y(), 6)] for p in parts]
        assert found == pytest.approx(expected)


@LARGE
@pytest.mark.parametrize("kind", ["nest", "traffic", "energy", "energies"])
def test_no_text_covers_another_or_leaves_the_page(mapped: Mapped, kind: str) -> None:
    """Long names too."""
    found = figures_of(mapped)
    title = "An operator with a long name on an architecture with a long name by some policy"
    draw: dict[str, Callable[[], Any]] = {
        "nest": lambda: nest_figure(*mapped, title),
        "traffic": lambda: traffic_figure(*mapped, found, title),
        "energy": lambda: energy_figure({"one": found}, title),
        "energies": lambda: energy_figure(
            {"one": found, "another with a longer name": found, "three": found}, title
        ),
    }
    with house_style():
        check_texts(draw[kind]())


@pytest.mark.parametrize("seed", range(3))
def test_no_text_covers_another_in_small_pictures(seed: int) -> None:
    """Few tensors in few memories make narrow pages."""
    mapped = any_mapped(seed)
    with house_style():
        check_texts(nest_figure(*mapped, ""))
        check_texts(traffic_figure(*mapped, figures_of(mapped), "A title"))


def test_memory_and_units_alone_can_be_drawn() -> None:
    """Nothing between them, no fan-out, no bound, no energy."""
    free = Hierarchy((Storage("DRAM", keep=ALL),))
    mapped = Mapped(matmul(2, 1, 1), free, parse({"DRAM": {"m": 2}}, free))
    with house_style():
        check_texts(nest_figure(*mapped, ""))
        check_texts(traffic_figure(*mapped, figures_of(mapped), ""))


def test_bars_add_up_to_the_energy() -> None:
    """Once by level in the upper part, once by level and tensor in the lower."""
    from matplotlib.patches import Rectangle

    designs = {"product": figures_of(systolic()), "convolution": figures_of(row_stationary())}
    with house_style():
        figure = energy_figure(designs, "")
    total = sum(found.energy_pj for found in designs.values())
    for axes in figure.axes[:2]:
        widths = [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)]
        power = np.log10(sum(widths) / total)  # of the axis' unit, a power of ten
        assert power == pytest.approx(round(power))
    parts = [pj for found in designs.values() for pj in found.energy_by.values() if pj]
    scale = sum(widths) / total
    assert sorted(width / scale for width in widths) == pytest.approx(sorted(parts))


def test_levels_of_several_designs_stand_in_one_order() -> None:
    """What only one design has stands where that design has it."""
    designs = {"product": figures_of(systolic()), "convolution": figures_of(row_stationary())}
    levels = energy_levels(designs)
    assert len(set(levels)) == len(levels)
    assert levels.index("DRAM") < levels.index("LocalBuffer") < levels.index("mac")
    assert levels.index("DRAM") < levels.index("GLB") < levels.index("Spad") < levels.index("mac")


def test_files_are_the_same_every_time(tmp_path: Path) -> None:
    """In every format, and whole: nothing partial is left beside them."""
    mapped = row_stationary()
    found = figures_of(mapped)
    pairs = [
        (
            draw_nest(*mapped, tmp_path / f"{name}.png", title="A title"),
            draw_traffic(*mapped, found, tmp_path / f"{name}.svg", title="A title"),
            draw_energy({"one": found}, tmp_path / f"{name}.pdf", title="A title"),
        )
        for name in ("a", "b")
    ]
    for one, two in zip(*pairs, strict=True):
        assert one.read_bytes() == two.read_bytes()
    assert len(list(tmp_path.iterdir())) == 6


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    """An ending that no picture has, and no design at all."""
    with pytest.raises(ConfigError, match=r"one of \.png, \.svg, \.pdf"):
        draw_nest(*systolic(), tmp_path / "nest.gif")
    free = Hierarchy((Storage("DRAM", keep=ALL),))
    nothing = evaluate(matmul(2, 1, 1), free, parse({"DRAM": {"m": 2}}, free))
    for designs in ({}, {"free": nothing}):
        with pytest.raises(ConfigError, match="no design"):
            draw_energy(designs, tmp_path / "energy.png")
    assert not list(tmp_path.iterdir())


def test_the_samples_show_what_they_are_for() -> None:
    """Bypass, an idle fan-out, divided and unbounded memories, several tiles in flight."""
    product, convolved = systolic(), row_stationary()
    assert any(e.inner_level - e.outer_level > 2 for e in edges(*product, figures_of(product)))
    nodes = [*product.hierarchy.nodes, *convolved.hierarchy.nodes]
    storages = [node for node in nodes if isinstance(node, Storage)]
    assert any(s.partition_bits for s in storages)
    assert any(s.buffers > 1 for s in storages)


@pytest.mark.checkout
def test_the_page_of_the_documentation_is_what_the_code_prints() -> None:
    """Every line of its examples."""
    page = Path(__file__).parents[2] / "docs" / "pictures-of-nests.md"
    found = doctest.testfile(str(page), module_relative=False)
    assert found.attempted > 8
    assert found.failed == 0
