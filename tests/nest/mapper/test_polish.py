"""Small steps better what a narrow search kept, and keep to what the mapping fixes."""

from __future__ import annotations

import pytest

from accelsim.nest import accounting, evaluate, matmul
from accelsim.nest.mapper import _task as task
from accelsim.nest.mapper.constraint import Constraint
from accelsim.nest.mapper.search import search
from tests.nest.devices import tpuv4i

PROBLEM = matmul(384, 512, 640)


def test_a_narrow_search_comes_near_a_wide_one(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, device = PROBLEM, tpuv4i()
    wide = search(problem, device, "latency")
    monkeypatch.setattr(task, "_WIDER", 1)
    narrow = search(problem, device, "latency", most_labels=8)
    monkeypatch.setattr(task, "polish", lambda *_: 0)
    plain = search(problem, device, "latency", most_labels=8)
    assert narrow.figures.latency_s <= 1.2 * wide.figures.latency_s
    assert narrow.figures.latency_s < plain.figures.latency_s


def test_steps_keep_what_is_fixed() -> None:
    problem, device = PROBLEM, tpuv4i()
    fixed = {
        "columns": Constraint({"n": 64}, used=64),
        "LocalBuffer": Constraint(dims=frozenset({"m", "k"})),
        "GlobalBuffer": Constraint(keep=frozenset({"weight"})),
    }
    names = [node.name for node in device.nodes]
    for objective in ("latency", "energy", "edp"):
        found = search(problem, device, objective, constraints=fixed, most_labels=64)  # type: ignore[arg-type]
        factors = dict(found.nest.loops[names.index("columns")])
        assert factors["n"] == 64
        assert {loop.dim for loop in found.nest.loops[names.index("LocalBuffer")]} <= {"m", "k"}
        assert found.nest.keeps[names.index("GlobalBuffer")] == {"weight"}
        again = evaluate(problem, device, found.nest, accounting("accelsim"))
        assert again.cycles == found.figures.cycles
