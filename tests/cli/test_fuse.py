"""``accelsim fuse``: policies side by side, their groups as text and as data, and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command

ARCH = """\
name: small
family: spatial
source: {{default: made up for a test}}
technology_nm: 45 nm
device:
  units:
    array:
      kind: spatial
      memory: main
      frequency_hz: 1 GHz
      formats: {{int8: 1}}
      given_mac_energy_pj: {{int8: 0.1}}
      given_leakage_w: 0
      levels:
        - {{name: DRAM, of: memory, keep: [input, weight, output]}}
        - name: Buffer
          capacity_bytes: {capacity}
          may_keep: [input, weight, output]
          read: {{energy_pj_per_bit: 1, bandwidth_bytes_per_s: 64e9}}
          write: {{energy_pj_per_bit: 1, bandwidth_bytes_per_s: 64e9}}
          given_area_mm2: 0
        - {{name: PEs, fanout: 16}}
      source: {{default: made up}}
  memories:
    main:
      kind: sram
      capacity_bytes: 1e9
      bandwidth_bytes_per_s: 16e9
      given_energy_pj_per_bit: 7
      given_leakage_w: 0
      given_area_mm2: 0
      source: {{default: made up}}
"""

SIZES = [
    "--seq-len", "64", "--dtype", "int8", "--set", "model.parameters.shape.h=1",
    "--set", "model.parameters.shape.e=8", "--set", "model.parameters.shape.f=8",
]  # fmt: skip
PARTS = ["--set", "model.parameters.shape.m0=16", "--set", "model.parameters.shape.m1=4"]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return an array of 16 units behind 4 KiB."""
    return _small(tmp_path, "4 KiB")


def _small(folder: Path, capacity: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(ARCH.format(capacity=capacity), encoding="utf-8")
    return path


def test_policies_stand_side_by_side_with_their_groups(accelsim: Command, small: Path) -> None:
    """Whole rows on chip move less than no fusion does; loops stand around their statements."""
    done = accelsim("fuse", "attention-3-pass", small, "apart", "flat", *SIZES)
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.startswith(("apart ", "flat "))}
    assert set(rows) == {"apart", "flat"}
    loop = next(i for i, line in enumerate(lines) if line.strip().startswith("for p in"))
    assert lines[loop + 1].strip().startswith("QK: ")
    assert len(lines[loop + 1]) - len(lines[loop + 1].lstrip()) == 6
    assert any(line.strip().startswith("stays: QK, ") for line in lines)
    assert sum("group " in line for line in lines) == 6 + 1


@pytest.mark.parametrize("objective", ["energy", "latency", "traffic", "edp"])
def test_every_objective_has_its_least_and_its_gap(
    accelsim: Command, tmp_path: Path, objective: str
) -> None:
    """What is made small is at least its bound, and fusion has no more of it than none."""
    small = _small(tmp_path, "64")
    arguments = ("--objective", objective, "--json", *SIZES, "--seq-len", "8")
    data = accelsim("fuse", "attention-3-pass", small, "apart", "free", *arguments).data
    values = []
    for one in data["fusions"]:
        own = {
            "energy": one["energy_pj"], "latency": one["latency_s"],
            "traffic": one["moved_bits"], "edp": one["energy_pj"] * one["latency_s"],
        }[objective]  # fmt: skip
        assert own == pytest.approx(one["bound"] * (1.0 + one["gap"]))
        assert one["gap"] >= 0.0
        assert one["needed_bits"] <= 64 * 8
        values.append(own)
    assert values[1] <= values[0]


def test_one_pass_attention_runs_by_parts_of_the_keys(accelsim: Command, small: Path) -> None:
    """The running maximum and sum stay; only the last division is outside the loop over parts."""
    arguments = ("--json", *SIZES, *PARTS)
    (one,) = accelsim("fuse", "attention-1-pass", small, "flash-attention", *arguments).data[
        "fusions"
    ]
    (group,) = one["groups"]
    assert "m1" in [loop["dim"] for loop in group["loops"]]
    depths = {each["name"]: each["depth"] for each in group["statements"]}
    assert depths.pop("AV") < min(depths.values())
    assert {"RM", "RD", "RNV"} <= {each["tensor"] for each in group["residents"]}


def test_parameters_of_policies_and_devices_can_be_set(accelsim: Command, small: Path) -> None:
    """A policy's, for all that are named; and the outermost memory's energy."""
    arguments = ("--json", *SIZES, "--set", "policy.accounting=accelforge")
    cheap = accelsim("fuse", "attention-3-pass", small, "flat", *arguments).data["fusions"][0]
    dearer = accelsim(
        "fuse", "attention-3-pass", small, "flat", *arguments,
        "--set", "arch.device.memories.main.given_energy_pj_per_bit=70",
    ).data["fusions"][0]  # fmt: skip
    assert dearer["energy_pj"] - cheap["energy_pj"] == pytest.approx(63 * cheap["moved_bits"])


def test_what_cannot_be_is_refused_with_reasons(accelsim: Command, tmp_path: Path) -> None:
    """Names, levels, ranks and formats; and by how much a memory is too small."""
    small = _small(tmp_path, "64")

    def refused(*arguments: object) -> str:
        done = accelsim("fuse", *arguments)
        assert done.status == 2, done.out
        assert "Traceback" not in done.err
        return done.err

    assert "`attention-3-pass`" in refused("attention-3-past", small, "flat")
    assert "unknown fusion policy `flt`" in refused("attention-3-pass", small, "flt")
    assert "`--dtype`" in refused("attention-3-pass", small, "flat")
    assert "no rank `m1`" in refused("attention-3-pass", small, "flash-attention", *SIZES)
    assert "none of `kind: spatial`" in refused("attention-3-pass", "neupims", "flat", *SIZES)
    changed = ("--set", "policy.memory=Bufer")
    assert "no level `Bufer`; did you mean `Buffer`" in refused(
        "attention-3-pass", small, "flat", *SIZES, *changed
    )
    # one query: a row of 64 scores, one of exponentials, and its maximum
    short = refused("attention-3-pass", small, "flat", *SIZES)
    assert "the group `QK` to `AV` needs 129 B in `Buffer`, has 64 B" in short
    assert "short by 65 B" in short


def test_policies_are_shown_by_name_and_by_file(accelsim: Command, tmp_path: Path) -> None:
    """As designs of every other kind are."""
    assert accelsim("show", "tpuv4i-flat", "--json").data["kind"] == "fusion"
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nextends: flat\nshared: [p]\n", encoding="utf-8")
    assert "shared" in accelsim("show", path).out
