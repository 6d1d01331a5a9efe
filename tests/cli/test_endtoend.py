"""`accelsim validate endtoend`: JSON and text, the report's folder, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.measure.endtoend import KEYS
from tests.cli.conftest import Command

HEAD = "source,gpu,n_devices,model,phase,batch,seq_in,seq_out,dtype,impl,metric,value,notes\n"
ROWS = (
    "neusight,A100-PCIe-40GB,1,bert_large,inference,8,512,0,fp32,hf-eager,latency_ms,205.0,\n"
    "neusight,A100-PCIe-40GB,1,gpt9,inference,8,512,0,fp32,hf-eager,latency_ms,205.0,\n"
    "nvidia-dle,A100-SXM4-80GB,1,resnet50-v1.5,inference,1,224,0,fp16,pytorch,latency_ms,9.0,\n"
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a table in a folder that is the working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "e2e.csv"
    path.write_text(HEAD + ROWS)
    return path


def test_json_has_the_keys_of_the_summary_file(accelsim: Command, file: Path) -> None:
    """And names the files; the launch constant's own row is none that tests."""
    found = accelsim("validate", "endtoend", file, "--json").data
    assert set(found) == {*KEYS, "files"}
    assert (found["rows"], found["modelled"], found["split"]["fit_rows"]) == (3, 2, 1)
    folder = Path("reports/validation/endtoend")
    assert {one.name for one in folder.iterdir()} == {Path(one).name for one in found["files"]}
    assert "`accelsim validate endtoend e2e.csv`" in (folder / "report.md").read_text()


def test_text_has_errors_and_reasons(accelsim: Command, file: Path) -> None:
    """One line per GPU and source, none wider than a page; a source can be asked for alone."""
    out = accelsim("validate", "endtoend", file, "--source", "neusight", "-o", "here").out
    for word in ("1 of 2 rows are simulated", "roofline", "published", "6.5", "A100-PCIe-40GB"):
        assert word in out
    assert "not simulated, 1 rows: neusight: the library has no model `gpt9`" in out
    table = out.split("not simulated")[0].splitlines()[2:]
    assert max(map(len, table)) <= 100
    assert "--source neusight" in Path("here/report.md").read_text()


def test_what_is_refused(accelsim: Command, file: Path) -> None:
    """A missing column or file, an unknown source, a folder that is a file: status 2."""
    unknown = accelsim("validate", "endtoend", file, "--source", "neusigth")
    assert unknown.status == 2
    assert "neusight" in unknown.err
    bad = file.with_name("bad.csv")
    bad.write_text("source,gpu\nx,y\n")
    assert "columns n_devices" in accelsim("validate", "endtoend", bad).err
    assert accelsim("validate", "endtoend", "none.csv").status == 2
    blocked = accelsim("validate", "endtoend", file, "--out", file)
    assert (blocked.status, "cannot be written" in blocked.err) == (2, True)
