"""Architecture files: what they may say, how mistakes are told, and totals over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim import arch
from accelsim.arch import component_kinds
from accelsim.errors import ConfigError

DEVICE = """
name: x
family: npu
technology_nm: 7
source: test
device:
  units:
    array: {kind: systolic, memory: hbm, buffer: sram, rows: 8, columns: 4 * 4,
            frequency_hz: 1 GHz, formats: {bf16: 1}}
  memories:
    hbm: {kind: infinite}
    sram: {kind: sram, technology_nm: 7, capacity_bytes: 1 MiB, bandwidth_bytes_per_s: 1 TB/s}
"""


def written(folder: Path, text: str) -> str:
    path = folder / "x.yaml"
    path.write_text(text)
    return str(path)


def test_a_file_of_our_own_loads_by_its_path(tmp_path: Path) -> None:
    """Quantities, expressions and defaults resolved; main memory is the only one streamed from."""
    loaded = arch.load(written(tmp_path, DEVICE))
    assert loaded.device.units["array"].model_dump()["columns"] == 16
    assert loaded.device.main_memory == "hbm"
    assert loaded.devices == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("memory: hbm", "memory: hmb", "names the memory `hmb`; did you mean `hbm`"),
        ("buffer: sram", "buffer: srom", "names the buffer `srom`; did you mean `sram`"),
        ("kind: systolic", "kind: systolc", "unknown kind `systolc`(.|\n)*`systolic`"),
        ("rows: 8", "rows: -8", r"array\.rows: .*greater than 0 \(found `-8`\)"),
        ("rows: 8", "rowz: 8", r"array\.rowz: unknown key `rowz`; did you mean `rows`"),
        ("frequency_hz: 1 GHz", "frequency_hz: 1 GB", "does not fit hz"),
        ("rows: 8", "rows: columns * 2", "expression cycle"),
        ("technology_nm: 7\nsource", "devices: 4\ntechnology_nm: 7\nsource", "need a `link`"),
        ("formats: {bf16: 1}", "formats: {bf17: 1}", "bf17"),
        ("family: npu\n", "", "`family` is missing"),
    ],
)
def test_a_mistake_is_located(tmp_path: Path, old: str, new: str, says: str) -> None:
    """File, field path, what was found, what is legal."""
    assert old in DEVICE
    text = DEVICE.replace(old, new)
    if "columns * 2" in new:
        text = text.replace("columns: 4 * 4", "columns: rows * 2")
    with pytest.raises(ConfigError, match=f"(?s)x\\.yaml.*{says}"):
        arch.load(written(tmp_path, text))


def test_component_kinds_are_the_files_of_the_cost_room() -> None:
    """A new file is a new kind; nothing else lists them."""
    assert {"systolic", "vector", "gpu", "pim_bank", "null"} <= set(component_kinds("unit"))
    assert {"dram", "sram", "infinite"} <= set(component_kinds("memory"))
    assert set(component_kinds("link")) == {"link"}


def test_a_published_die_replaces_the_sum_of_parts() -> None:
    """The A100's 826 mm2, and for arrays of one's own the sum of models."""
    assert arch.area_mm2(arch.load("a100-80gb")) == 826
    edge = arch.load("edge-npu")
    parts = [*edge.device.units.values(), *edge.device.memories.values()]
    assert arch.area_mm2(edge) == pytest.approx(sum(p.area_mm2(7) for p in parts))
    assert arch.area_mm2(edge) > 0


def test_every_parameter_is_listed_with_value_and_source() -> None:
    """Inherited ones too; expressions show their text."""
    listed = {path: (value, source) for path, value, source in arch.parameters("npu-pim-blocked")}
    assert listed["device.memories.hbm.row_buffers"][0] == 1
    assert "NewtonSim" in listed["device.memories.hbm.timings.rcd"][1]
    frequency = listed["device.units.vector.frequency_hz"]
    assert frequency[1] == "= ${device.units.array.frequency_hz}"


def test_blocked_and_dual_differ_in_nothing_but_row_buffers() -> None:
    """So that comparing them compares that alone."""
    blocked, dual = (
        {path: value for path, value, _ in arch.parameters(name)}
        for name in ("npu-pim-blocked", "npu-pim-dual")
    )
    changed = {path for path in blocked if blocked[path] != dual.get(path)}
    assert changed == {"name", "description", "device.memories.hbm.row_buffers"}
