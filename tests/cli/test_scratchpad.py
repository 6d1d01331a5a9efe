"""`accelsim scratchpad`: plans with their traffic, proof, baselines and picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelsim.mapping.scratchpad import METHODS
from tests.cli.conftest import Command

INT8 = ("--set", "model.dtypes.activation=int8", "--set", "model.dtypes.weight=int8")
TIGHT = ("scratchpad", "resnet18", *INT8, "--weights", "resident")


def test_a_plan_and_its_baselines_as_json(accelsim: Command) -> None:
    """Nothing on stdout but JSON; traffic, bound and stays agree with each other."""
    said = accelsim(*TIGHT, "--compare", "--json").data
    assert said["status"] == "optimal"
    assert said["traffic_bytes"] == said["bound_bytes"] > said["compulsory_bytes"]
    assert said["traffic_bytes"] == said["compulsory_bytes"] + said["noncompulsory_bytes"]
    read = sum(s["size_bytes"] for s in said["stays"] if s["loaded"])
    assert read == said["read_bytes"]
    assert len(said["order"]) == len(set(said["order"])) == 31
    methods = {b["method"]: b["traffic_bytes"] for b in said["baselines"]}
    assert methods["no-retention"] > methods["lru"] >= said["traffic_bytes"]
    assert methods.keys() == METHODS.keys() - {"auto", "exact", "heuristic"}


def test_a_person_reads_traffic_and_what_is_proven(accelsim: Command, tmp_path: Path) -> None:
    picture = tmp_path / "plan.png"
    out = accelsim(*TIGHT, "--compare", "-o", picture).out
    assert "resnet18 in 2.30 MiB" in out
    assert "(optimal; no plan has less than 11.39 MiB)" in out
    assert "no-retention" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("size", ["least", "middle", "peak", "4 MiB"])
def test_sizes_have_names(accelsim: Command, size: str) -> None:
    """What no traffic above the compulsory one needs is no less than what the largest needs."""
    said = accelsim(*TIGHT, "--capacity", size, "--json").data
    extra = {"least": True, "middle": False, "peak": False, "4 MiB": False}[size]
    assert (said["noncompulsory_bytes"] > 0) is extra or size == "middle"
    assert said["peak_bytes"] <= said["capacity_bytes"]


def test_a_saved_graph_will_do(accelsim: Command, tmp_path: Path) -> None:
    graph = tmp_path / "graph.json"
    accelsim("graph", "save", "resnet18", graph)
    assert json.loads(graph.read_text())
    assert accelsim("scratchpad", graph, "--json").data["noncompulsory_bytes"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--capacity", "128 KiB"), "`stem/max_pool` of `resnet18` in `scratchpad`: needs"),
        (("--capacity", "128 KiB"), "has 128.00 KiB (short by"),
        (("--capacity", "4 apples"), "--capacity: unit `apples` does not fit bytes"),
        (("--capacity", "0"), "capacity_bytes: 0 is not above 0"),
        (("--method", "magic"), "unknown scratchpad method `magic`"),
        (("--block", "stage.9"), "unknown block `stage.9`"),
        (("--weights", "cached"), "unknown way of weights `cached`"),
        (("--time-limit", "0"), "time_limit_s: 0.0 is not above 0"),
    ],
)
def test_bad_input_is_refused_with_what_would_be_right(
    accelsim: Command, options: tuple[str, ...], said: str
) -> None:
    done = accelsim("scratchpad", "resnet18", *options)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
