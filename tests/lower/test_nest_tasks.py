"""The event view of mapped operators: what moves, what waits for what, and where it agrees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from accelsim.cost._systolic import DATAFLOWS, cycles
from accelsim.engine import busy_ps, check, simulate, verify
from accelsim.errors import ConfigError, MappingError
from accelsim.lower._nest_streams import streams_of
from accelsim.lower.nest_tasks import NestTasks, agreement_cycles, lower_nest, slices
from accelsim.nest import Fanout, Hierarchy, Storage, evaluate, matmul, parse
from accelsim.result.trace import write_events
from tests.lower.nest_cases import OUTSIDE, Case, quiet_cases, random_case, systolic

SIZES = [(1, 64, 64), (7, 30, 50), (128, 256, 512), (5, 300, 90), (40, 3, 9)]
ARRAYS = [(8, 8), (4, 16), (16, 4), (1, 1)]


def event_cycles(tasks: NestTasks) -> float:
    """Return the latency at 1 GHz, in cycles."""
    return tasks.latency_ps(simulate(tasks.graph)) / 1000


@pytest.mark.parametrize(("rows", "columns"), ARRAYS)
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("buffers", [1, 2])
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_systolic_closed_forms_hold_in_both_views(
    dataflow: str, buffers: int, sizes: tuple[int, int, int], rows: int, columns: int
) -> None:
    case = systolic(dataflow, sizes, rows, columns, buffers)  # type: ignore[arg-type]
    # An output stationary array has nothing to load; double buffering is to drain behind.
    expected = cycles(
        DATAFLOWS.index(dataflow), 1, *sizes, rows, columns, 1, buffers == 2,
        hide_drain=dataflow == "os" and buffers == 2,
    )  # fmt: skip
    assert evaluate(*case).cycles == expected
    tasks = lower_nest(*case)
    assert event_cycles(tasks) == expected


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_where_nothing_contends_both_views_agree_within_the_stated_bound(levels: int) -> None:
    for case, tasks in quiet_cases(levels, 60):
        took = event_cycles(tasks)
        rounding = tasks.graph.n_tasks / 1000  # a picosecond each
        apart = agreement_cycles(*case) + rounding
        assert abs(took - tasks.figures.cycles) <= apart


def test_one_level_without_contention_takes_exactly_what_is_evaluated() -> None:
    for _, tasks in quiet_cases(1, 120):
        assert event_cycles(tasks) == pytest.approx(tasks.figures.cycles, abs=0.1, rel=1e-4)


@pytest.mark.parametrize(("levels", "most"), [(2, 0.12), (3, 0.05)])
def test_nested_levels_without_contention_take_about_what_is_evaluated(
    levels: int, most: float
) -> None:
    apart = np.array([
        event_cycles(tasks) / tasks.figures.cycles - 1 for _, tasks in quiet_cases(levels, 80)
    ])  # fmt: skip
    assert np.abs(apart).max() < most
    assert np.quantile(np.abs(apart), 0.9) < 1e-2


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_every_law_holds_in_both_engines_where_things_contend(levels: int) -> None:
    for seed in range(15):
        case = random_case(seed, levels, busy=True)
        tasks = lower_nest(*case)
        check(tasks.graph)
        schedule = simulate(tasks.graph)
        verify(tasks.graph, schedule)
        assert np.array_equal(schedule.end_ps, simulate(tasks.graph, "simpy").end_ps)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_ports_move_all_that_is_counted_and_nothing_is_faster_than_they_are(levels: int) -> None:
    for seed in range(25):
        problem, hierarchy, nest = random_case(seed, levels, busy=True)
        tasks = lower_nest(problem, hierarchy, nest)
        schedule = simulate(tasks.graph)
        found, names = busy_ps(tasks.graph, schedule), tasks.graph.resource_names
        device = hierarchy.arrays(problem)
        accesses, used = tasks.figures.accesses, 1.0
        bits = np.array([tensor.bits for tensor in problem.tensors])
        factor = nest.arrays(problem).factor
        for i, node in enumerate(hierarchy.nodes):
            if isinstance(node, Fanout):
                used *= float(factor[i].prod())
                continue
            read = (accesses[i, :, 0] + accesses[i, :, 3]) @ bits / used / device.read_rate[i]
            written = (accesses[i, :, 1] + accesses[i, :, 2]) @ bits / used / device.write_rate[i]
            ports = {f"{node.name} port": read + written} if node.shared_port else {
                f"{node.name} read port": read, f"{node.name} write port": written,
            }  # fmt: skip
            for name, busy in ports.items():
                assert found[names.index(name)] == pytest.approx(busy * 1000, abs=10)
                assert tasks.latency_ps(schedule) >= busy * 1000 - 10
        streams = streams_of(problem, hierarchy, nest, tasks.figures)
        total = sum(stream.bits for stream in (*streams.tiles, *streams.operands) if stream.lanes)
        idle = sum(stream.bits for stream in streams.tiles if not stream.lanes)
        assert tasks.graph.size_bytes.sum() == pytest.approx((total + idle) / 8, abs=20)


def product(
    buffers: int, *, shared_port: bool = False, write_rate: float = np.inf, loops: str = "nm"
) -> Case:
    """Return 4 x 3 products of k = 6: A and B tiles of 6 words, 2 and 3 cycles each."""
    memories = Hierarchy((
        Storage("DRAM", keep=OUTSIDE, read_bits_per_cycle=8.0, write_bits_per_cycle=write_rate,
                shared_port=shared_port),
        Storage("Buffer", keep=OUTSIDE, buffers=buffers),
    ))  # fmt: skip
    size = {"m": 4, "n": 3}
    nest = parse({"DRAM": {dim: size[dim] for dim in loops}, "Buffer": {"k": 6}}, memories)
    return matmul(4, 3, 6, bits=(16 / 6, 4, 8)), memories, nest


def starts(tasks: NestTasks, label: str) -> list[int]:
    """Return when the tasks of a stream start, in cycles."""
    schedule = simulate(tasks.graph)
    mine = tasks.graph.owner == tasks.labels.index(label)
    return [int(start) // 1000 for start in schedule.start_ps[mine]]


def test_with_one_buffer_nothing_moves_while_a_tile_is_in_use() -> None:
    tasks = lower_nest(*product(1, write_rate=8.0), chunks=12)
    # n outside m: B changes every fourth tile.  Load 2 (+ 3), compute 6, drain 1.
    compute = starts(tasks, "compute")
    assert compute[:6] == [5, 14, 23, 32, 44, 53]
    assert starts(tasks, "output from Buffer")[:2] == [11, 20]
    assert event_cycles(tasks) == 12 * (2 + 6 + 1) + 3 * 3 == tasks.figures.cycles


def test_with_two_buffers_a_tile_arrives_while_the_one_before_is_in_use() -> None:
    tasks = lower_nest(*product(2, write_rate=8.0), chunks=12)
    assert starts(tasks, "compute")[:3] == [5, 11, 17]
    assert starts(tasks, "output from Buffer")[:2] == [11, 17]
    # Nothing hides the whole first tiles of both tensors.
    assert event_cycles(tasks) == tasks.figures.cycles == 5 + 12 * 6 + 1


def test_partial_sums_come_back_only_where_there_are_some() -> None:
    memories = Hierarchy((
        Storage("DRAM", keep=OUTSIDE, read_bits_per_cycle=8.0),
        Storage("Buffer", keep=frozenset({"output"})),
    ))  # fmt: skip
    nest = parse({"DRAM": {"k": 3, "m": 2}, "Buffer": {"n": 4}}, memories)
    tasks = lower_nest(matmul(2, 4, 3, bits=(0, 0, 8)), memories, nest, chunks=6)
    # Tiles m = 0, 1 for k = 0, 1, 2; four words each, not to be read for k = 0.
    assert starts(tasks, "output partial sums back to Buffer") == [8, 16, 24, 32]
    assert event_cycles(tasks) == 6 * 4 + 4 * 4


def test_an_inner_level_starts_anew_in_each_tile_of_a_single_buffered_one() -> None:
    memories = Hierarchy((
        Storage("DRAM", keep=OUTSIDE),
        Storage("Buffer", keep=frozenset({"weight"}), read_bits_per_cycle=8.0),
        Storage("Register", keep=frozenset({"weight"}), buffers=2),
    ))  # fmt: skip
    nest = parse({"DRAM": {"n": 5}, "Buffer": {"k": 4}, "Register": {"m": 9}}, memories)
    case = matmul(9, 5, 4, bits=(0, 40, 0)), memories, nest
    tasks = lower_nest(*case)
    assert event_cycles(tasks) == tasks.figures.cycles == 5 * (5 + 4 * 9)
    # A thousand tiles are not told apart, but each still starts anew.
    nest = parse({"DRAM": {"n": 1000}, "Buffer": {"k": 4}, "Register": {"m": 9}}, memories)
    many = lower_nest(matmul(9, 1000, 4, bits=(0, 40, 0)), memories, nest)
    assert event_cycles(many) == 1000 * (5 + 4 * 9)


def nested(own: str) -> Case:
    """Return 200 tiles of a buffer, which come in 8 cycles each, with 4 of a register in each.

    The register holds weights, used for 3 cycles; they come through the buffer in 4 cycles, or
    past it in 5.
    """
    through = own == "weight"
    memories = Hierarchy((
        Storage("DRAM", keep=OUTSIDE),
        Storage("Buffer", keep=frozenset({own}), read_bits_per_cycle=4.0 if through else np.inf,
                write_bits_per_cycle=8.0),
        Storage("Register", keep=frozenset({"weight"}),
                write_bits_per_cycle=np.inf if through else 8.0),
    ))  # fmt: skip
    if through:
        nest = parse({"DRAM": {"n": 200}, "Buffer": {"k": 4}, "Register": {"m": 3}}, memories)
        return matmul(3, 200, 4, bits=(0, 16, 0)), memories, nest
    nest = parse({"DRAM": {"m": 200}, "Buffer": {"n": 4}, "Register": {"k": 3}}, memories)
    return matmul(200, 4, 3, bits=(64 / 3, 40 / 3, 0)), memories, nest


@pytest.mark.parametrize("chunks", [8, 64, 10**6])
def test_an_inner_tile_waits_for_the_outer_one_in_runs_too(chunks: int) -> None:
    assert event_cycles(lower_nest(*nested("weight"), chunks=chunks)) == 200 * (8 + 4 * (4 + 3))


@pytest.mark.parametrize("chunks", [8, 64, 10**6])
def test_the_first_inner_tile_from_elsewhere_comes_beside_the_outer_one(chunks: int) -> None:
    took = event_cycles(lower_nest(*nested("input"), chunks=chunks))
    assert took == pytest.approx(200 * (8 + 3 + 3 * (5 + 3)), rel=0.002)


@pytest.mark.parametrize("levels", [1, 2])
def test_runs_of_tiles_take_as_long_as_single_ones_where_nothing_contends(levels: int) -> None:
    compared = 0
    for case, _ in quiet_cases(levels, 60):
        every = lower_nest(*case, chunks=10**6)
        few = lower_nest(*case, chunks=12)
        if few.graph.n_tasks < every.graph.n_tasks < 20_000:
            compared += 1
            assert event_cycles(few) == pytest.approx(event_cycles(every), rel=0.02, abs=1)
    assert compared > 10


def test_any_operator_has_some_thousand_tasks() -> None:
    memories = Hierarchy((
        Storage("DRAM", keep=OUTSIDE, read_bits_per_cycle=512.0),
        Storage("Shared", keep=OUTSIDE, buffers=2, read_bits_per_cycle=4096.0),
        Fanout("PEs", 256, OUTSIDE),
        Storage("Local", keep=OUTSIDE, buffers=1, read_bits_per_cycle=64.0),
        Storage("Register", keep=OUTSIDE, buffers=2, read_bits_per_cycle=64.0),
    ))  # fmt: skip
    nest = parse({
        "DRAM": {"m": 64, "n": 64, "k": 16}, "Shared": {"m": 8, "n": 8, "k": 8},
        "PEs": {"n": 8, "k": 32}, "Local": {"m": 4}, "Register": {"m": 2},
    }, memories)  # fmt: skip
    tasks = lower_nest(matmul(4096, 4096, 4096), memories, nest)
    assert tasks.graph.n_tasks < 15_000
    least = 4096**3 / 256
    assert event_cycles(tasks) > least


def test_an_edge_tile_costs_its_share() -> None:
    case = systolic("ws", (9, 10, 10), 4, 4, 1)
    assert sum(t.bits for t in streams_of(*case, evaluate(*case)).tiles) == 10 * 10 * 8


def test_a_nest_that_does_not_fit_is_refused() -> None:
    memories = Hierarchy((
        Storage("DRAM", keep=OUTSIDE),
        Storage("Buffer", keep=OUTSIDE, capacity_bits=64),
    ))  # fmt: skip
    nest = parse({"DRAM": {"m": 2}, "Buffer": {"m": 2, "n": 4, "k": 4}}, memories)
    with pytest.raises(MappingError, match=r"needs .* in `Buffer`"):
        lower_nest(matmul(4, 4, 4), memories, nest)


@pytest.mark.parametrize("options", [{"chunks": 0}, {"copies": 0}])
def test_less_than_one_chunk_or_copy_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        lower_nest(*product(1), **options)  # type: ignore[arg-type]


def test_a_timeline_shows_what_takes_time(tmp_path: Path) -> None:
    tasks = lower_nest(*product(2, write_rate=8.0))
    schedule = simulate(tasks.graph)
    file = tmp_path / "nest.json"
    write_events(list(slices(tasks, schedule)), file)
    events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    threads = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M"}
    drawn = [event for event in events if event["ph"] == "X"]
    assert len(drawn) == np.count_nonzero(tasks.graph.duration_ps)
    drains = [event for event in drawn if event["name"] == "output from Buffer"]
    assert {threads[event["tid"]] for event in drains} == {"DRAM write port"}
    assert sum(event["args"]["bytes"] for event in drains) == 12
    ends = max(event["ts"] + event["dur"] for event in drawn)
    assert ends * 1e6 == pytest.approx(tasks.latency_ps(schedule))
