"""Results: figures that add up, checks that catch what does not, and the critical path."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accelsim.engine import Schedule, from_edges, simulate
from accelsim.errors import ConservationError
from accelsim.evaluation import evaluate
from accelsim.lower import Simulated
from accelsim.result import Result, check_conservation, critical_path, write_trace
from accelsim.workload import totals

POINTS = [
    ("llama2-7b", "npu-pim-dual", "npu-pim", "decode"),
    ("llama2-7b", "npu-tpuv4i", "npu-only", "prefill"),
    ("llama3-8b", "a100-80gb", "roofline-best", "decode"),
    ("gpt2-xl", "npu-pim-blocked", "npu-pim", "decode"),
]


def result_of(point: tuple[str, str, str, str], **options: object) -> Result:
    model, arch, mapping, phase = point
    overrides = {"mapping.partition.tensor": 2} if arch == "npu-tpuv4i" else {}
    return evaluate(
        model, arch, mapping, phase=phase, batch=4, seq_len=256, overrides=overrides, **options  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_operators_on_the_critical_path_add_up_to_the_latency(
    point: tuple[str, str, str, str],
) -> None:
    """Every picosecond belongs to an operator: nothing waits for nobody."""
    result = result_of(point)
    assert sum(o.critical_s for o in result.operators) == pytest.approx(result.latency_s, rel=1e-9)


@pytest.mark.parametrize("point", POINTS)
def test_no_resource_is_busier_than_the_pass_is_long(point: tuple[str, str, str, str]) -> None:
    """With the extended repetitions counted in."""
    result = result_of(point)
    assert max(result.busy_s.values()) <= result.latency_s * (1 + 1e-9)
    assert result.busy_s[result.bottleneck] == max(result.busy_s.values())


@pytest.mark.parametrize("point", POINTS)
def test_operations_per_energy_are_power_s_inverse(point: tuple[str, str, str, str]) -> None:
    """TOPS/W is throughput over power; at least two operations for each of the pass's MACs."""
    result = result_of(point)
    macs = totals(result.simulated.lowered.plan.workload).macs
    assert result.operations >= 2 * macs > 0
    rate_tops = result.operations / result.latency_s / 1e12
    assert result.tops_per_w == pytest.approx(rate_tops / result.power_w)


@pytest.mark.parametrize("point", POINTS)
def test_energy_is_the_sum_of_its_parts(point: tuple[str, str, str, str]) -> None:
    """By part and by operator, the standing power apart."""
    result = result_of(point, check=True)
    devices = result.simulated.lowered.plan.tensor_ways
    by_operator = sum(o.energy_pj * o.count for o in result.operators) * devices
    dynamic = sum(result.energy_parts_pj.values()) - result.energy_parts_pj["standing"]
    assert by_operator == pytest.approx(dynamic, rel=1e-9)


@pytest.mark.parametrize("point", POINTS)
def test_extending_a_steady_state_changes_nothing(point: tuple[str, str, str, str]) -> None:
    """Six layers and a period give the same latency as all layers, to the picosecond."""
    extended, exact = result_of(point), result_of(point, exact=True)
    assert sum(extended.simulated.skipped) > 0
    assert extended.simulated.latency_ps == exact.simulated.latency_ps
    assert extended.energy_j == pytest.approx(exact.energy_j, rel=1e-12)
    assert extended.busy_s == pytest.approx(exact.busy_s, rel=1e-9)


def broken(result: Result, schedule: Schedule) -> Result:
    simulated = replace(result.simulated, schedule=schedule)
    return replace(result, simulated=simulated)


def test_a_schedule_that_starts_too_early_is_caught() -> None:
    """A task before its predecessor's end breaks a law."""
    result = result_of(POINTS[0])
    schedule = result.simulated.schedule
    early = np.maximum(schedule.start_ps - 1, 0)
    with pytest.raises(ConservationError):
        check_conservation(broken(result, Schedule(early, schedule.end_ps)))


def lowered_with(simulated: Simulated, **changes: object) -> Simulated:
    return replace(simulated, lowered=replace(simulated.lowered, **changes))  # type: ignore[arg-type]


def test_lost_bytes_are_caught() -> None:
    """A step whose tasks carry less than it moves."""
    result = result_of(POINTS[1])
    rows = list(result.simulated.lowered.rows)
    index = next(i for i, row in enumerate(rows) if row.size_bytes[0])
    more = (rows[index].size_bytes[0] + 1, *rows[index].size_bytes[1:])
    rows[index] = replace(rows[index], size_bytes=more)
    bad = replace(result, simulated=lowered_with(result.simulated, rows=tuple(rows)))
    with pytest.raises(ConservationError, match="bytes of"):
        check_conservation(bad)


def test_lost_macs_are_caught() -> None:
    """A step that does fewer than the workload asks for."""
    result = result_of(POINTS[0])
    plan = result.simulated.lowered.plan
    block = plan.blocks[1]
    step = next(s for s in block.steps if s.counts.macs)
    fewer = replace(step, counts=replace(step.counts, macs=step.counts.macs - 1))
    steps = tuple(fewer if s is step else s for s in block.steps)
    changed = replace(plan, blocks=(plan.blocks[0], replace(block, steps=steps), plan.blocks[2]))
    bad = replace(result, simulated=lowered_with(result.simulated, plan=changed))
    with pytest.raises(ConservationError, match="MACs"):
        check_conservation(bad)


def test_traffic_below_the_operands_is_caught() -> None:
    """Weights that are never read."""
    result = result_of(POINTS[1])
    steps = list(result.simulated.lowered.steps)
    index = next(i for i, s in enumerate(steps) if s.work.weight_bytes > 1000)
    estimate = replace(steps[index].estimate, weight_traffic_bytes=1)
    steps[index] = replace(steps[index], estimate=estimate)
    bad = replace(result, simulated=lowered_with(result.simulated, steps=tuple(steps)))
    with pytest.raises(ConservationError, match="bytes of weights and cache"):
        check_conservation(bad)


def test_the_critical_path_follows_precedence_and_waiting() -> None:
    """Task 2 waits for the server that task 1 holds, task 3 for task 2's result."""
    graph = from_edges([0, 0, 0, 1], [5, 7, 3, 4], [(2, 3)], priority=[0, 1, 2, 0])
    assert critical_path(graph, simulate(graph)).tolist() == [0, 1, 2, 3]


def test_zero_length_tasks_do_not_trap_the_path() -> None:
    """Tasks that start and end at the same instant are walked through once each."""
    graph = from_edges([0, 0, 0, 0], [0, 0, 5, 0], [(0, 1), (1, 2), (2, 3)])
    assert critical_path(graph, simulate(graph)).tolist() == [0, 1, 2, 3]


def test_double_buffering_the_stationary_operand_pays_as_its_closed_form_says() -> None:
    """The array saves (folds - 1)(M + 2R + C - 2 - max(M, R)) cycles per product."""
    on, off = (
        evaluate(
            "llama2-7b", "npu-pim-dual", "npu-only", phase="prefill", batch=1, seq_len=256,
            overrides={
                "mapping.double_buffer_stationary": value, "mapping.dataflow": "ws",
                "arch.device.units.array.arrays": 1,
            },
        )
        for value in (True, False)
    )  # fmt: skip
    saved = {
        o.name: (p.compute_s - o.compute_s) * 1.05e9
        for o, p in zip(on.operators, off.operators, strict=True)
    }
    folds = (4096 // 128) * (4096 // 128)
    assert saved["o_proj"] == pytest.approx((folds - 1) * (256 + 2 * 128 + 128 - 2 - 256), abs=2)


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_a_trace_holds_every_task(tmp_path: Path, name: str) -> None:
    """Chrome's format: a slice per task in microseconds, a thread per resource."""
    result = result_of(POINTS[0])
    count = write_trace(result, tmp_path / name)
    data = (tmp_path / name).read_bytes()
    events = json.loads(gzip.decompress(data) if name.endswith("gz") else data)["traceEvents"]
    slices = [e for e in events if e["ph"] == "X"]
    graph, schedule = result.simulated.lowered.graph, result.simulated.schedule
    assert len(slices) == count == graph.n_tasks
    last = max(e["ts"] + e["dur"] for e in slices)
    assert last == pytest.approx(schedule.makespan_ps / 1e6, abs=1e-5)
    threads = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert threads == {name.rpartition(": ")[2] for name in graph.resource_names}
    assert sum(e["args"]["bytes"] for e in slices) == graph.size_bytes.sum()
