"""`accelsim run`: one point, for people and for scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.evaluation import evaluate
from tests.cli.conftest import Command

POINT = ("gpt2", "a100-80gb", "roofline-best")


def test_json_is_what_the_api_returns(accelsim: Command) -> None:
    """Command line and Python give the same figures for the same point."""
    found = accelsim("run", *POINT, "--batch", 4, "--seq-len", 128, "--json").data
    result = evaluate(*POINT, batch=4, seq_len=128)
    assert found["summary"]["latency_s"] == result.latency_s
    assert found["summary"]["energy_j"] == pytest.approx(result.energy_j)
    assert [o["name"] for o in found["operators"]] == [o.name for o in result.operators]


def test_json_adds_up(accelsim: Command) -> None:
    """Energy is the sum of its parts; operators' time on the critical path is the latency."""
    found = accelsim("run", *POINT, "--json").data
    assert sum(found["energy_pj"].values()) == pytest.approx(found["summary"]["energy_j"] * 1e12)
    spent = sum(operator["critical_s"] for operator in found["operators"])
    assert spent == pytest.approx(found["summary"]["latency_s"])


def test_mapping_may_be_left_out(accelsim: Command) -> None:
    """Without a mapping every operator goes to the unit that finishes it first."""
    assert accelsim("run", "gpt2", "null", "--json").data["point"]["mapping"] == "roofline-best"


def test_text_names_every_operator_within_100_columns(accelsim: Command) -> None:
    """Tables are complete and plain where the output is no terminal."""
    done = accelsim("run", *POINT, "--phase", "prefill", "--seq-len", 512)
    assert done.status == 0
    assert max(map(len, done.out.splitlines())) <= 100
    assert "\x1b" not in done.out
    for record in evaluate(*POINT, phase="prefill", seq_len=512).operators:
        assert record.name in done.out


def test_set_changes_a_parameter_and_reads_its_unit(accelsim: Command) -> None:
    """Half the memory clock, in whichever unit it is written, takes longer."""
    path = "arch.device.memories.dram.data_rate_hz"
    before = accelsim("run", *POINT, "--json").data["summary"]["latency_s"]
    slower = [
        accelsim("run", *POINT, "--json", "--set", f"{path}={value}").data["summary"]["latency_s"]
        for value in ("1.5 GHz", "1500 MHz", "1.5e9")
    ]
    assert len(set(slower)) == 1
    assert slower[0] > before


def test_engines_agree(accelsim: Command) -> None:
    """The readable engine gives the same summary as the fast one."""
    found = [accelsim("run", *POINT, "--json", "--engine", e).data for e in ("numba", "simpy")]
    assert found[0]["summary"] == found[1]["summary"]


def test_check_and_exact_change_no_figure(accelsim: Command) -> None:
    """Checking conservation and simulating every layer only take longer."""
    plain = accelsim("run", *POINT, "--json").data["summary"]
    thorough = accelsim("run", *POINT, "--json", "--check", "--exact").data["summary"]
    assert thorough["latency_s"] == pytest.approx(plain["latency_s"])
    assert thorough["energy_j"] == pytest.approx(plain["energy_j"])


def test_infinite_hardware_takes_no_time(accelsim: Command, model_file: Path) -> None:
    """A point of no latency prints, although every share of it is a share of nothing."""
    done = accelsim("run", model_file, "null")
    assert done.status == 0
    assert "0 s" in done.out


def test_json_holds_no_infinity(accelsim: Command) -> None:
    """Python would write Infinity, which is no JSON."""
    done = accelsim("show", "null", "--json")
    assert "Infinity" not in done.out
    assert done.data["facts"]["memory_capacity_bytes"] is None
