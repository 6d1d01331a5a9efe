"""The accuracy report: a page per reference file, with errors and with what is not modelled."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.errors import ConfigError
from accelsim.report.accuracy import write_accuracy

HEAD = (
    "array_rows,array_cols,dataflow,M,N,K,total_cycles,stall_cycles,overall_util_pct,"
    "mapping_eff_pct,compute_util_pct,ifmap_sram_reads,filter_sram_reads,ofmap_sram_writes,"
    "incl_prefetch_cycles,sim_wall_s,sim_cpu_s\n"
)


def test_a_page_says_rows_errors_and_how_to_make_it_again(tmp_path: Path) -> None:
    """One right row (15 cycles, counted from 0), and one whose reference is 20 cycles."""
    row = "8,8,os,1,1,1,{},0,0.1,1.5,0.1,1,1,17,80,0.02,0.009\n"
    file = tmp_path / "systolic_scalesim_golden.csv"
    file.write_text(HEAD + row.format(14) + row.format(19))
    (page,) = write_accuracy(tmp_path, tmp_path / "pages")
    text = page.read_text()
    assert "| all | 2 | 1 | 0 | 12.50 |" in text
    assert "make validate" in text


def test_a_folder_without_references_is_refused(tmp_path: Path) -> None:
    """Names what was sought, writes nothing."""
    with pytest.raises(ConfigError, match=r"has none of systolic_scalesim_golden\.csv"):
        write_accuracy(tmp_path, tmp_path / "pages")
    assert not (tmp_path / "pages").exists()
