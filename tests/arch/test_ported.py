"""Files of arrays with ported memories: what they give, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.arch.ported import load_ported
from accelsim.config import library
from accelsim.errors import ConfigError, MappingError
from tests.nest.ported import TPU


def test_a_file_gives_the_array_of_its_figures() -> None:
    array = TPU.array()
    assert array.dims == {"d1": 32, "d2": 32}
    assert [memory.capacity_bits for memory in array.memories] == [1024, 16, 1 << 24, 10**10]
    assert array.memories[2].ports[0].least_bits == 64
    assert array.memories[0].ports[0].least_bits == 8


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("spans: [d1, d2]", "spans: [d1, d3]", "no dim `d3` of the array"),
        ("serves: {weight: [read_down]}", "serves: {wait: [read_down]}", "did you mean `weight`"),
        ("serves: {weight: [read_down]}", "serves: {weight: [reads]}", "read_down"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    tmp_path: Path, old: str, new: str, text: str
) -> None:
    source = library.library_root() / "arch/spatial/components/zigzag-tpu-like.yaml"
    changed = tmp_path / "array.yaml"
    changed.write_text(source.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match=text):
        load_ported(changed)


def test_an_operator_without_an_unrolling_is_refused() -> None:
    with pytest.raises(MappingError, match="how to unroll `matmull`; did you mean `matmul`"):
        TPU.unrolled("matmull")
