"""A drawing shows every operator once, repeated layers with their count, and nothing overlaps."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from accelsim.errors import UnknownNameError
from accelsim.report._layered import layered
from accelsim.report._strips import overview, strips
from accelsim.report.graph import draw, graph_figure
from accelsim.workload import Workload, decode, forward, model_names, workload
from tests.workload.test_serial import usual_phase


def llama() -> Workload:
    return workload("llama2-7b", decode(16, 1023))


def texts(built: Workload, **more: object) -> list[str]:
    figure = graph_figure(built, **more)  # type: ignore[arg-type]
    return [text.get_text() for text in figure.axes[0].texts]


def test_every_operator_is_drawn_once_with_its_sizes() -> None:
    """Names, dims and tensor sizes stand in the boxes; layers stand there once, × 32."""
    said = texts(llama())
    for _, operator in llama().operators():
        assert operator.name in said
    assert said.count("qkv_proj") == 1
    assert "× 32" in said
    assert "m 16, n 12288, k 4096" in said
    assert any(text.startswith("→ 16 × 12288 fp16, 384 KiB; weight 96 MiB") for text in said)


def test_files_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    """PNG and SVG without dates and random names."""
    first = draw(llama(), tmp_path / "a" / "graph")
    again = draw(llama(), tmp_path / "b" / "graph")
    assert [file.name for file in first] == ["graph.png", "graph.svg"]
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_ending_chooses_the_format(tmp_path: Path) -> None:
    """One file of that format."""
    (file,) = draw(llama(), tmp_path / "graph.svg")
    assert file.read_text().startswith("<?xml")


def test_chosen_blocks_alone_are_drawn() -> None:
    """A block's operators; an unknown one names the nearest."""
    said = texts(llama(), blocks=["head"])
    assert "lm_head" in said
    assert "qkv_proj" not in said
    with pytest.raises(UnknownNameError, match="`layers`"):
        texts(llama(), blocks=["layer"])


def test_a_large_network_is_drawn_block_by_block() -> None:
    """A UNet of 561 operators is an overview of its 30 blocks; far sources are named."""
    built = workload("sd15-unet", forward(2))
    said = texts(built)
    for block in built.blocks:
        assert block.name in said
    assert any(text.startswith("+ ") and "down.0.0" in text for text in said)
    assert "resnet.conv1" in texts(built, blocks=["down.0.0"])
    assert "resnet.conv1" in texts(built, detail="operators")


@pytest.mark.parametrize("model", model_names())
def test_boxes_of_a_frame_do_not_overlap(model: str) -> None:
    """In a layer, boxes lie side by side; edges run from earlier layers to later ones."""
    phase = usual_phase(model)
    if phase is None:
        pytest.skip(f"{model} has no single pass")
    built = workload(model, phase)
    for strip in (*strips(built, (), 32), *overview(built, 11)):
        widths = dict.fromkeys(strip.boxes, 2.0)
        found = layered(list(strip.boxes), strip.edges, widths, 0.2)
        for one, other in combinations(strip.boxes, 2):
            if found.layer[one] == found.layer[other]:
                assert abs(found.x[one] - found.x[other]) >= 2.2 - 1e-6
        for one, other in strip.edges:
            assert found.layer[one] < found.layer[other]
            assert len(found.routes[one, other]) == found.layer[other] - found.layer[one] - 1


def _parts(built: Workload) -> Iterator[str]:
    for strip in strips(built, (), 10):
        yield from (name for name in strip.boxes if name.startswith("op "))


def test_long_blocks_are_cut_without_loss() -> None:
    """Frames of ten operators hold all of them, and hand on what later ones read."""
    built = workload("mixtral-8x7b", decode(1, 7))
    assert len(list(_parts(built))) == sum(1 for _ in built.operators())
    first, second = (s for s in strips(built, (), 10) if s.title.startswith("layers"))
    assert (first.title, second.title) == ("layers (1 of 2)", "layers (2 of 2)")
    assert set(second.entries) <= set(first.exits) | set(first.entries)


def test_pictures_stay_within_what_viewers_open(tmp_path: Path) -> None:
    """No side of a PNG exceeds 16,000 pixels, however large the network."""
    built = workload("sdxl-unet", forward(1))
    (file,) = draw(built, tmp_path / "big.png", detail="operators")
    assert max(struct.unpack(">II", file.read_bytes()[16:24])) <= 16_000


def test_chains_are_straight_and_bends_go_round() -> None:
    """Boxes of a chain stand above one another; an edge over them passes beside them."""
    edges = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")]
    found = layered("abcd", edges, dict.fromkeys("abcd", 2.0), 0.5)
    assert abs(found.x["b"] - found.x["c"]) < 0.05
    for layer, x in enumerate(found.routes["a", "d"], start=1):
        (box,) = (n for n in "abcd" if found.layer[n] == layer)
        assert abs(x - found.x[box]) >= 1.5 - 1e-6
