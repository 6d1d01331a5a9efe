"""Keys: equal where the result must be equal, different where it could differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.explore import Point, point_keys

POINT = Point("tiny-gpt", "small-gpu", "on-gpu", "decode", 1, 128, {"arch.technology_nm": 4})


def test_a_key_is_reproducible(library: Path) -> None:
    """Two runs of the same code over the same files name a point alike."""
    assert point_keys()(POINT, "") == point_keys()(POINT, "")


@pytest.mark.parametrize(
    "change",
    [
        {"model": "tiny-mamba"},
        {"arch": "small-pim"},
        {"mapping": "on-pim"},
        {"phase": "prefill"},
        {"batch": 2},
        {"seq_len": 129},
        {"overrides": {}},
        {"overrides": {"arch.technology_nm": 8}},
        {"overrides": {"arch.technology_nm": "4"}},
        {"overrides": {"arch.device.rows": 4}},
    ],
)
def test_every_part_of_a_point_counts(library: Path, change: dict[str, object]) -> None:
    """Changing any axis changes the key."""
    key = point_keys()
    fields = {name: getattr(POINT, name) for name in POINT.__slots__}
    assert key(Point(**{**fields, **change}), "") != key(POINT, "")  # type: ignore[arg-type]


def test_the_order_of_overrides_does_not_count(library: Path) -> None:
    """Overrides are a mapping."""
    there = {"arch.technology_nm": 2, "arch.device.rows": 8}
    back = dict(reversed(there.items()))
    fields = ("tiny-gpt", "small-gpu", "on-gpu", "decode", 1, 128)
    key = point_keys()
    assert key(Point(*fields, there), "") == key(Point(*fields, back), "")


@pytest.mark.parametrize("file", ["models/tiny-gpt", "arch/small-gpu", "mapping/on-gpu"])
def test_the_content_of_each_file_counts(
    library: Path, tmp_path_factory: pytest.TempPathFactory, file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A changed value in any of the three files changes the key."""
    from tests.explore.conftest import write_library

    before = point_keys()(POINT, "")
    other = tmp_path_factory.mktemp("edited")
    write_library(other)
    path = other / f"{file}.yaml"
    path.write_text(path.read_text().replace("the first", "the second"))
    monkeypatch.chdir(other)
    assert point_keys()(POINT, "") != before


def test_the_content_of_a_base_counts(
    library: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change in a file that the architecture extends changes the key."""
    from tests.explore.conftest import write_library

    keys = set()
    for rows in (16, 32):
        folder = tmp_path_factory.mktemp("based")
        write_library(folder)
        (folder / "arch" / "base.yaml").write_text(f"device: {{rows: {rows}}}\n")
        (folder / "arch" / "small-gpu.yaml").write_text("extends: base\nname: small-gpu\n")
        monkeypatch.chdir(folder)
        keys.add(point_keys()(POINT, ""))
    assert len(keys) == 2


def test_comments_do_not_count(
    library: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is of what a file says, not of how it is laid out."""
    from tests.explore.conftest import write_library

    before = point_keys()(POINT, "")
    other = tmp_path_factory.mktemp("commented")
    write_library(other)
    path = other / "arch" / "small-gpu.yaml"
    path.write_text("# a comment\n" + path.read_text())
    monkeypatch.chdir(other)
    assert point_keys()(POINT, "") == before


def test_the_code_counts(library: Path) -> None:
    """Another version of the code gives other keys."""
    assert point_keys("0.1.0+a")(POINT, "") != point_keys("0.1.0+b")(POINT, "")


def test_an_excluded_point_is_another_thing(library: Path) -> None:
    """Once its rule is gone, an excluded point has no row yet."""
    assert point_keys()(POINT, "too large") != point_keys()(POINT, "")
