"""The command: what it refuses, its exit status, and that both ways of calling it are one."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from accelsim.measure.bench import command
from accelsim.measure.bench.table import Table
from tests.measure.bench.fake import FakeBackend


class _Described(FakeBackend):
    device_id = ""

    def describe(self) -> dict[str, Any]:
        return {"board": self.board}


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    fake = _Described(free=1e15, case_s=0.0)
    monkeypatch.setattr(command, "_backend", lambda *given: fake)
    return fake


def _run(out: Path, *more: str) -> int:
    return command.main(["quick", "--device", "cpu", "--out", str(out), *more])


def test_done_and_done_again(
    backend: FakeBackend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 0 when all cases are there; the second run finds them."""
    out = tmp_path / "t.csv"
    assert _run(out) == command.DONE
    measured = len(backend.measured)
    assert _run(out) == command.DONE
    assert len(backend.measured) == measured > 50
    assert "no new rows; 68 cases were there" in capsys.readouterr().err
    facts = yaml.safe_load((tmp_path / "t.csv.env.yaml").read_text(encoding="utf-8"))
    with Table(out) as table:
        assert {row["session"] for row in table.rows} <= set(facts)


def test_a_budget_that_ends_first_says_so(
    backend: FakeBackend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 3, and the number of cases that remain."""
    assert _run(tmp_path / "t.csv", "--budget-s", "0.5") == command.MORE
    assert "68 cases remain: run the same command again" in capsys.readouterr().err


def test_a_lost_device_has_its_status(backend: FakeBackend, tmp_path: Path) -> None:
    """Status 4, so that a script knows that trying again on this machine is useless."""
    backend.lost = True
    backend.free = 1.0  # every case fails, and the device does not come back
    assert _run(tmp_path / "t.csv") == command.LOST


def test_choices_narrow_the_suite(backend: FakeBackend, tmp_path: Path) -> None:
    """Operators, formats and a limit select; clocks make rows."""
    out = tmp_path / "t.csv"
    status = _run(
        out, "--ops", "gemm,bmm", "--dtypes", "fp32", "--limit", "3", "--clock", "wall,loop"
    )
    assert status == command.DONE
    with Table(out) as table:
        assert len(table.rows) == 6
        assert {row["dtype"] for row in table.rows} == {"fp32"}
        assert {row["timing"] for row in table.rows} == {"wallclock_sync", "loop"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quik"], "did you mean `quick`"),
        (["quick", "--device", "tpu"], "--device"),
        (["quick", "--clock", "sundial"], "--clock"),
        (["quick", "--l2", "tepid"], "--l2"),
        (["quick", "--ops", "gem"], "did you mean `gemm`"),
        (["quick", "--dtypes", "bf61"], "did you mean `bf16`"),
        (["quick", "--retry", "bad"], "--retry"),
    ],
)
def test_wrong_options_are_named(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is measured, and with what would be right."""
    if "--device" not in arguments:
        arguments = [*arguments, "--device", "cpu"]
    assert command.main([*arguments, "--out", str(tmp_path / "t.csv")]) == command.REFUSED
    assert message in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()


def test_both_commands_have_the_same_options() -> None:
    """`accelsim measure` and `python3 -m accelsim.measure` differ in nothing but the parser."""
    from accelsim.cli.measure import measure

    plain = set(vars(command._parser().parse_args(["quick"])))
    typed = set(inspect.signature(measure).parameters)
    assert plain == typed == {f.name for f in fields(command.Options)} | {"write_graphs"}


def test_the_typed_command_measures(
    backend: FakeBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options arrive, and so does the exit status."""
    from typer.testing import CliRunner

    from accelsim.cli.app import app

    options = ["--device", "cpu", "--budget-s", "0.5", "--out", str(tmp_path / "t.csv")]
    assert CliRunner().invoke(app, ["measure", "quick", *options]).exit_code == command.MORE
    options[3] = "1000"
    assert CliRunner().invoke(app, ["measure", "quick", *options]).exit_code == command.DONE
